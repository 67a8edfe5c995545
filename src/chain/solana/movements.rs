//! What owners hold, received and spent, in all of their accounts for a token.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::json;
use solana_client::rpc_request::RpcRequest;

use super::accounts::Account;
use super::associated;
use super::credits;
use super::credits::answer::{LandedAnswer, VERSION_MAX};
use super::histories::entries;
use super::message::Key;
use super::rpc::{Nodes, Stated, confirmed};
use super::tokens::TokenAccount;
use crate::chain::ChainError;
use crate::chain::nodes::{CallError, NodeFailure};
use crate::domain::address::{Address, decode_base58};
use crate::domain::amount::Amount;
use crate::domain::asset::TokenProgram;
use crate::domain::reconciliation::Movement;
use crate::domain::transfer::TransactionId;

#[derive(Deserialize)]
struct Entry {
    pubkey: String,
    account: Account,
}

/// What an owner holds of a token now, in all accounts together, and the slot in which that was so.
pub async fn holding(nodes: &Nodes, asset: Address, owner: Address) -> Result<(Amount, u64), ChainError> {
    let params = json!([owner.to_string(), {"mint": asset.to_string()}, {"encoding": "base64", "commitment": "confirmed"}]);
    let held: Stated<Vec<Entry>> = nodes.read(RpcRequest::GetTokenAccountsByOwner, params).await?;
    let (slot, mut sum) = (held.slot(), 0_u128);
    for entry in held.value {
        let name = entry.pubkey;
        let account = entry.account.read().and_then(|(_, data)| TokenAccount::read(&data));
        let account = account.ok_or_else(|| nodes.implausible(format!("{name} is no token account")))?;
        sum += u128::from(account.amount);
    }
    Ok((Amount::new(sum), slot))
}

/// What an owner received and spent of these mints in these slots.
///
/// Only accounts that the owner has now are looked at, and those where wallets send tokens to. What came to another one that was
/// closed since is not found.
pub async fn movements(
    nodes: &Nodes,
    mints: &[(Key, TokenProgram)],
    owner: Address,
    slots: &RangeInclusive<u64>,
) -> Result<Vec<Movement>, ChainError> {
    let Address::Solana(key) = owner else {
        return Err(nodes.misconfigured("an address of another family".to_owned()));
    };
    let mut accounts: BTreeSet<Key> =
        mints.iter().filter_map(|(mint, program)| associated::account(&key, mint, *program)).collect();
    for (mint, _) in mints {
        accounts.extend(accounts_of(nodes, owner, Address::Solana(*mint)).await?);
    }
    let mut names = BTreeSet::new();
    for account in accounts {
        names.extend(history(nodes, account, slots).await?);
    }
    let mut found = Vec::new();
    for name in names {
        for (mint, came, went) in credits_of(nodes, &name, &key, mints).await? {
            if came > 0 || went > 0 {
                found.push(Movement {
                    transaction: name.clone(),
                    address: owner,
                    asset: Address::Solana(mint),
                    received: Amount::new(came.into()),
                    spent: Amount::new(went.into()),
                });
            }
        }
    }
    Ok(found)
}

async fn accounts_of(nodes: &Nodes, owner: Address, mint: Address) -> Result<Vec<Key>, ChainError> {
    let config = json!({"encoding": "base64", "commitment": "confirmed", "dataSlice": {"offset": 0, "length": 0}});
    let held: Stated<Vec<Entry>> =
        nodes.read(RpcRequest::GetTokenAccountsByOwner, json!([owner.to_string(), {"mint": mint.to_string()}, config])).await?;
    let read =
        |entry: Entry| decode_base58(&entry.pubkey).ok_or_else(|| nodes.implausible(format!("an account {}", entry.pubkey)));
    held.value.into_iter().map(read).collect()
}

/// The transactions that named an account in these slots and succeeded.
async fn history(nodes: &Nodes, account: Key, slots: &RangeInclusive<u64>) -> Result<Vec<TransactionId>, ChainError> {
    let mut failure = CallError::Unavailable(NodeFailure::Broken);
    for node in others_first(nodes) {
        match entries(nodes, node, account, None, slots.clone()).await {
            Ok(entries) => {
                let counts = entries.into_iter().filter(|entry| entry.err.is_none() && slots.contains(&entry.slot));
                return Ok(counts.map(|entry| entry.signature).collect());
            }
            Err(error) => failure = error,
        }
    }
    Err(nodes.unavailable(RpcRequest::GetSignaturesForAddress, failure))
}

async fn credits_of(
    nodes: &Nodes,
    name: &TransactionId,
    owner: &Key,
    mints: &[(Key, TokenProgram)],
) -> Result<Vec<(Key, u64, u64)>, ChainError> {
    let mut config = confirmed();
    config["encoding"] = json!("base64");
    config["maxSupportedTransactionVersion"] = json!(VERSION_MAX);
    let mut failure = CallError::Unavailable(NodeFailure::Broken);
    for node in others_first(nodes) {
        match nodes.call_node::<Option<LandedAnswer>>(node, RpcRequest::GetTransaction, json!([name, config])).await {
            Ok(Some(answer)) => {
                return credits::of_owner(&answer.into_transaction(), owner, mints)
                    .map_err(|fault| nodes.implausible(format!("{name} cannot be read: {fault}")));
            }
            Ok(None) => {}
            Err(error) => failure = error,
        }
    }
    Err(nodes.unavailable(RpcRequest::GetTransaction, failure))
}

/// The node that blocks are read from comes last: what another one says is worth more here.
fn others_first(nodes: &Nodes) -> impl Iterator<Item = usize> {
    nodes.order().skip(1).chain(nodes.order().take(1))
}
