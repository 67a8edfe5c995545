//! Payments that share a transaction do not share their fate.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{PATIENCE, World, is_success, reason, report, scale};
use crate::support::chain::ChainOptions;
use crate::support::cli;
use crate::support::eventually;
use crate::support::facilitator::Facilitator;
use crate::support::payer::{Signed, blacklist_call, transfer_call};
use crate::support::proxy::Proxy;

/// What happens to one payment of a batch after it was verified and sent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mishap {
    /// The payer spends everything.
    Drained,
    /// The payer cancels the authorization.
    Cancelled,
    /// The token bars the payer.
    Barred,
    /// The payer becomes a wallet that burns all gas it is given (EIP-7702).
    Burning,
}

impl Mishap {
    const ALL: [Self; 4] = [Self::Drained, Self::Cancelled, Self::Barred, Self::Burning];

    const fn reason(self) -> &'static str {
        match self {
            Self::Drained => "invalid_exact_evm_insufficient_balance",
            Self::Cancelled => "invalid_exact_evm_nonce_already_used",
            Self::Barred => "invalid_exact_evm_transaction_simulation_failed",
            // The token asks the wallet, gets no answer, and calls the signature invalid.
            Self::Burning => "invalid_exact_evm_signature",
        }
    }

    /// Makes it happen in the block of the batch, before the batch.
    async fn happen(self, world: &World, signed: &Signed) {
        let (chain, usdc) = (&world.chain, world.chain.usdc());
        let first = 100_000_000;
        match self {
            Self::Drained => {
                let all = transfer_call(&chain.text("/accounts/buyer/address"), chain.usdc_of(&signed.payer).await);
                drop(chain.send_as(&signed.payer, &usdc, &all, first).await);
            }
            Self::Cancelled => {
                let payer = chain.payers.iter().find(|payer| payer.address() == signed.payer).expect("one of ours");
                let buyer = chain.text("/accounts/buyer/address");
                drop(chain.send_as(&buyer, &usdc, &payer.cancel_call(signed), first).await);
            }
            Self::Barred => {
                let deployer = chain.text("/accounts/deployer/address");
                drop(chain.send_as(&deployer, &usdc, &blacklist_call(&signed.payer), first).await);
            }
            Self::Burning => {
                let burner = "0x00000000000000000000000000000000000bad00";
                let artifact = std::fs::read_to_string(crate::support::root().join("contracts/out/BurnerDelegate.json"));
                let artifact: Value = serde_json::from_str(&artifact.expect("it is committed")).expect("JSON");
                chain.rpc("anvil_setCode", json!([burner, artifact["deployedBytecode"]])).await;
                chain.rpc("anvil_setCode", json!([signed.payer, format!("0xef0100{}", &burner[2..])])).await;
            }
        }
    }
}

/// The payment with the mishap; the lane takes the one before it by itself.
const VICTIM: usize = 1;

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_payment_does_not_spoil_a_batch() {
    let (size, rounds) = (scale(8, 40), scale(1, 5));
    let payers = Mishap::ALL.len() * rounds * (size + 1);
    let world = World::new(ChainOptions { payers, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&world.chain.url);
    let facilitator = Facilitator::start(&world.options(&[&proxy])).await;
    let (mut paid, mut wrong, mut bad, mut shared) = (Vec::new(), 0, 0, 0);
    for round in 0..rounds {
        for (number, mishap) in Mishap::ALL.into_iter().enumerate() {
            let first = (round * Mishap::ALL.len() + number) * (size + 1);
            let mut signed: Vec<_> = (first..=first + size).map(|payer| world.signed(payer)).collect();
            let answers = settle_together(&world, &proxy, &facilitator, &signed, mishap).await;
            for (position, answer) in answers.iter().enumerate() {
                let right = if position == VICTIM { reason(answer) == mishap.reason() } else { is_success(answer) };
                if !right {
                    println!("violation: {mishap:?}, payment {position}: {answer}");
                    wrong += 1;
                }
            }
            shared += size - 1;
            bad += 1;
            signed.remove(VICTIM);
            paid.append(&mut signed);
        }
    }
    world.until_idle().await;
    let stuck = "SELECT count(*) FROM payments p LEFT JOIN claims c ON c.payment_id = p.id WHERE c.payment_id IS NULL AND p.given_up_at IS NULL";
    let alone = world.count("SELECT count(*) FROM payments p JOIN claims c ON c.payment_id = p.id WHERE p.alone").await;
    let (violations, stuck) = (violations(&world, &paid, bad).await, world.count(stuck).await);
    report(
        "batches",
        &format!(
            "{bad} spoilt batches: {shared} others in them paid ({alone} of them alone, after their batch ran out of gas), {bad} refused for their reason, {stuck} stuck, {wrong} wrong answers, {violations} violations"
        ),
    );
    assert_eq!((stuck, wrong, violations), (0, 0, 0));
    assert!(alone > 0, "no batch ran out of gas, so none was retried alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_is_no_multicall_payments_go_alone() {
    let payments = scale(6, 60);
    let world = World::new(ChainOptions { payers: payments, ..ChainOptions::default() }).await;
    world.chain.rpc("anvil_setCode", json!([world.chain.text("/multicall3"), "0x"])).await;
    let proxy = Proxy::start(&world.chain.url);
    let facilitator = Facilitator::start(&world.options(&[&proxy])).await;
    let checked = cli::run_well(&facilitator, &["check"]).await;
    assert!(checked.contains("no Multicall3: every payment goes alone"), "{checked}");
    let paid: Vec<_> = (0..payments).map(|payer| world.signed(payer)).collect();
    let answers = join_all(paid.iter().map(|signed| async { facilitator.settle_patiently(&signed.v2(), PATIENCE).await })).await;
    world.until_idle().await;
    let failed = answers.iter().filter(|answer| !is_success(answer)).count();
    let (violations, sent) = (world.violations(&paid, 0).await, proxy.sent().len());
    report(
        "batches without Multicall3",
        &format!("{payments} payments at once: {sent} transactions, {failed} failed, {violations} violations"),
    );
    assert_eq!((failed, sent, violations), (0, payments, 0), "{answers:?}");
}

/// The bad ones are in the ledger too, without a transfer.
async fn violations(world: &World, paid: &[Signed], bad: usize) -> usize {
    let given_up = world.rows().await.iter().filter(|row| row.given_up_reason.is_some() && row.claim.is_none()).count();
    world.violations(paid, 0).await + given_up.abs_diff(bad)
}

/// Holds the lane until all payments wait for it, so that they go together, and has the mishap in their block.
async fn settle_together(
    world: &World,
    proxy: &Proxy,
    facilitator: &Facilitator,
    signed: &[Signed],
    mishap: Mishap,
) -> Vec<Value> {
    world.until_idle().await;
    world.mining(false).await;
    let recorded = world.rows().await.len();
    let until_recorded = async |count: usize| {
        eventually("rows", PATIENCE, || async { (world.rows().await.len() >= recorded + count).then_some(()) }).await;
    };
    let settle = |signed: Signed| {
        let caller = facilitator.caller();
        tokio::spawn(async move { caller.settle_patiently(&signed.v2(), PATIENCE).await })
    };
    // Every commit of a lane looks at this row.
    let mut hold = world.ledger.begin().await.expect("the database answers");
    sqlx::query("SELECT FROM leases WHERE name LIKE 'lane:%' FOR UPDATE").execute(&mut *hold).await.expect("the row is there");
    // Once the lane waits with the first one, the one with the mishap stands at the head of the others.
    let mut asked = vec![settle(signed[0].clone())];
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%FROM leases%FOR SHARE%'";
    eventually("a lane that waits", PATIENCE, || async { (world.count(waiting).await > 0).then_some(()) }).await;
    asked.push(settle(signed[VICTIM].clone()));
    until_recorded(VICTIM + 1).await;
    asked.extend(signed[VICTIM + 1..].iter().cloned().map(settle));
    until_recorded(signed.len()).await;
    hold.rollback().await.expect("the database answers");
    let open = "SELECT count(*) FROM payments p JOIN submissions s ON s.id = p.submission_id WHERE s.spent_block IS NULL";
    eventually("their slots", PATIENCE, || async { (world.count(open).await as usize == signed.len()).then_some(()) }).await;
    // The first one has a slot of its own, and all others share the next.
    let largest = "SELECT max(n) FROM (SELECT count(*) AS n FROM payments p JOIN submissions s ON s.id = p.submission_id
                   WHERE s.spent_block IS NULL GROUP BY s.id) sizes";
    assert_eq!(world.count(largest).await as usize, signed.len() - 1, "they did not go together: {:?}", world.rows().await);
    let slots = world.count("SELECT count(*) FROM submissions WHERE spent_block IS NULL").await as u64;
    eventually("transactions in the pool", PATIENCE, || async { (world.chain.pooled().await >= slots).then_some(()) }).await;
    assert!(!proxy.sent().is_empty());
    mishap.happen(world, &signed[VICTIM]).await;
    world.mining(true).await;
    join_all(asked).await.into_iter().map(|answer| answer.expect("no panic")).collect()
}
