//! Which transactions have named an account, as the nodes list them: for addresses that are too few to read every block for.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use solana_client::rpc_request::RpcRequest;

use super::blocks::Blocks;
use super::message::Key;
use super::rpc::Nodes;
use crate::chain::ChainError;
use crate::chain::nodes::{CallError, NodeFailure};
use crate::domain::address::encode_base58;
use crate::domain::block::Block;
use crate::domain::transfer::TransactionId;

/// Entries in one answer: what nodes give at most.
const ENTRIES_MAX: usize = 1_000;

/// The transactions that were carried out well, by their slots.
pub type Found = BTreeMap<u64, BTreeSet<TransactionId>>;

/// An entry of an account's history. Nodes list the newest first.
#[derive(Debug, Clone, Deserialize)]
pub struct Entry {
    /// The transaction.
    pub signature: TransactionId,
    /// Where it stands.
    pub slot: u64,
    /// Why it failed.
    pub err: Option<Value>,
}

/// The histories of accounts, each as far as it was read.
pub struct Histories {
    nodes: Arc<Nodes>,
    known: Mutex<BTreeMap<Key, History>>,
}

/// What is known of one history: everything between two slots.
#[derive(Debug, Default)]
struct History {
    /// The first of these slots.
    from: u64,
    /// The last one. Absent as long as nothing was read.
    to: Option<u64>,
    /// The newest entry in a final block, where the next reading ends. One in a later block may land once more behind it if its block
    /// is dropped, and a reading that ended at its name would not find it there.
    newest: Option<TransactionId>,
    found: Found,
}

impl History {
    /// Forgets what lies before `first`, or everything if that is not all that lies behind it: after a reorganisation, for example.
    fn begin(&mut self, first: u64) {
        if self.to.is_none() || first < self.from {
            *self = Self::default();
        }
        self.found = self.found.split_off(&first);
        self.from = first;
    }

    /// Takes in entries that were read up to the slot `to`, down to what was known or lies before the first slot. What lies behind `to`
    /// may not be all yet, so it is left for the next time. Blocks up to the slot `last_final` are final.
    fn extend(&mut self, entries: Vec<Entry>, to: u64, last_final: u64) {
        let entries: Vec<_> = entries.into_iter().filter(|entry| entry.slot <= to).collect();
        if let Some(newest) = entries.iter().find(|entry| entry.slot <= last_final) {
            self.newest = Some(newest.signature.clone());
        }
        for Entry { signature, slot, .. } in entries.into_iter().filter(|entry| entry.err.is_none() && entry.slot >= self.from) {
            self.found.entry(slot).or_default().insert(signature);
        }
        self.to = Some(to);
    }
}

impl Histories {
    /// Reads through `nodes`.
    pub fn new(nodes: Arc<Nodes>) -> Self {
        Self { nodes, known: Mutex::default() }
    }

    /// The transactions in these slots that have named any of `accounts`. `head` is the newest block, in its slot.
    pub async fn between(
        &self,
        blocks: &Blocks,
        accounts: &[Key],
        slots: RangeInclusive<u64>,
        head: (u64, &Block),
    ) -> Result<Found, ChainError> {
        let (first, last) = slots.into_inner();
        let wanted = self.begin(accounts, first, last);
        if !wanted.is_empty() {
            self.read(blocks, &wanted, first, head).await?;
        }
        let mut found = Found::new();
        for (slot, names) in self.lock().values().flat_map(|history| history.found.range(first..=last)) {
            found.entry(*slot).or_default().extend(names.iter().cloned());
        }
        Ok(found)
    }

    /// Forgets everything, because a node contradicts it.
    pub fn forget(&self) {
        self.lock().clear();
    }

    /// Prepares for slots from `first` on, and returns the accounts whose histories are not known to the `last` of them.
    fn begin(&self, accounts: &[Key], first: u64, last: u64) -> Vec<Key> {
        let mut known = self.lock();
        known.retain(|account, _| accounts.contains(account));
        let mut wanted = Vec::new();
        for account in accounts {
            let history = known.entry(*account).or_default();
            history.begin(first);
            if history.to.is_none_or(|to| to < last) {
                wanted.push(*account);
            }
        }
        wanted
    }

    /// Reads the histories of accounts up to the newest block, from one node that has noted everything up to there.
    async fn read(&self, blocks: &Blocks, accounts: &[Key], first: u64, head: (u64, &Block)) -> Result<(), ChainError> {
        let last_final = blocks.finalized().await?.slot;
        let mut last = CallError::Unavailable(NodeFailure::Broken);
        for node in self.nodes.order() {
            match self.read_on(node, blocks, accounts, first, head).await {
                Ok(Some(read)) => {
                    self.extend(accounts, read, head.0, last_final);
                    return Ok(());
                }
                // It has not come so far, which says nothing.
                Ok(None) => {}
                Err(error) => last = error,
            }
        }
        Err(self.nodes.unavailable(RpcRequest::GetSignaturesForAddress, last))
    }

    /// What one node lists of each account, if it has come to the newest block.
    async fn read_on(
        &self,
        node: usize,
        blocks: &Blocks,
        accounts: &[Key],
        first: u64,
        (slot, head): (u64, &Block),
    ) -> Result<Option<Vec<Vec<Entry>>>, CallError> {
        if !blocks.is_served(node, slot, head).await? {
            return Ok(None);
        }
        let reads = accounts.iter().copied().map(|account| {
            let until = self.lock().get(&account).and_then(|history| history.newest.clone());
            async move { entries(&self.nodes, node, account, until.as_deref(), first..=slot).await }
        });
        try_join_all(reads).await.map(Some)
    }

    fn extend(&self, accounts: &[Key], read: Vec<Vec<Entry>>, to: u64, last_final: u64) {
        let mut known = self.lock();
        for (account, entries) in accounts.iter().zip(read) {
            if let Some(history) = known.get_mut(account) {
                history.extend(entries, to, last_final);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, History>> {
        // Each change can be made again, so a panic leaves nothing that is worse than nothing.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entries of an account's history as one node lists them, the newest first: at least those of these slots that came after the
/// transaction `until`.
pub async fn entries(
    nodes: &Nodes,
    node: usize,
    account: Key,
    until: Option<&str>,
    slots: RangeInclusive<u64>,
) -> Result<Vec<Entry>, CallError> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let before = entries.last().map(|entry| entry.signature.as_str());
        let params = json!([encode_base58(&account), config(before, until, *slots.end())]);
        let page: Vec<Entry> = nodes.call_node(node, RpcRequest::GetSignaturesForAddress, params).await?;
        // Some nodes list fewer entries at once than they are asked for, so only an empty page says that there are no more.
        let Some(oldest) = page.last() else { return Ok(entries) };
        if before == Some(oldest.signature.as_str()) {
            return Err(CallError::Unavailable(NodeFailure::Broken));
        }
        let is_last = oldest.slot < *slots.start();
        entries.extend(page);
        if is_last {
            return Ok(entries);
        }
    }
}

/// Some nodes take a member that is null for a mistake.
fn config(before: Option<&str>, until: Option<&str>, slot: u64) -> Map<String, Value> {
    let always = [
        ("commitment", json!("confirmed")),
        ("limit", json!(ENTRIES_MAX)),
        // A node behind an address may be several, of which one is behind.
        ("minContextSlot", json!(slot)),
    ];
    let sometimes = [("before", before), ("until", until)];
    let sometimes = sometimes.into_iter().filter_map(|(name, value)| Some((name, json!(value?))));
    always.into_iter().chain(sometimes).map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, slot: u64) -> Entry {
        Entry { signature: name.to_owned(), slot, err: None }
    }

    fn names(history: &History) -> Vec<(u64, Vec<&str>)> {
        history.found.iter().map(|(slot, names)| (*slot, names.iter().map(String::as_str).collect())).collect()
    }

    #[test]
    fn entries_are_kept_by_their_slots_as_far_as_they_are_complete() {
        let mut history = History::default();
        history.begin(10);
        let failed = Entry { err: Some(json!("AccountInUse")), ..entry("failed", 11) };
        let entries =
            vec![entry("later", 14), entry("d", 13), failed, entry("c", 11), entry("b", 11), entry("a", 10), entry("old", 9)];
        history.extend(entries, 13, 13);

        assert_eq!(names(&history), [(10, vec!["a"]), (11, vec!["b", "c"]), (13, vec!["d"])]);
        assert_eq!((history.to, history.newest.as_deref()), (Some(13), Some("d")), "what lies behind may lack something");
    }

    #[test]
    fn what_was_taken_is_forgotten_and_what_was_read_is_not_read_again() {
        let mut history = History::default();
        history.begin(10);
        history.extend(vec![entry("b", 12), entry("a", 10)], 13, 12);

        history.begin(10);
        assert_eq!(names(&history), [(10, vec!["a"]), (12, vec!["b"])], "the same slots are wanted again");
        history.begin(11);
        assert_eq!(names(&history), [(12, vec!["b"])]);
        history.begin(14);
        history.extend(Vec::new(), 15, 15);
        assert_eq!((names(&history), history.newest.as_deref()), (vec![], Some("b")));
    }

    #[test]
    fn after_a_reorganisation_everything_is_read_again() {
        let mut history = History::default();
        history.begin(10);
        history.extend(vec![entry("a", 12)], 13, 12);
        history.begin(12);

        history.begin(11);
        assert_eq!((names(&history), history.to, history.newest.as_deref()), (vec![], None, None));
    }

    #[test]
    fn what_may_still_land_elsewhere_is_listed_until_it_is_final() {
        let mut history = History::default();
        history.begin(10);
        history.extend(vec![entry("b", 12), entry("a", 10)], 13, 11);
        assert_eq!(history.newest.as_deref(), Some("a"));

        // Slot 12 was skipped after all.
        history.begin(13);
        history.extend(vec![entry("b", 14)], 15, 11);
        assert_eq!((names(&history), history.newest.as_deref()), (vec![(14, vec!["b"])], Some("a")));
    }

    #[test]
    fn an_account_with_an_old_history_only_is_read_from_there_on() {
        let mut history = History::default();
        history.begin(10);
        history.extend(vec![entry("old", 3)], 13, 12);

        assert_eq!((names(&history), history.newest.as_deref()), (vec![], Some("old")));
    }

    #[test]
    fn a_question_has_no_empty_members() {
        assert_eq!(json!(config(None, None, 7)), json!({"commitment": "confirmed", "limit": 1_000, "minContextSlot": 7}));
        let all = json!({"commitment": "confirmed", "limit": 1_000, "minContextSlot": 7, "before": "b", "until": "a"});
        assert_eq!(json!(config(Some("b"), Some("a"), 7)), all);
    }
}
