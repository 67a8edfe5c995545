//! The authorization must be inside its time window when it reaches the chain, and must not stay dangerous for long after.

use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::reason::{Reason, Refusal};

/// Seconds that an authorization must remain valid, so that it does not expire on its way (x402 reference implementations).
pub const REMAINING_SECONDS_MIN: i64 = 6;

/// Checks `validAfter <= now`, `now + REMAINING_SECONDS_MIN <= validBefore` and `validBefore <= now + longest`.
///
/// A signature is a bearer instrument: one that stays valid for years is worth stealing from a log, so its life is bounded.
///
/// # Errors
/// [`Reason::Expired`] or [`Reason::NotYetValid`].
pub fn check(after: DateTime<Utc>, before: DateTime<Utc>, longest: TimeDelta, now: DateTime<Utc>) -> Result<(), Refusal> {
    if before < now + TimeDelta::seconds(REMAINING_SECONDS_MIN) {
        return Err(Refusal::because(Reason::Expired, "the authorization has expired or is about to"));
    }
    if after > now {
        return Err(Reason::NotYetValid.into());
    }
    if before > now + longest {
        return Err(Refusal::because(Reason::Expired, "the authorization is valid for longer than this facilitator allows"));
    }
    Ok(())
}

/// Turns a timestamp of an authorization into a time; beyond what a time can be, it is the end of time.
#[must_use]
pub fn time(seconds: u64) -> DateTime<Utc> {
    i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0)).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_has_exact_edges() {
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(1000);
        let check = |after: i64, before: i64| {
            let at = |seconds| DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
            check(at(after), at(before), TimeDelta::seconds(100), now).map_err(|refusal| refusal.reason)
        };

        assert_eq!(check(0, 1005), Err(Reason::Expired));
        assert_eq!(check(0, 1006), Ok(()));
        assert_eq!(check(0, 1100), Ok(()));
        assert_eq!(check(0, 1101), Err(Reason::Expired));
        assert_eq!(check(1000, 1050), Ok(()));
        assert_eq!(check(1001, 1050), Err(Reason::NotYetValid));
    }

    #[test]
    fn the_end_of_time_is_a_time() {
        assert_eq!(time(0), DateTime::UNIX_EPOCH);
        assert_eq!(time(u64::MAX), DateTime::<Utc>::MAX_UTC);
    }
}
