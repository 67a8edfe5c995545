//! What became of transactions, by their names: one question for many.
//!
//! A status only says where a transaction is, and so does a block that was just read. What it did, and whether it failed, is read in its
//! block.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::{Value, json};
use solana_client::rpc_request::RpcRequest;
use solana_transaction_status::TransactionConfirmationStatus;

use super::blocks::{Blocks, Contents};
use super::credits::Executed;
use super::rpc::{Nodes, Stated};
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
    /// No node: only what stands in blocks that were read a moment ago.
    AtHand,
    /// One node, for what happened lately.
    Glance,
    /// Another one too, for what the first does not know; the others take turns, and this is which turn it is.
    SecondGlance(usize),
    /// Every node, and for what landed long ago; for few transactions. That there is nothing counts only from nodes that have come to
    /// this final block, two of them where there are as many.
    Thorough(u64),
}

type Answer = Stated<Vec<Option<Status>>>;

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
            && transfer.from == self.payer
            && transfer.to == self.pay_to
            && transfer.amount == Some(self.amount)
    }
}

/// The blocks that hold these transactions, as far as the nodes know, and those of which they know something and no block.
pub async fn outcomes(nodes: &Nodes, blocks: &Blocks, sent: &[Sent<'_>], effort: Effort) -> Result<Outcomes, ChainError> {
    let mut landed: BTreeMap<u64, Vec<Sent<'_>>> = BTreeMap::new();
    let mut outcomes = Outcomes::default();
    let at_hand = match effort {
        // Where something is decided, nodes decide.
        Effort::Thorough(_) => HashMap::new(),
        Effort::AtHand | Effort::Glance | Effort::SecondGlance(_) => {
            blocks.landed_lately(&sent.iter().map(|sent| sent.transaction).collect())
        }
    };
    let (found, unseen): (Vec<Sent<'_>>, Vec<_>) = sent.iter().partition(|sent| at_hand.contains_key(sent.transaction));
    for sent in found {
        landed.entry(at_hand[sent.transaction]).or_default().push(sent);
    }
    for part in unseen.chunks(NAMES_MAX) {
        let names: Vec<_> = part.iter().map(|sent| sent.transaction).collect();
        let statuses = match effort {
            Effort::AtHand => continue,
            Effort::Glance => ask(nodes, &names).await?,
            Effort::SecondGlance(turn) => ask_two(nodes, &names, turn).await?,
            Effort::Thorough(finalized) => ask_all(nodes, blocks, &names, finalized).await?,
        };
        for (sent, told) in part.iter().zip(statuses) {
            match told {
                Some(status) if status.is_confirmed() => landed.entry(status.slot).or_default().push(*sent),
                // It is neither confirmed nor gone.
                Some(_) => outcomes.unclear.push(sent.key.clone()),
                None => {}
            }
        }
    }
    for (slot, found) in landed {
        if !matches!(effort, Effort::Thorough(_)) && blocks.is_ahead(slot) {
            // Nodes know a status a moment before they serve the block, and a block counts only once it was reached.
            outcomes.unclear.extend(found.iter().map(|sent| sent.key.clone()));
            continue;
        }
        // A block that cannot be read, or does not hold what landed there, does not keep the others.
        let there = observe(blocks, slot, &found).await.unwrap_or_else(|error| {
            tracing::warn!(slot, error = %ErrorChain(&error), "a block that holds payments could not be read");
            None
        });
        let uses = there.as_ref().map(|there| there.uses.as_slice()).unwrap_or_default();
        let is_missing = |key: &&AuthorizationKey| uses.iter().all(|entry| entry.key != **key);
        outcomes.unclear.extend(found.iter().map(|sent| sent.key).filter(is_missing).cloned());
        outcomes.observed.extend(there.filter(|there| !there.uses.is_empty()));
    }
    Ok(outcomes)
}

async fn ask(nodes: &Nodes, names: &[&str]) -> Result<Vec<Option<Status>>, ChainError> {
    let answer = nodes.call::<Answer>(RpcRequest::GetSignatureStatuses, json!([names])).await;
    let answer = answer.map_err(|error| nodes.unavailable(RpcRequest::GetSignatureStatuses, error))?;
    check_length(nodes, names, answer.value)
}

/// The same, and of what that node does not know what another one says, if it says so soon: one node may be deaf for a part of the
/// network, and nobody waits for one that hangs.
async fn ask_two(nodes: &Nodes, names: &[&str], turn: usize) -> Result<Vec<Option<Status>>, ChainError> {
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
            known[index] = status;
        }
    }
    Ok(known)
}

/// What any node knows. That none knows anything counts only from nodes that have come to `finalized`, of which one may be wrong.
async fn ask_all(nodes: &Nodes, blocks: &Blocks, names: &[&str], finalized: u64) -> Result<Vec<Option<Status>>, ChainError> {
    let (mut known, mut witnesses, mut failure) = (vec![None; names.len()], 0, None);
    let asked = nodes.order().map(|node| async move {
        let params = json!([names, {"searchTransactionHistory": true}]);
        nodes.call_node::<Answer>(node, RpcRequest::GetSignatureStatuses, params).await
    });
    for answer in join_all(asked).await {
        match answer {
            Ok(answer) => match testify(nodes, blocks, names, answer).await {
                Ok((height, statuses)) => {
                    witnesses += usize::from(height >= finalized);
                    for (known, status) in known.iter_mut().zip(statuses) {
                        *known = known.take().or(status);
                    }
                }
                // One that talks nonsense does not keep the others from being heard.
                Err(error) => failure = Some(error),
            },
            Err(error) => failure = Some(nodes.unavailable(RpcRequest::GetSignatureStatuses, error)),
        }
    }
    if witnesses >= nodes.len().min(WITNESSES_MIN) || known.iter().all(Option::is_some) {
        return Ok(known);
    }
    Err(failure.unwrap_or_else(|| nodes.implausible("too few nodes have come to a block that is final".to_owned())))
}

/// What a node says, and at which height.
async fn testify(
    nodes: &Nodes,
    blocks: &Blocks,
    names: &[&str],
    answer: Answer,
) -> Result<(u64, Vec<Option<Status>>), ChainError> {
    let height = blocks.height_of(answer.slot()).await?;
    Ok((height, check_length(nodes, names, answer.value)?))
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
    let names: Vec<_> = found.iter().map(|sent| sent.transaction).collect();
    let Some(contents) = blocks.holding(slot, &names).await? else { return Ok(None) };
    let Contents { block, transactions: executed, transfers, node } = contents;
    let located = found.iter().filter_map(|sent| {
        let executed = executed.iter().find(|executed| executed.name == sent.transaction)?;
        let outcome = sent.outcome(executed, &transfers);
        Some((AuthorizationUse { key: sent.key.clone(), outcome }, sent.transaction.to_owned()))
    });
    let (uses, transactions): (Vec<_>, Vec<_>) = located.unzip();
    let transfers = transfers.into_iter().filter(|transfer| transactions.contains(&transfer.transaction)).collect();
    Ok(Some(Observed { block, uses, transfers, upgraded: Vec::new(), transactions, node }))
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
        let Transfer { transaction, asset, from: payer, to: pay_to, amount, .. } = transfer();
        let sent = Sent { transaction: &transaction, key: &key, asset, payer, pay_to, amount: amount.unwrap() };
        let good = Executed { name: transaction.clone(), failed: false };
        let stranger = Address::Solana([9; 32]);
        let others = [
            Transfer { transaction: "theirs".to_owned(), ..transfer() },
            Transfer { asset: stranger, ..transfer() },
            Transfer { from: stranger, ..transfer() },
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
