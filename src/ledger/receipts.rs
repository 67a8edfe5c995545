//! Receipts and their revisions. They are read here; what writes them has a file for each occasion.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::BigDecimal;
use uuid::Uuid;

use super::{Column, Ledger, LedgerError, read_address, read_amount};
use crate::domain::ids::{AccountId, InvoiceId, PaymentId, ReceiptId};
use crate::domain::network::Network;
use crate::domain::receipt::{Finality, Purpose, Statement};

mod issuing;
mod redeeming;
mod unsigned;

pub use issuing::{finalize, issue, revoke_above};
pub use redeeming::{lock, redeem};

const TABLE: &str = "receipt_revisions";

/// A receipt as its newest revision left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Our name for it.
    pub id: ReceiptId,
    /// The number of its newest revision.
    pub revision: u32,
    /// What that one says.
    pub finality: Finality,
    /// The account that was paid, if the recipient has one.
    pub account: Option<AccountId>,
    /// The account that asked for the payment, if it was one.
    pub provider: Option<AccountId>,
    /// How it was redeemed, if it was.
    pub redeemed: Option<Redemption>,
}

impl Receipt {
    /// Whose it is: who was paid, or where nobody here was, who asked for the payment.
    #[must_use]
    pub fn owner(&self) -> Option<AccountId> {
        self.account.or(self.provider)
    }
}

/// The one redemption of a receipt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redemption {
    /// When.
    pub at: DateTime<Utc>,
    /// By which the redeemer recognises its own.
    pub nonce: Option<String>,
}

/// One revision, and its signature if it has one yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// What is signed.
    pub statement: Statement,
    /// The signed form.
    pub jws: Option<String>,
}

struct ReceiptRow {
    id: Uuid,
    revision: i32,
    finality: String,
    account_id: Option<Uuid>,
    provider_id: Option<Uuid>,
    redeemed_at: Option<DateTime<Utc>>,
    redeemed_nonce: Option<String>,
}

impl TryFrom<ReceiptRow> for Receipt {
    type Error = LedgerError;

    fn try_from(row: ReceiptRow) -> Result<Self, LedgerError> {
        let nonce = row.redeemed_nonce;
        Ok(Self {
            id: ReceiptId::from_uuid(row.id),
            revision: u32::try_from(row.revision).column("receipts", "revision")?,
            finality: Finality::parse(&row.finality).column("receipts", "finality")?,
            account: row.account_id.map(AccountId::from_uuid),
            provider: row.provider_id.map(AccountId::from_uuid),
            redeemed: row.redeemed_at.map(|at| Redemption { at, nonce }),
        })
    }
}

/// Selects receipts; the text behind it says which.
macro_rules! receipts {
    ($rest:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            ReceiptRow,
            r#"
            SELECT r.id AS "id!", r.revision AS "revision!", r.finality AS "finality!", r.account_id AS "account_id?",
                   p.provider_id AS "provider_id?", r.redeemed_at AS "redeemed_at?", r.redeemed_nonce AS "redeemed_nonce?"
            FROM receipts r LEFT JOIN payments p ON p.id = r.payment_id
            "# + $rest
            $(, $argument)*
        )
    };
}
use receipts;

struct RevisionRow {
    receipt_id: Uuid,
    number: i32,
    finality: String,
    network: String,
    asset: String,
    transaction: String,
    index: i32,
    block_hash: String,
    sender: String,
    recipient: String,
    amount: BigDecimal,
    payment_id: Option<Uuid>,
    invoice_id: Option<Uuid>,
    resource: Option<String>,
    account_id: Option<Uuid>,
    issued_at: DateTime<Utc>,
    jws: Option<String>,
}

impl TryFrom<RevisionRow> for Revision {
    type Error = LedgerError;

    fn try_from(row: RevisionRow) -> Result<Self, LedgerError> {
        let (payment, invoice) = (row.payment_id.map(PaymentId::from_uuid), row.invoice_id.map(InvoiceId::from_uuid));
        let statement = Statement {
            receipt: ReceiptId::from_uuid(row.receipt_id),
            revision: u32::try_from(row.number).column(TABLE, "number")?,
            finality: Finality::parse(&row.finality).column(TABLE, "finality")?,
            network: row.network.parse().column("receipts", "network")?,
            asset: read_address(&row.asset, "receipts", "asset")?,
            transaction: row.transaction,
            index: u32::try_from(row.index).column(TABLE, "index")?,
            block_hash: row.block_hash,
            payer: read_address(&row.sender, "receipts", "sender")?,
            pay_to: read_address(&row.recipient, "receipts", "recipient")?,
            amount: read_amount(&row.amount, "receipts")?,
            purpose: Purpose::of(payment, invoice, row.resource).column(TABLE, "payment_id")?,
            account: row.account_id.map(AccountId::from_uuid),
            issued_at: row.issued_at,
        };
        Ok(Self { statement, jws: row.jws })
    }
}

/// Selects revisions with everything that they state; the text behind it says which.
macro_rules! revisions {
    ($rest:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            RevisionRow,
            r#"
            SELECT v.receipt_id AS "receipt_id!", v.number AS "number!", v.finality AS "finality!", r.network AS "network!",
                   r.asset AS "asset!", v.transaction AS "transaction!", v.index AS "index!", v.block_hash AS "block_hash!",
                   r.sender AS "sender!", r.recipient AS "recipient!", r.amount AS "amount!", v.payment_id AS "payment_id?",
                   v.invoice_id AS "invoice_id?", p.resource AS "resource?", v.account_id AS "account_id?",
                   v.issued_at AS "issued_at!", v.jws AS "jws?"
            FROM receipt_revisions v JOIN receipts r ON r.id = v.receipt_id LEFT JOIN payments p ON p.id = v.payment_id
            "# + $rest
            $(, $argument)*
        )
    };
}
use revisions;

/// The newest revisions of the receipts for payments and invoices, oldest receipt first: of each invoice the newest `limit` receipts.
///
/// # Errors
/// The database could not be reached.
pub async fn newest_for(
    db: &mut PgConnection,
    payments: &[PaymentId],
    invoices: &[InvoiceId],
    limit: u32,
) -> Result<Vec<Revision>, LedgerError> {
    let payments: Vec<_> = payments.iter().map(|id| id.uuid()).collect();
    let invoices: Vec<_> = invoices.iter().map(|id| id.uuid()).collect();
    let rows = revisions!(
        r#"
        WHERE v.number = r.revision
          AND r.id IN (SELECT id FROM receipts WHERE payment_id = ANY ($1)
                       UNION
                       SELECT n.id FROM unnest($2::uuid[]) AS i (id)
                       CROSS JOIN LATERAL (SELECT o.id FROM receipts o WHERE o.invoice_id = i.id ORDER BY o.id DESC LIMIT $3) n)
        ORDER BY r.id
        "#,
        &payments,
        &invoices,
        i64::from(limit),
    );
    rows.fetch_all(db).await?.into_iter().map(Revision::try_from).collect()
}

impl Ledger {
    /// A receipt.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn find_receipt(&self, id: ReceiptId) -> Result<Option<Receipt>, LedgerError> {
        receipts!("WHERE r.id = $1", id.uuid()).fetch_optional(self.pool()).await?.map(Receipt::try_from).transpose()
    }

    /// The receipt of a payment, if it was ever paid.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn receipt_of_payment(&self, payment: PaymentId) -> Result<Option<ReceiptId>, LedgerError> {
        let id = sqlx::query_scalar!("SELECT id FROM receipts WHERE payment_id = $1", payment.uuid());
        Ok(id.fetch_optional(self.pool()).await?.map(ReceiptId::from_uuid))
    }

    /// All revisions of a receipt, oldest first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn revisions_of(&self, id: ReceiptId) -> Result<Vec<Revision>, LedgerError> {
        let rows = revisions!("WHERE v.receipt_id = $1 ORDER BY v.number", id.uuid()).fetch_all(self.pool()).await?;
        rows.into_iter().map(Revision::try_from).collect()
    }

    /// What the receipts of payments say now, as far as they stand.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn statements_of(&self, payments: &[PaymentId]) -> Result<Vec<Statement>, LedgerError> {
        let ids: Vec<_> = payments.iter().map(|id| id.uuid()).collect();
        let rows = revisions!("WHERE r.payment_id = ANY ($1) AND v.number = r.revision AND r.finality <> 'revoked'", &ids);
        let rows = rows.fetch_all(self.pool()).await?;
        rows.into_iter().map(|row| Revision::try_from(row).map(|revision| revision.statement)).collect()
    }

    /// The newest revision of the receipt for the transfer at a place in a block, as far as it stands.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn receipt_of_transfer(&self, network: &Network, hash: &str, index: u32) -> Result<Option<Revision>, LedgerError> {
        let row = revisions!(
            r#"
            WHERE r.network = $1 AND r.block_hash = $2 AND r.index = $3 AND v.number = r.revision AND r.finality <> 'revoked'
            "#,
            network.as_str(),
            hash,
            i32::try_from(index).unwrap_or(i32::MAX),
        );
        row.fetch_optional(self.pool()).await?.map(Revision::try_from).transpose()
    }

    /// The newest revisions of the receipts for an invoice, oldest receipt first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn receipts_of_invoice(&self, invoice: InvoiceId, limit: u32) -> Result<Vec<Revision>, LedgerError> {
        let rows = revisions!(
            "WHERE r.invoice_id = $1 AND v.number = r.revision ORDER BY r.id LIMIT $2",
            invoice.uuid(),
            i64::from(limit),
        );
        rows.fetch_all(self.pool()).await?.into_iter().map(Revision::try_from).collect()
    }
}
