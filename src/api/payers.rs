//! What is asked of whoever pays an invoice. Anybody may read it who knows the invoice's name, and pays without a key.
//!
//! On Solana that name stands in the memo of the transaction, for everybody to read. So none of this is worth anything to a stranger: a
//! receipt is told by its name and never in its signed form, which a resource server takes for the payer's word that it has paid.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use super::invoices::{due_by_each_option, is_payable, page_of};
use super::page::PAGE;
use super::problem::Problem;
use crate::domain::amount::Amount;
use crate::domain::ids::{InvoiceId, ReceiptId};
use crate::domain::invoice::{self, PaymentOption};
use crate::domain::network::Network;
use crate::domain::receipt::{Finality, Statement};
use crate::domain::schema::{Decimal, Transaction};
use crate::flow::Flows;
use crate::ledger::invoices::Invoice;
use crate::x402::links::Offer;

/// An invoice as its payer needs it.
#[derive(Debug)]
pub struct Asked {
    /// The invoice.
    pub invoice: Invoice,
    /// Who is paid: what the operator calls the account.
    pub merchant: String,
    /// Whether there is something to pay, and time for it.
    pub is_payable: bool,
    /// The ways of paying, each with what is due by it.
    pub options: Vec<PaymentOption>,
    /// What its receipts say now, oldest first.
    pub receipts: Vec<Statement>,
    /// Where it is shown to a person.
    pub page: String,
}

/// Where an invoice stands, for whoever pays it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "InvoiceStanding")]
pub struct StandingView {
    #[schemars(with = "InvoiceId")]
    id: String,
    #[schemars(with = "invoice::Status")]
    status: &'static str,
    /// Whether there is something to pay, and time for it.
    payable: bool,
    /// What is owed.
    #[schemars(with = "Decimal")]
    amount: String,
    /// The symbol of the token.
    #[schemars(example = &"USDC")]
    asset: String,
    /// What has come in time and stands deep enough.
    #[schemars(with = "Decimal")]
    amount_paid: String,
    /// What has come in time and does not stand so deep yet.
    #[schemars(with = "Decimal")]
    amount_pending: String,
    /// What is still to be sent.
    #[schemars(with = "Decimal")]
    amount_due: String,
    expires_at: DateTime<Utc>,
    /// The end of the time in which a transfer pays.
    closes_at: DateTime<Utc>,
    /// What its receipts say now, oldest first.
    receipts: Vec<NamedReceipt>,
}

/// A receipt without its signed form.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct NamedReceipt {
    #[schemars(with = "ReceiptId")]
    id: String,
    revision: u32,
    #[schemars(with = "Finality")]
    finality: &'static str,
    #[schemars(with = "Network")]
    network: String,
    #[schemars(with = "Transaction")]
    transaction: String,
    #[schemars(with = "Amount")]
    amount: String,
}

impl From<&Statement> for NamedReceipt {
    fn from(statement: &Statement) -> Self {
        Self {
            id: statement.receipt.to_string(),
            revision: statement.revision,
            finality: statement.finality.as_str(),
            network: statement.network.to_string(),
            transaction: statement.transaction.clone(),
            amount: statement.amount.to_string(),
        }
    }
}

impl Asked {
    /// Finds what is asked by the name of an invoice.
    ///
    /// # Errors
    /// There is no such invoice, or the database could not be reached.
    pub async fn find(flows: &Flows, id: &str) -> Result<Self, Problem> {
        let id: InvoiceId = id.parse().map_err(|_| Problem::NotFound)?;
        let invoice = flows.ledger.find_invoice(id).await?.ok_or(Problem::NotFound)?;
        let merchant = flows.ledger.account_name(invoice.account).await?.unwrap_or_default();
        let receipts = flows.ledger.receipts_of_invoice(id, PAGE).await?;
        Ok(Self {
            merchant,
            is_payable: is_payable(flows, &invoice),
            options: due_by_each_option(&invoice),
            receipts: receipts.into_iter().map(|revision| revision.statement).collect(),
            page: page_of(flows, id),
            invoice,
        })
    }

    /// What a wallet is told of one of the options.
    #[must_use]
    pub fn offer<'a>(&'a self, option: &'a PaymentOption) -> Offer<'a> {
        let Invoice { id, symbol, description, .. } = &self.invoice;
        Offer { invoice: *id, option, symbol, label: Some(&self.merchant), message: description.as_deref() }
    }

    /// An amount in the unit of the invoice, as people read it.
    #[must_use]
    pub fn human(&self, amount: Amount) -> String {
        amount.to_decimal(self.invoice.decimals)
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> StandingView {
        let Invoice { terms, told, .. } = &self.invoice;
        StandingView {
            id: self.invoice.id.to_string(),
            status: told.status.as_str(),
            payable: self.is_payable,
            amount: self.human(terms.amount),
            asset: self.invoice.symbol.clone(),
            amount_paid: self.human(told.paid),
            amount_pending: self.human(told.pending),
            amount_due: self.human(told.due),
            expires_at: self.invoice.expires_at,
            closes_at: terms.closes_at,
            receipts: self.receipts.iter().map(NamedReceipt::from).collect(),
        }
    }
}
