//! Keys that pay for settlements.
//!
//! A key signs hashes of transactions and does nothing else. It never leaves this module: no accessor, no `Display`, and `Debug`
//! shows the address. Receipts are signed by other keys.

use std::fmt;
use std::sync::Arc;

use alloy::primitives::{B256, Signature};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use async_trait::async_trait;
use rustix::process::{Resource, Rlimit, setrlimit};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use crate::domain::address::{Address, decode_base58_pair, decode_hex};

/// Signs the transactions of one account. Implemented by a key in memory, with room for keys that live elsewhere.
#[async_trait]
pub trait SettlementSigner: fmt::Debug + Send + Sync {
    /// The account that pays.
    fn address(&self) -> [u8; 20];

    /// Signs the hash of a transaction.
    ///
    /// # Errors
    /// The key is out of reach, or refuses.
    async fn sign(&self, hash: B256) -> Result<Signature, KeyError>;
}

/// A signer under the operator's name for it.
pub type NamedSigner = (String, Arc<dyn SettlementSigner>);

/// Signs the messages of one account on Solana.
#[async_trait]
pub trait MessageSigner: fmt::Debug + Send + Sync {
    /// The account that pays.
    fn address(&self) -> [u8; 32];

    /// Signs a message (Ed25519).
    ///
    /// # Errors
    /// The key is out of reach, or refuses.
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError>;
}

/// A signer of messages under the operator's name for it.
pub type NamedMessageSigner = (String, Arc<dyn MessageSigner>);

/// A key in the memory of this process. It is overwritten when it is dropped.
#[derive(Clone)]
pub struct SettlementKey(PrivateKeySigner);

/// An Ed25519 key in the memory of this process. It is overwritten when it is dropped.
pub struct MessageKey(ed25519_dalek::SigningKey);

impl MessageKey {
    /// Reads a key in the form that wallets export: secret and public key, 64 bytes in base58.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn parse(secret: &SecretString) -> Result<Self, KeyError> {
        let bytes = decode_base58_pair(secret.expose_secret().trim()).map(Zeroizing::new).ok_or(KeyError::NotAKeypair)?;
        ed25519_dalek::SigningKey::from_keypair_bytes(&bytes).map(Self).map_err(|_| KeyError::NotAKeypair)
    }
}

#[async_trait]
impl MessageSigner for MessageKey {
    fn address(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
        use ed25519_dalek::Signer as _;
        Ok(self.0.sign(message).to_bytes())
    }
}

impl fmt::Debug for MessageKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MessageKey({})", Address::Solana(self.address()))
    }
}

/// Why there is no key, or no signature. No variant holds any part of a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Not 64 hexadecimal digits, with or without `0x`.
    #[error("a key is 64 hexadecimal digits")]
    Malformed,
    /// Not the secret and the public key of one account, 64 bytes in base58.
    #[error("a key is 64 bytes in base58, as wallets export it")]
    NotAKeypair,
    /// Zero, or not below the order of the curve.
    #[error("not a private key of secp256k1")]
    NotOnCurve,
    /// The signer failed.
    #[error("signing failed")]
    Signing(#[source] Box<alloy::signers::Error>),
}

impl SettlementKey {
    /// Reads a key.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn parse(secret: &SecretString) -> Result<Self, KeyError> {
        let text = secret.expose_secret().trim();
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let bytes = decode_hex::<32>(digits).map(Zeroizing::new).ok_or(KeyError::Malformed)?;
        // The cause says nothing beyond this, and is dropped so that it cannot say too much.
        PrivateKeySigner::from_slice(bytes.as_slice()).map(Self).map_err(|_| KeyError::NotOnCurve)
    }

    /// The account that pays.
    #[must_use]
    pub fn address(&self) -> [u8; 20] {
        self.0.address().into_array()
    }

    /// Signs the hash of a transaction.
    ///
    /// # Errors
    /// The curve's arithmetic failed, which does not happen with a valid key.
    pub fn sign_transaction_hash(&self, hash: B256) -> Result<Signature, KeyError> {
        self.0.sign_hash_sync(&hash).map_err(|error| KeyError::Signing(Box::new(error)))
    }
}

#[async_trait]
impl SettlementSigner for SettlementKey {
    fn address(&self) -> [u8; 20] {
        Self::address(self)
    }

    async fn sign(&self, hash: B256) -> Result<Signature, KeyError> {
        self.sign_transaction_hash(hash)
    }
}

impl fmt::Debug for SettlementKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SettlementKey({})", Address::Evm(self.address()))
    }
}

/// Keeps keys out of core files, by never writing any. For `main`, before the first key is read.
///
/// # Errors
/// The system refuses, as it may in a sandbox.
pub fn forbid_core_files() -> std::io::Result<()> {
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key from the examples of EIP-155.
    const KEY: &str = "4646464646464646464646464646464646464646464646464646464646464646";

    fn key(text: &str) -> Result<SettlementKey, KeyError> {
        SettlementKey::parse(&text.to_owned().into())
    }

    #[test]
    fn a_key_is_read_in_either_spelling() {
        for text in [KEY.to_owned(), format!("0x{KEY}"), format!("{KEY}\n")] {
            let address = Address::Evm(key(&text).unwrap().address());
            assert_eq!(address.to_string(), "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in ["", "0x", &KEY[2..], &format!("{KEY}00"), &KEY.replace('4', "g")] {
            assert!(matches!(key(text), Err(KeyError::Malformed)), "{text:?}");
        }
        for text in ["0".repeat(64), "f".repeat(64)] {
            assert!(matches!(key(&text), Err(KeyError::NotOnCurve)), "{text:?}");
        }
    }

    #[tokio::test]
    async fn the_signature_is_that_of_eip_155() {
        // The signing hash, r and s of the example in EIP-155.
        let hash = "daf5a779ae972f972197303d7b574746c7ef83eadac0f2791ad23db92e4c8e53".parse::<B256>().unwrap();
        let (r, s) = (
            "28ef61340bd939bc2195fe537567866003e1a15d3c71ff63e1590620aa636276",
            "67cbe9d8997f761aecb703304b3800ccf555c9f3dc64214b297fb1966a3b6d83",
        );
        let signer: Box<dyn SettlementSigner> = Box::new(key(KEY).unwrap());

        let signature = signer.sign(hash).await.unwrap();

        assert_eq!((format!("{:x}", signature.r()).as_str(), format!("{:x}", signature.s()).as_str()), (r, s));
        assert_eq!(signature.recover_address_from_prehash(&hash).unwrap().into_array(), signer.address());
    }

    #[test]
    fn a_key_is_never_printed() {
        let printed = format!("{:?} {:?}", key(KEY).unwrap(), key("0x4646464").unwrap_err());

        assert_eq!(printed, "SettlementKey(0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F) Malformed");
    }
}
