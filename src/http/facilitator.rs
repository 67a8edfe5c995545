//! The endpoints of x402: `/verify`, `/settle`, `/supported`, and what clients expect beside them.
//!
//! Every error has the typed body of its endpoint, because clients look for that before they look at the status.

use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::json;

use super::endpoint::{Callers, Errors, Group, Operation, Repeats, at};
use super::problem::{self, Problem};
use super::{Service, auth, body};
use crate::api::facilitator::{self, status_of};
use crate::api::problem::Name;
use crate::api::reply::Reply;
use crate::api::status::Status;
use crate::domain::account::Caller;
use crate::domain::reason::Reason;
use crate::x402::request::parse_request;
use crate::x402::response::{Echo, SettleResponse, UNEXPECTED_SETTLE_ERROR, UNEXPECTED_VERIFY_ERROR, VerifyResponse};
use crate::x402::shape;
use crate::x402::supported::{self, SelfDescription, Supported};

/// The paths.
pub fn group() -> Group {
    let alive = |id| {
        Operation::constant(id, "Says that the process answers").answers_like::<Health>(
            Status::Ok,
            "It does.",
            json!(Health { status: "ok" }),
        )
    };
    Group {
        name: "x402",
        about: "What x402 asks of a facilitator, versions 1 and 2.",
        paths: vec![
            at("/verify")
                .post(verify, verifying())
                .get(
                    || async { HttpResponse::Ok().json(supported::VERIFY) },
                    Operation::constant("describeVerify", "Says what to post here").answers_like::<SelfDescription>(
                        Status::Ok,
                        "What to post.",
                        json!(supported::VERIFY),
                    ),
                )
                .otherwise(|| verify_problem(&Problem::MethodNotAllowed)),
            at("/settle")
                .post(settle, settling())
                .get(
                    || async { HttpResponse::Ok().json(supported::SETTLE) },
                    Operation::constant("describeSettle", "Says what to post here").answers_like::<SelfDescription>(
                        Status::Ok,
                        "What to post.",
                        json!(supported::SETTLE),
                    ),
                )
                .otherwise(|| settle_problem(&Problem::MethodNotAllowed)),
            at("/supported").get(list_supported, offering()),
            at("/health").get(health, alive("getHealth")),
            at("/").get(health, alive("getRoot")),
        ],
    }
}

/// `POST /verify`.
fn verifying() -> Operation {
    let errors = Errors::Typed {
        describe: SchemaGenerator::subschema_for::<VerifyResponse>,
        example: |code, words| json!(VerifyResponse::fault(Echo::UNKNOWN, code, &words)),
        member: "invalidReason",
        unexpected: Some(UNEXPECTED_VERIFY_ERROR),
    };
    Operation::new("verify", "Says whether a payment would settle now")
        .about("Changes nothing. A refusal is a good answer: 200 with `isValid: false`.")
        .of(Callers::Providers)
        .bodies::<shape::Request>(shape::examples())
        .answers_like::<VerifyResponse>(Status::Ok, "The verdict.", json!({"isValid": true, "payer": EXAMPLE_PAYER}))
        .answer_header("EXTENSION-RESPONSES", EXTENSION_RESPONSES)
        .errors(errors)
        .refusals(refusals())
}

/// `POST /settle`.
fn settling() -> Operation {
    let errors = Errors::Typed {
        describe: SchemaGenerator::subschema_for::<SettleResponse>,
        example: |code, words| json!(SettleResponse::fault(Echo::UNKNOWN, code, &words)),
        member: "errorReason",
        unexpected: Some(UNEXPECTED_SETTLE_ERROR),
    };
    Operation::new("settle", "Settles a payment, and answers when it is settled")
        .about(
            "Success is handed out once: callers with the same payment wait together, one of them is told `success`, the others \
             `duplicate_settlement`. After `settlement_pending` the same request is sent again. A refusal is a good answer: 200 with \
             `success: false`.",
        )
        .of(Callers::Providers)
        .repeats(Repeats::Answered)
        .bodies::<shape::Request>(shape::examples())
        .answers_like::<SettleResponse>(
            Status::Ok,
            "The payment is settled, or refused, or under way.",
            json!({
                "success": true, "payer": EXAMPLE_PAYER, "network": "eip155:84532", "amount": "10000",
                "transaction": "0x82ab6d7af75d9c89581f379026bde2695787ba4b6dfc1a2b38b63fbe18c5621b",
                "extra": {"paymentId": "pay_019cc3f05b2c7d1e8a4f6b7c8d9e0f12", "finality": "included"},
            }),
        )
        .answer_header("EXTENSION-RESPONSES", EXTENSION_RESPONSES)
        .errors(errors)
        .refusals(refusals())
}

/// `GET /supported`.
fn offering() -> Operation {
    let errors = Errors::Typed {
        describe: SchemaGenerator::subschema_for::<Supported>,
        example: |code, words| json!(Supported::fault(code, words)),
        member: "errorReason",
        unexpected: None,
    };
    Operation::new("getSupported", "Lists what can be paid with now")
        .of(Callers::Providers)
        .answers_like::<Supported>(
            Status::Ok,
            "Kinds, extensions and signers.",
            json!({
                "kinds": [
                    {"x402Version": 2, "scheme": "exact", "network": "eip155:84532"},
                    {"x402Version": 1, "scheme": "exact", "network": "base-sepolia"},
                    {"x402Version": 2, "scheme": "transfer", "network": "eip155:84532"},
                ],
                "extensions": ["settlement-receipt"],
                "signers": {"eip155:*": ["0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"]},
            }),
        )
        .errors(errors)
}

/// Why payments are refused, each with its status.
fn refusals() -> impl Iterator<Item = (Reason, Status)> {
    Reason::ALL.iter().map(|reason| (*reason, status_of(*reason)))
}

const EXTENSION_RESPONSES: &str = "Base64 of a JSON object: what became of `bazaar`, if the payment brought it.";

/// Who pays in examples: the payer of the specification's.
const EXAMPLE_PAYER: &str = "0x857b06519E91e3A54538791bDbb0E22373e36b66";

#[derive(Serialize, JsonSchema)]
struct Health {
    status: &'static str,
}

async fn health() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// What a request is answered that never reached its flow. `unexpected` is the endpoint's code for what is nobody's payment's fault.
fn answer<T: Serialize>(
    problem: &Problem,
    unexpected: Option<&'static str>,
    say: impl FnOnce(&'static str, String) -> T,
) -> HttpResponse {
    let Name { status, code, .. } = facilitator::name_of(problem, unexpected);
    let words = match problem {
        Problem::MethodNotAllowed => "this endpoint takes POST, and GET describes it".to_owned(),
        problem => problem.to_string(),
    };
    problem::begin(status, problem.retry_after()).json(say(code, words))
}

fn verify_problem(problem: &Problem) -> HttpResponse {
    answer(problem, Some(UNEXPECTED_VERIFY_ERROR), |code, words| VerifyResponse::fault(Echo::UNKNOWN, code, &words))
}

fn settle_problem(problem: &Problem) -> HttpResponse {
    answer(problem, Some(UNEXPECTED_SETTLE_ERROR), |code, words| SettleResponse::fault(Echo::UNKNOWN, code, &words))
}

fn supported_problem(problem: &Problem) -> HttpResponse {
    answer(problem, None, Supported::fault)
}

/// The answer to somebody who is not let in, in the words of the path.
pub fn refuse(path: &str, problem: &Problem) -> HttpResponse {
    match path {
        "/verify" => verify_problem(problem),
        "/settle" => settle_problem(problem),
        "/supported" => supported_problem(problem),
        _ => problem.response(),
    }
}

async fn enter(service: &Service, request: &HttpRequest, payload: Payload) -> Result<(Caller, Bytes), Problem> {
    let caller = auth::provider(service, request).await?;
    let bytes = body::read(service, request, payload).await?;
    Ok((caller, bytes))
}

/// Some old clients read no body but that of a 200, so the operator may choose that an answer without a verdict is one.
fn told(service: &Service, reply: Reply) -> HttpResponse {
    match reply.status() {
        Status::Unavailable if service.server.unavailable_as_ok => reply.under(Status::Ok).into_response(),
        _ => reply.into_response(),
    }
}

async fn verify(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let verified = async {
        let (caller, bytes) = enter(&service, &request, payload).await?;
        Box::pin(facilitator::verify(&service, caller, auth::envelope(&request), parse_request(&bytes), None)).await
    };
    verified.await.map_or_else(|problem| verify_problem(&problem), |reply| told(&service, reply))
}

async fn settle(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let settled = async {
        let (caller, bytes) = enter(&service, &request, payload).await?;
        facilitator::settle(&service, caller, auth::envelope(&request), parse_request(&bytes), None).await
    };
    settled.await.map_or_else(|problem| settle_problem(&problem), |reply| told(&service, reply))
}

async fn list_supported(service: Data<Service>, request: HttpRequest) -> HttpResponse {
    let listed = async {
        auth::provider(&service, &request).await?;
        facilitator::supported(&service).await
    };
    listed.await.map_or_else(|problem| supported_problem(&problem), |supported| HttpResponse::Ok().json(supported))
}
