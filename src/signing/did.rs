//! The keys as a DID document of the method `did:web`, for verifiers that resolve a key by its name alone.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::Serialize;

use super::jwk::Jwk;
use super::key_set::KeySet;

/// The document at `/.well-known/did.json`, or at `/did.json` below the path that the public URL may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DidDocument {
    #[serde(rename = "@context")]
    context: [&'static str; 2],
    id: String,
    verification_method: Vec<Method>,
    assertion_method: Vec<String>,
}

/// A key in a DID document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "VerificationMethod")]
struct Method {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    controller: String,
    public_key_jwk: Jwk,
}

/// The vocabularies that a document with JSON Web Keys names (DID core, section 6.3, and the suite JSON Web Signature 2020).
const CONTEXT: [&str; 2] = ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/jws-2020/v1"];

/// The identifier of the service at `public_url`: host, port and path, with everything but letters, digits, `.`, `-` and `_` encoded.
#[must_use]
pub fn identifier(public_url: &str) -> String {
    let place = public_url.split_once("://").map_or(public_url, |(_, place)| place);
    let parts: Vec<_> = place.trim_end_matches('/').split('/').map(encoded).collect();
    format!("did:web:{}", parts.join(":"))
}

/// The name of a key for those who know only the identifier.
#[must_use]
pub fn key_name(public_url: &str, kid: &str) -> String {
    format!("{}#{kid}", identifier(public_url))
}

/// The document of the service at `public_url`. Retired keys stay in it, because what they signed holds.
#[must_use]
pub fn document(public_url: &str, keys: &KeySet) -> DidDocument {
    let id = identifier(public_url);
    let method = |jwk: Jwk| Method {
        id: format!("{id}#{}", jwk.kid()),
        kind: "JsonWebKey2020",
        controller: id.clone(),
        public_key_jwk: jwk,
    };
    let verification_method: Vec<_> = keys.keys().iter().map(|key| method(key.jwk())).collect();
    let assertion_method = verification_method.iter().map(|method| method.id.clone()).collect();
    DidDocument { context: CONTEXT, id, verification_method, assertion_method }
}

fn encoded(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("a text takes everything");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::jwk::PublicKey;
    use super::super::jwk::tests::{at, edwards, point};
    use super::*;
    use serde_json::json;

    #[test]
    fn an_identifier_is_the_url_without_its_scheme() {
        for (url, did) in [
            ("https://pay.example.com", "did:web:pay.example.com"),
            ("https://pay.example.com/", "did:web:pay.example.com"),
            ("http://127.0.0.1:4020", "did:web:127.0.0.1%3A4020"),
            ("http://[::1]:4020", "did:web:%5B%3A%3A1%5D%3A4020"),
            ("https://example.com/pay/v1", "did:web:example.com:pay:v1"),
            ("https://example.com/a%20b", "did:web:example.com:a%2520b"),
        ] {
            assert_eq!(identifier(url), did);
        }
    }

    #[test]
    fn a_document_lists_every_key_for_assertions() {
        let keys =
            KeySet::new(vec![PublicKey::new(edwards(), at(1_000), Some(at(2_000))), PublicKey::new(point(), at(1_000), None)]);

        let document = serde_json::to_value(document("http://localhost:4020", &keys)).unwrap();

        let [first, second] = [
            key_name("http://localhost:4020", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
            key_name("http://localhost:4020", "23rCrcAaBl31JS7oIBVDW_M0OztvUfTzU-6czKL6Xho"),
        ];
        assert_eq!(document["id"], "did:web:localhost%3A4020");
        assert_eq!(document["@context"][0], "https://www.w3.org/ns/did/v1");
        assert_eq!(document["assertionMethod"], json!([first, second]));
        assert_eq!(document["verificationMethod"][0]["id"], first);
        assert_eq!(document["verificationMethod"][1]["id"], second);
        assert_eq!(first, "did:web:localhost%3A4020#kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let method = &document["verificationMethod"][0];
        assert_eq!((&method["type"], &method["controller"]), (&json!("JsonWebKey2020"), &document["id"]));
        assert_eq!(method["publicKeyJwk"], serde_json::to_value(keys.keys()[0].jwk()).unwrap());
    }
}
