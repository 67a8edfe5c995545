//! What extensions say about a request, beside its answer: the header `EXTENSION-RESPONSES` of `/verify` and `/settle`.
//!
//! It is for the resource server and is not passed on to buyers. Each extension that a request carries may have one entry.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// The name of the header.
pub const HEADER: &str = "extension-responses";

/// Longest value of the header. Servers and proxies bound all headers together, often to 8 KiB.
const BYTES_MAX: usize = 4 << 10;

/// What became of an extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// It was taken, and is worked on.
    Processing,
    /// All is done.
    Success,
    /// It was not taken: a code, and why in words.
    Rejected(&'static str, String),
}

impl From<Status> for Value {
    fn from(status: Status) -> Self {
        match status {
            Status::Processing => json!({"status": "processing"}),
            Status::Success => json!({"status": "success"}),
            Status::Rejected(code, words) => json!({"status": "rejected", "rejectedReason": code, "reason": words}),
        }
    }
}

/// The entries of the header, by the keys of their extensions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExtensionResponses(Map<String, Value>);

impl ExtensionResponses {
    /// Adds what an extension says, if it says anything.
    #[must_use]
    pub fn with(mut self, extension: &str, status: Option<Status>) -> Self {
        if let Some(status) = status {
            self.0.insert(extension.to_owned(), status.into());
        }
        self
    }

    /// The value of the header: base64 of a JSON object. `None` where no extension says anything, or more than a header holds.
    #[must_use]
    pub fn encode(&self) -> Option<String> {
        let text = STANDARD.encode(Value::Object(self.0.clone()).to_string());
        Some(text).filter(|text| !self.0.is_empty() && text.len() < BYTES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(responses: &ExtensionResponses) -> Option<Value> {
        let bytes = STANDARD.decode(responses.encode()?).unwrap();
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    #[test]
    fn each_extension_has_its_entry() {
        let rejected = Status::Rejected("invalid_method", "no such method".to_owned());
        let responses = ExtensionResponses::default().with("bazaar", Some(rejected)).with("other", Some(Status::Success));
        assert_eq!(
            decoded(&responses.with("silent", None)),
            Some(json!({
                "bazaar": {"status": "rejected", "rejectedReason": "invalid_method", "reason": "no such method"},
                "other": {"status": "success"},
            }))
        );
        let processing = ExtensionResponses::default().with("bazaar", Some(Status::Processing));
        assert_eq!(processing.encode().as_deref(), Some("eyJiYXphYXIiOnsic3RhdHVzIjoicHJvY2Vzc2luZyJ9fQ=="));
    }

    #[test]
    fn nothing_to_say_and_too_much_to_say_is_no_header() {
        assert_eq!(ExtensionResponses::default().encode(), None);
        let long = |bytes: usize| ExtensionResponses::default().with("a", Some(Status::Rejected("b", "c".repeat(bytes))));
        assert!(long(2_900).encode().is_some());
        assert_eq!(long(3_100).encode(), None);
    }
}
