//! What x402 says over HTTP, in both of its versions: the headers, the objects in them, and what a facilitator is asked and answers.

use actix_web::http::header::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Longest header that most clients still read, which begin to refuse at 16 KiB for all headers together.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Headers beginning with `X-`, and the offer in the body.
    V1,
    /// The offer in a header, networks by their CAIP-2 identifiers.
    V2,
}

impl Version {
    /// The version as JSON has it.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }

    /// The header with which a buyer pays.
    pub(crate) const fn payment_header(self) -> &'static str {
        match self {
            Self::V1 => "x-payment",
            Self::V2 => "payment-signature",
        }
    }

    /// The header that tells the buyer what became of the payment.
    pub(crate) const fn response_header(self) -> &'static str {
        match self {
            Self::V1 => "x-payment-response",
            Self::V2 => "payment-response",
        }
    }
}

/// The header of an offer.
pub(crate) const PAYMENT_REQUIRED: &str = "payment-required";

/// One way to pay: what the facilitator is asked to hold the payment against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirements {
    /// `exact` or `upto`.
    pub scheme: String,
    /// Where, as a CAIP-2 identifier.
    pub network: String,
    /// How much, in atomic units of the token; for `upto` the most.
    pub amount: String,
    /// The token's address or mint.
    pub asset: String,
    /// Who is paid.
    pub pay_to: String,
    /// How long the buyer's signature has to be good.
    pub max_timeout_seconds: u64,
    /// What the scheme needs to know besides.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// The same in version 1, where it also describes what is sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequirementsV1<'a> {
    pub scheme: &'a str,
    pub network: &'a str,
    pub max_amount_required: &'a str,
    pub resource: &'a str,
    pub description: &'a str,
    pub mime_type: &'a str,
    pub pay_to: &'a str,
    pub max_timeout_seconds: u64,
    pub asset: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: &'a Map<String, Value>,
}

/// What is sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Resource {
    pub url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mime_type: String,
}

/// An offer, as the header of version 2 has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PaymentRequired<'a> {
    pub x402_version: u8,
    pub error: &'a str,
    pub resource: &'a Resource,
    pub accepts: Vec<&'a Requirements>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extensions: &'a Map<String, Value>,
}

/// An offer, as the body of version 1 has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PaymentRequiredV1<'a> {
    pub x402_version: u8,
    pub error: &'a str,
    pub accepts: Vec<RequirementsV1<'a>>,
}

/// Why a payment cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PaymentError {
    /// The header is not base64 in the standard alphabet, with padding.
    #[error("the header is not base64")]
    NotBase64,
    /// What is in it is not a payment of its version.
    #[error("the header does not hold a payment")]
    NotAPayment(#[source] serde_json::Error),
    /// The payment is of another version than its header.
    #[error("a payment of version {0} stands in a header of another version")]
    Version(u8),
}

/// What a buyer sent.
#[derive(Debug)]
pub(crate) struct Payment {
    pub version: Version,
    pub scheme: String,
    /// As this version writes it.
    pub network: String,
    /// What version 2 repeats of the offer.
    pub accepted: Option<Accepted>,
    /// The URL that the payment says it is for.
    pub resource: Option<String>,
    /// All of it, as it was written.
    pub payload: Box<RawValue>,
}

/// What a buyer of version 2 says that it pays. Whatever it says, it is held against what was offered.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Accepted {
    pub scheme: String,
    pub network: String,
    pub amount: String,
    pub asset: String,
    pub pay_to: String,
    #[serde(default)]
    pub extra: Option<Map<String, Value>>,
}

impl Payment {
    /// The payment in the headers of a request, if there is one. That of version 2 counts if there are two.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, PaymentError> {
        let held =
            [Version::V2, Version::V1].into_iter().find_map(|version| Some((version, headers.get(version.payment_header())?)));
        held.map(|(version, header)| Self::read(version, header)).transpose()
    }

    fn read(version: Version, header: &HeaderValue) -> Result<Self, PaymentError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Numbered {
            x402_version: u8,
        }
        #[derive(Deserialize)]
        struct Named {
            url: Option<String>,
        }
        #[derive(Deserialize)]
        struct V2 {
            accepted: Accepted,
            resource: Option<Named>,
        }
        #[derive(Deserialize)]
        struct V1 {
            scheme: String,
            network: String,
        }
        let text = STANDARD.decode(header.as_bytes()).map_err(|_| PaymentError::NotBase64)?;
        let number = serde_json::from_slice::<Numbered>(&text).map_err(PaymentError::NotAPayment)?.x402_version;
        if number != version.number() {
            return Err(PaymentError::Version(number));
        }
        let payload = serde_json::from_slice(&text).map_err(PaymentError::NotAPayment)?;
        match version {
            Version::V2 => {
                let V2 { accepted, resource } = serde_json::from_slice(&text).map_err(PaymentError::NotAPayment)?;
                let (scheme, network) = (accepted.scheme.clone(), accepted.network.clone());
                let resource = resource.and_then(|resource| resource.url);
                Ok(Self { version, scheme, network, accepted: Some(accepted), resource, payload })
            }
            Version::V1 => {
                let V1 { scheme, network } = serde_json::from_slice(&text).map_err(PaymentError::NotAPayment)?;
                Ok(Self { version, scheme, network, accepted: None, resource: None, payload })
            }
        }
    }
}

/// The body of `POST /verify` and `POST /settle`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FacilitatorRequest<'a, R> {
    pub x402_version: u8,
    pub payment_payload: &'a RawValue,
    pub payment_requirements: R,
}

/// What a facilitator says of a payment before it is made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VerifyAnswer {
    pub is_valid: bool,
    #[serde(default)]
    pub invalid_reason: Option<String>,
    #[serde(default)]
    pub payer: Option<String>,
}

/// What a facilitator says of a settlement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SettleAnswer {
    pub success: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    #[serde(default)]
    pub payer: Option<String>,
    pub transaction: String,
    pub network: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Map<String, Value>>,
}

/// The extension in which the facilitator signs what it says.
pub(crate) const RECEIPT_EXTENSION: &str = "settlement-receipt";

impl SettleAnswer {
    /// The payment was sent, and asking again is how to learn of its end.
    pub(crate) fn is_pending(&self) -> bool {
        !self.success && self.error_reason.as_deref() == Some("settlement_pending") && !self.transaction.is_empty()
    }

    /// The signed receipt, if there is one.
    pub(crate) fn receipt(&self) -> Option<&str> {
        self.extensions.as_ref()?.get(RECEIPT_EXTENSION)?.pointer("/info/receipt/signature")?.as_str()
    }

    /// The facilitator's name for the payment, if it has names of this form: a word that can stand in a URL.
    pub(crate) fn payment_id(&self) -> Option<&str> {
        let word = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        self.extra.as_ref()?.get("paymentId")?.as_str().filter(word)
    }

    /// The header that tells the buyer. What is beyond the protocol, and words for people, are left out if it were too long.
    pub(crate) fn to_header(&self) -> HeaderValue {
        let full = encoded(self);
        if full.len() <= HEADER_BYTES_MAX {
            return full;
        }
        encoded(&Self { error_message: None, extra: None, extensions: None, ..self.clone() })
    }
}

/// A value as base64 of its JSON, which is how headers carry it.
pub(crate) fn encoded(value: &impl Serialize) -> HeaderValue {
    let json = serde_json::to_vec(value).expect("texts, numbers and maps of them are always JSON");
    HeaderValue::try_from(STANDARD.encode(json)).expect("base64 is visible ASCII")
}

/// What a facilitator offers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Supported {
    pub kinds: Vec<Kind>,
    #[serde(default)]
    pub signers: Map<String, Value>,
    #[serde(default)]
    pub extensions: Vec<String>,
}

/// A combination of version, scheme and network that can be paid with.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kind {
    pub x402_version: u8,
    pub scheme: String,
    pub network: String,
    #[serde(default)]
    pub extra: Option<Map<String, Value>>,
}

impl Supported {
    /// The kind with which a version pays by a scheme on a network, as that version writes it.
    pub(crate) fn kind(&self, version: Version, scheme: &str, network: &str) -> Option<&Kind> {
        let fits = |kind: &&Kind| kind.x402_version == version.number() && kind.scheme == scheme && kind.network == network;
        self.kinds.iter().find(fits)
    }

    /// Whether it takes part in an extension of the protocol.
    pub(crate) fn extends(&self, key: &str) -> bool {
        self.extensions.iter().any(|extension| extension == key)
    }

    /// Whether an address is one of the facilitator's own, below a pattern such as `solana:*`.
    pub(crate) fn signs_with(&self, pattern: &str, address: &str) -> bool {
        let listed = self.signers.get(pattern).and_then(Value::as_array);
        listed.is_some_and(|addresses| addresses.iter().any(|one| one.as_str() == Some(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn header(version: Version, value: &Value) -> HeaderMap {
        raw(version, &STANDARD.encode(value.to_string()))
    }

    fn raw(version: Version, text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(version.payment_header().parse().unwrap(), text.parse().unwrap());
        headers
    }

    fn accepted() -> Value {
        json!({"scheme": "exact", "network": "eip155:8453", "amount": "1", "asset": "0xa", "payTo": "0xb", "maxTimeoutSeconds": 60})
    }

    #[test]
    fn a_payment_is_read_by_its_version() {
        let v2 = json!({"x402Version": 2, "accepted": accepted(), "payload": {"a": 1}, "resource": {"url": "https://a/b"}});
        let payment = Payment::of(&header(Version::V2, &v2)).unwrap().unwrap();
        assert_eq!((payment.version, payment.scheme.as_str(), payment.network.as_str()), (Version::V2, "exact", "eip155:8453"));
        assert_eq!((payment.resource.as_deref(), payment.accepted.unwrap().pay_to.as_str()), (Some("https://a/b"), "0xb"));
        assert_eq!(payment.payload.get(), v2.to_string());

        let v1 = json!({"x402Version": 1, "scheme": "exact", "network": "base", "payload": {}});
        let payment = Payment::of(&header(Version::V1, &v1)).unwrap().unwrap();
        assert_eq!((payment.version, payment.network.as_str(), payment.accepted.is_none()), (Version::V1, "base", true));

        let mut both = header(Version::V2, &v2);
        both.insert(Version::V1.payment_header().parse().unwrap(), HeaderValue::from_static("forty-two"));
        assert_eq!(Payment::of(&both).unwrap().unwrap().version, Version::V2);
        assert!(Payment::of(&HeaderMap::new()).unwrap().is_none());
    }

    #[test]
    fn optional_members_may_be_null_or_missing() {
        for resource in [json!(null), json!({}), json!({"url": null})] {
            let payment = json!({"x402Version": 2, "accepted": accepted(), "payload": {}, "resource": resource});
            assert_eq!(Payment::of(&header(Version::V2, &payment)).unwrap().unwrap().resource, None);
        }
    }

    #[test]
    fn what_is_no_payment_is_refused() {
        let wrong = |headers: &HeaderMap| Payment::of(headers).unwrap_err();
        assert!(matches!(wrong(&raw(Version::V2, "{}")), PaymentError::NotBase64));
        assert!(matches!(wrong(&raw(Version::V2, "")), PaymentError::NotAPayment(_)));
        assert!(matches!(wrong(&header(Version::V2, &json!([]))), PaymentError::NotAPayment(_)));
        assert!(matches!(wrong(&header(Version::V2, &json!({"x402Version": 2}))), PaymentError::NotAPayment(_)));
        assert!(matches!(wrong(&header(Version::V2, &json!({"x402Version": 1}))), PaymentError::Version(1)));
        assert!(matches!(wrong(&header(Version::V1, &json!({"x402Version": 2}))), PaymentError::Version(2)));
        let twice = r#"{"x402Version":2,"x402Version":2}"#;
        assert!(matches!(wrong(&raw(Version::V2, &STANDARD.encode(twice))), PaymentError::NotAPayment(_)));
    }

    fn answer() -> SettleAnswer {
        let receipt = json!({"info": {"receipt": {"format": "jws", "signature": "a.b.c"}}});
        serde_json::from_value(json!({
            "success": true, "transaction": "0x1", "network": "eip155:8453", "payer": "0x2", "amount": "5",
            "extensions": {"settlement-receipt": receipt}, "unknown": 1,
        }))
        .unwrap()
    }

    #[test]
    fn the_header_of_an_answer_stays_short_enough_to_be_read() {
        let decoded = |header: HeaderValue| -> Value { serde_json::from_slice(&STANDARD.decode(header).unwrap()).unwrap() };
        assert_eq!(answer().receipt(), Some("a.b.c"));
        assert_eq!(decoded(answer().to_header())["extensions"]["settlement-receipt"]["info"]["receipt"]["signature"], "a.b.c");

        let hint = Map::from_iter([("hint".to_owned(), json!("x".repeat(9_000)))]);
        for long in
            [SettleAnswer { extra: Some(hint), ..answer() }, SettleAnswer { error_message: Some("x".repeat(9_000)), ..answer() }]
        {
            let short = decoded(long.to_header());
            assert_eq!((&short["transaction"], short.get("extra"), short.get("extensions")), (&json!("0x1"), None, None));
            assert_eq!(short.get("errorMessage"), None);
        }
    }

    #[test]
    fn a_payment_is_named_by_a_word() {
        let named = |name: Value| SettleAnswer { extra: Some(Map::from_iter([("paymentId".to_owned(), name)])), ..answer() };
        assert_eq!(named(json!("pay_01")).payment_id(), Some("pay_01"));
        for name in [json!("../settle"), json!("a?b"), json!(1), json!(null)] {
            assert_eq!(named(name).payment_id(), None);
        }
        assert_eq!(answer().payment_id(), None);
    }

    #[test]
    fn pending_is_only_what_can_be_asked_for_again() {
        let failed = |reason: &str, transaction: &str| SettleAnswer {
            success: false,
            error_reason: Some(reason.to_owned()),
            transaction: transaction.to_owned(),
            ..answer()
        };
        assert!(failed("settlement_pending", "0x1").is_pending());
        assert!(!failed("settlement_pending", "").is_pending() && !failed("duplicate_settlement", "0x1").is_pending());
        assert!(!SettleAnswer { success: true, ..failed("settlement_pending", "0x1") }.is_pending());
    }

    #[test]
    fn what_is_offered_is_found_by_all_three_names() {
        let supported: Supported = serde_json::from_value(json!({
            "kinds": [
                {"x402Version": 2, "scheme": "exact", "network": "solana:x", "extra": {"feePayer": "A"}},
                {"x402Version": 1, "scheme": "exact", "network": "solana", "extra": null},
            ],
            "signers": {"solana:*": ["A", "B"]}, "extensions": [],
        }))
        .unwrap();
        assert!(
            supported.kind(Version::V2, "exact", "solana:x").is_some()
                && supported.kind(Version::V1, "exact", "solana").is_some()
        );
        assert!(
            supported.kind(Version::V2, "upto", "solana:x").is_none() && supported.kind(Version::V2, "exact", "solana").is_none()
        );
        assert!(
            supported.signs_with("solana:*", "B")
                && !supported.signs_with("solana:*", "C")
                && !supported.signs_with("eip155:*", "A")
        );
    }
}
