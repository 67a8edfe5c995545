//! What is not believed of nodes: a word without a second one above the operator's amount, and a refusal out of an old state.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::{PATIENCE, SEND, World, is_success, reason, report};
use crate::support::chain::{ChainOptions, hex};
use crate::support::eventually;
use crate::support::facilitator::{Facilitator, Options};
use crate::support::merchant::{Merchant, pay};
use crate::support::payer::{Signed, Terms, transfer_call};
use crate::support::proxy::{Act, Proxy};

/// Further questions for logs, after which one that believes a single node would have believed it.
const LOOKS: u64 = 6;

/// Verdicts that are asked for while the network is read far behind its head.
const QUESTIONS: u64 = 40;

/// Whichever node is asked by now, it is asked about each block that holds something.
async fn until_looked_again(world: &World, nodes: [&Proxy; 2]) {
    let looks = || nodes.iter().map(|node| node.calls("eth_getLogs")).sum::<u64>();
    let before = looks();
    eventually("further looks", PATIENCE, || async {
        stir(world).await;
        (looks() >= before + LOOKS).then_some(())
    })
    .await;
}

/// Has something stand in the next block that is nobody's payment.
async fn stir(world: &World) {
    let stranger = &world.chain.payers[10].address();
    let sent = world.chain.send_as(stranger, &world.chain.usdc(), &transfer_call(stranger, 1), 1).await;
    world.chain.receipt(&sent).await;
}

/// A service that wants two of its nodes to agree about more than a tenth of a cent.
fn wary(world: &World, nodes: [&Proxy; 2]) -> Options {
    let mut options = world.options(&nodes);
    options.networks[0].lines.push_str("agree_above = \"0.001\"\n");
    options
}

/// Has a node show nothing of what stands in blocks.
fn fall_silent(node: &Proxy) {
    node.rule(|method, _, _| if method == "eth_getLogs" { Act::Answer(json!([])) } else { Act::Forward });
}

#[tokio::test(flavor = "multi_thread")]
async fn one_nodes_word_is_not_enough_for_a_large_transfer() {
    let mut world = World::new(ChainOptions::default()).await;
    let (honest, silent) = (Proxy::start(&world.chain.url), Proxy::start(&world.chain.url));
    for (number, nodes) in [[&honest, &silent], [&silent, &honest]].into_iter().enumerate() {
        world.renew().await;
        let facilitator = Facilitator::start(&wary(&world, nodes)).await;
        fall_silent(&silent);
        let signed = world.signed(number);
        let disagreement = async {
            eventually("the transfer", PATIENCE, || async { (world.chain.uses_of(&signed).await.len() == 1).then_some(()) })
                .await;
            until_looked_again(&world, [&honest, &silent]).await;
            assert_eq!(world.count("SELECT count(*) FROM claims").await, 0, "the nodes do not agree yet");
            silent.behave();
        };
        let body = signed.v2();
        let ((_, first), ()) = tokio::join!(facilitator.settle(&body), disagreement);
        told_once(&world, &facilitator, &signed, &first).await;
    }
    report(
        "agreement",
        "2 orders of two nodes, of which one does not see the transfer: 0 claims before it does, then paid and told once",
    );
}

/// An invoice over a quarter, which whatever comes to the first payer's address pays.
async fn invoice_at(world: &World, merchant: &Merchant<'_>) -> Value {
    merchant.register(&world.chain.network(), &world.chain.payers[0]).await;
    merchant.invoice(&json!({"amount": "0.25", "reserveAddress": true})).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wallet_sends_is_credited_on_one_nodes_word_only_if_it_is_little() {
    let mut world = World::new(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let (honest, silent) = (Proxy::start(&world.chain.url), Proxy::start(&world.chain.url));
    for nodes in [[&honest, &silent], [&silent, &honest]] {
        world.renew().await;
        let facilitator = Facilitator::start(&wary(&world, nodes)).await;
        let merchant = Merchant::open(&facilitator).await;
        let invoice = invoice_at(&world, &merchant).await;
        let (payer, address) = (&world.chain.payers[1], world.chain.payers[0].address());
        fall_silent(&silent);

        let little = pay(&world.chain, payer, &address, 1_000).await;
        merchant.until_transfer(&little).await;
        pay(&world.chain, payer, &address, 249_000).await;
        until_looked_again(&world, [&honest, &silent]).await;
        let shown = merchant.show(&invoice).await;
        assert_eq!((&shown["status"], &shown["amountPaid"]), (&json!("underpaid"), &json!("0.001")), "{shown}");
        assert_eq!(merchant.transfers().await.len(), 1, "the nodes do not agree yet");
        silent.behave();
        let paid = merchant.until(&invoice, "paid").await;

        assert_eq!((&paid["amountPaid"], paid["transfers"].as_array().map(Vec::len)), (&json!("0.25"), Some(2)), "{paid}");
        assert_eq!(merchant.transfers().await.len(), 2);
    }
    report(
        "agreement credits",
        "2 orders of two nodes, of which one does not see a wallet's transfers: the small one credited, the large one not before it does, \
         then once",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_made_up_is_credited_to_nobody() {
    let world = World::new(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let (liar, honest) = (Proxy::start(&world.chain.url), Proxy::start(&world.chain.url));
    let facilitator = Facilitator::start(&wary(&world, [&liar, &honest])).await;
    let merchant = Merchant::open(&facilitator).await;
    let invoice = invoice_at(&world, &merchant).await;
    let address = world.chain.payers[0].address();
    let (usdc, signed) = (world.chain.usdc(), world.chain.payers[1].authorize(&Terms { valid_for: 500, ..Terms::to(&address) }));
    let lies = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&lies);
    liar.rule(move |method, params, _| match method {
        "eth_getLogs" if params[0]["blockHash"].is_string() => {
            told.fetch_add(1, Ordering::SeqCst);
            Act::Answer(forged(Lie::Paid, &signed, &usdc, &params[0]))
        }
        _ => Act::Forward,
    });

    // Only blocks that hold something are looked into.
    stir(&world).await;
    until_looked_again(&world, [&liar, &honest]).await;
    assert!(lies.load(Ordering::SeqCst) > 0);
    assert_eq!((merchant.transfers().await, &merchant.show(&invoice).await["status"]), (Vec::new(), &json!("open")));
    liar.behave();
    let transaction = pay(&world.chain, &world.chain.payers[2], &address, 250_000).await;
    let paid = merchant.until(&invoice, "paid").await;

    assert_eq!(paid["transfers"].as_array().map(Vec::len), Some(1), "{paid}");
    assert_eq!((merchant.transfers().await.len(), &paid["transfers"][0]["transaction"]), (1, &json!(transaction)), "{paid}");
    report("agreement credit lies", "a transfer to a registered address that one of two nodes made up: 0 transfers, 0 credits");
}

/// What a node makes up.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// The payment was made.
    Paid,
    /// Its authorization was used, and nothing was moved.
    Used,
    /// Its authorization was cancelled.
    Cancelled,
}

/// Logs that no token wrote, as if they stood in the block that is asked for.
fn forged(lie: Lie, signed: &Signed, usdc: &str, filter: &Value) -> Value {
    let word = |address: &str| format!("0x{:0>64}", address.trim_start_matches("0x").to_lowercase());
    let log = |index: &str, topics: Value, data: &str| {
        json!({
            "address": usdc, "topics": topics, "data": data, "blockHash": filter["blockHash"], "blockNumber": "0x1",
            "transactionHash": format!("0x{}", "7".repeat(64)), "transactionIndex": "0x0", "logIndex": index, "removed": false,
        })
    };
    let used = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5";
    let moved = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
    let cancelled = alloy::primitives::keccak256("AuthorizationCanceled(address,bytes32)").to_string();
    let ended = |event: &str| log("0x0", json!([event, word(&signed.payer), signed.nonce]), "0x");
    let transfer = || log("0x1", json!([moved, word(&signed.payer), word(&signed.terms.pay_to)]), &word("0x2710"));
    match lie {
        Lie::Paid => json!([ended(used), transfer()]),
        Lie::Used => json!([ended(used)]),
        Lie::Cancelled => json!([ended(&cancelled)]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_one_node_made_up_ends_nothing() {
    let mut world = World::new(ChainOptions::default()).await;
    for (payer, lie) in [Lie::Paid, Lie::Used, Lie::Cancelled].into_iter().enumerate() {
        world.renew().await;
        one_node_lies(&world, payer, lie).await;
    }
    report("agreement lies", "3 ends that one of two nodes made up: 0 ends in the ledger, then paid and told once");
}

/// The payment was made, and of its two answers, of which `first` came while the nodes disagreed, one says so.
async fn told_once(world: &World, facilitator: &Facilitator, signed: &Signed, first: &Value) {
    world.until("a claim", "SELECT count(*) FROM claims").await;
    assert_eq!(world.chain.uses_of(signed).await.len(), 1);
    let second = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
    let reasons = [reason(first), reason(&second)];
    assert!(matches!(reasons, ["settlement_pending", ""] | ["", "duplicate_settlement"]), "{first}, then {second}");
    assert_eq!([first, &second].into_iter().filter(|answer| is_success(answer)).count(), 1, "{first}, then {second}");
}

async fn one_node_lies(world: &World, payer: usize, lie: Lie) {
    let (liar, honest) = (Proxy::start(&world.chain.url), Proxy::start(&world.chain.url));
    let facilitator = Facilitator::start(&wary(world, [&liar, &honest])).await;
    let (signed, usdc) = (world.signed(payer), world.chain.usdc());
    let (about, token) = (signed.clone(), usdc.clone());
    liar.rule(move |method, params, _| match method {
        SEND => Act::Swallow,
        "eth_getLogs" if params[0]["blockHash"].is_string() => Act::Answer(forged(lie, &about, &token, &params[0])),
        _ => Act::Forward,
    });
    honest.rule(|method, _, _| if method == SEND { Act::Swallow } else { Act::Forward });
    let lies = async {
        world.until("the payment", "SELECT count(*) FROM payments").await;
        liar.reset();
        // Only blocks that hold something are looked into.
        stir(world).await;
        eventually("a lie", PATIENCE, || async { (liar.calls("eth_getLogs") > 0).then_some(()) }).await;
        until_looked_again(world, [&liar, &honest]).await;
        assert_eq!(world.count("SELECT count(*) FROM claims").await, 0, "nobody paid");
        let given_up = "SELECT count(*) FROM payments WHERE given_up_at IS NOT NULL";
        assert_eq!(world.count(given_up).await, 0, "nothing ended: {lie:?}");
        liar.behave();
        honest.behave();
    };
    let body = signed.v2();
    let ((_, first), ()) = tokio::join!(facilitator.settle(&body), lies);
    told_once(world, &facilitator, &signed, &first).await;
}

/// One token is known to announce the use of an authorization and to move nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_use_that_moved_nothing_is_told_as_such() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let facilitator = Facilitator::start(&world.options(&[&proxy])).await;
    let (signed, usdc) = (world.signed(0), world.chain.usdc());
    let about = signed.clone();
    proxy.rule(move |method, params, _| match method {
        "eth_getLogs" => Act::Answer(forged(Lie::Used, &about, &usdc, &params[0])),
        _ => Act::Forward,
    });

    let refused = facilitator.settle(&signed.v2()).await.1;
    assert_eq!(reason(&refused), "invalid_exact_evm_transfer_event_mismatch", "{refused}");
    assert_eq!(refused["transaction"].as_str(), world.chain.uses_of(&signed).await.first().map(String::as_str));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lags_behind_refuses_nothing() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let facilitator = Facilitator::start(&world.options(&[&proxy])).await;
    let signed = world.signed(0);
    // The payer is given its money only now, and the node knows nothing of it yet.
    let (payer, hoard) = (signed.payer.clone(), world.chain.payers[1].address());
    let all = world.chain.usdc_of(&payer).await;
    world.chain.receipt(&world.chain.send_as(&payer, &world.chain.usdc(), &transfer_call(&hoard, all), 1).await).await;
    let before = world.chain.height().await;
    let paid = world.chain.send_as(&hoard, &world.chain.usdc(), &transfer_call(&payer, all), 1).await;
    let paid_in = hex(&world.chain.receipt(&paid).await["blockNumber"]);
    eventually("the watcher behind that block", PATIENCE, || async {
        (world.count("SELECT cursor_number FROM networks").await >= paid_in as i64).then_some(())
    })
    .await;
    proxy.rule(move |method, params, _| match method {
        "eth_call" => Act::Rewrite(json!([params[0], format!("{before:#x}")])),
        _ => Act::Forward,
    });

    for path in ["/verify", "/settle"] {
        let (status, answer) = facilitator.post(path, &signed.v2()).await;
        assert_eq!(status, 503, "{path}: {answer}");
    }
    assert_eq!(world.rows().await.len(), 0);
    proxy.behave();
    let last = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
    assert!(is_success(&last), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_whose_end_would_not_be_seen() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let facilitator = Facilitator::start(&world.options(&[&proxy])).await;
    // Whoever begins to read later than the block below never needs to read it.
    world.until("a beginning of reading", "SELECT count(*) FROM networks").await;
    proxy.rule(|method, _, _| if method == "eth_getLogs" { Act::Status(500) } else { Act::Forward });
    let stranger = world.chain.payers[1].address();
    world.chain.receipt(&world.chain.send_as(&stranger, &world.chain.usdc(), &transfer_call(&stranger, 1), 1).await).await;
    world.chain.mine(70).await;
    let signed = world.signed(0);

    // For a second it is believed that reading has not begun.
    let behind = |answer: &Value| answer.to_string().contains("is read far behind its head");
    let refuses = || async { behind(&facilitator.verify(&signed.v2()).await.1).then_some(()) };
    eventually("a verdict that knows what was read", PATIENCE, refuses).await;
    let (status, answer) = facilitator.settle(&signed.v2()).await;
    assert!(status == 503 && behind(&answer), "{answer}");
    // Whoever asks meanwhile takes nothing from the watcher, which asks the same nodes.
    let before = proxy.calls("eth_call");
    for _ in 0..QUESTIONS {
        assert!(behind(&facilitator.verify(&signed.v2()).await.1));
    }
    let asked = proxy.calls("eth_call") - before;
    assert!(asked < QUESTIONS / 2, "{asked} calls");
    assert_eq!(world.rows().await.len(), 0);
    proxy.behave();
    let last = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
    assert!(is_success(&last), "{last}");
}
