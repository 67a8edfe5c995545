//! Keys that pay for settlements.
//!
//! A key signs hashes of transactions, or messages on Solana, and does nothing else. One in memory never leaves this module: no accessor, no
//! `Display`, and `Debug` shows the address. One that somebody else keeps is asked for signatures ([`remote`], [`aws`], [`gcp`]). Whoever
//! signs, a [`Named`] signer gives out no signature but one of its own account. Receipts are signed by other keys.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{B256, Signature};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use async_trait::async_trait;
use rustix::process::{Resource, Rlimit, setrlimit};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use crate::domain::address::{Address, decode_base58_pair, decode_hex};

pub mod aws;
mod ecdsa;
pub mod gcp;
pub mod keeper;
pub mod remote;

/// A signature is there within this, with the credentials for it and whatever was asked again, or the signer is away. A turn of a lane
/// lasts longer.
const SIGNED_WITHIN: Duration = Duration::from_secs(8);

/// Signs the transactions of one account, in memory or elsewhere.
#[async_trait]
pub trait SettlementSigner: fmt::Debug + Send + Sync {
    /// Signs the hash of a transaction: `r` and `s`, which nobody has looked at yet.
    ///
    /// # Errors
    /// The key is out of reach, or refuses.
    async fn sign(&self, hash: B256) -> Result<[u8; 64], KeyError>;
}

/// Signs the messages of one account on Solana, in memory or elsewhere.
#[async_trait]
pub trait MessageSigner: fmt::Debug + Send + Sync {
    /// Signs a message (Ed25519). Nobody has looked at the signature yet.
    ///
    /// # Errors
    /// The key is out of reach, or refuses.
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError>;
}

/// A signer as its network knows it.
#[derive(Debug)]
pub struct Named<A, K: ?Sized> {
    /// The operator's name for it.
    pub name: String,
    /// The account that pays.
    pub address: A,
    /// Its key, where this process signs.
    pub key: Option<Arc<K>>,
}

/// A signer of an EVM network.
pub type NamedSigner = Named<[u8; 20], dyn SettlementSigner>;

/// A signer of a cluster of Solana.
pub type NamedMessageSigner = Named<[u8; 32], dyn MessageSigner>;

impl NamedSigner {
    /// Signs the hash of a transaction.
    ///
    /// # Errors
    /// There is no signature, or it is not this account's.
    pub async fn sign(&self, hash: B256) -> Result<Signature, KeyError> {
        let signature = in_time(self.key.as_ref().ok_or(KeyError::NotHere)?.sign(hash)).await?;
        ecdsa::made_by(self.address, hash, &signature).ok_or(KeyError::OtherKey(Address::Evm(self.address)))
    }
}

impl NamedMessageSigner {
    /// Signs a message.
    ///
    /// # Errors
    /// There is no signature, or it is not this account's.
    pub async fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
        let signature = in_time(self.key.as_ref().ok_or(KeyError::NotHere)?.sign(message)).await?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.address);
        let is_its_own =
            key.is_ok_and(|key| key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(&signature)).is_ok());
        if is_its_own { Ok(signature) } else { Err(KeyError::OtherKey(Address::Solana(self.address))) }
    }
}

async fn in_time(signing: impl Future<Output = Result<[u8; 64], KeyError>>) -> Result<[u8; 64], KeyError> {
    tokio::time::timeout(SIGNED_WITHIN, signing).await.unwrap_or(Err(KeyError::TooLate))
}

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

    /// The account that pays.
    #[must_use]
    pub fn address(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
}

#[async_trait]
impl MessageSigner for MessageKey {
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
    /// The curve's arithmetic failed, which does not happen with a valid key.
    #[error("signing failed")]
    Signing(#[source] Box<alloy::signers::Error>),
    /// The key is another one than the configuration says.
    #[error("the key is that of {found}, and not of {configured}")]
    OtherAddress {
        /// Whose key it is.
        found: Address,
        /// Whose it should be.
        configured: Address,
    },
    /// Another signer of the network has the same account.
    #[error("signer {0} has the same account")]
    SameAccount(String),
    /// Nobody says whose account it is.
    #[error("its address is not configured")]
    NoAddress,
    /// The replica does not sign.
    #[error("this replica has no keys of signers")]
    NotHere,
    /// Whoever keeps the key was not heard.
    #[error("the signer did not answer")]
    Unanswered(#[source] reqwest::Error),
    /// Whoever keeps the key, or says who we are, took too long altogether.
    #[error("the signer took longer than {} s", SIGNED_WITHIN.as_secs())]
    TooLate,
    /// Whoever keeps the key could not do anything at that moment.
    #[error("the signer is out of order: status {0}")]
    OutOfOrder(u16),
    /// Whoever keeps the key does not sign for us.
    #[error("the signer refused: status {status} {code}")]
    Refused {
        /// The status of its answer.
        status: u16,
        /// Its word for why, if it is one.
        code: String,
    },
    /// The answer is no signature.
    #[error("the signer's answer cannot be read")]
    Unreadable,
    /// The signature is somebody else's, or over something else.
    #[error("the signature is not that of {0}")]
    OtherKey(Address),
    /// Nothing shows the keeper of the key who we are.
    #[error("there are no credentials for the signer")]
    Credentials(#[source] Box<Self>),
    /// The file with the token that opens the way to credentials.
    #[error("the token of the credentials cannot be read")]
    Token(#[source] std::io::Error),
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
}

#[async_trait]
impl SettlementSigner for SettlementKey {
    async fn sign(&self, hash: B256) -> Result<[u8; 64], KeyError> {
        let signature = self.0.sign_hash_sync(&hash).map_err(|error| KeyError::Signing(Box::new(error)))?;
        Ok(ecdsa::bytes(&signature))
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
        let key = key(KEY).unwrap();
        let signer = NamedSigner { name: "base-1".to_owned(), address: key.address(), key: Some(Arc::new(key)) };

        let signature = signer.sign(hash).await.unwrap();

        assert_eq!((format!("{:x}", signature.r()).as_str(), format!("{:x}", signature.s()).as_str()), (r, s));
        assert_eq!(signature.recover_address_from_prehash(&hash).unwrap().into_array(), signer.address);
    }

    #[tokio::test]
    async fn no_signature_is_given_out_but_the_account_s_own() {
        let named = |address| NamedSigner { name: "base-1".to_owned(), address, key: Some(Arc::new(key(KEY).unwrap())) };
        assert!(named(key(KEY).unwrap().address()).sign(B256::ZERO).await.is_ok());
        assert!(
            matches!(named([7; 20]).sign(B256::ZERO).await, Err(KeyError::OtherKey(Address::Evm(address))) if address == [7; 20])
        );

        let pair = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
        let address = pair.verifying_key().to_bytes();
        let named =
            |address| NamedMessageSigner { name: "solana-1".to_owned(), address, key: Some(Arc::new(MessageKey(pair.clone()))) };
        assert!(named(address).sign(b"message").await.is_ok());
        assert!(matches!(named([7; 32]).sign(b"message").await, Err(KeyError::OtherKey(_))));
    }

    #[test]
    fn a_key_is_never_printed() {
        let printed = format!("{:?} {:?}", key(KEY).unwrap(), key("0x4646464").unwrap_err());

        assert_eq!(printed, "SettlementKey(0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F) Malformed");
    }
}
