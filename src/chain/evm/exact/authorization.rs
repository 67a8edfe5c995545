//! The authorization must pay the right address exactly the right amount.

use crate::domain::payment::PaymentRequest;
use crate::domain::reason::{Reason, Refusal};
use crate::x402::exact_evm::Eip3009Payload;

/// Compares what was signed with what the resource server requires.
///
/// # Errors
/// [`Reason::RecipientMismatch`] or [`Reason::ValueMismatch`].
pub fn check(request: &PaymentRequest, message: &Eip3009Payload) -> Result<(), Refusal> {
    if message.to != request.pay_to {
        return Err(Reason::RecipientMismatch.into());
    }
    if message.value != request.amount {
        return Err(Reason::ValueMismatch.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::evm::exact::tests::{message, request};
    use crate::domain::address::Address;
    use crate::domain::amount::Amount;

    #[test]
    fn exact_means_exact() {
        let value = |units| check(&request(), &Eip3009Payload { value: Amount::new(units), ..message() });
        let elsewhere = Eip3009Payload { to: Address::Evm([9; 20]), ..message() };

        assert_eq!(value(10_000), Ok(()));
        assert_eq!(value(9_999), Err(Reason::ValueMismatch.into()));
        assert_eq!(value(10_001), Err(Reason::ValueMismatch.into()));
        assert_eq!(check(&request(), &elsewhere), Err(Reason::RecipientMismatch.into()));
    }
}
