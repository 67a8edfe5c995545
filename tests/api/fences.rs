//! What an owner that lost its lease cannot do any more.

use std::collections::HashMap;

use chrono::TimeDelta;
use quittance::domain::ids::PaymentId;
use quittance::domain::network::Network;
use quittance::domain::reason::Reason;
use quittance::ledger::LedgerError;
use sqlx::Executor;
use uuid::Uuid;

use crate::support::{database, flows};

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_of_a_lane_gives_a_payment_up() {
    let ledger = database::ledger(&database::fresh().await).await;
    let flows = flows::over(ledger.clone(), HashMap::new());
    let network: Network = "eip155:84532".parse().expect("a network");
    let payment = "
        INSERT INTO accounts VALUES ('00000000-0000-0000-0000-000000000001', 'somebody', now());
        INSERT INTO payments (id, network, key, fingerprint, x402_version, asset, payer, pay_to, amount, provider_id, payload, expires_at,
                              created_at, answer_by, answer_at, alone, accepted_block, checked_block, payer_code, gas)
        VALUES ('00000000-0000-0000-0000-000000000002', 'eip155:84532', '', decode(repeat('00', 32), 'hex'), 2, '', '', '', 1,
                '00000000-0000-0000-0000-000000000001', '{}', now(), now(), now(), 'included', false, 1, 1, '', 1);
    ";
    ledger.pool().execute(payment).await.expect("it fits");
    let id = PaymentId::from_uuid(Uuid::from_u128(2));
    let hold = async |owner: u128, lasts| {
        let lease = ledger.hold_lease("lane", Uuid::from_u128(owner), lasts).await.expect("the database answers");
        lease.expect("it is free")
    };
    let told = async || {
        let told = "SELECT count(*) FROM events WHERE account_id = '00000000-0000-0000-0000-000000000001'";
        sqlx::query_scalar::<_, i64>(told).fetch_one(ledger.pool()).await.expect("the database answers")
    };

    let lost = hold(1, TimeDelta::zero()).await;
    let held = hold(2, TimeDelta::minutes(1)).await;
    let late = flows.give_up(&lost, &network, id, Reason::TransactionFailed.into()).await;
    assert!(matches!(late, Err(LedgerError::LeaseLost)), "{late:?}");
    assert_eq!(told().await, 0);
    // A payment is given up once, and its account is told once.
    for _ in 0..2 {
        flows.give_up(&held, &network, id, Reason::CostExceedsLimit.into()).await.expect("it is the owner");
        assert_eq!(told().await, 1);
    }
    let reason: String = sqlx::query_scalar("SELECT given_up_reason FROM payments").fetch_one(ledger.pool()).await.expect("one");
    assert_eq!(reason, Reason::CostExceedsLimit.code());
}
