//! `/dashboard/invoices`: what merchants expect to be paid.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::Frame;
use super::super::words::{Link, Moment, abridged, network_of, shortened};
use super::transfers::Row as TransferRow;
use super::{Asked, Desk, Narrowed, OfAccount, PAGE, Scene, answer, choices, page};
use crate::api::Service;
use crate::api::invoices::{self, InvoiceView, ListQuery};
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::Status;
use crate::http::endpoint::{Callers, PathItem, at};
use crate::http::problem::Problem;

/// Longest part of a merchant's own words in a row.
const WORDS_MAX: usize = 40;

/// The paths.
pub fn paths() -> Vec<PathItem> {
    let listing = page::<Narrowed>("showInvoices", "Shows a merchant's invoices, newest first", Callers::Overseers);
    let showing = page::<OfAccount>(
        "showInvoiceOfMerchant",
        "Shows an invoice to its merchant, with what has come for it",
        Callers::Overseers,
    );
    vec![at("/dashboard/invoices").get(list, listing), at("/dashboard/invoices/{id}").part::<InvoiceId>("id").get(show, showing)]
}

#[derive(Template)]
#[template(path = "dashboard/invoices.html")]
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
    status: &'static str,
    amount: String,
    paid: String,
    symbol: String,
    reference: String,
    created: Moment,
}

#[derive(Template)]
#[template(path = "dashboard/invoice.html")]
struct InvoicePage {
    frame: Frame,
    desk: Desk,
    created: Moment,
    expires: Moment,
    closes: Moment,
    canceled: Option<Moment>,
    resource: Option<Link>,
    /// Networks and addresses at which it can be paid.
    places: Vec<(String, String)>,
    metadata: Option<String>,
    transfers: Vec<TransferRow>,
    receipts: Vec<(String, u32, &'static str, String)>,
    invoice: InvoiceView,
}

async fn list(service: Data<Service>, request: HttpRequest, query: Asked<Narrowed>) -> HttpResponse {
    answer(&service, &request, query, make_list).await
}

async fn make_list(scene: Scene) -> Result<ListPage, Problem> {
    let desk = scene.desk("invoices").await?;
    let (state, cursor) = (scene.wanted.state(), scene.wanted.cursor());
    let query = ListQuery { status: state.clone(), cursor, limit: Some(PAGE), ..ListQuery::default() };
    let page = invoices::page(&scene.flows, scene.viewer.merchant()?, query).await?;
    let row = |invoice: &InvoiceView| Row {
        short: abridged(&invoice.id),
        href: desk.link(&format!("/invoices/{}", invoice.id)),
        id: invoice.id.clone(),
        status: invoice.status,
        amount: invoice.amount.clone(),
        paid: invoice.amount_paid.clone(),
        symbol: invoice.asset.clone(),
        reference: shortened(invoice.reference.as_deref().unwrap_or_default(), WORDS_MAX),
        created: invoice.created_at.into(),
    };
    let rows = page.invoices.iter().map(row).collect();
    let next = desk.next("/invoices", state.as_deref(), page.next_cursor.as_ref());
    Ok(ListPage { states: choices(&Status::ALL.map(Status::as_str), state.as_deref()), rows, next, desk, frame: scene.frame })
}

async fn show(service: Data<Service>, request: HttpRequest, id: Path<String>, query: Asked<OfAccount>) -> HttpResponse {
    answer(&service, &request, query, |scene| async move { make_one(scene, &id).await }).await
}

async fn make_one(scene: Scene, id: &str) -> Result<InvoicePage, Problem> {
    let desk = scene.desk("invoices").await?;
    let invoice = invoices::look_up(&scene.flows, scene.viewer.merchant()?, id).await?;
    let tokens = scene.tokens();
    let transfers = invoice.transfers.as_deref().unwrap_or_default().iter();
    let receipts = invoice.receipts.as_deref().unwrap_or_default().iter();
    let is_empty = |metadata: &serde_json::Value| metadata.as_object().is_none_or(serde_json::Map::is_empty);
    Ok(InvoicePage {
        created: invoice.created_at.into(),
        expires: invoice.expires_at.into(),
        closes: invoice.closes_at.into(),
        canceled: invoice.canceled_at.map(Moment::from),
        resource: invoice.resource.as_deref().map(Link::to),
        places: invoice.options.iter().map(|option| (network_of(&option.network), option.pay_to.clone())).collect(),
        metadata: Some(&invoice.metadata).filter(|metadata| !is_empty(metadata)).map(|metadata| format!("{metadata:#}")),
        transfers: transfers.map(|transfer| TransferRow::of(transfer, &tokens, &desk)).collect(),
        receipts: receipts
            .map(|receipt| (receipt.id.clone(), receipt.revision, receipt.finality, receipt.transaction.clone()))
            .collect(),
        desk,
        invoice,
        frame: scene.frame,
    })
}
