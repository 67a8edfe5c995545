//! Turns for requests that were sent before the last one was answered.
//!
//! Whoever waits for each answer asks no faster than it is answered. Whoever does not can put a thousand requests into one packet, which
//! costs it next to nothing and the service a thousand answers. So these wait for a turn: all connections together have so many in
//! a second, each as many as the others, and those who wait for their answers never meet them.
//!
//! Nothing is read from whoever waits, so that it has left would not be noticed before its turn: connections without anybody would be the most.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{Interest, Ready};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

/// The time that one request has: 200 in a second.
const EACH: Duration = Duration::from_millis(5);

/// So often it is looked at whether somebody who waits is still there.
const LOOKS_APART: Duration = Duration::from_secs(1);

/// The other side of a connection.
pub trait Peer {
    /// Whether it sends nothing any more, behind what it has sent and nobody has read.
    fn has_left(&self) -> bool;
}

impl Peer for TcpStream {
    fn has_left(&self) -> bool {
        let ready = self.ready(Interest::READABLE).now_or_never();
        ready.and_then(Result::ok).is_some_and(Ready::is_read_closed)
    }
}

/// How many wait.
#[derive(Debug, Default)]
pub struct Turns {
    waiting: AtomicU32,
}

/// A place among those who wait. Dropping it leaves it to the others.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    comes: Instant,
    /// Until then, or until the next look.
    wakes: Pin<Box<Sleep>>,
}

impl Turns {
    /// A turn, that comes the later the more others wait.
    #[must_use]
    pub fn wait(self: &Arc<Self>) -> Turn {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        let now = Instant::now();
        Turn { turns: Arc::clone(self), comes: now + EACH * waiting, wakes: Box::pin(sleep_until(now)) }
    }
}

impl Turn {
    /// Whether it has come. `peer` is whoever waits.
    ///
    /// # Errors
    /// Nobody waits any more.
    pub fn poll(&mut self, context: &mut Context<'_>, peer: &impl Peer) -> Poll<io::Result<()>> {
        loop {
            ready!(self.wakes.as_mut().poll(context));
            let now = Instant::now();
            if peer.has_left() {
                return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
            }
            if now >= self.comes {
                return Poll::Ready(Ok(()));
            }
            self.wakes.as_mut().reset(self.comes.min(now + LOOKS_APART));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    /// Both ends of a connection.
    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (client.unwrap(), accepted.unwrap().0)
    }

    #[tokio::test]
    async fn turns_come_one_after_the_other_and_leave_room_when_they_are_gone() {
        let turns = Arc::<Turns>::default();
        let comes_as = |number: u32| {
            let before = Instant::now();
            let turn = turns.wait();
            let comes = turn.comes - EACH * number;
            assert!((before..=Instant::now()).contains(&comes), "{number}");
            turn
        };

        let mut waiting: Vec<_> = [1, 2, 3, 4].map(comes_as).into();
        waiting.truncate(1);
        waiting.extend([2, 3].map(comes_as));
    }

    #[tokio::test]
    async fn a_turn_comes_in_its_time_to_whoever_is_there_and_waits_for_nobody_else() {
        let turns = Arc::<Turns>::default();
        let (mut client, server) = pair().await;
        client.write_all(b"what nobody reads").await.unwrap();
        let mut turn = turns.wait();
        poll_fn(|context| turn.poll(context, &server)).await.unwrap();
        assert!(Instant::now() >= turn.comes);

        let mut never = turns.wait();
        never.comes += Duration::from_hours(1);
        let mut waits = pin!(poll_fn(|context| never.poll(context, &server)));
        assert!(timeout(LOOKS_APART / 2, &mut waits).await.is_err(), "it was looked at, and is there");
        client.shutdown().await.unwrap();
        let left = timeout(10 * LOOKS_APART, waits).await;
        assert_eq!(left.expect("it is looked at again and again").unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
