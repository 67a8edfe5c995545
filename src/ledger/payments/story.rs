//! Everything that is known of one payment, and which payments have waited longest, for operators.

use chrono::{DateTime, Utc};
use sqlx::types::BigDecimal;
use uuid::Uuid;

use crate::domain::address::encode_hex;
use crate::domain::ids::{DeliveryId, PaymentId, SubmissionId, WebhookId};
use crate::domain::network::Network;
use crate::domain::payment::{Payment, Unended};
use crate::ledger::exports::Span;
use crate::ledger::{Column, Ledger, LedgerError, from_bigint, from_decimal};

/// What the ledger keeps of a payment beside its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Background {
    /// The address of the signer that is to send it.
    pub lane: Option<String>,
    /// Whether it must not share a transaction with others.
    pub alone: bool,
    /// Slots that were spent without the transfer while it was alone in them.
    pub failures: u16,
    /// When it was given up.
    pub given_up_at: Option<DateTime<Utc>>,
    /// When it became final.
    pub final_at: Option<DateTime<Utc>>,
    /// Whether the payer's signature is kept.
    pub signature_kept: bool,
}

/// A transaction that was signed for a slot in which a payment was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastAttempt {
    /// The slot.
    pub slot: SubmissionId,
    /// The address of its signer.
    pub signer: String,
    /// Its account nonce, or the hash of its message.
    pub place: String,
    /// The block in which something spent it.
    pub spent_block: Option<u64>,
    /// The transaction.
    pub transaction: String,
    /// Counts from one.
    pub number: u16,
    /// When it was signed.
    pub signed_at: DateTime<Utc>,
    /// What it may cost at most, in the smallest unit of the coin.
    pub cost_max: u128,
    /// How many payments it makes.
    pub payments: usize,
    /// Whether this one is among them.
    pub makes_it: bool,
    /// Whether its bytes are kept, so that they may be sent again.
    pub bytes_kept: bool,
}

/// A transfer that makes a payment, or did until its block was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastTransfer {
    /// The transaction.
    pub transaction: String,
    /// Its block's height.
    pub block_number: u64,
    /// Its block's hash.
    pub block_hash: String,
    /// The time of that block.
    pub happened_at: Option<DateTime<Utc>>,
    /// Whether that block is one of the chain's.
    pub canonical: bool,
}

/// An event of a payment on its way to a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastDelivery {
    /// The delivery.
    pub id: DeliveryId,
    /// The webhook.
    pub webhook: WebhookId,
    /// What is told.
    pub kind: String,
    /// How often that was tried.
    pub attempts: u32,
    /// When it arrived.
    pub delivered_at: Option<DateTime<Utc>>,
    /// When nobody tried any more.
    pub given_up_at: Option<DateTime<Utc>>,
}

/// Payments of a network in a state that is not their last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The network.
    pub network: Network,
    /// Their state.
    pub state: Unended,
    /// How many there are.
    pub payments: u64,
    /// When the oldest was accepted.
    pub oldest: DateTime<Utc>,
}

struct AttemptRow {
    id: Uuid,
    signer: String,
    nonce: Option<i64>,
    message: Option<Vec<u8>>,
    spent_block: Option<i64>,
    transaction: String,
    number: i16,
    signed_at: DateTime<Utc>,
    cost_wei_max: BigDecimal,
    payments: Vec<Uuid>,
    bytes_kept: bool,
}

impl AttemptRow {
    fn read(self, payment: PaymentId) -> Result<PastAttempt, LedgerError> {
        let message = self.message.unwrap_or_default();
        Ok(PastAttempt {
            slot: SubmissionId::from_uuid(self.id),
            signer: self.signer,
            place: self.nonce.map_or_else(|| encode_hex(&message), |nonce| nonce.to_string()),
            spent_block: self.spent_block.map(from_bigint),
            transaction: self.transaction,
            number: u16::try_from(self.number).column("attempts", "number")?,
            signed_at: self.signed_at,
            cost_max: from_decimal(&self.cost_wei_max).column("attempts", "cost_wei_max")?,
            makes_it: self.payments.contains(&payment.uuid()),
            payments: self.payments.len(),
            bytes_kept: self.bytes_kept,
        })
    }
}

impl Ledger {
    /// What is kept of a payment beside its facts.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn background_of(&self, payment: PaymentId) -> Result<Option<Background>, LedgerError> {
        let row = sqlx::query!(
            r#"
            SELECT lane, alone, failures, given_up_at, final_at, payload IS NOT NULL AS "signature_kept!" FROM payments WHERE id = $1
            "#,
            payment.uuid()
        );
        let Some(row) = row.fetch_optional(self.pool()).await? else { return Ok(None) };
        Ok(Some(Background {
            lane: row.lane,
            alone: row.alone,
            failures: u16::try_from(row.failures).column("payments", "failures")?,
            given_up_at: row.given_up_at,
            final_at: row.final_at,
            signature_kept: row.signature_kept,
        }))
    }

    /// Every transaction that was signed for a slot in which a payment was, slot by slot.
    ///
    /// Slots are named when they are opened, and none is opened for a payment that has expired, so few have to be looked at.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn attempts_of(&self, payment: &Payment) -> Result<Vec<PastAttempt>, LedgerError> {
        let span = Span { account: None, from: Some(payment.created_at), until: Some(payment.expires_at) };
        let rows = sqlx::query_as!(
            AttemptRow,
            r#"
            SELECT s.id, s.signer, s.nonce, s.message, s.spent_block, a.transaction, a.number, a.signed_at, a.cost_wei_max, a.payments,
                   a.raw IS NOT NULL AS "bytes_kept!"
            FROM submissions s JOIN attempts a ON a.submission_id = s.id
            WHERE s.id IN (
                SELECT o.id FROM submissions o JOIN attempts b ON b.submission_id = o.id
                WHERE o.id > $3 AND o.id < $4 AND o.network = $2 AND $1 = ANY (b.payments)
            )
            ORDER BY s.id, a.number
            "#,
            payment.id.uuid(),
            payment.network.as_str(),
            span.below(),
            span.above(),
        );
        rows.fetch_all(self.pool()).await?.into_iter().map(|row| row.read(payment.id)).collect()
    }

    /// The transfers by which these transactions make a payment, those in replaced blocks among them.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn transfers_making(&self, payment: &Payment, transactions: &[String]) -> Result<Vec<PastTransfer>, LedgerError> {
        let rows = sqlx::query!(
            r#"
            SELECT transaction, block_number, block_hash, happened_at, canonical FROM transfers
            WHERE network = $1 AND transaction = ANY ($2) AND asset = $3 AND sender = $4 AND recipient = $5
            ORDER BY block_number, index
            "#,
            payment.network.as_str(),
            transactions,
            payment.asset.to_string(),
            payment.payer.to_string(),
            payment.pay_to.to_string(),
        );
        let rows = rows.fetch_all(self.pool()).await?.into_iter().map(|row| PastTransfer {
            transaction: row.transaction,
            block_number: from_bigint(row.block_number),
            block_hash: row.block_hash,
            happened_at: row.happened_at,
            canonical: row.canonical,
        });
        Ok(rows.collect())
    }

    /// What became of the events of a payment on their way to webhooks, as long as that is kept.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn deliveries_about(&self, payment: PaymentId) -> Result<Vec<PastDelivery>, LedgerError> {
        let rows = sqlx::query!(
            r#"
            SELECT d.id, d.webhook_id, e.kind, d.attempts, d.delivered_at, d.given_up_at
            FROM events e JOIN deliveries d ON d.event_id = e.id WHERE e.payment_id = $1 ORDER BY d.id
            "#,
            payment.uuid(),
        );
        rows.fetch_all(self.pool())
            .await?
            .into_iter()
            .map(|row| {
                Ok(PastDelivery {
                    id: DeliveryId::from_uuid(row.id),
                    webhook: WebhookId::from_uuid(row.webhook_id),
                    kind: row.kind,
                    attempts: u32::try_from(row.attempts).column("deliveries", "attempts")?,
                    delivered_at: row.delivered_at,
                    given_up_at: row.given_up_at,
                })
            })
            .collect()
    }

    /// The payments that have not come to their end, by network and state.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn unended(&self) -> Result<Vec<Backlog>, LedgerError> {
        let rows = sqlx::query!(
            r#"
            SELECT p.network, count(*) AS "payments!", min(p.created_at) AS "oldest!",
                   CASE WHEN c.payment_id IS NOT NULL THEN 'included' WHEN p.submission_id IS NOT NULL THEN 'submitted' ELSE 'queued' END
                       AS "state!"
            FROM payments p LEFT JOIN claims c ON c.payment_id = p.id
            WHERE p.given_up_at IS NULL AND p.final_at IS NULL
              AND (c.payment_id IS NOT NULL OR p.submission_id IS NOT NULL OR p.answer_by > clock_timestamp())
            GROUP BY 1, 4 ORDER BY 1, 4
            "#
        );
        rows.fetch_all(self.pool())
            .await?
            .into_iter()
            .map(|row| {
                let network = row.network.parse().column("payments", "network")?;
                let state = Unended::parse(&row.state).column("payments", "state")?;
                Ok(Backlog { network, state, payments: from_bigint(row.payments), oldest: row.oldest })
            })
            .collect()
    }
}
