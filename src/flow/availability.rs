//! Which networks take payments now: read from the ledger, so that every replica says the same, and kept for a second.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Flows;
use crate::domain::network::{Network, Offered};
use crate::ledger::{Ledger, LedgerError};

/// For how long an answer is believed.
const BELIEVED: Duration = Duration::from_secs(1);

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
    /// The addresses of the signers whose balance may not last for another hour.
    pub short: Vec<String>,
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
        !self.drained.iter().chain(&self.short).any(|address| address == signer)
    }
}

/// Remembers standings for a moment.
#[derive(Debug, Default)]
pub struct Availability(Mutex<HashMap<Network, (Standing, Instant)>>);

impl Availability {
    /// How a network stands.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn of(&self, ledger: &Ledger, network: &Network) -> Result<Standing, LedgerError> {
        if let Some(standing) = self.remembered(network) {
            return Ok(standing);
        }
        let cursor = ledger.cursor(network).await?;
        let read_to = cursor.as_ref().map(|cursor| cursor.heights.head);
        let catches_up = cursor.as_ref().is_some_and(|cursor| !cursor.has_caught_up());
        let (halted, stopped) = cursor.map_or((None, None), |cursor| (cursor.halted, cursor.stopped));
        let signers = ledger.signers(network).await?;
        let short = signers.into_iter().filter(|signer| signer.short).map(|signer| signer.address).collect();
        let drained = ledger.drained_lanes(network).await?;
        let standing = Standing { read_to, catches_up, halted, stopped, short, drained };
        self.lock().insert(network.clone(), (standing.clone(), Instant::now()));
        Ok(standing)
    }

    fn remembered(&self, network: &Network) -> Option<Standing> {
        self.lock().get(network).filter(|(_, read_at)| read_at.elapsed() < BELIEVED).map(|(standing, _)| standing.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Network, (Standing, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flows {
    /// The networks that take payments now. One whose signers run out is not offered, before it fails.
    pub async fn offered(&self) -> Vec<Offered> {
        let mut offered = Vec::new();
        for chain in self.chains.iter() {
            let profile = chain.profile();
            // A ledger that does not answer says nothing about a network, and servers cache this answer for long.
            let standing = self.availability.of(&self.ledger, &profile.network).await.unwrap_or_default();
            let mut signers: Vec<_> = profile.signers.iter().map(|signer| signer.address.clone()).collect();
            // A payer who chooses one that is drained would wait for it in vain.
            signers.retain(|address| !standing.drained.contains(address));
            // Whoever takes the first one takes one that can pay.
            signers.sort_by_key(|address| !standing.is_able(address));
            let able = signers.first().is_some_and(|first| standing.is_able(first));
            let available = chain.is_prepared() && able && standing.is_open();
            self.metrics.network_available(&profile.network, available);
            if available {
                offered.push(Offered { network: profile.network.clone(), signers, extras: chain.extras() });
            }
        }
        offered
    }
}
