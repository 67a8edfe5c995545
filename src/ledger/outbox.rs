//! The outbox: events on their way into the stream, and the stream as accounts read it.
//!
//! Positions are given by one owner, in transactions that follow each other. So whoever has read up to a position has missed nothing
//! below it.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Ledger, LedgerError, from_bigint, to_bigint};
use crate::domain::ids::{AccountId, EventId, InvoiceId, PaymentId};

/// An event that is not in the stream yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Untold {
    /// Our name for it.
    pub id: EventId,
    /// Who is told.
    pub account: AccountId,
    /// The payment that it is about.
    pub payment: Option<PaymentId>,
    /// The invoice that it is about.
    pub invoice: Option<InvoiceId>,
    /// What happened.
    pub kind: String,
    /// The particulars.
    pub data: Value,
    /// When.
    pub at: DateTime<Utc>,
}

/// An event in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldEvent {
    /// Its place. Those of one account have gaps, where others are told something.
    pub position: u64,
    /// What happened.
    pub kind: String,
    /// What is told, in JSON.
    pub body: String,
}

/// The oldest events of accounts that are not in the stream. Those without an account are told to nobody, and never come into it.
///
/// # Errors
/// The database could not be reached.
pub async fn untold(db: &mut PgConnection, limit: u32) -> Result<Vec<Untold>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT id, account_id AS "account_id!", payment_id, invoice_id, kind, data, created_at FROM events
        WHERE position IS NULL AND account_id IS NOT NULL ORDER BY id LIMIT $1
        "#,
        i64::from(limit),
    );
    let untold = rows.fetch_all(db).await?.into_iter().map(|row| Untold {
        id: EventId::from_uuid(row.id),
        account: AccountId::from_uuid(row.account_id),
        payment: row.payment_id.map(PaymentId::from_uuid),
        invoice: row.invoice_id.map(InvoiceId::from_uuid),
        kind: row.kind,
        data: row.data,
        at: row.created_at,
    });
    Ok(untold.collect())
}

/// Puts events at the end of the stream, in this order, each with what is told of it.
///
/// # Errors
/// The database could not be reached.
pub async fn place(db: &mut PgConnection, told: &[(EventId, String)]) -> Result<(), LedgerError> {
    let count = i64::try_from(told.len()).unwrap_or(i64::MAX);
    let positions =
        sqlx::query_scalar!(r#"SELECT nextval('event_positions') AS "position!" FROM generate_series(1, $1::bigint)"#, count);
    let mut positions = positions.fetch_all(&mut *db).await?;
    positions.sort_unstable();
    let ids: Vec<_> = told.iter().map(|(id, _)| id.uuid()).collect();
    let bodies: Vec<_> = told.iter().map(|(_, body)| body.clone()).collect();
    sqlx::query!(
        r#"
        UPDATE events e SET position = t.position, body = t.body
        FROM unnest($1::uuid[], $2::bigint[], $3::text[]) AS t (id, position, body) WHERE e.id = t.id
        "#,
        &ids,
        &positions,
        &bodies,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Somebody who listens to an account's part of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening {
    /// Who.
    pub listener: u64,
    /// To whose events.
    pub account: AccountId,
    /// The position up to which they were heard.
    pub heard: u64,
}

impl Ledger {
    /// What an account is told behind a position, in order.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn events_after(&self, account: AccountId, position: u64, limit: u32) -> Result<Vec<ToldEvent>, LedgerError> {
        let rows = sqlx::query!(
            r#"
            SELECT position AS "position!", kind, body AS "body!" FROM events
            WHERE account_id = $1 AND position > $2 ORDER BY position LIMIT $3
            "#,
            account.uuid(),
            to_bigint(position),
            i64::from(limit),
        );
        let rows = rows.fetch_all(self.pool()).await?.into_iter();
        Ok(rows.map(|row| ToldEvent { position: from_bigint(row.position), kind: row.kind, body: row.body }).collect())
    }

    /// The position of the newest event that an account was told, or zero.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn newest_position(&self, account: AccountId) -> Result<u64, LedgerError> {
        let newest = sqlx::query_scalar!("SELECT max(position) FROM events WHERE account_id = $1", account.uuid());
        Ok(newest.fetch_one(self.pool()).await?.map_or(0, from_bigint))
    }

    /// Of those who listen, those for whom there is something that they have not heard. One question for all of them.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn with_news(&self, listening: &[Listening]) -> Result<Vec<u64>, LedgerError> {
        let listeners: Vec<_> = listening.iter().map(|listening| to_bigint(listening.listener)).collect();
        let accounts: Vec<Uuid> = listening.iter().map(|listening| listening.account.uuid()).collect();
        let heard: Vec<_> = listening.iter().map(|listening| to_bigint(listening.heard)).collect();
        let behind = sqlx::query_scalar!(
            r#"
            SELECT l.listener AS "listener!"
            FROM unnest($1::bigint[], $2::uuid[], $3::bigint[]) AS l (listener, account_id, heard)
            WHERE EXISTS (SELECT FROM events e WHERE e.account_id = l.account_id AND e.position > l.heard)
            "#,
            &listeners,
            &accounts,
            &heard,
        );
        Ok(behind.fetch_all(self.pool()).await?.into_iter().map(from_bigint).collect())
    }
}
