//! How whoever keeps a key elsewhere is asked for something.
//!
//! To sign moves nothing, and to sign twice no more, so what was not answered is asked again. Only an answer that says no is a no.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::CONTENT_LENGTH;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::KeyError;

/// One attempt may take so long.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(2);

/// How often the same is asked.
const ATTEMPTS_MAX: u32 = 3;

/// Before the second attempt. Before the third it is twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// A signature has a few hundred bytes, credentials a few thousand.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Longest word that is taken for the reason of a refusal.
const CODE_LENGTH_MAX: usize = 64;

/// The ends of the words by which AWS says, with status 400, that it was asked too often.
const TOO_OFTEN: [&str; 3] = ["ThrottlingException", "LimitExceededException", "RequestLimitExceeded"];

/// The ends of the words by which AWS says, with status 400, that credentials are good for nothing.
const NO_CREDENTIALS: [&str; 4] =
    ["ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException", "InvalidClientTokenId"];

/// A client for keepers of keys. It follows no redirection, and no proxy of the environment is asked: what it sends is for one host alone.
///
/// # Errors
/// TLS has no provider.
pub fn client() -> Result<Client, reqwest::Error> {
    let builder = Client::builder().timeout(ATTEMPT_WITHIN).redirect(Policy::none()).pool_idle_timeout(Duration::from_secs(30));
    builder.no_proxy().tcp_nodelay(true).build()
}

/// Asks until there is an answer, at most [`ATTEMPTS_MAX`] times. Each attempt is made anew, because some are dated.
pub(super) async fn ask<T: DeserializeOwned>(make: impl Fn() -> RequestBuilder) -> Result<T, KeyError> {
    let mut attempt = 1;
    loop {
        match once(make()).await {
            Err(error) if may_pass(&error) && attempt < ATTEMPTS_MAX => tokio::time::sleep(PAUSE * attempt).await,
            end => return end,
        }
        attempt += 1;
    }
}

const fn may_pass(error: &KeyError) -> bool {
    matches!(error, KeyError::Unanswered(_) | KeyError::OutOfOrder(_))
}

async fn once<T: DeserializeOwned>(request: RequestBuilder) -> Result<T, KeyError> {
    let answer = request.send().await.map_err(unanswered)?;
    let status = answer.status();
    let body = read(answer).await?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|_| KeyError::Unreadable);
    }
    if status.is_server_error() || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status) {
        return Err(KeyError::OutOfOrder(status.as_u16()));
    }
    let code = code(&body);
    if ends_with_any(&code, &TOO_OFTEN) {
        return Err(KeyError::OutOfOrder(status.as_u16()));
    }
    Err(KeyError::Refused { status: status.as_u16(), code })
}

/// Says that credentials which are still good end soon.
pub(super) fn note_not_renewed(error: &KeyError) {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    tracing::warn!(%error, cause, "the credentials for a signer could not be renewed");
}

/// Whether it was refused because of who asked. Credentials that are kept may have been exchanged before their time.
pub(super) fn is_about_credentials(error: &KeyError) -> bool {
    let KeyError::Refused { status, code } = error else { return false };
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].iter().any(|refused| refused == status)
        || ends_with_any(code, &NO_CREDENTIALS)
}

/// A word may stand behind a name space: `com.amazonaws.kms#ThrottlingException`.
fn ends_with_any(word: &str, ends: &[&str]) -> bool {
    ends.iter().any(|end| word.ends_with(end))
}

/// URLs hold secrets, and errors hold URLs.
fn unanswered(error: reqwest::Error) -> KeyError {
    KeyError::Unanswered(error.without_url())
}

async fn read(mut answer: Response) -> Result<Vec<u8>, KeyError> {
    let announced = answer.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > ANSWER_BYTES_MAX) {
        return Err(KeyError::Unreadable);
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(unanswered)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(KeyError::Unreadable);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Why it refused, in the one word that our protocol, AWS and Google have for it. Nothing else of the answer is repeated anywhere: it may
/// have in it what we have sent.
fn code(body: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let words = [&answer["code"], &answer["__type"], &answer["error"]["status"], &answer["error"]];
    let is_word = |word: &&str| {
        let is_letter = |byte: u8| byte.is_ascii_alphabetic() || b"_.#".contains(&byte);
        (1..=CODE_LENGTH_MAX).contains(&word.len()) && word.bytes().all(is_letter)
    };
    words.into_iter().filter_map(Value::as_str).find(is_word).unwrap_or("without a reason").to_owned()
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_refusal_has_one_word_of_those_that_refuse_and_nothing_that_could_be_a_secret() {
        for (body, word) in [
            (r#"{"code":"unknown_key","message":"secret"}"#, "unknown_key"),
            (r#"{"__type":"AccessDeniedException","Message":"User arn:aws:… is not"}"#, "AccessDeniedException"),
            (r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"…"}}"#, "PERMISSION_DENIED"),
            (r#"{"error":"invalid_token"}"#, "invalid_token"),
            (r#"{"code":"Bearer abc"}"#, "without a reason"),
            (r#"{"code":"s3cret"}"#, "without a reason"),
            ("<html>", "without a reason"),
        ] {
            assert_eq!(code(body.as_bytes()), word, "{body}");
        }
    }

    /// What `once` makes of an answer, over a connection.
    async fn answered(status: u16, body: &str) -> KeyError {
        // Another test may have been first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let words = format!("HTTP/1.1 {status} Said\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        let serve = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = [0; 4_096];
            assert!(connection.read(&mut request).await.unwrap() > 0);
            connection.write_all(words.as_bytes()).await.unwrap();
        };
        tokio::join!(once::<Value>(client().unwrap().get(url)), serve).0.unwrap_err()
    }

    #[tokio::test]
    async fn who_was_asked_too_often_is_asked_again_and_who_refuses_is_not() {
        for word in
            ["ThrottlingException", "com.amazonaws.kms#ThrottlingException", "LimitExceededException", "RequestLimitExceeded"]
        {
            let error = answered(400, &format!(r#"{{"__type":"{word}"}}"#)).await;
            assert!(matches!(error, KeyError::OutOfOrder(400)) && may_pass(&error), "{word}: {error:?}");
        }
        for word in ["AccessDeniedException", "KMSInvalidStateException", "ThrottlingExceptionNot"] {
            let error = answered(400, &format!(r#"{{"__type":"{word}"}}"#)).await;
            assert!(!may_pass(&error) && !is_about_credentials(&error), "{word}: {error:?}");
        }
    }

    #[tokio::test]
    async fn credentials_are_doubted_when_they_are_refused_and_not_otherwise() {
        for (status, body) in [
            (401, "{}"),
            (403, "<html>"),
            (400, r#"{"__type":"ExpiredTokenException"}"#),
            (400, r#"{"__type":"com.amazon.coral.service#UnrecognizedClientException"}"#),
        ] {
            assert!(is_about_credentials(&answered(status, body).await), "{status} {body}");
        }
        for (status, body) in [(404, "{}"), (500, "{}"), (429, "{}"), (400, r#"{"__type":"NotFoundException"}"#)] {
            assert!(!is_about_credentials(&answered(status, body).await), "{status} {body}");
        }
    }
}
