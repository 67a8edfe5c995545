//! Blocks by their height.
//!
//! Slots can be skipped, so they do not follow on each other; the heights of blocks do. Everything above this folder counts in
//! heights, and nodes are asked by slots.

mod contents;
mod seen;

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::DateTime;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use solana_client::rpc_request::RpcRequest;

pub use self::contents::Contents;
use self::seen::Seen;
use super::credits::answer::{BlockAnswer, VERSION_MAX};
use super::message::Key;
use super::rpc::{Nodes, confirmed};
use crate::chain::nodes::{CallError, Complaint, NodeFailure};
use crate::chain::{ChainError, Head};
use crate::domain::asset::TokenProgram;
use crate::domain::block::{Block, NUMBER_MAX};

/// How long the network's word on what is final is believed. It moves with every block, and nobody waits for it.
const LEVELS_LAST: Duration = Duration::from_secs(2);

/// Slots that are listed beyond those that a search needs, because some were skipped.
const SLOTS_SPARE: usize = 256;

/// So many slots in a row are skipped at most where nothing is wrong: a leader has four.
pub const SLOTS_SKIPPED_MAX: u64 = 16;

/// Nodes list no more slots at a time than this.
const SLOTS_LISTED_MAX: u64 = 500_000;

/// What a node says where a slot has no block: skipped, or skipped according to its archive.
const SKIPPED: [i64; 2] = [-32_007, -32_009];

/// What a node says of a block that it has not, or has no more because its branch was dropped.
const NOT_AVAILABLE: i64 = -32_004;

/// What it says of a block that it will serve in a moment.
const NOT_YET: [i64; 2] = [NOT_AVAILABLE, -32_014];

/// What it says of a block that it has forgotten.
const CLEANED_UP: i64 = -32_001;

/// What it says of a block with a transaction of a version that was not asked for.
const UNKNOWN_VERSION: i64 = -32_015;

/// Blocks that are asked for at the same time without their transactions.
const BLOCKS_AT_ONCE: usize = 8;

/// The newest final block. All zero while no node has shown one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finalized {
    /// Its height.
    pub number: u64,
    /// Its slot.
    pub slot: u64,
}

/// The blocks of one cluster, as its nodes serve them.
pub struct Blocks {
    nodes: Arc<Nodes>,
    mints: Vec<(Key, TokenProgram)>,
    seen: Mutex<Seen>,
    /// What was final, and when the network said so.
    finalized: Mutex<Option<(Finalized, Instant)>>,
    /// Held by whoever reads a new block, for which the others wait.
    reading: tokio::sync::Mutex<()>,
}

impl Blocks {
    /// Reads through `nodes`, and looks at what becomes of `mints`.
    pub fn new(nodes: Arc<Nodes>, mints: Vec<(Key, TokenProgram)>) -> Self {
        Self { nodes, mints, seen: Mutex::default(), finalized: Mutex::default(), reading: tokio::sync::Mutex::default() }
    }

    /// The mints that are looked at.
    pub fn mints(&self) -> &[(Key, TokenProgram)] {
        &self.mints
    }

    /// The newest confirmed block, and the newest final one. `whole` if what happened in it is asked for next, so that it is read once.
    pub async fn head(&self, whole: bool) -> Result<Head, ChainError> {
        let slot: u64 = self.nodes.read(RpcRequest::GetSlot, json!([confirmed()])).await?;
        if self.lock().head().is_none_or(|(known, _)| *known < slot) {
            if whole {
                // Whatever is wrong with it is told when it is asked for.
                drop(self.read_whole(slot).await);
            }
            let _one = self.reading.lock().await;
            self.served_height(slot).await?;
        }
        let known = self.lock().head().cloned();
        let (_, block) = known.ok_or_else(|| self.nodes.implausible(format!("there is no block at slot {slot}")))?;
        let finalized = self.finalized().await?.number.min(block.number);
        Ok(Head { block, safe: finalized, finalized })
    }

    /// See [`crate::chain::Chain::block`].
    pub async fn block(&self, number: u64) -> Result<Option<Block>, ChainError> {
        if let Some(block) = self.lock().recent(number) {
            return Ok(Some(block.clone()));
        }
        for _ in 0..2 {
            let Some(slot) = self.slot_of(number).await? else { return Ok(None) };
            let block = match self.read_at(slot).await {
                Err(CallError::Complaint(complaint)) if NOT_YET.contains(&complaint.code) => None,
                block => block.map_err(|error| self.failed(format!("block {number} (slot {slot})"), error))?,
            };
            match block {
                Some(block) if block.number == number => return Ok(Some(block)),
                // What was remembered belongs to a branch that is gone, or the node needs another moment.
                Some(_) | None => self.lock().forget(),
            }
        }
        Ok(None)
    }

    /// Whether a slot comes after the newest block that was read.
    pub fn is_ahead(&self, slot: u64) -> bool {
        self.lock().head().is_some_and(|(newest, _)| slot > *newest)
    }

    /// The blocks at these heights, the lowest first. None of them may be above the newest one.
    pub async fn range(&self, heights: RangeInclusive<u64>) -> Result<Vec<Block>, ChainError> {
        self.know_slots(heights.clone()).await?;
        let numbers: Vec<_> = heights.collect();
        let mut blocks = Vec::with_capacity(numbers.len());
        for part in numbers.chunks(BLOCKS_AT_ONCE) {
            blocks.extend(try_join_all(part.iter().copied().map(|number| self.below_head(number))).await?);
        }
        Ok(blocks)
    }

    /// Asks for the slots of these heights together: known for one, they are known for all above it.
    async fn know_slots(&self, heights: RangeInclusive<u64>) -> Result<(), ChainError> {
        let unknown = {
            let seen = self.lock();
            heights.into_iter().find(|height| seen.slot(*height).is_none())
        };
        match unknown {
            Some(height) => self.slot_of(height).await.map(drop),
            None => Ok(()),
        }
    }

    async fn below_head(&self, number: u64) -> Result<Block, ChainError> {
        let gone = || self.nodes.implausible(format!("there is no block {number} below the head"));
        self.block(number).await?.ok_or_else(gone)
    }

    /// Whether a node has a block in its slot, and has noted whose transactions stand in it: before that it does not serve it.
    pub async fn is_served(&self, node: usize, slot: u64, block: &Block) -> Result<bool, CallError> {
        let answer = self.nodes.call_node(node, RpcRequest::GetBlock, json!([slot, block_config("none")])).await;
        Ok(there(answer)?.as_ref().and_then(read).is_some_and(|served| served == *block))
    }

    /// Why a block could not be read.
    fn failed(&self, block: String, error: CallError) -> ChainError {
        match error {
            CallError::Complaint(Complaint { code: CLEANED_UP, .. }) => {
                self.nodes.unreadable(block, "no node has it any more; configure one that keeps old blocks".to_owned())
            }
            CallError::Complaint(Complaint { code: UNKNOWN_VERSION, .. }) => {
                let what = format!("it has a transaction of a version above {VERSION_MAX}, which needs a newer release");
                self.nodes.unreadable(block, what)
            }
            error => self.nodes.unavailable(RpcRequest::GetBlock, error),
        }
    }

    /// The height of the block of a slot whose state a node showed. Nodes do so a moment before they serve the block, so the one before
    /// it is asked for.
    pub async fn height_of(&self, slot: u64) -> Result<u64, ChainError> {
        let at_hand = || {
            let seen = self.lock();
            seen.height_at(slot).or_else(|| seen.height_after(slot))
        };
        if let Some(height) = at_hand() {
            return Ok(height);
        }
        let _one = self.reading.lock().await;
        if let Some(height) = at_hand() {
            return Ok(height);
        }
        self.served_height(slot.saturating_sub(1)).await?;
        let following = self.lock().height_after(slot);
        match following {
            Some(height) => Ok(height),
            // The slot before was skipped.
            None => self.served_height(slot).await,
        }
    }

    /// The same where it may be a little too high, by the slots that were skipped since the newest block that was read: then no node
    /// is asked.
    pub async fn height_at_most(&self, slot: u64) -> Result<u64, ChainError> {
        let at_most = self.lock().height_at_most(slot);
        match at_most {
            Some(height) => Ok(height),
            None => self.height_of(slot).await,
        }
    }

    /// The height of the newest block that is served and not behind a slot.
    async fn served_height(&self, slot: u64) -> Result<u64, ChainError> {
        for slot in (slot.saturating_sub(SLOTS_SKIPPED_MAX)..=slot).rev() {
            let known = self.lock().height_at(slot);
            if let Some(height) = known {
                return Ok(height);
            }
            match self.read_at(slot).await {
                Ok(Some(block)) => return Ok(block.number),
                Ok(None) => {}
                Err(CallError::Complaint(complaint)) if NOT_YET.contains(&complaint.code) => {}
                Err(error) => return Err(self.nodes.unavailable(RpcRequest::GetBlock, error)),
            }
        }
        Err(self.nodes.implausible(format!("there is no block at slot {slot}, and none before it")))
    }

    /// The newest final block, as the network told it a moment ago.
    pub async fn finalized(&self) -> Result<Finalized, ChainError> {
        let known = *self.finalized.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match known {
            Some((finalized, read_at)) if read_at.elapsed() < LEVELS_LAST => return Ok(finalized),
            known => known.map(|(finalized, _)| finalized).unwrap_or_default(),
        };
        let slot: u64 = self.nodes.read(RpcRequest::GetSlot, json!([{"commitment": "finalized"}])).await?;
        let known = self.lock().height_in(slot);
        let number = match known {
            Some(number) => Some(number),
            // A node that has just begun has not kept the block that was final before.
            None => match self.read_at(slot).await {
                Ok(block) => block.map(|block| block.number),
                Err(CallError::Complaint(_)) => None,
                Err(error) => return Err(self.nodes.unavailable(RpcRequest::GetBlock, error)),
            },
        };
        // One node may be behind another.
        let finalized = number.map_or(before, |number| before.max(Finalized { number, slot }));
        *self.finalized.lock().unwrap_or_else(PoisonError::into_inner) = Some((finalized, Instant::now()));
        Ok(finalized)
    }

    async fn read_at(&self, slot: u64) -> Result<Option<Block>, CallError> {
        let answer = self.nodes.call(RpcRequest::GetBlock, json!([slot, block_config("none")])).await;
        let Some(block) = there(answer)? else { return Ok(None) };
        let Some(block) = read(&block) else { return Err(CallError::Unavailable(NodeFailure::Broken)) };
        self.lock().note(slot, block.clone());
        Ok(Some(block))
    }

    /// The slot of a height. What was not read before is counted back from the newest block.
    pub async fn slot_of(&self, number: u64) -> Result<Option<u64>, ChainError> {
        let (known, head) = {
            let seen = self.lock();
            (seen.slot(number), seen.head().cloned())
        };
        if known.is_some() {
            return Ok(known);
        }
        let Some((slot, head)) = head else { return Ok(None) };
        let Some(back) = head.number.checked_sub(number) else { return Ok(None) };
        let spare = back.saturating_mul(2).saturating_add(SLOTS_SPARE as u64);
        let first = slot.saturating_sub(spare.min(SLOTS_LISTED_MAX));
        let mut failure = None;
        // A node that has jumped to a snapshot lacks the blocks before it, and lists too few without a word.
        for node in self.nodes.order() {
            match self.nodes.call_node::<Vec<u64>>(node, RpcRequest::GetBlocks, json!([first, slot, confirmed()])).await {
                Ok(listed) => match self.note_listed(number, (slot, back), &listed) {
                    Ok(found) => return Ok(Some(found)),
                    Err(error) => failure = Some(error),
                },
                Err(error) => failure = failure.or_else(|| Some(self.nodes.unavailable(RpcRequest::GetBlocks, error))),
            }
        }
        failure.map_or(Ok(None), Err)
    }

    /// Counts back from the newest block, which stands in `slot`, in what a node lists.
    fn note_listed(&self, number: u64, (slot, back): (u64, u64), listed: &[u64]) -> Result<u64, ChainError> {
        if listed.last() != Some(&slot) {
            return Err(self.nodes.implausible(format!("there is no block at slot {slot} any more, or not yet")));
        }
        let index = usize::try_from(back).ok().and_then(|back| listed.len().checked_sub(1)?.checked_sub(back));
        let Some((index, found)) = index.and_then(|index| Some((index, *listed.get(index)?))) else {
            let what = format!("the nodes list {} blocks below the newest one, which are too few", listed.len());
            return Err(self.nodes.unreadable(format!("block {number}"), what));
        };
        // What is final is asked for later, and stands a little below.
        let below = index.min(SLOTS_SPARE).min(usize::try_from(number).unwrap_or(usize::MAX));
        self.lock().note_slots(number - below as u64, &listed[index - below..]);
        Ok(found)
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The block of a slot, or that it was skipped. That a node has nothing yet has two forms, of which this makes one.
fn there(answer: Result<Option<BlockAnswer>, CallError>) -> Result<Option<BlockAnswer>, CallError> {
    match answer {
        Ok(None) => Err(Complaint::new(NOT_AVAILABLE, "there is no block yet").into()),
        Err(CallError::Complaint(complaint)) if SKIPPED.contains(&complaint.code) => Ok(None),
        answer => answer,
    }
}

fn block_config(details: &str) -> Value {
    json!({
        "commitment": "confirmed", "encoding": "base64", "transactionDetails": details, "rewards": false,
        "maxSupportedTransactionVersion": VERSION_MAX,
    })
}

fn read(block: &BlockAnswer) -> Option<Block> {
    Some(Block {
        number: block.block_height.filter(|height| *height <= NUMBER_MAX)?,
        hash: block.blockhash.clone(),
        parent_hash: block.previous_blockhash.clone(),
        timestamp: DateTime::from_timestamp(block.block_time?, 0)?,
    })
}
