//! Payments on Solana, on a local node with the real token programs.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use quittance::domain::address::encode_base58;
use quittance::ledger::Ledger;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::proxy::{Act, Edit, Proxy};
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

#[tokio::test(flavor = "multi_thread")]
async fn the_fee_is_paid_by_the_signer_that_the_payer_has_named() {
    let cluster = Cluster::start(400).await;
    let facilitator = Facilitator::start(&Options::new(cluster.options(&cluster.url), &database::fresh().await)).await;
    let payment = cluster.payment_at(0, "one", &cluster.latest_blockhash().await, 1);
    let before = [cluster.lamports_of(0).await, cluster.lamports_of(1).await];

    let (_, settled) = facilitator.settle(&payment.v2()).await;

    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!(cluster.paid().await, AMOUNT);
    assert_eq!([cluster.lamports_of(0).await, cluster.lamports_of(1).await], [before[0], before[1] - FEE]);
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

    let callers = (0..100_u8).map(|number| {
        let body = payment.variant(number).v2();
        let replica = &replicas[usize::from(number) % replicas.len()];
        // Whoever gets no verdict, because a busy machine keeps the database waiting, asks again.
        async move { replica.settle_patiently(&body, Duration::from_mins(1)).await }
    });
    let answers = join_all(callers).await;

    let mut counts = BTreeMap::new();
    for answer in &answers {
        let what = if answer["success"] == true { "success" } else { answer["errorReason"].as_str().expect("a reason") };
        *counts.entry(what).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([("duplicate_settlement", 99), ("success", 1)]));
    assert_eq!((cluster.paid().await, before - cluster.lamports().await), (AMOUNT, FEE));
}

/// Transactions that are sent are swallowed, and nothing becomes final behind a slot.
fn swallow(proxy: &Proxy, final_slot: u64) {
    proxy.rule(move |method, params, _| match method {
        "sendTransaction" => Act::Answer(json!("taken")),
        "getSlot" if params[0]["commitment"] == "finalized" => Act::Answer(json!(final_slot)),
        _ => Act::Forward,
    });
}

/// So many blocks after the one in whose state it was good a message may land: 150, 17 more because that height may have been
/// read too low, and 32 because the node's word on it may be wrong.
const LANDS_WITHIN: u64 = 150 + 17 + 32;

async fn final_slot(cluster: &Cluster) -> u64 {
    cluster.rpc("getSlot", json!([{"commitment": "finalized"}])).await.as_u64().expect("a slot")
}

/// The slot of a height, once it is final. The local node skips none.
async fn slot_at(cluster: &Cluster, height: u64) -> u64 {
    let newest = final_slot(cluster).await;
    let config =
        json!({"commitment": "confirmed", "transactionDetails": "none", "rewards": false, "maxSupportedTransactionVersion": 0});
    let block = cluster.rpc("getBlock", json!([newest, config])).await;
    let slot = newest + height - block["blockHeight"].as_u64().expect("a height");
    eventually("a final block", Duration::from_mins(1), || async { (final_slot(cluster).await >= slot).then_some(()) }).await;
    slot
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_no_block_takes_is_given_up_when_it_can_no_longer_land() {
    let cluster = Cluster::start(20).await;
    let proxy = Proxy::start(&cluster.url);
    let url = database::fresh().await;
    let (ledger, network) = (database::ledger(&url).await, cluster.text("/network").parse().expect("a network"));
    let mut options = Options::new(cluster.options(&proxy.url), &url);
    options.server.push_str("answer_within_v2_seconds = 1\n");
    let facilitator = Facilitator::start(&options).await;
    let body = cluster.payment(0, "one").await.v2();
    swallow(&proxy, final_slot(&cluster).await);

    let (_, pending) = facilitator.settle(&body).await;
    assert_eq!(pending["errorReason"], "settlement_pending", "{pending}");
    let accepted = sqlx::query_scalar::<_, i64>("SELECT accepted_block FROM payments").fetch_one(ledger.pool()).await;
    let last = u64::try_from(accepted.expect("the database answers")).expect("a height") + LANDS_WITHIN;
    swallow(&proxy, slot_at(&cluster, last).await);
    let read_to_last = || async {
        let cursor = ledger.cursor(&network).await.expect("the database answers").expect("blocks are read");
        (cursor.heights.finalized == last).then_some(())
    };
    eventually("the last block that could hold it", Duration::from_mins(1), read_to_last).await;
    let sends = proxy.calls("sendTransaction");
    let further = || async { (proxy.calls("sendTransaction") >= sends + 2).then_some(()) };
    eventually("further sends", Duration::from_mins(1), further).await;
    let (_, still) = facilitator.settle(&body).await;
    assert_eq!(still["errorReason"], "settlement_pending", "a block that is not final may be dropped: {still}");
    swallow(&proxy, slot_at(&cluster, last + 1).await);
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
    let told = || async { facilitator.log().contains("what became of payments could not be asked").then_some(()) };
    eventually("a word about it", Duration::from_secs(20), told).await;
    let log = facilitator.log();
    let about_it = |line: &&str| line.contains("could not be watched") && line.contains("getSignatureStatuses");
    assert_eq!(log.lines().find(about_it), None, "blocks are read all the same");
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
    // A blockhash lasts for six seconds, in which a busy machine pays and is asked again.
    let cluster = Cluster::start(40).await;
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

const SIMULATE: &str = "simulateTransaction";

/// Every simulation ends with this error, whatever the payment.
fn fail_with(proxy: &Proxy, error: Value) {
    proxy.rule(move |method, _, _| {
        if method != SIMULATE {
            return Act::Forward;
        }
        let error = error.clone();
        Edit::of(move |answer| answer["value"]["err"] = error.clone())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fee_that_our_signer_cannot_pay_makes_no_payment_invalid() {
    let cluster = Cluster::start(400).await;
    let proxy = Proxy::start(&cluster.url);
    let facilitator = Facilitator::start(&Options::new(cluster.options(&proxy.url), &database::fresh().await)).await;
    let payment = cluster.payment(0, "one").await;
    let rent = |account: u8| json!({"InsufficientFundsForRent": {"account_index": account}});

    for error in [json!("InsufficientFundsForFee"), json!("AccountNotFound"), json!("InvalidAccountForFee"), rent(0)] {
        fail_with(&proxy, error.clone());
        let (verified, settled) = (facilitator.verify(&payment.v2()).await, facilitator.settle(&payment.v2()).await);
        assert_eq!((verified.0, &verified.1["invalidReason"]), (503, &json!("unexpected_verify_error")), "{error}");
        assert_eq!((settled.0, &settled.1["errorReason"]), (503, &json!("unexpected_settle_error")), "{error}");
    }
    fail_with(&proxy, rent(2));
    refused(&facilitator, &proxy, &payment, SIMULATION_FAILED, "another account's rent").await;
    proxy.behave();
    assert_eq!(facilitator.settle(&payment.v2()).await.1["success"], true);
}

/// Payments that were recorded by a replica without a lane, and who waits for them.
struct Queued {
    cluster: Cluster,
    /// In front of the node of a lane that is still to come.
    proxy: Proxy,
    options: Options,
    ledger: Ledger,
    answers: Vec<JoinHandle<Value>>,
    _without_lane: Facilitator,
}

impl Queued {
    async fn new(payments: usize) -> Self {
        let cluster = Cluster::start(200).await;
        let proxy = Proxy::start(&cluster.url);
        let url = database::fresh().await;
        let ledger = database::ledger(&url).await;
        let without_lane = Options { roles: Some("api,watcher".to_owned()), ..Options::new(cluster.options(&cluster.url), &url) };
        let without_lane = Facilitator::start(&without_lane).await;
        let mut answers = Vec::new();
        for number in 0..payments {
            let (caller, body) = (without_lane.caller(), cluster.payment(number, "queued").await.v2());
            answers.push(tokio::spawn(async move { caller.try_post("/settle", &body).await.expect("an answer").1 }));
        }
        let options = Options { roles: Some("lane".to_owned()), ..Options::new(cluster.options(&proxy.url), &url) };
        let queued = Self { cluster, proxy, options, ledger, answers, _without_lane: without_lane };
        let all = async || (queued.count("SELECT count(*) FROM payments").await == payments as i64).then_some(());
        eventually("payments in the ledger", Duration::from_secs(20), all).await;
        queued
    }

    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(self.ledger.pool()).await.expect("the database answers")
    }
}

/// A lane looks again at what has waited for more than twelve blocks.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_waits_is_not_given_up_because_our_signer_cannot_pay_the_fee() {
    let queued = Queued::new(1).await;
    let (cluster, proxy) = (&queued.cluster, &queued.proxy);
    let height = cluster.height().await;
    eventually("15 blocks", Duration::from_mins(1), || async { (cluster.height().await > height + 15).then_some(()) }).await;
    fail_with(proxy, json!("InsufficientFundsForFee"));

    let _lane = Facilitator::start(&queued.options).await;
    eventually("three looks", Duration::from_secs(20), || async { (proxy.calls(SIMULATE) >= 3).then_some(()) }).await;
    let waiting = "SELECT count(*) FROM payments WHERE given_up_at IS NULL AND submission_id IS NULL";
    assert_eq!(queued.count(waiting).await, 1);
    proxy.behave();

    for answer in queued.answers {
        let answer = answer.await.expect("no panic");
        assert_eq!(answer["success"], true, "{answer}");
    }
    assert_eq!(queued.cluster.paid().await, AMOUNT);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_row_was_changed_is_not_signed() {
    let queued = Queued::new(1).await;
    let changed = sqlx::query("UPDATE payments SET amount = amount + 1").execute(queued.ledger.pool()).await;
    assert_eq!(changed.expect("the database answers").rows_affected(), 1);

    let _lane = Facilitator::start(&queued.options).await;
    for answer in queued.answers {
        let answer = answer.await.expect("no panic");
        assert_eq!(answer["errorReason"], "invalid_payload", "{answer}");
    }
    assert_eq!((queued.proxy.sent().len(), queued.cluster.paid().await), (0, 0));
}

/// What is committed for the first is sent in the turn in which the second cannot be paid for, and not only again later.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_cannot_be_paid_for_does_not_keep_the_one_before_it() {
    let mut queued = Queued::new(2).await;
    queued.options.networks[0].lines.push_str("resend_after_ms = 600000\n");
    queued.proxy.rule(|method, _, _| {
        let enough_for_one = |answer: &mut Value| answer["value"] = json!(FEE + 1);
        if method == "getBalance" { Edit::of(enough_for_one) } else { Act::Forward }
    });

    let lane = Facilitator::start(&queued.options).await;
    for answer in queued.answers {
        let answer = answer.await.expect("no panic");
        assert_eq!(answer["success"], true, "{answer}");
    }
    let kinds = [
        lane.metric("quittance_submissions_total{kind=\"new\"").await,
        lane.metric("quittance_submissions_total{kind=\"resend\"").await,
    ];
    assert_eq!(kinds, [2.0, 0.0]);
    assert_eq!(queued.cluster.paid().await, 2 * AMOUNT);
}

/// A client's node can be a block ahead of ours. Another one may have that block, and the same one has it after a moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_blockhash_that_a_node_does_not_know_yet_is_asked_for_once_more() {
    let cluster = Cluster::start(400).await;
    let lacks = || Edit::of(|answer| answer["value"]["err"] = json!("BlockhashNotFound"));
    for (nodes, looks) in [(1, (2, 0)), (2, (1, 1))] {
        let (behind, other) = (Proxy::start(&cluster.url), Proxy::start(&cluster.url));
        let rpc = [&behind, &other].into_iter().take(nodes).map(|node| node.url.clone()).collect();
        let network = NetworkOptions { rpc, ..cluster.options(&behind.url) };
        let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
        // Alone it knows the block when it is asked again; beside another one it never does.
        let lagging = move |method: &str, call: u64| method == SIMULATE && (call == 1 || nodes > 1);
        behind.rule(move |method, _, call| if lagging(method, call) { lacks() } else { Act::Forward });

        let (_, verified) = facilitator.verify(&cluster.payment(nodes, "one").await.v2()).await;

        assert_eq!(verified["isValid"], true, "{nodes}: {verified}");
        assert_eq!((behind.calls(SIMULATE), other.calls(SIMULATE)), looks, "{nodes}");
        for proxy in [&behind, &other] {
            proxy.reset();
            proxy.rule(move |method, _, _| if method == SIMULATE { lacks() } else { Act::Forward });
        }
        let (_, verified) = facilitator.verify(&cluster.payment(nodes, "two").await.v2()).await;
        assert_eq!(verified["invalidReason"], SIMULATION_FAILED, "{nodes}: {verified}");
        assert_eq!((behind.calls(SIMULATE), other.calls(SIMULATE)), looks, "{nodes}: no oftener than that");
    }
}
