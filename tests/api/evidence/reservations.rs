//! A balance is promised once, however many of its payments come at once and wherever they are asked for.

use futures_util::future::join_all;

use super::{PATIENCE, World, is_success, reason, report, scale};
use crate::support::chain::ChainOptions;
use crate::support::eventually;
use crate::support::facilitator::replicas;
use crate::support::payer::{Signed, Terms};
use crate::support::proxy::Proxy;

/// More than half of what a payer has.
const MOST: u128 = 600_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_that_covers_one_payment_pays_one() {
    let rounds = scale(2, 20);
    let world = World::new(ChainOptions { payers: rounds, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&world.chain.url);
    let replicas = replicas(3, &world.options(&[&proxy])).await;
    let (mut paid, mut refused) = (Vec::new(), 0);
    for payer in &world.chain.payers {
        let terms = Terms { amount: MOST, valid_for: 500, ..Terms::to(&world.merchant) };
        let rivals: Vec<Signed> = replicas.iter().map(|_| payer.authorize(&terms)).collect();
        // While no block comes the chain's own word is that the payer can afford each of them.
        world.mining(false).await;
        let asked: Vec<_> = replicas
            .iter()
            .zip(&rivals)
            .map(|(replica, signed)| {
                let (caller, body) = (replica.caller(), signed.v2());
                tokio::spawn(async move { caller.settle_patiently(&body, PATIENCE).await })
            })
            .collect();
        let answered = || asked.iter().filter(|asked| asked.is_finished()).count();
        eventually("the refusals", PATIENCE, || async { (answered() >= rivals.len() - 1).then_some(()) }).await;
        world.mining(true).await;
        let answers: Vec<_> = join_all(asked).await.into_iter().map(|answer| answer.expect("no panic")).collect();
        world.until_idle().await;
        // Afterwards it is the chain that says so.
        for (signed, _) in rivals.iter().zip(&answers).filter(|(_, answer)| !is_success(answer)) {
            let again = replicas[0].settle(&signed.v2()).await.1;
            assert_eq!(reason(&again), "invalid_exact_evm_insufficient_balance", "{again}");
        }
        let won: Vec<_> = rivals.into_iter().zip(&answers).filter(|(_, answer)| is_success(answer)).collect();
        let lost = answers.iter().filter(|answer| reason(answer) == "insufficient_funds").count();
        assert_eq!((won.len(), lost), (1, replicas.len() - 1), "{answers:?}");
        refused += lost;
        paid.extend(won.into_iter().map(|(signed, _)| signed));
    }
    let (rows, sent) = (world.rows().await.len(), proxy.sent().len());
    let violations = world.violations(&paid, 0).await;
    report(
        "reservations",
        &format!(
            "{rounds} balances, each asked to pay 3 times at once on 3 replicas what it covers once: {} paid, {refused} refused, \
             {sent} transactions, {violations} violations",
            paid.len()
        ),
    );
    assert_eq!((rows, sent, violations), (rounds, rounds, 0));
}
