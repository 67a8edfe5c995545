//! How each network stands, for operators: whether it takes payments, how far it was read, and who cares for it.

use chrono::{DateTime, Utc};

use super::problem::Problem;
use crate::chain::Profile;
use crate::domain::network::Network;
use crate::flow::Flows;
use crate::ledger::blocks::Cursor;
use crate::ledger::orders::{Halts, LaneRecord};
use crate::ledger::reconciliations::Reconciliation;

/// How a network stands.
#[derive(Debug)]
pub struct NetworkStanding {
    /// Which network.
    pub network: Network,
    /// Whether its nodes were found to be the right ones, by this replica.
    pub is_prepared: bool,
    /// Whether it takes payments now.
    pub is_offered: bool,
    /// Who has halted it.
    pub halts: Halts,
    /// How far it was read, if reading began.
    pub cursor: Option<Cursor>,
    /// The time of the newest block that was read.
    pub read_at: Option<DateTime<Utc>>,
    /// Whether some replica watches it.
    pub is_watched: bool,
    /// Those who send on it, and those who did.
    pub lanes: Vec<LaneStanding>,
    /// The newest comparison with the ledger, if there was one.
    pub reconciliation: Option<Reconciliation>,
}

/// How a lane stands.
#[derive(Debug)]
pub struct LaneStanding {
    /// The operator's name for its signer, if there is one.
    pub name: Option<String>,
    /// Whether its key is in the configuration. Nobody runs a lane without.
    pub is_configured: bool,
    /// What the ledger knows of it.
    pub record: LaneRecord,
}

/// How all configured networks stand.
///
/// # Errors
/// The database could not be reached.
pub async fn standings(flows: &Flows) -> Result<Vec<NetworkStanding>, Problem> {
    let ledger = &flows.ledger;
    let offered: Vec<_> = flows.offered().await.into_iter().map(|offered| offered.network).collect();
    let mut standings = Vec::new();
    for chain in flows.chains.iter() {
        let profile = chain.profile();
        let network = &profile.network;
        let cursor = ledger.cursor(network).await?;
        standings.push(NetworkStanding {
            network: network.clone(),
            is_prepared: chain.is_prepared(),
            is_offered: offered.contains(network),
            halts: ledger.halts(network).await?.unwrap_or_default(),
            read_at: match &cursor {
                Some(cursor) => ledger.time_of(network, &cursor.hash).await?,
                None => None,
            },
            cursor,
            is_watched: ledger.owner_of(&format!("watcher:{network}")).await?.is_some(),
            lanes: lanes(flows, profile).await?,
            reconciliation: ledger.last_reconciliation(network).await?,
        });
    }
    Ok(standings)
}

async fn lanes(flows: &Flows, profile: &Profile) -> Result<Vec<LaneStanding>, Problem> {
    let records = flows.ledger.lanes(&profile.network, &profile.signer_addresses()).await?;
    let standing = |record: LaneRecord| {
        let configured = profile.signer(&record.address);
        let name = configured.map(|signer| signer.name.clone()).or_else(|| record.name.clone());
        LaneStanding { name, is_configured: configured.is_some(), record }
    };
    Ok(records.into_iter().map(standing).collect())
}
