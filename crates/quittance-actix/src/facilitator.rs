//! The facilitator, as a seller speaks to it: is this payment good, make it, what can be paid with, and with which keys do you sign.

mod kept;
mod used;

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use log::warn;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Method, Response, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use self::kept::Kept;
use self::used::Used;
use crate::receipt::{Asked, Keys, Receipt, ReceiptError};
use crate::wire::{SettleAnswer, Supported, VerifyAnswer};

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// How long everything but a settlement may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// How long a settlement may take. A facilitator may wait for a block for a minute, where the buyer's version knows no second question.
const SETTLE_WITHIN: Duration = Duration::from_secs(70);

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// How long what a facilitator offers is believed without asking again.
const SUPPORTED_FOR: Duration = Duration::from_mins(5);

/// How long its keys are. One that is not among them is asked for sooner.
const KEYS_FOR: Duration = Duration::from_hours(1);

/// The header that makes a second question after a lost answer the same question.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Whom to ask, and what is known of it. A clone shares what is known, so that one facilitator is asked once for all routes and workers.
#[derive(Debug, Clone)]
pub struct Facilitator {
    base: Arc<Url>,
    client: reqwest::Client,
    authorization: Option<HeaderValue>,
    issuer: Option<Arc<str>>,
    supported: Arc<Kept<Supported>>,
    keys: Arc<Kept<Keys>>,
    used: Arc<Used>,
}

/// Why there is nobody to ask.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Not the URL of something that speaks HTTP.
    #[error("{0:?} is not a URL that begins with http:// or https://")]
    Url(String),
    /// The key has letters that no header can carry.
    #[error("the API key has letters that no header can carry")]
    ApiKey,
    /// There is no TLS here.
    #[error("no client for HTTP can be made")]
    Client(#[source] reqwest::Error),
}

/// Why a facilitator gave no answer, or none that means anything. Never a verdict on a payment.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FacilitatorError {
    /// The connection could not be made, or broke.
    #[error("the facilitator cannot be reached")]
    Unreachable(#[source] Arc<reqwest::Error>),
    /// No answer in time.
    #[error("the facilitator did not answer in time")]
    Slow,
    /// It does not know us: the API key is missing or wrong.
    #[error("the facilitator does not take our API key")]
    Unauthorized,
    /// We ask too often.
    #[error("the facilitator wants to be asked less often")]
    RateLimited {
        /// The header `Retry-After`.
        retry_after: Option<String>,
    },
    /// It says that it cannot answer now, as when no node answers it.
    #[error("the facilitator cannot answer: status {status}{}", .code.as_ref().map(|code| format!(", {code}")).unwrap_or_default())]
    Unavailable {
        /// Its status.
        status: u16,
        /// Its code, if it gave one.
        code: Option<String>,
    },
    /// An answer that is none: another form, too long, or a success that says something else than what was asked.
    #[error("the facilitator's answer makes no sense: {0}")]
    Malformed(&'static str),
}

impl FacilitatorError {
    /// Whether the question may have been heard although the answer was not. Of those that say that they cannot answer, only 503 says that
    /// nothing was done; the others may come from somebody in between, or be the end of somebody who did it.
    pub(crate) const fn lost_the_answer(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Slow => true,
            Self::Unavailable { status, .. } => *status >= 500 && *status != 503,
            Self::Unauthorized | Self::RateLimited { .. } | Self::Malformed(_) => false,
        }
    }
}

impl From<reqwest::Error> for FacilitatorError {
    fn from(error: reqwest::Error) -> Self {
        // Its URL is left out, because some have a key in it.
        if error.is_timeout() { Self::Slow } else { Self::Unreachable(Arc::new(error.without_url())) }
    }
}

impl Facilitator {
    /// The facilitator at a URL such as `https://facilitator.example`. Nothing is asked yet.
    ///
    /// Where the process has no default for TLS yet, it is ring from here on.
    ///
    /// # Errors
    /// See [`SetupError`].
    pub fn new(url: &str) -> Result<Self, SetupError> {
        let wrong = || SetupError::Url(url.to_owned());
        let base = Url::parse(url.trim_end_matches('/')).map_err(|_| wrong())?;
        if !["http", "https"].contains(&base.scheme()) || base.query().is_some() || base.fragment().is_some() {
            return Err(wrong());
        }
        Ok(Self {
            base: Arc::new(base),
            client: client().map_err(SetupError::Client)?,
            authorization: None,
            issuer: None,
            supported: Arc::new(Kept::new(SUPPORTED_FOR)),
            keys: Arc::new(Kept::new(KEYS_FOR)),
            used: Arc::new(Used::default()),
        })
    }

    /// Names us by an API key, sent as `Authorization: Bearer`.
    ///
    /// # Errors
    /// [`SetupError::ApiKey`].
    pub fn api_key(mut self, key: &str) -> Result<Self, SetupError> {
        let mut value = HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| SetupError::ApiKey)?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// Takes receipts only from a facilitator of this name, which is its public URL as receipts have it.
    #[must_use]
    pub fn issuer(mut self, name: &str) -> Self {
        self.issuer = Some(name.into());
        self
    }

    /// The same facilitator over connections of our own. A connection belongs to the worker that made it, and another one would wait
    /// whenever that worker is busy.
    pub(crate) fn for_this_worker(&self) -> Self {
        match client() {
            Ok(client) => Self { client, ..self.clone() },
            Err(error) => {
                warn!("a worker shares its connections to the facilitator: {error}");
                self.clone()
            }
        }
    }

    /// What can be paid with now.
    pub(crate) async fn supported(&self) -> Result<Arc<Supported>, FacilitatorError> {
        self.supported.get(|| self.get("/supported"), |_| true).await
    }

    /// Fetches the keys unless they are known, so that a receipt can be checked once it is there.
    pub(crate) async fn know_keys(&self) -> Result<(), FacilitatorError> {
        self.keys(|_| true).await.map(drop)
    }

    async fn keys(&self, good: impl Fn(&Keys) -> bool) -> Result<Arc<Keys>, FacilitatorError> {
        let fetch = || async {
            let answer = self.ask(Method::GET, "/.well-known/jwks.json", ANSWER_WITHIN, |request| request).await?;
            let body = answer.success()?;
            Keys::parse(&body).map_err(|_| FacilitatorError::Malformed("no set of keys"))
        };
        self.keys.get(fetch, good).await
    }

    /// Whether a payment is good. `Ok` is a verdict, whichever.
    pub(crate) async fn verify(&self, body: Bytes) -> Result<VerifyAnswer, FacilitatorError> {
        let answer = self.post("/verify", ANSWER_WITHIN, body, None).await?;
        let read = answer.read::<VerifyAnswer>();
        let code = read.as_ref().and_then(|verdict| verdict.invalid_reason.clone());
        match answer.verdict(read, code)? {
            verdict if verdict.is_valid && !answer.status.is_success() => Err(FacilitatorError::Malformed("valid, and an error")),
            verdict => Ok(verdict),
        }
    }

    /// Makes a payment. `Ok` is an answer, whichever.
    pub(crate) async fn settle(&self, body: Bytes, key: &str) -> Result<SettleAnswer, FacilitatorError> {
        let answer = self.post("/settle", SETTLE_WITHIN, body, Some(key)).await?;
        let read = answer.read::<SettleAnswer>();
        let code = read.as_ref().and_then(|settled| settled.error_reason.clone());
        match answer.verdict(read, code)? {
            settled if settled.success && !answer.status.is_success() => {
                Err(FacilitatorError::Malformed("success, and an error"))
            }
            settled => Ok(settled),
        }
    }

    /// Uses a receipt that is the facilitator's, says what was asked for, and was not used before. `Ok(Err(_))` is the verdict that it is
    /// no such one.
    pub(crate) async fn use_receipt(&self, jws: &str, asked: Asked<'_>) -> Result<Result<(), ReceiptError>, FacilitatorError> {
        let receipt = match Receipt::parse(jws) {
            Ok(receipt) => receipt,
            Err(error) => return Ok(Err(error)),
        };
        let keys = self.keys(|keys| keys.has(receipt.kid())).await?;
        let checked = receipt.check(&keys, &Asked { issuer: self.issuer.as_deref(), ..asked });
        Ok(checked.and_then(|id| if self.used.first_use(&id) { Ok(()) } else { Err(ReceiptError::Used) }))
    }

    /// The receipt of a payment, where the answer to its settlement went without because it was not ready in time. None if it cannot be had
    /// now.
    pub(crate) async fn late_receipt(&self, payment: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Payment {
            receipt: String,
        }
        #[derive(Deserialize)]
        struct Revisions {
            revisions: Vec<Revision>,
        }
        #[derive(Deserialize)]
        struct Revision {
            receipt: String,
        }
        let read = async {
            let Payment { receipt } = self.get(&format!("/v1/payments/{payment}")).await?;
            let named = receipt.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            let path = if named {
                format!("/v1/receipts/{receipt}")
            } else {
                return Err(FacilitatorError::Malformed("no id of a receipt"));
            };
            self.get::<Revisions>(&path).await
        };
        match read.await {
            Ok(Revisions { mut revisions }) => revisions.pop().map(|revision| revision.receipt),
            Err(error) => {
                warn!("the receipt of {payment} cannot be had: {error}");
                None
            }
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, FacilitatorError> {
        let body = self.ask(Method::GET, path, ANSWER_WITHIN, |request| request).await?.success()?;
        serde_json::from_slice(&body).map_err(|_| FacilitatorError::Malformed("another form than expected"))
    }

    async fn post(&self, path: &str, within: Duration, body: Bytes, key: Option<&str>) -> Result<Answer, FacilitatorError> {
        let fill = |request: reqwest::RequestBuilder| {
            let request = request.header(CONTENT_TYPE, "application/json").body(body);
            match key {
                Some(key) => request.header(IDEMPOTENCY_KEY, key),
                None => request,
            }
        };
        self.ask(Method::POST, path, within, fill).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        within: Duration,
        fill: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
    ) -> Result<Answer, FacilitatorError> {
        let url = format!("{}{path}", self.base.as_str().trim_end_matches('/'));
        let mut request = fill(self.client.request(method, url).timeout(within));
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        Answer::of(request.send().await?).await
    }
}

fn client() -> Result<reqwest::Client, reqwest::Error> {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Fails only where somebody else has just done it, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
    // A redirect would turn a POST into a GET, or hand a payment to somebody else.
    reqwest::Client::builder().connect_timeout(CONNECT_WITHIN).redirect(Policy::none()).build()
}

/// What was answered, whatever it says.
struct Answer {
    status: StatusCode,
    retry_after: Option<String>,
    body: Vec<u8>,
}

impl Answer {
    async fn of(mut response: Response) -> Result<Self, FacilitatorError> {
        let status =
            StatusCode::from_u16(response.status().as_u16()).map_err(|_| FacilitatorError::Malformed("no such status"))?;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(FacilitatorError::Malformed("too long"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Self { status, retry_after, body })
    }

    fn read<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body of an answer that has nothing to do with a payment.
    fn success(self) -> Result<Vec<u8>, FacilitatorError> {
        self.fault(None).map_or(Ok(()), Err)?;
        if self.status.is_success() { Ok(self.body) } else { Err(self.unavailable(None)) }
    }

    /// What was read, if the status lets it be a verdict: 200, or 4xx for a malformed payment.
    fn verdict<T>(&self, read: Option<T>, code: Option<String>) -> Result<T, FacilitatorError> {
        if let Some(fault) = self.fault(code.clone()) {
            return Err(fault);
        }
        match read {
            Some(verdict) if self.status.is_success() || self.status.is_client_error() => Ok(verdict),
            None if self.status.is_success() => Err(FacilitatorError::Malformed("another form than expected")),
            Some(_) | None => Err(self.unavailable(code)),
        }
    }

    /// What the status says of us or of the facilitator, and not of a payment.
    fn fault(&self, code: Option<String>) -> Option<FacilitatorError> {
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Some(FacilitatorError::Unauthorized),
            StatusCode::TOO_MANY_REQUESTS => Some(FacilitatorError::RateLimited { retry_after: self.retry_after.clone() }),
            // It has not read the question to its end.
            StatusCode::REQUEST_TIMEOUT => Some(self.unavailable(code)),
            status if status.is_server_error() => Some(self.unavailable(code)),
            _ => None,
        }
    }

    fn unavailable(&self, code: Option<String>) -> FacilitatorError {
        FacilitatorError::Unavailable { status: self.status.as_u16(), code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status: StatusCode::from_u16(status).unwrap(), retry_after: None, body: body.as_bytes().to_vec() }
    }

    fn verdict(status: u16, body: &str) -> Result<VerifyAnswer, FacilitatorError> {
        let answer = answer(status, body);
        answer.verdict(answer.read(), None)
    }

    #[test]
    fn only_something_that_speaks_http_is_a_facilitator() {
        for url in ["", "facilitator.example", "ftp://a", "http://a?b=c", "http://a#b"] {
            assert!(matches!(Facilitator::new(url), Err(SetupError::Url(_))), "{url}");
        }
        assert!(Facilitator::new("https://facilitator.example/x402/").is_ok());
        assert!(matches!(Facilitator::new("http://a").unwrap().api_key("a\nb"), Err(SetupError::ApiKey)));
    }

    #[test]
    fn an_answer_is_lost_unless_somebody_says_that_nothing_was_done() {
        let unavailable = |status| FacilitatorError::Unavailable { status, code: None };
        for lost in [FacilitatorError::Slow, unavailable(500), unavailable(502), unavailable(504)] {
            assert!(lost.lost_the_answer(), "{lost}");
        }
        let limited = FacilitatorError::RateLimited { retry_after: None };
        for heard in [unavailable(503), unavailable(408), FacilitatorError::Unauthorized, limited] {
            assert!(!heard.lost_the_answer(), "{heard}");
        }
    }

    #[test]
    fn a_verdict_is_only_what_says_so_with_a_status_for_it() {
        let (valid, invalid) = (r#"{"isValid":true,"payer":"0x1"}"#, r#"{"isValid":false,"invalidReason":"x","payer":null}"#);
        assert!(verdict(200, valid).unwrap().is_valid);
        assert!(!verdict(200, invalid).unwrap().is_valid && !verdict(400, invalid).unwrap().is_valid);
        for status in [408, 500, 502, 503] {
            assert!(matches!(verdict(status, valid), Err(FacilitatorError::Unavailable { .. })), "{status}");
        }
        for status in [401, 403] {
            assert!(matches!(verdict(status, invalid), Err(FacilitatorError::Unauthorized)), "{status}");
        }
        assert!(matches!(verdict(429, invalid), Err(FacilitatorError::RateLimited { .. })));
        assert!(matches!(verdict(404, "not here"), Err(FacilitatorError::Unavailable { status: 404, .. })));
        assert!(matches!(verdict(302, valid), Err(FacilitatorError::Unavailable { status: 302, .. })));
        for body in ["", "{}", "[]", "null", r#"{"isValid":"true"}"#, r#"{"isValid":true,"isValid":false}"#] {
            assert!(matches!(verdict(200, body), Err(FacilitatorError::Malformed(_))), "{body}");
        }
    }
}
