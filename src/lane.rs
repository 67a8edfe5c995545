//! A lane: one signer of one network, and the slots through which its transactions go.
//!
//! It takes waiting payments, looks again at those that waited, signs, commits, and only then sends. Committed bytes are sent as
//! often as it takes, and outbid when that is not enough; whether they landed is for the watcher to say. One replica runs a lane;
//! the lease decides which, and whatever can reach the chain is committed under it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::chain::{BuildError, Chain, ChainError, Nonces, Recheck, SignerProfile};
use crate::config::CostLimits;
use crate::domain::ids::{PaymentId, SubmissionId};
use crate::domain::network::Network;
use crate::domain::reason::Reason;
use crate::domain::submission::{LanePolicy, Place, SignedAttempt, compose, may_open, next_nonce};
use crate::domain::verification::{Checked, Sendable};
use crate::flow::tenure::{ASK_AGAIN, TURN_LASTS_MAX, Tenure};
use crate::flow::{Flows, Unavailable};
use crate::ledger::LedgerError;
use crate::ledger::blocks::Cursor;
use crate::ledger::leases::Lease;
use crate::ledger::signers::SignerRecord;
use crate::ledger::submissions::{OpenSlot, Opened};
use crate::metrics::SubmissionKind;
use crate::telemetry::ErrorChain;

pub mod abandoned;
mod care;
mod messages;
mod signing;

use signing::Heard;

/// Between two turns while something is under way; rows of other replicas are noticed at this pace too.
const TURN: Duration = Duration::from_millis(100);

/// How often the signer's balance is looked at.
const BALANCE_READ: Duration = Duration::from_secs(15);

/// A payment that failed alone this often is given up: what fails twice by itself will fail again, and each time costs gas.
const FAILURES_MAX: u16 = 2;

/// One lane.
pub struct Lane {
    flows: Arc<Flows>,
    chain: Arc<dyn Chain>,
    network: Network,
    /// Its name is for people and may change; what is stored names its address, to which nonces belong.
    signer: SignerProfile,
    owner: Uuid,
    policy: LanePolicy,
    cost: CostLimits,
    /// The tokens of the configuration.
    assets: Vec<String>,
    /// When each slot's bytes were handed to a node last, in this process.
    sent: HashMap<SubmissionId, DateTime<Utc>>,
    /// Payments whose authorization was found used, and the head at which that was: the watcher has the word until the next one.
    used: HashMap<PaymentId, u64>,
    last_opened: Option<DateTime<Utc>>,
    next: Option<u64>,
    /// How many slots may still be opened again in this turn.
    reopenable: usize,
    /// The fence under which the above was learnt.
    fence: Option<i64>,
    /// Whether the ledger was found to know all that the signer has sent.
    compared: bool,
    funds: Option<Funds>,
    /// Whether the signer signs.
    heard: Heard,
    /// What the open slots may still take of them.
    committed: u128,
    /// What the last transaction may have cost, if even for a single payment that could not be paid.
    lacking: u128,
}

/// What the signer held when it was looked at last.
#[derive(Debug, Clone, Copy)]
struct Funds {
    balance: u128,
    short: bool,
    read_at: Instant,
}

/// How long a lane rests after a turn.
#[derive(Debug, Clone, Copy)]
enum Pause {
    /// Until a payment comes, or the next look at what other replicas left.
    UntilRung,
    /// So long, whatever comes.
    Fixed(Duration),
}

/// Why a turn came to nothing. The next one begins anew.
#[derive(Debug, thiserror::Error)]
enum LaneError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error("the hourly budgets do not cover the transaction")]
    OverBudget(Vec<PaymentId>),
    #[error("the signer cannot pay for the transaction")]
    Penniless,
    #[error("the signer does not sign")]
    SignerAway,
    #[error("the signer refuses a message")]
    MessageRefused,
    #[error("a turn took too long")]
    TooLong,
}

impl Lane {
    /// The lane of `signer`.
    #[must_use]
    pub fn new(
        flows: Arc<Flows>,
        chain: Arc<dyn Chain>,
        signer: SignerProfile,
        owner: Uuid,
        policy: LanePolicy,
        cost: CostLimits,
    ) -> Self {
        let network = chain.profile().network.clone();
        let assets = chain.profile().assets.iter().map(|asset| asset.address.to_string()).collect();
        Self {
            flows,
            chain,
            network,
            signer,
            owner,
            policy,
            cost,
            assets,
            sent: HashMap::new(),
            used: HashMap::new(),
            last_opened: None,
            next: None,
            reopenable: 0,
            fence: None,
            compared: false,
            funds: None,
            heard: Heard::default(),
            committed: 0,
            lacking: 0,
        }
    }

    /// Runs the lane until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let name = format!("lane:{}:{}", self.network, self.signer.address);
        let label = format!("lane:{}:{}", self.network, self.signer.name);
        let mut tenure = Tenure::new(Arc::clone(&self.flows), name, self.owner).labelled(label);
        let bell = self.flows.bells.of(&self.network);
        while !stop.is_cancelled() {
            let pause = match tenure.lease().await {
                Some(lease) => {
                    // Whoever ran the lane in between may have opened slots that we do not know. The fence tells, even if the
                    // lease was lost and came back within one turn.
                    if self.fence.replace(lease.fence) != Some(lease.fence) {
                        self.forget();
                        // What the ledger says of the signer, it may have been told by somebody else.
                        self.heard.forget_noted();
                    }
                    self.turn(&lease).await
                }
                None => Pause::Fixed(ASK_AGAIN),
            };
            match pause {
                Pause::UntilRung => {
                    stop.run_until_cancelled(tokio::time::timeout(TURN, bell.notified())).await;
                }
                Pause::Fixed(pause) => {
                    stop.run_until_cancelled(tokio::time::sleep(pause)).await;
                }
            }
        }
        tenure.end().await;
    }

    fn forget(&mut self) {
        self.sent.clear();
        self.next = None;
    }

    async fn turn(&mut self, lease: &Lease) -> Pause {
        let worked = tokio::time::timeout(TURN_LASTS_MAX, self.work(lease)).await;
        match worked.unwrap_or(Err(LaneError::TooLong)) {
            Ok(pause) => pause,
            Err(error) => {
                tracing::warn!(network = %self.network, signer = self.signer.name, error = %ErrorChain(&error), "the lane stands still");
                // Its last step may or may not have been committed, so the nonce is read anew. What was handed to nodes was,
                // whatever failed afterwards: slots that counted as unsent after each error would be sent and never outbid.
                self.next = None;
                Pause::Fixed(ASK_AGAIN)
            }
        }
    }

    async fn work(&mut self, lease: &Lease) -> Result<Pause, LaneError> {
        let Some(cursor) = self.flows.ledger.cursor(&self.network).await? else { return Ok(Pause::Fixed(TURN)) };
        if !self.chain.is_prepared() {
            return Ok(Pause::Fixed(TURN));
        }
        if cursor.halted.is_some() {
            // Whatever the network goes on with afterwards may be another history.
            self.forget();
            return Ok(Pause::Fixed(ASK_AGAIN));
        }
        if !self.compared {
            // What it finds is in the cursor of the next turn.
            self.compare_with_chain().await?;
            return Ok(Pause::Fixed(Duration::ZERO));
        }
        if !cursor.has_caught_up() {
            // What a copy of the ledger lacks may have used what would be sent now.
            self.forget();
            return Ok(Pause::Fixed(TURN));
        }
        let mut slots = self.flows.ledger.open_slots(&self.network, &self.signer.address).await?;
        let committed = slots.iter().fold(0_u128, |sum, slot| sum.saturating_add(slot.cost_max));
        if let Some(funds) = &mut self.funds {
            // What slots took that are spent by now is not known before the next look, but no more than this.
            funds.balance = funds.balance.saturating_sub(self.committed.saturating_sub(committed));
        }
        self.committed = committed;
        self.ask_signer().await;
        self.note_away().await?;
        let funds = self.watch_balance().await?;
        self.sent.retain(|slot, _| slots.iter().any(|open| open.id == *slot));
        // Where nodes are so slow that a turn ends before all slots had theirs, the next one begins with those that had none.
        slots.sort_by_key(|slot| self.sent.get(&slot.id).copied());
        self.reopenable = self.policy.in_flight_max.saturating_sub(slots.len()).max(1);
        self.flows.metrics.submissions_in_flight(&self.network, &self.signer.name, slots.len());
        let opened = if self.chain.nonces().is_some() {
            self.work_on_nonces(lease, &slots, &cursor, funds).await?
        } else {
            // No neighbour can take what its payer signed for this signer, however short it is.
            self.work_on_messages(lease, &slots, &cursor).await?
        };
        // With something in flight there is a pace to keep, and payments gather meanwhile.
        let idle = slots.is_empty() && opened == 0;
        Ok(if idle { Pause::UntilRung } else { Pause::Fixed(self.policy.pace.to_std().unwrap_or(TURN).min(TURN)) })
    }

    /// Cares for the open slots, one after the other, and opens one more if there may be one. Returns how many it opened.
    async fn work_on_nonces(
        &mut self,
        lease: &Lease,
        slots: &[OpenSlot],
        cursor: &Cursor,
        funds: Funds,
    ) -> Result<usize, LaneError> {
        for slot in slots {
            let Place::Nonce(nonce) = slot.place else { continue };
            match self.care_for(lease, (slot, nonce), cursor).await {
                Err(LaneError::Ledger(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(network = %self.network, signer = self.signer.name, slot = ?slot.place, error = %ErrorChain(&error), "a slot could not be cared for");
                    // As if it had been sent: what keeps failing must not keep the others waiting every time.
                    self.sent.insert(slot.id, self.flows.clock.now());
                }
                Ok(()) => {}
            }
        }
        if self.heard.is_away || !self.may_open(slots.len()) || funds.short && self.has_able_neighbour().await? {
            return Ok(0);
        }
        Ok(usize::from(self.open(lease, cursor).await?))
    }

    /// Whether a slot may be opened now beside so many others.
    fn may_open(&self, in_flight: usize) -> bool {
        may_open(&self.policy, in_flight, self.last_opened, self.flows.clock.now())
    }

    /// Takes what waits, looks again at what waited for long, and opens one slot for as much as may go together. Returns whether
    /// there was anything to open one for.
    async fn open(&mut self, lease: &Lease, cursor: &Cursor) -> Result<bool, LaneError> {
        let limit = if self.chain.batches() { self.policy.batch_max } else { 1 };
        let Self { network, signer, assets, policy, .. } = self;
        let waiting = self.flows.ledger.take_queued(network, &signer.address, assets, policy.batch_max).await?;
        let mut ready = self.recheck(lease, waiting, cursor.heights.head).await?;
        // The others have a transaction of their own, next.
        if let Some(oldest) = ready.first().cloned() {
            ready.retain(|payment| self.chain.may_share(&oldest, payment));
        }
        let checked: Vec<_> = ready.iter().map(|payment| &payment.checked).collect();
        let payments: Vec<_> = compose(&checked, limit).into_iter().map(|index| ready[index].clone()).collect();
        if payments.is_empty() {
            return Ok(false);
        }
        let nonce = self.next_nonce(lease, cursor).await?;
        self.open_for(lease, nonce, payments).await
    }

    /// Opens a slot for as many of these payments as it can be opened for. Returns whether it did.
    async fn open_for(&mut self, lease: &Lease, nonce: u64, mut payments: Vec<Sendable>) -> Result<bool, LaneError> {
        while !payments.is_empty() {
            match self.open_at(lease, Place::Nonce(nonce), &payments).await {
                Ok(Opened::Committed(_)) => {
                    self.next = Some(nonce + 1);
                    self.last_opened = Some(self.flows.clock.now());
                    return Ok(true);
                }
                // One that was withdrawn in this moment does not keep the others.
                Ok(Opened::PaymentsChanged(left)) => payments.retain(|payment| left.contains(&payment.id)),
                // What the signer cannot pay for all, it can perhaps pay for some.
                Err(LaneError::Penniless) if payments.len() > 1 => payments.truncate(payments.len() / 2),
                Err(error) => {
                    self.refuse(lease, &payments, error).await?;
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    /// Gives up the payments because of which a slot could not be opened; any other error is none of theirs.
    async fn refuse(&self, lease: &Lease, payments: &[Sendable], error: LaneError) -> Result<(), LaneError> {
        match error {
            LaneError::Build(BuildError::TooDear) => {
                let all: Vec<_> = payments.iter().map(|payment| payment.id).collect();
                self.give_up_all(lease, &all, Reason::CostExceedsLimit).await
            }
            LaneError::OverBudget(ids) => self.give_up_all(lease, &ids, Reason::CostExceedsLimit).await,
            LaneError::Build(BuildError::Unreadable(id)) => self.give_up_all(lease, &[id], Reason::InvalidPayload).await,
            error => Err(error),
        }
    }

    /// Signs, commits and sends a slot, unless one of the payments was withdrawn in this moment.
    async fn open_at(&mut self, lease: &Lease, place: Place, payments: &[Sendable]) -> Result<Opened, LaneError> {
        let (opened, raw) = self.commit_slot(lease, place, payments).await?;
        if let Opened::Committed(slot) = opened {
            self.send(slot, &raw).await;
        }
        Ok(opened)
    }

    /// Signs and commits a slot, unless one of the payments was withdrawn in this moment. Only then may the bytes be sent.
    async fn commit_slot(&mut self, lease: &Lease, place: Place, payments: &[Sendable]) -> Result<(Opened, Vec<u8>), LaneError> {
        let attempt = self.build(&place, None, payments).await?;
        self.commit_attempt(lease, (&place, attempt), payments).await
    }

    /// Commits a slot that was signed, unless one of the payments was withdrawn in this moment.
    async fn commit_attempt(
        &mut self,
        lease: &Lease,
        (place, attempt): (&Place, SignedAttempt),
        payments: &[Sendable],
    ) -> Result<(Opened, Vec<u8>), LaneError> {
        // Those that came at once were all let in before the first of them was counted.
        let excess = self.flows.over_budget(&self.network, attempt.cost_expected, payments).await?;
        if !excess.is_empty() {
            return Err(LaneError::OverBudget(excess));
        }
        // Bytes that nobody takes must not be committed: their payments would neither be made nor be free to be asked for again.
        if !self.affords(attempt.cost_max).await? {
            if payments.len() <= 1 {
                // Whoever looks at the balance next notes that the signer is short.
                (self.lacking, self.funds) = (attempt.cost_max, None);
            }
            return Err(LaneError::Penniless);
        }
        let opened = self.flows.open_slot(lease, &self.network, &self.signer.address, place, &attempt, payments).await?;
        let Opened::Committed(_) = opened else { return Ok((opened, attempt.raw)) };
        self.lacking = 0;
        self.committed = self.committed.saturating_add(attempt.cost_max);
        let kind = if payments.is_empty() { SubmissionKind::Cancel } else { SubmissionKind::New };
        self.flows.metrics.submission(&self.network, &self.signer.name, kind, payments.len());
        self.flows.metrics.settlement_cost(&self.network, attempt.cost_expected);
        Ok((opened, attempt.raw))
    }

    /// Payments that were simulated at a block that is not the newest any more are simulated again, all at once. One about
    /// which the nodes say nothing is left for the next turn and does not keep the others.
    async fn recheck(&mut self, lease: &Lease, mut waiting: Vec<Sendable>, head: u64) -> Result<Vec<Sendable>, LaneError> {
        self.used.retain(|_, at| *at == head);
        waiting.retain(|payment| !self.used.contains_key(&payment.id));
        for payment in waiting.extract_if(.., |payment| payment.failures >= FAILURES_MAX) {
            self.give_up_all(lease, &[payment.id], self.chain.failure(&payment)).await?;
        }
        let lasts = self.chain.check_lasts();
        let (stale, mut ready): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|payment| payment.checked.block.saturating_add(lasts) < head);
        let looks = stale.into_iter().map(|payment| async {
            let found = self.chain.recheck(&payment).await;
            (payment, found)
        });
        let (mut found, mut failed) = (Vec::new(), None);
        for (mut payment, look) in futures_util::future::join_all(looks).await {
            let look = match look {
                Ok(look) => look,
                Err(error) => {
                    tracing::warn!(network = %self.network, payment = %payment.id, error = %ErrorChain(&error), "a payment could not be looked at again");
                    failed = Some(error);
                    continue;
                }
            };
            match look {
                Recheck::Good(checked) => {
                    // A payer whose code changed since it was verified keeps out of the others' transaction, and so does a
                    // payment that failed in one.
                    let alone = payment.checked.alone || checked.alone || checked.payer_code != payment.checked.payer_code;
                    payment.checked = Checked { alone, ..checked };
                    found.push((payment.id, payment.checked.clone()));
                    ready.push(payment);
                }
                // That state is older than what is known already. The next turn asks again.
                Recheck::Refused { block, .. } if block < head.max(payment.checked.block) => {
                    tracing::warn!(network = %self.network, payment = %payment.id, block.number = block, "a node lags behind");
                }
                // Never dropped for that: it may have been this very payment that used it.
                Recheck::Refused { refusal, .. } if refusal.reason.means_used() => {
                    self.used.insert(payment.id, head);
                    match self.flows.claim_use(&self.chain, &payment, head).await {
                        Err(Unavailable::Ledger(error)) => return Err(error.into()),
                        Err(error) => {
                            tracing::warn!(network = %self.network, payment = %payment.id, error = %ErrorChain(&error), "the use of a payment's authorization could not be looked for");
                        }
                        Ok(_) => {}
                    }
                }
                Recheck::Refused { refusal, .. } => self.flows.give_up(lease, &self.network, payment.id, refusal).await?,
            }
        }
        if !found.is_empty() {
            self.flows.ledger.note_checked(&found).await?;
        }
        ready.sort_by_key(|payment| payment.id);
        match failed {
            // Then it is not the payments.
            Some(error) if ready.is_empty() => Err(error.into()),
            _ => Ok(ready),
        }
    }

    async fn give_up_all(&self, lease: &Lease, payments: &[PaymentId], reason: Reason) -> Result<(), LaneError> {
        for payment in payments {
            self.flows.give_up(lease, &self.network, *payment, reason.into()).await?;
        }
        Ok(())
    }

    async fn next_nonce(&mut self, lease: &Lease, cursor: &Cursor) -> Result<u64, LaneError> {
        if let Some(next) = self.next {
            return Ok(next);
        }
        let read = self.next_read(lease, cursor).await?;
        let newest = self.nonces()?.newest(&self.signer.name).await?;
        let own = self.flows.ledger.highest_nonce(&self.network, &self.signer.address).await?;
        Ok(next_nonce(read, newest, own))
    }

    /// Looks once, before anything is sent, whether the signer has sent more than the ledger knows of.
    async fn compare_with_chain(&mut self) -> Result<(), LaneError> {
        if let Some(nonces) = self.chain.nonces() {
            let next = nonces.newest(&self.signer.name).await?;
            self.flows.compare_nonce(&self.network, &self.signer.address, next).await?;
        }
        self.compared = true;
        Ok(())
    }

    /// The signers' nonces. Only slots that have some ask for them.
    fn nonces(&self) -> Result<&dyn Nonces, ChainError> {
        let missing = || ChainError::Misconfigured { network: self.network.clone(), what: "it has no account nonces".to_owned() };
        self.chain.nonces().ok_or_else(missing)
    }

    /// Whether another lane of the network can pay for what this one cannot.
    async fn has_able_neighbour(&self) -> Result<bool, LaneError> {
        let standing = self.flows.availability.of(&self.flows.ledger, &self.network).await?;
        let signers = &self.chain.profile().signers;
        Ok(signers.iter().any(|signer| signer.address != self.signer.address && standing.is_able(&signer.address)))
    }

    /// Whether the signer can pay for one more transaction beside those that are under way. Looks again before it says no.
    async fn affords(&mut self, cost_max: u128) -> Result<bool, LaneError> {
        let needed = self.committed.saturating_add(cost_max);
        if self.funds.is_some_and(|funds| funds.balance >= needed) {
            return Ok(true);
        }
        self.funds = None;
        Ok(self.watch_balance().await?.balance >= needed)
    }

    /// Notes now and then what the signer holds, and whether that may not last for another hour at the present rate, or was not enough for
    /// a payment that waits.
    async fn watch_balance(&mut self) -> Result<Funds, LaneError> {
        if let Some(funds) = self.funds.filter(|funds| funds.read_at.elapsed() < BALANCE_READ) {
            return Ok(funds);
        }
        let balance = self.chain.signer_balance(&self.signer.name).await?;
        let now = self.flows.clock.now();
        let rate = self.flows.ledger.spent_lately(&self.network, now).await?;
        // Without anything lacking, what is committed is no debt: it was counted when it was opened.
        let lacking = if self.lacking > 0 { self.committed.saturating_add(self.lacking) } else { 0 };
        let short = balance < rate.max(self.cost.reserve_wei_min).max(lacking);
        if short {
            tracing::error!(network = %self.network, signer = self.signer.name, balance_wei = %balance, "the signer runs out of funds");
        }
        self.flows.metrics.signer_balance(&self.network, &self.signer.name, balance, short);
        let SignerProfile { name, address } = self.signer.clone();
        let record = SignerRecord { address, name, balance, short, away: self.heard.is_away };
        self.flows.ledger.note_signer(&self.network, &record).await?;
        let funds = Funds { balance, short, read_at: Instant::now() };
        self.funds = Some(funds);
        Ok(funds)
    }
}
