//! `quittance reconcile`: makes the daily comparison of networks and ledger now.

use std::fmt;
use std::process::ExitCode;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::output::{Lines, Output, time};
use super::{CommandError, ConfigFile, chain_of, with_flows};
use crate::chain::Chain;
use crate::domain::network::Network;
use crate::flow::Flows;
use crate::flow::tenure::Tenure;
use crate::ledger::leases::Lease;
use crate::ledger::reconciliations::Reconciliation;

/// What is compared.
#[derive(Debug, Args)]
pub(super) struct ReconcileCommand {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    output: Output,
    /// For example eip155:8453; all that can be compared if absent.
    network: Option<Network>,
}

/// The worker has a lease of its own, which it never gives up; its next comparison goes on from this one.
const LEASE: &str = "reconcile:now";

/// What a comparison came to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReconciliationView {
    id: String,
    network: String,
    begun_at: DateTime<Utc>,
    finished_at: DateTime<Utc>,
    block: u64,
    addresses: u64,
    credits: u64,
    begun: u64,
    differences: u64,
    /// The first differences, as `GET /v1/reconciliations` has them.
    report: Value,
}

impl From<Reconciliation> for ReconciliationView {
    fn from(done: Reconciliation) -> Self {
        Self {
            id: done.id.to_string(),
            network: done.network.to_string(),
            begun_at: done.begun_at,
            finished_at: done.finished_at,
            block: done.block,
            addresses: done.addresses,
            credits: done.credits,
            begun: done.begun,
            differences: done.differences,
            report: done.report,
        }
    }
}

impl fmt::Display for ReconciliationView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, block, addresses, credits, begun, differences, .. } = self;
        write!(formatter, "{network}  {differences} differences  at block {block}, done {}", time(self.finished_at))?;
        write!(formatter, "  {addresses} addresses, {credits} credits, {begun} balances for the first time")?;
        for difference in self.report.as_array().into_iter().flatten() {
            let word = |member: &str| difference[member].as_str().unwrap_or("-");
            write!(formatter, "\n  {}  {}  token {}", word("kind"), word("address"), word("asset"))?;
            write!(formatter, "  network {}  ledger {}  {}", word("network"), word("ledger"), word("transaction"))?;
        }
        Ok(())
    }
}

/// All of them.
#[derive(Debug, Serialize)]
struct ReconciliationsView {
    reconciliations: Vec<ReconciliationView>,
}

impl fmt::Display for ReconciliationsView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Lines(&self.reconciliations).fmt(formatter)
    }
}

impl ReconcileCommand {
    pub(super) async fn run(self) -> Result<ExitCode, CommandError> {
        let Self { config, output, network } = self;
        let done = with_flows(&config, async |flows| {
            let mut tenure = Tenure::new(Arc::clone(&flows), LEASE.to_owned(), Uuid::now_v7());
            let done = match tenure.lease().await {
                Some(lease) => compare(&flows, &lease, network.as_ref()).await,
                None => Err(CommandError::BeingCompared),
            };
            tenure.end().await;
            done
        })
        .await?;
        let reconciliations: Vec<_> = done.into_iter().map(ReconciliationView::from).collect();
        let right = reconciliations.iter().all(|done| done.differences == 0);
        output.tell(&ReconciliationsView { reconciliations });
        Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

async fn compare(flows: &Flows, lease: &Lease, network: Option<&Network>) -> Result<Vec<Reconciliation>, CommandError> {
    if let Some(network) = network {
        let done = compare_one(flows, lease, chain_of(flows, network)?).await?;
        return done.map(|done| vec![done]).ok_or_else(|| CommandError::NotCompared(network.clone()));
    }
    let mut all = Vec::new();
    for chain in flows.chains.iter().filter(|chain| chain.observes_transfers()) {
        all.extend(compare_one(flows, lease, chain).await?);
    }
    Ok(all)
}

async fn compare_one(flows: &Flows, lease: &Lease, chain: &Arc<dyn Chain>) -> Result<Option<Reconciliation>, CommandError> {
    chain.prepare().await?;
    Ok(flows.reconcile_now(lease, chain).await?)
}
