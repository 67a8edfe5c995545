//! Many payments on Solana at once.

use std::collections::BTreeSet;

use futures_util::{StreamExt, stream};

use super::{is_success, report, scale};
use crate::support::database;
use crate::support::facilitator::{Facilitator, Options};
use crate::support::proxy::Proxy;
use crate::support::solana::{AMOUNT, Cluster, FEE};

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
}
