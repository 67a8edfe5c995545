//! Who waits for which payment, and who of them gets its success.
//!
//! Callers with the same request wait together. When a network's block was read, one task looks up all payments that anybody in
//! this process waits for, hands out what can be handed out in one statement, and wakes those who are done. The ledger decides
//! between replicas; here it is only made cheap.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::names::single_taker;
use self::names::{Orphans, SINGLE};
use super::receipt;
use crate::domain::block::{Heights, Level};
use crate::domain::clock::Clock;
use crate::domain::ids::PaymentId;
use crate::domain::network::Network;
use crate::domain::payment::{Claim, Payment, State};
use crate::domain::reason::Reason;
use crate::domain::receipt::Statement;
use crate::domain::transfer::TransactionId;
use crate::ledger::payments::Taker;
use crate::ledger::{Ledger, LedgerError};

mod names;

/// A look at the payments is given up on after this: only a database that neither answers nor fails takes so long.
const LOOK_LASTS_MAX: Duration = Duration::from_secs(5);

/// Between two attempts to hear the other replicas.
const HEAR_AGAIN: Duration = Duration::from_secs(1);

/// How waiting ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Paid, and this caller is the one who is told.
    Success {
        /// The transfer.
        claim: Claim,
        /// How deep it stands.
        level: Level,
        /// The name in which the ledger has it: the caller's own, or one whose bearer was never told.
        taker: String,
        /// What its receipt says, if that was known in time.
        receipt: Option<Box<Statement>>,
    },
    /// Paid, and somebody else was told.
    Duplicate {
        /// The transfer.
        claim: Claim,
    },
    /// A caller whose patience was over took it out of the queue. Whoever still has patience puts it back.
    Withdrawn,
    /// It will not be paid.
    Failed {
        /// Why.
        reason: Reason,
        /// The newest transaction that tried, if one did.
        transaction: Option<String>,
    },
}

struct Waiter {
    id: u64,
    taker: String,
    level: Level,
    done: oneshot::Sender<Outcome>,
    /// Where the transaction is written as soon as there is one.
    sent: Arc<Sent>,
    /// Whether the ledger is being asked for the success in this waiter's name. It must not leave while that is so: the success
    /// would be handed out to nobody.
    claiming: bool,
    /// Whether it ever was.
    asked: Arc<AtomicBool>,
}

/// What is known of a payment's way to the chain, even if the ledger falls silent later.
#[derive(Debug, Default)]
pub struct Sent(Mutex<Option<(PaymentId, TransactionId)>>);

impl Sent {
    /// The payment and the newest transaction that may make it.
    #[must_use]
    pub fn transaction(&self) -> Option<(PaymentId, TransactionId)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, payment: PaymentId, transaction: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((payment, transaction.to_owned()));
    }
}

/// The waiting callers of one process.
#[derive(Default)]
pub struct Waiting {
    waiters: Mutex<HashMap<PaymentId, (Network, Vec<Waiter>)>>,
    woken: Mutex<HashMap<Network, Scope>>,
    wake: Notify,
    joined: AtomicU64,
    orphans: Mutex<Orphans>,
    /// Whether new callers are turned away, because the process is to end.
    closed: CancellationToken,
    /// Whether those who are here have waited long enough.
    dismissed: CancellationToken,
}

/// Which payments of a network have to be looked at.
enum Scope {
    All,
    Some(HashSet<PaymentId>),
}

/// A place in the queue. Dropping it leaves the queue.
pub struct Ticket {
    waiting: Arc<Waiting>,
    id: u64,
    payment: PaymentId,
    taker: String,
    asked: Arc<AtomicBool>,
    /// Whether the caller has been told the end, so that the name is used up.
    told: bool,
    done: oneshot::Receiver<Outcome>,
}

impl Ticket {
    /// Waits. Never ends by itself while the payment is under way.
    pub async fn outcome(&mut self) -> Option<Outcome> {
        let outcome = (&mut self.done).await.ok();
        self.told |= outcome.as_ref().is_some_and(|outcome| *outcome != Outcome::Withdrawn);
        outcome
    }

    /// The name in which this caller takes a success.
    #[must_use]
    pub fn taker(&self) -> &str {
        &self.taker
    }

    /// Notes that the caller is told of the success, which it learned from the ledger itself. The same success may stand in the
    /// ticket, or be on its way there; nobody else is told of it for that.
    pub fn tell(&mut self) {
        self.told = true;
        self.waiting.settle_up(self);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // From here on whoever brings a success learns that nobody takes it, and keeps its name.
        self.done.close();
        let unread = match self.done.try_recv() {
            Ok(Outcome::Success { taker, .. }) if !self.told => Some(taker),
            _ => None,
        };
        self.waiting.abandon(self, unread);
    }
}

impl Waiting {
    /// Joins those who wait for a payment. `taker` names the request for the record; a request that comes again under the same
    /// name gets the success again.
    pub fn join(self: &Arc<Self>, network: &Network, payment: PaymentId, taker: String, level: Level, sent: Arc<Sent>) -> Ticket {
        let (done, receiver) = oneshot::channel();
        let id = self.joined.fetch_add(1, Ordering::Relaxed);
        let asked = Arc::<AtomicBool>::default();
        let waiter = Waiter { id, taker: taker.clone(), level, done, sent, claiming: false, asked: Arc::clone(&asked) };
        self.lock().entry(payment).or_insert_with(|| (network.clone(), Vec::new())).1.push(waiter);
        Ticket { waiting: Arc::clone(self), id, payment, taker, asked, told: false, done: receiver }
    }

    /// Whether a success was taken in this name without anybody being told.
    #[must_use]
    pub fn is_orphan(&self, payment: PaymentId, taker: &str) -> bool {
        self.lock_orphans().holds(payment, taker)
    }

    /// A caller is gone. `unread` is the name in which a success was on its way to it.
    fn abandon(&self, ticket: &Ticket, unread: Option<String>) {
        if let Some((_, queue)) = self.lock().get_mut(&ticket.payment) {
            queue.retain(|waiter| waiter.id != ticket.id);
        }
        // Once the ledger was asked in its name, the answer may come to be whenever a lost COMMIT turns out to have gone through.
        let asked = ticket.asked.load(Ordering::Relaxed) && !ticket.told;
        if let Some(name) = unread.or_else(|| asked.then(|| ticket.taker.clone())) {
            self.lock_orphans().keep(ticket.payment, &name, Instant::now());
        }
    }

    /// A caller was told. Under the lock either whoever brings outcomes was here before, or it finds nobody.
    fn settle_up(&self, ticket: &Ticket) {
        let mut waiters = self.lock();
        if let Some((_, queue)) = waiters.get_mut(&ticket.payment) {
            queue.retain(|waiter| waiter.id != ticket.id);
        }
        self.lock_orphans().forget(ticket.payment);
    }

    fn lock_orphans(&self) -> std::sync::MutexGuard<'_, Orphans> {
        self.orphans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns new callers away. Those who wait go on.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Whether new callers are turned away.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Ends the patience of everybody who waits, so that each is told where its payment stands while there is a process to say so.
    pub fn dismiss(&self) {
        self.dismissed.cancel();
    }

    /// Whether a caller with this deadline has waited long enough.
    #[must_use]
    pub fn is_over(&self, deadline: Instant) -> bool {
        self.dismissed.is_cancelled() || Instant::now() >= deadline
    }

    /// Waits for as long as a caller with this deadline does.
    pub async fn patience(&self, deadline: Instant) {
        // Either of them ends it.
        drop(tokio::time::timeout_at(deadline, self.dismissed.cancelled()).await);
    }

    /// Leaves the queue. Returns whether that was possible: not while the success is being taken in this caller's name. Then
    /// the outcome comes in a moment.
    #[must_use]
    pub fn leave(&self, ticket: &Ticket) -> bool {
        let mut waiters = self.lock();
        let Some((_, queue)) = waiters.get_mut(&ticket.payment) else { return true };
        queue.retain(|waiter| waiter.id != ticket.id || waiter.claiming);
        queue.iter().all(|waiter| waiter.id != ticket.id)
    }

    /// Tells those who wait that bytes for their payment are committed.
    pub fn note_sent(&self, payments: impl IntoIterator<Item = PaymentId>, transaction: &str) {
        let waiters = self.lock();
        for payment in payments {
            for waiter in waiters.get(&payment).into_iter().flat_map(|(_, queue)| queue) {
                waiter.sent.note(payment, transaction);
            }
        }
    }

    /// Whether anybody in this process waits for a payment on a network.
    #[must_use]
    pub fn is_awaited(&self, network: &Network) -> bool {
        self.lock().values().any(|(of, queue)| of == network && queue.iter().any(|waiter| !waiter.done.is_closed()))
    }

    /// Has every payment of a network looked at, because a block was read or a lane decided something.
    pub fn wake(&self, network: &Network) {
        self.lock_woken().insert(network.clone(), Scope::All);
        self.wake.notify_one();
    }

    /// Has one payment looked at, because somebody joined those who wait for it.
    pub fn wake_one(&self, network: &Network, payment: PaymentId) {
        match self.lock_woken().entry(network.clone()).or_insert_with(|| Scope::Some(HashSet::new())) {
            Scope::All => {}
            Scope::Some(payments) => drop(payments.insert(payment)),
        }
        self.wake.notify_one();
    }

    /// Is woken by what other replicas read and decide.
    pub async fn hear(&self, ledger: &Ledger, stop: &CancellationToken) {
        let hearing = async {
            loop {
                self.hear_once(ledger).await;
                // Callers wait for seconds only, so they must not wait much longer for the database than it is away.
                tokio::time::sleep(HEAR_AGAIN).await;
            }
        };
        stop.run_until_cancelled(hearing).await;
    }

    /// Hears the other replicas until the connection is lost.
    async fn hear_once(&self, ledger: &Ledger) {
        let Err(error) = self.try_hear(ledger).await;
        let error = crate::telemetry::ErrorChain(&error);
        tracing::warn!(%error, "blocks of other replicas are not heard of for a moment");
    }

    async fn try_hear(&self, ledger: &Ledger) -> Result<Infallible, LedgerError> {
        let mut news = ledger.listen().await?;
        // What was told before is lost.
        for network in self.awaited_networks() {
            self.wake(&network);
        }
        loop {
            self.wake(&news.next().await?);
        }
    }

    fn awaited_networks(&self) -> HashSet<Network> {
        self.lock().values().map(|(network, _)| network.clone()).collect()
    }

    /// Looks at payments whenever it is woken. `receipts` says that somebody can sign them, so that they are read.
    pub async fn run(&self, ledger: &Ledger, clock: &dyn Clock, receipts: bool, stop: &CancellationToken) {
        while stop.run_until_cancelled(self.wake.notified()).await.is_some() {
            let woken = std::mem::take(&mut *self.lock_woken());
            for (network, scope) in woken {
                // If it fails, the next block wakes us again, and every caller has a deadline of its own.
                match tokio::time::timeout(LOOK_LASTS_MAX, self.look(ledger, clock, receipts, (&network, &scope))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        let error = crate::telemetry::ErrorChain(&error);
                        tracing::warn!(%network, %error, "waiting callers could not be served");
                    }
                    Err(_) => tracing::warn!(%network, "waiting callers could not be served in time"),
                }
                self.stop_claiming();
            }
        }
    }

    async fn look(
        &self,
        ledger: &Ledger,
        clock: &dyn Clock,
        receipts: bool,
        (network, scope): (&Network, &Scope),
    ) -> Result<(), LedgerError> {
        let mut ids = self.awaited(network);
        if let Scope::Some(wanted) = scope {
            ids.retain(|id| wanted.contains(id));
        }
        if ids.is_empty() {
            return Ok(());
        }
        let Some(cursor) = ledger.cursor(network).await? else { return Ok(()) };
        let payments = ledger.find_payments(&ids).await?;
        let takers = self.takers(&payments, cursor.heights, clock);
        let taken: HashMap<PaymentId, String> = if takers.is_empty() {
            HashMap::new()
        } else {
            let done: HashSet<_> = ledger.hand_out(&takers, clock.now()).await?.into_iter().collect();
            takers.into_iter().filter(|taker| done.contains(&taker.payment)).map(|taker| (taker.payment, taker.taker)).collect()
        };
        let is_told = |payment: &&Payment| taken.contains_key(&payment.id) || payment.handed_out.is_some();
        let told: Vec<_> = payments.iter().filter(|_| receipts).filter(is_told).map(|payment| payment.id).collect();
        let statements = receipt::statements(ledger, &told).await;
        for payment in payments {
            self.serve(&payment, cursor.heights, clock, taken.get(&payment.id), statements.get(&payment.id));
        }
        Ok(())
    }

    /// The payments of a network that somebody still waits for. Callers who left are forgotten here.
    fn awaited(&self, network: &Network) -> Vec<PaymentId> {
        let mut waiters = self.lock();
        for (_, queue) in waiters.values_mut() {
            queue.retain(|waiter| !waiter.done.is_closed());
        }
        waiters.retain(|_, (_, queue)| !queue.is_empty());
        waiters.iter().filter(|(_, (of, _))| of == network).map(|(id, _)| *id).collect()
    }

    fn stop_claiming(&self) {
        for waiter in self.lock().values_mut().flat_map(|(_, queue)| queue) {
            waiter.claiming = false;
        }
    }

    /// For each payment that can be handed out, the first caller whose level it has reached.
    fn takers(&self, payments: &[Payment], heights: Heights, clock: &dyn Clock) -> Vec<Taker> {
        let mut waiters = self.lock();
        payments
            .iter()
            .filter(|payment| payment.handed_out.is_none())
            .filter_map(|payment| {
                let State::Included { claim, level } = payment.state(heights, clock.now()) else { return None };
                let queue = &mut waiters.get_mut(&payment.id)?.1;
                let first = queue.iter_mut().find(|waiter| waiter.level <= level && !waiter.done.is_closed())?;
                first.claiming = true;
                first.asked.store(true, Ordering::Relaxed);
                Some(Taker { payment: payment.id, block_hash: claim.block_hash, taker: first.taker.clone() })
            })
            .collect()
    }

    /// Tells those who are done. `taken_now` is who took the success in this round, and `statement` what its receipt says.
    fn serve(
        &self,
        payment: &Payment,
        heights: Heights,
        clock: &dyn Clock,
        taken_now: Option<&String>,
        statement: Option<&Statement>,
    ) {
        let taken = taken_now.or(payment.handed_out.as_ref().map(|handed_out| &handed_out.to));
        let state = payment.state(heights, clock.now());
        let mut waiters = self.lock();
        let Some((_, queue)) = waiters.get_mut(&payment.id) else { return };
        for waiter in std::mem::take(queue) {
            if let Some(transaction) = &payment.transaction {
                waiter.sent.note(payment.id, transaction);
            }
            // Looked at anew for each: the first to inherit leaves nothing to the next. Several can bear the name of an
            // Idempotency-Key, so they inherit nothing.
            let may_inherit = waiter.taker.starts_with(SINGLE) && taken.is_some_and(|taken| self.is_orphan(payment.id, taken));
            match outcome(&state, payment.known_transaction(), taken, may_inherit, &waiter) {
                Some(Outcome::Success { claim, level, taker, .. }) => {
                    let outcome = Outcome::Success { claim, level, taker, receipt: statement.cloned().map(Box::new) };
                    self.lock_orphans().forget(payment.id);
                    if let Err(Outcome::Success { taker, .. }) = waiter.done.send(outcome) {
                        // It left just now, and did not hear.
                        self.lock_orphans().keep(payment.id, &taker, Instant::now());
                    }
                }
                Some(outcome) => drop(waiter.done.send(outcome)),
                None => queue.push(waiter),
            }
        }
    }

    fn lock_woken(&self) -> std::sync::MutexGuard<'_, HashMap<Network, Scope>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PaymentId, (Network, Vec<Waiter>)>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a waiter is told. `may_inherit` says that the success was taken in a name whose bearer was never told.
fn outcome(
    state: &State,
    transaction: Option<TransactionId>,
    taken: Option<&String>,
    may_inherit: bool,
    waiter: &Waiter,
) -> Option<Outcome> {
    match state {
        State::Included { claim, level } => match taken {
            Some(taken) if *taken == waiter.taker || may_inherit && waiter.level <= *level => {
                Some(Outcome::Success { claim: claim.clone(), level: *level, taker: taken.clone(), receipt: None })
            }
            // It has yet to reach the level at which this caller may inherit it.
            Some(_) if may_inherit => None,
            Some(_) => Some(Outcome::Duplicate { claim: claim.clone() }),
            None => None,
        },
        State::GivenUp { reason } => Some(Outcome::Failed { reason: *reason, transaction }),
        State::Withdrawn => Some(Outcome::Withdrawn),
        State::Queued | State::Submitted { .. } | State::Waived => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::SystemClock;
    use crate::domain::payment::HandedOut;
    use crate::domain::payment::tests::payment;
    use chrono::DateTime;

    fn waiter(taker: &str) -> Waiter {
        Waiter {
            id: 0,
            taker: taker.to_owned(),
            level: Level::Included,
            done: oneshot::channel().0,
            sent: Arc::default(),
            claiming: false,
            asked: Arc::default(),
        }
    }

    fn included() -> State {
        let claim = Claim { transaction: "0x01".to_owned(), block_number: 1, block_hash: "0xb1".to_owned(), index: 0 };
        State::Included { claim, level: Level::Included }
    }

    #[test]
    fn success_goes_to_the_one_who_took_it() {
        let taken = "one".to_owned();
        let of = |name| outcome(&included(), None, Some(&taken), false, &waiter(name));

        assert!(matches!(of("one"), Some(Outcome::Success { .. })));
        assert!(matches!(of("two"), Some(Outcome::Duplicate { .. })));
        assert_eq!(outcome(&included(), None, None, false, &waiter("one")), None);
    }

    #[test]
    fn a_payment_under_way_wakes_nobody() {
        for state in [State::Queued, State::Submitted { transaction: "0x01".to_owned() }] {
            assert_eq!(outcome(&state, None, None, false, &waiter("one")), None);
        }
    }

    #[test]
    fn nobody_leaves_while_the_success_is_taken_in_his_name() {
        let waiting = Arc::new(Waiting::default());
        let network: Network = "eip155:84532".parse().unwrap();
        let payment = PaymentId::new();
        let ticket = waiting.join(&network, payment, "one".to_owned(), Level::Included, Arc::default());
        waiting.lock().get_mut(&payment).unwrap().1[0].claiming = true;

        assert!(!waiting.leave(&ticket));
        waiting.stop_claiming();
        assert!(waiting.leave(&ticket));
        assert!(waiting.lock()[&payment].1.is_empty());
    }

    fn join(waiting: &Arc<Waiting>, payment: PaymentId, taker: &str) -> Ticket {
        waiting.join(&"eip155:84532".parse().unwrap(), payment, taker.to_owned(), Level::Included, Arc::default())
    }

    /// The ledger is asked for the success in the name of the first who waits, and no answer comes.
    fn ask_in_vain(waiting: &Waiting, payment: &Payment) {
        let heights = Heights { head: 1, safe: 0, finalized: 0 };
        assert_eq!(waiting.takers(std::slice::from_ref(payment), heights, &SystemClock).len(), 1);
        waiting.stop_claiming();
    }

    /// A payment that stands in a block, with the success in this name if there is one.
    fn paid(taken: Option<&str>) -> Payment {
        let State::Included { claim, .. } = included() else { unreachable!("it is") };
        let handed_out = taken.map(|to| HandedOut { at: DateTime::UNIX_EPOCH, to: to.to_owned() });
        Payment { claim: Some(claim), handed_out, ..payment() }
    }

    fn serve(waiting: &Waiting, payment: &Payment) {
        waiting.serve(payment, Heights { head: 1, safe: 0, finalized: 0 }, &SystemClock, None, None);
    }

    #[tokio::test]
    async fn a_success_whose_taker_was_never_told_goes_to_one_caller_who_comes_again() {
        let waiting = Arc::new(Waiting::default());
        let open = paid(None);
        // Two are asked for, and both lose patience before the ledger answers. It had committed for the first.
        let (one, two) = (join(&waiting, open.id, "request:one"), join(&waiting, open.id, "request:two"));
        ask_in_vain(&waiting, &open);
        assert!(waiting.leave(&one));
        drop(one);
        ask_in_vain(&waiting, &open);
        assert!(waiting.leave(&two));
        drop(two);

        let taken = Payment { id: open.id, ..paid(Some("request:one")) };
        assert!(waiting.is_orphan(open.id, "request:one"));
        let (mut three, mut four) = (join(&waiting, open.id, "request:three"), join(&waiting, open.id, "request:four"));
        serve(&waiting, &taken);
        assert!(matches!(three.outcome().await, Some(Outcome::Success { taker, .. }) if taker == "request:one"));
        assert!(matches!(four.outcome().await, Some(Outcome::Duplicate { .. })));
        assert!(!waiting.is_orphan(open.id, "request:one"));
    }

    #[tokio::test]
    async fn an_heir_who_leaves_unheard_passes_it_on() {
        let waiting = Arc::new(Waiting::default());
        let open = paid(None);
        let one = join(&waiting, open.id, "request:one");
        ask_in_vain(&waiting, &open);
        drop(one);
        let taken = Payment { id: open.id, ..paid(Some("request:one")) };
        let two = join(&waiting, open.id, "request:two");
        serve(&waiting, &taken);
        drop(two);

        let mut three = join(&waiting, open.id, "request:three");
        serve(&waiting, &taken);
        assert!(matches!(three.outcome().await, Some(Outcome::Success { .. })));
    }

    #[tokio::test]
    async fn a_name_in_which_nothing_was_taken_changes_nothing() {
        let waiting = Arc::new(Waiting::default());
        let open = paid(None);
        let one = join(&waiting, open.id, "request:one");
        ask_in_vain(&waiting, &open);
        drop(one);
        let mut two = join(&waiting, open.id, "request:two");
        serve(&waiting, &Payment { id: open.id, ..paid(Some("request:elsewhere")) });

        assert!(matches!(two.outcome().await, Some(Outcome::Duplicate { .. })));
    }

    #[test]
    fn whoever_was_not_asked_for_leaves_no_name_behind() {
        let waiting = Arc::new(Waiting::default());
        let open = paid(None);
        drop(join(&waiting, open.id, "request:one"));

        assert!(!waiting.is_orphan(open.id, "request:one"));
    }

    /// The caller reads its success in the ledger itself while the same success comes on the usual way.
    #[tokio::test]
    async fn whoever_was_told_by_the_ledger_passes_nothing_on() {
        let waiting = Arc::new(Waiting::default());
        let open = paid(None);
        let taken = Payment { id: open.id, ..paid(Some("request:one")) };
        let early = join(&waiting, open.id, "request:one");
        ask_in_vain(&waiting, &open);
        serve(&waiting, &taken);
        let mut told = early;
        told.tell();
        drop(told);
        assert!(!waiting.is_orphan(open.id, "request:one"), "the success came before it was told");

        let mut told = join(&waiting, open.id, "request:one");
        ask_in_vain(&waiting, &open);
        told.tell();
        serve(&waiting, &taken);
        drop(told);
        assert!(!waiting.is_orphan(open.id, "request:one"), "the success came after it was told");
    }

    #[test]
    fn a_name_that_several_callers_bear_is_not_passed_on() {
        let waiting = Arc::new(Waiting::default());
        let open = paid(None);
        let (first, second) = (join(&waiting, open.id, "key:one"), join(&waiting, open.id, "key:one"));
        ask_in_vain(&waiting, &open);
        drop(first);

        assert!(!waiting.is_orphan(open.id, "key:one"));
        drop(second);
    }
}
