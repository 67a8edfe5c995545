//! Receipts that have bought something already.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

/// How many receipts are remembered. The facilitator keeps all of them; this is against somebody who repeats an answer of it to us.
const REMEMBERED: usize = 65_536;

/// The newest receipts by their ids, shared by all routes and workers of the process.
#[derive(Debug, Default)]
pub(super) struct Used(Mutex<Ids>);

#[derive(Debug, Default)]
struct Ids {
    known: HashSet<String>,
    oldest_first: VecDeque<String>,
}

impl Used {
    /// Uses a receipt. False if it was used before.
    pub(super) fn first_use(&self, id: &str) -> bool {
        // Whoever panicked here left at worst a name too many in one of the two.
        let mut ids = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !ids.known.insert(id.to_owned()) {
            return false;
        }
        ids.oldest_first.push_back(id.to_owned());
        if ids.oldest_first.len() > REMEMBERED
            && let Some(oldest) = ids.oldest_first.pop_front()
        {
            ids.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_buys_once() {
        let used = Used::default();

        assert!(used.first_use("rct_1") && used.first_use("rct_2"));
        assert!(!used.first_use("rct_1") && !used.first_use("rct_2"));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_newest_are_kept() {
        let used = Used::default();
        for number in 0..=REMEMBERED {
            assert!(used.first_use(&number.to_string()));
        }
        assert_eq!(used.0.lock().unwrap().known.len(), REMEMBERED);
        assert!(!used.first_use(&REMEMBERED.to_string()) && used.first_use("0"));
    }
}
