//! How often somebody may ask, in this process: a bucket for each API key, for each address without one, and for each payer that
//! a caller brings.
//!
//! Nobody can use up what is another's. A request counts for a key only once the key was found to be genuine here; until then, and
//! for ever if it is not, it counts for its address, in a bucket beside that of requests without a key. A payer's name costs
//! nothing to write, so a payer is counted within one caller, and only when its payment was found good.

use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Flows;
use crate::config::Limits;
use crate::domain::account::ApiKey;
use crate::domain::address::Address;
use crate::domain::ids::ApiKeyId;
use crate::domain::rate::Rate;
use crate::ledger::sessions::SessionHash;
use crate::metrics::LimitedBy;

/// Buckets of a kind. Beyond that the one that was untouched for longest goes: it is the one most likely to be full, and a full
/// one is as good as none.
const BUCKETS_MAX: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// Keys and sessions that are looked up at a time and were not found genuine before: whoever makes them up has no more of the database
/// than this.
const NEWCOMERS_MAX: usize = 4;

/// For whom a request counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The holder of a key that was found genuine.
    Key(ApiKeyId),
    /// Whoever is at an address and shows a key that was not found genuine yet.
    Newcomer(Prefix),
    /// Whoever is at an address and shows no key.
    Anonymous(Prefix),
}

/// What one client can have of addresses: one of IPv4, or the 64 bits that a network of IPv6 gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix(IpAddr);

impl From<IpAddr> for Prefix {
    fn from(address: IpAddr) -> Self {
        const NETWORK: u128 = u128::MAX << 64;
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
            address @ IpAddr::V4(_) => address,
        })
    }
}

/// Somebody asks too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests, try again in {} s", whole_seconds(.wait))]
pub struct Limited {
    by: LimitedBy,
    wait: Duration,
}

impl Limited {
    /// After this asking again makes sense, in whole seconds.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        Duration::from_secs(whole_seconds(&self.wait))
    }
}

fn whole_seconds(wait: &Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// The buckets of one process.
#[derive(Debug)]
pub struct RateLimits {
    limits: Limits,
    callers: Buckets<Origin>,
    payers: Buckets<(Origin, Address)>,
    genuine: Mutex<LruCache<ApiKeyId, Fingerprint>>,
    sessions: Mutex<LruCache<SessionHash, ()>>,
    newcomers: Semaphore,
}

/// A hash of a key's secret half.
type Fingerprint = [u8; 32];

impl RateLimits {
    /// Full buckets.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            callers: Buckets::new(),
            payers: Buckets::new(),
            genuine: Mutex::new(LruCache::new(BUCKETS_MAX)),
            sessions: Mutex::new(LruCache::new(BUCKETS_MAX)),
            newcomers: Semaphore::new(NEWCOMERS_MAX),
        }
    }

    /// Waits until a key may be looked up. One that is known does not wait.
    pub async fn turn(&self, key: &ApiKey) -> Option<SemaphorePermit<'_>> {
        // Nobody closes it.
        if self.is_genuine(key) { None } else { self.newcomers.acquire().await.ok() }
    }

    /// Notes that a key is genuine: what it asks for counts for itself from now on.
    pub fn vouch(&self, key: &ApiKey) {
        lock(&self.genuine).put(key.id, fingerprint(key));
    }

    /// Waits until a session may be looked up, likewise.
    pub async fn session_turn(&self, session: &SessionHash) -> Option<SemaphorePermit<'_>> {
        let is_known = lock(&self.sessions).get(session).is_some();
        if is_known { None } else { self.newcomers.acquire().await.ok() }
    }

    /// Notes that a session is genuine.
    pub fn vouch_session(&self, session: SessionHash) {
        lock(&self.sessions).put(session, ());
    }

    /// Notes that a session is worth nothing, or not any more.
    pub fn forget_session(&self, session: &SessionHash) {
        lock(&self.sessions).pop(session);
    }

    fn origin(&self, key: Option<&ApiKey>, address: IpAddr) -> Origin {
        match key {
            None => Origin::Anonymous(address.into()),
            Some(key) if self.is_genuine(key) => Origin::Key(key.id),
            Some(_) => Origin::Newcomer(address.into()),
        }
    }

    fn is_genuine(&self, key: &ApiKey) -> bool {
        let known = lock(&self.genuine).get(&key.id).copied();
        known.is_some_and(|known| known[..].ct_eq(&fingerprint(key)).into())
    }

    fn admit(&self, origin: Origin, now: Instant) -> Result<(), Limited> {
        let (rate, by) = match origin {
            Origin::Key(_) => (self.limits.key, LimitedBy::Key),
            Origin::Newcomer(_) | Origin::Anonymous(_) => (self.limits.address, LimitedBy::Address),
        };
        let Some(rate) = rate else { return Ok(()) };
        self.callers.take(origin, rate, now).map_err(|wait| Limited { by, wait })
    }

    fn admit_payer(&self, origin: Origin, payer: Address, now: Instant) -> Result<(), Limited> {
        let Some(rate) = self.limits.payer else { return Ok(()) };
        self.payers.look(&(origin, payer), rate, now).map_err(|wait| Limited { by: LimitedBy::Payer, wait })
    }

    fn count_payer(&self, origin: Origin, payer: Address, now: Instant) {
        if let Some(rate) = self.limits.payer {
            self.payers.charge((origin, payer), rate, now);
        }
    }
}

fn fingerprint(key: &ApiKey) -> Fingerprint {
    Sha256::digest(key.secret).into()
}

/// Buckets by whom they are for, each as the moment at which it is full.
#[derive(Debug)]
struct Buckets<K: Hash + Eq>(Mutex<LruCache<K, Instant>>);

impl<K: Hash + Eq> Buckets<K> {
    fn new() -> Self {
        Self(Mutex::new(LruCache::new(BUCKETS_MAX)))
    }

    fn look(&self, of: &K, rate: Rate, now: Instant) -> Result<(), Duration> {
        rate.look(lock(&self.0).peek(of).copied(), now)
    }

    fn take(&self, of: K, rate: Rate, now: Instant) -> Result<(), Duration> {
        let mut buckets = lock(&self.0);
        let full_at = rate.take(buckets.get(&of).copied(), now)?;
        buckets.put(of, full_at);
        Ok(())
    }

    fn charge(&self, of: K, rate: Rate, now: Instant) {
        let mut buckets = lock(&self.0);
        let full_at = rate.charge(buckets.get(&of).copied(), now);
        buckets.put(of, full_at);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flows {
    /// Lets a request in, before anything is done for it, and says for whom it counts.
    ///
    /// # Errors
    /// Whoever it counts for asks too often.
    pub fn admit(&self, key: Option<&ApiKey>, address: IpAddr) -> Result<Origin, Limited> {
        let origin = self.limits.origin(key, address);
        self.counted(self.limits.admit(origin, Instant::now()))?;
        Ok(origin)
    }

    /// Lets a request on whose sender was found only later to have a key, by the session that it was opened with.
    ///
    /// # Errors
    /// The key is used too often.
    pub fn admit_key(&self, key: ApiKeyId) -> Result<(), Limited> {
        self.counted(self.limits.admit(Origin::Key(key), Instant::now()))
    }

    /// Lets a payment in that names this payer, whoever that is in truth.
    ///
    /// # Errors
    /// Too many payments of this payer came from there that were found good.
    pub fn admit_payer(&self, origin: Origin, payer: Address) -> Result<(), Limited> {
        self.counted(self.limits.admit_payer(origin, payer, Instant::now()))
    }

    /// Counts a payment that was found good, and so is this payer's own.
    pub fn count_payer(&self, origin: Origin, payer: Address) {
        self.limits.count_payer(origin, payer, Instant::now());
    }

    fn counted(&self, admitted: Result<(), Limited>) -> Result<(), Limited> {
        admitted.inspect_err(|limited| self.metrics.rate_limited(limited.by))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::SECRET_BYTES;

    const RATE: Option<Rate> = Some(Rate { per_second: 1, burst: 2 });

    fn limits() -> RateLimits {
        RateLimits::new(Limits { key: RATE, payer: RATE, address: RATE })
    }

    fn key(secret: u8) -> ApiKey {
        ApiKey { id: ApiKeyId::new(), secret: [secret; SECRET_BYTES] }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many requests in a row are let in, of at most ten.
    fn let_in(limits: &RateLimits, key: Option<&ApiKey>, address: &str, now: Instant) -> usize {
        (0..10).take_while(|_| limits.admit(limits.origin(key, ip(address)), now).is_ok()).count()
    }

    #[tokio::test]
    async fn whoever_makes_sessions_up_waits_and_keeps_nobody_waiting_who_has_one() {
        let (limits, genuine, made_up) = (limits(), [1; 32], [2; 32]);
        limits.vouch_session(genuine);
        let mut turns = Vec::new();
        for _ in 0..NEWCOMERS_MAX {
            turns.push(limits.session_turn(&made_up).await);
        }

        let wait = tokio::time::timeout(Duration::from_millis(20), limits.session_turn(&made_up));
        assert!(turns.iter().all(Option::is_some) && wait.await.is_err());
        assert!(limits.session_turn(&genuine).await.is_none(), "known");
        limits.forget_session(&genuine);
        turns.clear();
        assert!(limits.session_turn(&genuine).await.is_some(), "ended");
    }

    #[test]
    fn each_address_has_a_bucket_and_a_network_of_ipv6_has_one() {
        let (limits, now) = (limits(), Instant::now());

        assert_eq!(let_in(&limits, None, "192.0.2.1", now), 2);
        assert_eq!(let_in(&limits, None, "::ffff:192.0.2.1", now), 0, "the same address in another spelling");
        assert_eq!(let_in(&limits, None, "192.0.2.2", now), 2);
        assert_eq!(let_in(&limits, None, "2001:db8:1:1::1", now), 2);
        assert_eq!(let_in(&limits, None, "2001:db8:1:1:ffff::2", now), 0);
        assert_eq!(let_in(&limits, None, "2001:db8:1:2::1", now), 2);
    }

    #[test]
    fn a_genuine_key_has_a_bucket_of_its_own_wherever_it_comes_from() {
        let (limits, now, key) = (limits(), Instant::now(), key(7));
        limits.vouch(&key);

        assert_eq!(let_in(&limits, None, "192.0.2.1", now), 2);
        assert_eq!(let_in(&limits, Some(&key), "192.0.2.1", now), 2, "the address is not asked");
        assert_eq!(let_in(&limits, Some(&key), "192.0.2.9", now), 0);
    }

    #[test]
    fn whoever_does_not_have_the_secret_cannot_use_up_a_key() {
        let (limits, now, key, stranger) = (limits(), Instant::now(), key(7), key(1));
        limits.vouch(&key);
        let forged = ApiKey { secret: [8; SECRET_BYTES], ..key.clone() };

        assert_eq!(let_in(&limits, Some(&forged), "192.0.2.1", now), 2);
        assert_eq!(let_in(&limits, Some(&stranger), "192.0.2.1", now), 0, "keys that are worth nothing share a bucket");
        assert_eq!(let_in(&limits, None, "192.0.2.1", now), 2, "and leave those alone who have none");
        assert_eq!(let_in(&limits, Some(&key), "192.0.2.1", now), 2);
    }

    #[test]
    fn a_payer_counts_when_its_payment_was_good_and_for_this_caller_only() {
        let (limits, now, payer) = (limits(), Instant::now(), Address::Evm([1; 20]));
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|address| limits.origin(None, ip(address)));

        for _ in 0..10 {
            assert_eq!(limits.admit_payer(one, payer, now), Ok(()), "a name alone costs its bearer nothing");
        }
        limits.count_payer(one, payer, now);
        assert_eq!(limits.admit_payer(one, payer, now), Ok(()));
        limits.count_payer(one, payer, now);

        let limited = limits.admit_payer(one, payer, now).unwrap_err();
        assert_eq!((limited.by, limited.retry_after()), (LimitedBy::Payer, Duration::from_secs(1)));
        assert_eq!(limits.admit_payer(other, payer, now), Ok(()));
        assert_eq!(limits.admit_payer(one, Address::Evm([2; 20]), now), Ok(()));
        assert_eq!(limits.admit_payer(one, payer, now + Duration::from_secs(1)), Ok(()));
    }

    #[test]
    fn any_number_of_addresses_takes_up_no_more_room() {
        let (limits, now) = (limits(), Instant::now());
        let crowd = u128::try_from(BUCKETS_MAX.get()).unwrap() * 2;

        for number in 0..crowd {
            let address = IpAddr::from(Ipv6Addr::from_bits(number << 64));
            assert_eq!(limits.admit(limits.origin(None, address), now), Ok(()));
        }

        assert_eq!(lock(&limits.callers.0).len(), BUCKETS_MAX.get());
        assert_eq!(let_in(&limits, None, "::1", now), 2, "who was forgotten begins anew");
    }

    #[test]
    fn without_a_limit_nobody_is_counted() {
        let (limits, now) = (RateLimits::new(Limits::default()), Instant::now());

        assert_eq!(let_in(&limits, None, "192.0.2.1", now), 10);
        assert_eq!(lock(&limits.callers.0).len(), 0);
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds() {
        let seconds = |wait| Limited { by: LimitedBy::Key, wait: Duration::from_millis(wait) }.retry_after().as_secs();

        assert_eq!([1, 1_000, 1_001, 2_500].map(seconds), [1, 1, 2, 3]);
    }
}
