//! A signer behind HTTP, by a protocol of two lines that docs/SIGNERS.md describes.

use std::fmt;

use alloy::primitives::B256;
use async_trait::async_trait;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::{KeyError, MessageSigner, SettlementSigner, keeper};
use crate::config::{RemoteConfig, RpcUrl};
use crate::domain::address::{decode_hex, encode_hex};

/// A key that a server of the operator's keeps.
pub struct RemoteKey {
    client: Client,
    url: RpcUrl,
    key_id: String,
    token: Option<SecretString>,
}

/// What is to be signed.
#[derive(Serialize)]
#[serde(tag = "curve", rename_all = "lowercase")]
enum Question<'a> {
    Secp256k1 { key: &'a str, digest: String },
    Ed25519 { key: &'a str, message: String },
}

#[derive(Deserialize)]
struct Answer {
    signature: String,
}

impl RemoteKey {
    /// The key that the configuration speaks of.
    #[must_use]
    pub fn new(client: Client, config: &RemoteConfig) -> Self {
        Self { client, url: config.url.clone(), key_id: config.key_id.clone(), token: config.token.as_deref().cloned() }
    }

    async fn ask(&self, question: &Question<'_>) -> Result<[u8; 64], KeyError> {
        let answer: Answer = keeper::ask(|| self.request(question)).await?;
        signature(&answer.signature).ok_or(KeyError::Unreadable)
    }

    fn request(&self, question: &Question<'_>) -> RequestBuilder {
        let request = self.client.post(self.url.expose()).json(question);
        match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }
}

/// 64 bytes in hexadecimal digits. A 65th, from which others read the parity, is not looked at: we find it out.
fn signature(text: &str) -> Option<[u8; 64]> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    decode_hex::<64>(digits).or_else(|| decode_hex::<65>(digits)?.first_chunk().copied())
}

#[async_trait]
impl SettlementSigner for RemoteKey {
    async fn sign(&self, hash: B256) -> Result<[u8; 64], KeyError> {
        self.ask(&Question::Secp256k1 { key: &self.key_id, digest: encode_hex(hash.as_slice()) }).await
    }
}

#[async_trait]
impl MessageSigner for RemoteKey {
    async fn sign(&self, message: &[u8]) -> Result<[u8; 64], KeyError> {
        self.ask(&Question::Ed25519 { key: &self.key_id, message: encode_hex(message) }).await
    }
}

impl fmt::Debug for RemoteKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RemoteKey({} at {})", self.key_id, self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_has_64_bytes_and_the_parity_of_others_is_not_looked_at() {
        let digits = "ab".repeat(64);

        for text in [digits.clone(), format!("0x{digits}"), format!("0x{digits}1b")] {
            assert_eq!(signature(&text), Some([0xab; 64]), "{text}");
        }
        for text in ["", "0x", &digits[2..], &format!("{digits}1b00"), &digits.replace("ab", "xy")] {
            assert_eq!(signature(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_asked_is_what_the_protocol_says() {
        let evm = Question::Secp256k1 { key: "base-1", digest: "0x00".to_owned() };
        let solana = Question::Ed25519 { key: "solana-1", message: "0x00".to_owned() };

        assert_eq!(serde_json::to_string(&evm).unwrap(), r#"{"curve":"secp256k1","key":"base-1","digest":"0x00"}"#);
        assert_eq!(serde_json::to_string(&solana).unwrap(), r#"{"curve":"ed25519","key":"solana-1","message":"0x00"}"#);
    }
}
