//! `/v1/invoices`: what a merchant expects to be paid.

use actix_web::web::{Data, Path, Payload, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;

use super::Service;
use super::auth;
use super::merchant::{Change, answer};
use super::problem::{Problem, methods};
use crate::api::invoices::{self, ListQuery};

/// Puts the routes in place.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(methods("/v1/invoices").route(web::get().to(list)).route(web::post().to(create)))
        .service(methods("/v1/invoices/{id}").route(web::get().to(show)))
        .service(methods("/v1/invoices/{id}/cancel").route(web::post().to(cancel)));
}

async fn create(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let change = match Change::read(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move { invoices::create(&flows, change).await }).await
}

/// A body without members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

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
