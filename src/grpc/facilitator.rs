//! `Facilitator`: verifying and settling.

use std::sync::Arc;

use serde_json::Value;
use tonic::{Request, Response, Status};

use super::admission::envelope;
use super::deadline::Deadline;
use super::status;
use super::v1::facilitator_server::Facilitator;
use super::v1::{SettleRequest, SettleResponse, SupportedRequest, SupportedResponse, VerifyRequest, VerifyResponse};
use crate::api::problem::Problem;
use crate::api::reply::Reply;
use crate::api::{Service, access, facilitator};
use crate::x402::request::parse_parts;
use crate::x402::response::{RECEIPT_EXTENSION, UNEXPECTED_SETTLE_ERROR, UNEXPECTED_VERIFY_ERROR};

/// The service.
pub struct Endpoint(pub Arc<Service>);

#[tonic::async_trait]
impl Facilitator for Endpoint {
    async fn verify(&self, request: Request<VerifyRequest>) -> Result<Response<VerifyResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let verified = async {
            let envelope = envelope(&request);
            let caller = access::provider(&self.0, envelope).await?;
            let VerifyRequest { payment_payload, payment_requirements } = request.get_ref();
            let asked = parse_parts(payment_payload.as_bytes(), payment_requirements.as_bytes());
            Box::pin(facilitator::verify(&self.0, caller, envelope, asked, deadline.left())).await
        };
        let reply = verified.await.map_err(|problem| status::named(&problem, Some(UNEXPECTED_VERIFY_ERROR)))?;
        status::respond(&reply)
    }

    async fn settle(&self, request: Request<SettleRequest>) -> Result<Response<SettleResponse>, Status> {
        let deadline = Deadline::of(request.metadata());
        let settled = async {
            let envelope = envelope(&request);
            let caller = access::provider(&self.0, envelope).await?;
            let SettleRequest { payment_payload, payment_requirements } = request.get_ref();
            let asked = parse_parts(payment_payload.as_bytes(), payment_requirements.as_bytes());
            flattened(facilitator::settle(&self.0, caller, envelope, asked, deadline.left()).await?)
        };
        let reply = settled.await.map_err(|problem| status::named(&problem, Some(UNEXPECTED_SETTLE_ERROR)))?;
        status::respond(&reply)
    }

    async fn supported(&self, request: Request<SupportedRequest>) -> Result<Response<SupportedResponse>, Status> {
        let listed = async {
            access::provider(&self.0, envelope(&request)).await?;
            Reply::ok(&facilitator::supported(&self.0).await?)
        };
        status::respond(&listed.await.map_err(status::of)?)
    }
}

/// The answer to a settlement with what it says beyond the protocol beside the rest.
fn flattened(reply: Reply) -> Result<Reply, Problem> {
    let mut answer = reply.members().ok_or(Problem::Internal)?;
    if let Some(Value::Object(extra)) = answer.remove("extra") {
        answer.extend(extra);
    }
    let pointer = format!("/{RECEIPT_EXTENSION}/info/receipt/signature");
    let receipt = answer.get("extensions").and_then(|extensions| extensions.pointer(&pointer)).cloned();
    answer.extend(receipt.map(|receipt| ("receipt".to_owned(), receipt)));
    reply.rewritten(&answer)
}
