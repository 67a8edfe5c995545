//! What is asked of Solana's nodes before they are believed, and which signer is offered to pay the fees.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::proxy::{Act, Edit, Proxy};
use crate::support::solana::{AMOUNT, Cluster, FEE};
use crate::support::{database, eventually};

const PATIENCE: Duration = Duration::from_secs(30);

/// A node that is of another cluster, as it says itself.
fn stranger(cluster: &Cluster) -> Proxy {
    let proxy = Proxy::start(&cluster.url);
    let genesis = json!("4uhcVJyU9pJkvQyS88uRDiswHXSCkY3zQawwpjk2NsNY");
    proxy.rule(move |method, _, _| if method == "getGenesisHash" { Act::Answer(genesis.clone()) } else { Act::Forward });
    proxy
}

/// The network with these nodes.
fn nodes(cluster: &Cluster, nodes: [&str; 2]) -> NetworkOptions {
    NetworkOptions { rpc: nodes.map(str::to_owned).to_vec(), ..cluster.options(&cluster.url) }
}

/// A node as people know it.
fn host(node: &Proxy) -> &str {
    node.url.strip_prefix("http://").expect("it speaks HTTP")
}

/// Whether `check` finds everything right, and what it says.
async fn check(network: NetworkOptions) -> (bool, String) {
    let options = Options { roles: Some("api".to_owned()), ..Options::new(network, &database::fresh().await) };
    Facilitator::spawn(&options).command(&["check"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_which_of_several_nodes_is_of_another_cluster() {
    let cluster = Cluster::start(400).await;
    let (good, stranger) = (Proxy::start(&cluster.url), stranger(&cluster));
    let network = cluster.text("/network");
    let node = |number: u8, node: &Proxy| format!("{network} node {number} ({}): ", host(node));

    let (fine, words) = check(nodes(&cluster, [&cluster.url, &good.url])).await;
    assert!(fine && words.contains(&format!("ok    {}", node(2, &good))), "{words}");
    let (fine, words) = check(nodes(&cluster, [&good.url, &stranger.url])).await;

    assert!(!fine && words.contains(&format!("ok    {}", node(1, &good))), "{words}");
    assert!(words.contains(&format!("FAIL  {}it serves another chain: genesis", node(2, &stranger))), "{words}");
    assert_eq!(words.matches("FAIL").count(), 1, "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_cluster_is_sent_nothing_and_the_log_names_it() {
    let cluster = Cluster::start(400).await;
    let stranger = stranger(&cluster);
    let network = nodes(&cluster, [&cluster.url, &stranger.url]);
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;

    let (_, settled) = facilitator.settle(&cluster.payment(0, "one").await.v2()).await;

    assert_eq!(settled["success"], true, "{settled}");
    eventually("a line of the log", PATIENCE, || async {
        let says = |line: &str| ["a node failed", "another chain", host(&stranger)].iter().all(|words| line.contains(words));
        facilitator.log().lines().any(says).then_some(())
    })
    .await;
    assert_eq!((stranger.sent().len(), cluster.paid().await), (0, AMOUNT));
}

/// What is not there could be a mint that nobody has looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_out_an_account_is_not_believed() {
    let cluster = Cluster::start(400).await;
    let proxy = Proxy::start(&cluster.url);
    let network = cluster.options(&proxy.url);
    proxy.rule(|method, _, _| match method {
        "getMultipleAccounts" => Edit::of(|answer| drop(answer["value"].as_array_mut().and_then(Vec::pop))),
        _ => Act::Forward,
    });

    let (fine, words) = check(network).await;

    assert!(!fine && words.contains("impossible answer: 1 accounts at 2 addresses"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_runs_out_is_offered_no_more_and_still_pays_for_those_who_name_it() {
    let cluster = Cluster::start(400).await;
    let signers = [0, 1].map(|signer| cluster.text(&format!("/accounts/signers/{signer}/address")));
    // Less than the reserve, and enough for hundreds of fees.
    cluster.rpc("surfnet_setAccount", json!([signers[0], {"lamports": 5_000_000}])).await;
    let facilitator = Facilitator::start(&Options::new(cluster.options(&cluster.url), &database::fresh().await)).await;
    let payment = cluster.payment(0, "the first signer's").await;
    let before = cluster.lamports().await;

    let supported = eventually("an offer of the other signer", PATIENCE, || async {
        let (_, supported) = facilitator.get("/supported").await;
        (supported["kinds"][0]["extra"]["feePayer"] == signers[1]).then_some(supported)
    })
    .await;
    let (_, verified) = facilitator.verify(&payment.v2()).await;
    let (_, settled) = facilitator.settle(&payment.v2()).await;

    assert_eq!(supported["signers"]["solana:*"].as_array().map(Vec::len), Some(2), "{supported}");
    assert_eq!((&verified["isValid"], &settled["success"]), (&Value::Bool(true), &Value::Bool(true)), "{verified} {settled}");
    assert_eq!((cluster.paid().await, before - cluster.lamports().await), (AMOUNT, FEE));
}
