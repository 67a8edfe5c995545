//! Which invoice a transfer pays where addresses change hands, amounts are alike, and invoices are called off.

use alloy::primitives::B256;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use quittance::domain::address::Address;
use quittance::domain::amount::Amount;
use quittance::domain::network::Network;
use quittance::domain::transfer::Transfer;
use quittance::ledger::invoices;
use quittance::ledger::transfers::Kept;
use secrecy::SecretString;
use serde_json::json;

use super::{PATIENCE, start, start_with_ledger, told};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay, sign};
use crate::support::payer::{Terms, transfer_call};
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

    let terms = &reserved["accepts"][0];
    let mut body = chain.payers[5].authorize(&Terms { amount: 500_000, ..Terms::to(&taken.address()) }).v2();
    body["paymentRequirements"] = terms.clone();
    body["paymentPayload"]["accepted"] = terms.clone();
    let verdicts = (facilitator.verify(&body).await.1, facilitator.settle(&body).await.1);
    let told = (&verdicts.0["invalidReason"], &verdicts.1["errorReason"]);
    let expected = json!("invalid_payment_requirements");
    assert_eq!(told, (&expected, &expected), "the money would be another account's: {verdicts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_amount_is_as_ambiguous_as_it_is_behind_invoices_that_are_not_meant() {
    let (chain, url, facilitator) = start_with_ledger().await;
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
    let (chain, url, facilitator) = start_with_ledger().await;
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
async fn a_payment_begins_its_invoice_for_what_a_wallet_sends_in_the_same_block() {
    let chain = Chain::start(ChainOptions::default()).await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database::fresh().await)).await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.01", "matchAmount": true})).await;
    let address = chain.payers[0].address();
    chain.rpc("evm_setIntervalMining", json!([0])).await;

    let call = transfer_call(&address, 10_000);
    let plain = chain.send_as(&chain.payers[2].address(), &chain.usdc(), &call, 1_000_000).await;
    let mut body = chain.payers[1].authorize(&Terms::to(&address)).v2();
    body["paymentRequirements"] = invoice["accepts"][0].clone();
    body["paymentPayload"]["accepted"] = invoice["accepts"][0].clone();
    let caller = facilitator.caller();
    let asked = tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await });
    eventually("both in the pool", PATIENCE, || async { (chain.pooled().await == 2).then_some(()) }).await;
    chain.mine(1).await;
    let answer = asked.await.expect("no panic");
    let (beside, settled) = (chain.receipt(&plain).await, answer["transaction"].as_str().expect("a transaction"));
    assert_eq!(chain.receipt(settled).await["blockHash"], beside["blockHash"], "they stand in one block");

    assert_eq!(merchant.until_transfer(&plain).await["matched"], false);
    let paid = merchant.until(&invoice, "paid").await;
    assert_eq!(paid["transfers"].as_array().map(Vec::len), Some(1), "{paid}");
    assert_eq!((&paid["transfers"][0]["basis"], &paid["amountSurplus"]), (&json!("payment"), &json!("0")), "{paid}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dust_begins_no_invoice_unless_the_merchant_says_so() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.5", "reserveAddress": true})).await;

    let transaction = pay(&chain, &chain.payers[1], &chain.payers[0].address(), 99).await;
    let dust = merchant.until_transfer(&transaction).await;
    assert_eq!((&dust["matched"], &merchant.show(&invoice).await["status"]), (&json!(false), &json!("open")), "{dust}");
    let path = format!("/v1/transfers/{}/assign", dust["id"].as_str().expect("a name"));
    assert_eq!(merchant.post(&path, &json!({"invoice": invoice["id"]})).await.0, 200);
    assert_eq!(merchant.show(&invoice).await["amountPaid"], "0.000099");
}

/// The invoices that a transfer to an address may pay in a block of some time.
async fn candidates(url: &SecretString, chain: &Chain, merchant: &Merchant<'_>, at: DateTime<Utc>) -> Vec<String> {
    let network: Network = chain.network().parse().expect("a network");
    let address = |text: &str| Address::parse(network.family(), text).expect("an address");
    let transfer = Transfer {
        transaction: "0x01".to_owned(),
        index: 0,
        asset: address(&chain.usdc()),
        from: address(&chain.payers[1].address()),
        to: address(&chain.payers[0].address()),
        amount: Some(Amount::new(1_000)),
        marks: Vec::new(),
    };
    let kept = Kept { transfer: &transfer, owner: Some(merchant.id().parse().expect("an identifier")) };
    let ledger = database::ledger(url).await;
    let mut db = ledger.begin().await.expect("the database answers");
    let found = invoices::candidates(&mut db, &network, at, &[kept]).await.expect("the database answers");
    found.of(0).into_iter().map(|candidate| candidate.invoice.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_that_an_address_was_kept_for_only_the_invoice_of_the_time_is_looked_at() {
    let (chain, url, facilitator) = start_with_ledger().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let ledger = database::ledger(&url).await;
    let mut kept_for = Vec::new();
    for age in [8, 6, 4, 2, 0] {
        let invoice = merchant.invoice(&json!({"amount": "1", "reserveAddress": true})).await;
        let name = invoice["id"].as_str().expect("a name").to_owned();
        let id: quittance::domain::ids::InvoiceId = name.parse().expect("an identifier");
        for aged in [
            "UPDATE invoices SET created_at = created_at - $2, expires_at = expires_at - $2, closes_at = closes_at - $2 WHERE id = $1",
            "UPDATE invoice_options SET reserved_until = reserved_until - $2 WHERE invoice_id = $1",
            "UPDATE addresses SET reserved_until = reserved_until - $2 WHERE reserved_for = $1",
        ] {
            let statement = sqlx::query(aged).bind(id.uuid()).bind(TimeDelta::hours(age));
            statement.execute(ledger.pool()).await.expect("the database answers");
        }
        kept_for.push((age, name));
    }

    for (age, name) in kept_for {
        let at = Utc::now() - TimeDelta::hours(age) + TimeDelta::minutes(5);
        assert_eq!(candidates(&url, &chain, &merchant, at).await, [name], "{age} hours ago");
    }
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

/// What comes to an address that was kept for an invoice was meant for it, also when it has been called off meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_stays_kept_for_its_time_though_its_invoice_is_called_off() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let order = json!({"amount": "0.5", "reserveAddress": true});
    let invoice = merchant.invoice(&order).await;
    let path = format!("/v1/invoices/{}/cancel", invoice["id"].as_str().expect("a name"));
    assert_eq!(merchant.post(&path, &json!({})).await.1["status"], "canceled");

    let (status, problem) = merchant.post("/v1/invoices", &order).await;
    assert_eq!((status, &problem["code"]), (422, &json!("no_address")), "{problem}");
    let transaction = pay(&chain, &chain.payers[1], &chain.payers[0].address(), 500_000).await;
    let transfer = merchant.until_transfer(&transaction).await;

    assert_eq!((&transfer["matched"], &merchant.show(&invoice).await["amountLate"]), (&json!(false), &json!("0")), "{transfer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_settled_a_payment_that_named_no_invoice_can_be_assigned_to_one() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.01"})).await;
    let nonce = invoice["options"][0]["nonce"].as_str().expect("a nonce").parse().expect("32 bytes");
    let payer = &chain.payers[1];
    let terms = Terms::to(&chain.payers[0].address());
    let signed = payer.authorize_with(&terms, nonce, payer.address().parse().expect("an address"));
    let (_, settled) = facilitator.settle(&signed.v2()).await;
    assert_eq!(settled["success"], true, "{settled}");
    let transfer = merchant.until_transfer(settled["transaction"].as_str().expect("a transaction")).await;
    assert_eq!((&transfer["payment"], transfer.get("invoice")), (&settled["extra"]["paymentId"], None), "{transfer}");

    let path = format!("/v1/transfers/{}/assign", transfer["id"].as_str().expect("a name"));
    let (status, assigned) = merchant.post(&path, &json!({"invoice": invoice["id"]})).await;

    assert_eq!(status, 200, "{assigned}");
    let paid = merchant.show(&invoice).await;
    let credit = &paid["transfers"][0];
    let told = (&paid["status"], &credit["basis"], &credit["payment"]);
    assert_eq!(told, (&json!("paid"), &json!("assigned"), &settled["extra"]["paymentId"]), "{paid}");
    assert_eq!(merchant.post(&path, &json!({"invoice": invoice["id"]})).await.0, 409, "it pays one invoice");
    assert_eq!(facilitator.settle(&signed.v2()).await.1["errorReason"], "duplicate_settlement");
}
