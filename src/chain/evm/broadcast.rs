//! Hands signed bytes to the nodes of a network.

use alloy::primitives::{B256, Bytes};

use super::rpc::Nodes;
use crate::chain::nodes::CallError;
use crate::chain::{Broadcast, Rejection};

/// Sends bytes to the nodes in turn until one takes them.
pub async fn broadcast(nodes: &Nodes, raw: &[u8]) -> Broadcast {
    let first = nodes.preferred();
    let mut answer = Broadcast::Unknown;
    for offset in 0..nodes.len() {
        let sent = send_to(nodes, (first + offset) % nodes.len(), raw).await;
        match sent {
            Broadcast::Accepted | Broadcast::AlreadyKnown => return sent,
            // One node's refusal does not undo another's silence.
            Broadcast::Rejected(_) if offset > 0 && matches!(answer, Broadcast::Unknown) => {}
            other => answer = other,
        }
    }
    answer
}

async fn send_to(nodes: &Nodes, node: usize, raw: &[u8]) -> Broadcast {
    match nodes.call_node::<_, B256>(node, "eth_sendRawTransaction", (Bytes::copy_from_slice(raw),)).await {
        Ok(_) => Broadcast::Accepted,
        Err(CallError::Complaint(complaint)) => classify(&complaint.message),
        Err(CallError::Unavailable(_)) => Broadcast::Unknown,
    }
}

/// Nodes have no codes for this, only words, and each its own.
fn classify(message: &str) -> Broadcast {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    if says(&["already known", "already imported", "known transaction", "alreadyexists", "already exists"]) {
        Broadcast::AlreadyKnown
    } else if says(&["nonce too low", "nonce is too low", "old nonce", "invalid nonce"]) {
        Broadcast::Rejected(Rejection::NonceTooLow)
    } else if says(&["underpriced", "fee too low", "max fee per gas less than", "gas price too low"]) {
        Broadcast::Rejected(Rejection::Underpriced)
    } else if says(&["insufficient funds", "insufficient balance"]) {
        Broadcast::Rejected(Rejection::SignerShort)
    } else if says(&["pool is full", "txpool is full", "limit exceeded", "too many pending", "in-flight transaction limit"]) {
        Broadcast::Rejected(Rejection::PoolFull)
    } else {
        Broadcast::Rejected(Rejection::Other)
    }
}
