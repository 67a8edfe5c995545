//! Which networks take payments now: read from the ledger, so that every replica says the same, and kept for a second.
//!
//! Everybody who asks for a payment asks this. So one reads for all: were each to read for itself when the second is over, a crowd would
//! take every connection to the database at once, and one that leaves before it is answered would have read for nobody.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;

use super::Flows;
use crate::chain::Profile;
use crate::domain::network::{Network, Offered};
use crate::ledger::{Ledger, LedgerError};

/// For how long an answer is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// An answer that is older is believed and read again, so that nobody waits where somebody always asks.
const RENEWED_AFTER: Duration = Duration::from_millis(500);

/// For so long after a state of a chain was found far ahead of what was read nobody else asks that chain.
const RESPITE: Duration = Duration::from_secs(1);

/// What every replica knows of a network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The newest block that was read, if reading began.
    pub read_to: Option<u64>,
    /// Whether the ledger is a copy, and what it may lack was not read yet.
    pub catches_up: bool,
    /// Why its watcher halted it, if it did.
    pub halted: Option<String>,
    /// Why an operator halted it, if one did.
    pub stopped: Option<String>,
    /// The addresses of the signers that cannot pay now: their balance may not last for another hour, or they do not sign.
    pub unable: Vec<String>,
    /// The addresses of the signers whose lanes have run.
    pub seen: Vec<String>,
    /// The addresses of the signers whose lanes an operator drains.
    pub drained: Vec<String>,
}

impl Standing {
    /// Whether anything new is begun.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.halted.is_none() && self.stopped.is_none() && !self.catches_up
    }

    /// Whether the lane of this signer takes new payments as they come, and can pay for them.
    #[must_use]
    pub fn is_able(&self, signer: &str) -> bool {
        !self.drained.iter().chain(&self.unable).any(|address| address == signer)
    }

    /// The addresses of the signers that may be chosen: a payer who chooses one that is drained would wait for it in vain. Whoever takes the
    /// first one takes one that can pay, if there is any, and rather one that has paid than one that was just written into a configuration:
    /// other replicas may not have read it.
    #[must_use]
    pub fn eligible(&self, profile: &Profile) -> Vec<String> {
        let mut signers = profile.signer_addresses();
        signers.retain(|address| !self.drained.contains(address));
        signers.sort_by_key(|address| (!self.is_able(address), !self.seen.contains(address)));
        signers
    }
}

/// The address of one signer for each network.
pub type FeePayers = HashMap<Network, String>;

/// Remembers standings for a moment.
#[derive(Debug, Default)]
pub struct Availability(Mutex<HashMap<Network, Arc<Known>>>);

/// What is known of one network.
#[derive(Debug, Default)]
struct Known {
    last: Mutex<Last>,
    /// Held by whoever reads.
    reading: Arc<tokio::sync::Mutex<()>>,
}

/// What the last readings said.
#[derive(Debug, Default)]
struct Last {
    standing: Option<(Standing, Instant)>,
    failed_at: Option<Instant>,
    found_ahead_at: Option<Instant>,
}

impl Availability {
    /// How a network stands.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn of(&self, ledger: &Ledger, network: &Network) -> Result<Standing, LedgerError> {
        let known = Arc::clone(lock(&self.0).entry(network.clone()).or_default());
        if let Some((standing, age)) = known.believed() {
            if age >= RENEWED_AFTER
                && let Ok(turn) = Arc::clone(&known.reading).try_lock_owned()
            {
                drop(known.read(turn, ledger, network));
            }
            return Ok(standing);
        }
        let asked_at = Instant::now();
        let turn = Arc::clone(&known.reading).lock_owned().await;
        if let Some((standing, _)) = known.believed() {
            return Ok(standing);
        }
        if lock(&known.last).failed_at.is_some_and(|failed_at| failed_at >= asked_at) {
            return Err(LedgerError::silent());
        }
        known.read(turn, ledger, network).await.unwrap_or_else(|_| Err(LedgerError::silent()))
    }

    /// A state of the chain is far ahead of what was read.
    pub fn note_ahead(&self, network: &Network) {
        let known = Arc::clone(lock(&self.0).entry(network.clone()).or_default());
        lock(&known.last).found_ahead_at = Some(Instant::now());
    }

    /// Whether one was found a moment ago.
    #[must_use]
    pub fn is_ahead(&self, network: &Network) -> bool {
        let known = lock(&self.0).get(network).cloned();
        known.and_then(|known| lock(&known.last).found_ahead_at).is_some_and(|found_at| found_at.elapsed() < RESPITE)
    }
}

impl Known {
    fn believed(&self) -> Option<(Standing, Duration)> {
        let (standing, read_at) = lock(&self.last).standing.clone()?;
        let age = read_at.elapsed();
        (age < BELIEVED).then_some((standing, age))
    }

    /// Reads for everybody, so it goes on when whoever asked has left.
    #[expect(
        clippy::disallowed_methods,
        reason = "one at a time, as long as one reading takes; the next one does what it did not"
    )]
    fn read(
        self: &Arc<Self>,
        turn: OwnedMutexGuard<()>,
        ledger: &Ledger,
        network: &Network,
    ) -> JoinHandle<Result<Standing, LedgerError>> {
        let (known, ledger, network) = (Arc::clone(self), ledger.clone(), network.clone());
        tokio::spawn(async move {
            let read = read(&ledger, &network).await;
            let now = Instant::now();
            match &read {
                Ok(standing) => lock(&known.last).standing = Some((standing.clone(), now)),
                Err(_) => lock(&known.last).failed_at = Some(now),
            }
            drop(turn);
            read
        })
    }
}

async fn read(ledger: &Ledger, network: &Network) -> Result<Standing, LedgerError> {
    let cursor = ledger.cursor(network).await?;
    let read_to = cursor.as_ref().map(|cursor| cursor.heights.head);
    let catches_up = cursor.as_ref().is_some_and(|cursor| !cursor.has_caught_up());
    let (halted, stopped) = cursor.map_or((None, None), |cursor| (cursor.halted, cursor.stopped));
    let signers = ledger.signers(network).await?;
    let seen = signers.iter().map(|signer| signer.address.clone()).collect();
    let unable = signers.into_iter().filter(|signer| signer.short || signer.away).map(|signer| signer.address).collect();
    let drained = ledger.drained_lanes(network).await?;
    Ok(Standing { read_to, catches_up, halted, stopped, unable, seen, drained })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flows {
    /// The networks that take payments now. One whose signers run out or are away is not offered, before it fails.
    pub async fn offered(&self) -> Vec<Offered> {
        let mut offered = Vec::new();
        for chain in self.chains.iter() {
            let profile = chain.profile();
            let standing = self.standing_of(profile).await;
            let signers = standing.eligible(profile);
            let able = signers.first().is_some_and(|first| standing.is_able(first));
            let available = chain.is_prepared() && able && standing.is_open();
            self.metrics.network_available(&profile.network, available);
            if available {
                offered.push(Offered { network: profile.network.clone(), signers, extras: chain.extras() });
            }
        }
        offered
    }

    /// Whom a payer who chooses should choose to pay for a transaction, on each network where there is somebody.
    pub async fn fee_payers(&self) -> FeePayers {
        let mut payers = FeePayers::new();
        for chain in self.chains.iter() {
            let profile = chain.profile();
            let eligible = self.standing_of(profile).await.eligible(profile);
            payers.extend(eligible.into_iter().next().map(|first| (profile.network.clone(), first)));
        }
        payers
    }

    /// A ledger that does not answer says nothing about a network, and servers cache what they are told for long.
    async fn standing_of(&self, profile: &Profile) -> Standing {
        self.availability.of(&self.ledger, &profile.network).await.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::SignerProfile;

    #[test]
    fn who_can_pay_is_chosen_first_then_who_has_paid_in_the_operator_s_order_and_who_is_drained_never() {
        let signers = ["a", "b", "c", "d"].map(|name| SignerProfile { name: name.to_owned(), address: name.to_owned() });
        let network = "eip155:84532".parse().unwrap();
        let profile = Profile { network, assets: Vec::new(), signers: signers.into() };
        let all = |addresses: &[&str]| addresses.iter().map(|address| (*address).to_owned()).collect::<Vec<_>>();
        let everybody = all(&["a", "b", "c", "d"]);
        for (seen, unable, drained, eligible) in [
            (all(&[]), all(&[]), all(&[]), everybody.clone()),
            (everybody.clone(), all(&[]), all(&[]), everybody.clone()),
            (all(&["b", "d"]), all(&[]), all(&[]), all(&["b", "d", "a", "c"])),
            (all(&["b", "d"]), all(&["b"]), all(&[]), all(&["d", "a", "c", "b"])),
            (everybody.clone(), all(&["a", "c"]), all(&[]), all(&["b", "d", "a", "c"])),
            (everybody.clone(), all(&["a"]), all(&["b"]), all(&["c", "d", "a"])),
            (everybody.clone(), all(&["a"]), everybody.clone(), all(&[])),
        ] {
            let standing = Standing { unable, seen, drained, ..Standing::default() };
            assert_eq!(standing.eligible(&profile), eligible);
            assert_eq!(eligible.first().is_some_and(|first| standing.is_able(first)), !eligible.is_empty());
        }
    }
}
