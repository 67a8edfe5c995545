//! Public keys as JSON Web Keys (RFC 7517), with the time in which each of them signed.
//!
//! A key is named by its thumbprint (RFC 7638), which is a hash of the key: a name that stands for another key does not exist.

use chrono::{DateTime, Utc};
use ed25519_dalek::VerifyingKey;
use schemars::JsonSchema;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use sha3::Keccak256;

use super::base64url::encode;
use super::canonical::canonical;
use super::jws::ALGORITHM;
use crate::domain::address::Address;

/// The key type of Edwards curves (RFC 8037).
pub(super) const OKP: &str = "OKP";
/// The key type of other curves (RFC 7518).
pub(super) const EC: &str = "EC";
/// The curve of receipts as JWS.
pub(super) const ED25519: &str = "Ed25519";
/// The curve of receipts as typed data (RFC 8812).
pub(super) const SECP256K1: &str = "secp256k1";

/// What a key verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Material {
    /// Receipts as JWS.
    Ed25519(VerifyingKey),
    /// Receipts as typed data (EIP-712): the point of the key.
    Secp256k1 {
        /// Its first coordinate.
        x: [u8; 32],
        /// Its second coordinate.
        y: [u8; 32],
    },
}

impl Material {
    /// The address under which contracts and wallets know the key.
    #[must_use]
    pub fn address(&self) -> Option<Address> {
        let Self::Secp256k1 { x, y } = self else { return None };
        let hash = Keccak256::digest([*x, *y].concat());
        let mut address = [0; 20];
        address.copy_from_slice(&hash[12..]);
        Some(Address::Evm(address))
    }

    /// Key type, curve and coordinates, as a JSON Web Key has them.
    pub(super) fn parts(&self) -> (&'static str, &'static str, String, Option<String>) {
        match self {
            Self::Ed25519(key) => (OKP, ED25519, encode(key.as_bytes()), None),
            Self::Secp256k1 { x, y } => (EC, SECP256K1, encode(x), Some(encode(y))),
        }
    }

    fn thumbprint(&self) -> String {
        #[derive(Serialize)]
        struct Hashed {
            crv: &'static str,
            kty: &'static str,
            x: String,
            #[serde(skip_serializing_if = "Option::is_none")]
            y: Option<String>,
        }
        let (kty, crv, x, y) = self.parts();
        encode(Sha256::digest(canonical(&Hashed { crv, kty, x, y })).as_slice())
    }
}

/// A public key under its name, with the time in which it signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    kid: String,
    material: Material,
    created_at: DateTime<Utc>,
    retired_at: Option<DateTime<Utc>>,
}

/// How a time relates to that in which a key signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The key was not there until this time.
    Before(DateTime<Utc>),
    /// The key signed.
    Within,
    /// The key was retired at this time.
    After(DateTime<Utc>),
}

impl PublicKey {
    /// A key that signs from `created_at` on, and until `retired_at` if it is retired.
    #[must_use]
    pub fn new(material: Material, created_at: DateTime<Utc>, retired_at: Option<DateTime<Utc>>) -> Self {
        Self { kid: material.thumbprint(), material, created_at, retired_at }
    }

    /// Its name: the thumbprint (RFC 7638) with SHA-256, in base64url.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key itself.
    #[must_use]
    pub const fn material(&self) -> &Material {
        &self.material
    }

    /// Since when it signs.
    #[must_use]
    pub const fn created_at(&self) -> DateTime<Utc> {
        self.created_at
    }

    /// Until when it signed.
    #[must_use]
    pub const fn retired_at(&self) -> Option<DateTime<Utc>> {
        self.retired_at
    }

    /// Ends its time at `at`, unless it has ended before.
    pub(super) fn retire(&mut self, at: DateTime<Utc>) {
        self.retired_at = self.retired_at.or(Some(at));
    }

    /// Relates a time to that of the key. Receipts have whole seconds, and both ends belong to the key.
    #[must_use]
    pub fn moment(&self, at: DateTime<Utc>) -> Moment {
        let seconds = at.timestamp();
        match self.retired_at {
            _ if seconds < self.created_at.timestamp() => Moment::Before(self.created_at),
            Some(retired_at) if seconds > retired_at.timestamp() => Moment::After(retired_at),
            Some(_) | None => Moment::Within,
        }
    }

    /// The key as a JSON Web Key.
    #[must_use]
    pub fn jwk(&self) -> Jwk {
        let (kty, crv, x, y) = self.material.parts();
        Jwk {
            kty,
            crv,
            kid: self.kid.clone(),
            x,
            y,
            usage: "sig",
            // What the other key signs is no JWS, so it has no algorithm of JWS.
            alg: matches!(self.material, Material::Ed25519(_)).then_some(ALGORITHM),
            address: self.material.address().map(|address| address.to_string()),
            created_at: self.created_at,
            retired_at: self.retired_at,
        }
    }
}

/// A JSON Web Key as we publish it. `address`, `createdAt` and `retiredAt` are ours; others pass over what they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Jwk {
    kty: &'static str,
    crv: &'static str,
    kid: String,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(rename = "use")]
    usage: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retired_at: Option<DateTime<Utc>>,
}

impl Jwk {
    /// The name of the key.
    pub(super) fn kid(&self) -> &str {
        &self.kid
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::base64url::decode_exactly;
    use super::super::jws::tests::rfc_8037_key;
    use super::*;

    pub fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// The public key of RFC 8037, appendix A.1.
    pub fn edwards() -> Material {
        Material::Ed25519(rfc_8037_key().verifying_key())
    }

    /// The public key of the example in EIP-155.
    pub fn point() -> Material {
        let coordinate = |text| decode_exactly(text).unwrap();
        Material::Secp256k1 {
            x: coordinate("S8KjEmUVPwfnDgurCHJOa4XiF_jNYozrYpdCR7tJM4I"),
            y: coordinate("zijKt5rXEZ7hrT6825ihaAUhFTDsxs_vobiObf-ZIyo"),
        }
    }

    #[test]
    fn a_key_is_named_by_its_thumbprint() {
        // RFC 8037, appendix A.3, and what jose says of the key of EIP-155.
        assert_eq!(edwards().thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(point().thumbprint(), "23rCrcAaBl31JS7oIBVDW_M0OztvUfTzU-6czKL6Xho");
    }

    #[test]
    fn only_the_key_for_typed_data_has_an_address() {
        assert_eq!(point().address().unwrap().to_string(), "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F");
        assert_eq!(edwards().address(), None);
    }

    #[test]
    fn both_ends_belong_to_the_time_of_a_key() {
        let (retired, active) = (PublicKey::new(edwards(), at(1_000), Some(at(2_000))), PublicKey::new(point(), at(1_500), None));

        assert_eq!(retired.moment(at(999)), Moment::Before(at(1_000)));
        assert_eq!(retired.moment(at(1_000)), Moment::Within);
        assert_eq!(retired.moment(at(2_000)), Moment::Within);
        assert_eq!(retired.moment(at(2_001)), Moment::After(at(2_000)));
        assert_eq!(active.moment(at(4_000_000_000)), Moment::Within);
    }
}
