//! What an account is told, as a stream that goes on where its reader left it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Service;
use super::code::Code;
use super::page::PAGE;
use super::problem::Problem;
use crate::domain::account::ApiKey;
use crate::domain::ids::AccountId;
use crate::flow::current::Current;
use crate::flow::streams::Listener;
use crate::ledger::outbox::ToldEvent;

/// A stream in which nothing happens says so this often, or somebody on the way takes it for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A stream ends after this, and its reader comes back.
pub const STREAM_LASTS: Duration = Duration::from_hours(1);

/// The ledger must answer a stream within this.
const LEDGER_WITHIN: Duration = Duration::from_secs(5);

/// A piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// It begins behind this position, from where its reader comes back if it ends before the first event.
    Beginning(u64),
    /// What happened.
    Events(Vec<ToldEvent>),
    /// Nothing happened since this position.
    Nothing(u64),
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Its reader left.
    Left,
    /// It has lasted long enough.
    Over,
    /// The process is to end.
    Stopping,
    /// The ledger did not answer.
    Silent,
    /// The key that it was asked for with is worth nothing any more.
    Revoked,
}

/// Where pieces go.
pub trait Sink: Sync {
    /// Takes a piece. Waits while the reader is behind, and returns whether there is still one.
    fn take(&self, piece: Piece) -> impl Future<Output = bool> + Send;
}

/// A position behind which somebody wants to read: those of the ledger, which knows no larger numbers.
///
/// # Errors
/// It is beyond them.
pub fn known_position(number: u64) -> Result<u64, Problem> {
    let known = i64::try_from(number).is_ok();
    known.then_some(number).ok_or_else(not_a_position)
}

/// What is said of something else.
#[must_use]
pub fn not_a_position() -> Problem {
    Problem::BadParameter("after: not the position of an event".to_owned())
}

/// A stream that can begin.
pub struct Stream {
    /// Not the flows: with those a stream would hold the keys of a configuration for as long as it lasts.
    current: Arc<Current>,
    listener: Listener,
    account: AccountId,
    key: ApiKey,
    start: u64,
}

impl Stream {
    /// Prepares a stream behind a position. Whoever has read nothing yet is told of what comes.
    ///
    /// # Errors
    /// There are too many of them, or the ledger did not answer.
    pub async fn open(service: &Service, account: AccountId, key: ApiKey, after: Option<u64>) -> Result<Self, Problem> {
        let flows = service.flows();
        let start = match after {
            Some(position) => position,
            None => service.run(async move { flows.ledger.newest_position(account).await }).await??,
        };
        let listener = service.flows().telling.streams.join(account, start);
        let no_room = || Problem::Refused(Code::TooManyStreams, "too many streams of events are open".to_owned());
        let listener = listener.ok_or_else(no_room)?;
        Ok(Self { current: service.current(), listener, account, key, start })
    }

    /// Tells what comes, until its reader leaves, its time is over, its key is revoked, or the ledger does not answer.
    pub async fn tell(self, sink: &impl Sink) -> Ending {
        let Self { current, listener, account, key, start } = self;
        let (mut position, ends) = (start, Instant::now() + STREAM_LASTS);
        if !sink.take(Piece::Beginning(position)).await {
            return Ending::Left;
        }
        while !listener.is_dismissed() && Instant::now() < ends {
            let flows = current.flows();
            let reading = flows.ledger.events_after(account, position, PAGE);
            let Ok(Ok(events)) = tokio::time::timeout(LEDGER_WITHIN, reading).await else { return Ending::Silent };
            drop(flows);
            let piece = if let Some(last) = events.last() {
                position = last.position;
                listener.heard(position);
                Piece::Events(events)
            } else {
                tokio::select! {
                    () = listener.news() => continue,
                    () = listener.dismissal() => return Ending::Stopping,
                    () = tokio::time::sleep_until(ends) => return Ending::Over,
                    () = tokio::time::sleep(HEARTBEAT) => Piece::Nothing(position),
                }
            };
            match tokio::time::timeout(LEDGER_WITHIN, current.flows().authenticate(&key)).await {
                Ok(Ok(Some(_))) => {}
                Ok(Ok(None)) => return Ending::Revoked,
                Ok(Err(_)) | Err(_) => return Ending::Silent,
            }
            if !sink.take(piece).await {
                return Ending::Left;
            }
        }
        if listener.is_dismissed() { Ending::Stopping } else { Ending::Over }
    }
}
