//! Blocks that are read a second time, and change nothing.

use quittance::ledger::Ledger;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::{PATIENCE, cursor, until_read};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions};
use crate::support::merchant::{Merchant, pay};
use crate::support::payer::Terms;
use crate::support::receipts::Keys;
use crate::support::receiver::{Received, Receiver};
use crate::support::{database, eventually};

/// Whatever reading a block can write into.
const TABLES: [&str; 15] = [
    "networks",
    "blocks",
    "transfers",
    "claims",
    "assignments",
    "invoices",
    "invoice_options",
    "payments",
    "authorizations",
    "submissions",
    "attempts",
    "receipts",
    "receipt_revisions",
    "events",
    "deliveries",
];

/// The rows of a table, each whole.
async fn rows(ledger: &Ledger, table: &str) -> Vec<String> {
    let rows = sqlx::query_scalar(AssertSqlSafe(format!("SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1")));
    rows.fetch_all(ledger.pool()).await.expect("the database answers")
}

async fn books(ledger: &Ledger) -> Vec<(&'static str, Vec<String>)> {
    let mut books = Vec::new();
    for table in TABLES {
        books.push((table, rows(ledger, table).await));
    }
    books
}

/// Has the ledger forget that it has read the blocks above a height, and nothing of what it has read in them.
async fn forget_reading(ledger: &Ledger, height: i64) {
    let moved = "UPDATE networks SET cursor_number = $1, cursor_hash = (SELECT hash FROM blocks WHERE number = $1 AND canonical)";
    for statement in [moved, "DELETE FROM blocks WHERE number > $1"] {
        sqlx::query(statement).bind(height).execute(ledger.pool()).await.expect("the database answers");
    }
}

/// The signed receipts for what has paid invoices, one each.
async fn receipts_of(merchant: &Merchant<'_>, invoices: [&Value; 2]) -> Vec<String> {
    let mut found = Vec::new();
    for invoice in invoices {
        let shown = merchant.show(invoice).await;
        let receipts = shown["receipts"].as_array().expect("receipts");
        let receipts: Vec<_> =
            receipts.iter().map(|receipt| receipt["receipt"].as_str().expect("it is signed").to_owned()).collect();
        assert_eq!(receipts.len(), 1, "{shown}");
        found.extend(receipts);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_are_read_again_change_nothing() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let (ledger, network) = (database::ledger(&url).await, chain.network().parse().expect("a network"));
    let keys = Keys::generate().await;
    // Nothing becomes final meanwhile.
    let network_options = NetworkOptions { lines: "final = 1000\n".to_owned(), ..NetworkOptions::of(&chain) };
    let mut options = keys.options(network_options, &url);
    options.server.push_str("\n[webhooks]\nallow_private = true\n");
    let mut facilitator = Facilitator::start(&options).await;
    let (receiver, merchant) = (Receiver::start().await, Merchant::open(&facilitator).await);
    assert_eq!(merchant.post("/v1/webhooks", &json!({"url": receiver.url()})).await.0, 201);
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let (by_wallet, by_payment) = (
        merchant.invoice(&json!({"amount": "0.5", "matchAmount": true})).await,
        merchant.invoice(&json!({"amount": "0.01"})).await,
    );
    let begun = cursor(&ledger, &network).await;

    pay(&chain, &chain.payers[1], &chain.payers[0].address(), 500_000).await;
    merchant.until(&by_wallet, "paid").await;
    let accepts = &by_payment["accepts"][0];
    let mut body = chain.payers[2].authorize(&Terms::to(&chain.payers[0].address())).v2();
    body["paymentRequirements"] = accepts.clone();
    body["paymentPayload"]["accepted"] = accepts.clone();
    assert_eq!(facilitator.settle(&body).await.1["success"], true);
    merchant.until(&by_payment, "paid").await;
    let stray = pay(&chain, &chain.payers[3], &chain.payers[0].address(), 7).await;
    merchant.until_transfer(&stray).await;
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    let height = chain.height().await;
    until_read(&ledger, &network, height).await;
    let untold = "SELECT (SELECT count(*) FROM events WHERE position IS NULL AND account_id IS NOT NULL)
                       + (SELECT count(*) FROM deliveries WHERE delivered_at IS NULL)";
    eventually("a place in the stream for each event, and its delivery", PATIENCE, || async {
        let count = sqlx::query_scalar::<_, i64>(untold).fetch_one(ledger.pool()).await;
        (count.expect("the database answers") == 0).then_some(())
    })
    .await;
    let receipts = receipts_of(&merchant, [&by_wallet, &by_payment]).await;
    let account = merchant.into_account();
    assert!(facilitator.terminate().await.success());
    let (before, told) = (books(&ledger).await, receiver.received().len());

    for _ in 0..2 {
        forget_reading(&ledger, begun as i64).await;
        facilitator.restart().await;
        until_read(&ledger, &network, height).await;
        assert!(facilitator.terminate().await.success());
        for ((table, first), (_, second)) in before.iter().zip(books(&ledger).await) {
            assert_eq!(first, &second, "{table}");
        }
    }

    facilitator.restart().await;
    let merchant = Merchant::again(&facilitator, account);
    assert_eq!(receipts_of(&merchant, [&by_wallet, &by_payment]).await, receipts, "the very same signatures");
    // What is told now comes behind whatever would have been told again.
    let last = merchant.invoice(&json!({"amount": "1"})).await;
    let cancel = format!("/v1/invoices/{}/cancel", last["id"].as_str().expect("a name"));
    assert_eq!(merchant.post(&cancel, &json!({})).await.0, 200);
    receiver.until_kind("invoice.canceled").await;
    let kinds: Vec<_> = receiver.received().iter().map(Received::kind).collect();
    assert_eq!(kinds.len(), told + 1, "nothing is told twice: {kinds:?}");
}
