//! `/v1/address-lists`: many deposit addresses under one statement.

use actix_web::web::{Data, Path, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Service;
use super::merchant::{Begun, Change, Reply, answer, begin, end};
use super::problem::{Problem, methods};
use crate::api::status::Status;
use crate::domain::network::Network;

/// Puts the routes in place.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(methods("/v1/address-lists").route(web::post().to(register)))
        .service(methods("/v1/address-lists/{id}/proof").route(web::post().to(prove)));
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Registration {
    network: String,
    addresses: Vec<String>,
    signed_by: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofBody {
    signature: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ListView {
    id: String,
    network: String,
    addresses: Vec<String>,
    challenge: String,
    challenge_expires_at: DateTime<Utc>,
}

#[derive(Serialize)]
struct Proven {
    active: Vec<String>,
}

async fn register(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let change = match Change::<Registration>::read(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let Change { account, body, keyed } = change;
        let network: Network = body.network.parse().map_err(|_| Problem::unknown_network())?;
        let signed_by = body.signed_by.parse().map_err(|_| Problem::NotFound)?;
        let list = flows.consider_addresses(&network, &body.addresses).await?;
        let mut db = match begin(&flows, keyed.as_ref()).await? {
            Begun::New(db) => db,
            Begun::Done(reply) => return Ok(reply),
        };
        let listing = flows.register_list(&mut db, account, (network, &list), signed_by).await?;
        let view = ListView {
            id: listing.id.to_string(),
            network: listing.network.to_string(),
            addresses: listing.addresses.iter().map(ToString::to_string).collect(),
            challenge: flows.statement(&listing)?,
            challenge_expires_at: listing.challenged_until,
        };
        end(&flows, db, keyed.as_ref(), Status::Created, &view).await
    })
    .await
}

async fn prove(service: Data<Service>, request: HttpRequest, id: Path<String>, payload: Payload) -> HttpResponse {
    let change = match Change::<ProofBody>::read(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let id = id.parse().map_err(|_| Problem::NotFound)?;
        let active = flows.prove_list(change.account, id, &change.body.signature).await?;
        Reply::ok(&Proven { active: active.iter().map(ToString::to_string).collect() })
    })
    .await
}
