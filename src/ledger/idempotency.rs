//! Answers that are repeated byte for byte under a caller's `Idempotency-Key`.

use chrono::{DateTime, Utc};

use super::{Ledger, LedgerError};
use crate::domain::payment::Fingerprint;

/// Where a key counts: within an account, or for one request of a caller without an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageKey {
    /// The account's id, or the request's fingerprint.
    pub scope: String,
    /// The caller's text.
    pub key: String,
}

/// A stored answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The request that it answered.
    pub fingerprint: Fingerprint,
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Ledger {
    /// The answer under a key, if one was given.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn stored_answer(&self, key: &StorageKey) -> Result<Option<StoredAnswer>, LedgerError> {
        let row =
            sqlx::query!("SELECT fingerprint, status, body FROM idempotency WHERE scope = $1 AND key = $2", key.scope, key.key)
                .fetch_optional(self.pool())
                .await?;
        row.map(|row| {
            let inconsistent = LedgerError::Inconsistent { table: "idempotency", column: "fingerprint" };
            Ok(StoredAnswer {
                fingerprint: Fingerprint(row.fingerprint.try_into().map_err(|_| inconsistent)?),
                status: u16::try_from(row.status).unwrap_or(500),
                body: row.body,
            })
        })
        .transpose()
    }

    /// Stores an answer unless there is one, and returns the one that counts: of two that race, the first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn store_answer(
        &self,
        key: &StorageKey,
        answer: StoredAnswer,
        now: DateTime<Utc>,
    ) -> Result<StoredAnswer, LedgerError> {
        sqlx::query!(
            r#"
            INSERT INTO idempotency (scope, key, fingerprint, status, body, created_at) VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (scope, key) DO NOTHING
            "#,
            key.scope,
            key.key,
            &answer.fingerprint.0[..],
            i16::try_from(answer.status).unwrap_or(500),
            answer.body,
            now,
        )
        .execute(self.pool())
        .await?;
        Ok(self.stored_answer(key).await?.unwrap_or(answer))
    }
}
