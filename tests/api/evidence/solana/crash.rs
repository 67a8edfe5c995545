//! A process that is killed at any point of a settlement on Solana leaves nothing behind that is paid twice, told twice, or lost.

use std::time::Duration;

use serde_json::json;
use sqlx::Executor;

use super::super::crash::{BRAKE, POINTS, Point, READY, RELEASE, Server, Witness, mistold, reached};
use super::super::{PATIENCE, is_full, report, scale};
use super::{SEND, STATUSES};
use crate::support::facilitator::{Facilitator, Options};
use crate::support::postgres_proxy::{Cut, Fate, PostgresProxy};
use crate::support::proxy::{Act, Proxy};
use crate::support::solana::{AMOUNT, Cluster, FEE};
use crate::support::{database, eventually};
use quittance::ledger::Ledger;

/// How far a settlement came: what its ledger holds, and what the proxy saw go to the node.
#[derive(Debug, PartialEq)]
struct Traces {
    payments: i64,
    attempts: i64,
    claims: i64,
    handed_out: i64,
    asked_to_send: usize,
    handed_on: usize,
}

impl Traces {
    async fn read(ledger: &Ledger, proxy: &Proxy) -> Self {
        Self {
            payments: count(ledger, "SELECT count(*) FROM payments").await,
            attempts: count(ledger, "SELECT count(*) FROM attempts").await,
            claims: count(ledger, "SELECT count(*) FROM claims").await,
            handed_out: count(ledger, "SELECT count(*) FROM payments WHERE handed_out_at IS NOT NULL").await,
            asked_to_send: proxy.sent().len(),
            handed_on: proxy.handed_on().len(),
        }
    }

    /// What belongs to a point.
    const fn of(point: Point) -> Self {
        let (attempts, asked_to_send, handed_on, claims, handed_out) = match point {
            Point::Recorded => (0, 0, 0, 0, 0),
            Point::Committed => (1, 1, 0, 0, 0),
            Point::Sent | Point::Pending | Point::Mined => (1, 1, 1, 0, 0),
            Point::Claimed => (1, 1, 1, 1, 0),
            Point::HandedOut => (1, 1, 1, 1, 1),
        };
        Self { payments: 1, attempts, claims, handed_out, asked_to_send, handed_on }
    }
}

async fn count(ledger: &Ledger, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(ledger.pool()).await.expect("the database answers")
}

async fn until(ledger: &Ledger, what: &str, query: &'static str) {
    eventually(what, PATIENCE, || async { (count(ledger, query).await > 0).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_over_a_payment_on_solana_loses_and_repeats_nothing() {
    let rounds = scale(1, 10);
    let cluster = Cluster::start(400).await;
    let (mut violations, mut slowest, mut kills) = (0, Duration::ZERO, 0);
    for round in 0..rounds {
        for (number, point) in POINTS.into_iter().enumerate() {
            let (wrong, ready) = crash(&cluster, point, round * POINTS.len() + number).await;
            (violations, slowest, kills) = (violations + wrong, slowest.max(ready), kills + 1);
        }
    }
    report(
        "solana crash",
        &format!("{kills} kills at {} points: {violations} violations, ready again within {slowest:?}", POINTS.len()),
    );
    assert_eq!(violations, 0);
    assert!(!is_full() || slowest <= READY, "{slowest:?}");
}

/// Kills the process at a point of one settlement, starts it again, and lets the buyer come again. Returns how much is wrong, and
/// how long the process took to be ready.
async fn crash(cluster: &Cluster, point: Point, number: usize) -> (usize, Duration) {
    let url = database::fresh().await;
    let ledger = database::ledger(&url).await;
    let (paid, lamports) = (cluster.paid().await, cluster.lamports().await);
    let (proxy, postgres) = (Proxy::start(&cluster.url), PostgresProxy::start(&url).await);
    let waits = if point == Point::Pending { "answer_within_v2_seconds = 1\n" } else { "" };
    let server = format!("access = \"open\"\n{waits}");
    let options = Options { server, ..Options::new(cluster.options(&proxy.url), &postgres.url) };
    let mut facilitator = Facilitator::start(&options).await;
    let payment = cluster.payment(number % 30, &format!("crash {number}")).await;
    let mut brake = ledger.acquire().await.expect("the database answers");
    let blind = |method: &str| if method == STATUSES { Act::Swallow } else { Act::Forward };
    match point {
        Point::Recorded => postgres.cut_next(Cut { statement: "INSERT INTO attempts", fate: Fate::Held }),
        Point::Committed => proxy.rule(|method, _, _| if method == SEND { Act::Swallow } else { Act::Forward }),
        Point::Sent => proxy.rule(move |method, _, _| if method == SEND { Act::Hang } else { blind(method) }),
        Point::Pending | Point::Mined => proxy.rule(move |method, _, _| blind(method)),
        Point::Claimed => brake.execute(BRAKE).await.map(drop).expect("the database is ours"),
        Point::HandedOut => postgres.cut_next(Cut { statement: "SET handed_out_at", fate: Fate::Unheard }),
    }
    let server = Server::new(&facilitator, payment.v2());
    let _witness = Witness(server.clone());
    let served = tokio::spawn({
        let server = server.clone();
        async move { server.serve().await }
    });

    match point {
        Point::Recorded => reached("a held commit", || async { postgres.cuts() > 0 }).await,
        Point::Committed => reached("a send", || async { !proxy.sent().is_empty() }).await,
        Point::Sent => reached("a transaction that left", || async { !proxy.handed_on().is_empty() }).await,
        Point::Pending => reached("an answer", || async { !server.told().is_empty() }).await,
        Point::Mined => reached("a transfer", || async { cluster.paid().await > paid }).await,
        Point::Claimed => {
            until(&ledger, "a held answer", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").await;
        }
        Point::HandedOut => until(&ledger, "a success", "SELECT count(*) FROM payments WHERE handed_out_at IS NOT NULL").await,
    }
    facilitator.kill().await;
    served.await.expect("no panic");
    let (found, expected) = (Traces::read(&ledger, &proxy).await, Traces::of(point));
    let missed = (found != expected).then(|| format!("{point:?} was not hit: {found:?}"));
    if point == Point::Claimed {
        brake.execute(RELEASE).await.expect("the database is ours");
    }
    postgres.bury();
    proxy.behave();

    let ready = facilitator.restart().await;
    if point == Point::Pending {
        // So that this answer, for which nobody waits longer than a second, is the end.
        until(&ledger, "a claim", "SELECT count(*) FROM claims").await;
    }
    let at_the_kill = server.told().len();
    server.serve().await;
    server.serve().await;
    let open = "SELECT count(*) FROM submissions WHERE spent_block IS NULL";
    eventually("an end of all submissions", PATIENCE, || async { (count(&ledger, open).await == 0).then_some(()) }).await;
    let claimed = sqlx::query_scalar::<_, String>("SELECT transaction FROM claims").fetch_all(ledger.pool()).await;
    let claimed = claimed.expect("the database answers");
    // The cluster's own word, past the proxy.
    let statuses = cluster.rpc(STATUSES, json!([claimed, {"searchTransactionHistory": true}])).await;
    let landed = claimed.len() == 1 && statuses["value"][0]["err"].is_null() && statuses["value"][0]["slot"].is_u64();
    let moved = (cluster.paid().await - paid, lamports - cluster.lamports().await);
    let told = server.told();
    let wrong = missed.or_else(|| mistold(point, &told, at_the_kill, claimed.first().map(String::as_str)));
    let right = wrong.is_none() && landed && moved == (AMOUNT, FEE) && proxy.sent().len() == 1;
    if !right {
        println!(
            "violation: {point:?}: {wrong:?}, told {told:?}, claimed {claimed:?} {statuses}, moved {moved:?}, sent {:?}",
            proxy.sent()
        );
    }
    (usize::from(!right), ready)
}
