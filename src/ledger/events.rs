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
    /// Who is told, if anybody. Of a payment this is who asked for it; whom it pays is told besides.
    pub account: Option<AccountId>,
    /// The particulars.
    pub data: Value,
}

/// Something that happened to a payment, as those concerned read it.
#[derive(Debug, Clone, PartialEq)]
pub struct PastEvent {
    /// What happened.
    pub kind: String,
    /// The particulars.
    pub data: Value,
    /// When.
    pub at: DateTime<Utc>,
}

/// Writes events in the transaction that makes them true. Of a payment its merchant is told, too, as the payment names it by then: by an
/// event of its own, or by the only one where nobody asked who has an account.
///
/// # Errors
/// The database could not be reached.
pub async fn insert(db: &mut PgConnection, events: &[NewEvent], now: DateTime<Utc>) -> Result<(), LedgerError> {
    if events.is_empty() {
        return Ok(());
    }
    // Names in the order of what happened, also for an account that is told of its invoice by the one kind and of its payment by the other.
    let (ids, copies): (Vec<_>, Vec<_>) = events.iter().map(|_| (EventId::new().uuid(), EventId::new().uuid())).unzip();
    let accounts: Vec<_> = events.iter().map(|event| event.account.map(AccountId::uuid)).collect();
    let payments: Vec<_> = events.iter().map(|event| event.about.payment().map(PaymentId::uuid)).collect();
    let invoices: Vec<_> = events.iter().map(|event| event.about.invoice().map(InvoiceId::uuid)).collect();
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str().to_owned()).collect();
    let data: Vec<_> = events.iter().map(|event| event.data.clone()).collect();
    sqlx::query!(
        r#"
        WITH new AS (
            SELECT n.id, n.copy, n.account_id, p.merchant_id, n.payment_id, n.invoice_id, n.kind, n.data
            FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::jsonb[])
                AS n (id, copy, account_id, payment_id, invoice_id, kind, data)
            LEFT JOIN payments p ON p.id = n.payment_id
        )
        INSERT INTO events (id, account_id, payment_id, invoice_id, kind, data, created_at)
        SELECT id, COALESCE(account_id, merchant_id), payment_id, invoice_id, kind, data, $8::timestamptz FROM new
        UNION ALL
        SELECT copy, merchant_id, payment_id, invoice_id, kind, data, $8 FROM new WHERE merchant_id <> account_id
        "#,
        &ids,
        &copies,
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
    /// What happened to a payment, in order. Where two accounts are told of it, what the one was told that asked for it.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn events_of(&self, payment: PaymentId) -> Result<Vec<PastEvent>, LedgerError> {
        let rows = sqlx::query!(
            r#"
            SELECT e.kind, e.data, e.created_at FROM events e JOIN payments p ON p.id = e.payment_id
            WHERE e.payment_id = $1 AND (p.provider_id IS NULL OR e.account_id = p.provider_id)
            ORDER BY e.id
            "#,
            payment.uuid(),
        );
        let rows = rows.fetch_all(self.pool()).await?;
        Ok(rows.into_iter().map(|row| PastEvent { kind: row.kind, data: row.data, at: row.created_at }).collect())
    }
}
