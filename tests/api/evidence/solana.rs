//! Many payments on Solana at once.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};

use super::{PATIENCE, is_full, is_success, reason, report, scale};
use crate::support::database;
use crate::support::facilitator::{Facilitator, Options};
use crate::support::proxy::Proxy;
use crate::support::solana::{AMOUNT, Cluster, FEE};

mod crash;
mod decoder;
mod faults;

/// How a transaction is handed to a node.
const SEND: &str = "sendTransaction";

/// How a node is asked what became of transactions.
const STATUSES: &str = "getSignatureStatuses";

/// Requests at a time.
const AT_ONCE: usize = 64;

/// How many accounts pay, in turns.
const PAYERS: usize = 30;

#[tokio::test(flavor = "multi_thread")]
async fn many_payments_at_once_are_each_made_once() {
    let payments = scale(90, 300);
    let cluster = Cluster::start(400).await;
    let proxy = Proxy::start(&cluster.url);
    let facilitator = Facilitator::start(&Options::new(cluster.options(&proxy.url), &database::fresh().await)).await;
    let before = cluster.lamports().await;
    proxy.reset();

    let answers = stream::iter(0..payments).map(|number| {
        let (cluster, facilitator) = (&cluster, &facilitator);
        async move {
            let body = cluster.payment(number % PAYERS, &format!("payment {number}")).await.v2();
            facilitator.settle(&body).await.1
        }
    });
    let answers: Vec<_> = answers.buffer_unordered(AT_ONCE).collect().await;

    let calls: u64 = proxy.all_calls().values().sum();
    let failed: Vec<_> = answers.iter().filter(|answer| !is_success(answer)).collect();
    let distinct: BTreeSet<_> = answers.iter().map(|answer| answer["transaction"].to_string()).collect();
    let (paid, fees) = (cluster.paid().await, before - cluster.lamports().await);
    report(
        "solana burst",
        &format!(
            "{payments} payments by {PAYERS} payers, {AT_ONCE} at a time: {} failed, {} transactions, fees of {fees} lamports, {:.2} node calls each",
            failed.len(),
            distinct.len(),
            calls as f64 / payments as f64,
        ),
    );
    assert!(failed.is_empty(), "{failed:?}");
    let payments = payments as u64;
    assert_eq!((distinct.len() as u64, paid, fees), (payments, payments * AMOUNT, payments * FEE));
    assert!(!is_full() || calls as f64 <= CALLS_MAX * payments as f64, "{:?}", proxy.all_calls());
}

/// Calls to nodes for each settlement at most: simulate, send, and its share of what is asked for all.
const CALLS_MAX: f64 = 2.3;

/// The same where the payment was verified just before.
const CALLS_MAX_VERIFIED: f64 = 1.5;

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_just_verified_is_not_simulated_again() {
    let (waves, payments) = (scale(1, 5), scale(PAYERS, 2 * PAYERS));
    let cluster = Cluster::start(400).await;
    let proxy = Proxy::start(&cluster.url);
    let facilitator = Facilitator::start(&Options::new(cluster.options(&proxy.url), &database::fresh().await)).await;
    let (mut calls, mut simulated, mut settled) = (0, 0, 0_u32);
    for wave in 0..waves {
        let payments = (0..payments).map(|number| {
            let cluster = &cluster;
            async move { cluster.payment(number % PAYERS, &format!("wave {wave}, payment {number}")).await.v2() }
        });
        let bodies = join_all(payments).await;
        for (_, verified) in join_all(bodies.iter().map(|body| facilitator.verify(body))).await {
            assert_eq!(verified["isValid"], true, "{verified}");
        }
        proxy.reset();
        for (_, answer) in join_all(bodies.iter().map(|body| facilitator.settle(body))).await {
            assert!(is_success(&answer), "{answer}");
            settled += 1;
        }
        calls += proxy.all_calls().values().sum::<u64>();
        simulated += proxy.calls("simulateTransaction");
    }
    report(
        "solana verified",
        &format!(
            "{settled} settled after their verify: {simulated} simulated again, {:.2} node calls each",
            calls as f64 / f64::from(settled)
        ),
    );
    assert_eq!(cluster.paid().await, u64::from(settled) * AMOUNT);
    assert_eq!(simulated, 0);
    assert!(!is_full() || calls as f64 <= CALLS_MAX_VERIFIED * f64::from(settled), "{calls} calls");
}
