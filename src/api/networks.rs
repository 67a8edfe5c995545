//! How each network stands, for operators: whether it takes payments, how far it was read, who cares for it, and what its nodes do.

use super::problem::Problem;
use crate::chain::SignerProfile;
use crate::domain::amount::Amount;
use crate::domain::block::Heights;
use crate::domain::network::Network;
use crate::flow::Flows;
use crate::ledger::reconciliations::{Reconciliation, ReconciliationFilter};
use crate::metrics::NodeCalls;

/// How a network stands.
#[derive(Debug)]
pub struct NetworkStanding {
    /// Which network.
    pub network: Network,
    /// Whether its nodes were found to be the right ones, by this replica.
    pub is_prepared: bool,
    /// Whether it takes payments now.
    pub is_offered: bool,
    /// Why it was halted, if it was.
    pub halted: Option<String>,
    /// How far it was read, if reading began.
    pub heights: Option<Heights>,
    /// Whether some replica watches it.
    pub is_watched: bool,
    /// Those who send on it.
    pub lanes: Vec<LaneStanding>,
    /// What its nodes did for this replica since it was started, in the order of the configuration.
    pub nodes: Vec<NodeCalls>,
    /// The newest comparison with the ledger, if there was one.
    pub reconciliation: Option<Reconciliation>,
}

/// How a signer stands.
#[derive(Debug)]
pub struct LaneStanding {
    /// The operator's name for it.
    pub name: String,
    /// Its address.
    pub address: String,
    /// Whether some replica runs its lane.
    pub is_run: bool,
    /// What it holds in whole coins, as its lane saw it last.
    pub balance: Option<String>,
    /// Whether that may not last for another hour.
    pub is_short: bool,
}

/// How all configured networks stand.
///
/// # Errors
/// The database could not be reached.
pub async fn standings(flows: &Flows) -> Result<Vec<NetworkStanding>, Problem> {
    let offered: Vec<_> = flows.offered().await.into_iter().map(|offered| offered.network).collect();
    let leases = flows.ledger.held_leases().await?;
    let mut standings = Vec::new();
    for chain in flows.chains.iter() {
        let network = &chain.profile().network;
        let cursor = flows.ledger.cursor(network).await?;
        let newest = ReconciliationFilter { network: Some(network.clone()), before: None, limit: 1 };
        standings.push(NetworkStanding {
            network: network.clone(),
            is_prepared: chain.is_prepared(),
            is_offered: offered.contains(network),
            halted: cursor.as_ref().and_then(|cursor| cursor.halted.clone()),
            heights: cursor.map(|cursor| cursor.heights),
            is_watched: leases.contains(&format!("watcher:{network}")),
            lanes: lanes(flows, network, &leases).await?,
            nodes: flows.metrics.node_calls(network),
            reconciliation: flows.ledger.list_reconciliations(&newest).await?.pop(),
        });
    }
    Ok(standings)
}

async fn lanes(flows: &Flows, network: &Network, leases: &[String]) -> Result<Vec<LaneStanding>, Problem> {
    let known = flows.ledger.signers(network).await?;
    let signers = flows.chains.find(network).map(|chain| chain.profile().signers.clone()).unwrap_or_default();
    let standing = |signer: SignerProfile| {
        let record = known.iter().find(|record| record.address == signer.address);
        let decimals = network.family().native_decimals();
        LaneStanding {
            is_run: leases.contains(&format!("lane:{network}:{}", signer.address)),
            balance: record.map(|record| Amount::new(record.balance).to_decimal(decimals)),
            is_short: record.is_some_and(|record| record.short),
            name: signer.name,
            address: signer.address,
        }
    };
    Ok(signers.into_iter().map(standing).collect())
}
