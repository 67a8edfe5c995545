//! `Invoices`: what a merchant expects to be paid, and what it is told.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::admission::envelope;
use super::status;
use super::v1::invoices_server::Invoices;
use super::v1::{
    Invoice, InvoicesCancelRequest, InvoicesCancelResponse, InvoicesCreateRequest, InvoicesCreateResponse, InvoicesGetRequest,
    InvoicesGetResponse, InvoicesListRequest, InvoicesListResponse, InvoicesWatchRequest,
};
use super::watch::{self, Watching};
use crate::api::invoices::{ListQuery, cancel, create, list, show};
use crate::api::problem::Problem;
use crate::api::reply::{Change, keyed};
use crate::api::{Service, access, body};

/// The service.
pub struct Endpoint(pub Arc<Service>);

/// What an `Idempotency-Key` of an order is bound to, beside the order.
const CREATE: &str = "quittance.v1.Invoices/Create";

#[tonic::async_trait]
impl Invoices for Endpoint {
    type WatchStream = Watching;

    async fn create(&self, request: Request<InvoicesCreateRequest>) -> Result<Response<InvoicesCreateResponse>, Status> {
        let envelope = envelope(&request);
        let account = access::merchant(&self.0, envelope).await.map_err(status::of)?;
        let read = || {
            let order = serde_json::to_vec(request.get_ref()).map_err(|error| Problem::BadBody(error.to_string()))?;
            let keyed = envelope.idempotency_key()?.map(|key| keyed(account, key, CREATE, &order));
            Ok(Change { account, body: body::read(&order)?, keyed })
        };
        let change = read().map_err(status::of)?;
        let invoice = status::answer(&self.0, |flows| async move { create(&flows, change).await }).await?;
        Ok(Response::new(InvoicesCreateResponse { invoice }))
    }

    async fn get(&self, request: Request<InvoicesGetRequest>) -> Result<Response<InvoicesGetResponse>, Status> {
        let account = access::merchant(&self.0, envelope(&request)).await.map_err(status::of)?;
        let id = request.into_inner().id;
        let invoice = status::answer(&self.0, |flows| async move { show(&flows, account, &id).await }).await?;
        Ok(Response::new(InvoicesGetResponse { invoice }))
    }

    async fn list(&self, request: Request<InvoicesListRequest>) -> Result<Response<InvoicesListResponse>, Status> {
        let account = access::merchant(&self.0, envelope(&request)).await.map_err(status::of)?;
        let InvoicesListRequest { status, reference, address, limit, cursor } = request.into_inner();
        let query = ListQuery { status, reference, address, limit, cursor };
        let page = status::answer(&self.0, |flows| async move { list(&flows, account, query).await }).await?;
        Ok(Response::new(page))
    }

    async fn cancel(&self, request: Request<InvoicesCancelRequest>) -> Result<Response<InvoicesCancelResponse>, Status> {
        let envelope = envelope(&request);
        let account = access::merchant(&self.0, envelope).await.map_err(status::of)?;
        envelope.idempotency_key().map_err(status::of)?;
        let id = request.into_inner().id;
        let invoice: Invoice = status::answer(&self.0, |flows| async move { cancel(&flows, account, &id).await }).await?;
        Ok(Response::new(InvoicesCancelResponse { invoice: Some(invoice) }))
    }

    async fn watch(&self, request: Request<InvoicesWatchRequest>) -> Result<Response<Watching>, Status> {
        watch::open(&self.0, &request).await.map(Response::new).map_err(status::of)
    }
}
