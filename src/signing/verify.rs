//! Strict verification of receipts: what does not have the one form that we write is refused, whoever signed it.
//!
//! No network and no clock is needed. Nothing in a receipt says how it is verified: the algorithm is fixed, and the key comes from the
//! caller's set, never from a URL or a key in the receipt. Whether a later revision took its place, only the issuer knows.

use chrono::{DateTime, Utc};

use super::canonical::canonical;
use super::claims::{Claims, ClaimsError};
use super::eip712::TypedReceipt;
use super::jwk::{Moment, PublicKey};
use super::jws::{ALGORITHM, Header, JwsError, Parts, TYPE};
use super::key_set::KeySet;

/// Why a receipt does not hold.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// Not three parts in base64url.
    #[error("not a compact JWS")]
    Form(#[from] JwsError),
    /// Not JSON, or other members than `alg`, `kid` and `typ`, each of them once.
    #[error("the header has not the members of a receipt's, each of them once")]
    Header(#[source] serde_json::Error),
    /// Something else than Ed25519. What the caller's keys could do besides is of no interest.
    #[error("the algorithm is not that of receipts")]
    Algorithm,
    /// The type of another thing that was signed.
    #[error("the type is not that of a receipt")]
    Type,
    /// The same header could be written differently.
    #[error("the header is not in its one form")]
    HeaderNotCanonical,
    /// Neither a JWS nor an object with format, payload and signature.
    #[error("not a receipt as typed data")]
    Typed(#[source] serde_json::Error),
    /// The format is not that of typed data.
    #[error("the format is not that of typed data")]
    Format,
    /// The signature is not 65 bytes in lower-case hexadecimal digits behind `0x`.
    #[error("the signature is not 65 bytes in hexadecimal digits")]
    SignatureForm,
    /// The set has no key of that name, or none of the address that signed.
    #[error("no key that the verifier knows signed this")]
    UnknownKey,
    /// Something was changed after it was signed.
    #[error("the signature does not hold")]
    Signature,
    /// The claims are not those of a receipt.
    #[error("the claims do not hold")]
    Claims(#[from] ClaimsError),
    /// Another service signed it than the one that was expected.
    #[error("the issuer is {0:?}")]
    OtherIssuer(String),
    /// The key was not there yet.
    #[error("issued before the key was made, at {0}")]
    BeforeKey(DateTime<Utc>),
    /// The key was retired, perhaps because somebody else has it.
    #[error("issued after the key was retired, at {0}")]
    AfterRetirement(DateTime<Utc>),
}

/// Verifies a receipt in either form and returns what it says: a JWS, or typed data as a JSON object.
///
/// # Errors
/// See [`ReceiptError`].
pub fn verify(receipt: &str, keys: &KeySet, issuer: Option<&str>) -> Result<Claims, ReceiptError> {
    if receipt.starts_with('{') { verify_typed(receipt, keys, issuer) } else { verify_jws(receipt, keys, issuer) }
}

/// Verifies a receipt as JWS against a set of keys, and that `issuer` made it if one is given.
///
/// # Errors
/// See [`ReceiptError`].
pub fn verify_jws(receipt: &str, keys: &KeySet, issuer: Option<&str>) -> Result<Claims, ReceiptError> {
    let parts = Parts::of(receipt)?;
    let header = header(&parts.header)?;
    let (key, verifying) = keys.named(&header.kid).ok_or(ReceiptError::UnknownKey)?;
    let signature = ed25519_dalek::Signature::from_bytes(&parts.signature);
    verifying.verify_strict(parts.input.as_bytes(), &signature).map_err(|_| ReceiptError::Signature)?;
    accepted(Claims::parse(&parts.payload)?, key, issuer)
}

/// Verifies a receipt as typed data (EIP-712) against a set of keys, and that `issuer` made it if one is given.
///
/// # Errors
/// See [`ReceiptError`].
pub fn verify_typed(receipt: &str, keys: &KeySet, issuer: Option<&str>) -> Result<Claims, ReceiptError> {
    let receipt: TypedReceipt = serde_json::from_str(receipt).map_err(ReceiptError::Typed)?;
    if !receipt.has_format() {
        return Err(ReceiptError::Format);
    }
    let signature = receipt.signature().ok_or(ReceiptError::SignatureForm)?;
    let signer = receipt.signer(&signature).ok_or(ReceiptError::Signature)?;
    let key = keys.of_address(signer).ok_or(ReceiptError::UnknownKey)?;
    accepted(receipt.claims()?, key, issuer)
}

fn header(text: &[u8]) -> Result<Header, ReceiptError> {
    let header: Header = serde_json::from_slice(text).map_err(ReceiptError::Header)?;
    if header.alg != ALGORITHM {
        return Err(ReceiptError::Algorithm);
    }
    if header.typ != TYPE {
        return Err(ReceiptError::Type);
    }
    if canonical(&header).as_bytes() == text { Ok(header) } else { Err(ReceiptError::HeaderNotCanonical) }
}

/// The rules for what was signed, whatever the form.
fn accepted(claims: Claims, key: &PublicKey, issuer: Option<&str>) -> Result<Claims, ReceiptError> {
    if issuer.is_some_and(|issuer| issuer != claims.issuer) {
        return Err(ReceiptError::OtherIssuer(claims.issuer));
    }
    match key.moment(claims.statement.issued_at) {
        Moment::Within => Ok(claims),
        Moment::Before(created_at) => Err(ReceiptError::BeforeKey(created_at)),
        Moment::After(retired_at) => Err(ReceiptError::AfterRetirement(retired_at)),
    }
}

#[cfg(test)]
mod tests;
