//! Sends webhooks, and reaches only what they may reach.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::redirect::Policy;

use super::outcome::{FailureKind, Outcome};
use super::reach::Reach;
use super::resolver::Resolver;
use super::secret::Secrets;
use super::signature::{ID_HEADER, Message, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign};
use super::target::Target;

/// How long a connection may take, with looking its name up and TLS.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long an attempt may take as a whole.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

/// How long a connection is kept for the next message.
const IDLE_FOR: Duration = Duration::from_secs(30);

/// How many connections to one receiver are kept.
const IDLE_MAX: usize = 2;

/// What the client calls itself.
const USER_AGENT: &str = concat!("quittance/", env!("CARGO_PKG_VERSION"));

/// The client that webhooks are sent with. One is enough, and shares its connections.
#[derive(Debug, Clone)]
pub struct Webhooks {
    client: reqwest::Client,
    reach: Reach,
}

impl Webhooks {
    /// A client that reaches so far. The process must have installed its provider of cryptography.
    ///
    /// # Errors
    /// The machine has no root certificates.
    pub fn new(reach: Reach) -> Result<Self, reqwest::Error> {
        Self::with(reach, Resolver::of_the_machine(reach), ANSWER_WITHIN)
    }

    fn with(reach: Reach, resolver: Resolver, answer_within: Duration) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .dns_resolver(resolver)
            .https_only(reach == Reach::Public)
            // Where it is sent on to was not judged, and a proxy would look names up by itself.
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(answer_within)
            .pool_idle_timeout(IDLE_FOR)
            .pool_max_idle_per_host(IDLE_MAX)
            .user_agent(USER_AGENT)
            .build()?;
        Ok(Self { client, reach })
    }

    /// Makes one attempt to deliver a message.
    pub async fn send(&self, url: &str, message: &Message<'_>, secrets: &Secrets) -> Outcome {
        // An address in a URL is never looked up, so this is the only judgement on it, and it may have become stricter by now.
        let Ok(target) = Target::parse(url, self.reach) else { return Outcome::Failed(FailureKind::Forbidden) };
        match self.request(&target, message, secrets).send().await {
            Ok(response) => Outcome::of(response, message.sent_at).await,
            Err(error) => Outcome::Failed(FailureKind::of(&error)),
        }
    }

    fn request(&self, target: &Target, message: &Message<'_>, secrets: &Secrets) -> reqwest::RequestBuilder {
        let headers = sign(message, secrets.live(message.sent_at));
        self.client
            .post(target.url().clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ID_HEADER, headers.id)
            .header(TIMESTAMP_HEADER, headers.timestamp)
            .header(SIGNATURE_HEADER, headers.signature)
            .body(message.body.to_vec())
    }
}

#[cfg(test)]
mod tests;
