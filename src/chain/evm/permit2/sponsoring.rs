//! What lets Permit2 take the token without a transaction of the payer's (EIP-2612) must fit the payment that it comes with, and be
//! signed by the payer. Whether a wallet signed it, and whether the nonce is its next one, is for the token to say, in the simulation of
//! both together.

use alloy::primitives::{B256, U256, keccak256};
use alloy::sol_types::SolStruct;
use chrono::{DateTime, TimeDelta, Utc};

use super::super::abi::EIP2612;
use super::super::exact::evm;
use super::super::exact::signature::plain;
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

/// Whether the payer signed it as an ordinary account, for the token whose domain has this `separator`.
#[must_use]
pub fn is_own(permit: &TokenPermit, separator: B256) -> bool {
    plain(&permit.signature, digest(separator, permit), permit.from).is_some()
}

/// The hash that the payer signs.
fn digest(separator: B256, permit: &TokenPermit) -> B256 {
    let message = EIP2612::Permit {
        owner: evm(permit.from),
        spender: evm(permit.spender),
        value: U256::from(permit.amount.units()),
        nonce: U256::from_be_bytes(permit.nonce),
        deadline: U256::from(permit.deadline),
    };
    keccak256([&[0x19, 0x01], separator.as_slice(), message.eip712_hash_struct().as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden, sponsoring, token_separator};
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
    fn what_is_hashed_is_what_other_libraries_hash() {
        let hashed = digest(token_separator(), &sponsoring()).to_string();

        assert_eq!(hashed, "0x1c25b6b46b1ee22f6e14a51eba91506430a2c75c45c7910aa0f7e13b686b35a6");
    }

    #[test]
    fn only_the_payers_own_signature_over_exactly_this_counts() {
        let is_own = |permit: &TokenPermit| is_own(permit, token_separator());
        let elsewhere = Address::Evm([9; 20]);
        let mut altered = sponsoring();
        altered.signature[3] ^= 1;

        assert!(is_own(&sponsoring()));
        for other in [
            altered,
            TokenPermit { from: elsewhere, ..sponsoring() },
            TokenPermit { spender: elsewhere, ..sponsoring() },
            TokenPermit { amount: Amount::new(10_001), ..sponsoring() },
            TokenPermit { nonce: [1; 32], ..sponsoring() },
            TokenPermit { deadline: sponsoring().deadline + 1, ..sponsoring() },
        ] {
            assert!(!is_own(&other), "{other:?}");
        }
        assert!(!super::is_own(&sponsoring(), B256::ZERO), "for another token");
    }

    #[test]
    fn it_lasts_for_as_long_as_a_payment_must() {
        let at = |seconds: u64| check_deadline(&sponsoring(), time(sponsoring().deadline - seconds));

        assert_eq!(at(6), Ok(()));
        assert_eq!(at(5), Err(Reason::GasSponsoringExpired.into()));
    }
}
