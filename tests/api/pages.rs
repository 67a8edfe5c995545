//! What people are served: the page of an invoice, for browsers with and without scripts, and where it stands for programs.

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay};
use crate::support::receipts::Keys;
use crate::support::{contract, database};

mod dashboard;

/// What browsers accept.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/// What somebody writes who wants to be more than a text.
const HOSTILE: &str = "</title><script>alert(1)</script>\"'&";

/// An answer: status, headers, text.
type Answer = (u16, HeaderMap, String);

async fn get(facilitator: &Facilitator, path: &str, accept: &str) -> Answer {
    let request = facilitator.client().get(format!("{}{path}", facilitator.url)).header("accept", accept);
    let answer = request.send().await.expect("an answer");
    let headers = answer.headers().clone();
    let (status, text) = contract::read_text("GET", answer).await.expect("text");
    (status, headers, text)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map(|value| value.to_str().expect("text")).unwrap_or_default()
}

fn path(invoice: &Value) -> String {
    format!("/i/{}", invoice["id"].as_str().expect("a name"))
}

async fn start() -> (Chain, Facilitator, Keys) {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let keys = Keys::generate().await;
    let network = NetworkOptions { lines: "final = 1000\n".to_owned(), ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&keys.options(network, &database::fresh().await)).await;
    (chain, facilitator, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_is_a_page_for_browsers_and_a_standing_for_programs_until_it_is_paid() {
    let (chain, facilitator, _keys) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    let shop = &chain.payers[0];
    merchant.register(&chain.network(), shop).await;
    let order = json!({
        "amount": "0.25", "reserveAddress": true, "description": HOSTILE, "reference": "order-417", "metadata": {"note": "my own"},
    });
    let invoice = merchant.invoice(&order).await;
    let path = path(&invoice);

    let (status, headers, page) = get(&facilitator, &path, BROWSER).await;
    assert_eq!((status, header(&headers, "content-type")), (200, "text/html; charset=utf-8"), "{page}");
    assert!(page.contains("Waiting for payment") && page.contains(&shop.address()) && page.contains("http-equiv=\"refresh\""));
    assert!(!page.contains("<script>") && !page.contains("order-417") && !page.contains("my own"), "{page}");
    assert!(header(&headers, "content-security-policy").contains("script-src 'self'"));
    for (name, value) in [
        ("cache-control", "no-store"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("vary", "accept"),
    ] {
        assert_eq!(header(&headers, name), value, "{name}");
    }

    // Programs ask for anything, and are told in JSON. The page knows what they are told.
    let (status, headers, open) = get(&facilitator, &path, "*/*").await;
    let tag = header(&headers, "etag").trim_matches('"').to_owned();
    assert!(page.contains(&format!("data-tag=\"{tag}\"")), "{tag}");
    let told: Value = serde_json::from_str(&open).expect("JSON");
    assert_eq!((status, &told["status"], &told["payable"]), (200, &json!("open"), &json!(true)), "{told}");
    assert_eq!((&told["amountDue"], &told["receipts"]), (&json!("0.25"), &json!([])), "{told}");

    pay(&chain, &chain.payers[1], &shop.address(), 250_000).await;
    let paid = merchant.until(&invoice, "paid").await;

    let (_, headers, standing) = get(&facilitator, &path, "application/json").await;
    assert_ne!(header(&headers, "etag").trim_matches('"'), tag, "what was told is no longer so");
    let told: Value = serde_json::from_str(&standing).expect("JSON");
    assert_eq!((&told["status"], &told["payable"], &told["amountDue"]), (&json!("paid"), &json!(false), &json!("0")), "{told}");
    assert_eq!(told["receipts"][0]["id"], paid["receipts"][0]["id"], "{told}");
    let (_, _, page) = get(&facilitator, &path, BROWSER).await;
    let receipt = paid["receipts"][0]["id"].as_str().expect("a name");
    assert!(
        page.contains(receipt) && page.contains(">Paid<") && !page.contains("http-equiv") && !page.contains("ethereum:"),
        "{page}"
    );
    // The name of an invoice is no secret, and a signed receipt is worth what was bought.
    let signed = paid["receipts"][0]["receipt"].as_str().expect("signed");
    assert!(!page.contains(signed) && !standing.contains(signed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_is_told_to_browsers_as_a_page_and_to_programs_as_a_document() {
    let chain = Chain::start(ChainOptions::default()).await;
    let mut options = Options::new(NetworkOptions::of(&chain), &database::fresh().await);
    options.server.push_str("[limits]\naddress_per_second = 1\naddress_burst = 3\n");
    let facilitator = Facilitator::start(&options).await;
    let nobodys = "/i/inv_018f4a1e7d3c70008000000000000001";

    for path in [nobodys, "/i/%3Cscript%3E"] {
        let (status, _, text) = get(&facilitator, path, "application/json").await;
        assert!(status == 404 && text.contains("\"not_found\""), "{path} {status}: {text}");
    }
    let (status, headers, page) = get(&facilitator, nobodys, BROWSER).await;
    assert_eq!((status, header(&headers, "content-type")), (404, "text/html; charset=utf-8"), "{page}");
    // Whoever asks too often is told so in the same way.
    let mut last = get(&facilitator, nobodys, BROWSER).await;
    for _ in 0..20 {
        if last.0 == 429 {
            break;
        }
        last = get(&facilitator, nobodys, BROWSER).await;
    }
    assert_eq!((last.0, header(&last.1, "content-type")), (429, "text/html; charset=utf-8"), "{}", last.2);
    assert!(!header(&last.1, "retry-after").is_empty() && last.2.contains("<h1>"));
    let (status, _, text) = get(&facilitator, nobodys, "*/*").await;
    assert!(status == 429 && text.contains("\"rate_limited\""), "{status}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn style_and_script_are_kept_under_the_addresses_that_pages_name() {
    let (chain, facilitator, _keys) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.25"})).await;
    let (_, _, page) = get(&facilitator, &path(&invoice), BROWSER).await;

    let named: Vec<_> = page.split('"').filter(|word| word.starts_with("/assets/")).collect();
    assert_eq!(named.len(), 3, "{named:?}");
    for address in named {
        let (status, headers, _) = get(&facilitator, address, "*/*").await;
        assert_eq!((status, header(&headers, "cache-control")), (200, "public, max-age=31536000, immutable"), "{address}");
        let (status, headers, _) = get(&facilitator, address.split_once('?').expect("a version").0, "*/*").await;
        assert_eq!((status, header(&headers, "cache-control")), (200, "no-store"), "{address} of no release");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_wants_no_pages_serves_none() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let mut options = Options::new(NetworkOptions::of(&chain), &database::fresh().await);
    options.server.push_str("pages = \"none\"\n");
    let facilitator = Facilitator::start(&options).await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.25"})).await;

    for accept in [BROWSER, "application/json"] {
        assert_eq!(get(&facilitator, &path(&invoice), accept).await.0, 404, "{accept}");
    }
}
