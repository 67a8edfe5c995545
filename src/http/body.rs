//! Reading a body without believing anything about it.

use std::time::Duration;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::{Bytes, BytesMut, Payload};
use actix_web::{HttpRequest, mime};
use futures_util::StreamExt;

use super::Service;
use super::demand::Demand;
use super::endpoint::FORM;
use crate::api::body::{BodyError, Share};

/// A body must arrive within this, however many pieces it comes in.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// Reads a JSON body.
///
/// # Errors
/// See [`BodyError`].
pub async fn read(service: &Service, request: &HttpRequest, payload: Payload) -> Result<Bytes, BodyError> {
    check_media(request)?;
    collect(service, request, payload).await
}

/// The same where a body may be left out. Bytes of no type are not guessed at.
///
/// # Errors
/// See [`BodyError`].
pub async fn read_optional(service: &Service, request: &HttpRequest, payload: Payload) -> Result<Option<Bytes>, BodyError> {
    if request.headers().contains_key(CONTENT_TYPE) {
        return read(service, request, payload).await.map(Some);
    }
    let bytes = collect(service, request, payload).await?;
    if bytes.is_empty() { Ok(None) } else { Err(BodyError::UnsupportedMedia) }
}

/// Reads what a form of a page sends.
///
/// # Errors
/// See [`BodyError`].
pub async fn read_form(service: &Service, request: &HttpRequest, payload: Payload) -> Result<Bytes, BodyError> {
    let media = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(FORM) {
        return Err(BodyError::UnsupportedMedia);
    }
    collect(service, request, payload).await
}

async fn collect(service: &Service, request: &HttpRequest, payload: Payload) -> Result<Bytes, BodyError> {
    let bytes_max = service.server.body_bytes_max;
    if announced_bytes(request).is_some_and(|bytes| bytes > bytes_max) {
        return Err(BodyError::TooLarge);
    }
    Demand::of(request);
    let gathered = gather(payload, bytes_max, service.bodies.share());
    tokio::time::timeout(BODY_WITHIN, gathered).await.unwrap_or(Err(BodyError::TooSlow))
}

async fn gather(mut payload: Payload, bytes_max: usize, share: Share) -> Result<Bytes, BodyError> {
    let mut body = Body { bytes: BytesMut::new(), share };
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|_| BodyError::Incomplete)?;
        if body.bytes.len() + piece.len() > bytes_max {
            return Err(BodyError::TooLarge);
        }
        body.push(&piece)?;
    }
    Ok(Bytes::from_owner(body))
}

/// What was read, with its share of the room until nobody needs it any more.
struct Body {
    bytes: BytesMut,
    share: Share,
}

impl Body {
    /// Adds a piece. What is counted is what is reserved, which would grow to twice of what is needed if it were left to itself.
    fn push(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        let bytes = self.bytes.len() + piece.len();
        if bytes > self.bytes.capacity() {
            let capacity = bytes.next_power_of_two();
            self.share.grow_to(capacity)?;
            self.bytes.reserve(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

impl AsRef<[u8]> for Body {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::body::Room;

    #[test]
    fn a_body_counts_for_what_it_reserves() {
        let room = Room::default();
        let mut body = Body { bytes: BytesMut::new(), share: room.share() };

        for _ in 0..9 {
            assert_eq!(body.push(&[b' '; 1024]), Ok(()));
        }

        assert_eq!(body.bytes.capacity(), 16 * 1024);
        assert_eq!(body.share.kibibytes(), 8);
    }
}
