//! The time, passed in wherever a rule needs it.

use chrono::{DateTime, Utc};

/// Where the time comes from. Tests have one that stands still.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> DateTime<Utc>;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
        Utc::now()
    }
}
