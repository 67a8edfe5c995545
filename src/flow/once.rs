//! Requests that change something of ours, done once under each `Idempotency-Key`: what they do and what they are answered is one
//! transaction, so there is never one without the other.

use super::Flows;
use crate::domain::payment::Fingerprint;
use crate::ledger::idempotency::{self, StorageKey, StoredAnswer};
use crate::ledger::{DbTransaction, LedgerError, commit};

/// A key and the request that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    /// The key.
    pub key: StorageKey,
    /// The request.
    pub fingerprint: Fingerprint,
}

/// What is to be done about a request.
pub enum Entered {
    /// It is to be done in this transaction, which [`Flows::conclude`] ends.
    New(DbTransaction),
    /// It was done before, and answered with this.
    Done(StoredAnswer),
    /// Its key belongs to another request.
    KeyReused,
}

impl Flows {
    /// Begins a request. Of several under one key the others wait until the first has ended.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn enter(&self, keyed: Option<&Keyed>) -> Result<Entered, LedgerError> {
        let mut db = self.ledger.begin().await?;
        let Some(Keyed { key, fingerprint }) = keyed else { return Ok(Entered::New(db)) };
        if idempotency::bind(&mut db, key, *fingerprint, self.clock.now()).await? {
            return Ok(Entered::New(db));
        }
        drop(db);
        let bound = self.ledger.find_binding(key).await?.filter(|bound| bound.fingerprint == *fingerprint);
        // Without an answer it is bound to a settlement that is under way: another request in any case.
        Ok(bound.and_then(|bound| bound.answer).map_or(Entered::KeyReused, Entered::Done))
    }

    /// Ends a request with its answer.
    ///
    /// # Errors
    /// The database could not be reached. If that happened to the COMMIT, the same request under the same key finds out.
    pub async fn conclude(&self, mut db: DbTransaction, keyed: Option<&Keyed>, answer: &StoredAnswer) -> Result<(), LedgerError> {
        if let Some(keyed) = keyed {
            idempotency::answer(&mut db, &keyed.key, answer).await?;
        }
        commit(db).await
    }
}
