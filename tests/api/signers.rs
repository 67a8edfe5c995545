//! Signers whose keys somebody else keeps, replicas without keys, and signers that come and go.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::{Signed, Terms};
use crate::support::proxy::Proxy;
use crate::support::signer::{Manner, SigningServer};
use crate::support::solana::Cluster;
use crate::support::{database, eventually};

mod draining;
mod kms;
mod roles;

/// How long something may take that takes a few seconds.
const PATIENCE: Duration = Duration::from_secs(40);

/// Callers are told soon that a payment was not sent.
const HASTY: &str = "access = \"open\"\nanswer_within_v2_seconds = 2\n";

/// The network of a chain, through a node, with signers in the words of the configuration.
fn network(chain: &Chain, node: &str, signers: &[String]) -> NetworkOptions {
    let lines = format!("final = 16\nsigners = [{}]\n", signers.join(", "));
    NetworkOptions { rpc: vec![node.to_owned()], keys: Vec::new(), lines, ..NetworkOptions::of(chain) }
}

async fn hasty(network: NetworkOptions) -> Options {
    Options { server: HASTY.to_owned(), ..Options::new(network, &database::fresh().await) }
}

/// A payment of a payer's own to the merchant.
fn payment(chain: &Chain, payer: usize) -> Signed {
    chain.payers[payer].authorize(&Terms::to(&chain.text("/accounts/merchant/address")))
}

/// Who sent a transaction.
async fn sender(chain: &Chain, settled: &Value) -> String {
    let receipt = chain.rpc("eth_getTransactionReceipt", json!([settled["transaction"]])).await;
    receipt["from"].as_str().expect("a sender").to_lowercase()
}

async fn until_metric(facilitator: &Facilitator, series: &str, wanted: f64) {
    let is_there = || async { (facilitator.metric(series).await == wanted).then_some(()) };
    eventually(&format!("{series} {wanted}"), PATIENCE, is_there).await;
}

/// How often signers failed for this cause.
async fn failures(facilitator: &Facilitator, cause: &str) -> f64 {
    facilitator.metric(&format!("quittance_signer_errors_total{{cause=\"{cause}\"")).await
}

/// Whether the service offers any network.
async fn is_offered(facilitator: &Facilitator) -> bool {
    facilitator.get("/supported").await.1["kinds"].as_array().is_some_and(|kinds| !kinds.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_signer_pays_and_one_that_does_not_sign_fails_nothing() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let node = Proxy::start(&chain.url);
    let server = SigningServer::start(&[("base-1", &chain.text("/accounts/signers/0/key"))]);
    let address = chain.text("/accounts/signers/0/address");
    let options = hasty(network(&chain, &node.url, &[server.signer("base-1", &address)])).await;
    let facilitator = Facilitator::start(&options).await;

    // High and low ones.
    for payer in 0..4 {
        let settled = facilitator.settle(&payment(&chain, payer).v2()).await.1;
        assert_eq!(settled["success"], true, "{settled}");
        assert_eq!(sender(&chain, &settled).await, address.to_lowercase());
    }
    for (manner, cause) in [
        (Manner::SignsElse, "other_key"),
        (Manner::SignsAsAnother, "other_key"),
        (Manner::Says(500), "out_of_order"),
        (Manner::Says(403), "refused"),
        (Manner::Babbles, "unreadable"),
        (Manner::Floods, "unreadable"),
        (Manner::Redirects, "refused"),
        (Manner::IsSilent, "unanswered"),
    ] {
        let (sent, failed) = (node.sent().len(), failures(&facilitator, cause).await);
        server.behave(manner);
        let signed = payment(&chain, 4);
        let (status, answer) = facilitator.settle(&signed.v2()).await;

        assert_eq!((status, &answer["success"]), (503, &json!(false)), "{manner:?}: {answer}");
        until_metric(&facilitator, "quittance_signer_away", 1.0).await;
        assert!(failures(&facilitator, cause).await > failed, "{manner:?}");
        eventually("the network to leave", PATIENCE, || async { (!is_offered(&facilitator).await).then_some(()) }).await;
        let ready: Value =
            facilitator.client().get(format!("{}/readyz", facilitator.operations)).send().await.unwrap().json().await.unwrap();
        assert_eq!(ready["checks"][format!("{} signer base-1", chain.network())], "unavailable", "{ready}");
        assert_eq!(node.sent().len(), sent, "{manner:?}");
        assert_eq!(facilitator.metric("quittance_payments_failed_total").await, 0.0, "{manner:?}");

        server.behave(Manner::Signs);
        until_metric(&facilitator, "quittance_signer_away", 0.0).await;
        let settled = facilitator.settle(&signed.v2()).await.1;
        assert_eq!(settled["success"], true, "{manner:?}: {settled}");
        eventually("the network to come back", PATIENCE, || async { is_offered(&facilitator).await.then_some(()) }).await;
    }
    let log = facilitator.log();
    assert!(!log.contains(crate::support::signer::TOKEN), "the token is in the log");
}

/// What was asked for before the signer went away is paid by a neighbour, and what is asked for meanwhile, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_neighbour_pays_for_a_signer_that_is_away() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let server = SigningServer::start(&[("base-1", &chain.text("/accounts/signers/0/key"))]);
    let addresses = [0, 1].map(|signer| chain.text(&format!("/accounts/signers/{signer}/address")));
    let local = format!("{{ name = \"base-2\", key = {:?} }}", chain.text("/accounts/signers/1/key"));
    server.behave(Manner::Says(503));
    let signers = [server.signer("base-1", &addresses[0]), local];
    let options = Options::new(network(&chain, &chain.url, &signers), &database::fresh().await);
    let facilitator = Facilitator::start(&options).await;
    until_metric(&facilitator, "quittance_signer_away", 1.0).await;

    for payer in 0..4 {
        let settled = facilitator.settle(&payment(&chain, payer).v2()).await.1;
        assert_eq!(settled["success"], true, "{settled}");
        assert_eq!(sender(&chain, &settled).await, addresses[1].to_lowercase());
    }
    assert!(is_offered(&facilitator).await);
    assert_eq!(failures(&facilitator, "out_of_order").await.min(1.0), 1.0);
}

/// It takes seconds to give up a signer that says nothing, and it is asked again each second. What is out is sent again all the while.
#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_hangs_holds_up_nothing_that_is_out() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let node = Proxy::start(&chain.url);
    let server = SigningServer::start(&[("base-1", &chain.text("/accounts/signers/0/key"))]);
    let signer = server.signer("base-1", &chain.text("/accounts/signers/0/address"));
    let mut network = network(&chain, &node.url, &[signer]);
    network.lines.push_str("resend_after_ms = 300\n");
    let facilitator = Facilitator::start(&hasty(network).await).await;
    assert_eq!(facilitator.settle(&payment(&chain, 0).v2()).await.1["success"], true);
    until_metric(&facilitator, "quittance_submission_in_flight", 0.0).await;
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    let (caller, signed) = (facilitator.caller(), payment(&chain, 1));
    let body = signed.v2();
    let under_way = tokio::spawn(async move { caller.try_post("/settle", &body).await });
    until_metric(&facilitator, "quittance_submission_in_flight", 1.0).await;
    server.behave(Manner::IsSilent);
    // By this one the signer is found to be away.
    assert_eq!(facilitator.settle(&payment(&chain, 2).v2()).await.0, 503);
    until_metric(&facilitator, "quittance_signer_away", 1.0).await;

    let (before, given_up) = (node.times_sent(), failures(&facilitator, "unanswered").await);
    let once_more = || async { (failures(&facilitator, "unanswered").await > given_up).then_some(()) };
    eventually("the signer to be given up once more", PATIENCE, once_more).await;

    let again = node.times_sent() - before;
    assert!(again >= 8, "it was sent again {again} times while the signer was given up once");
    drop(under_way.await);
    chain.rpc("evm_setIntervalMining", json!([1])).await;
    assert_eq!(facilitator.settle_patiently(&signed.v2(), PATIENCE).await["success"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_signer_pays_on_solana_and_another_s_signature_is_not_sent() {
    let cluster = Cluster::start(100).await;
    let node = Proxy::start(&cluster.url);
    let server = SigningServer::start(&[("solana-1", &cluster.text("/accounts/signers/0/key"))]);
    let mut network = cluster.options(&node.url);
    network.keys.clear();
    let signer = server.signer("solana-1", &cluster.text("/accounts/signers/0/address"));
    network.lines.push_str(&format!("signers = [{signer}]\n"));
    let facilitator = Facilitator::start(&hasty(network).await).await;

    let first = cluster.payment(0, "first").await;
    assert_eq!(facilitator.settle_patiently(&first.v2(), PATIENCE).await["success"], true);
    let sent = node.sent().len();
    for manner in [Manner::SignsElse, Manner::SignsAsAnother] {
        server.behave(manner);
        let payment = cluster.payment(1, &format!("{manner:?}")).await;
        let (status, answer) = facilitator.settle(&payment.v2()).await;
        assert_eq!((status, &answer["success"]), (503, &json!(false)), "{manner:?}: {answer}");
        assert!(failures(&facilitator, "other_key").await > 0.0);
        assert_eq!(node.sent().len(), sent, "{manner:?}");
        server.behave(Manner::Signs);
        until_metric(&facilitator, "quittance_signer_away", 0.0).await;
    }
    assert_eq!(facilitator.settle_patiently(&cluster.payment(2, "last").await.v2(), PATIENCE).await["success"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_what_is_wrong_with_a_signer() {
    let chain = Chain::start(ChainOptions::default()).await;
    let server = SigningServer::start(&[("base-1", &chain.text("/accounts/signers/0/key"))]);
    let address = chain.text("/accounts/signers/0/address");
    let options = Options::new(network(&chain, &chain.url, &[server.signer("base-1", &address)]), &database::fresh().await);
    let facilitator = Facilitator::start(&options).await;

    let (good, words) = facilitator.command(&["check"]).await;
    assert!(good && words.contains(&format!("signer base-1: {address} holds")), "{words}");
    for (manner, expected) in [
        (Manner::SignsAsAnother, format!("the signature is not that of {address}")),
        (Manner::Says(503), "the signer is out of order: status 503".to_owned()),
        (Manner::IsSilent, "the signer did not answer".to_owned()),
    ] {
        server.behave(manner);
        let (good, words) = facilitator.command(&["check"]).await;
        assert!(!good && words.contains(&expected), "{words}");
        assert!(!words.contains(crate::support::signer::TOKEN), "{words}");
    }
    // What is not this replica's business is not looked at.
    let (good, words) = facilitator.command(&["check", "--roles", "api,watcher"]).await;
    assert!(good, "{words}");
}

/// Whoever keeps keys may read what they sign, and refuse one message and not the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_the_signer_refuses_keeps_no_other_from_being_sent() {
    let cluster = Cluster::start(100).await;
    let server = SigningServer::start(&[("solana-1", &cluster.text("/accounts/signers/0/key"))]);
    let mut network = cluster.options(&cluster.url);
    network.keys.clear();
    let signer = server.signer("solana-1", &cluster.text("/accounts/signers/0/address"));
    network.lines.push_str(&format!("signers = [{signer}]\n"));
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    server.behave(Manner::Refuses("unwanted"));

    let (caller, body) = (facilitator.caller(), cluster.payment(0, "unwanted").await.v2());
    let unwanted = tokio::spawn(async move { caller.try_post("/settle", &body).await });
    let is_refused = || async { (failures(&facilitator, "refused").await > 0.0).then_some(()) };
    eventually("the refusal of a message", PATIENCE, is_refused).await;
    for payer in 1..4 {
        let settled = facilitator.settle(&cluster.payment(payer, "wanted").await.v2()).await.1;
        assert_eq!(settled["success"], true, "{settled}");
    }

    assert!(!unwanted.is_finished(), "it still waits, and kept nobody");
    // At no time: the metric may have been looked at between two refusals.
    assert!(!facilitator.log().contains("the signer does not sign"), "whoever refuses a message is there");
    let (_, answer) = unwanted.await.expect("no panic").expect("an answer");
    assert_eq!((&answer["success"], &answer["transaction"]), (&json!(false), &json!("")), "it was not sent: {answer}");
}

/// Another replica may have found the signer away, and have gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_ledger_says_of_a_signer_is_set_right_by_whoever_gets_its_lane() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let server = SigningServer::start(&[("base-1", &chain.text("/accounts/signers/0/key"))]);
    let address = chain.text("/accounts/signers/0/address");
    let url = database::fresh().await;
    let options = Options::new(network(&chain, &chain.url, &[server.signer("base-1", &address)]), &url);
    let facilitator = Facilitator::start(&options).await;
    assert_eq!(facilitator.settle(&payment(&chain, 0).v2()).await.1["success"], true);
    let ledger = database::ledger(&url).await;
    let name = format!("lane:{}:{}", chain.network(), address);

    // Somebody else had the lane for a moment, in which nobody got it back.
    let taken = "
        WITH gone AS (UPDATE signers SET away = true)
        UPDATE leases SET owner = gen_random_uuid(), fence = fence + 1, expires_at = clock_timestamp() WHERE name = $1";
    let taken = sqlx::query(taken).bind(name).execute(ledger.pool()).await.expect("the database answers");
    assert_eq!(taken.rows_affected(), 1);

    let is_there = || async {
        let away = sqlx::query_scalar::<_, bool>("SELECT away FROM signers").fetch_one(ledger.pool()).await;
        (!away.expect("the database answers")).then_some(())
    };
    eventually("what is true", PATIENCE, is_there).await;
    eventually("the network", PATIENCE, || async { is_offered(&facilitator).await.then_some(()) }).await;
}
