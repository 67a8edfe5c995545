//! Errors of our own endpoints: problem details in JSON (RFC 9457).

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use schemars::JsonSchema;
use serde::Serialize;

use super::body::BodyError;
use crate::domain::reason::Reason;
use crate::flow::limits::Limited;

/// The media type of problem documents.
pub const MEDIA_TYPE: &str = "application/problem+json";

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $status:ident $code:literal,)*) => {
        /// What stood in the way of an answer, as a word that programs know. Codes never change their meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $doc])* $name,)*
        }

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// The HTTP status of a problem document with it.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => StatusCode::$status,)*
                }
            }

            /// What it says, in a sentence for people who read about codes.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc,)*).trim_ascii(),)*
                }
            }
        }
    };
}

codes! {
    /// A query parameter is unknown or malformed.
    BadParameter = BAD_REQUEST "bad_parameter",
    /// The body is not one JSON object, has a member that the path does not know, or one of another type.
    BadBody = BAD_REQUEST "bad_body",
    /// The connection ended in the middle of the body.
    IncompleteBody = BAD_REQUEST "incomplete_body",
    /// The `Idempotency-Key` does not have 16 to 128 visible characters.
    InvalidIdempotencyKey = BAD_REQUEST "invalid_idempotency_key",
    /// There is no API key where one is needed, or it is worth nothing.
    Unauthorized = UNAUTHORIZED "unauthorized",
    /// The API key is not good for this.
    Forbidden = FORBIDDEN "forbidden",
    /// There is no such thing, or it is not the caller's.
    NotFound = NOT_FOUND "not_found",
    /// The path does not take this method.
    MethodNotAllowed = METHOD_NOT_ALLOWED "method_not_allowed",
    /// The body did not arrive in time.
    BodyTooSlow = REQUEST_TIMEOUT "body_too_slow",
    /// The same `Idempotency-Key` was used for another request.
    IdempotencyKeyReused = CONFLICT "idempotency_key_reused",
    /// The account has the address already, by the owner's signature.
    AddressKnown = CONFLICT "address_known",
    /// An invoice can be paid at the address, and is neither paid, called off nor over.
    AddressAwaited = CONFLICT "address_awaited",
    /// The merchant has called the invoice off.
    InvoiceCanceled = CONFLICT "invoice_canceled",
    /// Something has been paid for the invoice, so it cannot be called off.
    InvoiceBegun = CONFLICT "invoice_begun",
    /// A payment for the invoice is under way, so it cannot be called off now.
    PaymentUnderWay = CONFLICT "payment_under_way",
    /// The transfer pays something already, or its block is gone.
    TransferNotFree = CONFLICT "transfer_not_free",
    /// The receipt was redeemed before, under another nonce or without one.
    ReceiptRedeemed = CONFLICT "receipt_redeemed",
    /// The network has undone the transfer.
    ReceiptRevoked = CONFLICT "receipt_revoked",
    /// This service has no keys for receipts.
    ReceiptsNotSigned = CONFLICT "receipts_not_signed",
    /// The account has as many webhooks as it may have.
    TooManyWebhooks = CONFLICT "too_many_webhooks",
    /// The webhook is told nothing, because its receiver answered 410.
    WebhookDisabled = CONFLICT "webhook_disabled",
    /// The body exceeds what the operator allows.
    BodyTooLarge = PAYLOAD_TOO_LARGE "body_too_large",
    /// The body is not `application/json` in UTF-8, does not say that it is, or is compressed.
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE "unsupported_media_type",
    /// Whoever it is asks too often; `Retry-After` says when to ask again.
    RateLimited = TOO_MANY_REQUESTS "rate_limited",
    /// Not a CAIP-2 identifier, or a network that is not offered here.
    UnknownNetwork = UNPROCESSABLE_ENTITY "unknown_network",
    /// Not an address of that network.
    InvalidAddress = UNPROCESSABLE_ENTITY "invalid_address",
    /// Money sent to the address reaches nobody.
    AddressNotPayable = UNPROCESSABLE_ENTITY "address_not_payable",
    /// Another account has proven the address.
    AddressTaken = UNPROCESSABLE_ENTITY "address_taken",
    /// The challenge is too old.
    ChallengeExpired = UNPROCESSABLE_ENTITY "challenge_expired",
    /// There is no address in the list, or there are too many.
    InvalidAddressList = UNPROCESSABLE_ENTITY "invalid_address_list",
    /// `signedBy` is not an active address of the account on this network that was proven by its own signature.
    InvalidSignatory = UNPROCESSABLE_ENTITY "invalid_signatory",
    /// Not a signature of that address over exactly the text of the challenge.
    InvalidSignature = UNPROCESSABLE_ENTITY "invalid_signature",
    /// The settings cannot be.
    InvalidSettings = UNPROCESSABLE_ENTITY "invalid_settings",
    /// The order of an invoice cannot be.
    InvalidInvoice = UNPROCESSABLE_ENTITY "invalid_invoice",
    /// The account has no address, or none that is free, where the invoice is to be paid.
    NoAddress = UNPROCESSABLE_ENTITY "no_address",
    /// The invoice cannot be paid with this transfer.
    TransferDoesNotFit = UNPROCESSABLE_ENTITY "transfer_does_not_fit",
    /// Nothing can be sent to this URL.
    InvalidWebhookUrl = UNPROCESSABLE_ENTITY "invalid_webhook_url",
    /// There is no such type of events.
    UnknownEvent = UNPROCESSABLE_ENTITY "unknown_event",
    /// A bug of ours.
    Internal = INTERNAL_SERVER_ERROR "internal",
    /// Something that the service depends on did not answer.
    Unavailable = SERVICE_UNAVAILABLE "unavailable",
    /// Too many streams of events are open.
    TooManyStreams = SERVICE_UNAVAILABLE "too_many_streams",
    /// Too many exports are being written.
    TooManyExports = SERVICE_UNAVAILABLE "too_many_exports",
    /// Too many bodies are arriving.
    TooManyBodies = SERVICE_UNAVAILABLE "too_many_bodies",
}

impl Code {
    /// The title of a problem document with it.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::BadParameter => "Bad parameter",
            Self::BadBody | Self::IncompleteBody | Self::BodyTooSlow | Self::BodyTooLarge | Self::UnsupportedMediaType => {
                "Bad body"
            }
            Self::InvalidIdempotencyKey => "Bad Idempotency-Key",
            Self::IdempotencyKeyReused => "Idempotency-Key reused",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "Method not allowed",
            Self::TooManyStreams | Self::TooManyExports | Self::TooManyBodies => "Busy",
            Self::RateLimited => "Too many requests",
            Self::Unavailable => "Unavailable",
            Self::Internal => "Internal error",
            code => title_of(code.status()),
        }
    }
}

/// What is well-formed and cannot be done, by whether it could be done at another time.
fn title_of(status: StatusCode) -> &'static str {
    if status == StatusCode::CONFLICT { "Not possible now" } else { "Not possible" }
}

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

/// A problem document (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct Details {
    /// Always `about:blank`: the code says more.
    #[serde(rename = "type")]
    #[schemars(extend("const" = "about:blank"))]
    kind: &'static str,
    /// What programs look at. docs/ERRORS.md says of each code what to do.
    code: &'static str,
    /// The kind of problem, for people.
    title: &'static str,
    /// The HTTP status once more.
    status: u16,
    /// What exactly was wrong, for people.
    detail: String,
}

impl Details {
    /// A document about a problem with this code.
    #[must_use]
    pub fn of(code: Code, detail: String) -> Self {
        Self::new(code.as_str(), code.title(), code.status(), detail)
    }

    /// A document about a transfer that was presented in vain.
    #[must_use]
    pub fn of_transfer(reason: Reason, detail: String) -> Self {
        let status = transfer_status(reason);
        Self::new(reason.code(), title_of(status), status, detail)
    }

    fn new(code: &'static str, title: &'static str, status: StatusCode, detail: String) -> Self {
        Self { kind: "about:blank", code, title, status: status.as_u16(), detail }
    }
}

/// The status with which a payer is told that its transfer pays nothing.
#[must_use]
pub const fn transfer_status(reason: Reason) -> StatusCode {
    match reason {
        Reason::DuplicateSettlement | Reason::SettlementPending => StatusCode::CONFLICT,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
}

/// Seconds after which asking again makes sense.
pub const RETRY_AFTER_SECONDS: &str = "1";

impl Problem {
    fn details(&self) -> Details {
        let code = match self {
            Self::NotFound => Code::NotFound,
            Self::MethodNotAllowed => Code::MethodNotAllowed,
            Self::Unauthorized => Code::Unauthorized,
            Self::Forbidden => Code::Forbidden,
            Self::BadParameter(_) => Code::BadParameter,
            Self::BadBody(_) => Code::BadBody,
            Self::Body(error) => error.kind(),
            Self::IdempotencyKey => Code::InvalidIdempotencyKey,
            Self::KeyReused => Code::IdempotencyKeyReused,
            Self::Refused(code, _) => *code,
            Self::Transfer(reason, _) => return Details::of_transfer(*reason, self.to_string()),
            Self::Limited(_) => Code::RateLimited,
            Self::Unavailable => Code::Unavailable,
            Self::Internal => Code::Internal,
        };
        Details::of(code, self.to_string())
    }

    /// A network that is none, or is not offered here.
    #[must_use]
    pub fn unknown_network() -> Self {
        Self::Refused(Code::UnknownNetwork, "network: not a CAIP-2 identifier".to_owned())
    }

    /// The answer.
    #[must_use]
    pub fn response(&self) -> HttpResponse {
        let details = self.details();
        let status = StatusCode::from_u16(details.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = HttpResponse::build(status);
        if let Self::Limited(limited) = self {
            response.insert_header((RETRY_AFTER, limited.seconds()));
        }
        match status {
            StatusCode::SERVICE_UNAVAILABLE => drop(response.insert_header((RETRY_AFTER, RETRY_AFTER_SECONDS))),
            StatusCode::UNAUTHORIZED => drop(response.insert_header((WWW_AUTHENTICATE, "Bearer"))),
            _ => {}
        }
        response.content_type(MEDIA_TYPE).json(details)
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

/// The answer to a method that a path does not take.
pub fn method_not_allowed() -> HttpResponse {
    Problem::MethodNotAllowed.response()
}

/// The answer to a path that does not exist.
pub fn not_found() -> HttpResponse {
    Problem::NotFound.response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_md_says_of_every_code_what_to_do() {
        let page = include_str!("../../docs/ERRORS.md");
        let missing: Vec<_> = Code::ALL.iter().filter(|code| !page.contains(&format!("| `{}` |", code.as_str()))).collect();

        assert!(missing.is_empty(), "docs/ERRORS.md lacks {missing:?}");
    }

    #[test]
    fn a_code_is_a_word_of_its_own() {
        for (index, code) in Code::ALL.iter().enumerate() {
            assert!(Code::ALL[..index].iter().all(|other| other.as_str() != code.as_str()), "{code:?}");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
        }
    }
}
