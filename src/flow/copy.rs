//! Notices that the database is an older copy of the ledger: nobody is told a second time of what was told since it was taken.

use super::Flows;
use crate::domain::network::Network;
use crate::ledger::LedgerError;

impl Flows {
    /// Notices a copy that shows itself as one, before anything is claimed, told or sent.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn notice_copy(&self) -> Result<(), LedgerError> {
        if self.ledger.notice_copy(self.clock.now()).await? {
            tracing::warn!("the database is a copy that was restored: what the networks show up to now counts as told");
        }
        Ok(())
    }

    /// Treats the ledger as a copy as far as one network is concerned, if a signer of ours has sent more than the ledger knows of: its
    /// `next` nonce tells. Somebody else may have the key, and in both cases more may have been told than is known.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn compare_nonce(&self, network: &Network, signer: &str, next: u64) -> Result<(), LedgerError> {
        if self.ledger.distrust_nonce(network, signer, next, self.clock.now()).await? {
            tracing::error!(%network, signer, next, "the signer has sent what the ledger does not know: it is an older copy, or somebody else has the key");
            self.waiting.wake(network);
        }
        Ok(())
    }
}
