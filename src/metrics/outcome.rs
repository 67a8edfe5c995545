//! The values that labels can have. Every one of them is known before the first request comes.

use crate::domain::invoice::Change;
use crate::domain::reason::Reason;
use crate::keys::KeyError;

/// The label of a reason where there is none.
pub(super) const NO_REASON: &str = "none";

/// How a verification ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// The payment can be settled.
    Valid,
    /// It cannot.
    Invalid(Reason),
    /// The chain could not be read.
    Unavailable,
}

/// How a settle request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// With success.
    Success,
    /// With a failure.
    Refused(Reason),
    /// With "not known yet".
    Pending,
    /// Success was or will be somebody else's.
    Duplicate,
    /// Something was out of reach before anything was sent.
    Unavailable,
}

impl Verification {
    pub(super) const fn labels(self) -> [&'static str; 2] {
        match self {
            Self::Valid => ["valid", NO_REASON],
            Self::Invalid(reason) => ["invalid", reason.code()],
            Self::Unavailable => ["unavailable", NO_REASON],
        }
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        [Self::Valid, Self::Unavailable].into_iter().chain(Reason::ALL.iter().copied().map(Self::Invalid))
    }
}

impl Settlement {
    pub(super) const fn labels(self) -> [&'static str; 2] {
        match self {
            Self::Success => ["success", NO_REASON],
            Self::Refused(reason) => ["refused", reason.code()],
            Self::Pending => ["pending", NO_REASON],
            Self::Duplicate => ["duplicate", NO_REASON],
            Self::Unavailable => ["unavailable", NO_REASON],
        }
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        let without_reason = [Self::Success, Self::Pending, Self::Duplicate, Self::Unavailable];
        without_reason.into_iter().chain(Reason::ALL.iter().copied().map(Self::Refused))
    }
}

macro_rules! label {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$value_doc])* $value,)*
        }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$value,)*];

            pub(super) const fn label(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)*
                }
            }
        }
    };
}

label! {
    /// Why a transaction is handed to a node.
    SubmissionKind {
        /// The first of its slot.
        New = "new",
        /// The same bytes again.
        Resend = "resend",
        /// The same slot with a higher fee.
        Outbid = "outbid",
        /// An empty transaction that frees the slot.
        Cancel = "cancel",
    }
}

label! {
    /// What a node said about a transaction.
    Broadcast {
        /// It took it.
        Accepted = "accepted",
        /// It had it already.
        Known = "known",
        /// It will not take it.
        Rejected = "rejected",
        /// Nothing that could be understood, or nothing at all.
        Unknown = "unknown",
    }
}

label! {
    /// What became of a new configuration.
    Reload {
        /// It is that of the service now.
        Taken = "taken",
        /// Something is wrong with it, and nothing has changed.
        Refused = "refused",
    }
}

label! {
    /// Why a signer did not sign.
    SignerFailure {
        /// It was not heard.
        Unanswered = "unanswered",
        /// It said that something is wrong with it.
        OutOfOrder = "out_of_order",
        /// It said no.
        Refused = "refused",
        /// It said something else than a signature.
        Unreadable = "unreadable",
        /// It signed with another key, or something else.
        OtherKey = "other_key",
        /// Nothing shows it who asks.
        Credentials = "credentials",
        /// Its key is not where it was looked for.
        NoKey = "no_key",
    }
}

impl From<&KeyError> for SignerFailure {
    fn from(error: &KeyError) -> Self {
        match error {
            KeyError::Unanswered(_) | KeyError::TooLate => Self::Unanswered,
            KeyError::OutOfOrder(_) => Self::OutOfOrder,
            KeyError::Refused { .. } => Self::Refused,
            KeyError::Unreadable => Self::Unreadable,
            KeyError::OtherKey(_) => Self::OtherKey,
            KeyError::Credentials(_) | KeyError::Token(_) => Self::Credentials,
            KeyError::Malformed
            | KeyError::NotAKeypair
            | KeyError::NotOnCurve
            | KeyError::Signing(_)
            | KeyError::OtherAddress { .. }
            | KeyError::SameAccount(_)
            | KeyError::NoAddress
            | KeyError::NotHere => Self::NoKey,
        }
    }
}

label! {
    /// How a call to a node ended.
    RpcOutcome {
        /// With a result.
        Ok = "ok",
        /// With an error of the node.
        Error = "error",
        /// Without an answer.
        Unknown = "unknown",
    }
}

label! {
    /// Who sent the transaction that paid.
    PaidBy {
        /// One of our signers.
        Us = "us",
        /// Anybody else: authorizations of EIP-3009 may be sent by everyone.
        Stranger = "stranger",
    }
}

label! {
    /// How an attempt to deliver a webhook went.
    WebhookAttempt {
        /// The receiver has it.
        Delivered = "delivered",
        /// The receiver wants nothing any more.
        Gone = "gone",
        /// The receiver gave any other answer.
        Refused = "refused",
        /// It must not be reached.
        Forbidden = "forbidden",
        /// Its name stands for nothing.
        Dns = "dns",
        /// No connection was made.
        Connect = "connect",
        /// There was no TLS with the right name.
        Tls = "tls",
        /// The time was up.
        Timeout = "timeout",
        /// There was no answer for another reason.
        Other = "other",
    }
}

label! {
    /// Whose limit a request went over.
    LimitedBy {
        /// An API key's.
        Key = "key",
        /// A payer's, with one caller.
        Payer = "payer",
        /// An address's.
        Address = "address",
    }
}

label! {
    /// What a delivery that has not ended waits for.
    DeliveryState {
        /// Its time has come.
        Due = "due",
        /// It was tried, and is tried again later.
        Waiting = "waiting",
    }
}

label! {
    /// What became of what a paid resource says of itself.
    ListingOutcome {
        /// It was written into the catalogue.
        Listed = "listed",
        /// It stood there already.
        Known = "known",
        /// It was not as it should be, or its caller may not list.
        Rejected = "rejected",
        /// Its owner has as many as it may have.
        Full = "full",
        /// It could not be written; the next payment lists it.
        Lost = "lost",
    }
}

label! {
    /// Whether a transfer to a registered address pays something.
    TransferOutcome {
        /// A payment, an invoice, or both.
        Matched = "matched",
        /// Nothing, as far as anybody can tell.
        Unmatched = "unmatched",
    }
}

/// What can happen to an invoice.
pub(super) const CHANGES: [Change; 9] = [
    Change::Seen,
    Change::Underpaid,
    Change::Paid,
    Change::Finalized,
    Change::Expired,
    Change::Canceled,
    Change::Reopened,
    Change::Overpaid,
    Change::PaidLate,
];

/// What happened to an invoice, as a label: the second word of its event.
pub(super) const fn change(change: Change) -> &'static str {
    match change {
        Change::Seen => "seen",
        Change::Underpaid => "underpaid",
        Change::Paid => "paid",
        Change::Finalized => "finalized",
        Change::Expired => "expired",
        Change::Canceled => "canceled",
        Change::Reopened => "reopened",
        Change::Overpaid => "overpaid",
        Change::PaidLate => "paid_late",
    }
}

label! {
    /// What a connection of the pool is doing.
    ConnectionState {
        /// It is in use.
        Busy = "busy",
        /// It waits for use.
        Idle = "idle",
    }
}

label! {
    /// The class of an HTTP status.
    StatusClass {
        /// Provisional answers.
        Informational = "1xx",
        /// Answers, whether the payment is good or not.
        Success = "2xx",
        /// Redirections.
        Redirection = "3xx",
        /// Errors of the client.
        ClientError = "4xx",
        /// Errors of ours.
        ServerError = "5xx",
    }
}

impl StatusClass {
    /// The class of a status. What is no status counts as an error of ours.
    #[must_use]
    pub const fn of(status: u16) -> Self {
        match status {
            100..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            _ => Self::ServerError,
        }
    }
}

/// A method as a label: clients can send any word as one.
pub(super) fn method(method: &str) -> &'static str {
    ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"].into_iter().find(|known| *known == method).unwrap_or("other")
}
