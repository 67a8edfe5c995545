//! The load generator: so many requests, so many at a time, each a fresh authorization.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::peer::Peer;
use super::support::chain::{Chain, hex};
use super::support::http_client;
use super::support::payer::Terms;
use super::support::proxy::Proxy;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `POST /verify`.
    Verify,
    /// `POST /settle`.
    Settle,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// What was asked for.
    pub kind: Kind,
    /// Requests at a time.
    pub concurrency: usize,
    /// Requests in all.
    pub requests: usize,
    /// Requests that were answered with what was wanted.
    pub succeeded: usize,
    /// How long it took in all.
    pub took: Duration,
    /// How long each request took.
    pub latencies: Vec<Duration>,
    /// Calls to nodes, all of them, from the first request to the last answer.
    pub calls: u64,
    /// Gas for each payment, from the receipts.
    pub gas: Option<f64>,
    /// From when the load generator itself saw the block to the answer.
    pub after_block: Vec<Duration>,
    /// Resident memory at the end of the run, MiB.
    pub memory: f64,
}

struct Answered {
    took: Duration,
    at: Instant,
    transaction: Option<String>,
}

/// Sends `requests`, `concurrency` at a time.
pub async fn run(peer: &Peer, chain: &Chain, proxy: &Proxy, kind: Kind, concurrency: usize, requests: usize, seed: u64) -> Run {
    // Each run has a merchant of its own, so that its transfers can be counted apart.
    let merchant = format!("0x{:040x}", 0x00ff_0000_0000_u64 + seed);
    let terms = Terms { amount: 100, valid_for: 3_600, timeout: 3_600, ..Terms::to(&merchant) };
    let bodies: Vec<Value> = (0..requests).map(|index| chain.payers[index % chain.payers.len()].authorize(&terms).v2()).collect();
    let bodies: Arc<Vec<Vec<u8>>> = Arc::new(bodies.iter().map(|body| serde_json::to_vec(body).expect("JSON")).collect());
    let blocks = watch_blocks(chain.url.clone());
    let (next, client) = (Arc::new(AtomicUsize::new(0)), http_client());
    let url = format!("{}/{}", peer.url, if kind == Kind::Verify { "verify" } else { "settle" });
    proxy.reset();
    let started = Instant::now();
    let workers = (0..concurrency).map(|_| {
        let (bodies, next, client, url) = (Arc::clone(&bodies), Arc::clone(&next), client.clone(), url.clone());
        tokio::spawn(async move {
            let mut answers = Vec::new();
            while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                let sent = Instant::now();
                let answer = ask(&client, &url, kind, body.clone()).await;
                answers.push((
                    Answered { took: sent.elapsed(), at: Instant::now(), transaction: answer.clone().flatten() },
                    answer.is_some(),
                ));
            }
            answers
        })
    });
    let mut answers = Vec::with_capacity(requests);
    for worker in workers.collect::<Vec<_>>() {
        answers.extend(worker.await.expect("no worker panics"));
    }
    let took = started.elapsed();
    let calls = proxy.all_calls().values().sum();
    let memory = peer.memory_mib();
    let succeeded = answers.iter().filter(|(_, good)| *good).count();
    let paid: Vec<_> = answers.iter().filter_map(|(answer, _)| Some((answer.transaction.clone()?, answer.at))).collect();
    let (gas, numbers) = receipts(chain, &paid).await;
    let seen = blocks.stop().await;
    let after_block = paid
        .iter()
        .filter_map(|(transaction, at)| Some(at.saturating_duration_since(*seen.get(numbers.get(transaction)?)?)))
        .collect();
    if kind == Kind::Settle {
        let transfers = chain.transfers_to(&merchant).await.len();
        assert!(transfers >= succeeded, "{succeeded} successes, but only {transfers} transfers on chain");
    }
    let latencies = answers.iter().map(|(answer, _)| answer.took).collect();
    let run = Run { kind, concurrency, requests, succeeded, took, latencies, calls, gas, after_block, memory };
    eprintln!(
        "  {kind:?} c={concurrency} n={requests}: {succeeded} good, {:.1}/s, {:.2} calls each",
        rate(&run),
        calls as f64 / requests as f64
    );
    run
}

/// Answers per second that were what was wanted.
pub fn rate(run: &Run) -> f64 {
    run.succeeded as f64 / run.took.as_secs_f64()
}

/// `None` if the answer is not what was wanted; the transaction if there is one.
async fn ask(client: &reqwest::Client, url: &str, kind: Kind, body: Vec<u8>) -> Option<Option<String>> {
    let answer = client.post(url).header("content-type", "application/json").body(body).send().await.ok()?;
    let answer: Value = answer.json().await.ok()?;
    match kind {
        Kind::Verify => (answer["isValid"] == true).then_some(None),
        Kind::Settle => (answer["success"] == true).then(|| answer["transaction"].as_str().map(str::to_owned)),
    }
}

/// Gas for each payment over all transactions, and the block of each.
async fn receipts(chain: &Chain, paid: &[(String, Instant)]) -> (Option<f64>, HashMap<String, u64>) {
    let mut payments: BTreeMap<&str, u64> = BTreeMap::new();
    for (transaction, _) in paid {
        *payments.entry(transaction).or_default() += 1;
    }
    let (mut gas, mut numbers) = (0, HashMap::new());
    for transaction in payments.keys() {
        let receipt = chain.rpc("eth_getTransactionReceipt", json!([transaction])).await;
        gas += hex(&receipt["gasUsed"]);
        numbers.insert((*transaction).to_owned(), hex(&receipt["blockNumber"]));
    }
    ((!paid.is_empty()).then(|| gas as f64 / paid.len() as f64), numbers)
}

/// When the load generator saw each block, looking at the node itself every few milliseconds.
struct Blocks {
    seen: Arc<Mutex<HashMap<u64, Instant>>>,
    task: tokio::task::JoinHandle<()>,
}

fn watch_blocks(url: String) -> Blocks {
    let seen = Arc::new(Mutex::new(HashMap::new()));
    let (shared, client) = (Arc::clone(&seen), http_client());
    let task = tokio::spawn(async move {
        loop {
            let request = json!({"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []});
            if let Ok(answer) = client.post(&url).json(&request).send().await
                && let Ok(answer) = answer.json::<Value>().await
            {
                shared.lock().await.entry(hex(&answer["result"])).or_insert_with(Instant::now);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    Blocks { seen, task }
}

impl Blocks {
    async fn stop(self) -> HashMap<u64, Instant> {
        self.task.abort();
        self.seen.lock().await.clone()
    }
}

/// A percentile of durations; zero of none.
pub fn percentile(durations: &mut [Duration], percent: usize) -> Duration {
    durations.sort_unstable();
    let index = (durations.len() * percent / 100).min(durations.len().saturating_sub(1));
    durations.get(index).copied().unwrap_or_default()
}
