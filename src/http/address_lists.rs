//! `/v1/address-lists`: many deposit addresses under one statement.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Service;
use super::endpoint::{Callers, Group, Operation, Repeats, at};
use super::merchant::{Begun, Change, Reply, answer, begin, end};
use super::problem::{Code, Problem};
use crate::api::status::Status;
use crate::domain::address::Address;
use crate::domain::ids::AddressId;
use crate::domain::network::Network;

/// The paths.
pub fn group() -> Group {
    let registering =
        Operation::new("registerAddressList", "Registers up to 1,000 addresses, and asks for one signature over all of them")
            .of(Callers::Merchants)
            .repeats(Repeats::Answered)
            .body::<Registration>(json!({
                "network": "eip155:84532", "addresses": ["0x209693Bc6afc0C5328bA36FaF03C514EF312287C"],
                "signedBy": "adr_019cc3f05b2c7d1e8a4f6b7c8d9e0f12",
            }))
            .answers::<ListView>(Status::Created, "The list, with the text to sign.")
            .problems(&[
                Code::NotFound,
                Code::UnknownNetwork,
                Code::InvalidAddress,
                Code::AddressNotPayable,
                Code::AddressTaken,
                Code::InvalidAddressList,
                Code::InvalidSignatory,
            ]);
    let proving = Operation::new("proveAddressList", "Shows the signature over the list")
        .of(Callers::Merchants)
        .repeats(Repeats::Checked)
        .body::<ProofBody>(json!({"signature": "0x2d6a7588…1c"}))
        .answers::<Proven>(Status::Ok, "The addresses that are the account's by it.")
        .problems(&[Code::InvalidSignature, Code::ChallengeExpired, Code::InvalidSignatory, Code::AddressTaken]);
    Group {
        name: "Address lists",
        about: "Many deposit addresses under one statement.",
        paths: vec![
            at("/v1/address-lists").post(register, registering),
            at("/v1/address-lists/{id}/proof").part::<AddressId>("id").post(prove, proving),
        ],
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "AddressListRegistration")]
struct Registration {
    #[schemars(with = "Network")]
    network: String,
    #[schemars(with = "Vec<Address>")]
    #[schemars(length(min = 1, max = 1_000))]
    addresses: Vec<String>,
    /// An address of the account that was proven by its own signature, and that signs for the list.
    #[schemars(with = "AddressId")]
    signed_by: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AddressListProof")]
struct ProofBody {
    /// Of the address in `signedBy`, over the text of the challenge.
    signature: String,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AddressList")]
struct ListView {
    #[schemars(with = "AddressId")]
    id: String,
    #[schemars(with = "Network")]
    network: String,
    #[schemars(with = "Vec<Address>")]
    addresses: Vec<String>,
    /// The text to sign.
    challenge: String,
    challenge_expires_at: DateTime<Utc>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProvenAddresses")]
struct Proven {
    #[schemars(with = "Vec<Address>")]
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
