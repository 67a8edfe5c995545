//! How many transfers of a block the watcher takes in within a second, by how many addresses are registered.
//!
//! `cargo bench --bench watcher` prints the table, writes it into docs/PERFORMANCE.md, and ends with an error if the rate is not flat.
//! `BENCH_ROUNDS=1` is quicker.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::format_push_string,
    clippy::similar_names,
    clippy::unnecessary_debug_formatting,
    clippy::zombie_processes,
    reason = "a benchmark counts small numbers, runs tasks and processes of its own, and reads clocks and settings"
)]

#[path = "page.rs"]
mod page;
#[path = "../tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::process::ExitCode;

use std::sync::Arc;
use std::time::Instant;

use alloy::primitives::{Address as EvmAddress, B256};
use chrono::TimeDelta;
use quittance::app;
use quittance::chain::Observed;
use quittance::chain::evm::observe::{self, Entries, LogEntry};
use quittance::config::{self, Environment, SigningKeys};
use quittance::domain::block::{Block, Heights};
use quittance::domain::ids::AccountId;
use quittance::domain::network::Network;
use quittance::flow::Flows;
use quittance::flow::ingest::Ingested;
use quittance::ledger::Ledger;
use quittance::ledger::leases::Lease;
use quittance::metrics::Metrics;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

use page::{figure, median};
use support::database;

/// How many addresses are registered.
const REGISTERED: [u32; 3] = [10, 10_000, 1_000_000];

/// The rate with the fewest over that with the most.
const FLAT: f64 = 1.3;

/// Transfers in one block, about as many as on Base.
const IN_A_BLOCK: usize = 200;

/// One of so many goes to a registered address.
const SHARE: usize = 20;

/// Blocks that are read.
const BLOCKS: usize = 1_500;

/// Blocks that are read before the clock starts.
const WARM_UP: usize = 300;

const TOKEN: EvmAddress = EvmAddress::repeat_byte(1);

const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

/// The service's configuration. Nothing is asked of the node or signed.
const CONFIGURATION: &str = r#"
[database]
url = "postgres://nobody@localhost/nothing"

[[networks]]
id = "eip155:8453"
rpc = ["http://127.0.0.1:9"]
signers = [{ name = "bench", key_file = "KEY" }]
"#;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(bench())
}

async fn bench() -> ExitCode {
    drop(rustls::crypto::ring::default_provider().install_default());
    let rounds = page::setting("BENCH_ROUNDS").unwrap_or(3);
    let mut rates = Vec::new();
    for number in 0..rounds {
        eprintln!("round {} of {rounds}", number + 1);
        rates.push(measure().await);
    }
    let ratios: Vec<_> = rates.iter().map(|rates| rates[0] / rates[REGISTERED.len() - 1]).collect();
    let is_flat = median(ratios.clone()) <= FLAT;
    let mut text = page::measured(rounds);
    text.push_str("| transfers read per second | median | lowest | highest |\n|---|---|---|---|\n");
    for (index, registered) in REGISTERED.iter().enumerate() {
        write_row(
            &mut text,
            &format!("with {registered} registered addresses"),
            rates.iter().map(|rates| rates[index]).collect(),
        );
    }
    write_row(&mut text, "with the fewest over with the most", ratios);
    let kept = if is_flat { "kept" } else { "**missed**" };
    let _ = writeln!(text, "\nThe last row is to be at most {FLAT}: {kept}.");
    println!("{text}");
    page::write("bench-watcher", &text);
    if is_flat { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn write_row(text: &mut String, what: &str, figures: Vec<f64>) {
    let (lowest, highest) = figures.iter().fold((f64::NAN, f64::NAN), |(low, high), one| (low.min(*one), high.max(*one)));
    let of = |number| figure(number, 2);
    let _ = writeln!(text, "| {what} | {} | {} | {} |", of(median(figures)), of(lowest), of(highest));
}

/// Measures each number of addresses on a database of its own: decoding, and taking each block in as the watcher does, in one
/// transaction that is committed.
async fn measure() -> [f64; REGISTERED.len()] {
    let mut rates = [f64::NAN; REGISTERED.len()];
    let key = std::env::temp_dir().join(format!("quittance-bench-key-{}", std::process::id()));
    std::fs::write(&key, format!("0x{}", "11".repeat(32))).expect("a file for a key");
    let text = CONFIGURATION.replace("KEY", key.to_str().expect("a path"));
    let config = config::load_text(&text, &Environment::of_process(), SigningKeys::Wanted).expect("a configuration");
    let network = config.networks[0].network.clone();
    for (rate, registered) in rates.iter_mut().zip(REGISTERED) {
        let ledger = database::ledger(&database::fresh().await).await;
        register(&ledger, &network, registered).await;
        let flows = app::flows(&config, ledger, Arc::new(Metrics::new(&[]))).expect("the flows");
        let lease = flows.ledger.hold_lease("bench", uuid::Uuid::now_v7(), TimeDelta::hours(1)).await;
        let lease = lease.expect("the database answers").expect("nobody else has it");
        let mut random = StdRng::seed_from_u64(1);
        let blocks: Vec<_> = (0..WARM_UP + BLOCKS).map(|number| logs(&mut random, number as u64, registered)).collect();
        let mut started = Instant::now();
        for (number, text) in blocks.iter().enumerate() {
            if number == WARM_UP {
                // As the server does by itself every minute. Before it knows how large its tables are it reads them from end to end.
                sqlx::query("ANALYZE").execute(flows.ledger.pool()).await.expect("the database answers");
                started = Instant::now();
            }
            read(&flows, &lease, &network, number as u64, text).await;
        }
        *rate = (BLOCKS * IN_A_BLOCK) as f64 / started.elapsed().as_secs_f64();
        eprintln!("  with {registered} registered addresses: {rate:.0} transfers a second");
    }
    std::fs::remove_file(key).expect("the file is still there");
    rates
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
    // As the server does by itself sooner or later; in the middle of a measurement it would be counted.
    for settle in ["VACUUM (ANALYZE) addresses", "CHECKPOINT"] {
        sqlx::query(settle).execute(pool).await.expect("the database answers");
    }
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
    B256::left_padding_from(&number.wrapping_add(1).to_be_bytes())
}

async fn read(flows: &Flows, lease: &Lease, network: &Network, number: u64, text: &str) {
    let logs: Vec<LogEntry> = serde_json::from_str(text).expect("logs");
    let block = Block {
        number,
        hash: hash(number).to_string(),
        parent_hash: hash(number.wrapping_sub(1)).to_string(),
        timestamp: chrono::DateTime::UNIX_EPOCH,
    };
    let Entries { uses, transfers, upgraded, .. } =
        observe::entries(&[TOKEN], &block.hash, &logs).expect("the logs of one block");
    let observed = Observed { block, uses, transfers, upgraded, transactions: Vec::new(), node: 0 };
    let heights = Heights { head: number, safe: number.saturating_sub(32), finalized: number.saturating_sub(64) };
    let chain = flows.chains.find(network).expect("it is configured");
    let ingested = flows.ingest(lease, chain, &observed, heights).await.expect("the database answers");
    assert_eq!(ingested, Ingested::Done);
}
