//! What one transaction came to, by its receipt, whoever sent it.

use alloy::primitives::{Address as EvmAddress, B256, U64};
use serde::Deserialize;

use super::observe::{self, Entries, Header, LogEntry};
use super::rpc::Nodes;
use crate::chain::{ChainError, Landed};
use crate::domain::block::Block;

/// A receipt as `eth_getTransactionReceipt` answers it, as far as we read it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    transaction_hash: B256,
    /// Absent for what is in no block yet, which some nodes have receipts of. It is no evidence.
    block_hash: Option<B256>,
    /// Zero if it failed. Absent on networks that are older than this (EIP-658).
    #[serde(default)]
    status: Option<U64>,
    logs: Vec<LogEntry>,
}

/// See [`crate::chain::Chain::transfers_of`].
pub async fn landed(nodes: &Nodes, tokens: &[EvmAddress], transaction: &str) -> Result<Option<Landed>, ChainError> {
    let receipt: Option<Receipt> = nodes.find("eth_getTransactionReceipt", (transaction,)).await?;
    let Some((receipt, hash)) = receipt.and_then(|receipt| receipt.block_hash.map(|hash| (receipt, hash))) else {
        return Ok(None);
    };
    let header: Option<Header> = nodes.find("eth_getBlockByHash", (hash, false)).await?;
    // A block that is gone by now says nothing.
    let Some(block) = header.and_then(|header| header.block()) else { return Ok(None) };
    let landed = read(tokens, transaction, &block, &receipt);
    landed.map(Some).ok_or_else(|| nodes.implausible(format!("the receipt of {transaction} is another one's")))
}

/// Reads a receipt of `transaction` in `block`. `None` if it is not that, which no node should answer.
fn read(tokens: &[EvmAddress], transaction: &str, block: &Block, receipt: &Receipt) -> Option<Landed> {
    let is_own = |log: &LogEntry| log.transaction_hash == Some(receipt.transaction_hash);
    if receipt.transaction_hash.to_string() != transaction || !receipt.logs.iter().all(is_own) {
        return None;
    }
    let Entries { transfers, .. } = observe::entries(tokens, &block.hash, &receipt.logs)?;
    let failed = receipt.status.is_some_and(|status| status.is_zero());
    Some(Landed { block: block.number, at: block.timestamp, failed, transfers })
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use serde_json::{Value, json};

    const TOKEN: EvmAddress = EvmAddress::repeat_byte(1);

    fn hash(byte: u8) -> String {
        B256::repeat_byte(byte).to_string()
    }

    fn block() -> Block {
        Block { number: 7, hash: hash(0xb1), parent_hash: hash(0xb0), timestamp: DateTime::UNIX_EPOCH }
    }

    /// A log of `contract` as a node writes it: 100 units from 5 to 3.
    fn log(contract: EvmAddress, index: u64) -> Value {
        let word = |byte| EvmAddress::repeat_byte(byte).into_word().to_string();
        json!({
            "address": contract.to_string(), "topics": [observe::topics()[0].to_string(), word(5), word(3)],
            "data": format!("0x{:064x}", 100), "blockNumber": "0x7", "blockHash": hash(0xb1), "transactionHash": hash(0x1f),
            "logIndex": format!("{index:#x}"), "transactionIndex": "0x0", "removed": false,
        })
    }

    fn receipt(status: &Value, logs: &[Value]) -> Receipt {
        let receipt = json!({
            "transactionHash": hash(0x1f), "blockHash": hash(0xb1), "blockNumber": "0x7", "status": status, "logs": logs,
            "gasUsed": "0x5208", "type": "0x2",
        });
        serde_json::from_value(receipt).unwrap()
    }

    fn of(receipt: &Receipt) -> Option<Landed> {
        read(&[TOKEN], &hash(0x1f), &block(), receipt)
    }

    #[test]
    fn a_receipt_tells_what_the_tokens_moved() {
        let stranger = EvmAddress::repeat_byte(2);
        let landed = of(&receipt(&json!("0x1"), &[log(stranger, 3), log(TOKEN, 4)])).unwrap();

        assert_eq!((landed.block, landed.failed, landed.transfers.len()), (7, false, 1));
        let moved = &landed.transfers[0];
        assert_eq!((moved.index, moved.amount.unwrap().units(), moved.transaction.clone()), (4, 100, hash(0x1f)));
        assert!(!of(&receipt(&Value::Null, &[])).unwrap().failed, "an old network says nothing");
    }

    #[test]
    fn a_transaction_that_failed_moved_nothing() {
        let landed = of(&receipt(&json!("0x0"), &[])).unwrap();

        assert_eq!((landed.failed, landed.transfers), (true, Vec::new()));
    }

    #[test]
    fn a_receipt_of_something_else_is_not_believed() {
        let good = receipt(&json!("0x1"), &[log(TOKEN, 4)]);
        let with = |name: &str, value: Value| {
            let mut log = log(TOKEN, 4);
            log[name] = value;
            receipt(&json!("0x1"), &[log])
        };

        assert!(of(&good).is_some());
        assert!(of(&Receipt { transaction_hash: B256::ZERO, ..good }).is_none());
        assert!(of(&with("transactionHash", hash(0x2e).into())).is_none());
        assert!(of(&with("blockHash", hash(0xb2).into())).is_none());
        assert!(of(&with("removed", true.into())).is_none());
        assert!(of(&receipt(&json!("0x1"), &[log(TOKEN, 5), log(TOKEN, 4)])).is_none());
    }
}
