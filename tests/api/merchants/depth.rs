//! How deep a payment must stand before it is answered, as merchants and their invoices want it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::open_account;
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::Merchant;
use crate::support::payer::{Payer, Terms};

const PATIENCE: Duration = Duration::from_secs(30);

/// Far more confirmations than come by themselves while a test runs, and callers who are told soon that they are not there.
async fn start() -> (Chain, Facilitator) {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let network = NetworkOptions { lines: "final = 600\n".to_owned(), ..NetworkOptions::of(&chain) };
    let mut options = Options::new(network, &database::fresh().await);
    options.server.push_str("answer_within_v2_seconds = 3\n");
    let facilitator = Facilitator::start(&options).await;
    (chain, facilitator)
}

fn payment(payer: &Payer, pay_to: &str, amount: u128) -> Value {
    payer.authorize(&Terms { amount, ..Terms::to(pay_to) }).v2()
}

/// The reason why a settlement is no success, or the level at which it is one.
async fn settle(facilitator: &Facilitator, body: &Value) -> String {
    let answer = facilitator.settle(body).await.1;
    let told = if answer["success"] == true { &answer["extra"]["finality"] } else { &answer["errorReason"] };
    told.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

async fn settle_patiently(facilitator: &Facilitator, body: &Value) -> Value {
    facilitator.settle_patiently(body, PATIENCE).await["extra"]["finality"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_for_an_invoice_is_answered_when_it_stands_as_deep_as_the_invoice_asks() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.01", "answerAt": "final"})).await;
    let mut terms = invoice["accepts"][0].clone();
    assert_eq!(terms["extra"]["answerAt"], "final", "{terms}");
    // The invoice itself counts, whether or not a server copies what it shows.
    terms["extra"].as_object_mut().expect("an object").remove("answerAt");
    let mut body = payment(&chain.payers[1], &chain.payers[0].address(), 10_000);
    body["paymentRequirements"] = terms.clone();
    body["paymentPayload"]["accepted"] = terms;

    assert_eq!(settle(&facilitator, &body).await, "settlement_pending");
    merchant.until(&invoice, "seen").await;
    assert_eq!(settle(&facilitator, &body).await, "settlement_pending", "it stands in a block, and that is not enough");
    chain.mine(700).await;
    assert_eq!(settle_patiently(&facilitator, &body).await, "final");
    merchant.until(&invoice, "final").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_merchant_wants_by_amount_counts_wherever_it_is_paid() {
    let (chain, facilitator) = start().await;
    let (merchant, other) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
    let (own, others) = (chain.payers[0].address(), chain.payers[1].address());
    merchant.register(&chain.network(), &chain.payers[0]).await;
    other.register(&chain.network(), &chain.payers[1]).await;
    let put = async |body: Value| merchant.send("PUT", "/v1/settings", Some(&body), None).await;
    let undecided = json!({"offerReceipts": false});
    assert_eq!(merchant.get("/v1/settings").await, (200, undecided.clone()));

    let wanted = json!({"answerAt": [{"below": "1.00", "at": "included"}, {"at": "final"}], "offerReceipts": false});
    assert_eq!(put(wanted.clone()).await, (200, wanted.clone()));
    for wrong in [
        json!([]),
        json!([{"below": "1", "at": "included"}]),
        json!([{"below": "1", "at": "final"}, {"at": "safe"}]),
        json!([{"below": "-1", "at": "safe"}, {"at": "final"}]),
        (1..17).map(|below| json!({"below": below.to_string(), "at": "safe"})).chain([json!({"at": "final"})]).collect(),
    ] {
        let (status, problem) = put(json!({"answerAt": wrong})).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid_settings")), "{problem}");
    }
    for malformed in [json!({"offerReceipts": "yes"}), json!({"answerAt": "soon"}), json!({"answerAt": "safe", "color": 1})] {
        assert_eq!(put(malformed.clone()).await.0, 400, "{malformed}");
    }
    assert_eq!(merchant.send("PUT", "/v1/settings", None, None).await.0, 415);
    assert_eq!(merchant.get("/v1/settings").await, (200, wanted), "what was refused has changed nothing");
    assert_eq!(other.get("/v1/settings").await.1, undecided);

    let (small, large) = (payment(&chain.payers[2], &own, 999_999), payment(&chain.payers[3], &own, 1_000_000));
    assert_eq!(settle_patiently(&facilitator, &small).await, "included");
    assert_eq!(settle_patiently(&facilitator, &payment(&chain.payers[4], &others, 1_000_000)).await, "included");
    assert_eq!(settle(&facilitator, &large).await, "settlement_pending");
    assert_eq!(merchant.invoice(&json!({"amount": "0.99"})).await["answerAt"], "included");
    assert_eq!(merchant.invoice(&json!({"amount": "1", "answerAt": "safe"})).await["answerAt"], "final");
    chain.mine(700).await;
    assert_eq!(settle_patiently(&facilitator, &large).await, "final");

    let safe = json!({"answerAt": "safe", "offerReceipts": false});
    assert_eq!(put(json!({"answerAt": "safe"})).await, (200, safe));
    assert_eq!(merchant.invoice(&json!({"amount": "0.99"})).await["answerAt"], "safe");
    assert_eq!(put(json!({})).await, (200, undecided));
    assert_eq!(merchant.invoice(&json!({"amount": "0.99"})).await["answerAt"], "included");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_for_merchants() {
    let (_chain, facilitator) = start().await;
    let keys = [open_account(&facilitator, "provider").await.key, open_account(&facilitator, "operator").await.key];
    for (key, expected) in keys.iter().map(|key| (Some(key), 403)).chain([(None, 401)]) {
        for method in ["GET", "PUT"] {
            let url = format!("{}/v1/settings", facilitator.url);
            let mut request = facilitator.client().request(method.parse().expect("a method"), url);
            if let Some(key) = key {
                request = request.bearer_auth(key);
            }
            let answer = request.json(&json!({"answerAt": "final"})).send().await.expect("an answer");
            assert_eq!(answer.status().as_u16(), expected, "{method}");
        }
    }
}
