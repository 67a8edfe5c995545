//! Where an account is told of its events, and what became of each telling.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::page::{PAGE, cursor, next_cursor, page_size};
use super::problem::Problem;
use crate::domain::event::EventKind;
use crate::domain::ids::{AccountId, DeliveryId, EventId, WebhookId};
use crate::flow::Flows;
use crate::ledger::deliveries::Delivery;
use crate::ledger::webhooks::Webhook;

/// Which page is wanted.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PageQuery {
    /// How many at most.
    #[schemars(range(min = 1, max = PAGE))]
    pub(crate) limit: Option<u32>,
    /// `nextCursor` of the page before.
    pub(crate) cursor: Option<String>,
}

/// A webhook as its owner reads it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Webhook")]
pub struct WebhookView {
    #[schemars(with = "WebhookId")]
    pub(crate) id: String,
    pub(crate) url: String,
    /// The types that it is told of; all if there are none.
    #[schemars(with = "Vec<EventKind>")]
    pub(crate) events: Vec<String>,
    #[schemars(extend("enum" = ["active", "failing", "disabled"]))]
    pub(crate) status: &'static str,
    pub(crate) created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failing_since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) disabled_reason: Option<String>,
    /// Until when the secret before signs, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) former_secret_expires_at: Option<DateTime<Utc>>,
}

/// A page of webhooks.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WebhookPage")]
pub struct Page {
    pub(crate) webhooks: Vec<WebhookView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// What became of a telling.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Delivery")]
pub struct DeliveryView {
    #[schemars(with = "DeliveryId")]
    pub(crate) id: String,
    #[schemars(with = "EventId")]
    pub(crate) event: String,
    #[serde(rename = "type")]
    #[schemars(with = "EventKind")]
    pub(crate) kind: String,
    #[schemars(extend("enum" = ["pending", "delivered", "failed"]))]
    pub(crate) status: &'static str,
    pub(crate) attempts: u32,
    pub(crate) created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_attempt_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivered_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) given_up_at: Option<DateTime<Utc>>,
    /// The HTTP status that was answered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_status: Option<u16>,
    /// What went wrong last, as a word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_failure: Option<String>,
    /// The beginning of the last answer that was no success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_answer: Option<String>,
}

/// A page of deliveries.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryPage {
    pub(crate) deliveries: Vec<DeliveryView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// Writes a webhook down, without its secret.
#[must_use]
pub fn view(webhook: Webhook) -> WebhookView {
    let status = match (&webhook.disabled, webhook.failing_since) {
        (Some(_), _) => "disabled",
        (None, Some(_)) => "failing",
        (None, None) => "active",
    };
    let (disabled_at, disabled_reason) = webhook.disabled.unzip();
    WebhookView {
        id: webhook.id.to_string(),
        url: webhook.url,
        events: webhook.events,
        status,
        created_at: webhook.created_at,
        failing_since: webhook.failing_since,
        disabled_at,
        disabled_reason,
        former_secret_expires_at: webhook.former_secret_until,
    }
}

impl From<Delivery> for DeliveryView {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            event: delivery.event.to_string(),
            kind: delivery.kind,
            status: match (delivery.delivered_at, delivery.given_up_at) {
                (Some(_), _) => "delivered",
                (None, Some(_)) => "failed",
                (None, None) => "pending",
            },
            attempts: delivery.attempts,
            created_at: delivery.created_at,
            next_attempt_at: delivery.next_at,
            delivered_at: delivery.delivered_at,
            given_up_at: delivery.given_up_at,
            last_status: delivery.last_status,
            last_failure: delivery.last_failure,
            last_answer: delivery.last_excerpt,
        }
    }
}

/// Shows an account's webhook.
///
/// # Errors
/// There is no such webhook of this account.
pub async fn show(flows: &Flows, account: AccountId, id: &str) -> Result<WebhookView, Problem> {
    own(flows, account, id).await.map(view)
}

/// Lists an account's webhooks, oldest first.
///
/// # Errors
/// A parameter is none.
pub async fn list(flows: &Flows, account: AccountId, query: PageQuery) -> Result<Page, Problem> {
    let (limit, after) = (page_size(query.limit)?, cursor(&account, query.cursor.as_deref())?);
    let found = flows.ledger.list_webhooks(account, after, limit).await?;
    let next_cursor = next_cursor(&account, &found, limit, |webhook| webhook.id);
    Ok(Page { webhooks: found.into_iter().map(view).collect(), next_cursor })
}

/// Lists what became of each telling of an account's webhook, newest first.
///
/// # Errors
/// There is no such webhook of this account, or a parameter is none.
pub async fn deliveries(flows: &Flows, account: AccountId, id: &str, query: PageQuery) -> Result<DeliveryPage, Problem> {
    let webhook = own(flows, account, id).await?;
    let (limit, after) = (page_size(query.limit)?, cursor(&webhook.id, query.cursor.as_deref())?);
    let found = flows.ledger.list_deliveries(webhook.id, after, limit).await?;
    let next_cursor = next_cursor(&webhook.id, &found, limit, |delivery| delivery.id);
    Ok(DeliveryPage { deliveries: found.into_iter().map(DeliveryView::from).collect(), next_cursor })
}

async fn own(flows: &Flows, account: AccountId, id: &str) -> Result<Webhook, Problem> {
    flows.ledger.find_webhook(account, parse(id)?).await?.ok_or(Problem::NotFound)
}

/// The name of a webhook.
///
/// # Errors
/// It is none.
pub fn parse(id: &str) -> Result<WebhookId, Problem> {
    id.parse().map_err(|_| Problem::NotFound)
}
