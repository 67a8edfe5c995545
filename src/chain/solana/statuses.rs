//! What became of transactions, by their names: one question for many.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use solana_client::rpc_request::RpcRequest;
use solana_transaction_status::TransactionConfirmationStatus;

use super::blocks::Blocks;
use super::rpc::Nodes;
use crate::chain::nodes::CallError;
use crate::chain::{ChainError, Observed};
use crate::domain::payment::Payment;
use crate::domain::reason::Reason;
use crate::domain::transfer::{AuthorizationUse, Transfer, Use};

/// Names in one question: what nodes take.
const NAMES_MAX: usize = 256;

#[derive(Deserialize)]
struct Answer {
    context: Context,
    value: Vec<Option<Status>>,
}

#[derive(Deserialize)]
struct Context {
    slot: u64,
}

/// The part of a status that is read. `err` comes first: a transaction that failed is confirmed like any other.
#[derive(Debug, Clone, Deserialize)]
struct Status {
    slot: u64,
    err: Option<Value>,
    #[serde(rename = "confirmationStatus")]
    level: Option<TransactionConfirmationStatus>,
}

impl Status {
    fn is_confirmed(&self) -> bool {
        use TransactionConfirmationStatus::{Confirmed, Finalized};
        matches!(self.level, Some(Confirmed | Finalized))
    }
}

/// The blocks that hold transactions of these payments, as far as the nodes know. With `thorough`, which is for few of them, every
/// node is asked, and for what landed long ago; one that has not come to the block `finalized` does not count.
pub async fn outcomes(
    nodes: &Nodes,
    blocks: &Blocks,
    sent: &[Payment],
    thorough: Option<u64>,
) -> Result<Vec<Observed>, ChainError> {
    let mut landed: BTreeMap<u64, Vec<(&Payment, &str, Status)>> = BTreeMap::new();
    let known: Vec<_> = sent.iter().filter_map(|payment| Some((payment, payment.transaction.as_deref()?))).collect();
    for part in known.chunks(NAMES_MAX) {
        let names: Vec<_> = part.iter().map(|(_, name)| *name).collect();
        let statuses = match thorough {
            None => ask(nodes, &names).await?,
            Some(finalized) => ask_all(nodes, blocks, &names, finalized).await?,
        };
        for ((payment, name), status) in part.iter().zip(statuses) {
            if let Some(status) = status.filter(Status::is_confirmed) {
                landed.entry(status.slot).or_default().push((payment, name, status));
            }
        }
    }
    let (mut observed, mut failure) = (Vec::with_capacity(landed.len()), None);
    for (slot, found) in landed {
        // A block that cannot be read does not keep the others.
        match observe(nodes, blocks, slot, &found).await {
            Ok(found) => observed.extend(found),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if observed.is_empty() => Err(error),
        _ => Ok(observed),
    }
}

async fn ask(nodes: &Nodes, names: &[&str]) -> Result<Vec<Option<Status>>, ChainError> {
    let answer: Answer = nodes.read(RpcRequest::GetSignatureStatuses, json!([names])).await?;
    check_length(nodes, names, answer.value)
}

/// What any node knows. That none knows anything counts only from one that has come to `finalized`.
async fn ask_all(nodes: &Nodes, blocks: &Blocks, names: &[&str], finalized: u64) -> Result<Vec<Option<Status>>, ChainError> {
    let (mut known, mut answered, mut failure) = (vec![None; names.len()], false, None);
    for node in nodes.order() {
        let params = json!([names, {"searchTransactionHistory": true}]);
        match nodes.call_node::<Answer>(node, RpcRequest::GetSignatureStatuses, params).await {
            Ok(answer) => {
                answered |= blocks.height_of(answer.context.slot).await? >= finalized;
                for (known, status) in known.iter_mut().zip(check_length(nodes, names, answer.value)?) {
                    *known = known.take().or(status);
                }
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        _ if answered || known.iter().all(Option::is_some) => Ok(known),
        Some(error) => Err(nodes.unavailable(RpcRequest::GetSignatureStatuses, error)),
        None => Err(nodes.implausible("no node has come to a block that is final".to_owned())),
    }
}

/// Whether a node says of the transactions of a block what another one said: they are confirmed, and have failed or not.
pub async fn confirms(nodes: &Nodes, node: usize, observed: &Observed) -> Result<Option<bool>, CallError> {
    let params = json!([observed.transactions, {"searchTransactionHistory": true}]);
    let answer: Answer = nodes.call_node(node, RpcRequest::GetSignatureStatuses, params).await?;
    let Some(statuses) = answer.value.into_iter().collect::<Option<Vec<_>>>() else { return Ok(None) };
    let same = |(status, entry): (&Status, &AuthorizationUse)| {
        status.is_confirmed() && status.err.is_some() == matches!(entry.outcome, Use::Failed(_))
    };
    Ok(Some(statuses.len() == observed.uses.len() && statuses.iter().zip(&observed.uses).all(same)))
}

fn check_length(nodes: &Nodes, names: &[&str], statuses: Vec<Option<Status>>) -> Result<Vec<Option<Status>>, ChainError> {
    if statuses.len() == names.len() {
        Ok(statuses)
    } else {
        Err(nodes.implausible(format!("{} statuses of {} transactions", statuses.len(), names.len())))
    }
}

/// The block of a slot with what these transactions did there. Nothing if the node has another block there, or does not find them
/// in it: then the next look says more.
async fn observe(
    nodes: &Nodes,
    blocks: &Blocks,
    slot: u64,
    found: &[(&Payment, &str, Status)],
) -> Result<Option<Observed>, ChainError> {
    let contents = blocks.contents(None, slot).await;
    let contents = contents.map_err(|error: CallError| nodes.unavailable(RpcRequest::GetBlock, error))?;
    let Some(contents) = contents else { return Ok(None) };
    let located = found.iter().filter_map(|(payment, name, status)| {
        let index = contents.signatures.iter().position(|signature| signature == name)?;
        let outcome = match status.err {
            Some(_) => Use::Failed(Reason::SolanaTransactionFailed),
            None => Use::Spent(Some(transfer(payment, name, u32::try_from(index).ok()?))),
        };
        Some((AuthorizationUse { key: payment.key.clone(), outcome }, (*name).to_owned()))
    });
    let (uses, transactions) = located.unzip();
    Ok(Some(Observed { block: contents.block, uses, transactions, node: nodes.order().next().unwrap_or_default() }))
}

/// What a transaction moved that was carried out: exactly what stands in it, or the token program would have stopped it.
fn transfer(payment: &Payment, transaction: &str, index: u32) -> Transfer {
    Transfer {
        transaction: transaction.to_owned(),
        index,
        asset: payment.asset,
        from: payment.payer,
        to: payment.pay_to,
        amount: Some(payment.amount),
    }
}
