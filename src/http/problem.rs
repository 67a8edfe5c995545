//! Errors of our own endpoints: problem details in JSON (RFC 9457).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use serde::Serialize;

use super::body::BodyError;
use crate::flow::limits::Limited;

/// Why a request to one of our own endpoints has no other answer.
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

#[derive(Serialize)]
struct Details {
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
}

/// Seconds after which asking again makes sense.
pub const RETRY_AFTER_SECONDS: &str = "1";

impl Problem {
    const fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found", "Not found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "Forbidden"),
            Self::BadParameter(_) => (StatusCode::BAD_REQUEST, "bad_parameter", "Bad parameter"),
            Self::BadBody(_) => (StatusCode::BAD_REQUEST, "bad_body", "Bad body"),
            Self::Body(error) => (error.status(), error.code(), "Bad body"),
            Self::IdempotencyKey => (StatusCode::BAD_REQUEST, "invalid_idempotency_key", "Bad Idempotency-Key"),
            Self::KeyReused => (StatusCode::CONFLICT, "idempotency_key_reused", "Idempotency-Key reused"),
            Self::Unprocessable(code, _) => (StatusCode::UNPROCESSABLE_ENTITY, code, "Not possible"),
            Self::Conflict(code, _) => (StatusCode::CONFLICT, code, "Not possible now"),
            Self::Busy(code, _) => (StatusCode::SERVICE_UNAVAILABLE, code, "Busy"),
            Self::Limited(_) => (StatusCode::TOO_MANY_REQUESTS, Limited::CODE, "Too many requests"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Unavailable"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Internal error"),
        }
    }

    /// A network that is none, or is not offered here.
    #[must_use]
    pub fn unknown_network() -> Self {
        Self::Unprocessable("unknown_network", "network: not a CAIP-2 identifier".to_owned())
    }

    /// The answer.
    #[must_use]
    pub fn response(&self) -> HttpResponse {
        let (status, code, title) = self.parts();
        let mut response = HttpResponse::build(status);
        match self {
            Self::Unavailable | Self::Busy(..) | Self::Body(BodyError::NoRoom) => {
                response.insert_header((RETRY_AFTER, RETRY_AFTER_SECONDS));
            }
            Self::Limited(limited) => drop(response.insert_header((RETRY_AFTER, limited.seconds()))),
            Self::Unauthorized => drop(response.insert_header((WWW_AUTHENTICATE, "Bearer"))),
            _ => {}
        }
        let details = Details { kind: "about:blank", code, title, status: status.as_u16(), detail: self.to_string() };
        response.content_type("application/problem+json").json(details)
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

/// A path that takes some methods, and says so to everybody who tries another one.
pub fn methods(path: &str) -> actix_web::Resource {
    actix_web::web::resource(path).default_service(actix_web::web::to(|| async { Problem::MethodNotAllowed.response() }))
}

/// A path that is only read, and says so to everybody who tries something else.
pub fn read_only(path: &str) -> actix_web::Resource {
    methods(path)
}

/// The answer to a path that does not exist.
pub fn not_found() -> HttpResponse {
    Problem::NotFound.response()
}
