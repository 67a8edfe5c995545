//! Summaries and lists of a ledger that is full: what is counted, and in which order it is read.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use quittance::domain::ids::AccountId;
use quittance::ledger::payments::PaymentFilter;
use quittance::ledger::summaries::COUNTED_MAX;
use quittance::ledger::{Ledger, LedgerError};
use uuid::Uuid;

use crate::support::database;
use crate::support::postgres_proxy::PostgresProxy;

const SOMEBODY: &str = "00000000-0000-7000-8000-0000000000aa";

/// Payments, one every five seconds up to now. Somebody asks for every second of them and is paid by every third one.
const PAYMENTS: &str = "
    INSERT INTO accounts VALUES ('00000000-0000-7000-8000-0000000000aa', 'somebody', now());
    INSERT INTO payments (id, network, key, fingerprint, x402_version, asset, payer, pay_to, amount, payload, expires_at, created_at,
                          answer_by, answer_at, alone, accepted_block, checked_block, payer_code, gas, provider_id, merchant_id)
    SELECT (lpad(to_hex((extract(epoch FROM made) * 1000)::bigint), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid,
           'eip155:84532', int4send(n), sha256(int4send(n)), 2, '0x0000000000000000000000000000000000000001',
           '0x0000000000000000000000000000000000000002', '0x0000000000000000000000000000000000000003', 1, '{}', made, made, made,
           'included', false, 1, 1, '', 1,
           CASE WHEN n % 2 = 0 THEN '00000000-0000-7000-8000-0000000000aa'::uuid END,
           CASE WHEN n % 3 = 0 THEN '00000000-0000-7000-8000-0000000000aa'::uuid END
    FROM (SELECT n, now() - make_interval(secs => 5 * n) AS made FROM generate_series(1, COUNT) AS n) n;
    ANALYZE payments;
";

async fn filled(count: u32) -> (Ledger, AccountId) {
    let ledger = database::ledger(&database::fresh().await).await;
    let payments = PAYMENTS.replace("COUNT", &count.to_string());
    sqlx::raw_sql(sqlx::AssertSqlSafe(payments)).execute(ledger.pool()).await.expect("they fit");
    (ledger, AccountId::from_uuid(SOMEBODY.parse::<Uuid>().expect("a name")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_is_too_small_is_called_so() {
    let (ledger, account) = filled(COUNTED_MAX + 10).await;
    let from = Utc::now() - TimeDelta::days(13);

    let mut summaries = ledger.summaries().await.expect("the database answers");
    let all = summaries.all_payments_by_day(from).await.expect("the database answers");
    let own = summaries.payments_by_day(account, from).await.expect("the database answers");

    let sum = |days: &[quittance::ledger::summaries::Day]| days.iter().map(|day| day.asked).sum::<u64>();
    assert_eq!((all.is_cut, sum(&all.of)), (true, u64::from(COUNTED_MAX) + 1));
    let expected = (1..=COUNTED_MAX + 10).filter(|number| number % 2 == 0 || number % 3 == 0).count();
    assert_eq!((own.is_cut, sum(&own.of)), (false, expected as u64), "each once, whichever role the account has in it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_that_takes_long_is_given_up_and_changes_nothing() {
    let (ledger, account) = filled(1).await;
    let mut held = ledger.pool().begin().await.expect("the database answers");
    sqlx::query("LOCK TABLE payments IN ACCESS EXCLUSIVE MODE").execute(&mut *held).await.expect("nobody else holds it");
    let mut summaries = ledger.summaries().await.expect("the database answers");

    let started = std::time::Instant::now();
    let given_up = summaries.payments_by_day(account, Utc::now()).await;

    assert!(matches!(given_up, Err(LedgerError::Unavailable(_))), "{given_up:?}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_lists_what_it_asked_for_and_what_it_is_paid_by_once_and_in_order() {
    let (ledger, account) = filled(100).await;
    let mut filter = PaymentFilter { account: Some(account), limit: 7, ..PaymentFilter::default() };

    let mut listed = Vec::new();
    loop {
        let page = ledger.list_payments(&filter).await.expect("the database answers");
        let Some(last) = page.last() else { break };
        filter.before = Some(last.id);
        listed.extend(page.iter().map(|payment| payment.id.uuid()));
    }

    let query = "SELECT id FROM payments WHERE $1 IN (provider_id, merchant_id) ORDER BY id DESC";
    let expected = sqlx::query_scalar::<_, Uuid>(query).bind(account.uuid()).fetch_all(ledger.pool()).await;
    assert_eq!(listed, expected.expect("the database answers"));
    assert_eq!(listed.len(), (1..=100).filter(|number| number % 2 == 0 || number % 3 == 0).count());
}

/// Whoever looks at an overview may leave at any moment, and so may whoever asks for a payment.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_nobody_waits_for_is_over_before_its_connection_is_somebody_else_s() {
    let url = database::fresh().await;
    database::ledger(&url).await;
    // A way that takes a moment, as one over a network does.
    let postgres = PostgresProxy::start(&url).await;
    let ledger = Ledger::connect(&postgres.url, 1, TimeDelta::seconds(5)).await.expect("the database answers");
    let shown = "SELECT current_setting('transaction_read_only') || ' ' || current_setting('statement_timeout')";
    let mut left = 0;
    for polls in 0..40 {
        let mut begun = std::pin::pin!(ledger.summaries());
        let mut is_begun = false;
        for _ in 0..polls {
            is_begun = is_begun || futures_util::poll!(begun.as_mut()).is_ready();
            // Long enough for the next part of an answer, and too short for the clock of the runtime.
            std::thread::sleep(Duration::from_micros(50));
        }
        left += u32::from(!is_begun);
        begun.set(ledger.summaries());
        // The one connection.
        let shown = sqlx::query_scalar::<_, String>(shown).fetch_one(ledger.pool()).await.expect("the database answers");
        assert_eq!(shown, "off 0", "after somebody left at the {polls}th look");
    }
    assert!(left > 2, "it was too quick to be left: {left}");
}
