//! What operators tell lanes and networks not to begin.

use serde_json::{Value, json};

use super::{PATIENCE, fail, mining, run, tell, until_offered, with_signers};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{self, Caller, Facilitator, Options};
use crate::support::payer::Terms;
use crate::support::{cli, database, eventually};

/// Settles in a task of its own.
fn settle(caller: Caller, body: Value) -> tokio::task::JoinHandle<Value> {
    tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await })
}

/// Waits until so many slots are open in all lanes together, and returns the lanes.
async fn until_in_flight(facilitator: &Facilitator, slots: u64) -> Vec<Value> {
    eventually("slots", PATIENCE, || async {
        let lanes = tell(facilitator, &["lane", "list"]).await["lanes"].as_array().expect("lanes").clone();
        let open: u64 = lanes.iter().map(|lane| lane["inFlight"].as_u64().expect("a number")).sum();
        (open == slots).then_some(lanes)
    })
    .await
}

fn word<'a>(found: &'a Value, member: &str) -> &'a str {
    found[member].as_str().unwrap_or_else(|| panic!("no {member} in {found}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_lane_finishes_what_it_has_and_takes_nothing_new_in_any_replica() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let options = Options::new(with_signers(&chain, 2), &database::fresh().await);
    let replicas = facilitator::replicas(2, &options).await;
    let (first, second) = (&replicas[0], &replicas[1]);
    let (network, merchant) = (chain.network(), chain.text("/accounts/merchant/address"));
    let payments: Vec<_> = (0..4).map(|payer| chain.payers[payer].authorize(&Terms::to(&merchant)).v2()).collect();
    mining(&chain, false).await;
    let under_way = settle(first.caller(), payments[0].clone());
    let lanes = until_in_flight(first, 1).await;
    let busy = lanes.iter().find(|lane| lane["inFlight"] == 1).expect("one is busy");
    let other = lanes.iter().find(|lane| lane["inFlight"] == 0).expect("one is idle");

    let drained = tell(first, &["lane", "drain", &network, word(busy, "signer")]).await;
    assert_eq!((word(&drained, "state"), drained["slots"].as_array().map(Vec::len)), ("draining", Some(1)), "{drained}");
    let later = [settle(first.caller(), payments[1].clone()), settle(second.caller(), payments[2].clone())];
    let taken = eventually("both in the other lane", PATIENCE, || async {
        let shown = tell(second, &["lane", "show", &network, word(other, "address")]).await;
        let slots = shown["slots"].as_array().expect("slots").iter();
        let payments: usize = slots.map(|slot| slot["payments"].as_array().map_or(0, Vec::len)).sum();
        (payments == 2).then_some(shown)
    })
    .await;
    assert_eq!(word(&taken, "state"), "working");
    assert_eq!(tell(first, &["lane", "show", &network, word(busy, "signer")]).await["inFlight"], 1, "no more than it had");

    tell(second, &["lane", "drain", &network, word(other, "address")]).await;
    for replica in [first, second] {
        until_offered(replica, false).await;
        assert_eq!(replica.verify(&payments[3]).await.0, 503);
        let (status, answer) = replica.settle(&payments[3]).await;
        assert_eq!((status, word(&answer, "errorReason")), (503, "unexpected_settle_error"), "{answer}");
        assert!(word(&answer, "errorMessage").contains("no lane"), "{answer}");
    }
    mining(&chain, true).await;
    for settled in std::iter::once(under_way).chain(later) {
        assert_eq!(settled.await.expect("no panic")["success"], true);
    }
    let lanes = until_in_flight(second, 0).await;
    // A fork may leave out what is not final, and it would have to be sent again.
    assert!(lanes.iter().all(|lane| (lane["state"] == "drained") == (lane["notFinal"] == 0)), "{lanes:?}");
    eventually("both drained", PATIENCE, || async {
        let lanes = until_in_flight(second, 0).await;
        lanes.iter().all(|lane| lane["state"] == "drained" && lane["drainedAt"].is_string()).then_some(())
    })
    .await;
    let report = cli::run_well(first, &["check"]).await;
    assert_eq!(report.lines().filter(|line| line.contains("takes no new payments")).count(), 2, "{report}");

    assert_eq!(fail(first, &["lane", "drain", &network, word(busy, "signer")]).await.0, 3, "it is drained");
    assert_eq!(fail(first, &["lane", "show", &network, "nobody"]).await, (3, format!("{network} has no lane nobody\n")));
    assert_eq!(fail(first, &["lane", "list", "eip155:1"]).await.0, 3);
    let resumed = tell(first, &["lane", "resume", &network, word(busy, "signer")]).await;
    assert_eq!(word(&resumed, "state"), "working");
    assert_eq!(fail(first, &["lane", "resume", &network, word(busy, "signer")]).await.0, 3, "it is not drained");
    for replica in [first, second] {
        until_offered(replica, true).await;
    }
    assert_eq!(second.settle_patiently(&payments[3], PATIENCE).await["success"], true);
    let listed = cli::run_well(first, &["lane", "list"]).await;
    assert!(listed.lines().any(|line| line.contains("drained since")) && listed.lines().count() == 2, "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_an_operator_halts_begins_nothing_and_finishes_what_is_signed() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let options = Options::new(with_signers(&chain, 1), &database::fresh().await);
    let mut facilitator = Facilitator::start(&options).await;
    let (network, merchant) = (chain.network(), chain.text("/accounts/merchant/address"));
    let payments: Vec<_> = (0..3).map(|payer| chain.payers[payer].authorize(&Terms::to(&merchant)).v2()).collect();
    until_offered(&facilitator, true).await;
    mining(&chain, false).await;
    let under_way = settle(facilitator.caller(), payments[0].clone());
    until_in_flight(&facilitator, 1).await;

    let oldest = async |state: &str| {
        facilitator.metric(&format!("quittance_payments_oldest_seconds{{network=\"{network}\",state=\"{state}\"}}")).await
    };
    assert!(oldest("submitted").await > 0.0);
    let under_way_now = format!("quittance_payments{{network=\"{network}\",state=\"submitted\"}}");
    assert_eq!(facilitator.metric(&under_way_now).await, 1.0);
    assert_eq!((oldest("queued").await, oldest("included").await), (0.0, 0.0));
    // A lane is called by the name of its signer, and not by the address.
    assert_eq!(facilitator.metric(&format!("quittance_lease_held{{lease=\"lane:{network}:signer-0\"}}")).await, 1.0);
    assert_eq!(facilitator.metric("quittance_lease_held{lease=\"lane:").await, 1.0);
    let halted = tell(&facilitator, &["network", "halt", &network, "--reason", "a rumour"]).await;
    assert_eq!(halted["halted"][0]["by"], "operator", "{halted}");
    assert_eq!(halted["payments"][0]["state"], "submitted", "{halted}");
    until_offered(&facilitator, false).await;
    assert_eq!(facilitator.verify(&payments[1]).await.0, 503);
    let (status, answer) = facilitator.settle(&payments[1]).await;
    assert_eq!((status, word(&answer, "errorReason")), (503, "unexpected_settle_error"), "{answer}");
    let (code, report) = run(&facilitator, &["check"]).await;
    let is_told = |finding: &Value| finding["subject"] == *network && word(finding, "said").contains("an operator: a rumour");
    assert!(code == 1 && report["findings"].as_array().expect("findings").iter().any(is_told), "{report}");
    assert_eq!(fail(&facilitator, &["network", "halt", &network, "--reason", "again"]).await.0, 3, "it is halted");
    mining(&chain, true).await;
    assert_eq!(under_way.await.expect("no panic")["success"], true, "it was signed before");

    facilitator.terminate().await;
    facilitator.restart().await;
    until_offered(&facilitator, false).await;
    assert_eq!(facilitator.settle(&payments[1]).await.0, 503, "also after a restart");
    let shown = cli::run_well(&facilitator, &["network", "list"]).await;
    assert!(shown.contains("HALTED") && shown.contains("an operator") && shown.contains("a rumour"), "{shown}");
    let resumed = tell(&facilitator, &["network", "resume", &network]).await;
    assert_eq!(resumed["was"], json!([halted["halted"][0]]));
    assert_eq!(fail(&facilitator, &["network", "resume", &network]).await, (3, format!("{network} is not halted\n")));
    until_offered(&facilitator, true).await;
    assert_eq!(facilitator.settle_patiently(&payments[1], PATIENCE).await["success"], true);
    assert_eq!(tell(&facilitator, &["check"]).await["findings"].as_array().expect("findings").len(), 4);
}

/// Nothing is begun that was in the queue when the order came: its callers are told that it was not sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_queue_of_a_halted_network_is_not_sent() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let options = Options::new(with_signers(&chain, 1), &database::fresh().await);
    let in_roles = |roles: &str| Options { roles: Some(roles.to_owned()), ..options.clone() };
    let api = Facilitator::start(&in_roles("api,watcher,worker")).await;
    until_offered(&api, true).await;
    let (network, merchant) = (chain.network(), chain.text("/accounts/merchant/address"));
    let signed = chain.payers[0].authorize(&Terms::to(&merchant));
    let (caller, body) = (api.caller(), signed.v2());
    let asked = tokio::spawn(async move { caller.try_post("/settle", &body).await.expect("an answer") });
    eventually("a payment in the queue", PATIENCE, || async {
        let shown = tell(&api, &["network", "show", &network]).await;
        (shown["payments"][0]["state"] == "queued").then_some(())
    })
    .await;

    tell(&api, &["network", "halt", &network, "--reason", "no more"]).await;
    let _lane = Facilitator::start(&in_roles("lane")).await;
    eventually("an owner of the lane", PATIENCE, || async {
        let lanes = tell(&api, &["lane", "list"]).await;
        (lanes["lanes"][0]["running"] == true).then_some(())
    })
    .await;
    assert!(!asked.is_finished(), "it still waits while a lane could send it");
    let (status, answer) = asked.await.expect("no panic");
    assert_eq!((status, word(&answer, "errorReason")), (503, "unexpected_settle_error"), "{answer}");
    assert!(chain.transfers_to(&merchant).await.is_empty());
    tell(&api, &["network", "resume", &network]).await;
    until_offered(&api, true).await;
    assert_eq!(api.settle_patiently(&signed.v2(), PATIENCE).await["success"], true, "the same request revives it");
    assert_eq!(chain.uses_of(&signed).await.len(), 1);
}
