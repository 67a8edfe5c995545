//! Makes deliveries: one attempt at a time, outside of every transaction, and then notes how it went.
//!
//! An attempt is claimed before it is made and counts from then on. If its outcome is never noted, somebody makes the next one when the
//! claim has run out, so a receiver may be told twice and is never left out.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;

use super::Flows;
use super::tenure::TURN_LASTS_MAX;
use crate::domain::ids::WebhookId;
use crate::ledger::deliveries::{self, Claimed, Trace};
use crate::ledger::webhooks::{self, GONE, StoredSecrets};
use crate::ledger::{LedgerError, commit};
use crate::metrics::WebhookAttempt;
use crate::telemetry::ErrorChain;
use crate::webhook::client::Webhooks;
use crate::webhook::outcome::{FailureKind, Outcome};
use crate::webhook::schedule;
use crate::webhook::secret::{FormerSecret, Secret, SecretError, Secrets};
use crate::webhook::signature::Message;

/// For so long an attempt is its process's alone. It takes 15 seconds at most, and noting its outcome as many again.
const CLAIM_LASTS: TimeDelta = TimeDelta::minutes(1);

/// What stands with a delivery that ended because its webhook did.
pub const WEBHOOK_DISABLED: &str = "webhook_disabled";

/// What is to be noted of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Noted {
    /// It has arrived.
    Arrived { status: u16 },
    /// The receiver wants nothing any more.
    Disabled,
    /// It is tried again then.
    Again { trace: Trace, at: DateTime<Utc> },
    /// That was the last attempt.
    GivenUp { trace: Trace },
}

impl Flows {
    /// Takes deliveries that are due, so many at most, and none for webhooks that are busy.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn claim_deliveries(&self, busy: &[WebhookId], limit: usize) -> Result<Vec<Claimed>, LedgerError> {
        let now = self.clock.now();
        let claim = self.ledger.claim_deliveries(busy, (now, now + CLAIM_LASTS), limit);
        tokio::time::timeout(TURN_LASTS_MAX, claim).await.unwrap_or(Err(LedgerError::silent()))
    }

    /// Makes the attempt that was claimed, and notes how it went.
    pub async fn deliver(&self, client: &Webhooks, claimed: Claimed) -> WebhookId {
        let started = Instant::now();
        let outcome = self.attempt(client, &claimed).await;
        self.metrics.webhook_attempt(label(&outcome), started.elapsed());
        let noted = noted(&outcome, claimed.attempt, rand::random(), self.clock.now());
        tracing::debug!(webhook = %claimed.webhook, delivery = %claimed.id, attempt = claimed.attempt, ?noted, "a webhook was tried");
        let note = tokio::time::timeout(TURN_LASTS_MAX, self.note(&claimed, &noted));
        if let Err(error) = note.await.unwrap_or(Err(LedgerError::silent())) {
            let (delivery, error) = (claimed.id, ErrorChain(&error));
            tracing::warn!(%delivery, %error, "how a delivery went could not be noted");
        }
        claimed.webhook
    }

    async fn attempt(&self, client: &Webhooks, claimed: &Claimed) -> Outcome {
        let secrets = match secrets(&claimed.secrets) {
            Ok(secrets) => secrets,
            Err(error) => {
                let (webhook, error) = (claimed.webhook, ErrorChain(&error));
                tracing::error!(%webhook, %error, "the secret of a webhook cannot be read");
                return Outcome::Failed(FailureKind::Other);
            }
        };
        // One event is one message, whatever webhook it comes by.
        let id = claimed.event.to_string();
        let message = Message { id: &id, sent_at: self.clock.now(), body: claimed.body.as_bytes() };
        client.send(&claimed.url, &message, &secrets).await
    }

    /// The webhook comes before its deliveries in each of these transactions, as everywhere.
    async fn note(&self, claimed: &Claimed, noted: &Noted) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let mut db = self.ledger.begin().await?;
        match noted {
            Noted::Arrived { status } => {
                webhooks::mark_well(&mut db, claimed.webhook).await?;
                deliveries::arrive(&mut db, claimed.id, *status, now).await?;
            }
            Noted::Again { trace, at } => deliveries::postpone(&mut db, claimed, trace, *at).await?,
            Noted::GivenUp { trace } => {
                webhooks::mark_failing(&mut db, claimed.webhook, now).await?;
                if !deliveries::give_up(&mut db, claimed, trace, now).await? {
                    // Somebody else has tried it since, and knows better whether the webhook fails.
                    return Ok(());
                }
                self.metrics.webhook_given_up();
            }
            Noted::Disabled => {
                let trace = Trace { status: Some(410), failure: Some(WEBHOOK_DISABLED), excerpt: None };
                webhooks::disable(&mut db, claimed.webhook, GONE, now).await?;
                deliveries::give_up(&mut db, claimed, &trace, now).await?;
                deliveries::end_all(&mut db, claimed.webhook, WEBHOOK_DISABLED, now).await?;
            }
        }
        commit(db).await
    }
}

fn secrets(stored: &StoredSecrets) -> Result<Secrets, SecretError> {
    let former = |(secret, expires_at): &(SecretString, DateTime<Utc>)| -> Result<FormerSecret, SecretError> {
        Ok(FormerSecret { secret: Secret::parse(secret)?, expires_at: *expires_at })
    };
    Ok(Secrets { current: Secret::parse(&stored.current)?, former: stored.former.as_ref().map(former).transpose()? })
}

/// Decides what follows from the outcome of the attempt with this number. `share` is a chance from 0 to 1.
fn noted(outcome: &Outcome, attempt: u32, share: f64, now: DateTime<Utc>) -> Noted {
    match outcome {
        Outcome::Delivered { status } => Noted::Arrived { status: *status },
        Outcome::Gone => Noted::Disabled,
        Outcome::Refused { status, excerpt, retry_after } => {
            let trace = Trace { status: Some(*status), failure: None, excerpt: Some(excerpt.clone()) };
            again(trace, schedule::pause(attempt, share, *retry_after), now)
        }
        Outcome::Failed(kind) => {
            let trace = Trace { failure: Some(kind.code()), ..Trace::default() };
            again(trace, schedule::pause(attempt, share, None), now)
        }
    }
}

fn again(trace: Trace, pause: Option<Duration>, now: DateTime<Utc>) -> Noted {
    match pause.and_then(|pause| now.checked_add_signed(TimeDelta::from_std(pause).ok()?)) {
        Some(at) => Noted::Again { trace, at },
        None => Noted::GivenUp { trace },
    }
}

const fn label(outcome: &Outcome) -> WebhookAttempt {
    match outcome {
        Outcome::Delivered { .. } => WebhookAttempt::Delivered,
        Outcome::Gone => WebhookAttempt::Gone,
        Outcome::Refused { .. } => WebhookAttempt::Refused,
        Outcome::Failed(FailureKind::Forbidden) => WebhookAttempt::Forbidden,
        Outcome::Failed(FailureKind::Dns) => WebhookAttempt::Dns,
        Outcome::Failed(FailureKind::Connect) => WebhookAttempt::Connect,
        Outcome::Failed(FailureKind::Tls) => WebhookAttempt::Tls,
        Outcome::Failed(FailureKind::Timeout) => WebhookAttempt::Timeout,
        Outcome::Failed(FailureKind::Other) => WebhookAttempt::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
    }

    fn refused(retry_after: Option<u64>) -> Outcome {
        Outcome::Refused { status: 503, excerpt: "busy".to_owned(), retry_after: retry_after.map(Duration::from_secs) }
    }

    /// In how many seconds it is tried again.
    fn seconds(noted: &Noted) -> Option<i64> {
        match noted {
            Noted::Again { at, .. } => Some((*at - now()).num_seconds()),
            Noted::Arrived { .. } | Noted::Disabled | Noted::GivenUp { .. } => None,
        }
    }

    #[test]
    fn what_arrives_or_is_not_wanted_ends_at_once() {
        assert_eq!(noted(&Outcome::Delivered { status: 204 }, 3, 0.0, now()), Noted::Arrived { status: 204 });
        assert_eq!(noted(&Outcome::Gone, 1, 0.0, now()), Noted::Disabled);
    }

    #[test]
    fn what_fails_is_tried_ten_times_and_then_given_up() {
        let failed = Outcome::Failed(FailureKind::Connect);
        let pauses: Vec<_> = (1..10).map(|attempt| seconds(&noted(&failed, attempt, 0.0, now()))).collect();

        assert_eq!(pauses, [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400].map(Some));
        let trace = Trace { failure: Some("connect"), ..Trace::default() };
        assert_eq!(noted(&failed, 10, 0.0, now()), Noted::GivenUp { trace: trace.clone() });
        assert_eq!(noted(&failed, 11, 0.0, now()), Noted::GivenUp { trace });
    }

    #[test]
    fn a_receiver_that_is_busy_says_when_to_come_back_and_its_words_are_kept() {
        let trace = Trace { status: Some(503), failure: None, excerpt: Some("busy".to_owned()) };

        assert_eq!(seconds(&noted(&refused(Some(700)), 2, 0.0, now())), Some(700));
        assert_eq!(noted(&refused(None), 10, 0.0, now()), Noted::GivenUp { trace });
    }

    #[test]
    fn chance_parts_what_failed_together() {
        assert_eq!(seconds(&noted(&refused(None), 2, 1.0, now())), Some(330));
    }

    #[test]
    fn a_stored_secret_is_read_with_the_one_before() {
        let text = |secret: &Secret| secret.to_text();
        let (current, former) = (Secret::generate().unwrap(), Secret::generate().unwrap());
        let stored = |former| StoredSecrets { current: text(&current), former };

        assert_eq!(secrets(&stored(None)).unwrap().live(now()).count(), 1);
        let both = secrets(&stored(Some((text(&former), now() + TimeDelta::seconds(1))))).unwrap();
        assert_eq!((both.live(now()).count(), both.live(now() + TimeDelta::seconds(1)).count()), (2, 1));
        let broken = StoredSecrets { current: "secret".into(), former: None };
        assert!(matches!(secrets(&broken), Err(SecretError::NoPrefix)));
    }

    #[test]
    fn every_failure_has_a_label_of_its_own() {
        let failures = FailureKind::ALL.map(|kind| label(&Outcome::Failed(kind)));

        for (index, failure) in failures.iter().enumerate() {
            assert!(!failures[..index].contains(failure), "{failure:?}");
        }
    }
}
