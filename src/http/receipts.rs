//! `/v1/receipts`: what was stated about payments, whether it still holds, and the one use that a receipt has. Beside it the keys with
//! which anybody verifies receipts alone.

use actix_web::web::{Data, Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Service;
use super::auth;
use super::endpoint::{Callers, Group, Operation, Repeats, at};
use super::merchant::{Change, answer, read_body};
use super::problem::Code;
use crate::api::receipts::{
    self, Format, INVALID, NONCE_CHARS_MAX, ReceiptStatus, ReceiptView, RedemptionView, SignedReceipt, Verdict,
};
use crate::api::status::Status;
use crate::domain::ids::ReceiptId;
use crate::signing::did::DidDocument;
use crate::signing::key_set::Jwks;

/// The paths.
pub fn group() -> Group {
    let keys = Operation::constant("getJwks", "Publishes the keys that sign receipts, as JSON Web Keys")
        .problems(&[Code::NotFound])
        .answers::<Jwks>(Status::Ok, "The keys, retired ones among them.");
    let document = |id| {
        Operation::constant(id, "Publishes the same keys as a DID document of the method `did:web`")
            .problems(&[Code::NotFound])
            .answers::<DidDocument>(Status::Ok, "The document.")
    };
    let verifying = Operation::new("verifyReceipt", "Says whether a receipt is this service's, and still holds")
        .about("Whoever holds a receipt may ask. `quittance receipt verify` does the same offline.")
        .body::<Presented>(json!({"receipt": "eyJ…"}))
        .answers_like::<Verdict>(
            Status::Ok,
            "The verdict.",
            json!({"valid": false, "reason": INVALID, "detail": "not a receipt: …"}),
        )
        .problems(&[Code::ReceiptsNotSigned]);
    let showing = Operation::new("getReceipt", "Shows a receipt with all its revisions")
        .about("It is read by who was paid and by who asked for the payment. Where neither has an account, whoever knows its name reads it.")
        .of(Callers::Readers)
        .query::<ShowQuery>()
        .answers::<ReceiptView>(Status::Ok, "The receipt.")
        .problems(&[Code::ReceiptsNotSigned]);
    let telling = Operation::new("getReceiptStatus", "Says what anybody may know of a receipt")
        .answers::<ReceiptStatus>(Status::Ok, "Where it stands.");
    let redeeming = Operation::new("redeemReceipt", "Uses a receipt up, exactly once over all its revisions")
        .about("A repetition with the same `nonce` is told the same again.")
        .of(Callers::Accounts)
        .repeats(Repeats::Checked)
        .optional_body::<Redeeming>(json!({"nonce": "order-417"}))
        .answers::<RedemptionView>(Status::Ok, "It is used up now.")
        .problems(&[Code::ReceiptRedeemed, Code::ReceiptRevoked]);
    Group {
        name: "Receipts",
        about: "What was stated about payments, whether it still holds, and the keys with which anybody verifies it alone.",
        paths: vec![
            at("/.well-known/jwks.json").get(jwks, keys),
            at("/.well-known/did.json").get(did, document("getDid")),
            // Where the public URL has a path, the method `web` of DID looks for the document right below it.
            at("/did.json").get(did, document("getDidBelowPath")),
            at("/v1/receipts/verify").post(verify, verifying),
            at("/v1/receipts/{id}").part::<ReceiptId>("id").get(show, showing),
            at("/v1/receipts/{id}/status").part::<ReceiptId>("id").get(status, telling),
            at("/v1/receipts/{id}/redeem").part::<ReceiptId>("id").post(redeem, redeeming),
        ],
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ShowQuery {
    /// The form in which it is signed.
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PresentedReceipt")]
struct Presented {
    #[schemars(with = "SignedReceipt")]
    receipt: Value,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Redemption")]
struct Redeeming {
    /// The caller's name for this use.
    #[schemars(length(min = 1, max = NONCE_CHARS_MAX), regex(pattern = "^[!-~]+$"))]
    nonce: Option<String>,
}

async fn jwks(service: Data<Service>) -> HttpResponse {
    service.flows().issuer.as_ref().map_or_else(super::problem::not_found, |issuer| HttpResponse::Ok().json(issuer.keys().jwks()))
}

async fn did(service: Data<Service>) -> HttpResponse {
    service
        .flows()
        .issuer
        .as_ref()
        .map_or_else(super::problem::not_found, |issuer| HttpResponse::Ok().json(issuer.did_document()))
}

async fn show(
    service: Data<Service>,
    request: HttpRequest,
    id: Path<String>,
    query: Result<Query<ShowQuery>, actix_web::Error>,
) -> HttpResponse {
    let caller = match auth::reader(&service, &request).await {
        Ok(caller) => caller,
        Err(problem) => return problem.response(),
    };
    let Ok(query) = query else { return Format::unknown().response() };
    answer(&service, |flows| async move { receipts::show(&flows, &caller, &id, query.format).await }).await
}

async fn status(service: Data<Service>, id: Path<String>) -> HttpResponse {
    answer(&service, |flows| async move { receipts::status(&flows, &id).await }).await
}

async fn verify(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let presented = match read_body::<Presented>(&service, &request, payload).await {
        Ok((_, presented)) => presented,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let text = match presented.receipt {
            Value::String(jws) => jws,
            typed => typed.to_string(),
        };
        receipts::verify(&flows, &text).await
    })
    .await
}

async fn redeem(service: Data<Service>, request: HttpRequest, id: Path<String>, payload: Payload) -> HttpResponse {
    let account = match auth::holder(&service, &request).await {
        Ok(account) => account,
        Err(problem) => return problem.response(),
    };
    let change = match Change::<Redeeming>::read_of(account, &service, &request, payload).await {
        Ok(change) => change,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move { receipts::redeem(&flows, account, &id, change.body.nonce).await }).await
}
