//! Answers that are given once: what is written down under an `Idempotency-Key`, and repeated to whoever asks again.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::problem::Problem;
use super::status::Status;
use crate::domain::ids::AccountId;
use crate::domain::payment::Fingerprint;
use crate::flow::Flows;
use crate::flow::once::{Entered, Keyed};
use crate::ledger::DbTransaction;
use crate::ledger::idempotency::{StorageKey, StoredAnswer};

/// A request of an account that changes something.
pub struct Change<B> {
    /// Whose.
    pub account: AccountId,
    /// What was sent.
    pub body: B,
    /// Its `Idempotency-Key`, if it has one.
    pub keyed: Option<Keyed>,
}

/// Binds an account's key to a request: to what it asks for, which is its line, and to the very bytes of its body.
#[must_use]
pub fn keyed(account: AccountId, key: String, line: &str, body: &[u8]) -> Keyed {
    let digest = Sha256::new().chain_update(line).chain_update("\n").chain_update(body).finalize();
    Keyed { key: StorageKey { scope: account.to_string(), key }, fingerprint: Fingerprint(digest.into()) }
}

/// What is to be done about a request that changes something.
pub enum Begun {
    /// It is to be done in this transaction.
    New(DbTransaction),
    /// It was done before.
    Done(Reply),
}

/// An answer on its way from a flow, which runs on other threads than those that send it.
#[derive(Clone)]
pub struct Reply(StoredAnswer);

impl From<StoredAnswer> for Reply {
    fn from(stored: StoredAnswer) -> Self {
        Self(stored)
    }
}

impl Reply {
    /// Writes an answer.
    ///
    /// # Errors
    /// It cannot be written as JSON, which is our own bug.
    pub fn json(status: Status, answer: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(answer).map_err(|_| Problem::Internal)?;
        Ok(Self(StoredAnswer { status: status.number(), body, success: true }))
    }

    /// The same with the usual status.
    ///
    /// # Errors
    /// It cannot be written as JSON, which is our own bug.
    pub fn ok(answer: &impl Serialize) -> Result<Self, Problem> {
        Self::json(Status::Ok, answer)
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

    /// The same answer, for the record whether it says success.
    #[must_use]
    pub fn saying(self, success: bool) -> Self {
        Self(StoredAnswer { success, ..self.0 })
    }

    /// What a member of the answer says.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.members()?.get(name)?.as_str().map(str::to_owned)
    }

    fn members(&self) -> Option<Map<String, Value>> {
        serde_json::from_slice(&self.0.body).ok()
    }

    /// How the request ended.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(self.0.status)
    }

    /// The answer in JSON.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// The answer in JSON, for whoever sends it on.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.0.body
    }

    /// The answer as it is stored.
    #[must_use]
    pub fn into_stored(self) -> StoredAnswer {
        self.0
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
    status: Status,
    answer: &impl Serialize,
) -> Result<Reply, Problem> {
    let reply = Reply::json(status, answer)?;
    flows.conclude(db, keyed, &reply.0).await?;
    Ok(reply)
}
