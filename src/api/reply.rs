//! Answers that are given once: what is written down under an `Idempotency-Key`, and repeated to whoever asks again.

use std::time::Duration;

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
use crate::x402::extension_responses::ExtensionResponses;

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
pub struct Reply {
    answer: StoredAnswer,
    retry_after: Option<Duration>,
    extensions: ExtensionResponses,
}

impl From<StoredAnswer> for Reply {
    fn from(answer: StoredAnswer) -> Self {
        Self { answer, retry_after: None, extensions: ExtensionResponses::default() }
    }
}

fn written(answer: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(answer).map_err(|_| Problem::Internal)
}

impl Reply {
    /// Writes an answer.
    ///
    /// # Errors
    /// It cannot be written as JSON, which is our own bug.
    pub fn json(status: Status, answer: &impl Serialize) -> Result<Self, Problem> {
        Ok(StoredAnswer { status: status.number(), body: written(answer)?, success: true }.into())
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
        self.rewritten(&members)
    }

    /// The same answer with other members, for what is shown and not stored.
    ///
    /// # Errors
    /// They cannot be written as JSON, which is our own bug.
    pub fn rewritten(self, members: &Map<String, Value>) -> Result<Self, Problem> {
        let answer = StoredAnswer { body: written(members)?, ..self.answer };
        Ok(Self { answer, ..self })
    }

    /// The same answer under another status.
    #[must_use]
    pub fn under(self, status: Status) -> Self {
        let answer = StoredAnswer { status: status.number(), ..self.answer };
        Self { answer, ..self }
    }

    /// The same answer, which says beside it when to ask again.
    #[must_use]
    pub fn again_after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// The same answer, with what extensions of the protocol say beside it.
    #[must_use]
    pub fn beside(self, extensions: ExtensionResponses) -> Self {
        Self { extensions, ..self }
    }

    /// The same answer, for the record whether it says success.
    #[must_use]
    pub fn saying(self, success: bool) -> Self {
        let answer = StoredAnswer { success, ..self.answer };
        Self { answer, ..self }
    }

    /// What a member of the answer says.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.members()?.get(name)?.as_str().map(str::to_owned)
    }

    /// All its members, if it is a JSON object.
    #[must_use]
    pub fn members(&self) -> Option<Map<String, Value>> {
        serde_json::from_slice(&self.answer.body).ok()
    }

    /// How the request ended.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::of(self.answer.status)
    }

    /// After this asking again makes sense, if that is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after.or_else(|| self.status().retry_after())
    }

    /// What extensions of the protocol say beside it.
    #[must_use]
    pub const fn extensions(&self) -> &ExtensionResponses {
        &self.extensions
    }

    /// The answer in JSON.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.answer.body
    }

    /// The answer in JSON, for whoever sends it on.
    #[must_use]
    pub fn into_body(self) -> Vec<u8> {
        self.answer.body
    }

    /// The answer as it is stored.
    #[must_use]
    pub fn into_stored(self) -> StoredAnswer {
        self.answer
    }
}

/// Begins a request.
///
/// # Errors
/// Its key was used for another one, or the database could not be reached.
pub async fn begin(flows: &Flows, keyed: Option<&Keyed>) -> Result<Begun, Problem> {
    match flows.enter(keyed).await? {
        Entered::New(db) => Ok(Begun::New(db)),
        Entered::Done(stored) => Ok(Begun::Done(stored.into())),
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
    flows.conclude(db, keyed, &reply.answer).await?;
    Ok(reply)
}
