//! The answers of `POST /verify` and `POST /settle`.
//!
//! Old clients dictate much of their shape: `payer`, `transaction` and `network` are strings in every answer, because
//! version 1 clients in Go and Python fail without them; everything else is left out where it is empty, never `null`.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::request::{FacilitatorRequest, RequestError};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::block::Level;
use crate::domain::ids::PaymentId;
use crate::domain::reason::{DETAIL_CHARS_MAX, Reason, Refusal, Version};

/// The code of a verification that ended without a verdict: nobody is to blame, and asking again may help.
pub const UNEXPECTED_VERIFY_ERROR: &str = "unexpected_verify_error";

/// The code of a settlement without a verdict, of which no bytes are known to be out. Nobody is to blame, and asking again finds out.
pub const UNEXPECTED_SETTLE_ERROR: &str = "unexpected_settle_error";

/// The key of our extension: a signed receipt in the answer of a settlement.
pub const RECEIPT_EXTENSION: &str = "settlement-receipt";

/// The network in the answer to a request that does not name one.
pub const UNKNOWN_NETWORK: &str = "unknown:unknown";

/// What an answer repeats of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo<'a> {
    /// The version, in which the code is written.
    pub version: Version,
    /// The network, as the request wrote it.
    pub network: &'a str,
    /// Who pays, or claims to; empty if unknown.
    pub payer: &'a str,
}

impl Echo<'static> {
    /// For a request of which nothing is known, for example because its body was not read.
    pub const UNKNOWN: Self = Self { version: Version::V2, network: UNKNOWN_NETWORK, payer: "" };
}

impl<'a> From<&'a FacilitatorRequest> for Echo<'a> {
    fn from(request: &'a FacilitatorRequest) -> Self {
        Self { version: request.request.version, network: &request.network_text, payer: &request.payer_hint }
    }
}

impl<'a> From<&'a RequestError> for Echo<'a> {
    fn from(error: &'a RequestError) -> Self {
        Self {
            version: error.version.unwrap_or(Echo::UNKNOWN.version),
            network: error.network.as_deref().unwrap_or(UNKNOWN_NETWORK),
            payer: &error.payer,
        }
    }
}

/// The answer of `POST /verify`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VerifyResponse {
    /// Whether the payment would settle now.
    pub is_valid: bool,
    /// Why not, as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid_reason: Option<&'static str>,
    /// Why not, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalid_message: Option<String>,
    /// Who pays; empty if unknown.
    pub payer: String,
    /// The message again, where the request was malformed: some dashboards read only this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl VerifyResponse {
    /// The payment is good.
    #[must_use]
    pub fn valid(payer: &Address) -> Self {
        Self { is_valid: true, invalid_reason: None, invalid_message: None, payer: payer.to_string(), error: None }
    }

    /// The payment, or the request, is refused.
    #[must_use]
    pub fn invalid(echo: Echo<'_>, refusal: &Refusal) -> Self {
        Self::refused(refusal.reason.code_in(echo.version), message(refusal), plain_error(refusal), echo)
    }

    /// There is no verdict on the payment: the code says what stood in the way, for example [`UNEXPECTED_VERIFY_ERROR`].
    #[must_use]
    pub fn fault(echo: Echo<'_>, code: &'static str, problem: &str) -> Self {
        Self::refused(code, Some(shortened(problem)), None, echo)
    }

    fn refused(code: &'static str, message: Option<String>, error: Option<String>, echo: Echo<'_>) -> Self {
        Self { is_valid: false, invalid_reason: Some(code), invalid_message: message, payer: echo.payer.to_owned(), error }
    }
}

impl From<&RequestError> for VerifyResponse {
    fn from(error: &RequestError) -> Self {
        Self::invalid(error.into(), &error.refusal)
    }
}

/// The answer of `POST /settle`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SettleResponse {
    /// Whether the payment is made, and this caller is the one who is told.
    pub success: bool,
    /// Why not, as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<&'static str>,
    /// Why not, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// Who pays; empty if unknown.
    pub payer: String,
    /// The transaction that pays, or may still pay; empty if none is known.
    pub transaction: String,
    /// The network as the request wrote it.
    pub network: String,
    /// What was paid, in atomic units; absent unless it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Amount>")]
    pub amount: Option<String>,
    /// What we say beyond the protocol.
    #[serde(skip_serializing_if = "SettleExtra::is_empty")]
    pub extra: SettleExtra,
    /// What extensions of the protocol say, by their keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<Map<String, Value>>,
    /// The message again, where the request was malformed: some dashboards read only this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a settle answer says beyond the protocol.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SettleExtra {
    /// Our name for the payment, under which it can be asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PaymentId>")]
    pub payment_id: Option<String>,
    /// How deep the transfer stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finality: Option<Level>,
}

impl SettleExtra {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl SettleResponse {
    /// The exact transfer of `amount` stands in `transaction`, at `level`.
    #[must_use]
    pub fn success(echo: Echo<'_>, payment: PaymentId, transaction: &str, amount: Amount, level: Level) -> Self {
        let extra = SettleExtra { payment_id: Some(payment.to_string()), finality: Some(level) };
        let (transaction, amount) = (transaction.to_owned(), Some(amount.to_string()));
        Self { success: true, transaction, amount, extra, ..Self::blank(echo) }
    }

    /// Nothing is due: the payment is settled, and nothing was moved.
    #[must_use]
    pub fn waived(echo: Echo<'_>, payment: PaymentId) -> Self {
        Self { success: true, amount: Some(Amount::ZERO.to_string()), ..Self::blank(echo) }.of_payment(payment)
    }

    /// Adds the signed receipt of the payment, if there is one.
    #[must_use]
    pub fn with_receipt(self, jws: Option<&str>) -> Self {
        let value = jws.map(|jws| json!({"info": {"receipt": {"format": "jws", "signature": jws}}}));
        self.with_extension(RECEIPT_EXTENSION, value)
    }

    /// Adds what an extension of the protocol says, if it says anything.
    #[must_use]
    pub fn with_extension(mut self, key: &str, value: Option<Value>) -> Self {
        if let Some(value) = value {
            self.extensions.get_or_insert_default().insert(key.to_owned(), value);
        }
        self
    }

    /// The exact transfer of `amount` was made without us: it stands in `transaction`, at `level`, and pays what it is presented for.
    #[must_use]
    pub fn proven(echo: Echo<'_>, transaction: &str, amount: Amount, level: Level) -> Self {
        let extra = SettleExtra { finality: Some(level), ..SettleExtra::default() };
        let (transaction, amount) = (transaction.to_owned(), Some(amount.to_string()));
        Self { success: true, transaction, amount, extra, ..Self::blank(echo) }
    }

    /// The payment, or the request, is refused. `transaction` is empty unless there is one to look at.
    #[must_use]
    pub fn failure(echo: Echo<'_>, refusal: &Refusal, transaction: &str) -> Self {
        Self {
            error_reason: Some(refusal.reason.code_in(echo.version)),
            error_message: message(refusal),
            error: plain_error(refusal),
            transaction: transaction.to_owned(),
            ..Self::blank(echo)
        }
    }

    /// The payment was sent as `transaction`, and its end is not known yet.
    #[must_use]
    pub fn pending(echo: Echo<'_>, payment: PaymentId, transaction: &str) -> Self {
        let refusal = Refusal::because(Reason::SettlementPending, "sent, and not known to be settled yet: ask again");
        Self::failure(echo, &refusal, transaction).of_payment(payment)
    }

    /// There is no verdict, for a reason that is not the payment's: the code says which, for example [`UNEXPECTED_SETTLE_ERROR`].
    #[must_use]
    pub fn fault(echo: Echo<'_>, code: &'static str, problem: &str) -> Self {
        Self { error_reason: Some(code), error_message: Some(shortened(problem)), ..Self::blank(echo) }
    }

    /// Names the payment that the answer is about.
    #[must_use]
    pub fn of_payment(mut self, payment: PaymentId) -> Self {
        self.extra.payment_id = Some(payment.to_string());
        self
    }

    fn blank(echo: Echo<'_>) -> Self {
        Self {
            success: false,
            error_reason: None,
            error_message: None,
            payer: echo.payer.to_owned(),
            transaction: String::new(),
            network: echo.network.to_owned(),
            amount: None,
            extra: SettleExtra::default(),
            extensions: None,
            error: None,
        }
    }
}

impl From<&RequestError> for SettleResponse {
    fn from(error: &RequestError) -> Self {
        Self::failure(error.into(), &error.refusal, "")
    }
}

fn message(refusal: &Refusal) -> Option<String> {
    refusal.detail.as_deref().map(shortened)
}

fn plain_error(refusal: &Refusal) -> Option<String> {
    let text = || message(refusal).unwrap_or_else(|| refusal.reason.code().to_owned());
    refusal.reason.is_malformed().then(text)
}

fn shortened(text: &str) -> String {
    text.chars().take(DETAIL_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x402::request::parse_request;

    const PAYER: &str = "0x857b06519E91e3A54538791bDbb0E22373e36b66";

    fn echo() -> Echo<'static> {
        Echo { version: Version::V1, network: "base-sepolia", payer: PAYER }
    }

    fn wire(response: impl Serialize) -> Value {
        serde_json::to_value(response).unwrap()
    }

    #[test]
    fn good_answers_say_no_more_than_they_must() {
        let payer = Address::parse(crate::domain::network::Family::Eip155, &PAYER.to_lowercase()).unwrap();
        assert_eq!(wire(VerifyResponse::valid(&payer)), json!({"isValid": true, "payer": PAYER}));

        let payment = PaymentId::new();
        assert_eq!(
            wire(SettleResponse::success(echo(), payment, "0xaa", Amount::new(10_000), Level::Safe)),
            json!({
                "success": true, "payer": PAYER, "transaction": "0xaa", "network": "base-sepolia", "amount": "10000",
                "extra": {"paymentId": payment.to_string(), "finality": "safe"},
            })
        );
    }

    #[test]
    fn a_receipt_stands_in_the_answer_under_its_extension() {
        let answer = SettleResponse::success(echo(), PaymentId::new(), "0xaa", Amount::new(10_000), Level::Safe);
        let receipt = json!({"info": {"receipt": {"format": "jws", "signature": "a.b.c"}}});

        assert_eq!(wire(answer.clone().with_receipt(Some("a.b.c")))["extensions"], json!({"settlement-receipt": receipt}));
        assert_eq!(answer.clone().with_receipt(None), answer);
    }

    #[test]
    fn a_proven_transfer_is_no_payment_of_ours() {
        assert_eq!(
            wire(SettleResponse::proven(echo(), "0xaa", Amount::new(10_000), Level::Final)),
            json!({
                "success": true, "payer": PAYER, "transaction": "0xaa", "network": "base-sepolia", "amount": "10000",
                "extra": {"finality": "final"},
            })
        );
    }

    #[test]
    fn a_refusal_carries_the_code_of_its_version() {
        let refusal = Refusal::from(Reason::ValueMismatch);
        let v2 = Echo { version: Version::V2, network: "eip155:84532", ..echo() };
        assert_eq!(
            wire(VerifyResponse::invalid(echo(), &refusal)),
            json!({"isValid": false, "invalidReason": "invalid_exact_evm_authorization_value", "payer": PAYER})
        );
        assert_eq!(
            wire(SettleResponse::failure(v2, &refusal, "")),
            json!({
                "success": false, "errorReason": "invalid_exact_evm_payload_authorization_value_mismatch",
                "payer": PAYER, "transaction": "", "network": "eip155:84532",
            })
        );
    }

    #[test]
    fn a_duplicate_names_the_transaction_and_the_payment() {
        let payment = PaymentId::new();
        let answer = SettleResponse::failure(echo(), &Reason::DuplicateSettlement.into(), "0xaa").of_payment(payment);
        assert_eq!(
            wire(answer),
            json!({
                "success": false, "errorReason": "duplicate_settlement", "payer": PAYER, "transaction": "0xaa",
                "network": "base-sepolia", "extra": {"paymentId": payment.to_string()},
            })
        );
    }

    #[test]
    fn a_pending_settlement_names_its_transaction() {
        let answer = wire(SettleResponse::pending(echo(), PaymentId::new(), "0xaa"));
        assert_eq!((&answer["success"], &answer["errorReason"]), (&json!(false), &json!("settlement_pending")));
        assert_eq!(answer["transaction"], "0xaa");
        assert!(answer["extra"].get("finality").is_none());
    }

    #[test]
    fn a_malformed_request_gets_a_typed_answer_with_a_plain_error() {
        let error = parse_request(b"{").unwrap_err();
        let verify = wire(VerifyResponse::from(&error));
        assert_eq!(
            (&verify["isValid"], &verify["invalidReason"], &verify["payer"]),
            (&json!(false), &json!("invalid_json"), &json!(""))
        );
        assert_eq!(verify["error"], verify["invalidMessage"]);
        let settle = wire(SettleResponse::from(&error));
        assert_eq!(
            (&settle["success"], &settle["errorReason"], &settle["payer"]),
            (&json!(false), &json!("invalid_json"), &json!(""))
        );
        assert_eq!((&settle["transaction"], &settle["network"]), (&json!(""), &json!("unknown:unknown")));
        assert!(settle["error"].is_string());
    }

    #[test]
    fn a_business_refusal_has_no_plain_error() {
        let error =
            parse_request(br#"{"paymentPayload":{"x402Version":3},"paymentRequirements":{"network":"base"}}"#).unwrap_err();
        let settle = wire(SettleResponse::from(&error));
        assert_eq!((&settle["errorReason"], &settle["network"]), (&json!("invalid_x402_version"), &json!("base")));
        assert!(settle.get("error").is_none());
    }

    #[test]
    fn every_answer_has_the_three_strings_and_no_null() {
        let refusal = Refusal { reason: Reason::SimulationFailed, detail: Some("é".repeat(2_000)) };
        for answer in [
            wire(VerifyResponse::invalid(Echo::UNKNOWN, &refusal)),
            wire(VerifyResponse::fault(Echo::UNKNOWN, UNEXPECTED_VERIFY_ERROR, &"x".repeat(2_000))),
            wire(SettleResponse::failure(Echo::UNKNOWN, &refusal, "")),
            wire(SettleResponse::fault(Echo::UNKNOWN, UNEXPECTED_SETTLE_ERROR, &"x".repeat(2_000))),
        ] {
            let members = answer.as_object().unwrap();
            assert!(members.values().all(|value| !value.is_null()), "{answer}");
            assert!(members["payer"].is_string(), "{answer}");
            if members.contains_key("success") {
                assert!(members["transaction"].is_string() && members["network"].is_string(), "{answer}");
            }
            let message = members.get("invalidMessage").or_else(|| members.get("errorMessage")).unwrap();
            assert_eq!(message.as_str().unwrap().chars().count(), DETAIL_CHARS_MAX);
        }
    }
}
