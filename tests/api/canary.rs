//! Every secret that can be configured, with a word in it that is looked for in everything that the service says.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quittance::grpc::v1::facilitator_client::FacilitatorClient;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::{self, open_account};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options, free_port};
use crate::support::merchant::Merchant;
use crate::support::payer::Terms;
use crate::support::postgres_proxy::PostgresProxy;
use crate::support::proxy::{Act, Proxy};
use crate::support::receipts::Keys;
use crate::support::receiver::Receiver;
use crate::support::signer::{Manner, SigningServer, TOKEN};
use crate::support::{database, eventually, grpc};

/// How long something may take that takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands in the URLs of nodes.
const USER: &str = "canaryuser";
const PASSWORD: &str = "canarypassword";
const PATH: &str = "canarypath";
const QUERY: &str = "canaryquery";

/// What shows AWS who asks, in whose place somebody refuses.
const AWS: [&str; 2] = ["canaryawssecret", "canaryawssession"];

/// A key that nobody has money on.
const LOCAL_KEY: &str = "cacacacacacacacacacacacacacacacacacacacacacacacacacacacacacacaca";

/// Everything that was said, by whom.
#[derive(Default)]
struct Said(Vec<(String, String)>);

impl Said {
    fn note(&mut self, by: &str, words: impl Into<String>) {
        self.0.push((by.to_owned(), words.into()));
    }

    /// Who has said which secret, in whichever form.
    fn leaks(&self, secrets: &[(&str, String)]) -> Vec<String> {
        let mut leaks = Vec::new();
        for (what, secret) in secrets {
            let forms = [secret.to_lowercase(), STANDARD.encode(secret).to_lowercase(), alloy::hex::encode(secret)];
            for (by, words) in &self.0 {
                let words = words.to_lowercase();
                for found in forms.iter().filter_map(|form| words.find(form.trim_end_matches('='))) {
                    let around = words.get(found.saturating_sub(300)..(found + 100).min(words.len())).unwrap_or_default();
                    leaks.push(format!("{by} has {what}: …{around}…"));
                }
            }
        }
        leaks.dedup();
        leaks.truncate(5);
        leaks
    }
}

/// The answer of a request, with its headers.
async fn ask(
    said: &mut Said,
    facilitator: &Facilitator,
    method: &str,
    url: &str,
    key: Option<&str>,
    body: Option<String>,
) -> Value {
    let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
    let mut request = facilitator.client().request(method, url);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => panic!("{url}: {error}"),
    };
    let head = format!("{} {:?}", answer.status(), answer.headers());
    let text = answer.text().await.expect("a body");
    said.note(url, format!("{head}\n{text}"));
    serde_json::from_str(&text).unwrap_or_default()
}

/// A URL with a secret in each of its parts.
fn secret_url(url: &str) -> String {
    let (scheme, host) = url.split_once("://").expect("a URL");
    format!("{scheme}://{USER}:{PASSWORD}@{host}/{PATH}?key={QUERY}")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_leaves_the_service_whatever_happens() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let (node, keys, receiver) = (Proxy::start(&chain.url), Keys::generate().await, Receiver::start().await);
    let signing = SigningServer::start(&[("base-1", &chain.text("/accounts/signers/0/key"))]);
    let postgres = PostgresProxy::start(&database::fresh().await).await;
    let network = network(&chain, &node, &signing);
    let mut options = Options::new(network, &postgres.url);
    options.server = format!(
        "access = \"keys\"\nanswer_within_v2_seconds = 2\nanswer_within_v1_seconds = 2\n[log]\nfilter = \"trace\"\n{}[webhooks]\nallow_private = true\n",
        keys.section()
    );
    let mut facilitator = Facilitator::start(&options).await;
    let [provider, operator] =
        [open_account(&facilitator, "provider").await.key, open_account(&facilitator, "operator").await.key];
    let merchant = Merchant::open(&facilitator).await;
    let (status, webhook) = merchant.post("/v1/webhooks", &json!({"url": receiver.url()})).await;
    assert_eq!(status, 201, "{webhook}");
    let mut secrets = configured(&keys);
    secrets.push(("the password of the database", password(&postgres.url)));
    secrets.push(("the secret of a webhook", webhook["secret"].as_str().expect("a secret").to_owned()));
    secrets.push(("the key in a webhook's URL", "in-the-url".to_owned()));
    let merchant_key = merchant.key().to_owned();
    for (what, key) in
        [("the provider's key", &provider), ("the operator's key", &operator), ("the merchant's key", &merchant_key)]
    {
        secrets.push((what, key.split_once('.').expect("two halves").1.to_owned()));
    }
    let mut said = Said::default();
    said.note("the arguments", arguments(&facilitator));

    everything_is_asked(&mut said, &facilitator, &chain, [&provider, &merchant_key, &operator]).await;
    // The token is for the signing server alone, and so is everything else for whom it is.
    for manner in [Manner::Says(500), Manner::Says(403), Manner::SignsAsAnother, Manner::Babbles] {
        signing.behave(manner);
        settle(&mut said, &facilitator, &chain, &provider, 1).await;
        said.note("check", facilitator.command(&["check"]).await.1);
    }
    signing.behave(Manner::Signs);
    for act in [
        Act::Status(401),
        Act::Swallow,
        Act::Answer(json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "no"}})),
    ] {
        node.rule(move |_, _, _| act.clone());
        everything_is_asked(&mut said, &facilitator, &chain, [&provider, &merchant_key, &operator]).await;
        said.note("check", facilitator.command(&["check"]).await.1);
    }
    node.behave();
    postgres.close();
    everything_is_asked(&mut said, &facilitator, &chain, [&provider, &merchant_key, &operator]).await;
    said.note("check", facilitator.command(&["check"]).await.1);
    postgres.open();
    eventually("the database again", PATIENCE, || async {
        facilitator
            .client()
            .get(format!("{}/readyz", facilitator.operations))
            .send()
            .await
            .ok()?
            .status()
            .is_success()
            .then_some(())
    })
    .await;
    let broken = broken_configurations(&mut said, &facilitator, &operator).await;
    assert!(broken > 10, "{broken} problems were told");
    said.note("metrics", metrics(&facilitator).await);
    facilitator.terminate().await;
    said.note("the log", facilitator.log());

    assert!(facilitator.log().contains("\"level\":\"TRACE\"") && facilitator.log().contains("the signer does not sign"));
    let leaks = said.leaks(&secrets);
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

/// The password in the URL of a database.
fn password(url: &SecretString) -> String {
    let url = reqwest::Url::parse(url.expose_secret()).expect("a URL");
    url.password().expect("the server of the tests asks for one").to_owned()
}

/// A network whose nodes and signers have secrets everywhere. Only the first signer has money.
fn network(chain: &Chain, node: &Proxy, signing: &SigningServer) -> NetworkOptions {
    let address = chain.text("/accounts/signers/0/address");
    let remote = signing.signer("base-1", &address).replace("/sign\"", &format!("/sign?key={QUERY}\""));
    let local = format!("{{ name = \"base-2\", key = {LOCAL_KEY:?} }}");
    let aws = format!(
        "{{ name = \"base-3\", address = \"0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F\", aws_kms = {{ key_id = \"alias/base\", region = \"eu-central-1\", \
         endpoint = {:?}, access_key_id = \"AKIDEXAMPLE\", secret_access_key = {:?}, session_token = {:?} }} }}",
        signing.url, AWS[0], AWS[1]
    );
    // It is no server for WebSockets, but it hears the handshake.
    let ws = secret_url(&signing.url.replace("http://", "ws://"));
    NetworkOptions {
        rpc: vec![secret_url(&node.url), secret_url(&format!("http://127.0.0.1:{}", free_port()))],
        keys: Vec::new(),
        lines: format!("final = 16\nws = [{ws:?}]\nsigners = [{remote}, {local}, {aws}]\n"),
        ..NetworkOptions::of(chain)
    }
}

/// What the configuration and the files that it names keep to themselves.
fn configured(keys: &Keys) -> Vec<(&'static str, String)> {
    let ring: Value = serde_json::from_slice(&std::fs::read(keys.file()).expect("it is readable")).expect("JSON");
    let private = ring["keys"].as_array().expect("keys").iter().map(|key| key["d"].as_str().expect("a private part").to_owned());
    let plain = [
        ("the user of a node", USER),
        ("the password of a node", PASSWORD),
        ("the path of a node", PATH),
        ("the query of a node or of the signing server", QUERY),
        ("the secret key of AWS", AWS[0]),
        ("the session of AWS", AWS[1]),
        ("a signer's key", LOCAL_KEY),
        ("the token of the signing server", TOKEN),
    ];
    let plain = plain.into_iter().map(|(what, secret)| (what, secret.to_owned()));
    plain.chain(private.map(|secret| ("a key of receipts", secret))).collect()
}

/// What everybody on the machine sees of the process.
fn arguments(facilitator: &Facilitator) -> String {
    let pid = facilitator.process.id().expect("it runs");
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).expect("it is readable");
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn metrics(facilitator: &Facilitator) -> String {
    let answer = facilitator.client().get(format!("{}/metrics", facilitator.operations)).send().await.expect("metrics");
    answer.text().await.expect("text")
}

async fn settle(said: &mut Said, facilitator: &Facilitator, chain: &Chain, key: &str, payer: usize) {
    let body = chain.payers[payer].authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v2().to_string();
    ask(said, facilitator, "POST", &format!("{}/settle", facilitator.url), Some(key), Some(body)).await;
}

/// Good and bad requests over both transports, and what operators look at.
async fn everything_is_asked(said: &mut Said, facilitator: &Facilitator, chain: &Chain, keys: [&str; 3]) {
    let [provider, merchant, operator] = keys;
    let good = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v2();
    for body in [good.to_string(), "{".to_owned(), json!({"x402Version": 2}).to_string()] {
        ask(said, facilitator, "POST", &format!("{}/verify", facilitator.url), Some(provider), Some(body)).await;
    }
    settle(said, facilitator, chain, provider, 0).await;
    let paths = [
        "/supported",
        "/health",
        "/v1/payments",
        "/v1/webhooks",
        "/v1/invoices",
        "/v1/reconciliations",
        "/.well-known/jwks.json",
        "/.well-known/did.json",
        "/openapi.json",
        "/nothing",
    ];
    for (path, key) in paths.into_iter().zip(keys.into_iter().cycle()) {
        for key in [None, Some(key), Some(operator)] {
            ask(said, facilitator, "GET", &format!("{}{path}", facilitator.url), key, None).await;
        }
    }
    for path in ["/readyz", "/livez", "/metrics"] {
        ask(said, facilitator, "GET", &format!("{}{path}", facilitator.operations), None, None).await;
    }
    let mut client = FacilitatorClient::new(grpc::connect(facilitator));
    for key in [provider, merchant, "key_of.nobody"] {
        said.note("gRPC", format!("{:?}", client.verify(grpc::keyed(grpc::verify(&good), key)).await));
        said.note("gRPC", format!("{:?}", client.settle(grpc::keyed(grpc::settle(&good), key)).await));
    }
}

/// Configurations in which secrets stand where something else is wrong with them. Returns how many problems were told.
async fn broken_configurations(said: &mut Said, facilitator: &Facilitator, operator: &str) -> usize {
    let file = facilitator.config_file();
    let good = std::fs::read_to_string(&file).expect("it is readable");
    let mut problems = 0;
    for (from, to) in [
        ("http://canaryuser", "ftp://canaryuser"),
        ("ws://canaryuser", "http://canaryuser"),
        (LOCAL_KEY, &LOCAL_KEY[2..]),
        ("secret_access_key = ", "secret_acess_key = "),
        ("token = \"", "token_file = \"/nowhere\", token = \""),
        ("aws_kms = {", "key = \"canaryawssecret\", aws_kms = {"),
        ("region = ", "region = \"x y\", rgion = "),
        ("[[networks]]", "[[networks"),
    ] {
        let broken = good.replacen(from, to, 1);
        assert_ne!(broken, good, "{from}");
        std::fs::write(&file, broken).expect("it is writable");
        for command in ["check", "serve"] {
            let output = cli::run(facilitator, &[command]).await;
            let words = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(!output.status.success(), "{from}: {words}");
            problems += words.lines().count();
            said.note(command, words);
        }
        let url = format!("{}/v1/configuration/reload", facilitator.url);
        let refused = ask(said, facilitator, "POST", &url, Some(operator), None).await;
        assert_eq!(refused["code"], "invalid_configuration", "{from}: {refused}");
    }
    std::fs::write(&file, good).expect("it is writable");
    problems
}
