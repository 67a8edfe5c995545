//! Reads blocks from nodes that may lag behind, stand on another branch, or not have indexed what they serve.

use std::collections::{HashSet, VecDeque};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use alloy::primitives::{Address as EvmAddress, B256};
use alloy::sol_types::SolEvent;
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use super::abi::{Permit2, Token};
use super::exact::{Authorization, evm};
use super::observe::{self, Entries, Header, LogEntry};
use super::permit2::observe::{Called, PROXIES, used};
use super::permit2::{PERMIT2, Permit};
use super::rpc::Nodes;
use super::state_of;
use crate::chain::nodes::{CallError, NodeFailure};
use crate::chain::{ChainError, Head, Observed};
use crate::config::Finality;
use crate::domain::block::{Block, BlockHash};
use crate::domain::transfer::{AuthorizationUse, Transfer, Use};

/// How long the network's word on what is safe and final is believed. It moves by minutes.
const LEVELS_LAST: Duration = Duration::from_secs(10);

/// Headers kept between the reading of a block and the reading of its logs.
const HEADERS_KEPT: usize = 128;

/// Headers, or transactions, that are asked for at the same time.
const READS_AT_ONCE: usize = 16;

/// Fewer blocks than this are asked for their logs one by one. That is as quick, and leaves no doubt.
const RANGE_MIN: usize = 8;

/// Blocks in one search for an authorization's use; public nodes refuse much longer ranges.
const LOOKUP_BLOCKS: u64 = 1_000;

/// As many logs as this are no answer about several blocks: there are nodes that cut theirs off here without a word.
const LOGS_MAX: usize = 10_000;

/// So often a block's logs are asked for again if the block's filter promises some and no node has a log of the block.
const DOUBTS_MAX: u32 = 3;

/// For so long another node is asked whether it has logs that the first one lacks: less than it takes a network to make a block.
const OPINION_WITHIN: Duration = Duration::from_millis(500);

/// The blocks of one network, as its nodes serve them.
pub struct Blocks {
    nodes: Arc<Nodes>,
    tokens: Vec<EvmAddress>,
    finality: Finality,
    levels: Mutex<Option<(u64, u64, Instant)>>,
    headers: Mutex<VecDeque<Header>>,
    /// The block whose logs were doubted last, and how often.
    doubted: Mutex<(BlockHash, u32)>,
}

impl Blocks {
    /// Reads through `nodes`, and looks at what `tokens` say.
    pub fn new(nodes: Arc<Nodes>, tokens: Vec<EvmAddress>, finality: Finality) -> Self {
        Self { nodes, tokens, finality, levels: Mutex::default(), headers: Mutex::default(), doubted: Mutex::default() }
    }

    /// The newest header.
    pub async fn newest(&self) -> Result<Header, ChainError> {
        self.header("latest").await?.ok_or_else(|| self.nodes.implausible("there is no newest block".to_owned()))
    }

    /// Makes sure that the network has the levels by which payments become final.
    pub async fn check_levels(&self) -> Result<(), ChainError> {
        if let Finality::Confirmations(_) = self.finality {
            return Ok(());
        }
        match self.nodes.call::<_, Option<Header>>("eth_getBlockByNumber", ("finalized", false)).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(CallError::Complaint(_)) => {
                Err(self.nodes.misconfigured("it has no finalized block; set `final` to a number of blocks".to_owned()))
            }
            Err(error) => Err(self.nodes.unavailable("eth_getBlockByNumber", error)),
        }
    }

    /// The newest block and the levels, given the newest header.
    pub async fn head(&self, newest: Header) -> Result<Head, ChainError> {
        let block = newest.block().ok_or_else(|| self.nodes.implausible("the newest block is not sealed".to_owned()))?;
        let (safe, finalized) = self.levels(block.number).await?;
        self.remember(newest);
        Ok(Head { block, safe, finalized })
    }

    /// See [`crate::chain::Chain::block`].
    pub async fn block(&self, number: u64) -> Result<Option<Block>, ChainError> {
        let Some(header) = self.header(&tag(number)).await? else { return Ok(None) };
        let block = header.block().ok_or_else(|| self.nodes.implausible(format!("block {number} is not sealed")))?;
        self.remember(header);
        Ok(Some(block))
    }

    /// See [`crate::chain::Chain::observe`].
    pub async fn observe(&self, block: &Block) -> Result<Observed, ChainError> {
        let header = self.header_of(block).await?;
        let (logs, node) = if header.transactions.is_empty() {
            (Vec::new(), self.nodes.preferred())
        } else {
            self.logs_in(block, &header).await?
        };
        self.read(block, &header, &logs, node).await
    }

    /// The blocks at these heights, of which the newest one of all is known.
    pub async fn range(&self, heights: RangeInclusive<u64>, head: &Block) -> Result<Vec<Block>, ChainError> {
        let numbers: Vec<_> = heights.collect();
        let mut blocks = Vec::with_capacity(numbers.len());
        for part in numbers.chunks(READS_AT_ONCE) {
            let reads = part.iter().copied().map(|number| self.below(number, head));
            blocks.extend(try_join_all(reads).await?);
        }
        Ok(blocks)
    }

    /// The block at a height that is not above the newest one.
    async fn below(&self, number: u64, head: &Block) -> Result<Block, ChainError> {
        if number == head.number {
            return Ok(head.clone());
        }
        let gone = || self.nodes.implausible(format!("there is no block {number} below the head"));
        self.block(number).await?.ok_or_else(gone)
    }

    /// The same for blocks that follow on each other, the oldest first, in as few questions as the nodes allow. Of more than
    /// `HEADERS_KEPT` blocks, the headers of the first are asked for again.
    ///
    /// There are nodes that cut a long answer off without a word. So the blocks at the ends of what they tell are asked for by
    /// themselves, and so is each of which they tell nothing although its own filter promises something, or promises are worth nothing.
    pub async fn observe_range(&self, blocks: &[Block]) -> Result<Vec<Observed>, ChainError> {
        let mut observed = Vec::with_capacity(blocks.len());
        // The next range stands last.
        let mut unread = vec![blocks];
        while let Some(range) = unread.pop() {
            if range.len() < RANGE_MIN {
                for block in range {
                    observed.push(self.observe(block).await?);
                }
            } else if let Some((logs, node)) = self.logs_of(range).await {
                let (ends, filters) = (ends(&logs), self.have_filters(range, &logs).await?);
                for (place, (block, logs)) in range.iter().zip(logs).enumerate() {
                    let is_end = ends.is_some_and(|(first, last)| place == first || place == last);
                    observed.push(if is_end || (logs.is_empty() && !filters) {
                        self.observe(block).await?
                    } else {
                        self.observe_among(block, &logs, node).await?
                    });
                }
            } else {
                let (first, second) = range.split_at(range.len() / 2);
                unread.extend([second, first]);
            }
        }
        Ok(observed)
    }

    /// See [`crate::chain::Chain::agrees`].
    pub async fn agrees(&self, observed: &Observed) -> Result<bool, ChainError> {
        let mut last = CallError::Unavailable(NodeFailure::Broken);
        for offset in 1..self.nodes.len() {
            let other = (observed.node + offset) % self.nodes.len();
            match self.seen_by(other, &observed.block).await {
                Ok(Some((block, logs))) => {
                    let agrees = block == observed.block && self.confirms(&logs, observed, other).await?;
                    return Ok(agrees);
                }
                // It has not come so far, which says nothing.
                Ok(None) => {}
                Err(error) => last = error,
            }
        }
        Err(self.nodes.unavailable("eth_getLogs", last))
    }

    /// See [`crate::chain::Chain::lookup`].
    pub async fn lookup(&self, authorization: &Authorization, from: u64, to: u64) -> Result<Option<Observed>, ChainError> {
        let events = [Token::AuthorizationUsed::SIGNATURE_HASH, Token::AuthorizationCanceled::SIGNATURE_HASH];
        let payer = evm(authorization.message.from).into_word();
        let nonce = B256::from(authorization.message.nonce);
        let mut start = from;
        while start <= to {
            let end = to.min(start.saturating_add(LOOKUP_BLOCKS - 1));
            let filter = json!({
                "fromBlock": tag(start), "toBlock": tag(end), "address": authorization.token, "topics": [events, payer, nonce],
            });
            // A node that has not indexed these logs finds nothing either.
            let found = |answer: &Result<Vec<LogEntry>, CallError>| answer.as_ref().is_ok_and(|logs| !logs.is_empty());
            let logs = self.nodes.ask("eth_getLogs", (filter,), found).await;
            let logs = logs.map_err(|error| self.nodes.unavailable("eth_getLogs", error))?;
            if let Some(number) = logs.first().and_then(|log| log.block_number) {
                let Some(block) = self.block(number.to()).await? else { return Ok(None) };
                return self.observe(&block).await.map(Some);
            }
            start = end + 1;
        }
        Ok(None)
    }

    /// The same for what was signed for Permit2, which tells nobody which nonce it used: the block in which the nonce's state changed is
    /// searched for. There the transfer is looked for that the proxy made for whoever called it; without one, the nonce is gone.
    /// Transfers that pay other payments are `taken`: payments of one payer may be alike, and what lands them together hides which is which.
    pub async fn lookup_nonce(
        &self,
        permit: &Permit,
        heights: RangeInclusive<u64>,
        taken: &[(BlockHash, u32)],
    ) -> Result<Option<Observed>, ChainError> {
        let (mut unused, mut used) = heights.into_inner();
        if !self.is_nonce_used(permit, tag(used).into()).await? {
            return Ok(None);
        }
        while unused < used {
            let middle = unused + (used - unused) / 2;
            if self.is_nonce_used(permit, tag(middle).into()).await? { used = middle } else { unused = middle + 1 }
        }
        let Some(block) = self.block(used).await? else { return Ok(None) };
        // What is found by heights may be of two branches. By hashes it is not.
        let (before, after) = (state_of(&block.parent_hash), state_of(&block.hash));
        if self.is_nonce_used(permit, before).await? || !self.is_nonce_used(permit, after).await? {
            return Ok(None);
        }
        let header = self.header_of(&block).await?;
        let (logs, node) = self.logs_in(&block, &header).await?;
        let mut observed = self.read(&block, &header, &logs, node).await?;
        if !observed.uses.iter().any(|entry| entry.key == permit.key()) {
            let settled: Vec<_> = self.entries(&block, &logs)?.settled.iter().map(B256::to_string).collect();
            let free = |transfer: &Transfer| !taken.iter().any(|(hash, index)| (hash, *index) == (&block.hash, transfer.index));
            let moved = permit.found_in(&observed, &settled, free);
            let outcome = moved.map_or(Use::Cancelled, |transfer| Use::Spent(Some(transfer)));
            observed.uses.push(AuthorizationUse { key: permit.key(), outcome });
        }
        Ok(Some(observed))
    }

    /// Whether Permit2 has used the nonce of what was signed, or its payer has cancelled it, in a state.
    pub async fn is_nonce_used(&self, permit: &Permit, state: Value) -> Result<bool, ChainError> {
        let (word, bit) = permit.nonce_place();
        let call = Permit2::nonceBitmapCall { owner: permit.payer(), word };
        Ok(self.nodes.view(PERMIT2, call, state).await?.bit(bit))
    }

    async fn header(&self, tag: &str) -> Result<Option<Header>, ChainError> {
        self.nodes.find("eth_getBlockByNumber", (tag, false)).await
    }

    async fn levels(&self, head: u64) -> Result<(u64, u64), ChainError> {
        if let Finality::Confirmations(confirmations) = self.finality {
            let deep = (head + 1).saturating_sub(confirmations.max(1));
            return Ok((deep, deep));
        }
        let known = *self.lock_levels();
        if let Some((safe, finalized, _)) = known.filter(|(.., read_at)| read_at.elapsed() < LEVELS_LAST) {
            return Ok((safe.min(head), finalized.min(head)));
        }
        let finalized = self.level("finalized").await?.or(known.map(|(_, finalized, _)| finalized)).unwrap_or(0).min(head);
        let safe = self.level("safe").await?.or(known.map(|(safe, ..)| safe)).unwrap_or(0).clamp(finalized, head);
        *self.lock_levels() = Some((safe, finalized, Instant::now()));
        Ok((safe, finalized))
    }

    /// The height of a level. `None` if the nodes have no such level, as some networks have nothing between newest and final, or do
    /// not tell now: blocks are read all the same.
    async fn level(&self, tag: &str) -> Result<Option<u64>, ChainError> {
        let told = |answer: &Result<Option<Header>, CallError>| matches!(answer, Ok(Some(_)));
        match self.nodes.ask("eth_getBlockByNumber", (tag, false), told).await {
            Ok(header) => Ok(header.map(|header| header.number.to())),
            Err(CallError::Complaint(_)) => Ok(None),
            Err(error) => Err(self.nodes.unavailable("eth_getBlockByNumber", error)),
        }
    }

    fn lock_levels(&self) -> MutexGuard<'_, Option<(u64, u64, Instant)>> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn logs(&self, node: usize, block_hash: &str) -> Result<Vec<LogEntry>, CallError> {
        let filter = json!({"blockHash": block_hash, "address": self.emitters(), "topics": [observe::topics()]});
        self.nodes.call_node(node, "eth_getLogs", (filter,)).await
    }

    /// Whose logs matter: the tokens', and the proxies' that move tokens. Blocks in which only the latter have some do not.
    fn emitters(&self) -> Vec<EvmAddress> {
        self.tokens.iter().copied().chain(PROXIES).collect()
    }

    /// The nodes' indexes, beginning with the one that is asked now.
    fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, nodes) = (self.nodes.preferred(), self.nodes.len());
        (0..nodes).map(move |offset| (first + offset) % nodes)
    }

    /// Whether a block should have logs of ours, as its own filter has it. Networks without filters leave no doubt.
    fn is_doubtful(&self, header: &Header) -> bool {
        header.logs_bloom.is_some() && header.may_hold_entries(&self.tokens)
    }

    /// A block's logs from the first node that knows them, with the node's index; a node that has none is believed only if the block's
    /// own filter agrees or no other node has any either, repeatedly. Nodes are known to answer an empty list for a block whose logs
    /// they have not indexed yet.
    async fn logs_in(&self, block: &Block, header: &Header) -> Result<(Vec<LogEntry>, usize), ChainError> {
        let doubtful = self.is_doubtful(header);
        let (mut empty, mut failure) = (None, None);
        for node in self.order() {
            let logs = self.logs_at(node, &block.hash, doubtful);
            // A further opinion must not hold up the reading of blocks, whatever became of the node that has it.
            let logs = if empty.is_none() { logs.await } else { briefly(logs).await };
            match logs {
                Ok(logs) if logs.is_empty() && doubtful => empty = Some(node),
                Ok(logs) => return Ok((logs, node)),
                Err(error) => failure = Some(error),
            }
        }
        match (empty, failure) {
            (Some(_), _) if self.doubts(block) => {
                Err(self.nodes.implausible(format!("block {} should have logs, but no node has any", block.number)))
            }
            (Some(node), _) => Ok((Vec::new(), node)),
            (None, Some(error)) => Err(self.nodes.unavailable("eth_getLogs", error)),
            (None, None) => Ok((Vec::new(), self.nodes.preferred())),
        }
    }

    /// A block's logs as one node has them. Filters promise much that is not there, so a doubtful block without logs of ours is asked for
    /// all of its logs: in an answer that has any, none is missing.
    async fn logs_at(&self, node: usize, block_hash: &str, doubtful: bool) -> Result<Vec<LogEntry>, CallError> {
        let logs = self.logs(node, block_hash).await?;
        if !logs.is_empty() || !doubtful {
            return Ok(logs);
        }
        self.nodes.call_node(node, "eth_getLogs", (json!({"blockHash": block_hash}),)).await
    }

    /// The logs of a range by its blocks, from the first node that gives them all, with the node's index. Nodes refuse ranges in many
    /// ways, of which none says anything; what is asked for by a single block counts.
    async fn logs_of(&self, range: &[Block]) -> Option<(Vec<Vec<LogEntry>>, usize)> {
        let (first, last) = (range.first()?, range.last()?);
        let filter = json!({
            "fromBlock": tag(first.number), "toBlock": tag(last.number), "address": self.emitters(), "topics": [observe::topics()],
        });
        for node in self.order() {
            let logs: Result<Vec<LogEntry>, _> = self.nodes.call_node(node, "eth_getLogs", (filter.clone(),)).await;
            let logs = logs.ok().filter(|logs| logs.len() < LOGS_MAX);
            if let Some(logs) = logs.and_then(|logs| observe::by_block(range, logs)) {
                return Some((logs, node));
            }
        }
        None
    }

    /// Whether the filters of blocks promise what is there. Those of some networks are empty.
    async fn have_filters(&self, range: &[Block], logs: &[Vec<LogEntry>]) -> Result<bool, ChainError> {
        for (block, _) in range.iter().zip(logs).filter(|(_, logs)| !logs.is_empty()) {
            if !self.header_of(block).await?.may_hold_entries(&self.tokens) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads a block of a range. If the node had none of its logs, which it does not say of a block that it does not know yet, and the
    /// block's own filter promises some, or it has none, it is asked for by itself.
    async fn observe_among(&self, block: &Block, logs: &[LogEntry], node: usize) -> Result<Observed, ChainError> {
        let header = self.header_of(block).await?;
        if logs.is_empty() && header.may_hold_entries(&self.tokens) {
            return self.observe(block).await;
        }
        self.read(block, &header, logs, node).await
    }

    /// What one node has at a block's height, with the logs of that block.
    async fn seen_by(&self, node: usize, block: &Block) -> Result<Option<(Block, Vec<LogEntry>)>, CallError> {
        let header: Option<Header> = self.nodes.call_node(node, "eth_getBlockByNumber", (tag(block.number), false)).await?;
        let Some(seen) = header.and_then(|header| header.block()) else { return Ok(None) };
        let logs = if seen == *block { self.logs(node, &block.hash).await? } else { Vec::new() };
        Ok(Some((seen, logs)))
    }

    /// Whether to ask again for the logs of a block whose filter promises some. It may be wrong, so the doubt ends.
    fn doubts(&self, block: &Block) -> bool {
        let mut doubted = self.doubted.lock().unwrap_or_else(PoisonError::into_inner);
        if doubted.0 != block.hash {
            *doubted = (block.hash.clone(), 0);
        }
        doubted.1 += 1;
        doubted.1 <= DOUBTS_MAX
    }

    async fn header_of(&self, block: &Block) -> Result<Header, ChainError> {
        let remembered = self.lock_headers().iter().find(|header| header.is(block)).cloned();
        if let Some(header) = remembered {
            return Ok(header);
        }
        let header: Option<Header> = self.nodes.find("eth_getBlockByHash", (&block.hash, false)).await?;
        header.filter(|header| header.is(block)).ok_or_else(|| self.nodes.implausible(format!("block {} is gone", block.hash)))
    }

    /// Keeps a header, because its block is looked into next.
    fn remember(&self, header: Header) {
        let mut headers = self.lock_headers();
        headers.truncate(HEADERS_KEPT - 1);
        headers.push_front(header);
    }

    fn lock_headers(&self) -> MutexGuard<'_, VecDeque<Header>> {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn read(&self, block: &Block, header: &Header, logs: &[LogEntry], node: usize) -> Result<Observed, ChainError> {
        let Entries { uses, transfers, upgraded, .. } = self.read_entries(block, logs, None).await?;
        let transactions = header.transactions.iter().map(B256::to_string).collect();
        Ok(Observed { block: block.clone(), uses, transfers, upgraded, transactions, node })
    }

    /// Whether a block's logs, as one node has them, say all that was observed in it.
    async fn confirms(&self, logs: &[LogEntry], observed: &Observed, node: usize) -> Result<bool, ChainError> {
        let Entries { uses, transfers, .. } = self.read_entries(&observed.block, logs, Some(node)).await?;
        let all_used = observed.uses.iter().all(|seen| uses.contains(seen));
        Ok(all_used && observed.transfers.iter().all(|seen| transfers.contains(seen)))
    }

    /// What a block's logs say, and the transactions to which they point, as `only` has them, or whichever node does.
    async fn read_entries(&self, block: &Block, logs: &[LogEntry], only: Option<usize>) -> Result<Entries, ChainError> {
        let mut entries = self.entries(block, logs)?;
        // Where none of the tokens moved, nothing that we hold was paid.
        let moving: HashSet<_> = entries.transfers.iter().map(|transfer| transfer.transaction.clone()).collect();
        // One transaction may settle as often as whoever made it likes.
        let mut seen = HashSet::new();
        entries.settled.retain(|transaction| moving.contains(&transaction.to_string()) && seen.insert(*transaction));
        for part in std::mem::take(&mut entries.settled).chunks(READS_AT_ONCE) {
            let calls = try_join_all(part.iter().map(|transaction| self.called(*transaction, only))).await?;
            for (transaction, called) in part.iter().map(B256::to_string).zip(calls) {
                let moved: Vec<_> = entries.transfers.iter().filter(|transfer| transfer.transaction == transaction).collect();
                entries.uses.extend(called.and_then(|called| used(&called, &moved)));
            }
        }
        Ok(entries)
    }

    fn entries(&self, block: &Block, logs: &[LogEntry]) -> Result<Entries, ChainError> {
        observe::entries(&self.tokens, &block.hash, logs)
            .ok_or_else(|| self.nodes.implausible(format!("the logs of block {} are not that block's", block.number)))
    }

    /// A transaction that stands in a block. Nodes that keep no index of old ones do not have it, and must not hold up the block for what is
    /// mostly a stranger's: the nonce's state tells what became of a payment of ours.
    async fn called(&self, transaction: B256, only: Option<usize>) -> Result<Option<Called>, ChainError> {
        const METHOD: &str = "eth_getTransactionByHash";
        match only {
            Some(node) => {
                let called = self.nodes.call_node(node, METHOD, (transaction,)).await;
                called.map_err(|error| self.nodes.unavailable(METHOD, error))
            }
            None => self.nodes.find(METHOD, (transaction,)).await,
        }
    }
}

/// Waits for an answer that is good to have.
async fn briefly<R>(answer: impl Future<Output = Result<R, CallError>>) -> Result<R, CallError> {
    tokio::time::timeout(OPINION_WITHIN, answer).await.unwrap_or(Err(CallError::Unavailable(NodeFailure::Timeout)))
}

/// The first and the last block with any logs.
fn ends(logs: &[Vec<LogEntry>]) -> Option<(usize, usize)> {
    let first = logs.iter().position(|logs| !logs.is_empty())?;
    let last = logs.iter().rposition(|logs| !logs.is_empty())?;
    Some((first, last))
}

fn tag(number: u64) -> String {
    format!("{number:#x}")
}
