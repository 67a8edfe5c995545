//! `quittance network`: shows how networks stand, halts them, and lets them go on.

use std::fmt;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;

use super::lane::{self, LaneView};
use super::output::{Lines, Output, time};
use super::{CommandError, ConfigFile, chain_of, with_flows};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::network::Network;
use crate::flow::Flows;
use crate::ledger::blocks::Cursor;
use crate::ledger::orders::{Halt, Halts};

/// What is done with networks.
#[derive(Debug, Subcommand)]
pub(super) enum NetworkCommand {
    /// Lists the configured networks, and how each of them stands in the ledger.
    List {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        output: Output,
    },
    /// Shows a network with its lanes and what is under way there.
    Show {
        #[command(flatten)]
        name: NetworkName,
    },
    /// Has nothing new be begun on a network, in every replica. What is signed already comes to its end, and blocks are read on.
    Halt {
        #[command(flatten)]
        name: NetworkName,
        /// Why, for those who ask later.
        #[arg(long)]
        reason: String,
    },
    /// Lets a halted network go on, after somebody looked at why it was halted.
    Resume {
        #[command(flatten)]
        name: NetworkName,
        /// The history that the nodes tell now is the true one: undo what contradicts it, even if it was final.
        #[arg(long)]
        accept_history: bool,
    },
}

/// Which network a command is about.
#[derive(Debug, clap::Args)]
pub(super) struct NetworkName {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    output: Output,
    /// For example eip155:8453.
    network: Network,
}

/// Who has halted a network.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
enum HaltedBy {
    Watcher,
    Operator,
}

/// Why a network is halted.
#[derive(Debug, Serialize)]
struct HaltView {
    by: HaltedBy,
    reason: String,
    since: DateTime<Utc>,
}

impl HaltView {
    fn all(halts: Halts) -> Vec<Self> {
        let view = |by, halt: Option<Halt>| halt.map(|Halt { reason, since }| Self { by, reason, since });
        [view(HaltedBy::Watcher, halts.found), view(HaltedBy::Operator, halts.ordered)].into_iter().flatten().collect()
    }
}

impl fmt::Display for HaltView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            HaltedBy::Watcher => "its watcher",
            HaltedBy::Operator => "an operator",
        };
        write!(formatter, "  halted by {by} since {}: {}", time(self.since), self.reason)
    }
}

/// Payments that have not come to their end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UnendedView {
    state: &'static str,
    payments: u64,
    oldest_at: DateTime<Utc>,
}

impl fmt::Display for UnendedView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "  {} payments {}, the oldest since {}", self.payments, self.state, time(self.oldest_at))
    }
}

/// A network as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct NetworkView {
    network: String,
    /// The newest block that was read, and the newest safe and final ones with it.
    read_to: Option<u64>,
    safe: Option<u64>,
    r#final: Option<u64>,
    /// Whether a replica watches it now.
    watched: bool,
    /// Whether the ledger is a copy that was restored, and what it lacks was not read yet.
    catches_up: bool,
    /// Up to which block it may lack what was told, since it has caught up.
    copied_to: Option<u64>,
    halted: Vec<HaltView>,
    payments: Vec<UnendedView>,
    lanes: Vec<LaneView>,
}

impl NetworkView {
    async fn of(flows: &Flows, network: &Network) -> Result<Self, CommandError> {
        let ledger = &flows.ledger;
        let cursor = ledger.cursor(network).await?;
        let heights = cursor.as_ref().map(|cursor| cursor.heights);
        let unended = ledger.unended().await?.into_iter().filter(|backlog| backlog.network == *network);
        let payments =
            unended.map(|found| UnendedView { state: found.state.as_str(), payments: found.payments, oldest_at: found.oldest });
        Ok(Self {
            network: network.to_string(),
            read_to: heights.map(|heights| heights.head),
            safe: heights.map(|heights| heights.safe),
            r#final: heights.map(|heights| heights.finalized),
            watched: ledger.owner_of(&format!("watcher:{network}")).await?.is_some(),
            catches_up: cursor.as_ref().is_some_and(|cursor| !cursor.has_caught_up()),
            copied_to: cursor.filter(Cursor::has_caught_up).and_then(|cursor| cursor.copied_to),
            halted: HaltView::all(ledger.halts(network).await?.unwrap_or_default()),
            payments: payments.collect(),
            lanes: lane::list(flows, Some(network)).await?,
        })
    }
}

impl fmt::Display for NetworkView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.halted.is_empty() { "open" } else { "HALTED" };
        write!(formatter, "{}  {state}", self.network)?;
        match (self.read_to, self.r#final) {
            (Some(head), Some(finalized)) => write!(formatter, "  read to block {head}, final to {finalized}")?,
            _ => write!(formatter, "  not read yet")?,
        }
        if !self.watched {
            write!(formatter, "  nobody watches it")?;
        }
        if self.catches_up {
            write!(formatter, "\n  the ledger is a copy that was restored, and catches up: nothing is begun yet")?;
        }
        if let Some(block) = self.copied_to {
            write!(formatter, "\n  the ledger is a copy that was restored: what stands in blocks up to {block} counts as told")?;
        }
        for halt in &self.halted {
            write!(formatter, "\n{halt}")?;
        }
        for payments in &self.payments {
            write!(formatter, "\n{payments}")?;
        }
        for lane in &self.lanes {
            write!(formatter, "\n  {lane}")?;
        }
        Ok(())
    }
}

/// A list of networks as it is told.
#[derive(Debug, Serialize)]
struct NetworksView {
    networks: Vec<NetworkView>,
}

impl fmt::Display for NetworksView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Lines(&self.networks).fmt(formatter)
    }
}

/// What a network was halted for until now.
#[derive(Debug, Serialize)]
struct ResumedView {
    network: String,
    was: Vec<HaltView>,
}

impl fmt::Display for ResumedView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} goes on; until now it was\n{}", self.network, Lines(&self.was))
    }
}

impl NetworkCommand {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        match self {
            Self::List { config, output } => {
                let networks = with_flows(&config, async |flows| {
                    let mut networks = Vec::new();
                    for chain in flows.chains.iter() {
                        networks.push(NetworkView::of(&flows, &chain.profile().network).await?);
                    }
                    Ok(networks)
                });
                output.tell(&NetworksView { networks: networks.await? });
            }
            Self::Show { name } => name.tell(async |_| Ok(())).await?,
            Self::Halt { name, reason } => {
                name.tell(async |flows| {
                    if flows.ledger.stop_network(&name.network, &reason, SystemClock.now()).await? {
                        return Ok(());
                    }
                    let known = flows.ledger.halts(&name.network).await?.is_some();
                    let network = name.network.clone();
                    Err(if known { CommandError::HaltedBefore(network) } else { CommandError::NotRead(network) })
                })
                .await?;
            }
            Self::Resume { name, accept_history } => name.resume(accept_history).await?,
        }
        Ok(())
    }
}

impl NetworkName {
    /// Changes the network, and prints how it stands then.
    async fn tell(&self, change: impl AsyncFnOnce(&Flows) -> Result<(), CommandError>) -> Result<(), CommandError> {
        let view = with_flows(&self.config, async |flows| {
            chain_of(&flows, &self.network)?;
            change(&flows).await?;
            NetworkView::of(&flows, &self.network).await
        });
        self.output.tell(&view.await?);
        Ok(())
    }

    async fn resume(&self, accept_history: bool) -> Result<(), CommandError> {
        let was = with_flows(&self.config, async |flows| Ok(flows.ledger.resume(&self.network, accept_history).await?)).await?;
        let was = HaltView::all(was);
        if was.is_empty() {
            return Err(CommandError::NotHalted(self.network.clone()));
        }
        self.output.tell(&ResumedView { network: self.network.to_string(), was });
        Ok(())
    }
}
