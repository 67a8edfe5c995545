//! `/dashboard/payments`: what became of payments.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::Frame;
use super::super::money::Money;
use super::super::words::{Link, Moment, abridged, network_of};
use super::{Asked, Desk, Narrowed, OfAccount, PAGE, Scene, answer, choices, page};
use crate::api::payments::{self, ListQuery, PaymentView};
use crate::api::{Service, invoices};
use crate::domain::ids::PaymentId;
use crate::domain::payment::State;
use crate::http::endpoint::{Callers, PathItem, at};
use crate::http::problem::Problem;

/// The paths.
pub fn paths() -> Vec<PathItem> {
    let listing = page::<Narrowed>("showPayments", "Shows payments, newest first", Callers::Accounts);
    let showing = page::<OfAccount>("showPayment", "Shows a payment, with what has happened to it", Callers::Accounts);
    vec![at("/dashboard/payments").get(list, listing), at("/dashboard/payments/{id}").part::<PaymentId>("id").get(show, showing)]
}

#[derive(Template)]
#[template(path = "dashboard/payments.html")]
struct ListPage {
    frame: Frame,
    desk: Desk,
    states: Vec<(&'static str, bool)>,
    rows: Vec<Row>,
    next: Option<String>,
}

struct Row {
    id: String,
    short: String,
    href: String,
    state: &'static str,
    network: String,
    money: Money,
    payer: String,
    created: Moment,
}

#[derive(Template)]
#[template(path = "dashboard/payment.html")]
struct PaymentPage {
    frame: Frame,
    desk: Desk,
    money: Money,
    created: Moment,
    expires: Moment,
    answered: Option<Moment>,
    resource: Option<Link>,
    network: String,
    events: Vec<(String, Moment, String)>,
    /// Where its invoice is shown, if it has one that the viewer reads.
    invoice_href: Option<String>,
    payment: PaymentView,
}

async fn list(service: Data<Service>, request: HttpRequest, query: Asked<Narrowed>) -> HttpResponse {
    answer(&service, &request, query, make_list).await
}

async fn make_list(scene: Scene) -> Result<ListPage, Problem> {
    let desk = scene.desk("payments").await?;
    let (state, cursor) = (scene.wanted.state(), scene.wanted.cursor());
    let query = ListQuery { state: state.clone(), cursor, limit: Some(PAGE), ..ListQuery::default() };
    let page = payments::list(&scene.flows, &scene.viewer.reads_as(), query).await?;
    let tokens = scene.tokens();
    let row = |payment: &PaymentView| Row {
        short: abridged(&payment.id),
        href: desk.link(&format!("/payments/{}", payment.id)),
        id: payment.id.clone(),
        state: payment.state,
        network: network_of(&payment.network),
        money: tokens.money(&payment.network, &payment.asset, &payment.amount),
        payer: abridged(&payment.payer),
        created: payment.created_at.into(),
    };
    let rows = page.payments.iter().map(row).collect();
    let next = desk.next("/payments", state.as_deref(), page.next_cursor.as_ref());
    Ok(ListPage { states: choices(&State::WORDS, state.as_deref()), rows, next, desk, frame: scene.frame })
}

async fn show(service: Data<Service>, request: HttpRequest, id: Path<String>, query: Asked<OfAccount>) -> HttpResponse {
    answer(&service, &request, query, |scene| async move { make_one(scene, &id).await }).await
}

async fn make_one(scene: Scene, id: &str) -> Result<PaymentPage, Problem> {
    let desk = scene.desk("payments").await?;
    let payment = payments::show(&scene.flows, &scene.viewer.reads_as(), id).await?;
    let told = payment.events.as_deref().unwrap_or_default().iter();
    // Whoever settles may name another merchant's invoice.
    let invoice_href = match (&payment.invoice, scene.viewer.merchant()) {
        (Some(id), Ok(merchant)) if invoices::find(&scene.flows, merchant, id).await.is_ok() => {
            Some(desk.link(&format!("/invoices/{id}")))
        }
        _ => None,
    };
    Ok(PaymentPage {
        desk,
        invoice_href,
        money: scene.tokens().money(&payment.network, &payment.asset, &payment.amount),
        created: payment.created_at.into(),
        expires: payment.expires_at.into(),
        answered: payment.answered_at.map(Moment::from),
        resource: payment.resource.as_deref().map(Link::to),
        network: network_of(&payment.network),
        events: told.map(|event| (event.kind.clone(), event.at.into(), particulars(&event.data))).collect(),
        payment,
        frame: scene.frame,
    })
}

/// The particulars of an event in a line.
fn particulars(data: &serde_json::Value) -> String {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let members = data.as_object().into_iter().flatten();
    members.map(|(name, value)| format!("{name} {}", text(value))).collect::<Vec<_>>().join(", ")
}
