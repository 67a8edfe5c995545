//! Whether the database is an older copy of the ledger, and up to which block it may lack what was told.
//!
//! The chain knows what was paid meanwhile, and not who was told. So whatever stands in a block of that time counts as told.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Ledger, LedgerError, commit, to_bigint};
use crate::domain::ids::PaymentId;
use crate::domain::network::Network;

/// In whose name the success of a payment is taken that may have been told before the copy was restored. No request has this name.
const COPY: &str = "copy";

/// Until the head of a network is known, everything that it shows may have been told.
const UNBOUNDED: i64 = i64::MAX;

impl Ledger {
    /// Finds out whether this is a copy, once: from then on it is the ledger. Returns whether it is one.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn notice_copy(&self, now: DateTime<Utc>) -> Result<bool, LedgerError> {
        let mut db = self.begin().await?;
        let noticed =
            sqlx::query!("UPDATE ledger_identity SET identity = present_identity() WHERE identity <> present_identity()");
        let is_copy = noticed.execute(&mut *db).await?.rows_affected() == 1;
        if is_copy {
            distrust(&mut db, None, now).await?;
        }
        commit(db).await?;
        Ok(is_copy)
    }

    /// Counts as told whatever the networks show up to their present heads, because the ledger is a copy.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn distrust(&self, now: DateTime<Utc>) -> Result<(), LedgerError> {
        let mut db = self.begin().await?;
        distrust(&mut db, None, now).await?;
        commit(db).await
    }

    /// Does so for one network if its nodes name a nonce as the `next` one of a signer that is above all that the ledger knows of: those
    /// for which it had slots, and those that were above them before. Returns whether it is.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn distrust_nonce(
        &self,
        network: &Network,
        signer: &str,
        next: u64,
        now: DateTime<Utc>,
    ) -> Result<bool, LedgerError> {
        let mut db = self.begin().await?;
        // Before its first transaction here it may have sent anything.
        let unknown = sqlx::query!(
            r#"
            UPDATE signers SET accounted_nonce = $3
            WHERE network = $1 AND address = $2
              AND $3 > GREATEST(accounted_nonce,
                                (SELECT max(s.nonce) + 1 FROM submissions s WHERE s.network = $1 AND s.signer = $2))
            "#,
            network.as_str(),
            signer,
            to_bigint(next),
        );
        let is_ahead = unknown.execute(&mut *db).await?.rows_affected() == 1;
        if is_ahead {
            distrust(&mut db, Some(network), now).await?;
        }
        commit(db).await?;
        Ok(is_ahead)
    }

    /// Notes that what the copy lacks stands no higher than this head. The first one that is seen counts.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn bound_copy(&self, network: &Network, head: u64) -> Result<(), LedgerError> {
        sqlx::query!(
            "UPDATE networks SET copied_to = $2 WHERE network = $1 AND copied_to = $3",
            network.as_str(),
            to_bigint(head),
            UNBOUNDED,
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }
}

/// Behind the locks on the networks no block is taken in, so what is claimed is seen here, or when it is.
async fn distrust(db: &mut PgConnection, network: Option<&Network>, now: DateTime<Utc>) -> Result<(), LedgerError> {
    let network = network.map(Network::as_str);
    sqlx::query!("UPDATE networks SET copied_to = $2 WHERE $1::text IS NULL OR network = $1", network, UNBOUNDED)
        .execute(&mut *db)
        .await?;
    sqlx::query!(
        r#"
        WITH untold AS (
            SELECT p.id FROM payments p JOIN claims c ON c.payment_id = p.id
            WHERE p.handed_out_at IS NULL AND ($1::text IS NULL OR p.network = $1) ORDER BY p.id FOR UPDATE OF p
        )
        UPDATE payments p SET handed_out_at = $2, handed_out_to = $3 FROM untold WHERE p.id = untold.id
        "#,
        network,
        now,
        COPY,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Takes the success of payments that are claimed in a block of which the ledger, a copy, may lack who was told. To be called under the
/// lock on the cursor.
///
/// # Errors
/// The database could not be reached.
pub async fn take_lost(db: &mut PgConnection, paid: &[PaymentId], now: DateTime<Utc>) -> Result<(), LedgerError> {
    let ids: Vec<_> = paid.iter().map(|id| id.uuid()).collect();
    sqlx::query!(
        "UPDATE payments SET handed_out_at = $2, handed_out_to = $3 WHERE id = ANY ($1) AND handed_out_at IS NULL",
        &ids,
        now,
        COPY,
    )
    .execute(db)
    .await?;
    Ok(())
}
