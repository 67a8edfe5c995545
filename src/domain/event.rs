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
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::PaymentIncluded,
        Self::PaymentFinalized,
        Self::PaymentReversed,
        Self::PaymentRecovered,
        Self::PaymentFailed,
        Self::Invoice(Change::Seen),
        Self::Invoice(Change::Underpaid),
        Self::Invoice(Change::Paid),
        Self::Invoice(Change::Finalized),
        Self::Invoice(Change::Expired),
        Self::Invoice(Change::Canceled),
        Self::Invoice(Change::Reopened),
        Self::Invoice(Change::Overpaid),
        Self::Invoice(Change::PaidLate),
    ];

    /// Reads the word back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

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

/// Whether somebody who wants these types of events wants one of this type. Whoever names none wants them all, also those that do not
/// exist yet.
#[must_use]
pub fn is_wanted(wanted: &[String], kind: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| wanted == kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new kind does not compile here before it has its place in the list.
    fn place(kind: EventKind) -> usize {
        match kind {
            EventKind::PaymentIncluded => 0,
            EventKind::PaymentFinalized => 1,
            EventKind::PaymentReversed => 2,
            EventKind::PaymentRecovered => 3,
            EventKind::PaymentFailed => 4,
            EventKind::Invoice(Change::Seen) => 5,
            EventKind::Invoice(Change::Underpaid) => 6,
            EventKind::Invoice(Change::Paid) => 7,
            EventKind::Invoice(Change::Finalized) => 8,
            EventKind::Invoice(Change::Expired) => 9,
            EventKind::Invoice(Change::Canceled) => 10,
            EventKind::Invoice(Change::Reopened) => 11,
            EventKind::Invoice(Change::Overpaid) => 12,
            EventKind::Invoice(Change::PaidLate) => 13,
        }
    }

    #[test]
    fn every_kind_is_listed_and_read_back() {
        for (index, kind) in EventKind::ALL.into_iter().enumerate() {
            assert_eq!((place(kind), EventKind::parse(kind.as_str())), (index, Some(kind)));
        }
        assert_eq!(EventKind::parse("invoice.lost"), None);
    }

    #[test]
    fn whoever_names_no_type_wants_them_all() {
        let some = ["invoice.paid".to_owned(), "payment.failed".to_owned()];

        assert!(is_wanted(&[], "invoice.paid") && is_wanted(&[], "something.new"));
        assert!(is_wanted(&some, "payment.failed"));
        assert!(!is_wanted(&some, "invoice.paid_late"));
    }
}
