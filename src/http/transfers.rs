//! `/v1/transfers`: what arrived at a merchant's addresses, and what it pays.

use actix_web::web::{Data, Path, Payload, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Service;
use super::auth;
use super::merchant::{Begun, Change, Reply, answer, begin};
use super::page::{cursor, next_cursor, page_size};
use super::problem::{Problem, methods};
use crate::ledger::transfers::{OwnTransfer, TransferFilter};

/// Puts the routes in place.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(methods("/v1/transfers").route(web::get().to(list)))
        .service(methods("/v1/transfers/{id}/assign").route(web::post().to(assign)));
}

/// A transfer as its recipient reads it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TransferView {
    id: String,
    network: String,
    transaction: String,
    index: u32,
    block_number: u64,
    block_hash: String,
    happened_at: DateTime<Utc>,
    asset: String,
    from: String,
    to: String,
    amount: String,
    matched: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoice: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<String>,
    marks: Vec<String>,
}

impl From<OwnTransfer> for TransferView {
    fn from(own: OwnTransfer) -> Self {
        let OwnTransfer { block, transfer, .. } = own;
        Self {
            id: own.id.to_string(),
            network: own.network.to_string(),
            transaction: transfer.transaction,
            index: transfer.index,
            block_number: block.number,
            block_hash: block.hash,
            happened_at: block.timestamp,
            asset: transfer.asset.to_string(),
            from: transfer.from.to_string(),
            to: transfer.to.to_string(),
            amount: transfer.amount.unwrap_or_default().to_string(),
            matched: own.is_claimed,
            invoice: own.invoice.map(|(invoice, _)| invoice.to_string()),
            basis: own.invoice.map(|(_, basis)| basis.as_str()),
            payment: own.payment.map(|payment| payment.to_string()),
            marks: own.marks,
        }
    }
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
        super::merchant::end(&flows, db, keyed.as_ref(), actix_web::http::StatusCode::OK, &assigned).await
    })
    .await
}
