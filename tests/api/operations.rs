//! What an operator sees: health, metrics, `check`, mistakes in the configuration, and the log.

use std::collections::BTreeMap;
use std::time::Duration;

use quittance::grpc::v1::SupportedRequest;
use quittance::grpc::v1::facilitator_client::FacilitatorClient;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options, binary, free_port};
use crate::support::grpc::connect;
use crate::support::payer::Terms;
use crate::support::postgres_proxy::PostgresProxy;
use crate::support::proxy::{Act, Proxy};
use crate::support::solana::Cluster;
use crate::support::{cli, database, eventually, root};
use quittance::domain::address::encode_base58;

async fn text(facilitator: &Facilitator, path: &str) -> (u16, String) {
    let answer = facilitator.client().get(format!("{}{path}", facilitator.operations)).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

/// The table of docs/METRICS.md: name and type.
fn documented_metrics() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root().join("docs/METRICS.md")).expect("the file is there");
    let rows = text.lines().filter(|line| line.starts_with("| `quittance_"));
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`').to_owned(), cells[2].to_owned())
    })
    .collect()
}

/// Whoever hears that the service is ready calls it at once, so nothing may say so before the API listens.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_listens_before_anybody_can_ask_whether_it_is_ready() {
    let chain = Chain::start(ChainOptions::default()).await;
    let mut facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database::fresh().await)).await;
    facilitator.kill().await;
    let [api, operations] = [&facilitator.url, &facilitator.operations].map(|url| url.replace("http://", ""));
    let _taken = [&api, &operations].map(|address| std::net::TcpListener::bind(address).expect("it is free now"));

    let output = cli::run(&facilitator, &["serve"]).await;

    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains(&format!("{api} cannot be listened on")), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_every_documented_metric_are_on_the_private_listener_only() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database::fresh().await)).await;
    let merchant = chain.text("/accounts/merchant/address");
    let signed = chain.payers[0].authorize(&Terms::to(&merchant));
    assert_eq!(facilitator.verify(&signed.v2()).await.1["isValid"], true);
    assert_eq!(facilitator.settle(&signed.v2()).await.1["success"], true);
    assert_eq!(facilitator.settle(&signed.v2()).await.1["success"], false);
    assert!(FacilitatorClient::new(connect(&facilitator)).supported(SupportedRequest {}).await.is_ok());

    assert_eq!(text(&facilitator, "/livez").await, (200, "ok".to_owned()));
    let (status, ready) = text(&facilitator, "/readyz").await;
    let ready: Value = serde_json::from_str(&ready).expect("JSON");
    assert_eq!((status, &ready["ready"]), (200, &Value::Bool(true)), "{ready}");
    assert_eq!((&ready["checks"]["ledger"], &ready["checks"]["eip155:84532"]), (&"ok".into(), &"ok".into()), "{ready}");

    let (_, metrics) = text(&facilitator, "/metrics").await;
    let documented = documented_metrics();
    assert!(documented.len() > 30, "the table was found");
    let missing: Vec<_> = documented
        .iter()
        .filter(|(name, kind)| !metrics.contains(&format!("# TYPE {name} {kind}\n")))
        .map(|(name, _)| name)
        .collect();
    let shown = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE quittance_")?.split(' ').next());
    let undocumented: Vec<_> = shown.filter(|name| !documented.contains_key(&format!("quittance_{name}"))).collect();
    assert!(undocumented.is_empty(), "not in docs/METRICS.md: {undocumented:?}");
    assert!(missing.is_empty(), "documented and not in /metrics: {missing:?}");

    for (series, value) in [
        ("quittance_verifications_total{network=\"eip155:84532\",outcome=\"valid\"", 1.0),
        ("quittance_settlements_total{network=\"eip155:84532\",outcome=\"success\"", 1.0),
        ("quittance_settlements_total{network=\"eip155:84532\",outcome=\"duplicate\"", 1.0),
        ("quittance_payments_included_total{by=\"us\"", 1.0),
        ("quittance_signer_short", 0.0),
        ("quittance_network_available", 1.0),
    ] {
        assert_eq!(facilitator.metric(series).await, value, "{series}");
    }

    // Nothing of this is for the public, and no path of the public can grow the metrics.
    for path in ["/metrics", "/livez", "/readyz", "/secret-canary-path"] {
        assert_eq!(facilitator.get(path).await.0, 404, "{path}");
    }
    let (_, metrics) = text(&facilitator, "/metrics").await;
    assert!(!metrics.contains("canary") && metrics.contains("route=\"none\""), "paths of strangers are counted as none");
    for secret in [&signed.payer[2..], &merchant[2..], &chain.text("/accounts/signers/0/address")[2..]] {
        assert!(!metrics.to_lowercase().contains(&secret.to_lowercase()), "no address is a label");
    }
}

/// The lines of `check` and its exit code.
async fn check(network: NetworkOptions) -> (Option<i32>, Vec<String>) {
    let options = Options { roles: Some("api".to_owned()), ..Options::new(network, &database::fresh().await) };
    let facilitator = Facilitator::spawn(&options);
    let output = cli::run(&facilitator, &["check"]).await;
    let lines = String::from_utf8(output.stdout).expect("UTF-8").lines().map(str::to_owned).collect();
    (output.status.code(), lines)
}

fn failures(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| line.starts_with("FAIL")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_in_one_line_each_what_is_right_and_what_is_wrong() {
    let chain = Chain::start(ChainOptions::default()).await;
    let good = NetworkOptions::of(&chain);
    let usdc = chain.usdc();
    let dead = format!("http://127.0.0.1:{}/hidden-canary", free_port());
    let asset = |name: &str| {
        format!("assets = [{{ address = {usdc:?}, symbol = \"USDC\", decimals = 6, name = {name:?}, version = \"2\" }}]\n")
    };
    let broke = chain.payers[0].signer().to_bytes().to_string();

    let (code, lines) = check(good.clone()).await;
    assert_eq!((code, failures(&lines).len()), (Some(0), 0), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("ok    database: ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("ok    eip155:84532: ") && line.contains(&usdc)), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("ok    eip155:84532 signer signer-0: ")), "{lines:?}");

    let bad = [
        ("another chain", NetworkOptions { id: "eip155:8453".to_owned(), ..good.clone() }, "eip155:8453", "84532"),
        ("another signing domain", NetworkOptions { lines: asset("USD Coin"), ..good.clone() }, "eip155:84532", &usdc),
        (
            "no token",
            NetworkOptions { lines: asset("USDC").replace(&usdc, &chain.text("/multicall3")), ..good.clone() },
            "eip155:84532",
            "0xcA11",
        ),
        ("a dead node", NetworkOptions { rpc: vec![dead], ..good.clone() }, "eip155:84532", "no node"),
        (
            "another genesis",
            NetworkOptions { lines: format!("genesis = \"0x{}\"\n", "12".repeat(32)), ..good.clone() },
            "eip155:84532",
            "genesis",
        ),
        (
            "a signer without money",
            NetworkOptions { keys: vec![broke], ..good.clone() },
            "eip155:84532 signer signer-0",
            "holds 0 wei",
        ),
    ];
    for (what, network, subject, words) in bad {
        let (code, lines) = check(network).await;
        let failed = failures(&lines);
        assert_eq!((code, failed.len()), (Some(1), 1), "{what}: {lines:?}");
        assert!(failed[0].starts_with(&format!("FAIL  {subject}: ")) && failed[0].contains(words), "{what}: {lines:?}");
        assert!(!failed[0].contains("canary"), "{what}: the path of a node's address is a secret");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_looks_at_the_cluster_its_mints_and_its_fee_payers() {
    let cluster = Cluster::start(400).await;
    let good = cluster.options(&cluster.url);
    let (network, usdc) = (good.id.clone(), cluster.text("/usdc"));
    let lines = |from: &str, to: &str| NetworkOptions { lines: good.lines.replace(from, to), ..good.clone() };
    let token_2022 = cluster.text("/mints/token2022/address");
    let bad = [
        ("another cluster", lines(&cluster.text("/genesisHash"), &encode_base58(&[7; 32])), "", "genesis"),
        ("no mint", lines(&token_2022, &cluster.text("/merchant")), "", "T22"),
        ("another token program", lines("\"token-2022\"", "\"token\""), "", "T22"),
        ("another number of decimals", lines("decimals = 6", "decimals = 9"), "", "T22"),
        ("an extension", lines(&token_2022, &cluster.text("/mints/transferFee/address")), "", "T22"),
        (
            "a fee payer without money",
            NetworkOptions { keys: vec![cluster.text("/payers/0/key")], ..good.clone() },
            " signer signer-0",
            "holds 0 lamports",
        ),
    ];

    let (code, lines) = check(good).await;
    assert_eq!((code, failures(&lines).len()), (Some(0), 0), "{lines:?}");
    let said = lines.iter().find(|line| line.starts_with(&format!("ok    {network}: "))).expect("the network is named");
    assert!(said.contains("mints") && said.contains(&usdc) && said.contains(&token_2022), "{said}");
    assert!(lines.iter().any(|line| line.starts_with(&format!("ok    {network} signer signer-0: "))), "{lines:?}");
    for (what, options, subject, words) in bad {
        let (code, lines) = check(options).await;
        let failed = failures(&lines);
        assert_eq!((code, failed.len()), (Some(1), 1), "{what}: {lines:?}");
        assert!(failed[0].starts_with(&format!("FAIL  {network}{subject}: ")) && failed[0].contains(words), "{what}: {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_configuration_is_refused_as_a_whole_before_anything_listens() {
    let directory = database::open_directory();
    let port = free_port();
    let text = format!(
        r#"
[server]
listen = "127.0.0.1:{port}"
operations_listen = "127.0.0.1:{port}"
access = "everybody"
body_bytes_max = 1
shutdown_witin_seconds = 3

[[networks]]
id = "eip155:84532"
rpc = []
answer_at = "soon"
final = 0
signers = [{{ name = "Base 1", key = "env:NOT_SET_ANYWHERE" }}, {{ key = "canary-that-is-no-key" }}]
cost = {{ payment_max = "1e-3" }}
"#
    );
    let file = directory.join("quittance.toml");
    std::fs::write(&file, text).expect("it is writable");

    let output = tokio::process::Command::new(binary()).args(["serve", "--config"]).arg(&file).output().await.expect("it runs");

    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{said}");
    for key in [
        "server.operations_listen",
        "server.access",
        "server.body_bytes_max",
        "server.shutdown_witin_seconds",
        "networks[0].rpc",
        "networks[0].answer_at",
        "networks[0].final",
        "networks[0].signers[0].name",
        "networks[0].signers[0].key",
        "networks[0].signers[1].key",
        "networks[0].cost.payment_max",
    ] {
        assert!(said.lines().any(|line| line.starts_with(&format!("{key}: "))), "{key} is not blamed:\n{said}");
    }
    assert_eq!(said.lines().count(), 11, "a line for each mistake and no more:\n{said}");
    assert!(!said.contains("canary"), "what could be a secret is not repeated:\n{said}");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "nothing listens");
    std::fs::remove_dir_all(directory).expect("it is ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_json_and_holds_no_secret() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&chain.url);
    let url = database::fresh().await;
    let network = NetworkOptions { rpc: vec![format!("{}/node-secret-canary", proxy.url)], ..NetworkOptions::of(&chain) };
    let mut options = Options::new(network, &url);
    options.server.push_str("answer_within_v2_seconds = 2\n\n[log]\nfilter = \"info,quittance=trace\"\n");
    let mut facilitator = Facilitator::start(&options).await;
    let account = cli::open_account(&facilitator, "provider").await;
    let merchant = chain.text("/accounts/merchant/address");
    let payments: Vec<_> = (0..4).map(|payer| chain.payers[payer].authorize(&Terms::to(&merchant))).collect();
    let send = async |body: &Value, key: &str| {
        let request = facilitator.client().post(format!("{}/settle", facilitator.url)).json(body);
        request.header("authorization", format!("Bearer {key}")).send().await.expect("an answer").status().as_u16()
    };

    assert_eq!(send(&payments[0].v2(), &account.key).await, 200);
    assert_eq!(send(&payments[0].v2(), &account.key.replace(['a', 'b'], "c")).await, 401);
    let mut forged = payments[1].v2();
    forged["paymentPayload"]["payload"]["authorization"]["value"] = "1".into();
    assert_eq!(send(&forged, &account.key).await, 200);
    proxy.rule(|method, _, _| if method == "eth_sendRawTransaction" { Act::Status(500) } else { Act::Forward });
    send(&payments[2].v2(), &account.key).await;
    proxy.rule(|_, _, _| Act::Swallow);
    assert_eq!(send(&payments[3].v2(), &account.key).await, 503);
    proxy.behave();
    assert!(facilitator.terminate().await.success());

    let log = facilitator.log();
    assert!(log.contains("no verdict"), "the failures were logged:\n{log}");
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["target"].is_string(), "{line}");
    }
    let password =
        url.expose_secret().split_once("://").and_then(|(_, rest)| rest.split_once('@')?.0.split_once(':')).map(|(_, word)| word);
    let mut secrets = vec![
        ("the signer's key", chain.text("/accounts/signers/0/key")[2..].to_owned()),
        ("the API key", account.key.split_once('.').expect("two halves").1.to_owned()),
        ("the path of the node's address", "canary".to_owned()),
    ];
    secrets.extend(password.map(|word| ("the database's password", word.to_owned())));
    for payment in &payments {
        let signature = payment.payload["signature"].as_str().expect("a signature");
        secrets.push(("a signature", signature[2..66].to_owned()));
        secrets.push(("the second half of a signature", signature[66..130].to_owned()));
    }
    let found: Vec<_> =
        secrets.iter().filter(|(_, secret)| log.to_lowercase().contains(&secret.to_lowercase())).map(|(what, _)| what).collect();
    assert!(found.is_empty(), "the log holds {found:?}");
}

/// The transaction that waits in the node's pool.
async fn pooled(chain: &Chain) -> String {
    eventually("a transaction in the node's pool", Duration::from_secs(20), || async {
        let content = chain.rpc("txpool_content", json!([])).await;
        let transactions = content["pending"].as_object()?.values().flat_map(|sender| sender.as_object().into_iter().flatten());
        transactions.map(|(_, transaction)| transaction["hash"].as_str().expect("a hash").to_owned()).next()
    })
    .await
}

/// A settle request of version 1, which has patience for a minute, on its way.
fn settle_in_background(facilitator: &Facilitator, body: &Value) -> tokio::task::JoinHandle<(u16, Value)> {
    let (caller, body) = (facilitator.caller(), body.clone());
    tokio::spawn(async move { caller.try_post("/settle", &body).await.expect("an answer before the process ends") })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_by_sigterm_tells_those_who_wait_where_their_payments_stand() {
    let chain = Chain::start(ChainOptions { block_time: 1.0, ..ChainOptions::default() }).await;
    let merchant = chain.text("/accounts/merchant/address");
    let mut facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database::fresh().await)).await;
    let body = chain.payers[0].authorize(&Terms::to(&merchant)).v1();
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    let waiting = settle_in_background(&facilitator, &body);
    let transaction = pooled(&chain).await;

    let ended = facilitator.terminate().await;

    let (status, answer) = waiting.await.expect("no panic");
    assert_eq!(
        (status, &answer["success"], &answer["errorReason"]),
        (200, &json!(false), &json!("settlement_pending")),
        "{answer}"
    );
    assert_eq!(answer["transaction"], json!(transaction), "{answer}");
    assert!(answer["extra"]["paymentId"].is_string(), "{answer}");
    assert!(ended.success(), "{ended}");

    chain.rpc("evm_setIntervalMining", json!([1])).await;
    facilitator.restart().await;
    let (status, settled) = facilitator.settle(&body).await;
    assert_eq!((status, &settled["success"], &settled["transaction"]), (200, &json!(true), &json!(transaction)), "{settled}");
    assert_eq!(settled["extra"]["paymentId"], answer["extra"]["paymentId"]);
    let (_, again) = facilitator.settle(&body).await;
    assert_eq!(again["errorReason"], "duplicate_settlement", "{again}");
    assert_eq!(chain.transfers_to(&merchant).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_by_sigterm_takes_back_what_nobody_has_sent() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let merchant = chain.text("/accounts/merchant/address");
    // Without a lane a payment stays in the queue.
    let roles = Some("api,watcher,worker".to_owned());
    let options = Options { roles, ..Options::new(NetworkOptions::of(&chain), &database::fresh().await) };
    let mut facilitator = Facilitator::start(&options).await;
    let body = chain.payers[0].authorize(&Terms::to(&merchant)).v1();
    let waiting = settle_in_background(&facilitator, &body);
    eventually("a caller who waits", Duration::from_secs(20), || async {
        (facilitator.metric("quittance_payments_waiting").await > 0.0).then_some(())
    })
    .await;

    let ended = facilitator.terminate().await;

    let (status, answer) = waiting.await.expect("no panic");
    assert_eq!(
        (status, &answer["errorReason"], &answer["transaction"]),
        (503, &json!("unexpected_settle_error"), &json!("")),
        "{answer}"
    );
    assert!(ended.success(), "{ended}");

    // With a lane: nothing of it was left to be sent, and the same request is good.
    facilitator.restart().await;
    let (_, settled) = facilitator.settle(&body).await;
    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!(chain.transfers_to(&merchant).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_nobody_is_told_that_nothing_was_sent() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let database = PostgresProxy::start(&database::fresh().await).await;
    let options = Options::new(NetworkOptions::of(&chain), &database.url);
    let server = format!("{}shutdown_within_seconds = 4\n", options.server);
    let mut facilitator = Facilitator::start(&Options { server, roles: Some("api,watcher,worker".to_owned()), ..options }).await;
    let body = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v1();
    let (caller, asked) = (facilitator.caller(), body.clone());
    let waiting = tokio::spawn(async move { caller.try_post("/settle", &asked).await });
    eventually("a caller who waits", Duration::from_secs(20), || async {
        (facilitator.metric("quittance_payments_waiting").await > 0.0).then_some(())
    })
    .await;

    // From here on only a lane of another replica could know the payment, and send it for as long as the caller would have waited.
    database.close();
    let ended = facilitator.terminate().await;

    let answer = waiting.await.expect("no panic");
    assert!(answer.is_err(), "{answer:?}");
    assert!(ended.success(), "{ended}");
    database.open();
    facilitator.restart().await;
    assert_eq!(facilitator.settle(&body).await.1["success"], true);
}

/// Whoever hears that the service listens may stop it in the same moment, and whoever started it by mistake before that.
#[tokio::test(flavor = "multi_thread")]
async fn the_order_to_stop_is_heard_from_the_beginning_on() {
    let chain = Chain::start(ChainOptions::default()).await;
    let database = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let silent = format!("postgres://nobody@{}/nothing", database.local_addr().expect("it has one")).into();
    let mut begun = Facilitator::spawn(&Options::new(NetworkOptions::of(&chain), &silent));
    let _silence = database.accept().await.expect("it asks for its database");
    let ended = begun.terminate().await;
    assert_eq!(ended.code(), Some(4), "it ends by itself, without a database: {ended}");

    let options = Options::new(NetworkOptions::of(&chain), &database::fresh().await);
    for _ in 0..3 {
        let mut facilitator = Facilitator::spawn(&options);
        eventually("the last listener", Duration::from_secs(20), || async {
            facilitator.log().contains("Operations listening").then_some(())
        })
        .await;
        let ended = facilitator.terminate().await;
        assert!(ended.success() && facilitator.log().contains("\"stopping\""), "{ended}: {}", facilitator.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigterm_no_payment_is_begun() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let merchant = chain.text("/accounts/merchant/address");
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database::fresh().await)).await;
    let body = chain.payers[0].authorize(&Terms::to(&merchant)).v2().to_string();
    let (first, rest) = body.split_at(body.len() / 2);
    let host = facilitator.url.trim_start_matches("http://");
    let head = format!(
        "POST /settle HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
        body.len()
    );

    // A request that is half here when the service is told to stop.
    let mut stream = TcpStream::connect(host).await.expect("it listens");
    stream.write_all(head.as_bytes()).await.expect("it reads");
    eventually("a request", Duration::from_secs(20), || async {
        (facilitator.metric("quittance_http_requests_in_flight").await > 0.0).then_some(())
    })
    .await;
    facilitator.signal("TERM");
    eventually("the stop", Duration::from_secs(20), || async { facilitator.log().contains("stopping").then_some(()) }).await;
    stream.write_all(rest.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");

    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("the service is stopping"), "{answer}");
    assert_eq!(chain.transfers_to(&merchant).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_by_sigterm_does_not_wait_for_a_database_that_fell_silent() {
    let chain = Chain::start(ChainOptions::default()).await;
    let database = PostgresProxy::start(&database::fresh().await).await;
    let mut facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database.url)).await;
    database.silence();

    let ended = tokio::time::timeout(Duration::from_mins(1), facilitator.terminate()).await.expect("it ends");

    assert!(ended.success(), "{ended}");
}
