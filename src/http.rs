//! The outside over HTTP: the endpoints of x402 at the root, ours under `/v1`, and operations on a listener of their own.
//!
//! A handler reads, calls one flow, and shapes the answer. Flows run on the service's own runtime: a server's worker may stop
//! caring about a request at any moment, and a connection to the database or a node must not depend on it.

use std::sync::Arc;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, HOST, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpResponse, HttpServer, web};

use self::problem::Problem;
use crate::api::{Service, page};

mod address_lists;
mod addresses;
mod auth;
mod body;
mod csv;
mod events;
mod exports;
mod facilitator;
mod invoices;
mod merchant;
mod operations;
mod payments;
mod problem;
mod proofs;
mod receipts;
mod reconciliations;
mod settings;
mod streaming;
mod transfers;
mod webhooks;

pub use operations::Operations;

/// A request line and headers must arrive within this.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);

/// Threads that read and write; the work is done elsewhere.
const WORKERS: usize = 2;

/// The API, listening.
///
/// # Errors
/// The address is taken.
pub fn api(service: Arc<Service>) -> std::io::Result<(actix_web::dev::Server, std::net::SocketAddr)> {
    let (listen, connections) = (service.server.listen, service.server.connections_max);
    let grace = service.server.shutdown_within.num_seconds().unsigned_abs();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&service)))
            .wrap(from_fn(observe))
            .wrap(from_fn(plain_targets_only))
            .configure(facilitator::routes)
            .configure(payments::routes)
            .configure(addresses::routes)
            .configure(address_lists::routes)
            .configure(invoices::routes)
            .configure(transfers::routes)
            .configure(receipts::routes)
            .configure(webhooks::routes)
            .configure(events::routes)
            .configure(exports::routes)
            .configure(proofs::routes)
            .configure(reconciliations::routes)
            .configure(settings::routes)
            .default_service(web::to(|| async { problem::not_found() }))
    })
    .workers(WORKERS)
    // The limit is for each worker.
    .max_connections(connections.div_ceil(WORKERS))
    .client_request_timeout(HEADERS_WITHIN)
    // A client that has closed its side is gone. Were it answered all the same, a success would be told to nobody and not be told again.
    .h1_allow_half_closed(false)
    .shutdown_timeout(grace)
    .disable_signals()
    .bind(listen)?;
    let address = server.addrs().first().copied().unwrap_or(listen);
    Ok((server.run(), address))
}

/// Counts every request under its route's pattern, and keeps answers out of caches: they are about money.
async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let service = request.app_data::<web::Data<Service>>().cloned();
    let started = std::time::Instant::now();
    let in_flight = service.as_ref().map(|service| service.flows.metrics.http_request_started());
    let method = request.method().clone();
    let mut response = next.call(request).await?;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(service) = service {
        let route = route(response.request().match_pattern().as_deref());
        service.flows.metrics.http_request(route, method.as_str(), response.status().as_u16(), started.elapsed());
    }
    drop(in_flight);
    Ok(response)
}

/// The routes by which requests are counted. A path that somebody invents counts as none of them.
const ROUTES: [&str; 37] = [
    "/verify",
    "/settle",
    "/supported",
    "/health",
    "/",
    "/v1/payments",
    "/v1/payments/{id}",
    "/v1/addresses",
    "/v1/addresses/{id}",
    "/v1/addresses/{id}/proof",
    "/v1/address-lists",
    "/v1/address-lists/{id}/proof",
    "/v1/invoices",
    "/v1/invoices/{id}",
    "/v1/invoices/{id}/cancel",
    "/v1/transfers",
    "/v1/transfers/{id}/assign",
    "/v1/receipts/verify",
    "/v1/receipts/{id}",
    "/v1/receipts/{id}/status",
    "/v1/receipts/{id}/redeem",
    "/.well-known/jwks.json",
    "/.well-known/did.json",
    "/did.json",
    "/v1/webhooks",
    "/v1/webhooks/{id}",
    "/v1/webhooks/{id}/rotate-secret",
    "/v1/webhooks/{id}/enable",
    "/v1/webhooks/{id}/deliveries",
    "/v1/webhooks/{id}/deliveries/{delivery}/redeliver",
    "/v1/events",
    "/v1/export/payments.csv",
    "/v1/export/transfers.csv",
    "/v1/export/invoices.csv",
    "/v1/reconciliations",
    "/v1/settings",
    "/i/{invoice}/proof",
];

fn route(pattern: Option<&str>) -> &'static str {
    ROUTES.into_iter().find(|route| Some(*route) == pattern).unwrap_or("none")
}

/// Our paths need no escapes, and a request for another host is none for us. Whoever writes such a thing wants two parts of a system to
/// read different requests.
async fn plain_targets_only(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let host = request.headers().get(HOST).map(HeaderValue::as_bytes);
    if request.uri().authority().is_some_and(|authority| Some(authority.as_str().as_bytes()) != host) {
        let response: HttpResponse = Problem::BadParameter("the request is for another host".to_owned()).response();
        return Ok(request.into_response(response).map_into_boxed_body());
    }
    if request.uri().path().bytes().any(|byte| byte == b'%' || byte == b';') {
        let response: HttpResponse = problem::not_found();
        return Ok(request.into_response(response).map_into_boxed_body());
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}
