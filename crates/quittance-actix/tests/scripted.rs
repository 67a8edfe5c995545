//! What the real facilitator never does, and what it does not do yet: a paywall in front of one that says what it is told to.

#![expect(clippy::unwrap_used, reason = "a test that unwraps fails with a message and a line, which is all it should do")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use quittance_actix::{Facilitator, Meter, Paid, Paywall, Price, Settlement};
use serde_json::{Value, json};

const NETWORK: &str = "eip155:84532";
const NETWORK_V1: &str = "base-sepolia";
const MERCHANT: &str = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359";
const PAYER: &str = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed";
const TRANSACTION: &str = "0x1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a";
const RESOURCE: &str = "https://shop.example/answer";

/// What a facilitator was asked.
#[derive(Clone, Debug)]
struct Asked {
    path: String,
    authorization: Option<String>,
    idempotency_key: Option<String>,
    body: Value,
}

/// What it says to one question.
#[derive(Clone, Debug)]
enum Say {
    /// What a good one says.
    TheTruth,
    /// The same success, signed by the key of this number.
    SignedBy(u8),
    /// Something else.
    Else(u16, String),
    /// Ask somebody else.
    Elsewhere,
}

#[derive(Default)]
struct Script {
    asked: Vec<Asked>,
    /// The next answers of one endpoint; the truth when there are none left.
    next: Vec<(&'static str, VecDeque<Say>)>,
    /// The numbers of the keys that are published.
    keys: Vec<u8>,
}

/// A facilitator on loopback. It ends when this is dropped.
struct Scripted {
    url: String,
    script: Arc<Mutex<Script>>,
    server: ServerHandle,
}

impl Drop for Scripted {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

impl Scripted {
    fn start() -> Self {
        let script = Arc::new(Mutex::new(Script { keys: vec![1], ..Script::default() }));
        let data = web::Data::from(Arc::clone(&script));
        let server = HttpServer::new(move || App::new().app_data(data.clone()).default_service(web::to(answer)));
        let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { url, script, server: handle }
    }

    /// Decides what is said next at one endpoint.
    fn say(&self, path: &'static str, words: impl IntoIterator<Item = Say>) {
        self.script.lock().unwrap().next.push((path, words.into_iter().collect()));
    }

    fn publish(&self, keys: &[u8]) {
        self.script.lock().unwrap().keys = keys.to_vec();
    }

    fn asked(&self, path: &str) -> Vec<Asked> {
        self.script.lock().unwrap().asked.iter().filter(|asked| asked.path == path).cloned().collect()
    }

    fn facilitator(&self) -> Facilitator {
        Facilitator::new(&self.url).unwrap().api_key("key_1").unwrap()
    }
}

fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

/// A receipt for what a settlement asks for.
fn receipt(request: &Value, number: u8) -> String {
    static IDS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let required = &request["paymentRequirements"];
    let header = json!({"alg": "EdDSA", "kid": format!("key-{number}"), "typ": "quittance-receipt+jws"});
    let claims = json!({
        "amount": required["amount"], "asset": required["asset"], "finality": "included", "issuedAt": 1_790_000_000, "issuer": "https://f.example",
        "network": required["network"], "payTo": required["payTo"], "payer": PAYER, "transaction": TRANSACTION, "version": 1,
        "receiptId": format!("rct_{}", IDS.fetch_add(1, std::sync::atomic::Ordering::SeqCst)),
        "resourceUrl": request["paymentPayload"]["resource"]["url"],
    });
    let input = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(key(number).sign(input.as_bytes()).to_bytes()))
}

fn settled(request: &Value, number: u8) -> Value {
    let required = &request["paymentRequirements"];
    let mut answer = json!({"success": true, "transaction": TRANSACTION, "network": required["network"], "payer": PAYER, "amount": required["amount"]});
    if required["amount"] == "0" {
        answer["transaction"] = json!("");
    } else {
        let signed = json!({"info": {"receipt": {"format": "jws", "signature": receipt(request, number)}}});
        answer["extensions"] = json!({"settlement-receipt": signed});
    }
    answer
}

fn truth(path: &str, request: &Value, keys: &[u8]) -> Value {
    let jwk = |number: &u8| {
        let x = URL_SAFE_NO_PAD.encode(key(*number).verifying_key().as_bytes());
        json!({"kty": "OKP", "crv": "Ed25519", "kid": format!("key-{number}"), "x": x})
    };
    match path {
        "/supported" => json!({"kinds": [
            {"x402Version": 2, "scheme": "exact", "network": NETWORK},
            {"x402Version": 1, "scheme": "exact", "network": NETWORK_V1},
            {"x402Version": 2, "scheme": "upto", "network": NETWORK, "extra": {"facilitatorAddress": PAYER}},
        ], "extensions": [], "signers": {"eip155:*": [PAYER]}}),
        "/.well-known/jwks.json" => json!({"keys": keys.iter().map(jwk).collect::<Vec<_>>()}),
        "/verify" => json!({"isValid": true, "payer": PAYER}),
        "/settle" => settled(request, 1),
        _ => json!({"error": "not here"}),
    }
}

async fn answer(request: HttpRequest, body: web::Bytes, script: web::Data<Mutex<Script>>) -> HttpResponse {
    let mut script = script.lock().unwrap();
    let header = |name: &str| Some(request.headers().get(name)?.to_str().unwrap().to_owned());
    let (path, body) = (request.path().to_owned(), serde_json::from_slice(&body).unwrap_or(Value::Null));
    let (authorization, idempotency_key) = (header("authorization"), header("idempotency-key"));
    script.asked.push(Asked { path: path.clone(), authorization, idempotency_key, body: body.clone() });
    let word = script.next.iter_mut().filter(|(at, _)| *at == path).find_map(|(_, words)| words.pop_front());
    match word.unwrap_or(Say::TheTruth) {
        Say::TheTruth => HttpResponse::Ok().json(truth(&path, &body, &script.keys)),
        Say::SignedBy(number) => HttpResponse::Ok().json(settled(&body, number)),
        Say::Else(status, text) => HttpResponse::build(StatusCode::from_u16(status).unwrap()).body(text),
        Say::Elsewhere => HttpResponse::TemporaryRedirect().insert_header(("location", "/elsewhere")).finish(),
    }
}

fn exactly(facilitator: &Facilitator) -> Paywall {
    let builder = Paywall::exactly(facilitator, Price::usdc("0.001").unwrap()).pay_to(NETWORK, MERCHANT);
    builder.public_url("https://shop.example/").build().unwrap()
}

fn up_to(facilitator: &Facilitator) -> Paywall {
    let builder = Paywall::up_to(facilitator, Price::usdc("0.001").unwrap()).pay_to(NETWORK, MERCHANT);
    builder.public_url("https://shop.example").build().unwrap()
}

/// What a buyer got.
#[derive(Debug)]
struct Got {
    status: u16,
    error: Option<String>,
    body: Value,
    told: Option<Value>,
    sold: Option<Settlement>,
}

/// Buys at `/answer` behind a paywall.
async fn buy(paywall: Paywall, route: fn() -> actix_web::Route) -> Got {
    let shop = init_service(App::new().service(web::resource("/answer").wrap(paywall).route(route()))).await;
    let unpaid = call_service(&shop, TestRequest::get().uri("/answer").to_request()).await;
    let Some(offer) = unpaid.headers().get("payment-required") else { return got(unpaid).await };
    let offer: Value = serde_json::from_slice(&STANDARD.decode(offer).unwrap()).unwrap();
    assert_eq!(offer["resource"]["url"], RESOURCE);
    let payment = json!({"x402Version": 2, "accepted": offer["accepts"][0], "resource": offer["resource"], "payload": {"signature": "0x1"}});
    let request = TestRequest::get().uri("/answer").insert_header(("payment-signature", STANDARD.encode(payment.to_string())));
    got(call_service(&shop, request.to_request()).await).await
}

async fn got<B: MessageBody>(response: actix_web::dev::ServiceResponse<B>) -> Got {
    let told = response
        .headers()
        .get("payment-response")
        .map(|header| serde_json::from_slice(&STANDARD.decode(header).unwrap()).unwrap());
    let sold = response.response().extensions().get::<Settlement>().cloned();
    let status = response.status().as_u16();
    let body = serde_json::from_slice(&read_body(response).await).unwrap_or(Value::Null);
    Got { status, error: body["error"].as_str().map(str::to_owned), body, told, sold }
}

fn plain() -> actix_web::Route {
    web::get().to(async |_: Paid| web::Json(json!({"answer": 42})))
}

/// Charges 300 and 7 of a thousand.
fn metered() -> actix_web::Route {
    web::get().to(async |meter: Meter| {
        meter.charge(Price::micro_usdc(300)).unwrap();
        meter
            .charge(Price::usdc("0.0000061").unwrap())
            .map(|total| web::Json(json!({"answer": 42, "charged": total.to_string()})))
    })
}

/// Takes the meter and charges nothing.
fn free() -> actix_web::Route {
    web::get().to(async |_: Meter| web::Json(json!({"answer": 42})))
}

/// Charges more than was agreed to.
fn greedy() -> actix_web::Route {
    web::get().to(async |meter: Meter| meter.charge(Price::micro_usdc(1_001)).map(|_| web::Json(json!({"answer": 42}))))
}

fn assert_sold(got: &Got, amount: u128) {
    assert_eq!((got.status, &got.body["answer"]), (200, &json!(42)), "{got:?}");
    let sold = got.sold.as_ref().unwrap();
    assert_eq!(
        (sold.amount, sold.payer.as_str(), sold.pay_to.as_str(), sold.network.as_str()),
        (amount, PAYER, MERCHANT, NETWORK)
    );
    assert_eq!(got.told.as_ref().unwrap()["amount"], amount.to_string());
}

fn assert_not_sold(got: &Got, status: u16, error: &str) {
    assert_eq!((got.status, got.error.as_deref(), &got.sold), (status, Some(error), &None), "{got:?}");
    assert_eq!(got.body.get("answer"), None);
}

fn amounts(asked: &[Asked]) -> Vec<&Value> {
    asked.iter().map(|asked| &asked.body["paymentRequirements"]["amount"]).collect()
}

/// A payment under way by this transaction.
fn pending(transaction: &str) -> Say {
    failed(&json!({"errorReason": "settlement_pending", "transaction": transaction, "network": NETWORK}))
}

fn failed(more: &Value) -> Say {
    let mut answer = json!({"success": false, "payer": PAYER});
    answer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Say::Else(200, answer.to_string())
}

#[actix_web::test]
async fn a_sale_asks_each_thing_once_and_says_who_asks() {
    let scripted = Scripted::start();

    let got = buy(exactly(&scripted.facilitator()), plain).await;

    assert_sold(&got, 1_000);
    for path in ["/supported", "/.well-known/jwks.json", "/verify", "/settle"] {
        let asked = scripted.asked(path);
        assert_eq!((asked.len(), asked[0].authorization.as_deref()), (1, Some("Bearer key_1")), "{path}");
    }
    let (verified, settled) = (scripted.asked("/verify").remove(0), scripted.asked("/settle").remove(0));
    assert_eq!((&verified.body, verified.idempotency_key), (&settled.body, None));
    assert!(settled.idempotency_key.is_some_and(|key| (16..=128).contains(&key.len())));
    assert_eq!(
        (&settled.body["x402Version"], &settled.body["paymentPayload"]["payload"]),
        (&json!(2), &json!({"signature": "0x1"}))
    );
}

#[actix_web::test]
async fn two_sales_have_two_keys() {
    let scripted = Scripted::start();
    let facilitator = scripted.facilitator();
    for _ in 0..2 {
        assert_sold(&buy(exactly(&facilitator), plain).await, 1_000);
    }
    let settled = scripted.asked("/settle");
    assert_ne!(settled[0].idempotency_key, settled[1].idempotency_key);
    assert_eq!(scripted.asked("/supported").len(), 1, "one facilitator is asked once for both routes");
}

#[actix_web::test]
async fn what_was_metered_is_what_is_settled() {
    let scripted = Scripted::start();

    let got = buy(up_to(&scripted.facilitator()), metered).await;

    assert_sold(&got, 307);
    assert_eq!(got.body["charged"], "307");
    assert_eq!(
        (amounts(&scripted.asked("/verify")), amounts(&scripted.asked("/settle"))),
        (vec![&json!("1000")], vec![&json!("307")])
    );
    let required = &scripted.asked("/settle")[0].body["paymentRequirements"];
    assert_eq!((&required["scheme"], &required["extra"]["facilitatorAddress"]), (&json!("upto"), &json!(PAYER)));
}

#[actix_web::test]
async fn a_handler_without_a_meter_charges_all_of_it() {
    let scripted = Scripted::start();

    assert_sold(&buy(up_to(&scripted.facilitator()), plain).await, 1_000);
    assert_eq!(amounts(&scripted.asked("/settle")), [&json!("1000")]);
}

#[actix_web::test]
async fn a_handler_that_charged_nothing_has_nothing_settled_and_is_told_so() {
    let scripted = Scripted::start();

    let got = buy(up_to(&scripted.facilitator()), free).await;

    assert_sold(&got, 0);
    assert_eq!(got.sold.unwrap().receipt, None);
    assert_eq!(amounts(&scripted.asked("/settle")), [&json!("0")]);
}

#[actix_web::test]
async fn a_handler_that_wants_more_than_was_agreed_to_gets_nothing() {
    let scripted = Scripted::start();

    let got = buy(up_to(&scripted.facilitator()), greedy).await;

    assert_eq!((got.status, got.sold, scripted.asked("/settle").len()), (500, None, 0));
}

#[actix_web::test]
async fn a_success_of_another_amount_than_was_metered_is_a_lie() {
    let scripted = Scripted::start();
    let mut more = settled(&json!({"paymentRequirements": {"amount": "1000", "network": NETWORK}}), 1);
    more["transaction"] = json!(TRANSACTION);
    scripted.say("/settle", [Say::Else(200, more.to_string())]);

    assert_not_sold(&buy(up_to(&scripted.facilitator()), metered).await, 502, "facilitator_malformed");
}

#[actix_web::test]
async fn a_key_that_is_new_is_fetched_when_it_signs() {
    let scripted = Scripted::start();
    let facilitator = scripted.facilitator();
    assert_sold(&buy(exactly(&facilitator), plain).await, 1_000);

    scripted.publish(&[1, 2]);
    scripted.say("/settle", [Say::SignedBy(2), Say::SignedBy(2)]);
    for _ in 0..2 {
        assert_sold(&buy(exactly(&facilitator), plain).await, 1_000);
    }
    assert_eq!(scripted.asked("/.well-known/jwks.json").len(), 2);
}

#[actix_web::test]
async fn a_key_that_nobody_publishes_signs_nothing_and_is_not_asked_for_at_any_rate() {
    let scripted = Scripted::start();
    let facilitator = scripted.facilitator();
    scripted.say("/settle", std::iter::repeat_n(Say::SignedBy(2), 5));
    for _ in 0..5 {
        let got = buy(exactly(&facilitator), plain).await;
        assert_not_sold(&got, 502, "facilitator_receipt_invalid");
        assert_eq!(got.told.unwrap()["transaction"], TRANSACTION, "the buyer has paid and is told so");
    }
    let fetched = scripted.asked("/.well-known/jwks.json").len();
    assert!((2..=4).contains(&fetched), "fetched {fetched} times");
}

#[actix_web::test]
async fn without_keys_no_work_begins() {
    let scripted = Scripted::start();
    scripted.say("/.well-known/jwks.json", [Say::Else(500, String::new())]);

    assert_not_sold(&buy(exactly(&scripted.facilitator()), plain).await, 503, "facilitator_unavailable");
    assert_eq!((scripted.asked("/verify").len(), scripted.asked("/settle").len()), (0, 0));
}

#[actix_web::test]
async fn an_answer_that_makes_no_sense_is_no_verdict_and_no_success() {
    let nonsense =
        [String::new(), "null".to_owned(), "[]".to_owned(), "{}".to_owned(), format!("{{\"a\":\"{}\"}}", "x".repeat(300_000))];
    for text in nonsense {
        for path in ["/verify", "/settle"] {
            let scripted = Scripted::start();
            scripted.say(path, [Say::Else(200, text.clone())]);
            assert_not_sold(&buy(exactly(&scripted.facilitator()), plain).await, 502, "facilitator_malformed");
            assert_eq!(scripted.asked("/settle").len(), usize::from(path == "/settle"));
        }
    }
}

#[actix_web::test]
async fn an_answer_that_was_lost_or_is_not_known_yet_is_asked_for_once_more() {
    for word in
        [Say::Else(500, String::new()), Say::Else(502, "<html>".to_owned()), Say::Else(504, String::new()), pending("0x1")]
    {
        let scripted = Scripted::start();
        scripted.say("/settle", [word.clone()]);

        assert_sold(&buy(exactly(&scripted.facilitator()), plain).await, 1_000);

        let asked = scripted.asked("/settle");
        assert_eq!(asked.len(), 2, "{word:?}");
        assert_eq!((&asked[0].body, &asked[0].idempotency_key), (&asked[1].body, &asked[1].idempotency_key), "{word:?}");
    }
}

#[actix_web::test]
async fn what_is_not_known_the_second_time_either_is_no_refusal() {
    for (word, status, error) in
        [(Say::Else(504, String::new()), 503, "facilitator_unavailable"), (pending("0x1"), 402, "settlement_pending")]
    {
        let scripted = Scripted::start();
        scripted.say("/settle", [word.clone(), word]);
        assert_not_sold(&buy(exactly(&scripted.facilitator()), plain).await, status, error);
        assert_eq!(scripted.asked("/settle").len(), 2);
    }
}

#[actix_web::test]
async fn where_nothing_was_done_nothing_is_asked_for_again() {
    for (word, status, error) in [
        (Say::Else(503, String::new()), 503, "facilitator_unavailable"),
        (Say::Else(429, String::new()), 503, "facilitator_unavailable"),
        (Say::Else(401, String::new()), 502, "facilitator_unauthorized"),
        (failed(&json!({"errorReason": "insufficient_funds", "transaction": "", "network": NETWORK})), 402, "insufficient_funds"),
    ] {
        let scripted = Scripted::start();
        scripted.say("/settle", [word]);
        assert_not_sold(&buy(exactly(&scripted.facilitator()), plain).await, status, error);
        assert_eq!(scripted.asked("/settle").len(), 1);
    }
}

#[actix_web::test]
async fn a_settlement_that_bought_nothing_offers_nothing_in_either_version() {
    let failed =
        |network: &str| failed(&json!({"errorReason": "duplicate_settlement", "transaction": TRANSACTION, "network": network}));
    let scripted = Scripted::start();
    scripted.say("/settle", [failed(NETWORK), failed(NETWORK_V1)]);
    let shop = web::resource("/answer").wrap(exactly(&scripted.facilitator())).route(plain());
    let shop = init_service(App::new().service(shop)).await;
    let unpaid = call_service(&shop, TestRequest::get().uri("/answer").to_request()).await;
    let offer: Value =
        serde_json::from_slice(&STANDARD.decode(unpaid.headers().get("payment-required").unwrap()).unwrap()).unwrap();
    let offered: Value = serde_json::from_slice(&read_body(unpaid).await).unwrap();
    assert_eq!(offered["accepts"][0]["network"], NETWORK_V1);

    let v2 = json!({"x402Version": 2, "accepted": offer["accepts"][0], "payload": {}});
    let v1 = json!({"x402Version": 1, "scheme": "exact", "network": NETWORK_V1, "payload": {}});
    for (payment, header, told) in [(v2, "payment-signature", "payment-response"), (v1, "x-payment", "x-payment-response")] {
        let request = TestRequest::get().uri("/answer").insert_header((header, STANDARD.encode(payment.to_string())));
        let response = call_service(&shop, request.to_request()).await;
        assert_eq!((response.status().as_u16(), response.headers().get("payment-required")), (402, None), "{header}");
        assert!(response.headers().contains_key(told), "{header}");
        let body: Value = serde_json::from_slice(&read_body(response).await).unwrap();
        assert_eq!((&body["error"], body.get("accepts")), (&json!("duplicate_settlement"), None), "{header}");
    }
}

/// Fails, and says so.
fn failing() -> actix_web::Route {
    web::get().to(async |_: Paid| HttpResponse::NotFound().json(json!({"error": "out_of_stock"})))
}

#[actix_web::test]
async fn a_handler_that_fails_costs_nothing() {
    let scripted = Scripted::start();

    assert_not_sold(&buy(exactly(&scripted.facilitator()), failing).await, 404, "out_of_stock");
    assert!(scripted.asked("/settle").is_empty());
}

#[actix_web::test]
async fn what_contradicts_the_question_is_no_success() {
    for (name, value) in [("network", json!("eip155:8453")), ("amount", json!("1")), ("transaction", json!(""))] {
        let scripted = Scripted::start();
        let mut lie = settled(&json!({"paymentRequirements": {"amount": "1000", "network": NETWORK}}), 1);
        lie[name] = value;
        scripted.say("/settle", [Say::Else(200, lie.to_string())]);
        assert_not_sold(&buy(exactly(&scripted.facilitator()), plain).await, 502, "facilitator_malformed");
    }
}

#[actix_web::test]
async fn a_receipt_that_was_sold_by_sells_nothing_more() {
    let scripted = Scripted::start();
    let facilitator = scripted.facilitator();
    assert_sold(&buy(exactly(&facilitator), plain).await, 1_000);
    let asked = &scripted.asked("/settle")[0].body;
    let repeated = settled(asked, 1).to_string();
    scripted.say("/settle", [Say::Else(200, repeated.clone()), Say::Else(200, repeated)]);

    assert_sold(&buy(exactly(&facilitator), plain).await, 1_000);
    assert_not_sold(&buy(exactly(&facilitator), plain).await, 502, "facilitator_receipt_invalid");
}

#[actix_web::test]
async fn a_payment_that_is_not_good_has_nothing_done_for_it() {
    let scripted = Scripted::start();
    scripted.say("/verify", [Say::Else(200, json!({"isValid": false, "invalidReason": "insufficient_funds"}).to_string())]);

    assert_not_sold(&buy(exactly(&scripted.facilitator()), plain).await, 402, "insufficient_funds");
    assert!(scripted.asked("/settle").is_empty());
}

#[actix_web::test]
async fn an_answer_may_be_as_long_as_was_said_and_no_longer() {
    let length = json!({"answer": 42}).to_string().len();
    for (bytes, fits) in [(length, true), (length - 1, false)] {
        let scripted = Scripted::start();
        let paywall = Paywall::exactly(&scripted.facilitator(), Price::usdc("0.001").unwrap()).pay_to(NETWORK, MERCHANT);
        let paywall = paywall.public_url("https://shop.example").max_body(bytes).build().unwrap();
        let got = buy(paywall, plain).await;
        if fits {
            assert_sold(&got, 1_000);
        } else {
            assert_not_sold(&got, 500, "answer_too_large");
        }
        assert_eq!(scripted.asked("/settle").len(), usize::from(fits));
    }
}

/// Breaks off, for a reason that is nobody's business.
fn broken() -> actix_web::Route {
    web::get().to(async |_: Paid| {
        let pieces = [Ok(web::Bytes::from("{")), Err(std::io::Error::other("postgres://shop:secret@db"))];
        HttpResponse::Ok().streaming(futures_util::stream::iter(pieces))
    })
}

/// Never comes to an end.
fn endless() -> actix_web::Route {
    web::get()
        .to(async |_: Paid| HttpResponse::Ok().streaming(futures_util::stream::pending::<Result<web::Bytes, std::io::Error>>()))
}

/// Wants to speak another protocol.
fn upgrading() -> actix_web::Route {
    web::get().to(async |_: Paid| HttpResponse::SwitchingProtocols().finish())
}

#[actix_web::test]
async fn an_answer_that_cannot_be_kept_back_costs_nothing() {
    for (route, error) in
        [(broken as fn() -> _, "answer_broken"), (endless, "answer_too_slow"), (upgrading, "answer_not_payable")]
    {
        let scripted = Scripted::start();
        let paywall = Paywall::exactly(&scripted.facilitator(), Price::usdc("0.001").unwrap()).pay_to(NETWORK, MERCHANT);
        let paywall = paywall.public_url("https://shop.example").max_timeout(Duration::from_secs(1)).build().unwrap();

        let got = buy(paywall, route).await;

        assert_not_sold(&got, 500, error);
        assert!(!got.body.to_string().contains("secret"), "{got:?}");
        assert!(scripted.asked("/settle").is_empty());
    }
}

#[actix_web::test]
async fn a_payment_is_not_carried_to_somebody_else() {
    for path in ["/verify", "/settle"] {
        let scripted = Scripted::start();
        scripted.say(path, [Say::Elsewhere]);
        assert_not_sold(&buy(exactly(&scripted.facilitator()), plain).await, 503, "facilitator_unavailable");
        assert!(scripted.asked("/elsewhere").is_empty());
    }
}

#[actix_web::test]
async fn what_the_facilitator_does_not_take_is_not_sold() {
    let scripted = Scripted::start();
    scripted.say("/supported", [Say::Else(200, r#"{"kinds":[]}"#.to_owned())]);

    assert_not_sold(&buy(exactly(&scripted.facilitator()), plain).await, 503, "nothing_offered");
}

#[actix_web::test]
async fn a_receipt_of_another_issuer_is_refused_where_one_is_expected() {
    let scripted = Scripted::start();

    assert_sold(&buy(exactly(&scripted.facilitator().issuer("https://f.example")), plain).await, 1_000);
    let other = scripted.facilitator().issuer("https://other.example");
    assert_not_sold(&buy(exactly(&other), plain).await, 502, "facilitator_receipt_invalid");
}
