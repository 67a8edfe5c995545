//! How a payment comes into the ledger, and how it comes back into the queue.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::TABLE;
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::block::{BlockHash, Level};
use crate::domain::ids::{AccountId, InvoiceId, PaymentId};
use crate::domain::network::Network;
use crate::domain::payment::Fingerprint;
use crate::domain::verification::{Checked, ExaminedPayment};
use crate::ledger::{LedgerError, from_bigint, read_amount, to_bigint, to_decimal};

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
    /// The invoice of ours that it is for.
    pub invoice: Option<InvoiceId>,
    /// Who asked.
    pub provider: Option<AccountId>,
    /// Who is paid.
    pub merchant: Option<AccountId>,
    /// The level that success means.
    pub answer_at: Level,
    /// How long somebody waits for it.
    pub wait: TimeDelta,
    /// When it was accepted.
    pub now: DateTime<Utc>,
    /// Who is told at once that nothing is due. Such a payment has come to its end, and is never sent.
    pub waived_to: Option<&'a str>,
}

/// What the payer has under way on a token beside one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnderWay {
    /// The sum of it; absent if there is nothing.
    pub sum: Option<Amount>,
    /// The block up to which the watcher has accounted for it, if it has begun.
    pub cursor: Option<(u64, BlockHash)>,
    /// The newest final block. What is final is not counted.
    pub finalized: u64,
}

/// Reserves the right to judge a payer's balance until the transaction ends, and says what is under way beside the payment `of`.
/// That one may be in the queue already: another replica was quicker. What landed after the block `since` counts as under way.
///
/// # Errors
/// The database could not be reached.
pub async fn reserve(
    db: &mut PgConnection,
    network: &Network,
    asset: Address,
    payer: Address,
    of: PaymentId,
    since: Option<u64>,
) -> Result<UnderWay, LedgerError> {
    let (asset, payer) = (asset.to_string(), payer.to_string());
    sqlx::query!("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", format!("{network} {asset} {payer}"))
        .execute(&mut *db)
        .await?;
    let row = sqlx::query!(
        r#"
        SELECT sum(p.amount) AS sum, (SELECT cursor_number FROM networks WHERE network = $1) AS cursor,
               (SELECT cursor_hash FROM networks WHERE network = $1) AS hash,
               (SELECT final_number FROM networks WHERE network = $1) AS finalized
        FROM payments p
        WHERE p.network = $1 AND p.asset = $2 AND p.payer = $3 AND p.given_up_at IS NULL AND p.final_at IS NULL
          AND (p.submission_id IS NOT NULL OR p.answer_by > clock_timestamp()) AND p.id <> $4
          AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = p.id AND ($5::bigint IS NULL OR c.block_number <= $5))
        "#,
        network.as_str(),
        asset,
        payer,
        of.uuid(),
        since.map(to_bigint),
    )
    .fetch_one(db)
    .await?;
    let sum = row.sum.map(|sum| read_amount(&sum, TABLE)).transpose()?;
    let finalized = row.finalized.map_or(0, from_bigint);
    Ok(UnderWay { sum, cursor: row.cursor.map(from_bigint).zip(row.hash), finalized })
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
                              payload, expires_at, created_at, answer_by, answer_at, alone, accepted_block, checked_block, payer_code, gas,
                              signer, invoice_id, merchant_id, handed_out_to, handed_out_at, final_at)
        SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, CASE WHEN $24::text IS NULL THEN $12::jsonb END, $13, $14::timestamptz,
               clock_timestamp() + make_interval(secs => $15), $16, $17, $18, $18, $19, $20, $21, $22, $23,
               $24, CASE WHEN $24::text IS NOT NULL THEN $14::timestamptz END, CASE WHEN $24::text IS NOT NULL THEN $14::timestamptz END
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
        examined.signer.map(|signer| signer.to_string()),
        new.invoice.map(InvoiceId::uuid),
        new.merchant.map(AccountId::uuid),
        new.waived_to,
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

/// Notes whose the recipients of payments were when their transfers were observed. An address may have changed hands since they were
/// accepted.
///
/// # Errors
/// The database could not be reached.
pub async fn note_merchants(db: &mut PgConnection, paid: &[(PaymentId, Option<AccountId>)]) -> Result<(), LedgerError> {
    if paid.is_empty() {
        return Ok(());
    }
    let (ids, merchants): (Vec<_>, Vec<_>) = paid.iter().map(|(id, merchant)| (id.uuid(), merchant.map(AccountId::uuid))).unzip();
    sqlx::query!(
        r#"
        UPDATE payments p SET merchant_id = n.merchant
        FROM unnest($1::uuid[], $2::uuid[]) AS n (id, merchant)
        WHERE p.id = n.id AND p.merchant_id IS DISTINCT FROM n.merchant
        "#,
        &ids,
        &merchants as &[Option<Uuid>],
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Whether a payment that names an invoice is under way: it is not paid yet and was not given up, and somebody may still land it.
///
/// # Errors
/// The database could not be reached.
pub async fn is_under_way_for(db: &mut PgConnection, invoice: InvoiceId, now: DateTime<Utc>) -> Result<bool, LedgerError> {
    let found = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM payments p
            WHERE p.invoice_id = $1 AND p.given_up_at IS NULL AND (p.submission_id IS NOT NULL OR p.expires_at > $2)
              AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = p.id)
        ) AS "found!"
        "#,
        invoice.uuid(),
        now,
    );
    Ok(found.fetch_one(db).await?)
}
