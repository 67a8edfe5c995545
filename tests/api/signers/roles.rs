//! Replicas that do not sign need no keys of signers.

use serde_json::json;

use super::{PATIENCE, network, payment};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};

/// The same network for replicas that have the address of its signer, and no file with its key.
fn without_key(chain: &Chain) -> NetworkOptions {
    let address = chain.text("/accounts/signers/0/address");
    let signer = format!("{{ name = \"signer-0\", address = {address:?}, key_file = \"/run/secrets/of-another-replica\" }}");
    network(chain, &chain.url, &[signer])
}

#[tokio::test(flavor = "multi_thread")]
async fn only_lanes_need_the_keys_of_signers() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let start = async |roles: &str, network: NetworkOptions| {
        Facilitator::start(&Options { roles: Some(roles.to_owned()), ..Options::new(network, &url) }).await
    };
    let api = start("api", without_key(&chain)).await;
    let _watcher = start("watcher,worker", without_key(&chain)).await;
    let _lane = start("lane", NetworkOptions::of(&chain)).await;

    let settled = api.settle_patiently(&payment(&chain, 0).v2(), PATIENCE).await;

    assert_eq!(settled["success"], true, "{settled}");
    let supported = api.get("/supported").await.1;
    assert_eq!(supported["signers"]["eip155:*"], json!([chain.text("/accounts/signers/0/address")]), "{supported}");
    // A key that is read although nobody needs it is complained of.
    let talkative = start("api", NetworkOptions::of(&chain)).await;
    assert!(talkative.log().contains("configure the address") && !api.log().contains("configure the address"));
    // A lane without its key does not begin.
    let mut lane = Facilitator::spawn(&Options { roles: Some("lane".to_owned()), ..Options::new(without_key(&chain), &url) });
    let ended = tokio::time::timeout(PATIENCE, lane.process.wait()).await.expect("it ends").expect("it ended");
    assert!(!ended.success() && lane.log().contains("networks[0].signers[0].key_file: the file /run/secrets/of-another-replica"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_account_than_the_configured_one_is_refused() {
    let chain = Chain::start(ChainOptions::default()).await;
    let [key, other] = ["/accounts/signers/0/key", "/accounts/signers/1/address"].map(|path| chain.text(path));
    let signer = format!("{{ name = \"base-1\", address = {other:?}, key = {key:?} }}");
    let mut facilitator = Facilitator::spawn(&Options::new(network(&chain, &chain.url, &[signer]), &database::fresh().await));

    let ended = tokio::time::timeout(PATIENCE, facilitator.process.wait()).await.expect("it ends").expect("it ended");

    let log = facilitator.log();
    assert!(!ended.success() && log.contains(&format!("and not of {other}")) && !log.contains(&key), "{log}");
}
