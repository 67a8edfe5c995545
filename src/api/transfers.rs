//! What arrived at a merchant's addresses, as it is shown.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::page::{PAGE, cursor, next_cursor, page_size};
use super::problem::Problem;
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::ids::{AccountId, InvoiceId, PaymentId, TransferId};
use crate::domain::matching::Basis;
use crate::domain::network::Network;
use crate::domain::schema::{self, Transaction};
use crate::flow::Flows;
use crate::ledger::transfers::{OwnTransfer, TransferFilter};

/// A transfer as its recipient reads it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Transfer")]
pub struct TransferView {
    #[schemars(with = "TransferId")]
    pub(crate) id: String,
    #[schemars(with = "Network")]
    pub(crate) network: String,
    #[schemars(with = "Transaction")]
    pub(crate) transaction: String,
    /// Its place among the movements of its block or transaction.
    pub(crate) index: u32,
    pub(crate) block_number: u64,
    #[schemars(with = "schema::Block")]
    pub(crate) block_hash: String,
    pub(crate) happened_at: DateTime<Utc>,
    #[schemars(with = "Address")]
    pub(crate) asset: String,
    #[schemars(with = "Address")]
    pub(crate) from: String,
    #[schemars(with = "Address")]
    pub(crate) to: String,
    #[schemars(with = "Amount")]
    pub(crate) amount: String,
    /// Whether it pays something.
    pub(crate) matched: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<InvoiceId>")]
    pub(crate) invoice: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Basis>")]
    pub(crate) basis: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PaymentId>")]
    pub(crate) payment: Option<String>,
    /// What it carries that may say what it is for: nonces, references, memos.
    pub(crate) marks: Vec<String>,
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

/// Which transfers are listed.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only those that pay something, or only those that do not.
    pub(crate) matched: Option<bool>,
    /// Only those that pay this invoice.
    #[schemars(with = "Option<InvoiceId>")]
    pub(crate) invoice: Option<String>,
    /// How many at most.
    #[schemars(range(min = 1, max = PAGE))]
    pub(crate) limit: Option<u32>,
    /// `nextCursor` of the page before.
    pub(crate) cursor: Option<String>,
}

/// A page of transfers.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "TransferPage")]
pub struct Page {
    pub(crate) transfers: Vec<TransferView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// Lists what arrived at an account's addresses, newest first.
///
/// # Errors
/// A parameter is none.
pub async fn list(flows: &Flows, account: AccountId, query: ListQuery) -> Result<Page, Problem> {
    let invoice = query.invoice.as_deref().map(str::parse).transpose();
    let filter = TransferFilter {
        matched: query.matched,
        invoice: invoice.map_err(|_| Problem::BadParameter("invoice: not an identifier of one".to_owned()))?,
        after: cursor(&account, query.cursor.as_deref())?,
        limit: page_size(query.limit)?,
    };
    let found = flows.ledger.list_transfers(account, &filter).await?;
    let next_cursor = next_cursor(&account, &found, filter.limit, |transfer| transfer.id);
    Ok(Page { transfers: found.into_iter().map(TransferView::from).collect(), next_cursor })
}
