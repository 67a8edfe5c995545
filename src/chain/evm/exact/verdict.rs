//! What a simulation means for a payment. Verdict and diagnosis come from the one call.

use alloy::primitives::{Address as EvmAddress, U256};

use super::super::outcome::Outcome;
use super::Authorization;
use crate::domain::reason::{Reason, Refusal};
use crate::domain::verification::Checked;

/// How the ledger writes that the payer has no code.
pub const NO_CODE: &str = "none";

/// Judges an authorization by its simulation.
///
/// # Errors
/// The reason why the payment cannot be made in the simulated state.
pub fn judge(payment: &Authorization, outcome: &Outcome, factories: &[EvmAddress]) -> Result<Checked, Refusal> {
    check_signer(payment, outcome, factories)?;
    if !outcome.success {
        return Err(diagnose(payment, outcome));
    }
    Ok(Checked {
        block: outcome.block,
        payer_code: outcome.payer_code.map_or_else(|| NO_CODE.to_owned(), |hash| hash.to_string()),
        // Whoever has code can make a call take any amount of gas, so its payment keeps out of the others' transaction.
        alone: outcome.payer_code.is_some() || payment.deployment.is_some(),
        gas: outcome.gas_used.max(1),
    })
}

/// Where there is no code, there is an ordinary account that signs for itself, or a wallet that an allowed factory deploys.
/// Where there is code, it alone decides: falling back to the plain signature would accept what the token refuses.
fn check_signer(payment: &Authorization, outcome: &Outcome, factories: &[EvmAddress]) -> Result<(), Refusal> {
    if outcome.payer_code.is_some() {
        return Ok(());
    }
    match &payment.deployment {
        Some(deployment) if !factories.contains(&deployment.factory) => Err(Reason::FactoryNotAllowed.into()),
        None if payment.plain.is_none() => Err(Reason::InvalidSignature.into()),
        Some(_) | None => Ok(()),
    }
}

/// Explains a transfer that the token refused, from what it holds first and from its words second.
fn diagnose(payment: &Authorization, outcome: &Outcome) -> Refusal {
    let text = outcome.revert_text().unwrap_or_default();
    let says = |words: &str| text.to_ascii_lowercase().contains(words);
    let reason = match (outcome.authorization_used, outcome.balance) {
        (None, None) => Reason::AssetNotDeployed,
        (None, Some(_)) => Reason::AuthorizationsUnsupported,
        (Some(true), _) => Reason::NonceAlreadyUsed,
        _ if says("invalid signature") || says("signermismatch") => Reason::InvalidSignature,
        _ if says("authorization is expired") => Reason::Expired,
        _ if says("authorization is not yet valid") => Reason::NotYetValid,
        (_, Some(balance)) if balance < U256::from(payment.message.value.units()) => Reason::InsufficientBalance,
        _ => Reason::SimulationFailed,
    };
    if text.is_empty() { reason.into() } else { Refusal::because(reason, text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::evm::exact::signature::{Deployment, separator};
    use crate::chain::evm::exact::tests::{asset, golden};
    use alloy::primitives::{B256, Bytes};
    use alloy::sol_types::{Revert, SolError};

    fn authorization() -> Authorization {
        Authorization::new(asset().address, separator(&asset(), 84532).unwrap(), golden()).unwrap()
    }

    fn good() -> Outcome {
        Outcome {
            block: 7,
            success: true,
            payer_code: None,
            balance: Some(U256::from(10_000)),
            authorization_used: Some(false),
            gas_used: 60_000,
            return_data: Bytes::new(),
        }
    }

    fn refused(payment: &Authorization, outcome: &Outcome) -> Reason {
        judge(payment, outcome, &[]).unwrap_err().reason
    }

    fn reverted(words: &str) -> Outcome {
        Outcome { success: false, return_data: Revert::from(words).abi_encode().into(), ..good() }
    }

    #[test]
    fn an_ordinary_payer_may_share_and_a_contract_may_not() {
        let contract = Outcome { payer_code: Some(B256::repeat_byte(1)), ..good() };

        assert!(!judge(&authorization(), &good(), &[]).unwrap().alone);
        assert!(judge(&authorization(), &contract, &[]).unwrap().alone);
    }

    #[test]
    fn without_code_only_the_payers_own_signature_counts() {
        let unsigned = Authorization { plain: None, ..authorization() };
        let contract = Outcome { payer_code: Some(B256::repeat_byte(1)), ..good() };

        assert_eq!(refused(&unsigned, &good()), Reason::InvalidSignature);
        assert!(judge(&unsigned, &contract, &[]).is_ok());
    }

    #[test]
    fn a_wallet_to_be_deployed_needs_an_allowed_factory() {
        let factory = EvmAddress::repeat_byte(4);
        let payment =
            Authorization { deployment: Some(Deployment { factory, calldata: Bytes::new() }), plain: None, ..authorization() };

        assert_eq!(refused(&payment, &good()), Reason::FactoryNotAllowed);
        assert!(judge(&payment, &good(), &[factory]).unwrap().alone);
    }

    #[test]
    fn each_refusal_of_the_token_has_its_code() {
        let payment = authorization();
        let poor = Outcome { success: false, balance: Some(U256::from(9_999)), ..good() };
        let used = Outcome { authorization_used: Some(true), ..reverted("FiatTokenV2: authorization is used or canceled") };
        let foreign = Outcome { success: false, authorization_used: None, ..good() };
        let gone = Outcome { balance: None, ..foreign.clone() };

        assert_eq!(refused(&payment, &poor), Reason::InsufficientBalance);
        assert_eq!(refused(&payment, &used), Reason::NonceAlreadyUsed);
        assert_eq!(refused(&payment, &foreign), Reason::AuthorizationsUnsupported);
        assert_eq!(refused(&payment, &gone), Reason::AssetNotDeployed);
        assert_eq!(refused(&payment, &reverted("FiatTokenV2: invalid signature")), Reason::InvalidSignature);
        assert_eq!(refused(&payment, &reverted("FiatTokenV2: authorization is expired")), Reason::Expired);
        assert_eq!(refused(&payment, &reverted("FiatTokenV2: authorization is not yet valid")), Reason::NotYetValid);
        assert_eq!(refused(&payment, &reverted("Blacklistable: account is blacklisted")), Reason::SimulationFailed);
        assert_eq!(refused(&payment, &Outcome { success: false, ..good() }), Reason::SimulationFailed);
    }
}
