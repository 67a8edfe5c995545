//! Payments and the authorizations that they hold.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use sqlx::types::BigDecimal;
use uuid::Uuid;

use super::{Column, Ledger, LedgerError, commit, from_bigint, read_address, read_amount, to_bigint, to_decimal};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::block::Level;
use crate::domain::ids::{AccountId, PaymentId, SubmissionId};
use crate::domain::network::Network;
use crate::domain::payment::{AuthorizationKey, Claim, Fingerprint, HandedOut, Payment};
use crate::domain::reason::{Reason, Version};
use crate::domain::verification::{Checked, ExaminedPayment, Sendable};

/// Selects payments with what stands on chain for them; the text behind it says which.
macro_rules! payments {
    ($rest:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            PaymentRow,
            r#"
            SELECT p.id AS "id!", p.network AS "network!", p.key AS "key!", p.fingerprint AS "fingerprint!",
                   p.x402_version AS "x402_version!", p.asset AS "asset!", p.payer AS "payer!", p.pay_to AS "pay_to!",
                   p.amount AS "amount!", p.resource, p.provider_id, p.expires_at AS "expires_at!",
                   p.created_at AS "created_at!", p.answer_by AS "answer_by!", p.answer_at AS "answer_at!", p.submission_id,
                   p.given_up_reason, p.handed_out_at, p.handed_out_to, c.transaction AS "claim_transaction?", c.block_number AS "claim_number?",
                   c.block_hash AS "claim_hash?", c.index AS "claim_index?",
                   (SELECT a.transaction FROM attempts a WHERE a.submission_id = p.submission_id ORDER BY a.number DESC LIMIT 1)
                       AS "attempt?",
                   (SELECT a.transaction FROM attempts a WHERE a.submission_id = p.failed_submission_id
                    ORDER BY a.number DESC LIMIT 1) AS "failed_attempt?"
            FROM payments p LEFT JOIN claims c ON c.payment_id = p.id
            "# + $rest
            $(, $argument)*
        )
    };
}

struct PaymentRow {
    id: Uuid,
    network: String,
    key: Vec<u8>,
    fingerprint: Vec<u8>,
    x402_version: i16,
    asset: String,
    payer: String,
    pay_to: String,
    amount: BigDecimal,
    resource: Option<String>,
    provider_id: Option<Uuid>,
    expires_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
    answer_by: DateTime<Utc>,
    answer_at: String,
    submission_id: Option<Uuid>,
    given_up_reason: Option<String>,
    handed_out_at: Option<DateTime<Utc>>,
    handed_out_to: Option<String>,
    claim_transaction: Option<String>,
    claim_number: Option<i64>,
    claim_hash: Option<String>,
    claim_index: Option<i32>,
    attempt: Option<String>,
    failed_attempt: Option<String>,
}

const TABLE: &str = "payments";

impl TryFrom<PaymentRow> for Payment {
    type Error = LedgerError;

    fn try_from(row: PaymentRow) -> Result<Self, LedgerError> {
        let claim = match (row.claim_transaction, row.claim_number, row.claim_hash, row.claim_index) {
            (Some(transaction), Some(number), Some(block_hash), Some(index)) => Some(Claim {
                transaction,
                block_number: from_bigint(number),
                block_hash,
                index: u32::try_from(index).column("claims", "index")?,
            }),
            _ => None,
        };
        Ok(Self {
            id: PaymentId::from_uuid(row.id),
            network: row.network.parse().column(TABLE, "network")?,
            key: AuthorizationKey(row.key),
            fingerprint: Fingerprint(row.fingerprint.try_into().column(TABLE, "fingerprint")?),
            version: if row.x402_version == 1 { Version::V1 } else { Version::V2 },
            asset: read_address(&row.asset, TABLE, "asset")?,
            payer: read_address(&row.payer, TABLE, "payer")?,
            pay_to: read_address(&row.pay_to, TABLE, "pay_to")?,
            amount: read_amount(&row.amount, TABLE)?,
            resource: row.resource,
            provider: row.provider_id.map(AccountId::from_uuid),
            expires_at: row.expires_at,
            created_at: row.created_at,
            answer_by: row.answer_by,
            answer_at: Level::parse(&row.answer_at).column(TABLE, "answer_at")?,
            submission: row.submission_id.map(SubmissionId::from_uuid),
            transaction: row.attempt,
            failed_transaction: row.failed_attempt,
            given_up: row.given_up_reason.map(|code| Reason::from_code(&code).column(TABLE, "given_up_reason")).transpose()?,
            handed_out: row.handed_out_at.zip(row.handed_out_to).map(|(at, to)| HandedOut { at, to }),
            claim,
        })
    }
}

/// A payment to be recorded.
pub struct NewPayment<'a> {
    /// Our name for it.
    pub id: PaymentId,
    /// What was asked, and what the rules read out of it.
    pub examined: &'a ExaminedPayment,
    /// What the chain said.
    pub checked: &'a Checked,
    /// Binds everything that was asked.
    pub fingerprint: Fingerprint,
    /// Who asked.
    pub provider: Option<AccountId>,
    /// The level that success means.
    pub answer_at: Level,
    /// How long somebody waits for it.
    pub wait: TimeDelta,
    /// When it was accepted.
    pub now: DateTime<Utc>,
}

/// What the payer already has under way on a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnderWay {
    /// The sum of it; absent if there is nothing.
    pub sum: Option<Amount>,
    /// The block up to which the watcher has accounted for it, if it has begun.
    pub cursor: Option<u64>,
}

/// Reserves the right to judge a payer's balance until the transaction ends, and says what is under way.
///
/// # Errors
/// The database could not be reached.
pub async fn reserve(db: &mut PgConnection, network: &Network, asset: Address, payer: Address) -> Result<UnderWay, LedgerError> {
    let (asset, payer) = (asset.to_string(), payer.to_string());
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", format!("{network} {asset} {payer}"))
        .execute(&mut *db)
        .await?;
    let row = sqlx::query!(
        r#"
        SELECT sum(p.amount) AS sum, (SELECT cursor_number FROM networks WHERE network = $1) AS cursor
        FROM payments p
        WHERE p.network = $1 AND p.asset = $2 AND p.payer = $3 AND p.given_up_at IS NULL AND p.final_at IS NULL
          AND (p.submission_id IS NOT NULL OR p.answer_by > clock_timestamp())
          AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = p.id)
        "#,
        network.as_str(),
        asset,
        payer,
    )
    .fetch_one(db)
    .await?;
    let sum = row.sum.map(|sum| read_amount(&sum, TABLE)).transpose()?;
    Ok(UnderWay { sum, cursor: row.cursor.map(from_bigint) })
}

/// Records a payment together with its hold on the authorization. Returns whether it did: not if the authorization is held.
///
/// This is the replay protection. Of two concurrent calls one inserts; the other waits on the unique index until the first
/// commits, and then inserts nothing.
///
/// # Errors
/// The database could not be reached.
pub async fn insert(db: &mut PgConnection, new: &NewPayment<'_>) -> Result<bool, LedgerError> {
    let (examined, checked) = (new.examined, new.checked);
    let request = &examined.request;
    let done = sqlx::query!(
        r#"
        WITH held AS (
            INSERT INTO authorizations (network, key, payment_id) VALUES ($2, $3, $1)
            ON CONFLICT (network, key) DO NOTHING
            RETURNING payment_id
        )
        INSERT INTO payments (id, network, key, fingerprint, x402_version, asset, payer, pay_to, amount, resource, provider_id,
                              payload, expires_at, created_at, answer_by, answer_at, alone, accepted_block, checked_block, payer_code, gas)
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
               clock_timestamp() + make_interval(secs => $15), $16, $17, $18, $18, $19, $20
        FROM held
        "#,
        new.id.uuid(),
        request.network.as_str(),
        examined.key.0,
        &new.fingerprint.0[..],
        i16::from(request.version.number()),
        request.asset.to_string(),
        examined.payer.to_string(),
        request.pay_to.to_string(),
        to_decimal(request.amount),
        request.resource,
        new.provider.map(AccountId::uuid),
        examined.payload,
        examined.expires_at,
        new.now,
        new.wait.as_seconds_f64(),
        new.answer_at.as_str(),
        checked.alone,
        to_bigint(checked.block),
        checked.payer_code,
        to_bigint(checked.gas),
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Puts a payment that nobody waits for, and that no slot carries, back into the queue, with what a new simulation found.
/// Returns whether it did: not if somebody else was quicker.
///
/// # Errors
/// The database could not be reached.
pub async fn revive(db: &mut PgConnection, id: PaymentId, checked: &Checked, wait: TimeDelta) -> Result<bool, LedgerError> {
    let done = sqlx::query!(
        r#"
        UPDATE payments
        SET answer_by = clock_timestamp() + make_interval(secs => $2), lane = NULL, given_up_at = NULL, given_up_reason = NULL,
            checked_block = $3, payer_code = $4, gas = $5, alone = alone OR $6
        WHERE id = $1 AND submission_id IS NULL AND payload IS NOT NULL
          AND (answer_by <= clock_timestamp() OR given_up_at IS NOT NULL)
        "#,
        id.uuid(),
        wait.as_seconds_f64(),
        to_bigint(checked.block),
        checked.payer_code,
        to_bigint(checked.gas),
        checked.alone,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

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

/// A page of payments.
#[derive(Debug, Clone, Default)]
pub struct PaymentFilter {
    /// Only those that this account asked for. Absent for operators.
    pub provider: Option<AccountId>,
    /// Only those with this transaction.
    pub transaction: Option<String>,
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those behind this one, newest first.
    pub before: Option<PaymentId>,
    /// At most this many.
    pub limit: i64,
}

/// The payments that hold these authorizations, locked until the transaction ends.
///
/// # Errors
/// The database could not be reached.
pub async fn lock_holders(
    db: &mut PgConnection,
    network: &Network,
    keys: &[AuthorizationKey],
) -> Result<Vec<Payment>, LedgerError> {
    let keys: Vec<_> = keys.iter().map(|key| key.0.clone()).collect();
    let rows = payments!(
        "JOIN authorizations h ON h.payment_id = p.id WHERE h.network = $1 AND h.key = ANY ($2) ORDER BY p.id FOR UPDATE OF p",
        network.as_str(),
        &keys
    );
    rows.fetch_all(db).await?.into_iter().map(Payment::try_from).collect()
}

/// Gives up payments whose authorizations the chain has used for something else. Returns those that were not given up before.
///
/// # Errors
/// The database could not be reached.
pub async fn spoil(db: &mut PgConnection, ids: &[PaymentId], now: DateTime<Utc>) -> Result<Vec<PaymentId>, LedgerError> {
    let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
    let spoilt = sqlx::query_scalar!(
        "UPDATE payments SET given_up_reason = $2, given_up_at = $3 WHERE id = ANY ($1) AND given_up_at IS NULL RETURNING id",
        &ids,
        Reason::NonceAlreadyUsed.code(),
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
        UPDATE payments p SET final_at = $4, payload = NULL
        FROM claims c
        WHERE c.payment_id = p.id AND c.network = $1 AND c.block_number BETWEEN $2 AND $3 AND p.final_at IS NULL
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

/// Erases the signatures of at most `limit` payments that expired before `until` without being made, and gives up those that were
/// not yet.
///
/// # Errors
/// The database could not be reached.
pub async fn expire(
    db: &mut PgConnection,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: u32,
) -> Result<Vec<Expired>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        WITH old AS (
            SELECT p.id, p.given_up_at IS NULL AS open FROM payments p
            WHERE p.payload IS NOT NULL AND p.final_at IS NULL AND p.expires_at < $1
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
    );
    let expired = rows.fetch_all(db).await?.into_iter().map(|row| Expired {
        payment: PaymentId::from_uuid(row.id),
        provider: row.provider_id.map(AccountId::from_uuid),
        given_up: row.open,
    });
    Ok(expired.collect())
}

impl Ledger {
    /// The payment that holds an authorization.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn find_holder(&self, network: &Network, key: &AuthorizationKey) -> Result<Option<Payment>, LedgerError> {
        payments!("JOIN authorizations h ON h.payment_id = p.id WHERE h.network = $1 AND h.key = $2", network.as_str(), key.0)
            .fetch_optional(self.pool())
            .await?
            .map(Payment::try_from)
            .transpose()
    }

    /// The payment with this identifier.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn find_payment(&self, id: PaymentId) -> Result<Option<Payment>, LedgerError> {
        payments!("WHERE p.id = $1", id.uuid()).fetch_optional(self.pool()).await?.map(Payment::try_from).transpose()
    }

    /// The payments with these identifiers.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn find_payments(&self, ids: &[PaymentId]) -> Result<Vec<Payment>, LedgerError> {
        let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
        let rows = payments!("WHERE p.id = ANY ($1)", &ids).fetch_all(self.pool()).await?;
        rows.into_iter().map(Payment::try_from).collect()
    }

    /// A page of payments, newest first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn list_payments(&self, filter: &PaymentFilter) -> Result<Vec<Payment>, LedgerError> {
        let rows = payments!(
            r#"
            WHERE ($1::uuid IS NULL OR p.provider_id = $1)
              AND ($2::uuid IS NULL OR p.id < $2)
              AND ($3::text IS NULL OR c.transaction = $3
                   OR p.submission_id IN (SELECT a.submission_id FROM attempts a WHERE a.transaction = $3)
                   OR p.failed_submission_id IN (SELECT a.submission_id FROM attempts a WHERE a.transaction = $3))
              AND ($4::text IS NULL OR $4 = CASE
                  WHEN c.payment_id IS NOT NULL AND p.final_at IS NOT NULL THEN 'final'
                  WHEN c.payment_id IS NOT NULL THEN 'included'
                  WHEN p.given_up_at IS NOT NULL THEN 'failed'
                  WHEN p.submission_id IS NOT NULL THEN 'submitted'
                  WHEN p.answer_by > clock_timestamp() THEN 'queued'
                  ELSE 'withdrawn' END)
            ORDER BY p.id DESC LIMIT $5
            "#,
            filter.provider.map(AccountId::uuid),
            filter.before.map(PaymentId::uuid),
            filter.transaction,
            filter.state,
            filter.limit,
        )
        .fetch_all(self.pool())
        .await?;
        rows.into_iter().map(Payment::try_from).collect()
    }

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

/// What a lane reads of a payment.
pub(super) struct SendableRow {
    pub id: Uuid,
    pub asset: String,
    pub payer: String,
    pub pay_to: String,
    pub amount: BigDecimal,
    pub provider_id: Option<Uuid>,
    pub expires_at: DateTime<Utc>,
    pub payload: Option<Value>,
    pub checked_block: i64,
    pub payer_code: String,
    pub gas: i64,
    pub alone: bool,
    pub failures: i16,
    pub key: Vec<u8>,
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
                // The balance belongs to the moment of the simulation and is not kept.
                balance: Amount::ZERO,
                payer_code: row.payer_code,
                alone: row.alone,
                gas: from_bigint(row.gas),
            },
            failures: u16::try_from(row.failures).column(TABLE, "failures")?,
            key: AuthorizationKey(row.key),
        })
    }
}
