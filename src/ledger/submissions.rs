//! Slots and signed bytes: what lanes commit and care for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::leases::{Lease, require};
use super::{Column, Ledger, LedgerError, budgets, commit, from_bigint, from_decimal, to_bigint, wei_to_decimal};
use crate::domain::ids::{PaymentId, SubmissionId};
use crate::domain::network::Network;
use crate::domain::payment::AuthorizationKey;
use crate::domain::submission::{Fees, Place, SignedAttempt};
use crate::domain::verification::Sendable;

/// So far above what the chain waits for are gaps looked for. Nothing that is farther away can land before those below it.
const NONCES_LOOKED_AT: u64 = 1_000;

/// A slot that is not spent, with its newest signed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenSlot {
    /// The slot.
    pub id: SubmissionId,
    /// What makes it this slot.
    pub place: Place,
    /// The height at which the payments in it were good before they were recorded, the lowest if there are several.
    pub accepted: Option<u64>,
    /// The newest attempt's number.
    pub attempt: u16,
    /// The newest attempt's transaction.
    pub transaction: String,
    /// Its bytes. Erased if the slot was spent in a final block, which an operator then said is none.
    pub raw: Option<Vec<u8>>,
    /// Its fees.
    pub fees: Fees,
    /// What it may cost at most, in wei.
    pub cost_max: u128,
    /// When it was signed.
    pub signed_at: DateTime<Utc>,
}

/// A new slot and what it carries.
pub struct NewSlot<'a> {
    /// Which network.
    pub network: &'a Network,
    /// The address of the account.
    pub signer: &'a str,
    /// What makes it this slot.
    pub place: &'a Place,
    /// The signed bytes.
    pub attempt: &'a SignedAttempt,
    /// The payments in them, with what they were last found to be.
    pub payments: &'a [Sendable],
    /// What it may cost, and for whom.
    pub costs: &'a BTreeMap<String, u128>,
}

/// How opening a slot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// The slot, its bytes and its payments are committed. The bytes may be sent.
    Committed(SubmissionId),
    /// Only these of the payments may still be sent. Nothing was changed; the bytes must never leave.
    PaymentsChanged(Vec<PaymentId>),
}

impl Ledger {
    /// Commits a slot, its signed bytes and its payments under the lane's lease. Only then may the bytes be sent.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`], or the database could not be reached; then the outcome is open and the slot is looked up
    /// before anything else is done in this lane.
    pub async fn open_slot(&self, lease: &Lease, new: &NewSlot<'_>, now: DateTime<Utc>) -> Result<Opened, LedgerError> {
        let id = SubmissionId::new();
        let (nonce, message) = match new.place {
            Place::Nonce(nonce) => (Some(to_bigint(*nonce)), None),
            Place::Message(AuthorizationKey(message)) => (None, Some(message.as_slice())),
        };
        let mut db = self.begin().await?;
        require(&mut db, lease).await?;
        sqlx::query!(
            "INSERT INTO submissions (id, network, signer, nonce, message, fence, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
            id.uuid(),
            new.network.as_str(),
            new.signer,
            nonce,
            message,
            lease.fence,
            now,
        )
        .execute(&mut *db)
        .await?;
        let ids: Vec<_> = new.payments.iter().map(|payment| payment.id.uuid()).collect();
        // Whoever claims a payment holds its row until then, and leaves it unchanged. Only a statement that begins after that sees
        // the claim.
        sqlx::query!("SELECT FROM payments WHERE id = ANY ($1) ORDER BY id FOR UPDATE", &ids).execute(&mut *db).await?;
        let carried = sqlx::query_scalar!(
            r#"
            UPDATE payments p SET submission_id = $1
            WHERE p.id = ANY ($2) AND p.lane = $3 AND p.submission_id IS NULL AND p.given_up_at IS NULL
              AND p.answer_by > clock_timestamp() AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = p.id)
            RETURNING p.id
            "#,
            id.uuid(),
            &ids,
            new.signer,
        )
        .fetch_all(&mut *db)
        .await?;
        if carried.len() != ids.len() {
            return Ok(Opened::PaymentsChanged(carried.into_iter().map(PaymentId::from_uuid).collect()));
        }
        insert_attempt(&mut db, new.network, (id, 1), new.attempt, new.payments, now).await?;
        budgets::spend(&mut db, new.network, new.costs, now).await?;
        commit(db).await?;
        Ok(Opened::Committed(id))
    }

    /// Commits a further attempt at a slot. Returns whether it did: not if the slot was spent in the meantime.
    ///
    /// # Errors
    /// [`LedgerError::LeaseLost`], or the database could not be reached.
    pub async fn add_attempt(
        &self,
        lease: &Lease,
        network: &Network,
        slot: &OpenSlot,
        attempt: &SignedAttempt,
        payments: &[Sendable],
        now: DateTime<Utc>,
    ) -> Result<bool, LedgerError> {
        let mut db = self.begin().await?;
        require(&mut db, lease).await?;
        let unspent = sqlx::query_scalar!(
            r#"SELECT 1 AS "one!" FROM submissions WHERE id = $1 AND spent_block IS NULL FOR UPDATE"#,
            slot.id.uuid()
        );
        if unspent.fetch_optional(&mut *db).await?.is_none() {
            return Ok(false);
        }
        insert_attempt(&mut db, network, (slot.id, slot.attempt.saturating_add(1)), attempt, payments, now).await?;
        commit(db).await?;
        Ok(true)
    }

    /// A lane's slots that are not spent, in the order of their nonces, or oldest first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn open_slots(&self, network: &Network, signer: &str) -> Result<Vec<OpenSlot>, LedgerError> {
        let rows = sqlx::query!(
            r#"
            SELECT s.id, s.nonce, s.message, (SELECT min(p.accepted_block) FROM payments p WHERE p.id = ANY (a.payments)) AS accepted, a.number, a.transaction, a.raw, a.fee_per_gas, a.tip_per_gas,
                   a.cost_wei_max, a.signed_at
            FROM submissions s
            JOIN LATERAL (SELECT * FROM attempts WHERE submission_id = s.id ORDER BY number DESC LIMIT 1) a ON true
            WHERE s.network = $1 AND s.signer = $2 AND s.spent_block IS NULL
            ORDER BY s.nonce, s.id
            "#,
            network.as_str(),
            signer,
        )
        .fetch_all(self.pool())
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(OpenSlot {
                    id: SubmissionId::from_uuid(row.id),
                    place: match (row.nonce, row.message) {
                        (Some(nonce), _) => Place::Nonce(from_bigint(nonce)),
                        (None, message) => Place::Message(AuthorizationKey(message.unwrap_or_default())),
                    },
                    accepted: row.accepted.map(from_bigint),
                    attempt: u16::try_from(row.number).column("attempts", "number")?,
                    transaction: row.transaction,
                    raw: row.raw,
                    fees: Fees {
                        fee_per_gas: from_decimal(&row.fee_per_gas).column("attempts", "fee_per_gas")?,
                        tip_per_gas: from_decimal(&row.tip_per_gas).column("attempts", "tip_per_gas")?,
                    },
                    cost_max: from_decimal(&row.cost_wei_max).column("attempts", "cost_wei_max")?,
                    signed_at: row.signed_at,
                })
            })
            .collect()
    }

    /// Whether any slot of a network waits for a block.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn has_open_slots(&self, network: &Network) -> Result<bool, LedgerError> {
        let open = sqlx::query_scalar!(
            r#"SELECT EXISTS (SELECT FROM submissions WHERE network = $1 AND spent_block IS NULL) AS "open!""#,
            network.as_str()
        );
        Ok(open.fetch_one(self.pool()).await?)
    }

    /// How many open slots each signer of a network has, by its address.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn slots_by_signer(&self, network: &Network) -> Result<Vec<(String, usize)>, LedgerError> {
        let rows = sqlx::query!(
            r#"
            SELECT signer, count(*) AS "slots!" FROM submissions WHERE network = $1 AND spent_block IS NULL
            GROUP BY signer ORDER BY signer
            "#,
            network.as_str()
        );
        let rows = rows.fetch_all(self.pool()).await?;
        rows.into_iter().map(|row| Ok((row.signer, usize::try_from(row.slots).column("submissions", "count")?))).collect()
    }

    /// The payments that open slots of a network without nonces were made for, oldest first, given up or not.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn in_open_messages(&self, network: &Network, limit: usize) -> Result<Vec<PaymentId>, LedgerError> {
        let payments = sqlx::query_scalar!(
            r#"
            SELECT p.id FROM submissions s
            JOIN attempts a ON a.submission_id = s.id
            JOIN payments p ON p.id = ANY (a.payments)
            WHERE s.network = $1 AND s.nonce IS NULL AND s.spent_block IS NULL ORDER BY s.id LIMIT $2
            "#,
            network.as_str(),
            i64::try_from(limit).unwrap_or(i64::MAX),
        );
        Ok(payments.fetch_all(self.pool()).await?.into_iter().map(PaymentId::from_uuid).collect())
    }

    /// The payments that a slot was opened for, given up or not.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn made_in(&self, slot: SubmissionId) -> Result<Vec<PaymentId>, LedgerError> {
        let payments = sqlx::query_scalar!(
            r#"SELECT DISTINCT unnest(payments) AS "id!" FROM attempts WHERE submission_id = $1"#,
            slot.uuid()
        );
        Ok(payments.fetch_all(self.pool()).await?.into_iter().map(PaymentId::from_uuid).collect())
    }

    /// Whether the bytes of a slot's newest attempt make a payment that was given up, and that the chain has not paid all the same.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn makes_given_up(&self, slot: &OpenSlot) -> Result<bool, LedgerError> {
        let given_up = sqlx::query_scalar!(
            r#"
            SELECT EXISTS (
                SELECT FROM attempts a JOIN payments p ON p.id = ANY (a.payments)
                WHERE a.submission_id = $1 AND a.number = $2 AND p.given_up_at IS NOT NULL
                  AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = p.id)
            ) AS "given_up!"
            "#,
            slot.id.uuid(),
            i16::try_from(slot.attempt).column("attempts", "number")?,
        );
        Ok(given_up.fetch_one(self.pool()).await?)
    }

    /// The highest account nonce for which a signer ever had a slot.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn highest_nonce(&self, network: &Network, signer: &str) -> Result<Option<u64>, LedgerError> {
        let highest = sqlx::query_scalar!(
            "SELECT max(nonce) FROM submissions WHERE network = $1 AND signer = $2",
            network.as_str(),
            signer
        );
        Ok(highest.fetch_one(self.pool()).await?.map(from_bigint))
    }

    /// The first nonces from `from` on and below `until` for which a signer never had a slot, as far as it is worth looking.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn missing_nonces(
        &self,
        network: &Network,
        signer: &str,
        from: u64,
        until: u64,
        limit: usize,
    ) -> Result<Vec<u64>, LedgerError> {
        // The distance may be any that a node makes up, and the database writes all these numbers down before it looks at one.
        let until = until.min(from.saturating_add(NONCES_LOOKED_AT));
        let missing = sqlx::query_scalar!(
            r#"
            SELECT nonce AS "nonce!" FROM generate_series($3::bigint, $4::bigint - 1) AS nonce
            WHERE NOT EXISTS (SELECT FROM submissions s WHERE s.network = $1 AND s.signer = $2 AND s.nonce = nonce.nonce)
            ORDER BY nonce LIMIT $5
            "#,
            network.as_str(),
            signer,
            to_bigint(from),
            to_bigint(until),
            i64::try_from(limit).unwrap_or(i64::MAX),
        );
        Ok(missing.fetch_all(self.pool()).await?.into_iter().map(from_bigint).collect())
    }
}

/// At the same prices the same payments give the same transaction. Where its bytes were erased, they are kept again as the newest.
async fn insert_attempt(
    db: &mut sqlx::PgConnection,
    network: &Network,
    (slot, number): (SubmissionId, u16),
    attempt: &SignedAttempt,
    payments: &[Sendable],
    now: DateTime<Utc>,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO attempts (network, transaction, submission_id, number, raw, cost_wei_max, fee_per_gas, tip_per_gas, gas_limit,
                              signed_at, payments)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (network, transaction) DO UPDATE
        SET number = excluded.number, raw = excluded.raw, erased_at = NULL, cost_wei_max = excluded.cost_wei_max,
            signed_at = excluded.signed_at
        "#,
        network.as_str(),
        attempt.transaction,
        slot.uuid(),
        i16::try_from(number).column("attempts", "number")?,
        attempt.raw,
        wei_to_decimal(attempt.cost_max),
        wei_to_decimal(attempt.fees.fee_per_gas),
        wei_to_decimal(attempt.fees.tip_per_gas),
        to_bigint(attempt.gas_limit),
        now,
        &payments.iter().map(|payment| payment.id.uuid()).collect::<Vec<_>>(),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Erases the signed bytes of at most `limit` attempts whose slot was spent in a block that is final by now: no reorganisation can
/// open it again, so nobody will send them. Returns of how many.
///
/// # Errors
/// The database could not be reached.
pub async fn erase_bytes(db: &mut sqlx::PgConnection, now: DateTime<Utc>, limit: u32) -> Result<u64, LedgerError> {
    let erased = sqlx::query!(
        r#"
        UPDATE attempts SET raw = NULL, erased_at = $1
        WHERE (network, transaction) IN (
            SELECT a.network, a.transaction FROM attempts a
            JOIN submissions s ON s.id = a.submission_id
            JOIN networks n ON n.network = s.network
            WHERE a.raw IS NOT NULL AND s.spent_block <= n.final_number
            LIMIT $2
        )
        "#,
        now,
        i64::from(limit),
    );
    Ok(erased.execute(db).await?.rows_affected())
}

/// A slot of which a block holds a transaction.
pub struct LandedSlot {
    /// The slot.
    pub id: SubmissionId,
    /// The address of the account.
    pub signer: String,
    /// Its nonce, if it has one.
    pub nonce: Option<u64>,
}

/// Slots of which a block holds one of the transactions.
///
/// # Errors
/// The database could not be reached.
pub async fn slots_of(
    db: &mut sqlx::PgConnection,
    network: &Network,
    transactions: &[String],
) -> Result<Vec<LandedSlot>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT s.id, s.signer, s.nonce FROM attempts a JOIN submissions s ON s.id = a.submission_id
        WHERE a.network = $1 AND a.transaction = ANY ($2)
        "#,
        network.as_str(),
        transactions,
    );
    let rows = rows.fetch_all(db).await?.into_iter();
    let slots =
        rows.map(|row| LandedSlot { id: SubmissionId::from_uuid(row.id), signer: row.signer, nonce: row.nonce.map(from_bigint) });
    Ok(slots.collect())
}

/// Marks slots without nonces as spent at a block, and sends the payments in them that the chain did not pay back to the queue, as
/// [`mark_spent`] does. Returns those payments.
///
/// # Errors
/// The database could not be reached.
pub async fn mark_messages_spent(
    db: &mut sqlx::PgConnection,
    slots: &[SubmissionId],
    block: u64,
) -> Result<Vec<PaymentId>, LedgerError> {
    let slots: Vec<_> = slots.iter().map(|slot| slot.uuid()).collect();
    let spent: Vec<Uuid> = sqlx::query_scalar!(
        "UPDATE submissions SET spent_block = $2 WHERE id = ANY ($1) AND spent_block IS NULL AND nonce IS NULL RETURNING id",
        &slots,
        to_bigint(block),
    )
    .fetch_all(&mut *db)
    .await?;
    requeue_unpaid(db, &spent).await
}

/// Marks every slot of a signer up to a nonce as spent at a block, and sends the payments in them that the chain did not pay
/// back to the queue, from now on alone. It is their own failure if they were alone already. Returns those payments.
///
/// # Errors
/// The database could not be reached.
pub async fn mark_spent(
    db: &mut sqlx::PgConnection,
    network: &Network,
    signer: &str,
    nonce: u64,
    block: u64,
) -> Result<Vec<PaymentId>, LedgerError> {
    let spent: Vec<Uuid> = sqlx::query_scalar!(
        r#"
        UPDATE submissions SET spent_block = $4
        WHERE network = $1 AND signer = $2 AND nonce <= $3 AND spent_block IS NULL RETURNING id
        "#,
        network.as_str(),
        signer,
        to_bigint(nonce),
        to_bigint(block),
    )
    .fetch_all(&mut *db)
    .await?;
    requeue_unpaid(db, &spent).await
}

/// Takes payments that the chain did not pay out of slots that are spent.
async fn requeue_unpaid(db: &mut sqlx::PgConnection, spent: &[Uuid]) -> Result<Vec<PaymentId>, LedgerError> {
    let unpaid = sqlx::query_scalar!(
        r#"
        WITH locked AS (
            SELECT p.id FROM payments p
            WHERE p.submission_id = ANY ($1) AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = p.id)
            ORDER BY p.id FOR UPDATE
        )
        UPDATE payments p SET submission_id = NULL, failed_submission_id = p.submission_id, lane = NULL, alone = true,
            failures = p.failures + p.alone::int::smallint, checked_block = 0
        FROM locked WHERE p.id = locked.id
        RETURNING p.id
        "#,
        spent,
    )
    .fetch_all(db)
    .await?;
    Ok(unpaid.into_iter().map(PaymentId::from_uuid).collect())
}

/// Opens the slots again that were spent in a block above `ancestor`.
///
/// # Errors
/// The database could not be reached.
pub async fn reopen_above(db: &mut sqlx::PgConnection, network: &Network, ancestor: u64) -> Result<(), LedgerError> {
    let reopened: Vec<Uuid> = sqlx::query_scalar!(
        "UPDATE submissions SET spent_block = NULL WHERE network = $1 AND spent_block > $2 RETURNING id",
        network.as_str(),
        to_bigint(ancestor),
    )
    .fetch_all(&mut *db)
    .await?;
    reattach(db, &reopened).await
}

/// Opens those of the `limit` slots of a signer from `next` on again that are marked as spent though its nonce has only come to
/// there. The same answer, given often, opens no more of them. Returns how many.
///
/// # Errors
/// The database could not be reached.
pub async fn reopen_from(
    db: &mut sqlx::PgConnection,
    network: &Network,
    signer: &str,
    next: u64,
    limit: usize,
) -> Result<usize, LedgerError> {
    let reopened: Vec<Uuid> = sqlx::query_scalar!(
        r#"
        UPDATE submissions SET spent_block = NULL
        WHERE network = $1 AND signer = $2 AND nonce >= $3 AND nonce < $4 AND spent_block IS NOT NULL
        RETURNING id
        "#,
        network.as_str(),
        signer,
        to_bigint(next),
        to_bigint(next.saturating_add(limit as u64)),
    )
    .fetch_all(&mut *db)
    .await?;
    reattach(db, &reopened).await?;
    Ok(reopened.len())
}

/// Undoes [`mark_spent`] for the payments of slots that are open again. One that is in no newer slot is under way in this one again:
/// its bytes can still land. One that was given up stays so, because its caller was told; if it lands after all, it is recovered.
async fn reattach(db: &mut sqlx::PgConnection, reopened: &[Uuid]) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        WITH locked AS (
            SELECT p.id FROM payments p
            WHERE p.failed_submission_id = ANY ($1) AND p.submission_id IS NULL AND p.given_up_at IS NULL AND p.final_at IS NULL
              AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = p.id)
            ORDER BY p.id FOR UPDATE
        )
        UPDATE payments p
        SET submission_id = s.id, lane = s.signer, failed_submission_id = NULL, failures = GREATEST(p.failures - 1, 0)
        FROM locked, submissions s WHERE p.id = locked.id AND s.id = p.failed_submission_id
        "#,
        reopened,
    )
    .execute(db)
    .await?;
    Ok(())
}
