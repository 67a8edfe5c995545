//! Every secret that can be configured, with a word in it that is looked for in everything that the service says.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quittance::domain::address::{decode_base58_pair, encode_base58};
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
use crate::support::solana::Cluster;
use crate::support::{database, eventually, grpc};

/// How long something may take that takes a few seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// What stands in the URLs of nodes.
const USER: &str = "canaryuser";
const PASSWORD: &str = "canarypassword";
const PATH: &str = "canarypath";
const QUERY: &str = "canaryquery";

/// What shows AWS who asks, in whose place somebody refuses.
const AWS: [&str; 2] = ["canaryawssecret", "canaryawssession"];

/// What shows the pod to whoever gives it credentials of AWS.
const POD: &str = "canarypodtoken";

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
        let said: Vec<_> = self.0.iter().map(|(by, words)| (by, words.to_lowercase())).collect();
        let mut leaks = Vec::new();
        for (what, secret) in secrets {
            let forms = [secret.to_lowercase(), STANDARD.encode(secret).to_lowercase(), alloy::hex::encode(secret)];
            for (by, words) in &said {
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

/// The ways in which a program may write the bytes of a key down.
fn spellings(what: &'static str, bytes: &[u8]) -> Vec<(&'static str, String)> {
    let listed = format!("{bytes:?}");
    let list = listed.trim_matches(['[', ']']);
    let texts = [alloy::hex::encode(bytes), STANDARD.encode(bytes), encode_base58(bytes), list.to_owned(), list.replace(' ', "")];
    texts.into_iter().map(|text| (what, text)).collect()
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
    let cluster = Cluster::start(100).await;
    let nodes = [Proxy::start(&chain.url), Proxy::start(&cluster.url)];
    let (keys, receiver) = (Keys::generate().await, Receiver::start().await);
    let signing = SigningServer::start(&[("base-1", &chain.text("/accounts/signers/0/key"))]);
    let postgres = PostgresProxy::start(&database::fresh().await).await;
    let pod = database::open_directory().join("pod-token");
    std::fs::write(&pod, POD).expect("it is writable");
    let mut options = Options::new(network(&chain, &nodes[0], &signing, &pod), &postgres.url);
    options.networks.push(solana(&cluster, &nodes[1]));
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
    let mut secrets = configured(&keys, &cluster);
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

    let worlds = (&chain, &cluster);
    everything_is_asked(&mut said, &facilitator, worlds, [&provider, &merchant_key, &operator]).await;
    // The token is for the signing server alone, and so is everything else for whom it is.
    for manner in [Manner::Says(500), Manner::Says(403), Manner::SignsAsAnother, Manner::Babbles] {
        signing.behave(manner);
        settle(&mut said, &facilitator, worlds, &provider, 1).await;
        operators_look(&mut said, &facilitator).await;
    }
    signing.behave(Manner::Signs);
    for act in [
        Act::Status(401),
        Act::Swallow,
        Act::Answer(json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "no"}})),
    ] {
        for node in &nodes {
            let act = act.clone();
            node.rule(move |_, _, _| act.clone());
        }
        everything_is_asked(&mut said, &facilitator, worlds, [&provider, &merchant_key, &operator]).await;
        operators_look(&mut said, &facilitator).await;
    }
    for node in &nodes {
        node.behave();
    }
    postgres.close();
    everything_is_asked(&mut said, &facilitator, worlds, [&provider, &merchant_key, &operator]).await;
    operators_look(&mut said, &facilitator).await;
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
    let broken = broken_configurations(&mut said, &facilitator, &operator, &key_of(&cluster)).await;
    assert!(broken > 10, "{broken} problems were told");
    said.note("metrics", metrics(&facilitator).await);
    for delivery in receiver.received() {
        said.note("a webhook", delivery.told().to_string());
    }
    facilitator.terminate().await;
    said.note("the log", facilitator.log());

    let log = facilitator.log();
    for told in ["\"level\":\"TRACE\"", "the signer does not sign", &cluster.text("/network")] {
        assert!(log.contains(told), "{told} is not in the log");
    }
    let leaks = said.leaks(&secrets);
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

/// The password in the URL of a database.
fn password(url: &SecretString) -> String {
    let url = reqwest::Url::parse(url.expose_secret()).expect("a URL");
    url.password().expect("the server of the tests asks for one").to_owned()
}

/// A network whose nodes and signers have secrets everywhere. Only the first signer has money.
fn network(chain: &Chain, node: &Proxy, signing: &SigningServer, pod: &Path) -> NetworkOptions {
    let address = chain.text("/accounts/signers/0/address");
    let remote = signing.signer("base-1", &address).replace("/sign\"", &format!("/sign?key={QUERY}\""));
    let local = format!("{{ name = \"base-2\", key = {LOCAL_KEY:?} }}");
    let aws = format!(
        "{{ name = \"base-3\", address = \"0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F\", aws_kms = {{ key_id = \"alias/base\", region = \"eu-central-1\", \
         endpoint = {:?}, access_key_id = \"AKIDEXAMPLE\", secret_access_key = {:?}, session_token = {:?} }} }}",
        signing.url, AWS[0], AWS[1]
    );
    let fetched = format!(
        "{{ name = \"base-4\", address = \"0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf\", aws_kms = {{ key_id = \"alias/base\", region = \"eu-central-1\", \
         endpoint = {:?}, credentials_url = \"{}/credentials?key={QUERY}\", credentials_token_file = {pod:?} }} }}",
        signing.url, signing.url
    );
    let gcp = format!(
        "{{ name = \"base-5\", address = \"0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF\", gcp_kms = {{ endpoint = {:?}, token_url = \"{}/token?key={QUERY}\", \
         key_id = \"projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1\" }} }}",
        signing.url, signing.url
    );
    // It is no server for WebSockets, but it hears the handshake.
    let ws = secret_url(&signing.url.replace("http://", "ws://"));
    NetworkOptions {
        rpc: vec![secret_url(&node.url), secret_url(&format!("http://127.0.0.1:{}", free_port()))],
        keys: Vec::new(),
        lines: format!("final = 16\nws = [{ws:?}]\nsigners = [{remote}, {local}, {aws}, {fetched}, {gcp}]\n"),
        ..NetworkOptions::of(chain)
    }
}

/// The key that pays the fees on Solana, as its wallet exports it.
fn key_of(cluster: &Cluster) -> String {
    cluster.text("/accounts/signers/0/key")
}

/// The same of Solana, where the signer's key is in memory and pays.
fn solana(cluster: &Cluster, node: &Proxy) -> NetworkOptions {
    let mut network = cluster.options(&secret_url(&node.url));
    network.keys.clear();
    network.lines.push_str(&format!("signers = [{{ name = \"solana-1\", key = {:?} }}]\n", key_of(cluster)));
    network
}

/// What the configuration and the files that it names keep to themselves.
fn configured(keys: &Keys, cluster: &Cluster) -> Vec<(&'static str, String)> {
    let pair = decode_base58_pair(&key_of(cluster)).expect("a keypair");
    let seed = spellings("the seed of the fee payer", &pair[..32]);
    let bytes = spellings("a signer's key", &alloy::hex::decode(LOCAL_KEY).expect("digits"));
    let ring: Value = serde_json::from_slice(&std::fs::read(keys.file()).expect("it is readable")).expect("JSON");
    let private = ring["keys"].as_array().expect("keys").iter().map(|key| key["d"].as_str().expect("a private part").to_owned());
    let plain = [
        ("the user of a node", USER),
        ("the password of a node", PASSWORD),
        ("the path of a node", PATH),
        ("the query of a node or of the signing server", QUERY),
        ("the secret key of AWS", AWS[0]),
        ("the session of AWS", AWS[1]),
        ("the pod's token", POD),
        // Also where something is wrong with its end.
        ("a signer's key", &LOCAL_KEY[..16]),
        ("the token of the signing server", TOKEN),
    ];
    let plain = plain.into_iter().map(|(what, secret)| (what, secret.to_owned()));
    let fee_payer = ("the key of the fee payer", key_of(cluster)[20..40].to_owned());
    let whole = spellings("the key of the fee payer", &pair);
    let of_keys = [seed, whole, bytes].into_iter().flatten();
    plain.chain(private.map(|secret| ("a key of receipts", secret))).chain(of_keys).chain([fee_payer]).collect()
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

async fn settle(said: &mut Said, facilitator: &Facilitator, (chain, cluster): Worlds<'_>, key: &str, payer: usize) {
    let on_evm = chain.payers[payer].authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v2();
    let on_solana = cluster.payment(payer, "settled").await.v2();
    for body in [on_evm, on_solana] {
        ask(said, facilitator, "POST", &format!("{}/settle", facilitator.url), Some(key), Some(body.to_string())).await;
    }
}

/// What operators are told by commands, on a terminal.
async fn operators_look(said: &mut Said, facilitator: &Facilitator) {
    let commands: [&[&str]; 7] = [
        &["check"],
        &["lane", "list"],
        &["network", "list"],
        &["reconcile"],
        &["payment", "show", "pay_00000000000000000000000000000000"],
        &["lane", "show", "solana:nothing", "nobody"],
        &["api-key", "revoke", "key_00000000000000000000000000000000"],
    ];
    for command in commands {
        let output = cli::run(facilitator, command).await;
        said.note(&command.join(" "), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
    }
}

/// A chain of each family.
type Worlds<'a> = (&'a Chain, &'a Cluster);

/// Good and bad requests over both transports, and what operators look at.
async fn everything_is_asked(said: &mut Said, facilitator: &Facilitator, worlds: Worlds<'_>, keys: [&str; 3]) {
    let ([provider, merchant, operator], (chain, cluster)) = (keys, worlds);
    let on_solana = cluster.payment(0, "verified").await.v2();
    let good = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v2();
    for body in [good.to_string(), on_solana.to_string(), "{".to_owned(), json!({"x402Version": 2}).to_string()] {
        ask(said, facilitator, "POST", &format!("{}/verify", facilitator.url), Some(provider), Some(body)).await;
    }
    settle(said, facilitator, worlds, provider, 0).await;
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
        "/v1/export/payments.csv",
        "/dashboard",
        "/dashboard/payments",
        "/dashboard/webhooks",
        "/dashboard/networks",
        "/dashboard/accounts",
        "/i/inv_of_nobody",
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
async fn broken_configurations(said: &mut Said, facilitator: &Facilitator, operator: &str, fee_payer: &str) -> usize {
    let file = facilitator.config_file();
    let good = std::fs::read_to_string(&file).expect("it is readable");
    let no_base58 = fee_payer.replacen(|_: char| true, "0", 1);
    let mut problems = 0;
    for (from, to) in [
        ("http://canaryuser", "ftp://canaryuser"),
        ("ws://canaryuser", "http://canaryuser"),
        (LOCAL_KEY, &LOCAL_KEY[2..]),
        (fee_payer, &fee_payer[2..]),
        (fee_payer, no_base58.as_str()),
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
        let url = format!("{}/v1/configuration/reload", facilitator.operations);
        let refused = ask(said, facilitator, "POST", &url, Some(operator), None).await;
        assert_eq!(refused["code"], "invalid_configuration", "{from}: {refused}");
    }
    std::fs::write(&file, good).expect("it is writable");
    problems
}
