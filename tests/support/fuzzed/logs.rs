//! What an EVM node answers about a block.

use alloy::primitives::Address;
use quittance::chain::evm::observe::{Header, LogEntry, by_block, entries};
use quittance::domain::transfer::Use;
use serde::Deserialize;

/// A header of a block and logs, as if one answer had both.
#[derive(Deserialize)]
struct Answers {
    header: Header,
    logs: Vec<LogEntry>,
}

/// Checks that no transfer is told that no log announces, none twice, and no authorization with another one's. Returns whether the logs are
/// those of one block.
///
/// # Panics
/// If it is not so.
pub fn logs(bytes: &[u8]) -> bool {
    let Ok(Answers { header, logs }) = serde_json::from_slice(bytes) else { return false };
    let Some(block) = header.block() else { return false };
    let tokens: Vec<Address> = logs.iter().map(|log| log.address).take(2).collect();
    let _ = header.may_hold_entries(&tokens);
    drop(by_block(std::slice::from_ref(&block), logs.clone()));
    let Some(found) = entries(&tokens, &block.hash, &logs) else { return false };
    assert!(found.transfers.len() + found.uses.len() <= 2 * logs.len());
    assert!(found.transfers.is_sorted_by(|one, next| one.index < next.index), "in their order, and none twice");
    let mut used = Vec::new();
    for entry in &found.uses {
        if let Use::Spent(Some(transfer)) = &entry.outcome {
            assert!(found.transfers.contains(transfer) && !used.contains(&transfer.index), "one transfer for one authorization");
            used.push(transfer.index);
        }
    }
    true
}
