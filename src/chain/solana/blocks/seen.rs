//! What was read of the chain so far, as far as it can be true together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use super::SLOTS_SKIPPED_MAX;
use super::contents::Contents;
use crate::domain::block::Block;

/// A block that was read so long ago at most is not read again. Should its branch be dropped meanwhile, the next one shows it.
const RECENT: Duration = Duration::from_secs(2);

/// The same of a block with what happened in it. Should its branch be dropped meanwhile, the ledger does not have the block.
const WHOLE_RECENT: Duration = Duration::from_secs(10);

/// Blocks that are remembered for longer, to see whether a new one goes on from them.
const BLOCKS_KEPT: usize = 64;

/// Heights whose slots are remembered.
const SLOTS_KEPT: usize = 2_048;

/// Blocks that are remembered with all that happened in them.
pub const WHOLE_KEPT: usize = 16;

/// What was read of the chain so far.
#[derive(Default)]
pub struct Seen {
    /// The slot of each height.
    slots: BTreeMap<u64, u64>,
    /// The newest blocks that were read, by their heights, and when.
    blocks: BTreeMap<u64, (Block, Instant)>,
    /// Those that were read a moment ago with what happened in them, by their slots.
    whole: BTreeMap<u64, (Contents, Instant)>,
    /// The newest block with its slot.
    head: Option<(u64, Block)>,
}

impl Seen {
    /// The newest block that was read, and its slot.
    pub const fn head(&self) -> Option<&(u64, Block)> {
        self.head.as_ref()
    }

    /// The block at a height, if it was read a moment ago.
    pub fn recent(&self, number: u64) -> Option<&Block> {
        self.blocks.get(&number).filter(|(_, read_at)| read_at.elapsed() < RECENT).map(|(block, _)| block)
    }

    /// The block of a slot with what happened in it, if it was read a moment ago.
    pub fn recent_whole(&self, slot: u64) -> Option<&Contents> {
        self.whole.get(&slot).filter(|(_, read_at)| read_at.elapsed() < WHOLE_RECENT).map(|(contents, _)| contents)
    }

    /// Where these transactions stand in blocks that were read a moment ago with what happened in them.
    pub fn slots_of<'a>(&self, names: &HashSet<&'a str>) -> HashMap<&'a str, u64> {
        let recent = self.whole.iter().filter(|(_, (_, read_at))| read_at.elapsed() < WHOLE_RECENT);
        let found = recent.flat_map(|(slot, (contents, _))| {
            contents.transactions.iter().filter_map(|executed| Some((*names.get(executed.name.as_str())?, *slot)))
        });
        found.collect()
    }

    /// The slot of a height.
    pub fn slot(&self, number: u64) -> Option<u64> {
        let (below, first) = self.slots.range(..=number).next_back()?;
        let is_known = *below == number;
        let is_between = || self.slots.range(number..).next().is_some_and(|(above, last)| last - first == above - below);
        // Where there are as many blocks as slots, none was skipped.
        (is_known || is_between()).then(|| first + (number - below))
    }

    /// The height of the block in this very slot.
    pub fn height_in(&self, slot: u64) -> Option<u64> {
        let height = self.height_at(slot)?;
        (self.slot(height) == Some(slot)).then_some(height)
    }

    /// The height of a slot's block, or of the one before if the slot was skipped.
    pub fn height_at(&self, slot: u64) -> Option<u64> {
        let (below, first) = self.slots.iter().rev().find(|(_, known)| **known <= slot)?;
        if *first == slot {
            return Some(*below);
        }
        let (above, last) = self.slots.range((Bound::Excluded(below), Bound::Unbounded)).next()?;
        match above - below {
            // Whatever lies between was skipped.
            1 => Some(*below),
            blocks if blocks == last - first => Some(below + (slot - first)),
            _ => None,
        }
    }

    /// The height of a slot's block if the one in the slot before was read.
    pub fn height_after(&self, slot: u64) -> Option<u64> {
        self.height_in(slot.checked_sub(1)?)?.checked_add(1)
    }

    /// The height of a slot's block, or one that it cannot be above if the slot follows the newest block that was read soon.
    pub fn height_at_most(&self, slot: u64) -> Option<u64> {
        let (newest, block) = self.head()?;
        let soon = || slot.checked_sub(*newest).filter(|slots| *slots <= SLOTS_SKIPPED_MAX);
        self.height_at(slot).or_else(|| block.number.checked_add(soon()?))
    }

    /// Notes the block of a slot.
    pub fn note(&mut self, slot: u64, block: Block) {
        if self.is_of_another_branch(&block) {
            // Nothing says how far below the branches part, so all of it is read and listed anew.
            self.slots.clear();
            self.blocks.clear();
            self.whole.clear();
        }
        self.make_room(block.number, slot);
        if self.head.as_ref().is_none_or(|(newest, _)| *newest < slot) {
            self.head = Some((slot, block.clone()));
        }
        self.slots.insert(block.number, slot);
        self.blocks.insert(block.number, (block, Instant::now()));
        self.bound();
    }

    /// Notes it with what happened in it.
    pub fn note_whole(&mut self, slot: u64, contents: Contents) {
        self.note(slot, contents.block.clone());
        self.whole.insert(slot, (contents, Instant::now()));
        self.bound();
    }

    /// Notes the slots of the heights from `first` on, as nodes list them.
    pub fn note_slots(&mut self, first: u64, slots: &[u64]) {
        for (number, slot) in (first..).zip(slots.iter().copied()).take(SLOTS_KEPT / 2) {
            self.make_room(number, slot);
            self.slots.insert(number, slot);
        }
        self.bound();
    }

    /// Forgets everything, the newest block too, if this height cannot be that of this slot according to what was read before: one of
    /// the two was a lie, and the nodes tell again which. Heights rise by one from block to block, and slots by one at least.
    fn make_room(&mut self, number: u64, slot: u64) {
        let rises =
            |low: (&u64, &u64), high: (&u64, &u64)| high.1.checked_sub(*low.1).is_some_and(|slots| slots >= high.0 - low.0);
        let below = self.slots.range(..number).next_back();
        let above = self.slots.range((Bound::Excluded(number), Bound::Unbounded)).next();
        let fits =
            below.is_none_or(|below| rises(below, (&number, &slot))) && above.is_none_or(|above| rises((&number, &slot), above));
        if !fits {
            *self = Self::default();
        }
    }

    /// Forgets all but the newest block.
    pub fn forget(&mut self) {
        self.slots.clear();
        self.blocks.clear();
        self.whole.clear();
        self.slots.extend(self.head.iter().map(|(slot, block)| (block.number, *slot)));
    }

    /// Whether what was read before cannot all stand on one branch with a block.
    fn is_of_another_branch(&self, block: &Block) -> bool {
        let differs = |number: u64, hash: &str| self.blocks.get(&number).is_some_and(|(known, _)| known.hash != hash);
        let parent_differs = block.number.checked_sub(1).is_some_and(|parent| differs(parent, &block.parent_hash));
        parent_differs || differs(block.number, &block.hash)
    }

    fn bound(&mut self) {
        self.whole.retain(|_, (_, read_at)| read_at.elapsed() < WHOLE_RECENT);
        while self.whole.len() > WHOLE_KEPT {
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

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

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
    fn a_height_that_cannot_be_is_forgotten_as_soon_as_another_one_is_read() {
        for (lie, slot) in [(u64::MAX, 113), (1_000, 113), (50, 111), (11, 200)] {
            let mut seen = seen();
            seen.note(slot, Block { parent_hash: "of nothing".to_owned(), ..block(lie, "lie", "lie") });
            seen.note(114, block(13, "a", "a"));
            seen.note(115, block(14, "a", "a"));

            assert_eq!([13, 14].map(|number| seen.slot(number)), [Some(114), Some(115)], "{lie} in {slot}");
            assert_eq!(seen.head(), Some(&(115, block(14, "a", "a"))), "{lie} in {slot}");
            assert_eq!((seen.slot(lie), seen.height_at(116)), (None, None), "{lie} in {slot}");
        }
        let mut seen = seen();
        seen.note_slots(11, &[111, u64::MAX, 5]);
        seen.note(114, block(13, "a", "a"));
        assert_eq!((seen.slot(13), seen.height_in(114)), (Some(114), Some(13)));
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let mut seen = Seen::default();
        for number in 1..=3 * SLOTS_KEPT as u64 {
            seen.note(100 + number, block(number, "a", "a"));
        }

        assert_eq!((seen.blocks.len(), seen.slots.len()), (BLOCKS_KEPT, SLOTS_KEPT));
    }

    #[test]
    fn the_height_of_a_slot_is_known_as_far_as_nothing_lies_between() {
        let mut seen = seen();
        seen.note(115, block(13, "a", "a"));

        assert_eq!([112, 113, 114, 115, 116].map(|slot| seen.height_at(slot)), [Some(12), Some(12), Some(12), Some(13), None]);
        assert_eq!([113, 115, 116].map(|slot| seen.height_after(slot)), [Some(13), None, Some(14)]);
        assert_eq!([114, 115].map(|slot| seen.height_in(slot)), [None, Some(13)]);
    }

    #[test]
    fn the_height_of_a_slot_that_follows_soon_is_at_most_so_much() {
        let mut seen = seen();
        assert_eq!(
            [112, 113, 112 + SLOTS_SKIPPED_MAX].map(|slot| seen.height_at_most(slot)),
            [12, 13, 12 + SLOTS_SKIPPED_MAX].map(Some)
        );
        assert_eq!(seen.height_at_most(113 + SLOTS_SKIPPED_MAX), None, "too far to be told from here");

        seen.note(118, block(15, "a", "a"));
        assert_eq!([114, 118, 119].map(|slot| seen.height_at_most(slot)), [None, Some(15), Some(16)]);
        assert_eq!(Seen::default().height_at_most(1), None);
    }

    #[test]
    fn between_two_blocks_everything_is_known_if_no_slot_was_skipped() {
        let mut seen = seen();
        seen.note(116, block(16, "a", "a"));
        assert_eq!([13, 15, 17].map(|number| seen.slot(number)), [Some(113), Some(115), None]);
        assert_eq!([113, 115, 117].map(|slot| seen.height_in(slot)), [Some(13), Some(15), None]);

        seen.note(121, block(20, "a", "a"));
        assert_eq!([17, 19].map(|number| seen.slot(number)), [None; 2], "one of five slots was skipped");
        assert_eq!([117, 120].map(|slot| seen.height_at(slot)), [None; 2]);
    }
}
