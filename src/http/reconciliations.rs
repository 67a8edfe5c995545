//! `/v1/reconciliations`: what comparisons of the networks with the ledger came to, for operators.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::endpoint::{Callers, Group, Operation, at};
use super::merchant::{Reply, answer};
use super::page::{OPERATORS, PAGE, cursor, next_cursor, page_size};
use super::problem::Problem;
use super::{Service, auth};
use crate::api::status::Status;
use crate::domain::ids::ReconciliationId;
use crate::domain::network::Network;
use crate::flow::reconcile::ToldDifference;
use crate::ledger::reconciliations::{Reconciliation, ReconciliationFilter};

/// The paths.
pub fn group() -> Group {
    let listing =
        Operation::new("listReconciliations", "Lists what comparisons of networks with the ledger came to, newest first")
            .of(Callers::Operators)
            .query::<ListQuery>()
            .answers::<Page>(Status::Ok, "A page of comparisons.");
    Group {
        name: "Operators",
        about: "What operators read. Health and metrics are on a listener of their own.",
        paths: vec![at("/v1/reconciliations").get(list, listing)],
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Only those of this network.
    #[schemars(with = "Option<Network>")]
    network: Option<String>,
    /// How many at most.
    #[schemars(range(min = 1, max = PAGE))]
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Reconciliation")]
struct ReconciliationView {
    #[schemars(with = "ReconciliationId")]
    id: String,
    #[schemars(with = "Network")]
    network: String,
    begun_at: DateTime<Utc>,
    finished_at: DateTime<Utc>,
    /// The block at which balances were read.
    block_number: u64,
    /// Addresses that were compared.
    addresses: u64,
    /// Transfers that the network has.
    credits: u64,
    /// Addresses and tokens that were looked at for the first time.
    first_looks: u64,
    /// What does not agree.
    differences: u64,
    /// The first hundred of them.
    #[schemars(with = "Vec<ToldDifference>")]
    report: Value,
}

impl From<Reconciliation> for ReconciliationView {
    fn from(done: Reconciliation) -> Self {
        Self {
            id: done.id.to_string(),
            network: done.network.to_string(),
            begun_at: done.begun_at,
            finished_at: done.finished_at,
            block_number: done.block,
            addresses: done.addresses,
            credits: done.credits,
            first_looks: done.begun,
            differences: done.differences,
            report: done.report,
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReconciliationPage")]
struct Page {
    reconciliations: Vec<ReconciliationView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

async fn list(service: Data<Service>, request: HttpRequest, query: Result<Query<ListQuery>, actix_web::Error>) -> HttpResponse {
    if let Err(problem) = auth::operator(&service, &request).await {
        return problem.response();
    }
    let Ok(query) = query else { return Problem::BadParameter("unknown or malformed parameter".to_owned()).response() };
    answer(&service, |flows| async move {
        let network = query.network.as_deref().map(str::parse).transpose();
        let filter = ReconciliationFilter {
            network: network.map_err(|_| Problem::BadParameter("network: not a CAIP-2 identifier".to_owned()))?,
            before: cursor(&OPERATORS, query.cursor.as_deref())?,
            limit: page_size(query.limit)?,
        };
        let found = flows.ledger.list_reconciliations(&filter).await?;
        let next_cursor = next_cursor(&OPERATORS, &found, filter.limit, |done| done.id);
        Reply::ok(&Page { reconciliations: found.into_iter().map(ReconciliationView::from).collect(), next_cursor })
    })
    .await
}
