//! `POST /i/{invoice}/proof`: a payer shows its transfer itself.

use serde_json::{Value, json};

use super::{AMOUNT, Shop, facts, is_duplicate, network, post, presented, start, terms};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::facilitator::Facilitator;
use crate::support::merchant::{pay, sign};
use crate::support::receipts::{Keys, verify_offline};

fn path(invoice: &Value) -> String {
    format!("/i/{}/proof", invoice["id"].as_str().expect("a name"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_needs_no_key_and_is_told_again_when_it_asks_again() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let keys = Keys::generate().await;
    let mut options = keys.options(network(&chain), &url);
    options.server = options.server.replace("\"open\"", "\"keys\"");
    let facilitator = Facilitator::start(&options).await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let (invoice, other, payer) = (shop.invoice().await, shop.invoice().await, &chain.payers[1]);
    let transaction = shop.paid_by(payer).await;
    let signed =
        |invoice: &Value| json!({"transaction": transaction, "signature": sign(payer, &shop.text(invoice, &transaction))});

    let (status, first) = facilitator.post(&path(&invoice), &signed(&invoice)).await;
    assert_eq!(status, 200, "{first}");
    let receipt = first["receipt"].as_str().expect("a receipt");
    assert_eq!(first, json!({"invoice": invoice["id"], "status": "paid", "transaction": transaction, "receipt": receipt}));
    let (status, jwks) = facilitator.get("/.well-known/jwks.json").await;
    assert_eq!(status, 200, "{jwks}");
    let claims = verify_offline(receipt, &jwks, &facilitator.url).await.expect("it holds");
    assert_eq!((&claims["invoice"], &claims["transaction"]), (&invoice["id"], &json!(transaction)), "{claims}");
    let before = facts(&url).await;
    let named = json!({"transaction": transaction, "signature": signed(&invoice)["signature"], "network": chain.network()});
    for again in [signed(&invoice), named] {
        let (status, answer) = facilitator.post(&path(&invoice), &again).await;
        assert_eq!((status, &answer), (200, &first));
    }
    assert_eq!(facts(&url).await, before, "to ask again changes nothing");

    // For anything else, and to anybody else, it is used up.
    let (status, problem) = facilitator.post(&path(&other), &signed(&other)).await;
    assert_eq!((status, &problem["code"]), (409, &json!("duplicate_settlement")), "{problem}");
    assert!(is_duplicate(&shop.post("/settle", &presented(&terms(&invoice), &transaction, None)).await, &transaction));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_matched_before_is_shown_to_its_payer_and_to_nobody_else() {
    let (chain, facilitator, _url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let invoice = shop.merchant.invoice(&json!({"amount": AMOUNT.0, "reserveAddress": true})).await;
    let transaction = pay(&chain, &chain.payers[1], &shop.address, AMOUNT.1).await;
    shop.merchant.until(&invoice, "paid").await;
    let by = |payer: usize| {
        let signature = sign(&chain.payers[payer], &shop.text(&invoice, &transaction));
        json!({"transaction": transaction, "signature": signature})
    };

    let (status, problem) = facilitator.post(&path(&invoice), &by(2)).await;
    assert_eq!((status, &problem["code"]), (422, &json!("proof_signature_invalid")), "{problem}");
    let (status, shown) = facilitator.post(&path(&invoice), &by(1)).await;
    assert_eq!((status, &shown["status"]), (200, &json!("paid")), "{shown}");
    assert_eq!(shown.get("receipt"), None, "without keys nothing is signed: {shown}");
    assert_eq!(shop.merchant.show(&invoice).await["transfers"][0]["basis"], "reserved");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_resource_server_was_told_is_not_told_its_payer() {
    let (chain, facilitator, _url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let (invoice, payer) = (shop.invoice().await, &chain.payers[1]);
    let transaction = shop.paid_by(payer).await;
    assert_eq!(shop.post("/settle", &presented(&terms(&invoice), &transaction, None)).await["success"], true);

    let signed = json!({"transaction": transaction, "signature": sign(payer, &shop.text(&invoice, &transaction))});
    let (status, problem) = facilitator.post(&path(&invoice), &signed).await;
    assert_eq!((status, &problem["code"]), (409, &json!("duplicate_settlement")), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_proof_is_a_problem_and_changes_nothing() {
    let (chain, facilitator, url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let (invoice, canceled, payer) = (shop.invoice().await, shop.invoice().await, &chain.payers[1]);
    let cancel = format!("/v1/invoices/{}/cancel", canceled["id"].as_str().expect("a name"));
    assert_eq!(shop.merchant.post(&cancel, &json!({})).await.0, 200);
    let transaction = shop.paid_by(payer).await;
    let less = pay(&chain, payer, &shop.address, AMOUNT.1 - 1).await;
    shop.merchant.until_transfer(&less).await;
    let (unknown, nobody) = (format!("0x{}", "ab".repeat(32)), json!({"id": "inv_00000000000070008000000000000000"}));
    let signed = |invoice: &Value, transaction: &str| json!({"transaction": transaction, "signature": sign(payer, &shop.text(invoice, transaction))});
    let mut on_another_network = signed(&invoice, &transaction);
    on_another_network["network"] = json!("eip155:1");
    let before = facts(&url).await;

    for (invoice, body, status, code) in [
        (&invoice, json!({"transaction": transaction}), 422, "proof_signature_missing"),
        (&invoice, signed(&canceled, &transaction), 422, "proof_signature_invalid"),
        (&invoice, signed(&invoice, &less), 422, "transfer_amount_mismatch"),
        (&invoice, signed(&invoice, &unknown), 422, "transfer_not_found"),
        (&invoice, signed(&invoice, "0x1234"), 400, "bad_body"),
        (&invoice, on_another_network, 400, "bad_body"),
        (&invoice, json!({"transaction": transaction, "signature": 1}), 400, "bad_body"),
        (&invoice, json!({"transaction": transaction, "amount": "1"}), 400, "bad_body"),
        (&invoice, json!({"transaction": transaction, "network": "base"}), 400, "bad_body"),
        (&invoice, json!([]), 400, "bad_body"),
        (&canceled, signed(&canceled, &transaction), 409, "invoice_canceled"),
        (&nobody, signed(&nobody, &transaction), 404, "not_found"),
        (&json!({"id": "inv_1"}), json!({"transaction": transaction}), 404, "not_found"),
    ] {
        let (answered, problem) = facilitator.post(&path(invoice), &body).await;
        assert_eq!((answered, &problem["code"]), (status, &json!(code)), "{body}: {problem}");
    }
    assert_eq!(facts(&url).await, before);
    assert_eq!(facilitator.get(&path(&invoice)).await.0, 405);
    // A key does not stand in for a signature here.
    let bare = json!({"transaction": transaction});
    assert_eq!(post(&facilitator, &path(&invoice), &bare, Some(&shop.key), None).await.0, 422);
    let (status, answer) = facilitator.post(&path(&invoice), &signed(&invoice, &transaction)).await;
    assert_eq!((status, &answer["status"]), (200, &json!("paid")), "{answer}");
}
