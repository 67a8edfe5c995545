//! Health and metrics, on a listener that is not for the public.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web::Data;
use actix_web::{App, HttpResponse, HttpServer, web};
use serde::Serialize;
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use crate::flow::Flows;

/// What the operations listener looks at.
pub struct Operations {
    /// The use cases.
    pub flows: Arc<Flows>,
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
    let flows = Arc::clone(&operations.flows);
    let ping = AbortOnDropHandle::new(operations.runtime.spawn(async move { flows.ledger.ping().await.is_ok() }));
    let ledger = matches!(tokio::time::timeout(LEDGER_WITHIN, ping).await, Ok(Ok(true)));
    let mut checks = BTreeMap::from([("ledger".to_owned(), word(ledger))]);
    let mut usable = false;
    for chain in operations.flows.chains.iter() {
        usable |= chain.is_prepared();
        checks.insert(chain.profile().network.to_string(), word(chain.is_prepared()));
    }
    let ready = ledger && usable && !operations.flows.waiting.is_closed();
    let readiness = Readiness { ready, checks };
    if ready { HttpResponse::Ok().json(readiness) } else { HttpResponse::ServiceUnavailable().json(readiness) }
}

const fn word(good: bool) -> &'static str {
    if good { "ok" } else { "unavailable" }
}

async fn metrics(operations: Data<Operations>) -> HttpResponse {
    // Sets what is only known when it is asked for. Without a ledger the last word stands.
    let flows = Arc::clone(&operations.flows);
    let measured = async move { (flows.offered().await, flows.measure_telling().await, flows.measure_payments().await) };
    let measured = AbortOnDropHandle::new(operations.runtime.spawn(measured));
    drop(tokio::time::timeout(LEDGER_WITHIN, measured).await);
    let pool = operations.flows.ledger.pool();
    let idle = pool.num_idle();
    operations.flows.metrics.database_connections((pool.size() as usize).saturating_sub(idle), idle);
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(operations.flows.metrics.render())
}
