//! What an event says beside what it is about.

use schemars::JsonSchema;
use serde::Serialize;

use super::receipt::ReceiptLine;
use crate::domain::block::Block;
use crate::domain::ids::{EventId, InvoiceId, PaymentId};
use crate::domain::invoice::Status;
use crate::domain::reason::{Reason, Refusal};
use crate::domain::schema::{self, Decimal, Transaction};

/// The transfer of a payment stands in a canonical block.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Landed {
    /// The transaction that pays.
    #[schemars(with = "Transaction")]
    pub transaction: String,
    /// The height of its block.
    pub block_number: u64,
    /// Its block.
    #[schemars(with = "schema::Block")]
    pub block_hash: String,
}

/// The transfer of a payment can no longer be undone; nothing more is to be said.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub struct Finalized {}

/// The transfer of a payment whose success was handed out is gone with its block.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Undone {
    /// The transaction that paid.
    #[schemars(with = "Transaction")]
    pub transaction: String,
}

/// A payment will not be made.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Failed {
    /// Why.
    #[schemars(with = "Reason")]
    pub reason: &'static str,
    /// The same in words, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Where an invoice stands now, in the words of its own answer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InvoiceStands {
    /// Its status.
    #[schemars(with = "Status")]
    pub status: &'static str,
    /// What is owed.
    #[schemars(with = "Decimal")]
    pub amount: String,
    /// What has come and stands deep enough.
    #[schemars(with = "Decimal")]
    pub amount_paid: String,
    /// What has come and does not stand deep enough yet.
    #[schemars(with = "Decimal")]
    pub amount_pending: String,
    /// What is still to be sent.
    #[schemars(with = "Decimal")]
    pub amount_due: String,
    /// What was paid beyond what is owed.
    #[schemars(with = "Decimal")]
    pub amount_surplus: String,
    /// What came too late to pay anything.
    #[schemars(with = "Decimal")]
    pub amount_late: String,
}

impl Landed {
    /// Says that a transaction stands in a block.
    #[must_use]
    pub fn new(transaction: &str, block: &Block) -> Self {
        Self { transaction: transaction.to_owned(), block_number: block.number, block_hash: block.hash.clone() }
    }
}

impl From<Reason> for Failed {
    fn from(reason: Reason) -> Self {
        Self { reason: reason.code(), detail: None }
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self { detail: refusal.detail, ..Self::from(refusal.reason) }
    }
}

/// What is told of an event, as [`super::outbox`] puts it together from what is stored: its particulars, what it is about, and receipts.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "{T}")]
pub struct Told<T> {
    /// The name of the event.
    #[schemars(with = "EventId")]
    pub event: String,
    /// The payment that it is about.
    #[schemars(with = "Option<PaymentId>")]
    pub payment: Option<String>,
    /// The invoice that it is about.
    #[schemars(with = "Option<InvoiceId>")]
    pub invoice: Option<String>,
    /// The newest receipts for what it is about.
    pub receipts: Option<Vec<ReceiptLine>>,
    /// What else it says.
    #[schemars(flatten)]
    pub particulars: T,
}
