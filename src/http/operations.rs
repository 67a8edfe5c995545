//! Health and metrics, and reading the configuration again, on a listener that is not for the public.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{AUTHORIZATION, HeaderValue};
use actix_web::web::Data;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::problem::{Code, Problem};
use crate::api::access::Envelope;
use crate::domain::account::{Caller, Scope};
use crate::domain::network::Network;
use crate::flow::Flows;
use crate::flow::current::Current;
use crate::flow::reload::{Changes, Reloads};
use crate::ledger::LedgerError;

/// What the operations listener looks at.
pub struct Operations {
    /// The use cases.
    pub current: Arc<Current>,
    /// The way to whoever reads the configuration again.
    pub reloads: Reloads,
    /// Where they run.
    pub runtime: Handle,
}

/// The ledger must answer within this to be called ready.
const LEDGER_WITHIN: Duration = Duration::from_secs(2);

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    checks: BTreeMap<String, &'static str>,
}

impl Operations {
    /// The listener.
    ///
    /// # Errors
    /// The address is taken.
    pub fn listen(self, address: SocketAddr) -> std::io::Result<(actix_web::dev::Server, SocketAddr)> {
        let operations = Data::new(self);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(operations.clone())
                .route("/livez", web::get().to(|| async { HttpResponse::Ok().body("ok") }))
                .route("/readyz", web::get().to(readyz))
                .route("/metrics", web::get().to(metrics))
                .route("/v1/configuration/reload", web::post().to(reload))
        })
        .workers(1)
        .disable_signals()
        .bind(address)?;
        let address = server.addrs().first().copied().unwrap_or(address);
        Ok((server.run(), address))
    }
}

/// Ready means that the ledger answers, that the nodes of at least one network are known, and that the process is not about to end.
/// One network that is out of reach must not take the others away with it; it is out of `/supported` and in the metrics, and so is
/// one that is halted.
async fn readyz(operations: Data<Operations>) -> HttpResponse {
    let flows = operations.current.flows();
    let asked = Arc::clone(&flows);
    let asked = async move { (asked.ledger.ping().await.is_ok(), signers(&asked).await.unwrap_or_default()) };
    let asked = AbortOnDropHandle::new(operations.runtime.spawn(asked));
    let (ledger, signers) = match tokio::time::timeout(LEDGER_WITHIN, asked).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) | Err(_) => (false, BTreeMap::new()),
    };
    let mut checks = signers;
    checks.insert("ledger".to_owned(), word(ledger));
    let mut usable = false;
    for chain in flows.chains.iter() {
        usable |= chain.is_prepared();
        checks.insert(chain.profile().network.to_string(), word(chain.is_prepared()));
    }
    let ready = ledger && usable && !flows.waiting.is_closed();
    let readiness = Readiness { ready, checks };
    if ready { HttpResponse::Ok().json(readiness) } else { HttpResponse::ServiceUnavailable().json(readiness) }
}

/// Whether each signer can pay, as its lane saw it last. It makes nobody unready: payments go on through its neighbours, or wait.
async fn signers(flows: &Flows) -> Result<BTreeMap<String, &'static str>, LedgerError> {
    let mut checks = BTreeMap::new();
    for chain in flows.chains.iter() {
        let profile = chain.profile();
        let standing = flows.availability.of(&flows.ledger, &profile.network).await?;
        for signer in &profile.signers {
            let able = !standing.unable.contains(&signer.address);
            checks.insert(format!("{} signer {}", profile.network, signer.name), word(able));
        }
    }
    Ok(checks)
}

/// What is different in the configuration now.
#[derive(Serialize)]
struct Reloaded {
    changes: Changes,
}

/// Has the replica read its configuration again. Not part of the API: replicas that answer no requests do it as well, and each of them has
/// to be asked by itself, which a balancer in front of the API does not let anybody do.
async fn reload(operations: Data<Operations>, request: HttpRequest) -> HttpResponse {
    if let Err(problem) = operator(&operations, &request).await {
        return problem.response();
    }
    match operations.reloads.ask().await {
        Some(Ok(changes)) => HttpResponse::Ok().json(Reloaded { changes }),
        Some(Err(refused)) => Problem::Refused(Code::InvalidConfiguration, refused.to_string()).response(),
        None => Problem::Unavailable.response(),
    }
}

/// Only an operator, by the key that the API takes.
async fn operator(operations: &Operations, request: &HttpRequest) -> Result<(), Problem> {
    let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let key = Envelope { authorization, ..Envelope::default() }.key()?.ok_or(Problem::Unauthorized)?;
    let flows = operations.current.flows();
    let asked = AbortOnDropHandle::new(operations.runtime.spawn(async move { flows.authenticate(&key).await }));
    match tokio::time::timeout(LEDGER_WITHIN, asked).await {
        Ok(Ok(Ok(Some(Caller::Account { scope: Scope::Operator, .. })))) => Ok(()),
        Ok(Ok(Ok(Some(_)))) => Err(Problem::Forbidden),
        Ok(Ok(Ok(None))) => Err(Problem::Unauthorized),
        Ok(Ok(Err(_)) | Err(_)) | Err(_) => Err(Problem::Unavailable),
    }
}

const fn word(good: bool) -> &'static str {
    if good { "ok" } else { "unavailable" }
}

/// Whether a network, or one of its signers, is part of the present configuration.
fn is_configured(flows: &Flows, network: &Network, signer: Option<&str>) -> bool {
    let Ok(chain) = flows.chains.find(network) else { return false };
    signer.is_none_or(|name| chain.profile().signers.iter().any(|signer| signer.name == name))
}

async fn metrics(operations: Data<Operations>) -> HttpResponse {
    // Sets what is only known when it is asked for. Without a ledger the last word stands.
    let flows = operations.current.flows();
    let asked = Arc::clone(&flows);
    let measured = async move { (asked.offered().await, asked.measure_telling().await, asked.measure_payments().await) };
    let measured = AbortOnDropHandle::new(operations.runtime.spawn(measured));
    drop(tokio::time::timeout(LEDGER_WITHIN, measured).await);
    flows.metrics.forget_states(|network, signer| is_configured(&flows, network, signer));
    let pool = flows.ledger.pool();
    let idle = pool.num_idle();
    flows.metrics.database_connections((pool.size() as usize).saturating_sub(idle), idle);
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(flows.metrics.render())
}
