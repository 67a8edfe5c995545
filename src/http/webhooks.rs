//! `/v1/webhooks`: where an account is told of its events, and what became of each telling.

use actix_web::web::{Data, Path, Payload, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Service;
use super::auth;
use super::merchant::{Begun, Change, Reply, answer, begin, end};
use super::page::{cursor, next_cursor, page_size};
use super::problem::{Problem, methods};
use crate::api::status::Status;
use crate::domain::ids::{AccountId, DeliveryId, WebhookId};
use crate::flow::Flows;
use crate::flow::webhook::WebhookError;
use crate::ledger::deliveries::Delivery;
use crate::ledger::webhooks::Webhook;

/// Puts the routes in place.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(methods("/v1/webhooks").route(web::get().to(list)).route(web::post().to(create)))
        .service(methods("/v1/webhooks/{id}").route(web::get().to(show)).route(web::delete().to(remove)))
        .service(methods("/v1/webhooks/{id}/rotate-secret").route(web::post().to(rotate)))
        .service(methods("/v1/webhooks/{id}/enable").route(web::post().to(enable)))
        .service(methods("/v1/webhooks/{id}/deliveries").route(web::get().to(deliveries)))
        .service(methods("/v1/webhooks/{id}/deliveries/{delivery}/redeliver").route(web::post().to(redeliver)));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookBody {
    url: String,
    #[serde(default)]
    events: Vec<String>,
}

/// A body without members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WebhookView {
    id: String,
    url: String,
    events: Vec<String>,
    status: &'static str,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    former_secret_expires_at: Option<DateTime<Utc>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    webhooks: Vec<WebhookView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryView {
    id: String,
    event: String,
    #[serde(rename = "type")]
    kind: String,
    status: &'static str,
    attempts: u32,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_attempt_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivered_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    given_up_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_answer: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryPage {
    deliveries: Vec<DeliveryView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Writes a webhook down, without its secret.
fn view(webhook: Webhook) -> WebhookView {
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

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        let detail = error.to_string();
        match error {
            WebhookError::Target(_) => Self::Unprocessable("invalid_webhook_url", detail),
            WebhookError::UnknownEvent(_) => Self::Unprocessable("unknown_event", detail),
            WebhookError::TooMany(_) => Self::Conflict("too_many_webhooks", detail),
            WebhookError::NoSuchWebhook | WebhookError::NoSuchDelivery => Self::NotFound,
            WebhookError::Disabled => Self::Conflict("webhook_disabled", detail),
            WebhookError::Random(_) => {
                tracing::error!(error = %crate::telemetry::ErrorChain(&error), "a webhook got no secret");
                Self::Internal
            }
            WebhookError::Ledger(error) => error.into(),
        }
    }
}

async fn read<B: DeserializeOwned>(service: &Service, request: &HttpRequest, payload: Payload) -> Result<Change<B>, Problem> {
    Change::read_of(auth::account(service, request).await?, service, request, payload).await
}

async fn create(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let change = match read::<WebhookBody>(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let Change { account, body, keyed } = change;
        let mut db = match begin(&flows, keyed.as_ref()).await? {
            Begun::New(db) => db,
            Begun::Done(reply) => return repeat(&flows, account, reply).await,
        };
        let (webhook, secret) = flows.create_webhook(&mut db, account, &body.url, body.events).await?;
        let reply = end(&flows, db, keyed.as_ref(), Status::Created, &view(webhook)).await?;
        reply.with("secret", secret.expose_secret())
    })
    .await
}

async fn rotate(service: Data<Service>, request: HttpRequest, id: Path<String>, payload: Payload) -> HttpResponse {
    let change = match read::<Nothing>(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let Change { account, keyed, .. } = change;
        let mut db = match begin(&flows, keyed.as_ref()).await? {
            Begun::New(db) => db,
            Begun::Done(reply) => return repeat(&flows, account, reply).await,
        };
        let (webhook, secret) = flows.rotate_secret(&mut db, account, parse(&id)?).await?;
        let reply = end(&flows, db, keyed.as_ref(), Status::Ok, &view(webhook)).await?;
        reply.with("secret", secret.expose_secret())
    })
    .await
}

async fn enable(service: Data<Service>, request: HttpRequest, id: Path<String>, payload: Payload) -> HttpResponse {
    let change = match read::<Nothing>(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let Change { account, keyed, .. } = change;
        let mut db = match begin(&flows, keyed.as_ref()).await? {
            Begun::New(db) => db,
            Begun::Done(reply) => return Ok(reply),
        };
        let webhook = flows.enable_webhook(&mut db, account, parse(&id)?).await?;
        end(&flows, db, keyed.as_ref(), Status::Ok, &view(webhook)).await
    })
    .await
}

async fn remove(service: Data<Service>, request: HttpRequest, id: Path<String>, payload: Payload) -> HttpResponse {
    let change = match read::<Nothing>(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let Change { account, keyed, .. } = change;
        let mut db = match begin(&flows, keyed.as_ref()).await? {
            Begun::New(db) => db,
            Begun::Done(reply) => return Ok(reply),
        };
        flows.remove_webhook(&mut db, account, parse(&id)?).await?;
        end(&flows, db, keyed.as_ref(), Status::Ok, &serde_json::json!({})).await
    })
    .await
}

async fn redeliver(service: Data<Service>, request: HttpRequest, ids: Path<(String, String)>, payload: Payload) -> HttpResponse {
    let change = match read::<Nothing>(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    let (webhook, delivery) = ids.into_inner();
    answer(&service, |flows| async move {
        let Change { account, keyed, .. } = change;
        let delivery: DeliveryId = delivery.parse().map_err(|_| Problem::NotFound)?;
        let mut db = match begin(&flows, keyed.as_ref()).await? {
            Begun::New(db) => db,
            Begun::Done(reply) => return Ok(reply),
        };
        let again = flows.redeliver(&mut db, account, (parse(&webhook)?, delivery)).await?;
        let reply = end(&flows, db, keyed.as_ref(), Status::Ok, &DeliveryView::from(again)).await?;
        flows.telling.due.notify_one();
        Ok(reply)
    })
    .await
}

async fn show(service: Data<Service>, request: HttpRequest, id: Path<String>) -> HttpResponse {
    let account = match auth::account(&service, &request).await {
        Ok(account) => account,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move { Reply::ok(&view(own(&flows, account, &id).await?)) }).await
}

async fn list(service: Data<Service>, request: HttpRequest, query: Result<Query<PageQuery>, actix_web::Error>) -> HttpResponse {
    let account = match auth::account(&service, &request).await {
        Ok(account) => account,
        Err(problem) => return problem.response(),
    };
    let Ok(query) = query else { return malformed().response() };
    answer(&service, |flows| async move {
        let (limit, after) = (page_size(query.limit)?, cursor(&account, query.cursor.as_deref())?);
        let found = flows.ledger.list_webhooks(account, after, limit).await?;
        let next_cursor = next_cursor(&account, &found, limit, |webhook| webhook.id);
        Reply::ok(&Page { webhooks: found.into_iter().map(view).collect(), next_cursor })
    })
    .await
}

async fn deliveries(
    service: Data<Service>,
    request: HttpRequest,
    id: Path<String>,
    query: Result<Query<PageQuery>, actix_web::Error>,
) -> HttpResponse {
    let account = match auth::account(&service, &request).await {
        Ok(account) => account,
        Err(problem) => return problem.response(),
    };
    let Ok(query) = query else { return malformed().response() };
    answer(&service, |flows| async move {
        let webhook = own(&flows, account, &id).await?;
        let (limit, after) = (page_size(query.limit)?, cursor(&webhook.id, query.cursor.as_deref())?);
        let found = flows.ledger.list_deliveries(webhook.id, after, limit).await?;
        let next_cursor = next_cursor(&webhook.id, &found, limit, |delivery| delivery.id);
        Reply::ok(&DeliveryPage { deliveries: found.into_iter().map(DeliveryView::from).collect(), next_cursor })
    })
    .await
}

/// Repeats an answer that showed a secret. It was stored without it, so it gets the one that the webhook has now.
async fn repeat(flows: &Flows, account: AccountId, reply: Reply) -> Result<Reply, Problem> {
    let id = reply.text("id").and_then(|id| id.parse().ok()).ok_or(Problem::Internal)?;
    match flows.ledger.find_secret(account, id).await? {
        Some(secret) => reply.with("secret", secret.expose_secret()),
        // It was removed meanwhile, and its secret with it.
        None => Ok(reply),
    }
}

async fn own(flows: &Flows, account: AccountId, id: &str) -> Result<Webhook, Problem> {
    flows.ledger.find_webhook(account, parse(id)?).await?.ok_or(Problem::NotFound)
}

fn parse(id: &str) -> Result<WebhookId, Problem> {
    id.parse().map_err(|_| Problem::NotFound)
}

fn malformed() -> Problem {
    Problem::BadParameter("unknown or malformed parameter".to_owned())
}
