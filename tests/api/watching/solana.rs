//! Transfers to registered addresses on Solana, in each way in which they can be found.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::{PATIENCE, names, until_read};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::Merchant;
use crate::support::proxy::{Act, Edit, Proxy};
use crate::support::solana::Cluster;
use crate::support::solana::wallet::{Marks, Token, Wallet};
use crate::support::{database, eventually};

mod agreement;
mod beginning;
mod forks;
mod states;

/// How accounts are asked for their histories.
const HISTORY: &str = "getSignaturesForAddress";

fn is_whole(method: &str, params: &Value) -> bool {
    method == "getBlock" && params[1]["transactionDetails"] == "full"
}

/// Counts the blocks that are read with all of their transactions.
fn count_whole(proxy: &Proxy) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    proxy.rule(move |method, params, _| {
        counted.fetch_add(u64::from(is_whole(method, params)), Ordering::SeqCst);
        Act::Forward
    });
    count
}

/// A service that watches a cluster in this way.
fn watching(cluster: &Cluster, rpc: &str, watch: &str) -> NetworkOptions {
    let network = cluster.options(rpc);
    NetworkOptions { lines: format!("{}watch = {watch:?}\n", network.lines), ..network }
}

/// Registers a wallet's address, and returns our name for it.
async fn register(merchant: &Merchant<'_>, cluster: &Cluster, owner: &Wallet) -> String {
    merchant.register_signed(&cluster.text("/network"), &owner.address(), |challenge| owner.sign(challenge)).await
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The only transfer that an invoice has got: why it counts, and in which transaction.
fn credit(invoice: &Value) -> (&str, &str) {
    let transfers = invoice["transfers"].as_array().expect("transfers");
    assert_eq!(transfers.len(), 1, "{invoice}");
    (text(&transfers[0]["basis"]), text(&transfers[0]["transaction"]))
}

async fn wallets_pay(watch: &str) {
    let cluster = Cluster::start(200).await;
    let proxy = Proxy::start(&cluster.url);
    let whole = count_whole(&proxy);
    let options = Options::new(watching(&cluster, &proxy.url, watch), &database::fresh().await);
    let facilitator = Facilitator::start(&options).await;
    let merchant = Merchant::open(&facilitator).await;
    let (shop, till, other_till) = (
        Wallet::of(&cluster, "/accounts/merchant").await,
        Wallet::of(&cluster, "/payers/10").await,
        Wallet::of(&cluster, "/payers/11").await,
    );
    let shop_id = register(&merchant, &cluster, &shop).await;
    let (till_id, other_id) = (register(&merchant, &cluster, &till).await, register(&merchant, &cluster, &other_till).await);
    let reserved = merchant.invoice(&json!({"amount": "0.25", "reserveAddress": true, "addresses": [till_id]})).await;
    let order = json!({"amount": "0.3", "asset": "T22", "reserveAddress": true, "addresses": [other_id]});
    let in_token_2022 = merchant.invoice(&order).await;
    let by_memo = merchant.invoice(&json!({"amount": "0.5", "addresses": [shop_id]})).await;
    let by_reference = merchant.invoice(&json!({"amount": "0.5", "addresses": [shop_id]})).await;
    let (usdc, token_2022) = (Token::of(&cluster, "usdc"), Token::of(&cluster, "token2022"));
    let buyer = Wallet::of(&cluster, "/payers/0").await;

    let plain = buyer.pay(&cluster, usdc, &till.address(), 250_000, Marks::default()).await;
    let other = buyer.pay(&cluster, token_2022, &other_till.address(), 300_000, Marks::default()).await;
    let memo = Marks { memo: Some(text(&by_memo["id"])), ..Marks::default() };
    let with_memo = buyer.pay(&cluster, usdc, &shop.address(), 500_000, memo).await;
    let reference = Marks { reference: Some(text(&by_reference["options"][0]["reference"])), ..Marks::default() };
    let with_reference = buyer.pay(&cluster, usdc, &shop.address(), 500_000, reference).await;
    buyer.pay(&cluster, usdc, &shop.address(), u64::MAX, Marks::default()).await;
    let recovered = shop.recover(&cluster, usdc, 7_000).await;

    for (invoice, basis, transaction) in [
        (&reserved, "reserved", &plain),
        (&in_token_2022, "reserved", &other),
        (&by_memo, "reference", &with_memo),
        (&by_reference, "reference", &with_reference),
    ] {
        let paid = merchant.until(invoice, "paid").await;
        assert_eq!(credit(&paid), (basis, transaction.as_str()), "{watch}: {paid}");
    }
    let inner = merchant.until_transfer(&recovered).await;
    assert_eq!((&inner["amount"], &inner["matched"]), (&json!("7000"), &json!(false)), "{watch}: {inner}");
    let mut expected = vec![plain, other, with_memo, with_reference, recovered];
    expected.sort();
    assert_eq!(names(&merchant.transfers().await, "transaction"), expected, "{watch}: what failed has moved nothing");
    let (whole, histories) = (whole.load(Ordering::SeqCst), proxy.calls(HISTORY));
    if watch == "blocks" {
        assert_eq!(histories, 0);
    } else {
        assert!(histories > 0 && whole <= 10, "five blocks hold a transfer: {whole} were read whole, {histories} histories");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wallets_pay_invoices_that_are_found_in_blocks() {
    wallets_pay("blocks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wallets_pay_invoices_that_are_found_in_the_histories_of_accounts() {
    wallets_pay("signatures").await;
}

/// Waits until a transfer is known to pay something.
async fn until_matched(merchant: &Merchant<'_>, transaction: &str) -> Value {
    eventually("a match", PATIENCE, || async {
        let transfer = merchant.until_transfer(transaction).await;
        (transfer["matched"] == true).then_some(transfer)
    })
    .await
}

async fn x402_pays_once(watch: &str) {
    let cluster = Cluster::start(200).await;
    let options = Options::new(watching(&cluster, &cluster.url, watch), &database::fresh().await);
    let facilitator = Facilitator::start(&options).await;
    let merchant = Merchant::open(&facilitator).await;
    register(&merchant, &cluster, &Wallet::of(&cluster, "/accounts/merchant").await).await;
    let order = json!({"amount": "0.001"});
    // Were a payment of ours a transfer like any other, its amount would pay this one.
    let bystander = merchant.invoice(&json!({"amount": "0.001", "matchAmount": true})).await;

    let (_, settled) = facilitator.settle(&cluster.payment(0, "for nobody here").await.v2()).await;
    assert_eq!(settled["success"], true, "{watch}: {settled}");
    let own = until_matched(&merchant, text(&settled["transaction"])).await;
    assert_eq!((&own["payment"], own.get("invoice")), (&settled["extra"]["paymentId"], None), "{watch}: {own}");
    let named = merchant.invoice(&order).await;
    let naming = cluster.payment(1, "something else").await.naming(text(&named["id"]));
    let (_, settled) = facilitator.settle(&naming.v2()).await;
    let paid = merchant.until(&named, "paid").await;
    assert_eq!(credit(&paid), ("payment", text(&settled["transaction"])), "{watch}: {paid}");
    assert_eq!(paid["transfers"][0]["payment"], settled["extra"]["paymentId"], "{watch}: {paid}");
    let by_memo = merchant.invoice(&order).await;
    let (_, settled) = facilitator.settle(&cluster.payment(2, text(&by_memo["id"])).await.v2()).await;
    let own = until_matched(&merchant, text(&settled["transaction"])).await;
    assert_eq!((&own["payment"], own.get("invoice")), (&settled["extra"]["paymentId"], None), "{watch}: {own}");

    for unpaid in [&bystander, &by_memo] {
        assert_eq!(merchant.show(unpaid).await["status"], "open", "{watch}: a payment buys what it was asked for");
    }
    let transfers = merchant.transfers().await;
    assert!(transfers.len() == 3 && transfers.iter().all(|transfer| transfer["matched"] == true), "{watch}: {transfers:?}");
    let network = cluster.text("/network");
    let count = |outcome: &str| format!("quittance_transfers_total{{network={network:?},outcome={outcome:?}}}");
    let counts = [facilitator.metric(&count("matched")).await, facilitator.metric(&count("unmatched")).await];
    assert_eq!(counts, [3.0, 0.0], "{watch}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_x402_payment_is_credited_once_where_blocks_are_read() {
    x402_pays_once("blocks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_x402_payment_is_credited_once_where_histories_are_read() {
    x402_pays_once("signatures").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_x402_payment_is_credited_where_nothing_is_watched() {
    let cluster = Cluster::start(200).await;
    let proxy = Proxy::start(&cluster.url);
    let whole = count_whole(&proxy);
    let options = Options::new(watching(&cluster, &proxy.url, "off"), &database::fresh().await);
    let facilitator = Facilitator::start(&options).await;
    let merchant = Merchant::open(&facilitator).await;
    register(&merchant, &cluster, &Wallet::of(&cluster, "/accounts/merchant").await).await;
    let (status, problem) = merchant.post("/v1/invoices", &json!({"amount": "0.001", "reserveAddress": true})).await;
    assert_eq!((status, &problem["code"]), (422, &json!("invalid_invoice")), "nobody would see what reaches it: {problem}");
    let invoice = merchant.invoice(&json!({"amount": "0.001"})).await;

    let body = cluster.payment(0, "something").await.naming(text(&invoice["id"])).v2();
    assert_eq!(facilitator.settle(&body).await.1["success"], true);
    assert_eq!(credit(&merchant.until(&invoice, "paid").await).0, "payment");
    // Until the watcher has come to the block of a payment, the payment is asked for again.
    let whole = whole.load(Ordering::SeqCst);
    assert!((1..=5).contains(&whole), "the block with the payment, and no other: {whole}");
}

/// The height of the newest block, as blocks tell it.
async fn newest(cluster: &Cluster) -> u64 {
    let slot = cluster.rpc("getSlot", json!([{"commitment": "confirmed"}])).await;
    let config = json!({"commitment": "confirmed", "transactionDetails": "none", "rewards": false});
    cluster.rpc("getBlock", json!([slot, config])).await["blockHeight"].as_u64().expect("a height")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_on_solana_while_the_service_was_down_is_found_after_the_start() {
    let cluster = Cluster::start(50).await;
    // Some nodes list fewer entries at once than they are asked for.
    let proxy = Proxy::start(&cluster.url);
    let shorten = |page: &mut Value| page.as_array_mut().expect("a page").truncate(5);
    proxy.rule(move |method, _, _| if method == HISTORY { Edit::of(shorten) } else { Act::Forward });
    for (shop, watch) in ["blocks", "signatures"].into_iter().enumerate() {
        let url = database::fresh().await;
        let (ledger, network) = (database::ledger(&url).await, cluster.text("/network").parse().expect("a network"));
        let mut facilitator = Facilitator::start(&Options::new(watching(&cluster, &proxy.url, watch), &url)).await;
        let merchant = Merchant::open(&facilitator).await;
        let shop = Wallet::of(&cluster, &format!("/payers/{}", 10 + shop)).await;
        register(&merchant, &cluster, &shop).await;
        let (usdc, buyer) = (Token::of(&cluster, "usdc"), Wallet::of(&cluster, "/payers/0").await);
        let mut sent = vec![buyer.pay(&cluster, usdc, &shop.address(), 1, Marks::default()).await];
        merchant.until_transfer(&sent[0]).await;
        let account = merchant.into_account();
        assert!(facilitator.terminate().await.success());

        for units in 2..=20 {
            sent.push(buyer.pay(&cluster, usdc, &shop.address(), units, Marks::default()).await);
            let height = cluster.height().await;
            eventually("a block", PATIENCE, || async { (cluster.height().await > height + 2).then_some(()) }).await;
        }
        let height = newest(&cluster).await;
        facilitator.restart().await;
        until_read(&ledger, &network, height).await;

        let found = Merchant::again(&facilitator, account).transfers().await;
        sent.sort();
        assert_eq!(names(&found, "transaction"), sent, "{watch}");
        let amounts: BTreeSet<u64> = found.iter().map(|transfer| text(&transfer["amount"]).parse().expect("a number")).collect();
        assert_eq!(amounts, (1..=20).collect(), "{watch}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_cannot_be_read_is_waited_for_and_never_passed_over() {
    let cluster = Cluster::start(100).await;
    let proxy = Proxy::start(&cluster.url);
    let options = Options::new(watching(&cluster, &proxy.url, "blocks"), &database::fresh().await);
    let facilitator = Facilitator::start(&options).await;
    let merchant = Merchant::open(&facilitator).await;
    let shop = Wallet::of(&cluster, "/accounts/merchant").await;
    register(&merchant, &cluster, &shop).await;
    let (usdc, buyer) = (Token::of(&cluster, "usdc"), Wallet::of(&cluster, "/payers/0").await);
    let is_stuck = |wanted: f64| {
        let facilitator = &facilitator;
        move || async move { (facilitator.metric("quittance_network_stuck{").await == wanted).then_some(()) }
    };

    for (units, code, words) in [(1, -32_015, "of a version above"), (2, -32_001, "no node has it any more")] {
        proxy.rule(move |method, params, _| {
            let refusal = json!({"jsonrpc": "2.0", "error": {"code": code, "message": "refused by a test"}});
            if is_whole(method, params) { Act::Answer(refusal) } else { Act::Forward }
        });
        let transaction = buyer.pay(&cluster, usdc, &shop.address(), units, Marks::default()).await;
        eventually("a halt of the reading", PATIENCE, is_stuck(1.0)).await;
        let log = facilitator.log();
        let told = log.lines().filter(|line| line.contains(words) && line.contains("block 100"));
        assert!(told.count() > 0, "no line names the block and says why: {log}");
        proxy.behave();

        merchant.until_transfer(&transaction).await;
        eventually("the reading goes on", PATIENCE, is_stuck(0.0)).await;
    }
}
