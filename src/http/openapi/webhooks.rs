//! What webhooks are told.

use schemars::SchemaGenerator;
use serde_json::{Map, Value, json};

use super::Writer;
use crate::api::status::Status;
use crate::domain::event::EventKind;
use crate::flow::particulars::{Failed, Finalized, InvoiceStands, Landed, Told, Undone};
use crate::http::endpoint::Describe;
use crate::webhook::payload::Payload;

/// Every type of event, with what is sent.
pub fn describe(writer: &mut Writer) -> Map<String, Value> {
    EventKind::ALL.into_iter().map(|kind| (kind.as_str().to_owned(), of_kind(writer, kind))).collect()
}

fn of_kind(writer: &mut Writer, kind: EventKind) -> Value {
    let schema = json!({"allOf": [writer.written(payload_of(kind))], "properties": {"type": {"const": kind.as_str()}}});
    let signed = |name: &str, about: &str| json!({"name": name, "in": "header", "required": true, "description": about, "schema": {"type": "string"}});
    let ok = Status::Ok.number().to_string();
    json!({"post": {
        "operationId": kind.as_str(),
        "summary": about(kind),
        "tags": ["Webhooks"],
        "description": "Sent as [Standard Webhooks](https://www.standardwebhooks.com) asks for, at least once, and again for three days until it is \
            answered with 2xx. The event stream `/v1/events` has the same body.",
        "security": [],
        "parameters": [
            signed("webhook-id", "The name of the event, the same in each attempt."),
            signed("webhook-timestamp", "When this attempt was made, in seconds since 1970."),
            signed("webhook-signature", "`v1,` and the base64 of HMAC-SHA256 over id, timestamp and body, with points between them."),
        ],
        "requestBody": {"required": true, "content": {"application/json": {"schema": schema}}},
        "responses": {
            ok: {"description": "Taken. Any other status of 2xx says the same."},
            "410": {"description": "The receiver wants nothing any more: the webhook is disabled."},
        },
    }})
}

const fn payload_of(kind: EventKind) -> Describe {
    match kind {
        EventKind::PaymentIncluded | EventKind::PaymentRecovered => SchemaGenerator::subschema_for::<Payload<'_, Told<Landed>>>,
        EventKind::PaymentFinalized => SchemaGenerator::subschema_for::<Payload<'_, Told<Finalized>>>,
        EventKind::PaymentReversed => SchemaGenerator::subschema_for::<Payload<'_, Told<Undone>>>,
        EventKind::PaymentFailed => SchemaGenerator::subschema_for::<Payload<'_, Told<Failed>>>,
        EventKind::Invoice(_) => SchemaGenerator::subschema_for::<Payload<'_, Told<InvoiceStands>>>,
    }
}

const fn about(kind: EventKind) -> &'static str {
    match kind {
        EventKind::PaymentIncluded => "The transfer of a payment stands in a canonical block",
        EventKind::PaymentFinalized => "The transfer of a payment can no longer be undone",
        EventKind::PaymentReversed => "Success had been handed out, and the block with the transfer was replaced",
        EventKind::PaymentRecovered => "A failure had been answered, and the transfer landed after all",
        EventKind::PaymentFailed => "A payment will not be made",
        EventKind::Invoice(_) => "An invoice stands elsewhere, or its surplus or late money has changed",
    }
}
