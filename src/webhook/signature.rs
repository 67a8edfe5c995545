//! Signatures of webhooks: HMAC-SHA256 over id, time and body, as Standard Webhooks 1.0.0 defines them under `v1`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::secret::Secret;

/// The header with the id of a message. It is the same for every attempt, so that a receiver knows what it already has.
pub const ID_HEADER: &str = "webhook-id";

/// The header with the time of the attempt, in seconds since 1970.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";

/// The header with the signatures, one for each secret, between spaces.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// How far the time of an attempt may be from the receiver's, in seconds. Older ones may be repeated by somebody who has seen them.
pub const TOLERANCE_SECONDS: i64 = 300;

/// What a signature begins with that is made in this way.
const VERSION: &str = "v1,";

/// Something to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// What the receiver knows it by. No dots: they part what is signed.
    pub id: &'a str,
    /// When this attempt is made.
    pub sent_at: DateTime<Utc>,
    /// The bytes that are signed and sent.
    pub body: &'a [u8],
}

/// The headers of a signed message, as they travel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeaders {
    /// See [`ID_HEADER`].
    pub id: String,
    /// See [`TIMESTAMP_HEADER`].
    pub timestamp: String,
    /// See [`SIGNATURE_HEADER`].
    pub signature: String,
}

/// Why a message is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The time is not a number.
    #[error("the timestamp of the webhook is not a number of seconds")]
    TimestampUnreadable,
    /// It was sent more than [`TOLERANCE_SECONDS`] ago.
    #[error("the webhook is too old")]
    TooOld,
    /// It claims to be sent more than [`TOLERANCE_SECONDS`] from now.
    #[error("the webhook is from the future")]
    TooNew,
    /// No signature was made over this message with any of the secrets.
    #[error("no signature of the webhook is right")]
    NotSigned,
}

/// Signs a message with every secret that is given.
#[must_use]
pub fn sign<'s>(message: &Message<'_>, secrets: impl IntoIterator<Item = &'s Secret>) -> SignedHeaders {
    let timestamp = message.sent_at.timestamp().to_string();
    let sign = |secret| {
        let tag = mac(secret, message.id, &timestamp, message.body).finalize().into_bytes();
        format!("{VERSION}{}", STANDARD.encode(tag))
    };
    let signatures: Vec<_> = secrets.into_iter().map(sign).collect();
    SignedHeaders { id: message.id.to_owned(), timestamp, signature: signatures.join(" ") }
}

/// Decides whether a message was signed with one of the secrets, and just now. Signatures are compared in constant time.
///
/// # Errors
/// See [`VerifyError`].
pub fn verify<'s>(
    headers: &SignedHeaders,
    body: &[u8],
    secrets: impl IntoIterator<Item = &'s Secret>,
    now: DateTime<Utc>,
) -> Result<(), VerifyError> {
    check_time(&headers.timestamp, now)?;
    let signatures: Vec<_> = headers.signature.split(' ').filter_map(decode).collect();
    let has_signed = |secret| {
        let mac = mac(secret, &headers.id, &headers.timestamp, body);
        signatures.iter().any(|signature| mac.clone().verify_slice(signature).is_ok())
    };
    if secrets.into_iter().any(has_signed) { Ok(()) } else { Err(VerifyError::NotSigned) }
}

fn check_time(timestamp: &str, now: DateTime<Utc>) -> Result<(), VerifyError> {
    let sent_at: i64 = timestamp.parse().map_err(|_| VerifyError::TimestampUnreadable)?;
    let age = now.timestamp().saturating_sub(sent_at);
    if age > TOLERANCE_SECONDS {
        return Err(VerifyError::TooOld);
    }
    if age < -TOLERANCE_SECONDS {
        return Err(VerifyError::TooNew);
    }
    Ok(())
}

/// The bytes of a signature; `None` for those of other versions, which are passed over.
fn decode(signature: &str) -> Option<Vec<u8>> {
    STANDARD.decode(signature.strip_prefix(VERSION)?).ok()
}

fn mac(secret: &Secret, id: &str, timestamp: &str, body: &[u8]) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.bytes()).expect("HMAC takes keys of any length");
    mac.chain_update(id).chain_update(".").chain_update(timestamp).chain_update(".").chain_update(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of Standard Webhooks.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIMESTAMP: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn secret() -> Secret {
        Secret::parse(&SECRET.into()).unwrap()
    }

    fn at(timestamp: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(timestamp, 0).unwrap()
    }

    fn signed(secrets: &[Secret]) -> SignedHeaders {
        sign(&Message { id: ID, sent_at: at(TIMESTAMP), body: BODY }, secrets)
    }

    fn verdict(headers: &SignedHeaders, body: &[u8]) -> Result<(), VerifyError> {
        verify(headers, body, &[secret()], at(TIMESTAMP))
    }

    #[test]
    fn the_signature_is_that_of_the_specification() {
        let headers = signed(&[secret()]);

        assert_eq!((headers.id.as_str(), headers.timestamp.as_str()), (ID, "1614265330"));
        assert_eq!(headers.signature, SIGNATURE);
        assert_eq!(verdict(&headers, BODY), Ok(()));
    }

    #[test]
    fn either_secret_suffices_while_one_replaces_the_other() {
        let (new, stranger) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        let headers = signed(&[new.clone(), secret()]);

        assert_eq!(headers.signature.split(' ').count(), 2);
        assert!(headers.signature.starts_with("v1,") && headers.signature.ends_with(&format!(" {SIGNATURE}")));
        for secrets in [vec![new.clone()], vec![secret()], vec![stranger.clone(), new]] {
            assert_eq!(verify(&headers, BODY, &secrets, at(TIMESTAMP)), Ok(()));
        }
        for secrets in [vec![stranger], vec![]] {
            assert_eq!(verify(&headers, BODY, &secrets, at(TIMESTAMP)), Err(VerifyError::NotSigned));
        }
    }

    #[test]
    fn whatever_is_signed_cannot_be_changed() {
        let headers = signed(&[secret()]);
        let changed = [
            SignedHeaders { id: "msg_other".to_owned(), ..headers.clone() },
            SignedHeaders { timestamp: (TIMESTAMP + 1).to_string(), ..headers.clone() },
            SignedHeaders { signature: SIGNATURE.replace('g', "h"), ..headers.clone() },
        ];

        for headers in changed {
            assert_eq!(verdict(&headers, BODY), Err(VerifyError::NotSigned), "{headers:?}");
        }
        assert_eq!(verdict(&headers, br#"{"test": 2432232315}"#), Err(VerifyError::NotSigned));
    }

    #[test]
    fn only_whole_signatures_of_this_version_count() {
        let verdict = |signature: &str| verdict(&SignedHeaders { signature: signature.to_owned(), ..signed(&[]) }, BODY);
        let digits = SIGNATURE.strip_prefix("v1,").unwrap();

        assert_eq!(verdict(&format!("v1a,{digits} v1,?  {SIGNATURE}")), Ok(()));
        for signature in
            ["", "v1,", "v1,g0hM", digits, &format!("v1a,{digits}"), &format!("v2,{digits}"), &format!("V1,{digits}")]
        {
            assert_eq!(verdict(signature), Err(VerifyError::NotSigned), "{signature:?}");
        }
    }

    #[test]
    fn a_message_is_believed_for_five_minutes() {
        let headers = signed(&[secret()]);
        let verdict = |age: i64| verify(&headers, BODY, &[secret()], at(TIMESTAMP + age));

        for age in [-300, 0, 300] {
            assert_eq!(verdict(age), Ok(()), "{age}");
        }
        assert_eq!(verdict(301), Err(VerifyError::TooOld));
        assert_eq!(verdict(-301), Err(VerifyError::TooNew));
    }

    #[test]
    fn a_time_that_cannot_be_is_refused() {
        let verdict = |timestamp: &str| verdict(&SignedHeaders { timestamp: timestamp.to_owned(), ..signed(&[]) }, BODY);

        for timestamp in ["", "now", "1614265330.5", " 1614265330"] {
            assert_eq!(verdict(timestamp), Err(VerifyError::TimestampUnreadable), "{timestamp:?}");
        }
        assert_eq!(verdict(&i64::MAX.to_string()), Err(VerifyError::TooNew));
        assert_eq!(verdict(&i64::MIN.to_string()), Err(VerifyError::TooOld));
    }
}
