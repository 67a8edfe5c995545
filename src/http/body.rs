//! Reading a body without believing anything about it.

use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::{Bytes, Payload};
use actix_web::{HttpRequest, mime};

use crate::api::body::BodyError;

/// A body must arrive within this, however many pieces it comes in.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Reads a JSON body of at most `bytes_max`.
///
/// # Errors
/// See [`BodyError`].
pub async fn read(request: &HttpRequest, payload: Payload, bytes_max: usize) -> Result<Bytes, BodyError> {
    check_media(request)?;
    collect(request, payload, bytes_max).await
}

/// The same where a body may be left out. Bytes of no type are not guessed at.
///
/// # Errors
/// See [`BodyError`].
pub async fn read_optional(request: &HttpRequest, payload: Payload, bytes_max: usize) -> Result<Option<Bytes>, BodyError> {
    if request.headers().contains_key(CONTENT_TYPE) {
        return read(request, payload, bytes_max).await.map(Some);
    }
    let bytes = collect(request, payload, bytes_max).await?;
    if bytes.is_empty() { Ok(None) } else { Err(BodyError::UnsupportedMedia) }
}

async fn collect(request: &HttpRequest, payload: Payload, bytes_max: usize) -> Result<Bytes, BodyError> {
    if announced_bytes(request).is_some_and(|bytes| bytes > bytes_max) {
        return Err(BodyError::TooLarge);
    }
    match tokio::time::timeout(BODY_WITHIN, payload.to_bytes_limited(bytes_max)).await {
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(_))) => Err(BodyError::Incomplete),
        Ok(Err(_)) => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::TooSlow),
    }
}

/// The length that the client announces. One beyond any number counts as the largest.
fn announced_bytes(request: &HttpRequest) -> Option<usize> {
    let text = request.headers().get(CONTENT_LENGTH)?.to_str().ok()?;
    Some(text.parse().unwrap_or(usize::MAX))
}

fn check_media(request: &HttpRequest) -> Result<(), BodyError> {
    let headers = request.headers();
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<mime::Mime>().ok());
    let json = media.is_some_and(|media| {
        media.essence_str().eq_ignore_ascii_case(mime::APPLICATION_JSON.essence_str())
            && media.get_param(mime::CHARSET).is_none_or(|charset| charset.as_str().eq_ignore_ascii_case("utf-8"))
    });
    let plain = headers.get(CONTENT_ENCODING).is_none_or(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if json && plain { Ok(()) } else { Err(BodyError::UnsupportedMedia) }
}
