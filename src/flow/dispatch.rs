//! What lanes decide about payments: into a slot, out of a spent one, or given up.

use std::collections::BTreeMap;

use serde_json::json;

use super::Flows;
use crate::domain::budget::Beneficiaries;
use crate::domain::event::EventKind;
use crate::domain::ids::PaymentId;
use crate::domain::network::Network;
use crate::domain::reason::Refusal;
use crate::domain::submission::SignedAttempt;
use crate::domain::verification::Sendable;
use crate::ledger::events::{self, NewEvent};
use crate::ledger::leases::{self, Lease};
use crate::ledger::submissions::{self, NewSlot, Opened};
use crate::ledger::{LedgerError, commit, notify_block, payments};

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
        nonce: u64,
        attempt: &SignedAttempt,
        payments: &[Sendable],
    ) -> Result<Opened, LedgerError> {
        let costs = shares(attempt.cost_expected, payments);
        let new = NewSlot { network, signer, nonce, attempt, payments, costs: &costs };
        let opened = self.ledger.open_slot(lease, &new, self.clock.now()).await?;
        if let Opened::Committed(_) = opened {
            self.waiting.note_sent(payments.iter().map(|payment| payment.id), &attempt.transaction);
        }
        Ok(opened)
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
        let data = json!({"reason": refusal.reason.code(), "detail": refusal.detail});
        events::insert(&mut db, &[NewEvent { kind: EventKind::PaymentFailed, payment, account, data }], now).await?;
        notify_block(&mut db, network).await?;
        commit(db).await?;
        self.metrics.payment_failed(network, refusal.reason);
        self.waiting.wake(network);
        Ok(())
    }

    /// Notes that a signer's nonce passed a slot without our transaction; its payments go back to the queue.
    ///
    /// # Errors
    /// The lease was lost, or the database could not be reached.
    pub async fn note_spent(
        &self,
        lease: &Lease,
        network: &Network,
        signer: &str,
        nonce: u64,
        block: u64,
    ) -> Result<(), LedgerError> {
        let mut db = self.ledger.begin().await?;
        leases::require(&mut db, lease).await?;
        let unpaid = submissions::mark_spent(&mut db, network, signer, nonce, block).await?;
        commit(db).await?;
        if !unpaid.is_empty() {
            tracing::warn!(%network, signer, nonce, payments = unpaid.len(), "a slot was spent without its payments");
        }
        self.bells.ring(network);
        Ok(())
    }
}

/// Splits a transaction's cost evenly over its payments, by the budgets that each counts for.
fn shares(cost: u128, payments: &[Sendable]) -> BTreeMap<String, u128> {
    let share = cost / (payments.len().max(1) as u128);
    let mut costs = BTreeMap::new();
    for payment in payments {
        let beneficiaries = Beneficiaries { payer: payment.payer, provider: payment.provider, pay_to: payment.pay_to };
        for (_, subject) in beneficiaries.subjects() {
            *costs.entry(subject).or_insert(0) += share;
        }
    }
    costs
}
