//! What is forgotten, and what is not.

use std::collections::HashMap;
use std::time::Duration;

use chrono::TimeDelta;
use quittance::ledger::Ledger;
use serde_json::json;
use uuid::Uuid;

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::{Signed, Terms};
use crate::support::{database, eventually, flows};

const PATIENCE: Duration = Duration::from_secs(30);

async fn count(ledger: &Ledger, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(ledger.pool()).await.expect("the database answers")
}

/// Signed transactions in the ledger that hold the signature of a payment.
async fn kept(ledger: &Ledger, signed: &Signed) -> i64 {
    let signature = signed.payload["signature"].as_str().expect("a signature");
    let kept = sqlx::query_scalar("SELECT count(*) FROM attempts WHERE position(decode($1, 'hex') IN raw) > 0");
    // Without the last byte, which a token may want in another form.
    kept.bind(&signature[2..130]).fetch_one(ledger.pool()).await.expect("the database answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_erased_from_a_slot_when_it_is_final_and_not_before() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let database = database::fresh().await;
    let ledger = database::ledger(&database).await;
    let options = Options::new(NetworkOptions::of(&chain), &database);
    let mut facilitator = Facilitator::start(&options).await;
    let terms = Terms::to(&chain.text("/accounts/merchant/address"));
    let (early, late) = (chain.payers[0].authorize(&terms), chain.payers[1].authorize(&terms));

    assert_eq!(facilitator.settle(&early.v2()).await.1["success"], true);
    chain.mine(20).await;
    eventually("finality", PATIENCE, || async {
        (count(&ledger, "SELECT count(*) FROM payments WHERE final_at IS NOT NULL").await == 1).then_some(())
    })
    .await;
    assert_eq!(facilitator.settle(&late.v2()).await.1["success"], true);
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    assert_eq!((kept(&ledger, &early).await, kept(&ledger, &late).await), (1, 1));
    // The worker begins with a round.
    assert!(facilitator.terminate().await.success());
    let _facilitator = Facilitator::start(&options).await;

    eventually("a round of the worker", PATIENCE, || async { (kept(&ledger, &early).await == 0).then_some(()) }).await;
    assert_eq!(kept(&ledger, &late).await, 1, "a reorganisation may want these bytes again");
    assert_eq!(count(&ledger, "SELECT count(*) FROM attempts WHERE erased_at IS NOT NULL").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_rows_go_in_portions_until_none_is_left() {
    let chain = Chain::start(ChainOptions::default()).await;
    let database = database::fresh().await;
    let ledger = database::ledger(&database).await;
    let terms = Terms::to(&chain.text("/accounts/merchant/address"));
    let expired = chain.payers[0].authorize(&Terms { valid_for: -90_000, ..terms.clone() });
    // Expired by our clock only, as if the node had stood still since before.
    let alive = chain.payers[0].authorize(&terms);
    let old_and_young = r"
        INSERT INTO budgets SELECT 'eip155:84532', now() - interval '3 days', 'payer:' || n, 1 FROM generate_series(1, 2100) AS n;
        INSERT INTO budgets VALUES ('eip155:84532', now() - interval '47 hours', 'payer:young', 1);
        INSERT INTO idempotency (scope, key, fingerprint, created_at)
            SELECT 'old', 'a key of one request ' || n, ''::bytea, now() - interval '8 days'
            FROM generate_series(1, 2000) AS n;
        INSERT INTO idempotency (scope, key, fingerprint, created_at)
            VALUES ('young', 'a key of one request', '', now() - interval '6 days');
        INSERT INTO accounts (id, name, created_at) VALUES ('00000000-0000-7000-8000-000000000001', 'merchant', now());
        INSERT INTO addresses (id, account_id, network, address, created_at, challenged_until, proven_at, proof)
            SELECT gen_random_uuid(), '00000000-0000-7000-8000-000000000001', 'eip155:84532', n::text, now(),
                   now() - make_interval(hours => CASE n WHEN 0 THEN 23 ELSE 25 END),
                   CASE n WHEN 1 THEN now() END, CASE n WHEN 1 THEN 'operator' END
            FROM generate_series(0, 1200) AS n;
        INSERT INTO api_keys VALUES ('00000000-0000-7000-8000-000000000002', '00000000-0000-7000-8000-000000000001', 'merchant',
                                     sha256('secret'), now());
        INSERT INTO sessions SELECT sha256(int4send(n)), '00000000-0000-7000-8000-000000000002', now() - interval '2 hours',
                                    now() + CASE n WHEN 0 THEN 1 ELSE -1 END * interval '1 hour'
            FROM generate_series(0, 1200) AS n;
        INSERT INTO events SELECT gen_random_uuid(), NULL, NULL, NULL, 'old', '{}', now() - interval '91 days'
            FROM generate_series(1, 1001) AS n;
        INSERT INTO events VALUES (gen_random_uuid(), NULL, NULL, NULL, 'young', '{}', now() - interval '89 days');
        INSERT INTO payments (id, network, key, fingerprint, x402_version, asset, payer, pay_to, amount, payload, expires_at, created_at,
                              answer_by, answer_at, alone, accepted_block, checked_block, payer_code, gas)
            SELECT gen_random_uuid(), 'eip155:84532', int4send(n), decode(repeat('00', 32), 'hex'), 2, 'USDC', 'PAYER', 'MERCHANT', 1,
                   CASE n WHEN 1501 THEN 'ALIVE' ELSE 'EXPIRED' END::json,
                   now() - make_interval(hours => CASE n WHEN 0 THEN 23 ELSE 25 END), now(), now(), 'included', false, 1, 1, '', 1
            FROM generate_series(0, 1501) AS n;
    ";
    let old_and_young = old_and_young
        .replace("USDC", &chain.usdc())
        .replace("PAYER", &expired.payer)
        .replace("MERCHANT", &expired.terms.pay_to)
        .replace("EXPIRED", &expired.payload.to_string())
        .replace("ALIVE", &alive.payload.to_string());
    sqlx::raw_sql(sqlx::AssertSqlSafe(old_and_young)).execute(ledger.pool()).await.expect("they fit");

    let options = Options::new(NetworkOptions::of(&chain), &database);
    let _watcher = Facilitator::start(&Options { roles: Some("api,watcher".to_owned()), ..options.clone() }).await;
    eventually("a block that was read", PATIENCE, || async {
        (count(&ledger, "SELECT count(*) FROM networks WHERE cursor_number IS NOT NULL").await == 1).then_some(())
    })
    .await;
    // Its round ends nothing on networks that nobody has read, and the next one is far off.
    let _worker = Facilitator::start(&Options { roles: Some("worker".to_owned()), ..options }).await;

    // Each payment that is ended leaves an event.
    eventually("a round of the worker", PATIENCE, || async {
        (count(&ledger, "SELECT count(*) FROM events WHERE kind = 'payment.failed'").await == 1500).then_some(())
    })
    .await;
    for left in [
        "SELECT count(*) FROM budgets WHERE subject LIKE 'payer:%'",
        "SELECT count(*) FROM idempotency",
        "SELECT count(*) FROM sessions",
        "SELECT count(*) FROM events WHERE kind <> 'payment.failed'",
    ] {
        assert_eq!(count(&ledger, left).await, 1, "{left}");
    }
    let left = "SELECT address FROM addresses ORDER BY address";
    let left = sqlx::query_scalar::<_, String>(left).fetch_all(ledger.pool()).await.expect("the database answers");
    assert_eq!(left, ["0", "1"], "a challenge of yesterday, and an address that was proven");
    for left in
        ["SELECT count(*) FROM payments WHERE payload IS NOT NULL", "SELECT count(*) FROM payments WHERE given_up_at IS NULL"]
    {
        assert_eq!(count(&ledger, left).await, 2, "{left}: the young one, and the one that may still be made");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_go_a_month_after_their_end_and_never_outlive_their_events() {
    let ledger = database::ledger(&database::fresh().await).await;
    let rows = "
        INSERT INTO accounts VALUES ('00000000-0000-0000-0000-0000000000aa', 'somebody', now());
        INSERT INTO webhooks (id, account_id, url, events, secret, created_at, removed_at)
        SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, '00000000-0000-0000-0000-0000000000aa', 'https://a.example/', '{}',
               CASE n WHEN 1 THEN 'whsec_' END, now() - interval '99 days', CASE WHEN n > 1 THEN now() - interval '31 days' END
        FROM generate_series(1, 3) AS n;
        INSERT INTO events (id, account_id, kind, data, created_at)
        SELECT ('00000000-0000-0000-0000-00000000000' || n)::uuid, '00000000-0000-0000-0000-0000000000aa', 'invoice.paid', '{}',
               now() - make_interval(days => CASE n WHEN 1 THEN 91 ELSE 40 END)
        FROM generate_series(1, 6) AS n;
        INSERT INTO deliveries (id, webhook_id, event_id, attempts, next_at, delivered_at, given_up_at, created_at)
        SELECT gen_random_uuid(), ('00000000-0000-0000-0000-00000000000' || webhook)::uuid,
               ('00000000-0000-0000-0000-00000000000' || event)::uuid, 1, now() + make_interval(days => next),
               now() - make_interval(days => delivered), now() - make_interval(days => given_up), now() - interval '40 days'
        FROM (VALUES (1, 1, 1, NULL, NULL), (1, 2, 1, NULL, NULL), (1, 3, NULL, 31, NULL), (1, 4, NULL, 29, NULL),
                     (1, 5, NULL, NULL, 31), (2, 6, NULL, NULL, 29)) AS d (webhook, event, next, delivered, given_up);
    ";
    sqlx::raw_sql(rows).execute(ledger.pool()).await.expect("they fit");
    let lease = ledger.hold_lease("worker", Uuid::from_u128(1), TimeDelta::minutes(1)).await.expect("the database answers");

    let flows = flows::over(ledger.clone(), HashMap::new());
    flows.forget(&lease.expect("it is free")).await.expect("the database answers");

    let left = "SELECT substr(event_id::text, 36) FROM deliveries ORDER BY 1";
    let left = sqlx::query_scalar::<_, String>(left).fetch_all(ledger.pool()).await.expect("the database answers");
    assert_eq!(left, ["2", "4", "6"], "one that waits, one that arrived and one that was given up a while ago");
    assert_eq!(count(&ledger, "SELECT count(*) FROM events").await, 5);
    let left = "SELECT substr(id::text, 36) FROM webhooks ORDER BY 1";
    let left = sqlx::query_scalar::<_, String>(left).fetch_all(ledger.pool()).await.expect("the database answers");
    assert_eq!(left, ["1", "2"], "one that is there, and one that was removed and told something a while ago");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_forgotten_keeps_nobody_from_forgetting_the_rest() {
    let ledger = database::ledger(&database::fresh().await).await;
    let rows = r"
        ALTER TABLE budgets RENAME TO out_of_reach;
        INSERT INTO idempotency (scope, key, fingerprint, created_at) VALUES ('old', 'a key of one request', '', now() - interval '8 days');
    ";
    sqlx::raw_sql(rows).execute(ledger.pool()).await.expect("they fit");
    let lease = ledger.hold_lease("worker", Uuid::from_u128(1), TimeDelta::minutes(1)).await.expect("the database answers");

    let flows = flows::over(ledger.clone(), HashMap::new());
    let told = flows.forget(&lease.expect("it is free")).await;

    assert!(told.is_err(), "somebody hears of it");
    assert_eq!(count(&ledger, "SELECT count(*) FROM idempotency").await, 0);
}
