//! An order of an invoice as it comes over gRPC, and the body that it is over HTTP.

use prost::Message as _;
use quittance::api::body;
use quittance::api::invoices::OrderBody;
use quittance::grpc::v1::InvoicesCreateRequest;
use quittance::x402::json;
use serde_json::{Value, json};

/// Checks that the body says what the message says and nothing else, whatever is in its texts. Returns whether it can be an order.
///
/// # Panics
/// If it is not so.
pub fn order(bytes: &[u8]) -> bool {
    let Ok(order) = InvoicesCreateRequest::decode(bytes) else { return false };
    let Ok(written) = serde_json::to_string(&order) else { return false };
    let Ok(mut written_members) = json::parse(written.as_bytes(), json::DEPTH_MAX) else { return false };
    // Alone it may be no object, which a body always is.
    let alone = |text: &String| json::parse(format!("{{\"metadata\":{text}}}").as_bytes(), json::DEPTH_MAX);
    let metadata = order.metadata.as_ref().map_or(Value::Null, |text| alone(text).expect("it is in the body")["metadata"].take());
    assert_eq!(written_members["metadata"].take(), metadata);
    let expires_at = written_members["expiresAt"].take();
    assert_eq!(expires_at.as_str().map(str::to_owned), order.expires_at.as_ref().map(ToString::to_string));
    let members = json!({
        "amount": order.amount, "asset": order.asset, "networks": order.networks, "addresses": order.addresses,
        "reserveAddress": order.reserve_address, "payer": order.payer, "matchAmount": order.match_amount,
        "expiresIn": order.expires_in, "expiresAt": null, "grace": order.grace, "tolerance": order.tolerance,
        "answerAt": order.answer_at, "resource": order.resource, "description": order.description,
        "reference": order.reference, "metadata": null,
    });
    assert_eq!(written_members, members);
    body::read::<OrderBody>(written.as_bytes()).is_ok()
}
