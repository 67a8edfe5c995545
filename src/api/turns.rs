//! Turns for requests that were sent before the last one was answered.
//!
//! Whoever waits for each answer asks no faster than it is answered. Whoever does not can put a thousand requests into one packet, which
//! costs it next to nothing and the service a thousand answers. So these wait for a turn: all connections together have so many in
//! a second, each as many as the others, and those who wait for their answers never meet them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// The time that one request has: 200 in a second.
const EACH: Duration = Duration::from_millis(5);

/// How many wait.
#[derive(Debug, Default)]
pub struct Turns {
    waiting: AtomicU32,
}

/// A place among those who wait. Dropping it leaves it to the others.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    comes: Pin<Box<Sleep>>,
}

impl Turns {
    /// A turn, that comes the later the more others wait.
    #[must_use]
    pub fn wait(self: &Arc<Self>) -> Turn {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed) + 1;
        Turn { turns: Arc::clone(self), comes: Box::pin(sleep(EACH * waiting)) }
    }
}

impl Turn {
    /// Whether it has come.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.comes.as_mut().poll(context)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn turns_come_one_after_the_other_and_leave_room_when_they_are_gone() {
        let turns = Arc::<Turns>::default();
        let comes_as = |number: u32| {
            let before = Instant::now();
            let turn = turns.wait();
            let comes = turn.comes.deadline() - EACH * number;
            assert!((before..=Instant::now()).contains(&comes), "{number}");
            turn
        };

        let mut waiting: Vec<_> = [1, 2, 3, 4].map(comes_as).into();
        waiting.truncate(1);
        waiting.extend([2, 3].map(comes_as));
    }
}
