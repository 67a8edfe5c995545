//! How an attempt went.

use std::error::Error;
use std::io;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Response;

use super::answer;
use super::resolver::ResolveError;

/// How an attempt to deliver a webhook went. The status of an answer decides, whatever its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it: 2xx.
    Delivered {
        /// The status of the answer.
        status: u16,
    },
    /// The receiver wants nothing any more: 410. Its endpoint is to be disabled (Standard Webhooks).
    Gone,
    /// The receiver gave any other answer. A redirection is one, and is not followed.
    Refused {
        /// The status of the answer.
        status: u16,
        /// The beginning of the answer for the log of deliveries: at most 1,024 letters, no control characters among them.
        excerpt: String,
        /// How long the receiver wants to be left alone, a day at most.
        retry_after: Option<Duration>,
    },
    /// There was no answer.
    Failed(FailureKind),
}

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The URL, or all that its name stands for, must not be reached. No connection was made.
    Forbidden,
    /// The name could not be looked up, or stands for nothing.
    Dns,
    /// No connection was made.
    Connect,
    /// The receiver does not speak TLS, or has no certificate for its name.
    Tls,
    /// The time was up.
    Timeout,
    /// Anything else: a connection that broke, or an answer that is not HTTP.
    Other,
}

impl FailureKind {
    /// Every kind, for counters that start at zero.
    pub const ALL: [Self; 6] = [Self::Forbidden, Self::Dns, Self::Connect, Self::Tls, Self::Timeout, Self::Other];

    /// The name of the kind in logs, metrics and the ledger.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Forbidden => "forbidden",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Other => "other",
        }
    }

    /// Tells failures of the client apart. To the client, all that happens before a request can be written is one kind of failure.
    pub(super) fn of(error: &reqwest::Error) -> Self {
        let causes = || std::iter::successors(Some(error as &(dyn Error + 'static)), |error| (*error).source());
        match causes().find_map(|error| error.downcast_ref::<ResolveError>()) {
            Some(ResolveError::NotPublic) => return Self::Forbidden,
            Some(ResolveError::Lookup(_) | ResolveError::NoAddress) => return Self::Dns,
            None => {}
        }
        if error.is_timeout() {
            return Self::Timeout;
        }
        if causes().any(is_of_tls) {
            return Self::Tls;
        }
        if error.is_connect() { Self::Connect } else { Self::Other }
    }
}

fn is_of_tls(error: &(dyn Error + 'static)) -> bool {
    // An I/O error names what it wraps here, and only the causes of that as its source.
    let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|error| is_of_tls(error))
}

impl Outcome {
    pub(super) async fn of(response: Response, now: DateTime<Utc>) -> Self {
        let status = response.status();
        let retry_after = answer::retry_after(status, response.headers(), now);
        let excerpt = answer::excerpt(response).await;
        match status.as_u16() {
            status @ 200..=299 => Self::Delivered { status },
            410 => Self::Gone,
            status => Self::Refused { status, excerpt, retry_after },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_failure_has_a_code_of_its_own() {
        let codes: std::collections::HashSet<_> = FailureKind::ALL.iter().map(|kind| kind.code()).collect();

        assert_eq!(codes.len(), FailureKind::ALL.len());
    }

    #[test]
    fn a_fault_of_tls_is_found_however_deep_it_is_wrapped() {
        let fault = io::Error::other(io::Error::other(rustls::Error::HandshakeNotComplete));

        assert!(is_of_tls(&fault));
        assert!(!is_of_tls(&io::Error::other(io::Error::from(io::ErrorKind::ConnectionReset))));
    }
}
