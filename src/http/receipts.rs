//! `/v1/receipts`: what was stated about payments, whether it still holds, and the one use that a receipt has. Beside it the keys with
//! which anybody verifies receipts alone.

use actix_web::web::{Data, Path, Payload, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::Value;

use super::Service;
use super::auth;
use super::merchant::{answer, read_body};
use super::problem::{methods, read_only};
use crate::api::receipts::{self, Format};

/// Puts the routes in place.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(read_only("/.well-known/jwks.json").route(web::get().to(jwks)))
        .service(read_only("/.well-known/did.json").route(web::get().to(did)))
        // Where the public URL has a path, the method `web` of DID looks for the document right below it.
        .service(read_only("/did.json").route(web::get().to(did)))
        .service(methods("/v1/receipts/verify").route(web::post().to(verify)))
        .service(read_only("/v1/receipts/{id}").route(web::get().to(show)))
        .service(read_only("/v1/receipts/{id}/status").route(web::get().to(status)))
        .service(methods("/v1/receipts/{id}/redeem").route(web::post().to(redeem)));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowQuery {
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Presented {
    receipt: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redeeming {
    nonce: Option<String>,
}

async fn jwks(service: Data<Service>) -> HttpResponse {
    service.flows.issuer.as_ref().map_or_else(super::problem::not_found, |issuer| HttpResponse::Ok().json(issuer.keys().jwks()))
}

async fn did(service: Data<Service>) -> HttpResponse {
    service.flows.issuer.as_ref().map_or_else(super::problem::not_found, |issuer| HttpResponse::Ok().json(issuer.did_document()))
}

async fn show(
    service: Data<Service>,
    request: HttpRequest,
    id: Path<String>,
    query: Result<Query<ShowQuery>, actix_web::Error>,
) -> HttpResponse {
    let caller = match auth::reader(&service, &request).await {
        Ok(caller) => caller,
        Err(problem) => return problem.response(),
    };
    let Ok(query) = query else { return Format::unknown().response() };
    answer(&service, |flows| async move { receipts::show(&flows, &caller, &id, query.format).await }).await
}

async fn status(service: Data<Service>, id: Path<String>) -> HttpResponse {
    answer(&service, |flows| async move { receipts::status(&flows, &id).await }).await
}

async fn verify(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let presented = match read_body::<Presented>(&service, &request, payload).await {
        Ok((_, presented)) => presented,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let text = match presented.receipt {
            Value::String(jws) => jws,
            typed => typed.to_string(),
        };
        receipts::verify(&flows, &text).await
    })
    .await
}

async fn redeem(service: Data<Service>, request: HttpRequest, id: Path<String>, payload: Payload) -> HttpResponse {
    let account = match auth::holder(&service, &request).await {
        Ok(account) => account,
        Err(problem) => return problem.response(),
    };
    let redeeming = match read_body::<Redeeming>(&service, &request, payload).await {
        Ok((_, redeeming)) => redeeming,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move { receipts::redeem(&flows, account, &id, redeeming.nonce).await }).await
}
