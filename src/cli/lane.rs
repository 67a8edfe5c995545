//! `quittance lane`: shows what lanes have under way, drains them, and lets them take payments again.

use std::fmt;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;

use super::output::{Lines, Output, time};
use super::{CommandError, ConfigFile, chain_of, with_flows};
use crate::chain::Profile;
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::network::Network;
use crate::domain::submission::Place;
use crate::flow::Flows;
use crate::ledger::Ledger;
use crate::ledger::orders::LaneRecord;
use crate::ledger::submissions::OpenSlot;

/// What is done with lanes.
#[derive(Debug, Subcommand)]
pub(super) enum LaneCommand {
    /// Lists the lanes of all networks, or of one.
    List {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        output: Output,
        /// For example eip155:8453.
        network: Option<Network>,
    },
    /// Shows a lane with its slots.
    Show {
        #[command(flatten)]
        lane: LaneName,
    },
    /// Has a lane take no new payments, in every replica. It finishes those that it has.
    Drain {
        #[command(flatten)]
        lane: LaneName,
    },
    /// Lets a drained lane take payments again.
    Resume {
        #[command(flatten)]
        lane: LaneName,
    },
}

/// Which lane a command is about.
#[derive(Debug, clap::Args)]
pub(super) struct LaneName {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    output: Output,
    /// For example eip155:8453.
    network: Network,
    /// The name or the address of its signer.
    signer: String,
}

/// A lane as it is told.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is a word of its own for who reads it")]
pub(super) struct LaneView {
    network: String,
    signer: Option<String>,
    address: String,
    state: &'static str,
    /// Whether its signer is in the configuration. Nobody runs a lane without.
    configured: bool,
    /// Whether a replica runs it now.
    running: bool,
    drained_at: Option<DateTime<Utc>>,
    in_flight: u64,
    not_final: u64,
    queued: u64,
    balance: Option<String>,
    unit: &'static str,
    short: bool,
    /// Whether its signer does not sign.
    away: bool,
}

impl LaneView {
    fn of(profile: &Profile, lane: LaneRecord) -> Self {
        let configured = profile.signer(&lane.address);
        Self {
            network: profile.network.to_string(),
            state: lane.state().as_str(),
            configured: configured.is_some(),
            signer: configured.map(|signer| signer.name.clone()).or(lane.name),
            address: lane.address,
            running: lane.owner.is_some(),
            drained_at: lane.drained_at,
            in_flight: lane.in_flight,
            not_final: lane.not_final,
            queued: lane.queued,
            balance: lane.balance.map(|balance| balance.to_string()),
            unit: profile.network.family().native_unit(),
            short: lane.short,
            away: lane.away,
        }
    }

    fn answers_to(&self, name: &str) -> bool {
        self.signer.as_deref() == Some(name) || self.address.eq_ignore_ascii_case(name)
    }
}

impl fmt::Display for LaneView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, address, in_flight, not_final, queued, unit, .. } = self;
        let name = self.signer.as_deref().unwrap_or("(no name)");
        write!(formatter, "{network}  {name}  {address}  {}", self.state)?;
        write!(formatter, "  {in_flight} in flight, {not_final} not final, {queued} queued")?;
        match &self.balance {
            Some(balance) if self.short => write!(formatter, "  holds {balance} {unit}, which is too little")?,
            Some(balance) => write!(formatter, "  holds {balance} {unit}")?,
            None => write!(formatter, "  never ran")?,
        }
        if self.away {
            write!(formatter, "  its signer does not sign")?;
        }
        if !self.configured {
            write!(formatter, "  not in the configuration")?;
        } else if !self.running {
            write!(formatter, "  nobody runs it")?;
        }
        if let Some(since) = self.drained_at {
            write!(formatter, "  drained since {}", time(since))?;
        }
        Ok(())
    }
}

/// A list of lanes as it is told.
#[derive(Debug, Serialize)]
pub(super) struct LanesView {
    lanes: Vec<LaneView>,
}

impl fmt::Display for LanesView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Lines(&self.lanes).fmt(formatter)
    }
}

/// A slot that no block holds yet.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SlotView {
    /// The account nonce, or the hash of the message.
    place: String,
    attempt: u16,
    transaction: String,
    signed_at: DateTime<Utc>,
    cost_max: String,
    payments: Vec<String>,
}

impl fmt::Display for SlotView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, attempt, transaction, cost_max, .. } = self;
        let payments = if self.payments.is_empty() { "no payment".to_owned() } else { self.payments.join(" ") };
        write!(formatter, "  slot {place}  attempt {attempt}  {transaction}  signed {}", time(self.signed_at))?;
        write!(formatter, "  costs {cost_max} at most  {payments}")
    }
}

/// A lane with its slots as it is told.
#[derive(Debug, Serialize)]
struct LaneStory {
    #[serde(flatten)]
    lane: LaneView,
    slots: Vec<SlotView>,
}

impl fmt::Display for LaneStory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.lane)?;
        if self.slots.is_empty() { Ok(()) } else { write!(formatter, "\n{}", Lines(&self.slots)) }
    }
}

impl LaneCommand {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        match self {
            Self::List { config, output, network } => {
                let lanes = with_flows(&config, async |flows| list(&flows, network.as_ref()).await).await?;
                output.tell(&LanesView { lanes });
            }
            Self::Show { lane } => tell(&lane, async |_, _| Ok(())).await?,
            Self::Drain { lane } => {
                tell(&lane, async |ledger, found| {
                    if ledger.drain_lane(&lane.network, &found.address, SystemClock.now()).await? {
                        return Ok(());
                    }
                    Err(CommandError::DrainedBefore(lane.network.clone(), lane.signer.clone()))
                })
                .await?;
            }
            Self::Resume { lane } => {
                tell(&lane, async |ledger, found| {
                    if ledger.undrain_lane(&lane.network, &found.address).await? {
                        return Ok(());
                    }
                    Err(CommandError::NotDrained(lane.network.clone(), lane.signer.clone()))
                })
                .await?;
            }
        }
        Ok(())
    }
}

/// Changes a lane, and prints how it stands then.
async fn tell(
    name: &LaneName,
    change: impl AsyncFnOnce(&Ledger, &LaneView) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let story = with_flows(&name.config, async |flows| {
        let found = find(&flows, name).await?;
        change(&flows.ledger, &found).await?;
        let (lane, mut slots) = (find(&flows, name).await?, Vec::new());
        for slot in flows.ledger.open_slots(&name.network, &lane.address).await? {
            slots.push(slot_view(&flows.ledger, slot).await?);
        }
        Ok(LaneStory { lane, slots })
    });
    name.output.tell(&story.await?);
    Ok(())
}

/// The lanes of one network, or of all that are configured.
pub(super) async fn list(flows: &Flows, network: Option<&Network>) -> Result<Vec<LaneView>, CommandError> {
    let chains = match network {
        Some(network) => vec![chain_of(flows, network)?],
        None => flows.chains.iter().collect(),
    };
    let mut lanes = Vec::new();
    for chain in chains {
        let profile = chain.profile();
        let records = flows.ledger.lanes(&profile.network, &profile.signer_addresses()).await?;
        lanes.extend(records.into_iter().map(|lane| LaneView::of(profile, lane)));
    }
    Ok(lanes)
}

/// The lane that has this name. A name may have gone to another account: the one in the configuration counts.
async fn find(flows: &Flows, name: &LaneName) -> Result<LaneView, CommandError> {
    let mut lanes = list(flows, Some(&name.network)).await?;
    lanes.retain(|lane| lane.answers_to(&name.signer));
    lanes.sort_by_key(|lane| !lane.configured);
    lanes.into_iter().next().ok_or_else(|| CommandError::NoSuchLane(name.network.clone(), name.signer.clone()))
}

async fn slot_view(ledger: &Ledger, slot: OpenSlot) -> Result<SlotView, CommandError> {
    let payments = ledger.made_in(slot.id).await?.iter().map(ToString::to_string).collect();
    Ok(SlotView {
        place: match slot.place {
            Place::Nonce(nonce) => nonce.to_string(),
            Place::Message(key) => crate::domain::address::encode_hex(&key.0),
        },
        attempt: slot.attempt,
        transaction: slot.transaction,
        signed_at: slot.signed_at,
        cost_max: slot.cost_max.to_string(),
        payments,
    })
}
