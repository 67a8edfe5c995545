//! Blocks, how deep they stand, and what a new head means for the chain that we know.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// A block's hash as the network prints it.
pub type BlockHash = String;

/// The highest number of a block that is believed, which the ledger can hold.
pub const NUMBER_MAX: u64 = i64::MAX.unsigned_abs() - 1;

/// A block of a network with the hash of its parent, which is how a reorganisation is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its height.
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

/// What a comparison of two chains comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// The block that the node has at this height must be known first.
    Read(u64),
    /// This is to be done.
    Done(Step),
}

/// Compares the known chain with what a node says about the same heights.
///
/// `known` holds (height, hash), newest first and without gaps; `seen` is what has been read of the node's chain, and `untouchable`
/// the newest block that nothing may undo. Two chains that share a block share all below it, so the newest block is looked at
/// first, then the newest untouchable one, and what lies between is halved until the newest shared block is found.
#[must_use]
pub fn compare(known: &[(u64, BlockHash)], seen: &BTreeMap<u64, BlockHash>, head: u64, untouchable: u64) -> Comparison {
    let (Some((top, _)), Some((lowest, _))) = (known.first(), known.last()) else {
        return Comparison::Done(Step::Extend { from: head });
    };
    if head < *lowest {
        return Comparison::Done(Step::Nothing);
    }
    let hash_at = |height: u64| known.iter().find(|(number, _)| *number == height).map(|(_, hash)| hash);
    let shares = |height: u64| seen.get(&height).map(|hash| hash_at(height) == Some(hash));
    let newest = head.min(*top);
    match shares(newest) {
        None => return Comparison::Read(newest),
        // A node that lags behind the others shows a head that we passed already.
        Some(true) if head <= *top => return Comparison::Done(Step::Nothing),
        Some(true) => return Comparison::Done(Step::Extend { from: top + 1 }),
        Some(false) if newest <= untouchable => return Comparison::Done(Step::Impossible { number: newest }),
        Some(false) => {}
    }
    let floor = untouchable.max(*lowest);
    match shares(floor) {
        None => return Comparison::Read(floor),
        Some(true) => {}
        Some(false) if floor <= untouchable => return Comparison::Done(Step::Impossible { number: floor }),
        // All that we know was replaced, and none of it was final. The lowest height is above the untouchable one, so not 0.
        Some(false) => {
            let below = lowest - 1;
            let hash = seen.get(&below).cloned();
            return hash.map_or(Comparison::Read(below), |hash| Comparison::Done(Step::Reorg { ancestor: below, hash }));
        }
    }
    let common = (floor..=newest).rev().find(|height| shares(*height) == Some(true)).unwrap_or(floor);
    let replaced = (common..=newest).find(|height| shares(*height) == Some(false)).unwrap_or(newest);
    match hash_at(common) {
        Some(hash) if replaced == common + 1 => Comparison::Done(Step::Reorg { ancestor: common, hash: hash.clone() }),
        _ => Comparison::Read(common.midpoint(replaced)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// Compares a known chain from `lowest` to `top` with a node's, which has other blocks from `replaced` on, and counts the reads.
    fn compared((lowest, top): (u64, u64), head: u64, replaced: u64, untouchable: u64) -> (Step, usize) {
        let known: Vec<_> = (lowest..=top).rev().map(|number| (number, format!("h{number}"))).collect();
        let node = |number| if number < replaced { format!("h{number}") } else { format!("x{number}") };
        let mut seen = BTreeMap::from([(head, node(head))]);
        loop {
            match compare(&known, &seen, head, untouchable) {
                Comparison::Done(step) => return (step, seen.len() - 1),
                Comparison::Read(height) => {
                    assert!(
                        height <= head && seen.insert(height, node(height)).is_none(),
                        "{height} is read twice, or above the head"
                    );
                }
            }
        }
    }

    const NEVER: u64 = u64::MAX;

    #[test]
    fn a_new_head_extends_replaces_or_contradicts() {
        let reorg = |ancestor: u64| Step::Reorg { ancestor, hash: format!("h{ancestor}") };

        assert_eq!(compared((10, 12), 12, NEVER, 5), (Step::Nothing, 0));
        assert_eq!(compared((10, 12), 14, NEVER, 5), (Step::Extend { from: 13 }, 1));
        assert_eq!(compared((10, 12), 12, 12, 5), (reorg(11), 2));
        assert_eq!(compared((10, 12), 14, 12, 11), (reorg(11), 2));
        assert_eq!(compared((10, 12), 12, 11, 11), (Step::Impossible { number: 11 }, 1));
        assert_eq!(compared((10, 12), 14, 3, 10), (Step::Impossible { number: 10 }, 2));
        assert_eq!(compare(&[], &BTreeMap::new(), 7, 0), Comparison::Done(Step::Extend { from: 7 }));
    }

    #[test]
    fn every_shared_block_is_found() {
        for head in [100, 101, 130, 95] {
            for replaced in 85..=95 {
                let ancestor = replaced - 1;
                let found = compared((20, 100), head, replaced, 84).0;
                assert_eq!(found, Step::Reorg { ancestor, hash: format!("h{ancestor}") }, "{head}");
            }
        }
    }

    #[test]
    fn a_deep_replacement_is_found_with_few_reads() {
        let (known, untouchable) = ((10_000, 10_664), 10_064);

        for replaced in 10_065..=10_664 {
            let (step, reads) = compared(known, 10_700, replaced, untouchable);
            assert!(matches!(step, Step::Reorg { ancestor, .. } if ancestor == replaced - 1) && reads <= 12, "{step:?} {reads}");
        }
        assert_eq!(compared(known, 10_700, 10_064, untouchable), (Step::Impossible { number: 10_064 }, 2));
    }

    #[test]
    fn a_node_that_only_lags_contradicts_nothing() {
        let step = |head, replaced| compared((20, 100), head, replaced, 84).0;

        assert_eq!(step(83, NEVER), Step::Nothing);
        assert_eq!(step(83, 83), Step::Impossible { number: 83 });
        assert_eq!(step(84, 84), Step::Impossible { number: 84 });
        assert_eq!(step(85, 85), Step::Reorg { ancestor: 84, hash: "h84".to_owned() });
        assert_eq!(step(20, NEVER), Step::Nothing);
        assert_eq!(step(19, 0), Step::Nothing);
        assert_eq!(step(0, 0), Step::Nothing);
        assert_eq!(compared((0, 0), 0, NEVER, 0).0, Step::Nothing);
        assert_eq!(compared((0, 0), 0, 0, 0).0, Step::Impossible { number: 0 });
    }

    #[test]
    fn all_that_is_known_may_be_replaced_while_none_of_it_is_final() {
        assert_eq!(compared((11, 12), 12, 11, 10), (Step::Reorg { ancestor: 10, hash: "h10".to_owned() }, 2));
        // An operator said that the node's history counts, and it reaches below all that we keep.
        assert_eq!(compared((20, 100), 120, 5, 0), (Step::Reorg { ancestor: 19, hash: "x19".to_owned() }, 3));
    }
}
