//! How payments end: given up, spoilt, final, undone, or expired.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::ids::{AccountId, PaymentId};
use crate::domain::network::Network;
use crate::domain::reason::Reason;
use crate::ledger::{Ledger, LedgerError, to_bigint};

/// Gives a payment up, unless a slot carries it or the chain has paid it by now. Returns the payment with who asked for it, if it
/// did.
///
/// # Errors
/// The database could not be reached.
pub async fn give_up(
    db: &mut PgConnection,
    id: PaymentId,
    reason: Reason,
    now: DateTime<Utc>,
) -> Result<Option<(PaymentId, Option<AccountId>)>, LedgerError> {
    // Whoever claims a payment holds its row until then, and leaves it unchanged. Only a statement that begins after that sees
    // the claim.
    sqlx::query!("SELECT FROM payments WHERE id = $1 FOR UPDATE", id.uuid()).execute(&mut *db).await?;
    let given_up = sqlx::query!(
        r#"
        UPDATE payments SET given_up_reason = $2, given_up_at = $3
        WHERE id = $1 AND submission_id IS NULL AND given_up_at IS NULL
          AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = payments.id)
        RETURNING id, provider_id
        "#,
        id.uuid(),
        reason.code(),
        now,
    );
    let given_up = given_up.fetch_optional(db).await?;
    Ok(given_up.map(|row| (PaymentId::from_uuid(row.id), row.provider_id.map(AccountId::from_uuid))))
}

/// Gives up payments whose authorizations the chain has used for something else. Returns those that were not given up before.
///
/// # Errors
/// The database could not be reached.
pub async fn spoil(
    db: &mut PgConnection,
    spoilt: &[(PaymentId, Reason)],
    now: DateTime<Utc>,
) -> Result<Vec<PaymentId>, LedgerError> {
    let (ids, reasons): (Vec<_>, Vec<_>) = spoilt.iter().map(|(id, reason)| (id.uuid(), reason.code().to_owned())).unzip();
    let spoilt = sqlx::query_scalar!(
        r#"
        UPDATE payments p SET given_up_reason = spoilt.reason, given_up_at = $3
        FROM unnest($1::uuid[], $2::text[]) AS spoilt (id, reason)
        WHERE p.id = spoilt.id AND p.given_up_at IS NULL
        RETURNING p.id
        "#,
        &ids,
        &reasons,
        now,
    );
    Ok(spoilt.fetch_all(db).await?.into_iter().map(PaymentId::from_uuid).collect())
}

/// Marks the payments that became final when the final block moved from below `from` to `finalized`, and erases the signatures
/// that nobody needs any more.
///
/// # Errors
/// The database could not be reached.
pub async fn finalize(
    db: &mut PgConnection,
    network: &Network,
    from: u64,
    finalized: u64,
    now: DateTime<Utc>,
) -> Result<Vec<(PaymentId, Option<AccountId>)>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        WITH locked AS (
            SELECT p.id FROM payments p JOIN claims c ON c.payment_id = p.id
            WHERE c.network = $1 AND c.block_number BETWEEN $2 AND $3 AND p.final_at IS NULL
            ORDER BY p.id FOR UPDATE OF p
        )
        UPDATE payments p SET final_at = $4, payload = NULL
        FROM locked WHERE p.id = locked.id
        RETURNING p.id, p.provider_id
        "#,
        network.as_str(),
        to_bigint(from),
        to_bigint(finalized),
        now,
    );
    let rows = rows.fetch_all(db).await?;
    Ok(rows.into_iter().map(|row| (PaymentId::from_uuid(row.id), row.provider_id.map(AccountId::from_uuid))).collect())
}

/// Takes back that payments are final. Their signatures are erased, so they are given up.
///
/// # Errors
/// The database could not be reached.
pub async fn undo_final(db: &mut PgConnection, ids: &[PaymentId], now: DateTime<Utc>) -> Result<(), LedgerError> {
    let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
    sqlx::query!(
        r#"
        WITH locked AS (SELECT id FROM payments WHERE id = ANY ($1) AND final_at IS NOT NULL ORDER BY id FOR UPDATE)
        UPDATE payments p SET final_at = NULL, given_up_at = $2, given_up_reason = $3 FROM locked WHERE p.id = locked.id
        "#,
        &ids,
        now,
        Reason::Reversed.code(),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A payment that expired without being made, and whose signature was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expired {
    /// Which payment.
    pub payment: PaymentId,
    /// Who asked for it.
    pub provider: Option<AccountId>,
    /// Whether it was given up only now.
    pub given_up: bool,
}

impl Ledger {
    /// At most `limit` payments of a network that expired before `until`, as far as we know without being made, and were not given
    /// up: the oldest first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn overdue(&self, network: &Network, until: DateTime<Utc>, limit: u32) -> Result<Vec<PaymentId>, LedgerError> {
        let ids = sqlx::query_scalar!(
            r#"
            SELECT p.id FROM payments p
            WHERE p.payload IS NOT NULL AND p.final_at IS NULL AND p.given_up_at IS NULL AND p.expires_at < $1
              AND p.network = $2
              AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = p.id)
              AND NOT EXISTS (SELECT FROM submissions s WHERE s.id = p.submission_id AND s.spent_block IS NULL)
            ORDER BY p.expires_at LIMIT $3
            "#,
            until,
            network.as_str(),
            i64::from(limit),
        );
        Ok(ids.fetch_all(self.pool()).await?.into_iter().map(PaymentId::from_uuid).collect())
    }
}

/// Erases the signatures of at most `limit` payments that expired before `until` without being made, and gives those of them up that
/// are named in `unmade`. Others that were not given up yet stay as they are.
///
/// # Errors
/// The database could not be reached.
pub async fn expire(
    db: &mut PgConnection,
    unmade: &[PaymentId],
    until: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Expired>, LedgerError> {
    let unmade: Vec<_> = unmade.iter().map(|id| id.uuid()).collect();
    let rows = sqlx::query!(
        r#"
        WITH old AS (
            SELECT p.id, p.given_up_at IS NULL AS open FROM payments p
            WHERE p.payload IS NOT NULL AND p.final_at IS NULL AND p.expires_at < $1
              AND (p.given_up_at IS NOT NULL OR p.id = ANY ($5))
              AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = p.id)
              AND NOT EXISTS (SELECT FROM submissions s WHERE s.id = p.submission_id AND s.spent_block IS NULL)
            ORDER BY p.expires_at LIMIT $4 FOR UPDATE OF p SKIP LOCKED
        )
        UPDATE payments p
        SET payload = NULL, given_up_at = COALESCE(p.given_up_at, $2), given_up_reason = COALESCE(p.given_up_reason, $3)
        FROM old WHERE p.id = old.id
        RETURNING p.id, p.provider_id, old.open AS "open!"
        "#,
        until,
        now,
        Reason::Expired.code(),
        i64::from(limit),
        &unmade,
    );
    let expired = rows.fetch_all(db).await?.into_iter().map(|row| Expired {
        payment: PaymentId::from_uuid(row.id),
        provider: row.provider_id.map(AccountId::from_uuid),
        given_up: row.open,
    });
    Ok(expired.collect())
}
