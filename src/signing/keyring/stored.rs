//! The text of a keyring: JSON Web Keys with their private parts, and when they were made and retired.

use chrono::{DateTime, Utc};
use ed25519_dalek::{SigningKey, VerifyingKey};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use super::super::base64url::{decode_exactly, encode};
use super::super::eip712::TypedKey;
use super::super::jwk::{EC, ED25519, Material, OKP, PublicKey, SECP256K1};
use super::{Key, KeyFault, KeyringError, PrivateKey};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ring {
    keys: Vec<Stored>,
}

/// A key as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Stored {
    kty: String,
    crv: String,
    kid: String,
    x: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    d: Option<Private>,
    created_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retired_at: Option<DateTime<Utc>>,
}

/// A private part on its way from or to the text, the only place where one is written.
#[derive(Deserialize)]
#[serde(transparent)]
struct Private(SecretString);

impl Serialize for Private {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

/// Reads the keys of a ring, each of them for itself.
pub(super) fn read(text: &str) -> Result<impl Iterator<Item = Result<Key, KeyFault>>, KeyringError> {
    // What the parser says besides the place may repeat a private part.
    let place = |error: serde_json::Error| KeyringError::Text { line: error.line(), column: error.column() };
    let ring: Ring = serde_json::from_str(text).map_err(place)?;
    Ok(ring.keys.into_iter().map(Stored::key))
}

/// Writes the keys of a ring.
pub(super) fn write(keys: &[Key]) -> SecretString {
    let ring = Ring { keys: keys.iter().map(Stored::of).collect() };
    serde_json::to_string(&ring).expect("texts and times are always JSON").into()
}

impl Stored {
    fn of(key: &Key) -> Self {
        let material = key.public.material();
        let (kty, crv, x, y) = material.parts();
        Self {
            kty: kty.to_owned(),
            crv: crv.to_owned(),
            kid: key.public.kid().to_owned(),
            x,
            y,
            address: material.address().map(|address| address.to_string()),
            d: key.private.as_ref().map(Private::of),
            created_at: key.public.created_at(),
            retired_at: key.public.retired_at(),
        }
    }

    fn key(self) -> Result<Key, KeyFault> {
        let (private, material) = match (self.kty.as_str(), self.crv.as_str()) {
            (OKP, ED25519) => (self.private(|bytes| Some(PrivateKey::Ed25519(SigningKey::from_bytes(bytes))))?, self.edwards()?),
            (EC, SECP256K1) => (self.private(|bytes| TypedKey::from_bytes(bytes).map(PrivateKey::Secp256k1))?, self.point()?),
            _ => return Err(KeyFault::Kind),
        };
        let address = material.address().map(|address| address.to_string());
        let belongs = private.as_ref().is_none_or(|private| private.material() == material);
        if !belongs || self.address != address {
            return Err(KeyFault::Mismatch);
        }
        let public = PublicKey::new(material, self.created_at, self.retired_at);
        if public.kid() == self.kid { Ok(Key { public, private }) } else { Err(KeyFault::Name) }
    }

    fn private(&self, key: impl Fn(&[u8; 32]) -> Option<PrivateKey>) -> Result<Option<PrivateKey>, KeyFault> {
        let Some(Private(text)) = &self.d else { return Ok(None) };
        let bytes = decode_exactly::<32>(text.expose_secret()).map(Zeroizing::new).ok_or(KeyFault::Unreadable)?;
        key(&bytes).map(Some).ok_or(KeyFault::Unreadable)
    }

    fn edwards(&self) -> Result<Material, KeyFault> {
        if self.y.is_some() {
            return Err(KeyFault::Mismatch);
        }
        let key = decode_exactly(&self.x).and_then(|x| VerifyingKey::from_bytes(&x).ok());
        key.filter(|key| !key.is_weak()).map(Material::Ed25519).ok_or(KeyFault::Unreadable)
    }

    fn point(&self) -> Result<Material, KeyFault> {
        let coordinate = |text: &str| decode_exactly(text).ok_or(KeyFault::Unreadable);
        Ok(Material::Secp256k1 { x: coordinate(&self.x)?, y: coordinate(self.y.as_deref().unwrap_or_default())? })
    }
}

impl Private {
    fn of(key: &PrivateKey) -> Self {
        let text = match key {
            PrivateKey::Ed25519(key) => encode(key.as_bytes()),
            PrivateKey::Secp256k1(key) => encode(key.to_bytes().as_slice()),
        };
        Self(text.into())
    }
}
