//! Keys in the AWS Key Management Service: one call of it, `Sign`, over the client for HTTP that is there anyway (docs/adr/0047).

use std::fmt;
use std::path::PathBuf;

use alloy::primitives::B256;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;

use self::sigv4::{AMZ_DATE, Credentials, SECURITY_TOKEN, Signed};
use super::{KeyError, SettlementSigner, ecdsa, keeper};
use crate::config::{AwsKmsConfig, AwsWay, RpcUrl};
use crate::domain::clock::{Clock, SystemClock};

pub mod sigv4;

/// Credentials are fetched anew when they have less left than this.
const RENEWED_BEFORE: TimeDelta = TimeDelta::minutes(5);

/// Where they were not to be had, the old ones are used for so long before somebody waits for others again.
const TRIED_AGAIN_AFTER: TimeDelta = TimeDelta::seconds(30);

/// Which call of the service.
const TARGET: &str = "TrentService.Sign";

/// A key that AWS keeps.
pub struct AwsKey {
    client: Client,
    config: AwsKmsConfig,
    fetched: Mutex<Option<Fetched>>,
}

/// Credentials that end.
#[derive(Clone)]
struct Fetched {
    credentials: Credentials,
    until: DateTime<Utc>,
    /// From when on others are fetched.
    renewed_from: DateTime<Utc>,
}

/// What Pod Identity and ECS answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct FetchedAnswer {
    access_key_id: String,
    secret_access_key: SecretString,
    token: SecretString,
    expiration: DateTime<Utc>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    signature: String,
}

impl AwsKey {
    /// The key that the configuration speaks of.
    #[must_use]
    pub fn new(client: Client, config: &AwsKmsConfig) -> Self {
        Self { client, config: config.clone(), fetched: Mutex::default() }
    }

    async fn credentials(&self) -> Result<Credentials, KeyError> {
        match &self.config.way {
            AwsWay::Fixed { access_key_id, secret_access_key, session_token } => Ok(Credentials {
                access_key_id: access_key_id.clone(),
                secret_access_key: SecretString::clone(secret_access_key),
                session_token: session_token.as_deref().cloned(),
            }),
            AwsWay::Fetched { url, token_file } => self.fetched(url, token_file.as_ref()).await,
        }
    }

    /// The credentials of the machine or pod that we are. Whoever asks while they are fetched waits for them.
    async fn fetched(&self, url: &RpcUrl, token_file: Option<&PathBuf>) -> Result<Credentials, KeyError> {
        let mut fetched = self.fetched.lock().await;
        let now = SystemClock.now();
        let held = fetched.as_mut().filter(|held| held.until > now);
        if let Some(held) = &held
            && held.renewed_from > now
        {
            return Ok(held.credentials.clone());
        }
        match (self.fetch(url, token_file).await, held) {
            (Ok(new), _) => Ok(fetched.insert(new).credentials.clone()),
            // They are still good for a while, and whoever gives new ones may be back before that is over.
            (Err(error), Some(held)) => {
                keeper::note_not_renewed(&error);
                held.renewed_from = SystemClock.now() + TRIED_AGAIN_AFTER;
                Ok(held.credentials.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn fetch(&self, url: &RpcUrl, token_file: Option<&PathBuf>) -> Result<Fetched, KeyError> {
        // It is written anew by whoever manages it.
        let token = token_file.map(std::fs::read_to_string).transpose().map_err(KeyError::Token)?.map(SecretString::from);
        let request = || {
            let request = self.client.get(url.expose());
            match &token {
                Some(token) => request.header(AUTHORIZATION, sensitive(token.expose_secret().trim())),
                None => request,
            }
        };
        let answer: FetchedAnswer = keeper::ask(request).await.map_err(|error| KeyError::Credentials(Box::new(error)))?;
        let credentials = Credentials {
            access_key_id: answer.access_key_id,
            secret_access_key: answer.secret_access_key,
            session_token: Some(answer.token),
        };
        Ok(Fetched { credentials, until: answer.expiration, renewed_from: answer.expiration - RENEWED_BEFORE })
    }

    /// Forgets credentials that were fetched. Returns whether there were any.
    async fn forget_credentials(&self) -> bool {
        self.fetched.lock().await.take().is_some()
    }

    async fn ask(&self, body: &str) -> Result<Answer, KeyError> {
        let credentials = self.credentials().await?;
        keeper::ask(|| self.request(&credentials, body)).await
    }

    fn request(&self, credentials: &Credentials, body: &str) -> RequestBuilder {
        let AwsKmsConfig { endpoint, region, .. } = &self.config;
        let Signed { date, authorization } = sigv4::sign(credentials, region, endpoint.host(), TARGET, body, SystemClock.now());
        let request = self
            .client
            .post(endpoint.expose())
            .header(CONTENT_TYPE, sigv4::MEDIA_TYPE)
            .header(AMZ_DATE, date)
            .header(sigv4::AMZ_TARGET, TARGET)
            .header(AUTHORIZATION, sensitive(authorization.expose_secret()));
        let request = match &credentials.session_token {
            Some(token) => request.header(SECURITY_TOKEN, sensitive(token.expose_secret())),
            None => request,
        };
        request.body(body.to_owned())
    }
}

/// A header that is not printed. One that cannot be a header is empty, and refused by whoever gets it.
fn sensitive(text: &str) -> reqwest::header::HeaderValue {
    let mut value = reqwest::header::HeaderValue::from_str(text).unwrap_or(reqwest::header::HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

#[async_trait]
impl SettlementSigner for AwsKey {
    async fn sign(&self, hash: B256) -> Result<[u8; 64], KeyError> {
        let body = json!({
            "KeyId": self.config.key_id,
            "Message": STANDARD.encode(hash),
            "MessageType": "DIGEST",
            "SigningAlgorithm": "ECDSA_SHA_256",
        });
        let body = body.to_string();
        let answer = match self.ask(&body).await {
            Err(error) if keeper::is_about_credentials(&error) && self.forget_credentials().await => self.ask(&body).await?,
            answer => answer?,
        };
        let der = STANDARD.decode(answer.signature).map_err(|_| KeyError::Unreadable)?;
        ecdsa::from_der(&der).ok_or(KeyError::Unreadable)
    }
}

impl fmt::Debug for AwsKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AwsKey({} at {})", self.config.key_id, self.config.endpoint)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A key whose credentials somebody gives out once, for so long, and is away from then on.
    async fn key_with_credentials_for(lasts: TimeDelta) -> AwsKey {
        // Another test may have been first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = RpcUrl::parse(&format!("http://{}/v1/credentials", listener.local_addr().unwrap())).unwrap();
        let expiration = (SystemClock.now() + lasts).to_rfc3339();
        let body =
            json!({"AccessKeyId": "id", "SecretAccessKey": "secret", "Token": "token", "Expiration": expiration}).to_string();
        let words = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        let serve = async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 4_096];
            assert!(connection.read(&mut request).await.unwrap() > 0);
            connection.write_all(words.as_bytes()).await.unwrap();
        };
        let config = AwsKmsConfig {
            key_id: "key".to_owned(),
            region: "eu-central-1".to_owned(),
            endpoint: url.clone(),
            way: AwsWay::Fetched { url, token_file: None },
        };
        let key = AwsKey::new(keeper::client().unwrap(), &config);
        let (first, ()) = tokio::join!(key.credentials(), serve);
        let Credentials { access_key_id, session_token, .. } = first.unwrap();
        assert_eq!((access_key_id.as_str(), session_token.unwrap().expose_secret()), ("id", "token"));
        key
    }

    #[tokio::test]
    async fn credentials_are_good_until_they_end_also_where_nobody_gives_new_ones() {
        let due = key_with_credentials_for(RENEWED_BEFORE - TimeDelta::minutes(1)).await;
        assert_eq!(due.credentials().await.unwrap().access_key_id, "id");

        let over = key_with_credentials_for(TimeDelta::seconds(-1)).await;
        assert!(matches!(over.credentials().await, Err(KeyError::Credentials(_))));
    }
}
