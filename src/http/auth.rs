//! What a request says of its caller, for the rules of `api::access`.

use actix_web::HttpRequest;
use actix_web::http::header::HeaderValue;

use super::Service;
use super::limits;
use super::problem::Problem;
use crate::api::access::{self, Envelope};
use crate::domain::account::Caller;
use crate::domain::ids::AccountId;

/// What says who asks.
pub fn envelope(request: &HttpRequest) -> Envelope<'_> {
    let header = |name: &'static str| request.headers().get(name).map(HeaderValue::as_bytes);
    Envelope {
        authorization: header("authorization"),
        idempotency_key: header("idempotency-key"),
        origin: limits::origin(request),
    }
}

/// See [`access::caller`].
///
/// # Errors
/// A key that is worth nothing.
pub async fn caller(service: &Service, request: &HttpRequest) -> Result<Caller, Problem> {
    access::caller(service, envelope(request)).await
}

/// See [`access::reader`].
///
/// # Errors
/// No key where one is needed.
pub async fn reader(service: &Service, request: &HttpRequest) -> Result<Caller, Problem> {
    access::reader(service, envelope(request)).await
}

/// See [`access::provider`].
///
/// # Errors
/// No key where one is needed, or one for other things.
pub async fn provider(service: &Service, request: &HttpRequest) -> Result<Caller, Problem> {
    access::provider(service, envelope(request)).await
}

/// See [`access::merchant`].
///
/// # Errors
/// No key, or one for other things.
pub async fn merchant(service: &Service, request: &HttpRequest) -> Result<AccountId, Problem> {
    access::merchant(service, envelope(request)).await
}

/// See [`access::account`].
///
/// # Errors
/// No key, or an operator's.
pub async fn account(service: &Service, request: &HttpRequest) -> Result<AccountId, Problem> {
    access::account(service, envelope(request)).await
}

/// See [`access::holder`].
///
/// # Errors
/// No key.
pub async fn holder(service: &Service, request: &HttpRequest) -> Result<AccountId, Problem> {
    access::holder(service, envelope(request)).await
}

/// See [`access::books`].
///
/// # Errors
/// No key.
pub async fn books(service: &Service, request: &HttpRequest) -> Result<Option<AccountId>, Problem> {
    access::books(service, envelope(request)).await
}

/// See [`access::operator`].
///
/// # Errors
/// No key, or one for other things.
pub async fn operator(service: &Service, request: &HttpRequest) -> Result<(), Problem> {
    access::operator(service, envelope(request)).await
}
