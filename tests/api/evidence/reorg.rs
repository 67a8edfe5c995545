//! Blocks that are replaced: what they paid is paid again with the same bytes, or its owner is told; nobody is told success twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::{PATIENCE, SEND, World, is_success, reason, report, scale};
use crate::support::chain::{Chain, ChainOptions, hex};
use crate::support::eventually;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay};
use crate::support::payer::{Signed, transfer_call};
use crate::support::proxy::{Act, Proxy};
use crate::support::receipts::Keys;

/// Where Circle's proxy keeps the address of its code: the hash of `org.zeppelinos.proxy.implementation`.
const IMPLEMENTATION_SLOT: &str = "0x7050c9e0f4ca769c69bd3a8ef740bc37934f8e2c036e5a723fd8ee048ed3f8c3";

/// Settles and replaces the block that paid by an empty one, with exactly so many blocks in all.
async fn settle_and_reorg(world: &World, facilitator: &Facilitator, signed: &Signed, depth: u64) -> Value {
    world.mining(false).await;
    let (caller, body) = (facilitator.caller(), signed.v2());
    let asked = tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await });
    eventually("a transaction in the pool", PATIENCE, || async { (world.chain.pooled().await > 0).then_some(()) }).await;
    world.chain.mine(1).await;
    let answer = asked.await.expect("no panic");
    assert!(is_success(&answer), "{answer}");
    if depth > 1 {
        world.chain.mine(depth - 1).await;
    }
    let transaction = answer["transaction"].as_str().expect("a transaction");
    let paid_in = hex(&world.chain.receipt(transaction).await["blockNumber"]);
    let height = world.chain.height().await;
    assert_eq!(height + 1 - paid_in, depth, "blocks from the one that paid to the newest");
    eventually("the watcher at the head", PATIENCE, || async {
        (world.count("SELECT cursor_number FROM networks").await == height as i64).then_some(())
    })
    .await;
    world.chain.rpc("anvil_reorg", json!([depth, []])).await;
    assert!(world.chain.uses_of(signed).await.is_empty(), "its block is gone");
    answer
}

/// The payment as its owner reads it.
async fn shown(facilitator: &Facilitator, answer: &Value) -> Value {
    let id = answer.pointer("/extra/paymentId").and_then(Value::as_str).expect("a payment");
    facilitator.get(&format!("/v1/payments/{id}")).await.1
}

fn events(payment: &Value) -> Vec<&str> {
    payment["events"].as_array().expect("events").iter().filter_map(|event| event["type"].as_str()).collect()
}

async fn until_event(facilitator: &Facilitator, answer: &Value, kind: &str) -> Value {
    eventually(kind, PATIENCE, || async {
        let payment = shown(facilitator, answer).await;
        events(&payment).contains(&kind).then_some(payment)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_is_halted_when_a_token_gets_other_code_until_somebody_has_looked() {
    let world = World::new(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&world.chain.url);
    let facilitator = Facilitator::start(&world.options(&[&proxy])).await;
    let (before, after) = (world.signed(0), world.signed(1));
    assert!(is_success(&facilitator.settle(&before.v2()).await.1));

    // The code that it has already is other code as well as any.
    let admin = world.chain.text("/accounts/proxyAdmin/address");
    let code = world.chain.rpc("eth_getStorageAt", json!([world.chain.usdc(), IMPLEMENTATION_SLOT, "latest"])).await;
    let code = code.as_str().expect("a word").trim_start_matches("0x").to_owned();
    let upgrade = world.chain.send_as(&admin, &world.chain.usdc(), &format!("0x3659cfe6{code}"), 1_000_000).await;
    assert_eq!(world.chain.receipt(&upgrade).await["status"], "0x1");
    eventually("a halt", PATIENCE, || async { (facilitator.metric("quittance_network_halted{").await == 1.0).then_some(()) })
        .await;
    let (status, refused) = facilitator.settle(&after.v2()).await;
    assert_eq!((status, reason(&refused)), (503, "unexpected_settle_error"), "{refused}");
    assert!(facilitator.log().contains("the code of the token"), "the reason is told");

    let (resumed, words) = facilitator.command(&["network", "resume", &world.chain.network()]).await;
    assert!(resumed, "{words}");
    assert!(is_success(&facilitator.caller().settle_patiently(&after.v2(), PATIENCE).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_a_reorganisation_dropped_is_sent_again() {
    let rounds = scale(1, 10);
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let facilitator = Facilitator::start(&world.options(&[&proxy])).await;
    let (mut paid, mut wrong, mut reorgs) = (Vec::new(), 0, 0);
    for round in 0..rounds {
        for depth in [1, 3, 6] {
            let signed = world.signed(round);
            proxy.reset();
            let answer = settle_and_reorg(&world, &facilitator, &signed, depth).await;
            world.mining(true).await;
            until_event(&facilitator, &answer, "payment.reversed").await;
            eventually("the transfer again", PATIENCE, || async {
                (world.chain.uses_of(&signed).await.len() == 1).then_some(())
            })
            .await;
            world.until_idle().await;
            world.chain.mine(20).await;
            let payment = until_event(&facilitator, &answer, "payment.finalized").await;
            let again = facilitator.settle(&signed.v2()).await.1;
            let told = ["payment.included", "payment.reversed", "payment.included", "payment.finalized"];
            let right = proxy.sent().len() == 1
                && proxy.calls(SEND) >= 2
                && payment["state"] == "final"
                && events(&payment) == told
                && (reason(&again), &again["transaction"]) == ("duplicate_settlement", &answer["transaction"]);
            if !right {
                println!("violation: depth {depth}: sent {:?}, {payment}, then {again}", proxy.all_calls().get(SEND));
                wrong += 1;
            }
            (reorgs, ()) = (reorgs + 1, paid.push(signed));
        }
    }
    let counted = facilitator.metric("quittance_reorgs_total").await;
    let violations = world.violations(&paid, 0).await;
    report(
        "reorg",
        &format!("{reorgs} reorganisations of depth 1, 3 and 6: {counted} noticed, {wrong} wrong ends, {violations} violations"),
    );
    assert_eq!((counted as usize, wrong, violations), (reorgs, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_money_went_elsewhere_is_reversed() {
    let rounds = scale(1, 5);
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let facilitator = Facilitator::start(&world.options(&[&proxy])).await;
    let (mut reversed, mut successes) = (0, 0);
    for round in 0..rounds {
        let signed = world.signed(round);
        let answer = settle_and_reorg(&world, &facilitator, &signed, 1).await;
        // Nothing of ours gets in before the payer has spent everything.
        proxy.rule(|method, _, _| if method == SEND { Act::Swallow } else { Act::Forward });
        world.mining(true).await;
        let everything = transfer_call(&world.chain.text("/accounts/buyer/address"), world.chain.usdc_of(&signed.payer).await);
        let spent = world.chain.send_as(&signed.payer, &world.chain.usdc(), &everything, 100_000_000).await;
        world.chain.receipt(&spent).await;
        proxy.behave();
        until_event(&facilitator, &answer, "payment.reversed").await;
        world.until_idle().await;
        reversed += 1;
        let last = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
        successes += usize::from(is_success(&last));
        assert_eq!(reason(&last), "invalid_exact_evm_insufficient_balance", "{last}");
    }
    let violations = world.chain.transfers_to(&world.merchant).await.len();
    report(
        "reorg reversed",
        &format!("{reversed} payments lost their money: {reversed} told, {successes} second successes, {violations} violations"),
    );
    assert_eq!((successes, violations), (0, 0));
}

/// A block that nobody knows, at the height that was asked for.
fn invented(template: &Value, height: u64) -> Value {
    let mut block = template.clone();
    block["number"] = json!(format!("{height:#x}"));
    block["hash"] = json!(format!("0x{}", alloy::hex::encode(rand::random::<[u8; 32]>())));
    block["parentHash"] = json!(format!("0x{}", alloy::hex::encode(rand::random::<[u8; 32]>())));
    block
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_contradicts_what_was_final_halts_the_network_until_somebody_looks() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines = "final = 3\n".to_owned();
    let mut facilitator = Facilitator::start(&options).await;
    let signed = [world.signed(0), world.signed(1), world.signed(2)];
    let first = facilitator.settle(&signed[0].v2()).await.1;
    assert!(is_success(&first), "{first}");
    until_event(&facilitator, &first, "payment.finalized").await;

    // A node that was moved to another history: every height has a block that we never saw.
    let template = world.chain.rpc("eth_getBlockByNumber", json!(["latest", false])).await;
    let height = hex(&template["number"]);
    proxy.rule(move |method, params, _| match (method, params[0].as_str()) {
        ("eth_getBlockByNumber", Some("latest")) => Act::Answer(invented(&template, height)),
        ("eth_getBlockByNumber", Some(number)) => Act::Answer(invented(&template, hex(&json!(number)))),
        _ => Act::Forward,
    });
    let halted = "SELECT count(*) FROM networks WHERE halted_at IS NOT NULL";
    world.until("the halt", halted).await;
    proxy.behave();
    let refused = async |facilitator: &Facilitator, signed: &Signed| {
        eventually("a refusal", Duration::from_secs(5), || async {
            let (status, answer) = facilitator.settle(&signed.v2()).await;
            (status == 503 && reason(&answer) == "unexpected_settle_error").then_some(())
        })
        .await;
        eventually("the metric", PATIENCE, || async {
            (facilitator.metric("quittance_network_halted").await == 1.0).then_some(())
        })
        .await;
    };
    refused(&facilitator, &signed[1]).await;
    let offered = facilitator.get("/supported").await.1;
    assert_eq!(offered["kinds"].as_array().map(Vec::len), Some(0), "{offered}");
    facilitator.kill().await;
    facilitator.restart().await;
    refused(&facilitator, &signed[1]).await;
    let transfers = world.chain.transfers_to(&world.merchant).await.len();

    let (resumed, words) = facilitator.command(&["network", "resume", &world.chain.network()]).await;
    assert!(resumed, "{words}");
    let last = facilitator.settle_patiently(&signed[2].v2(), PATIENCE).await;
    assert!(is_success(&last), "{last}");
    assert_eq!(facilitator.metric("quittance_network_halted").await, 0.0);
    report(
        "reorg deeper than final",
        &format!("halted, also after a restart, with {} payments made meanwhile; resumed by command", transfers - 1),
    );
    assert_eq!(transfers, 1);
}

/// The same with a chain that really went another way, which no node will take back. An operator has to say so.
#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_deeper_than_final_undoes_nothing_without_an_operators_word() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines = "final = 2\n".to_owned();
    let facilitator = Facilitator::start(&options).await;
    let signed = world.signed(0);
    let first = facilitator.settle(&signed.v2()).await.1;
    assert!(is_success(&first), "{first}");
    let finalized = until_event(&facilitator, &first, "payment.finalized").await;
    // As the worker does sooner or later.
    let erased = sqlx::query("UPDATE attempts SET raw = NULL, erased_at = clock_timestamp()").execute(world.ledger.pool()).await;
    assert_eq!(erased.expect("the database answers").rows_affected(), 1);
    let height = world.chain.height().await;
    let paid_in = finalized["blockNumber"].as_u64().expect("a block");
    world.chain.rpc("anvil_reorg", json!([height + 2 - paid_in, []])).await;
    world.until("the halt", "SELECT count(*) FROM networks WHERE halted_at IS NOT NULL").await;

    let payment = shown(&facilitator, &first).await;
    let claims = world.count("SELECT count(*) FROM claims").await;
    assert_eq!((payment["state"].as_str(), claims), (Some("final"), 1));

    let network = world.chain.network();
    let halts = "SELECT count(*) FROM networks WHERE halted_at > (SELECT max(created_at) FROM events)";
    assert!(facilitator.command(&["network", "resume", &network]).await.0);
    world.until("a second halt", halts).await;
    let (accepted, words) = facilitator.command(&["network", "resume", &network, "--accept-history"]).await;
    assert!(accepted, "{words}");
    let undone = until_event(&facilitator, &first, "payment.reversed").await;
    assert_eq!(undone["state"], "failed", "{undone}");
    let refused = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
    assert_eq!(reason(&refused), "settlement_reversed", "{refused}");

    // The money moves after all, in a transaction of somebody else's, and the success is not given out again.
    let stranger = world.chain.payers[1].address();
    world.chain.send_as(&stranger, &world.chain.usdc(), &signed.call(), 1).await;
    until_event(&facilitator, &first, "payment.recovered").await;
    let again = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
    assert_eq!(reason(&again), "duplicate_settlement", "{again}");
    let second = world.signed(2);
    let paid = facilitator.settle_patiently(&second.v2(), PATIENCE).await;
    assert!(is_success(&paid), "{paid}");
    let violations = world.violations(&[signed, second], 0).await;
    report(
        "reorg below final",
        &format!("halted twice, undone on an operator's word, recovered, paid on: 1 success each, {violations} violations"),
    );
    assert_eq!(violations, 0);
}

/// The same for what a wallet has sent. It was told to be final, and it is told that it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_was_final_is_open_again_on_an_operators_word_only() {
    let world = World::new(ChainOptions::default()).await;
    let (proxy, keys) = (Proxy::start(&world.chain.url), Keys::generate().await);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines = "final = 2\n".to_owned();
    options.server.push_str(&keys.section());
    let facilitator = Facilitator::start(&options).await;
    let (merchant, network) = (Merchant::open(&facilitator).await, world.chain.network());
    merchant.register(&network, &world.chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.5", "reserveAddress": true})).await;
    let transaction = pay(&world.chain, &world.chain.payers[1], &world.chain.payers[0].address(), 500_000).await;
    let shown = merchant.until(&invoice, "final").await;
    let receipt = format!("/v1/receipts/{}/status", shown["receipts"][0]["id"].as_str().expect("a name"));
    let said = async || facilitator.get(&receipt).await.1["finality"].clone();
    let told = async || {
        let kinds = sqlx::query_scalar::<_, String>("SELECT kind FROM events WHERE invoice_id IS NOT NULL ORDER BY id");
        kinds.fetch_all(world.ledger.pool()).await.expect("the database answers")
    };
    let final_once = ["invoice.paid", "invoice.finalized"];
    assert_eq!((said().await, told().await), (json!("final"), final_once.map(str::to_owned).to_vec()));

    world.mining(false).await;
    let depth = world.chain.height().await + 1 - hex(&world.chain.receipt(&transaction).await["blockNumber"]);
    world.chain.rpc("anvil_reorg", json!([depth, []])).await;
    world.until("the halt", "SELECT count(*) FROM networks WHERE halted_at IS NOT NULL").await;
    assert_eq!((&merchant.show(&invoice).await["status"], said().await), (&json!("final"), json!("final")));
    assert_eq!(told().await, final_once, "nothing is undone without a word");

    let (accepted, words) = facilitator.command(&["network", "resume", &network, "--accept-history"]).await;
    assert!(accepted, "{words}");
    let open = merchant.until(&invoice, "open").await;
    assert_eq!((&open["amountPaid"], &open["transfers"]), (&json!("0"), &json!([])), "{open}");
    assert_eq!(said().await, "revoked");

    // It is paid again, and whatever would have been told twice is in front of that.
    world.mining(true).await;
    pay(&world.chain, &world.chain.payers[2], &world.chain.payers[0].address(), 500_000).await;
    merchant.until(&invoice, "final").await;
    let all = told().await;
    report("reorg of a final invoice", &format!("undone on an operator's word, then paid again: told {}", all.join(", ")));
    assert_eq!(all, [&final_once[..], &["invoice.reopened"], &final_once[..]].concat());
    assert_eq!(said().await, "revoked", "the first receipt stays what it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_chain_is_not_believed() {
    let world = World::new(ChainOptions::default()).await;
    let other = Chain::start(ChainOptions { chain_id: 8453, payers: 20, ..ChainOptions::default() }).await;
    let wrong = NetworkOptions { rpc: vec![other.url.clone()], ..NetworkOptions::of(&world.chain) };
    let alone = Facilitator::spawn(&Options::new(wrong.clone(), &world.database));
    let signed = world.signed(0);
    let (status, answer) = eventually("an answer", PATIENCE, || async { alone.try_settle(&signed.v2()).await }).await;
    assert_eq!((status, reason(&answer)), (503, "unexpected_settle_error"), "{answer}");
    assert_eq!(world.rows().await.len(), 0);
    drop(alone);

    let both = NetworkOptions { rpc: vec![other.url.clone(), world.chain.url.clone()], ..wrong };
    let facilitator = Facilitator::start(&Options::new(both, &world.database)).await;
    let settled = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
    let violations = world.violations(&[signed], 0).await;
    let there = other.transfers_to(&world.merchant).await.len();
    report(
        "reorg other chain",
        &format!("alone: 503; beside the right node: paid there; {there} transfers on the wrong chain, {violations} violations"),
    );
    assert!(is_success(&settled), "{settled}");
    assert_eq!((there, violations), (0, 0));
}

/// What stands behind a node's address can be exchanged while we run.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_whose_nodes_all_became_another_one_is_halted() {
    let world = World::new(ChainOptions::default()).await;
    let (one, other) = (Proxy::start(&world.chain.url), Proxy::start(&world.chain.url));
    let mut facilitator = Facilitator::start(&world.options(&[&one, &other])).await;
    let (first, second) = (world.signed(0), world.signed(1));
    assert!(is_success(&facilitator.settle(&first.v2()).await.1));
    let elsewhere = |method: &str, _: &Value, nth: u64| match method {
        "eth_chainId" => Act::Answer(json!("0x2105")),
        // The connection was lost, so the node is asked who it is.
        _ if nth == 1 => Act::Status(502),
        _ => Act::Forward,
    };
    let halted = "SELECT count(*) FROM networks WHERE halted_at IS NOT NULL";

    // One of them alone is only not used.
    one.reset();
    one.rule(elsewhere);
    eventually("a lost connection", PATIENCE, || async { (one.calls("eth_getBlockByNumber") > 0).then_some(()) }).await;
    assert!(is_success(&facilitator.settle_patiently(&second.v2(), PATIENCE).await));
    assert_eq!(world.count(halted).await, 0);
    other.reset();
    other.rule(elsewhere);
    world.until("the halt", halted).await;
    facilitator.kill().await;
    one.behave();
    other.behave();
    facilitator.restart().await;
    let third = world.signed(2);
    assert_eq!(facilitator.settle(&third.v2()).await.0, 503, "halted until somebody looks");

    assert!(facilitator.command(&["network", "resume", &world.chain.network()]).await.0);
    assert!(is_success(&facilitator.settle_patiently(&third.v2(), PATIENCE).await));
    let violations = world.violations(&[first, second, third], 0).await;
    report("reorg all nodes elsewhere", &format!("one: not used; all: halted, resumed by command; {violations} violations"));
    assert_eq!(violations, 0);
}

/// Somebody who has the signer's key uses a slot's nonce, and the block in which that happened is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_a_stranger_spent_is_open_again_when_that_block_is_replaced() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines.push_str("resend_after_ms = 1000\noutbid_after_ms = 2000\n");
    let facilitator = Facilitator::start(&options).await;
    let signer = world.chain.text("/accounts/signers/0/address");
    world.mining(false).await;
    let signed = world.signed(0);
    let (caller, body) = (facilitator.caller(), signed.v2());
    let asked = tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await });
    eventually("a transaction in the pool", PATIENCE, || async { (world.chain.pooled().await > 0).then_some(()) }).await;
    // Nothing of ours gets in, and nothing can be looked at again, so that the payment goes into no newer slot.
    let swallowed = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&swallowed);
    proxy.rule(move |method, _, _| match method {
        SEND => {
            counted.fetch_add(1, Ordering::Relaxed);
            Act::Swallow
        }
        "eth_call" => Act::Status(500),
        _ => Act::Forward,
    });
    // Sends follow each other, so none that was let through is still on its way to the pool.
    eventually("a send that is lost", PATIENCE, || async { (swallowed.load(Ordering::Relaxed) > 0).then_some(()) }).await;
    world.chain.rpc("anvil_dropAllTransactions", json!([])).await;
    world.chain.send_as(&signer, &signer, "0x", 100_000_000).await;
    world.chain.mine(1).await;
    let queued = "SELECT count(*) FROM payments WHERE submission_id IS NULL AND failed_submission_id IS NOT NULL";
    world.until("the slot spent without its payment", queued).await;
    world.chain.rpc("anvil_reorg", json!([1, []])).await;
    world.until("the payment in its slot again", "SELECT count(*) FROM payments WHERE submission_id IS NOT NULL").await;
    proxy.behave();
    world.mining(true).await;
    let answer = asked.await.expect("no panic");
    world.until_idle().await;
    let (slots, violations) = (world.count("SELECT count(*) FROM submissions").await, world.violations(&[signed], 0).await);
    report("reorg of a stranger's transaction", &format!("paid through {slots} slot, {violations} violations"));
    assert!(is_success(&answer), "{answer}");
    assert_eq!((slots, violations), (1, 0));
}

/// Each block takes the nodes so long that nobody could read all that were replaced within a turn.
#[tokio::test(flavor = "multi_thread")]
async fn a_deep_reorganisation_is_found_with_few_reads() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines = "final = 100\n".to_owned();
    let facilitator = Facilitator::start(&options).await;
    // All above the first block is kept.
    world.until("a beginning", "SELECT count(*) FROM networks").await;
    let signed = world.signed(0);
    let answer = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
    assert!(is_success(&answer), "{answer}");
    let paid_in = hex(&world.chain.receipt(answer["transaction"].as_str().expect("a transaction")).await["blockNumber"]);
    world.mining(false).await;
    world.chain.mine(60).await;
    let height = world.chain.height().await;
    eventually("the watcher at the head", PATIENCE, || async {
        (world.count("SELECT cursor_number FROM networks").await == height as i64).then_some(())
    })
    .await;
    let depth = height + 1 - paid_in;
    let reads = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&reads);
    proxy.rule(move |method, params, _| match params[0].as_str() {
        Some(height) if method == "eth_getBlockByNumber" && height.starts_with("0x") => {
            counted.fetch_add(1, Ordering::Relaxed);
            Act::Delay(Duration::from_millis(300))
        }
        _ => Act::Forward,
    });
    world.chain.rpc("anvil_reorg", json!([depth, []])).await;
    world.chain.mine(1).await;
    until_event(&facilitator, &answer, "payment.reversed").await;
    let reads = reads.load(Ordering::Relaxed);
    proxy.behave();
    world.mining(true).await;
    eventually("the transfer again", PATIENCE, || async { (world.chain.uses_of(&signed).await.len() == 1).then_some(()) }).await;
    world.until_idle().await;
    let violations = world.violations(&[signed], 0).await;
    report("reorg of many blocks", &format!("{depth} blocks replaced, found with {reads} reads, {violations} violations"));
    assert!(reads < 30, "{reads}");
    assert_eq!(violations, 0);
}

/// What was final and is undone was answered as failed, so its slot is freed even where the bytes are still there.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_not_final_any_more_is_not_sent_again() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines = "final = 2\n".to_owned();
    let facilitator = Facilitator::start(&options).await;
    let signed = [world.signed(0), world.signed(1)];
    let first = facilitator.settle(&signed[0].v2()).await.1;
    assert!(is_success(&first), "{first}");
    let finalized = until_event(&facilitator, &first, "payment.finalized").await;
    let (height, paid_in) = (world.chain.height().await, finalized["blockNumber"].as_u64().expect("a block"));
    world.chain.rpc("anvil_reorg", json!([height + 2 - paid_in, []])).await;
    world.until("the halt", "SELECT count(*) FROM networks WHERE halted_at IS NOT NULL").await;
    let accepted = facilitator.command(&["network", "resume", &world.chain.network(), "--accept-history"]).await;
    assert!(accepted.0, "{}", accepted.1);
    until_event(&facilitator, &first, "payment.reversed").await;
    world.until_idle().await;
    let uses = world.chain.uses_of(&signed[0]).await.len();
    let next = facilitator.settle_patiently(&signed[1].v2(), PATIENCE).await;
    let violations = world.violations(&signed[1..], 0).await;
    report("reorg of a final payment", &format!("{uses} transfers after it was undone, then paid on; {violations} violations"));
    assert!(is_success(&next), "{next}");
    assert_eq!((uses, violations), (0, 0));
}
