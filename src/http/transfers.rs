//! `/v1/transfers`: what arrived at a merchant's addresses, and what it pays.

use actix_web::web::{Data, Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Service;
use super::auth;
use super::endpoint::{Callers, Group, Operation, Repeats, at};
use super::merchant::{Begun, Change, Reply, answer, begin, end};
use super::problem::{Code, Problem};
use crate::api::status::Status;
use crate::api::transfers::{self, ListQuery, Page};
use crate::domain::ids::{InvoiceId, TransferId};

/// The paths.
pub fn group() -> Group {
    let listing = Operation::new("listTransfers", "Lists what arrived at the account's addresses, newest first")
        .of(Callers::Merchants)
        .query::<ListQuery>()
        .answers::<Page>(Status::Ok, "A page of transfers.");
    let assigning = Operation::new("assignTransfer", "Says which invoice a transfer pays")
        .of(Callers::Merchants)
        .repeats(Repeats::Answered)
        .body::<Assignment>(json!({"invoice": "inv_019cc3f05b2c7d1e8a4f6b7c8d9e0f12"}))
        .answers::<Assigned>(Status::Ok, "It pays that.")
        .problems(&[Code::TransferNotFree, Code::TransferDoesNotFit]);
    Group {
        name: "Transfers",
        about: "What arrived at a merchant's addresses, and what it pays.",
        paths: vec![
            at("/v1/transfers").get(list, listing),
            at("/v1/transfers/{id}/assign").part::<TransferId>("id").post(assign, assigning),
        ],
    }
}

async fn list(service: Data<Service>, request: HttpRequest, query: Result<Query<ListQuery>, actix_web::Error>) -> HttpResponse {
    let account = match auth::merchant(&service, &request).await {
        Ok(account) => account,
        Err(problem) => return problem.response(),
    };
    let Ok(query) = query else { return Problem::BadParameter("unknown or malformed parameter".to_owned()).response() };
    answer(&service, |flows| async move { Reply::ok(&transfers::list(&flows, account, query.into_inner()).await?) }).await
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Assignment {
    #[schemars(with = "InvoiceId")]
    invoice: String,
}

/// What a transfer pays now.
#[derive(Serialize, JsonSchema)]
struct Assigned {
    #[schemars(with = "TransferId")]
    transfer: String,
    #[schemars(with = "InvoiceId")]
    invoice: String,
}

async fn assign(service: Data<Service>, request: HttpRequest, id: Path<String>, payload: Payload) -> HttpResponse {
    let change = match Change::<Assignment>::read(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let Change { account, body, keyed } = change;
        let transfer: TransferId = id.parse().map_err(|_| Problem::NotFound)?;
        let invoice: InvoiceId = body.invoice.parse().map_err(|_| Problem::NotFound)?;
        let mut db = match begin(&flows, keyed.as_ref()).await? {
            Begun::New(db) => db,
            Begun::Done(reply) => return Ok(reply),
        };
        flows.assign_transfer(&mut db, account, transfer, invoice).await?;
        let assigned = Assigned { transfer: transfer.to_string(), invoice: invoice.to_string() };
        end(&flows, db, keyed.as_ref(), Status::Ok, &assigned).await
    })
    .await
}
