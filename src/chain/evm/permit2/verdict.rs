//! What a simulation means for a payment through Permit2.

use alloy::primitives::{B256, U256};
use alloy::sol_types::SolError;

use super::super::abi::{Permit2, UptoProxy};
use super::super::exact::verdict::NO_CODE;
use super::Permit;
use crate::domain::reason::{Reason, Refusal};
use crate::domain::verification::Checked;

/// What the chain says about one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The block whose state was used.
    pub block: u64,
    /// The payer's code at that block; `None` for an account without any.
    pub payer_code: Option<B256>,
    /// The gas that the call of the proxy takes, without that of a transaction, or how it was refused.
    pub gas: Result<u64, Refused>,
}

/// A call that was refused, with what explains it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What the contracts returned.
    pub data: Vec<u8>,
    /// What the node says of it.
    pub text: String,
    /// What the payer holds.
    pub balance: U256,
    /// What Permit2 may take of it.
    pub allowance: U256,
}

/// Judges a payment by its simulation.
///
/// # Errors
/// The reason why the payment cannot be made in the simulated state.
pub fn judge(permit: &Permit, outcome: &Outcome) -> Result<Checked, Refusal> {
    // Where there is code, it alone decides. Permit2 would take shorter signatures of ordinary accounts, too, which nobody makes.
    if outcome.payer_code.is_none() && permit.plain.is_none() {
        return Err(Reason::Permit2SignatureInvalid.into());
    }
    let gas = outcome.gas.as_ref().map_err(|refused| diagnose(permit, refused))?;
    // The proxy goes on where the token refuses it, and Permit2 may be allowed for now by what the payer did elsewhere.
    if outcome.payer_code.is_none() && permit.sponsoring.is_some() && !permit.is_sponsoring_own {
        return Err(Refusal::because(Reason::Permit2AllowanceRequired, "the payer did not sign the allowance (EIP-2612)"));
    }
    Ok(Checked {
        block: outcome.block,
        payer_code: outcome.payer_code.map_or_else(|| NO_CODE.to_owned(), |hash| hash.to_string()),
        // The proxy of `upto` looks at who calls, and both let a call in between through another contract spoil the neighbours.
        alone: true,
        gas: (*gas).max(1),
    })
}

/// Explains a refusal, from the contracts' own errors first and from what the payer holds second.
fn diagnose(permit: &Permit, refused: &Refused) -> Refusal {
    let amount = U256::from(permit.amount.units());
    let reason = match named(&refused.data) {
        Some(reason) => reason,
        None if refused.balance < amount => Reason::Permit2InsufficientBalance,
        None if refused.allowance < amount => Reason::Permit2AllowanceRequired,
        None => Reason::Permit2SimulationFailed,
    };
    Refusal::because(reason, &refused.text)
}

/// What an error of one of the contracts means.
fn named(data: &[u8]) -> Option<Reason> {
    let selector: [u8; 4] = data.get(..4)?.try_into().ok()?;
    Some(match selector {
        Permit2::InvalidNonce::SELECTOR => Reason::Permit2NonceUsed,
        Permit2::SignatureExpired::SELECTOR => Reason::Permit2Expired,
        Permit2::InvalidSigner::SELECTOR
        | Permit2::InvalidSignature::SELECTOR
        | Permit2::InvalidSignatureLength::SELECTOR
        | Permit2::InvalidContractSignature::SELECTOR => Reason::Permit2SignatureInvalid,
        UptoProxy::PaymentTooEarly::SELECTOR => Reason::Permit2NotYetValid,
        UptoProxy::InvalidAmount::SELECTOR => Reason::Permit2AmountInvalid,
        UptoProxy::Permit2612AmountMismatch::SELECTOR => Reason::GasSponsoringAmountMismatch,
        UptoProxy::AmountExceedsPermitted::SELECTOR => Reason::UptoAmountExceeded,
        UptoProxy::UnauthorizedFacilitator::SELECTOR => Reason::UptoFacilitatorMismatch,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::signature::separator;
    use super::super::tests::{golden, permit, sponsoring, token_separator};
    use super::*;
    use crate::x402::permit2::TokenPermit;

    fn signed() -> Permit {
        permit(golden()).examined(separator(84_532), token_separator())
    }

    fn good() -> Outcome {
        Outcome { block: 7, payer_code: None, gas: Ok(90_000) }
    }

    fn refused(data: &[u8], balance: u64, allowance: u64) -> Option<Reason> {
        let text = "execution reverted".to_owned();
        let refused = Refused { data: data.to_vec(), text, balance: U256::from(balance), allowance: U256::from(allowance) };
        judge(&signed(), &Outcome { gas: Err(refused), ..good() }).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn a_payment_through_permit2_goes_alone() {
        let checked = judge(&signed(), &good()).unwrap();

        assert_eq!((checked.block, checked.gas, checked.alone), (7, 90_000, true));
        assert_eq!(checked.payer_code, NO_CODE);
    }

    #[test]
    fn without_code_only_the_payers_own_signature_counts() {
        let unsigned = Permit { plain: None, ..signed() };
        let wallet = Outcome { payer_code: Some(B256::repeat_byte(1)), ..good() };

        assert_eq!(judge(&unsigned, &good()).unwrap_err().reason, Reason::Permit2SignatureInvalid);
        assert!(judge(&unsigned, &wallet).is_ok());
    }

    #[test]
    fn what_lets_permit2_take_the_token_is_the_payers_own_or_the_wallets_to_judge() {
        let with =
            |sponsoring| Permit { sponsoring: Some(sponsoring), ..signed() }.examined(separator(84_532), token_separator());
        let (own, forged) = (with(sponsoring()), with(TokenPermit { nonce: [1; 32], ..sponsoring() }));
        let wallet = Outcome { payer_code: Some(B256::repeat_byte(1)), ..good() };

        assert!(judge(&own, &good()).is_ok());
        assert_eq!(judge(&forged, &good()).unwrap_err().reason, Reason::Permit2AllowanceRequired);
        assert!(judge(&forged, &wallet).is_ok());
    }

    #[test]
    fn each_refusal_has_its_code() {
        for (error, reason) in [
            ([0x75, 0x66, 0x88, 0xfe], Reason::Permit2NonceUsed),
            ([0xcd, 0x21, 0xdb, 0x4f], Reason::Permit2Expired),
            ([0x81, 0x5e, 0x1d, 0x64], Reason::Permit2SignatureInvalid),
            ([0x8b, 0xaa, 0x57, 0x9f], Reason::Permit2SignatureInvalid),
            ([0x4b, 0xe6, 0x32, 0x1b], Reason::Permit2SignatureInvalid),
            ([0xb0, 0x66, 0x9c, 0xbc], Reason::Permit2SignatureInvalid),
            ([0xa6, 0x55, 0x39, 0xfa], Reason::Permit2NotYetValid),
            ([0x2c, 0x52, 0x11, 0xc6], Reason::Permit2AmountInvalid),
            ([0x05, 0x0c, 0xda, 0x49], Reason::GasSponsoringAmountMismatch),
            ([0xfe, 0x64, 0xb4, 0xc7], Reason::UptoAmountExceeded),
            ([0x0f, 0x6f, 0xae, 0x87], Reason::UptoFacilitatorMismatch),
        ] {
            assert_eq!(refused(&error, 0, 0), Some(reason), "{error:x?}");
        }
        assert_eq!(refused(&[], 9_999, 10_000), Some(Reason::Permit2InsufficientBalance));
        assert_eq!(refused(&[], 10_000, 9_999), Some(Reason::Permit2AllowanceRequired));
        assert_eq!(refused(&[], 10_000, 10_000), Some(Reason::Permit2SimulationFailed));
    }
}
