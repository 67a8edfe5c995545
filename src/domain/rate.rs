//! How often something may happen: a token bucket, kept as one moment (GCRA, ITU-T I.371).
//!
//! The moment is the one at which the bucket is full again. A bucket that was never touched is full, so forgetting a full one
//! changes nothing.

use std::time::{Duration, Instant};

/// So many a second in the long run, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many tokens come back in a second. At least one.
    pub per_second: u32,
    /// How many tokens the bucket holds. At least one.
    pub burst: u32,
}

impl Rate {
    /// Takes a token out of a bucket that is full at `full_at`, and returns when it is full now.
    ///
    /// # Errors
    /// It is empty: how long until there is a token.
    pub fn take(self, full_at: Option<Instant>, now: Instant) -> Result<Instant, Duration> {
        self.look(full_at, now)?;
        Ok(self.charge(full_at, now))
    }

    /// Looks whether there is a token, and leaves it.
    ///
    /// # Errors
    /// The bucket is empty: how long until there is a token.
    pub fn look(self, full_at: Option<Instant>, now: Instant) -> Result<(), Duration> {
        let missing = full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now));
        let most = self.token() * self.burst.saturating_sub(1);
        if missing <= most { Ok(()) } else { Err(missing.saturating_sub(most)) }
    }

    /// Takes a token whether there is one or not: the next ones come the later.
    #[must_use]
    pub fn charge(self, full_at: Option<Instant>, now: Instant) -> Instant {
        full_at.map_or(now, |full_at| full_at.max(now)) + self.token()
    }

    /// The time in which a token comes back.
    fn token(self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { per_second: 4, burst: 3 };

    /// How many tokens can be taken at once.
    fn drain(rate: Rate, full_at: &mut Option<Instant>, now: Instant) -> usize {
        let take = || rate.take(*full_at, now).ok().inspect(|later| *full_at = Some(*later));
        std::iter::from_fn(take).count()
    }

    #[test]
    fn a_bucket_holds_its_burst_and_fills_at_its_rate() {
        let (begin, mut bucket) = (Instant::now(), None);
        let later = |milliseconds| begin + Duration::from_millis(milliseconds);

        assert_eq!(drain(RATE, &mut bucket, begin), 3);
        assert_eq!(RATE.look(bucket, begin), Err(Duration::from_millis(250)));
        assert_eq!(RATE.look(bucket, later(249)), Err(Duration::from_millis(1)));
        assert_eq!(drain(RATE, &mut bucket, later(250)), 1);
        assert_eq!(drain(RATE, &mut bucket, later(10_000)), 3, "it never holds more than its burst");
    }

    #[test]
    fn whoever_is_charged_beyond_the_burst_waits_it_off() {
        let now = Instant::now();
        let bucket = (0..7).fold(None, |bucket, _| Some(RATE.charge(bucket, now)));

        assert_eq!(
            RATE.look(bucket, now),
            Err(Duration::from_millis(1_250)),
            "five more than there were, less the one that is asked for"
        );
        assert_eq!(RATE.look(bucket, now + Duration::from_millis(1_250)), Ok(()));
    }

    proptest! {
        #[test]
        fn nobody_gets_more_than_burst_and_rate_allow(per_second in 1_u32..2_000, burst in 1_u32..50, pauses in prop::collection::vec(0_u64..400, 1..200)) {
            let rate = Rate { per_second, burst };
            let (begin, mut bucket, mut now, mut taken) = (Instant::now(), None, Duration::ZERO, 0_u64);
            for pause in pauses {
                now += Duration::from_millis(pause);
                if let Ok(later) = rate.take(bucket, begin + now) {
                    bucket = Some(later);
                    taken += 1;
                }
                let allowed = f64::from(burst) + now.as_secs_f64() * f64::from(per_second);
                #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
                let taken = taken as f64;
                // A token's time is rounded down to a nanosecond.
                prop_assert!(taken <= allowed * 1.000_01 + 1e-3, "{taken} of {allowed}");
            }
        }
    }
}
