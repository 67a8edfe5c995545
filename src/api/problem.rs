//! Why a request has no answer: a status, a code, and words.

use std::time::Duration;

use super::body::BodyError;
use super::status::Status;

/// Why a request has no other answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is no such thing, or it is not the caller's.
    #[error("there is no such thing here")]
    NotFound,
    /// The path does not take this method.
    #[error("this path does not take this method")]
    MethodNotAllowed,
    /// No key, or one that is worth nothing.
    #[error("an API key is needed")]
    Unauthorized,
    /// The key is not good for this.
    #[error("this API key does not allow that")]
    Forbidden,
    /// A parameter is malformed.
    #[error("{0}")]
    BadParameter(String),
    /// A body is not JSON, or not what the path takes.
    #[error("{0}")]
    BadBody(String),
    /// A body could not be read.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// An `Idempotency-Key` that is none.
    #[error("an Idempotency-Key has 16 to 128 visible characters")]
    IdempotencyKey,
    /// An `Idempotency-Key` that came with another request before.
    #[error("this Idempotency-Key was used for another request")]
    KeyReused,
    /// Well-formed, and not possible: a code and words.
    #[error("{1}")]
    Unprocessable(&'static str, String),
    /// Possible, but not as things stand: a code and words.
    #[error("{1}")]
    Conflict(&'static str, String),
    /// Possible, but there is no room at the moment: a code and words.
    #[error("{1}")]
    Busy(&'static str, String),
    /// Something that we depend on did not answer.
    #[error("try again in a moment")]
    Unavailable,
    /// A bug of ours.
    #[error("something went wrong here")]
    Internal,
}

/// After this asking again makes sense, where there is no answer at the moment.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a problem is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// How the request ended.
    pub status: Status,
    /// The code.
    pub code: &'static str,
    /// The kind of problem, for people.
    pub title: &'static str,
}

impl Problem {
    /// Its name.
    #[must_use]
    pub const fn name(&self) -> Name {
        let (status, code, title) = self.parts();
        Name { status, code, title }
    }

    const fn parts(&self) -> (Status, &'static str, &'static str) {
        match self {
            Self::NotFound => (Status::NotFound, "not_found", "Not found"),
            Self::MethodNotAllowed => (Status::MethodNotAllowed, "method_not_allowed", "Method not allowed"),
            Self::Unauthorized => (Status::Unauthorized, "unauthorized", "Unauthorized"),
            Self::Forbidden => (Status::Forbidden, "forbidden", "Forbidden"),
            Self::BadParameter(_) => (Status::BadRequest, "bad_parameter", "Bad parameter"),
            Self::BadBody(_) => (Status::BadRequest, "bad_body", "Bad body"),
            Self::Body(error) => (error.status(), error.code(), "Bad body"),
            Self::IdempotencyKey => (Status::BadRequest, "invalid_idempotency_key", "Bad Idempotency-Key"),
            Self::KeyReused => (Status::Conflict, "idempotency_key_reused", "Idempotency-Key reused"),
            Self::Unprocessable(code, _) => (Status::Unprocessable, code, "Not possible"),
            Self::Conflict(code, _) => (Status::Conflict, code, "Not possible now"),
            Self::Busy(code, _) => (Status::Unavailable, code, "Busy"),
            Self::Unavailable => (Status::Unavailable, "unavailable", "Unavailable"),
            Self::Internal => (Status::Internal, "internal", "Internal error"),
        }
    }

    /// A network that is none, or is not offered here.
    #[must_use]
    pub fn unknown_network() -> Self {
        Self::Unprocessable("unknown_network", "network: not a CAIP-2 identifier".to_owned())
    }
}

impl From<crate::ledger::LedgerError> for Problem {
    fn from(error: crate::ledger::LedgerError) -> Self {
        let problem = match error {
            crate::ledger::LedgerError::Unavailable(_) => Self::Unavailable,
            _ => Self::Internal,
        };
        tracing::error!(error = %crate::telemetry::ErrorChain(&error), "a request could not be answered");
        problem
    }
}

impl From<crate::flow::Unavailable> for Problem {
    fn from(error: crate::flow::Unavailable) -> Self {
        match error {
            crate::flow::Unavailable::Ledger(error) => error.into(),
            error => {
                tracing::warn!(error = %crate::telemetry::ErrorChain(&error), "a request could not be answered");
                Self::Unavailable
            }
        }
    }
}
