//! Payments that came to their end, or back into the queue, while nobody could be told.

use std::time::Duration;

use quittance::domain::ids::PaymentId;
use quittance::domain::network::Network;
use quittance::ledger::payments;
use serde_json::json;
use sqlx::Executor;
use uuid::Uuid;

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::Terms;
use crate::support::postgres_proxy::{Cut, Fate, PostgresProxy};
use crate::support::{database, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_success_that_nobody_was_told_of_is_collected_by_verify_and_settle() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let merchant = chain.text("/accounts/merchant/address");
    let database = PostgresProxy::start(&database::fresh().await).await;
    let mut options = Options::new(NetworkOptions::of(&chain), &database.url);
    options.server.push_str("answer_within_v2_seconds = 2\n");
    let facilitator = Facilitator::start(&options).await;
    let body = chain.payers[0].authorize(&Terms::to(&merchant)).v2();

    // The ledger has the success, and does not say so before the caller's patience ends.
    database.cut_next(Cut { statement: "SET handed_out_at", fate: Fate::Unheard });
    let (caller, asked) = (facilitator.caller(), body.clone());
    let waiting = tokio::spawn(async move { caller.try_post("/settle", &asked).await });
    eventually("a success that is not heard of", Duration::from_secs(20), || async { (database.cuts() == 1).then_some(()) })
        .await;
    database.close();
    let (_, untold) = waiting.await.expect("no panic").expect("an answer");
    assert_eq!(untold["errorReason"], "settlement_pending", "{untold}");
    database.open();

    let verified = eventually("a verdict", Duration::from_secs(20), || async {
        let (status, verified) = facilitator.verify(&body).await;
        (status == 200).then_some(verified)
    })
    .await;
    assert_eq!(verified["isValid"], true, "{verified}");
    let (_, settled) = facilitator.settle(&body).await;
    assert_eq!(settled["success"], true, "{settled}");
    let (_, verified) = facilitator.verify(&body).await;
    assert_eq!(verified["invalidReason"], "invalid_exact_evm_nonce_already_used", "it was told once: {verified}");
    assert_eq!(facilitator.settle(&body).await.1["errorReason"], "duplicate_settlement");
    assert_eq!(chain.transfers_to(&merchant).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_comes_back_into_the_queue_though_the_answer_to_its_commit_is_lost() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let merchant = chain.text("/accounts/merchant/address");
    let database = PostgresProxy::start(&database::fresh().await).await;
    let mut options = Options::new(NetworkOptions::of(&chain), &database.url);
    options.server.push_str("answer_within_v2_seconds = 3\n");
    let fates = [Fate::Unanswered, Fate::Undelivered];
    let bodies = chain.payers.iter().zip(fates).map(|(payer, fate)| (payer.authorize(&Terms::to(&merchant)).v2(), fate));
    let bodies: Vec<_> = bodies.collect();
    // Without a lane nothing is sent, and the callers take their payments back.
    let without_lane = Options { roles: Some("api,watcher,worker".to_owned()), ..options };
    let mut facilitator = Facilitator::start(&without_lane).await;
    for (body, _) in &bodies {
        assert_eq!(facilitator.settle(body).await.0, 503);
    }
    assert!(facilitator.terminate().await.success());
    facilitator.restart().await;

    for (number, (body, fate)) in bodies.iter().enumerate() {
        database.cut_next(Cut { statement: "SET answer_by = clock_timestamp()", fate: *fate });
        let (status, settled) = facilitator.settle(body).await;
        assert_eq!((status, &settled["success"]), (200, &true.into()), "{fate:?}: {settled}");
        assert_eq!(database.cuts(), number as u64 + 1, "{fate:?}");
    }
    assert_eq!(chain.transfers_to(&merchant).await.len(), bodies.len());
}

/// The replica that answers hears of blocks from the one that reads them.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_was_told_of_while_the_database_was_away_is_not_missed() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let database = PostgresProxy::start(&url).await;
    let ledger = database::ledger(&url).await;
    let _reads = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &url)).await;
    let options = Options::new(NetworkOptions::of(&chain), &database.url);
    let answers = Facilitator::start(&Options { roles: Some("api".to_owned()), ..options }).await;
    let body = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v2();
    chain.rpc("anvil_setIntervalMining", json!([0])).await;
    let caller = answers.caller();
    let waiting = tokio::spawn(async move { caller.try_post("/settle", &body).await });
    eventually("a transaction in the pool", Duration::from_secs(20), || async { (chain.pooled().await == 1).then_some(()) })
        .await;

    database.close();
    chain.rpc("evm_mine", json!([])).await;
    eventually("a claim", Duration::from_secs(20), || async {
        let claims = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM claims");
        (claims.fetch_one(ledger.pool()).await.expect("the database answers") == 1).then_some(())
    })
    .await;
    database.open();

    let (_, settled) = waiting.await.expect("no panic").expect("an answer");
    assert_eq!(settled["success"], true, "{settled}");
}

/// Of two replicas that put one payment back, the second finds it in the queue already.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_in_the_queue_is_not_counted_against_itself() {
    let ledger = database::ledger(&database::fresh().await).await;
    let network: Network = "eip155:84532".parse().expect("a network");
    let payment = "
        INSERT INTO payments (id, network, key, fingerprint, x402_version, asset, payer, pay_to, amount, payload, expires_at,
                              created_at, answer_by, answer_at, alone, accepted_block, checked_block, payer_code, gas)
        VALUES ('00000000-0000-0000-0000-000000000001', 'eip155:84532', '', decode(repeat('00', 32), 'hex'), 2,
                '0x0000000000000000000000000000000000000005', '0x0000000000000000000000000000000000000005', '', 10, '{}',
                now() + interval '1 hour', now(), now() + interval '1 minute', 'included', false, 1, 1, '', 1)";
    ledger.pool().execute(payment).await.expect("it fits");
    let address = quittance::domain::address::Address::parse(network.family(), "0x0000000000000000000000000000000000000005");
    let address = address.expect("an address");
    let beside = async |id: u128| {
        let mut db = ledger.begin().await.expect("the database answers");
        let id = PaymentId::from_uuid(Uuid::from_u128(id));
        let under_way = payments::reserve(&mut db, &network, address, address, id, None).await.expect("the database answers");
        under_way.sum.map(quittance::domain::amount::Amount::units)
    };

    assert_eq!((beside(1).await, beside(2).await), (None, Some(10)));
}
