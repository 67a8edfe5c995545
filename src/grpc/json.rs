//! Between messages and the JSON that the same thing is over HTTP. build.rs names these functions in what it makes.

/// How members of answers are read.
pub mod read {
    use prost_types::Timestamp;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde_json::value::RawValue;

    /// Any JSON, as its text.
    ///
    /// # Errors
    /// It is none.
    pub fn json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|json| json.get().to_owned())
    }

    /// The same where it is there.
    ///
    /// # Errors
    /// It is none.
    pub fn optional_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
        json(deserializer).map(Some)
    }

    /// A list of any JSON.
    ///
    /// # Errors
    /// It is none.
    pub fn json_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        let list = Vec::<Box<RawValue>>::deserialize(deserializer)?;
        Ok(list.into_iter().map(|json| json.get().to_owned()).collect())
    }

    /// A text as it is, and other JSON as its text.
    ///
    /// # Errors
    /// It is none.
    pub fn text_or_json<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        let json = json(deserializer)?;
        Ok(serde_json::from_str(&json).unwrap_or(json))
    }

    /// A moment (RFC 3339).
    ///
    /// # Errors
    /// It is none.
    pub fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Some).map_err(Error::custom)
    }
}

/// How members of requests are written.
pub mod write {
    use prost_types::Timestamp;
    use serde::ser::{Error, Serialize, Serializer};
    use serde_json::value::RawValue;

    /// JSON that came as its text.
    ///
    /// # Errors
    /// It is none.
    pub fn json<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
        let json = text.clone().map(RawValue::from_string).transpose().map_err(S::Error::custom)?;
        json.serialize(serializer)
    }

    /// A moment, in RFC 3339.
    ///
    /// # Errors
    /// There is no such moment.
    pub fn moment<S: Serializer>(moment: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        moment.as_ref().map(ToString::to_string).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use crate::grpc::v1::{Invoice, InvoicesCreateRequest, ReceiptRevision, SettleResponse, SupportedResponse};

    #[test]
    fn an_answer_keeps_what_is_in_it() {
        let invoice: Invoice = serde_json::from_str(
            r#"{"id": "inv_1", "decimals": 6, "createdAt": "2026-11-28T14:15:44.032446Z", "matchAmount": true, "accepts": [{"a": 1}, {}],
                "metadata": {"big": 12345678901234567890, "real": 1.50}, "headers": {"X402-Cost": "1"}, "unheardOf": [],
                "options": [{"payTo": "0x1", "eip681": "ethereum:0x1", "solanaPay": "solana:1"}]}"#,
        )
        .unwrap();

        assert_eq!((invoice.id.as_str(), invoice.decimals, invoice.match_amount), ("inv_1", 6, true));
        assert_eq!(invoice.created_at.unwrap().to_string(), "2026-11-28T14:15:44.032446Z");
        assert_eq!((invoice.expires_at, invoice.canceled_at, invoice.payer), (None, None, None));
        assert_eq!(invoice.accepts, [r#"{"a": 1}"#, "{}"]);
        assert_eq!(invoice.metadata, r#"{"big": 12345678901234567890, "real": 1.50}"#);
        assert_eq!(invoice.headers["X402-Cost"], "1");
        let option = &invoice.options[0];
        assert_eq!((option.pay_to.as_str(), option.eip681.as_deref()), ("0x1", Some("ethereum:0x1")));
        assert_eq!(option.solana_pay.as_deref(), Some("solana:1"));
    }

    #[test]
    fn json_is_a_text_and_a_text_is_itself() {
        let revision =
            |receipt: &str| serde_json::from_str::<ReceiptRevision>(&format!("{{\"receipt\": {receipt}}}")).unwrap().receipt;
        assert_eq!((revision("\"a.b.c\"").as_str(), revision("{\"a\":1}").as_str()), ("a.b.c", "{\"a\":1}"));

        let settled: SettleResponse = serde_json::from_str(r#"{"success": true, "paymentId": "pay_1"}"#).unwrap();
        assert_eq!((settled.success, settled.payment_id.as_deref(), settled.extensions), (true, Some("pay_1"), None));

        let text = r#"{"kinds": [{"x402Version": 2, "extra": {"feePayer": "a"}}], "signers": {"eip155:*": ["0x1", "0x2"]}}"#;
        let supported: SupportedResponse = serde_json::from_str(text).unwrap();
        assert_eq!((supported.kinds[0].x402_version, supported.kinds[0].extra.as_deref()), (2, Some(r#"{"feePayer": "a"}"#)));
        assert_eq!(supported.signers["eip155:*"].addresses, ["0x1", "0x2"]);
    }

    #[test]
    fn an_order_is_the_body_of_the_same_request_over_http() {
        let order = InvoicesCreateRequest {
            amount: "1".to_owned(),
            expires_at: Some("2026-11-28T14:15:44Z".parse().unwrap()),
            metadata: Some("{\"a\": 1.50}".to_owned()),
            ..InvoicesCreateRequest::default()
        };

        let body = serde_json::to_string(&order).unwrap();

        assert!(body.contains(r#""expiresAt":"2026-11-28T14:15:44Z""#) && body.contains(r#""metadata":{"a": 1.50}"#), "{body}");
        assert!(crate::api::body::read::<crate::api::invoices::OrderBody>(body.as_bytes()).is_ok(), "{body}");
        for metadata in ["", "{", "{}, \"amount\": \"2\"", "{} {}"] {
            let order = InvoicesCreateRequest { metadata: Some(metadata.to_owned()), ..order.clone() };
            assert!(serde_json::to_string(&order).is_err(), "{metadata}");
        }
    }
}
