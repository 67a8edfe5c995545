//! Which rows are exported, page by page, in the order of their names.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::domain::ids::AccountId;

/// Whose rows, and of which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Whose; absent for everybody's.
    pub account: Option<AccountId>,
    /// From when on.
    pub from: Option<DateTime<Utc>>,
    /// Until when, without that moment itself.
    pub until: Option<DateTime<Utc>>,
}

/// By how much the clock behind a name may differ from the time of the row: our own clocks and those of networks are nearer than that.
const SLACK: TimeDelta = TimeDelta::hours(1);

impl Span {
    /// A name below those of all rows of the span. Names begin with the time, so what came long before need not be read.
    #[must_use]
    pub fn below(&self) -> Uuid {
        self.from.and_then(|from| from.checked_sub_signed(SLACK)).map_or(Uuid::nil(), first_at)
    }

    /// A name above those of all rows of the span that were named when they happened.
    #[must_use]
    pub fn above(&self) -> Uuid {
        self.until.and_then(|until| until.checked_add_signed(SLACK)).map_or(Uuid::max(), first_at)
    }
}

/// The least name that could be made at a time: 48 bits of milliseconds stand before everything else (RFC 9562, section 5.7).
fn first_at(time: DateTime<Utc>) -> Uuid {
    const MILLISECONDS_MAX: u64 = (1 << 48) - 1;
    let milliseconds = u64::try_from(time.timestamp_millis()).unwrap_or(0).min(MILLISECONDS_MAX);
    Uuid::from_u128(u128::from(milliseconds) << 80)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Clock, SystemClock};
    use crate::domain::ids::PaymentId;

    #[test]
    fn names_made_now_lie_within_the_bounds_of_now_and_outside_those_of_other_hours() {
        let (now, name) = (SystemClock.now(), PaymentId::new().uuid());
        let hours = TimeDelta::hours(3);
        let span = |from, until| Span { account: None, from: Some(from), until: Some(until) };
        let holds = |span: Span| span.below() < name && name < span.above();

        assert!(holds(span(now, now)));
        assert!(holds(span(now - hours, now + hours)));
        assert!(!holds(span(now + hours, now + hours)));
        assert!(!holds(span(now - hours, now - hours)));
    }

    #[test]
    fn a_span_without_ends_holds_every_name() {
        let all = Span::default();
        let long_ago = Span { from: Some(DateTime::<Utc>::MIN_UTC), until: Some(DateTime::<Utc>::MAX_UTC), ..all };

        assert_eq!((all.below(), all.above()), (Uuid::nil(), Uuid::max()));
        assert_eq!(long_ago.below(), Uuid::nil());
        assert_eq!(long_ago.above(), Uuid::max());
    }
}
