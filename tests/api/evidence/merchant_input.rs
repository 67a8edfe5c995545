//! What merchants send: every row of the list in `tests/vectors/merchant_input/README.md` is data beside it, or names its tests.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use super::report;
use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::{run_well, word_behind};
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, sign};
use crate::support::solana::Cluster;

mod texts;

const FILES: [&str; 5] = [
    include_str!("../../vectors/merchant_input/access.json"),
    include_str!("../../vectors/merchant_input/addresses.json"),
    include_str!("../../vectors/merchant_input/invoices.json"),
    include_str!("../../vectors/merchant_input/lists.json"),
    include_str!("../../vectors/merchant_input/webhooks.json"),
];

/// A row, or a part of one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    row: u32,
    name: String,
    /// Methods and paths.
    requests: Vec<String>,
    #[serde(default)]
    queries: Vec<String>,
    /// Headers to set, or with `null` to leave out.
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    body: Option<Value>,
    each: Option<Each>,
    /// The status, and the code if one is meant.
    expect: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Each {
    /// A member of the body, by JSON pointer.
    at: String,
    values: Vec<Value>,
}

/// What is asked, and how it must be answered.
#[derive(Debug)]
struct Request<'a> {
    case: &'a Case,
    method: &'a str,
    path: String,
    body: Option<Value>,
}

impl Case {
    fn bodies(&self) -> Vec<Option<Value>> {
        let Some(Each { at, values }) = &self.each else { return vec![self.body.clone()] };
        let with = |value: &Value| {
            let mut body = self.body.clone().expect("a body");
            let name = at.strip_prefix('/').expect("a pointer to a member");
            body.as_object_mut().expect("an object").insert(name.to_owned(), value.clone());
            Some(body)
        };
        values.iter().map(with).collect()
    }

    fn requests(&self) -> Vec<Request<'_>> {
        let mut requests = Vec::new();
        for line in &self.requests {
            let (method, path) = line.split_once(' ').expect("a method and a path");
            let paths = self.queries.iter().map(|query| format!("{path}?{query}"));
            let paths = if self.queries.is_empty() { vec![path.to_owned()] } else { paths.collect() };
            for path in paths {
                let of_body = |body| Request { case: self, method, path: path.clone(), body };
                requests.extend(self.bodies().into_iter().map(of_body));
            }
        }
        requests
    }
}

/// Replaces words in `${}` by what they stand for.
fn fill(text: &str, words: &BTreeMap<&str, String>) -> String {
    let mut text = words.iter().fold(text.to_owned(), |text, (word, thing)| text.replace(&format!("${{{word}}}"), thing));
    while let Some(at) = text.find("${x") {
        let length = text[at + 3..].split_once('}').expect("a number of letters").0;
        let letters = "x".repeat(length.parse().expect("a number"));
        text = text.replace(&format!("${{x{length}}}"), &letters);
    }
    text
}

fn cases(words: &BTreeMap<&str, String>) -> Vec<Case> {
    FILES.iter().flat_map(|file| serde_json::from_str::<Vec<Case>>(&fill(file, words)).expect("a list of cases")).collect()
}

/// A merchant among others, on an EVM network and on Solana.
struct World<'a> {
    facilitator: &'a Facilitator,
    merchant: Merchant<'a>,
    words: BTreeMap<&'static str, String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The same address with one letter in the other case, which its checksum does not allow.
fn miscased(address: &str) -> String {
    let at = address.char_indices().skip(2).find(|(_, letter)| letter.is_ascii_alphabetic()).expect("a letter").0;
    let letter = &address[at..=at];
    let other = if letter == letter.to_lowercase() { letter.to_uppercase() } else { letter.to_lowercase() };
    format!("{}{other}{}", &address[..at], &address[at + 1..])
}

impl<'a> World<'a> {
    async fn open(facilitator: &'a Facilitator, chain: &Chain, cluster: &Cluster) -> Self {
        let (merchant, other) = (Merchant::open(facilitator).await, Merchant::open(facilitator).await);
        let network = chain.network();
        let address = merchant.register(&network, &chain.payers[0]).await;
        let foreign_address = other.register(&network, &chain.payers[1]).await;
        let wanted = json!({"network": network, "address": chain.payers[2].address()});
        let (_, challenged) = merchant.post("/v1/addresses", &wanted).await;
        let (_, webhook) = merchant.post("/v1/webhooks", &json!({"url": "https://example.com/first"})).await;
        let revoked = run_well(facilitator, &["api-key", "create", merchant.id(), "--scope", "merchant"]).await;
        let revoked = word_behind(&revoked, "API key");
        run_well(facilitator, &["api-key", "revoke", revoked.split_once('.').expect("two halves").0]).await;
        let (name, secret) = merchant.key().split_once('.').expect("two halves");
        let free = chain.payers[3].address();
        let words = BTreeMap::from([
            ("evm", network),
            ("solana", cluster.text("/network")),
            ("usdc", chain.usdc()),
            ("signer", chain.text("/accounts/signers/0/address")),
            ("miscased", miscased(&free)),
            ("freeDigits", free[2..].to_owned()),
            ("free", free),
            ("address", address),
            ("foreignAddress", foreign_address),
            ("challenged", text(&challenged["id"])),
            ("strangersSignature", sign(&chain.payers[1], &text(&challenged["challenge"]))),
            ("webhook", text(&webhook["id"])),
            ("key", merchant.key().to_owned()),
            ("revokedKey", revoked),
            ("unknownKey", format!("{}.{secret}", name.replace(['1', '2', '3'], "4"))),
            ("solanaOwner", cluster.text("/merchant")),
            ("solanaUsdc", cluster.text("/usdc")),
            ("solanaTokenAccount", cluster.text("/mints/usdc/merchantAta")),
            ("solanaSigner", cluster.text("/accounts/signers/0/address")),
        ]);
        Self { facilitator, merchant, words }
    }

    async fn send(&self, request: &Request<'_>) -> (u16, Value) {
        let method = request.method.parse().expect("a method");
        let mut builder = self.facilitator.client().request(method, format!("{}{}", self.facilitator.url, request.path));
        // Of events pages and not a stream that does not end.
        builder = builder.header("accept", "application/json");
        if !request.case.headers.contains_key("authorization") {
            builder = builder.bearer_auth(self.merchant.key());
        }
        for (name, value) in &request.case.headers {
            if let Some(value) = value {
                builder = builder.header(name, value);
            }
        }
        if let Some(body) = &request.body {
            builder = builder.json(body);
        }
        let answer = builder.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// What is wrong with an answer, if anything is.
    async fn fault(&self, request: &Request<'_>) -> Option<String> {
        let (status, answer) = self.send(request).await;
        let outcome = format!("{status} {}", answer["code"].as_str().unwrap_or_default());
        let Request { case, method, path, body } = request;
        let asked = || body.as_ref().map(|body| body.to_string().chars().take(200).collect::<String>());
        (!outcome.starts_with(&case.expect)).then(|| {
            format!(
                "row {} {}: {method} {path} {:?}: expected {}, got {status} {answer}",
                case.row,
                case.name,
                asked(),
                case.expect
            )
        })
    }
}

/// How many rows each table has that a request of a merchant can leave one in.
async fn traces(url: &secrecy::SecretString) -> BTreeMap<&'static str, i64> {
    let ledger = database::ledger(url).await;
    let mut traces = BTreeMap::new();
    for table in ["addresses", "invoices", "webhooks", "deliveries", "idempotency", "events", "payments"] {
        let count = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}"))).fetch_one(ledger.pool()).await;
        traces.insert(table, count.expect("the database answers"));
    }
    traces
}

#[tokio::test(flavor = "multi_thread")]
async fn what_merchants_send_is_refused_as_documented_and_leaves_no_trace() {
    let (chain, cluster) = (Chain::start(ChainOptions::default()).await, Cluster::start(400).await);
    let url = database::fresh().await;
    let mut options = Options::new(NetworkOptions::of(&chain), &url);
    options.networks.push(cluster.options(&cluster.url));
    options.server.push_str("\n[log]\nfilter = \"info,quittance=trace\"\n");
    let facilitator = Facilitator::start(&options).await;
    let world = World::open(&facilitator, &chain, &cluster).await;
    let cases = cases(&world.words);
    let (fine, bad): (Vec<_>, Vec<_>) =
        cases.iter().flat_map(Case::requests).partition(|request| request.case.expect.starts_with('2'));

    let (before, mut faults) = (traces(&url).await, Vec::new());
    for request in &bad {
        faults.extend(world.fault(request).await);
    }
    let after = traces(&url).await;
    faults.extend((before != after).then(|| format!("refusals left something: {before:?} became {after:?}")));
    for request in &fine {
        faults.extend(world.fault(request).await);
    }
    for line in facilitator.log().lines() {
        let is_whole = serde_json::from_str::<Value>(line).is_ok_and(|line| line["level"].is_string());
        faults.extend((!is_whole).then(|| format!("a forged line of the log: {line}")));
    }

    let rows: BTreeSet<_> = cases.iter().map(|case| case.row).collect();
    let (all, wrong) = (fine.len() + bad.len(), faults.len());
    let figures = format!(
        "{all} requests of {} rows of the list, {} of them to refuse: {wrong} wrong answers or traces",
        rows.len(),
        bad.len()
    );
    report("merchant input", &figures);
    assert!(faults.is_empty(), "{wrong} of {all}:\n{}", faults.join("\n"));
}
