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
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::payment::{AuthorizationKey, Payment};
use crate::domain::reason::Reason;
use crate::domain::transfer::{AuthorizationUse, Transfer, Use};

/// Names in one question: what nodes take.
const NAMES_MAX: usize = 256;

/// So many nodes must have nothing of a transaction before it counts as gone, or all of them if there are fewer.
const WITNESSES_MIN: usize = 2;

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

/// The blocks that hold these transactions, as far as the nodes know. With `thorough`, which is for few of them, every node is
/// asked, and for what landed long ago; that there is nothing counts only from nodes that have come to the block `finalized`, two of
/// them where there are as many, and what is there but cannot be found in its block is an error.
pub async fn outcomes(
    nodes: &Nodes,
    blocks: &Blocks,
    sent: &[Sent<'_>],
    thorough: Option<u64>,
) -> Result<Vec<Observed>, ChainError> {
    let mut landed: BTreeMap<(u64, usize), Vec<Landed<'_>>> = BTreeMap::new();
    let (mut observed, mut failure) = (Vec::new(), None);
    for part in sent.chunks(NAMES_MAX) {
        let names: Vec<_> = part.iter().map(|sent| sent.transaction).collect();
        let statuses = match thorough {
            None => ask(nodes, &names).await?,
            Some(finalized) => ask_all(nodes, blocks, &names, finalized).await?,
        };
        for (sent, told) in part.iter().zip(statuses) {
            match told {
                Some((node, status)) if status.is_confirmed() => {
                    let found = Landed { sent: *sent, failed: status.err.is_some() };
                    landed.entry((status.slot, node)).or_default().push(found);
                }
                Some(_) if thorough.is_some() => {
                    failure = Some(nodes.implausible(format!("{} is neither confirmed nor gone", sent.transaction)));
                }
                Some(_) | None => {}
            }
        }
    }
    for ((slot, node), found) in landed {
        // A block that cannot be read does not keep the others.
        match observe(nodes, blocks, slot, node, &found).await {
            Ok(there) => {
                if thorough.is_some() && there.as_ref().is_none_or(|there| there.uses.len() < found.len()) {
                    failure = Some(nodes.implausible(format!("slot {slot} does not hold what landed there")));
                }
                observed.extend(there);
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if observed.is_empty() => Err(error),
        _ => Ok(observed),
    }
}

/// What a node says of each transaction, and which node.
type Told = Option<(usize, Status)>;

async fn ask(nodes: &Nodes, names: &[&str]) -> Result<Vec<Told>, ChainError> {
    let answer = nodes.call_any::<Answer>(RpcRequest::GetSignatureStatuses, json!([names])).await;
    let (node, answer) = answer.map_err(|error| nodes.unavailable(RpcRequest::GetSignatureStatuses, error))?;
    let statuses = check_length(nodes, names, answer.value)?;
    Ok(statuses.into_iter().map(|status| Some((node, status?))).collect())
}

/// What any node knows. That none knows anything counts only from nodes that have come to `finalized`, of which one may be wrong.
async fn ask_all(nodes: &Nodes, blocks: &Blocks, names: &[&str], finalized: u64) -> Result<Vec<Told>, ChainError> {
    let (mut known, mut witnesses, mut failure) = (vec![None; names.len()], 0, None);
    for node in nodes.order() {
        let params = json!([names, {"searchTransactionHistory": true}]);
        match nodes.call_node::<Answer>(node, RpcRequest::GetSignatureStatuses, params).await {
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
