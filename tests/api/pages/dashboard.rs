//! The dashboard: who sees what, and how a session begins and ends.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use quittance::domain::account::{Caller, Scope};
use quittance::domain::clock::Clock;
use quittance::flow::session::{LASTS, Token};
use quittance::flow::{self, Flows};
use quittance::ledger::Ledger;
use reqwest::Response;
use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::{Answer, BROWSER, HOSTILE, get, header, path, start};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::{self, open_account};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay};
use crate::support::payer::Terms;
use crate::support::postgres_proxy::PostgresProxy;
use crate::support::{contract, database, eventually, flows};

const PATIENCE: Duration = Duration::from_secs(30);

/// Sends the form of the page with a key, as a browser does.
async fn sign_in(facilitator: &Facilitator, key: &str, headers: &[(&str, &str)]) -> Response {
    let form = url::form_urlencoded::Serializer::new(String::new()).append_pair("key", key).finish();
    let request = facilitator.client().post(format!("{}/dashboard/sign-in", facilitator.url)).body(form);
    let request = request.header("content-type", "application/x-www-form-urlencoded").header("accept", BROWSER);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().await.expect("an answer")
}

/// The session that an answer has a browser keep.
fn session(headers: &HeaderMap) -> String {
    header(headers, "set-cookie").split(';').next().expect("a cookie").to_owned()
}

/// Keeps everybody from reading payments until what it returns is dropped.
async fn hold_payments(ledger: &Ledger) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut held = ledger.pool().begin().await.expect("the database answers");
    sqlx::query("LOCK TABLE payments IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.expect("nobody else holds it");
    held
}

async fn look(facilitator: &Facilitator, path: &str, session: &str) -> Answer {
    let request = facilitator.client().get(format!("{}{path}", facilitator.url)).header("accept", BROWSER);
    let answer = request.header("cookie", format!("other=1; {session}")).send().await.expect("an answer");
    let headers = answer.headers().clone();
    let (status, text) = contract::read_text("GET", answer).await.expect("text");
    (status, headers, text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_begins_with_a_key_and_ends_with_it() {
    let (_chain, facilitator, _keys) = start().await;
    let account = open_account(&facilitator, "merchant").await;

    let (status, headers, page) = get(&facilitator, "/dashboard/invoices", BROWSER).await;
    assert_eq!((status, header(&headers, "content-type")), (401, "text/html; charset=utf-8"), "{page}");
    assert!(page.contains("type=\"password\"") && !page.contains("not valid"), "{page}");
    let wrong = format!("{}ff", &account.key[..account.key.len() - 2]);
    for key in ["", "nonsense", &wrong] {
        let refused = sign_in(&facilitator, key, &[]).await;
        assert_eq!((refused.status().as_u16(), header(refused.headers(), "set-cookie")), (401, ""), "{key}");
        assert!(refused.text().await.expect("text").contains("not valid"));
    }

    let opened = sign_in(&facilitator, &format!(" {}\n", account.key), &[("sec-fetch-site", "same-origin")]).await;
    assert_eq!((opened.status().as_u16(), header(opened.headers(), "location")), (303, "/dashboard"));
    let kept = header(opened.headers(), "set-cookie");
    assert!(kept.ends_with("; Path=/dashboard; Max-Age=3600; HttpOnly; SameSite=Strict"), "{kept}");
    assert!(!kept.contains(account.key.split_once('.').expect("two halves").1), "the secret stays with its holder");
    let session = session(opened.headers());
    let (status, headers, page) = look(&facilitator, "/dashboard", &session).await;
    assert_eq!((status, header(&headers, "cache-control")), (200, "no-store"), "{page}");
    let policy = header(&headers, "content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("form-action 'self'") && !page.contains("<script"),
        "{policy}"
    );
    // It is for pages, and for nothing else.
    let request = facilitator.client().get(format!("{}/v1/invoices", facilitator.url)).header("cookie", &session);
    assert_eq!(request.send().await.expect("an answer").status().as_u16(), 401);
    let mut changed = session.clone();
    changed.pop();
    changed.push(if session.ends_with('0') { '1' } else { '0' });
    assert_eq!(look(&facilitator, "/dashboard", &changed).await.0, 401, "nobody has opened it");
    assert_eq!(look(&facilitator, "/dashboard", &format!("{session}; {changed}")).await.0, 401, "one of them is somebody else's");

    let other = self::session(sign_in(&facilitator, &account.key, &[]).await.headers());
    let url = format!("{}/dashboard/sign-out", facilitator.url);
    let left = facilitator.client().post(url).header("cookie", &session).send().await.expect("an answer");
    assert!(header(left.headers(), "set-cookie").starts_with("quittance_session=; Path=/dashboard; Max-Age=0;"));
    assert_eq!(look(&facilitator, "/dashboard", &session).await.0, 401, "whoever has copied it has nothing");
    assert_eq!(look(&facilitator, "/dashboard", &other).await.0, 200, "another one goes on");
    let renewed = self::session(sign_in(&facilitator, &account.key, &[("cookie", &other)]).await.headers());
    assert_eq!(look(&facilitator, "/dashboard", &other).await.0, 401, "it was replaced, and nobody could end it later");
    let other = renewed;
    let key = account.key.split_once('.').expect("two halves").0;
    cli::run_well(&facilitator, &["api-key", "revoke", key]).await;
    assert_eq!(
        look(&facilitator, "/dashboard", &other).await.0,
        401,
        "the key is worth nothing, and so is what was opened with it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_worth_nothing_from_its_end_on_and_in_a_copy_of_the_database() {
    struct At(Mutex<DateTime<Utc>>);
    impl Clock for At {
        fn now(&self) -> DateTime<Utc> {
            *self.0.lock().expect("nobody has panicked")
        }
    }
    let ledger = database::ledger(&database::fresh().await).await;
    let start = DateTime::from_timestamp(1_796_000_000, 0).expect("a time");
    let clock = Arc::new(At(Mutex::new(start)));
    let flows = Flows { clock: Arc::<At>::clone(&clock), ..flows::over(ledger.clone(), HashMap::new()) };
    let (account, key) = flow::account::create(&ledger, &*clock, "somebody", Scope::Merchant).await.expect("an account");
    let token = flows.open_session(&key).await.expect("the database answers").expect("a genuine key");
    let whose = async |token: &Token| flows.resume_session(token).await.expect("the database answers").map(|(_, caller)| caller);
    let genuine = Some(Caller::Account { account, scope: Scope::Merchant });

    let kept = sqlx::query_scalar::<_, String>("SELECT encode(hash, 'hex') FROM sessions").fetch_one(ledger.pool()).await;
    let copied = Token::parse(&kept.expect("the database answers")).expect("as long as one");
    assert_eq!((whose(&token).await, whose(&copied).await), (genuine, None));
    for (later, expected) in [(LASTS - TimeDelta::milliseconds(1), genuine), (LASTS, None), (TimeDelta::zero(), genuine)] {
        *clock.0.lock().expect("nobody has panicked") = start + later;
        assert_eq!(whose(&token).await, expected, "{later}");
    }
    flows.end_session(&token).await.expect("the database answers");
    assert_eq!(whose(&token).await, None, "ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_sends_for_a_proxy_hides_no_session() {
    let (_chain, facilitator, _keys) = start().await;
    let account = open_account(&facilitator, "merchant").await;
    let session = session(sign_in(&facilitator, &account.key, &[("authorization", "Basic dTpw")]).await.headers());
    let get = async |cookie: &str, authorization: &str| {
        let request = facilitator.client().get(format!("{}/dashboard", facilitator.url)).header("accept", BROWSER);
        let request = request.header("authorization", authorization).header("cookie", cookie);
        let answer = request.send().await.expect("an answer");
        contract::read_text("GET", answer).await.expect("text")
    };

    assert_eq!(get(&session, "Basic dTpw").await.0, 200);
    let (status, page) = get("other=1", "Basic dTpw").await;
    assert!(status == 401 && page.contains("type=\"password\""), "{page}");
    assert_eq!(get(&session.replace('=', "=00"), &format!("Bearer {}", account.key)).await.0, 200, "a key opens it by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_does_not_take_is_refused() {
    let (_chain, facilitator, _keys) = start().await;
    let account = open_account(&facilitator, "merchant").await;
    let session = session(sign_in(&facilitator, &account.key, &[]).await.headers());

    for path in ["", "/payments", "/invoices", "/transfers", "/webhooks"] {
        assert_eq!(look(&facilitator, &format!("/dashboard{path}?account="), &session).await.0, 200, "{path}");
        assert_eq!(look(&facilitator, &format!("/dashboard{path}?nonsense=1"), &session).await.0, 400, "{path}");
    }
    for path in ["?state=open", "?cursor=1", "/webhooks?state=active", "/payments/pay_1?cursor=1", "/payments?state=nonsense"] {
        assert_eq!(look(&facilitator, &format!("/dashboard{path}"), &session).await.0, 400, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overview_takes_one_connection_for_a_short_time() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let database = database::fresh().await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database)).await;
    let ledger = database::ledger(&database).await;
    let account = open_account(&facilitator, "merchant").await;
    let session = session(sign_in(&facilitator, &account.key, &[]).await.headers());
    assert_eq!(look(&facilitator, "/dashboard", &session).await.0, 200);

    let held = hold_payments(&ledger).await;
    for _ in 0..10 {
        // Whoever leaves before it is counted has not made room for the next.
        drop(tokio::time::timeout(Duration::from_millis(100), look(&facilitator, "/dashboard", &session)).await);
    }
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%AT TIME ZONE%'";
    let waiting = sqlx::query_scalar::<_, i64>(waiting).fetch_one(ledger.pool()).await.expect("the database answers");
    assert!(waiting <= 1, "{waiting} statements for one account");
    let both = tokio::join!(look(&facilitator, "/dashboard", &session), look(&facilitator, "/dashboard", &session));
    drop(held);

    for (status, _, page) in [both.0, both.1] {
        assert!(status == 200 && page.contains("Nothing was counted") && page.contains("Sign out"), "{status} {page}");
    }
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while look(&facilitator, "/dashboard", &session).await.2.contains("Nothing was counted") {
        assert!(tokio::time::Instant::now() < until, "its place is never free again");
    }
}

/// Whoever sits at that browser next must not be signed in when the database is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_browser_forgets_its_session_though_the_database_is_away() {
    let chain = Chain::start(ChainOptions::default()).await;
    let proxy = PostgresProxy::start(&database::fresh().await).await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &proxy.url)).await;
    let account = open_account(&facilitator, "merchant").await;
    let session = session(sign_in(&facilitator, &account.key, &[]).await.headers());

    proxy.close();
    let leaving = facilitator.client().post(format!("{}/dashboard/sign-out", facilitator.url)).header("cookie", &session);
    let left = leaving.send().await.expect("an answer");
    assert_eq!(left.status().as_u16(), 503);
    assert!(header(left.headers(), "set-cookie").starts_with("quittance_session=; Path=/dashboard; Max-Age=0;"));
    proxy.open();
    eventually("the database", PATIENCE, || async { (look(&facilitator, "/dashboard", &session).await.0 == 200).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_cannot_have_a_browser_sign_in_or_out() {
    let (_chain, facilitator, _keys) = start().await;
    let account = open_account(&facilitator, "merchant").await;

    for foreign in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example"), ("origin", "null")] {
        let refused = sign_in(&facilitator, &account.key, &[foreign]).await;
        assert_eq!((refused.status().as_u16(), header(refused.headers(), "set-cookie")), (400, ""), "{foreign:?}");
        let url = format!("{}/dashboard/sign-out", facilitator.url);
        let refused = facilitator.client().post(url).header(foreign.0, foreign.1).send().await.expect("an answer");
        assert_eq!((refused.status().as_u16(), header(refused.headers(), "set-cookie")), (400, ""), "{foreign:?}");
    }
    assert_eq!(sign_in(&facilitator, &account.key, &[("origin", &facilitator.url)]).await.status().as_u16(), 303);
}

/// What a merchant has: an invoice that is paid, one in hostile words, and a transfer that nobody could place.
async fn trade(chain: &Chain, merchant: &Merchant<'_>) -> (Value, String) {
    let shop = &chain.payers[0];
    merchant.register(&chain.network(), shop).await;
    let invoice = merchant.invoice(&json!({"amount": "0.25", "matchAmount": true, "reference": "order-417"})).await;
    merchant.invoice(&json!({"amount": "1", "reference": HOSTILE, "metadata": {"note": HOSTILE}})).await;
    pay(chain, &chain.payers[1], &shop.address(), 250_000).await;
    merchant.until(&invoice, "paid").await;
    let stray = pay(chain, &chain.payers[1], &shop.address(), 77_777).await;
    merchant.until_transfer(&stray).await;
    (invoice, stray)
}

#[tokio::test(flavor = "multi_thread")]
async fn merchants_see_their_own_and_operators_what_they_choose() {
    let (chain, facilitator, _keys) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    let (invoice, stray) = trade(&chain, &merchant).await;
    let (rival, operator) = (open_account(&facilitator, "merchant").await, open_account(&facilitator, "operator").await);
    let session_of = async |key: &str| session(sign_in(&facilitator, key, &[]).await.headers());
    let (own, other, all) = (session_of(merchant.key()).await, session_of(&rival.key).await, session_of(&operator.key).await);
    let id = invoice["id"].as_str().expect("a name");
    let chosen = format!("?account={}", merchant.id());

    for (session, query) in [(&own, ""), (&own, &chosen[..]), (&all, &chosen[..])] {
        let (status, _, invoices) = look(&facilitator, &format!("/dashboard/invoices{query}"), session).await;
        assert_eq!(status, 200, "{invoices}");
        assert!(invoices.contains(id) && invoices.contains("order-417") && !invoices.contains("<script>"), "{invoices}");
        let (_, _, transfers) = look(&facilitator, &format!("/dashboard/transfers{query}"), session).await;
        assert!(transfers.contains(&stray) && transfers.contains("0.077777 USDC"), "{transfers}");
        let (status, _, one) = look(&facilitator, &format!("/dashboard/invoices/{id}{query}"), session).await;
        assert!(status == 200 && one.contains("0.25"), "{one}");
        let (status, _, overview) = look(&facilitator, &format!("/dashboard{query}"), session).await;
        assert!(status == 200 && overview.contains("0.327777 USDC") && overview.contains("could place: 1<"), "{overview}");
    }
    let (_, _, overview) = look(&facilitator, "/dashboard", &other).await;
    assert!(overview.contains("Nothing yet.") && overview.contains("could place: 0<"), "{overview}");
    for path in ["invoices", "transfers", "payments", "webhooks"] {
        let (status, _, page) = look(&facilitator, &format!("/dashboard/{path}"), &other).await;
        assert!(status == 200 && !page.contains(id) && !page.contains(&stray), "{path}: {page}");
        assert_eq!(look(&facilitator, &format!("/dashboard/{path}{chosen}"), &other).await.0, 404, "{path}");
    }
    assert_eq!(look(&facilitator, &format!("/dashboard/invoices/{id}"), &other).await.0, 404);
    assert_eq!(look(&facilitator, "/dashboard/networks", &other).await.0, 403);
    let (status, _, accounts) = look(&facilitator, "/dashboard/accounts", &all).await;
    assert!(status == 200 && accounts.contains(merchant.id()) && accounts.contains(&rival.id), "{accounts}");
}

/// A payment that was asked for without a key is read by whoever knows its name, and its invoice only by the merchant.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_leads_to_its_invoice_only_whom_it_is_shown_to() {
    let (chain, facilitator, _keys) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    let shop = &chain.payers[0];
    merchant.register(&chain.network(), shop).await;
    let invoice = merchant.invoice(&json!({"amount": "0.01"})).await;
    let accepts = &invoice["paymentRequired"]["accepts"][0];
    let mut body = chain.payers[1].authorize(&Terms::to(&shop.address())).v2();
    body["paymentRequirements"] = accepts.clone();
    body["paymentPayload"]["accepted"] = accepts.clone();
    let (_, settled) = facilitator.settle(&body).await;
    let rival = open_account(&facilitator, "merchant").await;
    let payment = settled["extra"]["paymentId"].as_str().expect("a payment");
    let id = invoice["id"].as_str().expect("a name");
    let link = format!("/dashboard/invoices/{id}");

    for (key, leads) in [(merchant.key(), true), (&rival.key[..], false)] {
        let session = session(sign_in(&facilitator, key, &[]).await.headers());
        let (status, _, page) = look(&facilitator, &format!("/dashboard/payments/{payment}"), &session).await;
        assert!(status == 200 && page.contains(id), "{page}");
        assert_eq!(page.contains(&link), leads, "{page}");
        assert_eq!(look(&facilitator, &link, &session).await.0 == 200, leads);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_what_settling_for_an_account_has_cost() {
    let (chain, facilitator, _keys) = start().await;
    let (shop, operator) = (open_account(&facilitator, "provider").await, open_account(&facilitator, "operator").await);
    let session = session(sign_in(&facilitator, &operator.key, &[]).await.headers());
    let accounts = async || look(&facilitator, "/dashboard/accounts", &session).await.2;
    assert!(!accounts().await.contains(" on Base Sepolia"), "nothing was spent");

    let body = chain.payers[1].authorize(&Terms::to(&chain.payers[0].address())).v2();
    let settling = facilitator.client().post(format!("{}/settle", facilitator.url)).bearer_auth(&shop.key).json(&body);
    let settled: Value = settling.send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(settled["success"], true, "{settled}");
    let page = accounts().await;
    let rows: Vec<_> = page.split("<tr>").filter(|row| row.contains(" on Base Sepolia")).collect();
    assert!(rows.len() == 1 && rows[0].contains(&shop.id) && rows[0].contains(">0.0"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_how_networks_and_lanes_stand() {
    let (chain, facilitator, _keys) = start().await;
    let network = chain.network();
    let operator = open_account(&facilitator, "operator").await;
    let session = session(sign_in(&facilitator, &operator.key, &[]).await.headers());
    let networks = async || look(&facilitator, "/dashboard/networks", &session).await.2;

    let well = networks().await;
    assert!(well.contains(&network) && well.contains("takes payments") && well.contains("a replica watches"), "{well}");
    assert!(well.contains("working") && well.contains(" s ago; safe to "), "{well}");
    let lanes: Value = serde_json::from_str(&cli::run_well(&facilitator, &["lane", "list", "--json"]).await).expect("JSON");
    let signer = lanes["lanes"][0]["signer"].as_str().expect("a name");
    cli::run_well(&facilitator, &["lane", "drain", &network, signer]).await;
    cli::run_well(&facilitator, &["network", "halt", &network, "--reason", HOSTILE]).await;
    let ill = networks().await;
    assert!(ill.contains("halted by an operator") && ill.contains("drained") && !ill.contains("takes payments"), "{ill}");
    assert!(ill.contains("&#60;script&#62;") && !ill.contains("<script"), "{ill}");
    let (_, _, overview) = look(&facilitator, "/dashboard", &session).await;
    assert!(overview.contains("halted by an operator"), "{overview}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_go_on_behind_the_cursor_that_they_give() {
    let (chain, facilitator, _keys) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let mut opened = Vec::new();
    for _ in 0..26 {
        opened.push(merchant.invoice(&json!({"amount": "1"})).await);
    }
    let session = session(sign_in(&facilitator, merchant.key(), &[]).await.headers());
    let shown = |page: &str| opened.iter().filter(|invoice| page.contains(invoice["id"].as_str().expect("a name"))).count();

    let (_, _, first) = look(&facilitator, "/dashboard/invoices?state=open", &session).await;
    let next = first.split("href=\"").find(|rest| rest.contains("rel=\"next\"")).and_then(|rest| rest.split('"').next());
    let next = next.expect("there is more").replace("&#38;", "&");
    let (status, _, last) = look(&facilitator, &next, &session).await;
    assert_eq!((shown(&first), status, shown(&last)), (25, 200, 1), "{next}");
    assert!(next.contains("state=open") && !last.contains("rel=\"next\""));
    let (status, _, page) =
        look(&facilitator, "/dashboard/invoices?cursor=inv_018f4a1e7d3c70008000000000000001.00", &session).await;
    assert_eq!(status, 400, "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_serve_the_pages_of_invoices_alone() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let mut options = Options::new(NetworkOptions::of(&chain), &database::fresh().await);
    options.server.push_str("pages = \"invoices\"\n");
    let facilitator = Facilitator::start(&options).await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.25"})).await;

    assert_eq!(get(&facilitator, &path(&invoice), BROWSER).await.0, 200);
    assert_eq!(get(&facilitator, "/dashboard", BROWSER).await.0, 404);
    assert_eq!(sign_in(&facilitator, merchant.key(), &[]).await.status().as_u16(), 404);
}
