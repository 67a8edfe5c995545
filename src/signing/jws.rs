//! Compact JWS (RFC 7515) with Ed25519 (RFC 8037), in the one form that receipts have.

use ed25519_dalek::{Signer as _, SigningKey};
use serde::{Deserialize, Serialize};

use super::base64url::{decode, encode};

/// The only algorithm. A header that names another is refused, whatever the key could do.
pub(super) const ALGORITHM: &str = "EdDSA";

/// The type of a receipt, so that nothing else that the same key signs is taken for one.
pub(super) const TYPE: &str = "quittance-receipt+jws";

/// The protected header of a receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// See [`ALGORITHM`].
    pub(super) alg: String,
    /// The name of the key: its thumbprint.
    pub(super) kid: String,
    /// See [`TYPE`].
    pub(super) typ: String,
}

impl Header {
    /// The header of a receipt that the key `kid` signs.
    pub(super) fn of(kid: &str) -> Self {
        Self { alg: ALGORITHM.to_owned(), kid: kid.to_owned(), typ: TYPE.to_owned() }
    }
}

/// Signs `payload` behind `header`. The signature of Ed25519 has no random part, so the same input has the same text.
pub(super) fn compact(header: &str, payload: &str, key: &SigningKey) -> String {
    let input = format!("{}.{}", encode(header), encode(payload));
    let signature = encode(key.sign(input.as_bytes()).to_bytes());
    format!("{input}.{signature}")
}

/// The three parts of a compact JWS.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    /// What is signed: the first two parts as they were written.
    pub(super) input: &'a str,
    /// The protected header.
    pub(super) header: Vec<u8>,
    /// The payload.
    pub(super) payload: Vec<u8>,
    /// The signature.
    pub(super) signature: [u8; 64],
}

/// Why a text is not a compact JWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// There are not exactly two dots.
    #[error("not three parts with dots between them")]
    NotThreeParts,
    /// A part has padding, white space, a strange letter, or is not the text that its bytes have.
    #[error("a part is not base64url without padding")]
    NotBase64url,
    /// The signature has not 64 bytes.
    #[error("the signature has not 64 bytes")]
    SignatureLength,
}

impl<'a> Parts<'a> {
    /// Takes a text apart. Nothing is verified here.
    ///
    /// # Errors
    /// See [`JwsError`].
    pub(super) fn of(text: &'a str) -> Result<Self, JwsError> {
        let (input, signature) = text.rsplit_once('.').ok_or(JwsError::NotThreeParts)?;
        let (header, payload) = input.split_once('.').ok_or(JwsError::NotThreeParts)?;
        if payload.contains('.') {
            return Err(JwsError::NotThreeParts);
        }
        let header = decode(header).ok_or(JwsError::NotBase64url)?;
        let payload = decode(payload).ok_or(JwsError::NotBase64url)?;
        let signature = decode(signature).ok_or(JwsError::NotBase64url)?;
        let signature: [u8; 64] = signature.try_into().map_err(|_| JwsError::SignatureLength)?;
        Ok(Self { input, header, payload, signature })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::base64url::decode_exactly;
    use super::*;

    /// The key of RFC 8037, appendix A.1.
    pub fn rfc_8037_key() -> SigningKey {
        SigningKey::from_bytes(&decode_exactly("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap())
    }

    /// The JWS of RFC 8037, appendix A.4.
    const RFC_8037_JWS: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
        hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    #[test]
    fn the_signature_is_that_of_rfc_8037() {
        assert_eq!(compact(r#"{"alg":"EdDSA"}"#, "Example of Ed25519 signing", &rfc_8037_key()), RFC_8037_JWS);
    }

    #[test]
    fn a_jws_comes_apart_as_it_was_put_together() {
        let parts = Parts::of(RFC_8037_JWS).unwrap();

        assert_eq!(parts.header, br#"{"alg":"EdDSA"}"#);
        assert_eq!(parts.payload, b"Example of Ed25519 signing");
        assert_eq!(parts.input, RFC_8037_JWS.rsplit_once('.').unwrap().0);
        assert_eq!(encode(parts.signature), RFC_8037_JWS.rsplit_once('.').unwrap().1);
    }

    #[test]
    fn what_is_not_three_parts_in_base64url_is_refused() {
        let [header, payload, signature]: [&str; 3] = RFC_8037_JWS.split('.').collect::<Vec<_>>().try_into().unwrap();
        for (text, error) in [
            (String::new(), JwsError::NotThreeParts),
            (header.to_owned(), JwsError::NotThreeParts),
            (format!("{header}.{payload}"), JwsError::NotThreeParts),
            (format!("{RFC_8037_JWS}."), JwsError::NotThreeParts),
            (format!(".{RFC_8037_JWS}"), JwsError::NotThreeParts),
            (format!("{header}.{payload}.{payload}.{payload}.{signature}"), JwsError::NotThreeParts),
            (format!("{RFC_8037_JWS}="), JwsError::NotBase64url),
            (format!("{RFC_8037_JWS}\n"), JwsError::NotBase64url),
            (format!(" {RFC_8037_JWS}"), JwsError::NotBase64url),
            (format!("{header}.{payload}==.{signature}"), JwsError::NotBase64url),
            (format!("{header}. {payload}.{signature}"), JwsError::NotBase64url),
            // The last letter stands for two bits and four more that must be zero.
            (format!("{header}.{payload}.{}", signature.replace("0KAg", "0KAh")), JwsError::NotBase64url),
            (format!("{header}.{payload}."), JwsError::SignatureLength),
            (format!("{header}.{payload}.{}", &signature[..84]), JwsError::SignatureLength),
            (format!("{header}.{payload}.{}AAAA", &signature[..84]), JwsError::SignatureLength),
        ] {
            assert_eq!(Parts::of(&text).err(), Some(error), "{text}");
        }
    }
}
