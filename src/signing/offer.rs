//! A receipt in the shape of the x402 extension `offer-receipt` (version 0.6), for merchants who opted in to it.
//!
//! The extension's receipt is a resource server's word that it delivered. Ours says less: that the payer paid. A verifier believes it
//! only if the merchant names our key for that, which the merchant does by opting in.

use ed25519_dalek::SigningKey;
use serde::Serialize;
use serde_json::{Value, json};

use super::canonical::canonical;
use super::did;
use super::jws::{ALGORITHM, compact};
use crate::domain::receipt::Statement;

/// The key of the extension in a settle answer.
pub const EXTENSION: &str = "offer-receipt";

/// The version of the payload.
const VERSION: u32 = 1;

/// The protected header. It has no type, so it is never taken for the header of a receipt of ours.
#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    kid: &'a str,
}

/// The payload, with its members in the order of their names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    issued_at: i64,
    network: &'a str,
    payer: &'a str,
    resource_url: &'a str,
    transaction: &'a str,
    version: u32,
}

/// The extension's value for a settle answer, signed by the key `kid` of the service at `public_url`.
///
/// `None` if the statement names no resource, without which such a receipt says nothing.
pub(super) fn extension(statement: &Statement, public_url: &str, kid: &str, key: &SigningKey) -> Option<Value> {
    let header = Header { alg: ALGORITHM, kid: &did::key_name(public_url, kid) };
    let payload = Payload {
        issued_at: statement.issued_at.timestamp(),
        network: statement.network.as_str(),
        payer: &statement.payer.to_string(),
        resource_url: statement.purpose.resource()?,
        transaction: &statement.transaction,
        version: VERSION,
    };
    let signature = compact(&canonical(&header), &canonical(&payload), key);
    Some(json!({"info": {"receipt": {"format": "jws", "signature": signature}}, "schema": schema()}))
}

/// What `info` looks like, as the x402 SDK describes it.
fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "receipt": {
                "type": "object",
                "properties": {
                    "format": {"type": "string"},
                    "payload": {
                        "type": "object",
                        "properties": {
                            "version": {"type": "integer"},
                            "network": {"type": "string"},
                            "resourceUrl": {"type": "string"},
                            "payer": {"type": "string"},
                            "issuedAt": {"type": "integer"},
                            "transaction": {"type": "string"},
                        },
                        "required": ["version", "network", "resourceUrl", "payer", "issuedAt"],
                    },
                    "signature": {"type": "string"},
                },
                "required": ["format", "signature"],
            },
        },
        "required": ["receipt"],
    })
}

#[cfg(test)]
mod tests {
    use super::super::jws::tests::rfc_8037_key;
    use super::*;
    use crate::domain::ids::InvoiceId;
    use crate::domain::receipt::Purpose;
    use crate::domain::receipt::tests::statement;

    const KID: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";

    #[test]
    fn the_receipt_is_that_of_the_x402_sdk() {
        let value = extension(&statement(), "https://pay.example.com", KID, &rfc_8037_key()).unwrap();

        // Made by @x402/extensions 2.27 with the same key, time and payment. Equal signatures mean equal headers and payloads.
        let jws = value["info"]["receipt"]["signature"].as_str().unwrap();
        let (input, signature) = jws.rsplit_once('.').unwrap();
        assert_eq!(signature, "8D1QQek0KF-g67Fo79SYI4IF306wzGpfrkbiAn603aPtfNvHobTIbTR-P8yj1Ru9v_7kQT2WB2y1QKveyhghBQ");
        assert!(input.starts_with("eyJhbGciOiJFZERTQSIsImtpZCI6ImRpZDp3ZWI6cGF5LmV4YW1wbGUuY29tI2tQcktf"), "{input}");
        assert_eq!(value["info"]["receipt"]["format"], "jws");
        assert_eq!(value["info"].as_object().unwrap().len(), 1);
        assert_eq!(value["schema"]["required"][0], "receipt");
    }

    #[test]
    fn without_a_resource_there_is_none() {
        let paid = Statement { purpose: Purpose::Invoice(InvoiceId::new()), ..statement() };

        assert_eq!(extension(&paid, "https://pay.example.com", KID, &rfc_8037_key()), None);
    }
}
