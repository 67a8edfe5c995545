//! What the endpoints of merchants and other accounts share: who may call them, bodies without surprises, and answers that are given
//! once.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Service;
use super::auth;
use super::body;
use super::problem::Problem;
use crate::domain::ids::AccountId;
use crate::domain::payment::Fingerprint;
use crate::flow::Flows;
use crate::flow::once::{Entered, Keyed};
use crate::ledger::DbTransaction;
use crate::ledger::idempotency::{StorageKey, StoredAnswer};
use crate::x402::json;

/// A request of an account that changes something.
pub struct Change<B> {
    /// Whose.
    pub account: AccountId,
    /// What was sent.
    pub body: B,
    /// Its `Idempotency-Key`, if it has one.
    pub keyed: Option<Keyed>,
}

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
        let keyed = auth::idempotency_key(request)?
            .map(|key| Keyed { key: StorageKey { scope: account.to_string(), key }, fingerprint: fingerprint(request, &bytes) });
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
    let bytes = body::read_optional(request, payload, service.server.body_bytes_max).await?;
    let bytes = bytes.unwrap_or_else(|| Bytes::from_static(b"{}"));
    let value = json::parse(&bytes, json::DEPTH_MAX).map_err(|refusal| Problem::BadBody(refusal.to_string()))?;
    let body = serde_json::from_value(value).map_err(|error| Problem::BadBody(error.to_string()))?;
    Ok((bytes, body))
}

/// A body without members.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// Binds a key to the method, the path and the very bytes of a request.
fn fingerprint(request: &HttpRequest, body: &[u8]) -> Fingerprint {
    let line = format!("{} {}\n", request.method(), request.uri());
    Fingerprint(Sha256::new().chain_update(line).chain_update(body).finalize().into())
}

/// What is to be done about a request that changes something.
pub enum Begun {
    /// It is to be done in this transaction.
    New(DbTransaction),
    /// It was done before.
    Done(Reply),
}

/// An answer on its way from a flow, which runs on other threads than those that send it.
pub struct Reply(StoredAnswer);

impl Reply {
    /// Writes an answer.
    ///
    /// # Errors
    /// It cannot be written as JSON, which is our own bug.
    pub fn json(status: StatusCode, answer: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(answer).map_err(|_| Problem::Internal)?;
        Ok(Self(StoredAnswer { status: status.as_u16(), body, success: true }))
    }

    /// The same with the usual status.
    ///
    /// # Errors
    /// It cannot be written as JSON, which is our own bug.
    pub fn ok(answer: &impl Serialize) -> Result<Self, Problem> {
        Self::json(StatusCode::OK, answer)
    }

    /// The same answer with one more member, for what is shown and not stored.
    ///
    /// # Errors
    /// It is no JSON object, which is our own bug.
    pub fn with(self, name: &str, value: &str) -> Result<Self, Problem> {
        let mut members = self.members().ok_or(Problem::Internal)?;
        members.insert(name.to_owned(), Value::String(value.to_owned()));
        let body = serde_json::to_vec(&members).map_err(|_| Problem::Internal)?;
        Ok(Self(StoredAnswer { body, ..self.0 }))
    }

    /// What a member of the answer says.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.members()?.get(name)?.as_str().map(str::to_owned)
    }

    fn members(&self) -> Option<Map<String, Value>> {
        serde_json::from_slice(&self.0.body).ok()
    }

    fn into_response(self) -> HttpResponse {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        HttpResponse::build(status).content_type("application/json").body(self.0.body)
    }
}

/// Begins a request.
///
/// # Errors
/// Its key was used for another one, or the database could not be reached.
pub async fn begin(flows: &Flows, keyed: Option<&Keyed>) -> Result<Begun, Problem> {
    match flows.enter(keyed).await? {
        Entered::New(db) => Ok(Begun::New(db)),
        Entered::Done(stored) => Ok(Begun::Done(Reply(stored))),
        Entered::KeyReused => Err(Problem::KeyReused),
    }
}

/// Ends a request with its answer.
///
/// # Errors
/// The database could not be reached.
pub async fn end(
    flows: &Flows,
    db: DbTransaction,
    keyed: Option<&Keyed>,
    status: StatusCode,
    answer: &impl Serialize,
) -> Result<Reply, Problem> {
    let reply = Reply::json(status, answer)?;
    flows.conclude(db, keyed, &reply.0).await?;
    Ok(reply)
}

/// Runs a flow for a handler, and turns what it says into an answer.
pub async fn answer<F>(service: &Service, flow: impl FnOnce(Arc<Flows>) -> F) -> HttpResponse
where
    F: Future<Output = Result<Reply, Problem>> + Send + 'static,
{
    let reply = service.run(flow(Arc::clone(&service.flows))).await;
    let reply = reply.unwrap_or_else(|crashed| Err(crashed.into()));
    reply.map_or_else(|problem| problem.response(), Reply::into_response)
}
