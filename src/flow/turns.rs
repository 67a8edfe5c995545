//! Lets those who want the same thing go one after the other, within this process.
//!
//! The ledger decides between them all the same. But whoever waits there holds one of few connections while it does, and so many
//! callers with one payment would keep everybody else from the ledger.

use std::hash::{BuildHasher, Hash, RandomState};

use tokio::sync::{Mutex, MutexGuard};

/// Two things that fall together by chance wait for each other, which costs time and nothing else.
const QUEUES: usize = 4096;

/// Queues, one for each thing as far as they go.
#[derive(Debug)]
pub struct Turns {
    queues: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Default for Turns {
    fn default() -> Self {
        Self { queues: (0..QUEUES).map(|_| Mutex::new(())).collect(), hasher: RandomState::new() }
    }
}

impl Turns {
    /// Waits for one's turn. It ends when the guard is dropped.
    pub async fn take(&self, of: impl Hash) -> MutexGuard<'_, ()> {
        let [low, high, ..] = self.hasher.hash_one(of).to_le_bytes();
        self.queues[usize::from(u16::from_le_bytes([low, high])) % QUEUES].lock().await
    }
}
