//! What became of transactions, by their names: one question for many.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use solana_client::rpc_request::RpcRequest;
use solana_transaction_status::TransactionConfirmationStatus;

use super::blocks::Blocks;
use super::rpc::Nodes;
use crate::chain::nodes::CallError;
use crate::chain::{ChainError, Observed, Outcomes};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::payment::{AuthorizationKey, Payment};
use crate::domain::reason::Reason;
use crate::domain::transfer::{AuthorizationUse, Transfer, Use};
use crate::telemetry::ErrorChain;

/// Names in one question: what nodes take.
const NAMES_MAX: usize = 256;

/// So many nodes must have nothing of a transaction before it counts as gone, or all of them if there are fewer.
const WITNESSES_MIN: usize = 2;

/// For so long a second node is waited for whose answer the first one's does not depend on.
const SECOND_WITHIN: Duration = Duration::from_millis(500);

/// How hard the nodes are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// One node, for what happened lately.
    Glance,
    /// Another one too, for what the first does not know; the others take turns, and this is which turn it is.
    SecondGlance(usize),
    /// Every node, and for what landed long ago; for few transactions. That there is nothing counts only from nodes that have come to
    /// this final block, two of them where there are as many.
    Thorough(u64),
}

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

/// A transaction that was sent, and the payment that it makes.
#[derive(Debug, Clone, Copy)]
pub struct Sent<'a> {
    /// Its name.
    pub transaction: &'a str,
    /// The payment's replay guard.
    pub key: &'a AuthorizationKey,
    /// The token.
    pub asset: Address,
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub pay_to: Address,
    /// How much.
    pub amount: Amount,
}

impl<'a> Sent<'a> {
    /// What was sent for a payment last: in the slot that carries it, or in the one that failed, which may land again on another fork.
    pub fn of(payment: &'a Payment) -> Option<Self> {
        let transaction = payment.transaction.as_deref().or(payment.failed_transaction.as_deref())?;
        let Payment { ref key, asset, payer, pay_to, amount, .. } = *payment;
        Some(Self { transaction, key, asset, payer, pay_to, amount })
    }

    /// What it moved if it was carried out: exactly what stands in it, or the token program would have stopped it.
    fn transfer(&self, index: u32) -> Transfer {
        Transfer {
            transaction: self.transaction.to_owned(),
            index,
            asset: self.asset,
            from: self.payer,
            to: self.pay_to,
            amount: Some(self.amount),
        }
    }
}

/// A transaction that is in a block, according to a node.
struct Landed<'a> {
    sent: Sent<'a>,
    failed: bool,
}

/// The blocks that hold these transactions, as far as the nodes know, and those of which they know something and no block.
pub async fn outcomes(nodes: &Nodes, blocks: &Blocks, sent: &[Sent<'_>], effort: Effort) -> Result<Outcomes, ChainError> {
    let mut landed: BTreeMap<(u64, usize), Vec<Landed<'_>>> = BTreeMap::new();
    let mut outcomes = Outcomes::default();
    for part in sent.chunks(NAMES_MAX) {
        let names: Vec<_> = part.iter().map(|sent| sent.transaction).collect();
        let statuses = match effort {
            Effort::Glance => ask(nodes, &names).await?,
            Effort::SecondGlance(turn) => ask_two(nodes, &names, turn).await?,
            Effort::Thorough(finalized) => ask_all(nodes, blocks, &names, finalized).await?,
        };
        for (sent, told) in part.iter().zip(statuses) {
            match told {
                Some((node, status)) if status.is_confirmed() => {
                    let found = Landed { sent: *sent, failed: status.err.is_some() };
                    landed.entry((status.slot, node)).or_default().push(found);
                }
                // It is neither confirmed nor gone.
                Some(_) => outcomes.unclear.push(sent.key.clone()),
                None => {}
            }
        }
    }
    for ((slot, node), found) in landed {
        // A block that cannot be read, or does not hold what landed there, does not keep the others.
        let there = observe(nodes, blocks, slot, node, &found).await.unwrap_or_else(|error| {
            tracing::warn!(slot, error = %ErrorChain(&error), "a block that holds payments could not be read");
            None
        });
        let uses = there.as_ref().map(|there| there.uses.as_slice()).unwrap_or_default();
        let is_missing = |key: &&AuthorizationKey| uses.iter().all(|entry| entry.key != **key);
        outcomes.unclear.extend(found.iter().map(|landed| landed.sent.key).filter(is_missing).cloned());
        outcomes.observed.extend(there.filter(|there| !there.uses.is_empty()));
    }
    Ok(outcomes)
}

/// What a node says of each transaction, and which node.
type Told = Option<(usize, Status)>;

async fn ask(nodes: &Nodes, names: &[&str]) -> Result<Vec<Told>, ChainError> {
    let answer = nodes.call_any::<Answer>(RpcRequest::GetSignatureStatuses, json!([names])).await;
    let (node, answer) = answer.map_err(|error| nodes.unavailable(RpcRequest::GetSignatureStatuses, error))?;
    let statuses = check_length(nodes, names, answer.value)?;
    Ok(statuses.into_iter().map(|status| Some((node, status?))).collect())
}

/// The same, and of what that node does not know what another one says, if it says so soon: one node may be deaf for a part of the
/// network, and nobody waits for one that hangs.
async fn ask_two(nodes: &Nodes, names: &[&str], turn: usize) -> Result<Vec<Told>, ChainError> {
    let mut known = ask(nodes, names).await?;
    let missing: Vec<_> = (0..names.len()).filter(|index| known[*index].is_none()).collect();
    let others: Vec<_> = nodes.order().skip(1).collect();
    let Some(node) = others.get(turn % others.len().max(1)).copied().filter(|_| !missing.is_empty()) else { return Ok(known) };
    let asked: Vec<_> = missing.iter().map(|index| names[*index]).collect();
    let call = nodes.call_node::<Answer>(node, RpcRequest::GetSignatureStatuses, json!([asked]));
    if let Ok(Ok(answer)) = tokio::time::timeout(SECOND_WITHIN, call).await
        && answer.value.len() == asked.len()
    {
        for (index, status) in missing.into_iter().zip(answer.value) {
            known[index] = status.map(|status| (node, status));
        }
    }
    Ok(known)
}

/// What any node knows. That none knows anything counts only from nodes that have come to `finalized`, of which one may be wrong.
async fn ask_all(nodes: &Nodes, blocks: &Blocks, names: &[&str], finalized: u64) -> Result<Vec<Told>, ChainError> {
    let (mut known, mut witnesses, mut failure) = (vec![None; names.len()], 0, None);
    let asked = nodes.order().map(|node| async move {
        let params = json!([names, {"searchTransactionHistory": true}]);
        (node, nodes.call_node::<Answer>(node, RpcRequest::GetSignatureStatuses, params).await)
    });
    for (node, answer) in join_all(asked).await {
        match answer {
            Ok(answer) => {
                witnesses += usize::from(blocks.height_of(answer.context.slot).await? >= finalized);
                for (known, status) in known.iter_mut().zip(check_length(nodes, names, answer.value)?) {
                    *known = known.take().or(status.map(|status| (node, status)));
                }
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        _ if witnesses >= nodes.len().min(WITNESSES_MIN) || known.iter().all(Option::is_some) => Ok(known),
        Some(error) => Err(nodes.unavailable(RpcRequest::GetSignatureStatuses, error)),
        None => Err(nodes.implausible("too few nodes have come to a block that is final".to_owned())),
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

/// The block of a slot with what these transactions did there, as `node` said. Nothing if there is another block in this slot; then
/// the next look says more.
async fn observe(
    nodes: &Nodes,
    blocks: &Blocks,
    slot: u64,
    node: usize,
    found: &[Landed<'_>],
) -> Result<Option<Observed>, ChainError> {
    let contents = blocks.contents(None, slot).await;
    let contents = contents.map_err(|error: CallError| nodes.unavailable(RpcRequest::GetBlock, error))?;
    let Some(contents) = contents else { return Ok(None) };
    let located = found.iter().filter_map(|Landed { sent, failed }| {
        let index = contents.signatures.iter().position(|signature| signature == sent.transaction)?;
        let outcome = if *failed {
            Use::Failed(Reason::SolanaTransactionFailed)
        } else {
            Use::Spent(Some(sent.transfer(u32::try_from(index).ok()?)))
        };
        Some((AuthorizationUse { key: sent.key.clone(), outcome }, sent.transaction.to_owned()))
    });
    let (uses, transactions) = located.unzip();
    Ok(Some(Observed { block: contents.block, uses, transactions, node }))
}
