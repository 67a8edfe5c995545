//! How many payments are under way, and for how long.

use super::Flows;
use crate::ledger::LedgerError;
use crate::ledger::payments::Backlog;

impl Flows {
    /// Measures how many payments are under way, and for how long.
    ///
    /// # Errors
    /// The database could not be reached. Then the last word stands.
    pub async fn measure_payments(&self) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let measured = |found: Backlog| {
            let age = (now - found.oldest).to_std().unwrap_or_default();
            (found.network, found.state, found.payments, age)
        };
        let found: Vec<_> = self.ledger.unended().await?.into_iter().map(measured).collect();
        self.metrics.payments_unended(&found);
        Ok(())
    }
}
