//! What was simulated a moment ago, so that the settle of a payment that was just verified asks the cluster nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::simulate::Good;
use crate::domain::payment::AuthorizationKey;

/// For so long a good simulation is believed. A payer who empties the account meanwhile costs us one fee.
const BELIEVED: Duration = Duration::from_secs(5);

/// Payments that are remembered at most. Further ones are simulated again.
const KEPT_MAX: usize = 10_000;

/// Good simulations, each for one settle.
#[derive(Default)]
pub struct Memory(Mutex<HashMap<AuthorizationKey, Remembered>>);

/// A good simulation.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    good: Good,
    block: u64,
    at: Instant,
}

impl Remembered {
    fn counts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < BELIEVED
    }
}

impl Memory {
    /// Notes that a message was found good at a block. A message fixes all that its simulation depends on.
    pub fn keep(&self, key: AuthorizationKey, good: Good, block: u64, now: Instant) {
        let mut known = self.lock();
        if known.len() >= KEPT_MAX {
            known.retain(|_, remembered| remembered.counts(now));
        }
        if known.len() < KEPT_MAX {
            known.insert(key, Remembered { good, block, at: now });
        }
    }

    /// What was found of a message, and at which block, if that was a moment ago. It is forgotten then.
    pub fn take(&self, key: &AuthorizationKey, now: Instant) -> Option<(Good, u64)> {
        let remembered = self.lock().remove(key)?;
        remembered.counts(now).then_some((remembered.good, remembered.block))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AuthorizationKey, Remembered>> {
        // Each change is one call, so a panic leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Good = Good { balance: 10, units: 20 };

    fn key(number: usize) -> AuthorizationKey {
        AuthorizationKey(number.to_be_bytes().to_vec())
    }

    #[test]
    fn a_good_simulation_serves_one_settle_and_not_for_long() {
        let (memory, now) = (Memory::default(), Instant::now());
        memory.keep(key(1), GOOD, 7, now);
        memory.keep(key(2), GOOD, 7, now);

        assert_eq!(memory.take(&key(1), now + BELIEVED / 2), Some((GOOD, 7)));
        assert_eq!(memory.take(&key(1), now), None);
        assert_eq!(memory.take(&key(2), now + BELIEVED), None);
        assert_eq!(memory.take(&key(3), now), None);
    }

    #[test]
    fn what_is_remembered_has_a_bound() {
        let (memory, now) = (Memory::default(), Instant::now());
        for number in 0..=KEPT_MAX {
            memory.keep(key(number), GOOD, 7, now);
        }
        assert_eq!(memory.lock().len(), KEPT_MAX);

        memory.keep(key(0), GOOD, 8, now + BELIEVED);
        assert_eq!(memory.lock().len(), 1);
    }
}
