//! Who is behind a request.

use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;

use super::Service;
use super::problem::Problem;
use crate::config::Access;
use crate::domain::account::{ApiKey, Caller, Scope};
use crate::domain::ids::AccountId;

/// The holder of the key in a request; nobody in particular if there is none.
///
/// # Errors
/// A key that is malformed, unknown or revoked, even where none is needed: its holder believes to be somebody.
pub async fn caller(service: &Service, request: &HttpRequest) -> Result<Caller, Problem> {
    let Some(key) = key(request)? else { return Ok(Caller::Anonymous) };
    let flows = std::sync::Arc::clone(&service.flows);
    service.run(async move { flows.authenticate(&key).await }).await??.ok_or(Problem::Unauthorized)
}

/// The key in a request, whatever it is worth.
///
/// # Errors
/// One that is malformed.
pub fn key(request: &HttpRequest) -> Result<Option<ApiKey>, Problem> {
    let Some(header) = request.headers().get(AUTHORIZATION) else { return Ok(None) };
    let bearer = header.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
    bearer.and_then(ApiKey::parse).map(Some).ok_or(Problem::Unauthorized)
}

/// Who may read what became of payments: every account, and where the service is open also those without one. Which payments is
/// another question.
///
/// # Errors
/// No key where one is needed.
pub async fn reader(service: &Service, request: &HttpRequest) -> Result<Caller, Problem> {
    match caller(service, request).await? {
        Caller::Anonymous if service.server.access != Access::Open => Err(Problem::Unauthorized),
        caller => Ok(caller),
    }
}

/// Who may verify and settle: everybody where the service is open, else providers and operators.
///
/// # Errors
/// No key where one is needed, or one for other things.
pub async fn provider(service: &Service, request: &HttpRequest) -> Result<Caller, Problem> {
    match reader(service, request).await? {
        Caller::Account { scope: Scope::Merchant, .. } => Err(Problem::Forbidden),
        caller => Ok(caller),
    }
}

/// Which account runs its addresses and invoices: the holder of a merchant's key, and nobody else.
///
/// # Errors
/// No key, or one for other things.
pub async fn merchant(service: &Service, request: &HttpRequest) -> Result<AccountId, Problem> {
    match caller(service, request).await? {
        Caller::Account { account, scope: Scope::Merchant } => Ok(account),
        Caller::Account { .. } => Err(Problem::Forbidden),
        Caller::Anonymous => Err(Problem::Unauthorized),
    }
}

/// Which account is told of its events: the holder of a merchant's or a provider's key.
///
/// # Errors
/// No key, or an operator's, whose account has no events of its own.
pub async fn account(service: &Service, request: &HttpRequest) -> Result<AccountId, Problem> {
    match caller(service, request).await? {
        Caller::Account { account, scope: Scope::Merchant | Scope::Provider } => Ok(account),
        Caller::Account { scope: Scope::Operator, .. } => Err(Problem::Forbidden),
        Caller::Anonymous => Err(Problem::Unauthorized),
    }
}

/// Whose books may be read: an account's own, or, by an operator, everybody's, which is `None`.
///
/// # Errors
/// No key.
pub async fn books(service: &Service, request: &HttpRequest) -> Result<Option<AccountId>, Problem> {
    match caller(service, request).await? {
        Caller::Account { scope: Scope::Operator, .. } => Ok(None),
        Caller::Account { account, .. } => Ok(Some(account)),
        Caller::Anonymous => Err(Problem::Unauthorized),
    }
}

/// Only an operator.
///
/// # Errors
/// No key, or one for other things.
pub async fn operator(service: &Service, request: &HttpRequest) -> Result<(), Problem> {
    match caller(service, request).await? {
        Caller::Account { scope: Scope::Operator, .. } => Ok(()),
        Caller::Account { .. } => Err(Problem::Forbidden),
        Caller::Anonymous => Err(Problem::Unauthorized),
    }
}

/// The `Idempotency-Key` of a request.
///
/// # Errors
/// One that is none.
pub fn idempotency_key(request: &HttpRequest) -> Result<Option<String>, Problem> {
    let Some(header) = request.headers().get("idempotency-key") else { return Ok(None) };
    let visible = |key: &&str| (16..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = header.to_str().ok().filter(visible).ok_or(Problem::IdempotencyKey)?;
    Ok(Some(key.to_owned()))
}
