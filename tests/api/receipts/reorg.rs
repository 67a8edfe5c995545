//! What becomes of a receipt whose block is replaced.

use serde_json::{Value, json};

use super::{PATIENCE, World, text, until_revision, verdict};
use crate::support::chain::{ChainOptions, hex};
use crate::support::merchant::Merchant;
use crate::support::payer::Terms;
use crate::support::receipts::{claims_of, receipt_in, verify_offline};
use crate::support::{database, eventually};

impl World {
    async fn until_pooled(&self) {
        eventually("a transaction in the pool", PATIENCE, || async {
            (hex(&self.chain.rpc("txpool_status", json!([])).await["pending"]) > 0).then_some(())
        })
        .await;
    }

    async fn until_read_to_the_head(&self) {
        let (ledger, height) = (database::ledger(&self.url).await, self.chain.height().await as i64);
        eventually("the watcher at the head", PATIENCE, || async {
            let cursor = sqlx::query_scalar::<_, i64>("SELECT cursor_number FROM networks").fetch_one(ledger.pool()).await;
            (cursor.expect("the database answers") == height).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_revoked_with_its_block_and_the_next_block_makes_a_revision_of_it() {
    let world = World::start(ChainOptions::default(), "final = 16\n").await;
    let (chain, facilitator) = (&world.chain, &world.facilitator);
    let merchant = Merchant::open(facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    let terms = Terms { valid_for: 500, ..Terms::to(&chain.payers[0].address()) };
    let (caller, body) = (facilitator.caller(), chain.payers[1].authorize(&terms).v2());
    let asked = tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await });
    world.until_pooled().await;
    chain.mine(1).await;
    let answer = asked.await.expect("no panic");
    let first = receipt_in(&answer);
    let included = claims_of(&first);
    let id = text(&included["receiptId"]);
    assert_eq!(verdict(facilitator, &json!(first)).await["valid"], true);
    world.until_read_to_the_head().await;

    chain.rpc("anvil_reorg", json!([1, []])).await;
    until_revision(facilitator, id, 2, "revoked").await;

    let revoked = verdict(facilitator, &json!(first)).await;
    assert_eq!((&revoked["valid"], &revoked["reason"]), (&json!(false), &json!("receipt_revoked")), "{revoked}");
    assert_eq!((&revoked["claims"], &revoked["latest"]["revision"]), (&included, &json!(2)), "{revoked}");
    let (status, problem) = merchant.post(&format!("/v1/receipts/{id}/redeem"), &json!({"nonce": "order"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("receipt_revoked")), "{problem}");

    // The lane sends the same bytes again, and another block takes them.
    world.until_pooled().await;
    chain.mine(1).await;
    until_revision(facilitator, id, 3, "included").await;

    let again = verdict(facilitator, &json!(first)).await;
    assert_eq!((&again["valid"], &again["latest"]["revision"]), (&json!(true), &json!(3)), "{again}");
    let (_, shown) = merchant.get(&format!("/v1/receipts/{id}")).await;
    let revisions: Vec<_> =
        shown["revisions"].as_array().expect("revisions").iter().map(|revision| &revision["receipt"]).collect();
    let mut said: Vec<Value> = Vec::new();
    for receipt in revisions {
        said.push(verify_offline(text(receipt), &world.jwks().await, &facilitator.url).await.expect("it holds"));
    }
    let words: Vec<_> = said.iter().map(|claims| text(&claims["finality"])).collect();
    assert_eq!(words, ["included", "revoked", "included"]);
    assert!(said.iter().all(|claims| claims["receiptId"] == id && claims["transaction"] == answer["transaction"]), "{said:?}");
    assert_eq!(said[1]["blockHash"], included["blockHash"], "it says which block is gone");
    assert_ne!(said[2]["blockHash"], included["blockHash"]);
    let landed = chain.receipt(text(&answer["transaction"])).await;
    assert_eq!(said[2]["blockHash"], landed["blockHash"]);
    // What was revoked in between is worth nothing, and the receipt can be redeemed after all, once.
    let (_, shown) = merchant.get(&format!("/v1/receipts/{id}")).await;
    assert_eq!(verdict(facilitator, &shown["revisions"][1]["receipt"]).await["reason"], "receipt_revoked");
    let redeem = async |nonce: &str| merchant.post(&format!("/v1/receipts/{id}/redeem"), &json!({"nonce": nonce})).await.0;
    assert_eq!((redeem("order").await, redeem("order").await, redeem("other").await), (200, 200, 409));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redeemed_receipt_stays_redeemed_in_its_next_block() {
    let world = World::start(ChainOptions::default(), "final = 16\n").await;
    let (chain, facilitator) = (&world.chain, &world.facilitator);
    let merchant = Merchant::open(facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    let terms = Terms { valid_for: 500, ..Terms::to(&chain.payers[0].address()) };
    let (caller, body) = (facilitator.caller(), chain.payers[1].authorize(&terms).v2());
    let asked = tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await });
    world.until_pooled().await;
    chain.mine(1).await;
    let claims = claims_of(&receipt_in(&asked.await.expect("no panic")));
    let id = text(&claims["receiptId"]);
    let redeem = async |nonce: &str| merchant.post(&format!("/v1/receipts/{id}/redeem"), &json!({"nonce": nonce})).await.0;
    assert_eq!(redeem("order").await, 200);
    world.until_read_to_the_head().await;

    chain.rpc("anvil_reorg", json!([1, []])).await;
    until_revision(facilitator, id, 2, "revoked").await;
    assert_eq!(redeem("order").await, 409, "what it was redeemed for is not paid");
    world.until_pooled().await;
    chain.mine(1).await;
    let status = until_revision(facilitator, id, 3, "included").await;

    assert_eq!(status["redeemed"], true);
    assert_eq!((redeem("other").await, redeem("order").await), (409, 200));
}
