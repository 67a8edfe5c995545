//! The end of an invoice's time, by the clock of the network.

use alloy::primitives::B256;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{PATIENCE, start_with_ledger, told};
use crate::support::chain::{Chain, hex};
use crate::support::merchant::Merchant;
use crate::support::payer::Terms;
use crate::support::{database, eventually};

/// When the block of a transaction was made, as the network says.
async fn time_of(chain: &Chain, transaction: &str) -> DateTime<Utc> {
    time_of_block(chain, &chain.receipt(transaction).await["blockNumber"]).await
}

async fn time_of_block(chain: &Chain, block: &Value) -> DateTime<Utc> {
    let block = chain.rpc("eth_getBlockByNumber", json!([block, false])).await;
    let seconds = i64::try_from(hex(&block["timestamp"])).expect("a time");
    DateTime::from_timestamp(seconds, 0).expect("a time")
}

/// Pays for an invoice at its first address with its nonce number `counter`, which a transfer can have at any time; the transaction.
async fn send(chain: &Chain, invoice: &Value, counter: u8, units: u128) -> String {
    let option = &invoice["options"][0];
    let mut nonce: B256 = option["nonce"].as_str().expect("a nonce").parse().expect("32 bytes");
    nonce.0[31] = counter;
    let terms = Terms { amount: units, valid_for: 86_400, ..Terms::to(option["payTo"].as_str().expect("an address")) };
    let payer = &chain.payers[1];
    let signed = payer.authorize_with(&terms, nonce, payer.address().parse().expect("an address"));
    chain.send_as(&chain.payers[2].address(), &chain.usdc(), &signed.call(), 1_000_000).await
}

/// Waits until something has come late for an invoice.
async fn until_late(merchant: &Merchant<'_>, invoice: &Value) -> Value {
    eventually("a late transfer", PATIENCE, || async {
        let shown = merchant.show(invoice).await;
        (shown["amountLate"] != "0").then_some(shown)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_a_block_of_the_last_second_of_the_grace_pays_and_a_second_later_it_is_late() {
    let (chain, url, facilitator) = start_with_ledger().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    // Far enough away that no other clock has a part in this.
    let expiry = (Utc::now() + TimeDelta::hours(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let order = json!({"amount": "0.01", "expiresAt": expiry, "grace": 600});
    let (first, second) = (merchant.invoice(&order).await, merchant.invoice(&order).await);
    let closes_at = expiry.parse::<DateTime<Utc>>().expect("a time") + TimeDelta::minutes(10);
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    let send_at = async |invoice: &Value, at: DateTime<Utc>| {
        let transaction = send(&chain, invoice, 0, 10_000).await;
        chain.rpc("evm_setNextBlockTimestamp", json!([at.timestamp()])).await;
        chain.mine(1).await;
        assert_eq!(time_of(&chain, &transaction).await, at);
    };

    send_at(&first, closes_at).await;
    let paid = merchant.until(&first, "paid").await;
    send_at(&second, closes_at + TimeDelta::seconds(1)).await;
    let late = until_late(&merchant, &second).await;

    assert_eq!((&paid["amountPaid"], &paid["amountLate"]), (&json!("0.01"), &json!("0")), "{paid}");
    assert_eq!((&late["amountPaid"], &late["amountLate"]), (&json!("0"), &json!("0.01")), "{late}");
    assert_eq!(told(&url, &first).await, ["invoice.paid"]);
    assert_eq!(told(&url, &second).await, ["invoice.paid_late"]);
}

/// Has the time of an invoice end at a moment that may be over.
async fn end_at(url: &SecretString, invoice: &Value, at: DateTime<Utc>) {
    let id: quittance::domain::ids::InvoiceId = invoice["id"].as_str().expect("a name").parse().expect("an identifier");
    // The block of a second that is not over yet may be older than an invoice that was opened before it.
    let end = "UPDATE invoices SET created_at = created_at - interval '1 minute', expires_at = $2, closes_at = $2 WHERE id = $1";
    let end = sqlx::query(end).bind(id.uuid()).bind(at);
    end.execute(database::ledger(url).await.pool()).await.expect("the database answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_is_paid_in_part_when_its_time_is_over_stays_underpaid() {
    let (chain, url, facilitator) = start_with_ledger().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let order = json!({"amount": "1"});
    let (invoice, other) = (merchant.invoice(&order).await, merchant.invoice(&order).await);
    let part = send(&chain, &invoice, 0, 400_000).await;
    merchant.until(&invoice, "underpaid").await;
    let end = time_of(&chain, &part).await;

    end_at(&url, &invoice, end).await;
    end_at(&url, &other, end).await;
    // Both were over at the same time, and this one is told so.
    merchant.until(&other, "expired").await;
    let ended = merchant.show(&invoice).await;
    let amounts = |shown: &Value| ["status", "amountPaid", "amountDue", "amountLate"].map(|member| shown[member].clone());
    assert_eq!(amounts(&ended), ["underpaid", "0.4", "0.6", "0"], "{ended}");
    // Several blocks may be of one second.
    let newest = json!("latest");
    eventually("a later block", PATIENCE, || async { (time_of_block(&chain, &newest).await > end).then_some(()) }).await;
    send(&chain, &invoice, 1, 600_000).await;
    let late = until_late(&merchant, &invoice).await;

    assert_eq!(amounts(&late), ["underpaid", "0.4", "0.6", "0.6"], "{late}");
    assert_eq!(told(&url, &invoice).await, ["invoice.underpaid", "invoice.paid_late"]);
    assert_eq!(told(&url, &other).await, ["invoice.expired"]);
}
