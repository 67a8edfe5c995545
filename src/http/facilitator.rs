//! The endpoints of x402: `/verify`, `/settle`, `/supported`, and what clients expect beside them.
//!
//! Every error has the typed body of its endpoint, because clients look for that before they look at the status.

use actix_web::web::{Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::problem::{self, Problem, read_only};
use super::{Service, auth, body};
use crate::api::facilitator;
use crate::api::problem::Name;
use crate::api::reply::Reply;
use crate::api::status::Status;
use crate::domain::account::Caller;
use crate::x402::request::parse_request;
use crate::x402::response::{Echo, SettleResponse, UNEXPECTED_SETTLE_ERROR, UNEXPECTED_VERIFY_ERROR, VerifyResponse};
use crate::x402::supported::{self, Supported};

/// Puts the routes in place.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/verify")
                .route(web::post().to(verify))
                .route(web::get().to(|| async { HttpResponse::Ok().json(supported::VERIFY) }))
                .default_service(web::to(|| async { verify_problem(&Problem::MethodNotAllowed) })),
        )
        .service(
            web::resource("/settle")
                .route(web::post().to(settle))
                .route(web::get().to(|| async { HttpResponse::Ok().json(supported::SETTLE) }))
                .default_service(web::to(|| async { settle_problem(&Problem::MethodNotAllowed) })),
        )
        .service(read_only("/supported").route(web::get().to(list_supported)))
        .service(read_only("/health").route(web::get().to(health)))
        .service(read_only("/").route(web::get().to(health)));
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

async fn health() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// Status, code and words of a request that never reached its flow.
fn parts(problem: &Problem, unexpected: Option<&'static str>) -> (Status, &'static str, String) {
    let Name { status, code, .. } = facilitator::name_of(problem, unexpected);
    let words = match problem {
        Problem::MethodNotAllowed => "this endpoint takes POST, and GET describes it".to_owned(),
        problem => problem.to_string(),
    };
    (status, code, words)
}

fn verify_problem(problem: &Problem) -> HttpResponse {
    let (status, code, words) = parts(problem, Some(UNEXPECTED_VERIFY_ERROR));
    problem::begin(status).json(VerifyResponse::fault(Echo::UNKNOWN, code, &words))
}

fn settle_problem(problem: &Problem) -> HttpResponse {
    let (status, code, words) = parts(problem, Some(UNEXPECTED_SETTLE_ERROR));
    problem::begin(status).json(SettleResponse::fault(Echo::UNKNOWN, code, &words))
}

fn supported_problem(problem: &Problem) -> HttpResponse {
    let (status, code, words) = parts(problem, None);
    problem::begin(status).json(Supported::fault(code, words))
}

async fn enter(service: &Service, request: &HttpRequest, payload: Payload) -> Result<(Caller, web::Bytes), Problem> {
    let caller = auth::provider(service, request).await?;
    let bytes = body::read(request, payload, service.server.body_bytes_max).await?;
    Ok((caller, bytes))
}

/// Some old clients read no body but that of a 200, so the operator may choose that an answer without a verdict is one.
fn told(service: &Service, reply: Reply) -> HttpResponse {
    match reply.status() {
        Status::Unavailable if service.server.unavailable_as_ok => reply.into_response_as(Status::Ok),
        _ => reply.into_response(),
    }
}

async fn verify(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let verified = async {
        let (caller, bytes) = enter(&service, &request, payload).await?;
        facilitator::verify(&service, caller, parse_request(&bytes), None).await
    };
    verified.await.map_or_else(|problem| verify_problem(&problem), |reply| told(&service, reply))
}

async fn settle(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let settled = async {
        let (caller, bytes) = enter(&service, &request, payload).await?;
        facilitator::settle(&service, caller, auth::envelope(&request), parse_request(&bytes), None).await
    };
    settled.await.map_or_else(|problem| settle_problem(&problem), |reply| told(&service, reply))
}

async fn list_supported(service: Data<Service>, request: HttpRequest) -> HttpResponse {
    let listed = async {
        auth::provider(&service, &request).await?;
        facilitator::supported(&service).await
    };
    listed.await.map_or_else(|problem| supported_problem(&problem), |supported| HttpResponse::Ok().json(supported))
}
