//! Runs the webhooks of accounts: makes and removes them, renews their secrets, and has old events told again.

use chrono::TimeDelta;
use secrecy::SecretString;

use super::Flows;
use super::deliver::WEBHOOK_DISABLED;
use crate::domain::event::EventKind;
use crate::domain::ids::{AccountId, DeliveryId, WebhookId};
use crate::ledger::deliveries::{self, Delivery};
use crate::ledger::webhooks::{self, Webhook};
use crate::ledger::{Db, LedgerError};
use crate::webhook::secret::Secret;
use crate::webhook::target::{Target, TargetError};

/// For so long a secret that was replaced goes on signing, so that receivers can learn the new one meanwhile.
const FORMER_SECRET_LASTS: TimeDelta = TimeDelta::hours(24);

/// Why a webhook is not as somebody wants it.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// Nothing can be sent to this URL.
    #[error("url: {0}")]
    Target(#[from] TargetError),
    /// There is no such type of events.
    #[error("events: there is no {0}")]
    UnknownEvent(String),
    /// The account has as many as it may have.
    #[error("an account may have {0} webhooks; remove one first")]
    TooMany(u32),
    /// There is no such webhook, or it is not the caller's.
    #[error("there is no such webhook here")]
    NoSuchWebhook,
    /// There is no such delivery of that webhook.
    #[error("there is no such delivery here")]
    NoSuchDelivery,
    /// It is told nothing.
    #[error("the webhook is disabled; enable it first")]
    Disabled,
    /// The machine gave no random numbers.
    #[error("the machine gave no random numbers")]
    Random(#[source] rand::rand_core::OsError),
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Flows {
    /// Makes a webhook of an account, and returns it with its secret.
    ///
    /// # Errors
    /// See [`WebhookError`]. Then the transaction must not be committed.
    pub async fn create_webhook(
        &self,
        db: &mut Db,
        account: AccountId,
        url: &str,
        events: Vec<String>,
    ) -> Result<(Webhook, SecretString), WebhookError> {
        let target = Target::parse(url, self.telling.reach)?;
        let events = known(events)?;
        if webhooks::count_locked(db, account).await? >= i64::from(self.telling.webhooks_max) {
            return Err(WebhookError::TooMany(self.telling.webhooks_max));
        }
        let secret = Secret::generate().map_err(WebhookError::Random)?.to_text();
        let webhook = Webhook {
            id: WebhookId::new(),
            account,
            url: target.as_str().to_owned(),
            events,
            created_at: self.clock.now(),
            former_secret_until: None,
            failing_since: None,
            disabled: None,
        };
        webhooks::insert(db, &webhook, &secret).await?;
        Ok((webhook, secret))
    }

    /// Gives a webhook another secret, and returns it. The one before signs beside it for a day.
    ///
    /// # Errors
    /// See [`WebhookError`]. Then the transaction must not be committed.
    pub async fn rotate_secret(
        &self,
        db: &mut Db,
        account: AccountId,
        id: WebhookId,
    ) -> Result<(Webhook, SecretString), WebhookError> {
        let webhook = webhooks::lock(db, account, id).await?.ok_or(WebhookError::NoSuchWebhook)?;
        let secret = Secret::generate().map_err(WebhookError::Random)?.to_text();
        let former_until = self.clock.now() + FORMER_SECRET_LASTS;
        webhooks::rotate(db, id, &secret, former_until).await?;
        Ok((Webhook { former_secret_until: Some(former_until), ..webhook }, secret))
    }

    /// Has a webhook told again of what happens from now on. What was given up meanwhile has to be asked for.
    ///
    /// # Errors
    /// See [`WebhookError`]. Then the transaction must not be committed.
    pub async fn enable_webhook(&self, db: &mut Db, account: AccountId, id: WebhookId) -> Result<Webhook, WebhookError> {
        let webhook = webhooks::lock(db, account, id).await?.ok_or(WebhookError::NoSuchWebhook)?;
        // The operator may have become stricter since it was made.
        Target::parse(&webhook.url, self.telling.reach)?;
        webhooks::enable(db, id).await?;
        Ok(Webhook { failing_since: None, disabled: None, ..webhook })
    }

    /// Removes a webhook, with everything that it has not been told yet.
    ///
    /// # Errors
    /// See [`WebhookError`]. Then the transaction must not be committed.
    pub async fn remove_webhook(&self, db: &mut Db, account: AccountId, id: WebhookId) -> Result<(), WebhookError> {
        webhooks::lock(db, account, id).await?.ok_or(WebhookError::NoSuchWebhook)?;
        let now = self.clock.now();
        webhooks::remove(db, id, now).await?;
        Ok(deliveries::end_all(db, id, WEBHOOK_DISABLED, now).await?)
    }

    /// Has an event told once more, whether it arrived before or not.
    ///
    /// # Errors
    /// See [`WebhookError`]. Then the transaction must not be committed.
    pub async fn redeliver(
        &self,
        db: &mut Db,
        account: AccountId,
        (webhook, delivery): (WebhookId, DeliveryId),
    ) -> Result<Delivery, WebhookError> {
        let found = webhooks::lock(db, account, webhook).await?.ok_or(WebhookError::NoSuchWebhook)?;
        if found.disabled.is_some() {
            return Err(WebhookError::Disabled);
        }
        if !deliveries::begin_again(db, webhook, delivery, self.clock.now()).await? {
            return Err(WebhookError::NoSuchDelivery);
        }
        deliveries::find(db, webhook, delivery).await?.ok_or(WebhookError::NoSuchDelivery)
    }
}

/// The types of events that somebody wants, each of them once.
fn known(mut events: Vec<String>) -> Result<Vec<String>, WebhookError> {
    if let Some(unknown) = events.iter().find(|kind| EventKind::parse(kind).is_none()) {
        return Err(WebhookError::UnknownEvent(unknown.chars().take(64).collect()));
    }
    events.sort_unstable();
    events.dedup();
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_types_of_events_that_exist_can_be_wanted() {
        let wanted = |kinds: &[&str]| known(kinds.iter().map(|kind| (*kind).to_owned()).collect());

        assert_eq!(wanted(&[]).unwrap(), [""; 0]);
        assert_eq!(wanted(&["payment.failed", "invoice.paid", "payment.failed"]).unwrap(), ["invoice.paid", "payment.failed"]);
        for unknown in ["invoice.*", "Invoice.paid", "", "invoice"] {
            assert!(matches!(wanted(&["invoice.paid", unknown]), Err(WebhookError::UnknownEvent(kind)) if kind == unknown));
        }
    }
}
