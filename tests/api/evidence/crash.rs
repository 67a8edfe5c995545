//! A process that is killed at any point of a settlement leaves nothing behind that is paid twice, told twice, or lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use sqlx::Executor;

use super::{PATIENCE, SEND, World, is_full, is_success, reason, report, scale};
use crate::support::chain::ChainOptions;
use crate::support::eventually;
use crate::support::facilitator::{Caller, Facilitator, Options};
use crate::support::postgres_proxy::{Cut, Fate, PostgresProxy};
use crate::support::proxy::{Act, Proxy};

/// Where the process is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Point {
    /// The payment is recorded; the lane's commit of signed bytes is under way and does not arrive.
    Recorded,
    /// The signed bytes are committed; none has left.
    Committed,
    /// The node has the bytes; its answer did not come.
    Sent,
    /// The caller was told that the settlement is pending, and asks again.
    Pending,
    /// The transfer stands in a block; the watcher has not read it.
    Mined,
    /// The claim is committed; nobody was told.
    Claimed,
    /// The success is marked as handed out; the caller never got it.
    HandedOut,
}

pub(super) const POINTS: [Point; 7] =
    [Point::Recorded, Point::Committed, Point::Sent, Point::Pending, Point::Mined, Point::Claimed, Point::HandedOut];

impl Point {
    /// Whether the kill comes before the block.
    fn is_before_block(self) -> bool {
        matches!(self, Self::Recorded | Self::Committed | Self::Sent | Self::Pending)
    }

    /// What was found when the process was dead, if it is not what belongs to the point.
    fn missed(self, traces: &Traces) -> Option<String> {
        let (none, one) = (Traces::default(), Traces { payments: 1, attempts: 1, asked_to_send: 1, ..Traces::default() });
        let sent = Traces { handed_on: 1, ..one };
        let mined = Traces { transfers: 1, ..sent };
        let expected = match self {
            Self::Recorded => Traces { payments: 1, ..none },
            Self::Committed => one,
            Self::Sent | Self::Pending => Traces { in_pool: 1, ..sent },
            Self::Mined => mined,
            Self::Claimed => Traces { claims: 1, ..mined },
            Self::HandedOut => Traces { claims: 1, handed_out: 1, ..mined },
        };
        (*traces != expected).then(|| format!("{self:?} was not hit: {traces:?}"))
    }
}

/// How far a settlement came: what its ledger holds, what the proxy saw go to the node, and what the node has.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Traces {
    payments: i64,
    attempts: i64,
    claims: i64,
    handed_out: i64,
    asked_to_send: usize,
    handed_on: usize,
    in_pool: u64,
    transfers: usize,
}

impl Traces {
    async fn read(world: &World, proxy: &Proxy, transfers_before: usize) -> Self {
        Self {
            payments: world.count("SELECT count(*) FROM payments").await,
            attempts: world.count("SELECT count(*) FROM attempts").await,
            claims: world.count("SELECT count(*) FROM claims").await,
            handed_out: world.count("SELECT count(*) FROM payments WHERE handed_out_at IS NOT NULL").await,
            asked_to_send: proxy.sent().len(),
            handed_on: proxy.handed_on().len(),
            in_pool: world.chain.pooled().await,
            transfers: world.chain.transfers_to(&world.merchant).await.len() - transfers_before,
        }
    }
}

/// A resource server with an SDK of version 2, and everything that it was told, in order; null where the connection broke.
#[derive(Clone)]
pub(super) struct Server {
    caller: Caller,
    body: Value,
    told: Arc<Mutex<Vec<Value>>>,
}

/// Says what the server was told if the test fails while it waits for something else.
pub(super) struct Witness(pub Server);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("told: {:?}", self.0.told());
        }
    }
}

impl Server {
    pub fn new(facilitator: &Facilitator, body: Value) -> Self {
        Self { caller: facilitator.caller(), body, told: Arc::default() }
    }

    /// Serves one paid request of its buyer: it asks once more if the settlement is pending, and of its own accord after nothing
    /// else, be it 503 or a connection that breaks. Returns what it was told last. A buyer who gets nothing comes again.
    pub async fn serve(&self) -> Value {
        let answer = self.ask().await;
        if reason(&answer) == "settlement_pending" { self.ask().await } else { answer }
    }

    async fn ask(&self) -> Value {
        let answer = self.caller.try_post("/settle", &self.body).await.map_or(Value::Null, |(_, answer)| answer);
        self.told.lock().expect("no panic under the lock").push(answer.clone());
        answer
    }

    pub fn told(&self) -> Vec<Value> {
        self.told.lock().expect("no panic under the lock").clone()
    }
}

/// Ready again within this after a kill.
pub(super) const READY: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_loses_and_repeats_nothing() {
    let rounds = scale(1, 10);
    let mut world = World::new(ChainOptions::default()).await;
    let (mut violations, mut slowest, mut kills) = (0, Duration::ZERO, 0);
    for round in 0..rounds {
        for (number, point) in POINTS.into_iter().enumerate() {
            world.renew().await;
            let (wrong, ready) = crash(&world, point, round * POINTS.len() + number).await;
            (violations, slowest, kills) = (violations + wrong, slowest.max(ready), kills + 1);
        }
    }
    report(
        "crash",
        &format!("{kills} kills at {} points: {violations} violations, ready again within {slowest:?}", POINTS.len()),
    );
    assert_eq!(violations, 0);
    assert!(!is_full() || slowest <= READY, "{slowest:?}");
}

/// Kills the process at a point of one settlement, starts it again, and lets the buyer come again. Returns how much is wrong, and
/// how long the process took to be ready.
async fn crash(world: &World, point: Point, payer: usize) -> (usize, Duration) {
    let before = world.chain.transfers_to(&world.merchant).await.len();
    let proxy = Proxy::start(&world.chain.url);
    let postgres = PostgresProxy::start(&world.database).await;
    let waits = if point == Point::Pending { "answer_within_v2_seconds = 1\n" } else { "" };
    let server = format!("access = \"open\"\n{waits}");
    let options = Options { database: Some(postgres.url.clone()), server, ..world.options(&[&proxy]) };
    let mut facilitator = Facilitator::start(&options).await;
    let signed = world.signed(payer);
    let mut brake = world.ledger.acquire().await.expect("the database answers");
    match point {
        Point::Recorded => postgres.cut_next(Cut { statement: "INSERT INTO attempts", fate: Fate::Held }),
        Point::Committed => proxy.rule(|method, _, _| if method == SEND { Act::Swallow } else { Act::Forward }),
        Point::Sent => proxy.rule(|method, _, _| if method == SEND { Act::Hang } else { Act::Forward }),
        Point::Pending => {}
        Point::Mined => blind_after_send(&proxy),
        Point::Claimed => brake.execute(BRAKE).await.map(drop).expect("the database is ours"),
        Point::HandedOut => postgres.cut_next(Cut { statement: "SET handed_out_at", fate: Fate::Unheard }),
    }
    // What is not mined yet at the point must not be mined before the kill.
    world.mining(!point.is_before_block()).await;
    let server = Server::new(&facilitator, signed.v2());
    let _witness = Witness(server.clone());
    let served = tokio::spawn({
        let server = server.clone();
        async move { server.serve().await }
    });

    match point {
        Point::Recorded => reached("a held commit", || async { postgres.cuts() > 0 }).await,
        Point::Committed => reached("a send", || async { !proxy.sent().is_empty() }).await,
        Point::Sent => reached("a transaction in the pool", || async { world.chain.pooled().await > 0 }).await,
        Point::Pending => reached("an answer", || async { !server.told().is_empty() }).await,
        Point::Mined => reached("a transfer", || async { world.chain.transfers_to(&world.merchant).await.len() > before }).await,
        Point::Claimed => {
            world.until("a held answer", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").await;
        }
        Point::HandedOut => world.until("a success", "SELECT count(*) FROM payments WHERE handed_out_at IS NOT NULL").await,
    }
    facilitator.kill().await;
    served.await.expect("no panic");
    let missed = point.missed(&Traces::read(world, &proxy, before).await);
    if point == Point::Claimed {
        brake.execute(RELEASE).await.expect("the database is ours");
    }
    postgres.bury();
    proxy.behave();
    world.mining(true).await;

    let ready = facilitator.restart().await;
    if point == Point::Pending {
        // So that this answer, for which nobody waits longer than a second, is the end.
        world.until("a claim", "SELECT count(*) FROM claims").await;
    }
    let at_the_kill = server.told().len();
    server.serve().await;
    server.serve().await;
    world.until_idle().await;
    let transaction = world.chain.uses_of(&signed).await.pop();
    let told = server.told();
    let wrong = missed.or_else(|| mistold(point, &told, at_the_kill, transaction.as_deref()));
    let sent_once = proxy.sent().len() == 1;
    if wrong.is_some() || !sent_once {
        println!("violation: {point:?}: {wrong:?}, told {told:?}, on chain {transaction:?}, sent {:?}", proxy.sent());
    }
    (usize::from(wrong.is_some() || !sent_once) + world.violations(&[signed], before).await, ready)
}

/// What is wrong with what the server was told: nothing before the kill unless it was pending; then the success, if it was not
/// handed out already, and its transaction from then on.
pub(super) fn mistold(point: Point, told: &[Value], at_the_kill: usize, transaction: Option<&str>) -> Option<String> {
    let names_it = |answer: &Value| transaction.is_some() && answer["transaction"].as_str() == transaction;
    let is_pending = |answer: &Value| reason(answer) == "settlement_pending" && names_it(answer);
    let is_duplicate = |answer: &Value| reason(answer) == "duplicate_settlement" && names_it(answer);
    let is_paid = |answer: &Value| is_success(answer) && names_it(answer);
    let (early, late) = told.split_at(at_the_kill);
    let early_is_right = match early {
        [broken] => point != Point::Pending && broken.is_null(),
        [first, retried] => point == Point::Pending && is_pending(first) && (retried.is_null() || is_pending(retried)),
        _ => false,
    };
    let late_is_right = match late {
        [first, second] if point == Point::HandedOut => is_duplicate(first) && is_duplicate(second),
        [first, second] => is_paid(first) && is_duplicate(second),
        _ => false,
    };
    (!early_is_right || !late_is_right).then(|| format!("{at_the_kill} answers before the kill, {} after it", late.len()))
}

/// Handing success out waits for a lock that this connection holds.
pub(super) const BRAKE: &str = "
    CREATE FUNCTION brake() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.handed_out_at IS NOT NULL AND OLD.handed_out_at IS NULL THEN PERFORM pg_advisory_xact_lock(4711); END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER brake BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION brake();
    SELECT pg_advisory_lock(4711)";

pub(super) const RELEASE: &str = "SELECT pg_advisory_unlock(4711); DROP TRIGGER brake ON payments";

/// From the first transaction on, no block can be read.
fn blind_after_send(proxy: &Proxy) {
    let sent = Arc::new(AtomicBool::new(false));
    proxy.rule(move |method, _, _| {
        if method == SEND {
            sent.store(true, Ordering::SeqCst);
        }
        let reads = method.starts_with("eth_getBlock") || method == "eth_getLogs";
        if reads && sent.load(Ordering::SeqCst) { Act::Swallow } else { Act::Forward }
    });
}

pub(super) async fn reached<F: Future<Output = bool>>(what: &str, mut ready: impl FnMut() -> F) {
    eventually(what, PATIENCE, || {
        let ready = ready();
        async { ready.await.then_some(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_after_a_caller_was_told_that_it_was_not() {
    let rounds = scale(1, 5);
    let mut world = World::new(ChainOptions::default()).await;
    let (mut sent, mut violations) = (0, 0);
    for round in 0..rounds {
        world.renew().await;
        let before = world.chain.transfers_to(&world.merchant).await.len();
        let proxy = Proxy::start(&world.chain.url);
        let server = "access = \"open\"\nanswer_within_v2_seconds = 1\n".to_owned();
        let options = Options { roles: Some("api,watcher".to_owned()), server, ..world.options(&[&proxy]) };
        let mut facilitator = Facilitator::start(&options).await;
        let signed = world.signed(round);
        let server = Server::new(&facilitator, signed.v2());
        let refused = server.serve().await;
        assert_eq!((server.told().len(), reason(&refused)), (1, "unexpected_settle_error"), "{refused}");

        // From here on there is a lane, and blocks come and go.
        facilitator.kill().await;
        facilitator.restart().await;
        eventually("a lane", PATIENCE, || async {
            (facilitator.metric("quittance_lease_held{lease=\"lane").await > 0.0).then_some(())
        })
        .await;
        let height = world.chain.height().await;
        eventually("blocks", PATIENCE, || async { (world.chain.height().await >= height + 3).then_some(()) }).await;
        sent += proxy.sent().len() + world.chain.transfers_to(&world.merchant).await.len() - before;

        // Only now does the buyer come again, as often as it takes where a second is too short.
        let last = eventually("an end of the settlement", PATIENCE, || async {
            let answer = server.serve().await;
            (!["settlement_pending", "unexpected_settle_error"].contains(&reason(&answer))).then_some(answer)
        })
        .await;
        violations += usize::from(!is_success(&last)) + world.violations(&[signed], before).await;
    }
    report(
        "crash withdrawn",
        &format!("{rounds} answers of 503: {sent} transactions sent behind the caller's back, {violations} violations"),
    );
    assert_eq!((sent, violations), (0, 0));
}
