//! A cluster that changes its mind: what a node of the other branch says, and how far it has come.

use std::ops::RangeInclusive;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quittance::domain::address::encode_base58;
use serde_json::{Value, json};

use super::Cluster;
use crate::support::proxy::{Act, Edit};

/// What the local node calls final is so many slots behind its newest block.
const FINAL_AFTER: u64 = 31;

/// The cluster takes back the last blocks that it made, and one transaction with them.
#[derive(Clone)]
pub struct Fork {
    /// The slots whose blocks it takes back.
    pub slots: RangeInclusive<u64>,
    /// What stands in these slots on the other branch.
    pub instead: Instead,
    /// Where the transaction stands in the end.
    pub lands: Option<u64>,
    name: String,
    /// The transaction, as its block shows it.
    transaction: Value,
    /// The newest block that both branches share.
    shared: Value,
}

/// What the other branch has in the slots of the one that was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// Other blocks, with all but the transaction.
    Others,
    /// Nothing: the slots were skipped.
    Nothing,
}

impl Fork {
    /// Takes back the block that holds a transaction, and no other one.
    pub async fn under(cluster: &Cluster, name: &str, instead: Instead) -> Self {
        let slot = cluster.slot_of(name).await;
        let config = json!({
            "commitment": "confirmed", "encoding": "base64", "transactionDetails": "full", "rewards": false,
            "maxSupportedTransactionVersion": 0,
        });
        let block = cluster.rpc("getBlock", json!([slot, config])).await;
        let is_named = |transaction: &&Value| {
            let wire = STANDARD.decode(transaction["transaction"][0].as_str().expect("bytes")).expect("base64");
            encode_base58(&wire[1..65]) == name
        };
        let transactions = block["transactions"].as_array().expect("transactions");
        let transaction = transactions.iter().find(is_named).expect("it landed there").clone();
        let shared = block["previousBlockhash"].clone();
        Self { slots: slot..=slot, instead, lands: None, name: name.to_owned(), transaction, shared }
    }

    /// What a node of the other branch says.
    pub fn act(&self, method: &str, params: &Value) -> Act {
        let fork = self.clone();
        match method {
            "getBlock" => {
                let slot = params[0].as_u64().expect("a slot");
                if self.skips(slot) {
                    return Act::Answer(json!({"jsonrpc": "2.0", "error": {"code": -32_007, "message": "the slot was skipped"}}));
                }
                Edit::of(move |block| fork.rewrite(slot, block))
            }
            "getBlocks" => Edit::of(move |slots| {
                let slots = slots.as_array_mut().expect("slots");
                slots.retain(|slot| !fork.skips(slot.as_u64().expect("a slot")));
            }),
            "getSignatureStatuses" => Edit::of(move |answer| {
                answer["value"][0] = fork.lands.map_or(Value::Null, |slot| {
                    json!({"slot": slot, "confirmations": 1, "err": null, "status": {"Ok": null}, "confirmationStatus": "confirmed"})
                });
            }),
            "getSignaturesForAddress" => Edit::of(move |entries| fork.relist(entries)),
            _ => Act::Forward,
        }
    }

    fn skips(&self, slot: u64) -> bool {
        self.instead == Instead::Nothing && self.slots.contains(&slot)
    }

    fn rewrite(&self, slot: u64, block: &mut Value) {
        if !block.is_object() {
            return;
        }
        match self.instead {
            Instead::Others => self.rename(slot, block),
            Instead::Nothing => self.close_up(slot, block),
        }
        if let Some(transactions) = block.get_mut("transactions").and_then(Value::as_array_mut) {
            transactions.retain(|transaction| *transaction != self.transaction);
            if self.lands == Some(slot) {
                transactions.push(self.transaction.clone());
            }
        }
    }

    /// Other blocks have other hashes, and their children name these.
    fn rename(&self, slot: u64, block: &mut Value) {
        let other = |hash: &Value| json!(hash.as_str().expect("a hash").chars().rev().collect::<String>());
        if block["parentSlot"].as_u64().is_some_and(|parent| self.slots.contains(&parent)) {
            block["previousBlockhash"] = other(&block["previousBlockhash"]);
        }
        if self.slots.contains(&slot) {
            block["blockhash"] = other(&block["blockhash"]);
        }
    }

    /// Blocks behind slots that were skipped stand lower, and the first of them goes on from the last one before.
    fn close_up(&self, slot: u64, block: &mut Value) {
        if slot < *self.slots.start() {
            return;
        }
        let height = block["blockHeight"].as_u64().expect("a height");
        block["blockHeight"] = json!(height - self.slots.clone().count() as u64);
        if block["parentSlot"].as_u64() == Some(*self.slots.end()) {
            block["parentSlot"] = json!(self.slots.start() - 1);
            block["previousBlockhash"] = self.shared.clone();
        }
    }

    /// An account's history, the newest first.
    fn relist(&self, entries: &mut Value) {
        let entries = entries.as_array_mut().expect("entries");
        let Some(place) = entries.iter().position(|entry| entry["signature"] == self.name) else { return };
        let mut entry = entries.remove(place);
        if let Some(slot) = self.lands {
            entry["slot"] = json!(slot);
            let place = entries.iter().position(|other| other["slot"].as_u64() <= Some(slot)).unwrap_or(entries.len());
            entries.insert(place, entry);
        }
    }
}

/// What a node says that has come no further than to a slot, on the other branch if there is one.
pub fn act_until(newest: u64, fork: Option<&Fork>, method: &str, params: &Value) -> Act {
    let is_final = method == "getSlot" && params[0]["commitment"] == "finalized";
    let newest = if is_final { newest.saturating_sub(FINAL_AFTER) } else { newest };
    let place = match method {
        "getSlot" => "",
        "getBalance" | "getMultipleAccounts" | "getTokenAccountsByOwner" => "/context/slot",
        _ => return fork.map_or(Act::Forward, |fork| fork.act(method, params)),
    };
    Edit::of(move |answer| {
        let slot = answer.pointer_mut(place).expect("a slot");
        *slot = json!(slot.as_u64().expect("a number").min(newest));
    })
}
