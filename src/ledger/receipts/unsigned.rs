//! Revisions that wait for their signature.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Revision, RevisionRow, revisions};
use crate::domain::receipt::Statement;
use crate::ledger::{Ledger, LedgerError};

impl Ledger {
    /// What waits to be signed, newest first: what no key can sign must not keep the others.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn unsigned(&self, limit: u32) -> Result<Vec<Statement>, LedgerError> {
        let rows = revisions!("WHERE v.jws IS NULL ORDER BY v.issued_at DESC LIMIT $1", i64::from(limit));
        let rows = rows.fetch_all(self.pool()).await?;
        rows.into_iter().map(|row| Revision::try_from(row).map(|revision| revision.statement)).collect()
    }

    /// Keeps signatures. Where there is one already it stays: the same statement has the same, whoever signs it.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn keep_signed(&self, signed: &[(&Statement, String)]) -> Result<(), LedgerError> {
        let ids: Vec<Uuid> = signed.iter().map(|(statement, _)| statement.receipt.uuid()).collect();
        let numbers: Vec<i32> = signed.iter().map(|(statement, _)| to_integer(statement.revision)).collect();
        let texts: Vec<String> = signed.iter().map(|(_, jws)| jws.clone()).collect();
        sqlx::query!(
            r#"
            UPDATE receipt_revisions v SET jws = s.jws
            FROM unnest($1::uuid[], $2::int[], $3::text[]) AS s (id, number, jws)
            WHERE v.receipt_id = s.id AND v.number = s.number AND v.jws IS NULL
            "#,
            &ids,
            &numbers,
            &texts,
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Dates at most `limit` revisions anew that wait since before `first`, when there was no key that could sign them. Nobody has
    /// seen them, so they count from now on. Returns how many there were.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn date_unsigned(&self, first: DateTime<Utc>, now: DateTime<Utc>, limit: u32) -> Result<u64, LedgerError> {
        let done = sqlx::query!(
            r#"
            WITH old AS (
                SELECT receipt_id, number FROM receipt_revisions WHERE jws IS NULL AND issued_at < $1
                ORDER BY issued_at LIMIT $3 FOR UPDATE
            )
            UPDATE receipt_revisions v SET issued_at = $2
            FROM old WHERE v.receipt_id = old.receipt_id AND v.number = old.number
            "#,
            first,
            now,
            i64::from(limit),
        );
        Ok(done.execute(self.pool()).await?.rows_affected())
    }
}

/// Revisions are counted by ones, and none has 2^31.
fn to_integer(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
