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
}

/// What a key is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The request.
    pub fingerprint: Fingerprint,
    /// Its answer, once there is one.
    pub answer: Option<StoredAnswer>,
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
        self.binding(key).await
    }

    /// Stores the answer under a key, unless there is one, and returns the one that counts.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn store_answer(&self, key: &StorageKey, answer: StoredAnswer) -> Result<StoredAnswer, LedgerError> {
        sqlx::query!(
            "UPDATE idempotency SET status = $3, body = $4 WHERE scope = $1 AND key = $2 AND body IS NULL",
            key.scope,
            key.key,
            i16::try_from(answer.status).unwrap_or(500),
            answer.body,
        )
        .execute(self.pool())
        .await?;
        Ok(self.binding(key).await?.answer.unwrap_or(answer))
    }

    async fn binding(&self, key: &StorageKey) -> Result<Binding, LedgerError> {
        let row =
            sqlx::query!("SELECT fingerprint, status, body FROM idempotency WHERE scope = $1 AND key = $2", key.scope, key.key)
                .fetch_one(self.pool())
                .await?;
        let answer =
            row.status.zip(row.body).map(|(status, body)| StoredAnswer { status: u16::try_from(status).unwrap_or(500), body });
        Ok(Binding { fingerprint: Fingerprint(row.fingerprint.try_into().column("idempotency", "fingerprint")?), answer })
    }
}
