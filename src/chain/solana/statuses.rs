//! What became of transactions, by their names: one question for many.
//!
//! A status only says where a transaction is. What it did, and whether it failed, is read in its block.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use solana_client::rpc_request::RpcRequest;
use solana_transaction_status::TransactionConfirmationStatus;

use super::blocks::{Blocks, Contents};
use super::credits::Executed;
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

/// The part of a status that is read. A transaction that failed is confirmed like any other.
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
    /// Who is paid.
    pub pay_to: Address,
    /// How much.
    pub amount: Amount,
}

impl<'a> Sent<'a> {
    /// What was sent for a payment last: in the slot that carries it, or in the one that failed, which may land again on another fork.
    pub fn of(payment: &'a Payment) -> Option<Self> {
        let transaction = payment.transaction.as_deref().or(payment.failed_transaction.as_deref())?;
        let Payment { ref key, asset, pay_to, amount, .. } = *payment;
        Some(Self { transaction, key, asset, pay_to, amount })
    }

    /// What it came to in the block that holds it. Without the exact credit it has moved something else, or nothing.
    fn outcome(&self, executed: &Executed, transfers: &[Transfer]) -> Use {
        if executed.failed {
            return Use::Failed(Reason::SolanaTransactionFailed);
        }
        Use::Spent(transfers.iter().find(|transfer| self.is_paid_by(transfer)).cloned())
    }

    fn is_paid_by(&self, transfer: &Transfer) -> bool {
        transfer.transaction == self.transaction
            && transfer.asset == self.asset
            && transfer.to == self.pay_to
            && transfer.amount == Some(self.amount)
    }
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
    let mut landed: BTreeMap<u64, Vec<Sent<'_>>> = BTreeMap::new();
    let (mut observed, mut failure) = (Vec::new(), None);
    for part in sent.chunks(NAMES_MAX) {
        let names: Vec<_> = part.iter().map(|sent| sent.transaction).collect();
        let statuses = match thorough {
            None => ask(nodes, &names).await?,
            Some(finalized) => ask_all(nodes, blocks, &names, finalized).await?,
        };
        for (sent, status) in part.iter().zip(statuses) {
            match status {
                Some(status) if status.is_confirmed() => landed.entry(status.slot).or_default().push(*sent),
                Some(_) if thorough.is_some() => {
                    failure = Some(nodes.implausible(format!("{} is neither confirmed nor gone", sent.transaction)));
                }
                Some(_) | None => {}
            }
        }
    }
    for (slot, found) in landed {
        // A block that cannot be read does not keep the others.
        match observe(blocks, slot, &found).await {
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

async fn ask(nodes: &Nodes, names: &[&str]) -> Result<Vec<Option<Status>>, ChainError> {
    let answer = nodes.call::<Answer>(RpcRequest::GetSignatureStatuses, json!([names])).await;
    let answer = answer.map_err(|error| nodes.unavailable(RpcRequest::GetSignatureStatuses, error))?;
    check_length(nodes, names, answer.value)
}

/// What any node knows. That none knows anything counts only from nodes that have come to `finalized`, of which one may be wrong.
async fn ask_all(nodes: &Nodes, blocks: &Blocks, names: &[&str], finalized: u64) -> Result<Vec<Option<Status>>, ChainError> {
    let (mut known, mut witnesses, mut failure) = (vec![None; names.len()], 0, None);
    for node in nodes.order() {
        let params = json!([names, {"searchTransactionHistory": true}]);
        match nodes.call_node::<Answer>(node, RpcRequest::GetSignatureStatuses, params).await {
            Ok(answer) => {
                witnesses += usize::from(blocks.height_of(answer.context.slot).await? >= finalized);
                for (known, status) in known.iter_mut().zip(check_length(nodes, names, answer.value)?) {
                    *known = known.take().or(status);
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
    if observed.transactions.is_empty() {
        return Ok(Some(true));
    }
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

/// The block of a slot with what these transactions did there. Nothing if there is another block in this slot; then the next look says
/// more.
async fn observe(blocks: &Blocks, slot: u64, found: &[Sent<'_>]) -> Result<Option<Observed>, ChainError> {
    let Some(contents) = blocks.contents(None, slot).await? else { return Ok(None) };
    let Contents { block, transactions: executed, transfers, node } = contents;
    let located = found.iter().filter_map(|sent| {
        let executed = executed.iter().find(|executed| executed.name == sent.transaction)?;
        let outcome = sent.outcome(executed, &transfers);
        Some((AuthorizationUse { key: sent.key.clone(), outcome }, sent.transaction.to_owned()))
    });
    let (uses, transactions): (Vec<_>, Vec<_>) = located.unzip();
    let transfers = transfers.into_iter().filter(|transfer| transactions.contains(&transfer.transaction)).collect();
    Ok(Some(Observed { block, uses, transfers, transactions, node }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer() -> Transfer {
        Transfer {
            transaction: "ours".to_owned(),
            index: 7,
            asset: Address::Solana([1; 32]),
            from: Address::Solana([2; 32]),
            to: Address::Solana([3; 32]),
            amount: Some(Amount::new(10)),
            marks: Vec::new(),
        }
    }

    #[test]
    fn only_the_exact_credit_of_its_own_transaction_pays() {
        let key = AuthorizationKey(vec![1]);
        let Transfer { transaction, asset, to: pay_to, amount, .. } = transfer();
        let sent = Sent { transaction: &transaction, key: &key, asset, pay_to, amount: amount.unwrap() };
        let good = Executed { name: transaction.clone(), failed: false };
        let stranger = Address::Solana([9; 32]);
        let others = [
            Transfer { transaction: "theirs".to_owned(), ..transfer() },
            Transfer { asset: stranger, ..transfer() },
            Transfer { to: stranger, ..transfer() },
            Transfer { amount: Some(Amount::new(9)), ..transfer() },
            Transfer { amount: Some(Amount::new(11)), ..transfer() },
        ];

        assert_eq!(sent.outcome(&good, &[]), Use::Spent(None));
        assert_eq!(sent.outcome(&good, &others), Use::Spent(None));
        let all = [&others[..], &[transfer()]].concat();
        assert_eq!(sent.outcome(&good, &all), Use::Spent(Some(transfer())));
        let failed = Executed { failed: true, ..good };
        assert_eq!(sent.outcome(&failed, &all), Use::Failed(Reason::SolanaTransactionFailed));
    }
}
