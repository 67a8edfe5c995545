//! Solana nodes that know nothing yet, disagree, or carry out what fails.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use quittance::ledger::Ledger;
use serde_json::{Value, json};

use super::{PATIENCE, SEND, STATUSES, is_success, reason, report, scale};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::proxy::{Act, Edit, Proxy};
use crate::support::solana::fork::{Fork, Instead};
use crate::support::solana::made_up::shown;
use crate::support::solana::{AMOUNT, Cluster, Payment};
use crate::support::{database, eventually};

/// What a node answers that has not heard of the only transaction it is asked for.
fn unheard_of() -> Act {
    Act::Answer(json!({"context": {"slot": 1}, "value": [null]}))
}

/// Asks again, as the servers of the SDKs do, until there is an end.
async fn ask_again(facilitator: &Facilitator, payment: &Payment) -> Value {
    eventually("an end", PATIENCE, || async {
        let (_, answer) = facilitator.settle(&payment.v2()).await;
        (reason(&answer) != "settlement_pending").then_some(answer)
    })
    .await
}

/// A figure out of the database.
async fn count(ledger: &Ledger, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(ledger.pool()).await.expect("the database answers")
}

/// Whether a node is asked what became of transactions in all its history, which is done only where it decides something.
fn is_thorough(method: &str, params: &Value) -> bool {
    method == STATUSES && params[1]["searchTransactionHistory"] == true
}

/// Twenty seconds of slots.
const SILENCE_BLOCKS: u64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_no_node_knows_yet_is_pending() {
    let cluster = Cluster::start(400).await;
    let proxy = Proxy::start(&cluster.url);
    let mut options = Options::new(cluster.options(&proxy.url), &database::fresh().await);
    options.server.push_str("answer_within_v2_seconds = 1\n");
    let facilitator = Facilitator::start(&options).await;
    let payment = cluster.payment(0, "one").await;
    proxy.rule(|method, _, _| if method == STATUSES { unheard_of() } else { Act::Forward });

    let (_, first) = facilitator.settle(&payment.v2()).await;
    let height = cluster.height().await;
    eventually("silence", PATIENCE, || async { (cluster.height().await >= height + SILENCE_BLOCKS).then_some(()) }).await;
    let (_, second) = facilitator.settle(&payment.v2()).await;
    proxy.behave();
    let last = ask_again(&facilitator, &payment).await;

    report(
        "solana unknown",
        &format!("{}, {SILENCE_BLOCKS} blocks later {}, then success {}", reason(&first), reason(&second), last["success"]),
    );
    assert_eq!([reason(&first), reason(&second)], ["settlement_pending"; 2], "{first}, {second}");
    assert!(is_success(&last) && last["transaction"] == first["transaction"], "{first}, then {last}");
    assert_eq!((cluster.paid().await, proxy.sent().len()), (AMOUNT, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_fails_in_its_block_is_no_success() {
    let cluster = Cluster::start(400).await;
    let proxy = Proxy::start(&cluster.url);
    let network = cluster.options(&proxy.url);
    let network = NetworkOptions { lines: format!("{}resend_after_ms = 500\n", network.lines), ..network };
    let mut options = Options::new(network, &database::fresh().await);
    options.server.push_str("answer_within_v2_seconds = 1\n");
    let facilitator = Facilitator::start(&options).await;
    let (payment, before) = (cluster.payment(0, "one").await, cluster.lamports().await);
    proxy.rule(|method, _, _| if method == SEND { Act::Answer(json!("taken")) } else { Act::Forward });

    let (_, first) = facilitator.settle(&payment.v2()).await;
    assert_eq!(reason(&first), "settlement_pending", "{first}");
    cluster.change(0, json!({"amount": 0})).await;
    proxy.behave();
    let last = ask_again(&facilitator, &payment).await;
    let again = facilitator.settle(&payment.v2()).await.1;

    let (paid, fee) = (cluster.paid().await, before - cluster.lamports().await);
    report("solana failed", &format!("{} after a good simulation: {paid} paid, {fee} lamports of fees", reason(&last)));
    for answer in [&last, &again] {
        assert_eq!(reason(answer), "invalid_exact_svm_transaction_failed", "{answer}");
        assert_eq!(answer["transaction"], first["transaction"], "{answer}");
    }
    assert_eq!(paid, 0);
    assert!(fee > 0, "it was carried out");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_nodes_word_is_not_enough_for_a_large_transfer_on_solana() {
    let cluster = Cluster::start(400).await;
    for number in 0..2 {
        let (honest, silent) = (Proxy::start(&cluster.url), Proxy::start(&cluster.url));
        let nodes = if number == 0 { [&honest, &silent] } else { [&silent, &honest] };
        let network = cluster.options(&honest.url);
        let network = NetworkOptions {
            rpc: nodes.map(|node| node.url.clone()).to_vec(),
            lines: format!("{}agree_above = \"0.0001\"\n", network.lines),
            ..network
        };
        let url = database::fresh().await;
        let ledger = database::ledger(&url).await;
        let mut options = Options::new(network, &url);
        options.server.push_str("answer_within_v2_seconds = 1\n");
        let facilitator = Facilitator::start(&options).await;
        let asked = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&asked);
        silent.rule(move |method, params, _| match method {
            STATUSES => unheard_of(),
            "getBlock" if params[1]["transactionDetails"] == "full" => {
                counter.fetch_add(1, Ordering::SeqCst);
                Act::Answer(json!({"jsonrpc": "2.0", "error": {"code": -32_004, "message": "not yet"}}))
            }
            _ => Act::Forward,
        });
        let (paid, payment) = (cluster.paid().await, cluster.payment(number, &format!("large {number}")).await);

        let (_, first) = facilitator.settle(&payment.v2()).await;
        eventually("the transfer", PATIENCE, || async { (cluster.paid().await > paid).then_some(()) }).await;
        // The other one has told of the transfer, and this one is asked whether that is so, in each look anew. Where it comes first, it
        // is asked for the block twice before the other one is.
        let often = || async { (asked.load(Ordering::SeqCst) >= 6).then_some(()) };
        eventually("questions whether it agrees", PATIENCE, often).await;
        let claims = count(&ledger, "SELECT count(*) FROM claims").await;
        assert_eq!((reason(&first), claims), ("settlement_pending", 0), "{first}");
        silent.behave();
        let last = ask_again(&facilitator, &payment).await;
        assert!(is_success(&last), "{last}");
        assert_eq!(cluster.paid().await - paid, AMOUNT);
    }
    report(
        "solana agreement",
        "2 orders of two nodes, of which one does not show the transaction: 0 claims before it does, then paid",
    );
}

/// A node says of each transaction that it is asked for that it landed, or that it failed, and shows it in its blocks. None was sent.
fn lie(liar: &Proxy, cluster: &Cluster, payer: usize, failed: bool) {
    let error = if failed { json!({"InstructionError": [2, {"Custom": 1}]}) } else { Value::Null };
    let shown = shown(cluster, payer, error.clone());
    let made_up = Arc::new(Mutex::new(Vec::new()));
    liar.rule(move |method, params, _| match method {
        SEND => Act::Answer(json!("taken")),
        STATUSES => {
            let names = params[0].as_array().cloned().unwrap_or_default();
            let (count, error) = (names.len(), error.clone());
            *made_up.lock().expect("no panic under the lock") = names;
            Edit::of(move |answer| {
                let slot = answer["context"]["slot"].as_u64().expect("a slot") - 3;
                let status = json!({
                    "slot": slot, "confirmations": 2, "err": error, "status": {"Ok": null}, "confirmationStatus": "confirmed",
                });
                answer["value"] = json!(vec![status; count]);
            })
        }
        "getBlock" => {
            let (made_up, shown) = (Arc::clone(&made_up), shown.clone());
            Edit::of(move |block| {
                if let Some(transactions) = block.get_mut("transactions").and_then(Value::as_array_mut) {
                    let names = made_up.lock().expect("no panic under the lock").clone();
                    transactions.extend(names.iter().filter_map(Value::as_str).map(&shown));
                }
            })
        }
        _ => Act::Forward,
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_on_solana_that_one_node_made_up_ends_nothing() {
    let cluster = Cluster::start(400).await;
    for (payer, failed) in [false, true].into_iter().enumerate() {
        let (liar, honest) = (Proxy::start(&cluster.url), Proxy::start(&cluster.url));
        let network = cluster.options(&liar.url);
        let network = NetworkOptions {
            rpc: vec![liar.url.clone(), honest.url.clone()],
            lines: format!("{}agree_above = \"0.0001\"\nresend_after_ms = 500\n", network.lines),
            ..network
        };
        let url = database::fresh().await;
        let ledger = database::ledger(&url).await;
        let mut options = Options::new(network, &url);
        options.server.push_str("answer_within_v2_seconds = 1\n");
        let facilitator = Facilitator::start(&options).await;
        let (paid, payment) = (cluster.paid().await, cluster.payment(payer, &format!("made up {payer}")).await);
        lie(&liar, &cluster, payer, failed);
        honest.rule(|method, _, _| if method == SEND { Act::Answer(json!("taken")) } else { Act::Forward });

        let (_, first) = facilitator.settle(&payment.v2()).await;
        let looks = liar.calls(STATUSES);
        eventually("further looks", PATIENCE, || async { (liar.calls(STATUSES) >= looks + 3).then_some(()) }).await;
        let (_, second) = facilitator.settle(&payment.v2()).await;
        let ends = "SELECT count(*) FROM payments WHERE given_up_at IS NOT NULL OR id IN (SELECT payment_id FROM claims)";
        let ends = sqlx::query_scalar::<_, i64>(ends).fetch_one(ledger.pool()).await.expect("the database answers");
        assert_eq!(([reason(&first), reason(&second)], ends), (["settlement_pending"; 2], 0), "{first}, {second}");
        liar.behave();
        honest.behave();
        let last = ask_again(&facilitator, &payment).await;
        assert!(is_success(&last), "{last}");
        assert_eq!(cluster.paid().await - paid, AMOUNT);
    }
    report("solana lies", "2 ends that one of two nodes made up: 0 ends in the ledger, then paid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_fork_is_dropped_is_sent_again_and_told_once() {
    let cluster = Cluster::start(400).await;
    let proxy = Proxy::start(&cluster.url);
    let network = cluster.options(&proxy.url);
    let network = NetworkOptions { lines: format!("{}resend_after_ms = 500\n", network.lines), ..network };
    let url = database::fresh().await;
    let ledger = database::ledger(&url).await;
    let facilitator = Facilitator::start(&Options::new(network, &url)).await;
    let payment = cluster.payment(0, "one").await;
    let (_, settled) = facilitator.settle(&payment.v2()).await;
    assert!(is_success(&settled), "{settled}");
    let transaction = settled["transaction"].as_str().expect("a name").to_owned();
    let claims = async || count(&ledger, "SELECT count(*) FROM claims").await;

    let sends = proxy.calls(SEND);
    let mut fork = Fork::under(&cluster, &transaction, Instead::Others).await;
    // Two slots more than there are, for those that come while the node changes its mind.
    fork.slots = *fork.slots.start()..=cluster.slot().await + 2;
    let branch = fork.clone();
    proxy.rule(move |method, params, _| branch.act(method, params));
    eventually("no claim", PATIENCE, || async { (claims().await == 0).then_some(()) }).await;
    eventually("a further send", PATIENCE, || async { (proxy.calls(SEND) > sends).then_some(()) }).await;
    let (_, meanwhile) = facilitator.settle(&payment.v2()).await;
    fork.lands = Some(cluster.slot().await);
    let branch = fork.clone();
    proxy.rule(move |method, params, _| branch.act(method, params));
    eventually("a claim again", PATIENCE, || async { (claims().await == 1).then_some(()) }).await;
    let (_, last) = facilitator.settle(&payment.v2()).await;
    let reversed = count(&ledger, "SELECT count(*) FROM events WHERE kind = 'payment.reversed'").await;
    let noticed = facilitator.metric("quittance_reorgs_total").await;

    report(
        "solana fork",
        &format!(
            "success, its block dropped, noticed {noticed} time, {reversed} told, {} distinct transaction sent, paid again; further answers: {}, {}",
            proxy.sent().len(),
            reason(&meanwhile),
            reason(&last)
        ),
    );
    assert!(!is_success(&meanwhile), "{meanwhile}");
    assert_eq!((reason(&last), &last["transaction"]), ("duplicate_settlement", &settled["transaction"]), "{last}");
    assert_eq!((proxy.sent().len(), noticed, reversed), (1, 1.0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_does_not_know_another_one_tells() {
    let cluster = Cluster::start(400).await;
    let (deaf, other) = (Proxy::start(&cluster.url), Proxy::start(&cluster.url));
    let network = NetworkOptions { rpc: vec![deaf.url.clone(), other.url.clone()], ..cluster.options(&deaf.url) };
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    deaf.rule(|method, _, _| if method == STATUSES { unheard_of() } else { Act::Forward });

    let (_, settled) = facilitator.settle(&cluster.payment(0, "one").await.v2()).await;

    let (first, second) = (deaf.calls(STATUSES), other.calls(STATUSES));
    report("solana deaf node", &format!("{first} looks at a node that knows nothing, {second} at another, then paid"));
    assert!(is_success(&settled), "{settled}");
    assert!(0 < second && second < first, "{second} of {first}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_one_node_leaves_out_of_its_block_another_one_shows() {
    let cluster = Cluster::start(400).await;
    let (sparing, other) = (Proxy::start(&cluster.url), Proxy::start(&cluster.url));
    let network = NetworkOptions { rpc: vec![sparing.url.clone(), other.url.clone()], ..cluster.options(&sparing.url) };
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    sparing.rule(|method, _, _| {
        if method != "getBlock" {
            return Act::Forward;
        }
        Edit::of(|block| {
            if let Some(transactions) = block.get_mut("transactions") {
                *transactions = json!([]);
            }
        })
    });

    let (_, settled) = facilitator.settle(&cluster.payment(0, "one").await.v2()).await;

    assert!(is_success(&settled), "{settled}");
    assert!(other.calls("getBlock") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_has_had_enough_or_cannot_serve_us_is_passed_over_at_once() {
    const SIMULATE: &str = "simulateTransaction";
    let cluster = Cluster::start(400).await;
    let internal = json!({"jsonrpc": "2.0", "error": {"code": -32_603, "message": "Internal error"}});
    for (payer, answer) in [Act::Status(429), Act::Answer(internal)].into_iter().enumerate() {
        let (tired, other) = (Proxy::start(&cluster.url), Proxy::start(&cluster.url));
        let network = NetworkOptions { rpc: vec![tired.url.clone(), other.url.clone()], ..cluster.options(&tired.url) };
        let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
        let what = format!("{answer:?}");
        tired.rule(move |method, _, _| if method == SIMULATE { answer.clone() } else { Act::Forward });

        let (_, verified) = facilitator.verify(&cluster.payment(payer, "one").await.v2()).await;

        assert_eq!(verified["isValid"], true, "{what}: {verified}");
        assert_eq!((tired.calls(SIMULATE), other.calls(SIMULATE)), (1, 1), "{what}");
    }
}

/// What is sent before `open` is swallowed, then and ever after.
fn swallow_until(node: &Proxy, open: Arc<AtomicBool>) {
    let swallowed = Mutex::new(BTreeSet::new());
    node.rule(move |method, params, _| {
        if method != SEND {
            return Act::Forward;
        }
        let mut swallowed = swallowed.lock().expect("no panic under the lock");
        let raw = params[0].to_string();
        if !open.load(Ordering::SeqCst) {
            swallowed.insert(raw.clone());
        }
        if swallowed.contains(&raw) { Act::Answer(json!("taken")) } else { Act::Forward }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_that_do_not_land_and_a_node_that_hangs_over_them_keep_no_new_payment() {
    let stuck = 8;
    let cluster = Cluster::start(400).await;
    let (node, hanging) = (Proxy::start(&cluster.url), Proxy::start(&cluster.url));
    let network = cluster.options(&node.url);
    let network = NetworkOptions {
        rpc: vec![node.url.clone(), hanging.url.clone()],
        lines: format!("{}resend_after_ms = 500\n", network.lines),
        ..network
    };
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    let open = Arc::new(AtomicBool::new(false));
    swallow_until(&node, Arc::clone(&open));
    hanging.rule(|method, _, _| if method == SEND { Act::Delay(Duration::from_hours(1)) } else { Act::Forward });
    for payer in 0..stuck {
        let (caller, body) = (facilitator.caller(), cluster.payment(payer, "stuck").await.v2());
        tokio::spawn(async move { caller.try_post("/settle", &body).await });
    }
    eventually("all of them sent", PATIENCE, || async { (node.sent().len() == stuck).then_some(()) }).await;
    open.store(true, Ordering::SeqCst);

    let (_, settled) = facilitator.settle(&cluster.payment(stuck, "new").await.v2()).await;
    let sends = node.calls(SEND);
    let again = || async { (node.calls(SEND) >= sends + 2 * stuck as u64).then_some(()) };
    eventually("all of them again and again", PATIENCE, again).await;

    let overlong = facilitator.log().matches("a turn took too long").count();
    report("solana hanging node", &format!("a payment beside {stuck} that are stuck: success {}", settled["success"]));
    assert!(is_success(&settled), "{settled}");
    assert_eq!((cluster.paid().await, overlong), (AMOUNT, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_can_no_longer_land_are_asked_for_together() {
    let payments = 16;
    let cluster = Cluster::start(20).await;
    let proxy = Proxy::start(&cluster.url);
    let facilitator = Facilitator::start(&Options::new(cluster.options(&proxy.url), &database::fresh().await)).await;
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    proxy.rule(move |method, params, _| {
        if is_thorough(method, params) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        if method == SEND { Act::Answer(json!("taken")) } else { Act::Forward }
    });

    let ends = (0..payments).map(|payer| {
        let (cluster, facilitator) = (&cluster, &facilitator);
        async move { ask_again(facilitator, &cluster.payment(payer, "lost").await).await }
    });
    let ends = join_all(ends).await;

    let asked = asked.load(Ordering::SeqCst);
    report("solana expired", &format!("{payments} transactions lost by the node: all expired after {asked} thorough questions"));
    for end in &ends {
        assert_eq!(reason(end), "invalid_exact_svm_transaction_expired", "{end}");
    }
    assert!(0 < asked && asked < payments as u64, "{asked}");
    assert_eq!(cluster.paid().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_given_up_only_when_two_nodes_know_nothing_of_it() {
    let cluster = Cluster::start(20).await;
    let (node, other) = (Proxy::start(&cluster.url), Proxy::start(&cluster.url));
    let network = cluster.options(&node.url);
    let network = NetworkOptions {
        rpc: vec![node.url.clone(), other.url.clone()],
        lines: format!("{}resend_after_ms = 200\n", network.lines),
        ..network
    };
    let url = database::fresh().await;
    let ledger = database::ledger(&url).await;
    let mut options = Options::new(network, &url);
    options.server.push_str("answer_within_v2_seconds = 1\n");
    let facilitator = Facilitator::start(&options).await;
    let payment = cluster.payment(0, "one").await;
    let asked = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&asked);
    let lose = |method: &str| if method == SEND { Act::Answer(json!("taken")) } else { Act::Forward };
    node.rule(move |method, params, _| {
        counter.fetch_add(u64::from(is_thorough(method, params)), Ordering::SeqCst);
        lose(method)
    });
    other.rule(move |method, params, _| if is_thorough(method, params) { Act::Swallow } else { lose(method) });
    let given_up = async || count(&ledger, "SELECT count(*) FROM payments WHERE given_up_at IS NOT NULL").await;
    let further = async |questions: u64| {
        let wanted = asked.load(Ordering::SeqCst) + questions;
        let enough = || async { (asked.load(Ordering::SeqCst) >= wanted).then_some(()) };
        eventually("further thorough questions", PATIENCE, enough).await;
    };

    let (_, first) = facilitator.settle(&payment.v2()).await;
    assert_eq!(reason(&first), "settlement_pending", "{first}");
    further(3).await;
    assert_eq!(given_up().await, 0, "the other one is away");
    other.rule(move |method, params, _| match method {
        STATUSES if is_thorough(method, params) => Edit::of(|answer| answer["context"]["slot"] = json!(1)),
        method => lose(method),
    });
    further(3).await;
    assert_eq!(given_up().await, 0, "the other one has not come so far");
    other.rule(move |method, params, _| match method {
        STATUSES if is_thorough(method, params) => Edit::of(|answer| answer["value"] = json!([])),
        method => lose(method),
    });
    further(3).await;
    assert_eq!(given_up().await, 0, "the other one talks nonsense");
    other.rule(move |method, _, _| lose(method));
    let last = ask_again(&facilitator, &payment).await;
    assert_eq!(reason(&last), "invalid_exact_svm_transaction_expired", "{last}");
    assert_eq!((given_up().await, cluster.paid().await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_height_that_cannot_be_stops_nothing() {
    let cluster = Cluster::start(400).await;
    let proxy = Proxy::start(&cluster.url);
    let facilitator = Facilitator::start(&Options::new(cluster.options(&proxy.url), &database::fresh().await)).await;
    let lies = [u64::MAX, u64::from(u32::MAX), 1];
    for (payer, lie) in lies.into_iter().enumerate() {
        let told = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&told);
        proxy.rule(move |method, _, _| {
            if method == "getBlock" && counter.fetch_add(1, Ordering::SeqCst) < 3 {
                return Edit::of(move |block| {
                    if block.is_object() {
                        block["blockHeight"] = json!(lie);
                    }
                });
            }
            Act::Forward
        });
        eventually("the lies", PATIENCE, || async { (told.load(Ordering::SeqCst) > 3).then_some(()) }).await;

        // The last lie may stand until the next look, and then nothing is answered.
        let settled = facilitator.settle_patiently(&cluster.payment(payer, "one").await.v2(), PATIENCE).await;
        assert!(is_success(&settled), "{lie}: {settled}");
    }
    assert_eq!(facilitator.metric("quittance_task_restarts_total").await, 0.0);
}

/// A node that has lost its newest transactions knows them only where it searches all that it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_landed_unseen_is_found_before_it_is_given_up() {
    let cluster = Cluster::start(20).await;
    let proxy = Proxy::start(&cluster.url);
    let url = database::fresh().await;
    let ledger = database::ledger(&url).await;
    let mut options = Options::new(cluster.options(&proxy.url), &url);
    options.server.push_str("answer_within_v2_seconds = 1\n");
    let facilitator = Facilitator::start(&options).await;
    let payment = cluster.payment(0, "one").await;
    proxy.rule(|method, params, _| if method == STATUSES && !is_thorough(method, params) { unheard_of() } else { Act::Forward });

    let (_, first) = facilitator.settle(&payment.v2()).await;
    assert_eq!(reason(&first), "settlement_pending", "{first}");
    // Nobody asks for it meanwhile, so it is the lane that looks for it.
    let ended = "SELECT count(*) FROM payments WHERE given_up_at IS NOT NULL OR id IN (SELECT payment_id FROM claims)";
    eventually("an end", PATIENCE, || async { (count(&ledger, ended).await == 1).then_some(()) }).await;
    let claims = count(&ledger, "SELECT count(*) FROM claims").await;
    let last = facilitator.settle(&payment.v2()).await.1;

    report("solana unseen", &format!("pending, then {claims} claim after its blockhash ended, and success {}", last["success"]));
    assert_eq!(claims, 1, "{last}");
    assert!(is_success(&last) && last["transaction"] == first["transaction"], "{first}, then {last}");
    assert_eq!(cluster.paid().await, AMOUNT);
}

/// Where a slot of the local node, which skips none, stands on a cluster that skips every fifth.
const fn spread(slot: u64) -> u64 {
    slot + slot / 4
}

/// The local node's slot, unless it is one that was skipped.
const fn narrow(slot: u64) -> Option<u64> {
    if slot % 5 == 4 { None } else { Some(slot - slot / 5) }
}

fn spread_at(answer: &mut Value, pointer: &str) {
    if let Some(slot) = answer.pointer_mut(pointer)
        && let Some(number) = slot.as_u64()
    {
        *slot = json!(spread(number));
    }
}

fn spread_each(list: &mut Value, pointer: &str) {
    for entry in list.as_array_mut().into_iter().flatten() {
        spread_at(entry, pointer);
    }
}

/// How often a node said that a slot was skipped, and that its block is not there yet.
#[derive(Default)]
struct Said {
    skipped: AtomicU64,
    not_yet: AtomicU64,
}

/// A node whose cluster skips slots, and that shows a state before it serves the block, for a part of the slots.
fn skip(node: &Proxy, said: Arc<Said>) {
    let asked = Mutex::new(BTreeSet::new());
    let refuse = |count: &AtomicU64, code: i32| {
        count.fetch_add(1, Ordering::SeqCst);
        Act::Answer(json!({"jsonrpc": "2.0", "error": {"code": code, "message": "no block"}}))
    };
    node.rule(move |method, params, _| match method {
        "getSlot" => Edit::of(|slot| spread_at(slot, "")),
        "simulateTransaction" | "getMultipleAccounts" => Edit::of(|answer| spread_at(answer, "/context/slot")),
        STATUSES => Edit::of(|answer| {
            spread_at(answer, "/context/slot");
            spread_each(&mut answer["value"], "/slot");
        }),
        "getBlocks" => {
            let bounds = [&params[0], &params[1]].map(|bound| bound.as_u64().expect("a slot"));
            let bounds = bounds.map(|slot| narrow(slot).or(narrow(slot + 1)).expect("one of two is not skipped"));
            Edit::translated(json!([bounds[0], bounds[1], params[2]]), |slots| spread_each(slots, ""))
        }
        "getBlock" => {
            let slot = params[0].as_u64().expect("a slot");
            let Some(own) = narrow(slot) else {
                return refuse(&said.skipped, if slot.is_multiple_of(2) { -32_007 } else { -32_009 });
            };
            match (slot % 7, asked.lock().expect("no panic under the lock").insert(slot)) {
                (0, true) => refuse(&said.not_yet, -32_004),
                (1, true) => refuse(&said.not_yet, -32_014),
                _ => Act::Rewrite(json!([own, params[1]])),
            }
        }
        _ => Act::Forward,
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn slots_that_are_skipped_or_served_late_lose_no_payment() {
    let payments = scale(40, 300);
    let cluster = Cluster::start(100).await;
    let proxy = Proxy::start(&cluster.url);
    let url = database::fresh().await;
    let ledger = database::ledger(&url).await;
    let said = Arc::new(Said::default());
    skip(&proxy, Arc::clone(&said));
    let facilitator = Facilitator::start(&Options::new(cluster.options(&proxy.url), &url)).await;

    let answers = stream::iter(0..payments).map(|number| {
        let (cluster, facilitator) = (&cluster, &facilitator);
        async move { ask_again(facilitator, &cluster.payment(number % 30, &format!("skip {number}")).await).await }
    });
    let answers: Vec<_> = answers.buffer_unordered(4).collect().await;

    let failed: Vec<_> = answers.iter().filter(|answer| !is_success(answer)).collect();
    let (skipped, not_yet) = (said.skipped.load(Ordering::SeqCst), said.not_yet.load(Ordering::SeqCst));
    report(
        "solana skipped slots",
        &format!("{payments} payments, {skipped} questions for skipped slots, {not_yet} too early: {} failed", failed.len()),
    );
    assert!(failed.is_empty(), "{failed:?}");
    let (claims, payments) = (count(&ledger, "SELECT count(*) FROM claims").await, payments as u64);
    assert_eq!((claims as u64, cluster.paid().await), (payments, payments * AMOUNT));
    assert!(skipped > 0 && not_yet > 0, "{skipped}, {not_yet}");
}
