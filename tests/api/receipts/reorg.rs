//! What becomes of a receipt whose block is replaced.

use serde_json::{Value, json};

use super::{PATIENCE, World, text, until_revision, verdict};
use crate::support::chain::{ChainOptions, hex};
use crate::support::merchant::Merchant;
use crate::support::payer::{Terms, transfer_call};
use crate::support::receipts::{claims_of, receipt_in, verify_offline};
use crate::support::{database, eventually};

impl World {
    async fn until_pooled(&self) {
        eventually("a transaction in the pool", PATIENCE, || async { (self.chain.pooled().await > 0).then_some(()) }).await;
    }

    /// What is told of the newest event of a kind, once it and so many in all are in the stream.
    async fn until_told(&self, kind: &str, count: usize) -> Value {
        let ledger = database::ledger(&self.url).await;
        eventually("an event in the stream", PATIENCE, || async {
            let bodies =
                sqlx::query_scalar::<_, String>("SELECT body FROM events WHERE kind = $1 AND body IS NOT NULL ORDER BY id");
            let bodies = bodies.bind(kind).fetch_all(ledger.pool()).await.expect("the database answers");
            (bodies.len() == count).then(|| serde_json::from_str(&bodies[count - 1]).expect("JSON"))
        })
        .await
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

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_for_a_wallets_own_transfer_is_revoked_with_its_block_and_kept_in_the_next() {
    let world = World::quick().await;
    let (chain, facilitator) = (&world.chain, &world.facilitator);
    let merchant = Merchant::open(facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.25", "reserveAddress": true})).await;
    // So deep that the wallet's account stays as it is when the blocks behind are replaced.
    chain.mine(5).await;
    let (payer, token) = (chain.payers[1].address(), chain.usdc());
    let call = transfer_call(&chain.payers[0].address(), 250_000);
    let send = || chain.send_as(&payer, &token, &call, 1_000_000);
    let transaction = send().await;
    let paid = merchant.until(&invoice, "paid").await;
    let first = paid["receipts"][0]["receipt"].clone();
    let (id, included) = (text(&paid["receipts"][0]["id"]), claims_of(text(&first)));
    assert_eq!((&included["transaction"], &included["paymentId"]), (&json!(transaction), &Value::Null), "{included}");

    let depth = chain.height().await + 1 - hex(&chain.receipt(&transaction).await["blockNumber"]);
    chain.rpc("anvil_reorg", json!([depth + 1, []])).await;
    let open = merchant.until(&invoice, "open").await;

    until_revision(facilitator, id, 2, "revoked").await;
    let reopened = world.until_told("invoice.reopened", 1).await;
    assert_eq!(reopened.pointer("/data/receipts/0/finality"), Some(&json!("revoked")), "{reopened}");
    let revoked = verdict(facilitator, &first).await;
    assert_eq!((&revoked["valid"], &revoked["reason"]), (&json!(false), &json!("receipt_revoked")), "{open}: {revoked}");
    let (status, problem) = merchant.post(&format!("/v1/receipts/{id}/redeem"), &json!({"nonce": "order"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("receipt_revoked")), "{problem}");

    assert_eq!(send().await, transaction, "the wallet sends the same again");
    let again = merchant.until(&invoice, "paid").await;
    assert_eq!(again["receipts"][0]["id"], id, "it is the same receipt: {again}");
    let third = claims_of(text(&again["receipts"][0]["receipt"]));
    let words = (&third["revision"], &third["finality"], &third["transaction"], &third["invoice"]);
    assert_eq!(words, (&json!(3), &json!("included"), &json!(transaction), &invoice["id"]), "{third}");
    assert_eq!(verdict(facilitator, &first).await["valid"], true, "what it says is true again");
    let kinds = sqlx::query_scalar::<_, String>("SELECT kind FROM events WHERE invoice_id IS NOT NULL ORDER BY id");
    let told = kinds.fetch_all(database::ledger(&world.url).await.pool()).await.expect("the database answers");
    assert_eq!(told, ["invoice.paid", "invoice.reopened", "invoice.paid"]);
    // What is told brings the receipt along, in the form in which the invoice shows it.
    let event = world.until_told("invoice.paid", 2).await;
    assert_eq!(event.pointer("/data/receipts"), Some(&again["receipts"]), "{event}");
}
