//! `/dashboard/networks`: how each network stands, for operators.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use chrono::{DateTime, Utc};

use super::super::Frame;
use super::super::words::{self, Moment};
use super::{Asked, Desk, OfAccount, Scene, answer, page};
use crate::api::Service;
use crate::api::networks::{LaneStanding, NetworkStanding, standings};
use crate::domain::amount::Amount;
use crate::domain::network::Family;
use crate::http::endpoint::{Callers, PathItem, at};
use crate::http::problem::Problem;
use crate::ledger::orders::{Halt, Halts, LaneState};

/// The path.
pub fn paths() -> Vec<PathItem> {
    let showing = page::<OfAccount>("showNetworks", "Shows operators how each network stands", Callers::Operators);
    vec![at("/dashboard/networks").get(show, showing)]
}

#[derive(Template)]
#[template(path = "dashboard/networks.html")]
struct NetworksPage {
    frame: Frame,
    desk: Desk,
    networks: Vec<NetworkCard>,
}

struct NetworkCard {
    name: String,
    id: String,
    standing: Standing,
    /// Who has halted it, since when, and why.
    halts: Vec<(&'static str, Moment, String)>,
    /// How far it was read: the newest block, and the newest safe and final ones with it.
    heights: Option<(u64, u64, u64)>,
    /// How old the newest block that was read was when this was written.
    age_seconds: Option<i64>,
    is_watched: bool,
    /// Up to which block a restored ledger may lack what was told.
    copied_to: Option<u64>,
    /// When it was compared with the ledger, and how many differences there were.
    compared: Option<(Moment, u64)>,
    /// What the smallest unit of its coin is called.
    unit: &'static str,
    lanes: Vec<LaneLine>,
}

/// A word, and the class of its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub tone: &'static str,
    pub word: &'static str,
}

struct LaneLine {
    name: String,
    address: String,
    standing: Standing,
    in_flight: u64,
    not_final: u64,
    queued: u64,
    /// What its signer holds, in whole coins and in the smallest unit, as the lane saw it last.
    balance: Option<(String, u128)>,
    /// Whether that may not last for another hour.
    is_short: bool,
    /// Whether its signer did not sign when it was last asked to.
    is_away: bool,
}

async fn show(service: Data<Service>, request: HttpRequest, query: Asked<OfAccount>) -> HttpResponse {
    answer(&service, &request, query, make).await
}

async fn make(scene: Scene) -> Result<NetworksPage, Problem> {
    scene.viewer.operator()?;
    let desk = scene.desk("networks").await?;
    let now = scene.flows.clock.now();
    let networks = standings(&scene.flows).await?.into_iter().map(|standing| NetworkCard::of(standing, now)).collect();
    Ok(NetworksPage { desk, networks, frame: scene.frame })
}

impl NetworkCard {
    fn of(standing: NetworkStanding, now: DateTime<Utc>) -> Self {
        let family = standing.network.family();
        Self {
            name: words::network(&standing.network),
            id: standing.network.to_string(),
            standing: in_a_word(&standing),
            halts: halts(standing.halts),
            heights: standing.cursor.as_ref().map(|cursor| {
                let heights = cursor.heights;
                (heights.head, heights.safe, heights.finalized)
            }),
            age_seconds: standing.read_at.map(|at| (now - at).num_seconds().max(0)),
            is_watched: standing.is_watched,
            copied_to: standing.cursor.and_then(|cursor| cursor.copied_to),
            compared: standing.reconciliation.map(|done| (done.finished_at.into(), done.differences)),
            unit: family.native_unit(),
            lanes: standing.lanes.into_iter().map(|lane| LaneLine::of(lane, family)).collect(),
        }
    }
}

/// What is worst about a network, or that it takes payments.
pub fn in_a_word(standing: &NetworkStanding) -> Standing {
    let catches_up = standing.cursor.as_ref().is_some_and(|cursor| !cursor.has_caught_up());
    let (tone, word) = match &standing.halts {
        Halts { found: Some(_), .. } => ("over", "halted by its watcher"),
        Halts { ordered: Some(_), .. } => ("over", "halted by an operator"),
        _ if !standing.is_prepared => ("over", "not reached"),
        _ if catches_up => ("waiting", "catching up"),
        _ if !standing.is_offered => ("waiting", "not offered"),
        _ => ("paid", "takes payments"),
    };
    Standing { tone, word }
}

fn halts(Halts { found, ordered }: Halts) -> Vec<(&'static str, Moment, String)> {
    let told = |by, halt: Option<Halt>| halt.map(|Halt { reason, since }| (by, since.into(), reason));
    [told("its watcher", found), told("an operator", ordered)].into_iter().flatten().collect()
}

impl LaneLine {
    fn of(LaneStanding { name, is_configured, record }: LaneStanding, family: Family) -> Self {
        let coins = |balance| (Amount::new(balance).to_decimal(family.native_decimals()), balance);
        Self {
            name: name.unwrap_or_default(),
            standing: lane_in_a_word(record.state(), is_configured, record.owner.is_some()),
            balance: record.balance.map(coins),
            is_short: record.short,
            is_away: record.away,
            in_flight: record.in_flight,
            not_final: record.not_final,
            queued: record.queued,
            address: record.address,
        }
    }
}

/// What is worst about a lane, or that it works.
const fn lane_in_a_word(state: LaneState, is_configured: bool, is_run: bool) -> Standing {
    let (tone, word) = match (state, is_configured, is_run) {
        (LaneState::Drained, ..) => ("waiting", "drained"),
        (_, false, _) => ("over", "not in the configuration"),
        (_, _, false) => ("over", "nobody runs it"),
        (LaneState::Draining, ..) => ("waiting", "draining"),
        (LaneState::Working, ..) => ("paid", "working"),
    };
    Standing { tone, word }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> NetworkStanding {
        NetworkStanding {
            network: "eip155:8453".parse().unwrap(),
            is_prepared: true,
            is_offered: true,
            halts: Halts::default(),
            cursor: None,
            read_at: None,
            is_watched: true,
            lanes: Vec::new(),
            reconciliation: None,
        }
    }

    #[test]
    fn the_worst_about_a_network_is_said_first() {
        let halt = || Some(Halt { reason: "why".to_owned(), since: DateTime::UNIX_EPOCH });
        let both = Halts { found: halt(), ordered: halt() };
        let ordered = Halts { found: None, ordered: halt() };
        let away = NetworkStanding { is_prepared: false, is_offered: false, ..standing() };

        assert_eq!(in_a_word(&standing()).word, "takes payments");
        assert_eq!(in_a_word(&NetworkStanding { is_offered: false, ..standing() }).word, "not offered");
        assert_eq!(in_a_word(&away).word, "not reached");
        assert_eq!(in_a_word(&NetworkStanding { halts: ordered, ..away }).word, "halted by an operator");
        assert_eq!(in_a_word(&NetworkStanding { halts: both.clone(), ..standing() }).word, "halted by its watcher");
        assert_eq!(halts(both).len(), 2, "both are told");
    }

    #[test]
    fn a_lane_that_nobody_runs_does_not_look_well() {
        assert_eq!(lane_in_a_word(LaneState::Working, true, true).word, "working");
        assert_eq!(lane_in_a_word(LaneState::Working, true, false).word, "nobody runs it");
        assert_eq!(lane_in_a_word(LaneState::Draining, false, false).word, "not in the configuration");
        assert_eq!(lane_in_a_word(LaneState::Draining, true, true).word, "draining");
        assert_eq!(lane_in_a_word(LaneState::Drained, false, false).word, "drained");
    }
}
