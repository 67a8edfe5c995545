//! gRPC: the same service as over HTTP, for another kind of client.

use std::time::Duration;

use futures_util::future::join_all;
use quittance::grpc::v1::facilitator_client::FacilitatorClient;
use quittance::grpc::v1::receipts_client::ReceiptsClient;
use quittance::grpc::v1::{ReceiptsVerifyRequest, SettleResponse, SupportedRequest};
use serde_json::{Value, json};
use tonic::{Code, Request};
use tonic_types::StatusExt;

use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::open_account;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::grpc::{connect, keyed, once, refusal, settle, verify};
use crate::support::payer::Terms;
use crate::support::permit2::{Order, approve};
use crate::support::receipts::Keys;
use crate::support::{database, eventually};

mod limits;
mod merchants;
mod rates;
mod waiting;
mod watching;

const PATIENCE: Duration = Duration::from_secs(30);

async fn start(server: &str) -> (Chain, Facilitator) {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let options = Options { server: server.to_owned(), ..Options::new(NetworkOptions::of(&chain), &database::fresh().await) };
    let facilitator = Facilitator::start(&options).await;
    (chain, facilitator)
}

const OPEN: &str = "access = \"open\"\n";
const KEYS: &str = "access = \"keys\"\n";

fn with<M>(message: M, key: Option<&str>) -> Request<M> {
    match key {
        Some(key) => keyed(message, key),
        None => Request::new(message),
    }
}

fn shop(chain: &Chain) -> String {
    chain.text("/accounts/merchant/address")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_verified_and_settled_once_and_its_receipt_holds() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let keys = Keys::generate().await;
    let facilitator = Facilitator::start(&keys.options(NetworkOptions::of(&chain), &database::fresh().await)).await;
    let signed = chain.payers[0].authorize(&Terms::to(&shop(&chain)));
    let mut client = FacilitatorClient::new(connect(&facilitator));

    let supported = client.supported(SupportedRequest {}).await.expect("an answer").into_inner();
    let verified = client.verify(verify(&signed.v2())).await.expect("a verdict").into_inner();
    let settled = client.settle(settle(&signed.v2())).await.expect("an answer").into_inner();
    let again = client.settle(settle(&signed.v2())).await.expect("an answer").into_inner();

    let (status, offered) = facilitator.get("/supported").await;
    assert_eq!((status, supported.kinds.len()), (200, offered["kinds"].as_array().expect("kinds").len()));
    assert_eq!((supported.kinds[0].x402_version, supported.kinds[0].network.as_str()), (2, chain.network().as_str()));
    let signers: Vec<_> = offered["signers"]["eip155:*"].as_array().expect("signers").clone();
    assert_eq!(signers, supported.signers["eip155:*"].addresses);
    assert_eq!((verified.is_valid, verified.invalid_reason, verified.payer), (true, None, signed.payer.clone()));

    assert!(settled.success, "{settled:?}");
    assert_eq!((settled.payer.as_str(), settled.network.as_str()), (signed.payer.as_str(), chain.network().as_str()));
    assert_eq!((settled.amount.as_deref(), settled.finality.as_deref()), (Some("10000"), Some("included")));
    assert_eq!((again.success, again.error_reason.as_deref()), (false, Some("duplicate_settlement")), "{again:?}");
    assert_eq!(again.transaction, settled.transaction);
    assert!(settled.payment_id.is_some_and(|payment| payment.starts_with("pay_")));
    let transfers = chain.transfers_to(&shop(&chain)).await;
    assert_eq!((transfers.len(), &transfers[0]["transactionHash"]), (1, &json!(settled.transaction)));

    let receipt = settled.receipt.expect("a receipt");
    let extensions: Value = serde_json::from_str(&settled.extensions.expect("extensions")).expect("JSON");
    assert_eq!(extensions["settlement-receipt"]["info"]["receipt"]["signature"], receipt);
    let verdict = ReceiptsClient::new(connect(&facilitator)).verify(ReceiptsVerifyRequest { receipt }).await;
    let verdict = verdict.expect("a verdict").into_inner();
    let claims: Value = serde_json::from_str(&verdict.claims.expect("claims")).expect("JSON");
    assert_eq!((verdict.valid, &claims["transaction"]), (true, &json!(settled.transaction)));
}

/// What both transports say of a settlement.
fn told(settled: SettleResponse) -> (bool, Option<String>, String) {
    (settled.success, settled.error_reason, settled.transaction)
}

fn told_over_http((status, answer): (u16, Value)) -> (bool, Option<String>, String) {
    assert_eq!(status, 200, "{answer}");
    let text = |name: &str| answer[name].as_str().map(str::to_owned);
    (answer["success"] == true, text("errorReason"), text("transaction").unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_settle_over_both_transports_at_once_one_is_told_of_success() {
    let (chain, facilitator) = start(OPEN).await;
    let payments = chain.payers.iter().map(|payer| payer.authorize(&Terms::to(&shop(&chain))).v2());
    let bodies: Vec<_> = payments.take(8).collect();
    let client = FacilitatorClient::new(connect(&facilitator));

    let both = bodies.iter().map(|body| {
        let mut client = client.clone();
        let over_grpc = async move { told(client.settle(settle(body)).await.expect("an answer").into_inner()) };
        let over_http = async { told_over_http(facilitator.settle(body).await) };
        async { tokio::join!(over_grpc, over_http) }
    });
    let answers = join_all(both).await;

    for (one, other) in &answers {
        assert!(one.0 != other.0, "one of both is told of success: {one:?} {other:?}");
        let lost = if one.0 { other } else { one };
        assert_eq!(lost.1.as_deref(), Some("duplicate_settlement"));
        assert_eq!(one.2, other.2, "both name the same transaction");
    }
    assert_eq!(chain.transfers_to(&shop(&chain)).await.len(), bodies.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_keys_are_needed_only_a_providers_or_operators_key_opens() {
    let (chain, facilitator) = start(KEYS).await;
    let (provider, operator) = (open_account(&facilitator, "provider").await, open_account(&facilitator, "operator").await);
    let merchant = open_account(&facilitator, "merchant").await;
    let body = chain.payers[0].authorize(&Terms::to(&shop(&chain))).v2();
    let mut client = FacilitatorClient::new(connect(&facilitator));

    let stranger = format!("{}.{}", provider.key.split_once('.').expect("two halves").0, "ab".repeat(32));
    let unauthorized = (Code::Unauthenticated, "unauthorized".to_owned());
    for key in [None, Some(""), Some("nonsense"), Some(stranger.as_str())] {
        let refused = client.settle(with(settle(&body), key)).await.expect_err("a refusal");
        assert_eq!(refusal(&refused), unauthorized, "{key:?}");
        let refused = client.verify(with(verify(&body), key)).await.expect_err("a refusal");
        assert_eq!(refusal(&refused), unauthorized, "{key:?}");
        let refused = client.supported(with(SupportedRequest {}, key)).await.expect_err("a refusal");
        assert_eq!(refusal(&refused), unauthorized, "{key:?}");
    }
    let refused = client.settle(keyed(settle(&body), &merchant.key)).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::PermissionDenied, "forbidden".to_owned()));
    assert_eq!(chain.transfers_to(&shop(&chain)).await.len(), 0);

    for key in [&provider.key, &operator.key] {
        assert!(client.verify(keyed(verify(&body), key)).await.expect("a verdict").into_inner().is_valid);
        assert!(!client.supported(keyed(SupportedRequest {}, key)).await.expect("an answer").into_inner().kinds.is_empty());
    }
    assert!(client.settle(keyed(settle(&body), &provider.key)).await.expect("an answer").into_inner().success);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_counts_over_both_transports() {
    let (chain, facilitator) = start(KEYS).await;
    let provider = open_account(&facilitator, "provider").await;
    let payments = chain.payers.iter().map(|payer| payer.authorize(&Terms::to(&shop(&chain))).v2());
    let [first, second, third] = payments.take(3).collect::<Vec<_>>().try_into().expect("three");
    let mut client = FacilitatorClient::new(connect(&facilitator));
    let over_http = async |body: &Value, key: &str| {
        let request = facilitator.client().post(format!("{}/settle", facilitator.url)).bearer_auth(&provider.key);
        let answer = request.header("idempotency-key", key).json(body).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json::<Value>().await.expect("JSON"))
    };
    let call = |body: &Value, key: &str| once(keyed(settle(body), &provider.key), key);
    let (one, other) = ("0123456789abcdef", "fedcba9876543210");

    let settled = client.settle(call(&first, one)).await.expect("an answer").into_inner();
    let again = client.settle(call(&first, one)).await.expect("an answer").into_inner();
    assert!(settled.success && settled == again, "{settled:?} {again:?}");
    assert_eq!(told_over_http(over_http(&first, one).await), told(settled));

    let settled = over_http(&second, other).await;
    let again = client.settle(call(&second, other)).await.expect("an answer").into_inner();
    assert_eq!((told_over_http(settled), again.success), (told(again.clone()), true));

    let refused = client.settle(call(&third, one)).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::Aborted, "idempotency_key_reused".to_owned()));
    let refused = client.settle(call(&third, "short")).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::InvalidArgument, "invalid_idempotency_key".to_owned()));
    assert_eq!(chain.transfers_to(&shop(&chain)).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_is_refused_with_the_code_of_http() {
    let (chain, facilitator) = start(OPEN).await;
    let body = chain.payers[0].authorize(&Terms::to(&shop(&chain))).v2();
    let good = verify(&body);
    let (payload, requirements) = (good.payment_payload.as_str(), good.payment_requirements.as_str());
    let mut client = FacilitatorClient::new(connect(&facilitator));

    let twice = requirements.replacen("{\"", "{\"scheme\":\"exact\",\"", 1);
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let two = format!("{{}},\"paymentRequirements\":{requirements}");
    let too_much = payload.replace("\"10000\"", "\"340282366920938463463374607431768211456\"");
    for (payload, requirements, code) in [
        ("", requirements, "missing_parameters"),
        (payload, "", "missing_parameters"),
        ("{", requirements, "invalid_json"),
        ("[]", requirements, "invalid_json"),
        ("null", requirements, "invalid_json"),
        (payload, "1e400", "invalid_json"),
        (payload, twice.as_str(), "invalid_json"),
        (deep.as_str(), requirements, "invalid_json"),
        (two.as_str(), requirements, "invalid_json"),
        (too_much.as_str(), requirements, "invalid_payload"),
    ] {
        let (text, terms) = (payload.to_owned(), requirements.to_owned());
        let message = quittance::grpc::v1::VerifyRequest { payment_payload: text.clone(), payment_requirements: terms.clone() };
        let verified = client.verify(message).await.expect_err("a refusal");
        let message = quittance::grpc::v1::SettleRequest { payment_payload: text, payment_requirements: terms };
        let settled = client.settle(message).await.expect_err("a refusal");
        let expected = (Code::InvalidArgument, code.to_owned());
        assert_eq!((refusal(&verified), refusal(&settled)), (expected.clone(), expected), "{payload} {requirements}");
        assert!(!verified.message().is_empty() && verified.get_details_retry_info().is_none());
    }
    // Who pays is told where it could be read.
    let message = quittance::grpc::v1::VerifyRequest { payment_payload: too_much, payment_requirements: requirements.to_owned() };
    let refused = client.verify(message).await.expect_err("a refusal").get_details_error_info().expect("details");
    assert_eq!(refused.metadata["payer"], body["paymentPayload"]["payload"]["authorization"]["from"]);

    // A verdict is an answer, whatever it says.
    let mut other = body.clone();
    other["paymentPayload"]["x402Version"] = json!(3);
    let verdict = client.verify(verify(&other)).await.expect("a verdict").into_inner();
    assert_eq!((verdict.is_valid, verdict.invalid_reason.as_deref()), (false, Some("invalid_x402_version")));
    let settled = client.settle(settle(&other)).await.expect("an answer").into_inner();
    assert_eq!((settled.success, settled.error_reason.as_deref()), (false, Some("invalid_x402_version")));
    assert_eq!(chain.transfers_to(&shop(&chain)).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_cannot_be_read_is_unavailable_and_says_when_to_ask_again() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let away =
        NetworkOptions { id: "eip155:8453".to_owned(), rpc: vec!["http://127.0.0.1:9".to_owned()], ..NetworkOptions::of(&chain) };
    let mut options = Options::new(NetworkOptions::of(&chain), &database::fresh().await);
    options.networks.push(away);
    options.server.push_str("unavailable_as_ok = true\n");
    let facilitator = Facilitator::start(&options).await;
    let mut body = chain.payers[0].authorize(&Terms::to(&shop(&chain))).v2();
    for pointer in ["/paymentRequirements", "/paymentPayload/accepted"] {
        let terms = body.pointer_mut(pointer).expect("terms");
        terms["network"] = json!("eip155:8453");
        terms["asset"] = json!("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913");
    }
    let mut client = FacilitatorClient::new(connect(&facilitator));

    let refused = client.settle(settle(&body)).await.expect_err("a refusal");

    assert_eq!(refusal(&refused), (Code::Unavailable, "unexpected_settle_error".to_owned()));
    assert_eq!(refused.get_details_retry_info().and_then(|info| info.retry_delay), Some(Duration::from_secs(1)));
    // The setting for old clients of HTTP changes nothing here: a client of gRPC reads every status.
    assert_eq!(facilitator.settle(&body).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_of_nothing_is_told_once_and_has_no_transaction() {
    let (chain, facilitator) = start(OPEN).await;
    let payer = &chain.payers[0];
    approve(&chain, &payer.address()).await;
    let body = Order::upto(&chain, payer, &Terms::to(&shop(&chain))).sign(&chain, payer.signer()).v2_of(0);
    let mut client = FacilitatorClient::new(connect(&facilitator));

    let waived = client.settle(settle(&body)).await.expect("an answer").into_inner();
    let again = client.settle(settle(&body)).await.expect("an answer").into_inner();

    assert!(waived.success && waived.payment_id.is_some(), "{waived:?}");
    assert_eq!((waived.amount.as_deref(), waived.transaction.as_str(), waived.finality), (Some("0"), "", None));
    assert_eq!((again.success, again.error_reason.as_deref()), (false, Some("duplicate_settlement")), "{again:?}");
    assert_eq!(chain.transfers_to(&shop(&chain)).await.len(), 0);
}

/// The client that gRPC has for Node.js, with the contract and nothing else of ours.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_in_another_language_settles_a_payment() {
    let (chain, facilitator) = start(KEYS).await;
    let provider = open_account(&facilitator, "provider").await;
    let body = chain.payers[0].authorize(&Terms::to(&shop(&chain))).v2();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), body.to_string()).expect("it is writable");
    let address = facilitator.grpc.strip_prefix("http://").expect("an address");
    let script = crate::support::root().join("dev/settle-over-grpc.mjs");

    let run = tokio::process::Command::new("node").arg(script).arg(address).arg(file.path()).arg(&provider.key).output().await;
    let run = run.expect("node runs");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let told: Value = serde_json::from_slice(&run.stdout).expect("JSON");

    assert_eq!(told["verified"]["is_valid"], true, "{told}");
    assert_eq!((&told["settled"]["success"], &told["settled"]["amount"]), (&json!(true), &json!("10000")), "{told}");
    assert_eq!((&told["again"]["success"], &told["again"]["error_reason"]), (&json!(false), &json!("duplicate_settlement")));
    assert_eq!(told["nonsense"], json!({"code": "INVALID_ARGUMENT", "says": true}));
    let transfers = chain.transfers_to(&shop(&chain)).await;
    assert_eq!((transfers.len(), &transfers[0]["transactionHash"]), (1, &told["settled"]["transaction"]));
}
