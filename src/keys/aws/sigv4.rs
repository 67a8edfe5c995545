//! How AWS is shown who asks: Signature Version 4, as far as a POST of JSON to `/` needs it.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::domain::address::encode_hex;

/// The media type of a call.
pub const MEDIA_TYPE: &str = "application/x-amz-json-1.1";

/// The header with the time of a call.
pub const AMZ_DATE: &str = "x-amz-date";

/// The header that names the call.
pub const AMZ_TARGET: &str = "x-amz-target";

/// The header that goes with credentials that end.
pub const SECURITY_TOKEN: &str = "x-amz-security-token";

/// The service whose calls are signed.
const SERVICE: &str = "kms";

/// Who asks.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The name of the secret.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: SecretString,
    /// What goes with a secret that ends.
    pub session_token: Option<SecretString>,
}

/// What a signed call has beside its body.
pub struct Signed {
    /// The value of [`AMZ_DATE`].
    pub date: String,
    /// The value of `authorization`.
    pub authorization: SecretString,
}

/// Signs a POST of `body` to `/`.
#[must_use]
pub fn sign(credentials: &Credentials, region: &str, host: &str, target: &str, body: &str, now: DateTime<Utc>) -> Signed {
    let (date, day) = (now.format("%Y%m%dT%H%M%SZ").to_string(), now.format("%Y%m%d").to_string());
    let token = credentials.session_token.as_ref().map(|token| (SECURITY_TOKEN, token.expose_secret()));
    let headers = [("content-type", MEDIA_TYPE), ("host", host), (AMZ_DATE, date.as_str())];
    // In the order of their names.
    let headers: Vec<_> = headers.into_iter().chain(token).chain([(AMZ_TARGET, target)]).collect();
    let scope = format!("{day}/{region}/{SERVICE}/aws4_request");
    let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let canonical = canonical(&headers, &names, body);
    let words = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hash(&canonical));
    let signature = hex(&mac(&key(credentials, &day, region), &words));
    let id = &credentials.access_key_id;
    let authorization = format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
    Signed { date, authorization: authorization.into() }
}

/// The request in the one form in which both sides write it.
fn canonical(headers: &[(&str, &str)], names: &str, body: &str) -> String {
    let lines: Vec<_> = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    format!("POST\n/\n\n{}\n{names}\n{}", lines.concat(), hash(body))
}

/// A key that is good for a day, a region and the service.
fn key(credentials: &Credentials, day: &str, region: &str) -> Vec<u8> {
    let secret = format!("AWS4{}", credentials.secret_access_key.expose_secret());
    [day, region, SERVICE, "aws4_request"].into_iter().fold(secret.into_bytes(), |key, word| mac(&key, word))
}

fn mac(key: &[u8], words: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.chain_update(words).finalize().into_bytes().to_vec()
}

fn hash(text: &str) -> String {
    hex(&Sha256::digest(text))
}

fn hex(bytes: &[u8]) -> String {
    encode_hex(bytes).split_off("0x".len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What botocore 1.44, which is AWS's own, signs the same call with.
    #[test]
    fn a_call_is_signed_as_botocore_signs_it() {
        let now = DateTime::from_timestamp(1_796_013_005, 0).unwrap();
        let signed = |session_token: Option<&str>| {
            let credentials = Credentials {
                access_key_id: "AKIDEXAMPLE".to_owned(),
                secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
                session_token: session_token.map(SecretString::from),
            };
            let (host, body) = ("kms.eu-central-1.amazonaws.com", r#"{"KeyId":"alias/base-1"}"#);
            sign(&credentials, "eu-central-1", host, "TrentService.Sign", body, now)
        };
        let scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261130/eu-central-1/kms/aws4_request, SignedHeaders=content-type;host;x-amz-date;";

        assert_eq!(signed(None).date, "20261130T043005Z");
        assert_eq!(
            signed(None).authorization.expose_secret(),
            format!("{scope}x-amz-target, Signature=89af23916d70bb862529c1e2573f59cb838c77dc4949c4bad5246edc42184790")
        );
        assert_eq!(
            signed(Some("session-token")).authorization.expose_secret(),
            format!(
                "{scope}x-amz-security-token;x-amz-target, Signature=c31975e7d871b0ab50e5cfd0b5ad382b6e590ca7278227210c4977c684f23b2a"
            )
        );
    }
}
