//! Which of an account's addresses an order is paid at.

use quittance::domain::ids::AccountId;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{start, start_with_ledger};
use crate::support::database;
use crate::support::merchant::Merchant;

/// Ten thousand addresses of an account, named by their numbers: up to 4000 they are kept for other invoices, the two newest were never
/// kept, and of the others 7777 was kept longest ago.
const MANY: &str = "
    INSERT INTO addresses (id, account_id, network, address, created_at, challenged_until, proven_at, proof, reserved_for, reserved_until)
    SELECT lpad(n::text, 32, '0')::uuid, $1, $2, '0x' || lpad(n::text, 40, '0'), now(), now(), now(), 'signature',
           CASE WHEN n <= 9998 THEN $1 END,
           CASE WHEN n <= 4000 THEN now() + interval '1 hour'
                WHEN n = 7777 THEN now() - interval '1 year'
                WHEN n <= 9998 THEN now() - make_interval(mins => n) END
    FROM generate_series(1, 10000) AS n";

/// Our name for one of them.
fn name(number: u32) -> String {
    format!("adr_{number:032}")
}

/// The numbers of the addresses at which an invoice can be paid.
fn places(invoice: &Value) -> Vec<u32> {
    let options = invoice["options"].as_array().expect("options").iter();
    options.map(|option| option["payTo"].as_str().expect("an address")[2..].parse().expect("digits only")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_thousand_addresses_an_order_gets_the_one_that_was_free_for_longest() {
    let (chain, url, facilitator) = start_with_ledger().await;
    let merchant = Merchant::open(&facilitator).await;
    let account: AccountId = merchant.id().parse().expect("an identifier");
    let ledger = database::ledger(&url).await;
    let many = sqlx::query(MANY).bind(account.uuid()).bind(chain.network()).execute(ledger.pool()).await;
    assert_eq!(many.expect("they fit").rows_affected(), 10_000);
    let order = async |more: Value| {
        let mut order = json!({"amount": "1"});
        order.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        merchant.post("/v1/invoices", &order).await
    };
    let placed = async |more: Value| {
        let (status, invoice) = order(more).await;
        assert_eq!(status, 201, "{invoice}");
        places(&invoice)
    };

    assert_eq!(placed(json!({})).await, [9999], "the older of those that were never kept");
    assert_eq!(placed(json!({})).await, [9999], "as long as it is not kept, it serves again and again");
    assert_eq!(placed(json!({"reserveAddress": true})).await, [10_000], "somebody is to pay at the older one");
    assert_eq!(placed(json!({"reserveAddress": true})).await, [7777], "the one that was given back longest ago");
    assert_eq!(placed(json!({"reserveAddress": true})).await, [9998], "and the next one");
    assert_eq!(placed(json!({"addresses": [name(6000), name(5000)]})).await, [5000, 6000]);
    let kept_and_awaited = json!({"addresses": [name(5000), name(5001)], "reserveAddress": true});
    assert_eq!(placed(kept_and_awaited).await, [5001], "somebody is to pay at the other one");
    for (named, code) in [(name(1), "invalid_invoice"), (name(7777), "invalid_invoice")] {
        let (status, problem) = order(json!({"addresses": [named]})).await;
        assert_eq!((status, &problem["code"]), (422, &json!(code)), "it is kept for another invoice: {problem}");
    }
    let (status, problem) = order(json!({"addresses": [name(5000)], "reserveAddress": true})).await;
    assert_eq!((status, &problem["code"]), (422, &json!("no_address")), "{problem}");

    // Somebody has begun to pay at an address: the invoice is not open any more, and still waits.
    let begun = format!(
        "WITH begun AS (UPDATE invoice_options SET open = false WHERE pay_to = '0x{:040}' RETURNING invoice_id)
         UPDATE invoices SET told_status = 'underpaid' WHERE id IN (SELECT invoice_id FROM begun)",
        9999
    );
    sqlx::query(AssertSqlSafe(begun)).execute(ledger.pool()).await.expect("the database answers");
    assert_eq!(placed(json!({"reserveAddress": true})).await, [9997]);
    let over = "UPDATE invoices SET told_status = 'paid' WHERE told_status = 'underpaid'";
    sqlx::query(over).execute(ledger.pool()).await.expect("the database answers");
    assert_eq!(placed(json!({"reserveAddress": true})).await, [9999]);
    let all = "UPDATE addresses SET reserved_for = $1, reserved_until = now() + interval '1 hour'";
    sqlx::query(all).bind(Uuid::nil()).execute(ledger.pool()).await.expect("the database answers");
    assert_eq!(order(json!({})).await.1["code"], "no_address");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_names_no_more_places_than_its_invoice_can_offer() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    let place = merchant.register(&chain.network(), &chain.payers[0]).await;

    for (member, name) in [("networks", &chain.network()), ("addresses", &place)] {
        let order = |count: usize| json!({"amount": "1", member: vec![name; count]});
        let invoice = merchant.invoice(&order(32)).await;
        assert_eq!(invoice["options"].as_array().map(Vec::len), Some(1), "named twice, it is there once: {invoice}");
        let (status, problem) = merchant.post("/v1/invoices", &order(33)).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid_invoice")), "{problem}");
        assert_eq!(problem["detail"], format!("{member}: at most 32"));
    }
}
