//! What an account is told about its payments.

/// Something that happened to a payment. Written in the transaction that made it true.
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
        }
    }
}
