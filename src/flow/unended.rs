//! How long payments have been under way.

use super::Flows;
use crate::ledger::LedgerError;
use crate::ledger::payments::Backlog;

impl Flows {
    /// Measures how long payments have been under way.
    ///
    /// # Errors
    /// The database could not be reached. Then the last word stands.
    pub async fn measure_payments(&self) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let age = |found: Backlog| (found.network, found.state, (now - found.oldest).to_std().unwrap_or_default());
        let ages: Vec<_> = self.ledger.unended().await?.into_iter().map(age).collect();
        self.metrics.payments_oldest(&ages);
        Ok(())
    }
}
