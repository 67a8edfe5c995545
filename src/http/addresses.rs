//! `/v1/addresses`: where a merchant receives money, and the proof that it is the merchant's.

use actix_web::web::{Data, Path, Payload, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Service;
use super::auth;
use super::merchant::{Begun, Change, Reply, answer, begin, end};
use super::page::{cursor, next_cursor, page_size};
use super::problem::{Problem, methods};
use crate::api::status::Status;
use crate::domain::address::Address;
use crate::domain::ids::AddressId;
use crate::flow::Flows;
use crate::flow::address::AddressError;
use crate::ledger::addresses::RegisteredAddress;

/// Puts the routes in place.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(methods("/v1/addresses").route(web::get().to(list)).route(web::post().to(register)))
        .service(methods("/v1/addresses/{id}").route(web::get().to(show)).route(web::delete().to(remove)))
        .service(methods("/v1/addresses/{id}/proof").route(web::post().to(prove)));
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    network: String,
    address: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProofBody {
    signature: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AddressView {
    id: String,
    network: String,
    address: String,
    status: &'static str,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge_expires_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    addresses: Vec<AddressView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

fn view(flows: &Flows, address: &RegisteredAddress, missing: &[Address]) -> AddressView {
    let open = address.proven.is_none() && address.removed_at.is_none();
    AddressView {
        id: address.id.to_string(),
        network: address.network.to_string(),
        address: address.address.to_string(),
        status: match (address.removed_at, address.proven) {
            (Some(_), _) => "removed",
            (None, Some(_)) => "active",
            (None, None) => "challenged",
        },
        created_at: address.created_at,
        proven_at: address.proven.map(|(at, _)| at),
        proof: address.proven.map(|(_, proof)| proof.as_str()),
        challenge: open.then(|| flows.challenge(address)),
        challenge_expires_at: open.then_some(address.challenged_until),
        warnings: missing.iter().map(|mint| format!("it has no token account of {mint} yet, so nobody can pay there")).collect(),
    }
}

impl From<AddressError> for Problem {
    fn from(error: AddressError) -> Self {
        let detail = error.to_string();
        match error {
            AddressError::UnknownNetwork(_) => Self::Unprocessable("unknown_network", detail),
            AddressError::Malformed(_) => Self::Unprocessable("invalid_address", detail),
            AddressError::NotPayable(_) => Self::Unprocessable("address_not_payable", detail),
            AddressError::Taken => Self::Unprocessable("address_taken", detail),
            AddressError::Known => Self::Conflict("address_known", detail),
            AddressError::Awaited => Self::Conflict("address_awaited", detail),
            AddressError::NoSuchAddress => Self::NotFound,
            AddressError::List(_) => Self::Unprocessable("invalid_address_list", detail),
            AddressError::Signatory => Self::Unprocessable("invalid_signatory", detail),
            AddressError::Expired => Self::Unprocessable("challenge_expired", detail),
            AddressError::SignatureMalformed | AddressError::SignatureInvalid => Self::Unprocessable("invalid_signature", detail),
            AddressError::Unavailable(cause) => cause.into(),
        }
    }
}

async fn register(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let change = match Change::<Registration>::read(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let Change { account, body, keyed } = change;
        let network = body.network.parse().map_err(|_| Problem::unknown_network())?;
        let suitable = flows.consider_address(network, &body.address).await?;
        let mut db = match begin(&flows, keyed.as_ref()).await? {
            Begun::New(db) => db,
            Begun::Done(reply) => return Ok(reply),
        };
        let address = flows.register_address(&mut db, account, &suitable).await?;
        end(&flows, db, keyed.as_ref(), Status::Created, &view(&flows, &address, &suitable.missing)).await
    })
    .await
}

async fn prove(service: Data<Service>, request: HttpRequest, id: Path<String>, payload: Payload) -> HttpResponse {
    let change = match Change::<ProofBody>::read(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        // To prove twice is to prove once, so a key has nothing to add here.
        let address = flows.prove_address(change.account, parse(&id)?, &change.body.signature).await?;
        Reply::ok(&view(&flows, &address, &[]))
    })
    .await
}

async fn show(service: Data<Service>, request: HttpRequest, id: Path<String>) -> HttpResponse {
    let account = match auth::merchant(&service, &request).await {
        Ok(account) => account,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let found = flows.ledger.find_address(parse(&id)?).await?.filter(|address| address.account == account);
        let address = found.ok_or(Problem::NotFound)?;
        Reply::ok(&view(&flows, &address, &[]))
    })
    .await
}

async fn list(service: Data<Service>, request: HttpRequest, query: Result<Query<PageQuery>, actix_web::Error>) -> HttpResponse {
    let account = match auth::merchant(&service, &request).await {
        Ok(account) => account,
        Err(problem) => return problem.response(),
    };
    let Ok(query) = query else { return Problem::BadParameter("unknown or malformed parameter".to_owned()).response() };
    answer(&service, |flows| async move {
        let (limit, after) = (page_size(query.limit)?, cursor(&account, query.cursor.as_deref())?);
        let found = flows.ledger.list_addresses(account, after, limit).await?;
        let next_cursor = next_cursor(&account, &found, limit, |address| address.id);
        let addresses = found.iter().map(|address| view(&flows, address, &[])).collect();
        Reply::ok(&Page { addresses, next_cursor })
    })
    .await
}

async fn remove(service: Data<Service>, request: HttpRequest, id: Path<String>, payload: Payload) -> HttpResponse {
    let change = match Change::<Nothing>::read(&service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let Change { account, keyed, .. } = change;
        let mut db = match begin(&flows, keyed.as_ref()).await? {
            Begun::New(db) => db,
            Begun::Done(reply) => return Ok(reply),
        };
        flows.remove_address(&mut db, account, parse(&id)?).await?;
        end(&flows, db, keyed.as_ref(), Status::Ok, &serde_json::json!({})).await
    })
    .await
}

/// A body without members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn parse(id: &str) -> Result<AddressId, Problem> {
    id.parse().map_err(|_| Problem::NotFound)
}
