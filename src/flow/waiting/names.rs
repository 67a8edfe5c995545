//! The names in which callers take successes, and what becomes of those whose bearers were never told.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::domain::ids::PaymentId;

/// How the names of single requests begin. The others belong to an `Idempotency-Key`, and whoever repeats that bears them anyway.
pub(super) const SINGLE: &str = "request:";

/// A name for a request that nothing else will ever bear, unless it inherits a success that nobody was told of.
#[must_use]
pub fn single_taker() -> String {
    format!("{SINGLE}{}", Uuid::now_v7().simple())
}

/// How long a success that nobody was told of is kept for whoever makes the same request next.
const ORPHANS_KEPT: Duration = Duration::from_hours(1);

/// Names in which a success was or may have been taken, and whose callers left without being told. If the ledger has the success in
/// one of them, it goes to whoever makes the same request next, and to nobody else.
#[derive(Default)]
pub(super) struct Orphans(HashMap<PaymentId, Vec<(String, Instant)>>);

impl Orphans {
    /// Under an Idempotency-Key several callers can bear one name and be told together, so such names are not kept: a success
    /// would be told twice.
    pub(super) fn keep(&mut self, payment: PaymentId, name: &str, now: Instant) {
        self.0.retain(|_, names| {
            names.retain(|(_, since)| now.saturating_duration_since(*since) < ORPHANS_KEPT);
            !names.is_empty()
        });
        if name.starts_with(SINGLE) && !self.holds(payment, name) {
            self.0.entry(payment).or_default().push((name.to_owned(), now));
        }
    }

    pub(super) fn holds(&self, payment: PaymentId, name: &str) -> bool {
        self.0.get(&payment).is_some_and(|names| names.iter().any(|(orphan, _)| orphan == name))
    }

    /// The success is told, so no name counts any more.
    pub(super) fn forget(&mut self, payment: PaymentId) {
        self.0.remove(&payment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_forgotten_after_a_while() {
        let (mut orphans, now) = (Orphans::default(), Instant::now());
        let (first, second) = (PaymentId::new(), PaymentId::new());
        orphans.keep(first, "request:one", now);
        orphans.keep(second, "request:two", now + ORPHANS_KEPT);

        assert!(!orphans.holds(first, "request:one"));
        assert!(orphans.holds(second, "request:two"));
    }
}
