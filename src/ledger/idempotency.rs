//! Answers that are repeated byte for byte under a caller's `Idempotency-Key`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Column, Ledger, LedgerError};
use crate::domain::payment::Fingerprint;

/// Where a key counts: within an account, or for one request of a caller without an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageKey {
    /// The account's id, or the request's fingerprint.
    pub scope: String,
    /// The caller's text.
    pub key: String,
}

/// An answer to be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// Whether it says success.
    pub success: bool,
}

/// What a key is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The request.
    pub fingerprint: Fingerprint,
    /// Its answer, once there is one.
    pub answer: Option<StoredAnswer>,
}

/// Binds a key to a request that is done in this transaction. Returns whether it did: not if it is bound already, which is known only
/// when the transaction that bound it has ended.
///
/// # Errors
/// The database could not be reached.
pub async fn bind(
    db: &mut PgConnection,
    key: &StorageKey,
    fingerprint: Fingerprint,
    now: DateTime<Utc>,
) -> Result<bool, LedgerError> {
    let bound = sqlx::query!(
        "INSERT INTO idempotency (scope, key, fingerprint, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (scope, key) DO NOTHING",
        key.scope,
        key.key,
        &fingerprint.0[..],
        now,
    );
    Ok(bound.execute(db).await?.rows_affected() == 1)
}

/// The same, where a key that is bound to the same request already is as good. Returns whether it is bound to this one.
///
/// # Errors
/// The database could not be reached.
pub async fn bind_same(
    db: &mut PgConnection,
    key: &StorageKey,
    fingerprint: Fingerprint,
    now: DateTime<Utc>,
) -> Result<bool, LedgerError> {
    let bound = sqlx::query!(
        r#"
        INSERT INTO idempotency AS stored (scope, key, fingerprint, created_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (scope, key) DO UPDATE SET fingerprint = excluded.fingerprint WHERE stored.fingerprint = excluded.fingerprint
        "#,
        key.scope,
        key.key,
        &fingerprint.0[..],
        now,
    );
    Ok(bound.execute(db).await?.rows_affected() == 1)
}

/// Stores the answer to the request that a key was bound to in this transaction.
///
/// # Errors
/// The database could not be reached.
pub async fn answer(db: &mut PgConnection, key: &StorageKey, answer: &StoredAnswer) -> Result<(), LedgerError> {
    sqlx::query!(
        "UPDATE idempotency SET status = $3, body = $4, success = $5 WHERE scope = $1 AND key = $2",
        key.scope,
        key.key,
        i16::try_from(answer.status).unwrap_or(500),
        answer.body,
        answer.success,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Removes at most `limit` keys that were bound before `until`, with their answers. Returns how many.
///
/// # Errors
/// The database could not be reached.
pub async fn forget(db: &mut PgConnection, until: DateTime<Utc>, limit: u32) -> Result<u64, LedgerError> {
    let gone = sqlx::query!(
        r#"
        DELETE FROM idempotency WHERE (scope, key) IN (
            SELECT scope, key FROM idempotency WHERE created_at < $1 ORDER BY created_at LIMIT $2
        )
        "#,
        until,
        i64::from(limit),
    );
    Ok(gone.execute(db).await?.rows_affected())
}

impl Ledger {
    /// Binds a key to a request, unless it is bound already, and returns what it is bound to: of two that race, the first counts.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn bind_key(&self, key: &StorageKey, fingerprint: Fingerprint, now: DateTime<Utc>) -> Result<Binding, LedgerError> {
        sqlx::query!(
            "INSERT INTO idempotency (scope, key, fingerprint, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (scope, key) DO NOTHING",
            key.scope,
            key.key,
            &fingerprint.0[..],
            now,
        )
        .execute(self.pool())
        .await?;
        Ok(self.find_binding(key).await?.unwrap_or(Binding { fingerprint, answer: None }))
    }

    /// Frees a key that is bound to this request, and under which nothing was answered.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn unbind_key(&self, key: &StorageKey, fingerprint: Fingerprint) -> Result<(), LedgerError> {
        let free = sqlx::query!(
            "DELETE FROM idempotency WHERE scope = $1 AND key = $2 AND fingerprint = $3 AND body IS NULL",
            key.scope,
            key.key,
            &fingerprint.0[..],
        );
        free.execute(self.pool()).await?;
        Ok(())
    }

    /// Stores the answer under a key, unless there is one, and returns the one that counts. A success counts for more than a
    /// refusal: of two requests under one key that were under way together, one may be refused by what passes, and the other paid.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn store_answer(
        &self,
        key: &StorageKey,
        fingerprint: Fingerprint,
        answer: StoredAnswer,
        now: DateTime<Utc>,
    ) -> Result<StoredAnswer, LedgerError> {
        sqlx::query!(
            r#"
            INSERT INTO idempotency AS stored (scope, key, fingerprint, status, body, success, created_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT (scope, key) DO UPDATE
            SET status = excluded.status, body = excluded.body, success = excluded.success
            WHERE stored.body IS NULL OR excluded.success AND NOT stored.success
            "#,
            key.scope,
            key.key,
            &fingerprint.0[..],
            i16::try_from(answer.status).unwrap_or(500),
            answer.body,
            answer.success,
            now,
        )
        .execute(self.pool())
        .await?;
        Ok(self.find_binding(key).await?.and_then(|binding| binding.answer).unwrap_or(answer))
    }

    /// What a key is bound to, if it is.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn find_binding(&self, key: &StorageKey) -> Result<Option<Binding>, LedgerError> {
        let row = sqlx::query!(
            "SELECT fingerprint, status, body, success FROM idempotency WHERE scope = $1 AND key = $2",
            key.scope,
            key.key
        );
        let Some(row) = row.fetch_optional(self.pool()).await? else { return Ok(None) };
        let stored = |(status, body)| StoredAnswer { status: u16::try_from(status).unwrap_or(500), body, success: row.success };
        let answer = row.status.zip(row.body).map(stored);
        let fingerprint = Fingerprint(row.fingerprint.try_into().column("idempotency", "fingerprint")?);
        Ok(Some(Binding { fingerprint, answer }))
    }
}
