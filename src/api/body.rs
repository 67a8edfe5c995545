//! What was sent: why it cannot be looked into, and how it is read where it can.

use serde::de::DeserializeOwned;

use super::problem::Problem;
use super::status::Status;
use crate::x402::json;

/// Why there is no body to look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not `application/json`, in another character set than UTF-8, or compressed.
    #[error("the body must be application/json in UTF-8, not compressed")]
    UnsupportedMedia,
    /// More bytes than the operator allows.
    #[error("the body is too large")]
    TooLarge,
    /// The client stopped in the middle.
    #[error("the body ended early")]
    Incomplete,
    /// The client takes its time, and a connection of ours with it.
    #[error("the body did not arrive in time")]
    TooSlow,
}

impl BodyError {
    /// The status.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::UnsupportedMedia => Status::UnsupportedMediaType,
            Self::TooLarge => Status::PayloadTooLarge,
            Self::Incomplete => Status::BadRequest,
            Self::TooSlow => Status::RequestTimeout,
        }
    }

    /// The code in a typed answer.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnsupportedMedia => "unsupported_media_type",
            Self::TooLarge => "body_too_large",
            Self::Incomplete => "incomplete_body",
            Self::TooSlow => "body_too_slow",
        }
    }
}

/// Reads JSON that has one reading only as what is asked for.
///
/// # Errors
/// It is not JSON, or something else.
pub fn read<B: DeserializeOwned>(bytes: &[u8]) -> Result<B, Problem> {
    let value = json::parse(bytes, json::DEPTH_MAX).map_err(|refusal| Problem::BadBody(refusal.to_string()))?;
    serde_json::from_value(value).map_err(|error| Problem::BadBody(error.to_string()))
}
