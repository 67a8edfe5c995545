//! Compares the networks with the ledger when it is time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::domain::network::Network;
use crate::flow::Flows;
use crate::flow::tenure::Tenure;
use crate::telemetry::ErrorChain;

/// Between two looks at whether it is time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A network that could not be compared is left alone for so long.
const AGAIN_AFTER: Duration = Duration::from_mins(5);

/// Compares each network as often as `every` says, until it is told to stop.
pub async fn run(flows: Arc<Flows>, owner: Uuid, every: TimeDelta, stop: CancellationToken) {
    let mut tenure = Tenure::new(Arc::clone(&flows), "reconcile".to_owned(), owner);
    let mut failed: HashMap<Network, Instant> = HashMap::new();
    while !stop.is_cancelled() {
        if let Some(lease) = tenure.lease().await {
            for chain in flows.chains.iter() {
                let network = &chain.profile().network;
                if failed.get(network).is_some_and(|failed| failed.elapsed() < AGAIN_AFTER) {
                    continue;
                }
                match stop.run_until_cancelled(flows.reconcile_if_due(&lease, chain, every)).await {
                    Some(Ok(Some(done))) => tracing::info!(
                        %network, addresses = done.addresses, credits = done.credits, differences = done.differences, "reconciled"
                    ),
                    Some(Ok(None)) => drop(failed.remove(network)),
                    Some(Err(error)) => {
                        failed.insert(network.clone(), Instant::now());
                        tracing::warn!(%network, error = %ErrorChain(&error), "network and ledger could not be compared");
                    }
                    None => {}
                }
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
    }
    tenure.end().await;
}
