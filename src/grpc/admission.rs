//! What a call says of its caller, and whether it is let in before anything is done for it.

use std::net::IpAddr;

use tonic::Request;
use tonic::codegen::http::{self, HeaderMap, HeaderValue};

use super::connections::Line;
use crate::api::access::Envelope;
use crate::api::{Service, admission};
use crate::flow::limits::{Limited, Origin};

/// Lets a call in, and notes for whom it counts.
///
/// # Errors
/// Whoever it counts for asks too often.
pub fn admit<B>(service: &Service, request: &mut http::Request<B>) -> Result<Origin, Limited> {
    let peer = peer(request);
    let headers = request.headers();
    let origin = admission::admit(service, written(headers), peer, |name| headers.get_all(name).iter().map(text))?;
    request.extensions_mut().insert(origin);
    Ok(origin)
}

/// Who is connected.
pub fn peer<B>(request: &http::Request<B>) -> Option<IpAddr> {
    request.extensions().get::<Line>().and_then(|line| line.peer)
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
