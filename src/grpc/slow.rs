//! Strangers that keep their calls waiting: for a message that does not come, or because they take nothing of an answer. Nobody who means it
//! does so for long. When there is no room for a new call, the one that was kept waiting longest gives way to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// Somebody who is far away, or busy, is not slow yet.
const SLOW_AFTER: Duration = Duration::from_secs(1);

/// The calls that are kept waiting, the longest first.
#[derive(Debug, Default)]
pub struct Slow(Mutex<Waits>);

#[derive(Debug, Default)]
struct Waits {
    next: u64,
    waiting: BTreeMap<u64, (Instant, CancellationToken)>,
}

impl Slow {
    /// Ends the connection of the call that was kept waiting longest, and says whether there was one. Its place is free in a moment.
    pub fn cut_longest(&self) -> bool {
        self.cut_longest_at(Instant::now())
    }

    fn cut_longest_at(&self, now: Instant) -> bool {
        let mut waits = self.lock();
        let longest = waits.waiting.first_entry().filter(|first| now.duration_since(first.get().0) >= SLOW_AFTER);
        let cut = longest.map(|longest| longest.remove().1);
        drop(waits);
        cut.map(|cut| cut.cancel()).is_some()
    }

    fn note(&self, cut: CancellationToken) -> u64 {
        let mut waits = self.lock();
        let number = waits.next;
        waits.next += 1;
        waits.waiting.insert(number, (Instant::now(), cut));
        number
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The client of a call.
#[derive(Debug, Clone)]
pub struct Client {
    /// Where it is noted as slow, unless it need not give way to others.
    pub slow: Option<Arc<Slow>>,
    /// Ends its connection.
    pub cut: CancellationToken,
    pub runtime: Handle,
}

impl Client {
    /// From now on, until this is dropped, the call waits for its client.
    pub fn wait(&self) -> Waiting {
        let noted = self.slow.as_ref().map(|slow| (Arc::clone(slow), slow.note(self.cut.clone())));
        Waiting { noted, patience: None }
    }

    /// The same, but after so long the client is cut.
    pub fn wait_for(&self, patience: Duration) -> Waiting {
        let cut = self.cut.clone();
        let patience = self.runtime.spawn(async move {
            tokio::time::sleep(patience).await;
            cut.cancel();
        });
        let mut waiting = self.wait();
        waiting.patience = Some(AbortOnDropHandle::new(patience));
        waiting
    }
}

/// A call that waits for its client.
#[derive(Debug)]
pub struct Waiting {
    noted: Option<(Arc<Slow>, u64)>,
    /// Ends with the wait.
    patience: Option<AbortOnDropHandle<()>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some((slow, number)) = &self.noted {
            slow.lock().waiting.remove(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(slow: &Arc<Slow>) -> Client {
        Client { slow: Some(Arc::clone(slow)), cut: CancellationToken::new(), runtime: Handle::current() }
    }

    #[tokio::test]
    async fn whoever_was_kept_waiting_longest_gives_way_first() {
        let slow = Arc::<Slow>::default();
        let (first, second, third) = (client(&slow), client(&slow), client(&slow));
        let waits = [first.wait(), second.wait(), third.wait()];
        let [of_first, rest @ ..] = waits;
        drop(of_first);
        let again = first.wait();
        let later = Instant::now() + SLOW_AFTER;

        assert!(!slow.cut_longest(), "nobody is slow yet");
        assert!(slow.cut_longest_at(later) && slow.cut_longest_at(later));

        assert!(second.cut.is_cancelled() && third.cut.is_cancelled() && !first.cut.is_cancelled());
        drop((again, rest));
        assert!(!slow.cut_longest_at(later), "nobody waits any more");
    }

    #[tokio::test]
    async fn patience_ends_unless_the_wait_has() {
        let slow = Arc::<Slow>::default();
        let (patient, quick) = (client(&slow), client(&slow));
        drop(quick.wait_for(Duration::ZERO));
        let _waits = patient.wait_for(Duration::from_millis(1));

        patient.cut.cancelled().await;

        assert!(!quick.cut.is_cancelled());
    }
}
