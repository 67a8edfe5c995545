//! Keys in the services of AWS and Google.
//!
//! AWS is moto, another implementation of its services, which looks at who signed a call and what he may do; `scripts/test-kms.sh` runs that test.
//! Nobody has an implementation of Google's service, so its side is a server of ours that signs and answers in its words.

use std::process::Stdio;

use alloy::hex;
use alloy::primitives::Address;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::{failures, hasty, network, payment, sender};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::Facilitator;
use crate::support::proxy::Proxy;
use crate::support::signer::SigningServer;

/// moto, running. It ends when this is dropped, because its standard input does.
struct Moto {
    world: Value,
    _process: Child,
}

impl Moto {
    async fn start() -> Self {
        let python = std::env::var("QUITTANCE_MOTO_PYTHON").expect("run scripts/test-kms.sh");
        let mut command = Command::new(python);
        command.arg(crate::support::root().join("tests/kms/server.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.stderr(Stdio::null()).kill_on_drop(true).spawn().expect("python runs");
        let stdout = process.stdout.take().expect("it is piped");
        let line = BufReader::new(stdout).lines().next_line().await.expect("it is readable").expect("moto started");
        Self { world: serde_json::from_str(&line).expect("one line of JSON"), _process: process }
    }

    fn text(&self, member: &str) -> &str {
        self.world[member].as_str().expect("a text")
    }

    fn address(&self) -> String {
        Address::from_raw_public_key(&hex::decode(self.text("point")).expect("hexadecimal")).to_string()
    }

    /// The entry of the configuration for its key.
    fn signer(&self, address: &str, secret: &str) -> String {
        let [endpoint, region, key, id] = ["endpoint", "region", "keyId", "accessKeyId"].map(|member| self.text(member));
        format!(
            "{{ name = \"base-1\", address = {address:?}, aws_kms = {{ key_id = {key:?}, region = {region:?}, endpoint = {endpoint:?}, \
             access_key_id = {id:?}, secret_access_key = {secret:?} }} }}"
        )
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs moto: scripts/test-kms.sh"]
async fn a_key_in_aws_kms_pays_and_a_wrong_secret_does_not() {
    let (chain, moto) = (Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await, Moto::start().await);
    let (node, address) = (Proxy::start(&chain.url), moto.address());
    chain.rpc("anvil_setBalance", json!([address, "0xde0b6b3a7640000"])).await;
    let signer = moto.signer(&address, moto.text("secretAccessKey"));
    let facilitator = Facilitator::start(&hasty(network(&chain, &node.url, &[signer])).await).await;

    let (good, words) = facilitator.command(&["check"]).await;
    assert!(good && words.contains(&format!("signer base-1: {address} holds")), "{words}");
    // As many high ones as low ones, by chance.
    for payer in 0..8 {
        let settled = facilitator.settle(&payment(&chain, payer).v2()).await.1;
        assert_eq!(settled["success"], true, "{settled}");
        assert_eq!(sender(&chain, &settled).await, address.to_lowercase());
    }

    let other = chain.text("/accounts/signers/0/address");
    let (sent, secret) = (node.sent().len(), "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    for (signer, cause) in
        [(moto.signer(&address, secret), "refused"), (moto.signer(&other, moto.text("secretAccessKey")), "other_key")]
    {
        let facilitator = Facilitator::start(&hasty(network(&chain, &node.url, &[signer])).await).await;
        let (status, answer) = facilitator.settle(&payment(&chain, 9).v2()).await;
        assert_eq!((status, &answer["success"]), (503, &json!(false)), "{answer}");
        assert!(failures(&facilitator, cause).await > 0.0, "{cause}");
        assert_eq!(node.sent().len(), sent);
        assert!(!facilitator.log().contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_cloud_kms_pays() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let key = "projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1";
    let server = SigningServer::start(&[(key, &chain.text("/accounts/signers/0/key"))]);
    let address = chain.text("/accounts/signers/0/address");
    let signer = |key: &str| {
        let (endpoint, token) = (&server.url, format!("{}/token", server.url));
        format!(
            "{{ name = \"base-1\", address = {address:?}, gcp_kms = {{ key_id = {key:?}, endpoint = {endpoint:?}, token_url = {token:?} }} }}"
        )
    };
    let facilitator = Facilitator::start(&hasty(network(&chain, &chain.url, &[signer(key)])).await).await;
    for payer in 0..2 {
        let settled = facilitator.settle(&payment(&chain, payer).v2()).await.1;
        assert_eq!(settled["success"], true, "{settled}");
        assert_eq!(sender(&chain, &settled).await, address.to_lowercase());
    }
    // A token that is taken away before its time is asked for again, and nobody waits for that.
    server.exchange_token();
    let settled = facilitator.settle(&payment(&chain, 2).v2()).await.1;
    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!(facilitator.metric("quittance_signer_errors_total").await, 0.0);

    let missing = hasty(network(&chain, &chain.url, &[signer(&key.replace("/1", "/2"))])).await;
    let facilitator = Facilitator::start(&missing).await;
    let (good, words) = facilitator.command(&["check"]).await;
    assert!(!good && words.contains("the signer refused: status 404 NOT_FOUND"), "{words}");
}
