//! What a lane does where a message is a slot of its own: sends each payment by itself, and again, until it lands or no longer can.

use futures_util::future::join_all;

use super::{Lane, LaneError};
use crate::domain::ids::SubmissionId;
use crate::domain::reason::Reason;
use crate::domain::submission::{Care, Place, care};
use crate::domain::verification::Sendable;
use crate::ledger::blocks::Cursor;
use crate::ledger::leases::Lease;
use crate::ledger::submissions::{OpenSlot, Opened};
use crate::metrics::SubmissionKind;
use crate::telemetry::ErrorChain;

/// Payments that are signed and committed before the first of them is sent.
const SENT_TOGETHER: usize = 64;

impl Lane {
    /// Sends what was committed and never sent, opens slots for the payments that wait, and only then cares for those that are open: what
    /// does not land, and nodes that hang over it, must not keep a new payment waiting. Returns how many it opened.
    pub(super) async fn work_on_messages(
        &mut self,
        lease: &Lease,
        slots: &[OpenSlot],
        cursor: &Cursor,
    ) -> Result<usize, LaneError> {
        let unsent: Vec<_> =
            slots.iter().filter(|slot| !self.sent.contains_key(&slot.id) && !self.lands_no_more(slot, cursor)).collect();
        self.send_again(&unsent).await?;
        let opened = if !self.heard.is_away && self.may_open(slots.len()) {
            self.open_messages(lease, cursor, self.policy.in_flight_max - slots.len()).await
        } else {
            Ok(0)
        };
        match self.care_for_messages(lease, slots, cursor).await {
            Err(LaneError::Ledger(error)) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(network = %self.network, signer = self.signer.name, error = %ErrorChain(&error), "slots could not be cared for");
            }
            Ok(()) => {}
        }
        opened
    }

    /// Opens a slot for each of the payments that wait, as many as may be in flight, and sends them in groups. Returns how many.
    async fn open_messages(&mut self, lease: &Lease, cursor: &Cursor, limit: usize) -> Result<usize, LaneError> {
        let mut waiting = self.flows.ledger.take_queued(&self.network, &self.signer.address, &self.assets, limit).await?;
        waiting.retain(|payment| !self.is_refused(payment.id));
        let ready = self.recheck(lease, waiting, cursor.heights.head).await?;
        let mut opened = Ok(0);
        for group in ready.chunks(SENT_TOGETHER) {
            let Ok(before) = opened else { break };
            opened = self.open_group(lease, group).await.map(|more| before + more);
        }
        self.last_opened = Some(self.flows.clock.now());
        opened
    }

    /// Signs for a few payments, commits their slots, and sends them together. Returns how many.
    async fn open_group(&mut self, lease: &Lease, payments: &[Sendable]) -> Result<usize, LaneError> {
        let (mut committed, mut failure) = (Vec::with_capacity(payments.len()), None);
        let built = self.build_messages(payments).await;
        for (payment, built) in payments.iter().zip(built) {
            let (place, payment) = (Place::Message(payment.key.clone()), std::slice::from_ref(payment));
            let opened = match built {
                Ok(attempt) => self.commit_attempt(lease, (&place, attempt), payment).await,
                Err(error) => Err(error),
            };
            match opened {
                Ok((Opened::Committed(slot), raw)) => committed.push((slot, raw)),
                // It was withdrawn in this moment, or the signer refuses it, for which the others do not wait.
                Ok((Opened::PaymentsChanged(_), _)) | Err(LaneError::MessageRefused) => {}
                Err(LaneError::SignerAway) => failure = Some(LaneError::SignerAway),
                Err(error) => {
                    if let Err(error) = self.refuse(lease, payment, error).await {
                        failure = Some(error);
                        break;
                    }
                }
            }
        }
        // What is committed is sent, whatever kept the others from it.
        let bytes: Vec<_> = committed.iter().map(|(slot, raw)| (*slot, raw.as_slice())).collect();
        self.send_all(&bytes).await;
        failure.map_or(Ok(committed.len()), Err)
    }

    /// Sends the bytes of slots that have been waiting for too long again, and gives up the payments of those that can no longer land.
    async fn care_for_messages(&mut self, lease: &Lease, slots: &[OpenSlot], cursor: &Cursor) -> Result<(), LaneError> {
        let now = self.flows.clock.now();
        let is_due = |slot: &&OpenSlot| care(&self.policy, slot.signed_at, self.sent.get(&slot.id).copied(), now) != Care::Wait;
        let (mut over, mut due): (Vec<_>, Vec<_>) = slots.iter().partition(|slot| self.lands_no_more(slot, cursor));
        due.retain(is_due);
        // One question serves them all, so nobody waits for a turn of its own.
        if !over.iter().any(is_due) {
            over.clear();
        }
        self.send_again(&due).await?;
        self.lapse(lease, &over, cursor).await
    }

    /// Whether the block is final after which a slot's message is not taken.
    fn lands_no_more(&self, slot: &OpenSlot, cursor: &Cursor) -> bool {
        let until = slot.accepted.and_then(|accepted| self.chain.lands_until(accepted));
        until.is_some_and(|until| cursor.heights.finalized > until)
    }

    /// All together: each of them may take as long as the slowest node.
    async fn send_again(&mut self, slots: &[&OpenSlot]) -> Result<(), LaneError> {
        let mut bytes = Vec::with_capacity(slots.len());
        for slot in slots {
            // Whoever asked for one that was given up was told that it is not made, so it is not helped on its way.
            if let Some(raw) = &slot.raw
                && !self.flows.ledger.makes_given_up(slot).await?
            {
                self.flows.metrics.submission(&self.network, &self.signer.name, SubmissionKind::Resend, 0);
                bytes.push((slot.id, raw.as_slice()));
            } else {
                // So that nobody asks for it again in every turn.
                self.sent.insert(slot.id, self.flows.clock.now());
            }
        }
        self.send_all(&bytes).await;
        Ok(())
    }

    async fn send_all(&mut self, slots: &[(SubmissionId, &[u8])]) {
        let answers = join_all(slots.iter().map(|(_, raw)| self.chain.broadcast(raw))).await;
        for ((slot, _), answer) in slots.iter().zip(&answers) {
            self.note_sent(*slot, answer);
        }
    }

    /// Their blocks are final without them, unless the nodes know better when they are asked thoroughly, once for all.
    async fn lapse(&mut self, lease: &Lease, slots: &[&OpenSlot], cursor: &Cursor) -> Result<(), LaneError> {
        if slots.is_empty() {
            return Ok(());
        }
        let (ledger, finalized) = (&self.flows.ledger, cursor.heights.finalized);
        let mut made = Vec::with_capacity(slots.len());
        for slot in slots {
            // Nodes that do not answer are not asked without a pause either.
            self.sent.insert(slot.id, self.flows.clock.now());
            made.extend(ledger.made_in(slot.id).await?);
        }
        let payments = ledger.find_payments(&made).await?;
        let known = self.flows.inquire(&self.chain, &payments, Some(finalized)).await?;
        let is_unknown = |slot: &&&OpenSlot| !matches!(&slot.place, Place::Message(key) if known.contains(key));
        let gone: Vec<_> = slots.iter().filter(is_unknown).map(|slot| slot.id).collect();
        if !gone.is_empty() {
            self.flows.lapse(lease, &self.network, &gone, finalized, Reason::TransactionExpired).await?;
        }
        Ok(())
    }
}
