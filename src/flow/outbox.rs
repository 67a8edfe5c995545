//! Takes events out of the outbox: each gets its place in the stream, what is told of it, and its deliveries, in one transaction.
//!
//! One owner does this, under a lease, and a successor waits for the end of its transaction. So positions become visible in their order,
//! and whoever reads on behind a position misses nothing.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Flows;
use super::receipt::ReceiptLine;
use super::tenure::TURN_LASTS_MAX;
use crate::domain::event::is_wanted;
use crate::domain::receipt::Statement;
use crate::ledger::deliveries::{self, NewDelivery};
use crate::ledger::leases::{self, Lease};
use crate::ledger::outbox::{self, Untold};
use crate::ledger::webhooks::{self, Webhook};
use crate::ledger::{Db, LedgerError, commit, receipts};
use crate::webhook::payload::Payload;

/// Events that one transaction takes out, so that it is short.
const EVENTS_AT_ONCE: u32 = 200;

/// Receipts that one event carries. Of an invoice with more of them the newest.
const RECEIPTS_MAX: u32 = 20;

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
        let receipts = self.receipts_about(&mut db, &untold).await?;
        let told: Vec<_> = untold.iter().map(|event| (event.id, body(event, &receipts))).collect();
        outbox::place(&mut db, &told).await?;
        let accounts: BTreeSet<_> = untold.iter().map(|event| event.account).collect();
        let webhooks = webhooks::told(&mut db, &accounts.into_iter().collect::<Vec<_>>()).await?;
        deliveries::insert(&mut db, &deliveries_of(&untold, &webhooks), now).await?;
        commit(db).await?;
        self.telling.wake();
        Ok(untold.len() == EVENTS_AT_ONCE as usize)
    }

    /// What receipts say now about payments and invoices of which something is told. Nothing where nobody can sign.
    async fn receipts_about(&self, db: &mut Db, untold: &[Untold]) -> Result<Vec<(Statement, String)>, LedgerError> {
        if self.issuer.is_none() {
            return Ok(Vec::new());
        }
        let payments: BTreeSet<_> = untold.iter().filter_map(|event| event.payment).collect();
        let invoices: BTreeSet<_> = untold.iter().filter_map(|event| event.invoice).collect();
        let (payments, invoices): (Vec<_>, Vec<_>) = (payments.into_iter().collect(), invoices.into_iter().collect());
        // Not kept here: that would take a second connection while this one holds the lease, and the bytes are the same in any case.
        Ok(self.sign_all(receipts::newest_for(db, &payments, &invoices, RECEIPTS_MAX).await?))
    }
}

/// The receipts, of all these, for what an event is about.
fn receipts_of<'a>(event: &'a Untold, receipts: &'a [(Statement, String)]) -> impl Iterator<Item = &'a (Statement, String)> {
    receipts.iter().filter(|(statement, _)| match (event.payment, event.invoice) {
        (Some(payment), _) => statement.purpose.payment() == Some(payment),
        (None, Some(invoice)) => statement.purpose.invoice() == Some(invoice),
        (None, None) => false,
    })
}

/// What is told of an event: its particulars, with the names of everything that it is about, and the receipts for it as they are now.
/// Written once; everybody is sent these bytes.
fn body(event: &Untold, receipts: &[(Statement, String)]) -> String {
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
    let receipts: Vec<_> = receipts_of(event, receipts).cloned().map(ReceiptLine::from).collect();
    if !receipts.is_empty() {
        data.insert("receipts".to_owned(), json!(receipts));
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
    use super::*;
    use crate::domain::ids::{AccountId, EventId, InvoiceId, PaymentId, ReceiptId, WebhookId};
    use crate::domain::receipt::Purpose;
    use crate::domain::receipt::tests::statement;

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

        let told: Value = serde_json::from_str(&body(&event, &[])).unwrap();

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
        assert!(!body(&event, &[]).contains('\n'), "it is one line in a stream");
        assert_eq!(body(&event, &[]), body(&event, &[]));
    }

    #[test]
    fn an_event_carries_the_receipts_for_what_it_is_about_and_no_others() {
        let (payment, invoice) = (PaymentId::new(), InvoiceId::new());
        let stated = |purpose| (Statement { receipt: ReceiptId::new(), purpose, ..statement() }, "a.b.c".to_owned());
        let plain = stated(Purpose::Invoice(invoice));
        let paid = stated(Purpose::Payment { payment, resource: None, invoice: Some(invoice) });
        let receipts = [plain.clone(), paid.clone(), stated(Purpose::Invoice(InvoiceId::new()))];
        let told = |event: &Untold| {
            let told: Value = serde_json::from_str(&body(event, &receipts)).unwrap();
            let ids = told["data"]["receipts"].as_array().cloned().unwrap_or_default();
            ids.into_iter().map(|line| line["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let event = event(AccountId::new(), "invoice.paid", json!({}));
        let [plain, paid] = [plain, paid].map(|(statement, _)| statement.receipt.to_string());

        assert_eq!(told(&Untold { invoice: Some(invoice), ..event.clone() }), [plain, paid.clone()]);
        assert_eq!(told(&Untold { payment: Some(payment), ..event.clone() }), [paid]);
        assert_eq!(told(&event), Vec::<String>::new());
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
