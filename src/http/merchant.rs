//! What the endpoints of merchants and other accounts share: bodies without surprises, and answers that flows give.

use std::sync::Arc;

use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Service;
use super::auth;
use super::body;
use super::problem::{self, Problem};
use crate::api::reply::keyed;
pub use crate::api::reply::{Begun, Change, Reply, begin, end};
use crate::domain::ids::AccountId;
use crate::flow::Flows;
use crate::x402::extension_responses;

impl<B: DeserializeOwned> Change<B> {
    /// Reads a request of a merchant. A body that is not there is an empty one.
    ///
    /// # Errors
    /// The caller may not, or the body is not what the endpoint takes.
    pub async fn read(service: &Service, request: &HttpRequest, payload: Payload) -> Result<Self, Problem> {
        Self::read_of(auth::merchant(service, request).await?, service, request, payload).await
    }

    /// The same for a caller that is known already.
    ///
    /// # Errors
    /// The body is not what the endpoint takes.
    pub async fn read_of(
        account: AccountId,
        service: &Service,
        request: &HttpRequest,
        payload: Payload,
    ) -> Result<Self, Problem> {
        let (bytes, body) = read_body(service, request, payload).await?;
        let line = format!("{} {}", request.method(), request.uri());
        let keyed = auth::envelope(request).idempotency_key()?.map(|key| keyed(account, key, &line, &bytes));
        Ok(Self { account, body, keyed })
    }
}

/// Reads a body with its bytes. One that is not there is an empty one.
///
/// # Errors
/// The body is not what the endpoint takes.
pub async fn read_body<B: DeserializeOwned>(
    service: &Service,
    request: &HttpRequest,
    payload: Payload,
) -> Result<(Bytes, B), Problem> {
    let bytes = body::read_optional(service, request, payload).await?;
    let bytes = bytes.unwrap_or_else(|| Bytes::from_static(b"{}"));
    let body = crate::api::body::read(&bytes)?;
    Ok((bytes, body))
}

/// A body without members.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl Reply {
    /// The answer.
    #[must_use]
    pub fn into_response(self) -> HttpResponse {
        let mut response = problem::begin(self.status(), self.retry_after());
        if let Some(text) = self.extensions().encode() {
            response.insert_header((extension_responses::HEADER, text));
        }
        response.content_type("application/json").body(self.into_body())
    }
}

/// Runs a flow for a handler, and turns what it says into an answer.
pub async fn answer<F>(service: &Service, flow: impl FnOnce(Arc<Flows>) -> F) -> HttpResponse
where
    F: Future<Output = Result<Reply, Problem>> + Send + 'static,
{
    let reply = service.run(flow(service.flows())).await;
    let reply = reply.unwrap_or_else(|crashed| Err(crashed.into()));
    reply.map_or_else(|problem| problem.response(), Reply::into_response)
}
