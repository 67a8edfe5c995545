//! Sessions of people who look at the dashboard, by the hash of what their browsers keep.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Column, Ledger, LedgerError};
use crate::domain::account::Scope;
use crate::domain::ids::{AccountId, ApiKeyId};

/// SHA-256 of what a browser keeps.
pub type SessionHash = [u8; 32];

/// A session, with the key that it was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredSession {
    /// The public half of the key.
    pub key: ApiKeyId,
    /// Whose key.
    pub account: AccountId,
    /// What it is good for.
    pub scope: Scope,
}

/// Removes sessions that were over by then, the oldest first. Returns how many.
///
/// # Errors
/// The database could not be reached.
pub async fn forget(db: &mut PgConnection, until: DateTime<Utc>, limit: u32) -> Result<u64, LedgerError> {
    let gone = sqlx::query!(
        "DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE until <= $1 ORDER BY until LIMIT $2)",
        until,
        i64::from(limit),
    );
    Ok(gone.execute(db).await?.rows_affected())
}

impl Ledger {
    /// Records a session that is opened now and ends then.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn insert_session(
        &self,
        hash: &SessionHash,
        key: ApiKeyId,
        (now, until): (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<(), LedgerError> {
        let session = sqlx::query!(
            "INSERT INTO sessions (hash, key_id, created_at, until) VALUES ($1, $2, $3, $4)",
            hash,
            key.uuid(),
            now,
            until,
        );
        session.execute(self.pool()).await?;
        Ok(())
    }

    /// The session of this hash, if it is not over and its key is worth something.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn find_session(&self, hash: &SessionHash, now: DateTime<Utc>) -> Result<Option<StoredSession>, LedgerError> {
        let found = sqlx::query!(
            r#"
            SELECT k.id, k.account_id, k.scope FROM sessions s JOIN api_keys k ON k.id = s.key_id
            WHERE s.hash = $1 AND s.until > $2 AND k.revoked_at IS NULL
            "#,
            hash,
            now,
        );
        let found = found.fetch_optional(self.pool()).await?.map(|row| {
            let scope = Scope::parse(&row.scope).column("api_keys", "scope")?;
            Ok(StoredSession { key: ApiKeyId::from_uuid(row.id), account: AccountId::from_uuid(row.account_id), scope })
        });
        found.transpose()
    }

    /// Ends a session, if there is one.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn end_session(&self, hash: &SessionHash) -> Result<(), LedgerError> {
        sqlx::query!("DELETE FROM sessions WHERE hash = $1", hash).execute(self.pool()).await?;
        Ok(())
    }
}
