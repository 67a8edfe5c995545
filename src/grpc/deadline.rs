//! How long a caller waits.

use std::time::{Duration, Instant};

use tonic::metadata::MetadataMap;

/// An answer is on its way for this long at most, or for a tenth of the whole time if that is less. It has to be there in time.
const WAY_MAX: Duration = Duration::from_secs(1);

/// Until when an answer is of use.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// Reads `grpc-timeout`, which counts from now.
    #[must_use]
    pub fn of(metadata: &MetadataMap) -> Self {
        let timeout = metadata.get("grpc-timeout").and_then(|value| parse(value.to_str().ok()?));
        Self(timeout.and_then(|timeout| Instant::now().checked_add(usable(timeout))))
    }

    /// How much is left of it.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        self.0.map(|ends| ends.saturating_duration_since(Instant::now()))
    }
}

fn usable(timeout: Duration) -> Duration {
    timeout.saturating_sub(WAY_MAX.min(timeout / 10))
}

/// Reads at most eight digits and a unit (`PROTOCOL-HTTP2.md` of gRPC).
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_hours(count)),
        "M" => Some(Duration::from_mins(count)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_read_as_the_protocol_writes_it() {
        for (text, expected) in [
            ("1H", Some(Duration::from_hours(1))),
            ("2M", Some(Duration::from_mins(2))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("5", None),
            ("+5S", None),
            ("100000000S", None),
            ("5é", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn an_answer_has_time_to_arrive() {
        assert_eq!(usable(Duration::from_secs(2)), Duration::from_millis(1_800));
        assert_eq!(usable(Duration::from_mins(1)), Duration::from_secs(59));
        assert_eq!(usable(Duration::ZERO), Duration::ZERO);
    }
}
