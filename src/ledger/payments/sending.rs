//! What lanes read of payments, and note about them until a slot carries them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::types::BigDecimal;
use uuid::Uuid;

use super::TABLE;
use crate::domain::ids::{AccountId, PaymentId, SubmissionId};
use crate::domain::network::Network;
use crate::domain::payment::AuthorizationKey;
use crate::domain::verification::{Checked, Sendable};
use crate::ledger::{Column, Ledger, LedgerError, from_bigint, read_address, read_amount, to_bigint};

/// Selects payments with everything that sending them needs; the text behind it says which.
macro_rules! sendables {
    ($rest:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            SendableRow,
            r#"
            SELECT p.id, p.asset, p.payer, p.pay_to, p.amount, p.provider_id, p.expires_at, p.payload, p.checked_block,
                   p.payer_code, p.gas, p.alone, p.failures, p.key
            FROM payments p
            "# + $rest
            $(, $argument)*
        )
    };
}

/// What a lane reads of a payment.
struct SendableRow {
    id: Uuid,
    asset: String,
    payer: String,
    pay_to: String,
    amount: BigDecimal,
    provider_id: Option<Uuid>,
    expires_at: DateTime<Utc>,
    payload: Option<Value>,
    checked_block: i64,
    payer_code: String,
    gas: i64,
    alone: bool,
    failures: i16,
    key: Vec<u8>,
}

impl TryFrom<SendableRow> for Sendable {
    type Error = LedgerError;

    fn try_from(row: SendableRow) -> Result<Self, LedgerError> {
        Ok(Self {
            id: PaymentId::from_uuid(row.id),
            asset: read_address(&row.asset, TABLE, "asset")?,
            payer: read_address(&row.payer, TABLE, "payer")?,
            pay_to: read_address(&row.pay_to, TABLE, "pay_to")?,
            amount: read_amount(&row.amount, TABLE)?,
            provider: row.provider_id.map(AccountId::from_uuid),
            expires_at: row.expires_at,
            payload: row.payload.column(TABLE, "payload")?,
            checked: Checked {
                block: from_bigint(row.checked_block),
                payer_code: row.payer_code,
                alone: row.alone,
                gas: from_bigint(row.gas),
            },
            failures: u16::try_from(row.failures).column(TABLE, "failures")?,
            key: AuthorizationKey(row.key),
        })
    }
}

impl Ledger {
    /// Assigns waiting payments to the lane of a signer's address, and returns all that wait in it, oldest first. It takes those that have no lane, and
    /// those of a lane that is drained, short of funds, or whose signer is away. What is about to expire is not begun: it would keep the others from
    /// their slot when it does.
    ///
    /// Payments of other tokens than `assets` are left to replicas that know them: while a configuration is read anew, not all do.
    ///
    /// A lane that is drained takes only what it has failed with before, and a network that an operator has halted begins nothing.
    ///
    /// The time is that of the statement, so that an index can be asked for what waits; the clock's would have all that was
    /// withdrawn read, too.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn take_queued(
        &self,
        network: &Network,
        lane: &str,
        assets: &[String],
        limit: usize,
    ) -> Result<Vec<Sendable>, LedgerError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        sqlx::query!(
            r#"
            UPDATE payments SET lane = $2
            WHERE id IN (
                SELECT p.id FROM payments p
                WHERE p.network = $1 AND p.submission_id IS NULL AND p.given_up_at IS NULL AND (p.signer IS NULL OR p.signer = $2)
                  AND p.asset = ANY ($4)
                  AND (p.lane IS NULL
                       OR p.lane <> $2 AND (
                           EXISTS (SELECT FROM signers s WHERE s.network = $1 AND s.address = p.lane AND (s.short OR s.away))
                           OR EXISTS (SELECT FROM drained_lanes d WHERE d.network = $1 AND d.signer = p.lane)))
                  AND (NOT EXISTS (SELECT FROM drained_lanes d WHERE d.network = $1 AND d.signer = $2)
                       OR EXISTS (SELECT FROM submissions f WHERE f.id = p.failed_submission_id AND f.signer = $2))
                  AND p.final_at IS NULL AND p.answer_by > statement_timestamp() + interval '200 milliseconds'
                  AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = p.id)
                ORDER BY p.id LIMIT $3 FOR UPDATE SKIP LOCKED
            )
            "#,
            network.as_str(),
            lane,
            limit,
            assets,
        )
        .execute(self.pool())
        .await?;
        let rows = sendables!(
            r#"
            WHERE p.network = $1 AND p.lane = $2 AND p.submission_id IS NULL AND p.given_up_at IS NULL AND p.final_at IS NULL
              AND p.asset = ANY ($4)
              AND p.answer_by > statement_timestamp() + interval '200 milliseconds'
              AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = p.id)
              AND NOT EXISTS (SELECT FROM networks n WHERE n.network = $1 AND n.stopped_at IS NOT NULL)
            ORDER BY p.id LIMIT $3
            "#,
            network.as_str(),
            lane,
            limit,
            assets,
        )
        .fetch_all(self.pool())
        .await?;
        rows.into_iter().map(Sendable::try_from).collect()
    }

    /// The payments that a slot carries, if they may still have to be signed for again. Of one that was given up, somebody was told
    /// that it is not made.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn carried_by(&self, slot: SubmissionId) -> Result<Vec<Sendable>, LedgerError> {
        let rows = sendables!(
            "WHERE p.submission_id = $1 AND p.payload IS NOT NULL AND p.given_up_at IS NULL ORDER BY p.id",
            slot.uuid()
        );
        let rows = rows.fetch_all(self.pool()).await?;
        rows.into_iter().map(Sendable::try_from).collect()
    }

    /// A payment with everything that sending it needs, while that is kept.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn find_sendable(&self, id: PaymentId) -> Result<Option<Sendable>, LedgerError> {
        let row = sendables!("WHERE p.id = $1 AND p.payload IS NOT NULL", id.uuid());
        row.fetch_optional(self.pool()).await?.map(Sendable::try_from).transpose()
    }

    /// The block at which a payment was simulated before it was recorded: its authorization was unused there.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn first_checked(&self, id: PaymentId) -> Result<Option<u64>, LedgerError> {
        let block = sqlx::query_scalar!("SELECT accepted_block FROM payments WHERE id = $1", id.uuid());
        Ok(block.fetch_optional(self.pool()).await?.map(from_bigint))
    }

    /// Notes what a second look at waiting payments found.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn note_checked(&self, found: &[(PaymentId, Checked)]) -> Result<(), LedgerError> {
        let ids: Vec<_> = found.iter().map(|(id, _)| id.uuid()).collect();
        let blocks: Vec<_> = found.iter().map(|(_, checked)| to_bigint(checked.block)).collect();
        let gas: Vec<_> = found.iter().map(|(_, checked)| to_bigint(checked.gas)).collect();
        let codes: Vec<_> = found.iter().map(|(_, checked)| checked.payer_code.clone()).collect();
        let alone: Vec<_> = found.iter().map(|(_, checked)| checked.alone).collect();
        sqlx::query!(
            r#"
            WITH locked AS (SELECT id FROM payments WHERE id = ANY ($1) AND submission_id IS NULL ORDER BY id FOR UPDATE)
            UPDATE payments p SET checked_block = f.block, gas = f.gas, payer_code = f.code, alone = f.alone
            FROM locked, unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::bool[]) AS f (id, block, gas, code, alone)
            WHERE p.id = locked.id AND p.id = f.id
            "#,
            &ids,
            &blocks,
            &gas,
            &codes,
            &alone,
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }
}
