//! Takes events out of the outbox: each gets its place in the stream, what is told of it, and its deliveries, in one transaction.
//!
//! One owner does this, under a lease, and a successor waits for the end of its transaction. So positions become visible in their order,
//! and whoever reads on behind a position misses nothing.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Flows;
use super::tenure::TURN_LASTS_MAX;
use crate::domain::event::is_wanted;
use crate::ledger::deliveries::{self, NewDelivery};
use crate::ledger::leases::{self, Lease};
use crate::ledger::outbox::{self, Untold};
use crate::ledger::webhooks::{self, Webhook};
use crate::ledger::{LedgerError, commit};
use crate::webhook::payload::Payload;

/// Events that one transaction takes out, so that it is short.
const EVENTS_AT_ONCE: u32 = 200;

impl Flows {
    /// Puts the oldest events that are in no place yet into the stream, and makes their deliveries. Returns whether there may be more.
    ///
    /// # Errors
    /// The lease was lost, or the database could not be reached; then nothing was done, or all of it.
    pub async fn drain_outbox(&self, lease: &Lease) -> Result<bool, LedgerError> {
        // Or a connection that fell silent would hold the lease, and nobody would be told anything any more.
        tokio::time::timeout(TURN_LASTS_MAX, self.drain(lease)).await.unwrap_or(Err(LedgerError::silent()))
    }

    async fn drain(&self, lease: &Lease) -> Result<bool, LedgerError> {
        let now = self.clock.now();
        let mut db = self.ledger.begin().await?;
        leases::require(&mut db, lease).await?;
        let untold = outbox::untold(&mut db, EVENTS_AT_ONCE).await?;
        if untold.is_empty() {
            return Ok(false);
        }
        let told: Vec<_> = untold.iter().map(|event| (event.id, body(event))).collect();
        outbox::place(&mut db, &told).await?;
        let accounts: BTreeSet<_> = untold.iter().map(|event| event.account).collect();
        let webhooks = webhooks::told(&mut db, &accounts.into_iter().collect::<Vec<_>>()).await?;
        deliveries::insert(&mut db, &deliveries_of(&untold, &webhooks), now).await?;
        commit(db).await?;
        self.telling.wake();
        Ok(untold.len() == EVENTS_AT_ONCE as usize)
    }
}

/// What is told of an event: its particulars, with the names of everything that it is about. Written once; everybody is sent these bytes.
fn body(event: &Untold) -> String {
    let mut data = match &event.data {
        Value::Object(data) => data.clone(),
        Value::Null => Map::new(),
        other => Map::from_iter([("value".to_owned(), other.clone())]),
    };
    data.insert("event".to_owned(), Value::String(event.id.to_string()));
    if let Some(payment) = event.payment {
        data.insert("payment".to_owned(), Value::String(payment.to_string()));
    }
    if let Some(invoice) = event.invoice {
        data.insert("invoice".to_owned(), Value::String(invoice.to_string()));
    }
    let payload = Payload { event: &event.kind, timestamp: event.at, data };
    serde_json::to_string(&payload).expect("texts and JSON values can always be written")
}

/// One delivery for each event and each webhook of its account that wants it.
fn deliveries_of(untold: &[Untold], webhooks: &[Webhook]) -> Vec<NewDelivery> {
    let mut deliveries = Vec::new();
    for event in untold {
        let wants = |webhook: &&Webhook| webhook.account == event.account && is_wanted(&webhook.events, &event.kind);
        let wanting = webhooks.iter().filter(wants);
        deliveries.extend(wanting.map(|webhook| NewDelivery { webhook: webhook.id, event: event.id }));
    }
    deliveries
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::ids::{AccountId, EventId, InvoiceId, PaymentId, WebhookId};

    fn event(account: AccountId, kind: &str, data: Value) -> Untold {
        let at = "2026-01-02T03:04:05.678901Z".parse().unwrap();
        Untold { id: EventId::new(), account, payment: None, invoice: None, kind: kind.to_owned(), data, at }
    }

    fn webhook(account: AccountId, events: &[&str]) -> Webhook {
        Webhook {
            id: WebhookId::new(),
            account,
            url: "https://merchant.example/hook".to_owned(),
            events: events.iter().map(|kind| (*kind).to_owned()).collect(),
            created_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            former_secret_until: None,
            failing_since: None,
            disabled: None,
        }
    }

    #[test]
    fn what_is_told_names_everything_that_it_is_about() {
        let (payment, invoice) = (PaymentId::new(), InvoiceId::new());
        let event = Untold {
            payment: Some(payment),
            invoice: Some(invoice),
            ..event(AccountId::new(), "invoice.paid", json!({"amountPaid": "0.25"}))
        };

        let told: Value = serde_json::from_str(&body(&event)).unwrap();

        assert_eq!(
            told,
            json!({
                "type": "invoice.paid", "timestamp": "2026-01-02T03:04:05.678901Z",
                "data": {
                    "amountPaid": "0.25", "event": event.id.to_string(), "payment": payment.to_string(),
                    "invoice": invoice.to_string(),
                },
            })
        );
        assert!(!body(&event).contains('\n'), "it is one line in a stream");
        assert_eq!(body(&event), body(&event));
    }

    #[test]
    fn an_event_goes_to_every_webhook_of_its_account_that_wants_it_and_to_no_other() {
        let (own, other) = (AccountId::new(), AccountId::new());
        let (paid, failed) = (event(own, "invoice.paid", json!({})), event(own, "payment.failed", json!({})));
        let (all, some) = (webhook(own, &[]), webhook(own, &["payment.failed", "payment.included"]));
        let foreign = webhook(other, &[]);
        let told = |event: &Untold, webhook: &Webhook| NewDelivery { webhook: webhook.id, event: event.id };

        let made = deliveries_of(&[paid.clone(), failed.clone()], &[all.clone(), some.clone(), foreign]);

        assert_eq!(made, [told(&paid, &all), told(&failed, &all), told(&failed, &some)]);
    }
}
