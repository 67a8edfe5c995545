//! Forgets what nobody needs any more. docs/OPERATIONS.md says how long each table keeps its rows.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

use super::particulars::Failed;
use super::tenure::TURN_LASTS_MAX;
use super::{Flows, Unavailable};
use crate::chain::Chain;
use crate::domain::event::{EventKind, Subject};
use crate::domain::ids::PaymentId;
use crate::domain::reason::Reason;
use crate::ledger::events::{self, NewEvent};
use crate::ledger::leases::{self, Lease};
use crate::ledger::{
    Db, LedgerError, addresses, budgets, commit, deliveries, idempotency, payments, reconciliations, resources, sessions,
    submissions, webhooks,
};
use crate::telemetry::ErrorChain;

/// Budgets count by the hour, and the last two hours are looked at.
const BUDGETS_KEPT: TimeDelta = TimeDelta::days(2);

/// Whoever repeats a request under its `Idempotency-Key` does so within minutes. Later the ledger tells of the same success anyway.
const ANSWERS_KEPT: TimeDelta = TimeDelta::days(7);

/// What happened to a payment or an invoice is of use as long as somebody may ask what became of it, or has not read it in the stream.
const EVENTS_KEPT: TimeDelta = TimeDelta::days(90);

/// What comparisons came to is of use to whoever checks the books of a year.
const COMPARISONS_KEPT: TimeDelta = TimeDelta::days(400);

/// What became of a webhook is of use to whoever looks for a fault of its receiver, or wants it told again.
const DELIVERIES_KEPT: TimeDelta = TimeDelta::days(30);

/// How long after its expiry a payment that never landed keeps its signature. By then no block in which it could have landed can
/// come back.
const SIGNATURES_KEPT: TimeDelta = TimeDelta::days(1);

/// Who asks for an address signs within minutes. What a challenge that nobody answered was for can be asked for again.
const CHALLENGES_KEPT: TimeDelta = TimeDelta::days(1);

/// Rows that one transaction removes or empties at most, so that nobody waits for its locks for long.
const ROWS_AT_ONCE: u32 = 1_000;

/// One kind of what is forgotten.
#[derive(Debug, Clone, Copy)]
enum Chore {
    Budgets,
    Answers,
    Deliveries,
    Webhooks,
    Events,
    Reconciliations,
    Resources,
    ResourceTerms,
    Challenges,
    Sessions,
    SignedBytes,
    ExpiredPayments,
}

const CHORES: [Chore; 12] = [
    Chore::Budgets,
    Chore::Answers,
    Chore::Deliveries,
    // Behind what they were told.
    Chore::Webhooks,
    Chore::Events,
    Chore::Reconciliations,
    Chore::Resources,
    // Of those that are left.
    Chore::ResourceTerms,
    Chore::Challenges,
    Chore::Sessions,
    Chore::SignedBytes,
    Chore::ExpiredPayments,
];

impl Flows {
    /// Removes old budgets, answers, deliveries, webhooks, events, comparisons, resources, challenges and sessions, erases signed bytes that nobody will send
    /// again, and ends payments that were never made and never can be.
    ///
    /// # Errors
    /// The lease was lost, or something of it could not be done. What was forgotten by then stays forgotten, and one thing that cannot be
    /// forgotten keeps nobody from forgetting the others.
    pub async fn forget(&self, lease: &Lease) -> Result<(), LedgerError> {
        let mut failure = None;
        for chore in CHORES {
            match self.forget_all(lease, chore).await {
                Ok(()) => {}
                Err(LedgerError::LeaseLost) => return Err(LedgerError::LeaseLost),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn forget_all(&self, lease: &Lease, chore: Chore) -> Result<(), LedgerError> {
        while self.forget_some(lease, chore).await? == u64::from(ROWS_AT_ONCE) {}
        Ok(())
    }

    /// Does a part of a chore. Returns how many rows it concerned: fewer than it may if nothing is left.
    async fn forget_some(&self, lease: &Lease, chore: Chore) -> Result<u64, LedgerError> {
        let now = self.clock.now();
        let unmade = match chore {
            Chore::ExpiredPayments => self.unmade(now - SIGNATURES_KEPT).await?,
            Chore::Budgets
            | Chore::Answers
            | Chore::Deliveries
            | Chore::Webhooks
            | Chore::Events
            | Chore::Reconciliations
            | Chore::Resources
            | Chore::ResourceTerms
            | Chore::Challenges
            | Chore::Sessions
            | Chore::SignedBytes => Vec::new(),
        };
        let change = async {
            let mut db = self.ledger.begin().await?;
            leases::require(&mut db, lease).await?;
            let done = match chore {
                Chore::Budgets => budgets::forget(&mut db, now - BUDGETS_KEPT, ROWS_AT_ONCE).await?,
                Chore::Answers => idempotency::forget(&mut db, now - ANSWERS_KEPT, ROWS_AT_ONCE).await?,
                Chore::Deliveries => deliveries::forget(&mut db, now - DELIVERIES_KEPT, ROWS_AT_ONCE).await?,
                Chore::Webhooks => webhooks::forget(&mut db, now - DELIVERIES_KEPT, ROWS_AT_ONCE).await?,
                Chore::Events => events::forget(&mut db, now - EVENTS_KEPT, ROWS_AT_ONCE).await?,
                Chore::Reconciliations => reconciliations::forget(&mut db, now - COMPARISONS_KEPT, ROWS_AT_ONCE).await?,
                Chore::Resources => resources::forget(&mut db, self.discovery.forgotten_before(now), ROWS_AT_ONCE).await?,
                Chore::ResourceTerms => {
                    resources::forget_terms(&mut db, self.discovery.forgotten_before(now), ROWS_AT_ONCE).await?
                }
                Chore::Challenges => addresses::forget_challenges(&mut db, now - CHALLENGES_KEPT, ROWS_AT_ONCE).await?,
                Chore::Sessions => sessions::forget(&mut db, now, ROWS_AT_ONCE).await?,
                Chore::SignedBytes => submissions::erase_bytes(&mut db, now, ROWS_AT_ONCE).await?,
                Chore::ExpiredPayments => expire(&mut db, &unmade, now).await?,
            };
            commit(db).await?;
            Ok(done)
        };
        // Or a connection that fell silent would hold the lease, and nothing would be forgotten any more.
        tokio::time::timeout(TURN_LASTS_MAX, change).await.unwrap_or(Err(LedgerError::silent()))
    }

    /// Of the payments that expired before `until` and have no end, those that the network has not made. A stranger may have landed
    /// one, or a node kept it from us, while nobody asked; it is claimed instead. What cannot be found out is asked again the next
    /// time.
    async fn unmade(&self, until: DateTime<Utc>) -> Result<Vec<PaymentId>, LedgerError> {
        let mut unmade = Vec::new();
        for chain in self.chains.iter() {
            let network = &chain.profile().network;
            // A network that contradicts itself must not decide what failed.
            if !chain.is_prepared() || self.ledger.cursor(network).await?.is_none_or(|cursor| cursor.halted.is_some()) {
                continue;
            }
            let turn_ends = Instant::now() + TURN_LASTS_MAX;
            for payment in self.ledger.overdue(network, until, ROWS_AT_ONCE).await? {
                match self.is_unmade(chain, payment).await {
                    Ok(true) => unmade.push(payment),
                    Ok(false) => {}
                    Err(error) => {
                        let error = ErrorChain(&error);
                        tracing::warn!(%network, %payment, %error, "whether an expired payment was made is not known");
                    }
                }
                // A network that does not answer must not keep the others.
                if Instant::now() > turn_ends {
                    break;
                }
            }
        }
        Ok(unmade)
    }

    async fn is_unmade(&self, chain: &Arc<dyn Chain>, payment: PaymentId) -> Result<bool, Unavailable> {
        match self.is_used(chain, payment).await? {
            Some(true) => {
                if !self.claim_found_use(chain, payment).await? {
                    let network = &chain.profile().network;
                    tracing::warn!(%network, %payment, "an expired payment was used, and nothing tells by whom");
                }
                Ok(false)
            }
            Some(false) => Ok(true),
            None => Ok(false),
        }
    }
}

/// Ends payments that expired long ago, and tells of it.
async fn expire(db: &mut Db, unmade: &[PaymentId], now: DateTime<Utc>) -> Result<u64, LedgerError> {
    let expired = payments::expire(db, unmade, now - SIGNATURES_KEPT, now, ROWS_AT_ONCE).await?;
    let told: Vec<_> = expired
        .iter()
        .filter(|expired| expired.given_up)
        .map(|expired| NewEvent {
            kind: EventKind::PaymentFailed,
            about: Subject::Payment(expired.payment),
            account: expired.provider,
            data: serde_json::json!(Failed::from(Reason::Expired)),
        })
        .collect();
    events::insert(db, &told, now).await?;
    Ok(expired.len() as u64)
}
