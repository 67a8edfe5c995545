//! `Invoices.Watch`: the stream of events, as messages.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::Stream;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tonic::{Request, Status};

use super::admission::envelope;
use super::status;
use super::v1::{Event, InvoicesWatchRequest, InvoicesWatchResponse};
use crate::api::events::{self, Ending, Piece, Sink, known_position};
use crate::api::problem::Problem;
use crate::api::{Service, access, invoices};
use crate::ledger::outbox::ToldEvent;

/// A stream that is being read.
pub type Watching = Pin<Box<dyn Stream<Item = Result<InvoicesWatchResponse, Status>> + Send>>;

/// Messages that are written before anybody has read them.
const MESSAGES_AHEAD: usize = 16;

/// Begins to tell an account what happens, or only what happens to one of its invoices.
///
/// # Errors
/// The caller may not, there is no such invoice or position, or there are too many streams.
pub async fn open(service: &Arc<Service>, request: &Request<InvoicesWatchRequest>) -> Result<Watching, Problem> {
    let envelope = envelope(request);
    let account = access::account(service, envelope).await?;
    let InvoicesWatchRequest { invoice, after } = request.get_ref().clone();
    let after = after.map(known_position).transpose()?;
    let invoice = match invoice {
        Some(id) => {
            let flows = service.flows();
            let found = service.run(async move { invoices::find(&flows, account, &id).await }).await??;
            Some(found.id.to_string())
        }
        None => None,
    };
    let key = envelope.key()?.ok_or(Problem::Unauthorized)?;
    let stream = events::Stream::open(service, account, key, after).await?;
    let (sender, told) = mpsc::channel(MESSAGES_AHEAD);
    let writer = Writer { sender, invoice };
    let author = AbortOnDropHandle::new(service.runtime.spawn(async move { stream.tell(&writer).await }));
    let unread = Some(Unread { told, author });
    Ok(Box::pin(futures_util::stream::unfold(unread, |unread| async move { unread?.next().await })))
}

/// Where a stream is written to.
struct Writer {
    sender: mpsc::Sender<InvoicesWatchResponse>,
    /// The invoice that the reader wants to hear of, if it is only one.
    invoice: Option<String>,
}

impl Writer {
    /// What is wanted of these events, and up to which position they were looked through if the last one is not.
    fn messages(&self, events: Vec<ToldEvent>) -> Vec<InvoicesWatchResponse> {
        let last = events.last().map(|event| event.position);
        let mut messages: Vec<_> = events.into_iter().filter_map(|event| self.message(event)).collect();
        let told = messages.last().map(|message| message.position);
        messages.extend(last.filter(|_| told != last).map(|position| InvoicesWatchResponse { position, event: None }));
        messages
    }

    fn message(&self, told: ToldEvent) -> Option<InvoicesWatchResponse> {
        let particulars: Particulars = serde_json::from_str(&told.body).unwrap_or_default();
        let Names { event, invoice, payment } = particulars.data;
        if self.invoice.is_some() && self.invoice != invoice {
            return None;
        }
        let timestamp = particulars.timestamp.parse().ok();
        let event = Event { id: event, r#type: told.kind, timestamp, invoice, payment, body: told.body };
        Some(InvoicesWatchResponse { position: told.position, event: Some(event) })
    }
}

impl Sink for Writer {
    async fn take(&self, piece: Piece) -> bool {
        let messages = match piece {
            Piece::Beginning(position) | Piece::Nothing(position) => vec![InvoicesWatchResponse { position, event: None }],
            Piece::Events(events) => self.messages(events),
        };
        for message in messages {
            if self.sender.send(message).await.is_err() {
                return false;
            }
        }
        true
    }
}

/// What is told of an event, as far as it is asked for here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Particulars {
    timestamp: String,
    data: Names,
}

/// What an event is about.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Names {
    event: String,
    invoice: Option<String>,
    payment: Option<String>,
}

/// What is still to be read of a stream, and who writes it.
struct Unread {
    told: mpsc::Receiver<InvoicesWatchResponse>,
    author: AbortOnDropHandle<Ending>,
}

impl Unread {
    async fn next(mut self) -> Option<(Result<InvoicesWatchResponse, Status>, Option<Self>)> {
        if let Some(message) = self.told.recv().await {
            return Some((Ok(message), Some(self)));
        }
        let problem = match self.author.await {
            Ok(Ending::Left | Ending::Over) => return None,
            Ok(Ending::Revoked) => Problem::Unauthorized,
            Ok(Ending::Stopping | Ending::Silent) => Problem::Unavailable,
            Err(_) => Problem::Internal,
        };
        Some((Err(status::of(problem)), None))
    }
}
