//! Lists what was paid for, so that others find it (the extension `bazaar`).
//!
//! A resource is listed when a payment for it was settled, and never because somebody says so: an entry costs a payment. It belongs to the
//! account that settles. Whoever pays himself for another one's address makes an entry of his own beside that one's, and by default
//! nobody can who has no account here.
//!
//! No payment waits for this or fails with it. What is to be listed goes into a bounded queue, from which one task of the process takes it;
//! what is lost there is listed with the next payment.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio_util::sync::CancellationToken;

use super::Flows;
use super::tenure::TURN_LASTS_MAX;
use crate::config::{Discovery as Settings, Listing};
use crate::domain::account::Caller;
use crate::domain::ids::AccountId;
use crate::ledger::resources::{self, Put};
use crate::ledger::{LedgerError, commit};
use crate::metrics::ListingOutcome;
use crate::telemetry::ErrorChain;
use crate::x402::bazaar::{Declaration, EXTENSION, Rejection, Resource};
use crate::x402::extension_responses::{ExtensionResponses, Status};

/// Resources that wait to be listed.
const QUEUE_MAX: usize = 256;

/// For so long an entry that has not changed is not written again: a busy resource is paid for many times a second.
const REMEMBERED: TimeDelta = TimeDelta::minutes(10);

/// Entries that a process remembers. With more of them it begins anew.
const REMEMBERED_MAX: usize = 10_000;

/// What was listed a while ago, and what is to be.
#[derive(Debug)]
pub struct Discovery {
    settings: Settings,
    queue: Sender<Paid>,
    queued: tokio::sync::Mutex<Receiver<Paid>>,
    memory: Mutex<HashMap<[u8; 32], Remembered>>,
}

/// A resource that was paid for.
#[derive(Debug)]
struct Paid {
    account: Option<AccountId>,
    resource: Box<Resource>,
}

/// What a process knows of an entry.
#[derive(Debug, Clone, Copy)]
struct Remembered {
    digest: [u8; 32],
    at: DateTime<Utc>,
    put: Put,
}

/// Why a paid resource is not listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("only what an account settles is listed here: send an API key")]
    AccountNeeded,
    #[error(transparent)]
    Declaration(#[from] Rejection),
    #[error("its owner has as many resources listed as it may have")]
    Full,
    #[error("too much is to be listed at the moment: the next payment lists it")]
    Busy,
}

impl Refused {
    const fn code(&self) -> &'static str {
        match self {
            Self::AccountNeeded => "account_needed",
            Self::Declaration(rejection) => rejection.code(),
            Self::Full => "too_many_resources",
            Self::Busy => "busy",
        }
    }
}

/// What is said of a resource that is not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It stands in the catalogue as it is.
    Listed,
    /// It is to be written.
    Due,
}

impl Discovery {
    /// Nothing is remembered, and nothing waits.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let (queue, queued) = mpsc::channel(QUEUE_MAX);
        Self { settings, queue, queued: tokio::sync::Mutex::new(queued), memory: Mutex::default() }
    }

    /// Whether resources are listed at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.settings.list != Listing::Nobody
    }

    /// Entries that were last paid for before this are forgotten.
    pub(super) fn forgotten_before(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now - self.settings.forget_after
    }

    fn judge(&self, declaration: &Declaration, caller: &Caller, now: DateTime<Utc>) -> Result<(Paid, Standing), Refused> {
        let account = caller.account();
        if account.is_none() && self.settings.list != Listing::Everybody {
            return Err(Refused::AccountNeeded);
        }
        let paid = Paid { account, resource: Box::new(declaration.read()?) };
        let remembered = self.memory().get(&paid.key()).copied();
        let digest = paid.resource.digest();
        match remembered.filter(|remembered| remembered.digest == digest && now - remembered.at < REMEMBERED) {
            Some(Remembered { put: Put::Full, .. }) => Err(Refused::Full),
            Some(Remembered { put: Put::Listed, .. }) => Ok((paid, Standing::Listed)),
            None => Ok((paid, Standing::Due)),
        }
    }

    fn remember(&self, paid: &Paid, put: Put, now: DateTime<Utc>) {
        let mut memory = self.memory();
        if memory.len() >= REMEMBERED_MAX {
            memory.clear();
        }
        memory.insert(paid.key(), Remembered { digest: paid.resource.digest(), at: now, put });
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<[u8; 32], Remembered>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Paid {
    /// A hash over what tells this entry, and this way to pay for it, from every other one.
    fn key(&self) -> [u8; 32] {
        let (resource, terms) = (&self.resource, &self.resource.terms);
        let owner = resources::owner(self.account, resource);
        let place = (resource.version.number(), resource.kind, &resource.url, &resource.operation);
        Sha256::digest(format!("{owner:?} {place:?} {terms:?}")).into()
    }
}

impl Flows {
    /// What extensions say of a payment that was found good: what its declaration would come to once it is settled.
    #[must_use]
    pub fn foresee(&self, declaration: Option<&Declaration>, caller: &Caller) -> ExtensionResponses {
        self.respond(declaration, |declaration| {
            let (_, standing) = self.discovery.judge(declaration, caller, self.clock.now())?;
            Ok(standing)
        })
    }

    /// What extensions say of a payment that was settled. What it declares is listed soon.
    #[must_use]
    pub fn list_paid(&self, declaration: Option<&Declaration>, caller: &Caller) -> ExtensionResponses {
        self.respond(declaration, |declaration| {
            let judged = self.discovery.judge(declaration, caller, self.clock.now());
            let queued = judged.and_then(|(paid, standing)| {
                if standing == Standing::Due {
                    self.discovery.queue.try_send(paid).map_err(|_| Refused::Busy)?;
                }
                Ok(standing)
            });
            match &queued {
                // Counted when it was written.
                Ok(Standing::Due) => {}
                Ok(Standing::Listed) => self.metrics.listing(ListingOutcome::Known),
                Err(Refused::Busy) => self.metrics.listing(ListingOutcome::Lost),
                Err(Refused::Full) => self.metrics.listing(ListingOutcome::Full),
                Err(Refused::AccountNeeded | Refused::Declaration(_)) => self.metrics.listing(ListingOutcome::Rejected),
            }
            queued
        })
    }

    fn respond(
        &self,
        declaration: Option<&Declaration>,
        judge: impl FnOnce(&Declaration) -> Result<Standing, Refused>,
    ) -> ExtensionResponses {
        let declared = declaration.filter(|_| self.discovery.is_on());
        let status = declared.map(|declaration| match judge(declaration) {
            Ok(Standing::Listed) => Status::Success,
            Ok(Standing::Due) => Status::Processing,
            Err(refused) => Status::Rejected(refused.code(), refused.to_string()),
        });
        ExtensionResponses::default().with(EXTENSION, status)
    }

    /// Writes what was paid for into the catalogue, one after the other, until it is told to stop.
    pub async fn keep_catalogue(&self, stop: &CancellationToken) {
        let mut queued = self.discovery.queued.lock().await;
        while let Some(Some(paid)) = stop.run_until_cancelled(queued.recv()).await {
            // Or a connection that fell silent would hold the queue.
            let put = tokio::time::timeout(TURN_LASTS_MAX, self.put(&paid)).await.unwrap_or(Err(LedgerError::silent()));
            match put {
                Ok(Put::Listed) => self.metrics.listing(ListingOutcome::Listed),
                Ok(Put::Full) => self.metrics.listing(ListingOutcome::Full),
                Err(error) => {
                    self.metrics.listing(ListingOutcome::Lost);
                    tracing::warn!(error = %ErrorChain(&error), "a paid resource was not listed");
                }
            }
        }
    }

    async fn put(&self, paid: &Paid) -> Result<Put, LedgerError> {
        let now = self.clock.now();
        let mut db = self.ledger.begin().await?;
        let put = resources::put(&mut db, paid.account, &paid.resource, self.discovery.settings.per_account_max, now).await?;
        commit(db).await?;
        self.discovery.remember(paid, put, now);
        Ok(put)
    }
}
