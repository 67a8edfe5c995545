//! What arrived at a merchant's addresses, as it is shown.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::ids::{InvoiceId, PaymentId, TransferId};
use crate::domain::matching::Basis;
use crate::domain::network::Network;
use crate::domain::schema::{self, Transaction};
use crate::ledger::transfers::OwnTransfer;

/// A transfer as its recipient reads it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Transfer")]
pub struct TransferView {
    #[schemars(with = "TransferId")]
    id: String,
    #[schemars(with = "Network")]
    network: String,
    #[schemars(with = "Transaction")]
    transaction: String,
    /// Its place among the movements of its block or transaction.
    index: u32,
    block_number: u64,
    #[schemars(with = "schema::Block")]
    block_hash: String,
    happened_at: DateTime<Utc>,
    #[schemars(with = "Address")]
    asset: String,
    #[schemars(with = "Address")]
    from: String,
    #[schemars(with = "Address")]
    to: String,
    #[schemars(with = "Amount")]
    amount: String,
    /// Whether it pays something.
    matched: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<InvoiceId>")]
    invoice: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Basis>")]
    basis: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PaymentId>")]
    payment: Option<String>,
    /// What it carries that may say what it is for: nonces, references, memos.
    marks: Vec<String>,
}

impl From<OwnTransfer> for TransferView {
    fn from(own: OwnTransfer) -> Self {
        let OwnTransfer { block, transfer, .. } = own;
        Self {
            id: own.id.to_string(),
            network: own.network.to_string(),
            transaction: transfer.transaction,
            index: transfer.index,
            block_number: block.number,
            block_hash: block.hash,
            happened_at: block.timestamp,
            asset: transfer.asset.to_string(),
            from: transfer.from.to_string(),
            to: transfer.to.to_string(),
            amount: transfer.amount.unwrap_or_default().to_string(),
            matched: own.is_claimed,
            invoice: own.invoice.map(|(invoice, _)| invoice.to_string()),
            basis: own.invoice.map(|(_, basis)| basis.as_str()),
            payment: own.payment.map(|payment| payment.to_string()),
            marks: own.marks,
        }
    }
}
