//! What a lane does where a message is a slot of its own: sends each payment by itself, and again, until it lands or no longer can.

use futures_util::future::join_all;

use super::{Lane, LaneError};
use crate::chain::Broadcast;
use crate::domain::reason::Reason;
use crate::domain::submission::{Care, Place, care};
use crate::ledger::blocks::Cursor;
use crate::ledger::leases::Lease;
use crate::ledger::submissions::{OpenSlot, Opened};
use crate::metrics::SubmissionKind;

impl Lane {
    /// Opens a slot for each of the payments that wait, as many as may be in flight, and sends them together. Returns how many.
    pub(super) async fn open_messages(&mut self, lease: &Lease, cursor: &Cursor, limit: usize) -> Result<usize, LaneError> {
        let waiting = self.flows.ledger.take_queued(&self.network, &self.signer.address, limit).await?;
        let ready = self.recheck(lease, waiting, cursor.heights.head).await?;
        let mut committed = Vec::with_capacity(ready.len());
        for payment in ready {
            let place = Place::Message(payment.key.clone());
            let payments = [payment];
            match self.commit_slot(lease, place, &payments).await {
                Ok((Opened::Committed(slot), raw)) => committed.push((slot, raw)),
                // It was withdrawn in this moment.
                Ok((Opened::PaymentsChanged(_), _)) => {}
                Err(error) => self.refuse(lease, &payments, error).await?,
            }
        }
        let sent = join_all(committed.iter().map(|(_, raw)| self.chain.broadcast(raw))).await;
        for ((slot, _), answer) in committed.iter().zip(&sent) {
            self.note_sent(*slot, answer);
        }
        self.last_opened = Some(self.flows.clock.now());
        Ok(committed.len())
    }

    /// Sends a slot's bytes again if they have been waiting for too long, and gives its payment up when they can no longer land.
    pub(super) async fn care_for_message(&mut self, lease: &Lease, slot: &OpenSlot, cursor: &Cursor) -> Result<(), LaneError> {
        let now = self.flows.clock.now();
        if care(&self.policy, slot.signed_at, self.sent.get(&slot.id).copied(), now) == Care::Wait {
            return Ok(());
        }
        let until = slot.accepted.and_then(|accepted| self.chain.lands_until(accepted));
        if until.is_some_and(|until| cursor.heights.finalized > until) {
            // Nodes that do not answer are not asked without a pause either.
            self.sent.insert(slot.id, now);
            return self.lapse(lease, slot, cursor).await;
        }
        let Some(raw) = slot.raw.as_ref() else { return Ok(()) };
        if self.flows.ledger.makes_given_up(slot).await? {
            // Whoever asked for it was told that it is not made, so it is not helped on its way.
            return Ok(());
        }
        self.flows.metrics.submission(&self.network, &self.signer.name, SubmissionKind::Resend, 0);
        let _: Broadcast = self.send(slot.id, raw).await;
        Ok(())
    }

    /// Its blocks are final without it, unless the nodes know better when they are asked thoroughly.
    async fn lapse(&self, lease: &Lease, slot: &OpenSlot, cursor: &Cursor) -> Result<(), LaneError> {
        let ledger = &self.flows.ledger;
        let payments = ledger.find_payments(&ledger.made_in(slot.id).await?).await?;
        if self.flows.inquire(&self.chain, &payments, Some(cursor.heights.finalized)).await? {
            return Ok(());
        }
        self.flows.lapse(lease, &self.network, slot.id, cursor.heights.finalized, Reason::TransactionExpired).await?;
        Ok(())
    }
}
