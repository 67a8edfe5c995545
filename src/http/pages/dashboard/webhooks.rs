//! `/dashboard/webhooks`: where accounts are told of their events, and what became of each telling.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::Frame;
use super::super::words::{Moment, abridged, shortened};
use super::{Asked, Desk, Listed, PAGE, Scene, answer, page};
use crate::api::Service;
use crate::api::webhooks::{self, DeliveryView, PageQuery, WebhookView};
use crate::domain::ids::WebhookId;
use crate::http::endpoint::{Callers, PathItem, at};
use crate::http::problem::Problem;

/// Longest part of an answer that is shown of a receiver.
const ANSWER_MAX: usize = 120;

/// The paths.
pub fn paths() -> Vec<PathItem> {
    let listing = page::<Listed>("showWebhooks", "Shows an account's webhooks, oldest first", Callers::Accounts);
    let showing = page::<Listed>("showWebhook", "Shows a webhook, with what became of each telling", Callers::Accounts);
    vec![at("/dashboard/webhooks").get(list, listing), at("/dashboard/webhooks/{id}").part::<WebhookId>("id").get(show, showing)]
}

#[derive(Template)]
#[template(path = "dashboard/webhooks.html")]
struct ListPage {
    frame: Frame,
    desk: Desk,
    rows: Vec<Row>,
    next: Option<String>,
}

struct Row {
    href: String,
    url: String,
    status: &'static str,
    events: String,
    created: Moment,
}

#[derive(Template)]
#[template(path = "dashboard/webhook.html")]
struct WebhookPage {
    frame: Frame,
    desk: Desk,
    webhook: WebhookView,
    events: String,
    created: Moment,
    failing: Option<Moment>,
    disabled: Option<Moment>,
    rows: Vec<Telling>,
    next: Option<String>,
}

struct Telling {
    id: String,
    short: String,
    kind: String,
    status: &'static str,
    attempts: u32,
    created: Moment,
    next: Option<Moment>,
    /// What was answered last, or what went wrong.
    last: String,
}

async fn list(service: Data<Service>, request: HttpRequest, query: Asked<Listed>) -> HttpResponse {
    answer(&service, &request, query, make_list).await
}

async fn make_list(scene: Scene) -> Result<ListPage, Problem> {
    let desk = scene.desk("webhooks").await?;
    let query = PageQuery { limit: Some(PAGE), cursor: scene.wanted.cursor() };
    let page = webhooks::list(&scene.flows, scene.viewer.party()?, query).await?;
    let row = |webhook: &WebhookView| Row {
        href: desk.link(&format!("/webhooks/{}", webhook.id)),
        url: webhook.url.clone(),
        status: webhook.status,
        events: events(webhook),
        created: webhook.created_at.into(),
    };
    let rows = page.webhooks.iter().map(row).collect();
    let next = desk.next("/webhooks", None, page.next_cursor.as_ref());
    Ok(ListPage { rows, next, desk, frame: scene.frame })
}

async fn show(service: Data<Service>, request: HttpRequest, id: Path<String>, query: Asked<Listed>) -> HttpResponse {
    answer(&service, &request, query, |scene| async move { make_one(scene, &id).await }).await
}

async fn make_one(scene: Scene, id: &str) -> Result<WebhookPage, Problem> {
    let desk = scene.desk("webhooks").await?;
    let account = scene.viewer.party()?;
    let webhook = webhooks::show(&scene.flows, account, id).await?;
    let query = PageQuery { limit: Some(PAGE), cursor: scene.wanted.cursor() };
    let page = webhooks::deliveries(&scene.flows, account, id, query).await?;
    Ok(WebhookPage {
        events: events(&webhook),
        created: webhook.created_at.into(),
        failing: webhook.failing_since.map(Moment::from),
        disabled: webhook.disabled_at.map(Moment::from),
        rows: page.deliveries.iter().map(Telling::of).collect(),
        next: desk.next(&format!("/webhooks/{}", webhook.id), None, page.next_cursor.as_ref()),
        desk,
        webhook,
        frame: scene.frame,
    })
}

/// The types of events that a webhook is told of.
fn events(webhook: &WebhookView) -> String {
    if webhook.events.is_empty() { "all".to_owned() } else { webhook.events.join(", ") }
}

impl Telling {
    fn of(delivery: &DeliveryView) -> Self {
        let words =
            [delivery.last_status.map(|status| status.to_string()), delivery.last_failure.clone(), delivery.last_answer.clone()];
        let words: Vec<_> = words.into_iter().flatten().collect();
        Self {
            id: delivery.id.clone(),
            short: abridged(&delivery.id),
            kind: delivery.kind.clone(),
            status: delivery.status,
            attempts: delivery.attempts,
            created: delivery.created_at.into(),
            next: delivery.next_attempt_at.map(Moment::from),
            last: shortened(&words.join(": "), ANSWER_MAX),
        }
    }
}
