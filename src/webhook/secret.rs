//! Secrets that webhooks are signed with.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use rand::TryRngCore;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

/// What a secret begins with, so that whoever finds one knows what it is (Standard Webhooks).
const PREFIX: &str = "whsec_";

/// How many bytes a secret may have (Standard Webhooks).
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// How many bytes those have that we make: as many as the hash that signs, more add nothing.
const GENERATED_BYTES: usize = 32;

/// A key of HMAC-SHA256. It is overwritten when it is dropped, and `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why a text is no secret. No variant holds any part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Something else than `whsec_` stands at its beginning.
    #[error("a secret begins with whsec_")]
    NoPrefix,
    /// What follows is not padded base64 in the standard alphabet.
    #[error("a secret is written in padded base64")]
    NotBase64,
    /// Too short to be safe, or too long to be read elsewhere.
    #[error("a secret has between 24 and 64 bytes, not {0}")]
    Length(usize),
}

impl Secret {
    /// Makes a secret.
    ///
    /// # Errors
    /// The machine gave no random numbers.
    pub fn generate() -> Result<Self, rand::rand_core::OsError> {
        let mut bytes = Zeroizing::new(vec![0_u8; GENERATED_BYTES]);
        rand::rngs::OsRng.try_fill_bytes(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads a secret in the form `whsec_<base64>`.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn parse(text: &SecretString) -> Result<Self, SecretError> {
        let digits = text.expose_secret().strip_prefix(PREFIX).ok_or(SecretError::NoPrefix)?;
        // The cause would name a digit of the secret.
        let bytes = STANDARD.decode(digits).map(Zeroizing::new).map_err(|_| SecretError::NotBase64)?;
        if BYTES.contains(&bytes.len()) { Ok(Self(bytes)) } else { Err(SecretError::Length(bytes.len())) }
    }

    /// The secret in the form `whsec_<base64>`, for its owner and for the ledger.
    #[must_use]
    pub fn to_text(&self) -> SecretString {
        // As much as is needed: a text that grows leaves copies behind.
        let mut text = String::with_capacity(PREFIX.len() + self.0.len().div_ceil(3) * 4);
        text.push_str(PREFIX);
        STANDARD.encode_string(self.bytes(), &mut text);
        text.into()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(..)")
    }
}

/// The secrets of one endpoint.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// The newest.
    pub current: Secret,
    /// The one before, while receivers may not know the newest yet.
    pub former: Option<FormerSecret>,
}

/// A secret that was replaced.
#[derive(Debug, Clone)]
pub struct FormerSecret {
    /// What still signs, beside the current one.
    pub secret: Secret,
    /// From when on it does not.
    pub expires_at: DateTime<Utc>,
}

impl Secrets {
    /// The secrets that sign at a time, the current one first.
    pub fn live(&self, now: DateTime<Utc>) -> impl Iterator<Item = &Secret> {
        let former = self.former.as_ref().filter(|former| now < former.expires_at);
        std::iter::once(&self.current).chain(former.map(|former| &former.secret))
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn of_length(bytes: usize) -> Result<Secret, SecretError> {
        Secret::parse(&format!("whsec_{}", STANDARD.encode(vec![7; bytes])).into())
    }

    #[test]
    fn a_generated_secret_is_new_and_is_read_back() {
        let (one, other) = (Secret::generate().unwrap(), Secret::generate().unwrap());

        assert_eq!(one.bytes().len(), 32);
        assert_ne!(one.bytes(), other.bytes());
        assert_eq!(Secret::parse(&one.to_text()).unwrap().bytes(), one.bytes());
    }

    #[test]
    fn a_secret_has_between_24_and_64_bytes() {
        for bytes in [24, 25, 63, 64] {
            assert_eq!(of_length(bytes).unwrap().bytes(), vec![7; bytes]);
        }
        for bytes in [0, 23, 65] {
            assert_eq!(of_length(bytes).unwrap_err(), SecretError::Length(bytes));
        }
    }

    #[test]
    fn only_one_form_of_a_secret_is_read() {
        let refusal = |text: &str| Secret::parse(&text.into()).unwrap_err();

        assert_eq!(refusal("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), SecretError::NoPrefix);
        assert_eq!(refusal("WHSEC_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), SecretError::NoPrefix);
        assert_eq!(refusal("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS"), SecretError::NotBase64);
        assert_eq!(refusal("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS_"), SecretError::NotBase64);
        assert_eq!(refusal("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"), SecretError::NotBase64);
    }

    #[test]
    fn a_former_secret_signs_until_it_expires() {
        let expires_at = DateTime::UNIX_EPOCH;
        let former = FormerSecret { secret: of_length(24).unwrap(), expires_at };
        let secrets = Secrets { current: of_length(32).unwrap(), former: Some(former) };
        let live = |now| secrets.live(now).map(|secret| secret.bytes().len()).collect::<Vec<_>>();

        assert_eq!(live(expires_at - TimeDelta::milliseconds(1)), [32, 24]);
        assert_eq!(live(expires_at), [32]);
        assert_eq!(live(expires_at + TimeDelta::milliseconds(1)), [32]);
    }

    #[test]
    fn a_secret_is_never_printed() {
        let secret = of_length(24).unwrap();
        let former = Some(FormerSecret { secret: secret.clone(), expires_at: DateTime::UNIX_EPOCH });

        let printed = format!("{:?}", Secrets { current: secret.clone(), former });

        assert!(printed.contains("current: Secret(..)") && printed.contains("secret: Secret(..)"), "{printed}");
        assert!(!printed.contains("7, 7") && !format!("{:?}", secret.to_text()).contains("Bwc"), "{printed}");
    }
}
