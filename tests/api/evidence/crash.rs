//! A process that is killed at any point of a settlement leaves nothing behind that is paid twice, told twice, or lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Executor;

use super::{PATIENCE, SEND, World, is_success, reason, report, scale};
use crate::support::chain::{ChainOptions, hex};
use crate::support::eventually;
use crate::support::facilitator::{Facilitator, Options};
use crate::support::postgres_proxy::{Cut, Fate, PostgresProxy};
use crate::support::proxy::{Act, Proxy};

/// Where the process is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Point {
    /// The payment is recorded; no lane has seen it.
    Recorded,
    /// The signed bytes are committed; none has left.
    Committed,
    /// The node has the bytes; its answer did not come.
    Sent,
    /// The transfer stands in a block; the watcher has not read it.
    Mined,
    /// The claim is committed; nobody was told.
    Claimed,
    /// The success is marked as handed out; the caller never got it.
    HandedOut,
}

const POINTS: [Point; 6] = [Point::Recorded, Point::Committed, Point::Sent, Point::Mined, Point::Claimed, Point::HandedOut];

/// Ready again within this after a kill.
const READY: Duration = Duration::from_secs(3);

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
    assert!(slowest <= READY, "{slowest:?}");
}

/// Kills the process at a point of one settlement, starts it again, and asks until there is an end. Returns how much is wrong, and
/// how long the process took to be ready.
async fn crash(world: &World, point: Point, payer: usize) -> (usize, Duration) {
    let before = world.chain.transfers_to(&world.merchant).await.len();
    let proxy = Proxy::start(&world.chain.url);
    let postgres = PostgresProxy::start(&world.database).await;
    let roles = (point == Point::Recorded).then(|| "api,watcher".to_owned());
    let database = if point == Point::HandedOut { postgres.url.clone() } else { world.database.clone() };
    let options = Options { roles, database: Some(database), ..world.options(&[&proxy]) };
    let mut facilitator = Facilitator::start(&options).await;
    let signed = world.signed(payer);
    let mut brake = world.ledger.acquire().await.expect("the database answers");
    match point {
        Point::Recorded => {}
        Point::Committed => proxy.rule(|method, _, _| if method == SEND { Act::Swallow } else { Act::Forward }),
        Point::Sent => proxy.rule(|method, _, _| if method == SEND { Act::Hang } else { Act::Forward }),
        Point::Mined => blind_after_send(&proxy),
        Point::Claimed => brake.execute(BRAKE).await.map(drop).expect("the database is ours"),
        Point::HandedOut => postgres.cut_next(Cut { statement: "SET handed_out_at", fate: Fate::Unanswered }),
    }
    // What is not mined yet at the point must not be mined before the kill.
    world.mining(!matches!(point, Point::Recorded | Point::Committed | Point::Sent)).await;
    let (caller, body) = (facilitator.caller(), signed.v2());
    let first = tokio::spawn(async move { caller.try_post("/settle", &body).await });

    match point {
        Point::Recorded => world.until("a row", "SELECT count(*) FROM payments").await,
        Point::Committed => reached("a send", || async { proxy.calls(SEND) > 0 }).await,
        Point::Sent => reached("a transaction in the pool", || pending(world)).await,
        Point::Mined => reached("a transfer", || async { world.chain.transfers_to(&world.merchant).await.len() > before }).await,
        Point::Claimed => {
            world.until("a held answer", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").await;
        }
        Point::HandedOut => reached("a lost answer", || async { postgres.cuts() > 0 }).await,
    }
    facilitator.kill().await;
    let first = first.await.expect("no panic").map_or(Value::Null, |(_, answer)| answer);
    if point == Point::Claimed {
        brake.execute(RELEASE).await.expect("the database is ours");
    }
    proxy.behave();
    world.mining(true).await;

    let ready = facilitator.restart().await;
    let last = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
    world.until_idle().await;
    let successes = usize::from(is_success(&first)) + usize::from(is_success(&last));
    let told = if point == Point::HandedOut { reason(&last) == "duplicate_settlement" } else { is_success(&last) };
    let transaction = world.chain.uses_of(&signed).await.pop();
    let right = told && successes <= 1 && last["transaction"].as_str() == transaction.as_deref() && proxy.sent().len() == 1;
    if !right {
        println!("violation: {point:?}: first {first}, last {last}, on chain {transaction:?}, sent {:?}", proxy.sent());
    }
    (usize::from(!right) + world.violations(&[signed], before).await, ready)
}

/// Handing success out waits for a lock that this connection holds.
const BRAKE: &str = "
    CREATE FUNCTION brake() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.handed_out_at IS NOT NULL AND OLD.handed_out_at IS NULL THEN PERFORM pg_advisory_xact_lock(4711); END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER brake BEFORE UPDATE ON payments FOR EACH ROW EXECUTE FUNCTION brake();
    SELECT pg_advisory_lock(4711)";

const RELEASE: &str = "SELECT pg_advisory_unlock(4711); DROP TRIGGER brake ON payments";

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

async fn pending(world: &World) -> bool {
    let status = world.chain.rpc("txpool_status", json!([])).await;
    hex(&status["pending"]) > 0
}

async fn reached<F: Future<Output = bool>>(what: &str, mut ready: impl FnMut() -> F) {
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
        let (status, answer) = facilitator.settle(&signed.v2()).await;
        assert_eq!((status, reason(&answer)), (503, "unexpected_settle_error"), "{answer}");

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

        let last = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
        violations += usize::from(!is_success(&last)) + world.violations(&[signed], before).await;
    }
    report(
        "crash withdrawn",
        &format!("{rounds} answers of 503: {sent} transactions sent behind the caller's back, {violations} violations"),
    );
    assert_eq!((sent, violations), (0, 0));
}
