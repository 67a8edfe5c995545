//! Invoices: what merchants expect. They are read here; what changes them has a file for each occasion.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::BigDecimal;
use uuid::Uuid;

use super::exports::Span;
use super::{Column, Ledger, LedgerError, from_decimal, read_address, read_amount};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::block::Level;
use crate::domain::ids::{AccountId, InvoiceId};
use crate::domain::invoice::{PaymentOption, Standing, Status, Terms};
use crate::domain::network::Network;

mod candidates;
mod creating;
mod presenting;
mod standings;
mod wishes;

pub use candidates::{Candidates, begun, candidates, named_candidates};
pub use creating::{assign, cancel, insert};
pub use presenting::{Assignment, assignments, hand_out};
pub use standings::{LockedInvoice, Told, credits_of, ending_between, hold, lock, tell};
pub use wishes::wishes;

const TABLE: &str = "invoices";

/// An invoice as it was made, and what was told of it last.
#[derive(Debug, Clone, PartialEq)]
pub struct Invoice {
    /// Our name for it.
    pub id: InvoiceId,
    /// Who is to be paid.
    pub account: AccountId,
    /// What decides where it stands.
    pub terms: Terms,
    /// Decimal places of its unit.
    pub decimals: u8,
    /// What people call the token.
    pub symbol: String,
    /// Who is expected to pay, if the merchant knows.
    pub payer: Option<Address>,
    /// Whether its amount alone may name it.
    pub by_amount: bool,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
    /// When it was called off.
    pub canceled_at: Option<DateTime<Utc>>,
    /// What is bought, as a URL.
    pub resource: Option<String>,
    /// What is bought, for people.
    pub description: Option<String>,
    /// The merchant's own name for it.
    pub reference: Option<String>,
    /// What the merchant wants to find again.
    pub metadata: Value,
    /// How it can be paid.
    pub options: Vec<PaymentOption>,
    /// Where it stood when its owner was told last.
    pub told: Standing,
}

/// Which invoices of an account are wanted.
#[derive(Debug, Clone, Default)]
pub struct InvoiceFilter {
    /// Those that stand here.
    pub status: Option<Status>,
    /// Those with this name of the merchant's.
    pub reference: Option<String>,
    /// Those that can be paid at this address.
    pub address: Option<Address>,
    /// Those behind this one.
    pub after: Option<InvoiceId>,
    /// So many at most.
    pub limit: u32,
}

struct InvoiceRow {
    id: Uuid,
    account_id: Uuid,
    amount: BigDecimal,
    tolerance: BigDecimal,
    decimals: i16,
    symbol: String,
    payer: Option<String>,
    by_amount: bool,
    answer_at: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    closes_at: DateTime<Utc>,
    canceled_at: Option<DateTime<Utc>>,
    resource: Option<String>,
    description: Option<String>,
    merchant_reference: Option<String>,
    metadata: Value,
    told_status: String,
    told_paid: BigDecimal,
    told_pending: BigDecimal,
    told_due: BigDecimal,
    told_surplus: BigDecimal,
    told_late: BigDecimal,
}

impl InvoiceRow {
    fn told(&self) -> Result<Standing, LedgerError> {
        Ok(Standing {
            status: Status::parse(&self.told_status).column(TABLE, "told_status")?,
            paid: amount(&self.told_paid, "told_paid")?,
            pending: amount(&self.told_pending, "told_pending")?,
            due: amount(&self.told_due, "told_due")?,
            surplus: amount(&self.told_surplus, "told_surplus")?,
            late: amount(&self.told_late, "told_late")?,
        })
    }

    fn terms(&self) -> Result<Terms, LedgerError> {
        Ok(Terms {
            amount: read_amount(&self.amount, TABLE)?,
            tolerance: amount(&self.tolerance, "tolerance")?,
            answer_at: Level::parse(&self.answer_at).column(TABLE, "answer_at")?,
            closes_at: self.closes_at,
            canceled: self.canceled_at.is_some(),
        })
    }

    fn with(self, options: Vec<PaymentOption>) -> Result<Invoice, LedgerError> {
        Ok(Invoice {
            id: InvoiceId::from_uuid(self.id),
            account: AccountId::from_uuid(self.account_id),
            terms: self.terms()?,
            told: self.told()?,
            decimals: decimals(self.decimals)?,
            symbol: self.symbol,
            payer: self.payer.map(|payer| read_address(&payer, TABLE, "payer")).transpose()?,
            by_amount: self.by_amount,
            created_at: self.created_at,
            expires_at: self.expires_at,
            canceled_at: self.canceled_at,
            resource: self.resource,
            description: self.description,
            reference: self.merchant_reference,
            metadata: self.metadata,
            options,
        })
    }
}

fn amount(value: &BigDecimal, column: &'static str) -> Result<Amount, LedgerError> {
    from_decimal(value).map(Amount::new).column(TABLE, column)
}

fn decimals(value: i16) -> Result<u8, LedgerError> {
    u8::try_from(value).column(TABLE, "decimals")
}

/// Selects invoices; the text behind it says which.
macro_rules! invoices {
    ($rest:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            InvoiceRow,
            r#"
            SELECT i.id, i.account_id, i.amount, i.tolerance, i.decimals, i.symbol, i.payer, i.by_amount, i.answer_at, i.created_at,
                   i.expires_at, i.closes_at, i.canceled_at, i.resource, i.description, i.merchant_reference, i.metadata,
                   i.told_status, i.told_paid, i.told_pending, i.told_due, i.told_surplus, i.told_late
            FROM invoices i
            "# + $rest
            $(, $argument)*
        )
    };
}
use invoices;

/// Whether an invoice can be paid with this token at this address: not if the address belongs to an account that the invoice is not of.
///
/// # Errors
/// The database could not be reached.
pub async fn takes(
    db: &mut PgConnection,
    invoice: InvoiceId,
    network: &Network,
    asset: Address,
    (pay_to, owner): (Address, Option<AccountId>),
) -> Result<bool, LedgerError> {
    let option = sqlx::query_scalar!(
        r#"
        SELECT 1 AS "one!" FROM invoice_options o JOIN invoices i ON i.id = o.invoice_id
        WHERE i.id = $1 AND o.network = $2 AND o.asset = $3 AND o.pay_to = $4 AND ($5::uuid IS NULL OR i.account_id = $5) LIMIT 1
        "#,
        invoice.uuid(),
        network.as_str(),
        asset.to_string(),
        pay_to.to_string(),
        owner.map(AccountId::uuid) as Option<Uuid>,
    );
    Ok(option.fetch_optional(db).await?.is_some())
}

/// Whether an invoice can be paid with this token, at whichever address.
///
/// # Errors
/// The database could not be reached.
pub async fn knows(db: &mut PgConnection, invoice: InvoiceId, network: &Network, asset: Address) -> Result<bool, LedgerError> {
    let option = sqlx::query_scalar!(
        r#"SELECT 1 AS "one!" FROM invoice_options WHERE invoice_id = $1 AND network = $2 AND asset = $3 LIMIT 1"#,
        invoice.uuid(),
        network.as_str(),
        asset.to_string(),
    );
    Ok(option.fetch_optional(db).await?.is_some())
}

impl Ledger {
    /// An invoice.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn find_invoice(&self, id: InvoiceId) -> Result<Option<Invoice>, LedgerError> {
        let row = invoices!("WHERE i.id = $1", id.uuid()).fetch_optional(self.pool()).await?;
        Ok(self.with_options(row.into_iter().collect()).await?.pop())
    }

    /// A page of an account's invoices, newest first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn list_invoices(&self, account: AccountId, filter: &InvoiceFilter) -> Result<Vec<Invoice>, LedgerError> {
        let rows = invoices!(
            r#"
            WHERE i.account_id = $1 AND ($2::text IS NULL OR i.told_status = $2)
              AND ($3::text IS NULL OR i.merchant_reference = $3)
              AND ($4::text IS NULL OR EXISTS (SELECT FROM invoice_options o WHERE o.invoice_id = i.id AND o.pay_to = $4))
              AND ($5::uuid IS NULL OR i.id < $5)
            ORDER BY i.id DESC LIMIT $6
            "#,
            account.uuid(),
            filter.status.map(Status::as_str),
            filter.reference,
            filter.address.map(|address| address.to_string()),
            filter.after.map(InvoiceId::uuid),
            i64::from(filter.limit),
        );
        self.with_options(rows.fetch_all(self.pool()).await?).await
    }

    /// A page of the invoices of a span behind a name, in the order of their names.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn export_invoices(&self, span: &Span, after: Uuid, limit: u32) -> Result<Vec<Invoice>, LedgerError> {
        let rows = invoices!(
            r#"
            WHERE ($1::uuid IS NULL OR i.account_id = $1) AND i.id > $2 AND i.id < $3
              AND ($4::timestamptz IS NULL OR i.created_at >= $4) AND ($5::timestamptz IS NULL OR i.created_at < $5)
            ORDER BY i.id LIMIT $6
            "#,
            span.account.map(AccountId::uuid),
            after,
            span.above(),
            span.from,
            span.until,
            i64::from(limit),
        );
        self.with_options(rows.fetch_all(self.pool()).await?).await
    }

    /// Invoices whose time is over and whose owners do not know it yet, those that have waited longest first. As long as a network
    /// was not read to the end of an invoice's time, what paid it may stand there, and a payment that is under way was in time;
    /// `patience` is for networks that are read no more.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn invoices_to_close(
        &self,
        now: DateTime<Utc>,
        patience: TimeDelta,
        limit: u32,
    ) -> Result<Vec<InvoiceId>, LedgerError> {
        let ids = sqlx::query_scalar!(
            r#"
            SELECT i.id FROM invoices i
            WHERE i.told_status = 'open' AND i.closes_at < $1
              AND (i.closes_at < $2
                   OR NOT EXISTS (
                       SELECT FROM invoice_options o LEFT JOIN networks n ON n.network = o.network
                            LEFT JOIN blocks b ON b.network = n.network AND b.hash = n.cursor_hash
                       WHERE o.invoice_id = i.id AND (b.timestamp IS NULL OR b.timestamp <= i.closes_at))
                   AND NOT EXISTS (
                       SELECT FROM payments p
                       WHERE p.invoice_id = i.id AND p.given_up_at IS NULL AND (p.submission_id IS NOT NULL OR p.expires_at > $1)
                         AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = p.id)))
            ORDER BY i.closes_at LIMIT $3
            "#,
            now,
            now - patience,
            i64::from(limit),
        );
        Ok(ids.fetch_all(self.pool()).await?.into_iter().map(InvoiceId::from_uuid).collect())
    }

    async fn with_options(&self, rows: Vec<InvoiceRow>) -> Result<Vec<Invoice>, LedgerError> {
        let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        let options = sqlx::query!(
            r#"
            SELECT invoice_id, network, asset, decimals, pay_to, amount, reserved FROM invoice_options
            WHERE invoice_id = ANY($1) ORDER BY invoice_id, position
            "#,
            &ids,
        );
        let mut of: HashMap<Uuid, Vec<PaymentOption>> = HashMap::with_capacity(rows.len());
        for option in options.fetch_all(self.pool()).await? {
            of.entry(option.invoice_id).or_default().push(PaymentOption {
                network: option.network.parse().column("invoice_options", "network")?,
                asset: read_address(&option.asset, "invoice_options", "asset")?,
                decimals: decimals(option.decimals)?,
                pay_to: read_address(&option.pay_to, "invoice_options", "pay_to")?,
                amount: read_amount(&option.amount, "invoice_options")?,
                reserved: option.reserved,
            });
        }
        rows.into_iter()
            .map(|row| {
                let options = of.remove(&row.id).unwrap_or_default();
                row.with(options)
            })
            .collect()
    }
}
