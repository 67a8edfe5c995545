//! Every route, asked by everybody about what belongs to somebody else. What a route answers stands in [`ROUTES`], which must have each
//! route that the service has.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::{Account, open_account, run_well, word_behind};
use crate::support::facilitator::{Facilitator, NetworkOptions};
use crate::support::merchant::{Merchant, pay};
use crate::support::payer::Terms;
use crate::support::receipts::{Keys, claims_of, receipt_in};
use crate::support::receiver::Receiver;
use crate::support::{contract, database, eventually};

mod absent;
mod stream;

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A request: method, path and body, in which words in braces stand for what belongs to somebody else, and the status of the answer to
/// nobody in particular, to another provider, to another merchant, and to an operator.
type Route = (&'static str, &'static str, &'static str, [u16; 4]);

const ROUTES: [Route; 97] = [
    ("GET", "/", "", [200; 4]),
    ("GET", "/health", "", [200; 4]),
    ("GET", "/supported", "", [401, 200, 403, 200]),
    ("GET", "/openapi.json", "", [200; 4]),
    ("GET", "/verify", "", [200; 4]),
    ("GET", "/settle", "", [200; 4]),
    // A refusal: the transfer is not theirs to present.
    ("POST", "/verify", "{proof}", [401, 200, 403, 200]),
    ("POST", "/settle", "{proof}", [401, 200, 403, 200]),
    ("GET", "/discovery/resources", "", [200; 4]),
    ("GET", "/discovery/search?query=weather", "", [200; 4]),
    ("GET", "/v1/payments", "", [401, 200, 200, 200]),
    ("GET", "/v1/payments?transaction={transaction}", "", [401, 200, 200, 200]),
    ("GET", "/v1/payments?authorization={authorization}", "", [401, 200, 200, 200]),
    ("GET", "/v1/payments?invoice={invoice}", "", [401, 200, 200, 200]),
    ("GET", "/v1/payments?state=included", "", [401, 200, 200, 200]),
    ("GET", "/v1/payments?cursor={payments}", "", [401, 400, 400, 400]),
    ("GET", "/v1/payments/{payment}", "", [401, 404, 404, 200]),
    // Each merchant has settings of its own.
    ("GET", "/v1/settings", "", [401, 403, 200, 403]),
    ("PUT", "/v1/settings", r#"{"answerAt": "final"}"#, [401, 403, 200, 403]),
    ("GET", "/v1/addresses", "", [401, 403, 200, 403]),
    ("GET", "/v1/addresses?cursor={addresses}", "", [401, 403, 400, 403]),
    // A challenge, which only the owner of the address can answer.
    ("POST", "/v1/addresses", r#"{"network": "{network}", "address": "{payTo}"}"#, [401, 403, 201, 403]),
    ("GET", "/v1/addresses/{address}", "", [401, 403, 404, 403]),
    ("DELETE", "/v1/addresses/{address}", "", [401, 403, 404, 403]),
    ("POST", "/v1/addresses/{address}/proof", r#"{"signature": "0x00"}"#, [401, 403, 404, 403]),
    (
        "POST",
        "/v1/address-lists",
        r#"{"network": "{network}", "addresses": ["{payTo}"], "signedBy": "{address}"}"#,
        [401, 403, 422, 403],
    ),
    ("POST", "/v1/address-lists/{list}/proof", r#"{"signature": "0x00"}"#, [401, 403, 404, 403]),
    ("GET", "/v1/invoices", "", [401, 403, 200, 403]),
    ("GET", "/v1/invoices?reference=a-secret-order", "", [401, 403, 200, 403]),
    ("GET", "/v1/invoices?address={payTo}", "", [401, 403, 200, 403]),
    ("GET", "/v1/invoices?cursor={invoices}", "", [401, 403, 400, 403]),
    ("POST", "/v1/invoices", r#"{"amount": "1", "addresses": ["{address}"]}"#, [401, 403, 422, 403]),
    ("GET", "/v1/invoices/{invoice}", "", [401, 403, 404, 403]),
    ("POST", "/v1/invoices/{invoice}/cancel", "{}", [401, 403, 404, 403]),
    ("GET", "/v1/transfers", "", [401, 403, 200, 403]),
    ("GET", "/v1/transfers?invoice={invoice}", "", [401, 403, 200, 403]),
    ("GET", "/v1/transfers?cursor={transfers}", "", [401, 403, 400, 403]),
    ("POST", "/v1/transfers/{transfer}/assign", r#"{"invoice": "{invoice}"}"#, [401, 403, 404, 403]),
    // Whoever holds a receipt may ask about it.
    ("POST", "/v1/receipts/verify", r#"{"receipt": "a.b.c"}"#, [200; 4]),
    ("GET", "/v1/receipts/{receipt}", "", [401, 404, 404, 200]),
    ("GET", "/v1/receipts/{receipt}?format=eip712", "", [401, 404, 404, 200]),
    ("GET", "/v1/receipts/{receipt}/status", "", [200; 4]),
    ("POST", "/v1/receipts/{receipt}/redeem", r#"{"nonce": "mine"}"#, [401, 404, 404, 404]),
    ("GET", "/.well-known/jwks.json", "", [200; 4]),
    ("GET", "/.well-known/did.json", "", [200; 4]),
    ("GET", "/did.json", "", [200; 4]),
    ("GET", "/v1/webhooks", "", [401, 200, 200, 403]),
    ("GET", "/v1/webhooks?cursor={webhooks}", "", [401, 400, 400, 403]),
    ("POST", "/v1/webhooks", r#"{"url": "http://127.0.0.1:1/hook"}"#, [401, 201, 201, 403]),
    ("GET", "/v1/webhooks/{webhook}", "", [401, 404, 404, 403]),
    ("DELETE", "/v1/webhooks/{webhook}", "", [401, 404, 404, 403]),
    ("POST", "/v1/webhooks/{webhook}/rotate-secret", "{}", [401, 404, 404, 403]),
    ("POST", "/v1/webhooks/{webhook}/enable", "{}", [401, 404, 404, 403]),
    ("GET", "/v1/webhooks/{webhook}/deliveries", "", [401, 404, 404, 403]),
    ("GET", "/v1/webhooks/{webhook}/deliveries?cursor={deliveries}", "", [401, 404, 404, 403]),
    ("POST", "/v1/webhooks/{webhook}/deliveries/{delivery}/redeliver", "{}", [401, 404, 404, 403]),
    ("GET", "/v1/events", "", [401, 200, 200, 403]),
    ("GET", "/v1/events?after=0", "", [401, 200, 200, 403]),
    ("GET", "/v1/export/payments.csv", "", [401, 200, 200, 200]),
    ("GET", "/v1/export/transfers.csv", "", [401, 200, 200, 200]),
    ("GET", "/v1/export/invoices.csv", "", [401, 200, 200, 200]),
    ("GET", "/v1/export/invoices.csv?from=2020-01-01", "", [401, 200, 200, 200]),
    ("GET", "/v1/reconciliations", "", [401, 403, 403, 200]),
    ("GET", "/v1/reconciliations?network={network}", "", [401, 403, 403, 200]),
    // The dashboard shows what the API tells, and to operators what the account reads that they choose.
    ("GET", "/dashboard", "", [401, 200, 200, 200]),
    ("GET", "/dashboard?account={account}", "", [401, 404, 404, 200]),
    ("GET", "/dashboard/payments", "", [401, 200, 200, 200]),
    ("GET", "/dashboard/payments?account={account}", "", [401, 404, 404, 200]),
    ("GET", "/dashboard/payments?cursor={payments}", "", [401, 400, 400, 400]),
    ("GET", "/dashboard/payments?account={account}&cursor={payments}", "", [401, 404, 404, 200]),
    ("GET", "/dashboard/payments/{payment}", "", [401, 404, 404, 200]),
    ("GET", "/dashboard/payments/{payment}?account={account}", "", [401, 404, 404, 200]),
    ("GET", "/dashboard/invoices", "", [401, 403, 200, 400]),
    ("GET", "/dashboard/invoices?account={account}", "", [401, 404, 404, 200]),
    ("GET", "/dashboard/invoices?cursor={invoices}", "", [401, 403, 400, 400]),
    ("GET", "/dashboard/invoices/{invoice}", "", [401, 403, 404, 400]),
    ("GET", "/dashboard/invoices/{invoice}?account={account}", "", [401, 404, 404, 200]),
    ("GET", "/dashboard/transfers", "", [401, 403, 200, 400]),
    ("GET", "/dashboard/transfers?account={account}", "", [401, 404, 404, 200]),
    ("GET", "/dashboard/transfers?cursor={transfers}", "", [401, 403, 400, 400]),
    ("GET", "/dashboard/webhooks", "", [401, 200, 200, 400]),
    ("GET", "/dashboard/webhooks?account={account}", "", [401, 404, 404, 200]),
    ("GET", "/dashboard/webhooks?cursor={webhooks}", "", [401, 400, 400, 400]),
    ("GET", "/dashboard/webhooks/{webhook}", "", [401, 404, 404, 400]),
    ("GET", "/dashboard/webhooks/{webhook}?account={account}", "", [401, 404, 404, 200]),
    ("GET", "/dashboard/networks", "", [401, 403, 403, 200]),
    ("GET", "/dashboard/accounts", "", [401, 403, 403, 200]),
    // What signs in is a form.
    ("GET", "/dashboard/sign-in", "", [200; 4]),
    ("POST", "/dashboard/sign-in", "", [415; 4]),
    ("POST", "/dashboard/sign-out", "", [303; 4]),
    ("GET", "/assets/icon.svg", "", [200; 4]),
    ("GET", "/assets/style.css", "", [200; 4]),
    ("GET", "/assets/follow.js", "", [200; 4]),
    ("GET", "/i/{invoice}", "", [200; 4]),
    // The page of payers takes no key, and nothing that its payer has not signed.
    ("POST", "/i/{invoice}/proof", r#"{"transaction": "{transaction}"}"#, [422; 4]),
    ("POST", "/i/{invoice}/proof", r#"{"transaction": "{transaction}", "signature": "0x00"}"#, [422; 4]),
    ("POST", "/i/{invoice}/proof", r#"{"transaction": "{transaction}", "network": "{network}"}"#, [422; 4]),
];

/// A path without the names of its parts, which are this table's own.
fn pattern(path: &str) -> String {
    let path = path.split('?').next().expect("a path");
    let part = |part: &str| if part.starts_with('{') { "{}".to_owned() } else { part.to_owned() };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[test]
fn every_route_of_the_service_is_asked() {
    let served: BTreeSet<_> = contract::operations().into_iter().map(|(method, path)| (method, pattern(&path))).collect();
    let asked: BTreeSet<_> = ROUTES.iter().map(|(method, path, ..)| ((*method).to_owned(), pattern(path))).collect();

    assert_eq!(asked, served, "each route is in the table of this test, and no other");
}

/// What belongs to somebody, by the words of the table, and what nobody else may ever read.
struct Property {
    words: BTreeMap<&'static str, String>,
    secrets: Vec<String>,
}

impl Property {
    fn fill(&self, text: &str) -> String {
        self.words.iter().fold(text.to_owned(), |text, (word, thing)| text.replace(&format!("{{{word}}}"), thing))
    }

    /// What of it an answer tells that its request did not say.
    fn leaks<'a>(&'a self, asked: &str, answer: &str) -> Vec<&'a String> {
        self.secrets.iter().filter(|secret| answer.contains(*secret) && !asked.contains(*secret)).collect()
    }
}

/// A merchant with something of each kind, a receiver of its webhooks, and what must live as long.
struct World {
    chain: Chain,
    facilitator: Facilitator,
    _receiver: Receiver,
    _keys: Keys,
}

async fn start() -> (World, Account, Property) {
    let (chain, keys, receiver) = (
        Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await,
        Keys::generate().await,
        Receiver::start().await,
    );
    // Nothing becomes final between one question and the next.
    let network = NetworkOptions { lines: "final = 10000\n".to_owned(), ..NetworkOptions::of(&chain) };
    let mut options = keys.options(network, &database::fresh().await);
    options.server = format!("{}\n[webhooks]\nallow_private = true\n", options.server.replace("\"open\"", "\"keys\""));
    let facilitator = Facilitator::start(&options).await;
    let (account, property) = settle_down(&chain, &facilitator, &receiver).await;
    (World { chain, facilitator, _receiver: receiver, _keys: keys }, account, property)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// With what the merchant would read on behind the first thing of a list.
async fn cursor(merchant: &Merchant<'_>, list: &str) -> String {
    let (status, page) = merchant.get(&format!("{list}?limit=1")).await;
    assert_eq!(status, 200, "{page}");
    text(&page["nextCursor"])
}

/// Has a merchant do everything that leaves something behind.
async fn settle_down(chain: &Chain, facilitator: &Facilitator, receiver: &Receiver) -> (Account, Property) {
    let merchant = Merchant::open(facilitator).await;
    let (network, shop) = (chain.network(), chain.payers[0].address());
    let address = merchant.register(&network, &chain.payers[0]).await;
    let list = json!({"network": network, "addresses": [chain.payers[9].address()], "signedBy": address});
    let (status, list) = merchant.post("/v1/address-lists", &list).await;
    assert_eq!(status, 201, "{list}");
    let (status, webhook) = merchant.post("/v1/webhooks", &json!({"url": receiver.url()})).await;
    assert_eq!(status, 201, "{webhook}");
    let order = json!({"amount": "0.01", "reference": "a-secret-order", "description": "a secret thing"});
    let invoice = merchant.invoice(&order).await;
    let stray = pay(chain, &chain.payers[2], &shop, 500_000).await;
    let transfer = merchant.until_transfer(&stray).await;

    let provider = run_well(facilitator, &["api-key", "create", merchant.id(), "--scope", "provider"]).await;
    let signed = chain.payers[1].authorize(&Terms::to(&shop));
    let mut body = signed.v2();
    body["paymentRequirements"] = invoice["accepts"][0].clone();
    body["paymentPayload"]["accepted"] = invoice["accepts"][0].clone();
    let request = facilitator.client().post(format!("{}/settle", facilitator.url)).json(&body);
    let answer = request.bearer_auth(word_behind(&provider, "API key")).send().await.expect("an answer");
    let settled: Value = answer.json().await.expect("JSON");
    let receipt = claims_of(&receipt_in(&settled));
    merchant.until(&invoice, "paid").await;
    let deliveries = format!("/v1/webhooks/{}/deliveries", text(&webhook["id"]));
    // Of the payment and of the invoice. Then everything is told, and nothing more comes by itself.
    let delivery = eventually("two deliveries", PATIENCE, || async {
        let (_, page) = merchant.get(&deliveries).await;
        let made = page["deliveries"].as_array()?;
        (made.len() == 2 && made.iter().all(|delivery| delivery["status"] == "delivered")).then(|| made[0]["id"].clone())
    })
    .await;

    let option = &invoice["options"][0];
    let terms = json!({
        "scheme": "transfer", "network": network, "amount": "500000", "asset": option["asset"], "payTo": shop,
        "maxTimeoutSeconds": 60, "extra": {"invoice": invoice["id"]},
    });
    let proof = json!({
        "x402Version": 2, "paymentRequirements": terms,
        "paymentPayload": {"x402Version": 2, "accepted": terms, "payload": {"transaction": stray}},
    });
    let mut words = BTreeMap::from([
        ("account", merchant.id().to_owned()),
        ("network", network.clone()),
        ("payTo", shop),
        ("address", address),
        ("list", text(&list["id"])),
        ("invoice", text(&invoice["id"])),
        ("transfer", text(&transfer["id"])),
        ("transaction", stray),
        ("authorization", format!("{network}:{}:{}:{}", chain.usdc(), signed.payer, signed.nonce)),
        ("payment", text(&settled["extra"]["paymentId"])),
        ("receipt", text(&receipt["receiptId"])),
        ("webhook", text(&webhook["id"])),
        ("delivery", text(&delivery)),
        ("proof", proof.to_string()),
        ("deliveries", cursor(&merchant, &deliveries).await),
    ]);
    for list in ["payments", "addresses", "invoices", "transfers", "webhooks"] {
        words.insert(list, cursor(&merchant, &format!("/v1/{list}")).await);
    }
    let named =
        ["address", "list", "invoice", "transfer", "payment", "receipt", "webhook", "delivery"].map(|word| words[word].clone());
    let told = [
        merchant.id().to_owned(),
        text(&webhook["secret"]),
        "a-secret-order".to_owned(),
        "a secret thing".to_owned(),
        receiver.url(),
    ];
    (merchant.into_account(), Property { secrets: [named.as_slice(), &told].concat(), words })
}

/// Opens a session of the dashboard; the cookie that a browser keeps.
async fn sign_in(facilitator: &Facilitator, key: &str) -> String {
    let request = facilitator.client().post(format!("{}/dashboard/sign-in", facilitator.url));
    let request = request.header("content-type", "application/x-www-form-urlencoded").body(format!("key={key}"));
    let answer = request.send().await.expect("an answer");
    let cookie = answer.headers()["set-cookie"].to_str().expect("text");
    cookie.split(';').next().expect("a cookie").to_owned()
}

/// Asks as a browser with a session, if there is one.
async fn look(facilitator: &Facilitator, path: &str, session: Option<&String>) -> (u16, String) {
    let request = facilitator.client().get(format!("{}{path}", facilitator.url)).header("accept", "application/json");
    let request = session.into_iter().fold(request, |request, session| request.header("cookie", session));
    contract::read_text("GET", request.send().await.expect("an answer")).await.expect("text")
}

/// Asks as the holder of a key, or as nobody; status and text.
async fn ask(facilitator: &Facilitator, (method, path, body): (&str, &str, &str), key: Option<&str>) -> (u16, String) {
    let verb = method.parse().expect("a method");
    // Of events pages and not a stream that does not end.
    let mut request =
        facilitator.client().request(verb, format!("{}{path}", facilitator.url)).header("accept", "application/json");
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    if !body.is_empty() {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    contract::read_text(method, request.send().await.expect("an answer")).await.expect("text")
}

/// Everything that the owner reads of what is its own.
async fn everything(facilitator: &Facilitator, key: &str, property: &Property) -> Vec<(u16, String)> {
    let mut everything = Vec::new();
    for path in [
        "/v1/payments",
        "/v1/payments/{payment}",
        "/v1/settings",
        // Those of lists are among them.
        "/v1/addresses",
        "/v1/addresses/{address}",
        "/v1/invoices",
        "/v1/invoices/{invoice}",
        "/v1/transfers",
        "/v1/receipts/{receipt}",
        "/v1/webhooks",
        "/v1/webhooks/{webhook}",
        "/v1/webhooks/{webhook}/deliveries",
        "/v1/events",
        "/v1/export/payments.csv",
        "/v1/export/invoices.csv",
        "/v1/export/transfers.csv",
        "/dashboard",
        "/dashboard/payments/{payment}",
        "/dashboard/invoices/{invoice}",
        "/dashboard/transfers",
        "/dashboard/webhooks/{webhook}",
    ] {
        everything.push(ask(facilitator, ("GET", &property.fill(path), ""), Some(key)).await);
    }
    assert!(everything.iter().all(|(status, _)| *status == 200), "{everything:?}");
    everything
}

/// Those to whom nothing of it belongs, in the order of the table. Nobody in particular has no key.
async fn callers(facilitator: &Facilitator) -> [(&'static str, Option<Account>); 4] {
    let account = async |scope| Some(open_account(facilitator, scope).await);
    [
        ("nobody", None),
        ("a provider", account("provider").await),
        ("a merchant", account("merchant").await),
        ("an operator", account("operator").await),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_tells_or_changes_what_is_anothers() {
    let (world, owner, property) = start().await;
    let facilitator = &world.facilitator;
    world.chain.rpc("evm_setIntervalMining", json!([0])).await;
    let callers = callers(facilitator).await;
    let mut sessions = Vec::new();
    for (_, account) in &callers {
        sessions.push(match account {
            Some(account) => Some(sign_in(facilitator, &account.key).await),
            None => None,
        });
    }
    let before = everything(facilitator, &owner.key, &property).await;

    let mut faults = Vec::new();
    for (method, path, body, answers) in ROUTES {
        let (path, body) = (property.fill(path), property.fill(body));
        for (((who, account), session), expected) in callers.iter().zip(&sessions).zip(answers) {
            let key = account.as_ref().map(|account| account.key.as_str());
            let (status, answer) = ask(facilitator, (method, &path, &body), key).await;
            let mut leaks = property.leaks(&format!("{path} {body}"), &answer);
            if path.starts_with("/dashboard") && method == "GET" {
                let (seen, page) = look(facilitator, &path, session.as_ref()).await;
                if seen != status {
                    faults.push(format!("{path} in a session of {who}: {seen} instead of {status}"));
                }
                leaks.extend(property.leaks(&path, &page));
            }
            if path.starts_with("/i/") && method == "GET" {
                // Whoever knows an invoice is told the names of its receipts, and nothing else.
                leaks.retain(|secret| **secret != property.words["receipt"]);
            }
            // What an operator is answered with success is the operator's to know.
            let told = if *who == "an operator" && expected == 200 { Vec::new() } else { leaks };
            if status != expected || !told.is_empty() {
                faults.push(format!("{method} {path} by {who}: {status} instead of {expected}, telling {told:?}: {answer}"));
            }
        }
    }
    let after = everything(facilitator, &owner.key, &property).await;

    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), ROUTES.len() * callers.len(), faults.join("\n"));
    assert_eq!(before, after, "nothing of it has changed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_assigned_only_where_it_and_the_invoice_are_ones_own() {
    let (world, owner, property) = start().await;
    let (facilitator, chain) = (&world.facilitator, &world.chain);
    let rival = Merchant::open(facilitator).await;
    rival.register(&chain.network(), &chain.payers[3]).await;
    let invoice = rival.invoice(&json!({"amount": "0.5"})).await;
    let stray = pay(chain, &chain.payers[2], &chain.payers[3].address(), 500_000).await;
    let (own_transfer, own_invoice) = (text(&rival.until_transfer(&stray).await["id"]), text(&invoice["id"]));
    let (transfer, foreign_invoice) = (property.fill("{transfer}"), property.fill("{invoice}"));
    let assign = async |transfer: &str, invoice: &str| {
        let (status, problem) = rival.post(&format!("/v1/transfers/{transfer}/assign"), &json!({"invoice": invoice})).await;
        (status, problem["code"].as_str().unwrap_or_default().to_owned())
    };
    let before = (everything(facilitator, &owner.key, &property).await, rival.transfers().await, rival.show(&invoice).await);

    for (transfer, invoice) in [(&own_transfer, &foreign_invoice), (&transfer, &own_invoice)] {
        assert_eq!(assign(transfer, invoice).await, (404, "not_found".to_owned()), "{transfer} for {invoice}");
    }

    let after = (everything(facilitator, &owner.key, &property).await, rival.transfers().await, rival.show(&invoice).await);
    assert_eq!(before, after, "nothing of either has changed");
    assert_eq!(assign(&own_transfer, &own_invoice).await.0, 200, "what is wrong is only whose they are");
}
