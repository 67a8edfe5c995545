//! What callers change about the payment that they wait for: they wait for longer, leave, or take its success.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::domain::ids::PaymentId;
use crate::ledger::{Ledger, LedgerError, commit};

/// A wish to take a payment's success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taker {
    /// Which payment.
    pub payment: PaymentId,
    /// The block that the taker was told of; the success stands on it.
    pub block_hash: String,
    /// Who takes it, for the record.
    pub taker: String,
}

/// In whose name the success of a payment is taken whose transfer was told as a proof before the payment claimed it. No request has
/// this name.
const PROOF: &str = "proof";

/// The same, where the transfer was credited to another invoice.
const INVOICE: &str = "invoice";

/// Takes the success of payments whose transfers bought something before: as proofs, or by naming another invoice. A transfer is told
/// once. To be called under the lock on the cursor when the payments have claimed their transfers.
///
/// # Errors
/// The database could not be reached.
pub async fn take_spent(db: &mut PgConnection, paid: &[PaymentId], now: DateTime<Utc>) -> Result<(), LedgerError> {
    if paid.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = paid.iter().map(|id| id.uuid()).collect();
    sqlx::query!(
        r#"
        UPDATE payments p SET handed_out_to = $2, handed_out_at = a.handed_out_at
        FROM claims c
        JOIN transfers t ON t.network = c.network AND t.block_hash = c.block_hash AND t.index = c.index
        JOIN assignments a ON a.network = t.network AND a.transaction = t.transaction AND a.asset = t.asset AND a.sender = t.sender
                          AND a.recipient = t.recipient AND a.amount = t.amount AND a.occurrence = t.occurrence
        WHERE p.id = ANY ($1) AND c.payment_id = p.id AND p.handed_out_at IS NULL AND a.handed_out_at IS NOT NULL
        "#,
        &ids,
        PROOF,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        r#"
        UPDATE payments p SET handed_out_to = $2, handed_out_at = $3
        FROM claims c
        WHERE p.id = ANY ($1) AND c.payment_id = p.id AND p.handed_out_at IS NULL
          AND c.basis IN ('reference', 'assigned') AND c.invoice_id IS DISTINCT FROM p.invoice_id
        "#,
        &ids,
        INVOICE,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

impl Ledger {
    /// Stops a payment from being sent, because its caller is about to be told that it was not. Returns whether it did: not if
    /// signed bytes are committed. The lane asks for the same row under the same condition, so exactly one of the two wins.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn withdraw(&self, id: PaymentId) -> Result<bool, LedgerError> {
        let done = sqlx::query!(
            r#"
            UPDATE payments SET answer_by = LEAST(answer_by, clock_timestamp())
            WHERE id = $1 AND submission_id IS NULL AND given_up_at IS NULL
              AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = payments.id)
            "#,
            id.uuid(),
        )
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Lets a queued payment wait for longer, because another caller joined.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn prolong(&self, id: PaymentId, wait: TimeDelta) -> Result<(), LedgerError> {
        sqlx::query!(
            r#"
            UPDATE payments SET answer_by = clock_timestamp() + make_interval(secs => $2::float8)
            WHERE id = $1 AND answer_by > clock_timestamp() AND answer_by < clock_timestamp() + make_interval(secs => $2::float8 - 1)
            "#,
            id.uuid(),
            wait.as_seconds_f64(),
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Hands success out, once for each payment, and only while the block that it stands on is canonical: the claim cannot be
    /// removed before this is committed. Returns the payments for which this call was the one.
    ///
    /// # Errors
    /// The database could not be reached. If the answer to the commit was lost, a later call finds the success taken; the taker
    /// of the record says by whom.
    pub async fn hand_out(&self, takers: &[Taker], now: DateTime<Utc>) -> Result<Vec<PaymentId>, LedgerError> {
        let ids: Vec<_> = takers.iter().map(|taker| taker.payment.uuid()).collect();
        let hashes: Vec<_> = takers.iter().map(|taker| taker.block_hash.clone()).collect();
        let names: Vec<_> = takers.iter().map(|taker| taker.taker.clone()).collect();
        let mut db = self.begin().await?;
        let rows = sqlx::query_scalar!(
            r#"
            WITH wish AS (
                SELECT p.id, w.taker
                FROM unnest($1::uuid[], $2::text[], $3::text[]) AS w (id, block_hash, taker)
                JOIN payments p ON p.id = w.id
                JOIN claims c ON c.payment_id = p.id AND c.block_hash = w.block_hash
                WHERE p.handed_out_at IS NULL
                ORDER BY p.id
                FOR UPDATE OF p
                FOR KEY SHARE OF c
            )
            UPDATE payments p SET handed_out_at = $4, handed_out_to = wish.taker
            FROM wish WHERE p.id = wish.id AND p.handed_out_at IS NULL
            RETURNING p.id
            "#,
            &ids,
            &hashes,
            &names,
            now,
        )
        .fetch_all(&mut *db)
        .await?;
        commit(db).await?;
        Ok(rows.into_iter().map(PaymentId::from_uuid).collect())
    }
}
