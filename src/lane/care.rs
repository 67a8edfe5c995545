//! What a lane does about nonces that are not spent: sends their bytes again, outbids them, and finds out what became of them.

use super::{Lane, LaneError};
use crate::chain::{Broadcast, BuildError, Rejection};
use crate::domain::ids::SubmissionId;
use crate::domain::submission::{Care, Place, care};
use crate::ledger::blocks::Cursor;
use crate::ledger::leases::Lease;
use crate::ledger::submissions::OpenSlot;
use crate::metrics::{self, SubmissionKind};

impl Lane {
    /// Sends a slot's bytes again, or outbids them, if they have been waiting for too long.
    pub(super) async fn care_for(
        &mut self,
        lease: &Lease,
        (slot, nonce): (&OpenSlot, u64),
        cursor: &Cursor,
    ) -> Result<(), LaneError> {
        let now = self.flows.clock.now();
        match care(&self.policy, slot.signed_at, self.sent.get(&slot.id).copied(), now) {
            Care::Wait => Ok(()),
            Care::Resend => self.resend(lease, (slot, nonce), cursor).await,
            Care::Outbid => self.outbid(lease, (slot, nonce), cursor).await,
        }
    }

    async fn resend(&mut self, lease: &Lease, (slot, nonce): (&OpenSlot, u64), cursor: &Cursor) -> Result<(), LaneError> {
        // Whoever asked for a payment that was given up was told that it is not made, so from then on it is not helped on its way.
        let raw = match &slot.raw {
            Some(raw) if !self.flows.ledger.makes_given_up(slot).await? => raw,
            Some(_) | None => return self.outbid(lease, (slot, nonce), cursor).await,
        };
        self.flows.metrics.submission(&self.network, &self.signer.name, SubmissionKind::Resend, 0);
        match self.send(slot.id, raw).await {
            // Ours or a stranger's transaction took the nonce; the chain says which block knows.
            Broadcast::Rejected(Rejection::NonceTooLow) => self.check_spent(lease, nonce, cursor).await,
            Broadcast::Rejected(Rejection::Underpriced) => self.outbid(lease, (slot, nonce), cursor).await,
            Broadcast::Rejected(_) | Broadcast::Accepted | Broadcast::AlreadyKnown | Broadcast::Unknown => Ok(()),
        }
    }

    /// Signs a further attempt that offers more. A slot whose payments can no longer land, or were given up, is freed by a transfer of
    /// nothing.
    async fn outbid(&mut self, lease: &Lease, (slot, nonce): (&OpenSlot, u64), cursor: &Cursor) -> Result<(), LaneError> {
        let next = self.next_read(lease, cursor).await?;
        if next > nonce {
            return self.note_spent(lease, nonce, cursor).await;
        }
        if self.fill_gap(lease, next, nonce).await? {
            return Ok(());
        }
        let now = self.flows.clock.now();
        let makes_given_up = self.flows.ledger.makes_given_up(slot).await?;
        let mut payments = self.flows.ledger.carried_by(slot.id).await?;
        payments.retain(|payment| payment.expires_at > now);
        // Bytes that were erased had been in a final block, so no pool holds them.
        let outbid = slot.raw.as_ref().map(|_| slot.fees);
        let sendable = slot.raw.as_ref().filter(|_| !makes_given_up);
        let mut built = self.build(&slot.place, outbid, &payments).await;
        if matches!(built, Err(LaneError::Build(BuildError::CannotOutbid))) && sendable.is_none() {
            // What is left of the payments leaves less room for an offer than they all did, and always will. A transfer of nothing
            // has room, and behind it they go through another slot.
            payments.clear();
            built = self.build(&slot.place, outbid, &payments).await;
        }
        let attempt = match built {
            // More is not allowed, or cannot be signed because the operator takes a payment's token no more, or because the signer is
            // away. The bytes that are out stay out, and what may be sent no more is tried again later.
            Err(
                LaneError::Build(
                    BuildError::TooDear | BuildError::CannotOutbid | BuildError::Unreadable(_) | BuildError::UnknownToken(_),
                )
                | LaneError::SignerAway,
            ) => {
                self.sent.insert(slot.id, now);
                if let Some(raw) = sendable {
                    self.send(slot.id, raw).await;
                }
                return Ok(());
            }
            attempt => attempt?,
        };
        let kind = if payments.is_empty() { SubmissionKind::Cancel } else { SubmissionKind::Outbid };
        if self.flows.ledger.add_attempt(lease, &self.network, slot, &attempt, &payments, now).await? {
            self.flows.metrics.submission(&self.network, &self.signer.name, kind, 0);
            self.send(slot.id, &attempt.raw).await;
        }
        Ok(())
    }

    /// Whether the signer's nonce passed the slot in a block that the watcher has read. If so, and the watcher did not find our
    /// transaction there, somebody else used the nonce, and the payments go back to the queue.
    async fn check_spent(&mut self, lease: &Lease, nonce: u64, cursor: &Cursor) -> Result<(), LaneError> {
        if self.next_read(lease, cursor).await? > nonce {
            self.note_spent(lease, nonce, cursor).await?;
        }
        Ok(())
    }

    async fn note_spent(&mut self, lease: &Lease, nonce: u64, cursor: &Cursor) -> Result<(), LaneError> {
        self.flows.note_spent(lease, &self.network, &self.signer.address, nonce, cursor).await?;
        // Whoever used this nonce may have used the next ones too, and if it was a node that made this up, it is found out then.
        self.next = None;
        Ok(())
    }

    /// The signer's next nonce in the newest block that the watcher has read. No slot from there on is spent, whatever was noted.
    ///
    /// Slots are opened again only as far as more may be in flight, because it may be this answer that is wrong; but always the
    /// first one, without which nothing behind it could land.
    pub(super) async fn next_read(&mut self, lease: &Lease, cursor: &Cursor) -> Result<u64, LaneError> {
        let next = self.nonces()?.at(&self.signer.name, &cursor.hash).await?;
        if self.reopenable > 0 {
            let (address, limit) = (&self.signer.address, self.reopenable);
            let reopened = self.flows.reopen(lease, &self.network, address, next, cursor, limit).await?;
            if reopened > 0 {
                self.next = None;
                self.reopenable = self.reopenable.saturating_sub(reopened);
            }
        }
        Ok(next)
    }

    /// Opens slots without payments for the nonces that the chain waits for and that we never used. Returns whether there were
    /// any. A stranger's transaction had used them before the network replaced its block, or a restored database forgot them; no
    /// price moves what is behind such a gap.
    async fn fill_gap(&mut self, lease: &Lease, next: u64, slot: u64) -> Result<bool, LaneError> {
        let limit = self.policy.in_flight_max;
        let missing = self.flows.ledger.missing_nonces(&self.network, &self.signer.address, next, slot, limit).await?;
        for nonce in &missing {
            tracing::warn!(network = %self.network, signer = self.signer.name, nonce, "a nonce that nothing uses is filled");
            self.open_at(lease, Place::Nonce(*nonce), &[]).await?;
        }
        Ok(!missing.is_empty())
    }

    pub(super) async fn send(&mut self, slot: SubmissionId, raw: &[u8]) -> Broadcast {
        let answer = self.chain.broadcast(raw).await;
        self.note_sent(slot, &answer);
        answer
    }

    pub(super) fn note_sent(&mut self, slot: SubmissionId, answer: &Broadcast) {
        self.sent.insert(slot, self.flows.clock.now());
        self.flows.metrics.broadcast(&self.network, counted(answer));
        if let Broadcast::Rejected(rejection) = answer {
            tracing::warn!(network = %self.network, signer = self.signer.name, ?rejection, "the nodes refused a transaction");
        }
    }
}

fn counted(answer: &Broadcast) -> metrics::Broadcast {
    match answer {
        Broadcast::Accepted => metrics::Broadcast::Accepted,
        Broadcast::AlreadyKnown => metrics::Broadcast::Known,
        Broadcast::Rejected(_) => metrics::Broadcast::Rejected,
        Broadcast::Unknown => metrics::Broadcast::Unknown,
    }
}
