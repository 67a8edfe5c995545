//! The service over gRPC: what `proto/` promises, on a listener of its own.
//!
//! Nothing is decided here. A call is read, answered by `api`, and written down as a message; the answer is that of HTTP, so the two
//! transports cannot tell different things.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use self::calls::Calls;
use self::v1::facilitator_server::FacilitatorServer;
use self::v1::invoices_server::InvoicesServer;
use self::v1::receipts_server::ReceiptsServer;
use crate::api::Service;
use crate::api::events::STREAM_LASTS;

mod admission;
mod calls;
mod connections;
pub mod deadline;
mod facilitator;
pub mod frames;
mod health;
mod invoices;
pub mod json;
mod receipts;
mod slow;
mod status;
pub mod v1;
mod watch;

/// Calls at a time on one connection. A waiting settlement is one.
const CALLS_PER_CONNECTION: u32 = 1_000;

/// Bytes of headers, which are an API key, an `Idempotency-Key` and little else.
const HEADERS_BYTES_MAX: u32 = 16 << 10;

/// What a client may send ahead on one call, and on all of one connection: nothing of it is read before there is room.
const CALL_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;

/// Calls that a client has taken back before they were looked at, and calls that were refused for how they were written: beyond so many its
/// connection is closed (CVE-2023-44487 and what came after).
const RESETS_AHEAD: usize = 20;
const RESETS_FOR_ERRORS: usize = 1_024;

/// A silent connection is asked this often whether anybody is there, and closed if there is no answer in time.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(30);
const KEEPALIVE_WITHIN: Duration = Duration::from_secs(10);

/// A listener at work.
pub type Listening = BoxFuture<'static, std::io::Result<()>>;

/// The API over gRPC, listening at `address` until `stop`. Then it takes no more calls, and ends with the last one.
///
/// # Errors
/// The address is taken.
pub async fn listen(
    service: Arc<Service>,
    address: SocketAddr,
    stop: CancellationToken,
) -> std::io::Result<(Listening, SocketAddr)> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let calls = Calls::new(routes(&service, &stop)?, Arc::clone(&service));
    let server = Server::builder()
        .max_concurrent_streams(CALLS_PER_CONNECTION)
        .http2_max_header_list_size(HEADERS_BYTES_MAX)
        .initial_stream_window_size(CALL_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_pending_accept_reset_streams(Some(RESETS_AHEAD))
        .http2_max_local_error_reset_streams(Some(RESETS_FOR_ERRORS))
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_WITHIN))
        // An old connection makes room, and finds its way to newer replicas behind a balancer. No call is cut for that.
        .max_connection_age(STREAM_LASTS)
        .max_connection_age_grace(STREAM_LASTS);
    let incoming = connections::accept(listener, service);
    let serving = async move {
        server.serve_with_incoming_shutdown(calls, incoming, stop.cancelled_owned()).await.map_err(std::io::Error::other)
    };
    Ok((serving.boxed(), address))
}

/// Every service on the listener, with what tools ask a server for.
fn routes(service: &Arc<Service>, stop: &CancellationToken) -> std::io::Result<Routes> {
    let bytes_max = service.server.body_bytes_max;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(v1::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let facilitator = facilitator::Endpoint(Arc::clone(service));
    let invoices = invoices::Endpoint(Arc::clone(service));
    let receipts = receipts::Endpoint(Arc::clone(service));
    let routes = Routes::new(FacilitatorServer::new(facilitator).max_decoding_message_size(bytes_max))
        .add_service(InvoicesServer::new(invoices).max_decoding_message_size(bytes_max))
        .add_service(ReceiptsServer::new(receipts).max_decoding_message_size(bytes_max))
        .add_service(health::service(stop.clone(), bytes_max))
        // Tools speak the one or the other version of reflection.
        .add_service(reflection().build_v1().map_err(std::io::Error::other)?.max_decoding_message_size(bytes_max))
        .add_service(reflection().build_v1alpha().map_err(std::io::Error::other)?.max_decoding_message_size(bytes_max));
    Ok(routes.prepare())
}
