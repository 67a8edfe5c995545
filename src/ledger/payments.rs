//! Payments and the authorizations that they hold. They are read here; what changes them has a file for each occasion.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::BigDecimal;
use uuid::Uuid;

use super::exports::Span;
use super::{Column, Ledger, LedgerError, from_bigint, read_address, read_amount};
use crate::domain::block::Level;
use crate::domain::ids::{AccountId, InvoiceId, PaymentId, SubmissionId};
use crate::domain::network::Network;
use crate::domain::payment::{AuthorizationKey, Claim, Fingerprint, HandedOut, Payment};
use crate::domain::reason::{Reason, Version};

mod ending;
mod handing_out;
mod recording;
mod sending;
mod story;

pub use ending::{Expired, expire, finalize, give_up, spoil, undo_final};
pub use handing_out::{Taker, take_spent};
pub use recording::{NewPayment, UnderWay, insert, is_under_way_for, note_merchants, reserve, revive};
pub use story::{Background, Backlog, PastAttempt, PastDelivery, PastTransfer};

/// Selects payments with what stands on chain for them; the text behind it says which.
macro_rules! payments {
    ($rest:tt $(+ $more:tt)* $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            PaymentRow,
            r#"
            SELECT p.id AS "id!", p.network AS "network!", p.key AS "key!", p.fingerprint AS "fingerprint!",
                   p.x402_version AS "x402_version!", p.asset AS "asset!", p.payer AS "payer!", p.pay_to AS "pay_to!",
                   p.amount AS "amount!", p.resource, p.invoice_id, p.provider_id, p.merchant_id, p.expires_at AS "expires_at!",
                   p.created_at AS "created_at!", p.answer_by AS "answer_by!", p.answer_at AS "answer_at!", p.submission_id,
                   p.given_up_reason, p.handed_out_at, p.handed_out_to, c.transaction AS "claim_transaction?", c.block_number AS "claim_number?",
                   c.block_hash AS "claim_hash?", c.index AS "claim_index?",
                   (SELECT a.transaction FROM attempts a WHERE a.submission_id = p.submission_id ORDER BY a.number DESC LIMIT 1)
                       AS "attempt?",
                   (SELECT a.transaction FROM attempts a WHERE a.submission_id = p.failed_submission_id
                    ORDER BY a.number DESC LIMIT 1) AS "failed_attempt?"
            FROM payments p LEFT JOIN claims c ON c.payment_id = p.id
            "# + $rest $(+ $more)*
            $(, $argument)*
        )
    };
}

/// Selects of the payments that the condition names those that a filter lets through, newest first.
macro_rules! filtered {
    ($whose:tt, $filter:expr) => {
        payments!(
            "WHERE "
                + $whose
                + r#"
              AND p.id < $2
              AND ($3::text IS NULL OR c.transaction = $3
                   OR p.submission_id IN (SELECT a.submission_id FROM attempts a WHERE a.transaction = $3)
                   OR p.failed_submission_id IN (SELECT a.submission_id FROM attempts a WHERE a.transaction = $3))
              AND ($4::text IS NULL OR $4 = CASE
                  WHEN p.amount = 0 THEN 'waived'
                  WHEN c.payment_id IS NOT NULL AND p.final_at IS NOT NULL THEN 'final'
                  WHEN c.payment_id IS NOT NULL THEN 'included'
                  WHEN p.given_up_at IS NOT NULL THEN 'failed'
                  WHEN p.submission_id IS NOT NULL THEN 'submitted'
                  WHEN p.answer_by > clock_timestamp() THEN 'queued'
                  ELSE 'withdrawn' END)
              AND ($6::uuid IS NULL OR p.invoice_id = $6 OR c.invoice_id = $6)
            ORDER BY p.id DESC LIMIT $5
            "#,
            $filter.account.map(AccountId::uuid),
            $filter.before.map_or(Uuid::max(), PaymentId::uuid),
            $filter.transaction,
            $filter.state,
            i64::from($filter.limit),
            $filter.invoice.map(InvoiceId::uuid),
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
    invoice_id: Option<Uuid>,
    provider_id: Option<Uuid>,
    merchant_id: Option<Uuid>,
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
            invoice: row.invoice_id.map(InvoiceId::from_uuid),
            provider: row.provider_id.map(AccountId::from_uuid),
            merchant: row.merchant_id.map(AccountId::from_uuid),
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

/// A page of payments.
#[derive(Debug, Clone, Default)]
pub struct PaymentFilter {
    /// Only those that this account asked for, or is paid by. Absent for operators.
    pub account: Option<AccountId>,
    /// Only those for this invoice.
    pub invoice: Option<InvoiceId>,
    /// Only those with this transaction.
    pub transaction: Option<String>,
    /// Only those in this state.
    pub state: Option<String>,
    /// Only those behind this one, newest first.
    pub before: Option<PaymentId>,
    /// At most this many.
    pub limit: u32,
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
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
        let rows = payments!("WHERE p.id = ANY ($1)", &ids).fetch_all(self.pool()).await?;
        rows.into_iter().map(Payment::try_from).collect()
    }

    /// A page of payments, newest first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn list_payments(&self, filter: &PaymentFilter) -> Result<Vec<Payment>, LedgerError> {
        if filter.account.is_none() {
            let rows = filtered!("$1::uuid IS NULL", filter).fetch_all(self.pool()).await?;
            return rows.into_iter().map(Payment::try_from).collect();
        }
        // A statement for each role of the account: one for both would be read from everybody's payments.
        let mut rows = filtered!("p.provider_id = $1", filter).fetch_all(self.pool()).await?;
        rows.extend(filtered!("p.merchant_id = $1", filter).fetch_all(self.pool()).await?);
        rows.sort_by_key(|row| std::cmp::Reverse(row.id));
        rows.dedup_by_key(|row| row.id);
        rows.into_iter().take(filter.limit as usize).map(Payment::try_from).collect()
    }

    /// A page of the payments of a span behind a name, in the order of their names.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn export_payments(&self, span: &Span, after: Uuid, limit: u32) -> Result<Vec<Payment>, LedgerError> {
        let rows = payments!(
            r#"
            WHERE ($1::uuid IS NULL OR p.provider_id = $1 OR p.merchant_id = $1) AND p.id > $2 AND p.id < $3
              AND ($4::timestamptz IS NULL OR p.created_at >= $4) AND ($5::timestamptz IS NULL OR p.created_at < $5)
            ORDER BY p.id LIMIT $6
            "#,
            span.account.map(AccountId::uuid),
            after,
            span.above(),
            span.from,
            span.until,
            i64::from(limit),
        );
        rows.fetch_all(self.pool()).await?.into_iter().map(Payment::try_from).collect()
    }
}
