//! Evidence: what the service promises, counted under crashes, faults, reorganisations and load.
//!
//! Each test prints one line with its figures and wants 0 violations. `QUITTANCE_EVIDENCE=full` runs the long forms. The truth is
//! read from the chain past all proxies, from the database, and from the answers that callers got.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use quittance::ledger::Ledger;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::eventually;
use crate::support::facilitator::{NetworkOptions, Options};
use crate::support::payer::{Signed, Terms};
use crate::support::proxy::Proxy;

mod agreement;
mod bad_input;
mod batches;
mod burst;
mod chaos;
mod coupling;
mod crash;
mod credits;
mod duplicates;
mod faults;
mod fuzzed;
mod golden;
mod hostile;
mod lanes;
mod merchant_input;
mod recorded;
mod reorg;
mod replayed;
mod reservations;
mod rows;
mod solana;
mod strangers;
mod streams;
mod wallets;

/// How a transaction is handed to a node.
const SEND: &str = "eth_sendRawTransaction";

/// Long enough for a settlement that has to survive something, and short enough for a test that fails.
const PATIENCE: Duration = Duration::from_secs(40);

/// What the service may take up, whatever strangers do.
const MEMORY_MIB_MAX: f64 = 256.0;

/// Everything that is committed on the way of a settlement.
const COMMITS: [&str; 4] = ["INSERT INTO authorizations", "INSERT INTO attempts", "INSERT INTO claims", "SET handed_out_at"];

/// How often something is done: in `make test`, and for the record.
fn scale(short: usize, full: usize) -> usize {
    if is_full() { full } else { short }
}

/// Whether this run is for the record, alone on its machine. Only then does the clock decide anything.
fn is_full() -> bool {
    std::env::var("QUITTANCE_EVIDENCE").is_ok_and(|value| value == "full")
}

/// Prints the figures of a test.
fn report(name: &str, figures: &str) {
    println!("evidence: {name}: {figures}");
}

/// The folder with what others have published, which is not ours to copy. A run for the record needs one, and what is missing in one that
/// is named is a failure in every run.
fn fixtures() -> Option<PathBuf> {
    let folder = std::env::var_os("QUITTANCE_FIXTURES").map(PathBuf::from);
    if folder.is_none() {
        assert!(!is_full(), "QUITTANCE_FIXTURES names no folder, and this run is for the record");
        // What is printed with a macro is not shown of a test that passes.
        drop(writeln!(std::io::stderr(), "skipped: QUITTANCE_FIXTURES names no folder"));
    }
    folder
}

/// A chain, a database, and a merchant.
struct World {
    chain: Chain,
    database: SecretString,
    ledger: Ledger,
    merchant: String,
}

/// A payment as the ledger has it.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    nonce: String,
    claim: Option<String>,
    given_up_reason: Option<String>,
}

impl World {
    async fn new(options: ChainOptions) -> Self {
        let chain = Chain::start(options).await;
        let database = database::fresh().await;
        let ledger = database::ledger(&database).await;
        let merchant = chain.text("/accounts/merchant/address");
        Self { chain, database, ledger, merchant }
    }

    /// The same chain with an empty database.
    async fn renew(&mut self) {
        self.database = database::fresh().await;
        self.ledger = database::ledger(&self.database).await;
    }

    /// One network behind these proxies.
    fn options(&self, nodes: &[&Proxy]) -> Options {
        let rpc = nodes.iter().map(|node| node.url.clone()).collect();
        Options::new(NetworkOptions { rpc, ..NetworkOptions::of(&self.chain) }, &self.database)
    }

    /// A cent to the merchant, from the payer with this number.
    fn signed(&self, payer: usize) -> Signed {
        let payers = &self.chain.payers;
        payers[payer % payers.len()].authorize(&Terms { valid_for: 500, ..Terms::to(&self.merchant) })
    }

    async fn rows(&self) -> Vec<Row> {
        let rows = sqlx::query_as(
            "SELECT '0x' || encode(substr(p.key, 41), 'hex') AS nonce, c.transaction AS claim, p.given_up_reason
             FROM payments p LEFT JOIN claims c ON c.payment_id = p.id ORDER BY p.id",
        );
        rows.fetch_all(self.ledger.pool()).await.expect("the database answers")
    }

    /// A figure out of the database.
    async fn count(&self, query: &'static str) -> i64 {
        sqlx::query_scalar(query).fetch_one(self.ledger.pool()).await.expect("the database answers")
    }

    /// Waits until something holds in the database.
    async fn until(&self, what: &str, query: &'static str) {
        eventually(what, PATIENCE, || async { (self.count(query).await > 0).then_some(()) }).await;
    }

    /// Waits until the network's slots are all spent, so that nothing is under way any more.
    async fn until_idle(&self) {
        let open = "SELECT count(*) FROM submissions WHERE spent_block IS NULL";
        eventually("an end of all submissions", PATIENCE, || async { (self.count(open).await == 0).then_some(()) }).await;
    }

    /// Stops the blocks, or lets them come each second again.
    async fn mining(&self, on: bool) {
        self.chain.rpc("evm_setIntervalMining", json!([u8::from(on)])).await;
    }

    /// Counts what is wrong about payments that must all have been paid, each once, and nothing else: a payment without a transfer
    /// or with two, a row that says otherwise, a transfer that belongs to none.
    async fn violations(&self, paid: &[Signed], transfers_before: usize) -> usize {
        let rows = self.rows().await;
        let transfers = self.chain.transfers_to(&self.merchant).await.len() - transfers_before;
        let mut violations = transfers.abs_diff(paid.len());
        let uses = join_all(paid.iter().map(|signed| self.chain.uses_of(signed))).await;
        for (signed, uses) in paid.iter().zip(uses) {
            let nonce = signed.nonce.to_string();
            let held: Vec<_> = rows.iter().filter(|row| row.nonce == nonce).collect();
            let right = matches!((uses.as_slice(), held.as_slice()), ([used], [row]) if row.claim.as_ref() == Some(used));
            if !right {
                println!("violation: {nonce}: on chain {uses:?}, in the ledger {held:?}");
                violations += 1;
            }
        }
        violations
    }
}

fn is_success(answer: &Value) -> bool {
    answer["success"] == true
}

fn reason(answer: &Value) -> &str {
    answer["errorReason"].as_str().unwrap_or_default()
}
