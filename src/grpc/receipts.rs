//! `Receipts`: what was stated about payments.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::admission::envelope;
use super::status;
use super::v1::receipts_server::Receipts;
use super::v1::{
    ReceiptsGetRequest, ReceiptsGetResponse, ReceiptsRedeemRequest, ReceiptsRedeemResponse, ReceiptsVerifyRequest,
    ReceiptsVerifyResponse,
};
use crate::api::receipts::{Format, redeem, show, verify};
use crate::api::{Service, access};

/// The service.
pub struct Endpoint(pub Arc<Service>);

#[tonic::async_trait]
impl Receipts for Endpoint {
    async fn get(&self, request: Request<ReceiptsGetRequest>) -> Result<Response<ReceiptsGetResponse>, Status> {
        let caller = access::reader(&self.0, envelope(&request)).await.map_err(status::of)?;
        let ReceiptsGetRequest { id, format } = request.into_inner();
        let format = format.as_deref().map_or(Ok(Format::default()), Format::parse).map_err(status::of)?;
        let receipt = status::answer(&self.0, |flows| async move { show(&flows, &caller, &id, format).await }).await?;
        Ok(Response::new(ReceiptsGetResponse { receipt }))
    }

    async fn verify(&self, request: Request<ReceiptsVerifyRequest>) -> Result<Response<ReceiptsVerifyResponse>, Status> {
        let receipt = request.into_inner().receipt;
        let verdict = status::answer(&self.0, |flows| async move { verify(&flows, &receipt).await }).await?;
        Ok(Response::new(verdict))
    }

    async fn redeem(&self, request: Request<ReceiptsRedeemRequest>) -> Result<Response<ReceiptsRedeemResponse>, Status> {
        let envelope = envelope(&request);
        let account = access::holder(&self.0, envelope).await.map_err(status::of)?;
        envelope.idempotency_key().map_err(status::of)?;
        let ReceiptsRedeemRequest { id, nonce } = request.into_inner();
        let redemption = status::answer(&self.0, |flows| async move { redeem(&flows, account, &id, nonce).await }).await?;
        Ok(Response::new(redemption))
    }
}
