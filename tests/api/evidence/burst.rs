//! Many payments at once through one signer: all succeed, few calls to the node, little gas.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use super::{World, is_success, report, scale};
use crate::support::chain::{ChainOptions, hex};
use crate::support::facilitator::Facilitator;
use crate::support::payer::Signed;
use crate::support::proxy::Proxy;

const CONCURRENCY: usize = 64;

/// What one transfer by itself takes, as the reference facilitators send it.
const GAS_ALONE: u64 = 85_720;

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_settled_together() {
    let (payments, payers) = (scale(150, 500), scale(30, 50));
    let world = World::new(ChainOptions { payers, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&world.chain.url);
    let facilitator = Facilitator::start(&world.options(&[&proxy])).await;
    let paid: Vec<Signed> = (0..payments).map(|number| world.signed(number)).collect();
    proxy.reset();

    let started = Instant::now();
    let asked = paid.iter().map(|signed| async {
        let asked = Instant::now();
        let (status, answer) = facilitator.settle(&signed.v2()).await;
        assert!(is_success(&answer), "{status} {answer}");
        asked.elapsed()
    });
    let mut times: Vec<Duration> = stream::iter(asked).buffer_unordered(CONCURRENCY).collect().await;
    let took = started.elapsed();

    let calls = proxy.all_calls();
    let calls_each = calls.values().sum::<u64>() as f64 / payments as f64;
    let gas_each = gas(&world).await as f64 / payments as f64;
    let violations = world.violations(&paid, 0).await;
    times.sort();
    report(
        "burst",
        &format!(
            "{payments} payments by {payers} payers at {CONCURRENCY}: {payments} successes, {:.1}/s, p50 {:?} p99 {:?}, \
             {calls_each:.2} calls to the node and {gas_each:.0} gas each ({:.2} of {GAS_ALONE}), {} transactions, {violations} violations",
            payments as f64 / took.as_secs_f64(),
            times[payments / 2],
            times[payments * 99 / 100],
            gas_each / GAS_ALONE as f64,
            proxy.sent().len(),
        ),
    );
    assert_eq!(violations, 0);
    assert!(calls_each < 1.0, "{calls:?}");
    assert!(gas_each <= 0.65 * GAS_ALONE as f64);
}

/// What all transactions with transfers to the merchant took.
async fn gas(world: &World) -> u64 {
    let transfers = world.chain.transfers_to(&world.merchant).await;
    let transactions: BTreeSet<_> = transfers.iter().filter_map(|log| log["transactionHash"].as_str()).collect();
    let mut gas = 0;
    for transaction in transactions {
        gas += hex(&world.chain.receipt(transaction).await["gasUsed"]);
    }
    gas
}
