//! Holding a lease for as long as there is work under it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use uuid::Uuid;

use super::Flows;
use crate::ledger::leases::Lease;
use crate::telemetry::ErrorChain;

/// How long a lease lasts without being renewed. Another replica takes over after this.
const LASTS: TimeDelta = TimeDelta::seconds(3);

/// How often it is renewed.
const RENEWED: Duration = Duration::from_secs(1);

/// A renewal that takes longer comes too late.
const RENEWED_WITHIN: Duration = Duration::from_secs(3);

/// What is done under a lease is given up on after this and begun anew, as after a crash: only a database that neither answers nor
/// fails takes so long.
pub const TURN_LASTS_MAX: Duration = Duration::from_secs(15);

/// One process's claim to run a lane or a watcher.
pub struct Tenure {
    flows: Arc<Flows>,
    name: String,
    owner: Uuid,
    held: Option<Lease>,
    tried_at: Option<Instant>,
}

impl Tenure {
    /// A claim that is not made yet.
    #[must_use]
    pub const fn new(flows: Arc<Flows>, name: String, owner: Uuid) -> Self {
        Self { flows, name, owner, held: None, tried_at: None }
    }

    /// The lease, if it is ours, renewed when it is time.
    ///
    /// That it was ours a moment ago proves nothing: every write names the lease and is refused if it was lost.
    pub async fn lease(&mut self) -> Option<Lease> {
        if self.tried_at.is_none_or(|tried| tried.elapsed() >= RENEWED) {
            self.tried_at = Some(Instant::now());
            self.held =
                match tokio::time::timeout(RENEWED_WITHIN, self.flows.ledger.hold_lease(&self.name, self.owner, LASTS)).await {
                    Ok(Ok(lease)) => lease,
                    Ok(Err(error)) => {
                        tracing::warn!(lease = self.name, error = %ErrorChain(&error), "the lease could not be renewed");
                        None
                    }
                    Err(_) => {
                        tracing::warn!(lease = self.name, "the lease could not be renewed in time");
                        None
                    }
                };
            self.flows.metrics.lease(&self.name, self.held.is_some());
        }
        self.held.clone()
    }

    /// Gives the lease back, so that the next owner need not wait.
    pub async fn end(self) {
        if let Some(lease) = &self.held {
            // If this fails, the lease runs out by itself.
            drop(self.flows.ledger.release_lease(lease).await);
            self.flows.metrics.lease(&self.name, false);
        }
    }
}

/// How long to wait before asking again for a lease that somebody else holds.
pub const ASK_AGAIN: Duration = RENEWED;
