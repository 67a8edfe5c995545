//! What telling accounts of events needs in this process.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Notify;

use super::Flows;
use super::streams::Streams;
use crate::ledger::LedgerError;
use crate::webhook::reach::Reach;

/// How accounts are told, and who in this process is woken when there is something to tell.
pub struct Telling {
    /// How far webhooks reach.
    pub reach: Reach,
    /// How many webhooks an account may have.
    pub webhooks_max: u32,
    /// Who listens to events here.
    pub streams: Arc<Streams>,
    /// Wakes whoever sends webhooks here.
    pub due: Notify,
}

impl Telling {
    /// Telling in which nobody listens yet.
    #[must_use]
    pub fn new(reach: Reach, webhooks_max: u32) -> Self {
        Self { reach, webhooks_max, streams: Arc::default(), due: Notify::new() }
    }

    /// Says that something came into the stream. Other replicas look by themselves.
    pub fn wake(&self) {
        self.streams.ring();
        self.due.notify_one();
    }
}

impl Flows {
    /// Measures how much is still to be told.
    ///
    /// # Errors
    /// The database could not be reached. Then the last word stands.
    pub async fn measure_telling(&self) -> Result<(), LedgerError> {
        self.metrics.event_streams(self.telling.streams.open());
        let now = self.clock.now();
        let backlog = self.ledger.backlog(now).await?;
        let age = backlog.oldest.map_or(TimeDelta::zero(), |oldest: DateTime<Utc>| now - oldest);
        self.metrics.webhook_backlog(backlog.due, backlog.waiting, age.to_std().unwrap_or_default());
        self.metrics.events_untold(backlog.events);
        Ok(())
    }
}
