//! What is answered, to whom, and how often.

use std::time::Duration;

use alloy::primitives::{Address, U256};
use alloy::sol_types::SolCall;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{Connection, Executor, PgConnection};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::Terms;
use crate::support::proxy::{Act, Proxy};
use crate::support::typed::Usdc;
use crate::support::{cli, contract, database, eventually};

async fn start(server: &str) -> (Chain, Facilitator) {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let mut options = Options::new(NetworkOptions::of(&chain), &database::fresh().await);
    options.server.push_str(server);
    let facilitator = Facilitator::start(&options).await;
    (chain, facilitator)
}

fn merchant(chain: &Chain) -> String {
    chain.text("/accounts/merchant/address")
}

/// A settle request with headers; status and the very bytes of the answer.
async fn settle_raw(facilitator: &Facilitator, body: &Value, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = facilitator.client().post(format!("{}/settle", facilitator.url)).json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    contract::read_text("POST", request.send().await.expect("the facilitator answers")).await.expect("text")
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("it is JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_repeats_an_answer_byte_for_byte() {
    let (chain, facilitator) = start("").await;
    let provider = cli::open_account(&facilitator, "provider").await;
    let bearer = format!("Bearer {}", provider.key);
    let terms = Terms::to(&merchant(&chain));
    let paid = chain.payers[0].authorize(&terms).v2();
    let shortest = [("idempotency-key", "0123456789abcdef"), ("authorization", bearer.as_str())];
    let longest = "~".repeat(128);
    let longest = [("idempotency-key", longest.as_str()), ("authorization", bearer.as_str())];

    let first = settle_raw(&facilitator, &paid, &shortest).await;
    let again = settle_raw(&facilitator, &paid, &shortest).await;
    let without = settle_raw(&facilitator, &paid, &shortest[1..]).await;
    assert_eq!(parsed(&first.1)["success"], true, "{first:?}");
    assert_eq!(first, again, "success comes again under its key");
    assert_eq!(parsed(&without.1)["errorReason"], "duplicate_settlement", "and under no other: {without:?}");

    // A failure stays what it was, although the payer has become rich.
    let poor = chain.payers[1].authorize(&Terms { amount: 1_500_000_000, ..terms.clone() }).v2();
    let first = settle_raw(&facilitator, &poor, &longest).await;
    let gift = Usdc::transferCall {
        to: chain.payers[1].address().parse::<Address>().expect("an address"),
        value: U256::from(900_000_000),
    };
    chain.transact(&chain.text("/accounts/buyer/address"), Some(&chain.usdc()), &gift.abi_encode()).await;
    let again = settle_raw(&facilitator, &poor, &longest).await;
    let without = settle_raw(&facilitator, &poor, &longest[1..]).await;
    assert_eq!(parsed(&first.1)["errorReason"], "invalid_exact_evm_insufficient_balance", "{first:?}");
    assert_eq!(first, again);
    assert_eq!(parsed(&without.1)["success"], true, "without the key it is a new question: {without:?}");

    // The key belongs to its request.
    let other = chain.payers[2].authorize(&terms).v2();
    let conflict = settle_raw(&facilitator, &other, &shortest).await;
    assert_eq!((conflict.0, &parsed(&conflict.1)["errorReason"]), (409, &json!("idempotency_key_reused")), "{conflict:?}");
    assert!(parsed(&conflict.1)["payer"].is_string() && parsed(&conflict.1)["transaction"] == "");
    // Somebody without an account has a name space for each request, so nobody's keys collide.
    let anonymous = settle_raw(&facilitator, &other, &shortest[..1]).await;
    assert_eq!(parsed(&anonymous.1)["success"], true, "{anonymous:?}");
    assert_eq!(chain.transfers_to(&merchant(&chain)).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_stored_is_given_all_the_same() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &url)).await;
    let mut connection = PgConnection::connect(url.expose_secret()).await.expect("PostgreSQL answers");
    let refusal = "ALTER TABLE idempotency ADD CONSTRAINT nothing_goes CHECK (body IS NULL) NOT VALID";
    connection.execute(refusal).await.expect("the table is there");
    let body = chain.payers[0].authorize(&Terms::to(&merchant(&chain))).v2();
    let key = [("idempotency-key", "0123456789abcdef")];

    let first = settle_raw(&facilitator, &body, &key).await;
    let again = settle_raw(&facilitator, &body, &key).await;
    let without = settle_raw(&facilitator, &body, &[]).await;

    assert_eq!((first.0, &parsed(&first.1)["success"]), (200, &json!(true)), "the money has moved: {first:?}");
    assert_eq!((again.0, &parsed(&again.1)["success"]), (200, &json!(true)), "{again:?}");
    assert_eq!(parsed(&without.1)["errorReason"], "duplicate_settlement", "{without:?}");

    // Where it cannot even be looked up, nothing is settled: it may have been answered already.
    connection.execute("ALTER TABLE idempotency RENAME TO gone").await.expect("the table is there");
    let other = chain.payers[1].authorize(&Terms::to(&merchant(&chain))).v2();
    let (status, text) = settle_raw(&facilitator, &other, &key).await;
    assert_eq!(
        (status, &parsed(&text)["errorReason"], &parsed(&text)["success"]),
        (500, &json!("unexpected_settle_error"), &json!(false)),
        "{text}"
    );
    assert_eq!(chain.transfers_to(&merchant(&chain)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_repeats_under_one_key_share_one_success_and_others_get_none() {
    let (chain, facilitator) = start("").await;
    let terms = Terms::to(&merchant(&chain));
    let shared = chain.payers[0].authorize(&terms).v2();
    let contested = chain.payers[1].authorize(&terms).v2();
    let key = [("idempotency-key", "one-key-for-one-buyer")];

    let repeats = join_all((0..8).map(|_| settle_raw(&facilitator, &shared, &key))).await;
    let rivals = join_all((0..8).map(|_| settle_raw(&facilitator, &contested, &[]))).await;

    assert_eq!(parsed(&repeats[0].1)["success"], true, "{repeats:?}");
    assert!(repeats.iter().all(|answer| *answer == repeats[0]), "{repeats:?}");
    let won: Vec<_> = rivals.iter().map(|(_, text)| parsed(text)).filter(|answer| answer["success"] == true).collect();
    assert_eq!(won.len(), 1, "{rivals:?}");
    for (status, text) in &rivals {
        let answer = parsed(text);
        assert_eq!((*status, &answer["transaction"]), (200, &won[0]["transaction"]), "{answer}");
        assert!(answer["success"] == true || answer["errorReason"] == "duplicate_settlement", "{answer}");
    }
    assert_eq!(chain.transfers_to(&merchant(&chain)).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_requests_that_race_for_a_key_only_one_is_settled() {
    let (chain, facilitator) = start("").await;
    let account = cli::open_account(&facilitator, "provider").await;
    let terms = Terms::to(&merchant(&chain));
    let authorization = format!("Bearer {}", account.key);
    let headers = [("idempotency-key", "one-key-for-two-buyers"), ("authorization", authorization.as_str())];
    let bodies = [chain.payers[0].authorize(&terms).v2(), chain.payers[1].authorize(&terms).v2()];

    let answers = join_all(bodies.iter().map(|body| settle_raw(&facilitator, body, &headers))).await;

    let mut statuses: Vec<_> = answers.iter().map(|(status, _)| *status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{answers:?}");
    let refused = answers.iter().find(|(status, _)| *status == 409).map(|(_, text)| parsed(text)).expect("one is refused");
    assert_eq!(refused["errorReason"], "idempotency_key_reused");
    assert_eq!(chain.transfers_to(&merchant(&chain)).await.len(), 1, "the refused one was not settled");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_has_16_to_128_visible_characters() {
    let (chain, facilitator) = start("").await;
    let body = chain.payers[0].authorize(&Terms::to(&merchant(&chain))).v2();
    for key in ["", "123456789012345", &"x".repeat(129), "with a space inside", "0123456789abcdéf"] {
        let (status, text) = settle_raw(&facilitator, &body, &[("idempotency-key", key)]).await;
        let answer = parsed(&text);
        assert_eq!((status, &answer["errorReason"]), (400, &json!("invalid_idempotency_key")), "{key:?}: {answer}");
        assert!(answer["success"] == false && answer["payer"].is_string() && answer["network"].is_string(), "{answer}");
    }
    assert_eq!(chain.transfers_to(&merchant(&chain)).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_versions_get_the_shapes_their_clients_read() {
    let (chain, facilitator) = start("").await;
    let terms = Terms::to(&merchant(&chain));
    let (v1, v2) = (chain.payers[0].authorize(&terms), chain.payers[1].authorize(&terms));

    for (signed, body, network) in [(&v1, v1.v1(), "base-sepolia"), (&v2, v2.v2(), "eip155:84532")] {
        let (status, verified) = facilitator.verify(&body).await;
        assert_eq!((status, &verified), (200, &json!({"isValid": true, "payer": signed.payer})));

        let (status, settled) = facilitator.settle(&body).await;
        let transaction = settled["transaction"].as_str().expect("a hash");
        let id = settled["extra"]["paymentId"].as_str().expect("a name");
        let expected = json!({
            "success": true, "payer": signed.payer, "transaction": transaction, "network": network,
            "amount": terms.amount.to_string(), "extra": {"paymentId": id, "finality": "included"},
        });
        assert_eq!((status, &settled), (200, &expected));
        assert!(transaction.len() == 66 && id.starts_with("pay_"), "{settled}");

        // The same authorization for another purpose.
        let mut other = body.clone();
        let resource = if network == "base-sepolia" { "/paymentRequirements/resource" } else { "/paymentPayload/resource/url" };
        *other.pointer_mut(resource).expect("a resource") = "http://localhost/other".into();
        let (status, duplicate) = facilitator.settle(&other).await;
        let expected = json!({
            "success": false, "errorReason": "duplicate_settlement", "payer": signed.payer, "transaction": transaction, "network": network,
        });
        assert_eq!((status, &duplicate), (200, &expected), "whoever did not pay for it learns no name of ours");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_authorization_pays_for_one_resource_only() {
    let (chain, facilitator) = start("").await;
    let signed = chain.payers[0].authorize(&Terms::to(&merchant(&chain)));
    let bodies: Vec<_> = (0..6)
        .map(|number| {
            let mut body = signed.v2();
            body["paymentPayload"]["resource"]["url"] = format!("http://localhost/{number}").into();
            body
        })
        .collect();

    let answers = join_all(bodies.iter().map(|body| facilitator.settle(body))).await;

    let won = answers.iter().filter(|(_, answer)| answer["success"] == true).count();
    let lost = answers.iter().filter(|(_, answer)| answer["errorReason"] == "duplicate_settlement").count();
    assert_eq!((won, lost), (1, 5), "{answers:?}");
    assert_eq!(chain.transfers_to(&merchant(&chain)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_wants_finality_is_told_pending_until_it_is_reached() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    // Far more confirmations than come by themselves while the test runs.
    let network = NetworkOptions { lines: "final = 600\n".to_owned(), ..NetworkOptions::of(&chain) };
    let mut options = Options::new(network, &database::fresh().await);
    options.server.push_str("answer_within_v2_seconds = 3\n");
    let facilitator = Facilitator::start(&options).await;
    let signed = chain.payers[0].authorize(&Terms::to(&merchant(&chain)));
    let mut body = signed.v2();
    body["paymentRequirements"]["extra"]["answerAt"] = "final".into();

    let (status, pending) = facilitator.settle(&body).await;
    assert_eq!((status, &pending["errorReason"]), (200, &json!("settlement_pending")), "{pending}");
    assert!(pending["transaction"].as_str().is_some_and(|hash| hash.len() == 66), "{pending}");
    assert_eq!((&pending["success"], &pending["payer"]), (&json!(false), &json!(signed.payer)));
    eventually("the transfer", Duration::from_secs(20), || async {
        (chain.transfers_to(&merchant(&chain)).await.len() == 1).then_some(())
    })
    .await;

    // Used on chain, by our own settlement, whose success nobody has collected: the same request is still good.
    let (_, verified) = facilitator.verify(&body).await;
    assert_eq!(verified, json!({"isValid": true, "payer": signed.payer}));
    let mut other = body.clone();
    other["paymentPayload"]["resource"]["url"] = "http://localhost/other".into();
    let (_, foreign) = facilitator.verify(&other).await;
    assert_eq!(foreign["invalidReason"], "invalid_exact_evm_nonce_already_used", "for another purpose it is used: {foreign}");

    chain.mine(700).await;
    let settled = facilitator.settle_patiently(&body, Duration::from_secs(30)).await;
    assert_eq!((&settled["success"], &settled["extra"]["finality"]), (&json!(true), &json!("final")), "{settled}");
    assert_eq!(settled["transaction"], pending["transaction"]);
    assert_eq!(settled["extra"]["paymentId"], pending["extra"]["paymentId"]);

    // Collected: now it is used for everybody.
    let (_, verified) = facilitator.verify(&body).await;
    assert_eq!(verified["invalidReason"], "invalid_exact_evm_nonce_already_used", "{verified}");
    assert_eq!(facilitator.settle(&body).await.1["errorReason"], "duplicate_settlement");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_amount_is_answered_deeper_than_a_small_one() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let tiers = "answer_at = [{ below = \"1.00\", at = \"included\" }, { at = \"final\" }]\n";
    let network = NetworkOptions { lines: format!("final = 600\n{tiers}"), ..NetworkOptions::of(&chain) };
    let mut options = Options::new(network, &database::fresh().await);
    options.server.push_str("answer_within_v2_seconds = 3\n");
    let facilitator = Facilitator::start(&options).await;
    let pay = |payer: usize, amount| chain.payers[payer].authorize(&Terms { amount, ..Terms::to(&merchant(&chain)) }).v2();
    let (small, large) = (pay(0, 999_999), pay(1, 1_000_000));

    let settled = facilitator.settle_patiently(&small, Duration::from_secs(20)).await;
    assert_eq!((&settled["success"], &settled["extra"]["finality"]), (&json!(true), &json!("included")), "{settled}");

    let pending = facilitator.settle(&large).await.1;
    assert_eq!(pending["errorReason"], "settlement_pending", "{pending}");
    eventually("the transfer", Duration::from_secs(20), || async {
        (chain.transfers_to(&merchant(&chain)).await.len() == 2).then_some(())
    })
    .await;
    let pending = facilitator.settle(&large).await.1;
    assert_eq!(pending["errorReason"], "settlement_pending", "it stands in a block, and that is not enough: {pending}");
    chain.mine(700).await;
    let settled = facilitator.settle_patiently(&large, Duration::from_secs(30)).await;
    assert_eq!((&settled["success"], &settled["extra"]["finality"]), (&json!(true), &json!("final")), "{settled}");
    assert_eq!(settled["transaction"], pending["transaction"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_verdict_comes_as_200_where_the_operator_wants_that() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&chain.url);
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..NetworkOptions::of(&chain) };
    let mut options = Options::new(network, &database::fresh().await);
    options.server.push_str("unavailable_as_ok = true\n");
    let facilitator = Facilitator::start(&options).await;
    let body = chain.payers[0].authorize(&Terms::to(&merchant(&chain))).v2();
    proxy.rule(|_, _, _| Act::Status(500));

    let (status, verified) = facilitator.verify(&body).await;
    assert_eq!((status, &verified["invalidReason"]), (200, &json!("unexpected_verify_error")), "{verified}");
    let (status, settled) = facilitator.settle(&body).await;
    assert_eq!((status, &settled["errorReason"]), (200, &json!("unexpected_settle_error")), "{settled}");
    assert_eq!((&verified["isValid"], &settled["success"], &settled["transaction"]), (&json!(false), &json!(false), &json!("")));
    assert!(proxy.sent().is_empty());

    proxy.behave();
    assert_eq!(facilitator.settle_patiently(&body, Duration::from_secs(30)).await["success"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_payload_may_come_as_the_header_that_the_buyer_sent() {
    let (chain, facilitator) = start("").await;
    let body = chain.payers[0].authorize(&Terms::to(&merchant(&chain))).v1();
    let header = STANDARD.encode(body["paymentPayload"].to_string());
    let java = json!({"x402Version": 1, "paymentHeader": header, "paymentRequirements": body["paymentRequirements"]});

    assert_eq!(facilitator.verify(&java).await.1["isValid"], true);
    assert_eq!(facilitator.settle(&java).await.1["success"], true);
    assert_eq!(chain.transfers_to(&merchant(&chain)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_says_what_to_post_and_what_is_offered() {
    let (chain, facilitator) = start("").await;
    for endpoint in ["/verify", "/settle"] {
        let (status, description) = facilitator.get(endpoint).await;
        assert_eq!((status, &description["endpoint"]), (200, &json!(endpoint)));
        assert_eq!(
            description["body"],
            json!({"paymentPayload": "PaymentPayload", "paymentRequirements": "PaymentRequirements"})
        );
    }
    let (status, supported) = facilitator.get("/supported").await;
    let expected = json!({
        "kinds": [
            {"x402Version": 2, "scheme": "exact", "network": "eip155:84532"},
            {"x402Version": 1, "scheme": "exact", "network": "base-sepolia"},
            {"x402Version": 2, "scheme": "upto", "network": "eip155:84532", "extra": {"facilitatorAddress": chain.text("/accounts/signers/0/address")}},
            {"x402Version": 2, "scheme": "transfer", "network": "eip155:84532"},
        ],
        "extensions": ["eip2612GasSponsoring", "builder-code", "bazaar"],
        "signers": {"eip155:*": [chain.text("/accounts/signers/0/address")]},
    });
    assert_eq!((status, supported), (200, expected));
    for (path, status) in [("/health", 200), ("/", 200), ("/nothing", 404)] {
        let answer = facilitator.client().get(format!("{}{path}", facilitator.url)).send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
    }
}
