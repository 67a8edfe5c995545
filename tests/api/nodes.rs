//! Which nodes are believed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::Terms;
use crate::support::proxy::{Act, Proxy};
use crate::support::{database, eventually};

/// Whether a node is asked for a token's signing domain: `DOMAIN_SEPARATOR()`.
fn asks_for_domain(params: &Value) -> bool {
    params[0]["input"] == "0x3644e515"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_with_another_token_is_not_believed() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&chain.url);
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    let body = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v2();
    assert_eq!(facilitator.verify(&body).await.1["isValid"], true);

    proxy.rule(|_, _, _| Act::Status(500));
    assert_eq!(facilitator.verify(&body).await.0, 503);
    proxy.rule(|_, params, _| {
        let other = || Act::Answer(json!(format!("0x{}", "11".repeat(32))));
        if asks_for_domain(params) { other() } else { Act::Forward }
    });
    let (status, answer) = facilitator.verify(&body).await;
    assert_eq!((status, &answer["invalidReason"]), (503, &json!("unexpected_verify_error")), "{answer}");
    assert!(facilitator.log().contains("another signing domain"), "the log says why");

    proxy.behave();
    eventually("trust", Duration::from_secs(20), || async {
        (facilitator.verify(&body).await.1["isValid"] == true).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_answers_no_calls_is_still_read() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&chain.url);
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    let body = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v2();

    proxy.rule(|method, _, _| if method == "eth_call" { Act::Status(500) } else { Act::Forward });
    assert_eq!(facilitator.verify(&body).await.0, 503);
    let head = facilitator.metric("quittance_head_block").await;

    eventually("a further block", Duration::from_secs(20), || async {
        (facilitator.metric("quittance_head_block").await > head).then_some(())
    })
    .await;
}

/// Simulations name no contract, which some nodes do not like, though they answer everything else.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_simulate_is_passed_over() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let merchant = chain.text("/accounts/merchant/address");
    for answer in [json!("0x"), json!({"jsonrpc": "2.0", "error": {"code": -32602, "message": "no such parameters"}})] {
        let proxy = Proxy::start(&chain.url);
        let network = NetworkOptions { rpc: vec![proxy.url.clone(), chain.url.clone()], ..NetworkOptions::of(&chain) };
        let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
        let refused = answer.clone();
        proxy.rule(move |method, params, _| {
            let simulates = method == "eth_call" && params[0].get("to").is_none_or(Value::is_null);
            if simulates { Act::Answer(refused.clone()) } else { Act::Forward }
        });

        let bodies: Vec<_> = chain.payers.iter().take(8).map(|payer| payer.authorize(&Terms::to(&merchant)).v2()).collect();
        let verdicts = futures_util::future::join_all(bodies.iter().map(|body| facilitator.verify(body))).await;

        assert!(verdicts.iter().all(|(_, verdict)| verdict["isValid"] == true), "{answer}: {verdicts:?}");
    }
}

/// Some networks have final blocks and know no other level below the newest.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_without_safe_blocks_is_read() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&chain.url);
    proxy.rule(|_, params, _| {
        let complaint = json!({"jsonrpc": "2.0", "error": {"code": -39001, "message": "Unknown block"}});
        if params[0] == "safe" { Act::Answer(complaint) } else { Act::Forward }
    });
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], lines: String::new(), ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    let body = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v2();

    let (status, settled) = facilitator.settle(&body).await;

    assert_eq!((status, &settled["success"]), (200, &json!(true)), "{settled}");
    assert!(proxy.calls("eth_getBlockByNumber") > 0);
}
