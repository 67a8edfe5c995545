//! How new blocks are found: by announcements over WebSocket, and without them.

use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options, free_port};
use crate::support::payer::Terms;

/// So far apart that no payment is answered by them.
const HARDLY_EVER: &str = "poll_idle_ms = 600000\npoll_busy_ms = 600000\n";

async fn start(chain: &Chain, lines: &str) -> Facilitator {
    let network = NetworkOptions::of(chain);
    let network = NetworkOptions { lines: format!("{}{lines}", network.lines), ..network };
    Facilitator::start(&Options::new(network, &database::fresh().await)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_announced_is_read_at_once() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let facilitator = start(&chain, &format!("{HARDLY_EVER}ws = {:?}\n", chain.text("/wsUrl"))).await;
    let merchant = chain.text("/accounts/merchant/address");

    for payer in &chain.payers[..3] {
        let (status, settled) = facilitator.settle(&payer.authorize(&Terms::to(&merchant)).v2()).await;
        assert_eq!((status, &settled["success"]), (200, &true.into()), "{settled}");
    }

    assert_eq!(chain.transfers_to(&merchant).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_announces_blocks_the_head_is_polled() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let facilitator = start(&chain, &format!("ws = [\"ws://127.0.0.1:{}/secret-canary\"]\n", free_port())).await;
    let merchant = chain.text("/accounts/merchant/address");

    let (status, settled) = facilitator.settle(&chain.payers[0].authorize(&Terms::to(&merchant)).v2()).await;

    assert_eq!((status, &settled["success"]), (200, &true.into()), "{settled}");
    let log = facilitator.log();
    assert!(log.contains("heads are polled") && !log.contains("canary"), "{log}");
}
