//! Lanes: who runs them, what they do about transactions that do not land, and what they do without money.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use quittance::domain::reason::Reason;
use serde_json::{Value, json};

use super::{PATIENCE, SEND, World, is_full, is_success, reason, report, scale};
use crate::support::chain::{ChainOptions, hex};
use crate::support::eventually;
use crate::support::facilitator::{Facilitator, Options};
use crate::support::payer::Signed;
use crate::support::proxy::{Act, Proxy};

async fn owns(facilitator: &Facilitator, lease: &str) -> bool {
    facilitator.metric(&format!("quittance_lease_held{{lease=\"{lease}")).await == 1.0
}

#[tokio::test(flavor = "multi_thread")]
async fn another_replica_takes_over_from_one_that_stands_still() {
    let rounds = scale(1, 10);
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let options = world.options(&[&proxy]);
    let mut replicas = vec![Facilitator::start(&options).await];
    eventually("a first owner", PATIENCE, || async {
        (owns(&replicas[0], "lane").await && owns(&replicas[0], "watcher").await).then_some(())
    })
    .await;
    replicas.push(Facilitator::start(&options).await);
    let (mut paid, mut slowest, mut owner, mut wrong) = (Vec::new(), Duration::ZERO, 0, 0);
    for round in 0..rounds {
        let other = 1 - owner;
        // A payment that its owner has in hand when it is stopped, and one that comes after.
        let (under_way, later) = (world.signed(2 * round), world.signed(2 * round + 1));
        let (caller, body, sends) = (replicas[other].caller(), under_way.v2(), proxy.calls(SEND));
        let asked = tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await });
        eventually("a send", PATIENCE, || async { (proxy.calls(SEND) > sends).then_some(()) }).await;
        replicas[owner].signal("STOP");
        let started = Instant::now();
        let second = replicas[other].settle_patiently(&later.v2(), PATIENCE).await;
        slowest = slowest.max(started.elapsed());
        let first = asked.await.expect("no panic");
        replicas[owner].signal("CONT");
        // The one that slept is of use again, and neither writes nor sends what it had in mind.
        let third = world.signed(2 * round + 2);
        let awake = replicas[owner].settle_patiently(&third.v2(), PATIENCE).await;
        wrong += [&first, &second, &awake].iter().filter(|answer| !is_success(answer)).count();
        paid.extend([under_way, later, third]);
        eventually("one owner", PATIENCE, || async { (!owns(&replicas[owner], "lane").await).then_some(()) }).await;
        owner = other;
    }
    world.until_idle().await;
    let (violations, sent) = (world.violations(&paid, 0).await, proxy.sent().len());
    report(
        "lanes takeover",
        &format!(
            "{rounds} owners stopped: paid by another within {slowest:?}, {} payments in {sent} transactions, {wrong} wrong, {violations} violations",
            paid.len()
        ),
    );
    assert_eq!((wrong, violations), (0, 0));
    assert!(sent <= paid.len(), "{sent}");
    assert!(!is_full() || slowest <= Duration::from_secs(9), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_whose_signer_runs_out_leaves_the_offer() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let signer = world.chain.text("/accounts/signers/0/address");
    let fund = async |wei: &str| drop(world.chain.rpc("anvil_setBalance", json!([signer, wei])).await);
    // Less than the reserve of 0.001 ether, and enough for a few payments.
    fund("0x2386f26fc1000").await;
    let facilitator = Facilitator::start(&world.options(&[&proxy])).await;
    let offered = async || facilitator.get("/supported").await.1["kinds"].as_array().map_or(0, Vec::len);
    let short = async || facilitator.metric("quittance_signer_short").await;
    eventually("an alarm", PATIENCE, || async { (short().await == 1.0 && offered().await == 0).then_some(()) }).await;
    fund("0xde0b6b3a7640000").await;
    let started = Instant::now();
    eventually("the end of the alarm", PATIENCE, || async { (short().await == 0.0 && offered().await > 0).then_some(()) }).await;
    let signed = world.signed(0);
    let answer = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
    let violations = world.violations(&[signed], 0).await;
    report(
        "lanes short",
        &format!(
            "not offered while the signer was short, offered {:?} after it was funded, {violations} violations",
            started.elapsed()
        ),
    );
    assert!(is_success(&answer), "{answer}");
    assert_eq!(violations, 0);
}

/// Settles while no block comes, up to the moment at which the pool has the transaction; returns the answer to wait for.
async fn settle_into_pool(world: &World, facilitator: &Facilitator, signed: &Signed) -> (tokio::task::JoinHandle<Value>, String) {
    world.mining(false).await;
    let (caller, body) = (facilitator.caller(), signed.v2());
    let asked = tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await });
    let hash = eventually("a transaction in the pool", PATIENCE, || async {
        let pool = world.chain.rpc("txpool_content", json!([])).await;
        let account = pool["pending"].as_object()?.values().next()?.as_object()?;
        Some(account.values().next()?["hash"].as_str()?.to_owned())
    })
    .await;
    (asked, hash)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_pool_lost_is_sent_again() {
    let rounds = scale(1, 10);
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines.push_str("resend_after_ms = 1000\n");
    let facilitator = Facilitator::start(&options).await;
    let mut paid = Vec::new();
    for round in 0..rounds {
        let signed = world.signed(round);
        let (asked, hash) = settle_into_pool(&world, &facilitator, &signed).await;
        let sends = proxy.calls(SEND);
        world.chain.rpc("anvil_dropTransaction", json!([hash])).await;
        eventually("the same again", PATIENCE, || async { (proxy.calls(SEND) > sends).then_some(()) }).await;
        world.mining(true).await;
        let answer = asked.await.expect("no panic");
        assert!(is_success(&answer) && answer["transaction"] == json!(hash), "{answer}");
        paid.push(signed);
    }
    let (violations, sent) = (world.violations(&paid, 0).await, proxy.sent().len());
    report(
        "lanes dropped",
        &format!("{rounds} transactions lost by the pool: {sent} distinct ones sent, {violations} violations"),
    );
    assert_eq!((sent, violations), (rounds, 0));
}

/// The price of gas on the chain of the tests, in wei.
const USUAL: &str = "0x989680";

/// Mines a block at a price, and waits until the watcher has read it.
async fn mine_at(world: &World, price: &str) {
    world.chain.rpc("anvil_setNextBlockBaseFeePerGas", json!([price])).await;
    world.chain.mine(1).await;
    let height = world.chain.height().await as i64;
    let read = "SELECT cursor_number FROM networks";
    eventually("the watcher at the head", PATIENCE, || async { (world.count(read).await >= height).then_some(()) }).await;
}

/// The most that one settlement may cost: 0.001 ether.
const COST_MAX: &str = "SELECT count(*) FROM attempts WHERE cost_wei_max > 1000000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_became_too_cheap_is_outbid_within_the_limit() {
    let rounds = scale(1, 5);
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines.push_str("resend_after_ms = 1000\noutbid_after_ms = 2000\n");
    let facilitator = Facilitator::start(&options).await;
    let mut paid = Vec::new();
    for round in 0..rounds {
        // Two hundred times the price, which is within the limit for one payment, until more is offered.
        let signed = world.signed(round);
        let (asked, _) = settle_into_pool(&world, &facilitator, &signed).await;
        while !asked.is_finished() {
            mine_at(&world, "0x77359400").await;
        }
        let answer = asked.await.expect("no panic");
        assert!(is_success(&answer), "{answer}");
        paid.push(signed);
        mine_at(&world, USUAL).await;
        world.until_idle().await;
    }
    let outbid = world.count("SELECT count(*) FROM attempts WHERE number > 1").await;

    // Ten thousand times the price is not: nothing is offered, the old bytes stay out, and nobody is pestered.
    let signed = world.signed(rounds);
    let (asked, _) = settle_into_pool(&world, &facilitator, &signed).await;
    let attempts = world.count("SELECT count(*) FROM attempts").await;
    proxy.reset();
    for _ in 0..5 {
        mine_at(&world, "0x174876e800").await;
        let sends = proxy.calls(SEND);
        eventually("another send", PATIENCE, || async { (proxy.calls(SEND) > sends).then_some(()) }).await;
    }
    let sends_while_too_dear = proxy.calls(SEND);
    let calls_while_too_dear = proxy.all_calls().values().sum::<u64>();
    assert_eq!(world.count("SELECT count(*) FROM attempts").await, attempts);
    while !asked.is_finished() {
        mine_at(&world, USUAL).await;
    }
    let answer = asked.await.expect("no panic");
    assert!(is_success(&answer), "{answer}");
    paid.push(signed);
    let (violations, above) = (world.violations(&paid, 0).await, world.count(COST_MAX).await);
    report(
        "lanes outbid",
        &format!(
            "{rounds} slots at 200 times the price: {outbid} attempts that offered more, {above} above the limit; at 10,000 times: \
             {sends_while_too_dear} sends, {calls_while_too_dear} calls in 5 blocks, then paid; {violations} violations"
        ),
    );
    assert!(outbid >= rounds as i64);
    assert_eq!((above, violations), (0, 0));
    assert!(sends_while_too_dear <= 10, "{sends_while_too_dear}");
}

/// The account's nonce goes back below an open slot, as after a reorganisation that dropped somebody else's transactions.
#[tokio::test(flavor = "multi_thread")]
async fn a_gap_below_a_slot_is_filled() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let signer = world.chain.text("/accounts/signers/0/address");
    let nonce = async |nonce: &str| drop(world.chain.rpc("anvil_setNonce", json!([signer, nonce])).await);
    nonce("0x2").await;
    world.chain.mine(1).await;
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines.push_str("resend_after_ms = 1000\noutbid_after_ms = 2000\n");
    let facilitator = Facilitator::start(&options).await;
    let signed = world.signed(0);
    let (asked, _) = settle_into_pool(&world, &facilitator, &signed).await;
    world.chain.rpc("anvil_dropAllTransactions", json!([])).await;
    nonce("0x0").await;
    world.mining(true).await;
    let answer = asked.await.expect("no panic");
    world.until_idle().await;
    let fillers = world.count("SELECT count(*) FROM submissions WHERE nonce < 2 AND spent_block IS NOT NULL").await;
    let violations = world.violations(&[signed], 0).await;
    report("lanes gap", &format!("2 nonces below a slot: {fillers} filled, then paid; {violations} violations"));
    assert!(is_success(&answer), "{answer}");
    assert_eq!((fillers, violations), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_signers_share_the_work() {
    let payments = scale(60, 300);
    let world = World::new(ChainOptions { payers: 30, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].keys.push(world.chain.text("/accounts/signers/1/key"));
    options.networks[0].lines.push_str("batch_max = 10\n");
    let facilitator = Facilitator::start(&options).await;
    let paid: Vec<Signed> = (0..payments).map(|number| world.signed(number)).collect();
    let answers = join_all(paid.iter().map(|signed| async { facilitator.settle_patiently(&signed.v2(), PATIENCE).await })).await;
    let wrong: Vec<_> = answers.iter().filter(|answer| !is_success(answer)).map(reason).collect();
    let mut senders = BTreeSet::new();
    for transaction in answers.iter().filter_map(|answer| answer["transaction"].as_str()).collect::<BTreeSet<_>>() {
        senders.insert(world.chain.receipt(transaction).await["from"].to_string());
    }
    let violations = world.violations(&paid, 0).await;
    report(
        "lanes signers",
        &format!(
            "{payments} payments by {} of 2 signers in {} transactions, {} wrong, {violations} violations",
            senders.len(),
            proxy.sent().len(),
            wrong.len()
        ),
    );
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!((senders.len(), violations), (2, 0));
}

/// A signer that cannot pay must not keep payments from one that can.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_signer_does_not_keep_payments_from_a_rich_one() {
    let payments = scale(20, 100);
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let empty = world.chain.text("/accounts/signers/0/address");
    world.chain.rpc("anvil_setBalance", json!([empty, "0x0"])).await;
    let mut options = world.options(&[&proxy]);
    options.networks[0].keys.push(world.chain.text("/accounts/signers/1/key"));
    let facilitator = Facilitator::start(&options).await;
    let paid: Vec<Signed> = (0..payments).map(|number| world.signed(number)).collect();
    let mut failed = 0;
    for signed in &paid {
        let answer = facilitator.settle(&signed.v2()).await.1;
        failed += usize::from(!is_success(&answer));
    }
    let violations = world.violations(&paid, 0).await;
    let offered = facilitator.get("/supported").await.1["kinds"].as_array().map_or(0, Vec::len);
    report(
        "lanes empty signer",
        &format!("{payments} payments with one of two signers empty: {failed} failed, {violations} violations"),
    );
    assert_eq!((failed, violations), (0, 0));
    assert!(offered > 0);
    assert_eq!(hex(&world.chain.rpc("eth_getTransactionCount", json!([empty, "latest"])).await), 0);
}

/// One node says once that the signer's nonce is far ahead, and everything that was noted on its word must be put right.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_one_answer_called_spent_is_sent_again() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines.push_str("resend_after_ms = 1000\noutbid_after_ms = 2000\n");
    let facilitator = Facilitator::start(&options).await;
    let signed = [world.signed(0), world.signed(1), world.signed(2)];
    let first = facilitator.settle_patiently(&signed[0].v2(), PATIENCE).await;
    world.until_idle().await;
    // What the node says: first the lie, then nothing about nonces, so that what was noted can be seen, then the truth.
    let stage = Arc::new(AtomicU8::new(0));
    let said = Arc::clone(&stage);
    proxy.rule(move |method, params, _| match (method, said.load(Ordering::Relaxed)) {
        // The look at the balance asks at the newest block, by its name.
        ("eth_getTransactionCount", 0) if params[1].is_object() => {
            said.store(1, Ordering::Relaxed);
            Act::Answer(json!("0x5"))
        }
        ("eth_getTransactionCount", 1) if params[1].is_object() => Act::Status(500),
        (SEND, 0) => Act::Answer(json!({"jsonrpc": "2.0", "error": {"code": -32000, "message": "nonce too low"}})),
        _ => Act::Forward,
    });
    world.mining(false).await;
    let (caller, body) = (facilitator.caller(), signed[1].v2());
    let asked = tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await });
    world.until("a slot called spent", "SELECT count(*) FROM submissions WHERE nonce = 1 AND spent_block IS NOT NULL").await;
    stage.store(2, Ordering::Relaxed);
    world.until("the slot open again", "SELECT count(*) FROM submissions WHERE nonce = 1 AND spent_block IS NULL").await;
    world.mining(true).await;
    let second = asked.await.expect("no panic");
    let third = facilitator.settle_patiently(&signed[2].v2(), PATIENCE).await;
    world.until_idle().await;
    let (slots, violations) = (world.count("SELECT count(*) FROM submissions").await, world.violations(&signed, 0).await);
    report(
        "lanes called spent",
        &format!("one lie about a nonce, then paid and paid on through {slots} slots; {violations} violations"),
    );
    assert!([&first, &second, &third].iter().all(|answer| is_success(answer)), "{first} {second} {third}");
    assert_eq!((slots, violations), (3, 0));
}

/// The account's nonce goes back below slots that were spent, as where a history was accepted that nobody can compare any more.
#[tokio::test(flavor = "multi_thread")]
async fn spent_slots_that_the_chain_does_not_know_are_filled() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines.push_str("resend_after_ms = 1000\noutbid_after_ms = 2000\n");
    let facilitator = Facilitator::start(&options).await;
    let signed = [world.signed(0), world.signed(1), world.signed(2)];
    for signed in &signed[..2] {
        let answer = facilitator.settle_patiently(&signed.v2(), PATIENCE).await;
        assert!(is_success(&answer), "{answer}");
        world.until_idle().await;
    }
    let erased = sqlx::query("UPDATE attempts SET raw = NULL, erased_at = clock_timestamp()").execute(world.ledger.pool()).await;
    assert_eq!(erased.expect("the database answers").rows_affected(), 2);
    let signer = world.chain.text("/accounts/signers/0/address");
    world.chain.rpc("anvil_setNonce", json!([signer, "0x0"])).await;
    world.chain.mine(1).await;
    let last = facilitator.settle_patiently(&signed[2].v2(), PATIENCE).await;
    world.until_idle().await;
    let (slots, violations) = (world.count("SELECT count(*) FROM submissions").await, world.violations(&signed, 0).await);
    report(
        "lanes forgotten nonces",
        &format!("2 spent slots open again, then paid through {slots} slots; {violations} violations"),
    );
    assert!(is_success(&last), "{last}");
    assert_eq!((slots, violations), (3, 0));
}

/// A payment is given up while a slot carries it, as when its authorization was used for something else in a block that is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_given_up_is_not_sent_again() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines.push_str("resend_after_ms = 1000\noutbid_after_ms = 60000\n");
    let facilitator = Facilitator::start(&options).await;
    proxy.rule(|method, _, _| if method == SEND { Act::Swallow } else { Act::Forward });
    let signed = [world.signed(0), world.signed(1)];
    let (caller, body) = (facilitator.caller(), signed[0].v2());
    let asked = tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await });
    world.until("a slot", "SELECT count(*) FROM payments WHERE submission_id IS NOT NULL").await;
    let given_up = "UPDATE payments SET given_up_at = clock_timestamp(), given_up_reason = 'settlement_reversed'";
    sqlx::query(given_up).execute(world.ledger.pool()).await.expect("the database answers");
    proxy.behave();
    world.until_idle().await;
    let uses = world.chain.uses_of(&signed[0]).await.len();
    let answer = asked.await.expect("no panic");
    let attempts = world.count("SELECT count(*) FROM attempts").await;
    let next = facilitator.settle_patiently(&signed[1].v2(), PATIENCE).await;
    let violations = world.violations(&signed[1..], 0).await;
    report("lanes given up", &format!("{attempts} attempts, {uses} transfers, then paid on; {violations} violations"));
    assert!(!is_success(&answer) && is_success(&next), "{answer} {next}");
    assert_eq!((attempts, uses, violations), (2, 0, 0));
}

/// The signer has more than its reserve, but not enough for all that waits at once, because the price of gas rose.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_the_signer_cannot_pay_goes_in_parts() {
    let payments = 6;
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines.push_str("in_flight_max = 1\n");
    let facilitator = Facilitator::start(&options).await;
    world.until("a beginning", "SELECT count(*) FROM networks").await;
    world.mining(false).await;
    mine_at(&world, "0x77359400").await;
    let first = world.signed(0);
    let (asked, _) = settle_into_pool(&world, &facilitator, &first).await;
    let signer = world.chain.text("/accounts/signers/0/address");
    world.chain.rpc("anvil_setBalance", json!([signer, "0x5543df729c000"])).await;
    world.until("a look at the balance", "SELECT count(*) FROM signers WHERE balance_wei = 1500000000000000").await;
    let mut paid: Vec<Signed> = (1..=payments).map(|number| world.signed(number)).collect();
    let answers = paid.iter().map(|signed| {
        let (caller, body) = (facilitator.caller(), signed.v2());
        tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await })
    });
    let answers: Vec<_> = answers.collect();
    // All others gather behind the first one.
    world.until("the others", "SELECT count(*) / 7 FROM payments").await;
    mine_at(&world, "0x77359400").await;
    world.mining(true).await;
    let mut failed = usize::from(!is_success(&asked.await.expect("no panic")));
    for answer in answers {
        failed += usize::from(!is_success(&answer.await.expect("no panic")));
    }
    paid.push(first);
    world.until_idle().await;
    let (slots, violations) = (world.count("SELECT count(*) FROM submissions").await, world.violations(&paid, 0).await);
    report("lanes poor signer", &format!("{payments} payments in {slots} slots, {failed} failed, {violations} violations"));
    assert_eq!((failed, violations), (0, 0));
    assert!(slots > 2, "{slots}");
}

/// What failed twice alone is not tried again because somebody asked for it again and it looks good for the moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_failed_twice_is_given_up_however_new_its_simulation_is() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let options = world.options(&[&proxy]);
    let without_lane = Facilitator::start(&Options { roles: Some("api,watcher".to_owned()), ..options.clone() }).await;
    let signed = world.signed(0);
    let (caller, body) = (without_lane.caller(), signed.v2());
    let asked = tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await });
    world.until("a payment", "SELECT count(*) FROM payments").await;
    let failed = "UPDATE payments SET failures = 2, checked_block = 1000000";
    sqlx::query(failed).execute(world.ledger.pool()).await.expect("the database answers");
    let _lane = Facilitator::start(&Options { roles: Some("lane".to_owned()), ..options }).await;
    let answer = asked.await.expect("no panic");
    let (sent, violations) = (proxy.sent().len(), world.violations(&[], 0).await);
    report("lanes failed twice", &format!("{sent} sent, then {}; {violations} violations", reason(&answer)));
    assert_eq!((sent, violations), (0, 0), "{answer}");
    assert_eq!((is_success(&answer), reason(&answer)), (false, Reason::TransactionFailed.code()), "{answer}");
}

/// A slot without bytes, whose successor is too dear for now, waits like any other instead of asking the nodes all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_cannot_be_sent_does_not_pester_the_nodes() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines.push_str("resend_after_ms = 1000\noutbid_after_ms = 2000\n");
    let facilitator = Facilitator::start(&options).await;
    let signed = world.signed(0);
    let (asked, _) = settle_into_pool(&world, &facilitator, &signed).await;
    let erased = sqlx::query("UPDATE attempts SET raw = NULL, erased_at = clock_timestamp()").execute(world.ledger.pool()).await;
    assert_eq!(erased.expect("the database answers").rows_affected(), 1);
    mine_at(&world, "0x174876e800").await;
    // Of the look at the balance, and of the slot before it became too dear.
    let looks = proxy.calls("eth_getTransactionCount");
    eventually("a look", PATIENCE, || async { (proxy.calls("eth_getTransactionCount") > looks).then_some(()) }).await;
    let (blocks, looks) = (proxy.calls(BLOCKS), proxy.calls("eth_getTransactionCount"));
    eventually("looks", PATIENCE, || async { (proxy.calls("eth_getTransactionCount") >= looks + 4).then_some(()) }).await;
    let (blocks, attempts) = (proxy.calls(BLOCKS) - blocks, world.count("SELECT count(*) FROM attempts").await);
    while !asked.is_finished() {
        mine_at(&world, USUAL).await;
    }
    let answer = asked.await.expect("no panic");
    let violations = world.violations(&[signed], 0).await;
    report(
        "lanes without bytes",
        &format!("{attempts} attempt, 4 looks while the head was asked for {blocks} times, then paid; {violations} violations"),
    );
    assert!(is_success(&answer), "{answer}");
    assert_eq!((attempts, violations), (1, 0));
    // A lane has ten turns in a second, and the watcher asks twice as often.
    assert!(blocks > 4 * 4, "{blocks}");
}

/// How the watcher asks for the head.
const BLOCKS: &str = "eth_getBlockByNumber";

/// The network has a price before anything of ours is there, and no more blocks.
async fn begin_at(world: &World, price: &str) {
    world.mining(false).await;
    world.chain.rpc("anvil_setNextBlockBaseFeePerGas", json!([price])).await;
    world.chain.mine(1).await;
}

/// What goes wrong behind a slot each time must not keep the slot from being outbid.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_outbid_although_the_next_one_cannot_be_paid() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines.push_str("resend_after_ms = 1000\noutbid_after_ms = 3000\ncost.reserve_min = \"0.0001\"\n");
    let signer = world.chain.text("/accounts/signers/0/address");
    begin_at(&world, "0x77359400").await;
    // 0.00085 ether: enough for one transaction at this price, also for one that offers more, and not for two.
    world.chain.rpc("anvil_setBalance", json!([signer, "0x305120c0f2000"])).await;
    let facilitator = Facilitator::start(&options).await;
    let signed = [world.signed(0), world.signed(1)];
    let (first, _) = settle_into_pool(&world, &facilitator, &signed[0]).await;
    let (caller, body) = (facilitator.caller(), signed[1].v2());
    let second = tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await });
    world.until("the second payment", "SELECT count(*) / 2 FROM payments").await;
    world.until("a higher offer", "SELECT count(*) FROM attempts WHERE number > 1").await;
    let slots = world.count("SELECT count(*) FROM submissions").await;
    world.chain.rpc("anvil_setBalance", json!([signer, "0xde0b6b3a7640000"])).await;
    world.mining(true).await;
    let answers = [first.await.expect("no panic"), second.await.expect("no panic")];
    world.until_idle().await;
    let violations = world.violations(&signed, 0).await;
    report("lanes outbid while poor", &format!("{slots} slot outbid before the second was paid for; {violations} violations"));
    assert!(answers.iter().all(is_success), "{answers:?}");
    assert_eq!((slots, violations), (1, 0));
}

/// One of two payments in a slot is given up, and the other alone leaves no room for the higher offer that outbids them both.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_can_be_neither_sent_nor_outbid_is_freed() {
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines.push_str("resend_after_ms = 1000\noutbid_after_ms = 60000\n");
    begin_at(&world, "0x165a0bc00").await;
    let without_lane = Facilitator::start(&Options { roles: Some("api,watcher".to_owned()), ..options.clone() }).await;
    let signed = [world.signed(0), world.signed(1)];
    let settle = |signed: &Signed| {
        let (caller, body) = (without_lane.caller(), signed.v2());
        tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await })
    };
    let first = settle(&signed[0]);
    world.until("the first payment", "SELECT count(*) FROM payments").await;
    let second = settle(&signed[1]);
    world.until("the second payment", "SELECT count(*) / 2 FROM payments").await;
    proxy.rule(|method, _, _| if method == SEND { Act::Swallow } else { Act::Forward });
    let _lane = Facilitator::start(&Options { roles: Some("lane".to_owned()), ..options }).await;
    world.until("a slot with both", "SELECT count(*) / 2 FROM payments WHERE submission_id IS NOT NULL").await;
    let given_up = "
        UPDATE payments SET given_up_at = clock_timestamp(), given_up_reason = 'settlement_reversed'
        WHERE id = (SELECT id FROM payments ORDER BY id DESC LIMIT 1)";
    sqlx::query(given_up).execute(world.ledger.pool()).await.expect("the database answers");
    proxy.behave();
    world.mining(true).await;
    let answers = [first.await.expect("no panic"), second.await.expect("no panic")];
    world.until_idle().await;
    let uses = world.chain.uses_of(&signed[1]).await.len();
    let freed = world.count("SELECT count(*) FROM attempts WHERE payments = '{}'").await;
    let violations = world.violations(&signed[..1], 0).await;
    report(
        "lanes freed",
        &format!("{freed} slot freed, then paid; {uses} transfers that were given up, {violations} violations"),
    );
    assert_eq!((is_success(&answers[0]), is_success(&answers[1])), (true, false), "{answers:?}");
    assert_eq!((freed, uses, violations), (1, 0, 0));
}

/// The nodes take so long for each transaction that a turn ends before all slots had theirs.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_slow_get_every_slot_again() {
    let slots = 8;
    let world = World::new(ChainOptions::default()).await;
    let proxy = Proxy::start(&world.chain.url);
    let mut options = world.options(&[&proxy]);
    options.networks[0].lines.push_str("batch_max = 1\nresend_after_ms = 1000\noutbid_after_ms = 120000\n");
    let facilitator = Facilitator::start(&options).await;
    world.until("a beginning", "SELECT count(*) FROM networks").await;
    world.mining(false).await;
    let paid: Vec<Signed> = (0..slots).map(|number| world.signed(number)).collect();
    let answers = paid.iter().map(|signed| {
        let (caller, body) = (facilitator.caller(), signed.v2());
        tokio::spawn(async move { caller.settle_patiently(&body, 2 * PATIENCE).await })
    });
    let answers: Vec<_> = answers.collect();
    eventually("as many slots as may be", PATIENCE, || async { (proxy.sent().len() == slots).then_some(()) }).await;
    proxy.rule(|method, _, _| if method == SEND { Act::Delay(Duration::from_millis(2200)) } else { Act::Forward });
    proxy.reset();
    let started = Instant::now();
    eventually("all of them again", PATIENCE, || async { (proxy.sent().len() == slots).then_some(()) }).await;
    let elapsed = started.elapsed();
    proxy.behave();
    world.mining(true).await;
    let mut failed = 0;
    for answer in answers {
        failed += usize::from(!is_success(&answer.await.expect("no panic")));
    }
    world.until_idle().await;
    let violations = world.violations(&paid, 0).await;
    report(
        "lanes slow nodes",
        &format!("{slots} slots sent again within {elapsed:?}, 2.2 s each; {failed} failed, {violations} violations"),
    );
    assert_eq!((failed, violations), (0, 0));
}
