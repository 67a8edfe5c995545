//! `/v1/transfers`: what arrived at a merchant's addresses, and what it pays.

use actix_web::web::{Data, Path, Payload, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::{Deserialize, Serialize};

use super::Service;
use super::auth;
use super::merchant::{Begun, Change, Reply, answer, begin, end};
use super::page::{cursor, next_cursor, page_size};
use super::problem::{Problem, methods};
use crate::api::status::Status;
use crate::api::transfers::TransferView;
use crate::ledger::transfers::TransferFilter;

/// Puts the routes in place.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(methods("/v1/transfers").route(web::get().to(list)))
        .service(methods("/v1/transfers/{id}/assign").route(web::post().to(assign)));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    matched: Option<bool>,
    invoice: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    transfers: Vec<TransferView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

async fn list(service: Data<Service>, request: HttpRequest, query: Result<Query<ListQuery>, actix_web::Error>) -> HttpResponse {
    let account = match auth::merchant(&service, &request).await {
        Ok(account) => account,
        Err(problem) => return problem.response(),
    };
    let Ok(query) = query else { return Problem::BadParameter("unknown or malformed parameter".to_owned()).response() };
    answer(&service, |flows| async move {
        let invoice = query.invoice.as_deref().map(str::parse).transpose();
        let filter = TransferFilter {
            matched: query.matched,
            invoice: invoice.map_err(|_| Problem::BadParameter("invoice: not an identifier of one".to_owned()))?,
            after: cursor(&account, query.cursor.as_deref())?,
            limit: page_size(query.limit)?,
        };
        let found = flows.ledger.list_transfers(account, &filter).await?;
        let next_cursor = next_cursor(&account, &found, filter.limit, |transfer| transfer.id);
        Reply::ok(&Page { transfers: found.into_iter().map(TransferView::from).collect(), next_cursor })
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assignment {
    invoice: String,
}

async fn assign(service: Data<Service>, request: HttpRequest, id: Path<String>, payload: Payload) -> HttpResponse {
    let change = match Change::<Assignment>::read(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let Change { account, body, keyed } = change;
        let transfer = id.parse().map_err(|_| Problem::NotFound)?;
        let invoice = body.invoice.parse().map_err(|_| Problem::NotFound)?;
        let mut db = match begin(&flows, keyed.as_ref()).await? {
            Begun::New(db) => db,
            Begun::Done(reply) => return Ok(reply),
        };
        flows.assign_transfer(&mut db, account, transfer, invoice).await?;
        let assigned = serde_json::json!({"transfer": transfer.to_string(), "invoice": invoice.to_string()});
        end(&flows, db, keyed.as_ref(), Status::Ok, &assigned).await
    })
    .await
}
