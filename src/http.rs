//! The outside over HTTP: the endpoints of x402 at the root, ours under `/v1`, and operations on a listener of their own.
//!
//! A handler reads, calls one flow, and shapes the answer. Flows run on the service's own runtime: a server's worker may stop
//! caring about a request at any moment, and a connection to the database or a node must not depend on it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{Extensions, HttpService, Protocol};
use actix_service::{ServiceFactoryExt, fn_service, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, HOST, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpResponse, web};
use tokio::net::{TcpSocket, TcpStream};

use self::connection::{Connection, HEAD_WITHIN};
use self::endpoint::Group;
use self::problem::Problem;
use crate::api::admission::Connections;
use crate::api::turns::Turns;
use crate::api::{Service, page};

mod address_lists;
mod addresses;
mod auth;
mod body;
mod connection;
mod csv;
mod demand;
mod discovery;
mod endpoint;
mod events;
mod exports;
mod facilitator;
pub mod framing;
mod invoices;
mod limits;
mod merchant;
pub mod openapi;
mod operations;
mod pages;
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

/// Threads that read and write; the work is done elsewhere.
const WORKERS: usize = 2;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// What the system keeps of answers that a client does not take, of which it would keep megabytes.
const SEND_BUFFER: u32 = 64 * 1024;

/// Between two requests a connection may be idle for this long: longer than proxies and clients keep theirs, so that it is they who close
/// it and nobody asks on one that is just being closed.
const IDLE_WITHIN: Duration = Duration::from_secs(75);

/// The API, listening.
///
/// # Errors
/// The address is taken.
pub fn api(service: Arc<Service>) -> std::io::Result<(actix_web::dev::Server, SocketAddr)> {
    let listener = listen(service.server.listen)?;
    let address = listener.local_addr()?;
    let grace = service.server.shutdown_within.num_seconds().unsigned_abs();
    let connections = Connections::new(&service);
    let turns = Arc::<Turns>::default();
    let builder = actix_web::dev::Server::build()
        .workers(WORKERS)
        // The limit is for each worker.
        .max_concurrent_connections(service.connections_max.div_ceil(WORKERS))
        .shutdown_timeout(grace)
        .disable_signals();
    let running = Running { exports: exports::running().into(), overviews: pages::overviews().into() };
    let stopping = builder.graceful_shutdown_signal();
    let server = builder.listen("api", listener, move || {
        let stopping = stopping.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let stopping = stopping.clone();
                async move { stopping.notified().await }
            })
            .keep_alive(IDLE_WITHIN)
            .client_request_timeout(HEAD_WITHIN)
            // A client that has closed its side is gone. Were it answered all the same, a success would be told to nobody and not be
            // told again.
            .h1_allow_half_closed(false)
            .on_connect_ext(|connection: &Connection, data: &mut Extensions| drop(data.insert(connection.demand().clone())))
            .local_addr(address)
            .finish(map_config(app(Arc::clone(&service), running.clone()), |()| AppConfig::default()));
        accept(Arc::clone(&service), connections.clone(), Arc::clone(&turns)).and_then(http)
    })?;
    Ok((server.run(), address))
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Connections have what their listener has.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// Takes a connection in, unless its address has too many.
fn accept(
    service: Arc<Service>,
    connections: Connections,
    turns: Arc<Turns>,
) -> impl ServiceFactory<TcpStream, Config = (), Response = Accepted, Error = DispatchError, InitError = ()> {
    fn_service(move |stream: TcpStream| {
        let peer = stream.peer_addr().ok();
        let place = connections.admit(&service, peer.map(|peer| peer.ip()));
        let turns = Arc::clone(&turns);
        async move { Ok::<Accepted, DispatchError>((Connection::new(stream, place?, turns), Protocol::Http1, peer)) }
    })
}

type Accepted = (Connection, Protocol, Option<SocketAddr>);

/// What takes long, and so has places.
#[derive(Clone)]
struct Running {
    exports: web::Data<exports::Running>,
    overviews: web::Data<pages::Overviews>,
}

/// Every route, and what stands before all of them.
fn app(
    service: Arc<Service>,
    running: Running,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    App::new()
        .app_data(web::Data::from(service))
        .app_data(running.exports)
        .app_data(running.overviews)
        .wrap(from_fn(limits::gate))
        .wrap(from_fn(observe))
        .wrap(from_fn(plain_targets_only))
        .configure(|config| groups().into_iter().flat_map(|group| group.paths).for_each(|path| path.serve(config)))
        .default_service(web::to(|| async { problem::not_found() }))
}

/// Everything that the API serves: what is routed, counted and described is this.
fn groups() -> Vec<Group> {
    vec![
        facilitator::group(),
        discovery::group(),
        payments::group(),
        addresses::group(),
        address_lists::group(),
        invoices::group(),
        transfers::group(),
        proofs::group(),
        pages::group(),
        receipts::group(),
        webhooks::group(),
        events::group(),
        exports::group(),
        settings::group(),
        reconciliations::group(),
        openapi::group(),
    ]
}

/// Counts every request under its route's pattern, and keeps answers out of caches, unless they say otherwise: they are about money.
async fn observe(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let service = request.app_data::<web::Data<Service>>().cloned();
    let started = std::time::Instant::now();
    let in_flight = service.as_ref().map(|service| service.flows().metrics.http_request_started());
    let method = request.method().clone();
    let mut response = next.call(request).await?;
    if !response.headers().contains_key(CACHE_CONTROL) {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if let Some(service) = service {
        // A path that somebody invents counts as none.
        let route = response.request().match_pattern();
        let route = route.as_deref().unwrap_or("none");
        service.flows().metrics.http_request(route, method.as_str(), response.status().as_u16(), started.elapsed());
    }
    drop(in_flight);
    Ok(response)
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
