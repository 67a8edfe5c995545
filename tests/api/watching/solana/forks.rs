//! What becomes of a wallet's credit on Solana when the cluster drops its block.

use serde_json::{Value, json};

use super::{HISTORY, PATIENCE, register, text, watching};
use crate::support::facilitator::Facilitator;
use crate::support::merchant::{Merchant, told};
use crate::support::proxy::Proxy;
use crate::support::receipts::{Keys, claims_of};
use crate::support::solana::Cluster;
use crate::support::solana::fork::{Fork, Instead, act_until};
use crate::support::solana::wallet::{Marks, Token, Wallet};
use crate::support::{database, eventually};

/// Shows nothing behind a slot, so that nobody has seen what comes there.
fn show_until(node: &Proxy, newest: u64, fork: Option<&Fork>) {
    let fork = fork.cloned();
    node.rule(move |method, params, _| act_until(newest, fork.as_ref(), method, params));
}

async fn until_revoked(facilitator: &Facilitator, receipt: &str) -> Value {
    eventually("a revoked receipt", PATIENCE, || async {
        let (_, status) = facilitator.get(&format!("/v1/receipts/{receipt}/status")).await;
        (status["finality"] == "revoked").then_some(status)
    })
    .await
}

async fn a_credit_is_dropped(watch: &str, instead: Instead) {
    let what = format!("{watch}, {instead:?}");
    let (cluster, keys) = (Cluster::start(400).await, Keys::generate().await);
    let (node, url) = (Proxy::start(&cluster.url), database::fresh().await);
    let facilitator = Facilitator::start(&keys.options(watching(&cluster, &node.url, watch), &url)).await;
    let merchant = Merchant::open(&facilitator).await;
    let (shop, buyer) = (Wallet::of(&cluster, "/payers/10").await, Wallet::of(&cluster, "/payers/0").await);
    register(&merchant, &cluster, &shop).await;
    let invoice = merchant.invoice(&json!({"amount": "0.25", "reserveAddress": true})).await;
    show_until(&node, cluster.slot().await, None);

    let transaction = buyer.pay(&cluster, Token::of(&cluster, "usdc"), &shop.address(), 250_000, Marks::default()).await;
    let landed = cluster.slot_of(&transaction).await;
    show_until(&node, landed, None);
    let paid = merchant.until(&invoice, "paid").await;
    let receipt = text(&paid["receipts"][0]["id"]);

    let mut fork = Fork::under(&cluster, &transaction, instead).await;
    show_until(&node, landed + 1, Some(&fork));
    let open = merchant.until(&invoice, "open").await;
    assert_eq!((&open["amountPaid"], &open["transfers"]), (&json!("0"), &json!([])), "{what}: {open}");
    let revoked = until_revoked(&facilitator, receipt).await;
    assert_eq!(revoked["revision"], 2, "{what}: {revoked}");

    // In a slot that nobody has seen.
    fork.lands = Some(cluster.slot().await.max(landed + 1) + 1);
    node.rule(move |method, params, _| fork.act(method, params));
    let again = merchant.until(&invoice, "paid").await;
    let claims = claims_of(text(&again["receipts"][0]["receipt"]));
    assert_eq!((&claims["receiptId"], &claims["transaction"]), (&json!(receipt), &json!(transaction)), "{what}: {again}");
    assert!(claims["revision"].as_u64() > Some(2) && claims["finality"] != "revoked", "{what}: {claims}");
    assert_eq!(again["transfers"].as_array().map(Vec::len), Some(1), "{what}: {again}");
    let told = told(&url, &invoice).await;
    assert_eq!(told[..3], ["invoice.paid", "invoice.reopened", "invoice.paid"], "{what}");
    let reopened = told.iter().filter(|kind| *kind == "invoice.reopened").count();
    assert_eq!((reopened, facilitator.metric("quittance_reorgs_total").await), (1, 1.0), "{what}: {told:?}");
    assert_eq!(node.calls(HISTORY) > 0, watch == "signatures", "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallets_credit_in_a_block_that_is_replaced_is_revoked_until_it_lands_again_where_blocks_are_read() {
    a_credit_is_dropped("blocks", Instead::Others).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallets_credit_in_a_block_that_is_replaced_is_revoked_until_it_lands_again_where_histories_are_read() {
    a_credit_is_dropped("signatures", Instead::Others).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallets_credit_in_a_slot_that_is_skipped_after_all_is_revoked_until_it_lands_again_where_blocks_are_read() {
    a_credit_is_dropped("blocks", Instead::Nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallets_credit_in_a_slot_that_is_skipped_after_all_is_revoked_until_it_lands_again_where_histories_are_read() {
    a_credit_is_dropped("signatures", Instead::Nothing).await;
}
