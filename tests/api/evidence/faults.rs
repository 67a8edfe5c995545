//! Nodes and databases that fail in every way: no verdict is not a refusal, nothing is lost, nothing is done twice.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{COMMITS, PATIENCE, SEND, World, is_full, is_success, reason, report, scale};
use crate::support::chain::ChainOptions;
use crate::support::eventually;
use crate::support::facilitator::{Facilitator, Options};
use crate::support::payer::Signed;
use crate::support::postgres_proxy::{Cut, Fate, PostgresProxy};
use crate::support::proxy::{Act, Proxy};

/// Without a database or a node the caller hears so within this.
const QUICKLY: Duration = Duration::from_secs(3);

/// Options whose calls to nodes end soon.
fn impatient(world: &World, nodes: &[&Proxy]) -> Options {
    let mut options = world.options(nodes);
    options.networks[0].lines.push_str("rpc_timeout_ms = 500\n");
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_send_loses_nothing() {
    let rounds = scale(3, 20);
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let facilitator = Facilitator::start(&world.options(&[&proxy])).await;
    let (mut paid, mut nameless) = (Vec::new(), 0);
    proxy.rule(|method, _, _| if method == SEND { Act::DropAnswer } else { Act::Forward });
    for round in 0..rounds {
        let signed = world.signed(round);
        let (_, first) = facilitator.settle(&signed.v2()).await;
        nameless += usize::from(first["transaction"].as_str().is_none_or(str::is_empty));
        if !is_success(&first) {
            assert_eq!(reason(&first), "settlement_pending", "{first}");
            let last = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
            assert!(is_success(&last), "{last}");
        }
        paid.push(signed);
    }
    world.until_idle().await;
    let (violations, sent) = (world.violations(&paid, 0).await, proxy.sent().len());
    report(
        "faults lost send",
        &format!("{rounds} answers lost: {sent} transactions, {nameless} answers without one, {violations} violations"),
    );
    assert_eq!((sent, nameless, violations), (rounds, 0, 0));
}

/// No block comes before the caller must be answered, so the one retry of its SDK has to bring the success.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_to_a_send_is_told_with_its_transaction_before_a_block_comes() {
    let rounds = scale(1, 10);
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let server = "access = \"open\"\nanswer_within_v2_seconds = 1\n".to_owned();
    let facilitator = Facilitator::start(&Options { server, ..world.options(&[&proxy]) }).await;
    proxy.rule(|method, _, _| if method == SEND { Act::DropAnswer } else { Act::Forward });
    let (mut paid, mut wrong) = (Vec::new(), 0);
    for round in 0..rounds {
        let signed = world.signed(round);
        world.mining(false).await;
        let pending = facilitator.settle(&signed.v2()).await.1;
        world.mining(true).await;
        // A retry that came before the block would be told the same, and SDKs ask only once more.
        eventually("a claim", PATIENCE, || async {
            (world.count("SELECT count(*) FROM claims").await as usize > round).then_some(())
        })
        .await;
        let retried = facilitator.settle(&signed.v2()).await.1;
        let used = world.chain.uses_of(&signed).await;
        let named = |answer: &Value| used.len() == 1 && answer["transaction"] == used[0].as_str();
        if reason(&pending) != "settlement_pending" || !named(&pending) || !is_success(&retried) || !named(&retried) {
            println!("violation: {pending}, then {retried}, on chain {used:?}");
            wrong += 1;
        }
        paid.push(signed);
    }
    world.until_idle().await;
    let (violations, sent) = (world.violations(&paid, 0).await, proxy.sent().len());
    report(
        "faults lost send pending",
        &format!(
            "{rounds} answers lost before a block: {wrong} without the transaction or without success on the one retry, {sent} transactions, {violations} violations"
        ),
    );
    assert_eq!((wrong, sent, violations), (0, rounds, 0));
}

/// What a node can do instead of answering.
fn misdeeds() -> Vec<(&'static str, Act)> {
    let error = |code: i64, message: &str| Act::Answer(json!({"jsonrpc": "2.0", "error": {"code": code, "message": message}}));
    vec![
        ("closes", Act::Swallow),
        ("hangs", Act::Hang),
        ("429", Act::Status(429)),
        ("500", Act::Status(500)),
        ("an empty 200", Act::Status(200)),
        ("-32005", error(-32005, "limit exceeded")),
        ("-32603", error(-32603, "internal error")),
        ("null", Act::Answer(json!({"jsonrpc": "2.0", "result": null}))),
        ("an object", Act::Answer(json!({"jsonrpc": "2.0", "result": {"number": "x"}}))),
        ("words", Act::Answer(json!("not hexadecimal"))),
        ("0x", Act::Answer(json!("0x"))),
        ("zeros", Act::Answer(json!(format!("0x{}", "00".repeat(160))))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_sense_is_no_verdict() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let facilitator = Facilitator::start(&impatient(&world, &[&proxy])).await;
    let (mut paid, mut wrong, mut slowest) = (Vec::new(), 0, Duration::ZERO);
    for (number, (name, act)) in misdeeds().into_iter().enumerate() {
        let signed = world.signed(number);
        let rows = world.rows().await.len();
        proxy.reset();
        proxy.rule(move |_, _, _| act.clone());
        let started = Instant::now();
        let verified = facilitator.verify(&signed.v2()).await;
        let settled = facilitator.settle(&signed.v2()).await;
        slowest = slowest.max(started.elapsed() / 2);
        let verdict = (verified.0, verified.1["invalidReason"].as_str(), settled.0, settled.1["errorReason"].as_str());
        let untouched = world.rows().await.len() == rows && proxy.sent().is_empty();
        if verdict != (503, Some("unexpected_verify_error"), 503, Some("unexpected_settle_error")) || !untouched {
            println!("violation: {name}: {verdict:?}, untouched {untouched}");
            wrong += 1;
        }
        proxy.behave();
        let last = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
        assert!(is_success(&last), "after {name}: {last}");
        paid.push(signed);
    }
    let violations = world.violations(&paid, 0).await;
    let kinds = paid.len();
    report(
        "faults node",
        &format!(
            "{kinds} kinds of broken nodes: {wrong} verdicts or traces, answered within {slowest:?}, {violations} violations"
        ),
    );
    assert_eq!((wrong, violations), (0, 0));
    assert!(!is_full() || slowest <= QUICKLY, "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_takes_over() {
    let each = scale(4, 40);
    let world = World::new(ChainOptions::default()).await;
    let nodes = [Proxy::start(&world.chain.url), Proxy::start(&world.chain.url)];
    let facilitator = Facilitator::start(&impatient(&world, &[&nodes[0], &nodes[1]])).await;
    let kinds = misdeeds();
    let paid: Vec<Signed> = (0..each * kinds.len()).map(|number| world.signed(number)).collect();
    let (mut failed, mut deaths) = (0, 0);
    for (part, (_, act)) in paid.chunks(each).zip(kinds) {
        // The one that is asked dies in the middle of a run: at the first transaction of the part.
        let dead = Arc::new(OnceLock::new());
        for (number, node) in nodes.iter().enumerate() {
            let (dead, act) = (Arc::clone(&dead), act.clone());
            node.rule(move |method, _, _| {
                let dies = method == SEND && *dead.get_or_init(|| number) == number;
                if dies || dead.get() == Some(&number) { act.clone() } else { Act::Forward }
            });
        }
        let answers =
            join_all(part.iter().map(|signed| async { facilitator.settle_patiently(&signed.v2(), PATIENCE).await })).await;
        failed += answers.iter().filter(|answer| !is_success(answer)).count();
        deaths += usize::from(dead.get().is_some());
        nodes.iter().for_each(Proxy::behave);
    }
    let violations = world.violations(&paid, 0).await;
    report(
        "faults failover",
        &format!(
            "{} payments while the asked one of two nodes dies in {deaths} ways: {failed} failed, {violations} violations",
            paid.len()
        ),
    );
    assert_eq!((deaths, failed, violations), (misdeeds().len(), 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_answer_is_lost_is_found_out() {
    let rounds = scale(1, 10);
    let world = World::new(ChainOptions::default()).await;
    let (node, postgres) = (Proxy::start(&world.chain.url), PostgresProxy::start(&world.database).await);
    let options = Options { database: Some(postgres.url.clone()), ..world.options(&[&node]) };
    let facilitator = Facilitator::start(&options).await;
    let (mut paid, mut successes, mut wrong) = (Vec::new(), 0, 0);
    for round in 0..rounds {
        for (number, statement) in COMMITS.into_iter().enumerate() {
            for fate in [Fate::Unanswered, Fate::Undelivered] {
                let signed = world.signed(round * COMMITS.len() + number);
                let cuts = postgres.cuts();
                postgres.cut_next(Cut { statement, fate });
                let (status, answer) = facilitator.settle(&signed.v2()).await;
                let hit = postgres.cuts() == cuts + 1;
                if !hit || !is_success(&answer) {
                    println!("violation: {statement}, {fate:?}, hit {hit}: {status} {answer}");
                    wrong += 1;
                }
                successes += usize::from(is_success(&answer));
                paid.push(signed);
            }
        }
    }
    world.until_idle().await;
    let (violations, sent) = (world.violations(&paid, 0).await, node.sent().len());
    report(
        "faults lost commit",
        &format!("{} lost answers to COMMIT: {successes} successes, {sent} transactions, {violations} violations", paid.len()),
    );
    assert_eq!((wrong, sent, violations), (0, paid.len(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_nothing_is_done() {
    let rounds = scale(1, 5);
    let world = World::new(ChainOptions::default()).await;
    let (node, postgres) = (Proxy::start(&world.chain.url), PostgresProxy::start(&world.database).await);
    let options = Options { database: Some(postgres.url.clone()), ..world.options(&[&node]) };
    let facilitator = Facilitator::start(&options).await;
    let (mut paid, mut sent, mut slowest, mut recovered) = (Vec::new(), 0, Duration::ZERO, Duration::ZERO);
    for round in 0..rounds {
        let signed = world.signed(round);
        node.reset();
        postgres.close();
        let started = Instant::now();
        let (status, answer) = facilitator.settle(&signed.v2()).await;
        slowest = slowest.max(started.elapsed());
        assert_eq!((status, reason(&answer)), (503, "unexpected_settle_error"), "{answer}");
        assert_eq!(readyz(&facilitator).await, 503);
        sent += node.sent().len();
        postgres.open();
        let started = Instant::now();
        let last = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
        recovered = recovered.max(started.elapsed());
        assert!(is_success(&last), "{last}");
        assert_eq!(readyz(&facilitator).await, 200);
        paid.push(signed);
    }
    let violations = world.violations(&paid, 0).await;
    report(
        "faults database",
        &format!(
            "{rounds} times away: 503 within {slowest:?}, {sent} transactions meanwhile, settling again within {recovered:?}, {violations} violations"
        ),
    );
    assert_eq!((sent, violations), (0, 0));
    assert!(!is_full() || slowest <= QUICKLY, "{slowest:?}");
}

/// The database goes away and comes back under payments that are on their way.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_and_goes_loses_no_payment() {
    let payments = scale(60, 600);
    let world = World::new(ChainOptions::default()).await;
    let (node, postgres) = (Proxy::start(&world.chain.url), PostgresProxy::start(&world.database).await);
    let options = Options { database: Some(postgres.url.clone()), ..world.options(&[&node]) };
    let facilitator = Facilitator::start(&options).await;
    let paid: Vec<Signed> = (0..payments).map(|number| world.signed(number)).collect();
    let (mut failed, mut outages) = (0, 0);
    for part in paid.chunks(30) {
        let asked = join_all(part.iter().map(|signed| async { facilitator.settle_patiently(&signed.v2(), PATIENCE).await }));
        let outage = async {
            let before = node.calls(SEND);
            eventually("a send", PATIENCE, || async { (node.calls(SEND) > before).then_some(()) }).await;
            postgres.close();
            let height = world.chain.height().await;
            eventually("a block", PATIENCE, || async { (world.chain.height().await > height).then_some(()) }).await;
            postgres.open();
        };
        let (answers, ()) = tokio::join!(asked, outage);
        failed += answers.iter().filter(|answer| !is_success(answer)).count();
        outages += 1;
    }
    world.until_idle().await;
    let violations = world.violations(&paid, 0).await;
    report(
        "faults database under load",
        &format!("{payments} payments, {outages} outages: {failed} failed, {violations} violations"),
    );
    assert_eq!((failed, violations), (0, 0));
}

/// The database's server vanishes from the network and another takes its place, as in a failover: the old connections never end.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_fall_silent_are_given_up() {
    let world = World::new(ChainOptions::default()).await;
    let (node, postgres) = (Proxy::start(&world.chain.url), PostgresProxy::start(&world.database).await);
    let server = "access = \"open\"\nanswer_within_v2_seconds = 5\n".to_owned();
    let options = Options { database: Some(postgres.url.clone()), server, ..world.options(&[&node]) };
    let facilitator = Facilitator::start(&options).await;
    let payments = scale(10, 40);
    let (mut paid, mut failed, mut slowest) = (Vec::new(), 0, Duration::ZERO);
    for (number, statement) in COMMITS.into_iter().enumerate() {
        let part: Vec<Signed> = (0..payments).map(|payment| world.signed(number * payments + payment)).collect();
        // Whoever makes this commit waits for its answer, and so do some of the others for theirs.
        postgres.cut_next(Cut { statement, fate: Fate::Silent });
        let started = Instant::now();
        let answers =
            join_all(part.iter().map(|signed| async { facilitator.settle_patiently(&signed.v2(), SILENCE_ENDS).await })).await;
        slowest = slowest.max(started.elapsed());
        for answer in answers.iter().filter(|answer| !is_success(answer)) {
            println!("failed after {statement}: {answer}");
            failed += 1;
        }
        assert_eq!(postgres.cuts(), number as u64 + 1);
        paid.extend(part);
        postgres.bury();
    }
    world.until_idle().await;
    let violations = world.violations(&paid, 0).await;
    report(
        "faults silent database",
        &format!(
            "{} payments, {} silences: {failed} failed, all ended within {slowest:?}, {violations} violations",
            paid.len(),
            COMMITS.len()
        ),
    );
    assert_eq!((failed, violations), (0, 0));
}

/// Connections that fell silent are replaced within this.
const SILENCE_ENDS: Duration = Duration::from_mins(1);

async fn readyz(facilitator: &Facilitator) -> u16 {
    let answer = facilitator.client().get(format!("{}/readyz", facilitator.operations)).send().await;
    let answer = answer.expect("the operations listener answers");
    let status = answer.status().as_u16();
    drop(answer.json::<Value>().await);
    status
}
