//! What is read of a receiver's answer.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};

use super::schedule::RETRY_AFTER_MAX;

/// How many bytes of an answer are read. A connection can be used again after an answer that ends before.
const READ_MAX: usize = 64 * 1024;

/// How many bytes of an answer are kept.
const EXCERPT_MAX: usize = 1024;

/// The beginning of an answer, as text. The status has been said by then, so it does not matter how the rest of the answer ends.
pub(super) async fn excerpt(mut response: Response) -> String {
    let (mut kept, mut read) = (Vec::new(), 0);
    while read < READ_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        let room = EXCERPT_MAX - kept.len();
        kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
        read += chunk.len();
    }
    printable(&kept)
}

/// A stranger's bytes, harmless in a log and in a text of PostgreSQL.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|letter| !letter.is_control()).collect()
}

/// How long a receiver that is busy wants to be left alone, a day at most (RFC 9110, section 10.2.3).
pub(super) fn retry_after(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    if !matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        return None;
    }
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    let pause = text.parse().map(Duration::from_secs).ok().or_else(|| until(text, now))?;
    Some(pause.min(RETRY_AFTER_MAX))
}

/// The time until a date; `None` if it has passed.
fn until(date: &str, now: DateTime<Utc>) -> Option<Duration> {
    DateTime::parse_from_rfc2822(date).ok()?.signed_duration_since(now).to_std().ok()
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn asked(status: u16, value: &'static str) -> Option<u64> {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        retry_after(StatusCode::from_u16(status).unwrap(), &headers, now).map(|pause| pause.as_secs())
    }

    #[test]
    fn only_a_busy_receiver_sets_the_pause() {
        assert_eq!((asked(429, "7"), asked(503, "7")), (Some(7), Some(7)));
        assert_eq!((asked(500, "7"), asked(404, "7"), asked(302, "7")), (None, None, None));
        assert_eq!(retry_after(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), DateTime::UNIX_EPOCH), None);
    }

    #[test]
    fn the_pause_is_in_seconds_or_ends_at_a_date() {
        assert_eq!(asked(503, "0"), Some(0));
        assert_eq!(asked(503, "Fri, 02 Jan 2026 03:05:06 GMT"), Some(61));
        assert_eq!(asked(503, "Fri, 02 Jan 2026 03:04:05 GMT"), Some(0));
        assert_eq!(asked(503, "Fri, 02 Jan 2026 03:04:04 GMT"), None);
        for text in ["", "-1", "soon", "1.5"] {
            assert_eq!(asked(503, text), None, "{text:?}");
        }
    }

    #[test]
    fn the_pause_is_a_day_at_most() {
        assert_eq!((asked(503, "86400"), asked(503, "86401")), (Some(86_400), Some(86_400)));
        assert_eq!(asked(503, "Fri, 02 Jan 2099 03:04:05 GMT"), Some(86_400));
    }

    #[test]
    fn an_excerpt_holds_nothing_that_a_terminal_would_obey() {
        assert_eq!(printable(b"no\x1b[31m\0 \r\nway\xff"), "no[31m way\u{fffd}");
    }
}
