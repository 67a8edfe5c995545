//! The set of keys that a verifier believes, as a JSON Web Key Set (RFC 7517).

use chrono::{DateTime, Utc};
use ed25519_dalek::VerifyingKey;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::base64url::decode_exactly;
use super::jwk::{EC, ED25519, Jwk, Material, OKP, PublicKey, SECP256K1};
use crate::domain::address::Address;
use crate::x402::json::{DEPTH_MAX, object};

/// The document at `/.well-known/jwks.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Jwks {
    keys: Vec<Jwk>,
}

/// The keys that a verifier believes, retired ones among them: what they signed in their time holds for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<PublicKey>,
}

/// Why a text is not a set of keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Not one JSON object without duplicate members.
    #[error("not one JSON object in which every member stands once")]
    NotJson,
    /// There is no member `keys` that is a list of objects.
    #[error("there is no list of keys")]
    NoList,
    /// Nothing in the list is a key for receipts.
    #[error("there is no key for receipts")]
    NoKey,
    /// A key for receipts has no readable `x`, `y`, `createdAt` or `retiredAt`.
    #[error("key {number} has no readable {member}")]
    Unreadable {
        /// Its place in the list, from one.
        number: usize,
        /// The member.
        member: &'static str,
    },
    /// The name is not the key's thumbprint.
    #[error("key {0} does not have its thumbprint for a name")]
    Name(usize),
    /// The private part stands in what is meant for everybody.
    #[error("key {0} is a private key, and whoever saw it can sign")]
    Private(usize),
    /// The same key stands there twice, perhaps with different times.
    #[error("key {0} stands there twice")]
    Twice(usize),
}

impl KeySet {
    pub(super) const fn new(keys: Vec<PublicKey>) -> Self {
        Self { keys }
    }

    /// Reads a document as we publish it. Keys of other kinds are passed over (RFC 7517, section 5).
    ///
    /// # Errors
    /// See [`KeySetError`].
    pub fn parse(text: &str) -> Result<Self, KeySetError> {
        let document = object(text.as_bytes(), DEPTH_MAX).map_err(|_| KeySetError::NotJson)?;
        let list = document.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoList)?;
        let mut keys: Vec<PublicKey> = Vec::new();
        for (number, key) in (1..).zip(list) {
            let members = key.as_object().ok_or(KeySetError::NoList)?;
            let Some(key) = (Entry { number, members }).key()? else { continue };
            if keys.iter().any(|other| other.kid() == key.kid()) {
                return Err(KeySetError::Twice(number));
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(KeySetError::NoKey) } else { Ok(Self { keys }) }
    }

    /// The keys, oldest first.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// The document for everybody.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        Jwks { keys: self.keys.iter().map(PublicKey::jwk).collect() }
    }

    /// The key for JWS of exactly this name.
    pub(super) fn named(&self, kid: &str) -> Option<(&PublicKey, &VerifyingKey)> {
        let key = self.keys.iter().find(|key| key.kid() == kid)?;
        match key.material() {
            Material::Ed25519(material) => Some((key, material)),
            Material::Secp256k1 { .. } => None,
        }
    }

    /// The key for typed data of this address.
    pub(super) fn of_address(&self, address: Address) -> Option<&PublicKey> {
        self.keys.iter().find(|key| key.material().address() == Some(address))
    }
}

/// One object of the list, and its place from one.
struct Entry<'a> {
    number: usize,
    members: &'a Map<String, Value>,
}

impl Entry<'_> {
    /// The key for receipts, if it is one.
    fn key(&self) -> Result<Option<PublicKey>, KeySetError> {
        let material = match (self.text("kty"), self.text("crv")) {
            (Some(OKP), Some(ED25519)) => {
                let key = VerifyingKey::from_bytes(&self.coordinate("x")?).ok();
                // A weak key verifies signatures that nobody made.
                Material::Ed25519(key.filter(|key| !key.is_weak()).ok_or(self.unreadable("x"))?)
            }
            (Some(EC), Some(SECP256K1)) => Material::Secp256k1 { x: self.coordinate("x")?, y: self.coordinate("y")? },
            _ => return Ok(None),
        };
        if self.members.contains_key("d") {
            return Err(KeySetError::Private(self.number));
        }
        let created_at = self.time("createdAt")?.ok_or(self.unreadable("createdAt"))?;
        let key = PublicKey::new(material, created_at, self.time("retiredAt")?);
        if self.text("kid") == Some(key.kid()) { Ok(Some(key)) } else { Err(KeySetError::Name(self.number)) }
    }

    fn text(&self, member: &str) -> Option<&str> {
        self.members.get(member).and_then(Value::as_str)
    }

    fn coordinate(&self, member: &'static str) -> Result<[u8; 32], KeySetError> {
        self.text(member).and_then(decode_exactly).ok_or(self.unreadable(member))
    }

    fn time(&self, member: &'static str) -> Result<Option<DateTime<Utc>>, KeySetError> {
        if !self.members.contains_key(member) {
            return Ok(None);
        }
        let time = self.text(member).and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        time.map(|time| Some(time.to_utc())).ok_or(self.unreadable(member))
    }

    const fn unreadable(&self, member: &'static str) -> KeySetError {
        KeySetError::Unreadable { number: self.number, member }
    }
}

#[cfg(test)]
mod tests {
    use super::super::jwk::tests::{at, edwards, point};
    use super::*;
    use serde_json::json;

    fn set() -> KeySet {
        KeySet::new(vec![PublicKey::new(edwards(), at(1_000), Some(at(2_000))), PublicKey::new(point(), at(1_500), None)])
    }

    fn document() -> Value {
        serde_json::to_value(set().jwks()).unwrap()
    }

    fn parse(document: &Value) -> Result<KeySet, KeySetError> {
        KeySet::parse(&document.to_string())
    }

    #[test]
    fn a_document_is_read_back() {
        assert_eq!(
            document(),
            json!({"keys": [
                {
                    "kty": "OKP", "crv": "Ed25519", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", "use": "sig", "alg": "EdDSA",
                    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
                    "createdAt": "1970-01-01T00:16:40Z", "retiredAt": "1970-01-01T00:33:20Z",
                },
                {
                    "kty": "EC", "crv": "secp256k1", "kid": "23rCrcAaBl31JS7oIBVDW_M0OztvUfTzU-6czKL6Xho", "use": "sig",
                    "x": "S8KjEmUVPwfnDgurCHJOa4XiF_jNYozrYpdCR7tJM4I", "y": "zijKt5rXEZ7hrT6825ihaAUhFTDsxs_vobiObf-ZIyo",
                    "address": "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F", "createdAt": "1970-01-01T00:25:00Z",
                },
            ]})
        );
        assert_eq!(parse(&document()), Ok(set()));
    }

    #[test]
    fn keys_of_other_kinds_are_passed_over() {
        let mut more = document();
        let keys = more["keys"].as_array_mut().unwrap();
        keys.insert(0, json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "../../x"}));
        keys.push(json!({"kty": "OKP", "crv": "X25519", "x": "AA"}));
        assert_eq!(parse(&more), Ok(set()));
        assert_eq!(parse(&json!({"keys": [{"kty": "oct", "k": "AA"}]})), Err(KeySetError::NoKey));
    }

    #[test]
    fn a_set_that_is_not_ours_is_refused() {
        let unreadable = |member| KeySetError::Unreadable { number: 1, member };
        let cases = [
            ("x", json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="), unreadable("x")),
            ("x", json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHUR"), unreadable("x")),
            // The neutral point, under which anything verifies loosely.
            ("x", json!("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), unreadable("x")),
            ("x", Value::Null, unreadable("x")),
            ("createdAt", Value::Null, unreadable("createdAt")),
            ("createdAt", json!(1_000), unreadable("createdAt")),
            ("retiredAt", json!("tomorrow"), unreadable("retiredAt")),
            ("retiredAt", Value::Null, unreadable("retiredAt")),
            ("kid", json!("../../x"), KeySetError::Name(1)),
            ("kid", Value::Null, KeySetError::Name(1)),
            ("d", json!("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"), KeySetError::Private(1)),
        ];

        for (member, value, error) in cases {
            let mut broken = document();
            broken["keys"][0][member] = value;
            assert_eq!(parse(&broken), Err(error), "{broken}");
        }
        let mut twice = document();
        let first = twice["keys"][0].clone();
        twice["keys"].as_array_mut().unwrap().push(first);
        assert_eq!(parse(&twice), Err(KeySetError::Twice(3)));
        assert_eq!(parse(&json!({"keys": {}})), Err(KeySetError::NoList));
        assert_eq!(parse(&json!({"keys": ["x"]})), Err(KeySetError::NoList));
        let text = document().to_string();
        assert_eq!(KeySet::parse(&text.replacen("\"crv\"", "\"crv\":\"x\",\"crv\"", 1)), Err(KeySetError::NotJson));
        assert_eq!(KeySet::parse(""), Err(KeySetError::NotJson));
    }

    #[test]
    fn a_key_is_found_only_for_what_it_signs() {
        let set = set();
        let [edwards, point] = set.keys() else { panic!("two keys") };

        assert_eq!(set.named(edwards.kid()).map(|(key, _)| key), Some(edwards));
        assert_eq!(set.named(point.kid()), None);
        assert_eq!(set.named(""), None);
        assert_eq!(set.of_address(point.material().address().unwrap()), Some(point));
        assert_eq!(set.of_address(Address::Evm([0; 20])), None);
    }
}
