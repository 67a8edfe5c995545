//! A network's watcher: the only judge of what happened.
//!
//! It follows the head, compares parents, undoes what was replaced, and takes in what is new, one block at a time. One replica
//! watches a network; the lease decides which.

mod progress;
mod stride;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::progress::{Progress, Told};
use self::stride::Stride;
use crate::chain::{Chain, ChainError, Head, Watched};
use crate::domain::block::{Block, Comparison, Heights, Step, compare};
use crate::flow::ingest::Ingested;
use crate::flow::tenure::{ASK_AGAIN, TURN_LASTS_MAX, Tenure};
use crate::flow::{Flows, Unavailable};
use crate::ledger::LedgerError;
use crate::ledger::blocks::Cursor;
use crate::ledger::leases::Lease;
use crate::telemetry::ErrorChain;

/// When and from where a watcher reads.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Between two looks at the head while nothing is expected.
    pub idle: Duration,
    /// Between two looks while payments are under way and a block is due.
    pub busy: Duration,
    /// The height where reading begins on an empty ledger; that of the present head if absent.
    pub start_block: Option<u64>,
}

/// One network's watcher.
pub struct Watcher {
    flows: Arc<Flows>,
    chain: Arc<dyn Chain>,
    owner: Uuid,
    pace: Pace,
    rhythm: Rhythm,
    stride: Stride,
    progress: Progress,
    /// Whether a block was announced that has not been found yet: the node that is asked may be slower than the one that spoke.
    announced: bool,
}

/// Between two looks, however often blocks are announced.
const LOOKS_APART: Duration = Duration::from_millis(10);

/// For so long blocks are read in one go.
const EXTEND_LASTS: Duration = Duration::from_secs(1);

/// Payments whose fate is asked for in one look, where blocks do not tell. The oldest come first, and leave room when they end.
const INQUIRED_AT_ONCE: usize = 1_024;

/// What a look at the network came to.
struct Looked {
    /// How many new blocks there were.
    found: u64,
    /// Whether there are more that are not read yet.
    behind: bool,
    /// Whether a payment waits for one.
    busy: bool,
}

/// Why a look at the network came to nothing. It is made again.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Flow(#[from] Unavailable),
    #[error("a look took too long")]
    TooLong,
}

impl Watcher {
    /// A watcher of `chain`.
    #[must_use]
    pub fn new(flows: Arc<Flows>, chain: Arc<dyn Chain>, owner: Uuid, pace: Pace) -> Self {
        let (rhythm, stride, progress) = (Rhythm::default(), Stride::default(), Progress::default());
        Self { flows, chain, owner, pace, rhythm, stride, progress, announced: false }
    }

    /// Watches until it is told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let name = format!("watcher:{}", self.chain.profile().network);
        let mut tenure = Tenure::new(Arc::clone(&self.flows), name, self.owner);
        while !stop.is_cancelled() {
            if let Some(lease) = tenure.lease().await {
                let pause = self.turn(&lease).await;
                stop.run_until_cancelled(self.rest(pause)).await;
            } else {
                stop.run_until_cancelled(tokio::time::sleep(ASK_AGAIN)).await;
            }
        }
        tenure.end().await;
    }

    /// Looks once, and says how long to wait before the next look.
    async fn turn(&mut self, lease: &Lease) -> Duration {
        let looked = tokio::time::timeout(TURN_LASTS_MAX, self.look(lease)).await;
        let network = &self.chain.profile().network;
        let looked = match looked.unwrap_or(Err(WatchError::TooLong)) {
            Ok(looked) => looked,
            Err(error) => {
                let stuck = matches!(error, WatchError::Chain(ChainError::Unreadable { .. }));
                self.flows.metrics.network_stuck(network, stuck);
                if stuck {
                    tracing::error!(%network, error = %ErrorChain(&error), "a block cannot be read, and nothing behind it is");
                } else {
                    tracing::warn!(%network, error = %ErrorChain(&error), "the network could not be watched");
                }
                self.stride.failed();
                return self.pace.idle;
            }
        };
        self.flows.metrics.network_stuck(network, false);
        if looked.found > 0 {
            self.rhythm.blocks_seen(looked.found, Instant::now());
            self.announced = false;
        }
        if looked.behind {
            return Duration::ZERO;
        }
        let polls = self.announced || !self.chain.announces_heads();
        if looked.busy && polls { self.rhythm.until_due(Instant::now(), self.pace) } else { self.pace.idle }
    }

    /// Waits for the next look, which comes at once when a block is announced.
    async fn rest(&mut self, pause: Duration) {
        let announcement = async {
            tokio::time::sleep(LOOKS_APART).await;
            self.chain.head_announced().await;
        };
        self.announced |= tokio::time::timeout(pause, announcement).await.is_ok();
    }

    /// Reads what is new.
    async fn look(&mut self, lease: &Lease) -> Result<Looked, WatchError> {
        let chain = Arc::clone(&self.chain);
        let network = &chain.profile().network;
        let cursor = self.flows.ledger.cursor(network).await?;
        let halted = cursor.as_ref().is_some_and(|cursor| cursor.halted.is_some());
        self.flows.metrics.network_halted(network, halted);
        if let Some(Cursor { heights, .. }) = &cursor {
            self.flows.metrics.cursor(network, heights.head, heights.finalized);
        }
        let prepared = self.chain.is_prepared();
        if halted || !prepared {
            // Until the nodes are known to be the right ones nothing is asked of them, so looking often costs nothing.
            return Ok(Looked { found: 0, behind: false, busy: !prepared });
        }
        if self.chain.nonces().is_none() {
            self.chain.note_under_way(self.flows.ledger.in_open_messages(network, INQUIRED_AT_ONCE).await?.len());
        }
        let head = match (self.chain.head().await, &cursor) {
            (Err(error @ ChainError::WrongChain { .. }), Some(cursor)) => {
                self.halt(cursor, &error.to_string()).await?;
                return Ok(Looked { found: 0, behind: false, busy: false });
            }
            (head, _) => head?,
        };
        self.flows.metrics.head(network, head.block.number, self.age(&head));
        if cursor.as_ref().is_some_and(|cursor| !cursor.has_caught_up()) {
            self.flows.ledger.bound_copy(network, head.block.number).await?;
        }
        let (found, behind) = match self.step(cursor.as_ref(), &head).await? {
            Step::Nothing => (0, false),
            Step::Extend { from } => {
                let from = if cursor.is_none() { self.beginning(from) } else { from };
                (head.block.number.saturating_add(1).saturating_sub(from), !self.extend(lease, from, &head).await?)
            }
            Step::Reorg { ancestor, hash } => {
                self.flows.reorg(lease, network, (ancestor, hash)).await?;
                (head.block.number.saturating_sub(ancestor), !self.extend(lease, ancestor + 1, &head).await?)
            }
            Step::Impossible { number } => {
                if let Some(cursor) = &cursor {
                    self.halt(cursor, &format!("a node contradicts block {number}, which was final")).await?;
                }
                (0, false)
            }
        };
        // Once more, because blocks may hold what was sent while they were read.
        let sent = self.flows.ledger.in_open_messages(network, INQUIRED_AT_ONCE).await?;
        let sent = self.flows.ledger.find_payments(&sent).await?;
        // The next look asks again, and comes as soon as if this had been answered.
        if let Err(error) = self.flows.inquire(&self.chain, &sent, None).await {
            tracing::warn!(%network, error = %ErrorChain(&error), "what became of payments could not be asked");
        }
        // Callers of this replica are known here, those of others by the slots that wait for a block.
        let busy = self.flows.waiting.is_awaited(network) || self.flows.ledger.has_open_slots(network).await?;
        Ok(Looked { found, behind, busy })
    }

    /// Where reading begins on an empty ledger: at the head, or below it if the operator says so.
    fn beginning(&self, head: u64) -> u64 {
        let Some(start_block) = self.pace.start_block else { return head };
        if start_block > head {
            let network = &self.chain.profile().network;
            tracing::warn!(%network, start_block, head, "start_block is above the head, where reading begins instead");
        }
        start_block.min(head)
    }

    async fn halt(&self, cursor: &Cursor, reason: &str) -> Result<(), LedgerError> {
        let network = &self.chain.profile().network;
        tracing::error!(%network, reason, "the network is halted");
        self.flows.ledger.halt(network, &cursor.hash, reason).await
    }

    fn age(&self, head: &Head) -> Duration {
        (self.flows.clock.now() - head.block.timestamp).to_std().unwrap_or_default()
    }

    /// Compares the known chain with the node's. Nearly always the newest known block is the head or an ancestor of it; only if
    /// it is not are the others that we keep read.
    async fn step(&self, cursor: Option<&Cursor>, head: &Head) -> Result<Step, WatchError> {
        let Some(cursor) = cursor else { return Ok(Step::Extend { from: head.block.number }) };
        let (network, head) = (&self.chain.profile().network, &head.block);
        let top = cursor.heights.head;
        let mut seen = BTreeMap::from([(head.number, head.hash.clone())]);
        if head.number == top + 1 {
            seen.insert(top, head.parent_hash.clone());
        } else if head.number > top {
            seen.insert(top, self.block(top).await?.hash);
        }
        let mut known = vec![(top, cursor.hash.clone())];
        if seen.get(&top) != Some(&cursor.hash) {
            let kept = self.flows.ledger.canonical_blocks(network).await?;
            // If everything that we had read was replaced, the cursor stands at a block that was never taken in.
            known = if kept.is_empty() { known } else { kept };
        }
        if known.last().is_some_and(|(lowest, _)| head.number < *lowest) {
            tracing::warn!(%network, head = head.number, cursor = top, "a node lags far behind");
        }
        loop {
            match compare(&known, &seen, head.number, cursor.untouchable()) {
                Comparison::Done(step) => return Ok(step),
                Comparison::Read(height) => drop(seen.insert(height, self.block(height).await?.hash)),
            }
        }
    }

    /// Takes in the blocks up to the head, and returns whether it got there: after a while the lease and the head are looked at again.
    async fn extend(&mut self, lease: &Lease, from: u64, head: &Head) -> Result<bool, WatchError> {
        let started = Instant::now();
        // They are read after the head, so what was sent to an address once it was registered stands behind these blocks or in them.
        let watched = self.watched().await?;
        let last = head.block.number;
        let mut next = from;
        self.progress.begin((last + 1).saturating_sub(from), started);
        while next <= last {
            if started.elapsed() >= EXTEND_LASTS {
                return Ok(false);
            }
            let reading = Instant::now();
            let observed = self.chain.observe_range(next..=self.stride.end(next, last), &head.block, &watched).await?;
            self.stride.took(observed.len(), reading.elapsed());
            if observed.is_empty() {
                return Err(self.gone(next).into());
            }
            for observed in &observed {
                let number = observed.block.number;
                let heights = Heights { head: number, safe: head.safe.min(number), finalized: head.finalized.min(number) };
                match self.flows.ingest(lease, &self.chain, observed, heights).await? {
                    Ingested::Done => next += 1,
                    // The chain moved under our hands. The next look compares again.
                    Ingested::DoesNotFollow => return Ok(true),
                }
            }
            if let Some(told) = self.progress.took(observed.len() as u64, (last + 1).saturating_sub(next), Instant::now()) {
                self.tell(told);
            }
        }
        Ok(true)
    }

    /// Whose transfers are looked for.
    async fn watched(&self) -> Result<Watched, LedgerError> {
        match self.chain.addresses_wanted() {
            0 => Ok(Watched::Anybody),
            limit => Ok(Watched::These(self.flows.ledger.active_addresses(&self.chain.profile().network, limit).await?)),
        }
    }

    fn tell(&self, Told { blocks, behind, per_second }: Told) {
        let network = &self.chain.profile().network;
        if behind == 0 {
            tracing::info!(%network, blocks, per_second, "caught up");
        } else {
            tracing::info!(%network, blocks, behind, per_second, "catching up");
        }
    }

    fn gone(&self, number: u64) -> ChainError {
        let network = self.chain.profile().network.clone();
        ChainError::Implausible { network, what: format!("there is no block {number} below the head") }
    }

    async fn block(&self, number: u64) -> Result<Block, WatchError> {
        Ok(self.chain.block(number).await?.ok_or_else(|| self.gone(number))?)
    }
}

/// When blocks come, so that the head is looked at when one is due and not all the time.
#[derive(Debug, Default)]
struct Rhythm {
    last: Option<Instant>,
    interval: Option<Duration>,
}

/// A block is looked for from this share of the usual interval on.
const EARLY_PERCENT: u32 = 85;

impl Rhythm {
    fn blocks_seen(&mut self, blocks: u64, now: Instant) {
        let blocks = u32::try_from(blocks.max(1)).unwrap_or(u32::MAX);
        // Or whoever once came too late, and found several, would believe that they come as seldom as it looks.
        let interval = self.last.map(|last| now.saturating_duration_since(last) / blocks);
        // The shorter one, because after a quiet time the next block may come quickly again.
        self.interval = match (self.interval, interval) {
            (Some(known), Some(new)) => Some(new.min(known.saturating_mul(2))),
            (known, new) => new.or(known),
        };
        self.last = Some(now);
    }

    fn until_due(&self, now: Instant, pace: Pace) -> Duration {
        let (Some(last), Some(interval)) = (self.last, self.interval) else { return pace.busy };
        let due = last + interval * EARLY_PERCENT / 100;
        due.saturating_duration_since(now).clamp(pace.busy, pace.idle.max(pace.busy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { idle: Duration::from_secs(1), busy: Duration::from_millis(50), start_block: None };

    #[test]
    fn the_head_is_looked_at_when_a_block_is_due() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut rhythm = Rhythm::default();
        assert_eq!(rhythm.until_due(start, PACE), PACE.busy);
        rhythm.blocks_seen(1, at(0));
        rhythm.blocks_seen(1, at(1000));

        assert_eq!(rhythm.until_due(at(1010), PACE), Duration::from_millis(840));
        assert_eq!(rhythm.until_due(at(1849), PACE), PACE.busy);
        assert_eq!(rhythm.until_due(at(5000), PACE), PACE.busy);
    }

    #[test]
    fn a_long_silence_does_not_make_the_watcher_slow() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let mut rhythm = Rhythm::default();
        for milliseconds in [0, 1000, 600_000] {
            rhythm.blocks_seen(1, at(milliseconds));
        }

        assert!(rhythm.until_due(at(600_000), PACE) <= PACE.idle);
    }

    #[test]
    fn a_watcher_that_came_late_looks_as_often_as_blocks_come() {
        let start = Instant::now();
        let mut rhythm = Rhythm::default();
        rhythm.blocks_seen(1, start);
        rhythm.blocks_seen(3, start + Duration::from_millis(1200));

        assert_eq!(rhythm.until_due(start + Duration::from_millis(1200), PACE), Duration::from_millis(340));
    }
}
