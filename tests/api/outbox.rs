//! The outbox and the deliveries, asked of the ledger directly: what replicas and crashes cannot confuse.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use quittance::domain::ids::{AccountId, WebhookId};
use quittance::ledger::deliveries::{self, Claimed, Trace};
use quittance::ledger::leases::Lease;
use quittance::ledger::{Ledger, LedgerError};
use serde_json::{Value, json};
use sqlx::Executor;
use uuid::Uuid;

use crate::support::{database, flows};

const ACCOUNT: &str = "00000000-0000-0000-0000-0000000000aa";
const WEBHOOK: &str = "00000000-0000-0000-0000-0000000000bb";

/// An account with a webhook, and two owners of nothing yet.
async fn start() -> Ledger {
    let ledger = database::ledger(&database::fresh().await).await;
    let rows = "
        INSERT INTO accounts VALUES ('00000000-0000-0000-0000-0000000000aa', 'somebody', now());
        INSERT INTO webhooks (id, account_id, url, events, secret, created_at)
        VALUES ('00000000-0000-0000-0000-0000000000bb', '00000000-0000-0000-0000-0000000000aa', 'https://a.example/',
                '{invoice.paid}', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', now());
    ";
    ledger.pool().execute(rows).await.expect("they fit");
    ledger
}

fn account() -> AccountId {
    AccountId::from_uuid(ACCOUNT.parse().expect("a name"))
}

fn webhook() -> WebhookId {
    WebhookId::from_uuid(WEBHOOK.parse().expect("a name"))
}

/// Writes an event with this number in its name.
async fn happen(ledger: &Ledger, number: u128, account: Option<&str>, kind: &str) {
    let event = "INSERT INTO events (id, account_id, kind, data, created_at) VALUES ($1, $2, $3, '{\"a\": 1}', now())";
    let account = account.map(|account| account.parse::<Uuid>().expect("a name"));
    let insert = sqlx::query(event).bind(Uuid::from_u128(number)).bind(account).bind(kind);
    insert.execute(ledger.pool()).await.expect("it fits");
}

async fn hold(ledger: &Ledger, owner: u128) -> Option<Lease> {
    ledger.hold_lease("outbox", Uuid::from_u128(owner), TimeDelta::minutes(1)).await.expect("the database answers")
}

async fn drain(ledger: &Ledger, lease: &Lease) -> Result<bool, LedgerError> {
    flows::over(ledger.clone(), HashMap::new()).drain_outbox(lease).await
}

async fn count(ledger: &Ledger, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(ledger.pool()).await.expect("the database answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_into_the_stream_in_order_and_once_and_those_of_nobody_never() {
    let ledger = start().await;
    for (number, account, kind) in
        [(3, Some(ACCOUNT), "invoice.paid"), (1, Some(ACCOUNT), "invoice.seen"), (2, None, "payment.failed")]
    {
        happen(&ledger, number, account, kind).await;
    }
    let lease = hold(&ledger, 1).await.expect("it is free");

    assert!(!drain(&ledger, &lease).await.expect("the database answers"));
    happen(&ledger, 4, Some(ACCOUNT), "invoice.paid").await;
    assert!(!drain(&ledger, &lease).await.expect("the database answers"));
    assert!(!drain(&ledger, &lease).await.expect("the database answers"));

    let told = ledger.events_after(account(), 0, 10).await.expect("the database answers");
    let ids: Vec<_> = told
        .iter()
        .map(|event| {
            let body: Value = serde_json::from_str(&event.body).expect("JSON");
            assert_eq!((&body["type"], &body["data"]["a"]), (&json!(event.kind), &json!(1)));
            body["data"]["event"].as_str().expect("a name").to_owned()
        })
        .collect();
    let name = |number: u32| format!("evt_{number:032}");
    assert_eq!(ids, [name(1), name(3), name(4)]);
    assert!(told.windows(2).all(|pair| pair[0].position < pair[1].position), "{told:?}");
    assert_eq!(ledger.events_after(account(), told[0].position, 10).await.expect("the database answers"), told[1..]);
    assert_eq!(ledger.newest_position(account()).await.expect("the database answers"), told[2].position);
    // The webhook wants one type of them.
    assert_eq!(count(&ledger, "SELECT count(*) FROM deliveries WHERE attempts = 0 AND next_at <= now()").await, 2);
    assert_eq!(count(&ledger, "SELECT count(*) FROM events WHERE position IS NULL").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_lost_its_lease_puts_nothing_into_the_stream() {
    let ledger = start().await;
    happen(&ledger, 1, Some(ACCOUNT), "invoice.paid").await;
    let old = hold(&ledger, 1).await.expect("it is free");
    assert!(hold(&ledger, 2).await.is_none(), "it is taken");
    ledger.release_lease(&old).await.expect("the database answers");
    let new = hold(&ledger, 2).await.expect("it is free again");

    assert!(matches!(drain(&ledger, &old).await, Err(LedgerError::LeaseLost)));
    assert_eq!(count(&ledger, "SELECT count(*) FROM events WHERE position IS NOT NULL").await, 0);
    drain(&ledger, &new).await.expect("the database answers");
    assert_eq!(count(&ledger, "SELECT count(*) FROM deliveries").await, 1);
}

/// Makes so many deliveries that are due.
async fn due(ledger: &Ledger, deliveries: u128) {
    for number in 1..=deliveries {
        happen(ledger, number, Some(ACCOUNT), "invoice.paid").await;
    }
    let lease = hold(ledger, 1).await.expect("it is free");
    drain(ledger, &lease).await.expect("the database answers");
}

async fn claim(ledger: &Ledger, busy: &[WebhookId], at: DateTime<Utc>) -> Vec<Claimed> {
    ledger.claim_deliveries(busy, (at, at + TimeDelta::minutes(1)), 4).await.expect("the database answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_part_the_deliveries_between_them() {
    let ledger = start().await;
    due(&ledger, 20).await;
    let now = Utc::now() + TimeDelta::seconds(1);

    assert!(claim(&ledger, &[webhook()], now).await.is_empty(), "a busy webhook gets no more");
    let claims = join_all((0..8).map(|_| claim(&ledger, &[], now))).await;

    let all: Vec<_> = claims.iter().flatten().map(|claimed| claimed.id).collect();
    assert!(claims.iter().all(|claimed| claimed.len() <= 4));
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "nobody has what another one has");
    let rest = claim(&ledger, &[], now).await.len() + claim(&ledger, &[], now).await.len() + claim(&ledger, &[], now).await.len();
    assert!(all.len() + rest == 20 && claim(&ledger, &[], now).await.is_empty(), "{} and {rest}", all.len());
    // What nobody has said anything of is due again when the claims have run out.
    assert_eq!(claim(&ledger, &[], now + TimeDelta::seconds(59)).await.len(), 0);
    let again = claim(&ledger, &[], now + TimeDelta::seconds(61)).await;
    assert!(again.len() == 4 && again.iter().all(|claimed| claimed.attempt == 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_late_with_a_failure_changes_nothing_and_a_success_counts_in_any_case() {
    let ledger = start().await;
    due(&ledger, 1).await;
    let now = Utc::now() + TimeDelta::seconds(1);
    let late = claim(&ledger, &[], now).await.remove(0);
    let second = claim(&ledger, &[], now + TimeDelta::minutes(2)).await.remove(0);
    assert_eq!((late.id, late.attempt, second.attempt), (second.id, 1, 2));
    let mut db = ledger.acquire().await.expect("a connection");
    let trace = Trace { status: Some(500), failure: None, excerpt: Some("no".to_owned()) };

    deliveries::postpone(&mut db, &late, &trace, now).await.expect("the database answers");
    assert!(!deliveries::give_up(&mut db, &late, &trace, now).await.expect("the database answers"));
    assert_eq!(count(&ledger, "SELECT count(*) FROM deliveries WHERE last_status IS NULL AND next_at > now()").await, 1);

    assert!(deliveries::give_up(&mut db, &second, &trace, now).await.expect("the database answers"));
    deliveries::arrive(&mut db, late.id, 200, now).await.expect("the database answers");
    let arrived = "SELECT count(*) FROM deliveries WHERE delivered_at IS NOT NULL AND given_up_at IS NULL AND last_status = 200";
    assert_eq!(count(&ledger, arrived).await, 1);
    deliveries::postpone(&mut db, &second, &trace, now).await.expect("the database answers");
    assert_eq!(count(&ledger, arrived).await, 1);
}
