//! Payments that are simulated together must not see each other, and each verdict is the one that the payment gets alone. Nor may
//! they hold each other up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::{SolCall, SolValue};
use futures_util::future::join_all;
use serde_json::Value;

use super::{PATIENCE, report};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::{Payer, Signed, Terms};
use crate::support::proxy::{Act, Proxy};
use crate::support::typed::Usdc;
use crate::support::{contract, database, deploy, eventually};

fn address(text: &str) -> Address {
    text.parse().expect("an address")
}

/// The payments, each with the verdict that it must get.
async fn payments(chain: &Chain) -> Vec<(&'static str, Signed, Option<&'static str>)> {
    let merchant = Payer::new(&chain.text("/accounts/merchant/key"), &chain.world);
    let stranger = chain.text("/accounts/deployer/address");
    let half = Terms { amount: 600_000_000, ..Terms::to(&stranger) };
    let mut payments = vec![
        ("somebody pays an empty account", chain.payers[0].authorize(&Terms::to(&merchant.address())), None),
        ("the empty account pays on", merchant.authorize(&Terms::to(&stranger)), Some("invalid_exact_evm_insufficient_balance")),
        ("one payment of more than half", chain.payers[1].authorize(&half), None),
        ("another one of the same payer", chain.payers[1].authorize(&half), None),
        (
            "more than the payer has",
            chain.payers[2].authorize(&Terms { amount: 1_000_000_001, ..half }),
            Some("invalid_exact_evm_insufficient_balance"),
        ),
    ];
    let owner = address(&chain.payers[3].address());
    let hostile = [
        ("a wallet that burns all gas", "GasBurnerWallet", Some("invalid_exact_evm_signature")),
        ("a wallet that answers 1 MiB", "ReturnBombWallet", Some("invalid_exact_evm_signature")),
        ("a wallet that refuses", "RevertingWallet", Some("invalid_exact_evm_signature")),
        ("a wallet that agrees", "EcdsaWallet", None),
    ];
    for (name, code, verdict) in hostile {
        let arguments = if code == "EcdsaWallet" { owner.abi_encode() } else { Vec::new() };
        let wallet = deploy(chain, &contract(code), &arguments).await;
        let fund = Usdc::transferCall { to: address(&wallet), value: U256::from(1_000_000) };
        chain.transact(&chain.text("/accounts/buyer/address"), Some(&chain.usdc()), &fund.abi_encode()).await;
        let nonce = B256::from(rand::random::<[u8; 32]>());
        payments.push((name, chain.payers[3].authorize_with(&Terms::to(&stranger), nonce, address(&wallet)), verdict));
    }
    payments.push(("an honest payer", chain.payers[4].authorize(&Terms::to(&stranger)), None));
    payments
}

/// A simulation names no contract.
fn is_simulation(method: &str, params: &Value) -> bool {
    method == "eth_call" && params[0].get("to").is_none_or(Value::is_null)
}

fn verdict((status, answer): &(u16, Value)) -> Option<&str> {
    assert_eq!(*status, 200, "{answer}");
    answer["invalidReason"].as_str()
}

/// Times that payments may arrive too late to share a call, on a machine that is busy with other things.
const TRIES: usize = 10;

/// Asks about all payments while a call is under way, so that they wait for the next one and share it. Returns the verdicts and
/// the calls that they took.
async fn ask_together(proxy: &Proxy, facilitator: &Facilitator, blocker: &Value, bodies: &[Value]) -> (Vec<(u16, Value)>, u64) {
    let calls = Arc::new(AtomicU64::new(0));
    let (seen, held) = (Arc::clone(&calls), proxy.held());
    proxy.rule(move |method, params, _| {
        if !is_simulation(method, params) {
            return Act::Forward;
        }
        if seen.fetch_add(1, Ordering::SeqCst) == 0 { Act::Hold } else { Act::Forward }
    });
    let first = tokio::spawn({
        let (caller, body) = (facilitator.caller(), blocker.clone());
        async move { caller.try_post("/verify", &body).await }
    });
    eventually("a call under way", PATIENCE, || async { (proxy.held() > held).then_some(()) }).await;
    let verdicts = join_all(bodies.iter().map(|body| facilitator.verify(body))).await;
    proxy.behave();
    proxy.release();
    assert_eq!(verdict(&first.await.expect("no panic").expect("an answer")), None);
    (verdicts, calls.load(Ordering::SeqCst) - 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_in_one_simulation_get_the_verdicts_they_get_alone() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&chain.url);
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    let payments = payments(&chain).await;
    let blocker = chain.payers[5].authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v2();

    for (name, signed, expected) in &payments {
        assert_eq!(verdict(&facilitator.verify(&signed.v2()).await), *expected, "alone: {name}");
    }

    let (mut wrong, mut asked) = (0, 0);
    for round in 0..payments.len() {
        let mut order: Vec<_> = payments.iter().collect();
        order.rotate_left(round);
        let bodies: Vec<_> = order.iter().map(|(_, signed, _)| signed.v2()).collect();
        let mut tries = 0;
        loop {
            let (verdicts, calls) = ask_together(&proxy, &facilitator, &blocker, &bodies).await;
            for ((name, _, expected), answer) in order.iter().zip(&verdicts) {
                if verdict(answer) != *expected {
                    println!("violation: round {round}, in {calls} calls: {name}: {answer:?}");
                    wrong += 1;
                }
            }
            asked += verdicts.len();
            tries += 1;
            if calls == 1 {
                break;
            }
            assert!(tries < TRIES, "round {round}: {} payments took {calls} calls", bodies.len());
        }
    }
    report(
        "coupling",
        &format!(
            "{} payments share one simulation in {} orders: {wrong} of {asked} verdicts differ from the one alone",
            payments.len(),
            payments.len()
        ),
    );
    assert_eq!(wrong, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_that_hangs_holds_up_nobody_else() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&chain.url);
    // Far longer than anybody here waits.
    let lines = "final = 16\nrpc_timeout_ms = 120000\n".to_owned();
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], lines, ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    let bodies: Vec<_> = chain.payers[..5]
        .iter()
        .map(|payer| payer.authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v2())
        .collect();
    let hangs = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&hangs);
    proxy.rule(
        move |method, params, _| {
            if is_simulation(method, params) && !seen.swap(true, Ordering::SeqCst) { Act::Hang } else { Act::Forward }
        },
    );
    let unlucky = tokio::spawn({
        let (caller, body) = (facilitator.caller(), bodies[0].clone());
        async move { caller.try_post("/verify", &body).await }
    });
    eventually("a simulation that hangs", Duration::from_secs(20), || async { hangs.load(Ordering::SeqCst).then_some(()) }).await;

    for body in &bodies[1..] {
        let answer = tokio::time::timeout(Duration::from_secs(20), facilitator.verify(body)).await.expect("an answer");
        assert_eq!(verdict(&answer), None);
    }

    assert!(!unlucky.is_finished(), "its node has not answered");
    unlucky.abort();
}
