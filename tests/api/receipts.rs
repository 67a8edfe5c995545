//! Receipts: in answers, for invoices, and in the hands of people who believe nothing but a key.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions, hex};
use crate::support::cli::open_account;
use crate::support::facilitator::{Facilitator, NetworkOptions};
use crate::support::merchant::{Merchant, pay};
use crate::support::payer::Terms;
use crate::support::receipts::{Keys, claims_of, kid_of, receipt_in, verify_in_rust, verify_independently, verify_offline};
use crate::support::solana::Cluster;
use crate::support::{database, eventually};

mod forgery;
mod keys;
mod ledger;
mod redemption;
mod reorg;

const PATIENCE: Duration = Duration::from_secs(30);

/// A chain, a service with keys for receipts, and what must live as long.
struct World {
    chain: Chain,
    facilitator: Facilitator,
    url: SecretString,
    _keys: Keys,
}

impl World {
    async fn start(options: ChainOptions, lines: &str) -> Self {
        let (chain, url, keys) = (Chain::start(options).await, database::fresh().await, Keys::generate().await);
        let network = NetworkOptions { lines: lines.to_owned(), ..NetworkOptions::of(&chain) };
        let facilitator = Facilitator::start(&keys.options(network, &url)).await;
        Self { chain, facilitator, url, _keys: keys }
    }

    async fn quick() -> Self {
        Self::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }, "final = 16\n").await
    }

    async fn jwks(&self) -> Value {
        let (status, jwks) = self.facilitator.get("/.well-known/jwks.json").await;
        assert_eq!(status, 200, "{jwks}");
        jwks
    }
}

/// What everybody may know of a receipt.
async fn status(facilitator: &Facilitator, id: &str) -> Value {
    let (status, answer) = facilitator.get(&format!("/v1/receipts/{id}/status")).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Waits until a receipt has this revision.
async fn until_revision(facilitator: &Facilitator, id: &str, revision: u32, finality: &str) -> Value {
    eventually(&format!("revision {revision}"), PATIENCE, || async {
        let status = status(facilitator, id).await;
        (status["revision"] == revision && status["finality"] == finality).then_some(status)
    })
    .await
}

/// The service's verdict on a receipt.
async fn verdict(facilitator: &Facilitator, receipt: &Value) -> Value {
    let (status, verdict) = facilitator.post("/v1/receipts/verify", &json!({"receipt": receipt})).await;
    assert_eq!(status, 200, "{verdict}");
    verdict
}

async fn get_as(facilitator: &Facilitator, path: &str, key: &str) -> (u16, Value) {
    let request = facilitator.client().get(format!("{}{path}", facilitator.url)).bearer_auth(key);
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settle_answer_has_a_receipt_that_anybody_verifies_without_us() {
    let world = World::quick().await;
    let (chain, facilitator) = (&world.chain, &world.facilitator);
    let merchant = chain.text("/accounts/merchant/address");
    let signed = chain.payers[0].authorize(&Terms::to(&merchant));

    let (_, answer) = facilitator.settle(&signed.v2()).await;

    assert_eq!(answer["success"], true, "{answer}");
    let jws = receipt_in(&answer);
    let jwks = world.jwks().await;
    let claims = verify_offline(&jws, &jwks, &facilitator.url).await.expect("it holds");
    let landed = chain.receipt(text(&answer["transaction"])).await;
    let recipient = format!("0x{:0>64}", merchant[2..].to_lowercase());
    let logs = landed["logs"].as_array().expect("logs");
    let log = logs.iter().find(|log| log["topics"][2] == recipient.as_str()).expect("the transfer");
    let expected = [
        ("version", json!(1)),
        ("issuer", json!(facilitator.url)),
        ("revision", json!(1)),
        ("finality", json!("included")),
        ("network", json!(chain.network())),
        ("asset", json!(chain.usdc())),
        ("transaction", answer["transaction"].clone()),
        ("index", json!(hex(&log["logIndex"]))),
        ("blockHash", landed["blockHash"].clone()),
        ("payer", json!(signed.payer)),
        ("payTo", json!(merchant)),
        ("amount", json!("10000")),
        ("paymentId", answer["extra"]["paymentId"].clone()),
        ("resourceUrl", json!("http://localhost/inference")),
        ("account", Value::Null),
        ("invoice", Value::Null),
    ];
    for (member, value) in expected {
        assert_eq!(claims[member], value, "{member}: {claims}");
    }
    let others = verify_independently(&jws, &jwks).await.expect("it holds");
    assert_eq!((&others["claims"], &others["signer"]), (&claims, &json!(kid_of(&jws))));
    let elsewhere = verify_offline(&jws, &jwks, "https://elsewhere.example").await.expect_err("it is another's");
    assert!(elsewhere.contains("the issuer is"), "{elsewhere}");

    // What is read later is the very same text, and everything else names the same receipt.
    let id = text(&claims["receiptId"]);
    let (status, shown) = facilitator.get(&format!("/v1/receipts/{id}")).await;
    assert_eq!((status, &shown["revisions"][0]["receipt"]), (200, &json!(jws)), "{shown}");
    let payment = facilitator.get(&format!("/v1/payments/{}", text(&claims["paymentId"]))).await.1;
    assert_eq!(payment["receipt"], id, "{payment}");
    let did = facilitator.get("/.well-known/did.json").await.1;
    let names = did["assertionMethod"].as_array().expect("names");
    assert!(names.iter().any(|name| text(name).ends_with(&format!("#{}", kid_of(&jws)))), "{did}");
    assert_eq!(facilitator.get("/did.json").await.1, did);
    let supported = facilitator.get("/supported").await.1;
    assert!(supported["extensions"].as_array().expect("a list").contains(&json!("settlement-receipt")), "{supported}");
    let (_, again) = facilitator.settle(&signed.v2()).await;
    assert_eq!((&again["errorReason"], &again["extensions"]), (&json!("duplicate_settlement"), &Value::Null), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_block_supersedes_what_was_said_of_it_before() {
    let world = World::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }, "final = 6\n").await;
    let facilitator = &world.facilitator;
    let body = world.chain.payers[0].authorize(&Terms::to(&world.chain.text("/accounts/merchant/address"))).v2();
    let first = receipt_in(&facilitator.settle(&body).await.1);
    let included = claims_of(&first);
    let id = text(&included["receiptId"]);

    let status = until_revision(facilitator, id, 2, "final").await;

    assert_eq!(status, json!({"id": id, "revision": 2, "finality": "final", "redeemed": false}));
    let jwks = world.jwks().await;
    let (_, shown) = facilitator.get(&format!("/v1/receipts/{id}")).await;
    assert_eq!(shown["revisions"].as_array().map(Vec::len), Some(2), "{shown}");
    let second = &shown["revisions"][1];
    let finalized = verify_offline(text(&second["receipt"]), &jwks, &facilitator.url).await.expect("it holds");
    assert_eq!((&finalized["finality"], &finalized["revision"]), (&json!("final"), &json!(2)), "{finalized}");
    for member in ["receiptId", "transaction", "blockHash", "index", "amount", "paymentId"] {
        assert_eq!(finalized[member], included[member], "{member}");
    }
    // The first one says less than is known, and what it says still holds.
    let verdict_on_first = verdict(facilitator, &json!(first)).await;
    assert_eq!((&verdict_on_first["valid"], &verdict_on_first["claims"]), (&json!(true), &included), "{verdict_on_first}");
    assert_eq!(verdict_on_first["latest"], status, "{verdict_on_first}");

    // The same as typed data, for wallets.
    let (_, typed) = facilitator.get(&format!("/v1/receipts/{id}?format=eip712")).await;
    for (revision, finality) in [(0, "included"), (1, "final")] {
        let receipt = &typed["revisions"][revision]["receipt"];
        let others = verify_independently(&receipt.to_string(), &jwks).await.expect("it holds");
        assert_eq!(others["claims"]["finality"], finality, "{others}");
        let ours = verify_offline(&receipt.to_string(), &jwks, &facilitator.url).await.expect("it holds");
        assert_eq!(ours, claims_of(text(&shown["revisions"][revision]["receipt"])), "both forms say the same");
        assert_eq!(verdict(facilitator, receipt).await["valid"], true);
    }
    assert_eq!(facilitator.get(&format!("/v1/receipts/{id}?format=pdf")).await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_was_paid_without_our_help_has_a_receipt() {
    let world = World::quick().await;
    let (chain, facilitator) = (&world.chain, &world.facilitator);
    let merchant = Merchant::open(facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.25", "reserveAddress": true})).await;
    assert_eq!(merchant.show(&invoice).await["receipts"], json!([]));

    let transaction = pay(chain, &chain.payers[1], &chain.payers[0].address(), 250_000).await;
    let paid = merchant.until(&invoice, "paid").await;

    let [line] = paid["receipts"].as_array().expect("receipts").as_slice() else { panic!("one receipt: {paid}") };
    let claims = verify_offline(text(&line["receipt"]), &world.jwks().await, &facilitator.url).await.expect("it holds");
    let expected = [
        ("receiptId", line["id"].clone()),
        ("invoice", invoice["id"].clone()),
        ("account", json!(merchant.id())),
        ("transaction", json!(transaction)),
        ("payer", json!(chain.payers[1].address())),
        ("payTo", json!(chain.payers[0].address())),
        ("amount", json!("250000")),
        ("paymentId", Value::Null),
        ("resourceUrl", Value::Null),
    ];
    for (member, value) in expected {
        assert_eq!(claims[member], value, "{member}: {claims}");
    }
    assert_eq!(verdict(facilitator, &line["receipt"]).await["valid"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_read_a_receipt_and_everybody_its_status() {
    let world = World::quick().await;
    let (chain, facilitator) = (&world.chain, &world.facilitator);
    let (merchant, rival) = (Merchant::open(facilitator).await, Merchant::open(facilitator).await);
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let (provider, operator) = (open_account(facilitator, "provider").await, open_account(facilitator, "operator").await);
    let body = chain.payers[1].authorize(&Terms::to(&chain.payers[0].address())).v2();
    let request = facilitator.client().post(format!("{}/settle", facilitator.url)).json(&body).bearer_auth(&provider.key);
    let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    let claims = claims_of(&receipt_in(&answer));
    assert_eq!(claims["account"], merchant.id(), "{claims}");
    let id = text(&claims["receiptId"]);
    let path = format!("/v1/receipts/{id}");

    for (key, expected) in [(merchant.key(), 200), (provider.key.as_str(), 200), (operator.key.as_str(), 200), (rival.key(), 404)]
    {
        let (status, shown) = get_as(facilitator, &path, key).await;
        assert_eq!(status, expected, "{shown}");
        assert_eq!(shown["revisions"].is_array(), expected == 200, "{shown}");
    }
    assert_eq!(facilitator.get(&path).await.0, 404, "somebody without a key");
    assert_eq!(status(facilitator, id).await["id"], id);
    for path in ["/v1/receipts/rct_00000000000070008000000000000000", "/v1/receipts/rct_1", "/v1/receipts/pay_1"] {
        assert_eq!(get_as(facilitator, path, &operator.key).await.0, 404, "{path}");
        assert_eq!(facilitator.get(&format!("{path}/status")).await.0, 404, "{path}");
    }
    for body in [json!({}), json!({"receipt": "a.b.c", "more": 1}), json!({"receipts": []})] {
        assert_eq!(facilitator.post("/v1/receipts/verify", &body).await.0, 400, "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_on_solana_has_a_receipt_too() {
    let (cluster, keys) = (Cluster::start(400).await, Keys::generate().await);
    let options = keys.options(cluster.options(&cluster.url), &database::fresh().await);
    let facilitator = Facilitator::start(&options).await;

    let (_, answer) = facilitator.settle(&cluster.payment(0, "one").await.v2()).await;

    assert_eq!(answer["success"], true, "{answer}");
    let (jws, jwks) = (receipt_in(&answer), facilitator.get("/.well-known/jwks.json").await.1);
    let claims = verify_offline(&jws, &jwks, &facilitator.url).await.expect("it holds");
    assert_eq!((&claims["network"], &claims["transaction"]), (&json!(cluster.text("/network")), &answer["transaction"]));
    assert_eq!((text(&claims["payer"]), text(&claims["asset"])), (text(&answer["payer"]), cluster.text("/usdc").as_str()));
    verify_independently(&jws, &jwks).await.expect("it holds");
    assert_eq!(verdict(&facilitator, &json!(jws)).await["valid"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_who_wants_it_has_its_receipts_in_the_shape_of_the_extension_too() {
    let world = World::quick().await;
    let (chain, facilitator) = (&world.chain, &world.facilitator);
    let merchant = Merchant::open(facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let (own, others) = (chain.payers[0].address(), chain.text("/accounts/merchant/address"));
    let settle = async |payer: usize, pay_to: &str| {
        let (_, answer) = facilitator.settle(&chain.payers[payer].authorize(&Terms::to(pay_to)).v2()).await;
        assert_eq!(answer["success"], true, "{answer}");
        answer
    };
    let keys = |answer: &Value| answer["extensions"].as_object().expect("extensions").keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&settle(1, &own).await), ["settlement-receipt"]);

    let wanted = json!({"offerReceipts": true});
    assert_eq!(merchant.send("PUT", "/v1/settings", Some(&wanted), None).await, (200, wanted));
    let answer = settle(2, &own).await;

    assert_eq!(keys(&answer), ["offer-receipt", "settlement-receipt"]);
    let receipt = answer.pointer("/extensions/offer-receipt/info/receipt").expect("a receipt");
    let claims = verify_in_rust(text(&receipt["signature"]), &world.jwks().await).expect("it holds");
    let expected = json!({
        "version": 1, "network": chain.network(), "resourceUrl": "http://localhost/inference",
        "payer": chain.payers[2].address(), "transaction": answer["transaction"], "issuedAt": claims["issuedAt"],
    });
    assert_eq!((&claims, &receipt["format"]), (&expected, &json!("jws")));
    assert_eq!(claims_of(&receipt_in(&answer))["issuedAt"], claims["issuedAt"], "it is the same receipt");
    assert_eq!(keys(&settle(3, &others).await), ["settlement-receipt"], "it is one merchant's wish");
}
