//! Signed receipts: what an issuer signs, the keys that it signs with, and how anybody verifies it without asking the issuer.
//!
//! The claims are one JSON text for each statement ([`claims`]). A receipt is that text in a compact JWS with Ed25519 ([`jws`]), or the
//! same claims as typed data with secp256k1 ([`eip712`]). Either way the same statement and key have the same bytes, so a receipt need
//! not be stored to be given out twice. Verification ([`verify`]) needs only the public keys ([`key_set`]).
//!
//! Everything here is pure: files, variables and clocks are the caller's.

mod base64url;
mod canonical;
pub mod claims;
pub mod did;
pub mod eip712;
pub mod jwk;
pub mod jws;
pub mod key_set;
pub mod keyring;
pub mod offer;
pub mod verify;

use serde_json::Value;

use self::claims::Claims;
use self::did::DidDocument;
use self::eip712::TypedReceipt;
use self::jws::Header;
use self::key_set::KeySet;
use self::keyring::Keyring;
use crate::domain::receipt::{Statement, StatementFault};

/// Signs receipts in the name of a service.
#[derive(Debug)]
pub struct Issuer {
    public_url: String,
    keyring: Keyring,
    keys: KeySet,
}

/// Why there is no receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// No receipt may say this.
    #[error("no receipt may say this")]
    Statement(#[from] StatementFault),
    /// No key of the ring signed at the time of the statement, or its private part is gone.
    #[error("there is no key for the time of the receipt")]
    NoKey,
    /// The curve's arithmetic failed, which does not happen with a valid key.
    #[error("signing failed")]
    Curve,
}

impl Issuer {
    /// An issuer with the name `public_url`, which has no slash at its end.
    #[must_use]
    pub fn new(public_url: String, keyring: Keyring) -> Self {
        let keys = keyring.public();
        Self { public_url, keyring, keys }
    }

    /// The name, as it stands in every receipt.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.public_url
    }

    /// The public keys, retired ones among them.
    #[must_use]
    pub const fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// The keys as a document for verifiers that resolve `did:web`.
    #[must_use]
    pub fn did_document(&self) -> DidDocument {
        did::document(&self.public_url, &self.keys)
    }

    /// Signs a statement as JWS, with the key that was in use when it was issued.
    ///
    /// # Errors
    /// See [`SigningError`].
    pub fn sign(&self, statement: &Statement) -> Result<String, SigningError> {
        let claims = self.claims(statement)?;
        let (kid, key) = self.keyring.edwards(statement.issued_at).ok_or(SigningError::NoKey)?;
        Ok(jws::compact(&canonical::canonical(&Header::of(kid)), &claims.to_canonical(), key))
    }

    /// Signs a statement as typed data (EIP-712), with the key that was in use when it was issued.
    ///
    /// # Errors
    /// See [`SigningError`].
    pub fn sign_typed(&self, statement: &Statement) -> Result<TypedReceipt, SigningError> {
        let claims = self.claims(statement)?;
        let key = self.keyring.typed(statement.issued_at).ok_or(SigningError::NoKey)?;
        TypedReceipt::sign(&claims, key).ok_or(SigningError::Curve)
    }

    /// The value of the x402 extension [`offer::EXTENSION`] for a settle answer. `None` if the statement names no resource.
    ///
    /// # Errors
    /// See [`SigningError`].
    pub fn offer_receipt(&self, statement: &Statement) -> Result<Option<Value>, SigningError> {
        statement.check()?;
        let (kid, key) = self.keyring.edwards(statement.issued_at).ok_or(SigningError::NoKey)?;
        Ok(offer::extension(statement, &self.public_url, kid, key))
    }

    fn claims(&self, statement: &Statement) -> Result<Claims, SigningError> {
        statement.check()?;
        Ok(Claims { issuer: self.public_url.clone(), statement: statement.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::claims::tests::claims;
    use super::keyring::tests::ring;
    use super::verify::{ReceiptError, verify};
    use super::*;
    use crate::domain::ids::InvoiceId;
    use crate::domain::receipt::tests::statement;
    use crate::domain::receipt::{Finality, Purpose};
    use chrono::{DateTime, TimeDelta};

    /// The issuer of the claims that others have signed, too.
    fn issuer() -> Issuer {
        Issuer::new("https://pay.example.com".to_owned(), ring(1_700_000_000))
    }

    #[test]
    fn the_jws_is_that_of_jose() {
        let jws = issuer().sign(&statement()).unwrap();

        // Made by jose 5 with the same header and claims. Equal signatures mean that both are equal.
        let signature = "P03SzPBXJGLZWPtpuqtAwK1TzGdX5bEs2qwmvJWg7F_Ml-TWIZK2Megryrs3DdT9bJ4Iepnxi01WMPLN1t6lCw";
        assert_eq!(jws.rsplit_once('.').unwrap().1, signature);
        let header = "eyJhbGciOiJFZERTQSIsImtpZCI6ImtQcktfcW14VldhWVZBOXd3QkY2SXVvM3ZWeno3VHhIQ1R3WEJ5Z3JTNGsiLCJ0eXAiOiJxdWl0dGFuY2Ut\
            cmVjZWlwdCtqd3MifQ.";
        assert!(jws.starts_with(header), "{jws}");
    }

    #[test]
    fn what_was_signed_holds_in_either_form() {
        let issuer = issuer();
        for statement in [
            statement(),
            Statement { purpose: Purpose::Invoice(InvoiceId::new()), account: None, ..statement() },
            Statement { revision: 2, finality: Finality::Revoked, ..statement() },
        ] {
            let typed = serde_json::to_string(&issuer.sign_typed(&statement).unwrap()).unwrap();
            for receipt in [issuer.sign(&statement).unwrap(), typed] {
                let claims = verify(&receipt, issuer.keys(), Some(issuer.name())).unwrap();
                assert_eq!(claims, Claims { issuer: issuer.name().to_owned(), statement: statement.clone() });
            }
        }
    }

    #[test]
    fn the_same_statement_has_the_same_bytes() {
        let later = Statement { issued_at: statement().issued_at + TimeDelta::milliseconds(999), ..statement() };

        assert_eq!(issuer().sign(&statement()), issuer().sign(&statement()));
        assert_eq!(issuer().sign_typed(&statement()), issuer().sign_typed(&statement()));
        assert_eq!(issuer().sign(&later), issuer().sign(&statement()));
        assert_eq!(verify(&issuer().sign(&later).unwrap(), issuer().keys(), None).unwrap(), claims());
    }

    #[test]
    fn a_rotation_changes_the_key_and_not_what_was_signed() {
        let mut keyring = ring(1_700_000_000);
        keyring.rotate(statement().issued_at + TimeDelta::seconds(1)).unwrap();
        let rotated = Issuer::new("https://pay.example.com".to_owned(), keyring);
        let after = Statement { issued_at: statement().issued_at + TimeDelta::seconds(2), ..statement() };

        assert_eq!(rotated.sign(&statement()), issuer().sign(&statement()));
        let (early, late) = (rotated.sign(&statement()).unwrap(), rotated.sign(&after).unwrap());
        assert!(verify(&early, rotated.keys(), None).is_ok() && verify(&late, rotated.keys(), None).is_ok());
        assert!(matches!(verify(&late, issuer().keys(), None), Err(ReceiptError::UnknownKey)));
    }

    #[test]
    fn nothing_is_signed_that_would_not_verify() {
        let unpaid = Statement { revision: 0, ..statement() };
        let early = Statement { issued_at: DateTime::from_timestamp(1_699_999_999, 0).unwrap(), ..statement() };

        let (wrong, keyless) = (SigningError::Statement(StatementFault::Unnumbered), SigningError::NoKey);
        for (statement, error) in [(unpaid, wrong), (early, keyless)] {
            assert_eq!(issuer().sign(&statement), Err(error));
            assert_eq!(issuer().sign_typed(&statement), Err(error));
            assert_eq!(issuer().offer_receipt(&statement), Err(error));
        }
    }

    #[test]
    fn a_receipt_of_the_extension_is_none_of_ours() {
        let value = issuer().offer_receipt(&statement()).unwrap().unwrap();

        let jws = value["info"]["receipt"]["signature"].as_str().unwrap();
        assert!(matches!(verify(jws, issuer().keys(), None), Err(ReceiptError::Header(_))));
    }
}
