//! Accounts, as nodes tell of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use solana_client::rpc_request::RpcRequest;

use super::message::Key;
use super::rpc::{Nodes, Stated};
use crate::chain::ChainError;
use crate::domain::address::{Address, decode_base58};

/// An account in a node's answer, with its data in base64.
#[derive(Deserialize)]
pub struct Account {
    owner: String,
    data: (String, String),
}

impl Account {
    /// The program that it belongs to, and its data.
    pub fn read(self) -> Option<(Key, Vec<u8>)> {
        Some((decode_base58(&self.owner)?, STANDARD.decode(self.data.0).ok()?))
    }
}

/// The program and the data of each of these accounts, and the slot in which that was so.
pub async fn accounts(nodes: &Nodes, addresses: &[Address]) -> Result<(u64, Vec<Option<(Key, Vec<u8>)>>), ChainError> {
    let addresses: Vec<_> = addresses.iter().map(Address::to_string).collect();
    let config = json!({"encoding": "base64", "commitment": "confirmed"});
    let answer: Stated<Vec<Option<Account>>> = nodes.read(RpcRequest::GetMultipleAccounts, json!([addresses, config])).await?;
    if answer.value.len() != addresses.len() {
        return Err(nodes.implausible(format!("{} accounts at {} addresses", answer.value.len(), addresses.len())));
    }
    Ok((answer.slot(), answer.value.into_iter().map(|account| account.and_then(Account::read)).collect()))
}
