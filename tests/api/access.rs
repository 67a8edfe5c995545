//! Who may ask, and who may read what became of it.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::{self, open_account};
use crate::support::contract;
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::Merchant;
use crate::support::payer::{Signed, Terms};

async fn start(access: &str) -> (Chain, Facilitator) {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let options = Options {
        server: format!("access = {access:?}\n"),
        ..Options::new(NetworkOptions::of(&chain), &database::fresh().await)
    };
    let facilitator = Facilitator::start(&options).await;
    (chain, facilitator)
}

fn payment(chain: &Chain, payer: usize) -> Signed {
    chain.payers[payer].authorize(&Terms::to(&chain.text("/accounts/merchant/address")))
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

async fn post(facilitator: &Facilitator, path: &str, body: &Value, authorization: Option<&str>) -> (u16, Value) {
    let mut request = facilitator.client().post(format!("{}{path}", facilitator.url)).json(body);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    contract::read("POST", request.send().await.expect("an answer")).await.expect("JSON")
}

async fn get(facilitator: &Facilitator, path: &str, key: &str) -> (u16, Value) {
    let request = facilitator.client().get(format!("{}{path}", facilitator.url)).header("authorization", bearer(key));
    contract::read("GET", request.send().await.expect("an answer")).await.expect("JSON")
}

fn ids(page: &Value) -> Vec<String> {
    let payments = page["payments"].as_array().expect("a list").iter();
    payments.map(|payment| payment["id"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn where_keys_are_needed_only_a_providers_or_operators_key_opens() {
    let (chain, facilitator) = start("keys").await;
    let provider = open_account(&facilitator, "provider").await;
    let (merchant, operator) = (open_account(&facilitator, "merchant").await, open_account(&facilitator, "operator").await);
    let second = cli::run_well(&facilitator, &["api-key", "create", &provider.id]).await;
    let second = cli::word_behind(&second, "API key");
    let body = payment(&chain, 0).v2();

    let strangers_secret = format!("{}.{}", provider.key.split_once('.').expect("two halves").0, "ab".repeat(32));
    let unknown =
        format!("{}.{}", operator.key.split_once('.').expect("two halves").0.replace(['1', '2', '3'], "4"), "ab".repeat(32));
    let refused = [
        None,
        Some(String::new()),
        Some("Bearer".to_owned()),
        Some(bearer("")),
        Some(bearer("nonsense")),
        Some(format!("Basic {}", provider.key)),
        Some(provider.key.clone()),
        Some(format!("Bearer  {}", provider.key)),
        Some(bearer(&strangers_secret)),
        Some(bearer(&unknown)),
        Some(bearer(&format!("{}0", provider.key))),
    ];
    for authorization in &refused {
        let verified = post(&facilitator, "/verify", &body, authorization.as_deref()).await;
        let settled = post(&facilitator, "/settle", &body, authorization.as_deref()).await;
        assert_eq!(verified.0, 401, "{authorization:?}: {verified:?}");
        assert_eq!(
            (&verified.1["isValid"], &verified.1["invalidReason"], &verified.1["payer"]),
            (&json!(false), &json!("unauthorized"), &json!(""))
        );
        assert_eq!(settled.0, 401, "{authorization:?}: {settled:?}");
        assert_eq!((&settled.1["success"], &settled.1["errorReason"]), (&json!(false), &json!("unauthorized")));
        assert_eq!((&settled.1["transaction"], &settled.1["network"]), (&json!(""), &json!("unknown:unknown")));
    }
    let in_query = post(&facilitator, &format!("/settle?key={}", provider.key), &body, None).await;
    assert_eq!(in_query.0, 401, "a key in an address ends up in logs");
    let (status, nothing) = facilitator.get("/supported").await;
    assert_eq!((status, &nothing["kinds"], &nothing["signers"]), (401, &json!([]), &json!({})), "{nothing}");
    assert_eq!(nothing["errorReason"], "unauthorized", "{nothing}");
    let (status, nothing) = get(&facilitator, "/supported", &merchant.key).await;
    assert_eq!((status, &nothing["kinds"], &nothing["errorReason"]), (403, &json!([]), &json!("forbidden")), "{nothing}");

    let (status, answer) = post(&facilitator, "/settle", &body, Some(&bearer(&merchant.key))).await;
    assert_eq!((status, &answer["errorReason"]), (403, &json!("forbidden")), "{answer}");
    assert_eq!(chain.transfers_to(&chain.text("/accounts/merchant/address")).await.len(), 0);

    for key in [&provider.key, &second, &operator.key] {
        let (status, answer) = post(&facilitator, "/verify", &body, Some(&bearer(key))).await;
        assert_eq!((status, &answer["isValid"]), (200, &json!(true)), "{answer}");
    }
    assert_eq!(get(&facilitator, "/supported", &provider.key).await.0, 200);

    // A revoked key is worth nothing, and its sister still opens.
    let name = second.split_once('.').expect("two halves").0;
    let printed = cli::run_well(&facilitator, &["api-key", "revoke", name]).await;
    assert!(printed.contains(name), "{printed}");
    assert_eq!(post(&facilitator, "/verify", &body, Some(&bearer(&second))).await.0, 401);
    assert_eq!(post(&facilitator, "/settle", &body, Some(&bearer(&provider.key))).await.1["success"], true);
    let again = cli::run(&facilitator, &["api-key", "revoke", name]).await;
    assert_eq!(again.status.code(), Some(3), "it was revoked before");

    let list = cli::run_well(&facilitator, &["api-key", "list", &provider.id]).await;
    let lines: Vec<_> = list.lines().collect();
    assert_eq!((lines.len(), lines.iter().filter(|line| line.contains("revoked")).count()), (2, 1), "{list}");
    for key in [&provider.key, &second] {
        let (name, secret) = key.split_once('.').expect("two halves");
        assert!(list.contains(name) && !list.contains(secret), "{list}");
    }
    let nobody = cli::run(&facilitator, &["api-key", "create", &provider.id.replace(['1', '2', '3'], "4")]).await;
    assert_eq!(nobody.status.code(), Some(3), "there is no such account");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_worth_nothing_is_refused_even_where_none_is_needed() {
    let (chain, facilitator) = start("open").await;
    let body = payment(&chain, 0).v2();
    assert_eq!(post(&facilitator, "/verify", &body, Some("Bearer nonsense")).await.0, 401);
    assert_eq!(post(&facilitator, "/verify", &body, None).await.1["isValid"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_reads_its_own_payments_and_nobody_elses() {
    let (chain, facilitator) = start("open").await;
    let (ours, theirs) = (open_account(&facilitator, "provider").await, open_account(&facilitator, "provider").await);
    let operator = open_account(&facilitator, "operator").await;
    let payments: Vec<_> = (0..5).map(|payer| payment(&chain, payer)).collect();
    let bodies: Vec<_> = payments.iter().map(Signed::v2).collect();
    let key = bearer(&ours.key);
    let settled = join_all(bodies.iter().map(|body| post(&facilitator, "/settle", body, Some(&key)))).await;
    let anonymous = payment(&chain, 5);
    let (_, anonymous_answer) = facilitator.settle(&anonymous.v2()).await;
    let id = settled[0].1["extra"]["paymentId"].as_str().expect("a name");
    let transaction = settled[0].1["transaction"].as_str().expect("a hash");

    let (status, shown) = get(&facilitator, &format!("/v1/payments/{id}"), &ours.key).await;
    assert_eq!((status, &shown["state"], &shown["finality"]), (200, &json!("included"), &json!("included")), "{shown}");
    let expected = [
        ("id", json!(id)),
        ("network", json!("eip155:84532")),
        ("asset", json!(chain.usdc())),
        ("payer", json!(payments[0].payer)),
        ("payTo", json!(payments[0].terms.pay_to)),
        ("amount", json!("10000")),
        ("transaction", json!(transaction)),
        ("resource", json!("http://localhost/inference")),
        ("x402Version", json!(2)),
    ];
    for (member, value) in expected {
        assert_eq!(shown[member], value, "{member}: {shown}");
    }
    assert!(shown["answeredAt"].is_string() && shown["events"].as_array().is_some_and(|events| !events.is_empty()), "{shown}");
    let signature = payments[0].payload["signature"].as_str().expect("a signature");
    assert!(!shown.to_string().contains(&signature[2..]), "a signature never leaves");

    // By authorization, by transaction, by state.
    let authorization = format!("eip155:84532:{}:{}:{}", chain.usdc(), payments[0].payer, payments[0].nonce);
    let by_authorization = format!("/v1/payments?authorization={authorization}");
    assert_eq!(ids(&get(&facilitator, &by_authorization, &ours.key).await.1), [id]);
    let by_transaction = format!("/v1/payments?transaction={transaction}");
    assert!(ids(&get(&facilitator, &by_transaction, &ours.key).await.1).contains(&id.to_owned()));
    assert_eq!(ids(&get(&facilitator, "/v1/payments?state=included", &ours.key).await.1).len(), 5);
    assert!(ids(&get(&facilitator, "/v1/payments?state=failed", &ours.key).await.1).is_empty());

    // In pages: every payment once, newest first.
    let mut seen = Vec::new();
    let mut path = "/v1/payments?limit=2".to_owned();
    loop {
        let (status, page) = get(&facilitator, &path, &ours.key).await;
        assert_eq!(status, 200, "{page}");
        assert!(ids(&page).len() <= 2, "{page}");
        seen.extend(ids(&page));
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/v1/payments?limit=2&cursor={cursor}");
    }
    let wanted: BTreeSet<_> =
        settled.iter().map(|(_, answer)| answer["extra"]["paymentId"].as_str().expect("a name").to_owned()).collect();
    assert_eq!((seen.len(), seen.iter().cloned().collect::<BTreeSet<_>>()), (5, wanted));
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "{seen:?}");

    // Somebody else sees nothing, and cannot tell that there is something.
    let (status, hidden) = get(&facilitator, &format!("/v1/payments/{id}"), &theirs.key).await;
    let (_, absent) = get(&facilitator, "/v1/payments/pay_00000000000070008000000000000000", &theirs.key).await;
    assert_eq!((status, &hidden), (404, &absent));
    for path in ["/v1/payments", &by_authorization, &by_transaction] {
        assert!(ids(&get(&facilitator, path, &theirs.key).await.1).is_empty(), "{path}");
    }
    assert_eq!(facilitator.get(&format!("/v1/payments/{id}")).await.0, 404, "nor does somebody without a key");
    for path in ["/v1/payments", by_authorization.as_str(), by_transaction.as_str()] {
        assert_eq!(facilitator.get(path).await.0, 401, "{path}");
    }
    // A merchant's key reads what its account asked for, by name as in the list.
    let merchants = cli::run_well(&facilitator, &["api-key", "create", &ours.id, "--scope", "merchant"]).await;
    let merchants = cli::word_behind(&merchants, "API key");
    let stranger = open_account(&facilitator, "merchant").await;
    assert_eq!(ids(&get(&facilitator, &by_authorization, &merchants).await.1), [id]);
    let (status, read) = get(&facilitator, &format!("/v1/payments/{id}"), &merchants).await;
    assert_eq!((status, &read["id"]), (200, &json!(id)), "{read}");
    assert!(ids(&get(&facilitator, &by_authorization, &stranger.key).await.1).is_empty());
    assert_eq!(get(&facilitator, &format!("/v1/payments/{id}"), &stranger.key).await, (404, absent));

    // The operator sees all, and a payment without an account is read by whoever knows its name.
    assert_eq!(ids(&get(&facilitator, "/v1/payments", &operator.key).await.1).len(), 6);
    let anonymous_id = anonymous_answer["extra"]["paymentId"].as_str().expect("a name");
    assert_eq!(facilitator.get(&format!("/v1/payments/{anonymous_id}")).await.0, 200);
    // Its authorization, which stands on the chain for everybody, is no such name.
    let on_chain = format!("/v1/payments?authorization=eip155:84532:{}:{}:{}", chain.usdc(), anonymous.payer, anonymous.nonce);
    assert!(ids(&get(&facilitator, &on_chain, &theirs.key).await.1).is_empty());
    assert_eq!(ids(&get(&facilitator, &on_chain, &operator.key).await.1), [anonymous_id]);

    for query in [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=1000000000",
        "limit=x",
        "state=lost",
        "cursor=x",
        "cursor=pay_x",
        "authorization=x",
        "transaction=",
        "transaction=%00",
        "unknown=1",
        "authorization=eip155:84532:0x00:0x00:0x00",
    ] {
        let (status, problem) = get(&facilitator, &format!("/v1/payments?{query}"), &ours.key).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_parameter")), "{query}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_reads_the_payments_to_its_addresses_whoever_asked_for_them() {
    let (chain, facilitator) = start("open").await;
    let provider = open_account(&facilitator, "provider").await;
    let (merchant, stranger) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.01"})).await;
    let terms = Terms::to(&chain.payers[0].address());
    let mut named = chain.payers[1].authorize(&terms).v2();
    named["paymentRequirements"] = invoice["accepts"][0].clone();
    named["paymentPayload"]["accepted"] = invoice["accepts"][0].clone();
    let nonce = invoice["options"][0]["nonce"].as_str().expect("a nonce").parse().expect("32 bytes");
    let payer = &chain.payers[2];
    let marked = payer.authorize_with(&terms, nonce, payer.address().parse().expect("an address")).v2();
    let plain = chain.payers[3].authorize(&terms).v2();
    let elsewhere = payment(&chain, 4).v2();
    let mut paid = Vec::new();
    for body in [&named, &marked, &plain, &elsewhere] {
        let (_, answer) = post(&facilitator, "/settle", body, Some(&bearer(&provider.key))).await;
        paid.push(answer["extra"]["paymentId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned());
    }

    let newest_first = |wanted: &[usize]| wanted.iter().rev().map(|index| paid[*index].clone()).collect::<Vec<_>>();
    let listed = async |key: &str, query: &str| ids(&get(&facilitator, &format!("/v1/payments{query}"), key).await.1);
    let of_invoice = format!("?invoice={}", invoice["id"].as_str().expect("a name"));
    assert_eq!(listed(merchant.key(), "").await, newest_first(&[0, 1, 2]));
    assert_eq!(listed(merchant.key(), "?limit=1").await, newest_first(&[2]));
    assert_eq!(listed(merchant.key(), &of_invoice).await, newest_first(&[0]));
    assert_eq!(listed(&provider.key, "").await, newest_first(&[0, 1, 2, 3]));
    assert_eq!(listed(&provider.key, &of_invoice).await, newest_first(&[0]));
    for query in ["", of_invoice.as_str()] {
        assert!(listed(stranger.key(), query).await.is_empty(), "{query}");
    }
    let (status, shown) = merchant.get(&format!("/v1/payments/{}", paid[0])).await;
    assert_eq!((status, &shown["invoice"]), (200, &invoice["id"]), "{shown}");
    assert_eq!(merchant.get(&format!("/v1/payments/{}", paid[3])).await.0, 404);
    assert_eq!(stranger.get(&format!("/v1/payments/{}", paid[0])).await.0, 404);
    let (status, problem) = merchant.get("/v1/payments?invoice=7").await;
    assert_eq!((status, &problem["code"]), (400, &json!("bad_parameter")), "{problem}");
    let export = format!("{}/v1/export/payments.csv", facilitator.url);
    let export = facilitator.client().get(export).bearer_auth(merchant.key()).send().await.expect("an answer");
    let lines = export.text().await.expect("text").lines().count();
    assert_eq!(lines, 4, "the export has what the list has, and a head");
}
