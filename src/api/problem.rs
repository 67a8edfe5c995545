//! Why a request has no answer: a status, a code, and words.

use std::time::Duration;

use super::body::BodyError;
use super::code::{Code, title_of};
use super::status::Status;
use crate::domain::reason::Reason;
use crate::flow::Unavailable;
use crate::flow::limits::Limited;
use crate::ledger::LedgerError;
use crate::telemetry::ErrorChain;

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
    /// Well-formed, and not possible, or not now: which of the codes, and words.
    #[error("{1}")]
    Refused(Code, String),
    /// A transfer that was presented pays nothing: why, and words.
    #[error("{1}")]
    Transfer(Reason, String),
    /// Whoever it is asks too often.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// Something that we depend on did not answer.
    #[error("try again in a moment")]
    Unavailable,
    /// A bug of ours.
    #[error("something went wrong here")]
    Internal,
}

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

impl From<Code> for Name {
    fn from(code: Code) -> Self {
        Self { status: code.status(), code: code.as_str(), title: code.title() }
    }
}

impl Name {
    /// What it is called that a transfer was presented in vain.
    #[must_use]
    pub fn of_transfer(reason: Reason) -> Self {
        let status = transfer_status(reason);
        Self { status, code: reason.code(), title: title_of(status) }
    }
}

/// The status with which a payer is told that its transfer pays nothing.
#[must_use]
pub const fn transfer_status(reason: Reason) -> Status {
    match reason {
        Reason::DuplicateSettlement | Reason::SettlementPending => Status::Conflict,
        _ => Status::Unprocessable,
    }
}

impl Problem {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> Name {
        let code = match self {
            Self::NotFound => Code::NotFound,
            Self::MethodNotAllowed => Code::MethodNotAllowed,
            Self::Unauthorized => Code::Unauthorized,
            Self::Forbidden => Code::Forbidden,
            Self::BadParameter(_) => Code::BadParameter,
            Self::BadBody(_) => Code::BadBody,
            Self::Body(error) => error.code(),
            Self::IdempotencyKey => Code::InvalidIdempotencyKey,
            Self::KeyReused => Code::IdempotencyKeyReused,
            Self::Refused(code, _) => *code,
            Self::Transfer(reason, _) => return Name::of_transfer(*reason),
            Self::Limited(_) => Code::RateLimited,
            Self::Unavailable => Code::Unavailable,
            Self::Internal => Code::Internal,
        };
        code.into()
    }

    /// After this asking again makes sense, if that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Limited(limited) => Some(limited.retry_after()),
            problem => problem.name().status.retry_after(),
        }
    }

    /// A network that is none, or is not offered here.
    #[must_use]
    pub fn unknown_network() -> Self {
        Self::Refused(Code::UnknownNetwork, "network: not a CAIP-2 identifier".to_owned())
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let problem = match error {
            LedgerError::Unavailable(_) => Self::Unavailable,
            _ => Self::Internal,
        };
        tracing::error!(error = %ErrorChain(&error), "a request could not be answered");
        problem
    }
}

impl From<Unavailable> for Problem {
    fn from(error: Unavailable) -> Self {
        match error {
            Unavailable::Ledger(error) => error.into(),
            error => {
                tracing::warn!(error = %ErrorChain(&error), "a request could not be answered");
                Self::Unavailable
            }
        }
    }
}
