//! `grpc.health.v1.Health`: whether calls are taken. What the service depends on is asked of `/readyz`, as it is over HTTP.

use std::pin::Pin;

use futures_util::Stream;
use futures_util::stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::v1::{facilitator_server, invoices_server, receipts_server};

/// What can be asked about; the empty name is the whole server.
const NAMES: [&str; 4] = ["", facilitator_server::SERVICE_NAME, invoices_server::SERVICE_NAME, receipts_server::SERVICE_NAME];

/// The service, on a listener that takes calls until `stop`.
pub fn service(stop: CancellationToken, bytes_max: usize) -> HealthServer<Endpoint> {
    HealthServer::new(Endpoint { stop }).max_decoding_message_size(bytes_max)
}

/// Whether calls are taken.
pub struct Endpoint {
    stop: CancellationToken,
}

impl Endpoint {
    fn answer(&self, name: &str) -> HealthCheckResponse {
        let status = match (NAMES.contains(&name), self.stop.is_cancelled()) {
            (false, _) => ServingStatus::ServiceUnknown,
            (true, false) => ServingStatus::Serving,
            (true, true) => ServingStatus::NotServing,
        };
        HealthCheckResponse { status: status.into() }
    }
}

#[tonic::async_trait]
impl Health for Endpoint {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let name = &request.get_ref().service;
        if !NAMES.contains(&name.as_str()) {
            return Err(Status::not_found("there is no such service here"));
        }
        Ok(Response::new(self.answer(name)))
    }

    /// Says how it is now, and once more at the end.
    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.into_inner().service;
        let first = self.answer(&name);
        let later = Self { stop: self.stop.clone() };
        let last = async move {
            later.stop.cancelled().await;
            Ok(later.answer(&name))
        };
        let watched = futures_util::StreamExt::chain(stream::iter([Ok(first)]), stream::once(last));
        Ok(Response::new(Box::pin(watched)))
    }
}
