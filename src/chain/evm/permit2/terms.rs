//! What was signed for Permit2 must be what the resource server requires.

use super::super::exact::evm;
use super::{Permit, Proxy};
use crate::domain::address::Address;
use crate::domain::payment::{PaymentRequest, SCHEME_EXACT, SCHEME_UPTO};
use crate::domain::reason::{Reason, Refusal};
use crate::domain::verification::Purpose;

/// Compares what was signed with what is required. `signers` are ours.
///
/// # Errors
/// The first thing that differs.
pub fn check(request: &PaymentRequest, permit: &Permit, purpose: Purpose, signers: &[Address]) -> Result<(), Refusal> {
    let message = &permit.message;
    check_scheme(request, permit)?;
    if evm(message.spender) != permit.proxy.address() {
        return Err(Reason::Permit2SpenderMismatch.into());
    }
    if message.to != request.pay_to {
        return Err(Reason::Permit2RecipientMismatch.into());
    }
    if message.facilitator.is_some_and(|facilitator| !signers.contains(&facilitator)) {
        return Err(Reason::UptoFacilitatorMismatch.into());
    }
    check_amount(request, permit, purpose)?;
    if message.token == request.asset { Ok(()) } else { Err(Reason::Permit2TokenMismatch.into()) }
}

/// What is wrong with its time, in the codes of Permit2.
#[must_use]
pub fn in_its_words(refusal: Refusal) -> Refusal {
    let reason = match refusal.reason {
        Reason::Expired => Reason::Permit2Expired,
        Reason::NotYetValid => Reason::Permit2NotYetValid,
        reason => reason,
    };
    Refusal { reason, ..refusal }
}

/// Scheme and network are those that the payer accepted, and what was signed is of that scheme.
fn check_scheme(request: &PaymentRequest, permit: &Permit) -> Result<(), Refusal> {
    let (scheme, network, wanted) = match permit.proxy {
        // As the reference has it.
        Proxy::Exact => (Reason::UnsupportedPayloadType, Reason::NetworkMismatch, SCHEME_EXACT),
        Proxy::Upto(_) => (Reason::UptoSchemeMismatch, Reason::UptoNetworkMismatch, SCHEME_UPTO),
    };
    if request.scheme != wanted {
        return Err(Refusal::because(Reason::UnsupportedPayloadType, format!("the payload is of scheme {wanted}")));
    }
    if request.accepted_scheme != wanted {
        return Err(scheme.into());
    }
    if request.accepted_network { Ok(()) } else { Err(network.into()) }
}

/// Until it is settled the amount is the one that was signed. Then it may be less of scheme `upto`, and nothing at all.
fn check_amount(request: &PaymentRequest, permit: &Permit, purpose: Purpose) -> Result<(), Refusal> {
    let permitted = permit.message.permitted;
    match (permit.proxy, purpose) {
        (Proxy::Upto(_), Purpose::Settle) if request.amount > permitted => Err(Reason::UptoAmountExceeded.into()),
        (Proxy::Exact, _) | (_, Purpose::Verify) if request.amount != permitted => Err(Reason::Permit2AmountMismatch.into()),
        _ if permitted.is_zero() => Err(Reason::Permit2AmountInvalid.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden, golden_upto, permit, request, upto_request};
    use super::*;
    use crate::domain::amount::Amount;
    use crate::x402::permit2::Permit2Payload;

    fn verify(request: &PaymentRequest, message: Permit2Payload) -> Option<Reason> {
        let signers = [golden_upto().facilitator.unwrap()];
        check(request, &permit(message), Purpose::Verify, &signers).err().map(|refusal| refusal.reason)
    }

    #[test]
    fn what_was_asked_for_is_what_was_signed() {
        let elsewhere = Address::Evm([9; 20]);
        let more = Amount::new(10_001);
        let zero = Amount::ZERO;
        let none = |message, request: &PaymentRequest| assert_eq!(verify(request, message), None);
        none(golden(), &request());
        none(golden_upto(), &upto_request());

        for (message, reason) in [
            (Permit2Payload { spender: elsewhere, ..golden() }, Reason::Permit2SpenderMismatch),
            (Permit2Payload { spender: golden_upto().spender, ..golden() }, Reason::Permit2SpenderMismatch),
            (Permit2Payload { to: elsewhere, ..golden() }, Reason::Permit2RecipientMismatch),
            (Permit2Payload { permitted: more, ..golden() }, Reason::Permit2AmountMismatch),
            (Permit2Payload { permitted: zero, ..golden() }, Reason::Permit2AmountMismatch),
            (Permit2Payload { token: elsewhere, ..golden() }, Reason::Permit2TokenMismatch),
            (golden_upto(), Reason::UnsupportedPayloadType),
        ] {
            assert_eq!(verify(&request(), message), Some(reason));
        }
        for (message, reason) in [
            (Permit2Payload { facilitator: Some(elsewhere), ..golden_upto() }, Reason::UptoFacilitatorMismatch),
            (Permit2Payload { permitted: more, ..golden_upto() }, Reason::Permit2AmountMismatch),
            (golden(), Reason::UnsupportedPayloadType),
        ] {
            assert_eq!(verify(&upto_request(), message), Some(reason));
        }
    }

    #[test]
    fn the_payer_accepted_this_scheme_and_network() {
        let other = |request| PaymentRequest { accepted_scheme: "transfer".to_owned(), ..request };
        let elsewhere = |request| PaymentRequest { accepted_network: false, ..request };

        assert_eq!(verify(&other(request()), golden()), Some(Reason::UnsupportedPayloadType));
        assert_eq!(verify(&elsewhere(request()), golden()), Some(Reason::NetworkMismatch));
        assert_eq!(verify(&other(upto_request()), golden_upto()), Some(Reason::UptoSchemeMismatch));
        assert_eq!(verify(&elsewhere(upto_request()), golden_upto()), Some(Reason::UptoNetworkMismatch));
    }

    #[test]
    fn what_is_settled_may_be_less_and_never_more() {
        let signers = [golden_upto().facilitator.unwrap()];
        let settle = |request: PaymentRequest, message, units| {
            let request = PaymentRequest { amount: Amount::new(units), ..request };
            check(&request, &permit(message), Purpose::Settle, &signers).err().map(|refusal| refusal.reason)
        };

        for units in [0, 1, 10_000] {
            assert_eq!(settle(upto_request(), golden_upto(), units), None);
        }
        assert_eq!(settle(upto_request(), golden_upto(), 10_001), Some(Reason::UptoAmountExceeded));
        assert_eq!(settle(request(), golden(), 9_999), Some(Reason::Permit2AmountMismatch));
        let nothing = Permit2Payload { permitted: Amount::ZERO, ..golden_upto() };
        assert_eq!(settle(upto_request(), nothing, 0), Some(Reason::Permit2AmountInvalid));
    }
}
