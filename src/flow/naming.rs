//! The names under which somebody asks.

use super::Flows;
use super::verify::Verdict;
use crate::domain::payment::Fingerprint;
use crate::domain::reason::{Reason, Refusal};
use crate::ledger::Db;
use crate::ledger::idempotency::{self, StorageKey};

/// What a caller and a payer call the same payment.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// The request, by the caller's `Idempotency-Key`: the same name is told of the same success again.
    pub request: Option<String>,
    /// The payment, by the payer's `payment-identifier`, in the account that asks.
    pub payment: Option<StorageKey>,
}

impl Flows {
    /// A payer's name for its payment unlocks nothing, and refuses another payment than the one that had it.
    pub(super) async fn check_name(&self, name: &StorageKey, fingerprint: Fingerprint) -> Result<(), Verdict> {
        let bound = self.ledger.find_binding(name).await?;
        if bound.is_some_and(|bound| bound.fingerprint != fingerprint) { Err(taken().into()) } else { Ok(()) }
    }

    /// Gives a payment its payer's name in the transaction that accepts it: of two that race for the name one is made. What is refused, or
    /// is withdrawn before it was sent, uses up no name, or a payer could not sign anew.
    pub(super) async fn take_name(&self, db: &mut Db, name: &StorageKey, fingerprint: Fingerprint) -> Result<(), Verdict> {
        let has_it = idempotency::bind_same(db, name, fingerprint, self.clock.now()).await?;
        if has_it { Ok(()) } else { Err(taken().into()) }
    }
}

fn taken() -> Refusal {
    Refusal::because(Reason::PaymentIdentifierReused, "the payer has given another payment the same payment-identifier")
}
