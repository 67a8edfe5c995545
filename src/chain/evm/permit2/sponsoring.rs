//! What lets Permit2 take the token without a transaction of the payer's (EIP-2612) must fit the payment that it comes with. Whether the
//! payer signed it is for the token to say, in the simulation of both together.

use chrono::{DateTime, TimeDelta, Utc};

use super::super::exact::evm;
use super::super::exact::window::{REMAINING_SECONDS_MIN, time};
use super::PERMIT2;
use crate::domain::reason::{Reason, Refusal};
use crate::x402::permit2::{Permit2Payload, TokenPermit};

/// Compares it with what was signed for Permit2.
///
/// # Errors
/// The first thing that differs.
pub fn check(permit: &TokenPermit, message: &Permit2Payload) -> Result<(), Refusal> {
    let refused = if permit.from != message.from {
        Reason::GasSponsoringPayerMismatch
    } else if permit.asset != message.token {
        Reason::GasSponsoringTokenMismatch
    } else if evm(permit.spender) != PERMIT2 {
        Reason::GasSponsoringSpenderMismatch
    } else if permit.amount != message.permitted {
        // The contracts take no other amount, also not a larger one.
        Reason::GasSponsoringAmountMismatch
    } else {
        return Ok(());
    };
    Err(refused.into())
}

/// It must not end on its way.
///
/// # Errors
/// [`Reason::GasSponsoringExpired`].
pub fn check_deadline(permit: &TokenPermit, now: DateTime<Utc>) -> Result<(), Refusal> {
    let is_over = time(permit.deadline) < now + TimeDelta::seconds(REMAINING_SECONDS_MIN);
    if is_over { Err(Reason::GasSponsoringExpired.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden, sponsoring};
    use super::*;
    use crate::domain::address::Address;
    use crate::domain::amount::Amount;

    #[test]
    fn it_is_the_payers_for_this_token_and_amount() {
        let elsewhere = Address::Evm([9; 20]);
        let reason = |permit: TokenPermit| check(&permit, &golden()).err().map(|refusal| refusal.reason);

        assert_eq!(reason(sponsoring()), None);
        for (permit, refused) in [
            (TokenPermit { from: elsewhere, ..sponsoring() }, Reason::GasSponsoringPayerMismatch),
            (TokenPermit { asset: elsewhere, ..sponsoring() }, Reason::GasSponsoringTokenMismatch),
            (TokenPermit { spender: elsewhere, ..sponsoring() }, Reason::GasSponsoringSpenderMismatch),
            (TokenPermit { amount: Amount::new(10_001), ..sponsoring() }, Reason::GasSponsoringAmountMismatch),
        ] {
            assert_eq!(reason(permit), Some(refused));
        }
    }

    #[test]
    fn it_lasts_for_as_long_as_a_payment_must() {
        let at = |seconds: u64| check_deadline(&sponsoring(), time(sponsoring().deadline - seconds));

        assert_eq!(at(6), Ok(()));
        assert_eq!(at(5), Err(Reason::GasSponsoringExpired.into()));
    }
}
