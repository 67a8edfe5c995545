//! Above the operator's amount a transfer counts only when a second node has it too.

use std::time::Duration;

use serde_json::{Value, json};

use super::{PATIENCE, SEND, World, is_success};
use crate::support::chain::ChainOptions;
use crate::support::eventually;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::{Signed, transfer_call};
use crate::support::proxy::{Act, Proxy};

/// Long enough for many looks at the chain.
const LOOKS: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn one_nodes_word_is_not_enough_for_a_large_transfer() {
    let mut world = World::new(ChainOptions::default()).await;
    let (honest, silent) = (Proxy::start(&world.chain.url), Proxy::start(&world.chain.url));
    for (number, nodes) in [[&honest, &silent], [&silent, &honest]].into_iter().enumerate() {
        world.renew().await;
        let network = NetworkOptions {
            rpc: nodes.map(|node| node.url.clone()).to_vec(),
            lines: "final = 16\nagree_above = \"0.001\"\n".to_owned(),
            ..NetworkOptions::of(&world.chain)
        };
        let facilitator = Facilitator::start(&Options::new(network, &world.database)).await;
        silent.rule(|method, _, _| if method == "eth_getLogs" { Act::Answer(json!([])) } else { Act::Forward });
        let signed = world.signed(number);
        let disagreement = async {
            eventually("the transfer", PATIENCE, || async { (world.chain.uses_of(&signed).await.len() == 1).then_some(()) })
                .await;
            tokio::time::sleep(LOOKS).await;
            assert_eq!(world.count("SELECT count(*) FROM claims").await, 0, "the nodes do not agree yet");
            silent.behave();
        };
        let body = signed.v2();
        let (_, ()) = tokio::join!(facilitator.settle(&body), disagreement);
        world.until("a claim", "SELECT count(*) FROM claims").await;
        assert_eq!(world.chain.uses_of(&signed).await.len(), 1);
        let payment = facilitator.settle_patiently(&body, PATIENCE).await;
        assert!(is_success(&payment) || payment["errorReason"] == "duplicate_settlement", "{payment}");
    }
}

/// The logs of a payment that nobody made, as if they stood in the block that is asked for.
fn forged(signed: &Signed, merchant: &str, usdc: &str, filter: &Value) -> Value {
    let word = |address: &str| format!("0x{:0>64}", address.trim_start_matches("0x").to_lowercase());
    let log = |index: &str, topics: Value, data: &str| {
        json!({
            "address": usdc, "topics": topics, "data": data, "blockHash": filter["blockHash"], "blockNumber": "0x1",
            "transactionHash": format!("0x{}", "7".repeat(64)), "transactionIndex": "0x0", "logIndex": index, "removed": false,
        })
    };
    let used = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5";
    let moved = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
    json!([
        log("0x0", json!([used, word(&signed.payer), signed.nonce]), "0x"),
        log("0x1", json!([moved, word(&signed.payer), word(merchant)]), &word("0x2710")),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_one_node_made_up_pays_nothing() {
    let world = World::new(ChainOptions::default()).await;
    let (liar, honest) = (Proxy::start(&world.chain.url), Proxy::start(&world.chain.url));
    let network = NetworkOptions {
        rpc: vec![liar.url.clone(), honest.url.clone()],
        lines: "final = 16\nagree_above = \"0.001\"\n".to_owned(),
        ..NetworkOptions::of(&world.chain)
    };
    let facilitator = Facilitator::start(&Options::new(network, &world.database)).await;
    let (signed, merchant, usdc) = (world.signed(0), world.merchant.clone(), world.chain.usdc());
    let (lie, payee, token) = (signed.clone(), merchant.clone(), usdc.clone());
    liar.rule(move |method, params, _| match method {
        SEND => Act::Swallow,
        "eth_getLogs" if params[0]["blockHash"].is_string() => Act::Answer(forged(&lie, &payee, &token, &params[0])),
        _ => Act::Forward,
    });
    honest.rule(|method, _, _| if method == SEND { Act::Swallow } else { Act::Forward });
    let lies = async {
        world.until("the payment", "SELECT count(*) FROM payments").await;
        liar.reset();
        // Only blocks that hold something are looked into.
        let stranger = &world.chain.payers[1].address();
        world.chain.send_as(stranger, &usdc, &transfer_call(stranger, 1), 1).await;
        eventually("a lie", PATIENCE, || async { (liar.calls("eth_getLogs") > 0).then_some(()) }).await;
        tokio::time::sleep(LOOKS).await;
        assert_eq!(world.count("SELECT count(*) FROM claims").await, 0, "nobody paid");
        liar.behave();
        honest.behave();
    };
    let body = signed.v2();
    let (_, ()) = tokio::join!(facilitator.settle(&body), lies);
    world.until("a claim", "SELECT count(*) FROM claims").await;
    assert_eq!(world.violations(&[signed], 0).await, 0);
}
