//! What stood in the way of an answer, in a word.

use super::status::Status;

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

            /// How a request ends that has it.
            #[must_use]
            pub const fn status(self) -> Status {
                match self {
                    $(Self::$name => Status::$status,)*
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
    BadParameter = BadRequest "bad_parameter",
    /// The body is not one JSON object, has a member that the path does not know, or one of another type.
    BadBody = BadRequest "bad_body",
    /// The connection ended in the middle of the body.
    IncompleteBody = BadRequest "incomplete_body",
    /// The `Idempotency-Key` does not have 16 to 128 visible characters.
    InvalidIdempotencyKey = BadRequest "invalid_idempotency_key",
    /// There is no API key where one is needed, or it is worth nothing.
    Unauthorized = Unauthorized "unauthorized",
    /// The API key is not good for this.
    Forbidden = Forbidden "forbidden",
    /// There is no such thing, or it is not the caller's.
    NotFound = NotFound "not_found",
    /// The path does not take this method.
    MethodNotAllowed = MethodNotAllowed "method_not_allowed",
    /// The body did not arrive in time.
    BodyTooSlow = RequestTimeout "body_too_slow",
    /// The same `Idempotency-Key` was used for another request.
    IdempotencyKeyReused = Conflict "idempotency_key_reused",
    /// The account has the address already, by the owner's signature.
    AddressKnown = Conflict "address_known",
    /// An invoice can be paid at the address, and is neither paid, called off nor over.
    AddressAwaited = Conflict "address_awaited",
    /// The merchant has called the invoice off.
    InvoiceCanceled = Conflict "invoice_canceled",
    /// Something has been paid for the invoice, so it cannot be called off.
    InvoiceBegun = Conflict "invoice_begun",
    /// A payment for the invoice is under way, so it cannot be called off now.
    PaymentUnderWay = Conflict "payment_under_way",
    /// The transfer pays something already, or its block is gone.
    TransferNotFree = Conflict "transfer_not_free",
    /// The receipt was redeemed before, under another nonce or without one.
    ReceiptRedeemed = Conflict "receipt_redeemed",
    /// The network has undone the transfer.
    ReceiptRevoked = Conflict "receipt_revoked",
    /// This service has no keys for receipts.
    ReceiptsNotSigned = Conflict "receipts_not_signed",
    /// The account has as many webhooks as it may have.
    TooManyWebhooks = Conflict "too_many_webhooks",
    /// The webhook is told nothing, because its receiver answered 410.
    WebhookDisabled = Conflict "webhook_disabled",
    /// The body exceeds what the operator allows.
    BodyTooLarge = PayloadTooLarge "body_too_large",
    /// The body is not `application/json` in UTF-8, does not say that it is, or is compressed.
    UnsupportedMediaType = UnsupportedMediaType "unsupported_media_type",
    /// Whoever it is asks too often; `Retry-After` says when to ask again.
    RateLimited = TooManyRequests "rate_limited",
    /// Not a CAIP-2 identifier, or a network that is not offered here.
    UnknownNetwork = Unprocessable "unknown_network",
    /// Not an address of that network.
    InvalidAddress = Unprocessable "invalid_address",
    /// Money sent to the address reaches nobody.
    AddressNotPayable = Unprocessable "address_not_payable",
    /// Another account has proven the address.
    AddressTaken = Unprocessable "address_taken",
    /// The challenge is too old.
    ChallengeExpired = Unprocessable "challenge_expired",
    /// There is no address in the list, or there are too many.
    InvalidAddressList = Unprocessable "invalid_address_list",
    /// `signedBy` is not an active address of the account on this network that was proven by its own signature.
    InvalidSignatory = Unprocessable "invalid_signatory",
    /// Not a signature of that address over exactly the text of the challenge.
    InvalidSignature = Unprocessable "invalid_signature",
    /// The settings cannot be.
    InvalidSettings = Unprocessable "invalid_settings",
    /// The configuration cannot be, or cannot be taken while the service runs; `detail` has a line for each reason.
    InvalidConfiguration = Unprocessable "invalid_configuration",
    /// The order of an invoice cannot be.
    InvalidInvoice = Unprocessable "invalid_invoice",
    /// The account has no address, or none that is free, where the invoice is to be paid.
    NoAddress = Unprocessable "no_address",
    /// The invoice cannot be paid with this transfer.
    TransferDoesNotFit = Unprocessable "transfer_does_not_fit",
    /// Nothing can be sent to this URL.
    InvalidWebhookUrl = Unprocessable "invalid_webhook_url",
    /// There is no such type of events.
    UnknownEvent = Unprocessable "unknown_event",
    /// A bug of ours.
    Internal = Internal "internal",
    /// Something that the service depends on did not answer.
    Unavailable = Unavailable "unavailable",
    /// Too many streams of events are open.
    TooManyStreams = Unavailable "too_many_streams",
    /// Too many exports are being written.
    TooManyExports = Unavailable "too_many_exports",
    /// Too many bodies are arriving.
    TooManyBodies = Unavailable "too_many_bodies",
    /// Too many calls over gRPC are under way.
    TooManyCalls = Unavailable "too_many_calls",
}

impl Code {
    /// The kind of problem, for people.
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
            Self::TooManyStreams | Self::TooManyExports | Self::TooManyBodies | Self::TooManyCalls => "Busy",
            Self::RateLimited => "Too many requests",
            Self::Unavailable => "Unavailable",
            Self::Internal => "Internal error",
            code => title_of(code.status()),
        }
    }
}

/// What is well-formed and cannot be done, by whether it could be done at another time.
pub(super) fn title_of(status: Status) -> &'static str {
    if status == Status::Conflict { "Not possible now" } else { "Not possible" }
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
            assert!(!code.status().is_answer(), "{code:?}");
        }
    }
}
