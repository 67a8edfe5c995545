//! Who listens to the events of which account, in this process.
//!
//! One task asks the ledger for all of them at once whether there is something new, and wakes those for whom there is. So a thousand
//! listeners to quiet accounts cost one question each second, and none of them holds a connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::domain::ids::AccountId;
use crate::ledger::outbox::Listening;
use crate::ledger::{Ledger, LedgerError};
use crate::telemetry::ErrorChain;

/// Listeners at a time.
pub const STREAMS_MAX: usize = 256;

/// Of these, those that one account may have, so that it does not keep the others out.
pub const STREAMS_OF_ACCOUNT_MAX: usize = 16;

/// Between two questions, unless this process knows that there is something new.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A question is given up on after this: only a database that neither answers nor fails takes so long.
const LOOK_LASTS_MAX: Duration = Duration::from_secs(5);

/// The listeners of one process.
#[derive(Default)]
pub struct Streams {
    listeners: Mutex<Listeners>,
    rung: Notify,
    closed: CancellationToken,
}

#[derive(Default)]
struct Listeners {
    joined: u64,
    present: BTreeMap<u64, Place>,
}

struct Place {
    account: AccountId,
    heard: u64,
    news: Arc<Notify>,
}

/// Somebody who listens. Dropping it makes room for somebody else.
pub struct Listener {
    streams: Arc<Streams>,
    id: u64,
    news: Arc<Notify>,
}

impl Streams {
    /// Lets somebody listen who has heard an account's events up to a position. `None` if there is no room.
    #[must_use]
    pub fn join(self: &Arc<Self>, account: AccountId, heard: u64) -> Option<Listener> {
        let mut listeners = self.lock();
        let own = listeners.present.values().filter(|place| place.account == account).count();
        if self.closed.is_cancelled() || own >= STREAMS_OF_ACCOUNT_MAX || listeners.present.len() >= STREAMS_MAX {
            return None;
        }
        listeners.joined += 1;
        let (id, news) = (listeners.joined, Arc::<Notify>::default());
        listeners.present.insert(id, Place { account, heard, news: Arc::clone(&news) });
        Some(Listener { streams: Arc::clone(self), id, news })
    }

    /// How many listen.
    #[must_use]
    pub fn open(&self) -> usize {
        self.lock().present.len()
    }

    /// Says that there is something new.
    pub fn ring(&self) {
        self.rung.notify_one();
    }

    /// Sends everybody away, because the process is to end.
    pub fn close(&self) {
        self.closed.cancel();
    }

    /// Wakes listeners for whom there is something new, until it is told to stop.
    pub async fn run(&self, ledger: &Ledger, stop: &CancellationToken) {
        while !stop.is_cancelled() {
            let look = tokio::time::timeout(LOOK_LASTS_MAX, self.look(ledger));
            if let Err(error) = look.await.unwrap_or(Err(LedgerError::silent())) {
                tracing::warn!(error = %ErrorChain(&error), "whether there are new events is not known");
            }
            let pause = async { drop(tokio::time::timeout(LOOK_EVERY, self.rung.notified()).await) };
            stop.run_until_cancelled(pause).await;
        }
    }

    async fn look(&self, ledger: &Ledger) -> Result<(), LedgerError> {
        let listening = self.listening();
        if listening.is_empty() {
            return Ok(());
        }
        let behind = ledger.with_news(&listening).await?;
        let listeners = self.lock();
        for place in behind.iter().filter_map(|listener| listeners.present.get(listener)) {
            // Kept for one who does not wait at this moment.
            place.news.notify_one();
        }
        Ok(())
    }

    fn listening(&self) -> Vec<Listening> {
        let listeners = self.lock();
        let present = listeners.present.iter();
        present.map(|(id, place)| Listening { listener: *id, account: place.account, heard: place.heard }).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Notes how far this one has come.
    pub fn heard(&self, position: u64) {
        if let Some(place) = self.streams.lock().present.get_mut(&self.id) {
            place.heard = position;
        }
    }

    /// Waits until there is something new.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    /// Waits until everybody is sent away.
    pub async fn dismissal(&self) {
        self.streams.closed.cancelled().await;
    }

    /// Whether everybody is sent away.
    #[must_use]
    pub fn is_dismissed(&self) -> bool {
        self.streams.closed.is_cancelled()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.streams.lock().present.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn crowd(streams: &Arc<Streams>, account: AccountId, count: usize) -> Vec<Listener> {
        (0..count).map_while(|_| streams.join(account, 0)).collect()
    }

    #[test]
    fn one_account_does_not_keep_the_others_out() {
        let streams = Arc::new(Streams::default());
        let (greedy, modest) = (AccountId::new(), AccountId::new());

        let mut first = crowd(&streams, greedy, STREAMS_OF_ACCOUNT_MAX + 1);
        let second = crowd(&streams, modest, 1);
        assert_eq!((first.len(), second.len(), streams.open()), (STREAMS_OF_ACCOUNT_MAX, 1, STREAMS_OF_ACCOUNT_MAX + 1));

        first.pop();
        assert!(streams.join(greedy, 0).is_some(), "whoever leaves makes room");
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let streams = Arc::new(Streams::default());
        let mut all = Vec::new();
        while let Some(listener) = streams.join(AccountId::new(), 0) {
            all.push(listener);
        }

        assert_eq!((all.len(), streams.open()), (STREAMS_MAX, STREAMS_MAX));
        drop(all);
        assert_eq!(streams.open(), 0);
    }

    #[test]
    fn the_ledger_is_asked_from_where_each_listener_has_come_to() {
        let streams = Arc::new(Streams::default());
        let (one, other) = (AccountId::new(), AccountId::new());
        let (first, _second) = (streams.join(one, 3).unwrap(), streams.join(other, 5).unwrap());

        first.heard(4);

        let asked: HashMap<_, _> = streams.listening().into_iter().map(|asked| (asked.account, asked.heard)).collect();
        assert_eq!(asked, HashMap::from([(one, 4), (other, 5)]));
    }

    #[tokio::test]
    async fn whoever_listens_is_sent_away_at_the_end_and_nobody_comes_any_more() {
        let streams = Arc::new(Streams::default());
        let listener = streams.join(AccountId::new(), 0).unwrap();
        assert!(!listener.is_dismissed());

        streams.close();

        listener.dismissal().await;
        assert!(listener.is_dismissed() && streams.join(AccountId::new(), 0).is_none());
    }
}
