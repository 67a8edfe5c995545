//! Signed receipts of a facilitator, verified without asking it, and held against what it was asked for.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use ed25519_dalek::{Signature, VerifyingKey};
use serde::Deserialize;

use crate::token::Family;

/// The only algorithm. A header that names another is refused, whatever the key could do.
const ALGORITHM: &str = "EdDSA";

/// The type of a receipt, so that nothing else that the same key signs is taken for one.
const TYPE: &str = "quittance-receipt+jws";

/// The version of the claims.
const VERSION: u32 = 1;

/// Why a receipt does not hold, or is not for what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The answer of the settlement has none.
    #[error("the facilitator signed no receipt")]
    Missing,
    /// Not three parts in base64url with a signature of 64 bytes.
    #[error("not a compact JWS")]
    Form,
    /// The header has other members than `alg`, `kid` and `typ`, or other values than a receipt's.
    #[error("the header is not that of a receipt")]
    Header,
    /// The facilitator does not publish the key.
    #[error("the facilitator publishes no key of this name")]
    UnknownKey,
    /// The key does not belong to the time of the receipt.
    #[error("the key was not in use when the receipt was issued")]
    KeyNotInUse,
    /// Something was changed after it was signed, or another key signed it.
    #[error("the signature does not hold")]
    Signature,
    /// The claims cannot be read, or are of a version that does not exist yet.
    #[error("the claims cannot be read")]
    Claims,
    /// The transfer was undone.
    #[error("the receipt says that the payment was undone")]
    Revoked,
    /// It is signed, and says something else than what was asked for and answered.
    #[error("the receipt is for another {0}")]
    Differs(&'static str),
    /// It is for the same, and has bought something before.
    #[error("the receipt was used before")]
    Used,
}

/// What a receipt says, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claims {
    amount: String,
    asset: String,
    finality: String,
    issued_at: i64,
    issuer: String,
    network: String,
    pay_to: String,
    payer: String,
    receipt_id: String,
    resource_url: Option<String>,
    transaction: String,
    version: u32,
}

/// What a receipt has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked<'a> {
    pub family: Family,
    /// The CAIP-2 identifier, whatever the version.
    pub network: &'a str,
    pub asset: &'a str,
    pub pay_to: &'a str,
    /// In atomic units.
    pub amount: &'a str,
    /// As the facilitator said before anything was paid.
    pub payer: &'a str,
    /// As the facilitator answered.
    pub transaction: &'a str,
    /// What the payment named.
    pub resource: Option<&'a str>,
    /// The name of the facilitator, where it is known.
    pub issuer: Option<&'a str>,
}

/// A receipt whose signature was not checked yet.
#[derive(Debug)]
pub(crate) struct Receipt<'a> {
    input: &'a str,
    kid: String,
    claims: Vec<u8>,
    signature: [u8; 64],
}

impl<'a> Receipt<'a> {
    /// Takes a compact JWS apart and reads its header. Nothing is verified here.
    pub(crate) fn parse(jws: &'a str) -> Result<Self, ReceiptError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Header {
            alg: String,
            kid: String,
            typ: String,
        }
        let (input, signature) = jws.rsplit_once('.').ok_or(ReceiptError::Form)?;
        let (header, claims) = input.split_once('.').ok_or(ReceiptError::Form)?;
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| ReceiptError::Form);
        let (header, claims) = (part(header)?, part(claims)?);
        let signature = part(signature)?.try_into().map_err(|_| ReceiptError::Form)?;
        let header: Header = serde_json::from_slice(&header).map_err(|_| ReceiptError::Header)?;
        if header.alg != ALGORITHM || header.typ != TYPE {
            return Err(ReceiptError::Header);
        }
        Ok(Self { input, kid: header.kid, claims, signature })
    }

    /// The name of the key that is said to have signed.
    pub(crate) fn kid(&self) -> &str {
        &self.kid
    }

    /// Verifies the signature, and that the receipt says what was asked for. Returns its id.
    pub(crate) fn check(&self, keys: &Keys, asked: &Asked<'_>) -> Result<String, ReceiptError> {
        let key = keys.named(&self.kid).ok_or(ReceiptError::UnknownKey)?;
        let signature = Signature::from_bytes(&self.signature);
        key.verifying.verify_strict(self.input.as_bytes(), &signature).map_err(|_| ReceiptError::Signature)?;
        let claims: Claims = serde_json::from_slice(&self.claims).map_err(|_| ReceiptError::Claims)?;
        if claims.version != VERSION {
            return Err(ReceiptError::Claims);
        }
        if !key.was_in_use(claims.issued_at) {
            return Err(ReceiptError::KeyNotInUse);
        }
        claims.compare(asked)?;
        Ok(claims.receipt_id)
    }
}

impl Claims {
    fn compare(&self, asked: &Asked<'_>) -> Result<(), ReceiptError> {
        let same = |left: &str, right: &str| asked.family.same_address(left, right);
        let differs = [
            ("network", self.network != asked.network),
            ("asset", !same(&self.asset, asked.asset)),
            ("payTo", !same(&self.pay_to, asked.pay_to)),
            ("amount", self.amount != asked.amount),
            ("payer", !same(&self.payer, asked.payer)),
            ("transaction", self.transaction != asked.transaction),
            ("resourceUrl", self.resource_url.as_deref() != asked.resource.filter(|url| !url.is_empty())),
            ("issuer", asked.issuer.is_some_and(|issuer| issuer != self.issuer)),
        ];
        if let Some((claim, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            return Err(ReceiptError::Differs(claim));
        }
        match self.finality.as_str() {
            "included" | "final" => Ok(()),
            "revoked" => Err(ReceiptError::Revoked),
            _ => Err(ReceiptError::Claims),
        }
    }
}

/// The public keys of a facilitator, by their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys(HashMap<String, Key>);

#[derive(Debug, Clone)]
struct Key {
    verifying: VerifyingKey,
    created_at: Option<DateTime<Utc>>,
    retired_at: Option<DateTime<Utc>>,
}

impl Key {
    /// Receipts have whole seconds, and both ends belong to the key.
    fn was_in_use(&self, seconds: i64) -> bool {
        let begun = self.created_at.is_none_or(|created_at| created_at.timestamp() <= seconds);
        begun && self.retired_at.is_none_or(|retired_at| seconds <= retired_at.timestamp())
    }
}

impl Keys {
    /// Reads a JSON Web Key Set (RFC 7517). Keys that are of another kind, or cannot be read, are passed over (section 5 there).
    pub(crate) fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(text)?;
        Ok(Self(set.keys.into_iter().filter_map(key).collect()))
    }

    pub(crate) fn has(&self, kid: &str) -> bool {
        self.0.contains_key(kid)
    }

    fn named(&self, kid: &str) -> Option<&Key> {
        self.0.get(kid)
    }
}

/// A key of the set under its name, if it is one that signs receipts (RFC 8037).
fn key(value: serde_json::Value) -> Option<(String, Key)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Jwk {
        kty: String,
        crv: String,
        kid: String,
        x: String,
        created_at: Option<DateTime<Utc>>,
        retired_at: Option<DateTime<Utc>>,
    }
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if (jwk.kty.as_str(), jwk.crv.as_str()) != ("OKP", "Ed25519") {
        return None;
    }
    let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(jwk.x).ok()?.try_into().ok()?;
    let verifying = VerifyingKey::from_bytes(&bytes).ok()?;
    Some((jwk.kid, Key { verifying, created_at: jwk.created_at, retired_at: jwk.retired_at }))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ed25519_dalek::{Signer as _, SigningKey};
    use serde_json::{Value, json};

    /// The claims that the facilitator's own tests sign, byte for byte.
    const PAYLOAD: &str = include_str!("../tests/receipt.json");

    fn signing_key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn encode(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn keys_with(members: &Value) -> Keys {
        let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": encode(signing_key().verifying_key().as_bytes())});
        jwk.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        Keys::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap()
    }

    fn keys() -> Keys {
        keys_with(&json!({"createdAt": "2026-01-01T00:00:00Z"}))
    }

    fn claims() -> Value {
        serde_json::from_str(PAYLOAD).unwrap()
    }

    fn signed(header: &Value, claims: &Value) -> String {
        let input = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = encode(signing_key().sign(input.as_bytes()).to_bytes());
        format!("{input}.{signature}")
    }

    fn header() -> Value {
        json!({"alg": "EdDSA", "kid": "k", "typ": "quittance-receipt+jws"})
    }

    fn asked(claims: &Value) -> Asked<'_> {
        let text = |name: &str| claims[name].as_str().unwrap();
        Asked {
            family: Family::Evm,
            network: text("network"),
            asset: text("asset"),
            pay_to: text("payTo"),
            amount: text("amount"),
            payer: text("payer"),
            transaction: text("transaction"),
            resource: Some(text("resourceUrl")),
            issuer: None,
        }
    }

    fn verdict(jws: &str, keys: &Keys) -> Result<(), ReceiptError> {
        Receipt::parse(jws)?.check(keys, &asked(&claims())).map(drop)
    }

    #[test]
    fn a_receipt_for_what_was_asked_holds() {
        let jws = signed(&header(), &claims());

        assert_eq!(verdict(&jws, &keys()), Ok(()));
        let claims = claims();
        let named = Asked { issuer: claims["issuer"].as_str(), ..asked(&claims) };
        assert_eq!(Receipt::parse(&jws).unwrap().check(&keys(), &named).unwrap(), "rct_0190a1b2c3d4700080000000000000a1");
        // Nothing but a checksum is in the case of a letter.
        let lower = claims["payTo"].as_str().unwrap().to_lowercase();
        assert!(Receipt::parse(&jws).unwrap().check(&keys(), &Asked { pay_to: &lower, ..asked(&claims) }).is_ok());
    }

    #[test]
    fn what_the_facilitator_signs_holds() {
        // Its own test has the same: made by `jose` 5 with the key of RFC 8037, under the name that RFC 7638 gives that key.
        let header = r#"{"alg":"EdDSA","kid":"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k","typ":"quittance-receipt+jws"}"#;
        let signature = "P03SzPBXJGLZWPtpuqtAwK1TzGdX5bEs2qwmvJWg7F_Ml-TWIZK2Megryrs3DdT9bJ4Iepnxi01WMPLN1t6lCw";
        let jws = format!("{}.{}.{signature}", encode(header), encode(PAYLOAD));
        let jwk = json!({
            "kty": "OKP", "crv": "Ed25519", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "createdAt": "2026-01-01T00:00:00Z",
        });

        assert_eq!(verdict(&jws, &Keys::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap()), Ok(()));
    }

    #[test]
    fn a_receipt_for_anything_else_is_refused() {
        for (claim, value, named) in [
            ("network", json!("eip155:8453"), "network"),
            ("asset", json!("0x0000000000000000000000000000000000000001"), "asset"),
            ("payTo", json!("0x0000000000000000000000000000000000000001"), "payTo"),
            ("amount", json!("1"), "amount"),
            ("payer", json!("0x0000000000000000000000000000000000000001"), "payer"),
            ("transaction", json!("0x00"), "transaction"),
            ("resourceUrl", json!("https://another.example"), "resourceUrl"),
            ("resourceUrl", json!(null), "resourceUrl"),
        ] {
            let mut other = claims();
            other[claim] = value;
            assert_eq!(verdict(&signed(&header(), &other), &keys()), Err(ReceiptError::Differs(named)));
        }
        let claims = claims();
        let jws = signed(&header(), &claims);
        let elsewhere = Asked { issuer: Some("https://other.example"), ..asked(&claims) };
        assert_eq!(Receipt::parse(&jws).unwrap().check(&keys(), &elsewhere), Err(ReceiptError::Differs("issuer")));
    }

    #[test]
    fn an_undone_payment_and_claims_of_another_kind_are_refused() {
        for (claim, value, error) in [
            ("finality", json!("revoked"), ReceiptError::Revoked),
            ("finality", json!("perhaps"), ReceiptError::Claims),
            ("version", json!(2), ReceiptError::Claims),
            ("amount", json!(150_000), ReceiptError::Claims),
        ] {
            let mut other = claims();
            other[claim] = value;
            assert_eq!(verdict(&signed(&header(), &other), &keys()), Err(error), "{claim}");
        }
    }

    #[test]
    fn a_changed_receipt_is_refused() {
        let jws = signed(&header(), &claims());
        let mut other = claims();
        other["amount"] = json!("1");
        let (_, signature) = jws.rsplit_once('.').unwrap();
        let forged = format!("{}.{}.{signature}", encode(header().to_string()), encode(other.to_string()));
        assert_eq!(verdict(&forged, &keys()), Err(ReceiptError::Signature));

        for form in ["", "a.b", "a.b.c", "....", &jws.replace('.', "_"), &format!("{jws}="), &format!("{jws}.{jws}")] {
            assert!(matches!(verdict(form, &keys()), Err(ReceiptError::Form | ReceiptError::Header)), "{form}");
        }
    }

    #[test]
    fn no_header_but_that_of_a_receipt_is_taken() {
        for (name, value) in [
            ("alg", json!("none")),
            ("alg", json!("HS256")),
            ("typ", json!("JWT")),
            ("crit", json!(["b64"])),
            ("jku", json!("https://a")),
        ] {
            let mut other = header();
            other[name] = value;
            assert_eq!(verdict(&signed(&other, &claims()), &keys()), Err(ReceiptError::Header), "{name}");
        }
        let mut other = header();
        other["kid"] = json!("another");
        assert_eq!(verdict(&signed(&other, &claims()), &keys()), Err(ReceiptError::UnknownKey));
    }

    #[test]
    fn a_key_signs_only_in_its_time() {
        let jws = signed(&header(), &claims());
        let issued_at = DateTime::from_timestamp(claims()["issuedAt"].as_i64().unwrap(), 0).unwrap();
        let at = |seconds: i64| (issued_at + chrono::TimeDelta::seconds(seconds)).to_rfc3339();

        assert_eq!(verdict(&jws, &keys_with(&json!({"createdAt": at(0), "retiredAt": at(0)}))), Ok(()));
        assert_eq!(verdict(&jws, &keys_with(&json!({"createdAt": at(1)}))), Err(ReceiptError::KeyNotInUse));
        assert_eq!(verdict(&jws, &keys_with(&json!({"createdAt": at(-2), "retiredAt": at(-1)}))), Err(ReceiptError::KeyNotInUse));
    }

    #[test]
    fn only_keys_for_receipts_are_read() {
        let x = encode(signing_key().verifying_key().as_bytes());
        let set = json!({"keys": [
            {"kty": "EC", "crv": "secp256k1", "kid": "a", "x": x, "y": x},
            {"kty": "OKP", "crv": "Ed25519", "kid": "b", "x": "AA"},
            {"kty": "OKP", "crv": "X25519", "kid": "c", "x": x},
            {"kty": "OKP", "crv": "Ed25519", "x": x},
            {"kty": "OKP", "crv": "Ed25519", "kid": "e", "x": x, "createdAt": "yesterday"},
            {"kty": "OKP", "crv": "Ed25519", "kid": "f", "x": x},
        ]});
        let keys = Keys::parse(set.to_string().as_bytes()).unwrap();
        assert_eq!(keys.0.keys().collect::<Vec<_>>(), ["f"]);
        assert!(Keys::parse(b"{}").is_err() && Keys::parse(b"[]").is_err());
    }
}
