//! Texts that mean something elsewhere: in SQL, in metrics, or to whoever made a payment's name. Here they are texts.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::fill;
use crate::queue::until_waiting;
use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::open_account;
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::Merchant;
use crate::support::payer::Terms;

async fn start() -> (Chain, Facilitator) {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database::fresh().await)).await;
    (chain, facilitator)
}

const SQL: [&str; 14] = [
    "'; DROP TABLE invoices; --",
    "' OR '1'='1",
    "\"; SELECT pg_sleep(9) --",
    "') RETURNING *; --",
    "%",
    "_",
    "%%",
    "order_7",
    "order-7",
    "\\",
    "$1",
    "/* x */",
    "E'\\047'",
    "NULL",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_text_means_nothing_in_sql() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let mut opened = Vec::new();
    for text in SQL {
        let order = json!({"amount": "1", "reference": text, "description": text, "resource": text, "metadata": {text: text}});
        opened.push(merchant.invoice(&order).await["id"].clone());
    }

    for (text, id) in SQL.into_iter().zip(&opened) {
        let url = url::Url::parse_with_params(&format!("{}/v1/invoices", facilitator.url), [("reference", text)]).expect("a URL");
        let answer = facilitator.client().get(url).bearer_auth(merchant.key()).send().await.expect("an answer");
        let page: Value = answer.json().await.expect("JSON");
        let found: Vec<_> = page["invoices"].as_array().expect("invoices").iter().map(|invoice| &invoice["id"]).collect();
        assert_eq!(found, [id], "{text}");
        let shown = merchant.show(&page["invoices"][0]).await;
        for member in [&shown["reference"], &shown["description"], &shown["resource"], &shown["metadata"][text]] {
            assert_eq!(member, text, "{shown}");
        }
    }
    let terms = Terms { resource: SQL[0].to_owned(), ..Terms::to(&chain.payers[0].address()) };
    let (_, settled) = facilitator.settle(&chain.payers[1].authorize(&terms).v2()).await;
    let path = format!("/v1/payments/{}", settled["extra"]["paymentId"].as_str().expect("a name"));
    assert_eq!(facilitator.get(&path).await.1["resource"], SQL[0]);
    let (_, page) = merchant.get("/v1/invoices").await;
    assert_eq!(page["invoices"].as_array().map(Vec::len), Some(SQL.len()), "{page}");
}

/// The names of all series, with their labels.
async fn series(facilitator: &Facilitator) -> BTreeSet<String> {
    let answer = facilitator.client().get(format!("{}/metrics", facilitator.operations)).send().await.expect("metrics");
    let text = answer.text().await.expect("text");
    let names = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned()));
    names.collect()
}

/// Asks with a word of one's own wherever something could take it for a label.
async fn ask_with(facilitator: &Facilitator, body: &Value, word: &str) {
    let client = facilitator.client();
    for (method, path) in [
        ("GET", format!("/{word}")),
        ("GET", format!("/v1/invoices/{word}")),
        ("GET", format!("/v1/payments?{word}={word}")),
        ("GET", format!("/v1/payments/pay\",route=\"{word}")),
        ("POST", format!("/i/{word}/proof")),
        (word, "/v1/payments".to_owned()),
        (word, "/settle".to_owned()),
    ] {
        let method = method.parse().expect("a method");
        client.request(method, format!("{}{path}", facilitator.url)).send().await.expect("an answer");
    }
    for pointer in ["/network", "/scheme", "/asset", "/payTo"] {
        let mut body = body.clone();
        *body.pointer_mut(&format!("/paymentRequirements{pointer}")).expect("it is there") = word.into();
        facilitator.verify(&body).await;
        facilitator.settle(&body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_word_of_a_client_becomes_a_label() {
    let (chain, facilitator) = start().await;
    let body = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v2();
    ask_with(&facilitator, &body, "CANARY").await;
    let before = series(&facilitator).await;

    for number in 0..20 {
        ask_with(&facilitator, &body, &format!("CANARY{number}")).await;
    }

    let after = series(&facilitator).await;
    // What goes on in the background makes series of its own meanwhile.
    let added: Vec<_> = after.difference(&before).filter(|series| series.starts_with("quittance_http_")).collect();
    assert_eq!(added, Vec::<&String>::new());
    assert!(!after.iter().any(|series| series.contains("CANARY")), "{after:?}");
}

/// A payment to the merchant whose payer has given it a name.
fn named(chain: &Chain, payer: usize, info: &Value) -> Value {
    let mut body = chain.payers[payer].authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v2();
    body["paymentPayload"]["extensions"] = json!({"payment-identifier": {"info": info}});
    body
}

async fn settle_as(facilitator: &Facilitator, key: &str, body: &Value) -> (u16, Value) {
    let request = facilitator.client().post(format!("{}/settle", facilitator.url)).bearer_auth(key).json(body);
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_that_a_payer_gives_its_payment_unlocks_nothing_and_is_for_one_payment() {
    let (chain, facilitator) = start().await;
    let (ours, others) = (open_account(&facilitator, "provider").await, open_account(&facilitator, "provider").await);
    let id = json!({"required": true, "id": "pay_0123456789abcdef"});
    let bad = ["${x15}", "${x129}", "with/a/slash/in/it"].map(|id| json!({"id": fill(id, &BTreeMap::new())}));
    for info in bad.iter().chain([&json!({"required": true})]) {
        let body = named(&chain, 0, info);
        let (verified, settled) = (facilitator.verify(&body).await, settle_as(&facilitator, &ours.key, &body).await);
        let told = (verified.0, &verified.1["invalidReason"], settled.0, &settled.1["errorReason"]);
        assert_eq!(told, (400, &json!("invalid_payload"), 400, &json!("invalid_payload")), "{info}: {settled:?}");
    }

    let body = named(&chain, 0, &id);
    let (_, first) = settle_as(&facilitator, &ours.key, &body).await;
    assert_eq!(first["success"], true, "{first}");
    let (_, again) = settle_as(&facilitator, &ours.key, &body).await;
    let told = (&again["errorReason"], &again["transaction"]);
    assert_eq!(told, (&json!("duplicate_settlement"), &first["transaction"]), "the same name and payment: {again}");
    let other = named(&chain, 1, &id);
    let (status, refused) = settle_as(&facilitator, &ours.key, &other).await;
    let told = (status, &refused["success"], &refused["errorReason"]);
    assert_eq!(told, (409, &json!(false), &json!("payment_identifier_reused")), "{refused}");
    assert_eq!(chain.transfers_to(&chain.text("/accounts/merchant/address")).await.len(), 1, "money moved once");

    // A payment that had no name before has the one under which it is asked for again.
    let mut unnamed = named(&chain, 3, &json!({"id": "pay_of_an_earlier_one"}));
    let extensions = unnamed["paymentPayload"].as_object_mut().expect("an object").remove("extensions");
    assert_eq!(settle_as(&facilitator, &ours.key, &unnamed).await.1["success"], true);
    unnamed["paymentPayload"]["extensions"] = extensions.expect("it had some");
    assert_eq!(settle_as(&facilitator, &ours.key, &unnamed).await.1["errorReason"], "duplicate_settlement");
    let taken = named(&chain, 4, &json!({"id": "pay_of_an_earlier_one"}));
    assert_eq!(settle_as(&facilitator, &ours.key, &taken).await.0, 409);

    // What others call their payments is their own affair.
    assert_eq!(settle_as(&facilitator, &others.key, &other).await.1["success"], true);
    assert_eq!(facilitator.settle(&named(&chain, 2, &id)).await.1["success"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_withdrawn_leaves_its_name_to_the_next_one() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let mut options = Options::new(NetworkOptions::of(&chain), &database::fresh().await);
    options.server.push_str("answer_within_v2_seconds = 1\n");
    // Nobody sends anything, so each payment is withdrawn when its caller's patience is over.
    options.roles = Some("api,watcher".to_owned());
    let facilitator = Facilitator::start(&options).await;
    let account = open_account(&facilitator, "provider").await;
    let body = |payer| named(&chain, payer, &json!({"id": "pay_0123456789abcdef"}));

    for payer in [0, 1, 0] {
        let (status, withdrawn) = settle_as(&facilitator, &account.key, &body(payer)).await;
        assert_eq!((status, &withdrawn["errorReason"]), (503, &json!("unexpected_settle_error")), "{withdrawn}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_payments_that_race_for_a_name_one_is_made() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &url)).await;
    let account = open_account(&facilitator, "provider").await;
    let id = "pay_0123456789abcdef";
    // Somebody else is about to take the name, and does not. Until then neither payment finds it taken.
    let ledger = database::ledger(&url).await;
    let mut held = ledger.pool().begin().await.expect("the database answers");
    let take = "INSERT INTO idempotency (scope, key, fingerprint, created_at) VALUES ($1, $2, $3, now())";
    let take = sqlx::query(take).bind(format!("{}/payments", account.id)).bind(id).bind(vec![0_u8; 32]);
    take.execute(&mut *held).await.expect("nobody has it");

    let body = |payer| named(&chain, payer, &json!({"id": id}));
    let (first, second) = (body(0), body(1));
    let give_up = async {
        until_waiting(&database::ledger(&url).await, 2).await;
        held.rollback().await.expect("the database answers");
    };
    let (first, second, ()) =
        tokio::join!(settle_as(&facilitator, &account.key, &first), settle_as(&facilitator, &account.key, &second), give_up);

    let mut told = [&first, &second].map(|(status, answer)| (*status, answer["errorReason"].as_str()));
    told.sort_unstable();
    assert_eq!(told, [(200, None), (409, Some("payment_identifier_reused"))], "{first:?} {second:?}");
    assert_eq!(chain.transfers_to(&chain.text("/accounts/merchant/address")).await.len(), 1, "money moved once");
}
