//! Forgets what nobody needs any more. docs/OPERATIONS.md says how long each table keeps its rows.

use chrono::TimeDelta;

use super::Flows;
use crate::domain::event::EventKind;
use crate::domain::reason::Reason;
use crate::ledger::events::{self, NewEvent};
use crate::ledger::leases::{self, Lease};
use crate::ledger::{LedgerError, budgets, commit, payments};

/// Budgets count by the hour, and the last two hours are looked at.
const BUDGETS_KEPT: TimeDelta = TimeDelta::days(2);

/// How long after its expiry a payment that never landed keeps its signature. By then no block in which it could have landed can
/// come back.
const SIGNATURES_KEPT: TimeDelta = TimeDelta::days(1);

impl Flows {
    /// Removes old budgets, and ends payments that were never made and never can be.
    ///
    /// # Errors
    /// The lease was lost, or the database could not be reached.
    pub async fn forget(&self, lease: &Lease) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let mut db = self.ledger.begin().await?;
        leases::require(&mut db, lease).await?;
        budgets::forget(&mut db, now - BUDGETS_KEPT).await?;
        let ended = payments::expire(&mut db, now - SIGNATURES_KEPT, now).await?;
        let told: Vec<_> = ended
            .into_iter()
            .map(|(payment, account)| NewEvent {
                kind: EventKind::PaymentFailed,
                payment,
                account,
                data: serde_json::json!({"reason": Reason::Expired.code()}),
            })
            .collect();
        events::insert(&mut db, &told, now).await?;
        commit(db).await
    }
}
