//! How a request ended, in a word.

use std::time::Duration;

/// After this asking again makes sense, where there is no answer at the moment.
const MOMENT: Duration = Duration::from_secs(1);

/// The classes of answers. They are those of HTTP, under whose numbers answers are stored; other transports translate them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Answered. A business answer may be a refusal all the same.
    Ok,
    /// Answered, and there is something new.
    Created,
    /// Done, and what there is to see is elsewhere.
    SeeOther,
    /// The request is malformed.
    BadRequest,
    /// No key, or one that is worth nothing.
    Unauthorized,
    /// The key is not good for this.
    Forbidden,
    /// There is no such thing, or it is not the caller's.
    NotFound,
    /// What is asked for exists, but not in this way.
    MethodNotAllowed,
    /// The request did not arrive in time.
    RequestTimeout,
    /// Possible, but not as things stand.
    Conflict,
    /// More bytes than the operator allows.
    PayloadTooLarge,
    /// Written in a way that is not read here.
    UnsupportedMediaType,
    /// Well-formed, and not possible.
    Unprocessable,
    /// Whoever it is asks too often.
    TooManyRequests,
    /// A bug of ours.
    Internal,
    /// No answer at the moment; asking again may help.
    Unavailable,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 16] = [
        Self::Ok,
        Self::Created,
        Self::SeeOther,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::Conflict,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::Unprocessable,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
    ];

    /// Its number in HTTP.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Ok => 200,
            Self::Created => 201,
            Self::SeeOther => 303,
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::Conflict => 409,
            Self::PayloadTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Unprocessable => 422,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// Reads a number back. One that we never write is a bug of ours.
    #[must_use]
    pub fn of(number: u16) -> Self {
        Self::ALL.into_iter().find(|status| status.number() == number).unwrap_or(Self::Internal)
    }

    /// Whether there is an answer to what was asked.
    #[must_use]
    pub const fn is_answer(self) -> bool {
        matches!(self, Self::Ok | Self::Created | Self::SeeOther)
    }

    /// After this asking again makes sense, if the status alone says that.
    #[must_use]
    pub const fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Unavailable => Some(MOMENT),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_read_back() {
        for status in Status::ALL {
            assert_eq!(Status::of(status.number()), status);
        }
        assert_eq!((Status::of(0), Status::of(418)), (Status::Internal, Status::Internal));
    }
}
