//! What arrived at a merchant's addresses, as it is shown.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::ledger::transfers::OwnTransfer;

/// A transfer as its recipient reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TransferView {
    id: String,
    network: String,
    transaction: String,
    index: u32,
    block_number: u64,
    block_hash: String,
    happened_at: DateTime<Utc>,
    asset: String,
    from: String,
    to: String,
    amount: String,
    matched: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoice: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<String>,
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
