//! What addresses received and spent, asked for by address.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use alloy::primitives::{Address as EvmAddress, B256};
use alloy::sol_types::SolEvent;
use serde_json::{Value, json};

use super::abi::Token;
use super::exact::evm;
use super::observe::{self, LogEntry, Moved};
use super::rpc::Nodes;
use crate::chain::ChainError;
use crate::chain::nodes::{CallError, NodeFailure};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::reconciliation::Movement;

/// Addresses in one question: as many as all public nodes take.
const ADDRESSES_AT_ONCE: usize = 64;

/// Blocks in one question. Public nodes refuse much longer ranges.
const BLOCKS_AT_ONCE: u64 = 1_000;

/// As many logs as this are no answer about several blocks: there are nodes that cut theirs off here without a word.
const LOGS_MAX: usize = 10_000;

/// See [`crate::chain::Chain::movements`].
pub async fn movements(
    nodes: &Nodes,
    tokens: &[EvmAddress],
    addresses: &[Address],
    heights: RangeInclusive<u64>,
) -> Result<Vec<Movement>, ChainError> {
    let mut found = Found::default();
    for part in addresses.chunks(ADDRESSES_AT_ONCE) {
        let words: Vec<_> = part.iter().map(|address| evm(*address).into_word()).collect();
        let signature = Token::Transfer::SIGNATURE_HASH;
        for log in logs(nodes, tokens, &json!([signature, null, words]), &heights).await? {
            found.add(&log, |moved| moved.to, |movement| &mut movement.received);
        }
        for log in logs(nodes, tokens, &json!([signature, words]), &heights).await? {
            found.add(&log, |moved| moved.from, |movement| &mut movement.spent);
        }
    }
    Ok(found.0.into_values().collect())
}

/// By transaction, address and token.
#[derive(Default)]
struct Found(BTreeMap<(B256, EvmAddress, EvmAddress), Movement>);

impl Found {
    /// Counts what a log says of the address whose side is asked for.
    fn add(&mut self, log: &LogEntry, side: fn(&Moved) -> EvmAddress, sum: fn(&mut Movement) -> &mut Amount) {
        let (Some(moved), Some(transaction)) = (observe::moved(log), log.transaction_hash) else { return };
        let address = side(&moved);
        let movement = self.0.entry((transaction, address, log.address)).or_insert_with(|| Movement {
            transaction: transaction.to_string(),
            address: Address::Evm(address.into()),
            asset: Address::Evm(log.address.into()),
            received: Amount::ZERO,
            spent: Amount::ZERO,
        });
        let value = u128::try_from(moved.value).unwrap_or(u128::MAX);
        let sum = sum(movement);
        *sum = Amount::new(sum.units().saturating_add(value));
    }
}

/// The logs of these blocks, in as few questions as the nodes allow.
async fn logs(
    nodes: &Nodes,
    tokens: &[EvmAddress],
    topics: &Value,
    heights: &RangeInclusive<u64>,
) -> Result<Vec<LogEntry>, ChainError> {
    let (mut first, last) = (*heights.start(), *heights.end());
    let mut length = BLOCKS_AT_ONCE;
    let mut logs = Vec::new();
    while first <= last {
        let end = last.min(first.saturating_add(length - 1));
        match logs_between(nodes, tokens, topics, (first, end)).await {
            Ok(found) => {
                logs.extend(found);
                first = end + 1;
            }
            Err(error) if first == end => return Err(nodes.unavailable("eth_getLogs", error)),
            // Nodes refuse ranges in many ways, of which none says anything.
            Err(_) => length = (end - first).div_ceil(2),
        }
    }
    Ok(logs)
}

/// The same in one question. The node that blocks are read from is asked last: what another one says is worth more here.
async fn logs_between(
    nodes: &Nodes,
    tokens: &[EvmAddress],
    topics: &Value,
    (first, last): (u64, u64),
) -> Result<Vec<LogEntry>, CallError> {
    let filter = json!({
        "fromBlock": format!("{first:#x}"), "toBlock": format!("{last:#x}"), "address": tokens, "topics": topics,
    });
    let mut failure = CallError::Unavailable(NodeFailure::Broken);
    for offset in 1..=nodes.len() {
        let node = (nodes.preferred() + offset) % nodes.len();
        match nodes.call_node::<_, Vec<LogEntry>>(node, "eth_getLogs", (filter.clone(),)).await {
            Ok(logs) if first < last && logs.len() >= LOGS_MAX => {}
            Ok(logs) if logs.iter().any(|log| log.removed || !tokens.contains(&log.address)) => {}
            Ok(logs) => return Ok(logs),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
