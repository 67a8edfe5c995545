//! Undoes blocks that the network replaced. The states of payments then follow from what is left.

use serde_json::json;

use super::Flows;
use super::credit::settle_standings;
use super::particulars::Undone;
use crate::domain::block::{BlockHash, Heights};
use crate::domain::event::{EventKind, Subject};
use crate::domain::network::Network;
use crate::ledger::events::{self, NewEvent};
use crate::ledger::leases::{self, Lease};
use crate::ledger::news::notify_block;
use crate::ledger::{LedgerError, blocks, commit, payments, receipts, submissions, transfers};

impl Flows {
    /// Goes back to `ancestor`, the newest block that the old and the new chain share.
    ///
    /// Claims above it are removed and slots above it are open again, so the lanes send their bytes anew. Whoever was told of a
    /// success that is gone now is told that too. Below the newest final block this happens only on an operator's word, and what
    /// was final there is not sent again, because its signature is erased; if it lands after all, it is recovered.
    ///
    /// # Errors
    /// The lease was lost, or the database could not be reached; then nothing was undone, or all of it.
    pub async fn reorg(&self, lease: &Lease, network: &Network, ancestor: (u64, BlockHash)) -> Result<(), LedgerError> {
        let (number, hash) = ancestor;
        let now = self.clock.now();
        let mut db = self.ledger.begin().await?;
        leases::require(&mut db, lease).await?;
        let Some(cursor) = blocks::lock_cursor(&mut db, network).await? else { return Ok(()) };
        if number < cursor.untouchable() {
            return Ok(());
        }
        // In this order: whoever gives a transfer to an invoice holds it, so what was claimed before it is orphaned is dropped, too.
        blocks::orphan_above(&mut db, network, number).await?;
        let lost = transfers::drop_claims_above(&mut db, network, number, now).await?;
        // Behind the locks on transfers, so that it sees the receipt of one which was given to an invoice in this very moment.
        receipts::revoke_above(&mut db, network, number, now).await?;
        submissions::reopen_above(&mut db, network, number).await?;
        let Heights { safe, finalized, .. } = cursor.heights;
        if number < finalized {
            let ids: Vec<_> = lost.payments.iter().map(|claim| claim.payment).collect();
            payments::undo_final(&mut db, &ids, now).await?;
            blocks::lower_final(&mut db, network, number).await?;
        }
        let heights = Heights { head: number, safe: safe.min(number), finalized: finalized.min(number) };
        blocks::move_cursor(&mut db, network, &hash, heights).await?;
        let mut told: Vec<_> = lost
            .payments
            .iter()
            .filter(|claim| claim.handed_out)
            .map(|claim| NewEvent {
                kind: EventKind::PaymentReversed,
                about: Subject::Payment(claim.payment),
                account: claim.provider,
                data: json!(Undone { transaction: claim.transaction.clone() }),
            })
            .collect();
        let reversed = told.len();
        told.extend(settle_standings(&mut db, &lost.invoices.iter().copied().collect(), now).await?);
        events::insert(&mut db, &told, now).await?;
        notify_block(&mut db, network).await?;
        commit(db).await?;

        let depth = cursor.heights.head.saturating_sub(number);
        tracing::warn!(%network, depth, block.number = number, lost = lost.payments.len() + lost.invoices.len(), "the network replaced blocks");
        self.metrics.reorg(network, depth);
        self.count_told(&told);
        for _ in 0..reversed {
            self.metrics.payment_reversed(network);
        }
        self.waiting.wake(network);
        self.bells.ring(network);
        Ok(())
    }
}
