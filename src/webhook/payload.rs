//! What a webhook says.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;

use crate::domain::event::EventKind;

/// The body of a webhook, in the shape that Standard Webhooks recommends. It is written once and stored: every attempt sends the same
/// bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "{T}Event")]
pub struct Payload<'a, T> {
    /// The type of the event, like `invoice.paid`.
    #[serde(rename = "type")]
    #[schemars(with = "EventKind")]
    pub event: &'a str,
    /// When it happened, not when it is told.
    pub timestamp: DateTime<Utc>,
    /// What happened.
    pub data: T,
}

impl<T: Serialize> Payload<'_, T> {
    /// The payload as JSON.
    ///
    /// # Errors
    /// The data cannot be written as JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_shape_is_that_of_the_specification() {
        let timestamp = "2026-01-02T03:04:05.678901Z".parse().unwrap();
        let payload = Payload { event: "invoice.paid", timestamp, data: json!({"invoice": "inv_1"}) };

        let text = String::from_utf8(payload.to_bytes().unwrap()).unwrap();

        assert_eq!(text, r#"{"type":"invoice.paid","timestamp":"2026-01-02T03:04:05.678901Z","data":{"invoice":"inv_1"}}"#);
    }
}
