//! When a webhook is tried again.

use std::time::Duration;

/// What passes before each attempt, after the one before it: a little more than three days in all (Standard Webhooks).
const PAUSES: [Duration; 10] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];

/// By how much chance may lengthen a pause, so that what failed together is not tried again together.
const JITTER: f64 = 0.1;

/// The longest pause that a receiver may ask for.
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// The pause before the next attempt after so many that failed, or `None` if it was the last.
///
/// `share` from 0 to 1 says how much of the jitter is added. What the receiver asked for (`Retry-After`) may lengthen the pause, and
/// never shortens it.
#[must_use]
pub fn pause(failures: u32, share: f64, retry_after: Option<Duration>) -> Option<Duration> {
    let pause = PAUSES.get(usize::try_from(failures).ok()?)?;
    let pause = pause.mul_f64(1.0 + JITTER * share.clamp(0.0, 1.0));
    Some(retry_after.map_or(pause, |asked| pause.max(asked.min(RETRY_AFTER_MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_grow_until_nothing_is_tried_any_more() {
        let seconds: Vec<_> = (0..).map_while(|failures| pause(failures, 0.0, None)).map(|pause| pause.as_secs()).collect();

        assert_eq!(seconds, [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]);
        assert_eq!(pause(10, 0.0, None), None);
        assert_eq!(pause(u32::MAX, 0.0, None), None);
    }

    #[test]
    fn chance_adds_a_tenth_at_most() {
        let share = |share| pause(2, share, None).unwrap().as_secs();

        assert_eq!([share(-1.0), share(0.0), share(0.5), share(1.0), share(2.0)], [300, 300, 315, 330, 330]);
        assert_eq!(pause(0, 1.0, None), Some(Duration::ZERO));
    }

    #[test]
    fn a_receiver_may_lengthen_a_pause_and_not_shorten_it() {
        let asked = |seconds| pause(2, 0.0, Some(Duration::from_secs(seconds))).unwrap().as_secs();

        assert_eq!([asked(0), asked(299), asked(300), asked(301)], [300, 300, 300, 301]);
        assert_eq!([asked(86_400), asked(86_401), asked(u64::MAX)], [86_400; 3]);
    }

    #[test]
    fn no_receiver_can_ask_for_more_attempts_than_there_are() {
        assert_eq!(pause(10, 0.0, Some(Duration::from_secs(1))), None);
    }

    #[test]
    fn all_attempts_together_take_between_three_and_four_days() {
        for share in [0.0, 1.0] {
            let whole: Duration = (0..).map_while(|failures| pause(failures, share, None)).sum();
            assert!((Duration::from_hours(72)..Duration::from_hours(96)).contains(&whole), "{whole:?}");
        }
    }
}
