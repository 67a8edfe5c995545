//! Payments on Solana, on a local node with the real token programs.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use quittance::domain::address::encode_base58;
use serde_json::{Value, json};

use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::proxy::{Act, Proxy};
use crate::support::solana::{AMOUNT, Cluster, FEE, Payment};
use crate::support::{database, eventually, root};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_verified_and_made_once() {
    let cluster = Cluster::start(400).await;
    let facilitator = Facilitator::start(&Options::new(cluster.options(&cluster.url), &database::fresh().await)).await;
    let (body, payer) = (cluster.payment(0, "one").await.v2(), cluster.text("/payers/0/address"));
    let before = cluster.lamports().await;

    let (_, verified) = facilitator.verify(&body).await;
    let (_, settled) = facilitator.settle(&body).await;

    assert_eq!((&verified["isValid"], &verified["payer"]), (&json!(true), &json!(payer)), "{verified}");
    assert_eq!((&settled["success"], &settled["payer"]), (&json!(true), &json!(payer)), "{settled}");
    assert_eq!((cluster.paid().await, before - cluster.lamports().await), (AMOUNT, FEE));
    let (_, again) = facilitator.settle(&body).await;
    assert_eq!(
        (&again["errorReason"], &again["transaction"]),
        (&json!("duplicate_settlement"), &settled["transaction"]),
        "{again}"
    );
    assert_eq!((cluster.paid().await, before - cluster.lamports().await), (AMOUNT, FEE));
    let (_, supported) = facilitator.get("/supported").await;
    assert_eq!(supported["kinds"][0]["extra"]["feePayer"], cluster.text("/accounts/signers/0/address"), "{supported}");
}

/// What stands in the fee payer's place is nobody's, so it must not make another payment of the same message.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_variants_of_one_message_one_is_paid() {
    let cluster = Cluster::start(400).await;
    let database = database::fresh().await;
    let start = async || Facilitator::start(&Options::new(cluster.options(&cluster.url), &database)).await;
    let replicas = [start().await, start().await, start().await];
    let payment = cluster.payment(0, "one").await;
    let before = cluster.lamports().await;

    let callers = (0..64_u8).map(|number| {
        let body = payment.variant(number).v2();
        let replica = &replicas[usize::from(number) % replicas.len()];
        async move { replica.settle(&body).await.1 }
    });
    let answers = join_all(callers).await;

    let mut counts = BTreeMap::new();
    for answer in &answers {
        let what = if answer["success"] == true { "success" } else { answer["errorReason"].as_str().expect("a reason") };
        *counts.entry(what).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([("duplicate_settlement", 63), ("success", 1)]));
    assert_eq!((cluster.paid().await, before - cluster.lamports().await), (AMOUNT, FEE));
}

/// Transactions that are sent are swallowed, and nothing becomes final behind a slot.
fn swallow(proxy: &Proxy, final_slot: Option<u64>) {
    proxy.rule(move |method, params, _| match (method, final_slot) {
        ("sendTransaction", _) => Act::Answer(json!("taken")),
        ("getSlot", Some(slot)) if params[0]["commitment"] == "finalized" => Act::Answer(json!(slot)),
        _ => Act::Forward,
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_no_block_takes_is_given_up_when_it_can_no_longer_land() {
    let cluster = Cluster::start(20).await;
    let proxy = Proxy::start(&cluster.url);
    let mut options = Options::new(cluster.options(&proxy.url), &database::fresh().await);
    options.server.push_str("answer_within_v2_seconds = 1\n");
    let facilitator = Facilitator::start(&options).await;
    let body = cluster.payment(0, "one").await.v2();
    let final_slot = cluster.rpc("getSlot", json!([{"commitment": "finalized"}])).await.as_u64();
    swallow(&proxy, final_slot);

    let (_, pending) = facilitator.settle(&body).await;
    assert_eq!(pending["errorReason"], "settlement_pending", "{pending}");
    until_stale(&cluster).await;
    let sends = proxy.calls("sendTransaction");
    let further = || async { (proxy.calls("sendTransaction") >= sends + 2).then_some(()) };
    eventually("further sends", Duration::from_mins(1), further).await;
    let (_, still) = facilitator.settle(&body).await;
    assert_eq!(still["errorReason"], "settlement_pending", "a block that is not final may be dropped: {still}");
    swallow(&proxy, None);
    let ended = eventually("an end", Duration::from_mins(1), || async {
        let (_, answer) = facilitator.settle(&body).await;
        (answer["errorReason"] != "settlement_pending").then_some(answer)
    })
    .await;

    assert_eq!(ended["errorReason"], "invalid_exact_svm_transaction_expired", "{ended}");
    assert_eq!(ended["transaction"], pending["transaction"], "{ended}");
    assert!(proxy.calls("sendTransaction") > 1, "the same bytes go out again and again");
    assert_eq!(proxy.sent().len(), 1);
    assert_eq!(cluster.paid().await, 0);
}

/// The answer to the server was lost, and the server comes back when the node no longer takes the message.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_nobody_was_told_of_is_collected_after_its_blockhash_ended() {
    let cluster = Cluster::start(20).await;
    let proxy = Proxy::start(&cluster.url);
    let url = database::fresh().await;
    let ledger = database::ledger(&url).await;
    let mut options = Options::new(cluster.options(&proxy.url), &url);
    options.server.push_str("answer_within_v2_seconds = 1\n");
    let facilitator = Facilitator::start(&options).await;
    let body = cluster.payment(0, "one").await.v2();
    proxy.rule(|method, _, _| if method == "getSignatureStatuses" { Act::Swallow } else { Act::Forward });
    let (_, pending) = facilitator.settle(&body).await;
    assert_eq!(pending["errorReason"], "settlement_pending", "{pending}");
    assert_eq!(facilitator.verify(&body).await.1["isValid"], true, "it is under way");
    proxy.behave();
    eventually("a claim", Duration::from_secs(20), || async {
        let claims = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM claims");
        (claims.fetch_one(ledger.pool()).await.expect("the database answers") == 1).then_some(())
    })
    .await;
    until_stale(&cluster).await;

    let (_, verified) = facilitator.verify(&body).await;
    let (_, settled) = facilitator.settle(&body).await;
    let (_, after) = facilitator.verify(&body).await;

    assert_eq!(verified["isValid"], true, "{verified}");
    assert_eq!((&settled["success"], &settled["transaction"]), (&json!(true), &pending["transaction"]), "{settled}");
    assert_eq!(after["isValid"], false, "it was told once: {after}");
    assert_eq!(cluster.paid().await, AMOUNT);
}

/// The vectors of tests/vectors/svm, whose signers have the seeds 3 and 7.
#[tokio::test(flavor = "multi_thread")]
async fn every_payment_that_is_wrong_in_one_thing_gets_its_reason_and_leaves_nothing_behind() {
    let cluster = Cluster::start(400).await;
    let url = database::fresh().await;
    let ledger = database::ledger(&url).await;
    let key = |seed: u8| encode_base58(&ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).to_keypair_bytes());
    let network = NetworkOptions { keys: vec![key(3), key(7)], ..cluster.options(&cluster.url) };
    let facilitator = Facilitator::start(&Options::new(network, &url)).await;
    let vectors = std::fs::read(root().join("tests/vectors/svm/refused.json")).expect("the vectors are there");
    let vectors: Vec<Value> = serde_json::from_slice(&vectors).expect("JSON");
    let mut wrong = Vec::new();
    for vector in &vectors {
        let (verified, settled) = (facilitator.verify(&vector["request"]).await, facilitator.settle(&vector["request"]).await);
        let told = (&verified.1["invalidReason"], &settled.1["errorReason"]);
        if told != (&vector["verdict"], &vector["verdict"]) || verified.0 >= 500 || settled.0 >= 500 {
            wrong.push(format!("{} {}: {told:?}, not {}", vector["row"], vector["name"], vector["verdict"]));
        }
    }

    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), vectors.len(), wrong.join("\n"));
    let payments = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM payments");
    assert_eq!(payments.fetch_one(ledger.pool()).await.expect("the database answers"), 0);
}

const SIMULATION_FAILED: &str = "invalid_exact_svm_transaction_simulation_failed";

/// Both endpoints refuse a payment with a code, and neither sends anything.
async fn refused(facilitator: &Facilitator, proxy: &Proxy, payment: &Payment, code: &str, what: &str) {
    let sent = proxy.sent();
    for (path, member) in [("/verify", "invalidReason"), ("/settle", "errorReason")] {
        let (status, answer) = facilitator.post(path, &payment.v2()).await;
        assert_eq!((status, &answer[member]), (200, &json!(code)), "{what}, {path}: {answer}");
    }
    assert_eq!(proxy.sent(), sent, "{what}");
}

/// Waits until a blockhash of now is too old.
async fn until_stale(cluster: &Cluster) {
    let height = cluster.height().await;
    eventually("200 blocks", Duration::from_mins(1), || async { (cluster.height().await > height + 200).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blockhash_that_is_too_old_or_of_nowhere_gets_no_signature_of_ours() {
    let cluster = Cluster::start(20).await;
    let proxy = Proxy::start(&cluster.url);
    let facilitator = Facilitator::start(&Options::new(cluster.options(&proxy.url), &database::fresh().await)).await;
    let old = cluster.payment(0, "old").await;
    let nowhere = cluster.payment_at(1, "nowhere", &encode_base58(&[9; 32]), 0);

    refused(&facilitator, &proxy, &nowhere, SIMULATION_FAILED, "a blockhash of nowhere").await;
    until_stale(&cluster).await;
    refused(&facilitator, &proxy, &old, SIMULATION_FAILED, "an old blockhash").await;
    assert_eq!(cluster.paid().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blockhash_that_has_few_blocks_left_gets_no_signature_of_ours() {
    let cluster = Cluster::start(50).await;
    let proxy = Proxy::start(&cluster.url);
    let url = database::fresh().await;
    let (ledger, network) = (database::ledger(&url).await, cluster.text("/network").parse().expect("a network"));
    let facilitator = Facilitator::start(&Options::new(cluster.options(&proxy.url), &url)).await;
    let reading = async || ledger.cursor(&network).await.expect("the database answers");
    eventually("a block that was read", Duration::from_secs(10), reading).await;
    let first = cluster.latest_blockhash().await;
    let begun = cluster.height().await;
    let (fresh, old) = (cluster.payment_at(0, "fresh", &first, 0), cluster.payment_at(1, "old", &first, 0));

    assert_eq!(facilitator.verify(&fresh.v2()).await.1["isValid"], true);
    eventually("130 blocks", Duration::from_mins(1), || async { (cluster.height().await > begun + 131).then_some(()) }).await;

    refused(&facilitator, &proxy, &old, "invalid_exact_svm_blockhash_expiring", "131 blocks old").await;
    assert_eq!(cluster.paid().await, 0);
}

/// Somebody settles elsewhere what we have never seen, and presents it here.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_has_landed_already_is_refused() {
    let cluster = Cluster::start(20).await;
    let proxy = Proxy::start(&cluster.url);
    let elsewhere = Facilitator::start(&Options::new(cluster.options(&cluster.url), &database::fresh().await)).await;
    let here = Facilitator::start(&Options::new(cluster.options(&proxy.url), &database::fresh().await)).await;
    let payment = cluster.payment(0, "one").await;
    assert_eq!(elsewhere.settle(&payment.v2()).await.1["success"], true);

    refused(&here, &proxy, &payment, "invalid_exact_svm_transaction_already_processed", "just landed").await;
    until_stale(&cluster).await;
    refused(&here, &proxy, &payment, SIMULATION_FAILED, "landed long ago").await;
    assert_eq!(cluster.paid().await, AMOUNT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_whose_account_cannot_pay_is_refused() {
    let cluster = Cluster::start(400).await;
    let proxy = Proxy::start(&cluster.url);
    let facilitator = Facilitator::start(&Options::new(cluster.options(&proxy.url), &database::fresh().await)).await;
    cluster.change(0, json!({"state": "frozen"})).await;
    cluster.change(1, json!({"amount": AMOUNT - 1})).await;
    cluster.rewrite(2, |_| None).await;
    // The owner is what stands behind the mint.
    cluster
        .rewrite(3, |mut data| {
            data[32..64].fill(7);
            Some(data)
        })
        .await;

    for (payer, what) in ["frozen", "one unit short", "closed", "somebody else's"].into_iter().enumerate() {
        refused(&facilitator, &proxy, &cluster.payment(payer, what).await, SIMULATION_FAILED, what).await;
    }
    let (_, paid) = facilitator.settle(&cluster.payment(4, "good").await.v2()).await;
    assert_eq!(paid["success"], true, "{paid}");
    assert_eq!(cluster.paid().await, AMOUNT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_without_a_token_account_cannot_be_paid() {
    let cluster = Cluster::start(400).await;
    let proxy = Proxy::start(&cluster.url);
    let facilitator = Facilitator::start(&Options::new(cluster.options(&proxy.url), &database::fresh().await)).await;
    let blockhash = cluster.latest_blockhash().await;

    let payment = cluster.payment_to("/accounts/merchantWithoutAta/address", 0, "one", &blockhash, 0);
    refused(&facilitator, &proxy, &payment, SIMULATION_FAILED, "no account to pay into").await;
}

/// A replica that does not read blocks hears of them later than the node that it asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_one_on_every_replica() {
    let cluster = Cluster::start(100).await;
    let url = database::fresh().await;
    let (ledger, network) = (database::ledger(&url).await, cluster.text("/network").parse().expect("a network"));
    let start = async |roles: Option<&str>| {
        let options = Options { roles: roles.map(str::to_owned), ..Options::new(cluster.options(&cluster.url), &url) };
        Facilitator::start(&options).await
    };
    let replicas = [start(None).await, start(Some("api")).await, start(Some("api")).await];
    let reading = async || ledger.cursor(&network).await.expect("the database answers");
    eventually("a block that was read", Duration::from_secs(10), reading).await;
    cluster.change(0, json!({"state": "frozen"})).await;

    for round in 0..10 {
        let body = cluster.payment(0, &format!("round {round}")).await.v2();
        let answers = join_all(replicas.iter().map(|replica| replica.verify(&body))).await;
        for (number, (status, answer)) in answers.iter().enumerate() {
            assert_eq!((*status, &answer["invalidReason"]), (200, &json!(SIMULATION_FAILED)), "replica {number}: {answer}");
        }
    }
    assert_eq!(replicas[1].settle(&cluster.payment(1, "good").await.v2()).await.1["success"], true);
}
