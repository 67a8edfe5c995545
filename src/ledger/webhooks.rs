//! Webhooks: where accounts are told of events.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Ledger, LedgerError, accounts};
use crate::domain::ids::{AccountId, WebhookId};

/// A webhook, without its secrets. Its URL often works like a password, so it is not to be printed.
#[derive(Clone)]
pub struct Webhook {
    /// Our name for it.
    pub id: WebhookId,
    /// Whose it is.
    pub account: AccountId,
    /// Where it is told.
    pub url: String,
    /// The types of events that it is told of; none for all of them.
    pub events: Vec<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Until when the secret before the present one signs, too.
    pub former_secret_until: Option<DateTime<Utc>>,
    /// Since when nothing arrives there.
    pub failing_since: Option<DateTime<Utc>>,
    /// Since when it is told nothing, and why.
    pub disabled: Option<(DateTime<Utc>, String)>,
}

/// The secrets of a webhook.
#[derive(Debug, Clone)]
pub struct StoredSecrets {
    /// The present one.
    pub current: SecretString,
    /// The one before, and until when it signs, too.
    pub former: Option<(SecretString, DateTime<Utc>)>,
}

/// Why a webhook is told nothing: its receiver said that it wants nothing any more.
pub const GONE: &str = "gone";

struct WebhookRow {
    id: Uuid,
    account_id: Uuid,
    url: String,
    events: Vec<String>,
    created_at: DateTime<Utc>,
    former_secret_until: Option<DateTime<Utc>>,
    failing_since: Option<DateTime<Utc>>,
    disabled_at: Option<DateTime<Utc>>,
    disabled_reason: Option<String>,
}

impl From<WebhookRow> for Webhook {
    fn from(row: WebhookRow) -> Self {
        Self {
            id: WebhookId::from_uuid(row.id),
            account: AccountId::from_uuid(row.account_id),
            url: row.url,
            events: row.events,
            created_at: row.created_at,
            former_secret_until: row.former_secret_until,
            failing_since: row.failing_since,
            disabled: row.disabled_at.zip(row.disabled_reason),
        }
    }
}

/// Selects webhooks; the text behind it says which.
macro_rules! webhooks {
    ($rest:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            WebhookRow,
            r#"
            SELECT id, account_id, url, events, created_at, former_secret_until, failing_since, disabled_at, disabled_reason
            FROM webhooks
            "# + $rest
            $(, $argument)*
        )
    };
}

/// How many webhooks an account has. Until the transaction ends, no other one can make a further one for it.
///
/// # Errors
/// The database could not be reached.
pub async fn count_locked(db: &mut PgConnection, account: AccountId) -> Result<i64, LedgerError> {
    accounts::lock(&mut *db, account).await?;
    let count = sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM webhooks WHERE account_id = $1 AND removed_at IS NULL"#,
        account.uuid(),
    );
    Ok(count.fetch_one(db).await?)
}

/// Records a new webhook.
///
/// # Errors
/// The database could not be reached.
pub async fn insert(db: &mut PgConnection, webhook: &Webhook, secret: &SecretString) -> Result<(), LedgerError> {
    sqlx::query!(
        "INSERT INTO webhooks (id, account_id, url, events, secret, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        webhook.id.uuid(),
        webhook.account.uuid(),
        webhook.url,
        &webhook.events,
        secret.expose_secret(),
        webhook.created_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// An account's webhook, locked until the transaction ends. Whoever changes it and its deliveries locks it first, so that nobody waits
/// in a circle.
///
/// # Errors
/// The database could not be reached.
pub async fn lock(db: &mut PgConnection, account: AccountId, id: WebhookId) -> Result<Option<Webhook>, LedgerError> {
    let row = webhooks!("WHERE id = $1 AND account_id = $2 AND removed_at IS NULL FOR UPDATE", id.uuid(), account.uuid());
    Ok(row.fetch_optional(db).await?.map(Webhook::from))
}

/// The webhooks of these accounts that are told events. Until the transaction ends, none of them can be disabled or removed, so none is
/// left with a delivery that nobody ends.
///
/// # Errors
/// The database could not be reached.
pub async fn told(db: &mut PgConnection, accounts: &[AccountId]) -> Result<Vec<Webhook>, LedgerError> {
    let accounts: Vec<_> = accounts.iter().map(|account| account.uuid()).collect();
    let rows =
        webhooks!("WHERE account_id = ANY($1) AND disabled_at IS NULL AND removed_at IS NULL ORDER BY id FOR SHARE", &accounts);
    Ok(rows.fetch_all(db).await?.into_iter().map(Webhook::from).collect())
}

/// Gives a webhook another secret. The present one goes on signing beside it until `former_until`.
///
/// # Errors
/// The database could not be reached.
pub async fn rotate(
    db: &mut PgConnection,
    id: WebhookId,
    secret: &SecretString,
    former_until: DateTime<Utc>,
) -> Result<(), LedgerError> {
    sqlx::query!(
        "UPDATE webhooks SET former_secret = secret, former_secret_until = $3, secret = $2 WHERE id = $1 AND removed_at IS NULL",
        id.uuid(),
        secret.expose_secret(),
        former_until,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Has a webhook told again of what happens from now on.
///
/// # Errors
/// The database could not be reached.
pub async fn enable(db: &mut PgConnection, id: WebhookId) -> Result<(), LedgerError> {
    sqlx::query!("UPDATE webhooks SET disabled_at = NULL, disabled_reason = NULL, failing_since = NULL WHERE id = $1", id.uuid())
        .execute(db)
        .await?;
    Ok(())
}

/// Has a webhook told nothing more.
///
/// # Errors
/// The database could not be reached.
pub async fn disable(db: &mut PgConnection, id: WebhookId, reason: &str, now: DateTime<Utc>) -> Result<(), LedgerError> {
    sqlx::query!(
        "UPDATE webhooks SET disabled_at = $2, disabled_reason = $3 WHERE id = $1 AND disabled_at IS NULL AND removed_at IS NULL",
        id.uuid(),
        now,
        reason,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Removes a webhook. Its secrets go at once, and the rest when its deliveries are forgotten.
///
/// # Errors
/// The database could not be reached.
pub async fn remove(db: &mut PgConnection, id: WebhookId, now: DateTime<Utc>) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        UPDATE webhooks SET removed_at = $2, secret = NULL, former_secret = NULL, former_secret_until = NULL
        WHERE id = $1 AND removed_at IS NULL
        "#,
        id.uuid(),
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Notes that nothing arrives at a webhook.
///
/// # Errors
/// The database could not be reached.
pub async fn mark_failing(db: &mut PgConnection, id: WebhookId, now: DateTime<Utc>) -> Result<(), LedgerError> {
    sqlx::query!("UPDATE webhooks SET failing_since = $2 WHERE id = $1 AND failing_since IS NULL", id.uuid(), now)
        .execute(db)
        .await?;
    Ok(())
}

/// Notes that something has arrived at a webhook.
///
/// # Errors
/// The database could not be reached.
pub async fn mark_well(db: &mut PgConnection, id: WebhookId) -> Result<(), LedgerError> {
    sqlx::query!("UPDATE webhooks SET failing_since = NULL WHERE id = $1 AND failing_since IS NOT NULL", id.uuid())
        .execute(db)
        .await?;
    Ok(())
}

/// Forgets at most `limit` webhooks that were removed before `until` and have no deliveries any more. Returns how many.
///
/// # Errors
/// The database could not be reached.
pub async fn forget(db: &mut PgConnection, until: DateTime<Utc>, limit: u32) -> Result<u64, LedgerError> {
    let gone = sqlx::query!(
        r#"
        DELETE FROM webhooks WHERE id IN (
            SELECT w.id FROM webhooks w
            WHERE w.removed_at < $1 AND NOT EXISTS (SELECT FROM deliveries d WHERE d.webhook_id = w.id) LIMIT $2
        )
        "#,
        until,
        i64::from(limit),
    );
    Ok(gone.execute(db).await?.rows_affected())
}

impl Ledger {
    /// An account's webhook.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn find_webhook(&self, account: AccountId, id: WebhookId) -> Result<Option<Webhook>, LedgerError> {
        let row = webhooks!("WHERE id = $1 AND account_id = $2 AND removed_at IS NULL", id.uuid(), account.uuid());
        Ok(row.fetch_optional(self.pool()).await?.map(Webhook::from))
    }

    /// The secret with which an account's webhook signs.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn find_secret(&self, account: AccountId, id: WebhookId) -> Result<Option<SecretString>, LedgerError> {
        let secret = sqlx::query_scalar!(
            r#"SELECT secret AS "secret!" FROM webhooks WHERE id = $1 AND account_id = $2 AND removed_at IS NULL"#,
            id.uuid(),
            account.uuid(),
        );
        Ok(secret.fetch_optional(self.pool()).await?.map(SecretString::from))
    }

    /// A page of an account's webhooks, oldest first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn list_webhooks(
        &self,
        account: AccountId,
        after: Option<WebhookId>,
        limit: u32,
    ) -> Result<Vec<Webhook>, LedgerError> {
        let rows = webhooks!(
            "WHERE account_id = $1 AND removed_at IS NULL AND ($2::uuid IS NULL OR id > $2) ORDER BY id LIMIT $3",
            account.uuid(),
            after.map(WebhookId::uuid),
            i64::from(limit),
        );
        Ok(rows.fetch_all(self.pool()).await?.into_iter().map(Webhook::from).collect())
    }
}
