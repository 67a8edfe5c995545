//! Blocks with what happened in them, which take megabytes to read.

use std::collections::{HashMap, HashSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::json;
use solana_client::rpc_request::RpcRequest;

use super::seen::WHOLE_KEPT;
use super::{Blocks, NOT_YET, block_config, read, there};
use crate::chain::nodes::CallError;
use crate::chain::solana::credits::answer::BlockAnswer;
use crate::chain::solana::credits::{self, Executed};
use crate::chain::{ChainError, Observed};
use crate::domain::block::Block;
use crate::domain::transfer::Transfer;

/// Blocks that are asked for at the same time.
const AT_ONCE: usize = 4;

/// A node that shows a status before it serves the block does so within about this time.
const SERVED_SOON: Duration = Duration::from_millis(100);

/// A block with what happened in it.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The block.
    pub block: Block,
    /// Its transactions, in order.
    pub transactions: Vec<Executed>,
    /// Every transfer of an allowed token in it.
    pub transfers: Vec<Transfer>,
    /// Which of the nodes showed it.
    pub node: usize,
}

impl Contents {
    /// The block with every transfer in it. What was used up is asked for by name.
    pub fn observed(self) -> Observed {
        let Self { block, transfers, node, .. } = self;
        Observed { block, uses: Vec::new(), transfers, upgraded: Vec::new(), transactions: Vec::new(), node }
    }

    /// Whether these transactions stand in it.
    pub fn holds<'a>(&self, mut names: impl Iterator<Item = &'a str>) -> bool {
        names.all(|name| self.transactions.iter().any(|executed| executed.name == name))
    }

    /// Whether this is the block that was observed, with all that was observed in it, and the observed transactions moved nothing else.
    pub fn confirms(&self, observed: &Observed) -> bool {
        let is_observed = |transfer: &&Transfer| observed.transactions.contains(&transfer.transaction);
        self.block == observed.block
            && self.holds(observed.transactions.iter().map(String::as_str))
            && observed.transfers.iter().all(|transfer| self.transfers.contains(transfer))
            && self.transfers.iter().filter(is_observed).all(|transfer| observed.transfers.contains(transfer))
    }
}

impl Blocks {
    /// The first of the blocks at these heights, with what happened in them.
    pub async fn whole_range(&self, heights: RangeInclusive<u64>) -> Result<Vec<Contents>, ChainError> {
        self.know_slots(heights.clone()).await?;
        let numbers: Vec<_> = heights.take(WHOLE_KEPT).collect();
        let mut whole = Vec::with_capacity(numbers.len());
        for part in numbers.chunks(AT_ONCE) {
            whole.extend(try_join_all(part.iter().copied().map(|number| self.whole(number))).await?);
        }
        Ok(whole)
    }

    /// The block at a height, which is not above the newest one, with what happened in it.
    pub async fn whole(&self, number: u64) -> Result<Contents, ChainError> {
        for _ in 0..2 {
            let Some(slot) = self.slot_of(number).await? else { break };
            let known = self.lock().recent_whole(slot).cloned();
            let contents = match known {
                Some(known) => Some(known),
                None => self.read_whole(slot).await.map_err(|error| at_height(number, error))?,
            };
            match contents {
                Some(contents) if contents.block.number == number => return Ok(contents),
                // What was remembered belongs to a branch that is gone.
                Some(_) | None => self.lock().forget(),
            }
        }
        Err(self.nodes.implausible(format!("there is no block {number} below the head")))
    }

    /// The block of a slot with what happened in it, from a node that shows these transactions in it, or else as the first one shows
    /// it. What was read a moment ago is not read again.
    pub async fn holding(&self, slot: u64, names: &[&str]) -> Result<Option<Contents>, ChainError> {
        let known = self.lock().recent_whole(slot).cloned();
        let first = match known {
            Some(known) => Ok(Some(known)),
            None => self.shown_first(slot).await,
        };
        let asked = match &first {
            Ok(Some(contents)) if !contents.holds(names.iter().copied()) => Some(contents.node),
            Err(ChainError::Unreadable { .. }) => None,
            Ok(_) | Err(_) => return first,
        };
        for other in self.nodes.order().filter(|node| Some(*node) != asked) {
            match self.shown_by(other, slot).await {
                Ok(Some(contents)) if contents.holds(names.iter().copied()) => return Ok(Some(contents)),
                // It says no more than the first.
                Ok(_) | Err(_) => {}
            }
        }
        first
    }

    /// In which slots these transactions stand, as far as blocks show that were read a moment ago.
    pub fn landed_lately<'a>(&self, names: &HashSet<&'a str>) -> HashMap<&'a str, u64> {
        self.lock().slots_of(names)
    }

    /// Reads a block to remember it with all that happened in it.
    pub(super) async fn read_whole(&self, slot: u64) -> Result<Option<Contents>, ChainError> {
        let contents = self.holding(slot, &[]).await?;
        if let Some(contents) = &contents {
            self.lock().note_whole(slot, contents.clone());
        }
        Ok(contents)
    }

    /// The block of a slot with what happened in it, as the first node shows it that answers.
    async fn shown_first(&self, slot: u64) -> Result<Option<Contents>, ChainError> {
        let ask = || self.nodes.call_any(RpcRequest::GetBlock, json!([slot, block_config("full")]));
        let mut answer = ask().await;
        if matches!(&answer, Err(CallError::Complaint(complaint)) if NOT_YET.contains(&complaint.code)) {
            tokio::time::sleep(SERVED_SOON).await;
            answer = ask().await;
        }
        match answer {
            Ok((node, answer)) => self.understand(node, slot, Ok(answer)),
            Err(error) => self.understand(0, slot, Err(error)),
        }
    }

    /// The same as one node shows it.
    pub async fn shown_by(&self, node: usize, slot: u64) -> Result<Option<Contents>, ChainError> {
        let answer = self.nodes.call_node(node, RpcRequest::GetBlock, json!([slot, block_config("full")])).await;
        self.understand(node, slot, answer)
    }

    fn understand(
        &self,
        node: usize,
        slot: u64,
        answer: Result<Option<BlockAnswer>, CallError>,
    ) -> Result<Option<Contents>, ChainError> {
        let block = || format!("the block of slot {slot}");
        let answer = there(answer).map_err(|error| self.failed(block(), error))?;
        let Some(answer) = answer else { return Ok(None) };
        let transfers = credits::transfers(&answer, &self.mints)
            .map_err(|error| self.nodes.unreadable(block(), format!("a node shows it like this: {error}")))?;
        let header = read(&answer).ok_or_else(|| self.nodes.implausible(format!("{} has no height or time", block())))?;
        Ok(Some(Contents { block: header, transactions: credits::executed(&answer), transfers, node }))
    }
}

/// Names the height of a block that cannot be read, which is what operators and the ledger count in.
fn at_height(number: u64, error: ChainError) -> ChainError {
    match error {
        ChainError::Unreadable { network, block, what } => {
            ChainError::Unreadable { network, block: format!("block {number} ({block})"), what }
        }
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::domain::address::Address;
    use crate::domain::amount::Amount;

    fn transfer(transaction: &str, index: u32) -> Transfer {
        Transfer {
            transaction: transaction.to_owned(),
            index,
            asset: Address::Solana([1; 32]),
            from: Address::Solana([2; 32]),
            to: Address::Solana([3; 32]),
            amount: Some(Amount::new(10)),
            marks: Vec::new(),
        }
    }

    #[test]
    fn a_node_confirms_all_that_was_observed_and_that_it_was_all() {
        let executed = |name: &str| Executed { name: name.to_owned(), failed: false };
        let block = Block { number: 7, hash: "B".to_owned(), parent_hash: "A".to_owned(), timestamp: DateTime::UNIX_EPOCH };
        let contents = Contents {
            block: block.clone(),
            transactions: vec![executed("ours"), executed("theirs")],
            transfers: vec![transfer("ours", 1), transfer("theirs", 257)],
            node: 0,
        };
        let observed = |name: &str, transfers: Vec<Transfer>| Observed {
            block: block.clone(),
            uses: Vec::new(),
            upgraded: Vec::new(),
            transfers,
            transactions: vec![name.to_owned()],
            node: 1,
        };
        let other = Transfer { amount: Some(Amount::new(11)), ..transfer("ours", 1) };

        assert!(contents.confirms(&observed("ours", vec![transfer("ours", 1)])));
        assert!(!contents.confirms(&observed("ours", vec![other])));
        assert!(!contents.confirms(&observed("ours", vec![transfer("ours", 1), transfer("ours", 2)])), "it was made up");
        assert!(!contents.confirms(&observed("ours", Vec::new())), "it was held back");
        assert!(!contents.confirms(&observed("another", Vec::new())));
        let elsewhere =
            Observed { block: Block { hash: "C".to_owned(), ..block.clone() }, ..observed("ours", vec![transfer("ours", 1)]) };
        assert!(!contents.confirms(&elsewhere));
        let whole = Observed { transactions: Vec::new(), ..observed("", vec![transfer("theirs", 257)]) };
        assert!(contents.confirms(&whole));
    }
}
