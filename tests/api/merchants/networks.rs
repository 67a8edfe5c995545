//! Invoices that can be paid on several networks.

use serde_json::{Value, json};

use super::told;
use crate::queue::until_waiting;
use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay};

async fn chains() -> (Chain, Chain) {
    let first = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    (first, Chain::start(ChainOptions { chain_id: 1329, block_time: 0.25, ..ChainOptions::default() }).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_is_paid_by_parts_on_two_networks_whose_tokens_have_other_decimals() {
    let (base, sei) = chains().await;
    let url = database::fresh().await;
    // Nothing becomes final while this looks at it. How many places a token has is the operator's word.
    let lines = "final = 1000\n";
    let finer = format!("{lines}assets = [{{ address = {:?}, decimals = 8 }}]\n", sei.usdc());
    let mut options = Options::new(NetworkOptions { lines: lines.to_owned(), ..NetworkOptions::of(&base) }, &url);
    options.networks.push(NetworkOptions { lines: finer, ..NetworkOptions::of(&sei) });
    let facilitator = Facilitator::start(&options).await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&base.network(), &base.payers[0]).await;
    merchant.register(&sei.network(), &sei.payers[0]).await;
    let networks = json!([base.network(), sei.network()]);
    let invoice = merchant.invoice(&json!({"amount": "1", "networks": networks, "reserveAddress": true})).await;
    let asked = |invoice: &Value, chain: &Chain| {
        let options = invoice["options"].as_array().expect("options");
        let option = options.iter().find(|option| option["network"] == chain.network()).expect("an option");
        option["amount"].as_str().expect("a text").to_owned()
    };
    assert_eq!((asked(&invoice, &base), asked(&invoice, &sei)), ("1000000".to_owned(), "100000000".to_owned()));

    let first = pay(&base, &base.payers[1], &base.payers[0].address(), 400_000).await;
    let begun = merchant.until(&invoice, "underpaid").await;
    assert_eq!((&begun["amountPaid"], &begun["amountDue"]), (&json!("0.4"), &json!("0.6")), "{begun}");
    assert_eq!((asked(&begun, &base), asked(&begun, &sei)), ("600000".to_owned(), "60000000".to_owned()), "{begun}");
    let second = pay(&sei, &sei.payers[1], &sei.payers[0].address(), 60_000_000).await;
    let paid = merchant.until(&invoice, "paid").await;

    assert_eq!((&paid["amountPaid"], &paid["amountDue"], &paid["amountSurplus"]), (&json!("1"), &json!("0"), &json!("0")));
    let transfers = paid["transfers"].as_array().expect("transfers").iter();
    let mut parts: Vec<_> = transfers.map(|transfer| (transfer["network"].clone(), transfer["transaction"].clone())).collect();
    parts.sort_by_key(|(network, _)| *network != base.network());
    assert_eq!(parts, [(json!(base.network()), json!(first)), (json!(sei.network()), json!(second))], "{paid}");
    assert_eq!(told(&url, &invoice).await, ["invoice.underpaid", "invoice.paid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_networks_that_guess_the_same_invoice_at_once_one_credits_it() {
    let (base, sei) = chains().await;
    let url = database::fresh().await;
    let mut options = Options::new(NetworkOptions::of(&base), &url);
    options.networks.push(NetworkOptions::of(&sei));
    let facilitator = Facilitator::start(&options).await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&base.network(), &base.payers[0]).await;
    merchant.register(&sei.network(), &sei.payers[0]).await;
    let networks = json!([base.network(), sei.network()]);
    let invoice = merchant.invoice(&json!({"amount": "0.7", "networks": networks, "matchAmount": true})).await;
    // Both watchers have chosen the invoice when they come to the lock on it.
    let ledger = database::ledger(&url).await;
    let mut held = ledger.pool().begin().await.expect("the database answers");
    sqlx::query("SELECT FROM invoices FOR UPDATE").execute(&mut *held).await.expect("it is there");

    let transactions = [
        pay(&base, &base.payers[1], &base.payers[0].address(), 700_000).await,
        pay(&sei, &sei.payers[1], &sei.payers[0].address(), 700_000).await,
    ];
    until_waiting(&ledger, 2).await;
    held.commit().await.expect("the database answers");

    let mut matched = Vec::new();
    for transaction in &transactions {
        matched.push(merchant.until_transfer(transaction).await["matched"] == true);
    }
    matched.sort_unstable();
    assert_eq!(matched, [false, true]);
    let paid = merchant.until(&invoice, "paid").await;
    assert_eq!((&paid["amountPaid"], &paid["amountSurplus"]), (&json!("0.7"), &json!("0")), "{paid}");
    assert_eq!(paid["transfers"].as_array().map(Vec::len), Some(1), "{paid}");
}
