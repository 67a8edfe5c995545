//! Our release binary beside the TypeScript reference facilitator: one run, one chain, the same payments, one load generator.
//! Every request is a fresh authorization, nothing is cached, and the database is as durable as in production.
//!
//! `cargo bench --bench facilitator` prints the tables, writes them into docs/PERFORMANCE.md, and ends with an error if a limit
//! is missed. `BENCH_ROUNDS=1` is quicker. `BENCH_SCALE=0.05` sends a twentieth of the requests, to see whether the benchmark
//! itself works; such figures are printed only.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
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

#[path = "facilitator/limits.rs"]
mod limits;
#[path = "facilitator/load.rs"]
mod load;
#[path = "facilitator/peer.rs"]
mod peer;
#[path = "facilitator/report.rs"]
mod report;
#[path = "facilitator/solana.rs"]
mod solana;
#[path = "facilitator/wire.rs"]
mod wire;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use load::{Kind, Load, PAYERS, percentile};
use peer::{Peer, Reference};
use report::{Report, Who};
use support::chain::{Chain, ChainOptions};
use support::facilitator::{Facilitator, NetworkOptions, Options};
use support::proxy::Proxy;
use wire::Connection;

/// Concurrency of the verify runs, requests for us and for the reference: two to four seconds of the time of either.
const VERIFY: [(usize, usize, usize); 4] = [(1, 4_000, 500), (8, 16_000, 1_000), (64, 36_000, 1_000), (256, 36_000, 1_000)];

/// The same for settle.
const SETTLE: [(usize, usize, usize); 4] = [(1, 30, 30), (8, 80, 80), (64, 500, 500), (256, 5_000, 1_000)];

/// What everybody gets before the first figure, so that connections are made, prices known, and JavaScript compiled.
const WARM_UP: [Load; 2] =
    [Load { kind: Kind::Verify, concurrency: 8, requests: 500 }, Load { kind: Kind::Settle, concurrency: 8, requests: 32 }];

/// How often a verify and the bare call it makes are timed, in turns.
const PAIRS: usize = 500;

/// How often the node is asked for a balance, to see whether it is as quick for each of those who are measured.
const BALANCES: usize = 200;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(bench())
}

async fn bench() -> ExitCode {
    let rounds = page::setting("BENCH_ROUNDS").unwrap_or(3);
    let scale = page::setting("BENCH_SCALE").unwrap_or(1.0);
    let mut report = Report::default();
    for number in 0..rounds {
        eprintln!("round {} of {rounds}", number + 1);
        let mut round = Round::start(scale, &mut report).await;
        // One after the other on the same chain; each round somebody else is first.
        for who in [Who::Quittance, Who::Reference, Who::NonceManager].into_iter().cycle().skip(number % 3).take(3) {
            round.measure(who).await;
        }
        round.node_speed("balance read at the node, at the end of the round, p50 ms").await;
        drop(round);
        solana::measure(&mut report, number, |count| scaled(count, scale)).await;
    }
    println!("{}", report.text(rounds));
    if scale < 1.0 {
        eprintln!("These are figures of a short form: docs/PERFORMANCE.md stays as it is.");
    } else {
        report.write(rounds);
    }
    let missed = report.missed();
    for name in &missed {
        eprintln!("missed: {name}");
    }
    if missed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn scaled(count: usize, scale: f64) -> usize {
    ((count as f64 * scale) as usize).clamp(1, count)
}

/// One chain, and everybody who is measured on it.
struct Round<'a> {
    chain: Chain,
    scale: f64,
    report: &'a mut Report,
}

impl<'a> Round<'a> {
    async fn start(scale: f64, report: &'a mut Report) -> Self {
        let chain = Chain::start(ChainOptions { payers: PAYERS, ..ChainOptions::default() }).await;
        Self { chain, scale, report }
    }

    async fn measure(&mut self, who: Who) {
        eprintln!(" {}", who.name());
        // What the one before left in the pool must neither go into blocks of this one nor stand in the way of its nonces.
        self.chain.rpc("anvil_dropAllTransactions", json!([])).await;
        // Calls are counted for each apart: everybody has a proxy of its own to the same node.
        let proxy = Proxy::start(&self.chain.url);
        match who {
            Who::Quittance => {
                self.node_speed("balance read at the node, before Quittance, p50 ms").await;
                self.quittance(&proxy).await;
            }
            Who::Reference => {
                self.node_speed("balance read at the node, before the reference, p50 ms").await;
                self.reference(who, &proxy).await;
            }
            Who::NonceManager => {
                self.node_speed("balance read at the node, before the reference with a nonce manager, p50 ms").await;
                self.reference(who, &proxy).await;
            }
        }
    }

    async fn quittance(&mut self, proxy: &Proxy) {
        let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..NetworkOptions::of(&self.chain) };
        // A private database with its durability on, as an operator gets it without configuring anything.
        let mut options = Options::new(network, &String::new().into());
        options.database = None;
        let mut facilitator = Facilitator::start(&options).await;
        let peer = Peer { url: facilitator.url.clone(), pid: facilitator.process.id().expect("it runs") };
        self.report.note(report::IDLE_BEFORE, peer.memory_mib());
        self.warm_up(&peer, proxy).await;
        self.report.note(report::IDLE_AFTER, peer.memory_mib());
        for (concurrency, requests, _) in VERIFY {
            self.load(Who::Quittance, &peer, proxy, Load { kind: Kind::Verify, concurrency, requests }).await;
        }
        self.verify_beside_a_bare_call(&peer, proxy).await;
        for (concurrency, requests, _) in SETTLE {
            self.load(Who::Quittance, &peer, proxy, Load { kind: Kind::Settle, concurrency, requests }).await;
        }
        let killed = Instant::now();
        facilitator.kill().await;
        facilitator.restart().await;
        self.report.note(report::READY, killed.elapsed().as_secs_f64());
        facilitator.terminate().await;
    }

    async fn reference(&mut self, who: Who, proxy: &Proxy) {
        let reference = Reference::start(&self.chain, proxy, who == Who::NonceManager).await;
        self.warm_up(&reference.peer, proxy).await;
        // A nonce manager makes no difference to verify.
        for (concurrency, _, requests) in VERIFY.into_iter().filter(|_| who == Who::Reference) {
            self.load(who, &reference.peer, proxy, Load { kind: Kind::Verify, concurrency, requests }).await;
        }
        for (concurrency, _, requests) in SETTLE {
            self.load(who, &reference.peer, proxy, Load { kind: Kind::Settle, concurrency, requests }).await;
        }
        reference.stop().await;
    }

    async fn warm_up(&self, peer: &Peer, proxy: &Proxy) {
        for load in WARM_UP {
            load::run(peer, &self.chain, proxy, self.scaled(load)).await;
        }
    }

    async fn load(&mut self, who: Who, peer: &Peer, proxy: &Proxy, load: Load) {
        let run = load::run(peer, &self.chain, proxy, self.scaled(load)).await;
        self.report.add(who, run);
    }

    fn scaled(&self, load: Load) -> Load {
        Load { requests: self.count(load.requests), ..load }
    }

    fn count(&self, count: usize) -> usize {
        scaled(count, self.scale)
    }

    /// How long one verify takes, and how long the very call that it made, asked directly through the same proxy. In turns, so
    /// that both see the same machine.
    async fn verify_beside_a_bare_call(&mut self, peer: &Peer, proxy: &Proxy) {
        let (mut facilitator, mut node) = (Connection::to(&peer.url), Connection::to(&proxy.url));
        let (mut verify, mut bare) = (Vec::new(), Vec::new());
        for signed in load::authorizations(&self.chain, self.count(PAIRS)) {
            let request = wire::request(&peer.url, "/verify", &signed.v2().to_string());
            let (took, answer) = timed(&mut facilitator, &request).await;
            assert_eq!(answer["isValid"], true, "a fresh authorization is good: {answer}");
            verify.push(took);
            let call = proxy.last_params("eth_call").expect("a simulation went through the proxy");
            // A simulation goes to no contract: it brings its own code along. The watcher may have asked for something else.
            if call[0].get("to").is_none_or(Value::is_null) {
                let request = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_call", "params": call});
                let (took, answer) = timed(&mut node, &wire::request(&proxy.url, "/", &request.to_string())).await;
                assert!(answer["result"].is_string(), "the node simulates again: {answer}");
                bare.push(took);
            }
        }
        let (verify, bare) = (percentile(&verify, 50), percentile(&bare, 50));
        self.report.note("verify at 1 in turns with bare calls, p50 ms", verify);
        self.report.note("bare `eth_call` of the same simulation, p50 ms", bare);
        self.report.note("that verify over the bare call, times", verify / bare);
        self.report.note("that verify over the bare call, ms more", verify - bare);
        self.report.note(report::VERIFY_ALONE, verify / (bare * 1.5).max(bare + 1.0));
    }

    /// Whether the node is as quick as before: it keeps every block of the round.
    async fn node_speed(&mut self, when: &'static str) {
        let mut took = Vec::with_capacity(BALANCES);
        for _ in 0..BALANCES {
            let started = Instant::now();
            self.chain.usdc_of(&self.chain.payers[0].address()).await;
            took.push(started.elapsed());
        }
        self.report.note(when, percentile(&took, 50));
    }
}

/// A request whose clock runs from the first byte sent to the last one received.
async fn timed(connection: &mut Connection, request: &[u8]) -> (Duration, Value) {
    let started = Instant::now();
    let (_, answer) = connection.send(request).await.expect("it answers");
    let took = started.elapsed();
    (took, serde_json::from_slice(&answer).expect("JSON"))
}
