//! Which invoice a transfer pays where addresses change hands, amounts are alike, and invoices are called off.

use alloy::primitives::B256;
use futures_util::future::join_all;
use serde_json::json;

use super::{PATIENCE, start, told};
use crate::support::chain::{Chain, ChainOptions, hex};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay, sign};
use crate::support::payer::{Terms, spread_call};
use crate::support::{database, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_of_the_owner_before_takes_nothing_from_the_owner_after() {
    let (chain, facilitator) = start().await;
    let (before, after) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
    let (network, taken) = (chain.network(), &chain.payers[3]);
    let signatory = before.register(&network, &chain.payers[0]).await;
    let list = json!({"network": network, "addresses": [taken.address()], "signedBy": signatory});
    let (_, listed) = before.post("/v1/address-lists", &list).await;
    let path = format!("/v1/address-lists/{}/proof", listed["id"].as_str().expect("a name"));
    let proof = json!({"signature": sign(&chain.payers[0], listed["challenge"].as_str().expect("a challenge"))});
    assert_eq!(before.post(&path, &proof).await.0, 200);
    let (_, page) = before.get("/v1/addresses").await;
    let places = page["addresses"].as_array().expect("addresses");
    let place = places.iter().find(|place| place["address"] == taken.address()).expect("it is on the list");
    let reserved = before.invoice(&json!({"amount": "0.5", "reserveAddress": true, "addresses": [place["id"]]})).await;
    after.register(&network, taken).await;
    let own = after.invoice(&json!({"amount": "0.5", "matchAmount": true})).await;

    let stray = pay(&chain, &chain.payers[5], &taken.address(), 400_000).await;
    assert_eq!(after.until_transfer(&stray).await["matched"], false);
    pay(&chain, &chain.payers[5], &taken.address(), 500_000).await;
    assert_eq!(after.until(&own, "paid").await["transfers"][0]["basis"], "amount");
    let shown = before.show(&reserved).await;
    assert_eq!((&shown["status"], &shown["transfers"]), (&json!("open"), &json!([])), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_is_as_ambiguous_as_it_is_behind_invoices_that_are_not_meant() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &url)).await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let order = json!({"amount": "0.5", "matchAmount": true, "expiresIn": 86_400});
    let made_later = merchant.invoice(&order).await;
    let id: quittance::domain::ids::InvoiceId = made_later["id"].as_str().expect("a name").parse().expect("an identifier");
    let later = "UPDATE invoices SET created_at = created_at + interval '12 hours' WHERE id = $1";
    sqlx::query(later).bind(id.uuid()).execute(database::ledger(&url).await.pool()).await.expect("the database answers");
    let alike = [merchant.invoice(&order).await, merchant.invoice(&order).await];

    let transaction = pay(&chain, &chain.payers[1], &chain.payers[0].address(), 500_000).await;
    assert_eq!(merchant.until_transfer(&transaction).await["matched"], false);
    for invoice in &alike {
        assert_eq!(merchant.show(invoice).await["status"], "open");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_either_kept_for_one_invoice_or_there_for_others() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let orders = [true, false].map(|reserve| json!({"amount": "1", "reserveAddress": reserve}));

    let merchant = &merchant;
    let asked = orders.iter().cycle().take(16).map(|order| async move { (order, merchant.post("/v1/invoices", order).await.0) });
    let opened: Vec<_> = join_all(asked).await.into_iter().filter(|(_, status)| *status == 201).map(|(order, _)| order).collect();
    let kept = opened.iter().filter(|order| order["reserveAddress"] == true).count();
    assert!((kept, opened.len()) == (1, 1) || (kept == 0 && opened.len() == 8), "{opened:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_not_kept_while_an_invoice_waits_there_for_the_rest() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let begun = merchant.invoice(&json!({"amount": "1"})).await;
    let transaction = pay(&chain, &chain.payers[1], &chain.payers[0].address(), 400_000).await;
    let transfer = merchant.until_transfer(&transaction).await;
    let path = format!("/v1/transfers/{}/assign", transfer["id"].as_str().expect("a name"));
    assert_eq!(merchant.post(&path, &json!({"invoice": begun["id"]})).await.0, 200);
    assert_eq!(merchant.show(&begun).await["status"], "underpaid");

    let (status, problem) = merchant.post("/v1/invoices", &json!({"amount": "2", "reserveAddress": true})).await;
    assert_eq!((status, &problem["code"]), (422, &json!("no_address")), "{problem}");
    merchant.invoice(&json!({"amount": "2"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_an_invoice_that_was_called_off_is_late_and_told() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &url)).await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.01"})).await;
    let nonce: B256 = invoice["options"][0]["nonce"].as_str().expect("a nonce").parse().expect("32 bytes");
    let path = format!("/v1/invoices/{}/cancel", invoice["id"].as_str().expect("a name"));
    assert_eq!(merchant.post(&path, &json!({})).await.1["status"], "canceled");

    let payer = &chain.payers[1];
    let signed =
        payer.authorize_with(&Terms::to(&chain.payers[0].address()), nonce, payer.address().parse().expect("an address"));
    chain.send_as(&chain.payers[2].address(), &chain.usdc(), &signed.call(), 1_000_000).await;
    let late = eventually("a late transfer", PATIENCE, || async {
        let shown = merchant.show(&invoice).await;
        (shown["amountLate"] != "0").then_some(shown)
    })
    .await;

    let amounts = (&late["status"], &late["amountLate"], &late["amountPaid"]);
    assert_eq!(amounts, (&json!("canceled"), &json!("0.01"), &json!("0")), "{late}");
    assert_eq!(told(&url, &invoice).await, ["invoice.canceled", "invoice.paid_late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_transfers_of_one_transaction_that_were_given_to_an_invoice_stay_with_it_in_another_block() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.5"})).await;
    let (address, multicall, sender) = (chain.payers[0].address(), chain.text("/multicall3"), chain.payers[2].address());
    pay(&chain, &chain.payers[1], &multicall, 500_000).await;
    // So deep that it stays when the blocks behind it are replaced.
    chain.mine(5).await;
    let parts = spread_call(&chain.usdc(), &[(address.clone(), 200_000), (address, 300_000)]);
    let parts = alloy::hex::encode_prefixed(parts);
    let send = || chain.send_as(&sender, &multicall, &parts, 1_000_000);

    let transaction = send().await;
    merchant.until_transfer(&transaction).await;
    for transfer in merchant.transfers().await {
        let path = format!("/v1/transfers/{}/assign", transfer["id"].as_str().expect("a name"));
        assert_eq!(merchant.post(&path, &json!({"invoice": invoice["id"]})).await.0, 200, "{transfer}");
    }
    merchant.until(&invoice, "paid").await;
    let depth = chain.height().await + 1 - hex(&chain.receipt(&transaction).await["blockNumber"]);
    chain.rpc("anvil_reorg", json!([depth + 1, []])).await;
    merchant.until(&invoice, "open").await;
    assert_eq!(send().await, transaction, "it is the same transaction");
    let paid = merchant.until(&invoice, "paid").await;

    let transfers = paid["transfers"].as_array().expect("transfers");
    assert_eq!(transfers.len(), 2, "{paid}");
    assert!(transfers.iter().all(|transfer| transfer["basis"] == "assigned"), "{paid}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_asks_for_as_much_depth_as_the_operator_or_more() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let network = NetworkOptions { lines: "answer_at = \"safe\"\n".to_owned(), ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;

    for (wanted, given) in [(None, "safe"), (Some("included"), "safe"), (Some("safe"), "safe"), (Some("final"), "final")] {
        let invoice = merchant.invoice(&json!({"amount": "1", "answerAt": wanted})).await;
        assert_eq!(invoice["answerAt"], given, "{wanted:?}");
    }
}
