//! Slots of signers that are configured no more: no lane sends their bytes again, outbids them, or notices that they can land no more.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::network::Network;
use crate::flow::Flows;
use crate::ledger::LedgerError;
use crate::ledger::orders::LaneRecord;
use crate::telemetry::ErrorChain;

/// How often somebody looks for them.
const LOOKED_FOR: Duration = Duration::from_secs(15);

/// Looks for such slots, and says so for as long as there are some.
pub async fn run(flows: Arc<Flows>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        for chain in flows.chains.iter() {
            let profile = chain.profile();
            let is_configured = |address: &str| profile.signers.iter().any(|signer| signer.address == address);
            if let Err(error) = look(&flows, &profile.network, is_configured).await {
                tracing::warn!(network = %profile.network, error = %ErrorChain(&error), "abandoned lanes could not be looked for");
            }
        }
        stop.run_until_cancelled(tokio::time::sleep(LOOKED_FOR)).await;
    }
}

async fn look(flows: &Flows, network: &Network, is_configured: impl Fn(&str) -> bool) -> Result<(), LedgerError> {
    let mut abandoned = 0;
    for LaneRecord { address, owner, in_flight: slots, .. } in flows.ledger.lanes(network, &[]).await? {
        // Replicas read their configurations one after the other: another one may still have it.
        if slots > 0 && owner.is_none() && !is_configured(&address) {
            abandoned += slots;
            tracing::error!(%network, address, slots, "a signer is not configured any more, and nobody cares for what it has under way: configure it again, and drain its lane");
        }
    }
    flows.metrics.submissions_abandoned(network, abandoned);
    Ok(())
}
