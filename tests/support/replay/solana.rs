//! A recorded block of Solana.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quittance::chain::solana::programs::TOKEN;
use quittance::domain::address::encode_base58;
use serde_json::{Value, json};

use super::{Recording, finalized};

/// The genesis hash of the main network.
const GENESIS: &str = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d";

/// The bytes of a mint, and where it says how many decimal places it has and that it is in use.
const MINT: (usize, usize, usize) = (82, 44, 45);

/// A block as `getBlock` shows it in full, with the mint of a token of six decimal places.
pub struct SolanaRecording {
    mint: &'static str,
    block: Value,
}

impl SolanaRecording {
    /// A block of the main network.
    pub const fn new(mint: &'static str, block: Value) -> Self {
        Self { mint, block }
    }

    /// No slot is skipped.
    fn slot(&self, height: u64) -> u64 {
        number(&self.block["parentSlot"]) + 1 + height - self.height()
    }

    fn height_of(&self, slot: u64) -> u64 {
        slot + self.height() - 1 - number(&self.block["parentSlot"])
    }

    fn hash(&self, height: u64) -> Value {
        match (height + 1).checked_sub(self.height()) {
            Some(0) => self.block["previousBlockhash"].clone(),
            Some(1) => self.block["blockhash"].clone(),
            _ => {
                let mut hash = [1; 32];
                hash[..8].copy_from_slice(&height.to_be_bytes());
                json!(encode_base58(&hash))
            }
        }
    }

    fn block(&self, height: u64, in_full: bool) -> Value {
        let mut block = json!({
            "blockhash": self.hash(height),
            "previousBlockhash": self.hash(height - 1),
            "parentSlot": self.slot(height) - 1,
            "blockHeight": height,
            "blockTime": number(&self.block["blockTime"]) + height - self.height(),
        });
        if in_full {
            block["transactions"] = if height == self.height() { self.block["transactions"].clone() } else { json!([]) };
        }
        block
    }

    /// The mint, which is all that there is: what the owners of accounts hold was not recorded.
    fn account(&self, address: &Value) -> Value {
        if *address != self.mint {
            return Value::Null;
        }
        let (bytes, decimals, in_use) = MINT;
        let mut data = vec![0; bytes];
        (data[decimals], data[in_use]) = (6, 1);
        json!({"owner": encode_base58(&TOKEN), "data": [STANDARD.encode(data), "base64"]})
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

impl Recording for SolanaRecording {
    fn height(&self) -> u64 {
        number(&self.block["blockHeight"])
    }

    fn answer(&self, head: u64, method: &str, params: &Value) -> Option<Value> {
        let lowest = self.height() - 1;
        let stated = |value: Value| json!({"context": {"slot": self.slot(head)}, "value": value});
        Some(match method {
            "getGenesisHash" => json!(GENESIS),
            "getSlot" if params[0]["commitment"] == "finalized" => json!(self.slot(finalized(head, lowest))),
            "getSlot" => json!(self.slot(head)),
            "getBlocks" => {
                let slots = number(&params[0])..=number(&params[1]);
                json!((self.slot(lowest)..=self.slot(head)).filter(|slot| slots.contains(slot)).collect::<Vec<_>>())
            }
            "getBlock" => {
                let slot = number(&params[0]);
                let in_full = params[1]["transactionDetails"] == "full";
                let is_shown = (self.slot(lowest)..=self.slot(head)).contains(&slot);
                if is_shown { self.block(self.height_of(slot), in_full) } else { Value::Null }
            }
            "getMultipleAccounts" => {
                let addresses = params[0].as_array().expect("addresses");
                stated(addresses.iter().map(|address| self.account(address)).collect())
            }
            // What the service wants to know before it settles payments, of which there are none here.
            "getBalance" => stated(json!(1_000_000_000)),
            _ => return None,
        })
    }
}
