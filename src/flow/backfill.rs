//! Reads blocks again that the watcher has passed, and takes in what the ledger lacks of them.
//!
//! What is recorded stays what it is, so the same blocks can be read as often as somebody wants. A transfer belongs to whoever had its
//! address when it was made: one that was made before is passed over.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::ingest::Late;
use super::{Flows, Unavailable};
use crate::chain::{Chain, ChainError, Observed, Watched};
use crate::domain::block::Block;
use crate::domain::network::Network;
use crate::ledger::LedgerError;
use crate::ledger::blocks::Cursor;

/// Blocks that are asked for in one go.
const BLOCKS_AT_ONCE: u64 = 32;

/// What reading blocks again came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backfilled {
    /// Blocks that were read.
    pub blocks: u64,
    /// Transfers to registered addresses that were missing.
    pub credits: u64,
    /// What pays something by now.
    pub claims: u64,
    /// Payments that were paid without being known as paid.
    pub payments: u64,
}

/// Why blocks were not read again, or not all of them. What was found before is taken in.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// The network was never read.
    #[error("nothing of {0} was read yet")]
    NotBegun(Network),
    /// The watcher has not come so far.
    #[error("block {to} of {network} was not read yet: the watcher has come to {read_to}")]
    NotRead {
        /// Which network.
        network: Network,
        /// The last block that was asked for.
        to: u64,
        /// How far the watcher has come.
        read_to: u64,
    },
    /// There is no block between the two.
    #[error("block {from} comes behind block {to}")]
    Reversed {
        /// The first block that was asked for.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// Transfers are not recorded there.
    #[error("transfers are not recorded on {0}")]
    NotRecorded(Network),
    /// What the nodes say of a block is not what was read before.
    #[error("the nodes tell another block {number} of {network} than the one that was read")]
    Replaced {
        /// Which network.
        network: Network,
        /// The height.
        number: u64,
    },
    /// The network or the ledger did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<LedgerError> for BackfillError {
    fn from(error: LedgerError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<ChainError> for BackfillError {
    fn from(error: ChainError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl Flows {
    /// Reads the blocks from `from` to `to` again, or to the newest one that was read, and says from time to time how far it has come.
    /// Returns the last one with what was found.
    ///
    /// # Errors
    /// See [`BackfillError`].
    pub async fn backfill(
        &self,
        chain: &Arc<dyn Chain>,
        from: u64,
        to: Option<u64>,
        mut tell: impl FnMut(u64),
    ) -> Result<(u64, Backfilled), BackfillError> {
        let network = &chain.profile().network;
        if !chain.observes_transfers() {
            return Err(BackfillError::NotRecorded(network.clone()));
        }
        let cursor = self.ledger.cursor(network).await?.ok_or_else(|| BackfillError::NotBegun(network.clone()))?;
        let to = last(&cursor, network, from, to)?;
        let head = chain.head().await?.block;
        let (mut found, mut next) = (Backfilled::default(), from);
        while next <= to {
            let heights = next..=to.min(next.saturating_add(BLOCKS_AT_ONCE - 1));
            for observed in self.read_again(chain, heights, &head).await? {
                let Late { credits, claims, payments } = self.take_again(chain, &observed).await?;
                found.blocks += 1;
                found.credits += credits;
                found.claims += claims;
                found.payments += payments;
                next = observed.block.number + 1;
            }
            tell(next - 1);
        }
        Ok((to, found))
    }

    async fn read_again(
        &self,
        chain: &Arc<dyn Chain>,
        heights: RangeInclusive<u64>,
        head: &Block,
    ) -> Result<Vec<Observed>, BackfillError> {
        let network = &chain.profile().network;
        let watched = match chain.addresses_wanted() {
            0 => Watched::Anybody,
            limit => Watched::These(self.ledger.active_addresses(network, limit).await?),
        };
        let first = *heights.start();
        let observed = chain.observe_range(heights, head, &watched).await?;
        if observed.is_empty() {
            let what = format!("there is no block {first} below the head");
            return Err(ChainError::Implausible { network: network.clone(), what }.into());
        }
        Ok(observed)
    }

    /// Takes in what the ledger lacks of a block. Most have nothing that concerns anybody here, and cost no lock.
    async fn take_again(&self, chain: &Arc<dyn Chain>, observed: &Observed) -> Result<Late, BackfillError> {
        let network = &chain.profile().network;
        let Some(large) = self.concerns_us(chain, observed).await? else {
            return Ok(Late { credits: 0, claims: 0, payments: 0 });
        };
        let taken = self.take_late(chain, observed, large, Some(observed.block.timestamp)).await?;
        if let Some(late) = taken {
            return Ok(late);
        }
        let halted = self.ledger.cursor(network).await?.is_some_and(|cursor| cursor.halted.is_some());
        Err(if halted {
            Unavailable::Halted(network.clone()).into()
        } else {
            BackfillError::Replaced { network: network.clone(), number: observed.block.number }
        })
    }
}

/// The last block that is to be read.
fn last(cursor: &Cursor, network: &Network, from: u64, to: Option<u64>) -> Result<u64, BackfillError> {
    let read_to = cursor.heights.head;
    let to = to.unwrap_or(read_to);
    if to > read_to {
        return Err(BackfillError::NotRead { network: network.clone(), to, read_to });
    }
    if from > to {
        return Err(BackfillError::Reversed { from, to });
    }
    Ok(to)
}
