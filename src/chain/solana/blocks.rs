//! Blocks by their height.
//!
//! Slots can be skipped, so they do not follow on each other; the heights of blocks do. Everything above this folder counts in
//! heights, and nodes are asked by slots.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::DateTime;
use futures_util::future::try_join_all;
use serde_json::{Value, json};
use solana_client::rpc_request::RpcRequest;

use super::credits::answer::{BlockAnswer, VERSION_MAX};
use super::credits::{self, Executed};
use super::message::Key;
use super::rpc::{Nodes, confirmed};
use crate::chain::nodes::{CallError, Complaint, NodeFailure};
use crate::chain::{ChainError, Head, Observed};
use crate::domain::asset::TokenProgram;
use crate::domain::block::Block;
use crate::domain::transfer::Transfer;

/// For how long so many payments are believed to be under way. Looks are less than this apart.
const EXPECTED: Duration = Duration::from_secs(5);

/// How long the network's word on what is final is believed. It moves with every block, and nobody waits for it.
const LEVELS_LAST: Duration = Duration::from_secs(2);

/// A block that was read so long ago at most is not read again. Should its branch be dropped meanwhile, the next one shows it.
const RECENT: Duration = Duration::from_secs(2);

/// Blocks that are remembered for longer, to see whether a new one goes on from them.
const BLOCKS_KEPT: usize = 64;

/// Heights whose slots are remembered.
const SLOTS_KEPT: usize = 2_048;

/// Slots that are listed beyond those that a search needs, because some were skipped.
const SLOTS_SPARE: u64 = 256;

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

/// With so many payments under way nearly every block holds some, so each is read once with all that happened in it.
const MANY: usize = 16;

/// Blocks that are asked for at the same time without their transactions.
const BLOCKS_AT_ONCE: usize = 8;

/// The same with them. Each takes megabytes while it is read.
const WHOLE_AT_ONCE: usize = 4;

/// Blocks that are read with their transactions in one go, at most.
const WHOLE_MAX: usize = 16;

/// The blocks of one cluster, as its nodes serve them.
pub struct Blocks {
    nodes: Arc<Nodes>,
    mints: Vec<(Key, TokenProgram)>,
    seen: Mutex<Seen>,
    /// Held by whoever reads a new block, for which the others wait.
    reading: tokio::sync::Mutex<()>,
}

/// What was read of the chain so far.
#[derive(Default)]
struct Seen {
    /// The slot of each height.
    slots: BTreeMap<u64, u64>,
    /// The newest blocks that were read, by their heights, and when.
    blocks: BTreeMap<u64, (Block, Instant)>,
    /// Those that were read a moment ago with what happened in them, by their slots.
    whole: BTreeMap<u64, (Contents, Instant)>,
    head: Option<(u64, Block)>,
    /// Since when so many payments are under way that what happened in each block is asked for.
    many: Option<Instant>,
    finalized: Option<(u64, Instant)>,
}

impl Seen {
    /// The block at a height, if it was read a moment ago.
    fn recent(&self, number: u64) -> Option<&Block> {
        self.blocks.get(&number).filter(|(_, read_at)| read_at.elapsed() < RECENT).map(|(block, _)| block)
    }

    /// Notes the block of a slot.
    fn note(&mut self, slot: u64, block: Block) {
        if self.is_of_another_branch(&block) {
            // Nothing says how far below the branches part, so all of it is read and listed anew.
            self.slots.clear();
            self.blocks.clear();
            self.whole.clear();
        }
        if self.head.as_ref().is_none_or(|(newest, _)| *newest < slot) {
            self.head = Some((slot, block.clone()));
        }
        self.slots.insert(block.number, slot);
        self.blocks.insert(block.number, (block, Instant::now()));
        self.bound();
    }

    /// Whether what was read before cannot all stand on one branch with a block.
    fn is_of_another_branch(&self, block: &Block) -> bool {
        let differs = |number: u64, hash: &str| self.blocks.get(&number).is_some_and(|(known, _)| known.hash != hash);
        let parent_differs = block.number.checked_sub(1).is_some_and(|parent| differs(parent, &block.parent_hash));
        parent_differs || differs(block.number, &block.hash)
    }

    fn recent_whole(&self, slot: u64) -> Option<&Contents> {
        self.whole.get(&slot).filter(|(_, read_at)| read_at.elapsed() < RECENT).map(|(contents, _)| contents)
    }

    fn bound(&mut self) {
        self.whole.retain(|_, (_, read_at)| read_at.elapsed() < RECENT);
        while self.whole.len() > WHOLE_MAX {
            self.whole.pop_first();
        }
        while self.blocks.len() > BLOCKS_KEPT {
            self.blocks.pop_first();
        }
        while self.slots.len() > SLOTS_KEPT {
            self.slots.pop_first();
        }
    }
}

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
        Observed { block, uses: Vec::new(), transfers, transactions: Vec::new(), node }
    }

    /// Whether these transactions stand in it.
    pub fn holds<'a>(&self, mut names: impl Iterator<Item = &'a String>) -> bool {
        names.all(|name| self.transactions.iter().any(|executed| executed.name == *name))
    }

    /// Whether this is the block that was observed, with all that was observed in it, and the observed transactions moved nothing else.
    pub fn confirms(&self, observed: &Observed) -> bool {
        let is_observed = |transfer: &&Transfer| observed.transactions.contains(&transfer.transaction);
        self.block == observed.block
            && self.holds(observed.transactions.iter())
            && observed.transfers.iter().all(|transfer| self.transfers.contains(transfer))
            && self.transfers.iter().filter(is_observed).all(|transfer| observed.transfers.contains(transfer))
    }
}

impl Blocks {
    /// Reads through `nodes`, and looks at what becomes of `mints`.
    pub fn new(nodes: Arc<Nodes>, mints: Vec<(Key, TokenProgram)>) -> Self {
        Self { nodes, mints, seen: Mutex::default(), reading: tokio::sync::Mutex::default() }
    }

    /// The mints that are looked at.
    pub fn mints(&self) -> &[(Key, TokenProgram)] {
        &self.mints
    }

    /// The newest confirmed block, and the newest final one. `whole` if what happened in it is asked for next, so that it is read once.
    pub async fn head(&self, whole: bool) -> Result<Head, ChainError> {
        let slot: u64 = self.nodes.read(RpcRequest::GetSlot, json!([confirmed()])).await?;
        if self.lock().head.as_ref().is_none_or(|(known, _)| *known < slot) {
            if whole {
                // Whatever is wrong with it is told when it is asked for.
                drop(self.read_whole(slot).await);
            }
            let _one = self.reading.lock().await;
            self.served_height(slot).await?;
        }
        let known = self.lock().head.clone();
        let (_, block) = known.ok_or_else(|| self.nodes.implausible(format!("there is no block at slot {slot}")))?;
        let finalized = self.finalized().await?.min(block.number);
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
                Some(_) | None => self.forget_slots(),
            }
        }
        Ok(None)
    }

    /// So many payments are under way, of which a block may hold some. It is said anew with each look.
    pub fn expect(&self, payments: usize) {
        self.lock().many = (payments >= MANY).then(Instant::now);
    }

    /// Whether a slot comes after the newest block that was read.
    pub fn is_ahead(&self, slot: u64) -> bool {
        self.lock().head.as_ref().is_some_and(|(newest, _)| slot > *newest)
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
            heights.into_iter().find(|height| !seen.slots.contains_key(height))
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

    /// The first of the blocks at these heights, with what happened in them.
    pub async fn whole_range(&self, heights: RangeInclusive<u64>) -> Result<Vec<Contents>, ChainError> {
        self.know_slots(heights.clone()).await?;
        let numbers: Vec<_> = heights.take(WHOLE_MAX).collect();
        let mut whole = Vec::with_capacity(numbers.len());
        for part in numbers.chunks(WHOLE_AT_ONCE) {
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
                Some(_) | None => self.forget_slots(),
            }
        }
        Err(self.nodes.implausible(format!("there is no block {number} below the head")))
    }

    /// The block of a slot with what happened in it, as one node sees it, or the first that answers. Without a node in particular,
    /// what was read a moment ago is not read again.
    pub async fn contents(&self, node: Option<usize>, slot: u64) -> Result<Option<Contents>, ChainError> {
        if let Some(node) = node {
            return self.contents_of(node, slot).await;
        }
        let known = self.lock().recent_whole(slot).cloned();
        match known {
            Some(known) => Ok(Some(known)),
            None => self.contents_of_any(slot).await,
        }
    }

    async fn read_whole(&self, slot: u64) -> Result<Option<Contents>, ChainError> {
        let contents = self.contents_of_any(slot).await?;
        if let Some(contents) = &contents {
            let mut seen = self.lock();
            seen.note(slot, contents.block.clone());
            seen.whole.insert(slot, (contents.clone(), Instant::now()));
        }
        Ok(contents)
    }

    /// What the first node shows that answers. If that leaves something open, another one may show more.
    async fn contents_of_any(&self, slot: u64) -> Result<Option<Contents>, ChainError> {
        let ask = || self.nodes.call_any(RpcRequest::GetBlock, json!([slot, block_config("full")]));
        let mut answer = ask().await;
        if matches!(&answer, Err(CallError::Complaint(complaint)) if NOT_YET.contains(&complaint.code)) {
            answer = ask().await;
        }
        let (node, answer) = match answer {
            Ok((node, answer)) => (node, Ok(answer)),
            Err(error) => (0, Err(error)),
        };
        let contents = self.understand(node, slot, answer);
        if !matches!(contents, Err(ChainError::Unreadable { .. })) {
            return contents;
        }
        for other in self.nodes.order().filter(|other| *other != node) {
            if let Ok(Some(contents)) = self.contents_of(other, slot).await {
                return Ok(Some(contents));
            }
        }
        contents
    }

    async fn contents_of(&self, node: usize, slot: u64) -> Result<Option<Contents>, ChainError> {
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
        Ok(read(&answer).map(|block| Contents { block, transactions: credits::executed(&answer), transfers, node }))
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
        let at_hand = || self.known_height(slot).or_else(|| self.following_height(slot));
        if let Some(height) = at_hand() {
            return Ok(height);
        }
        let _one = self.reading.lock().await;
        if let Some(height) = at_hand() {
            return Ok(height);
        }
        self.served_height(slot.saturating_sub(1)).await?;
        match self.following_height(slot) {
            Some(height) => Ok(height),
            // The slot before was skipped.
            None => self.served_height(slot).await,
        }
    }

    /// The height of the newest block that is served and not behind a slot.
    async fn served_height(&self, slot: u64) -> Result<u64, ChainError> {
        for slot in (slot.saturating_sub(SLOTS_SKIPPED_MAX)..=slot).rev() {
            if let Some(height) = self.known_height(slot) {
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

    /// The height of a slot's block if the one in the slot before was read.
    fn following_height(&self, slot: u64) -> Option<u64> {
        let before = slot.checked_sub(1)?;
        self.lock().slots.iter().rev().find(|(_, known)| **known == before).map(|(height, _)| height + 1)
    }

    /// The height of a slot's block, or of the one before if the slot was skipped, as far as that was read.
    fn known_height(&self, slot: u64) -> Option<u64> {
        let seen = self.lock();
        let (height, known) = seen.slots.iter().rev().find(|(_, known)| **known <= slot)?;
        let was_skipped = || seen.slots.get(&(height + 1)).is_some_and(|next| *next > slot);
        (*known == slot || was_skipped()).then_some(*height)
    }

    async fn finalized(&self) -> Result<u64, ChainError> {
        if let Some((finalized, _)) = self.lock().finalized.filter(|(_, read_at)| read_at.elapsed() < LEVELS_LAST) {
            return Ok(finalized);
        }
        let slot: u64 = self.nodes.read(RpcRequest::GetSlot, json!([{"commitment": "finalized"}])).await?;
        let (known, before) = {
            let seen = self.lock();
            let known = seen.slots.iter().find(|(_, known)| **known == slot).map(|(height, _)| *height);
            (known, seen.finalized.map_or(0, |(finalized, _)| finalized))
        };
        let finalized = match known {
            Some(height) => height,
            // A node that has just begun has not kept the block that was final before.
            None => match self.read_at(slot).await {
                Ok(block) => block.map_or(before, |block| block.number),
                Err(CallError::Complaint(_)) => before,
                Err(error) => return Err(self.nodes.unavailable(RpcRequest::GetBlock, error)),
            },
        };
        // One node may be behind another.
        let finalized = finalized.max(before);
        self.lock().finalized = Some((finalized, Instant::now()));
        Ok(finalized)
    }

    async fn read_at(&self, slot: u64) -> Result<Option<Block>, CallError> {
        let many = self.lock().many.is_some_and(|said_at| said_at.elapsed() < EXPECTED);
        // What is wrong with it is told when it is asked for without.
        if many && let Ok(Some(contents)) = self.read_whole(slot).await {
            return Ok(Some(contents.block));
        }
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
            (seen.slots.get(&number).copied(), seen.head.clone())
        };
        if known.is_some() {
            return Ok(known);
        }
        let Some((slot, head)) = head else { return Ok(None) };
        let Some(back) = head.number.checked_sub(number) else { return Ok(None) };
        let first = slot.saturating_sub((2 * back + SLOTS_SPARE).min(SLOTS_LISTED_MAX));
        let listed: Vec<u64> = self.nodes.read(RpcRequest::GetBlocks, json!([first, slot, confirmed()])).await?;
        if listed.last() != Some(&slot) {
            return Err(self.nodes.implausible(format!("there is no block at slot {slot} any more, or not yet")));
        }
        let index = usize::try_from(back).ok().and_then(|back| listed.len().checked_sub(back + 1));
        let Some(found) = index.and_then(|index| listed.get(index..)) else {
            let what = format!("the nodes list {} blocks below the newest one, which are too few", listed.len());
            return Err(self.nodes.unreadable(format!("block {number}"), what));
        };
        let mut seen = self.lock();
        seen.slots.extend((number..).zip(found.iter().copied()).take(SLOTS_KEPT / 2));
        seen.bound();
        Ok(found.first().copied())
    }

    fn forget_slots(&self) {
        let mut seen = self.lock();
        let head = seen.head.clone();
        seen.slots.clear();
        seen.blocks.clear();
        seen.whole.clear();
        seen.slots.extend(head.map(|(slot, block)| (block.number, slot)));
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The block of a slot, or that it was skipped. That a node has nothing yet has two forms, of which this makes one.
fn there(answer: Result<Option<BlockAnswer>, CallError>) -> Result<Option<BlockAnswer>, CallError> {
    match answer {
        Ok(None) => Err(Complaint { code: NOT_AVAILABLE, message: "there is no block yet".to_owned() }.into()),
        Err(CallError::Complaint(complaint)) if SKIPPED.contains(&complaint.code) => Ok(None),
        answer => answer,
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

fn block_config(details: &str) -> Value {
    json!({
        "commitment": "confirmed", "encoding": "base64", "transactionDetails": details, "rewards": false,
        "maxSupportedTransactionVersion": VERSION_MAX,
    })
}

fn read(block: &BlockAnswer) -> Option<Block> {
    Some(Block {
        number: block.block_height?,
        hash: block.blockhash.clone(),
        parent_hash: block.previous_blockhash.clone(),
        timestamp: DateTime::from_timestamp(block.block_time.unwrap_or_default(), 0)?,
    })
}

#[cfg(test)]
mod tests {
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

    /// A block of a branch, whose parent is of the same branch or of another one.
    fn block(number: u64, branch: &str, parent: &str) -> Block {
        Block {
            number,
            hash: format!("{number}{branch}"),
            parent_hash: format!("{}{parent}", number - 1),
            timestamp: DateTime::UNIX_EPOCH,
        }
    }

    /// Blocks 10 to 12 of branch a, in the slots 110 to 112.
    fn seen() -> Seen {
        let mut seen = Seen::default();
        for number in 10..=12 {
            seen.note(100 + number, block(number, "a", "a"));
        }
        seen
    }

    fn remembered(seen: &Seen) -> Vec<&str> {
        (0..20).filter_map(|number| seen.recent(number)).map(|block| block.hash.as_str()).collect()
    }

    #[test]
    fn blocks_that_follow_on_each_other_are_remembered() {
        let mut seen = seen();
        seen.note(114, block(13, "a", "a"));

        assert_eq!(remembered(&seen), ["10a", "11a", "12a", "13a"]);
        assert_eq!(seen.slots, BTreeMap::from([(10, 110), (11, 111), (12, 112), (13, 114)]));
        assert_eq!(seen.head, Some((114, block(13, "a", "a"))));
    }

    #[test]
    fn a_branch_that_was_dropped_is_forgotten_as_soon_as_a_block_does_not_go_on_from_it() {
        let mut seen = seen();
        seen.note(114, block(13, "b", "b"));

        assert_eq!(remembered(&seen), ["13b"]);
        assert_eq!(seen.slots, BTreeMap::from([(13, 114)]), "the slots of the others are listed anew");
        assert_eq!(seen.head, Some((114, block(13, "b", "b"))));
    }

    #[test]
    fn a_branch_that_was_dropped_is_forgotten_as_soon_as_another_block_stands_at_its_height() {
        let mut seen = seen();
        seen.note(113, block(12, "b", "a"));

        assert_eq!(remembered(&seen), ["12b"]);
        assert_eq!(seen.slots, BTreeMap::from([(12, 113)]));
        assert_eq!(seen.head, Some((113, block(12, "b", "a"))));
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let mut seen = Seen::default();
        for number in 1..=3 * SLOTS_KEPT as u64 {
            seen.note(100 + number, block(number, "a", "a"));
        }

        assert_eq!((seen.blocks.len(), seen.slots.len()), (BLOCKS_KEPT, SLOTS_KEPT));
    }
}
