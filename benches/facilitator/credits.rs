//! How many transfers of a block are read and matched to registered addresses in a second, by how many addresses are registered.

use std::time::Instant;

use alloy::primitives::{Address as EvmAddress, B256};
use quittance::chain::evm::observe::{self, LogEntry};
use quittance::domain::block::Block;
use quittance::domain::ids::AccountId;
use quittance::domain::network::Network;
use quittance::flow::credit::{credit, owners};
use quittance::ledger::Ledger;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use super::report::Report;
use super::support::database;

/// How many addresses are registered, and what the figure is called.
pub const READ_WITH: [(u32, &str); 3] = [
    (10, "transfers read per second with 10 registered addresses"),
    (10_000, "transfers read per second with 10,000 registered addresses"),
    (1_000_000, "transfers read per second with 1,000,000 registered addresses"),
];

/// Transfers in one block, about as many as on Base.
const IN_A_BLOCK: usize = 200;

/// One of so many goes to a registered address.
const SHARE: usize = 20;

/// Blocks that are read.
const BLOCKS: usize = 300;

/// Blocks that are read before the clock starts.
const WARM_UP: usize = 30;

const TOKEN: EvmAddress = EvmAddress::repeat_byte(1);

const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

/// Measures each number of addresses on a database of its own: decoding, asking who owns what, and keeping what is ours, in a
/// transaction that is rolled back.
pub async fn measure(report: &mut Report, scaled: impl Fn(usize) -> usize) {
    let network: Network = "eip155:8453".parse().expect("a network");
    for (registered, name) in READ_WITH {
        let registered = u32::try_from(scaled(registered as usize)).expect("no more than a million");
        let ledger = database::ledger(&database::fresh().await).await;
        register(&ledger, &network, registered).await;
        let mut random = StdRng::seed_from_u64(1);
        let count = scaled(BLOCKS);
        let blocks: Vec<_> = (0..WARM_UP + count).map(|number| logs(&mut random, number as u64, registered)).collect();
        let mut started = Instant::now();
        for (number, text) in blocks.iter().enumerate() {
            if number == WARM_UP {
                started = Instant::now();
            }
            read(&ledger, &network, number as u64, text).await;
        }
        report.note(name, (count * IN_A_BLOCK) as f64 / started.elapsed().as_secs_f64());
    }
}

/// The address with a number, in lower case.
fn address(number: u32) -> EvmAddress {
    EvmAddress::left_padding_from(&number.to_be_bytes())
}

async fn register(ledger: &Ledger, network: &Network, count: u32) {
    let account = AccountId::new();
    let pool = ledger.pool();
    let opened = sqlx::query("INSERT INTO accounts (id, name, created_at) VALUES ($1, 'bench', now())").bind(account.uuid());
    opened.execute(pool).await.expect("the database answers");
    let addresses: Vec<_> = (1..=count).map(|number| address(number).to_checksum(None)).collect();
    for addresses in addresses.chunks(50_000) {
        let insert = "INSERT INTO addresses (id, account_id, network, address, created_at, challenged_until, proven_at, proof)
                      SELECT gen_random_uuid(), $1, $2, address, now(), now(), now(), 'operator' FROM unnest($3::text[]) AS a (address)";
        let insert = sqlx::query(insert).bind(account.uuid()).bind(network.as_str()).bind(addresses);
        insert.execute(pool).await.expect("the database answers");
    }
    sqlx::query("ANALYZE addresses").execute(pool).await.expect("the database answers");
}

/// A node's answer for one block.
fn logs(random: &mut StdRng, number: u64, registered: u32) -> String {
    let log = |(index, ours): (usize, bool)| {
        let to = if ours { address(random.random_range(1..=registered)) } else { EvmAddress::from(random.random::<[u8; 20]>()) };
        let from = EvmAddress::from(random.random::<[u8; 20]>());
        json!({
            "address": TOKEN, "topics": [TRANSFER, from.into_word(), to.into_word()],
            "data": B256::left_padding_from(&random.random_range(1..u32::MAX).to_be_bytes()), "blockHash": hash(number),
            "blockNumber": format!("{number:#x}"), "transactionHash": B256::left_padding_from(&index.to_be_bytes()),
            "logIndex": format!("{index:#x}"), "removed": false,
        })
    };
    let logs: Vec<_> = (0..IN_A_BLOCK).map(|index| (index, index % SHARE == 0)).map(log).collect();
    json!(logs).to_string()
}

fn hash(number: u64) -> B256 {
    B256::left_padding_from(&(number + 1).to_be_bytes())
}

async fn read(ledger: &Ledger, network: &Network, number: u64, text: &str) {
    let logs: Vec<LogEntry> = serde_json::from_str(text).expect("logs");
    let block = Block {
        number,
        hash: hash(number).to_string(),
        parent_hash: B256::ZERO.to_string(),
        timestamp: chrono::DateTime::UNIX_EPOCH,
    };
    let entries = observe::entries(&[TOKEN], &block.hash, &logs).expect("the logs of one block");
    let mut db = ledger.begin().await.expect("the database answers");
    let owners = owners(&mut db, network, entries.transfers.iter()).await.expect("the database answers");
    assert!(!owners.is_empty(), "some of it is ours");
    credit(&mut db, network, &block, (&entries.transfers, &owners), &[]).await.expect("the database answers");
}
