//! Verifying and settling: from a request that was read to the answer that is sent, and stored under a caller's `Idempotency-Key`.
//!
//! A business answer is [`Status::Ok`], whatever it says.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::access::Envelope;
use super::code::Code;
use super::problem::{Name, Problem};
use super::reply::Reply;
use super::status::Status;
use super::{Crashed, Service};
use crate::domain::account::Caller;
use crate::domain::address::{Address, encode_hex};
use crate::domain::payment::{Fingerprint, SCHEME_TRANSFER};
use crate::domain::reason::Reason;
use crate::flow::Unavailable;
use crate::flow::limits::{Limited, Origin};
use crate::flow::naming::Names;
use crate::flow::prove::Proven;
use crate::flow::settle::Settled;
use crate::flow::verify::Verdict;
use crate::ledger::LedgerError;
use crate::ledger::idempotency::{Binding, StorageKey};
use crate::metrics::{Settlement, Verification};
use crate::signing::offer;
use crate::telemetry::ErrorChain;
use crate::x402::bazaar;
use crate::x402::extension_responses::ExtensionResponses;
use crate::x402::request::{FacilitatorRequest, RequestError};
use crate::x402::response::{
    Echo, RECEIPT_EXTENSION, SettleResponse, UNEXPECTED_SETTLE_ERROR, UNEXPECTED_VERIFY_ERROR, VerifyResponse,
};
use crate::x402::supported::Supported;

/// A request as it was read, or why it is none.
pub type Asked = Result<FacilitatorRequest, RequestError>;

/// What an endpoint of x402 calls a problem: one that is nobody's payment's fault has the endpoint's own code, if it has one.
#[must_use]
pub fn name_of(problem: &Problem, unexpected: Option<&'static str>) -> Name {
    let name = problem.name();
    let code = match problem {
        Problem::Internal | Problem::Unavailable => unexpected.unwrap_or(name.code),
        _ => name.code,
    };
    Name { code, ..name }
}

/// The status with which a payment is refused.
#[must_use]
pub const fn status_of(reason: Reason) -> Status {
    match reason {
        reason if reason.is_malformed() => Status::BadRequest,
        Reason::PaymentIdentifierReused => Status::Conflict,
        _ => Status::Ok,
    }
}

/// Who brings a payment, and who is said to pay. Together they have a limit.
type Bearer = Option<(Origin, Address)>;

fn bearer(envelope: Envelope<'_>, asked: &FacilitatorRequest) -> Bearer {
    Some((envelope.origin?, Address::parse_any(&asked.payer_hint).ok()?))
}

fn admit(service: &Service, bearer: Bearer) -> Result<(), Limited> {
    bearer.map_or(Ok(()), |(origin, payer)| service.flows().admit_payer(origin, payer))
}

fn count(service: &Service, bearer: Bearer) {
    if let Some((origin, payer)) = bearer {
        service.flows().count_payer(origin, payer);
    }
}

fn too_often(limited: Limited, answer: &impl Serialize) -> Result<Reply, Problem> {
    Ok(Reply::json(Code::RateLimited.status(), answer)?.again_after(limited.retry_after()))
}

/// Finds out who pays where the request does not say it in so many words.
fn name_payer(service: &Service, mut asked: FacilitatorRequest) -> FacilitatorRequest {
    if asked.payer_hint.is_empty() {
        let flows = service.flows();
        let chain = flows.chains.find(&asked.request.network).ok();
        let payer = chain.and_then(|chain| chain.claimed_payer(&asked.request));
        asked.payer_hint = payer.map(|payer| payer.to_string()).unwrap_or_default();
    }
    asked
}

/// Status of an answer without a verdict.
const fn unavailable_status(cause: &Unavailable) -> Status {
    match cause {
        Unavailable::Crashed
        | Unavailable::Ledger(LedgerError::Refused(_) | LedgerError::Inconsistent { .. } | LedgerError::Schema) => {
            Status::Internal
        }
        _ => Status::Unavailable,
    }
}

fn report(cause: &Unavailable, what: &'static str) -> String {
    tracing::warn!(error = %ErrorChain(cause), what, "no verdict");
    cause.to_string()
}

/// Judges a payment for a caller who may ask, and who waits no longer than `within`.
///
/// # Errors
/// The answer cannot be written, which is our own bug.
pub async fn verify(
    service: &Service,
    caller: Caller,
    envelope: Envelope<'_>,
    asked: Asked,
    within: Option<Duration>,
) -> Result<Reply, Problem> {
    let asked = match asked {
        Ok(asked) => name_payer(service, asked),
        Err(error) => return Reply::json(status_of(error.refusal.reason), &VerifyResponse::from(&error)),
    };
    let started = Instant::now();
    let network = asked.request.network.clone();
    let flows = service.flows();
    let echo = Echo { version: asked.request.version, network: &asked.network_text, payer: &asked.payer_hint };
    let bearer = bearer(envelope, &asked);
    if let Err(limited) = admit(service, bearer) {
        return too_often(limited, &VerifyResponse::fault(echo, Code::RateLimited.as_str(), &limited.to_string()));
    }
    let name = payment_name(&asked, &caller);
    let payment = asked.request;
    let verdict = service.run(async move { flows.verify(payment, &caller, name, within).await }).await;
    let verdict = verdict.unwrap_or_else(|crashed| Err(Unavailable::from(crashed).into()));
    let (outcome, reply) = match verdict {
        Ok(payer) => {
            count(service, bearer);
            let extensions = service.flows().foresee(asked.declaration.as_ref(), &caller);
            (Verification::Valid, Reply::ok(&VerifyResponse::valid(&payer))?.beside(extensions))
        }
        Err(Verdict::Refused(refusal)) => {
            let answer = VerifyResponse::invalid(echo, &refusal);
            (Verification::Invalid(refusal.reason), Reply::json(status_of(refusal.reason), &answer)?)
        }
        Err(Verdict::Unavailable(cause)) => {
            let answer = VerifyResponse::fault(echo, UNEXPECTED_VERIFY_ERROR, &report(&cause, "verify"));
            (Verification::Unavailable, Reply::json(unavailable_status(&cause), &answer)?)
        }
    };
    service.flows().metrics.verification(&network, outcome, started.elapsed());
    Ok(reply)
}

/// Settles a payment for a caller who may ask, once under its `Idempotency-Key`. It waits no longer than `within`, and is told how things
/// stand by then.
///
/// # Errors
/// The key is none, or was used for another request, or the database could not be reached before anything was done.
pub async fn settle(
    service: &Service,
    caller: Caller,
    envelope: Envelope<'_>,
    asked: Asked,
    within: Option<Duration>,
) -> Result<Reply, Problem> {
    let asked = match asked {
        Ok(asked) => name_payer(service, asked),
        Err(error) => return Reply::json(status_of(error.refusal.reason), &SettleResponse::from(&error)),
    };
    let bearer = bearer(envelope, &asked);
    if let Err(limited) = admit(service, bearer) {
        return too_often(limited, &SettleResponse::fault(Echo::from(&asked), Code::RateLimited.as_str(), &limited.to_string()));
    }
    let fingerprint = Fingerprint::of(&asked.request, &caller);
    let Some(key) = envelope.idempotency_key()?.map(|key| storage_key(key, &caller, fingerprint)) else {
        let answer = settle_now(service, &asked, caller, None, within).await;
        answer.count(service, bearer);
        let extensions = extensions_of(service, &asked, &caller, &answer);
        return Ok(answer.into_reply()?.beside(extensions));
    };
    match bind(service, &key, fingerprint, &caller).await? {
        Some(bound) if bound.fingerprint != fingerprint => return Err(Problem::KeyReused),
        Some(Binding { answer: Some(stored), .. }) => return Ok(stored.into()),
        Some(Binding { answer: None, .. }) | None => {}
    }
    let known = caller.account().is_some();
    let answer = settle_now(service, &asked, caller, Some(format!("key:{}:{}", key.scope, key.key)), within).await;
    answer.count(service, bearer);
    let extensions = extensions_of(service, &asked, &caller, &answer);
    // What costs a stranger nothing to ask must leave nothing behind here.
    let kept = answer.terminal && (known || answer.of_payment);
    let reply = answer.into_reply()?;
    let reply = if kept { keep(service, key, fingerprint, reply).await } else { reply };
    Ok(reply.beside(extensions))
}

/// What extensions say of a payment that was just made.
fn extensions_of(service: &Service, asked: &FacilitatorRequest, caller: &Caller, answer: &Answer) -> ExtensionResponses {
    service.flows().list_paid(asked.declaration.as_ref().filter(|_| answer.success), caller)
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
    let (flows, key, known) = (service.flows(), key.clone(), caller.account().is_some());
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
fn storage_key(key: String, caller: &Caller, fingerprint: Fingerprint) -> StorageKey {
    let scope = match caller {
        Caller::Account { account, .. } => account.to_string(),
        Caller::Anonymous => encode_hex(&fingerprint.0),
    };
    StorageKey { scope, key }
}

/// An answer before it is sent.
struct Answer {
    status: Status,
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
    fn count(&self, service: &Service, bearer: Bearer) {
        if self.success || self.of_payment && !self.terminal {
            count(service, bearer);
        }
    }

    fn into_reply(self) -> Result<Reply, Problem> {
        Ok(Reply::json(self.status, &self.body)?.saying(self.success))
    }
}

async fn settle_now(
    service: &Service,
    asked: &FacilitatorRequest,
    caller: Caller,
    repeat: Option<String>,
    within: Option<Duration>,
) -> Answer {
    if asked.request.scheme == SCHEME_TRANSFER {
        return prove_now(service, asked, caller, repeat, within).await;
    }
    let started = Instant::now();
    let flows = service.flows();
    let payment = asked.request.clone();
    let names = Names { request: repeat, payment: payment_name(asked, &caller) };
    let settled = service.run(async move { flows.settle(payment, &caller, names, within).await }).await;
    let settled = settled.unwrap_or_else(|crashed| Settled::Unavailable(crashed.into()));
    let echo = Echo::from(asked);
    let (counted, answer) = match settled {
        Settled::Success { payment, claim, level, receipt } => {
            let body = SettleResponse::success(echo, payment, &claim.transaction, asked.request.amount, level);
            let body = body.with_receipt(receipt.jws.as_deref()).with_extension(offer::EXTENSION, receipt.offer);
            (Settlement::Success, Answer { status: Status::Ok, body, terminal: true, of_payment: true, success: true })
        }
        Settled::Waived { payment } => {
            let body = SettleResponse::waived(echo, payment);
            (Settlement::Success, Answer { status: Status::Ok, body, terminal: true, of_payment: true, success: true })
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
            (counted, Answer { status: status_of(refusal.reason), body, terminal: true, of_payment, success: false })
        }
        Settled::Pending { payment, transaction } => {
            let body = SettleResponse::pending(echo, payment, &transaction);
            (Settlement::Pending, Answer { status: Status::Ok, body, terminal: false, of_payment: true, success: false })
        }
        Settled::Unavailable(cause) => (Settlement::Unavailable, without_verdict(echo, &cause)),
    };
    service.flows().metrics.settlement(&asked.request.network, counted, started.elapsed());
    answer
}

fn without_verdict(echo: Echo<'_>, cause: &Unavailable) -> Answer {
    let body = SettleResponse::fault(echo, UNEXPECTED_SETTLE_ERROR, &report(cause, "settle"));
    Answer { status: unavailable_status(cause), body, terminal: false, of_payment: false, success: false }
}

/// The same for a transfer that was made without us: there is no payment of ours, and nothing to wait for.
async fn prove_now(
    service: &Service,
    asked: &FacilitatorRequest,
    caller: Caller,
    repeat: Option<String>,
    within: Option<Duration>,
) -> Answer {
    let started = Instant::now();
    let flows = service.flows();
    let request = asked.request.clone();
    let names = Names { request: repeat, payment: payment_name(asked, &caller) };
    let proven = service.run(async move {
        let proven = flows.prove(request, &caller, names, within).await?;
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
            (Settlement::Success, Answer { status: Status::Ok, body, terminal: true, of_payment: true, success: true })
        }
        Err(Verdict::Refused(refusal)) => {
            let (counted, transaction) = match refusal.reason {
                Reason::DuplicateSettlement => (Settlement::Duplicate, presented(asked)),
                Reason::SettlementPending => (Settlement::Pending, presented(asked)),
                reason => (Settlement::Refused(reason), ""),
            };
            let body = SettleResponse::failure(echo, &refusal, transaction);
            let (status, terminal) = (status_of(refusal.reason), !refusal.reason.is_passing());
            (counted, Answer { status, body, terminal, of_payment: false, success: false })
        }
        Err(Verdict::Unavailable(cause)) => (Settlement::Unavailable, without_verdict(echo, &cause)),
    };
    service.flows().metrics.settlement(&asked.request.network, counted, started.elapsed());
    answer
}

/// The transaction that was presented.
fn presented(asked: &FacilitatorRequest) -> &str {
    asked.request.payload.get("transaction").and_then(serde_json::Value::as_str).unwrap_or_default()
}

/// Stores a terminal answer under its key, and answers with the one that counts for all who ask under it.
async fn keep(service: &Service, key: StorageKey, fingerprint: Fingerprint, answer: Reply) -> Reply {
    let (flows, given) = (service.flows(), answer.clone().into_stored());
    match service.run(async move { flows.ledger.store_answer(&key, fingerprint, given, flows.clock.now()).await }).await {
        Ok(Ok(stored)) => stored.into(),
        // Money may have moved, and the ledger knows under which key; only the bytes are lost. So this caller gets its answer.
        Ok(Err(error)) => {
            tracing::warn!(error = %ErrorChain(&error), "an answer was not stored under its Idempotency-Key");
            answer
        }
        Err(Crashed) => answer,
    }
}

/// What can be paid with at the moment.
///
/// # Errors
/// The flow crashed.
pub async fn supported(service: &Service) -> Result<Supported, Problem> {
    let (flows, asked) = (service.flows(), service.flows());
    let offered = service.run(async move { asked.offered().await }).await?;
    let mut supported = Supported::of(&offered, |network| flows.records_transfers(network));
    supported.extensions.extend(flows.discovery.is_on().then_some(bazaar::EXTENSION));
    supported.extensions.extend(flows.issuer.as_ref().map(|_| RECEIPT_EXTENSION));
    Ok(supported)
}
