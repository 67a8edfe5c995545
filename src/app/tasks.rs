//! The tasks of a replica: those that last as long as the process, and those that work by a configuration and end with it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{AppError, Role, reach};
use crate::chain::Chain;
use crate::config::{Config, NetworkConfig};
use crate::flow::Flows;
use crate::lane::{Lane, abandoned};
use crate::supervisor::Supervisor;
use crate::telemetry::ErrorChain;
use crate::watcher::{Pace, Watcher};
use crate::webhook::client::Webhooks;
use crate::worker;

/// Between two attempts to find the right chain behind the configured nodes.
const PREPARE_AGAIN: Duration = Duration::from_secs(1);

/// What a replica does.
pub struct Tasks {
    roles: BTreeSet<Role>,
    webhooks: Webhooks,
}

/// The tasks of one configuration.
struct Generation<'a> {
    flows: &'a Arc<Flows>,
    supervisor: &'a Supervisor,
    end: &'a CancellationToken,
    /// Leases are held by name and owner, so the tasks of the next configuration wait for those of this one.
    owner: Uuid,
}

impl Tasks {
    /// Those of a replica in these roles.
    ///
    /// # Errors
    /// Connections to receivers of webhooks cannot be made.
    pub fn new(config: &Config, roles: BTreeSet<Role>) -> Result<Self, AppError> {
        Ok(Self { roles, webhooks: Webhooks::new(reach(config))? })
    }

    /// What the replica does.
    pub const fn roles(&self) -> &BTreeSet<Role> {
        &self.roles
    }

    /// Starts what works by a configuration, until `end`.
    pub fn start(&self, config: &Config, flows: &Arc<Flows>, supervisor: &Supervisor, end: &CancellationToken) {
        let generation = Generation { flows, supervisor, end, owner: Uuid::now_v7() };
        for network in &config.networks {
            let Ok(chain) = flows.chains.find(&network.network) else { continue };
            generation.prepare(chain);
            if self.roles.contains(&Role::Watcher) {
                generation.watch(network, chain);
            }
            if self.roles.contains(&Role::Lane) {
                generation.send(network, chain);
            }
        }
        if self.roles.contains(&Role::Lane) {
            let flows = Arc::clone(flows);
            supervisor.run_until(end, "abandoned", move |stop| abandoned::run(Arc::clone(&flows), stop));
        }
        if self.roles.contains(&Role::Worker) {
            generation.work(config, &self.webhooks);
        }
    }

    /// Starts what serves callers who wait. It knows nothing of networks, and lasts as long as the process.
    pub fn start_lasting(&self, flows: &Arc<Flows>, supervisor: &Supervisor) {
        if !self.roles.contains(&Role::Api) {
            return;
        }
        // They hold what all configurations share, and not the flows: with those they would hold the keys of the first one for ever.
        let (clock, receipts) = (Arc::clone(&flows.clock), flows.issuer.is_some());
        let (waiting, ledger) = (Arc::clone(&flows.waiting), flows.ledger.clone());
        supervisor.run("waiting", move |stop| {
            let (waiting, ledger, clock) = (Arc::clone(&waiting), ledger.clone(), Arc::clone(&clock));
            async move { waiting.run(&ledger, clock.as_ref(), receipts, &stop).await }
        });
        let (clock, metrics) = (Arc::clone(&flows.clock), Arc::clone(&flows.metrics));
        let (discovery, ledger) = (Arc::clone(&flows.discovery), flows.ledger.clone());
        supervisor.run("catalogue", move |stop| {
            let (discovery, ledger) = (Arc::clone(&discovery), ledger.clone());
            let (clock, metrics) = (Arc::clone(&clock), Arc::clone(&metrics));
            async move { discovery.keep_catalogue(&ledger, clock.as_ref(), &metrics, &stop).await }
        });
        let (waiting, ledger) = (Arc::clone(&flows.waiting), flows.ledger.clone());
        supervisor.run("listener", move |stop| {
            let (waiting, ledger) = (Arc::clone(&waiting), ledger.clone());
            async move { waiting.hear(&ledger, &stop).await }
        });
        let (telling, ledger) = (Arc::clone(&flows.telling), flows.ledger.clone());
        supervisor.run("streams", move |stop| {
            let (telling, ledger) = (Arc::clone(&telling), ledger.clone());
            async move { telling.streams.run(&ledger, &stop).await }
        });
    }
}

impl Generation<'_> {
    fn prepare(&self, chain: &Arc<dyn Chain>) {
        let chain = Arc::clone(chain);
        self.supervisor.run_until(self.end, "prepare", move |stop| prepare(Arc::clone(&chain), stop));
    }

    fn watch(&self, network: &NetworkConfig, chain: &Arc<dyn Chain>) {
        let pace = Pace {
            idle: std_duration(network.poll_idle),
            busy: std_duration(network.poll_busy),
            start_block: network.start_block,
        };
        let (flows, chain, owner) = (Arc::clone(self.flows), Arc::clone(chain), self.owner);
        self.supervisor.run_until(self.end, "watcher", move |stop| {
            Watcher::new(Arc::clone(&flows), Arc::clone(&chain), owner, pace).run(stop)
        });
    }

    fn send(&self, network: &NetworkConfig, chain: &Arc<dyn Chain>) {
        for signer in &chain.profile().signers {
            let (flows, chain, signer) = (Arc::clone(self.flows), Arc::clone(chain), signer.clone());
            let (policy, cost, owner) = (network.lane, network.cost, self.owner);
            self.supervisor.run_until(self.end, "lane", move |stop| {
                Lane::new(Arc::clone(&flows), Arc::clone(&chain), signer.clone(), owner, policy, cost).run(stop)
            });
        }
    }

    fn work(&self, config: &Config, webhooks: &Webhooks) {
        let (owner, every, client) = (self.owner, config.reconcile.every, webhooks.clone());
        let [forgetting, draining, delivering, reconciling] = std::array::from_fn(|_| Arc::clone(self.flows));
        self.supervisor.run_until(self.end, "retention", move |stop| worker::run(Arc::clone(&forgetting), owner, stop));
        self.supervisor.run_until(self.end, "outbox", move |stop| worker::outbox::run(Arc::clone(&draining), owner, stop));
        self.supervisor
            .run_until(self.end, "reconcile", move |stop| worker::reconcile::run(Arc::clone(&reconciling), owner, every, stop));
        self.supervisor.run_until(self.end, "deliveries", move |stop| {
            worker::deliveries::run(Arc::clone(&delivering), client.clone(), stop)
        });
    }
}

fn std_duration(duration: TimeDelta) -> Duration {
    duration.to_std().unwrap_or(Duration::from_secs(1))
}

/// Checks a network until it is found to be the right one. Then there is nothing left to do.
async fn prepare(chain: Arc<dyn Chain>, stop: CancellationToken) {
    while !stop.is_cancelled() && !chain.is_prepared() {
        match chain.prepare().await {
            Ok(()) => tracing::info!(network = %chain.profile().network, "the network is ready"),
            Err(error) => {
                tracing::error!(network = %chain.profile().network, error = %ErrorChain(&error), "the network is not usable");
                stop.run_until_cancelled(tokio::time::sleep(PREPARE_AGAIN)).await;
            }
        }
    }
    stop.cancelled().await;
}
