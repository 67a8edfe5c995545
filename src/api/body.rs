//! What was sent: why it cannot be looked into, how it is read where it can, and how much of it there is room for.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::code::Code;
use super::problem::Problem;
use crate::x402::json;

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

impl BodyError {
    /// The code.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::UnsupportedMedia => Code::UnsupportedMediaType,
            Self::TooLarge => Code::BodyTooLarge,
            Self::Incomplete => Code::IncompleteBody,
            Self::TooSlow => Code::BodyTooSlow,
            Self::NoRoom => Code::TooManyBodies,
        }
    }
}

/// Reads JSON that has one reading only as what is asked for.
///
/// # Errors
/// It is not JSON, or something else.
pub fn read<B: DeserializeOwned>(bytes: &[u8]) -> Result<B, Problem> {
    let value = json::parse(bytes, json::DEPTH_MAX).map_err(|refusal| Problem::BadBody(refusal.to_string()))?;
    serde_json::from_value(value).map_err(|error| Problem::BadBody(error.to_string()))
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

impl Room {
    /// The share of a body of which nothing has arrived yet.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { room: self.clone(), taken: None }
    }
}

/// What a body has of the room. Dropping it makes room for others, so it is kept for as long as the body is.
#[derive(Debug)]
pub struct Share {
    room: Room,
    taken: Option<OwnedSemaphorePermit>,
}

impl Share {
    /// How much of the room it has.
    #[must_use]
    pub fn kibibytes(&self) -> usize {
        self.taken.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    /// Makes room for so many bytes in all.
    ///
    /// # Errors
    /// There is none left.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), BodyError> {
        let wanted = bytes.saturating_sub(SMALL).div_ceil(1024);
        let missing = wanted.saturating_sub(self.kibibytes());
        if missing == 0 {
            return Ok(());
        }
        let missing = u32::try_from(missing).map_err(|_| BodyError::TooLarge)?;
        let more = Arc::clone(&self.room.0).try_acquire_many_owned(missing).map_err(|_| BodyError::NoRoom)?;
        match &mut self.taken {
            Some(taken) => taken.merge(more),
            None => self.taken = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_share_what_room_there_is_and_small_ones_need_none() {
        const LARGE: usize = 256 * 1024;
        let room = Room::default();
        let mut large: Vec<_> = (0..1024).map(|_| room.share()).collect();

        let grow = |share: &mut Share| share.grow_to(LARGE / 2).and_then(|()| share.grow_to(LARGE));
        let kept = large.iter_mut().map_while(|share| grow(share).ok()).count();

        assert_eq!(kept, ROOM_KIB * 1024 / (LARGE - SMALL), "together they take what they take up");
        assert_eq!(room.share().grow_to(SMALL), Ok(()));
        large.truncate(kept - 1);
        assert_eq!(room.share().grow_to(LARGE), Ok(()), "whoever is gone has made room");
    }
}
