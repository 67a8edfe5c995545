//! What one transaction came to, by its name, whoever sent it.

use chrono::DateTime;
use serde_json::json;
use solana_client::rpc_request::RpcRequest;

use super::blocks::Blocks;
use super::credits;
use super::credits::answer::{LandedAnswer, VERSION_MAX};
use super::rpc::Nodes;
use crate::chain::{ChainError, Landed};

/// See [`crate::chain::Chain::transfers_of`]. One node may have what another has forgotten, so they are asked in turn.
pub async fn landed(nodes: &Nodes, blocks: &Blocks, transaction: &str) -> Result<Option<Landed>, ChainError> {
    let config = json!({"commitment": "confirmed", "encoding": "base64", "maxSupportedTransactionVersion": VERSION_MAX});
    let params = json!([transaction, config]);
    let mut failure = None;
    for node in nodes.order() {
        match nodes.call_node::<Option<LandedAnswer>>(node, RpcRequest::GetTransaction, params.clone()).await {
            Ok(Some(answer)) => return read(nodes, blocks, transaction, answer).await.map(Some),
            Ok(None) => {}
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(None), |error| Err(nodes.unavailable(RpcRequest::GetTransaction, error)))
}

async fn read(nodes: &Nodes, blocks: &Blocks, name: &str, answer: LandedAnswer) -> Result<Landed, ChainError> {
    let block = blocks.height_of(answer.slot).await?;
    let at = answer.block_time.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    let at = at.ok_or_else(|| nodes.implausible(format!("{name} stands in a block without a time")))?;
    let read = credits::of_transaction(&answer.into_transaction(), blocks.mints());
    let (transfers, failed) = read.map_err(|fault| nodes.implausible(format!("{name} cannot be read: {fault}")))?;
    if transfers.iter().any(|transfer| transfer.transaction != name) {
        return Err(nodes.implausible(format!("another transaction than {name}")));
    }
    Ok(Landed { block, at, failed, transfers })
}
