//! Above the operator's amount a transfer counts only when a second node has it too.

use std::time::Duration;

use serde_json::json;

use super::{PATIENCE, World, is_success};
use crate::support::chain::ChainOptions;
use crate::support::eventually;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
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
