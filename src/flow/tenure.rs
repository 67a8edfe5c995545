//! Holding a lease for as long as there is work under it.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
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
    /// What metrics call the lease.
    label: String,
    owner: Uuid,
    renewal: Option<Renewal>,
}

/// Renews a lease beside the work that is done under it: a node may take longer to answer than the lease lasts.
struct Renewal {
    held: watch::Receiver<Option<Lease>>,
    task: AbortOnDropHandle<()>,
}

impl Tenure {
    /// A claim that is not made yet.
    #[must_use]
    pub fn new(flows: Arc<Flows>, name: String, owner: Uuid) -> Self {
        Self { flows, label: name.clone(), name, owner, renewal: None }
    }

    /// The same where the name holds an address, which must not become a label.
    #[must_use]
    pub fn labelled(self, label: String) -> Self {
        Self { label, ..self }
    }

    /// The lease, if it is ours.
    ///
    /// That it was ours a moment ago proves nothing: what must have one author names the lease, and is refused if it was lost.
    pub async fn lease(&mut self) -> Option<Lease> {
        let renewal = match self.renewal.take().filter(|renewal| !renewal.task.is_finished()) {
            Some(renewal) => renewal,
            None => self.begin().await,
        };
        let held = renewal.held.borrow().clone();
        self.renewal = Some(renewal);
        held
    }

    #[expect(clippy::disallowed_methods, reason = "it ends with its tenure, which starts it again if it should fail")]
    async fn begin(&self) -> Renewal {
        let (publish, mut held) = watch::channel(None);
        let (flows, name, owner) = (Arc::clone(&self.flows), self.name.clone(), self.owner);
        let label = self.label.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                let held = renew(&flows, &name, owner).await;
                flows.metrics.lease(&label, held.is_some());
                publish.send_replace(held);
                tokio::time::sleep(RENEWED).await;
            }
        }));
        // Until the first answer nothing is known. If the task fails before it, the lease is not held.
        drop(held.changed().await);
        Renewal { held, task }
    }

    /// Gives the lease back, so that the next owner need not wait.
    pub async fn end(self) {
        let Some(Renewal { held, task }) = self.renewal else { return };
        // It must have ended before the lease is given back, or it might take it again.
        task.abort();
        drop(task.await);
        let lease = held.borrow().clone();
        if let Some(lease) = lease {
            // If this fails, the lease runs out by itself.
            drop(self.flows.ledger.release_lease(&lease).await);
            self.flows.metrics.lease(&self.label, false);
        }
    }
}

async fn renew(flows: &Flows, name: &str, owner: Uuid) -> Option<Lease> {
    match tokio::time::timeout(RENEWED_WITHIN, flows.ledger.hold_lease(name, owner, LASTS)).await {
        Ok(Ok(lease)) => lease,
        Ok(Err(error)) => {
            tracing::warn!(lease = name, error = %ErrorChain(&error), "the lease could not be renewed");
            None
        }
        Err(_) => {
            tracing::warn!(lease = name, "the lease could not be renewed in time");
            None
        }
    }
}

/// How long to wait before asking again for a lease that somebody else holds.
pub const ASK_AGAIN: Duration = RENEWED;
