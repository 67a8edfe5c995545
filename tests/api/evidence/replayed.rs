//! Recorded blocks on the way that live ones take: a node serves them, the service as a whole follows it, and what its ledger has is
//! compared with what dev/count-transfers.mjs counts. See `recorded` about the files.

use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use quittance::domain::address::encode_base58;
use quittance::domain::network::Network;
use quittance::ledger::Ledger;
use serde_json::Value;

use super::recorded::{Recorded, SOLANA_USDC, recorded};
use super::{PATIENCE, report};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::Merchant;
use crate::support::replay::Replay;
use crate::support::replay::evm::EvmRecording;
use crate::support::replay::solana::SolanaRecording;
use crate::support::{database, eventually};

/// What the tokens themselves say, in `DOMAIN_SEPARATOR()`.
const ETHEREUM_DOMAIN: &str = "0x06c37168a7db5138defc7866392bb87a741f9b3d104deb5094588ce041cae335";
const ARBITRUM_DOMAIN: &str = "0x08d11903f8419e68b1b8721bcbe2e9fc68569122a77ef18c216f10b3b5112c78";

/// Empty blocks that are shown together with the recorded one. With it they are so many that they are read as a range.
const BEHIND: u64 = 8;

/// The network of a node, with a key that signs nothing.
fn network(id: &str, node: &Replay) -> NetworkOptions {
    let key = if id.starts_with("solana:") {
        encode_base58(&SigningKey::from_bytes(&[7; 32]).to_keypair_bytes())
    } else {
        "07".repeat(32)
    };
    NetworkOptions { id: id.to_owned(), rpc: vec![node.url.clone()], keys: vec![key], lines: String::new() }
}

/// Waits until a ledger has come to the newest block of a node.
async fn until_read(ledger: &Ledger, network: &Network, node: &Replay) {
    let head = node.head();
    eventually("the newest block", PATIENCE, || async {
        let cursor = ledger.cursor(network).await.expect("the database answers")?;
        (cursor.heights.head == head).then_some(())
    })
    .await;
}

/// A transfer in the words of the script.
fn line(transfer: &Value) -> String {
    let text = |member: &str| transfer[member].as_str().expect("a text");
    let index = transfer["index"].as_u64().expect("a number");
    let (place, from, to) = if text("network").starts_with("solana:") {
        (index & 0xff, text("from").to_owned(), text("to").to_owned())
    } else {
        (index, text("from").to_lowercase(), text("to").to_lowercase())
    };
    format!("{} {place} {from} {to} {}", text("transaction"), text("amount"))
}

/// Follows a node with an account that every recipient's address was given to, and returns the account's transfers.
async fn follow(block: &str, id: &str, node: &Replay, counted: &Value) -> Vec<Value> {
    let mut counted: Vec<_> =
        counted["entries"].as_array().expect("lines").iter().map(|line| line.as_str().expect("a line").to_owned()).collect();
    counted.sort();
    let recipients: BTreeSet<_> = counted.iter().map(|line| line.split(' ').nth(3).expect("a recipient").to_owned()).collect();
    let url = database::fresh().await;
    let (ledger, name) = (database::ledger(&url).await, id.parse().expect("a network"));
    let mut facilitator = Facilitator::start(&Options::new(network(id, node), &url)).await;
    let merchant = Merchant::open(&facilitator).await;
    for recipient in &recipients {
        let grant = ["address", "grant", merchant.id(), id, recipient, "--note", "what a recorded block paid"];
        let (done, words) = facilitator.command(&grant).await;
        assert!(done, "{words}");
    }
    until_read(&ledger, &name, node).await;
    assert!(merchant.transfers().await.is_empty(), "nothing is there before the block");

    node.show(1 + BEHIND);
    until_read(&ledger, &name, node).await;
    let transfers = merchant.transfers().await;
    let mut found: Vec<_> = transfers.iter().map(line).collect();
    found.sort();
    assert_eq!(found, counted);

    let account = merchant.into_account();
    assert!(facilitator.terminate().await.success());
    facilitator.restart().await;
    node.show(1);
    until_read(&ledger, &name, node).await;
    assert_eq!(Merchant::again(&facilitator, account).transfers().await, transfers, "a restart changes nothing");
    let kept: i64 = sqlx::query_scalar("SELECT count(*) FROM transfers").fetch_one(ledger.pool()).await.expect("an answer");
    assert_eq!(kept, transfers.len() as i64, "and the ledger has no others");
    let cursor = ledger.cursor(&name).await.expect("the database answers").expect("it was read");
    assert!(transfers.iter().all(|transfer| transfer["blockNumber"].as_u64() <= Some(cursor.heights.finalized)), "all are final");

    let nothing = transfers.iter().filter(|transfer| transfer["amount"] == "0").count();
    let figures = format!(
        "{} transfers of USDC to {} addresses in the ledger, {nothing} of them moving nothing; each is what the script found, once, and \
         a restart added none",
        transfers.len(),
        recipients.len(),
    );
    report(&format!("recorded {block} through the watcher"), &figures);
    transfers
}

fn logs_of_receipts(recorded: &Recorded, file: &str) -> Vec<Value> {
    let receipts = recorded.json(file);
    let logs = |receipt: &Value| receipt["logs"].as_array().expect("logs").clone();
    receipts.as_array().expect("receipts").iter().flat_map(logs).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transfer_of_a_block_of_ethereum_is_credited() {
    let Some(recorded) = recorded() else { return };
    let file = "evm-ethereum/squid-eth-18000000-receipts.json";
    let block = &recorded.json("evm-ethereum/shovel-block-18000000.json")[0]["result"];
    let recording = EvmRecording::new(1, ETHEREUM_DOMAIN, block, logs_of_receipts(recorded, file));
    let node = Replay::start(recording);

    let transfers = follow("block of Ethereum", "eip155:1", &node, &recorded.counted[file]).await;

    assert_eq!(transfers.len(), 13);
    let asked = node.asked("eth_getLogs");
    let by = |member: &str| asked.iter().any(|params| params[0].get(member).is_some());
    assert!(by("fromBlock") && by("blockHash"), "as a range, and its end by itself: {asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transfer_of_a_block_of_arbitrum_is_credited() {
    let Some(recorded) = recorded() else { return };
    let file = "evm-other/squid-arbitrum-150000000-receipts.json";
    let block = &recorded.json("evm-other/squid-arbitrum-150000000-block.json");
    let node = Replay::start(EvmRecording::new(42161, ARBITRUM_DOMAIN, block, logs_of_receipts(recorded, file)));

    let transfers = follow("block of Arbitrum", "eip155:42161", &node, &recorded.counted[file]).await;

    assert_eq!(transfers.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_credit_of_a_block_of_solana_is_credited() {
    let Some(recorded) = recorded() else { return };
    let file = "solana/photon-mainnet-254170887.getBlock.base64.json";
    let node = Replay::start(SolanaRecording::new(SOLANA_USDC, recorded.json(file)));

    let transfers = follow("block of Solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", &node, &recorded.counted[file]).await;

    assert_eq!(transfers.len(), 24);
}
