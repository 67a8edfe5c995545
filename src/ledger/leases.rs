//! Who runs a lane or a watcher. Time is the database's, so replicas with different clocks agree.

use chrono::TimeDelta;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Ledger, LedgerError};

/// Ownership of a name until it is lost or given back. Writes that must have one author name the fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What is owned, for example `watcher:eip155:8453`.
    pub name: String,
    /// The owning process.
    pub owner: Uuid,
    /// Grows with every change of owner.
    pub fence: i64,
}

impl Ledger {
    /// Takes a lease that is free or has run out, or renews our own. `None` if it belongs to somebody else.
    ///
    /// # Errors
    /// The database could not be reached; a caller that held the lease must then act as if it had lost it.
    pub async fn hold_lease(&self, name: &str, owner: Uuid, lasts: TimeDelta) -> Result<Option<Lease>, LedgerError> {
        let seconds = lasts.as_seconds_f64();
        let fence = sqlx::query_scalar!(
            r#"
            INSERT INTO leases AS lease (name, owner, fence, expires_at)
            VALUES ($1, $2, 1, clock_timestamp() + make_interval(secs => $3))
            ON CONFLICT (name) DO UPDATE
            SET owner = excluded.owner,
                fence = lease.fence + CASE WHEN lease.owner = excluded.owner THEN 0 ELSE 1 END,
                expires_at = clock_timestamp() + make_interval(secs => $3)
            WHERE lease.owner = excluded.owner OR lease.expires_at < clock_timestamp()
            RETURNING fence
            "#,
            name,
            owner,
            seconds,
        )
        .fetch_optional(self.pool())
        .await?;
        Ok(fence.map(|fence| Lease { name: name.to_owned(), owner, fence }))
    }

    /// The process that holds a lease now.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn owner_of(&self, lease: &str) -> Result<Option<Uuid>, LedgerError> {
        let owner = sqlx::query_scalar!("SELECT owner FROM leases WHERE name = $1 AND expires_at > clock_timestamp()", lease);
        Ok(owner.fetch_optional(self.pool()).await?)
    }

    /// Gives a lease back, so that the next owner need not wait for it to run out.
    ///
    /// # Errors
    /// The database could not be reached; the lease then runs out by itself.
    pub async fn release_lease(&self, lease: &Lease) -> Result<(), LedgerError> {
        sqlx::query!(
            "UPDATE leases SET expires_at = clock_timestamp() WHERE name = $1 AND owner = $2 AND fence = $3",
            lease.name,
            lease.owner,
            lease.fence,
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }
}

/// Makes sure, until the transaction ends, that the lease is still ours. A successor waits for that end, so nothing that an
/// owner wrote before losing its lease can become visible after the successor has begun.
///
/// # Errors
/// [`LedgerError::LeaseLost`].
pub async fn require(db: &mut PgConnection, lease: &Lease) -> Result<(), LedgerError> {
    sqlx::query_scalar!(
        r#"
        SELECT 1 AS "one!" FROM leases
        WHERE name = $1 AND owner = $2 AND fence = $3 AND expires_at > clock_timestamp()
        FOR SHARE
        "#,
        lease.name,
        lease.owner,
        lease.fence,
    )
    .fetch_optional(db)
    .await?
    .map(drop)
    .ok_or(LedgerError::LeaseLost)
}
