//! `quittance backfill`: has blocks read again that were read before, for what the ledger lacks of them.

use std::fmt;

use clap::Args;
use serde::Serialize;

use super::output::Output;
use super::{CommandError, ConfigFile, chain_of, with_flows};
use crate::domain::network::Network;
use crate::flow::backfill::Backfilled;

/// Which blocks are read again.
#[derive(Debug, Args)]
pub(super) struct BackfillCommand {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    output: Output,
    /// For example eip155:8453.
    network: Network,
    /// The first block.
    #[arg(long, value_name = "BLOCK")]
    from: u64,
    /// The last block; the newest one that was read if absent.
    #[arg(long, value_name = "BLOCK")]
    to: Option<u64>,
}

/// What came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BackfillView {
    network: String,
    from: u64,
    to: u64,
    blocks: u64,
    /// Transfers to registered addresses that were missing.
    transfers: u64,
    /// What pays something by now.
    claims: u64,
    /// Payments that were paid without being known as paid.
    payments: u64,
}

impl fmt::Display for BackfillView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, from, to, blocks, transfers, claims, payments } = self;
        write!(formatter, "{network}: read {blocks} blocks again, {from} to {to}: {transfers} transfers were missing, ")?;
        write!(formatter, "{payments} payments were not known as paid, and {claims} claims are new")
    }
}

impl BackfillCommand {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let Self { config, output, network, from, to } = self;
        let (to, found) = with_flows(&config, async |flows| {
            let chain = chain_of(&flows, &network)?;
            chain.prepare().await?;
            // Programs read nothing before the end.
            let tell = |block| {
                if !output.is_json() {
                    eprintln!("{network}: read to block {block}");
                }
            };
            Ok(flows.backfill(chain, from, to, tell).await?)
        })
        .await?;
        let Backfilled { blocks, credits, claims, payments } = found;
        output.tell(&BackfillView { network: network.to_string(), from, to, blocks, transfers: credits, claims, payments });
        Ok(())
    }
}
