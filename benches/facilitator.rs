//! Our release binary beside the TypeScript reference facilitator: one run, one chain, the same kinds of payments, one load
//! generator. Every request is a fresh authorization, nothing is cached, and the database is as durable as in production.
//!
//! `cargo bench --bench facilitator` prints the tables and writes them into docs/PERFORMANCE.md. `BENCH_ROUNDS=1` is quicker.

#![expect(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::format_push_string,
    clippy::similar_names,
    clippy::unnecessary_debug_formatting,
    clippy::zombie_processes,
    reason = "a benchmark counts small numbers, runs tasks and processes of its own, and reads clocks"
)]

#[path = "../tests/support/mod.rs"]
mod support;

#[path = "facilitator/load.rs"]
mod load;
#[path = "facilitator/peer.rs"]
mod peer;
#[path = "facilitator/report.rs"]
mod report;

use std::time::{Duration, Instant};

use serde_json::json;

use load::{Kind, Run};
use peer::Peer;
use report::Report;
use support::chain::{Chain, ChainOptions};
use support::facilitator::{Facilitator, NetworkOptions, Options};
use support::proxy::Proxy;

/// (concurrency, requests) of the verify runs, ours and the reference's.
const VERIFY: [(usize, usize, usize); 4] = [(1, 200, 40), (8, 1_000, 120), (64, 6_000, 256), (256, 6_000, 256)];

/// The same for settle.
const SETTLE: [(usize, usize, usize); 4] = [(1, 5, 5), (8, 40, 16), (64, 500, 64), (256, 5_000, 256)];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(bench());
}

async fn bench() {
    let rounds = std::env::var("BENCH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let mut report = Report::default();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        ours(&mut report).await;
        reference(&mut report).await;
    }
    report.print_and_write(rounds);
}

async fn new_chain() -> (Chain, Proxy) {
    let chain = Chain::start(ChainOptions { payers: 100, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&chain.url);
    (chain, proxy)
}

async fn ours(report: &mut Report) {
    let (chain, proxy) = new_chain().await;
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..NetworkOptions::of(&chain) };
    // A private database with its durability on, as an operator gets it without configuring anything.
    let mut options = Options::new(network, &String::new().into());
    options.database = None;
    let mut facilitator = Facilitator::start(&options).await;
    // The first payment makes connections and prices known; no figure contains it.
    load::run(&facilitator.peer(), &chain, &proxy, Kind::Settle, 1, 1, 0).await;
    report.note("idle resident memory, MiB", facilitator.peer().memory_mib());
    let mut seed = 1;
    for (concurrency, requests, _) in VERIFY {
        seed += 1;
        report.add("quittance", load::run(&facilitator.peer(), &chain, &proxy, Kind::Verify, concurrency, requests, seed).await);
    }
    report
        .note("verify p50 over a bare eth_call of the same simulation, ms", bare_difference(&chain, &proxy, &facilitator).await);
    for (concurrency, requests, _) in SETTLE {
        seed += 1;
        let run = load::run(&facilitator.peer(), &chain, &proxy, Kind::Settle, concurrency, requests, seed).await;
        report.add("quittance", run);
    }
    facilitator.kill().await;
    report.note("ready after kill -9, s", facilitator.restart().await.as_secs_f64());
    facilitator.terminate().await;
}

async fn reference(report: &mut Report) {
    let (chain, proxy) = new_chain().await;
    let peer = peer::start_reference(&chain, &proxy, false).await;
    load::run(&peer, &chain, &proxy, Kind::Settle, 1, 1, 0).await;
    let mut seed = 100;
    for (concurrency, _, requests) in VERIFY {
        seed += 1;
        report.add("reference", load::run(&peer, &chain, &proxy, Kind::Verify, concurrency, requests, seed).await);
    }
    for (concurrency, _, requests) in SETTLE {
        seed += 1;
        report.add("reference", load::run(&peer, &chain, &proxy, Kind::Settle, concurrency, requests, seed).await);
    }
}

/// How much longer a verify at concurrency 1 takes than the very call that it makes, asked directly.
async fn bare_difference(chain: &Chain, proxy: &Proxy, facilitator: &Facilitator) -> f64 {
    const ROUNDS: usize = 100;
    let peer = facilitator.peer();
    let verify = load::run(&peer, chain, proxy, Kind::Verify, 1, ROUNDS, 50).await;
    let call = proxy.last_params("eth_call").expect("a simulation went through the proxy");
    let client = support::http_client();
    let mut bare = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let started = Instant::now();
        let request = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": call});
        let answer = client.post(&proxy.url).json(&request).send().await.expect("the node answers");
        answer.bytes().await.expect("the node answers");
        bare.push(started.elapsed());
    }
    let (verify, bare) = (verify.percentile(50), load::percentile(&mut bare, 50));
    eprintln!("  verify p50 {verify:?}, bare call p50 {bare:?}, ratio {:.2}", verify.as_secs_f64() / bare.as_secs_f64());
    (verify.saturating_sub(bare)).as_secs_f64() * 1_000.0
}

impl Facilitator {
    fn peer(&self) -> Peer {
        Peer { url: self.url.clone(), pid: self.process.id().expect("it runs"), _process: None }
    }
}

impl Run {
    fn percentile(&self, percent: usize) -> Duration {
        load::percentile(&mut self.latencies.clone(), percent)
    }
}
