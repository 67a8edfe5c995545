//! `/v1/addresses`: where a merchant receives money, and the proof that it is the merchant's.

use actix_web::web::{Data, Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Service;
use super::auth;
use super::endpoint::{Callers, Group, Operation, Repeats, at};
use super::merchant::{Begun, Change, Nothing, Reply, answer, begin, end};
use super::page::{PAGE, cursor, next_cursor, page_size};
use super::problem::{Code, Problem};
use crate::api::status::Status;
use crate::domain::address::Address;
use crate::domain::ids::AddressId;
use crate::domain::network::Network;
use crate::flow::Flows;
use crate::flow::address::AddressError;
use crate::ledger::addresses::{Proof, RegisteredAddress};

/// The paths.
pub fn group() -> Group {
    let listing = Operation::new("listAddresses", "Lists the account's addresses, oldest first")
        .about("Those that wait for their signature, too.")
        .of(Callers::Merchants)
        .query::<PageQuery>()
        .answers::<Page>(Status::Ok, "A page of addresses.");
    let registering = Operation::new("registerAddress", "Registers an address, and asks for a signature of its owner")
        .of(Callers::Merchants)
        .repeats(Repeats::Answered)
        .body::<Registration>(json!({"network": "eip155:84532", "address": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"}))
        .answers::<AddressView>(Status::Created, "The address, with the text that its owner signs.")
        .problems(&[Code::UnknownNetwork, Code::InvalidAddress, Code::AddressNotPayable, Code::AddressTaken, Code::AddressKnown]);
    let showing = Operation::new("getAddress", "Shows an address")
        .of(Callers::Merchants)
        .answers::<AddressView>(Status::Ok, "The address.");
    let removing = Operation::new("removeAddress", "Ends the account's hold on an address")
        .about("What arrives there later is nobody's.")
        .of(Callers::Merchants)
        .repeats(Repeats::Answered)
        .optional_body::<Nothing>(json!({}))
        .answers::<Nothing>(Status::Ok, "It is removed.")
        .problems(&[Code::AddressAwaited]);
    let proving = Operation::new("proveAddress", "Shows the owner's signature over the challenge")
        .of(Callers::Merchants)
        .repeats(Repeats::Checked)
        .body::<ProofBody>(json!({"signature": "0x2d6a7588…1c"}))
        .answers::<AddressView>(Status::Ok, "The address, which is the account's now.")
        .problems(&[Code::InvalidSignature, Code::ChallengeExpired, Code::AddressTaken]);
    Group {
        name: "Addresses",
        about: "Where a merchant receives money, and the proof that it is the merchant's.",
        paths: vec![
            at("/v1/addresses").get(list, listing).post(register, registering),
            at("/v1/addresses/{id}").part::<AddressId>("id").get(show, showing).delete(remove, removing),
            at("/v1/addresses/{id}/proof").part::<AddressId>("id").post(prove, proving),
        ],
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AddressRegistration")]
struct Registration {
    #[schemars(with = "Network")]
    network: String,
    /// The owner's address; on Solana not that of a token account.
    #[schemars(with = "Address")]
    address: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AddressProof")]
struct ProofBody {
    /// Over the text of the challenge, byte for byte: EIP-191 or EIP-1271 as hexadecimal digits, Ed25519 in base58 or base64.
    signature: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    /// How many at most.
    #[schemars(range(min = 1, max = PAGE))]
    limit: Option<u32>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RegisteredAddress")]
struct AddressView {
    #[schemars(with = "AddressId")]
    id: String,
    #[schemars(with = "Network")]
    network: String,
    #[schemars(with = "Address")]
    address: String,
    #[schemars(extend("enum" = ["challenged", "active", "removed"]))]
    status: &'static str,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proven_at: Option<DateTime<Utc>>,
    /// How it was shown to be the account's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Proof>")]
    proof: Option<&'static str>,
    /// The text that the owner signs. Only of an address that waits for its signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    challenge_expires_at: Option<DateTime<Utc>>,
    /// What to know before somebody pays there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AddressPage")]
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
            AddressError::UnknownNetwork(_) => Self::Refused(Code::UnknownNetwork, detail),
            AddressError::Malformed(_) => Self::Refused(Code::InvalidAddress, detail),
            AddressError::NotPayable(_) => Self::Refused(Code::AddressNotPayable, detail),
            AddressError::Taken => Self::Refused(Code::AddressTaken, detail),
            AddressError::Known => Self::Refused(Code::AddressKnown, detail),
            AddressError::Awaited => Self::Refused(Code::AddressAwaited, detail),
            AddressError::NoSuchAddress => Self::NotFound,
            AddressError::List(_) => Self::Refused(Code::InvalidAddressList, detail),
            AddressError::Signatory => Self::Refused(Code::InvalidSignatory, detail),
            AddressError::Expired => Self::Refused(Code::ChallengeExpired, detail),
            AddressError::SignatureMalformed | AddressError::SignatureInvalid => Self::Refused(Code::InvalidSignature, detail),
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
        end(&flows, db, keyed.as_ref(), Status::Ok, &Nothing {}).await
    })
    .await
}

fn parse(id: &str) -> Result<AddressId, Problem> {
    id.parse().map_err(|_| Problem::NotFound)
}
