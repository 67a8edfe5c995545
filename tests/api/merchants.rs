//! Merchants: their addresses, their invoices, and what wallets send them.

use std::time::Duration;

use alloy::primitives::B256;
use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay, sign, told};
use crate::support::payer::{Payer, Terms};
use crate::support::receiver::{Received, Receiver};
use crate::support::{database, eventually};

mod addresses;
mod at_once;
mod choosing;
mod depth;
mod ending;
mod listing;
mod lists;
mod matching;
mod networks;
mod raising;
mod reorg;
mod requests;
mod under_way;

const PATIENCE: Duration = Duration::from_secs(30);

async fn start() -> (Chain, Facilitator) {
    let (chain, _, facilitator) = start_with_ledger().await;
    (chain, facilitator)
}

/// The same with the URL of the ledger. Webhooks reach this machine.
async fn start_with_ledger() -> (Chain, secrecy::SecretString, Facilitator) {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let mut options = Options::new(NetworkOptions::of(&chain), &url);
    options.server.push_str("\n[webhooks]\nallow_private = true\n");
    let facilitator = Facilitator::start(&options).await;
    (chain, url, facilitator)
}

fn units(decimal: &Value) -> u128 {
    quittance::domain::amount::Amount::from_decimal(decimal.as_str().expect("a text"), 6).expect("an amount").units()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_a_merchants_once_its_owner_has_signed() {
    let (chain, facilitator) = start().await;
    let (network, owner, stranger) = (chain.network(), &chain.payers[0], &chain.payers[1]);
    let (first, second) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
    let wanted = json!({"network": network, "address": owner.address()});
    let (status, address) = first.post("/v1/addresses", &wanted).await;
    assert_eq!((status, &address["status"]), (201, &json!("challenged")), "{address}");
    let (path, challenge) =
        (format!("/v1/addresses/{}", address["id"].as_str().unwrap()), address["challenge"].as_str().unwrap());
    assert!(challenge.contains(&owner.address()) && challenge.contains(&facilitator.url), "{challenge}");

    for (signature, code) in [
        (sign(stranger, challenge), "invalid_signature"),
        (sign(owner, &format!("{challenge} ")), "invalid_signature"),
        ("0x00".to_owned(), "invalid_signature"),
    ] {
        let (status, problem) = first.post(&format!("{path}/proof"), &json!({"signature": signature})).await;
        assert_eq!((status, &problem["code"]), (422, &json!(code)), "{problem}");
    }
    let signature = json!({"signature": sign(owner, challenge)});
    assert_eq!(second.post(&format!("{path}/proof"), &signature).await.0, 404, "it is another account's challenge");
    let (status, proven) = first.post(&format!("{path}/proof"), &signature).await;
    assert_eq!((status, &proven["status"], &proven["proof"]), (200, &json!("active"), &json!("signature")), "{proven}");

    // Another account gets a challenge, too, but cannot take what its owner has signed for.
    let (status, rival) = second.post("/v1/addresses", &wanted).await;
    assert_eq!(status, 201, "{rival}");
    let rival_path = format!("/v1/addresses/{}", rival["id"].as_str().unwrap());
    let rival_proof = json!({"signature": sign(owner, rival["challenge"].as_str().unwrap())});
    let (status, problem) = second.post(&format!("{rival_path}/proof"), &rival_proof).await;
    assert_eq!((status, &problem["code"]), (422, &json!("address_taken")), "{problem}");
    assert_eq!(first.post("/v1/addresses", &wanted).await.0, 409, "it is the account's already");
    assert_eq!(second.get(&path).await.0, 404);
    assert_eq!(second.send("DELETE", &path, None, None).await.0, 404);

    assert_eq!(first.send("DELETE", &path, None, None).await.0, 200);
    let (status, won) = second.post(&format!("{rival_path}/proof"), &rival_proof).await;
    assert_eq!((status, &won["status"]), (200, &json!("active")), "{won}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_not_removed_while_an_invoice_waits_to_be_paid_there() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    for is_reserved in [false, true] {
        let address = merchant.register(&chain.network(), &chain.payers[0]).await;
        let path = format!("/v1/addresses/{address}");
        let invoice = merchant.invoice(&json!({"amount": "1", "reserveAddress": is_reserved})).await;

        let (status, problem) = merchant.send("DELETE", &path, None, None).await;
        assert_eq!((status, &problem["code"]), (409, &json!("address_awaited")), "{problem}");
        let cancel = format!("/v1/invoices/{}/cancel", invoice["id"].as_str().expect("a name"));
        assert_eq!(merchant.post(&cancel, &json!({})).await.0, 200);
        // What is sent to a reserved one is meant for its invoice until its time is over.
        let removed = if is_reserved { 409 } else { 200 };
        assert_eq!(merchant.send("DELETE", &path, None, None).await.0, removed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_transfer_pays_the_invoice_that_an_address_is_reserved_for() {
    let (chain, url, facilitator) = start_with_ledger().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.25", "reserveAddress": true})).await;
    assert_eq!((&invoice["status"], &invoice["amountDue"]), (&json!("open"), &json!("0.25")));
    // Nobody else can have the address meanwhile.
    let (status, problem) = merchant.post("/v1/invoices", &json!({"amount": "1"})).await;
    assert_eq!((status, &problem["code"]), (422, &json!("no_address")), "{problem}");

    let half = pay(&chain, &chain.payers[1], &chain.payers[0].address(), 100_000).await;
    let begun = merchant.until(&invoice, "underpaid").await;
    assert_eq!((&begun["amountPaid"], &begun["amountDue"]), (&json!("0.1"), &json!("0.15")), "{begun}");
    pay(&chain, &chain.payers[2], &chain.payers[0].address(), 160_000).await;
    let paid = merchant.until(&invoice, "paid").await;

    assert_eq!((units(&paid["amountPaid"]), units(&paid["amountSurplus"]), units(&paid["amountDue"])), (260_000, 10_000, 0));
    let transfers = paid["transfers"].as_array().expect("transfers");
    assert_eq!(transfers.len(), 2);
    assert!(transfers.iter().any(|transfer| transfer["transaction"] == half && transfer["basis"] == "reserved"), "{paid}");
    assert_eq!(told(&url, &invoice).await, ["invoice.underpaid", "invoice.paid", "invoice.overpaid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_could_be_for_anything_is_left_to_the_merchant() {
    let (chain, facilitator) = start().await;
    let (merchant, rival) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let address = chain.payers[0].address();
    let (first, second) = (merchant.invoice(&json!({"amount": "0.5"})).await, merchant.invoice(&json!({"amount": "0.5"})).await);

    let transaction = pay(&chain, &chain.payers[1], &address, 500_000).await;
    let transfer = merchant.until_transfer(&transaction).await;
    assert_eq!((&transfer["matched"], &transfer["amount"]), (&json!(false), &json!("500000")), "{transfer}");
    assert_eq!(merchant.show(&first).await["status"], "open");
    let path = format!("/v1/transfers/{}/assign", transfer["id"].as_str().unwrap());
    let wish = json!({"invoice": second["id"]});
    assert_eq!(rival.post(&path, &wish).await.0, 404, "it is another account's");
    let (status, assigned) = merchant.post(&path, &wish).await;
    assert_eq!(status, 200, "{assigned}");

    assert_eq!(merchant.show(&second).await["status"], "paid");
    assert_eq!(merchant.show(&first).await["status"], "open");
    let (status, problem) = merchant.post(&path, &json!({"invoice": first["id"]})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("transfer_not_free")), "{problem}");
    assert_eq!(merchant.get("/v1/transfers?matched=false").await.1["transfers"], json!([]));
    assert_eq!(rival.get("/v1/transfers").await.1["transfers"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_or_an_amount_names_an_invoice_only_where_it_is_clear() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let (address, payer) = (chain.payers[0].address(), &chain.payers[1]);
    let named = merchant.invoice(&json!({"amount": "0.3", "payer": payer.address()})).await;
    let wanted = merchant.invoice(&json!({"amount": "0.7", "matchAmount": true})).await;

    let stranger = pay(&chain, &chain.payers[2], &address, 300_000).await;
    assert_eq!(merchant.until_transfer(&stranger).await["matched"], false, "another one pays");
    pay(&chain, payer, &address, 300_000).await;
    assert_eq!(merchant.until(&named, "paid").await["transfers"][0]["basis"], "payer");
    pay(&chain, &chain.payers[3], &address, 700_000).await;
    assert_eq!(merchant.until(&wanted, "paid").await["transfers"][0]["basis"], "amount");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorization_with_the_invoices_nonce_pays_it_unless_it_was_settled_for_something_else() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.02"})).await;
    let nonce = &invoice["options"][0]["nonce"];
    let nonce: B256 = nonce.as_str().expect("a nonce").parse().expect("32 bytes");
    let (mut other, mut another) = (nonce, nonce);
    (other.0[31], another.0[31]) = (7, 8);
    let payer = &chain.payers[1];
    let authorize = |nonce, amount| {
        let terms = Terms { amount, ..Terms::to(&chain.payers[0].address()) };
        payer.authorize_with(&terms, nonce, payer.address().parse().expect("an address"))
    };

    // A stranger lands the first, and we settle the second, which was asked for something else.
    let (first, second) = (authorize(nonce, 15_000), authorize(other, 5_000));
    let landed = chain.send_as(&chain.payers[2].address(), &chain.usdc(), &first.call(), 1_000_000).await;
    chain.receipt(&landed).await;
    merchant.until(&invoice, "underpaid").await;
    assert_eq!(facilitator.settle(&second.v2()).await.1["success"], true);
    let third = authorize(another, 5_000);
    let landed = chain.send_as(&chain.payers[2].address(), &chain.usdc(), &third.call(), 1_000_000).await;
    let paid = merchant.until(&invoice, "paid").await;

    let transfers = paid["transfers"].as_array().expect("transfers");
    assert_eq!(paid["amountSurplus"], "0", "what bought something else paid nothing here: {paid}");
    assert_eq!(transfers.len(), 2, "{paid}");
    assert!(transfers.iter().all(|transfer| transfer["basis"] == "reference"), "{paid}");
    assert!(transfers.iter().any(|transfer| transfer["transaction"] == landed), "{paid}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_x402_payment_that_names_an_invoice_pays_it() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.01"})).await;
    let accepts = &invoice["paymentRequired"]["accepts"][0];
    let body = |terms: &Value, payer: &Payer| {
        let signed = payer.authorize(&Terms::to(&chain.payers[0].address()));
        let mut body = signed.v2();
        body["paymentRequirements"] = terms.clone();
        body["paymentPayload"]["accepted"] = terms.clone();
        body
    };

    let mut foreign = accepts.clone();
    foreign["extra"]["invoice"] = json!("inv_00000000000070008000000000000000");
    let (_, refused) = facilitator.verify(&body(&foreign, &chain.payers[1])).await;
    assert_eq!(refused["invalidReason"], "invalid_payment_requirements", "{refused}");
    let (_, settled) = facilitator.settle(&body(accepts, &chain.payers[1])).await;
    assert_eq!(settled["success"], true, "{settled}");
    let paid = merchant.until(&invoice, "paid").await;

    let transfer = &paid["transfers"][0];
    assert_eq!((&transfer["basis"], &transfer["payment"]), (&json!("payment"), &settled["extra"]["paymentId"]), "{paid}");
    let (_, again) = facilitator.verify(&body(accepts, &chain.payers[1])).await;
    assert_eq!(again["invalidReason"], "invalid_payment_requirements", "it is paid: {again}");
    let (_, settled) = facilitator.settle(&body(accepts, &chain.payers[2])).await;
    assert_eq!(settled["errorReason"], "invalid_payment_requirements", "nobody pays twice: {settled}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_reaches_every_status_and_each_change_is_told_once() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let network = NetworkOptions::of(&chain);
    // Final and safe after six blocks, so that a transfer is seen before it counts.
    let network = NetworkOptions { lines: "final = 6\n".to_owned(), ..network };
    let facilitator = Facilitator::start(&Options::new(network, &url)).await;
    let merchant = Merchant::open(&facilitator).await;
    for owner in [0, 1, 2] {
        merchant.register(&chain.network(), &chain.payers[owner]).await;
    }
    let (network, payer) = (chain.network(), &chain.payers[5]);
    let (_, page) = merchant.get("/v1/addresses").await;
    let place = |index: usize| json!([page["addresses"][index]["id"]]);
    let deep = merchant
        .invoice(
            &json!({"amount": "1", "reserveAddress": true, "addresses": place(0), "answerAt": "safe", "networks": [network]}),
        )
        .await;
    let short =
        merchant.invoice(&json!({"amount": "1", "reserveAddress": true, "addresses": place(1), "tolerance": "0.1"})).await;
    let dropped = merchant.invoice(&json!({"amount": "1", "reserveAddress": true, "addresses": place(2)})).await;

    pay(&chain, payer, &chain.payers[0].address(), 1_000_000).await;
    let seen = merchant.until(&deep, "seen").await;
    assert_eq!((&seen["amountPending"], &seen["amountDue"]), (&json!("1"), &json!("0")), "{seen}");
    // Safe is final here, so it is both at once.
    merchant.until(&deep, "final").await;
    pay(&chain, payer, &chain.payers[1].address(), 850_000).await;
    let begun = merchant.until(&short, "underpaid").await;
    let asked = (&begun["accepts"][0]["amount"], &begun["headers"]["X-Payment-Amount"]);
    assert_eq!(asked, (&json!("150000"), &json!("0.15")), "what has come is not asked for again: {begun}");
    let (option, link) = (&begun["options"][0], &begun["options"][0]["eip681"]);
    assert_eq!(option["amount"], "150000", "{option}");
    assert!(link.as_str().is_some_and(|link| link.ends_with("uint256=150000")), "{link}");
    pay(&chain, payer, &chain.payers[1].address(), 50_000).await;
    let paid = merchant.until(&short, "paid").await;
    assert_eq!((&paid["accepts"], &paid["headers"]), (&json!([]), &json!({})), "nothing is asked for: {paid}");
    assert_eq!(paid["options"][0]["amount"], "0", "{paid}");
    merchant.until(&short, "final").await;
    let path = format!("/v1/invoices/{}/cancel", dropped["id"].as_str().unwrap());
    assert_eq!(merchant.post(&path, &json!({})).await.1["status"], "canceled");
    let (status, problem) = merchant.post(&format!("/v1/invoices/{}/cancel", short["id"].as_str().unwrap()), &json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("invoice_begun")), "{problem}");

    assert_eq!(told(&url, &deep).await, ["invoice.seen", "invoice.paid", "invoice.finalized"]);
    assert_eq!(told(&url, &short).await, ["invoice.underpaid", "invoice.paid", "invoice.finalized"]);
    assert_eq!(told(&url, &dropped).await, ["invoice.canceled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_the_time_is_late_and_pays_nothing() {
    let (chain, url, facilitator) = start_with_ledger().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.01", "expiresIn": 5, "grace": 0})).await;
    let nonce: B256 = invoice["options"][0]["nonce"].as_str().expect("a nonce").parse().expect("32 bytes");

    merchant.until(&invoice, "expired").await;
    let payer = &chain.payers[1];
    let signed =
        payer.authorize_with(&Terms::to(&chain.payers[0].address()), nonce, payer.address().parse().expect("an address"));
    let landed = chain.send_as(&chain.payers[2].address(), &chain.usdc(), &signed.call(), 1_000_000).await;
    chain.receipt(&landed).await;
    let late = eventually("a late transfer", PATIENCE, || async {
        let shown = merchant.show(&invoice).await;
        (shown["amountLate"] != "0").then_some(shown)
    })
    .await;

    assert_eq!(
        (&late["status"], &late["amountLate"], &late["amountPaid"]),
        (&json!("expired"), &json!("0.01"), &json!("0")),
        "{late}"
    );
    assert_eq!(told(&url, &invoice).await, ["invoice.expired", "invoice.paid_late"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_whose_block_is_replaced_is_open_again_and_paid_again() {
    let (chain, url, facilitator) = start_with_ledger().await;
    let (merchant, receiver) = (Merchant::open(&facilitator).await, Receiver::start().await);
    assert_eq!(merchant.post("/v1/webhooks", &json!({"url": receiver.url()})).await.0, 201);
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.5", "reserveAddress": true})).await;

    let first = pay(&chain, &chain.payers[1], &chain.payers[0].address(), 500_000).await;
    merchant.until(&invoice, "paid").await;
    let depth = chain.height().await + 1 - crate::support::chain::hex(&chain.receipt(&first).await["blockNumber"]);
    chain.rpc("anvil_reorg", json!([depth + 1, []])).await;
    let open = merchant.until(&invoice, "open").await;
    assert_eq!((&open["amountPaid"], &open["transfers"]), (&json!("0"), &json!([])), "{open}");
    let second = pay(&chain, &chain.payers[2], &chain.payers[0].address(), 500_000).await;
    let paid = merchant.until(&invoice, "paid").await;

    assert_eq!(paid["transfers"].as_array().map(Vec::len), Some(1), "{paid}");
    assert_eq!(paid["transfers"][0]["transaction"], second);
    assert_eq!(told(&url, &invoice).await, ["invoice.paid", "invoice.reopened", "invoice.paid"]);
    // What is told last comes behind whatever would have been told twice.
    chain.mine(20).await;
    receiver.until_kind("invoice.finalized").await;
    let mut heard: Vec<_> = receiver.until(4).await.iter().map(Received::kind).collect();
    heard.sort();
    assert_eq!(heard, ["invoice.finalized", "invoice.paid", "invoice.paid", "invoice.reopened"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_address_nothing_can_be_asked_for() {
    let (_chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;

    let (status, problem) = merchant.post("/v1/invoices", &json!({"amount": "1"})).await;

    assert_eq!((status, &problem["code"]), (422, &json!("no_address")), "{problem}");
    assert_eq!(merchant.get("/v1/invoices").await.1["invoices"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn under_one_key_an_invoice_is_opened_once() {
    let (chain, facilitator) = start().await;
    let (merchant, rival) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let (order, other) = (json!({"amount": "1", "reference": "order 7"}), json!({"amount": "2"}));
    let key = "order-7-of-today";
    let send = |order| merchant.send("POST", "/v1/invoices", Some(order), Some(key));

    let answers = futures_util::future::join_all((0..8).map(|_| send(&order))).await;
    for answer in &answers {
        assert_eq!(answer, &answers[0], "everybody is told the same");
    }
    assert_eq!(answers[0].0, 201, "{:?}", answers[0]);
    let (status, problem) = send(&other).await;
    assert_eq!((status, &problem["code"]), (409, &json!("idempotency_key_reused")), "{problem}");
    let (status, elsewhere) = rival.send("POST", "/v1/invoices", Some(&order), Some(key)).await;
    assert_eq!((status, &elsewhere["code"]), (422, &json!("no_address")), "keys are each account's own: {elsewhere}");
    let (_, page) = merchant.get("/v1/invoices?reference=order%207").await;
    assert_eq!(page["invoices"].as_array().map(Vec::len), Some(1), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_deposit_addresses_is_registered_under_one_statement_and_yields_to_an_owner() {
    let (chain, facilitator) = start().await;
    let (merchant, rival) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
    let signatory = merchant.register(&chain.network(), &chain.payers[0]).await;
    let foreign = rival.register(&chain.network(), &chain.payers[1]).await;
    let addresses = [2, 3, 4].map(|payer: usize| chain.payers[payer].address());
    let list = |signed_by: &str, addresses: &[String]| json!({"network": chain.network(), "addresses": addresses, "signedBy": signed_by});
    for (body, code) in [
        (list(&foreign, &addresses), "invalid_signatory"),
        (list(&signatory, &[]), "invalid_address_list"),
        (list(&signatory, &[chain.usdc()]), "address_not_payable"),
    ] {
        let (status, problem) = merchant.post("/v1/address-lists", &body).await;
        assert_eq!((status, &problem["code"]), (422, &json!(code)), "{body}: {problem}");
    }

    let (status, listed) = merchant.post("/v1/address-lists", &list(&signatory, &addresses)).await;
    assert_eq!(status, 201, "{listed}");
    let path = format!("/v1/address-lists/{}/proof", listed["id"].as_str().unwrap());
    let statement = listed["challenge"].as_str().unwrap();
    let wrong = json!({"signature": sign(&chain.payers[2], statement)});
    assert_eq!(merchant.post(&path, &wrong).await.0, 422, "one of the list signs for all");
    let proof = json!({"signature": sign(&chain.payers[0], statement)});
    assert_eq!(rival.post(&path, &proof).await.0, 404);
    let (status, proven) = merchant.post(&path, &proof).await;
    assert_eq!((status, proven["active"].as_array().map(Vec::len)), (200, Some(3)), "{proven}");
    assert_eq!(merchant.post(&path, &proof).await, (200, proven), "an answer that was lost is given again");
    let transaction = pay(&chain, &chain.payers[5], &addresses[1], 5_000).await;
    assert_eq!(merchant.until_transfer(&transaction).await["amount"], "5000");

    rival.register(&chain.network(), &chain.payers[3]).await;
    let transaction = pay(&chain, &chain.payers[5], &addresses[1], 6_000).await;
    assert_eq!(rival.until_transfer(&transaction).await["amount"], "6000");
    let (_, page) = merchant.get("/v1/addresses").await;
    assert_eq!(page["addresses"].as_array().map(Vec::len), Some(3), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_word_gives_an_address_that_cannot_sign() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    let (network, address) = (chain.network(), chain.payers[0].address());
    let grant = |address: String| {
        let words = ["address", "grant", merchant.id(), &network, &address, "--note", "a custodian"].map(str::to_owned);
        let facilitator = &facilitator;
        async move { facilitator.command(&words.each_ref().map(String::as_str)).await }
    };

    let (done, words) = grant(address.clone()).await;
    assert!(done, "{words}");
    let transaction = pay(&chain, &chain.payers[5], &address, 5_000).await;
    assert_eq!(merchant.until_transfer(&transaction).await["amount"], "5000");
    let (again, words) = grant(address).await;
    assert!(!again && words.contains("yours already"), "{words}");
    let (token, words) = grant(chain.usdc()).await;
    assert!(!token && words.contains("the token itself"), "{words}");
}
