//! The endpoints of x402: `/verify`, `/settle`, `/supported`, and what clients expect beside them.
//!
//! A business answer is 200, whatever it says. Every error has the typed body of its endpoint, because clients look for that
//! before they look at the status.

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse, web};
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::json;

use super::body::{self, BodyError};
use super::endpoint::{Callers, Errors, Group, Operation, Repeats, at};
use super::limits;
use super::problem::{Problem, RETRY_AFTER_SECONDS};
use super::{Crashed, Service};
use crate::domain::account::Caller;
use crate::domain::address::Address;
use crate::domain::payment::{Fingerprint, SCHEME_TRANSFER};
use crate::domain::reason::{Reason, Refusal};
use crate::flow::Unavailable;
use crate::flow::limits::{Limited, Origin};
use crate::flow::naming::Names;
use crate::flow::prove::Proven;
use crate::flow::settle::Settled;
use crate::flow::verify::Verdict;
use crate::ledger::LedgerError;
use crate::ledger::idempotency::{Binding, StorageKey, StoredAnswer};
use crate::metrics::{Settlement, Verification};
use crate::signing::offer;
use crate::telemetry::ErrorChain;
use crate::x402::bazaar;
use crate::x402::extension_responses::{self, ExtensionResponses};
use crate::x402::request::{FacilitatorRequest, parse_request};
use crate::x402::response::{
    Echo, RECEIPT_EXTENSION, SettleResponse, UNEXPECTED_SETTLE_ERROR, UNEXPECTED_VERIFY_ERROR, VerifyResponse,
};
use crate::x402::shape;
use crate::x402::supported::{self, SelfDescription, Supported};

/// The paths.
pub fn group() -> Group {
    let alive = |id| {
        Operation::constant(id, "Says that the process answers").answers_like::<Health>(
            StatusCode::OK,
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
                        StatusCode::OK,
                        "What to post.",
                        json!(supported::VERIFY),
                    ),
                )
                .otherwise(|| verify_obstacle(&Obstacle::Method)),
            at("/settle")
                .post(settle, settling())
                .get(
                    || async { HttpResponse::Ok().json(supported::SETTLE) },
                    Operation::constant("describeSettle", "Says what to post here").answers_like::<SelfDescription>(
                        StatusCode::OK,
                        "What to post.",
                        json!(supported::SETTLE),
                    ),
                )
                .otherwise(|| settle_obstacle(&Obstacle::Method)),
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
        .answers_like::<VerifyResponse>(StatusCode::OK, "The verdict.", json!({"isValid": true, "payer": EXAMPLE_PAYER}))
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
            StatusCode::OK,
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
            StatusCode::OK,
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
fn refusals() -> impl Iterator<Item = (Reason, StatusCode)> {
    Reason::ALL.iter().map(|reason| (*reason, status_of_reason(*reason)))
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

/// Why a request never reached its flow.
#[derive(Debug)]
enum Obstacle {
    Method,
    Access(Problem),
    Body(BodyError),
    IdempotencyKey,
    KeyReused,
}

impl Obstacle {
    /// Status, code and words. `unexpected` is the endpoint's code for what is nobody's payment's fault.
    fn parts(&self, unexpected: Option<&'static str>) -> (StatusCode, &'static str, String) {
        match self {
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this endpoint takes POST, and GET describes it".to_owned(),
            ),
            Self::Access(Problem::Unauthorized) => (StatusCode::UNAUTHORIZED, "unauthorized", Problem::Unauthorized.to_string()),
            Self::Access(Problem::Forbidden) => (StatusCode::FORBIDDEN, "forbidden", Problem::Forbidden.to_string()),
            Self::Access(Problem::Internal) => {
                (StatusCode::INTERNAL_SERVER_ERROR, unexpected.unwrap_or("internal"), Problem::Internal.to_string())
            }
            Self::Access(problem) => (StatusCode::SERVICE_UNAVAILABLE, unexpected.unwrap_or("unavailable"), problem.to_string()),
            Self::Body(error) => (error.status(), error.code(), error.to_string()),
            Self::IdempotencyKey => (
                StatusCode::BAD_REQUEST,
                "invalid_idempotency_key",
                "an Idempotency-Key has 16 to 128 visible characters".to_owned(),
            ),
            Self::KeyReused => {
                (StatusCode::CONFLICT, "idempotency_key_reused", "this Idempotency-Key was used for another request".to_owned())
            }
        }
    }
}

fn respond(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    match status {
        StatusCode::SERVICE_UNAVAILABLE => drop(response.insert_header((RETRY_AFTER, RETRY_AFTER_SECONDS))),
        StatusCode::UNAUTHORIZED => drop(response.insert_header((WWW_AUTHENTICATE, "Bearer"))),
        _ => {}
    }
    response.json(body)
}

/// Adds what extensions say of the request to its answer.
fn with_extensions(mut response: HttpResponse, extensions: &ExtensionResponses) -> HttpResponse {
    if let Some(value) = extensions.encode().and_then(|text| HeaderValue::try_from(text).ok()) {
        response.headers_mut().insert(HeaderName::from_static(extension_responses::HEADER), value);
    }
    response
}

fn verify_obstacle(obstacle: &Obstacle) -> HttpResponse {
    let (status, code, problem) = obstacle.parts(Some(UNEXPECTED_VERIFY_ERROR));
    respond(status, &VerifyResponse::fault(Echo::UNKNOWN, code, &problem))
}

fn settle_obstacle(obstacle: &Obstacle) -> HttpResponse {
    let (status, code, problem) = obstacle.parts(Some(UNEXPECTED_SETTLE_ERROR));
    respond(status, &SettleResponse::fault(Echo::UNKNOWN, code, &problem))
}

fn supported_obstacle(obstacle: &Obstacle) -> HttpResponse {
    let (status, code, problem) = obstacle.parts(None);
    respond(status, &Supported::fault(code, problem))
}

/// The answer to somebody who asks one of these paths too often.
pub fn limited(path: &str, limited: Limited) -> Option<HttpResponse> {
    let (code, words) = (Limited::CODE, limited.to_string());
    Some(match path {
        "/verify" => too_often(limited, &VerifyResponse::fault(Echo::UNKNOWN, code, &words)),
        "/settle" => too_often(limited, &SettleResponse::fault(Echo::UNKNOWN, code, &words)),
        "/supported" => too_often(limited, &Supported::fault(code, words)),
        _ => return None,
    })
}

fn too_often(limited: Limited, body: &impl Serialize) -> HttpResponse {
    HttpResponse::TooManyRequests().insert_header((RETRY_AFTER, limited.seconds())).json(body)
}

/// Who brings a payment, and who is said to pay. Together they have a limit.
fn bearer_and_payer(request: &HttpRequest, asked: &FacilitatorRequest) -> Option<(Origin, Address)> {
    Some((limits::origin(request)?, Address::parse_any(&asked.payer_hint).ok()?))
}

fn admit_payer(service: &Service, payer: Option<(Origin, Address)>) -> Result<(), Limited> {
    payer.map_or(Ok(()), |(origin, payer)| service.flows.admit_payer(origin, payer))
}

fn count_payer(service: &Service, payer: Option<(Origin, Address)>) {
    if let Some((origin, payer)) = payer {
        service.flows.count_payer(origin, payer);
    }
}

fn status_of(refusal: &Refusal) -> StatusCode {
    status_of_reason(refusal.reason)
}

const fn status_of_reason(reason: Reason) -> StatusCode {
    match reason {
        reason if reason.is_malformed() => StatusCode::BAD_REQUEST,
        Reason::PaymentIdentifierReused => StatusCode::CONFLICT,
        _ => StatusCode::OK,
    }
}

async fn enter(service: &Service, request: &HttpRequest, payload: Payload) -> Result<(Caller, web::Bytes), Obstacle> {
    let caller = super::auth::provider(service, request).await.map_err(Obstacle::Access)?;
    let bytes = body::read(request, payload, service.server.body_bytes_max).await.map_err(Obstacle::Body)?;
    Ok((caller, bytes))
}

/// Finds out who pays where the request does not say it in so many words.
fn name_payer(service: &Service, mut asked: FacilitatorRequest) -> FacilitatorRequest {
    if asked.payer_hint.is_empty() {
        let chain = service.flows.chains.find(&asked.request.network).ok();
        let payer = chain.and_then(|chain| chain.claimed_payer(&asked.request));
        asked.payer_hint = payer.map(|payer| payer.to_string()).unwrap_or_default();
    }
    asked
}

/// Status of an answer without a verdict. Some old clients read no body but that of a 200; the operator may choose.
fn unavailable_status(service: &Service, cause: &Unavailable) -> StatusCode {
    match cause {
        Unavailable::Crashed
        | Unavailable::Ledger(LedgerError::Refused(_) | LedgerError::Inconsistent { .. } | LedgerError::Schema) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ if service.server.unavailable_as_ok => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn report(cause: &Unavailable, what: &'static str) -> String {
    tracing::warn!(error = %ErrorChain(cause), what, "no verdict");
    cause.to_string()
}

async fn verify(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let (caller, bytes) = match enter(&service, &request, payload).await {
        Ok(entered) => entered,
        Err(obstacle) => return verify_obstacle(&obstacle),
    };
    let asked = match parse_request(&bytes) {
        Ok(asked) => name_payer(&service, asked),
        Err(error) => return respond(status_of(&error.refusal), &VerifyResponse::from(&error)),
    };
    let started = Instant::now();
    let network = asked.request.network.clone();
    let flows = Arc::clone(&service.flows);
    let echo = Echo { version: asked.request.version, network: &asked.network_text, payer: &asked.payer_hint };
    let counted = bearer_and_payer(&request, &asked);
    if let Err(limited) = admit_payer(&service, counted) {
        return too_often(limited, &VerifyResponse::fault(echo, Limited::CODE, &limited.to_string()));
    }
    let name = payment_name(&asked, &caller);
    let payment = asked.request;
    let verdict = service.run(async move { flows.verify(payment, &caller, name).await }).await;
    let verdict = verdict.unwrap_or_else(|crashed| Err(Unavailable::from(crashed).into()));
    let (outcome, response) = match verdict {
        Ok(payer) => {
            count_payer(&service, counted);
            let extensions = service.flows.foresee(asked.declaration.as_ref(), &caller);
            (Verification::Valid, with_extensions(respond(StatusCode::OK, &VerifyResponse::valid(&payer)), &extensions))
        }
        Err(Verdict::Refused(refusal)) => {
            let answer = VerifyResponse::invalid(echo, &refusal);
            (Verification::Invalid(refusal.reason), respond(status_of(&refusal), &answer))
        }
        Err(Verdict::Unavailable(cause)) => {
            let answer = VerifyResponse::fault(echo, UNEXPECTED_VERIFY_ERROR, &report(&cause, "verify"));
            (Verification::Unavailable, respond(unavailable_status(&service, &cause), &answer))
        }
    };
    service.flows.metrics.verification(&network, outcome, started.elapsed());
    response
}

async fn settle(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    match try_settle(&service, &request, payload).await {
        Ok(response) => response,
        Err(obstacle) => settle_obstacle(&obstacle),
    }
}

async fn try_settle(service: &Service, request: &HttpRequest, payload: Payload) -> Result<HttpResponse, Obstacle> {
    let (caller, bytes) = enter(service, request, payload).await?;
    let asked = match parse_request(&bytes) {
        Ok(asked) => name_payer(service, asked),
        Err(error) => return Ok(respond(status_of(&error.refusal), &SettleResponse::from(&error))),
    };
    let counted = bearer_and_payer(request, &asked);
    if let Err(limited) = admit_payer(service, counted) {
        return Ok(too_often(limited, &SettleResponse::fault(Echo::from(&asked), Limited::CODE, &limited.to_string())));
    }
    let fingerprint = Fingerprint::of(&asked.request, &caller);
    let Some(key) = storage_key(request, &caller, fingerprint)? else {
        let answer = settle_now(service, &asked, caller, None).await;
        answer.count(service, counted);
        let extensions = extensions_of(service, &asked, &caller, &answer);
        return Ok(with_extensions(answer.into_response(), &extensions));
    };
    match bind(service, &key, fingerprint, &caller).await.map_err(Obstacle::Access)? {
        Some(bound) if bound.fingerprint != fingerprint => return Err(Obstacle::KeyReused),
        Some(Binding { answer: Some(stored), .. }) => return Ok(repeat(stored)),
        Some(Binding { answer: None, .. }) | None => {}
    }
    let known = caller.account().is_some();
    let answer = settle_now(service, &asked, caller, Some(format!("key:{}:{}", key.scope, key.key))).await;
    answer.count(service, counted);
    let extensions = extensions_of(service, &asked, &caller, &answer);
    // What costs a stranger nothing to ask must leave nothing behind here.
    let response = if answer.terminal && (known || answer.of_payment) {
        keep(service, key, fingerprint, answer).await?
    } else {
        answer.into_response()
    };
    Ok(with_extensions(response, &extensions))
}

/// What extensions say of a payment that was just made.
fn extensions_of(service: &Service, asked: &FacilitatorRequest, caller: &Caller, answer: &Answer) -> ExtensionResponses {
    service.flows.list_paid(asked.declaration.as_ref().filter(|_| answer.success), caller)
}

/// Where the name counts that the payer gives its payment: within the account that asks, or strangers could use up each other's.
fn payment_name(asked: &FacilitatorRequest, caller: &Caller) -> Option<StorageKey> {
    let (identifier, account) = (asked.identifier.clone()?, caller.account()?);
    Some(StorageKey { scope: format!("{account}/payments"), key: identifier })
}

/// What a key is bound to. An account's key is bound before any money moves: of two requests that race for it, the second must not
/// be settled. Without an account a key counts for its own request only.
async fn bind(
    service: &Service,
    key: &StorageKey,
    fingerprint: Fingerprint,
    caller: &Caller,
) -> Result<Option<Binding>, Problem> {
    let (flows, key, known) = (Arc::clone(&service.flows), key.clone(), caller.account().is_some());
    let bound = service.run(async move {
        if known {
            flows.ledger.bind_key(&key, fingerprint, flows.clock.now()).await.map(Some)
        } else {
            flows.ledger.find_binding(&key).await
        }
    });
    Ok(bound.await??)
}

/// Where the caller's `Idempotency-Key` counts: in its account, or for this very request if it has none.
fn storage_key(request: &HttpRequest, caller: &Caller, fingerprint: Fingerprint) -> Result<Option<StorageKey>, Obstacle> {
    let Some(key) = super::auth::idempotency_key(request).map_err(|_| Obstacle::IdempotencyKey)? else { return Ok(None) };
    let scope = match caller {
        Caller::Account { account, .. } => account.to_string(),
        Caller::Anonymous => crate::domain::address::encode_hex(&fingerprint.0),
    };
    Ok(Some(StorageKey { scope, key }))
}

/// An answer before it is sent.
struct Answer {
    status: StatusCode,
    body: SettleResponse,
    /// Whether it will be the same whenever the same is asked.
    terminal: bool,
    /// Whether there is a payment behind it.
    of_payment: bool,
    success: bool,
}

impl Answer {
    /// Counts a good payment for its payer. What was refused may be somebody else's, who only wrote that name into it, or the
    /// payer's own authorization that was seen on chain.
    fn count(&self, service: &Service, payer: Option<(Origin, Address)>) {
        if self.success || self.of_payment && !self.terminal {
            count_payer(service, payer);
        }
    }

    fn into_response(self) -> HttpResponse {
        respond(self.status, &self.body)
    }
}

async fn settle_now(service: &Service, asked: &FacilitatorRequest, caller: Caller, repeat: Option<String>) -> Answer {
    if asked.request.scheme == SCHEME_TRANSFER {
        return prove_now(service, asked, caller, repeat).await;
    }
    let started = Instant::now();
    let flows = Arc::clone(&service.flows);
    let payment = asked.request.clone();
    let names = Names { request: repeat, payment: payment_name(asked, &caller) };
    let settled = service.run(async move { flows.settle(payment, &caller, names).await }).await;
    let settled = settled.unwrap_or_else(|crashed| Settled::Unavailable(crashed.into()));
    let echo = Echo::from(asked);
    let (counted, answer) = match settled {
        Settled::Success { payment, claim, level, receipt } => {
            let body = SettleResponse::success(echo, payment, &claim.transaction, asked.request.amount, level);
            let body = body.with_receipt(receipt.jws.as_deref()).with_extension(offer::EXTENSION, receipt.offer);
            (Settlement::Success, Answer { status: StatusCode::OK, body, terminal: true, of_payment: true, success: true })
        }
        Settled::Waived { payment } => {
            let body = SettleResponse::waived(echo, payment);
            (Settlement::Success, Answer { status: StatusCode::OK, body, terminal: true, of_payment: true, success: true })
        }
        Settled::Refused { refusal, payment, transaction } => {
            let body = SettleResponse::failure(echo, &refusal, transaction.as_deref().unwrap_or_default());
            let body = payment.map_or(body.clone(), |payment| body.of_payment(payment));
            let counted = match refusal.reason {
                Reason::DuplicateSettlement => Settlement::Duplicate,
                reason => Settlement::Refused(reason),
            };
            // Prices fall again and balances rise, but what was answered under a key stays answered.
            let of_payment = payment.is_some();
            (counted, Answer { status: status_of(&refusal), body, terminal: true, of_payment, success: false })
        }
        Settled::Pending { payment, transaction } => {
            let body = SettleResponse::pending(echo, payment, &transaction);
            (Settlement::Pending, Answer { status: StatusCode::OK, body, terminal: false, of_payment: true, success: false })
        }
        Settled::Unavailable(cause) => {
            let body = SettleResponse::fault(echo, UNEXPECTED_SETTLE_ERROR, &report(&cause, "settle"));
            let status = unavailable_status(service, &cause);
            (Settlement::Unavailable, Answer { status, body, terminal: false, of_payment: false, success: false })
        }
    };
    service.flows.metrics.settlement(&asked.request.network, counted, started.elapsed());
    answer
}

/// The same for a transfer that was made without us: there is no payment of ours, and nothing to wait for.
async fn prove_now(service: &Service, asked: &FacilitatorRequest, caller: Caller, repeat: Option<String>) -> Answer {
    let started = Instant::now();
    let flows = Arc::clone(&service.flows);
    let request = asked.request.clone();
    let names = Names { request: repeat, payment: payment_name(asked, &caller) };
    let proven = service.run(async move {
        let proven = flows.prove(request, &caller, names).await?;
        let receipt = flows.receipt_for_proven(&proven).await;
        Ok((proven, receipt))
    });
    let proven = proven.await.unwrap_or_else(|crashed| Err(Unavailable::from(crashed).into()));
    let echo = Echo::from(asked);
    let (counted, answer) = match proven {
        Ok((Proven { transfer, level, .. }, receipt)) => {
            let payer = transfer.from.to_string();
            let echo = Echo { payer: &payer, ..echo };
            let body = SettleResponse::proven(echo, &transfer.transaction, asked.request.amount, level);
            let body = body.with_receipt(receipt.as_deref());
            (Settlement::Success, Answer { status: StatusCode::OK, body, terminal: true, of_payment: true, success: true })
        }
        Err(Verdict::Refused(refusal)) => {
            let (counted, transaction) = match refusal.reason {
                Reason::DuplicateSettlement => (Settlement::Duplicate, presented(asked)),
                Reason::SettlementPending => (Settlement::Pending, presented(asked)),
                reason => (Settlement::Refused(reason), ""),
            };
            let body = SettleResponse::failure(echo, &refusal, transaction);
            let (status, terminal) = (status_of(&refusal), !refusal.reason.is_passing());
            (counted, Answer { status, body, terminal, of_payment: false, success: false })
        }
        Err(Verdict::Unavailable(cause)) => {
            let body = SettleResponse::fault(echo, UNEXPECTED_SETTLE_ERROR, &report(&cause, "settle"));
            let status = unavailable_status(service, &cause);
            (Settlement::Unavailable, Answer { status, body, terminal: false, of_payment: false, success: false })
        }
    };
    service.flows.metrics.settlement(&asked.request.network, counted, started.elapsed());
    answer
}

/// The transaction that was presented.
fn presented(asked: &FacilitatorRequest) -> &str {
    asked.request.payload.get("transaction").and_then(serde_json::Value::as_str).unwrap_or_default()
}

/// Stores a terminal answer under its key, and answers with the one that counts for all who ask under it.
async fn keep(service: &Service, key: StorageKey, fingerprint: Fingerprint, answer: Answer) -> Result<HttpResponse, Obstacle> {
    let body = serde_json::to_vec(&answer.body).map_err(|_| Obstacle::Access(Problem::Internal))?;
    let given = StoredAnswer { status: answer.status.as_u16(), body, success: answer.success };
    let flows = Arc::clone(&service.flows);
    match service.run(async move { flows.ledger.store_answer(&key, fingerprint, given, flows.clock.now()).await }).await {
        Ok(Ok(stored)) => Ok(repeat(stored)),
        // Money may have moved, and the ledger knows under which key; only the bytes are lost. So this caller gets its answer.
        Ok(Err(error)) => {
            tracing::warn!(error = %ErrorChain(&error), "an answer was not stored under its Idempotency-Key");
            Ok(answer.into_response())
        }
        Err(Crashed) => Ok(answer.into_response()),
    }
}

fn repeat(stored: StoredAnswer) -> HttpResponse {
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    HttpResponse::build(status).content_type("application/json").body(stored.body)
}

async fn list_supported(service: Data<Service>, request: HttpRequest) -> HttpResponse {
    if let Err(problem) = super::auth::provider(&service, &request).await {
        return supported_obstacle(&Obstacle::Access(problem));
    }
    let flows = Arc::clone(&service.flows);
    let offered = match service.run(async move { flows.offered().await }).await {
        Ok(offered) => offered,
        Err(crashed) => return supported_obstacle(&Obstacle::Access(crashed.into())),
    };
    let mut supported = Supported::of(&offered, |network| service.flows.records_transfers(network));
    supported.extensions.extend(service.flows.discovery.is_on().then_some(bazaar::EXTENSION));
    supported.extensions.extend(service.flows.issuer.as_ref().map(|_| RECEIPT_EXTENSION));
    HttpResponse::Ok().json(supported)
}
