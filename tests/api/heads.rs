//! How new blocks are found: by announcements over WebSocket, and without them; and what is known of their depth.

use quittance::domain::block::Heights;
use quittance::domain::network::Network;
use quittance::ledger::blocks;

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

/// Nodes do not agree on which block is safe, and whoever was told that one is must not hear that it is not.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_safe_stays_so_unless_its_block_is_replaced() {
    let ledger = database::ledger(&database::fresh().await).await;
    let network: Network = "eip155:84532".parse().expect("a network");
    let moved = async |head, safe| {
        let mut db = ledger.begin().await.expect("the database answers");
        let heights = Heights { head, safe, finalized: 0 };
        blocks::move_cursor(&mut db, &network, "0x01", heights).await.expect("it moves");
        db.commit().await.expect("it is kept");
        ledger.cursor(&network).await.expect("the database answers").expect("a cursor").heights.safe
    };

    assert_eq!(moved(10, 8).await, 8);
    assert_eq!(moved(11, 5).await, 8, "another node's word");
    assert_eq!(moved(12, 9).await, 9);
    assert_eq!(moved(7, 7).await, 7, "back to the block that two histories have in common");
}
