//! What a call says of its caller, and whether it is let in before anything is done for it.

use tonic::Request;
use tonic::codegen::http::{self, HeaderMap, HeaderValue};
use tonic::transport::server::TcpConnectInfo;

use crate::api::access::Envelope;
use crate::api::{Service, admission};
use crate::flow::limits::{Limited, Origin};

/// Whether calls of this method are not counted: health must be told at any moment.
fn is_exempt(method: &str) -> bool {
    method.starts_with("grpc.health.")
}

/// Lets a call in, and notes for whom it counts.
///
/// # Errors
/// Whoever it counts for asks too often.
pub fn admit<B>(service: &Service, method: &str, request: &mut http::Request<B>) -> Result<(), Limited> {
    if is_exempt(method) {
        return Ok(());
    }
    let connection = request.extensions().get::<TcpConnectInfo>();
    let peer = connection.and_then(TcpConnectInfo::remote_addr).map(|address| address.ip());
    let headers = request.headers();
    let origin = admission::admit(service, written(headers), peer, |name| headers.get_all(name).iter().map(text))?;
    request.extensions_mut().insert(origin);
    Ok(())
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

/// What says who calls.
pub fn envelope<M>(request: &Request<M>) -> Envelope<'_> {
    Envelope { origin: request.extensions().get::<Origin>().copied(), ..written(request.metadata().as_ref()) }
}

fn written(headers: &HeaderMap) -> Envelope<'_> {
    let header = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    Envelope { authorization: header("authorization"), idempotency_key: header("idempotency-key"), origin: None }
}
