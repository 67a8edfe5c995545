//! Transfers to registered addresses: found wherever they stand, once, whatever nodes and processes do meanwhile.

use std::time::Duration;

use quittance::domain::network::Network;
use quittance::ledger::Ledger;
use serde_json::Value;

use crate::support::eventually;

mod beginning;
mod catching_up;
mod reading_again;
mod solana;

const PATIENCE: Duration = Duration::from_mins(1);

/// The height of the newest block in a ledger.
async fn cursor(ledger: &Ledger, network: &Network) -> u64 {
    ledger.cursor(network).await.expect("the database answers").map_or(0, |cursor| cursor.heights.head)
}

/// Waits until a ledger has come to a height.
async fn until_read(ledger: &Ledger, network: &Network, height: u64) {
    eventually("the newest block", PATIENCE, || async { (cursor(ledger, network).await >= height).then_some(()) }).await;
}

/// The transactions of transfers, in the order of the alphabet.
fn names(transfers: &[Value], member: &str) -> Vec<String> {
    let name = |transfer: &Value| transfer[member].as_str().expect("a name").to_owned();
    let mut names: Vec<_> = transfers.iter().map(name).collect();
    names.sort();
    names
}
