//! Solana nodes that know nothing yet, disagree, or carry out what fails.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quittance::domain::address::{decode_base58_pair, encode_base58};
use serde_json::{Value, json};

use super::{PATIENCE, SEND, STATUSES, is_success, reason, report};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::proxy::{Act, Edit, Proxy};
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
        silent.rule(|method, _, _| if method == STATUSES { unheard_of() } else { Act::Forward });
        let (paid, payment) = (cluster.paid().await, cluster.payment(number, &format!("large {number}")).await);

        let (_, first) = facilitator.settle(&payment.v2()).await;
        eventually("the transfer", PATIENCE, || async { (cluster.paid().await > paid).then_some(()) }).await;
        let looks = silent.calls(STATUSES);
        eventually("further looks", PATIENCE, || async { (silent.calls(STATUSES) >= looks + 3).then_some(()) }).await;
        let claims = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM claims").fetch_one(ledger.pool()).await;
        assert_eq!((reason(&first), claims.expect("the database answers")), ("settlement_pending", 0), "{first}");
        silent.behave();
        let last = ask_again(&facilitator, &payment).await;
        assert!(is_success(&last), "{last}");
        assert_eq!(cluster.paid().await - paid, AMOUNT);
    }
    report(
        "solana agreement",
        "2 orders of two nodes, of which one does not know the transaction: 0 claims before it does, then paid",
    );
}

/// Shows transactions under names of one's choice as a block does, in each of which a payer pays the merchant.
fn shown(cluster: &Cluster, payer: usize, error: Value) -> impl Fn(&str) -> Value + Clone + Send + Sync + use<> {
    let (mint, merchant) = (cluster.text("/usdc"), cluster.text("/merchant"));
    let payer = cluster.text(&format!("/payers/{payer}/address"));
    move |name| {
        let signature = decode_base58_pair(name).expect("a signature");
        // Three accounts that are written to, of which the first signs; a blockhash, and no instructions.
        let message: Vec<u8> = [&[1, 0, 0, 3][..], &[1; 32], &[2; 32], &[3; 32], &[4; 32], &[0]].concat();
        let wire = [&[1][..], &signature, &message].concat();
        let balance = |account: u8, owner: &str, amount: u64| {
            let amount = json!({"amount": amount.to_string()});
            json!({"accountIndex": account, "mint": mint, "owner": owner, "uiTokenAmount": amount})
        };
        json!({
            "transaction": [STANDARD.encode(wire), "base64"],
            "version": "legacy",
            "meta": {
                "err": error,
                "preTokenBalances": [balance(1, &payer, AMOUNT), balance(2, &merchant, 0)],
                "postTokenBalances": [balance(1, &payer, 0), balance(2, &merchant, AMOUNT)],
            },
        })
    }
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

/// The cluster takes back some of its last blocks and makes others in their slots, without a transaction of ours.
#[derive(Clone)]
struct Fork {
    slots: std::ops::RangeInclusive<u64>,
    /// The transaction, as its block shows it.
    transaction: Value,
    /// Where the transaction stands in the end.
    lands: Option<u64>,
}

impl Fork {
    /// What a node of the other branch says.
    fn act(&self, method: &str, params: &Value) -> Act {
        let fork = self.clone();
        match method {
            "getBlock" => {
                let slot = params[0].as_u64().expect("a slot");
                Edit::of(move |block| fork.rewrite(slot, block))
            }
            STATUSES => Edit::of(move |answer| {
                answer["value"][0] = fork.lands.map_or(Value::Null, |slot| {
                    json!({"slot": slot, "confirmations": 1, "err": null, "status": {"Ok": null}, "confirmationStatus": "confirmed"})
                });
            }),
            _ => Act::Forward,
        }
    }

    fn rewrite(&self, slot: u64, block: &mut Value) {
        if !block.is_object() {
            return;
        }
        let other = |hash: &Value| json!(hash.as_str().expect("a hash").chars().rev().collect::<String>());
        if block["parentSlot"].as_u64().is_some_and(|parent| self.slots.contains(&parent)) {
            block["previousBlockhash"] = other(&block["previousBlockhash"]);
        }
        if self.slots.contains(&slot) {
            block["blockhash"] = other(&block["blockhash"]);
        }
        if let Some(transactions) = block.get_mut("transactions").and_then(Value::as_array_mut) {
            transactions.retain(|transaction| *transaction != self.transaction);
            if self.lands == Some(slot) {
                transactions.push(self.transaction.clone());
            }
        }
    }
}

/// A transaction as the block of a slot shows it.
async fn show(cluster: &Cluster, slot: u64, name: &str) -> Value {
    let config = json!({
        "commitment": "confirmed", "encoding": "base64", "transactionDetails": "full", "rewards": false,
        "maxSupportedTransactionVersion": 0,
    });
    let block = cluster.rpc("getBlock", json!([slot, config])).await;
    let is_named = |transaction: &&Value| {
        let wire = STANDARD.decode(transaction["transaction"][0].as_str().expect("bytes")).expect("base64");
        encode_base58(&wire[1..65]) == name
    };
    block["transactions"].as_array().expect("transactions").iter().find(is_named).expect("it landed there").clone()
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
    let newest = async || cluster.rpc("getSlot", json!([{"commitment": "confirmed"}])).await.as_u64().expect("a slot");
    let landed = cluster.rpc(STATUSES, json!([[transaction]])).await["value"][0]["slot"].as_u64().expect("it landed");
    let claims = async || {
        let claims = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM claims").fetch_one(ledger.pool()).await;
        claims.expect("the database answers")
    };

    let sends = proxy.calls(SEND);
    let transaction = show(&cluster, landed, &transaction).await;
    let mut fork = Fork { slots: landed..=newest().await, transaction, lands: None };
    let branch = fork.clone();
    proxy.rule(move |method, params, _| branch.act(method, params));
    eventually("no claim", PATIENCE, || async { (claims().await == 0).then_some(()) }).await;
    eventually("a further send", PATIENCE, || async { (proxy.calls(SEND) > sends).then_some(()) }).await;
    let (_, meanwhile) = facilitator.settle(&payment.v2()).await;
    fork.lands = Some(newest().await);
    let branch = fork.clone();
    proxy.rule(move |method, params, _| branch.act(method, params));
    eventually("a claim again", PATIENCE, || async { (claims().await == 1).then_some(()) }).await;
    let (_, last) = facilitator.settle(&payment.v2()).await;

    report(
        "solana fork",
        &format!(
            "success, its block dropped, {} distinct transaction sent, paid again; further answers: {}, {}",
            proxy.sent().len(),
            reason(&meanwhile),
            reason(&last)
        ),
    );
    assert!(!is_success(&meanwhile), "{meanwhile}");
    assert_eq!((reason(&last), &last["transaction"]), ("duplicate_settlement", &settled["transaction"]), "{last}");
    assert_eq!(proxy.sent().len(), 1);
}
