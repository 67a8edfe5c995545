//! `/dashboard/transfers`: what arrived at merchants' addresses, and what nobody could place.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::Frame;
use super::super::money::{Money, Tokens};
use super::super::words::{Moment, abridged, network_of};
use super::{Asked, Desk, Narrowed, PAGE, Scene, answer, choices, page};
use crate::api::Service;
use crate::api::transfers::{self, ListQuery, TransferView};
use crate::http::endpoint::{Callers, PathItem, at};
use crate::http::problem::Problem;

/// What the list can be narrowed to.
const STATES: [&str; 2] = ["matched", "unmatched"];

/// The path.
pub fn paths() -> Vec<PathItem> {
    let listing =
        page::<Narrowed>("showTransfers", "Shows what arrived at a merchant's addresses, newest first", Callers::Overseers);
    vec![at("/dashboard/transfers").get(list, listing)]
}

#[derive(Template)]
#[template(path = "dashboard/transfers.html")]
struct ListPage {
    frame: Frame,
    desk: Desk,
    states: Vec<(&'static str, bool)>,
    rows: Vec<Row>,
    next: Option<String>,
}

/// A transfer in a list.
pub struct Row {
    pub id: String,
    pub short: String,
    pub network: String,
    pub money: Money,
    pub from: String,
    pub from_short: String,
    pub transaction: String,
    pub transaction_short: String,
    pub happened: Moment,
    /// What it pays: words, and where that is shown.
    pub pays: Option<(String, String)>,
    pub basis: &'static str,
}

impl Row {
    /// A transfer as the API shows it.
    pub fn of(transfer: &TransferView, tokens: &Tokens<'_>, desk: &Desk) -> Self {
        let invoice = transfer.invoice.as_ref().map(|id| (abridged(id), desk.link(&format!("/invoices/{id}"))));
        let payment = transfer.payment.as_ref().map(|id| (abridged(id), desk.link(&format!("/payments/{id}"))));
        Self {
            id: transfer.id.clone(),
            short: abridged(&transfer.id),
            network: network_of(&transfer.network),
            money: tokens.money(&transfer.network, &transfer.asset, &transfer.amount),
            from: transfer.from.clone(),
            from_short: abridged(&transfer.from),
            transaction: transfer.transaction.clone(),
            transaction_short: abridged(&transfer.transaction),
            happened: transfer.happened_at.into(),
            pays: invoice.or(payment),
            basis: transfer.basis.unwrap_or_default(),
        }
    }
}

async fn list(service: Data<Service>, request: HttpRequest, query: Asked<Narrowed>) -> HttpResponse {
    answer(&service, &request, query, make).await
}

async fn make(scene: Scene) -> Result<ListPage, Problem> {
    let desk = scene.desk("transfers").await?;
    let (state, cursor) = (scene.wanted.state(), scene.wanted.cursor());
    let matched = match state.as_deref() {
        None => None,
        Some("matched") => Some(true),
        Some("unmatched") => Some(false),
        Some(_) => return Err(Problem::BadParameter(format!("state is one of {}", STATES.join(", ")))),
    };
    let query = ListQuery { matched, cursor, limit: Some(PAGE), ..ListQuery::default() };
    let page = transfers::list(&scene.flows, scene.viewer.merchant()?, query).await?;
    let tokens = scene.tokens();
    let rows = page.transfers.iter().map(|transfer| Row::of(transfer, &tokens, &desk)).collect();
    let next = desk.next("/transfers", state.as_deref(), page.next_cursor.as_ref());
    Ok(ListPage { states: choices(&STATES, state.as_deref()), rows, next, desk, frame: scene.frame })
}
