//! How one signer takes the place of another while payments go on.

use serde_json::{Value, json};

use super::{PATIENCE, network, payment, sender, until_metric};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, Options};
use crate::support::{cli, database, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_is_drained_ends_what_it_began_and_can_be_taken_out() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let signer = |number: usize| {
        let key = chain.text(&format!("/accounts/signers/{number}/key"));
        format!("{{ name = \"base-{number}\", key = {key:?} }}")
    };
    let addresses = [0, 1].map(|number| chain.text(&format!("/accounts/signers/{number}/address")));
    let options = |signers: &[String]| Options::new(network(&chain, &chain.url, signers), &url);
    let first = Facilitator::start(&options(&[signer(0)])).await;
    assert_eq!(first.settle(&payment(&chain, 0).v2()).await.1["success"], true);
    until_metric(&first, "quittance_submission_in_flight", 0.0).await;
    // One that is under way when the signer's time is over.
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    let signed = payment(&chain, 1);
    let (caller, body) = (first.caller(), signed.v2());
    let under_way = tokio::spawn(async move { caller.try_post("/settle", &body).await });
    until_metric(&first, "quittance_submission_in_flight", 1.0).await;
    drop(first);
    drop(under_way.await);

    let both = Facilitator::start(&options(&[signer(1), signer(0)])).await;
    until_metric(&both, "quittance_submission_in_flight{network=\"eip155:84532\",signer=\"base-0\"}", 1.0).await;
    let supported = both.get("/supported").await.1;
    let kinds = supported["kinds"].as_array().expect("kinds");
    let chosen: Vec<_> = kinds.iter().filter_map(|kind| kind["extra"]["facilitatorAddress"].as_str()).collect();
    assert_eq!(chosen, [addresses[1].as_str()], "the first of both: {supported}");
    assert_eq!(lane_state(&both, "drain", &chain).await, "draining");
    eventually("only the new one", PATIENCE, || async {
        let supported = both.get("/supported").await.1;
        (supported["signers"]["eip155:*"] == json!([addresses[1]])).then_some(())
    })
    .await;
    chain.rpc("evm_setIntervalMining", json!([1])).await;
    let ended = both.settle_patiently(&signed.v2(), PATIENCE).await;
    assert_eq!(ended["success"], true, "{ended}");
    assert_eq!(sender(&chain, &ended).await, addresses[0].to_lowercase());
    for payer in 2..6 {
        let settled = both.settle(&payment(&chain, payer).v2()).await.1;
        assert_eq!(settled["success"], true, "{settled}");
        assert_eq!(sender(&chain, &settled).await, addresses[1].to_lowercase());
    }
    eventually("an empty lane", PATIENCE, || async { (lane_state(&both, "show", &chain).await == "drained").then_some(()) })
        .await;
    drop(both);

    // Its time is over, and nothing is missed.
    let second = Facilitator::start(&options(&[signer(1)])).await;
    assert_eq!(second.settle(&payment(&chain, 6).v2()).await.1["success"], true);
    assert_eq!(second.metric("quittance_submission_abandoned").await, 0.0);
}

/// How the lane of the first signer stands after a command about it.
async fn lane_state(facilitator: &Facilitator, command: &str, chain: &Chain) -> String {
    let words = cli::run_well(facilitator, &["lane", command, &chain.network(), "base-0", "--json"]).await;
    let lane: Value = serde_json::from_str(&words).expect("JSON");
    lane["state"].as_str().expect("a state").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_is_taken_away_too_early_is_told_of_until_it_is_back() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let signer = |number: usize| {
        let key = chain.text(&format!("/accounts/signers/{number}/key"));
        format!("{{ name = \"base-{number}\", key = {key:?} }}")
    };
    let options = |signers: &[String]| Options::new(network(&chain, &chain.url, signers), &url);
    let first = Facilitator::start(&options(&[signer(0)])).await;
    assert_eq!(first.settle(&payment(&chain, 0).v2()).await.1["success"], true);
    until_metric(&first, "quittance_submission_in_flight", 0.0).await;
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    let (caller, signed) = (first.caller(), payment(&chain, 1));
    let body = signed.v2();
    let under_way = tokio::spawn(async move { caller.try_post("/settle", &body).await });
    until_metric(&first, "quittance_submission_in_flight", 1.0).await;
    drop(first);
    drop(under_way.await);
    // The nodes have lost it, so only the lane of its signer can bring it back.
    chain.rpc("anvil_dropAllTransactions", json!([])).await;
    chain.rpc("evm_setIntervalMining", json!([1])).await;

    let second = Facilitator::start(&options(&[signer(1)])).await;
    until_metric(&second, "quittance_submission_abandoned", 1.0).await;
    assert!(second.log().contains("nobody cares for what it has under way"), "it is not in the log");
    // The others go on meanwhile.
    assert_eq!(second.settle(&payment(&chain, 2).v2()).await.1["success"], true);
    assert_eq!(second.metric("quittance_payments_failed_total").await, 0.0);
    drop(second);

    let back = Facilitator::start(&options(&[signer(0), signer(1)])).await;
    let ended = back.settle_patiently(&signed.v2(), PATIENCE).await;
    assert_eq!(ended["success"], true, "{ended}");
    until_metric(&back, "quittance_submission_abandoned", 0.0).await;
    assert_eq!(chain.transfers_to(&chain.text("/accounts/merchant/address")).await.len(), 3);
}
