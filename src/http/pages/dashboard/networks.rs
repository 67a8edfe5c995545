//! `/dashboard/networks`: how each network stands, for operators.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::Frame;
use super::super::words::{self, Moment};
use super::{Desk, Scene, Wanted, answer, page};
use crate::api::Service;
use crate::api::networks::{LaneStanding, NetworkStanding, standings};
use crate::http::endpoint::{PathItem, at};
use crate::http::problem::Problem;

/// The path.
pub fn paths() -> Vec<PathItem> {
    let showing = page("showNetworks", "Shows operators how each network stands").query::<Wanted>();
    vec![at("/dashboard/networks").get(show, showing)]
}

#[derive(Template)]
#[template(path = "dashboard/networks.html")]
struct NetworksPage {
    frame: Frame,
    desk: Desk,
    networks: Vec<Line>,
}

struct Line {
    name: String,
    id: String,
    /// The class of its colour, and in a word.
    standing: (&'static str, &'static str),
    /// Why it was halted.
    halted: Option<String>,
    heights: Option<(u64, u64, u64)>,
    is_watched: bool,
    lanes: Vec<LaneStanding>,
    /// Position, calls that were answered, and calls that were not.
    nodes: Vec<(usize, String, String)>,
    /// When it was compared with the ledger, and how many differences there were.
    compared: Option<(Moment, u64)>,
}

async fn show(service: Data<Service>, request: HttpRequest, query: Result<Query<Wanted>, actix_web::Error>) -> HttpResponse {
    answer(&service, &request, query, make).await
}

async fn make(scene: Scene) -> Result<NetworksPage, Problem> {
    scene.viewer.operator()?;
    let desk = scene.desk("networks").await?;
    let networks = standings(&scene.flows).await?.into_iter().map(Line::from).collect();
    Ok(NetworksPage { desk, networks, frame: scene.frame })
}

impl From<NetworkStanding> for Line {
    fn from(standing: NetworkStanding) -> Self {
        Self {
            name: words::network(&standing.network),
            id: standing.network.to_string(),
            standing: in_a_word(&standing),
            halted: standing.halted,
            heights: standing.heights.map(|heights| (heights.head, heights.safe, heights.finalized)),
            is_watched: standing.is_watched,
            lanes: standing.lanes,
            nodes: standing
                .nodes
                .iter()
                .map(|node| (node.node, format!("{:.0}", node.answered), format!("{:.0}", node.failed)))
                .collect(),
            compared: standing.reconciliation.map(|done| (done.finished_at.into(), done.differences)),
        }
    }
}

/// What is worst about a network, or that it takes payments.
const fn in_a_word(standing: &NetworkStanding) -> (&'static str, &'static str) {
    if standing.halted.is_some() {
        ("over", "halted")
    } else if !standing.is_prepared {
        ("over", "not reachable")
    } else if !standing.is_offered {
        ("waiting", "not offered")
    } else {
        ("paid", "takes payments")
    }
}
