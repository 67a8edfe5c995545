//! Blocks, how deep they stand, and what a new head means for the chain that we know.

use chrono::{DateTime, Utc};

/// A block's hash as the network prints it.
pub type BlockHash = String;

/// A block of a network with the hash of its parent, which is how a reorganisation is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Height; on Solana the slot.
    pub number: u64,
    /// The block itself.
    pub hash: BlockHash,
    /// The block before it.
    pub parent_hash: BlockHash,
    /// The time that the block claims.
    pub timestamp: DateTime<Utc>,
}

/// How far a network has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heights {
    /// Newest sealed block that we read.
    pub head: u64,
    /// Newest block that the network calls safe; the final one where it has no such level.
    pub safe: u64,
    /// Newest block that can no longer be replaced, by the network's own rule.
    pub finalized: u64,
}

/// The level at which a transfer counts for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// In a sealed, canonical block.
    Included,
    /// In a block that the network calls safe.
    Safe,
    /// In a block that can no longer be replaced.
    Final,
}

impl Level {
    /// The word on the wire and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Included => "included",
            Self::Safe => "safe",
            Self::Final => "final",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Included, Self::Safe, Self::Final].into_iter().find(|level| level.as_str() == text)
    }
}

impl Heights {
    /// The level that a canonical block at `number` has reached.
    #[must_use]
    pub fn level(self, number: u64) -> Level {
        if number <= self.finalized {
            Level::Final
        } else if number <= self.safe {
            Level::Safe
        } else {
            Level::Included
        }
    }
}

/// How far the reading of a network may be behind a state for it to be relied on: what is sent now is found only when the reading
/// gets there.
pub const BEHIND_MAX: u64 = 60;

/// What a state that a node shows us is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// As new as what we read ourselves.
    Clear,
    /// Older. It may lack what has happened since, so it can refuse nothing.
    Stale,
    /// So much newer that we would learn of what happens only much later.
    Ahead,
}

impl Sight {
    /// Compares the block of a state with the newest one that was read, if reading began.
    #[must_use]
    pub fn of(block: u64, read_to: Option<u64>) -> Self {
        match read_to {
            Some(read_to) if block < read_to => Self::Stale,
            Some(read_to) if block > read_to.saturating_add(BEHIND_MAX) => Self::Ahead,
            Some(_) | None => Self::Clear,
        }
    }
}

/// What to do about a new head, given the canonical chain in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The head is known already, or lies below everything that we keep: a node that only lags contradicts nothing.
    Nothing,
    /// The blocks from this height on are new and extend the known chain.
    Extend {
        /// The first height to read.
        from: u64,
    },
    /// The known chain was replaced above `ancestor`.
    Reorg {
        /// The newest block that both chains share.
        ancestor: u64,
        /// Its hash.
        hash: BlockHash,
    },
    /// The node has another block at a height that we called final. Nothing may be undone on the word of such a node.
    Impossible {
        /// That height.
        number: u64,
    },
}

/// Compares the known chain with what a node says about the same heights.
///
/// `known` and `seen` hold (height, hash), newest first; `known` has no gaps, and `seen` begins with the head and goes down from
/// the newest known height as far as the caller has read. Returns `None` while the caller must read further down.
#[must_use]
pub fn compare(known: &[(u64, BlockHash)], seen: &[(u64, BlockHash)], head: u64, finalized: u64) -> Option<Step> {
    let (Some((top, _)), Some((lowest, _))) = (known.first(), known.last()) else {
        return Some(Step::Extend { from: head });
    };
    if head < *lowest {
        return Some(Step::Nothing);
    }
    for (number, hash) in seen {
        let reorg = || Step::Reorg { ancestor: *number, hash: hash.clone() };
        match known.iter().find(|(known, _)| known == number) {
            // A node that lags behind the others shows a head that we passed already.
            Some((_, known)) if known == hash && *number == head => return Some(Step::Nothing),
            Some((_, known)) if known == hash && number == top => return Some(Step::Extend { from: top + 1 }),
            Some((_, known)) if known == hash => return Some(reorg()),
            Some(_) if *number <= finalized => return Some(Step::Impossible { number: *number }),
            // All that we know was replaced, and none of it was final.
            None if *number < *lowest => return Some(reorg()),
            Some(_) | None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(blocks: &[(u64, &str)]) -> Vec<(u64, BlockHash)> {
        blocks.iter().map(|(number, hash)| (*number, (*hash).to_owned())).collect()
    }

    #[test]
    fn a_level_is_reached_at_its_height_and_not_before() {
        let heights = Heights { head: 30, safe: 20, finalized: 10 };

        assert_eq!(heights.level(10), Level::Final);
        assert_eq!(heights.level(11), Level::Safe);
        assert_eq!(heights.level(20), Level::Safe);
        assert_eq!(heights.level(21), Level::Included);
    }

    #[test]
    fn an_old_state_refuses_nothing_and_a_far_one_is_not_relied_on() {
        assert_eq!(Sight::of(9, Some(10)), Sight::Stale);
        assert_eq!(Sight::of(10, Some(10)), Sight::Clear);
        assert_eq!(Sight::of(10 + BEHIND_MAX, Some(10)), Sight::Clear);
        assert_eq!(Sight::of(11 + BEHIND_MAX, Some(10)), Sight::Ahead);
        assert_eq!(Sight::of(10, None), Sight::Clear);
    }

    #[test]
    fn a_new_head_extends_replaces_or_contradicts() {
        let known = chain(&[(12, "c"), (11, "b"), (10, "a")]);
        let reorg = Some(Step::Reorg { ancestor: 11, hash: "b".to_owned() });
        let step = |seen: &[(u64, &str)], head, finalized| compare(&known, &chain(seen), head, finalized);

        assert_eq!(step(&[(12, "c")], 12, 5), Some(Step::Nothing));
        assert_eq!(step(&[(11, "b")], 11, 5), Some(Step::Nothing));
        assert_eq!(step(&[(12, "c")], 14, 5), Some(Step::Extend { from: 13 }));
        assert_eq!(step(&[(12, "x")], 12, 5), None);
        assert_eq!(step(&[(12, "x"), (11, "b")], 12, 5), reorg.clone());
        assert_eq!(step(&[(12, "x"), (11, "b")], 12, 11), reorg.clone());
        assert_eq!(step(&[(12, "x"), (11, "y")], 12, 11), Some(Step::Impossible { number: 11 }));
        assert_eq!(step(&[(14, "z"), (12, "x"), (11, "y"), (10, "q")], 14, 10), Some(Step::Impossible { number: 10 }));
        assert_eq!(compare(&[], &[], 7, 0), Some(Step::Extend { from: 7 }));
    }

    #[test]
    fn a_node_that_only_lags_contradicts_nothing() {
        let known: Vec<_> = (20..=100).rev().map(|number| (number, format!("h{number}"))).collect();
        let step = |number: u64, hash: &str| compare(&known, &[(number, hash.to_owned())], number, 84);

        assert_eq!(step(83, "h83"), Some(Step::Nothing));
        assert_eq!(step(83, "x"), Some(Step::Impossible { number: 83 }));
        assert_eq!(step(84, "x"), Some(Step::Impossible { number: 84 }));
        assert_eq!(step(85, "x"), None);
        assert_eq!(step(20, "h20"), Some(Step::Nothing));
        assert_eq!(step(19, "whatever"), Some(Step::Nothing));
        assert_eq!(step(0, "whatever"), Some(Step::Nothing));
        assert_eq!(compare(&chain(&[(0, "a")]), &chain(&[(0, "a")]), 0, 0), Some(Step::Nothing));
        assert_eq!(compare(&chain(&[(0, "a")]), &chain(&[(0, "x")]), 0, 0), Some(Step::Impossible { number: 0 }));
    }

    #[test]
    fn all_that_is_known_may_be_replaced_while_none_of_it_is_final() {
        let (known, seen) = (chain(&[(12, "c"), (11, "b")]), chain(&[(12, "x"), (11, "y"), (10, "z")]));

        assert_eq!(compare(&known, &seen[..2], 12, 10), None);
        assert_eq!(compare(&known, &seen, 12, 10), Some(Step::Reorg { ancestor: 10, hash: "z".to_owned() }));
    }
}
