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
    /// Why it was halted, if it was.
    pub halted: Option<String>,
    /// The addresses of the signers that cannot pay now: their balance may not last for another hour, or they do not sign.
    pub unable: Vec<String>,
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
        let halted = cursor.and_then(|cursor| cursor.halted);
        let signers = ledger.signers(network).await?;
        let unable = signers.into_iter().filter(|signer| signer.short || signer.away).map(|signer| signer.address).collect();
        let standing = Standing { read_to, halted, unable };
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
    /// The networks that take payments now. One whose signers run out or are away is not offered, before it fails.
    pub async fn offered(&self) -> Vec<Offered> {
        let mut offered = Vec::new();
        for chain in self.chains.iter() {
            let profile = chain.profile();
            // A ledger that does not answer says nothing about a network, and servers cache this answer for long.
            let standing = self.availability.of(&self.ledger, &profile.network).await.unwrap_or_default();
            let is_unable = |address: &String| standing.unable.contains(address);
            let mut signers: Vec<_> = profile.lasting_signers().map(|signer| signer.address.clone()).collect();
            // Whoever takes the first one takes one that can pay.
            signers.sort_by_key(is_unable);
            let able = signers.first().is_some_and(|first| !is_unable(first));
            let available = chain.is_prepared() && able && standing.halted.is_none();
            self.metrics.network_available(&profile.network, available);
            if available {
                offered.push(Offered { network: profile.network.clone(), signers, extras: chain.extras() });
            }
        }
        offered
    }
}
