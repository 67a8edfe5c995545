//! `/v1/webhooks`: where an account is told of its events, and what became of each telling.

use actix_web::web::{Data, Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Service;
use super::auth;
use super::endpoint::{Callers, Group, Operation, Repeats, at};
use super::merchant::{Begun, Change, Nothing, Reply, answer, begin, end};
use super::problem::{Code, Problem};
use crate::api::status::Status;
use crate::api::webhooks::{self, DeliveryPage, DeliveryView, Page, PageQuery, WebhookView, parse, view};
use crate::domain::event::EventKind;
use crate::domain::ids::{AccountId, DeliveryId, WebhookId};
use crate::flow::Flows;
use crate::flow::webhook::WebhookError;

/// The paths.
pub fn group() -> Group {
    let listing = Operation::new("listWebhooks", "Lists the account's webhooks, oldest first")
        .of(Callers::Parties)
        .query::<PageQuery>()
        .answers::<Page>(Status::Ok, "A page of webhooks, without their secrets.");
    let creating = Operation::new("createWebhook", "Adds a webhook")
        .about("The answer shows the secret this once, and again only under the same `Idempotency-Key`.")
        .of(Callers::Parties)
        .repeats(Repeats::Answered)
        .body::<WebhookBody>(
            json!({"url": "https://shop.example.com/hooks/quittance", "events": ["invoice.paid", "invoice.reopened"]}),
        )
        .answers::<WithSecret>(Status::Created, "The webhook, with its secret.")
        .problems(&[Code::InvalidWebhookUrl, Code::UnknownEvent, Code::TooManyWebhooks]);
    let showing =
        Operation::new("getWebhook", "Shows a webhook").of(Callers::Parties).answers::<WebhookView>(Status::Ok, "The webhook.");
    let removing = Operation::new("removeWebhook", "Removes a webhook, with everything that it was not told yet")
        .of(Callers::Parties)
        .repeats(Repeats::Answered)
        .optional_body::<Nothing>(json!({}))
        .answers::<Nothing>(Status::Ok, "It is removed.");
    let rotating = Operation::new("rotateWebhookSecret", "Gives a webhook a new secret")
        .about("The one before signs beside it for 24 hours.")
        .of(Callers::Parties)
        .repeats(Repeats::Answered)
        .optional_body::<Nothing>(json!({}))
        .answers::<WithSecret>(Status::Ok, "The webhook, with its new secret.");
    let enabling = Operation::new("enableWebhook", "Has a webhook told again whose receiver answered 410")
        .of(Callers::Parties)
        .repeats(Repeats::Answered)
        .optional_body::<Nothing>(json!({}))
        .answers::<WebhookView>(Status::Ok, "The webhook.")
        .problems(&[Code::InvalidWebhookUrl]);
    let telling = Operation::new("listDeliveries", "Lists what became of each telling, newest first")
        .about("For 30 days after each has ended.")
        .of(Callers::Parties)
        .query::<PageQuery>()
        .answers::<DeliveryPage>(Status::Ok, "A page of deliveries.");
    let redelivering = Operation::new("redeliver", "Tells an event again, whether it arrived before or not")
        .of(Callers::Parties)
        .repeats(Repeats::Answered)
        .optional_body::<Nothing>(json!({}))
        .answers::<DeliveryView>(Status::Ok, "The delivery, which begins anew.")
        .problems(&[Code::WebhookDisabled]);
    Group {
        name: "Webhooks",
        about: "Where an account is told of its events, and what became of each telling.",
        paths: vec![
            at("/v1/webhooks").get(list, listing).post(create, creating),
            at("/v1/webhooks/{id}").part::<WebhookId>("id").get(show, showing).delete(remove, removing),
            at("/v1/webhooks/{id}/rotate-secret").part::<WebhookId>("id").post(rotate, rotating),
            at("/v1/webhooks/{id}/enable").part::<WebhookId>("id").post(enable, enabling),
            at("/v1/webhooks/{id}/deliveries").part::<WebhookId>("id").get(deliveries, telling),
            at("/v1/webhooks/{id}/deliveries/{delivery}/redeliver")
                .part::<WebhookId>("id")
                .part::<DeliveryId>("delivery")
                .post(redeliver, redelivering),
        ],
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "WebhookOrder")]
struct WebhookBody {
    /// A public server, `https` on port 443 or 8443.
    #[schemars(length(max = 2_048))]
    url: String,
    /// The types to be told of. All of them, also those that do not exist yet, if none is named.
    #[serde(default)]
    #[schemars(with = "Vec<EventKind>")]
    events: Vec<String>,
}

/// A webhook with its secret, which is added to the answer after that was stored.
#[derive(JsonSchema)]
#[schemars(rename = "WebhookWithSecret")]
#[expect(dead_code, reason = "the secret is added to what was written; this says what comes of it")]
struct WithSecret {
    #[schemars(flatten)]
    webhook: WebhookView,
    /// What signs what the webhook is told. Missing from a repetition if the webhook was removed meanwhile.
    #[schemars(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl From<WebhookError> for Problem {
    fn from(error: WebhookError) -> Self {
        let detail = error.to_string();
        match error {
            WebhookError::Target(_) => Self::Refused(Code::InvalidWebhookUrl, detail),
            WebhookError::UnknownEvent(_) => Self::Refused(Code::UnknownEvent, detail),
            WebhookError::TooMany(_) => Self::Refused(Code::TooManyWebhooks, detail),
            WebhookError::NoSuchWebhook | WebhookError::NoSuchDelivery => Self::NotFound,
            WebhookError::Disabled => Self::Refused(Code::WebhookDisabled, detail),
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
        end(&flows, db, keyed.as_ref(), Status::Ok, &Nothing {}).await
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
    answer(&service, |flows| async move { Reply::ok(&webhooks::show(&flows, account, &id).await?) }).await
}

async fn list(service: Data<Service>, request: HttpRequest, query: Result<Query<PageQuery>, actix_web::Error>) -> HttpResponse {
    let account = match auth::account(&service, &request).await {
        Ok(account) => account,
        Err(problem) => return problem.response(),
    };
    let Ok(query) = query else { return malformed().response() };
    answer(&service, |flows| async move { Reply::ok(&webhooks::list(&flows, account, query.into_inner()).await?) }).await
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
    answer(&service, |flows| async move { Reply::ok(&webhooks::deliveries(&flows, account, &id, query.into_inner()).await?) })
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

fn malformed() -> Problem {
    Problem::BadParameter("unknown or malformed parameter".to_owned())
}
