//! `GET /v1/payments`: what became of a payment, for those who asked for it and those who are paid.

use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};

use super::Service;
use super::auth;
use super::endpoint::{Callers, Group, Operation, at};
use super::problem::Problem;
use crate::api::payments::{self, ListQuery, Page, PaymentView};
use crate::api::status::Status;
use crate::domain::ids::PaymentId;

/// The paths.
pub fn group() -> Group {
    let listing = Operation::new("listPayments", "Lists payments, newest first")
        .about("Those that the account asked for, and those that it is paid by. Operators read all.")
        .of(Callers::Accounts)
        .query::<ListQuery>()
        .answers::<Page>(Status::Ok, "A page of payments.");
    let showing = Operation::new("getPayment", "Shows a payment, with what has happened to it")
        .about("One that no account asked for is read by whoever knows its name.")
        .of(Callers::Readers)
        .answers::<PaymentView>(Status::Ok, "The payment.");
    Group {
        name: "Payments",
        about: "What became of payments, for those who asked for them and those who are paid.",
        paths: vec![at("/v1/payments").get(list, listing), at("/v1/payments/{id}").part::<PaymentId>("id").get(show, showing)],
    }
}

async fn show(service: Data<Service>, request: HttpRequest, id: Path<String>) -> HttpResponse {
    match try_show(&service, &request, id.into_inner()).await {
        Ok(view) => HttpResponse::Ok().json(view),
        Err(problem) => problem.response(),
    }
}

async fn try_show(service: &Service, request: &HttpRequest, id: String) -> Result<PaymentView, Problem> {
    let caller = auth::reader(service, request).await?;
    let flows = service.flows();
    service.run(async move { payments::show(&flows, &caller, &id).await }).await?
}

async fn list(service: Data<Service>, request: HttpRequest, query: Result<Query<ListQuery>, actix_web::Error>) -> HttpResponse {
    let answer = match query {
        Ok(query) => try_list(&service, &request, query.into_inner()).await,
        Err(_) => Err(Problem::BadParameter("unknown or malformed parameter".to_owned())),
    };
    answer.map_or_else(|problem| problem.response(), |page| HttpResponse::Ok().json(page))
}

async fn try_list(service: &Service, request: &HttpRequest, query: ListQuery) -> Result<Page, Problem> {
    let caller = auth::caller(service, request).await?;
    let flows = service.flows();
    service.run(async move { payments::list(&flows, &caller, query).await }).await?
}
