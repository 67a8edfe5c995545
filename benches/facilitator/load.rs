//! The load generator: so many requests, so many at a time, each a fresh authorization.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::peer::{Peer, processor_time};
use super::support::chain::{Chain, hex};
use super::support::http_client;
use super::support::payer::{Signed, Terms};
use super::support::proxy::Proxy;
use super::wire::{self, Connection};

/// How many accounts pay, in turns.
pub const PAYERS: usize = 50;

/// What every payment is worth, in atomic units.
const AMOUNT: u128 = 100;

/// After this nothing more is sent: a facilitator that stands still must not hold up the benchmark. What was not sent counts
/// as not answered.
const SENDING: Duration = Duration::from_mins(2);

/// How long one answer is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `POST /verify`.
    Verify,
    /// `POST /settle`.
    Settle,
    /// `POST /verify` of a payment on Solana.
    SolanaVerify,
    /// `POST /settle` of a payment on Solana.
    SolanaSettle,
    /// The same of payments that were verified a moment ago.
    SolanaSettleVerified,
}

impl Kind {
    /// Its name in the tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verify => "Verify",
            Self::Settle => "Settle",
            Self::SolanaVerify => "Verify on Solana",
            Self::SolanaSettle => "Settle on Solana",
            Self::SolanaSettleVerified => "Settle on Solana what was just verified",
        }
    }

    /// Whether money moves.
    pub const fn settles(self) -> bool {
        matches!(self, Self::Settle | Self::SolanaSettle | Self::SolanaSettleVerified)
    }
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// What is asked for.
    pub kind: Kind,
    /// Requests at a time.
    pub concurrency: usize,
    /// Requests in all.
    pub requests: usize,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Run {
    /// What was asked for, and how much of it.
    pub load: Load,
    /// Requests that were answered with what was wanted.
    pub succeeded: usize,
    /// What the others were answered with, and how many of them.
    pub refusals: BTreeMap<String, usize>,
    /// Payments of this run that the chain carried out.
    pub transfers: usize,
    /// How long it took in all.
    pub took: Duration,
    /// How long each request took.
    pub latencies: Vec<Duration>,
    /// Calls to nodes, all of them, from the first request to the last answer.
    pub calls: u64,
    /// Gas for each payment, from the receipts; on Solana lamports.
    pub gas: Option<f64>,
    /// From when the load generator itself saw the block to the answer.
    pub after_block: Vec<Duration>,
    /// The most resident memory from the first request to the last answer, MiB.
    pub peak_memory: f64,
    /// Processor time of the facilitator's process.
    pub busy: Duration,
    /// Processor time of the benchmark itself: the load generator and the proxy, which take it from the same cores.
    pub own_busy: Duration,
}

impl Run {
    /// Answers per second that were what was wanted.
    pub fn rate(&self) -> f64 {
        self.succeeded as f64 / self.took.as_secs_f64()
    }

    /// Calls to nodes for each request.
    pub fn calls_each(&self) -> f64 {
        self.calls as f64 / self.load.requests as f64
    }

    /// Milliseconds of the facilitator's processor time for each request.
    pub fn busy_each(&self) -> f64 {
        self.busy.as_secs_f64() * 1_000.0 / self.load.requests as f64
    }

    /// Milliseconds of the benchmark's own processor time for each request.
    pub fn own_busy_each(&self) -> f64 {
        self.own_busy.as_secs_f64() * 1_000.0 / self.load.requests as f64
    }

    /// Requests that were not answered with what was wanted.
    pub fn failures(&self) -> usize {
        self.load.requests - self.succeeded
    }

    /// How long requests took, in milliseconds.
    pub fn latency(&self, percent: usize) -> f64 {
        percentile(&self.latencies, percent)
    }

    /// How long after their block answers came, in milliseconds.
    pub fn after_block(&self, percent: usize) -> f64 {
        percentile(&self.after_block, percent)
    }
}

struct Answered {
    took: Duration,
    at: Instant,
    outcome: Result<Option<String>, String>,
}

/// Fresh authorizations, by all payers in turns, for one merchant.
pub fn authorizations(chain: &Chain, count: usize) -> Vec<Signed> {
    let merchant = chain.text("/accounts/merchant/address");
    let terms = Terms { amount: AMOUNT, valid_for: 3_600, timeout: 3_600, ..Terms::to(&merchant) };
    chain.payers.iter().cycle().take(count).map(|payer| payer.authorize(&terms)).collect()
}

/// Puts a load on a facilitator. Everything is signed before the clock starts.
pub async fn run(peer: &Peer, chain: &Chain, proxy: &Proxy, load: Load) -> Run {
    let signed = authorizations(chain, load.requests);
    let from_block = chain.height().await;
    let blocks = load.kind.settles().then(|| watch_blocks(chain.url.clone()));
    let answers = put(peer, proxy, load, signed.iter().map(|signed| signed.v2().to_string())).await;
    let paid = answers.paid();
    let (gas, numbers) = receipts(chain, &paid).await;
    let after_block = match blocks {
        Some(blocks) => after_block(&paid, &numbers, &blocks.stop().await),
        None => Vec::new(),
    };
    let transfers = if load.kind.settles() { transfers(chain, from_block, &signed).await } else { 0 };
    Run { gas, after_block, ..answers.into_run(load, transfers) }
}

/// The answers to a load, and what it took to give them.
pub struct Answers {
    list: Vec<Answered>,
    took: Duration,
    calls: u64,
    peak_memory: f64,
    busy: Duration,
    own_busy: Duration,
}

/// Sends these bodies, so many at a time.
pub async fn put(peer: &Peer, proxy: &Proxy, load: Load, bodies: impl Iterator<Item = String>) -> Answers {
    let Load { kind, concurrency, requests } = load;
    let path = if kind.settles() { "/settle" } else { "/verify" };
    let sendings: Arc<Vec<Vec<u8>>> = Arc::new(bodies.map(|body| wire::request(&peer.url, path, &body)).collect());
    let next = Arc::new(AtomicUsize::new(0));
    peer.forget_peak_memory();
    proxy.reset();
    let busy = (peer.processor_time(), processor_time("self"));
    let started = Instant::now();
    let workers = (0..concurrency).map(|_| {
        let (sendings, next, mut connection) = (Arc::clone(&sendings), Arc::clone(&next), Connection::to(&peer.url));
        tokio::spawn(async move {
            let mut answers = Vec::new();
            while started.elapsed() < SENDING
                && let Some(sending) = sendings.get(next.fetch_add(1, Ordering::Relaxed))
            {
                let sent = Instant::now();
                let outcome = ask(&mut connection, kind, sending).await;
                answers.push(Answered { took: sent.elapsed(), at: Instant::now(), outcome });
            }
            answers
        })
    });
    let mut list = Vec::with_capacity(requests);
    for worker in workers.collect::<Vec<_>>() {
        list.extend(worker.await.expect("no worker panics"));
    }
    let took = started.elapsed();
    let calls = proxy.all_calls().values().sum();
    let (busy, own_busy) = (peer.processor_time().saturating_sub(busy.0), processor_time("self").saturating_sub(busy.1));
    Answers { list, took, calls, peak_memory: peer.peak_memory_mib(), busy, own_busy }
}

impl Answers {
    /// The transactions of successes, and when each was told.
    fn paid(&self) -> Vec<(String, Instant)> {
        self.list.iter().filter_map(|answer| Some((answer.outcome.clone().ok()??, answer.at))).collect()
    }

    /// The run, given how many payments were carried out. Says what came of it.
    pub fn into_run(self, load: Load, transfers: usize) -> Run {
        let succeeded = self.list.iter().filter(|answer| answer.outcome.is_ok()).count();
        let mut refusals = BTreeMap::new();
        for refusal in self.list.iter().filter_map(|answer| answer.outcome.clone().err()) {
            *refusals.entry(refusal).or_default() += 1;
        }
        assert!(!load.kind.settles() || transfers >= succeeded, "{succeeded} successes, but only {transfers} transfers on chain");
        let latencies = self.list.iter().map(|answer| answer.took).collect();
        let Self { took, calls, peak_memory, busy, own_busy, .. } = self;
        let (gas, after_block) = (None, Vec::new());
        let run =
            Run { load, succeeded, refusals, transfers, took, latencies, calls, gas, after_block, peak_memory, busy, own_busy };
        eprintln!(
            "  {} c={} n={}: {succeeded} good, {:.1}/s, {:.2} calls each, {:.2} ms busy each, {:.2} ms here",
            load.kind.name(),
            load.concurrency,
            load.requests,
            run.rate(),
            run.calls_each(),
            run.busy_each(),
            run.own_busy_each(),
        );
        for (refusal, count) in &run.refusals {
            eprintln!("    {count} times {refusal}");
        }
        run
    }
}

/// The transaction, if there is one; or what was answered instead of what is wanted.
async fn ask(connection: &mut Connection, kind: Kind, sending: &[u8]) -> Result<Option<String>, String> {
    let answer = tokio::time::timeout(PATIENCE, connection.send(sending)).await;
    let (status, body) = answer.map_err(|_| "no answer in time".to_owned())?.map_err(|error| error.kind().to_string())?;
    let answer: Value = serde_json::from_slice(&body).map_err(|_| format!("{status} without JSON"))?;
    let (wanted, reason) = if kind.settles() { ("success", "errorReason") } else { ("isValid", "invalidReason") };
    if answer[wanted] == true {
        return Ok(answer["transaction"].as_str().map(str::to_owned));
    }
    let reason = answer[reason].as_str().or_else(|| answer["error"].as_str()).unwrap_or("no reason");
    // The reference's own words go on for lines, with addresses and numbers in them.
    Err(format!("{status} {}", reason.lines().next().unwrap_or_default().chars().take(60).collect::<String>()))
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

/// How many transfers to the merchant happened in transactions that used these authorizations: what the chain says, whoever
/// was told what.
async fn transfers(chain: &Chain, from_block: u64, signed: &[Signed]) -> usize {
    const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
    const AUTHORIZATION_USED: &str = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5";
    let logs = async |topics: Value| {
        let filter =
            json!({"fromBlock": format!("{from_block:#x}"), "toBlock": "latest", "address": chain.usdc(), "topics": topics});
        chain.rpc("eth_getLogs", json!([filter])).await.as_array().expect("logs").clone()
    };
    let nonces: HashSet<String> = signed.iter().map(|signed| signed.nonce.to_string()).collect();
    let used = logs(json!([AUTHORIZATION_USED])).await;
    let used = used.iter().filter(|log| log["topics"][2].as_str().is_some_and(|nonce| nonces.contains(nonce)));
    let transactions: HashSet<&str> = used.filter_map(|log| log["transactionHash"].as_str()).collect();
    let merchant = chain.text("/accounts/merchant/address");
    let recipient = format!("0x{:0>64}", merchant.trim_start_matches("0x").to_lowercase());
    let paid = logs(json!([TRANSFER, null, recipient])).await;
    paid.iter().filter(|log| log["transactionHash"].as_str().is_some_and(|hash| transactions.contains(hash))).count()
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

fn after_block(paid: &[(String, Instant)], numbers: &HashMap<String, u64>, seen: &HashMap<u64, Instant>) -> Vec<Duration> {
    let after = |(transaction, at): &(String, Instant)| Some(at.saturating_duration_since(*seen.get(numbers.get(transaction)?)?));
    paid.iter().filter_map(after).collect()
}

/// A percentile of durations in milliseconds; NaN of none.
pub fn percentile(durations: &[Duration], percent: usize) -> f64 {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).map_or(f64::NAN, |duration| duration.as_secs_f64() * 1_000.0)
}
