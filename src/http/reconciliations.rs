//! `/v1/reconciliations`: what comparisons of the networks with the ledger came to, for operators.

use actix_web::web::{Data, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::merchant::{Reply, answer};
use super::page::{OPERATORS, cursor, next_cursor, page_size};
use super::problem::{Problem, read_only};
use super::{Service, auth};
use crate::ledger::reconciliations::{Reconciliation, ReconciliationFilter};

/// Puts the routes in place.
pub fn routes(config: &mut ServiceConfig) {
    config.service(read_only("/v1/reconciliations").route(web::get().to(list)));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    network: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReconciliationView {
    id: String,
    network: String,
    begun_at: DateTime<Utc>,
    finished_at: DateTime<Utc>,
    block_number: u64,
    addresses: u64,
    credits: u64,
    first_looks: u64,
    differences: u64,
    /// The first hundred of them.
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
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
