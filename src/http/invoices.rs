//! `/v1/invoices`: what a merchant expects to be paid.

use actix_web::web::{Data, Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::Service;
use super::auth;
use super::endpoint::{Callers, Group, Operation, Repeats, at};
use super::merchant::{Change, Nothing, answer};
use super::problem::{Code, Problem};
use crate::api::invoices::{self, InvoiceView, ListQuery, OrderBody, Page};
use crate::api::status::Status;
use crate::domain::ids::InvoiceId;

/// The paths.
pub fn group() -> Group {
    let listing = Operation::new("listInvoices", "Lists the account's invoices, newest first")
        .of(Callers::Merchants)
        .query::<ListQuery>()
        .answers::<Page>(Status::Ok, "A page of invoices, without their transfers and receipts.");
    let creating = Operation::new("createInvoice", "Opens an invoice")
        .about("Without an `Idempotency-Key` a repetition opens a second one.")
        .of(Callers::Merchants)
        .repeats(Repeats::Answered)
        .body::<OrderBody>(json!({"amount": "0.25", "networks": ["eip155:84532"], "reference": "order-417"}))
        .answers::<InvoiceView>(Status::Created, "The invoice, with everything that payers of each kind need.")
        .problems(&[Code::InvalidInvoice, Code::NoAddress]);
    let showing = Operation::new("getInvoice", "Shows an invoice, with what has come for it")
        .of(Callers::Merchants)
        .answers::<InvoiceView>(Status::Ok, "The invoice.");
    let canceling = Operation::new("cancelInvoice", "Calls an invoice off")
        .of(Callers::Merchants)
        .repeats(Repeats::Checked)
        .optional_body::<Nothing>(json!({}))
        .answers::<InvoiceView>(Status::Ok, "The invoice.")
        .problems(&[Code::InvoiceBegun, Code::PaymentUnderWay]);
    Group {
        name: "Invoices",
        about: "What a merchant expects to be paid.",
        paths: vec![
            at("/v1/invoices").get(list, listing).post(create, creating),
            at("/v1/invoices/{id}").part::<InvoiceId>("id").get(show, showing),
            at("/v1/invoices/{id}/cancel").part::<InvoiceId>("id").post(cancel, canceling),
        ],
    }
}

async fn create(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let change = match Change::read(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move { invoices::create(&flows, change).await }).await
}

async fn cancel(service: Data<Service>, request: HttpRequest, id: Path<String>, payload: Payload) -> HttpResponse {
    let change = match Change::<Nothing>::read(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move { invoices::cancel(&flows, change.account, &id).await }).await
}

async fn show(service: Data<Service>, request: HttpRequest, id: Path<String>) -> HttpResponse {
    let account = match auth::merchant(&service, &request).await {
        Ok(account) => account,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move { invoices::show(&flows, account, &id).await }).await
}

async fn list(service: Data<Service>, request: HttpRequest, query: Result<Query<ListQuery>, actix_web::Error>) -> HttpResponse {
    let account = match auth::merchant(&service, &request).await {
        Ok(account) => account,
        Err(problem) => return problem.response(),
    };
    let Ok(query) = query else { return Problem::BadParameter("unknown or malformed parameter".to_owned()).response() };
    answer(&service, |flows| async move { invoices::list(&flows, account, query.into_inner()).await }).await
}
