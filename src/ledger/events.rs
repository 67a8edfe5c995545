//! What accounts are told.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Ledger, LedgerError};
use crate::domain::event::{EventKind, Subject};
use crate::domain::ids::{AccountId, EventId, InvoiceId, PaymentId};

/// An event to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// What happened.
    pub kind: EventKind,
    /// To what.
    pub about: Subject,
    /// Who is told, if anybody.
    pub account: Option<AccountId>,
    /// The particulars.
    pub data: Value,
}

/// Something that happened to a payment, as its owner reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct PastEvent {
    /// What happened.
    pub kind: String,
    /// The particulars.
    pub data: Value,
    /// When.
    pub at: DateTime<Utc>,
}

/// Writes events in the transaction that makes them true.
///
/// # Errors
/// The database could not be reached.
pub async fn insert(db: &mut PgConnection, events: &[NewEvent], now: DateTime<Utc>) -> Result<(), LedgerError> {
    if events.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = events.iter().map(|_| EventId::new().uuid()).collect();
    let accounts: Vec<_> = events.iter().map(|event| event.account.map(AccountId::uuid)).collect();
    let payments: Vec<_> = events.iter().map(|event| event.about.payment().map(PaymentId::uuid)).collect();
    let invoices: Vec<_> = events.iter().map(|event| event.about.invoice().map(InvoiceId::uuid)).collect();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str().to_owned()).collect();
    let data: Vec<_> = events.iter().map(|event| event.data.clone()).collect();
    sqlx::query!(
        r#"
        INSERT INTO events (id, account_id, payment_id, invoice_id, kind, data, created_at)
        SELECT id, account_id, payment_id, invoice_id, kind, data, $7
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::jsonb[])
            AS new (id, account_id, payment_id, invoice_id, kind, data)
        "#,
        &ids,
        &accounts as &[Option<Uuid>],
        &payments as &[Option<Uuid>],
        &invoices as &[Option<Uuid>],
        &kinds,
        &data,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Removes at most `limit` events from before `until`. Returns how many.
///
/// # Errors
/// The database could not be reached.
pub async fn forget(db: &mut PgConnection, until: DateTime<Utc>, limit: u32) -> Result<u64, LedgerError> {
    let gone = sqlx::query!(
        "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
        until,
        i64::from(limit),
    );
    Ok(gone.execute(db).await?.rows_affected())
}

impl Ledger {
    /// What happened to a payment, in order.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn events_of(&self, payment: PaymentId) -> Result<Vec<PastEvent>, LedgerError> {
        let rows = sqlx::query!("SELECT kind, data, created_at FROM events WHERE payment_id = $1 ORDER BY id", payment.uuid());
        let rows = rows.fetch_all(self.pool()).await?;
        Ok(rows.into_iter().map(|row| PastEvent { kind: row.kind, data: row.data, at: row.created_at }).collect())
    }
}
