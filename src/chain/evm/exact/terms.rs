//! The terms must be ones that may be paid: offered scheme, accepted network, allowed token, a recipient that can hold money.

use super::super::payable;
use crate::domain::address::Address;
use crate::domain::asset::Asset;
use crate::domain::payment::{PaymentRequest, SCHEME_EXACT};
use crate::domain::reason::{Reason, Refusal, Version};

/// Checks scheme, network and signing domain against the token's entry in our table.
///
/// # Errors
/// The first of them that differs.
pub fn check_agreement(request: &PaymentRequest, asset: &Asset) -> Result<(), Refusal> {
    if request.accepted_scheme != SCHEME_EXACT {
        return Err(Reason::SchemeMismatch.into());
    }
    if !request.accepted_network {
        return Err(Reason::NetworkMismatch.into());
    }
    check_domain(request, asset)
}

/// The domain that the payer signed under is the token's, not whatever `extra` says. Version 1 servers may leave it out.
fn check_domain(request: &PaymentRequest, asset: &Asset) -> Result<(), Refusal> {
    let Some(domain) = asset.domain() else { return Err(Reason::UnsupportedAsset.into()) };
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (name, version) = (given(&request.domain_name), given(&request.domain_version));
    if request.version == Version::V2 && (name.is_none() || version.is_none()) {
        return Err(Reason::MissingSigningDomain.into());
    }
    if name.is_some_and(|name| name != domain.name) {
        return Err(Refusal::because(Reason::TokenNameMismatch, format!("the token's name is {:?}", domain.name)));
    }
    if version.is_some_and(|version| version != domain.version) {
        return Err(Refusal::because(Reason::TokenVersionMismatch, format!("the token's version is {:?}", domain.version)));
    }
    Ok(())
}

/// Refuses recipients that are surely a mistake, or a way to make us pay gas for nothing.
///
/// # Errors
/// [`Reason::InvalidPaymentRequirements`].
pub fn check_recipient(request: &PaymentRequest, payer: Address, signers: &[Address]) -> Result<(), Refusal> {
    let refused = |why: &str| Refusal::because(Reason::InvalidPaymentRequirements, format!("payTo is {why}"));
    payable::check(request.pay_to, &[request.asset], signers).map_err(|why| refused(&why.to_string()))?;
    if request.pay_to == payer { Err(refused("the payer")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::evm::exact::tests::{asset, request};

    fn reason(result: Result<(), Refusal>) -> Option<Reason> {
        result.err().map(|refusal| refusal.reason)
    }

    #[test]
    fn the_domain_must_be_the_tokens_own() {
        let check = |name: Option<&str>, domain_version: Option<&str>, version| {
            let request = PaymentRequest {
                version,
                domain_name: name.map(str::to_owned),
                domain_version: domain_version.map(str::to_owned),
                ..request()
            };
            reason(check_agreement(&request, &asset()))
        };

        assert_eq!(check(Some("USDC"), Some("2"), Version::V2), None);
        assert_eq!(check(None, Some("2"), Version::V2), Some(Reason::MissingSigningDomain));
        assert_eq!(check(Some("USDC"), Some(""), Version::V2), Some(Reason::MissingSigningDomain));
        assert_eq!(check(None, None, Version::V1), None);
        assert_eq!(check(Some("USD Coin"), Some("2"), Version::V1), Some(Reason::TokenNameMismatch));
        assert_eq!(check(Some("USDC"), Some("1"), Version::V2), Some(Reason::TokenVersionMismatch));
    }

    #[test]
    fn the_payer_must_have_accepted_this_scheme_and_network() {
        let scheme = PaymentRequest { accepted_scheme: "upto".to_owned(), ..request() };
        let network = PaymentRequest { accepted_network: false, ..request() };

        assert_eq!(reason(check_agreement(&scheme, &asset())), Some(Reason::SchemeMismatch));
        assert_eq!(reason(check_agreement(&network, &asset())), Some(Reason::NetworkMismatch));
    }

    #[test]
    fn money_never_goes_where_it_is_lost_or_back() {
        let payer = Address::Evm([2; 20]);
        let signer = Address::Evm([5; 20]);
        let check = |pay_to| reason(check_recipient(&PaymentRequest { pay_to, ..request() }, payer, &[signer]));

        assert_eq!(check(Address::Evm([3; 20])), None);
        for pay_to in [Address::Evm([0; 20]), request().asset, signer, payer] {
            assert_eq!(check(pay_to), Some(Reason::InvalidPaymentRequirements), "{pay_to}");
        }
    }
}
