//! Settles a payment, and answers once.
//!
//! Rules, then the ledger: an authorization that is held is joined or refused, whoever asks. Otherwise the chain is asked, the
//! payment is recorded, and a lane sends it. The caller only waits; nothing that must finish belongs to it.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;

use super::naming::Names;
use super::receipt::SignedReceipt;
use super::verify::Verdict;
use super::waiting::{Outcome, Sent, Ticket, single_taker};
use super::{Flows, Unavailable};
use crate::chain::{Chain, VerifiedPayment, Wanted};
use crate::domain::account::Caller;
use crate::domain::answer::AnswerPolicy;
use crate::domain::block::Level;
use crate::domain::budget::Beneficiaries;
use crate::domain::ids::{AccountId, InvoiceId, PaymentId};
use crate::domain::payment::{Claim, Fingerprint, Payment, PaymentRequest, State};
use crate::domain::reason::{Reason, Refusal};
use crate::domain::verification::{ExaminedPayment, Purpose};
use crate::ledger::idempotency::StorageKey;
use crate::ledger::payments::{self, NewPayment};
use crate::ledger::settings::Recipient;
use crate::ledger::{LedgerError, commit};

mod waive;

/// How a settle request ended.
#[derive(Debug)]
pub enum Settled {
    /// Paid. Nobody else is told this.
    Success {
        /// Which payment.
        payment: PaymentId,
        /// The transfer.
        claim: Claim,
        /// How deep it stands.
        level: Level,
        /// Its receipt, as far as there was one in time.
        receipt: SignedReceipt,
    },
    /// Nothing is due, and nothing was moved. Nobody else is told this.
    Waived {
        /// Which payment.
        payment: PaymentId,
    },
    /// Not paid, or not to this caller.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Which payment, if there is one.
        payment: Option<PaymentId>,
        /// The transaction concerned, if there is one.
        transaction: Option<String>,
    },
    /// Signed bytes are out, or may be. The same request asks for the end.
    Pending {
        /// Which payment.
        payment: PaymentId,
        /// The newest transaction.
        transaction: String,
    },
    /// No verdict, and no bytes are known to be out. What an earlier request or another replica sent is found out by asking again.
    Unavailable(Unavailable),
}

/// Pause between attempts to find out whether a lost COMMIT went through.
const FIND_OUT_PAUSE: Duration = Duration::from_millis(200);

/// Pause before the ledger is asked again about a payment that changed while it was looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Pause before the network is asked again about a payment that somebody else has landed, or may still land. Its next block, or the
/// watcher's reading of it, will tell.
const SEARCH_AGAIN: Duration = Duration::from_millis(500);

/// After its deadline a request is given up on if it has not come to an end by itself.
const GRACE: Duration = Duration::from_secs(2);

/// One settle request on its way.
struct Errand<'a> {
    examined: Arc<ExaminedPayment>,
    fingerprint: Fingerprint,
    caller: &'a Caller,
    taker: String,
    /// What the payer calls its payment.
    name: Option<StorageKey>,
    merchant: Option<AccountId>,
    answer_at: Level,
    offer_receipts: bool,
    deadline: Instant,
    sent: Arc<Sent>,
}

impl Errand<'_> {
    /// How long the caller still waits.
    fn wait(&self) -> TimeDelta {
        TimeDelta::from_std(self.deadline.saturating_duration_since(Instant::now())).unwrap_or_default()
    }
}

/// How recording a payment ended.
enum Recorded {
    Yes,
    HeldBySomebodyElse,
    /// The answer to the COMMIT was lost.
    Unknown(LedgerError),
}

/// What the ledger says about the authorization.
enum Held {
    /// Joined: wait for this payment.
    Wait(PaymentId, Ticket),
    /// Nothing more will happen.
    Done(Settled),
    /// It stopped being what it was while we looked.
    Again,
}

impl Flows {
    /// Settles a payment, and tells of its success once under each name of a request. A caller that waits no longer than `within` is
    /// told how things stand by then.
    pub async fn settle(&self, request: PaymentRequest, caller: &Caller, names: Names, within: Option<Duration>) -> Settled {
        let wait = self.patience.of(request.version).to_std().unwrap_or_default();
        let sent = Arc::new(Sent::default());
        let deadline = Instant::now() + within.map_or(wait, |within| within.min(wait));
        // Everything has a limit of its own but a database that falls silent. What it may have recorded by then is past the time
        // at which it may still be sent.
        let limit = async {
            self.waiting.patience(deadline).await;
            tokio::time::sleep(2 * GRACE).await;
            if sent.transaction().is_none() {
                tokio::time::sleep_until(deadline + 2 * GRACE).await;
            }
        };
        let settled = tokio::select! {
            settled = self.try_settle(request, caller, names, deadline, &sent) => settled,
            () = limit => Err(Unavailable::TimedOut.into()),
        };
        match (settled, sent.transaction()) {
            (Ok(settled), _) => settled,
            (Err(Verdict::Refused(refusal)), _) => Settled::Refused { refusal, payment: None, transaction: None },
            // Bytes are committed, whatever the ledger says or does not say now.
            (Err(Verdict::Unavailable(cause)), Some((payment, transaction))) => {
                tracing::warn!(error = %crate::telemetry::ErrorChain(&cause), payment.id = %payment, "a settlement is left pending");
                Settled::Pending { payment, transaction }
            }
            (Err(Verdict::Unavailable(cause)), None) => Settled::Unavailable(cause),
        }
    }

    async fn try_settle(
        &self,
        request: PaymentRequest,
        caller: &Caller,
        names: Names,
        deadline: Instant,
        sent: &Arc<Sent>,
    ) -> Result<Settled, Verdict> {
        if self.waiting.is_closed() {
            return Err(Unavailable::Stopping.into());
        }
        let fingerprint = Fingerprint::of(&request, caller);
        let chain = self.open_chain(&request.network).await?;
        let examined = Arc::new(chain.examine(request, Purpose::Settle, self.clock.now())?);
        if let Some(name) = &names.payment {
            self.check_name(name, fingerprint).await?;
        }
        let request = &examined.request;
        let recipient = self.ledger.recipient(&request.network, request.pay_to, request.named_invoice()).await?;
        let errand = Errand {
            answer_at: self.answer_level(chain, request, &recipient),
            merchant: recipient.merchant,
            offer_receipts: recipient.settings.offer_receipts,
            examined,
            fingerprint,
            caller,
            taker: names.request.unwrap_or_else(single_taker),
            name: names.payment,
            deadline,
            sent: Arc::clone(sent),
        };
        if errand.examined.request.amount.is_zero() {
            return self.waive(chain, &errand).await;
        }
        while !self.waiting.is_over(errand.deadline) {
            match self.hold(chain, &errand).await? {
                Held::Wait(payment, ticket) => {
                    if let Some(settled) = self.wait(&errand, payment, ticket).await? {
                        return Ok(settled);
                    }
                }
                Held::Done(settled) => return Ok(settled),
                // Whoever was quicker needs a moment, too.
                Held::Again => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
        Err(Unavailable::NotSent.into())
    }

    /// Finds out who holds the authorization. Of many callers with one payment the first asks the chain and records it, and the
    /// others, one after the other, find it held.
    async fn hold(&self, chain: &Arc<dyn Chain>, errand: &Errand<'_>) -> Result<Held, Verdict> {
        let (network, key) = (&errand.examined.request.network, &errand.examined.key);
        let Ok(_turn) = tokio::time::timeout_at(errand.deadline, self.errands.take((network, &key.0))).await else {
            return Err(Unavailable::NotSent.into());
        };
        if let Some(payment) = self.ledger.find_holder(network, key).await? {
            let (id, transaction) = (payment.id, payment.known_transaction());
            if payment.fingerprint == errand.fingerprint && payment.given_up.is_none() {
                self.keep_name(errand).await?;
            }
            return match self.meet(chain, errand, payment).await {
                // Whatever speaks against it now, it is a payment that we hold, and may have sent.
                Err(Verdict::Refused(refusal)) => Ok(Held::Done(Settled::Refused { refusal, payment: Some(id), transaction })),
                met => met,
            };
        }
        match self.accept(chain, errand).await {
            // What speaks against the payment may be this very payment: another replica was quicker.
            Err(Verdict::Refused(_)) if self.ledger.find_holder(network, key).await?.is_some() => Ok(Held::Again),
            accepted => accepted,
        }
    }

    /// Gives the name to a payment that was recorded without it: no other one gets it from now on.
    async fn keep_name(&self, errand: &Errand<'_>) -> Result<(), Verdict> {
        let Some(name) = &errand.name else { return Ok(()) };
        let mut db = self.ledger.begin().await?;
        self.take_name(&mut db, name, errand.fingerprint).await?;
        Ok(commit(db).await?)
    }

    /// The deepest level that anybody asks for who may: the operator, the merchant, its invoice and the caller.
    fn answer_level(&self, chain: &Arc<dyn Chain>, request: &PaymentRequest, recipient: &Recipient) -> Level {
        let decimals = chain.profile().asset(request.asset).map_or(0, |asset| asset.decimals);
        let level = |policy: &AnswerPolicy| policy.level(request.amount, decimals);
        let operators = self.policies.get(&request.network).map(|policy| level(&policy.answer));
        let merchants = recipient.settings.answer_at.as_ref().map(level);
        [operators, merchants, recipient.invoice, request.answer_at].into_iter().flatten().max().unwrap_or(Level::Included)
    }

    /// The authorization is held already: by this request, or by another one.
    async fn meet(&self, chain: &Arc<dyn Chain>, errand: &Errand<'_>, payment: Payment) -> Result<Held, Verdict> {
        if payment.fingerprint != errand.fingerprint {
            return Ok(Held::Done(duplicate(&payment)));
        }
        let network = &payment.network;
        let heights = self.ledger.cursor(network).await?.map(|cursor| cursor.heights);
        let state = heights.map_or(State::Queued, |heights| payment.state(heights, self.clock.now()));
        match state {
            State::Included { .. }
                if payment.handed_out.as_ref().is_some_and(|handed_out| {
                    handed_out.to != errand.taker && !self.waiting.is_orphan(payment.id, &handed_out.to)
                }) =>
            {
                Ok(Held::Done(duplicate(&payment)))
            }
            State::Waived => Ok(Held::Done(duplicate(&payment))),
            State::Included { .. } | State::Submitted { .. } => Ok(self.join(errand, payment.id)),
            State::Queued => {
                self.ledger.prolong(payment.id, errand.wait()).await?;
                Ok(self.join(errand, payment.id))
            }
            // Prices fall again, so this failure alone is not for ever.
            State::Withdrawn | State::GivenUp { reason: Reason::CostExceedsLimit } => self.revive(chain, errand, &payment).await,
            State::GivenUp { reason } => Ok(Held::Done(Settled::Refused {
                refusal: reason.into(),
                payment: Some(payment.id),
                transaction: payment.known_transaction(),
            })),
        }
    }

    fn ticket(&self, errand: &Errand<'_>, payment: PaymentId) -> Ticket {
        let network = &errand.examined.request.network;
        self.waiting.join(network, payment, errand.taker.clone(), errand.answer_at, Arc::clone(&errand.sent))
    }

    fn join(&self, errand: &Errand<'_>, payment: PaymentId) -> Held {
        let ticket = self.ticket(errand, payment);
        // What we wait for may have happened before we joined.
        self.waiting.wake_one(&errand.examined.request.network, payment);
        Held::Wait(payment, ticket)
    }

    /// Nobody waits for the payment any more, and no slot carries it. The same request puts it back into the queue.
    async fn revive(&self, chain: &Arc<dyn Chain>, errand: &Errand<'_>, payment: &Payment) -> Result<Held, Verdict> {
        let verified = match self.check_on_chain(chain, &errand.examined, Wanted::Balance).await {
            // The watcher will say by whom it was used; it may have been one of our own slots.
            Err(Verdict::Refused(refusal)) if refusal.reason.means_used() => {
                return self.find_stranger(chain, errand, payment).await;
            }
            // So may have been one that has expired meanwhile.
            Err(Verdict::Refused(refusal)) if refusal.reason.means_expired() => {
                return match self.is_used(chain, payment.id).await? {
                    Some(true) => self.find_stranger(chain, errand, payment).await,
                    Some(false) => Err(refusal.into()),
                    // It comes to an end at this moment, or there is no block yet that is later than its expiry.
                    None => Ok(search_again().await),
                };
            }
            verified => verified?,
        };
        self.check_budgets(chain, errand, &verified).await?;
        let ticket = self.ticket(errand, payment.id);
        let (turn, mut db) = self.reserve(chain, &verified, payment.id).await?;
        if !payments::revive(&mut db, payment.id, verified.checked(), errand.wait()).await? {
            return Ok(Held::Again);
        }
        self.hold_open(&mut db, payment.invoice).await?;
        let revived = commit(db).await;
        drop(turn);
        if let Err(lost) = revived {
            let found = self.find_out(errand, payment.id, lost).await?;
            if found.is_none_or(|found| found.submission.is_none() && found.answer_by == payment.answer_by) {
                return Ok(Held::Again);
            }
        }
        self.bells.ring(&payment.network);
        Ok(Held::Wait(payment.id, ticket))
    }

    /// We hold a payment that the chain says was used, and the watcher has not claimed it. If it passed that block before we held
    /// the payment, the block is searched for; otherwise it has yet to read it. To refuse the payment before that would be a guess.
    async fn find_stranger(&self, chain: &Arc<dyn Chain>, errand: &Errand<'_>, payment: &Payment) -> Result<Held, Verdict> {
        if self.claim_found_use(chain, payment.id).await? {
            return Ok(self.join(errand, payment.id));
        }
        Ok(search_again().await)
    }

    /// Nobody holds the authorization: asks the chain and records the payment.
    async fn accept(&self, chain: &Arc<dyn Chain>, errand: &Errand<'_>) -> Result<Held, Verdict> {
        let invoice = self.named_invoice(&errand.examined.request).await?.map(|invoice| invoice.id);
        let verified = self.check_on_chain(chain, &errand.examined, Wanted::Balance).await?;
        self.check_budgets(chain, errand, &verified).await?;
        let id = PaymentId::new();
        // Joined before it is recorded, so nothing that happens to it can be missed.
        let ticket = self.ticket(errand, id);
        match self.record(chain, errand, &verified, (id, invoice)).await? {
            Recorded::Yes => {}
            Recorded::HeldBySomebodyElse => return Ok(Held::Again),
            Recorded::Unknown(lost) => {
                if self.find_out(errand, id, lost).await?.is_none() {
                    return Ok(Held::Again);
                }
            }
        }
        self.bells.ring(&verified.examined().request.network);
        Ok(Held::Wait(id, ticket))
    }

    /// What the ledger has of a payment after the answer to a COMMIT was lost.
    async fn find_out(&self, errand: &Errand<'_>, id: PaymentId, lost: LedgerError) -> Result<Option<Payment>, Verdict> {
        tracing::warn!(error = %crate::telemetry::ErrorChain(&lost), "the outcome of recording a payment is not known");
        loop {
            match self.ledger.find_payment(id).await {
                Ok(found) => return Ok(found),
                Err(_) if Instant::now() < errand.deadline => tokio::time::sleep(FIND_OUT_PAUSE).await,
                Err(_) => return Err(lost.into()),
            }
        }
    }

    /// Records the payment, unless the payer's balance is spoken for.
    async fn record(
        &self,
        chain: &Arc<dyn Chain>,
        errand: &Errand<'_>,
        verified: &VerifiedPayment,
        (id, invoice): (PaymentId, Option<InvoiceId>),
    ) -> Result<Recorded, Verdict> {
        let (_turn, mut db) = self.reserve(chain, verified, id).await?;
        let new = NewPayment {
            id,
            examined: verified.examined(),
            checked: verified.checked(),
            fingerprint: errand.fingerprint,
            invoice,
            provider: errand.caller.account(),
            merchant: errand.merchant,
            answer_at: errand.answer_at,
            // Only now: what comes before may have taken a while, and nothing may be sent after the caller has left.
            wait: errand.wait(),
            now: self.clock.now(),
            waived_to: None,
        };
        if !payments::insert(&mut db, &new).await? {
            return Ok(Recorded::HeldBySomebodyElse);
        }
        self.hold_open(&mut db, invoice).await?;
        if let Some(name) = &errand.name {
            self.take_name(&mut db, name, errand.fingerprint).await?;
        }
        Ok(commit(db).await.map_or_else(Recorded::Unknown, |()| Recorded::Yes))
    }

    /// Refuses what the operator does not want to pay for. The lane looks once more, because others may be on their way.
    async fn check_budgets(
        &self,
        chain: &Arc<dyn Chain>,
        errand: &Errand<'_>,
        verified: &VerifiedPayment,
    ) -> Result<(), Verdict> {
        let request = &verified.examined().request;
        let cost = chain.price(verified).await?;
        let beneficiaries =
            Beneficiaries { payer: verified.examined().payer, provider: errand.caller.account(), pay_to: request.pay_to };
        if self.covered(&request.network, cost, &[beneficiaries]).await? == [true] {
            return Ok(());
        }
        Err(Refusal::because(Reason::CostExceedsLimit, "the hourly budget for settlement costs is used up").into())
    }

    /// Waits for the end. `None` if somebody took the payment out of the queue, and it has to be put back.
    async fn wait(&self, errand: &Errand<'_>, payment: PaymentId, mut ticket: Ticket) -> Result<Option<Settled>, Verdict> {
        let _waiting = self.metrics.payment_waiting();
        let outcome = tokio::select! {
            biased;
            outcome = ticket.outcome() => outcome,
            () = self.waiting.patience(errand.deadline) => None,
        };
        if let Some(outcome) = outcome {
            return Ok(self.settled(errand, payment, outcome));
        }
        // The success may be taken in this caller's name at this very moment. To answer anything else now would lose it.
        if !self.waiting.leave(&ticket)
            && let Ok(Some(outcome)) = tokio::time::timeout(GRACE, ticket.outcome()).await
        {
            return Ok(self.settled(errand, payment, outcome));
        }
        let left = loop {
            match self.leave(errand, payment, ticket.taker()).await {
                // Another replica may send it until the deadline, so before that nobody can be told that it was not sent.
                Err(Verdict::Unavailable(Unavailable::Ledger(_))) if Instant::now() < errand.deadline => {
                    tokio::time::sleep(FIND_OUT_PAUSE).await;
                }
                left => break left?,
            }
        };
        if let Settled::Success { .. } = left {
            ticket.tell();
        }
        Ok(Some(left))
    }

    /// Patience is over: either bytes are or were committed, and then the caller learns their name, or the payment is taken out of
    /// the queue for certain.
    async fn leave(&self, errand: &Errand<'_>, id: PaymentId, taker: &str) -> Result<Settled, Verdict> {
        let withdrawn = self.ledger.withdraw(id).await?;
        if withdrawn {
            // What was not sent uses up no name, or a payer could not sign anew.
            if let Some(name) = &errand.name {
                self.ledger.unbind_key(name, errand.fingerprint).await?;
            }
            // Others who wait for it and still have patience put it back.
            self.waiting.wake_one(&errand.examined.request.network, id);
        }
        let Some(payment) = self.ledger.find_payment(id).await? else { return Err(Unavailable::NotSent.into()) };
        if let (Some(claim), Some(handed_out)) = (&payment.claim, &payment.handed_out)
            && handed_out.to == taker
        {
            let heights = self.ledger.cursor(&payment.network).await?.map(|cursor| cursor.heights);
            let level = heights.map_or(Level::Included, |heights| heights.level(claim.block_number));
            let receipt = self.find_receipt_for(id, claim, errand.offer_receipts).await;
            return Ok(Settled::Success { payment: id, claim: claim.clone(), level, receipt });
        }
        let transaction = payment.known_transaction();
        match (payment.given_up, transaction) {
            (Some(reason), transaction) if payment.claim.is_none() => {
                Ok(Settled::Refused { refusal: reason.into(), payment: Some(id), transaction })
            }
            // Also if its slot was spent in vain: after a reorganisation the same bytes may land.
            (_, Some(transaction)) => Ok(Settled::Pending { payment: id, transaction }),
            (_, None) => Err(Unavailable::NotSent.into()),
        }
    }

    /// What a caller is answered for how its waiting ended. `None` if the payment has to be put back into the queue.
    fn settled(&self, errand: &Errand<'_>, payment: PaymentId, outcome: Outcome) -> Option<Settled> {
        match outcome {
            Outcome::Success { claim, level, receipt, .. } => {
                let receipt = self.receipt_for(&claim, receipt.as_deref(), errand.offer_receipts);
                Some(Settled::Success { payment, claim, level, receipt })
            }
            Outcome::Duplicate { claim } => Some(Settled::Refused {
                refusal: Reason::DuplicateSettlement.into(),
                payment: Some(payment),
                transaction: Some(claim.transaction),
            }),
            Outcome::Failed { reason, transaction } => {
                Some(Settled::Refused { refusal: reason.into(), payment: Some(payment), transaction })
            }
            Outcome::Withdrawn => None,
        }
    }
}

async fn search_again() -> Held {
    tokio::time::sleep(SEARCH_AGAIN).await;
    Held::Again
}

fn duplicate(payment: &Payment) -> Settled {
    Settled::Refused { refusal: Reason::DuplicateSettlement.into(), payment: None, transaction: payment.known_transaction() }
}
