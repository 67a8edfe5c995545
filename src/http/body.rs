//! Reading a body without believing anything about it.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use actix_web::web::{Bytes, BytesMut, Data, Payload};
use actix_web::{HttpRequest, mime};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::demand::Demand;
use super::problem::Code;

/// Why there is no body to look into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not `application/json`, in another character set than UTF-8, or compressed.
    #[error("the body must be application/json in UTF-8, not compressed")]
    UnsupportedMedia,
    /// More bytes than the operator allows.
    #[error("the body is too large")]
    TooLarge,
    /// The client stopped in the middle.
    #[error("the body ended early")]
    Incomplete,
    /// The client takes its time, and a connection of ours with it.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// Too many others send large bodies at this moment.
    #[error("too many large bodies at once, try again in a moment")]
    NoRoom,
}

/// A body must arrive within this, however many pieces it comes in.
const BODY_WITHIN: Duration = Duration::from_secs(10);

impl BodyError {
    /// What kind of problem it is.
    #[must_use]
    pub const fn kind(self) -> Code {
        match self {
            Self::UnsupportedMedia => Code::UnsupportedMediaType,
            Self::TooLarge => Code::BodyTooLarge,
            Self::Incomplete => Code::IncompleteBody,
            Self::TooSlow => Code::BodyTooSlow,
            Self::NoRoom => Code::TooManyBodies,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.kind().status()
    }

    /// The code in a typed answer.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.kind().as_str()
    }
}

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
    Demand::of(request);
    let room = request.app_data::<Data<Room>>().map(|room| Room::clone(room)).unwrap_or_default();
    tokio::time::timeout(BODY_WITHIN, gather(payload, bytes_max, room)).await.unwrap_or(Err(BodyError::TooSlow))
}

async fn gather(mut payload: Payload, bytes_max: usize, room: Room) -> Result<Bytes, BodyError> {
    let mut body = Body { bytes: BytesMut::new(), room, share: None };
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(|_| BodyError::Incomplete)?;
        if body.bytes.len() + piece.len() > bytes_max {
            return Err(BodyError::TooLarge);
        }
        body.push(&piece)?;
    }
    Ok(Bytes::from_owner(body))
}

/// A body that needs no room of the shared one: more than the payments of the usual clients have.
const SMALL: usize = 8 * 1024;

/// What all larger bodies may take up together, in kibibytes.
const ROOM_KIB: usize = 32 * 1024;

/// Where bodies are kept that are not small. Without it as many of the largest as there are connections could be under way.
#[derive(Debug, Clone)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(ROOM_KIB)))
    }
}

/// What was read, with its share of the room until nobody needs it any more.
struct Body {
    bytes: BytesMut,
    room: Room,
    share: Option<OwnedSemaphorePermit>,
}

impl Body {
    /// Adds a piece. What is counted is what is reserved, which would grow to twice of what is needed if it were left to itself.
    fn push(&mut self, piece: &[u8]) -> Result<(), BodyError> {
        let bytes = self.bytes.len() + piece.len();
        if bytes > self.bytes.capacity() {
            let capacity = bytes.next_power_of_two();
            self.make_room(capacity)?;
            self.bytes.reserve(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    fn make_room(&mut self, bytes: usize) -> Result<(), BodyError> {
        let wanted = bytes.saturating_sub(SMALL).div_ceil(1024);
        let missing = wanted.saturating_sub(self.share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).map_err(|_| BodyError::TooLarge)?;
        let more = Arc::clone(&self.room.0).try_acquire_many_owned(missing).map_err(|_| BodyError::NoRoom)?;
        match &mut self.share {
            Some(share) => share.merge(more),
            None => self.share = Some(more),
        }
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

    fn body(room: &Room) -> Body {
        Body { bytes: BytesMut::new(), room: room.clone(), share: None }
    }

    #[test]
    fn large_bodies_share_what_room_there_is_and_small_ones_need_none() {
        const LARGE: usize = 256 * 1024;
        let room = Room::default();
        let mut large: Vec<_> = (0..1024).map(|_| body(&room)).collect();

        let grow = |body: &mut Body| body.make_room(LARGE / 2).and_then(|()| body.make_room(LARGE));
        let kept = large.iter_mut().map_while(|body| grow(body).ok()).count();

        assert_eq!(kept, ROOM_KIB * 1024 / (LARGE - SMALL), "together they take what they take up");
        assert_eq!(body(&room).make_room(SMALL), Ok(()));
        large.truncate(kept - 1);
        assert_eq!(body(&room).make_room(LARGE), Ok(()), "whoever is gone has made room");
    }

    #[test]
    fn a_body_counts_for_what_it_reserves() {
        let room = Room::default();
        let mut body = body(&room);

        for _ in 0..9 {
            assert_eq!(body.push(&[b' '; 1024]), Ok(()));
        }

        assert_eq!(body.bytes.capacity(), 16 * 1024);
        assert_eq!(ROOM_KIB - room.0.available_permits(), 8);
    }
}
