//! A client of gRPC.

use quittance::grpc::v1::{SettleRequest, VerifyRequest};
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::facilitator::Facilitator;

/// A connection of its own, which is made with its first call.
pub fn connect(facilitator: &Facilitator) -> Channel {
    Endpoint::from_shared(facilitator.grpc.clone()).expect("an address").connect_lazy()
}

/// A call with a key.
pub fn keyed<M>(message: M, key: &str) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().expect("visible"));
    request
}

/// The same call under an `Idempotency-Key`.
pub fn once<M>(mut request: Request<M>, key: &str) -> Request<M> {
    request.metadata_mut().insert("idempotency-key", key.parse().expect("visible"));
    request
}

fn part(body: &Value, name: &str) -> String {
    body.get(name).map(ToString::to_string).unwrap_or_default()
}

/// The body of `POST /verify` as a message.
pub fn verify(body: &Value) -> VerifyRequest {
    let (payment_payload, payment_requirements) = (part(body, "paymentPayload"), part(body, "paymentRequirements"));
    VerifyRequest { payment_payload, payment_requirements }
}

/// The body of `POST /settle` as a message.
pub fn settle(body: &Value) -> SettleRequest {
    let VerifyRequest { payment_payload, payment_requirements } = verify(body);
    SettleRequest { payment_payload, payment_requirements }
}

/// How a call was refused: the code of gRPC, and ours.
pub fn refusal(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().map(|info| info.reason).unwrap_or_default())
}
