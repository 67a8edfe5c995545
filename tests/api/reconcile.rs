//! Network and ledger are compared: what came to registered addresses, and what they hold.

use std::time::Duration;

use chrono::{DateTime, Utc};
use quittance::ledger::Ledger;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::{Account, open_account};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay};
use crate::support::proxy::{Act, Edit, Proxy};
use crate::support::solana::Cluster;
use crate::support::solana::wallet::{Marks, Token, Wallet};
use crate::support::{database, eventually};

const PATIENCE: Duration = Duration::from_mins(1);

/// A service that compares all the time.
async fn start(network: NetworkOptions, database: &SecretString) -> (Facilitator, Account) {
    let mut options = Options::new(network, database);
    options.server.push_str("[reconcile]\nevery_seconds = 1\n");
    let facilitator = Facilitator::start(&options).await;
    let operator = open_account(&facilitator, "operator").await;
    (facilitator, operator)
}

/// The newest comparisons.
async fn comparisons(facilitator: &Facilitator, operator: &Account) -> Vec<Value> {
    let url = format!("{}/v1/reconciliations?limit=50", facilitator.url);
    let answer = facilitator.client().get(url).bearer_auth(&operator.key).send().await.expect("an answer");
    let page: Value = answer.json().await.expect("JSON");
    page["reconciliations"].as_array().expect("a list").clone()
}

/// Waits until so many credits have been compared, each once, and nothing was found wrong.
async fn until_right(facilitator: &Facilitator, operator: &Account, credits: u64) {
    eventually("all credits compared", PATIENCE, || async {
        let all = comparisons(facilitator, operator).await;
        let wrong: Vec<_> = all.iter().filter(|done| done["differences"] != 0 || done["report"] != json!([])).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let compared = all.iter().map(|done| done["credits"].as_u64().expect("a number")).sum::<u64>();
        assert!(compared <= credits, "{compared}");
        (compared == credits).then_some(())
    })
    .await;
}

/// Waits for a comparison that begins after now and is as `is_wanted` says.
async fn comparison(facilitator: &Facilitator, operator: &Account, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let asked_at = Utc::now();
    let begun_at = |done: &Value| done["begunAt"].as_str().expect("a time").parse::<DateTime<Utc>>().expect("a time");
    eventually("a comparison", PATIENCE, || async {
        let newest = comparisons(facilitator, operator).await.into_iter().next();
        newest.filter(|done| begun_at(done) > asked_at && is_wanted(done))
    })
    .await
}

/// What is wrong, and what each side says.
fn told(done: &Value) -> Vec<(&str, &str, &str)> {
    let report = done["report"].as_array().expect("a list");
    report.iter().map(|difference| (word(difference, "kind"), word(difference, "network"), word(difference, "ledger"))).collect()
}

fn word<'a>(difference: &'a Value, member: &str) -> &'a str {
    difference[member].as_str().expect("a text")
}

/// As if the watcher had read of each transfer one unit too little.
async fn lose_a_unit_of_each_transfer(ledger: &Ledger) {
    for statement in [
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.amount := NEW.amount - 1; RETURN NEW; END'",
        "CREATE TRIGGER lose BEFORE INSERT ON transfers FOR EACH ROW EXECUTE FUNCTION lose()",
    ] {
        sqlx::query(statement).execute(ledger.pool()).await.expect("the database answers");
    }
}

async fn change(ledger: &Ledger, statement: &'static str) {
    let changed = sqlx::query(statement).execute(ledger.pool()).await.expect("the database answers").rows_affected();
    assert_eq!(changed, 1, "{statement}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_and_went_is_found_right() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let (facilitator, operator) = start(NetworkOptions::of(&chain), &database::fresh().await).await;
    let merchant = Merchant::open(&facilitator).await;
    let shop = &chain.payers[0];
    merchant.register(&chain.network(), shop).await;

    let first = comparison(&facilitator, &operator, |done| done["addresses"] == 1).await;
    assert_eq!(first["differences"], 0, "{first}");
    let transaction = pay(&chain, &chain.payers[1], &shop.address(), 500_000).await;
    pay(&chain, shop, &chain.payers[2].address(), 200_000).await;
    pay(&chain, shop, &shop.address(), 100_000).await;
    merchant.until_transfer(&transaction).await;
    until_right(&facilitator, &operator, 2).await;
    assert_eq!(merchant.transfers().await.len(), 2);
    assert!(facilitator.metric("quittance_reconcile_finished_timestamp_seconds").await > 1.7e9);
    assert_eq!(facilitator.metric("quittance_reconcile_differences").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credit_that_the_ledger_lost_or_made_up_is_told_until_it_is_mended() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let ledger = database::ledger(&url).await;
    let (facilitator, operator) = start(NetworkOptions::of(&chain), &url).await;
    let merchant = Merchant::open(&facilitator).await;
    let shop = &chain.payers[0];
    merchant.register(&chain.network(), shop).await;
    let first = comparison(&facilitator, &operator, |done| done["addresses"] == 1).await;
    assert_eq!(first["differences"], 0, "{first}");

    lose_a_unit_of_each_transfer(&ledger).await;
    pay(&chain, &chain.payers[1], &shop.address(), 500_000).await;

    let wrong = |done: &Value| done["differences"] == 1;
    let missing = comparison(&facilitator, &operator, wrong).await;
    assert_eq!(told(&missing), [("missing", "500000", "499999")], "{missing}");
    let still = comparison(&facilitator, &operator, |_| true).await;
    assert_eq!(told(&still), told(&missing), "it is told again");
    assert_eq!(facilitator.metric("quittance_reconcile_differences").await, 1.0);

    change(&ledger, "UPDATE transfers SET amount = 500001").await;
    let unfounded = comparison(&facilitator, &operator, |done| wrong(done) && done["report"][0]["kind"] == "unfounded").await;
    assert_eq!(told(&unfounded), [("unfounded", "500000", "500001")], "{unfounded}");

    change(&ledger, "UPDATE transfers SET amount = 500000").await;
    let mended = comparison(&facilitator, &operator, |done| done["differences"] == 0).await;
    assert_eq!(told(&mended), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_no_node_tells_of_shows_in_the_balance() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&chain.url);
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..NetworkOptions::of(&chain) };
    let (facilitator, operator) = start(network, &database::fresh().await).await;
    let merchant = Merchant::open(&facilitator).await;
    let shop = &chain.payers[0];
    merchant.register(&chain.network(), shop).await;
    comparison(&facilitator, &operator, |done| done["addresses"] == 1).await;

    // Neither by block nor by address: the logs of this transfer are held back, and so is the filter that promises them.
    let hidden = pay_hidden(&chain, &proxy, shop).await;
    let wrong = comparison(&facilitator, &operator, |done| done["differences"] == 1).await;
    let told = told(&wrong);
    assert_eq!(told.len(), 1);
    let (kind, network, ledger) = told[0];
    let units = |text: &str| text.parse::<u128>().expect("units");
    assert_eq!((kind, units(network) - units(ledger)), ("balance", 500_000), "{wrong}, {hidden}");
}

/// Pays the shop while the proxy keeps all logs of transfers to it, and every promise of logs.
async fn pay_hidden(chain: &Chain, proxy: &Proxy, shop: &crate::support::payer::Payer) -> String {
    let recipient = format!("0x{:0>64}", shop.address().trim_start_matches("0x").to_lowercase());
    proxy.rule(move |method, _, _| match method {
        "eth_getLogs" => {
            let recipient = recipient.clone();
            Edit::of(move |logs| {
                if let Some(logs) = logs.as_array_mut() {
                    logs.retain(|log| log["topics"][2] != recipient.as_str());
                }
            })
        }
        "eth_getBlockByNumber" | "eth_getBlockByHash" => Edit::of(|block| {
            if block.is_object() {
                block["logsBloom"] = json!(format!("0x{}", "0".repeat(512)));
            }
        }),
        _ => Act::Forward,
    });
    pay(chain, &chain.payers[1], &shop.address(), 500_000).await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_solana_all_accounts_of_an_owner_are_compared() {
    let cluster = Cluster::start(200).await;
    let url = database::fresh().await;
    let ledger = database::ledger(&url).await;
    let (facilitator, operator) = start(cluster.options(&cluster.url), &url).await;
    let merchant = Merchant::open(&facilitator).await;
    let shop = Wallet::of(&cluster, "/accounts/merchant").await;
    let buyer = Wallet::of(&cluster, "/payers/0").await;
    merchant.register_signed(&cluster.text("/network"), &shop.address(), |challenge| shop.sign(challenge)).await;
    comparison(&facilitator, &operator, |done| done["addresses"] == 1).await;

    let usdc = Token::of(&cluster, "usdc");
    let transaction = buyer.pay(&cluster, usdc, &shop.address(), 250_000, Marks::default()).await;
    shop.pay(&cluster, usdc, &buyer.address(), 100_000, Marks::default()).await;
    merchant.until_transfer(&transaction).await;
    until_right(&facilitator, &operator, 1).await;
    let recovered = shop.recover(&cluster, usdc, 7_000).await;
    merchant.until_transfer(&recovered).await;
    until_right(&facilitator, &operator, 2).await;

    lose_a_unit_of_each_transfer(&ledger).await;
    buyer.pay(&cluster, usdc, &shop.address(), 50_000, Marks::default()).await;
    let missing = comparison(&facilitator, &operator, |done| done["differences"] == 1).await;
    assert_eq!(told(&missing), [("missing", "50000", "49999")], "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_operator_reads_what_comparisons_came_to() {
    let chain = Chain::start(ChainOptions::default()).await;
    let (facilitator, operator) = start(NetworkOptions::of(&chain), &database::fresh().await).await;
    let merchant = Merchant::open(&facilitator).await;
    let provider = open_account(&facilitator, "provider").await;
    let read = |key: Option<String>, query: &'static str| {
        let request = facilitator.client().get(format!("{}/v1/reconciliations{query}", facilitator.url));
        let request = match key {
            Some(key) => request.bearer_auth(key),
            None => request,
        };
        async move { request.send().await.expect("an answer").status().as_u16() }
    };

    assert_eq!(read(None, "").await, 401);
    assert_eq!(read(Some(merchant.key().to_owned()), "").await, 403);
    assert_eq!(read(Some(provider.key), "").await, 403);
    assert_eq!(read(Some(operator.key.clone()), "").await, 200);
    for query in ["?limit=0", "?cursor=x", "?network=base", "?other=1"] {
        assert_eq!(read(Some(operator.key.clone()), query).await, 400, "{query}");
    }
}
