//! A recorded block of an EVM network.

use serde_json::{Value, json};

use super::{Recording, finalized};
use crate::support::chain::hex;

/// The call of `DOMAIN_SEPARATOR()`.
const DOMAIN_SEPARATOR: &str = "0x3644e515";

/// A block with its logs, and what must be known of the network beside it.
pub struct EvmRecording {
    chain_id: u64,
    separator: &'static str,
    block: Value,
    logs: Vec<Value>,
}

impl EvmRecording {
    /// `block` may have its transactions in full. `separator` is the signing domain of the network's token.
    pub fn new(chain_id: u64, separator: &'static str, block: &Value, logs: Vec<Value>) -> Self {
        let mut block = block.clone();
        for transaction in block["transactions"].as_array_mut().expect("transactions") {
            *transaction = transaction["hash"].clone();
        }
        Self { chain_id, separator, block, logs }
    }

    fn hash(&self, height: u64) -> Value {
        match (height + 1).checked_sub(self.height()) {
            Some(0) => self.block["parentHash"].clone(),
            Some(1) => self.block["hash"].clone(),
            _ => json!(format!("{height:#066x}")),
        }
    }

    fn block(&self, height: u64) -> Value {
        if height == self.height() {
            return self.block.clone();
        }
        json!({
            "number": format!("{height:#x}"),
            "hash": self.hash(height),
            "parentHash": self.hash(height - 1),
            "timestamp": format!("{:#x}", hex(&self.block["timestamp"]) + height - self.height()),
            "baseFeePerGas": self.block["baseFeePerGas"],
            "logsBloom": format!("0x{:0512x}", 0),
            "transactions": [],
        })
    }

    /// The height that a tag or a number means.
    fn named(&self, head: u64, name: &Value) -> u64 {
        match name.as_str().expect("a tag or a number") {
            "latest" => head,
            "safe" | "finalized" => finalized(head, self.height() - 1),
            _ => hex(name),
        }
    }

    /// The logs that a filter asks for, in their order in the block.
    fn logs(&self, head: u64, filter: &Value) -> Vec<Value> {
        let is_asked_for = filter.get("blockHash").map_or_else(
            || (hex(&filter["fromBlock"])..=hex(&filter["toBlock"])).contains(&self.height()),
            |hash| is(hash, &self.block["hash"]),
        );
        if head < self.height() || !is_asked_for {
            return Vec::new();
        }
        let topics = filter["topics"].as_array().map(Vec::as_slice).unwrap_or_default();
        let fits = |log: &&Value| {
            is(&filter["address"], &log["address"])
                && topics.iter().enumerate().all(|(place, wanted)| is(wanted, &log["topics"][place]))
        };
        self.logs.iter().filter(fits).cloned().collect()
    }
}

/// Whether a part of a filter lets a value through: nothing lets all through, and a list lets through what is in it.
fn is(wanted: &Value, value: &Value) -> bool {
    match wanted {
        Value::Null => true,
        Value::Array(any) => any.iter().any(|one| is(one, value)),
        one => one == value,
    }
}

impl Recording for EvmRecording {
    fn height(&self) -> u64 {
        hex(&self.block["number"])
    }

    fn answer(&self, head: u64, method: &str, params: &Value) -> Option<Value> {
        let heights = self.height() - 1..=head;
        Some(match method {
            "eth_chainId" => json!(format!("{:#x}", self.chain_id)),
            "eth_getBlockByNumber" => {
                let height = self.named(head, &params[0]);
                if heights.contains(&height) { self.block(height) } else { Value::Null }
            }
            "eth_getBlockByHash" => {
                let height = heights.clone().find(|height| self.hash(*height) == params[0]);
                height.map_or(Value::Null, |height| self.block(height))
            }
            "eth_getLogs" => json!(self.logs(head, &params[0])),
            "eth_call" if params[0]["input"] == DOMAIN_SEPARATOR => json!(self.separator),
            // What the service wants to know before it settles payments, of which there are none here.
            "eth_getCode" => json!("0x"),
            "eth_getTransactionCount" | "eth_maxPriorityFeePerGas" => json!("0x0"),
            "eth_getBalance" => json!("0xde0b6b3a7640000"),
            _ => return None,
        })
    }
}
