//! Keys in Google's Cloud Key Management Service: one call of it, `asymmetricSign` (docs/adr/0047).

use std::fmt;
use std::time::{Duration, Instant};

use alloy::primitives::B256;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{KeyError, SettlementSigner, ecdsa, keeper};
use crate::config::GcpKmsConfig;

/// A token is fetched anew when it has less left than this. The metadata server itself renews it five minutes before it ends.
const RENEWED_BEFORE: Duration = Duration::from_mins(2);

/// Where there was none to be had, the old one is used for so long before somebody waits for another one again.
const TRIED_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// A key that Google keeps.
pub struct GcpKey {
    client: Client,
    config: GcpKmsConfig,
    token: Mutex<Option<Fetched>>,
}

/// A token that ends.
struct Fetched {
    token: SecretString,
    until: Instant,
    /// From when on another one is fetched.
    renewed_from: Instant,
}

/// What the metadata server answers.
#[derive(Deserialize)]
struct TokenAnswer {
    access_token: SecretString,
    expires_in: u64,
}

#[derive(Deserialize)]
struct Answer {
    signature: String,
}

impl GcpKey {
    /// The key that the configuration speaks of.
    #[must_use]
    pub fn new(client: Client, config: &GcpKmsConfig) -> Self {
        Self { client, config: config.clone(), token: Mutex::default() }
    }

    /// What shows who we are: the machine's or the pod's own account. Whoever asks while it is fetched waits for it.
    async fn token(&self) -> Result<SecretString, KeyError> {
        let mut fetched = self.token.lock().await;
        let now = Instant::now();
        let held = fetched.as_mut().filter(|held| held.until > now);
        if let Some(held) = &held
            && held.renewed_from > now
        {
            return Ok(held.token.clone());
        }
        match (self.fetch(now).await, held) {
            (Ok(new), _) => Ok(fetched.insert(new).token.clone()),
            // It is still good for a while, and whoever gives a new one may be back before that is over.
            (Err(error), Some(held)) => {
                keeper::note_not_renewed(&error);
                held.renewed_from = Instant::now() + TRIED_AGAIN_AFTER;
                Ok(held.token.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn fetch(&self, asked: Instant) -> Result<Fetched, KeyError> {
        let request = || self.client.get(self.config.token_url.expose()).header("metadata-flavor", "Google");
        let answer: TokenAnswer = keeper::ask(request).await.map_err(|error| KeyError::Credentials(Box::new(error)))?;
        let lasts = Duration::from_secs(answer.expires_in);
        let renewed_from = asked + lasts.saturating_sub(RENEWED_BEFORE);
        Ok(Fetched { token: answer.access_token, until: asked + lasts, renewed_from })
    }

    /// Forgets the token. Returns whether there was one.
    async fn forget_token(&self) -> bool {
        self.token.lock().await.take().is_some()
    }

    async fn ask(&self, body: &Value) -> Result<Answer, KeyError> {
        let token = self.token().await?;
        let url = format!("{}/v1/{}:asymmetricSign", self.config.endpoint.expose().trim_end_matches('/'), self.config.key_id);
        keeper::ask(|| self.client.post(&url).bearer_auth(token.expose_secret()).json(body)).await
    }
}

#[async_trait]
impl SettlementSigner for GcpKey {
    async fn sign(&self, hash: B256) -> Result<[u8; 64], KeyError> {
        // Whatever made the digest: the service signs 32 bytes under this name.
        let body = json!({"digest": {"sha256": STANDARD.encode(hash)}});
        let answer = match self.ask(&body).await {
            Err(error) if keeper::is_about_credentials(&error) && self.forget_token().await => self.ask(&body).await?,
            answer => answer?,
        };
        let der = STANDARD.decode(answer.signature).map_err(|_| KeyError::Unreadable)?;
        ecdsa::from_der(&der).ok_or(KeyError::Unreadable)
    }
}

impl fmt::Debug for GcpKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "GcpKey({} at {})", self.config.key_id, self.config.endpoint)
    }
}
