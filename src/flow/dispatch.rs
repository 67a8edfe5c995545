//! What lanes decide about payments: into a slot, out of a spent one, or given up.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::Flows;
use super::particulars::Failed;
use crate::domain::budget::{Beneficiaries, covered, share};
use crate::domain::event::{EventKind, Subject};
use crate::domain::ids::{PaymentId, SubmissionId};
use crate::domain::network::Network;
use crate::domain::reason::{Reason, Refusal};
use crate::domain::submission::{Place, SignedAttempt};
use crate::domain::verification::Sendable;
use crate::ledger::blocks::{self, Cursor};
use crate::ledger::events::{self, NewEvent};
use crate::ledger::leases::{self, Lease};
use crate::ledger::news::notify_block;
use crate::ledger::submissions::{self, NewSlot, Opened};
use crate::ledger::{Db, LedgerError, commit, payments};

impl Flows {
    /// Commits a slot with its bytes, its payments, and what it costs for whom.
    ///
    /// # Errors
    /// The lease was lost, or the database could not be reached; then the outcome is open.
    pub async fn open_slot(
        &self,
        lease: &Lease,
        network: &Network,
        signer: &str,
        place: &Place,
        attempt: &SignedAttempt,
        payments: &[Sendable],
    ) -> Result<Opened, LedgerError> {
        let costs = shares(attempt.cost_expected, payments);
        let new = NewSlot { network, signer, place, attempt, payments, costs: &costs };
        let opened = self.ledger.open_slot(lease, &new, self.clock.now()).await?;
        if matches!(opened, Opened::Committed(_)) {
            self.waiting.note_sent(payments.iter().map(|payment| payment.id), &attempt.transaction);
        }
        Ok(opened)
    }

    /// For each of several payments, in order, whether the hourly budgets still cover its `cost`. Without limits nothing is asked.
    pub(super) async fn covered(
        &self,
        network: &Network,
        cost: u128,
        payments: &[Beneficiaries],
    ) -> Result<Vec<bool>, LedgerError> {
        let limits = self.policies.get(network).map(|policy| policy.cost.hourly).unwrap_or_default();
        let subjects: BTreeSet<_> =
            payments.iter().flat_map(|payment| payment.bounded(&limits)).map(|(subject, _)| subject).collect();
        if subjects.is_empty() {
            return Ok(vec![true; payments.len()]);
        }
        let subjects: Vec<_> = subjects.into_iter().collect();
        let spent = self.ledger.spent(network, &subjects, self.clock.now()).await?;
        Ok(covered(&limits, spent, cost, payments))
    }

    /// Of payments that are to share a transaction, oldest first, those that the hourly budgets do not cover any more.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn over_budget(&self, network: &Network, cost: u128, payments: &[Sendable]) -> Result<Vec<PaymentId>, LedgerError> {
        let beneficiaries: Vec<_> = payments.iter().map(Beneficiaries::from).collect();
        let covered = self.covered(network, share(cost, payments.len()), &beneficiaries).await?;
        Ok(payments.iter().zip(covered).filter(|(_, covered)| !covered).map(|(payment, _)| payment.id).collect())
    }

    /// Gives a waiting payment up and tells those who wait for it.
    ///
    /// # Errors
    /// The lease was lost, or the database could not be reached.
    pub async fn give_up(&self, lease: &Lease, network: &Network, id: PaymentId, refusal: Refusal) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let mut db = self.ledger.begin().await?;
        leases::require(&mut db, lease).await?;
        let Some((payment, account)) = payments::give_up(&mut db, id, refusal.reason, now).await? else { return Ok(()) };
        let data = json!(Failed::from(refusal.clone()));
        events::insert(
            &mut db,
            &[NewEvent { kind: EventKind::PaymentFailed, about: Subject::Payment(payment), account, data }],
            now,
        )
        .await?;
        notify_block(&mut db, network).await?;
        commit(db).await?;
        self.metrics.payment_failed(network, refusal.reason);
        self.waiting.wake(network);
        Ok(())
    }

    /// Notes that a signer's nonce passed a slot without our transaction at the block of `seen`, unless the reading of the network has
    /// left that block since; the slot's payments go back to the queue.
    ///
    /// # Errors
    /// The lease was lost, or the database could not be reached.
    pub async fn note_spent(
        &self,
        lease: &Lease,
        network: &Network,
        signer: &str,
        nonce: u64,
        seen: &Cursor,
    ) -> Result<(), LedgerError> {
        let mut db = self.ledger.begin().await?;
        leases::require(&mut db, lease).await?;
        if !still_stands_at(&mut db, network, seen).await? {
            return Ok(());
        }
        let unpaid = submissions::mark_spent(&mut db, network, signer, nonce, seen.heights.head).await?;
        commit(db).await?;
        if !unpaid.is_empty() {
            tracing::warn!(%network, signer, nonce, payments = unpaid.len(), "a slot was spent without its payments");
        }
        self.bells.ring(network);
        Ok(())
    }

    /// Gives up the payments of slots whose messages can no longer land, and notes that the slots are spent.
    ///
    /// # Errors
    /// The lease was lost, or the database could not be reached.
    pub async fn lapse(
        &self,
        lease: &Lease,
        network: &Network,
        slots: &[SubmissionId],
        height: u64,
        reason: Reason,
    ) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let mut db = self.ledger.begin().await?;
        leases::require(&mut db, lease).await?;
        let mut told = Vec::new();
        for unpaid in submissions::mark_messages_spent(&mut db, slots, height).await? {
            if let Some((payment, account)) = payments::give_up(&mut db, unpaid, reason, now).await? {
                let data = json!(Failed::from(reason));
                told.push(NewEvent { kind: EventKind::PaymentFailed, about: Subject::Payment(payment), account, data });
            }
        }
        events::insert(&mut db, &told, now).await?;
        notify_block(&mut db, network).await?;
        commit(db).await?;
        for _ in &told {
            self.metrics.payment_failed(network, reason);
        }
        self.waiting.wake(network);
        Ok(())
    }

    /// Opens those of the `limit` slots of a signer from `next` on again that were noted as spent, though its nonce has only come
    /// to there at the block of `seen`: a node was wrong, or the block that spent them is gone. Everything behind such a slot would
    /// wait for it for ever.
    /// Returns how many there were.
    ///
    /// # Errors
    /// The lease was lost, or the database could not be reached.
    pub async fn reopen(
        &self,
        lease: &Lease,
        network: &Network,
        signer: &str,
        next: u64,
        seen: &Cursor,
        limit: usize,
    ) -> Result<usize, LedgerError> {
        let mut db = self.ledger.begin().await?;
        leases::require(&mut db, lease).await?;
        if !still_stands_at(&mut db, network, seen).await? {
            return Ok(0);
        }
        let reopened = submissions::reopen_from(&mut db, network, signer, next, limit).await?;
        commit(db).await?;
        if reopened > 0 {
            tracing::warn!(%network, signer, next, slots = reopened, "slots that were not spent are open again");
        }
        Ok(reopened)
    }
}

/// Whether the network is still read up to the block of `seen`, and on, until the transaction ends. What a node said of that block
/// means nothing for another one.
async fn still_stands_at(db: &mut Db, network: &Network, seen: &Cursor) -> Result<bool, LedgerError> {
    let cursor = blocks::lock_cursor(db, network).await?;
    Ok(cursor.is_some_and(|cursor| cursor.hash == seen.hash))
}

/// Splits a transaction's cost evenly over its payments, by the budgets that each counts for.
fn shares(cost: u128, payments: &[Sendable]) -> BTreeMap<String, u128> {
    let share = share(cost, payments.len());
    let mut costs = BTreeMap::new();
    for payment in payments {
        for (_, subject) in Beneficiaries::from(payment).subjects() {
            *costs.entry(subject).or_insert(0) += share;
        }
    }
    costs
}
