//! Invoices that can be paid on several networks.

use serde_json::{Value, json};

use super::told;
use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay};

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_is_paid_by_parts_on_two_networks_whose_tokens_have_other_decimals() {
    let (base, sei) = (
        Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await,
        Chain::start(ChainOptions { chain_id: 1329, block_time: 0.25, ..ChainOptions::default() }).await,
    );
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
