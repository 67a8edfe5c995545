//! Everything at once: replicas are killed at any time, nodes fail one call in twenty, commits lose their answers; under load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use rand::Rng;
use serde_json::{Value, json};

use super::{COMMITS, SEND, World, is_success, reason, report, scale};
use crate::support::chain::ChainOptions;
use crate::support::eventually;
use crate::support::facilitator::{Caller, Facilitator, Options};
use crate::support::payer::Signed;
use crate::support::postgres_proxy::{Cut, Fate, PostgresProxy};
use crate::support::proxy::{Act, Proxy};

/// A caller that goes from replica to replica ends with an answer within this.
const PATIENCE: Duration = Duration::from_mins(2);

/// Payments under way at a time.
const CONCURRENCY: usize = 24;

/// Of so many calls to a node one fails.
const FAILS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_fails_at_random_makes_a_payment_wrong() {
    let payments = scale(60, 600);
    let world = World::new(ChainOptions { payers: 40, ..ChainOptions::default() }).await;
    let (node, postgres) = (Proxy::start(&world.chain.url), PostgresProxy::start(&world.database).await);
    let options = Options { database: Some(postgres.url.clone()), ..world.options(&[&node]) };
    let mut replicas = Vec::new();
    for _ in 0..3 {
        replicas.push(Facilitator::start(&options).await);
    }
    let callers: Vec<_> = replicas.iter().map(Facilitator::caller).collect();
    let paid: Vec<Signed> = (0..payments).map(|number| world.signed(number)).collect();
    node.rule(|method, _, _| misbehave(method));

    let started = Instant::now();
    let asked = paid.iter().enumerate().map(|(number, signed)| settle(&callers, number, signed));
    let done = AtomicBool::new(false);
    let asked = async {
        let answers = stream::iter(asked).buffer_unordered(CONCURRENCY).collect::<Vec<(bool, bool)>>().await;
        done.store(true, Ordering::SeqCst);
        answers
    };
    let (answers, (kills, slowest)) = tokio::join!(asked, kill(&mut replicas, &node, &postgres, &done));
    let took = started.elapsed();
    node.behave();
    world.until_idle().await;
    let (successes, lost) = (
        answers.iter().filter(|(success, _)| *success).count(),
        answers.iter().filter(|(success, broken)| !success && !broken).count(),
    );
    let violations = world.violations(&paid, 0).await;
    report(
        "chaos",
        &format!(
            "{payments} payments on 3 replicas, {kills} kills, {} lost commits, 1 in {FAILS} calls to the node failing: {successes} \
             successes heard, {lost} told a duplicate without reason, all ended within {took:?}, ready again within {slowest:?}, \
             {} transactions, {violations} violations",
            postgres.cuts(),
            node.sent().len()
        ),
    );
    assert_eq!((lost, violations), (0, 0));
}

/// One failure of each kind, now and then.
fn misbehave(method: &str) -> Act {
    let mut random = rand::rng();
    if method == "eth_chainId" || random.random_range(0..FAILS) > 0 {
        return Act::Forward;
    }
    match random.random_range(0..5) {
        0 => Act::Swallow,
        1 => Act::DropAnswer,
        2 => Act::Status(429),
        3 if method != SEND => Act::Answer(json!("nonsense")),
        _ => Act::DelayAnswer(Duration::from_millis(700)),
    }
}

/// Asks one replica after the other until there is an end. Returns whether it was a success, and whether an answer was lost on
/// the way, which may have been the success.
async fn settle(callers: &[Caller], number: usize, signed: &Signed) -> (bool, bool) {
    let (body, mut broken, mut turn) = (signed.v2(), false, number);
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        turn += 1;
        match callers[turn % callers.len()].try_post("/settle", &body).await {
            Ok((_, answer)) if is_success(&answer) => return (true, broken),
            Ok((_, answer)) if reason(&answer) == "duplicate_settlement" => return (false, broken),
            Ok((_, answer)) => assert!(is_open(&answer), "{answer}"),
            Err(_) => {
                broken = true;
                // The replica is away; there are two more.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    panic!("a payment had no end");
}

fn is_open(answer: &Value) -> bool {
    ["settlement_pending", "unexpected_settle_error"].contains(&reason(answer))
}

/// Until all is done, kills one replica after the other, each after some calls to the node, and starts it again; meanwhile a
/// commit goes wrong. Returns how often, and the longest time until a replica was ready again.
async fn kill(replicas: &mut [Facilitator], node: &Proxy, postgres: &PostgresProxy, done: &AtomicBool) -> (usize, Duration) {
    let (mut kills, mut slowest) = (0, Duration::ZERO);
    let calls = || node.all_calls().values().sum::<u64>();
    loop {
        let until = calls() + rand::rng().random_range(1..30);
        eventually("calls to the node", PATIENCE, || async { (calls() >= until || done.load(Ordering::SeqCst)).then_some(()) })
            .await;
        if done.load(Ordering::SeqCst) {
            return (kills, slowest);
        }
        let fate = if rand::random() { Fate::Unanswered } else { Fate::Undelivered };
        let (statement, replica) = (rand::rng().random_range(0..COMMITS.len()), rand::rng().random_range(0..replicas.len()));
        postgres.cut_next(Cut { statement: COMMITS[statement], fate });
        replicas[replica].kill().await;
        slowest = slowest.max(replicas[replica].restart().await);
        kills += 1;
    }
}
