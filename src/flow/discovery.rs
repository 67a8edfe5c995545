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
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::Flows;
use super::tenure::TURN_LASTS_MAX;
use crate::config::{Discovery as Settings, Listing};
use crate::domain::account::Caller;
use crate::domain::clock::Clock;
use crate::domain::ids::AccountId;
use crate::ledger::resources::{self, Put};
use crate::ledger::{Ledger, LedgerError, commit};
use crate::metrics::{ListingOutcome, Metrics};
use crate::telemetry::ErrorChain;
use crate::x402::bazaar::{Declaration, EXTENSION, Rejection, Resource};
use crate::x402::extension_responses::{ExtensionResponses, Status};

/// Resources that wait to be listed.
const QUEUE_MAX: usize = 256;

/// For so long an entry that has not changed is not written again: a busy resource is paid for many times a second.
const REMEMBERED: TimeDelta = TimeDelta::minutes(10);

/// Entries that a process remembers. With more of them it begins anew.
const REMEMBERED_MAX: usize = 10_000;

/// Readers of the catalogue at a time. Everybody may read it, a page of a large one takes the ledger a while, and payments need connections
/// to it, too.
const READERS_MAX: usize = 4;

/// What was listed a while ago, and what is to be.
#[derive(Debug)]
pub struct Discovery {
    settings: Settings,
    queue: Sender<Paid>,
    queued: tokio::sync::Mutex<Receiver<Paid>>,
    memory: Mutex<HashMap<[u8; 32], Remembered>>,
    readers: Semaphore,
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
        let readers = Semaphore::new(READERS_MAX);
        Self { settings, queue, queued: tokio::sync::Mutex::new(queued), memory: Mutex::default(), readers }
    }

    /// Waits for a turn to read the catalogue. It ends when it is dropped.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.readers.acquire().await.ok()
    }

    /// Whether resources are listed at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.settings.list != Listing::Nobody
    }

    /// Writes what was paid for into the catalogue, one after the other, until it is told to stop.
    pub async fn keep_catalogue(&self, ledger: &Ledger, clock: &dyn Clock, metrics: &Metrics, stop: &CancellationToken) {
        let mut queued = self.queued.lock().await;
        while let Some(Some(paid)) = stop.run_until_cancelled(queued.recv()).await {
            // Or a connection that fell silent would hold the queue.
            let put = tokio::time::timeout(TURN_LASTS_MAX, self.put(&paid, ledger, clock.now())).await;
            match put.unwrap_or(Err(LedgerError::silent())) {
                Ok(Put::Listed) => metrics.listing(ListingOutcome::Listed),
                Ok(Put::Full) => metrics.listing(ListingOutcome::Full),
                Err(error) => {
                    metrics.listing(ListingOutcome::Lost);
                    tracing::warn!(error = %ErrorChain(&error), "a paid resource was not listed");
                }
            }
        }
    }

    async fn put(&self, paid: &Paid, ledger: &Ledger, now: DateTime<Utc>) -> Result<Put, LedgerError> {
        let mut db = ledger.begin().await?;
        let put = resources::put(&mut db, paid.account, &paid.resource, self.settings.per_account_max, now).await?;
        commit(db).await?;
        self.remember(paid, put, now);
        Ok(put)
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
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::address::Address;
    use crate::domain::reason::Version;
    use crate::x402::bazaar::{Kind, Terms};

    fn paid(account: Option<AccountId>, url: &str) -> Paid {
        let address = Address::Evm([1; 20]);
        let terms =
            Terms { network: "eip155:8453".parse().unwrap(), scheme: "exact".to_owned(), asset: address, pay_to: address };
        let resource = Resource {
            version: Version::V2,
            kind: Kind::Http,
            url: url.to_owned(),
            operation: "GET".to_owned(),
            description: None,
            mime_type: None,
            service_name: None,
            tags: Vec::new(),
            icon_url: None,
            bazaar: json!({}),
            terms,
            requirements: json!({}),
        };
        Paid { account, resource: Box::new(resource) }
    }

    #[test]
    fn entries_that_are_not_the_same_are_remembered_apart() {
        let (account, url) = (AccountId::new(), "https://a.example/");
        let of = |change: fn(&mut Resource)| {
            let mut paid = paid(Some(account), url);
            change(&mut paid.resource);
            paid.key()
        };
        let keys = [
            paid(None, url).key(),
            paid(Some(AccountId::new()), url).key(),
            paid(Some(account), "https://b.example/").key(),
            of(|_| {}),
            of(|resource| resource.version = Version::V1),
            of(|resource| resource.kind = Kind::Mcp),
            of(|resource| resource.operation = "POST".to_owned()),
            of(|resource| resource.terms.scheme = "upto".to_owned()),
            of(|resource| resource.terms.network = "eip155:1".parse().unwrap()),
            of(|resource| resource.terms.asset = Address::Evm([2; 20])),
            of(|resource| resource.terms.pay_to = Address::Evm([2; 20])),
        ];
        assert_eq!(keys.iter().collect::<std::collections::HashSet<_>>().len(), keys.len());
        // What it says of itself does not tell it from others.
        assert_eq!(of(|resource| resource.description = Some("new".to_owned())), of(|_| {}));
    }

    #[test]
    fn what_a_process_remembers_is_bounded() {
        let settings = Settings { list: Listing::Everybody, per_account_max: 1, forget_after: TimeDelta::days(1) };
        let (discovery, now) = (Discovery::new(settings), DateTime::UNIX_EPOCH);
        for number in 0..=REMEMBERED_MAX {
            discovery.remember(&paid(None, &number.to_string()), Put::Listed, now);
        }
        assert_eq!(discovery.memory().len(), 1, "it began anew");
    }
}
