//! What the ledger lets lanes and watchers do, asked of it directly.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use chrono::TimeDelta;
use quittance::domain::block::Heights;
use quittance::domain::ids::PaymentId;
use quittance::domain::network::Network;
use quittance::domain::reason::Reason;
use quittance::domain::submission::{Fees, Place, SignedAttempt};
use quittance::ledger::Ledger;
use quittance::ledger::blocks::Cursor;
use quittance::ledger::leases::Lease;
use quittance::ledger::signers::SignerRecord;
use quittance::ledger::submissions::{NewSlot, Opened};
use sqlx::{Executor, PgConnection};
use uuid::Uuid;

use crate::support::{database, eventually, flows};

const SIGNER: &str = "0x0000000000000000000000000000000000000005";

/// A payment that somebody waits for, for so many milliseconds more.
async fn queue(ledger: &Ledger, id: u128, milliseconds: i32) -> PaymentId {
    let id = Uuid::from_u128(id);
    let payment = "
        INSERT INTO payments (id, network, key, fingerprint, x402_version, asset, payer, pay_to, amount, payload, expires_at,
                              created_at, answer_by, answer_at, alone, accepted_block, checked_block, payer_code, gas)
        VALUES ($1, 'eip155:84532', uuid_send($1), decode(repeat('00', 32), 'hex'), 2, $3, $3, $3, 1, '{}', now() + interval '1 hour',
                now(), now() + make_interval(secs => $2 / 1000.0), 'included', false, 1, 1, '', 1)";
    let insert = sqlx::query(payment).bind(id).bind(milliseconds).bind(SIGNER);
    insert.execute(ledger.pool()).await.expect("it fits");
    PaymentId::from_uuid(id)
}

async fn hold(ledger: &Ledger) -> Lease {
    let lease = ledger.hold_lease("lane", Uuid::from_u128(1), TimeDelta::minutes(1)).await.expect("the database answers");
    lease.expect("it is free")
}

fn network() -> Network {
    "eip155:84532".parse().expect("a network")
}

/// The token of all of them.
fn assets() -> [String; 1] {
    [SIGNER.to_owned()]
}

/// Records the transfer that pays a payment, in block 9.
async fn land(db: &mut PgConnection, payment: PaymentId, index: i32) {
    let transfer = "INSERT INTO transfers VALUES ('eip155:84532', 'new', $1, 9, '0x02', $2, $2, $2, 1, true)";
    sqlx::query(transfer).bind(index).bind(SIGNER).execute(&mut *db).await.expect("it fits");
    let claim = "INSERT INTO claims VALUES ('eip155:84532', 'new', $1, 9, '0x02', $2)";
    sqlx::query(claim).bind(index).bind(payment.uuid()).execute(db).await.expect("it fits");
}

/// Waits until so many transactions wait for another one.
pub async fn until_waiting(ledger: &Ledger, transactions: i64) {
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("transactions that wait", Duration::from_secs(20), || async {
        let waiting = sqlx::query_scalar::<_, i64>(waiting).fetch_one(ledger.pool()).await.expect("the database answers");
        (waiting >= transactions).then_some(())
    })
    .await;
}

fn attempt(transaction: &str) -> SignedAttempt {
    SignedAttempt {
        transaction: transaction.to_owned(),
        raw: vec![1],
        fees: Fees { fee_per_gas: 1, tip_per_gas: 1 },
        gas_limit: 1,
        cost_max: 1,
        cost_expected: 1,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_nobody_can_be_answered_about_in_time_is_not_begun() {
    let ledger = database::ledger(&database::fresh().await).await;
    queue(&ledger, 1, 150).await;
    let late = queue(&ledger, 2, 60_000).await;

    let taken = ledger.take_queued(&network(), SIGNER, &assets(), 10).await.expect("the database answers");
    assert_eq!(taken.iter().map(|payment| payment.id).collect::<Vec<_>>(), [late]);
    let other_token = ["0x0000000000000000000000000000000000000007".to_owned()];
    let strange = ledger.take_queued(&network(), SIGNER, &other_token, 10).await.expect("the database answers");
    assert!(strange.is_empty(), "of a token that a lane does not know it leaves a payment to others");
    // It was nobody's before either, so that it is not looked at again and again.
    let theirs = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM payments WHERE lane IS NOT NULL");
    assert_eq!(theirs.fetch_one(ledger.pool()).await.expect("the database answers"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_signer_that_cannot_pay_or_is_drained_goes_to_a_neighbour() {
    let ledger = database::ledger(&database::fresh().await).await;
    let neighbour = "0x0000000000000000000000000000000000000006";
    let waiting_in = async |lane| ledger.take_queued(&network(), lane, &assets(), 10).await.expect("the database answers").len();
    let note = async |short, away| {
        let record = SignerRecord { address: SIGNER.to_owned(), name: "base-1".to_owned(), balance: 1, short, away };
        ledger.note_signer(&network(), &record).await.expect("the database answers");
        ledger.note_away(&network(), SIGNER, away).await.expect("the database answers");
    };
    for (before, (short, away, drained)) in
        [(true, false, false), (false, true, false), (false, false, true)].into_iter().enumerate()
    {
        note(false, false).await;
        queue(&ledger, 1 + before as u128, 60_000).await;
        assert_eq!((waiting_in(SIGNER).await, waiting_in(neighbour).await), (1, before));

        note(short, away).await;
        if drained {
            assert!(ledger.drain_lane(&network(), SIGNER, chrono::DateTime::UNIX_EPOCH).await.expect("the database answers"));
        }
        assert_eq!((waiting_in(neighbour).await, waiting_in(SIGNER).await), (before + 1, 0));
    }
    queue(&ledger, 9, 60_000).await;
    assert_eq!(waiting_in(SIGNER).await, 0, "a lane that is drained takes nothing new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_withdrawn_does_not_keep_the_others_from_their_slot() {
    let ledger = database::ledger(&database::fresh().await).await;
    let (first, second) = (queue(&ledger, 1, 60_000).await, queue(&ledger, 2, 60_000).await);
    let taken = ledger.take_queued(&network(), SIGNER, &assets(), 10).await.expect("the database answers");
    assert!(ledger.withdraw(first).await.expect("the database answers"));
    let lease = hold(&ledger).await;
    let (network, bytes, costs, now) = (network(), attempt("0x01"), BTreeMap::new(), chrono::DateTime::UNIX_EPOCH);
    let slot = |payments| NewSlot {
        network: &network,
        signer: SIGNER,
        place: &Place::Nonce(0),
        attempt: &bytes,
        payments,
        costs: &costs,
    };

    let opened = ledger.open_slot(&lease, &slot(&taken), now).await.expect("the database answers");
    assert_eq!(opened, Opened::PaymentsChanged(vec![second]));
    assert!(ledger.open_slots(&network, SIGNER).await.expect("the database answers").is_empty());
    let opened = ledger.open_slot(&lease, &slot(&taken[1..]), now).await.expect("the database answers");
    assert!(matches!(opened, Opened::Committed(_)), "{opened:?}");
}

/// The chain moved on, or another way, between a question to a node and what was to be made of the answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_of_another_block_changes_nothing() {
    let ledger = database::ledger(&database::fresh().await).await;
    let flows = flows::over(ledger.clone(), HashMap::new());
    let rows = "
        INSERT INTO networks (network, cursor_number, cursor_hash, safe_number, final_number) VALUES ('eip155:84532', 9, 'new', 5, 5);
        INSERT INTO submissions (id, network, signer, nonce, fence, created_at)
        VALUES ('00000000-0000-0000-0000-000000000001', 'eip155:84532', '0x0000000000000000000000000000000000000005', 3, 1, now());
    ";
    ledger.pool().execute(rows).await.expect("it fits");
    let (lease, network) = (hold(&ledger).await, network());
    let heights = Heights { head: 9, safe: 5, finalized: 5 };
    let at = |hash: &str| Cursor {
        heights,
        hash: hash.to_owned(),
        halted: None,
        stopped: None,
        copied_to: None,
        accepts_history: false,
    };
    let spent = async || {
        let spent = sqlx::query_scalar::<_, Option<i64>>("SELECT spent_block FROM submissions");
        spent.fetch_one(ledger.pool()).await.expect("the database answers")
    };
    let halted = async || ledger.cursor(&network).await.expect("the database answers").expect("a cursor").halted;

    flows.note_spent(&lease, &network, SIGNER, 3, &at("old")).await.expect("the database answers");
    assert_eq!(spent().await, None);
    flows.note_spent(&lease, &network, SIGNER, 3, &at("new")).await.expect("the database answers");
    assert_eq!(spent().await, Some(9));
    // The signer's nonce has passed this slot, and at the other block it had not.
    for (next, hash, left) in [(3, "old", Some(9)), (4, "new", Some(9)), (3, "new", None)] {
        flows.reopen(&lease, &network, SIGNER, next, &at(hash), 8).await.expect("the database answers");
        assert_eq!(spent().await, left);
    }
    ledger.halt(&network, &"old".to_owned(), "a reason").await.expect("the database answers");
    assert_eq!(halted().await, None);
    ledger.halt(&network, &"new".to_owned(), "a reason").await.expect("the database answers");
    assert_eq!(halted().await.as_deref(), Some("a reason"));
}

/// Somebody else lands payments at the moment in which the lane gives them up or puts them into a slot.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_lands_meanwhile_is_neither_given_up_nor_sent() {
    let ledger = database::ledger(&database::fresh().await).await;
    let flows = flows::over(ledger.clone(), HashMap::new());
    let (first, second) = (queue(&ledger, 1, 60_000).await, queue(&ledger, 2, 60_000).await);
    let taken = ledger.take_queued(&network(), SIGNER, &assets(), 10).await.expect("the database answers");
    let (lease, network) = (hold(&ledger).await, network());
    let (bytes, costs, now) = (attempt("0x01"), BTreeMap::new(), chrono::DateTime::UNIX_EPOCH);
    let payments = &taken[1..];
    let slot = NewSlot { network: &network, signer: SIGNER, place: &Place::Nonce(0), attempt: &bytes, payments, costs: &costs };
    let mut block = ledger.begin().await.expect("the database answers");
    block.execute("SELECT FROM payments ORDER BY id FOR UPDATE").await.expect("the database answers");
    land(&mut block, first, 0).await;
    land(&mut block, second, 1).await;

    let (given_up, opened, ()) = tokio::join!(
        flows.give_up(&lease, &network, first, Reason::TransactionFailed.into()),
        ledger.open_slot(&lease, &slot, now),
        async {
            until_waiting(&ledger, 2).await;
            block.commit().await.expect("the database answers");
        }
    );

    given_up.expect("the database answers");
    assert_eq!(opened.expect("the database answers"), Opened::PaymentsChanged(Vec::new()));
    let touched = "SELECT (SELECT count(*) FROM payments WHERE given_up_at IS NOT NULL) + (SELECT count(*) FROM events)";
    assert_eq!(sqlx::query_scalar::<_, i64>(touched).fetch_one(ledger.pool()).await.expect("the database answers"), 0);
}

/// The claims stand in the block in another order than that of their payments, in which successes are handed out.
#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_and_successes_on_their_way_wait_in_one_order() {
    let ledger = database::ledger(&database::fresh().await).await;
    let flows = flows::over(ledger.clone(), HashMap::new());
    let (first, second) = (queue(&ledger, 1, 60_000).await, queue(&ledger, 2, 60_000).await);
    let cursor = "
        INSERT INTO networks (network, cursor_number, cursor_hash, safe_number, final_number)
        VALUES ('eip155:84532', 9, 'new', 5, 5);
    ";
    ledger.pool().execute(cursor).await.expect("it fits");
    let mut handing_out = ledger.begin().await.expect("the database answers");
    land(&mut handing_out, second, 0).await;
    land(&mut handing_out, first, 1).await;
    handing_out.commit().await.expect("the database answers");
    let mut handing_out = ledger.begin().await.expect("the database answers");
    let take = async |db: &mut PgConnection, payment: PaymentId| {
        let locks =
            "SELECT p.id FROM payments p JOIN claims c ON c.payment_id = p.id WHERE p.id = $1 FOR UPDATE OF p FOR KEY SHARE OF c";
        sqlx::query(locks).bind(payment.uuid()).execute(db).await.map(|_| ())
    };
    take(&mut handing_out, first).await.expect("nobody else is there");
    let (lease, network) = (hold(&ledger).await, network());

    let (undone, taken) = tokio::join!(flows.reorg(&lease, &network, (8, "old".to_owned())), async {
        until_waiting(&ledger, 1).await;
        take(&mut handing_out, second).await?;
        handing_out.commit().await
    });

    taken.expect("it waits for nobody");
    undone.expect("it waits its turn");
    let left = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM claims").fetch_one(ledger.pool()).await;
    assert_eq!(left.expect("the database answers"), 0);
}

/// A node that names a nonce which is far too low, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn one_answer_given_often_opens_no_more_slots_than_given_once() {
    let ledger = database::ledger(&database::fresh().await).await;
    let flows = flows::over(ledger.clone(), HashMap::new());
    let rows = "
        INSERT INTO networks (network, cursor_number, cursor_hash, safe_number, final_number)
        VALUES ('eip155:84532', 9, 'new', 5, 5);
        INSERT INTO submissions (id, network, signer, nonce, fence, created_at, spent_block)
        SELECT gen_random_uuid(), 'eip155:84532', '0x0000000000000000000000000000000000000005', nonce, 1, now(), 7
        FROM generate_series(0, 30) AS nonce;
    ";
    ledger.pool().execute(rows).await.expect("it fits");
    let (lease, heights) = (hold(&ledger).await, Heights { head: 9, safe: 5, finalized: 5 });
    let seen = Cursor { heights, hash: "new".to_owned(), halted: None, stopped: None, copied_to: None, accepts_history: false };

    for reopened in [8, 0, 0] {
        let opened = flows.reopen(&lease, &network(), SIGNER, 3, &seen, 8).await;
        assert_eq!(opened.expect("the database answers"), reopened);
    }

    let open = sqlx::query_scalar::<_, i64>("SELECT nonce FROM submissions WHERE spent_block IS NULL ORDER BY nonce");
    let open = open.fetch_all(ledger.pool()).await.expect("the database answers");
    assert_eq!(open, (3..11).collect::<Vec<_>>());
}

/// At the same prices the same payments give the same transaction.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_come_out_as_they_were_before_they_were_erased_are_kept_again() {
    let ledger = database::ledger(&database::fresh().await).await;
    queue(&ledger, 1, 60_000).await;
    let payments = ledger.take_queued(&network(), SIGNER, &assets(), 10).await.expect("the database answers");
    let (lease, network) = (hold(&ledger).await, network());
    let (bytes, costs, now) = (attempt("0x01"), BTreeMap::new(), chrono::DateTime::UNIX_EPOCH);
    let slot = NewSlot {
        network: &network,
        signer: SIGNER,
        place: &Place::Nonce(0),
        attempt: &bytes,
        payments: &payments,
        costs: &costs,
    };
    ledger.open_slot(&lease, &slot, now).await.expect("the database answers");
    ledger.pool().execute("UPDATE attempts SET raw = NULL, erased_at = now()").await.expect("the database answers");
    let slot = async || ledger.open_slots(&network, SIGNER).await.expect("the database answers").remove(0);
    let erased = slot().await;
    assert_eq!(erased.raw, None);

    let later = now + TimeDelta::hours(1);
    let added = ledger.add_attempt(&lease, &network, &erased, &bytes, &payments, later).await;

    assert!(added.expect("the database answers"));
    let kept = slot().await;
    assert_eq!((kept.raw.as_ref(), kept.transaction, kept.signed_at), (Some(&bytes.raw), bytes.transaction, later));
    assert!(kept.attempt > erased.attempt, "it is the newest");
}
