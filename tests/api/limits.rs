//! Who asks too often, and that nobody can make somebody else be taken for one who does.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::open_account;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::{Signed, Terms};
use crate::support::{database, eventually};

const PATIENCE: Duration = Duration::from_secs(40);

/// More requests in a row than any bucket here holds, and than come back meanwhile.
const MANY: usize = 500;

async fn start(server: &str, limits: &str) -> (Chain, Facilitator) {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let server = format!("{server}\n[limits]\n{limits}\n");
    let options = Options { server, ..Options::new(NetworkOptions::of(&chain), &database::fresh().await) };
    let facilitator = Facilitator::start(&options).await;
    (chain, facilitator)
}

fn payment(chain: &Chain, payer: usize) -> Signed {
    chain.payers[payer].authorize(&Terms::to(&chain.text("/accounts/merchant/address")))
}

/// An answer, as far as it matters here.
struct Answer {
    status: u16,
    retry_after: Option<String>,
    body: Value,
}

async fn send(request: RequestBuilder) -> Answer {
    let answer = request.send().await.expect("an answer");
    let retry_after = answer.headers().get("retry-after").map(|value| value.to_str().expect("text").to_owned());
    Answer { status: answer.status().as_u16(), retry_after, body: answer.json().await.unwrap_or(Value::Null) }
}

/// Asks until that is too often.
async fn until_limited(mut request: impl FnMut() -> RequestBuilder) -> Answer {
    for _ in 0..MANY {
        let answer = send(request()).await;
        if answer.status == 429 {
            return answer;
        }
    }
    panic!("nobody was limited")
}

/// How many of so many requests are answered with something else than 429.
async fn let_in(requests: usize, mut request: impl FnMut() -> RequestBuilder) -> usize {
    let mut let_in = 0;
    for _ in 0..requests {
        let_in += usize::from(send(request()).await.status != 429);
    }
    let_in
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_too_often_is_told_so_in_the_words_of_the_path() {
    let (_chain, facilitator) = start("access = \"open\"", "address_per_second = 1\naddress_burst = 2").await;
    let client = facilitator.client();
    let url = |path: &str| format!("{}{path}", facilitator.url);

    let verified = until_limited(|| client.post(url("/verify")).json(&json!({}))).await;
    let wanted = json!({"isValid": false, "invalidReason": "rate_limited", "payer": ""});
    assert_eq!(strip(verified.body, "invalidMessage"), wanted);
    let settled = until_limited(|| client.post(url("/settle")).json(&json!({}))).await;
    let wanted =
        json!({"success": false, "errorReason": "rate_limited", "payer": "", "transaction": "", "network": "unknown:unknown"});
    assert_eq!(strip(settled.body, "errorMessage"), wanted);
    let supported = until_limited(|| client.get(url("/supported"))).await;
    assert_eq!((&supported.body["errorReason"], &supported.body["kinds"]), (&json!("rate_limited"), &json!([])));
    for path in
        ["/v1/payments", "/v1/receipts/verify", "/v1/events", "/v1/export/payments.csv", "/.well-known/jwks.json", "/nowhere"]
    {
        let limited = until_limited(|| client.get(url(path))).await;
        assert_eq!((&limited.body["code"], &limited.body["status"]), (&json!("rate_limited"), &json!(429)), "{path}");
        assert!(limited.retry_after.is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|seconds| seconds >= 1)), "{path}");
    }
    assert!([verified.retry_after, settled.retry_after, supported.retry_after].iter().all(Option::is_some));
    assert_eq!(let_in(20, || client.get(url("/health"))).await, 20, "health is not counted");
    assert!(facilitator.metric("quittance_rate_limited_total{by=\"address\"}").await >= 9.0);

    eventually("a token", PATIENCE, || async { (send(client.get(url("/supported"))).await.status == 200).then_some(()) }).await;
}

/// A body without the words for people.
fn strip(mut body: Value, words: &str) -> Value {
    assert!(body[words].as_str().is_some_and(|words| words.contains("too many requests")), "{body}");
    body.as_object_mut().expect("an object").remove(words);
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_counts_for_itself_and_neither_strangers_nor_forgers_use_it_up() {
    let limits = "address_per_second = 1\naddress_burst = 2\nkey_per_second = 1\nkey_burst = 50";
    let (_chain, facilitator) = start("access = \"keys\"", limits).await;
    let (holder, other) = (open_account(&facilitator, "provider").await, open_account(&facilitator, "provider").await);
    let client = facilitator.client();
    let ask = |key: &str| client.get(format!("{}/supported", facilitator.url)).bearer_auth(key);
    assert_eq!(send(ask(&holder.key)).await.status, 200, "from now on the key is known");

    until_limited(|| client.get(format!("{}/supported", facilitator.url))).await;
    let forged = format!("{}.{}", holder.key.split_once('.').expect("two halves").0, "ab".repeat(32));
    until_limited(|| ask(&forged)).await;

    assert_eq!(let_in(20, || ask(&holder.key)).await, 20);
    until_limited(|| ask(&holder.key)).await;
    let first = eventually("an answer", PATIENCE, || async {
        let answer = send(ask(&other.key)).await;
        (answer.status != 429).then_some(answer)
    });
    assert_eq!(first.await.status, 200, "a new key gets in between forgers");
    assert_eq!(let_in(20, || ask(&other.key)).await, 20);
    assert!(facilitator.metric("quittance_rate_limited_total{by=\"key\"}").await >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_proxy_of_the_operators_is_believed_about_who_asks() {
    let limits = "address_per_second = 1\naddress_burst = 2";
    let proxy = "access = \"open\"\ntrusted_proxies = [\"127.0.0.0/8\"]";
    for (server, believed) in [(proxy, true), ("access = \"open\"\ntrusted_proxies = [\"192.0.2.0/24\"]", false)] {
        let (_chain, facilitator) = start(server, limits).await;
        let ask = |client: &str| {
            let request = facilitator.client().get(format!("{}/supported", facilitator.url));
            // Whatever a client writes into it stands in front of what the proxy adds.
            request.header("x-forwarded-for", format!("203.0.113.9, {client}")).header("forwarded", "for=203.0.113.9")
        };

        until_limited(|| ask("198.51.100.1")).await;
        let others = (0..40).map(|number| format!("198.51.100.{}", number + 2)).collect::<Vec<_>>();
        let mut others = others.iter();
        let let_in = let_in(40, || ask(others.next().expect("forty"))).await;
        assert_eq!(let_in == 40, believed, "{let_in} of 40");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_is_limited_by_its_own_good_payments_only_and_nothing_is_left_of_what_was_too_much() {
    let limits = "address_per_second = \"none\"\npayer_per_second = 1\npayer_burst = 2";
    let (chain, facilitator) = start("access = \"open\"", limits).await;
    let (signed, others) = (payment(&chain, 0), payment(&chain, 1));
    let post = |path: &str, body: &Value| facilitator.client().post(format!("{}{path}", facilitator.url)).json(body);

    let mut forged = signed.v2();
    forged["paymentPayload"]["payload"]["signature"] = others.v2()["paymentPayload"]["payload"]["signature"].clone();
    for _ in 0..20 {
        let answer = send(post("/verify", &forged)).await;
        assert_eq!(
            (answer.status, &answer.body["invalidReason"]),
            (200, &json!("invalid_exact_evm_signature")),
            "a name is free"
        );
    }
    // Those that come at once are let in together and counted afterwards, so that it takes a while until the next token is there.
    join_all((0..16).map(|_| send(post("/verify", &signed.v2())))).await;
    let limited = until_limited(|| post("/verify", &signed.v2())).await;
    assert_eq!(limited.body["invalidReason"], "rate_limited");
    assert_eq!(limited.body["payer"], signed.v2()["paymentPayload"]["payload"]["authorization"]["from"]);

    let name = "the-same-key-each-time";
    let settle = || post("/settle", &signed.v2()).header("idempotency-key", name);
    let limited = send(settle()).await;
    assert_eq!(limited.status, 429);
    assert_eq!((&limited.body["success"], &limited.body["network"]), (&json!(false), &json!(chain.network())));
    assert_eq!(limited.body["transaction"], "");
    assert_eq!(send(post("/verify", &others.v2())).await.body["isValid"], true, "another payer");

    let settled = eventually("a token", PATIENCE, || async {
        let answer = send(settle()).await;
        (answer.status != 429).then_some(answer)
    })
    .await;
    assert_eq!(settled.body["success"], true, "{}", settled.body);
    assert_eq!(chain.transfers_to(&signed.terms.pay_to).await.len(), 1);
    assert!(facilitator.metric("quittance_rate_limited_total{by=\"payer\"}").await >= 2.0);
}
