//! The terms must be ones that may be paid: accepted scheme and network, a fee payer of ours, a recipient that can hold money.

use super::memo::MEMO_BYTES_MAX;
use crate::chain::solana::message::Key;
use crate::chain::solana::payable;
use crate::domain::address::{Address, decode_base58};
use crate::domain::payment::{PaymentRequest, SCHEME_EXACT};
use crate::domain::reason::{Reason, Refusal};

/// Checks scheme and network, and that the memo which is asked for can be.
///
/// # Errors
/// The first of them that differs.
pub fn check_agreement(request: &PaymentRequest) -> Result<(), Refusal> {
    if request.accepted_scheme != SCHEME_EXACT {
        return Err(Reason::SolanaSchemeMismatch.into());
    }
    if !request.accepted_network {
        return Err(Reason::SolanaNetworkMismatch.into());
    }
    if request.memo.as_ref().is_some_and(|memo| memo.len() > MEMO_BYTES_MAX) {
        return Err(Refusal::because(Reason::InvalidPaymentRequirements, "extra.memo is longer than 256 bytes"));
    }
    Ok(())
}

/// The fee payer that the requirements name. Any signer of ours will do: resource servers keep what they once read.
///
/// # Errors
/// [`Reason::FeePayerMissing`], [`Reason::FeePayerNotManaged`].
pub fn fee_payer(request: &PaymentRequest, signers: &[Key]) -> Result<Key, Refusal> {
    let text = request.fee_payer.as_deref().filter(|text| !text.is_empty()).ok_or(Reason::FeePayerMissing)?;
    let ours = decode_base58(text).filter(|key| signers.contains(key));
    ours.ok_or_else(|| Reason::FeePayerNotManaged.into())
}

/// Refuses recipients that are surely a mistake, or a way to make us pay fees for nothing.
///
/// # Errors
/// [`Reason::InvalidPaymentRequirements`].
pub fn check_recipient(request: &PaymentRequest, payer: &Key, signers: &[Key]) -> Result<(), Refusal> {
    let refused = |why: &str| Refusal::because(Reason::InvalidPaymentRequirements, format!("payTo is {why}"));
    payable::check(request.pay_to, &[request.asset], signers).map_err(|why| refused(&why.to_string()))?;
    if request.pay_to == Address::Solana(*payer) { Err(refused("the payer")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::solana::exact::tests::{FEE_PAYER, PAY_TO, PAYER, public, request};
    use crate::domain::address::encode_base58;

    fn reason<T>(result: Result<T, Refusal>) -> Option<Reason> {
        result.err().map(|refusal| refusal.reason)
    }

    #[test]
    fn the_payer_must_have_accepted_this_scheme_and_network() {
        let scheme = PaymentRequest { accepted_scheme: "upto".to_owned(), ..request() };
        let network = PaymentRequest { accepted_network: false, ..request() };

        assert_eq!(reason(check_agreement(&request())), None);
        assert_eq!(reason(check_agreement(&scheme)), Some(Reason::SolanaSchemeMismatch));
        assert_eq!(reason(check_agreement(&network)), Some(Reason::SolanaNetworkMismatch));
    }

    #[test]
    fn a_memo_that_is_asked_for_has_at_most_256_bytes() {
        let check = |bytes| reason(check_agreement(&PaymentRequest { memo: Some("m".repeat(bytes)), ..request() }));

        assert_eq!(check(256), None);
        assert_eq!(check(257), Some(Reason::InvalidPaymentRequirements));
    }

    #[test]
    fn the_fee_payer_is_named_and_ours() {
        // Row 68.
        let named = |text: Option<&str>| {
            let request = PaymentRequest { fee_payer: text.map(str::to_owned), ..request() };
            fee_payer(&request, &[public(9), public(FEE_PAYER)]).map_err(|refusal| refusal.reason)
        };
        let ours = encode_base58(&public(FEE_PAYER));

        assert_eq!(named(Some(&ours)), Ok(public(FEE_PAYER)));
        assert_eq!(named(Some(&encode_base58(&public(9)))), Ok(public(9)));
        for missing in [None, Some("")] {
            assert_eq!(named(missing), Err(Reason::FeePayerMissing));
        }
        for text in [&encode_base58(&public(PAYER)), &format!("{ours} "), &ours.to_lowercase(), "0x"] {
            assert_eq!(named(Some(text)), Err(Reason::FeePayerNotManaged), "{text:?}");
        }
    }

    #[test]
    fn money_never_goes_where_it_is_lost_or_back() {
        let check = |pay_to| {
            let request = PaymentRequest { pay_to: Address::Solana(pay_to), ..request() };
            reason(check_recipient(&request, &public(PAYER), &[public(9), public(FEE_PAYER)]))
        };
        let Address::Solana(mint) = request().asset else { unreachable!() };

        assert_eq!(check(public(PAY_TO)), None);
        for pay_to in [[0; 32], mint, public(FEE_PAYER), public(9), public(PAYER)] {
            assert_eq!(check(pay_to), Some(Reason::InvalidPaymentRequirements), "{}", encode_base58(&pay_to));
        }
    }
}
