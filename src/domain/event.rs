//! What an account is told.

use super::ids::{InvoiceId, PaymentId};
use super::invoice::Change;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A payment.
    Payment(PaymentId),
    /// An invoice.
    Invoice(InvoiceId),
}

impl Subject {
    /// The payment, if it is one.
    #[must_use]
    pub const fn payment(self) -> Option<PaymentId> {
        match self {
            Self::Payment(payment) => Some(payment),
            Self::Invoice(_) => None,
        }
    }

    /// The invoice, if it is one.
    #[must_use]
    pub const fn invoice(self) -> Option<InvoiceId> {
        match self {
            Self::Invoice(invoice) => Some(invoice),
            Self::Payment(_) => None,
        }
    }
}

/// Something that happened. Written in the transaction that made it true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// The transfer stands in a canonical block.
    PaymentIncluded,
    /// The transfer can no longer be undone.
    PaymentFinalized,
    /// Success had been handed out, and the block with the transfer was replaced.
    PaymentReversed,
    /// A failure had been answered, and the transfer landed after all.
    PaymentRecovered,
    /// The payment will not be sent; the reason is in the event.
    PaymentFailed,
    /// An invoice came to stand elsewhere.
    Invoice(Change),
}

impl EventKind {
    /// The word on the wire and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PaymentIncluded => "payment.included",
            Self::PaymentFinalized => "payment.finalized",
            Self::PaymentReversed => "payment.reversed",
            Self::PaymentRecovered => "payment.recovered",
            Self::PaymentFailed => "payment.failed",
            Self::Invoice(Change::Seen) => "invoice.seen",
            Self::Invoice(Change::Underpaid) => "invoice.underpaid",
            Self::Invoice(Change::Paid) => "invoice.paid",
            Self::Invoice(Change::Finalized) => "invoice.finalized",
            Self::Invoice(Change::Expired) => "invoice.expired",
            Self::Invoice(Change::Canceled) => "invoice.canceled",
            Self::Invoice(Change::Reopened) => "invoice.reopened",
            Self::Invoice(Change::Overpaid) => "invoice.overpaid",
            Self::Invoice(Change::PaidLate) => "invoice.paid_late",
        }
    }
}
