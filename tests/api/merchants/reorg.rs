//! What becomes of credits when the network replaces their blocks.

use serde_json::{Value, json};

use super::{PATIENCE, start, start_with_ledger, told};
use crate::support::chain::{Chain, hex};
use crate::support::merchant::{Merchant, pay};
use crate::support::payer::{Terms, spread_call, transfer_call};
use crate::support::{database, eventually};

/// Replaces the block of a transaction, and all behind it, with empty ones.
pub async fn undo(chain: &Chain, transaction: &str) {
    let depth = chain.height().await + 1 - hex(&chain.receipt(transaction).await["blockNumber"]);
    chain.rpc("anvil_reorg", json!([depth + 1, []])).await;
}

/// Gives a merchant's transfers to these invoices, one each.
async fn assign(merchant: &Merchant<'_>, transfers: &[Value], invoices: &[&Value]) {
    for (transfer, invoice) in transfers.iter().zip(invoices) {
        let path = format!("/v1/transfers/{}/assign", transfer["id"].as_str().expect("a name"));
        assert_eq!(merchant.post(&path, &json!({"invoice": invoice["id"]})).await.0, 200, "{transfer}");
    }
}

/// One transaction with a transfer of each of these amounts to the first payer, which can be sent again.
async fn spread(chain: &Chain, amounts: [u128; 2]) -> String {
    let (address, multicall) = (chain.payers[0].address(), chain.text("/multicall3"));
    pay(chain, &chain.payers[1], &multicall, amounts.iter().sum()).await;
    // So deep that it stays when the blocks behind it are replaced.
    chain.mine(5).await;
    alloy::hex::encode_prefixed(spread_call(&chain.usdc(), &amounts.map(|amount| (address.clone(), amount))))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_transfers_of_one_transaction_that_were_given_to_an_invoice_stay_with_it_in_another_block() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.5"})).await;
    let (parts, sender, multicall) =
        (spread(&chain, [200_000, 300_000]).await, chain.payers[2].address(), chain.text("/multicall3"));
    let send = || chain.send_as(&sender, &multicall, &parts, 1_000_000);

    let transaction = send().await;
    merchant.until_transfer(&transaction).await;
    assign(&merchant, &merchant.transfers().await, &[&invoice, &invoice]).await;
    merchant.until(&invoice, "paid").await;
    undo(&chain, &transaction).await;
    merchant.until(&invoice, "open").await;
    assert_eq!(send().await, transaction, "it is the same transaction");
    let paid = merchant.until(&invoice, "paid").await;

    let transfers = paid["transfers"].as_array().expect("transfers");
    assert_eq!(transfers.len(), 2, "{paid}");
    assert!(transfers.iter().all(|transfer| transfer["basis"] == "assigned"), "{paid}");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_transfers_of_one_transaction_stay_with_the_invoice_that_each_was_given_to() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let order = json!({"amount": "0.2"});
    let (first, second) = (merchant.invoice(&order).await, merchant.invoice(&order).await);
    let (parts, sender, multicall) =
        (spread(&chain, [200_000, 200_000]).await, chain.payers[2].address(), chain.text("/multicall3"));
    let send = || chain.send_as(&sender, &multicall, &parts, 1_000_000);

    let transaction = send().await;
    merchant.until_transfer(&transaction).await;
    assign(&merchant, &merchant.transfers().await, &[&first, &second]).await;
    let place = async |invoice: &Value| {
        let paid = merchant.until(invoice, "paid").await;
        assert_eq!(paid["transfers"].as_array().map(Vec::len), Some(1), "{paid}");
        paid["transfers"][0]["index"].as_u64().expect("an index")
    };
    let before = place(&first).await < place(&second).await;
    undo(&chain, &transaction).await;
    for invoice in [&first, &second] {
        merchant.until(invoice, "open").await;
    }
    assert_eq!(send().await, transaction, "it is the same transaction");

    assert_eq!(place(&first).await < place(&second).await, before, "each has its own again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_amount_has_named_is_credited_to_it_again_though_another_asks_for_as_much_by_then() {
    let (chain, url, facilitator) = start_with_ledger().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let order = json!({"amount": "0.5", "matchAmount": true});
    let invoice = merchant.invoice(&order).await;
    let (sender, call) = (chain.payers[1].address(), transfer_call(&chain.payers[0].address(), 500_000));
    let token = chain.usdc();
    let send = || chain.send_as(&sender, &token, &call, 1_000_000);
    chain.mine(5).await;

    let transaction = send().await;
    merchant.until(&invoice, "paid").await;
    undo(&chain, &transaction).await;
    merchant.until(&invoice, "open").await;
    let alike = merchant.invoice(&order).await;
    assert_eq!(send().await, transaction, "it is the same transaction");
    let paid = merchant.until(&invoice, "paid").await;

    assert_eq!(paid["transfers"][0]["basis"], "amount", "{paid}");
    let receipts = sqlx::query_scalar::<_, i32>("SELECT revision FROM receipts");
    let receipts = receipts.fetch_all(database::ledger(&url).await.pool()).await.expect("the database answers");
    assert_eq!(receipts, [3], "one receipt says it, took it back, and says it again");
    assert_eq!(merchant.show(&alike).await["status"], "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_told_of_a_part_is_told_when_it_is_gone() {
    let (chain, url, facilitator) = start_with_ledger().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.5", "reserveAddress": true})).await;

    let part = pay(&chain, &chain.payers[1], &chain.payers[0].address(), 200_000).await;
    merchant.until(&invoice, "underpaid").await;
    undo(&chain, &part).await;
    merchant.until(&invoice, "open").await;

    assert_eq!(told(&url, &invoice).await, ["invoice.underpaid", "invoice.reopened"]);
}

/// A merchant may have said of a transfer what it is for before it was known to settle a payment.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_merchant_has_said_of_a_payments_transfer_counts_in_its_next_block_too() {
    let (chain, url, facilitator) = start_with_ledger().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let (asked, said) = (merchant.invoice(&json!({"amount": "0.01"})).await, merchant.invoice(&json!({"amount": "0.01"})).await);
    let mut body = chain.payers[1].authorize(&Terms { valid_for: 500, ..Terms::to(&chain.payers[0].address()) }).v2();
    body["paymentRequirements"] = asked["accepts"][0].clone();
    body["paymentPayload"]["accepted"] = asked["accepts"][0].clone();
    let answer = facilitator.settle_patiently(&body, PATIENCE).await;
    assert_eq!(answer["success"], true, "{answer}");
    merchant.until(&asked, "paid").await;
    let id: quittance::domain::ids::InvoiceId = said["id"].as_str().expect("a name").parse().expect("an identifier");
    let ledger = database::ledger(&url).await;
    let said_before = sqlx::query("UPDATE claims SET invoice_id = $1, basis = 'assigned'").bind(id.uuid());
    assert_eq!(said_before.execute(ledger.pool()).await.expect("the database answers").rows_affected(), 1);

    undo(&chain, answer["transaction"].as_str().expect("a transaction")).await;
    let paid = merchant.until(&said, "paid").await;

    assert_eq!(paid["transfers"][0]["basis"], "assigned", "{paid}");
    assert_eq!(merchant.show(&asked).await["transfers"], json!([]));
}

/// Its time is over when the block that paid it is replaced, and what comes in its place may have been in time.
#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_does_not_end_before_the_blocks_of_its_time_are_read_again() {
    let (chain, url, facilitator) = start_with_ledger().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.5", "reserveAddress": true})).await;
    // So deep that the wallet's account stays as it is when the blocks behind are replaced.
    chain.mine(5).await;
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    let (payer, token) = (chain.payers[1].address(), chain.usdc());
    let call = transfer_call(&chain.payers[0].address(), 500_000);
    chain.send_as(&payer, &token, &call, 1_000_000).await;
    eventually("a transaction in the pool", PATIENCE, || async { (chain.pooled().await > 0).then_some(()) }).await;
    chain.mine(1).await;
    let paid = merchant.until(&invoice, "paid").await;
    let ledger = database::ledger(&url).await;
    let end = "
        UPDATE invoices SET created_at = t.happened_at - interval '1 hour', expires_at = t.happened_at, closes_at = t.happened_at
        FROM transfers t WHERE t.transaction = $1";
    let transaction = paid["transfers"][0]["transaction"].as_str().expect("a transaction").to_owned();
    sqlx::query(end).bind(&transaction).execute(ledger.pool()).await.expect("the database answers");
    let until_over = "SELECT closes_at < now() FROM invoices";
    eventually("the end of its time", PATIENCE, || async {
        sqlx::query_scalar::<_, bool>(until_over).fetch_one(ledger.pool()).await.expect("the database answers").then_some(())
    })
    .await;

    chain.rpc("anvil_reorg", json!([1, []])).await;
    merchant.until(&invoice, "open").await;

    assert_eq!(told(&url, &invoice).await, ["invoice.paid", "invoice.reopened"]);
}
