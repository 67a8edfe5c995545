//! What the service offers its callers, whatever they call it by: who may ask, what is checked, and what is answered.
//!
//! The transports, `http` and `grpc`, let a request in, read it, ask here, and write the answer down in their own way. An answer is JSON with
//! a status, as it is stored under an `Idempotency-Key`, so a request that comes again over another transport is told the same.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use self::body::Room;
use self::problem::Problem;
use crate::config::Server;
use crate::flow::current::Current;
use crate::flow::{Flows, Unavailable};

pub mod access;
pub mod admission;
pub mod body;
pub mod code;
pub mod events;
pub mod facilitator;
pub mod invoices;
pub mod networks;
pub mod page;
pub mod payers;
pub mod payments;
pub mod places;
pub mod problem;
pub mod receipts;
pub mod reply;
pub mod status;
pub mod transfers;
pub mod turns;
pub mod webhooks;

/// What requests are answered with.
pub struct Service {
    current: Arc<Current>,
    /// How the service listens and answers.
    pub server: Server,
    /// Where flows run.
    pub runtime: Handle,
    /// Where bodies are kept that are not small.
    pub bodies: Room,
    /// How many connections each listener for callers has at a time.
    pub connections_max: usize,
}

/// Open files that are kept for other things than callers: the database, nodes, receivers of webhooks.
const FILES_FOR_THE_REST: usize = 512;

impl Service {
    /// A service that nobody has asked anything yet.
    #[must_use]
    pub fn new(current: Arc<Current>, server: Server, runtime: Handle) -> Self {
        let connections_max = connections_max(&server);
        Self { current, server, runtime, bodies: Room::default(), connections_max }
    }

    /// Where the use cases of each moment are, for what lasts longer than a request.
    #[must_use]
    pub fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current)
    }

    /// The use cases, by the configuration of this moment. What belongs together is done with one of them.
    #[must_use]
    pub fn flows(&self) -> Arc<Flows> {
        self.current.flows()
    }

    /// Runs a flow on the service's runtime. If the handler is dropped, because its client left, the flow ends at its next
    /// pause: nobody would hear what it says.
    ///
    /// # Errors
    /// The flow panicked.
    pub async fn run<F>(&self, flow: F) -> Result<F::Output, Crashed>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match AbortOnDropHandle::new(self.runtime.spawn(flow)).await {
            Ok(output) => Ok(output),
            Err(error) if error.is_panic() => Err(Crashed),
            // The process is ending, and no answer is better than one that may be wrong.
            Err(_) => std::future::pending().await,
        }
    }
}

/// As many connections as the operator allows, and as the system has open files for.
fn connections_max(server: &Server) -> usize {
    let listeners = 1 + usize::from(server.grpc_listen.is_some());
    let files = (crate::files::limit().saturating_sub(FILES_FOR_THE_REST) / listeners).max(1);
    if files < server.connections_max {
        tracing::warn!(connections = files, "the system allows fewer open files than server.connections_max needs");
    }
    server.connections_max.min(files)
}

/// A flow ended without an answer; what it said last is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crashed;

impl From<Crashed> for Unavailable {
    fn from(_: Crashed) -> Self {
        Self::Crashed
    }
}

impl From<Crashed> for Problem {
    fn from(_: Crashed) -> Self {
        Self::Internal
    }
}
