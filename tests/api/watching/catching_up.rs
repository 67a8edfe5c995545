//! A service that was away reads what it has missed, many blocks at a time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quittance::domain::network::Network;
use quittance::ledger::Ledger;
use serde_json::{Value, json};

use super::{PATIENCE, cursor, names, until_read};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::Account;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay};
use crate::support::payer::transfer_call;
use crate::support::proxy::{Act, Edit, Proxy};
use crate::support::{database, eventually};

const LOGS: &str = "eth_getLogs";
/// The sender of a Transfer that made money of nothing: the zero address, as a topic.
const MINTED: &str = "0x0000000000000000000000000000000000000000000000000000000000000000";

/// A chain that makes blocks when it is told to, a service behind a proxy, and a merchant's address that it watches.
struct World {
    chain: Chain,
    proxy: Proxy,
    facilitator: Facilitator,
    ledger: Ledger,
    network: Network,
}

impl World {
    async fn start() -> (Self, Account) {
        let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
        let proxy = Proxy::start(&chain.url);
        let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..NetworkOptions::of(&chain) };
        let url = database::fresh().await;
        let facilitator = Facilitator::start(&Options::new(network, &url)).await;
        let merchant = Merchant::open(&facilitator).await;
        merchant.register(&chain.network(), &chain.payers[0]).await;
        let first = pay(&chain, &chain.payers[1], &chain.payers[0].address(), 1_000).await;
        merchant.until_transfer(&first).await;
        let account = merchant.into_account();
        chain.rpc("anvil_setIntervalMining", json!([0])).await;
        let (ledger, network) = (database::ledger(&url).await, chain.network().parse().expect("a network"));
        until_read(&ledger, &network, chain.height().await).await;
        (Self { chain, proxy, facilitator, ledger, network }, account)
    }

    /// Makes blocks in which others pay the merchant, so many times in each.
    async fn make(&self, blocks: usize, transfers: usize) {
        let call = transfer_call(&self.chain.payers[0].address(), 100);
        for _ in 0..blocks {
            for payer in &self.chain.payers[1..=transfers] {
                self.chain.send_as(&payer.address(), &self.chain.usdc(), &call, 1_000_000).await;
            }
            self.chain.rpc("evm_mine", json!([])).await;
        }
    }

    /// Whether each payment that stands on the chain was found, and none of them twice. What the world minted for the
    /// account before it was registered is not one of them.
    async fn check(&self, account: &Account) {
        let account = Account { id: account.id.clone(), key: account.key.clone() };
        let found = Merchant::again(&self.facilitator, account).transfers().await;
        let mut stand = self.chain.transfers_to(&self.chain.payers[0].address()).await;
        stand.retain(|log| log["topics"][1] != MINTED);

        assert_eq!(names(&found, "transaction"), names(&stand, "transactionHash"));
        let place = |transfer: &Value| (transfer["blockHash"].to_string(), transfer["index"].as_u64());
        let places: BTreeSet<_> = found.iter().map(place).collect();
        assert_eq!(places.len(), stand.len(), "each has a place of its own");
    }
}

/// What a node does when it is asked for the logs of many blocks.
#[derive(Clone, Copy, Debug)]
enum Nodes {
    Answer,
    /// It refuses more than ten blocks at a time.
    Refuse,
    /// It gives the first five logs, in the middle of a block, and says nothing.
    CutOff,
    /// It gives the last five.
    CutInto,
}

impl Nodes {
    fn act(self, method: &str, params: &Value) -> Act {
        let height = |member: &str| params[0][member].as_str().and_then(|text| u64::from_str_radix(&text[2..], 16).ok());
        let (LOGS, Some(from), Some(to)) = (method, height("fromBlock"), height("toBlock")) else { return Act::Forward };
        match self {
            Self::Refuse if to - from >= 10 => {
                Act::Answer(json!({"jsonrpc": "2.0", "error": {"code": -32602, "message": "query exceeds max block range 10"}}))
            }
            Self::Answer | Self::Refuse => Act::Forward,
            Self::CutOff => Edit::of(|logs| {
                if let Some(logs) = logs.as_array_mut() {
                    logs.truncate(5);
                }
            }),
            Self::CutInto => Edit::of(|logs| {
                if let Some(logs) = logs.as_array_mut() {
                    drop(logs.drain(..logs.len().saturating_sub(5)));
                }
            }),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_while_the_service_was_down_is_found_once_whatever_nodes_make_of_long_questions() {
    let (mut world, account) = World::start().await;
    for nodes in [Nodes::Answer, Nodes::Refuse, Nodes::CutOff, Nodes::CutInto] {
        assert!(world.facilitator.terminate().await.success());
        world.make(60, 2).await;
        let tricks = Arc::new(AtomicU64::new(0));
        let played = Arc::clone(&tricks);
        world.proxy.rule(move |method, params, _| {
            let act = nodes.act(method, params);
            played.fetch_add(u64::from(act != Act::Forward), Ordering::SeqCst);
            act
        });
        world.proxy.reset();

        world.facilitator.restart().await;
        until_read(&world.ledger, &world.network, world.chain.height().await).await;

        world.check(&account).await;
        let (questions, tricks) = (world.proxy.calls(LOGS), tricks.load(Ordering::SeqCst));
        match nodes {
            Nodes::Answer => assert!((1..30).contains(&questions), "sixty blocks were asked for in ranges: {questions}"),
            Nodes::Refuse | Nodes::CutOff | Nodes::CutInto => assert!(tricks > 0, "{nodes:?}: no range was asked for"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_while_it_catches_up_misses_and_repeats_nothing() {
    let (mut world, account) = World::start().await;
    assert!(world.facilitator.terminate().await.success());
    let before = cursor(&world.ledger, &world.network).await;
    world.make(300, 1).await;
    let height = world.chain.height().await;
    world.proxy.rule(|method, _, _| if method == LOGS { Act::Delay(Duration::from_millis(100)) } else { Act::Forward });

    world.facilitator.restart().await;
    let in_the_middle = || async { (cursor(&world.ledger, &world.network).await >= before + 20).then_some(()) };
    eventually("the first blocks", PATIENCE, in_the_middle).await;
    world.facilitator.kill().await;
    let stopped = cursor(&world.ledger, &world.network).await;
    assert!(stopped < height, "it had come to the end");
    world.proxy.behave();
    world.facilitator.restart().await;
    until_read(&world.ledger, &world.network, height).await;

    world.check(&account).await;
    let caught_up = || async { world.facilitator.log().contains("caught up").then_some(()) };
    eventually("a word about it", PATIENCE, caught_up).await;
}
