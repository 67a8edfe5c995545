//! Deliveries: one event for one webhook, tried until it arrives or is given up.
//!
//! Whoever makes an attempt claims the delivery first, by moving its time ahead. Of a process that died in the middle nothing has to be
//! cleaned up: the time comes, and somebody tries again.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::webhooks::StoredSecrets;
use super::{Column, Ledger, LedgerError, from_bigint};
use crate::domain::ids::{DeliveryId, EventId, WebhookId};

const TABLE: &str = "deliveries";

/// A delivery to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewDelivery {
    /// Where it goes.
    pub webhook: WebhookId,
    /// What is told there.
    pub event: EventId,
}

/// A delivery that is this process's to try, for a while. The URL is not to be printed.
#[derive(Clone)]
pub struct Claimed {
    /// Our name for it.
    pub id: DeliveryId,
    /// Where it goes.
    pub webhook: WebhookId,
    /// What is told there.
    pub event: EventId,
    /// How many attempts there are with this one.
    pub attempt: u32,
    /// Where the webhook is told.
    pub url: String,
    /// What signs.
    pub secrets: StoredSecrets,
    /// What is told, in JSON.
    pub body: String,
}

/// What an attempt left behind that failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trace {
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why there was none.
    pub failure: Option<&'static str>,
    /// The beginning of the answer.
    pub excerpt: Option<String>,
}

/// A delivery as the owner of its webhook reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Our name for it.
    pub id: DeliveryId,
    /// What is told.
    pub event: EventId,
    /// What happened.
    pub kind: String,
    /// How often it was tried since it was asked for.
    pub attempts: u32,
    /// When the next attempt is due.
    pub next_at: Option<DateTime<Utc>>,
    /// When it arrived.
    pub delivered_at: Option<DateTime<Utc>>,
    /// When it was given up.
    pub given_up_at: Option<DateTime<Utc>>,
    /// What the last attempt was answered with.
    pub last_status: Option<u16>,
    /// Why it was not answered.
    pub last_failure: Option<String>,
    /// The beginning of the answer, unless it arrived.
    pub last_excerpt: Option<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// How much is still to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Events that are not in the stream yet.
    pub events: u64,
    /// Deliveries whose time has come.
    pub due: u64,
    /// Those that failed and are tried again later, and those that are tried just now.
    pub waiting: u64,
    /// When the oldest of these deliveries was made.
    pub oldest: Option<DateTime<Utc>>,
}

/// Makes deliveries, due at once. One that was made before stays as it is.
///
/// # Errors
/// The database could not be reached.
pub async fn insert(db: &mut PgConnection, new: &[NewDelivery], now: DateTime<Utc>) -> Result<(), LedgerError> {
    if new.is_empty() {
        return Ok(());
    }
    let ids: Vec<_> = new.iter().map(|_| DeliveryId::new().uuid()).collect();
    let webhooks: Vec<_> = new.iter().map(|delivery| delivery.webhook.uuid()).collect();
    let events: Vec<_> = new.iter().map(|delivery| delivery.event.uuid()).collect();
    sqlx::query!(
        r#"
        INSERT INTO deliveries (id, webhook_id, event_id, attempts, next_at, created_at)
        SELECT id, webhook_id, event_id, 0, $4, $4
        FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS new (id, webhook_id, event_id)
        ON CONFLICT (event_id, webhook_id) DO NOTHING
        "#,
        &ids,
        &webhooks,
        &events,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Notes that a delivery has arrived. That is so even if somebody else tries it meanwhile, or it was given up.
///
/// # Errors
/// The database could not be reached.
pub async fn arrive(db: &mut PgConnection, id: DeliveryId, status: u16, now: DateTime<Utc>) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        UPDATE deliveries
        SET delivered_at = $2, next_at = NULL, given_up_at = NULL, last_status = $3, last_failure = NULL, last_excerpt = NULL
        WHERE id = $1 AND delivered_at IS NULL
        "#,
        id.uuid(),
        now,
        to_smallint(status),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Has a delivery tried again at another time, unless somebody else has tried it meanwhile.
///
/// # Errors
/// The database could not be reached.
pub async fn postpone(
    db: &mut PgConnection,
    claimed: &Claimed,
    trace: &Trace,
    next_at: DateTime<Utc>,
) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        UPDATE deliveries SET next_at = $3, last_status = $4, last_failure = $5, last_excerpt = $6
        WHERE id = $1 AND attempts = $2 AND next_at IS NOT NULL
        "#,
        claimed.id.uuid(),
        to_integer(claimed.attempt),
        next_at,
        trace.status.map(to_smallint),
        trace.failure,
        trace.excerpt.as_deref(),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Gives a delivery up, unless somebody else has tried it meanwhile. Returns whether it did.
///
/// # Errors
/// The database could not be reached.
pub async fn give_up(db: &mut PgConnection, claimed: &Claimed, trace: &Trace, now: DateTime<Utc>) -> Result<bool, LedgerError> {
    let done = sqlx::query!(
        r#"
        UPDATE deliveries SET next_at = NULL, given_up_at = $3, last_status = $4, last_failure = $5, last_excerpt = $6
        WHERE id = $1 AND attempts = $2 AND next_at IS NOT NULL
        "#,
        claimed.id.uuid(),
        to_integer(claimed.attempt),
        now,
        trace.status.map(to_smallint),
        trace.failure,
        trace.excerpt.as_deref(),
    );
    Ok(done.execute(db).await?.rows_affected() == 1)
}

/// Gives up everything that a webhook has not been told yet.
///
/// # Errors
/// The database could not be reached.
pub async fn end_all(db: &mut PgConnection, webhook: WebhookId, why: &str, now: DateTime<Utc>) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        UPDATE deliveries SET next_at = NULL, given_up_at = $2, last_failure = $3
        WHERE webhook_id = $1 AND next_at IS NOT NULL
        "#,
        webhook.uuid(),
        now,
        why,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Has a delivery made again, whatever became of it, and from the first attempt on. Returns whether there is such a one.
///
/// # Errors
/// The database could not be reached.
pub async fn begin_again(
    db: &mut PgConnection,
    webhook: WebhookId,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> Result<bool, LedgerError> {
    let done = sqlx::query!(
        r#"
        UPDATE deliveries SET attempts = 0, next_at = $3, delivered_at = NULL, given_up_at = NULL
        WHERE id = $1 AND webhook_id = $2
        "#,
        id.uuid(),
        webhook.uuid(),
        now,
    );
    Ok(done.execute(db).await?.rows_affected() == 1)
}

/// Removes at most `limit` deliveries that ended before `until`. Returns how many.
///
/// # Errors
/// The database could not be reached.
pub async fn forget(db: &mut PgConnection, until: DateTime<Utc>, limit: u32) -> Result<u64, LedgerError> {
    let gone = sqlx::query!(
        r#"
        DELETE FROM deliveries WHERE id IN (
            SELECT id FROM deliveries
            WHERE next_at IS NULL AND coalesce(delivered_at, given_up_at) < $1
            ORDER BY coalesce(delivered_at, given_up_at) LIMIT $2
        )
        "#,
        until,
        i64::from(limit),
    );
    Ok(gone.execute(db).await?.rows_affected())
}

struct DeliveryRow {
    id: Uuid,
    event_id: Uuid,
    kind: String,
    attempts: i32,
    next_at: Option<DateTime<Utc>>,
    delivered_at: Option<DateTime<Utc>>,
    given_up_at: Option<DateTime<Utc>>,
    last_status: Option<i16>,
    last_failure: Option<String>,
    last_excerpt: Option<String>,
    created_at: DateTime<Utc>,
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = LedgerError;

    fn try_from(row: DeliveryRow) -> Result<Self, LedgerError> {
        Ok(Self {
            id: DeliveryId::from_uuid(row.id),
            event: EventId::from_uuid(row.event_id),
            kind: row.kind,
            attempts: u32::try_from(row.attempts).column(TABLE, "attempts")?,
            next_at: row.next_at,
            delivered_at: row.delivered_at,
            given_up_at: row.given_up_at,
            last_status: row.last_status.map(u16::try_from).transpose().column(TABLE, "last_status")?,
            last_failure: row.last_failure,
            last_excerpt: row.last_excerpt,
            created_at: row.created_at,
        })
    }
}

/// Selects deliveries with the types of their events; the text behind it says which.
macro_rules! deliveries {
    ($rest:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            DeliveryRow,
            r#"
            SELECT d.id, d.event_id, e.kind, d.attempts, d.next_at, d.delivered_at, d.given_up_at, d.last_status, d.last_failure,
                   d.last_excerpt, d.created_at
            FROM deliveries d JOIN events e ON e.id = d.event_id
            "# + $rest
            $(, $argument)*
        )
    };
}

/// A delivery of a webhook, as it stands in this transaction.
///
/// # Errors
/// The database could not be reached.
pub async fn find(db: &mut PgConnection, webhook: WebhookId, id: DeliveryId) -> Result<Option<Delivery>, LedgerError> {
    let row = deliveries!("WHERE d.id = $1 AND d.webhook_id = $2", id.uuid(), webhook.uuid());
    row.fetch_optional(db).await?.map(Delivery::try_from).transpose()
}

impl Ledger {
    /// Takes deliveries that are due, for `until` at the latest, except for those of webhooks that are `busy`. What others are about to
    /// take is passed over.
    ///
    /// # Errors
    /// The database could not be reached. What was taken then is due again at `until`.
    pub async fn claim_deliveries(
        &self,
        busy: &[WebhookId],
        (now, until): (DateTime<Utc>, DateTime<Utc>),
        limit: usize,
    ) -> Result<Vec<Claimed>, LedgerError> {
        let busy: Vec<_> = busy.iter().map(|webhook| webhook.uuid()).collect();
        let rows = sqlx::query!(
            r#"
            WITH due AS (
                SELECT d.id FROM deliveries d WHERE d.next_at <= $2 AND d.webhook_id <> ALL ($1)
                ORDER BY d.next_at LIMIT $4 FOR UPDATE SKIP LOCKED
            ), claimed AS (
                UPDATE deliveries d SET next_at = $3, attempts = d.attempts + 1 FROM due WHERE d.id = due.id
                RETURNING d.id, d.webhook_id, d.event_id, d.attempts
            )
            SELECT c.id AS "id!", c.webhook_id AS "webhook_id!", c.event_id AS "event_id!", c.attempts AS "attempts!", w.url AS "url!",
                   w.secret AS "secret!", w.former_secret AS "former_secret?", w.former_secret_until AS "former_secret_until?",
                   e.body AS "body!"
            FROM claimed c JOIN webhooks w ON w.id = c.webhook_id JOIN events e ON e.id = c.event_id
            WHERE w.secret IS NOT NULL
            "#,
            &busy,
            now,
            until,
            i64::try_from(limit).unwrap_or(i64::MAX),
        );
        let claimed = rows.fetch_all(self.pool()).await?.into_iter().map(|row| {
            let former = row.former_secret.map(Into::into).zip(row.former_secret_until);
            Ok(Claimed {
                id: DeliveryId::from_uuid(row.id),
                webhook: WebhookId::from_uuid(row.webhook_id),
                event: EventId::from_uuid(row.event_id),
                attempt: u32::try_from(row.attempts).column(TABLE, "attempts")?,
                url: row.url,
                secrets: StoredSecrets { current: row.secret.into(), former },
                body: row.body,
            })
        });
        claimed.collect()
    }

    /// A page of a webhook's deliveries, newest first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn list_deliveries(
        &self,
        webhook: WebhookId,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<Delivery>, LedgerError> {
        let rows = deliveries!(
            "WHERE d.webhook_id = $1 AND ($2::uuid IS NULL OR d.id < $2) ORDER BY d.id DESC LIMIT $3",
            webhook.uuid(),
            after.map(DeliveryId::uuid),
            i64::from(limit),
        );
        rows.fetch_all(self.pool()).await?.into_iter().map(Delivery::try_from).collect()
    }

    /// How much is still to be told.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn backlog(&self, now: DateTime<Utc>) -> Result<Backlog, LedgerError> {
        let row = sqlx::query!(
            r#"
            SELECT (SELECT count(*) FROM events WHERE position IS NULL AND account_id IS NOT NULL) AS "events!",
                   count(*) FILTER (WHERE next_at <= $1) AS "due!", count(*) FILTER (WHERE next_at > $1) AS "waiting!",
                   min(created_at) AS "oldest?"
            FROM deliveries WHERE next_at IS NOT NULL
            "#,
            now,
        );
        let row = row.fetch_one(self.pool()).await?;
        Ok(Backlog {
            events: from_bigint(row.events),
            due: from_bigint(row.due),
            waiting: from_bigint(row.waiting),
            oldest: row.oldest,
        })
    }
}

/// Statuses of HTTP have three digits.
fn to_smallint(status: u16) -> i16 {
    i16::try_from(status).unwrap_or(i16::MAX)
}

/// Nobody tries anything 2^31 times.
fn to_integer(attempts: u32) -> i32 {
    i32::try_from(attempts).unwrap_or(i32::MAX)
}
