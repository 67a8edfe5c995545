//! `/v1/events`: what an account is told, as a stream of server-sent events, or as pages.

use actix_web::http::header::{ACCEPT, HeaderMap};
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Service;
use super::auth;
use super::endpoint::{Callers, Group, Operation, at};
use super::merchant::{Reply, answer};
use super::page::{PAGE, page_size};
use super::problem::{Code, Problem};
use super::streaming::{self, Cut, Writer};
use crate::api::events::{Piece, Sink, Stream, known_position, not_a_position};
use crate::api::status::Status;
use crate::domain::ids::AccountId;
use crate::ledger::outbox::ToldEvent;
use crate::webhook::payload::Payload;

/// The paths.
pub fn group() -> Group {
    let telling = Operation::new("listenToEvents", "Tells the account of its events, as a stream or as pages")
        .about(
            "A stream of server-sent events, with the bodies of webhooks; it begins behind the position in `Last-Event-ID` or `after`, or with \
             what happens from now on. It ends after an hour, and goes on where it was left. With `Accept: application/json` (and no \
             `text/event-stream`) a page, from the oldest event on, whose `nextCursor` is the next `after`.",
        )
        .of(Callers::Parties)
        .query::<EventsQuery>()
        .header(LAST_EVENT_ID, "The position up to which the caller has read; counts for more than `after`.")
        .answers_text("A stream of events, or a page of them.", "text/event-stream", "id: 12\nevent: invoice.paid\ndata: {…}\n\n")
        .answers::<Page>(Status::Ok, "")
        .problems(&[Code::TooManyStreams]);
    Group {
        name: "Events",
        about: "What an account is told. Webhooks are told the same.",
        paths: vec![at("/v1/events").get(events, telling)],
    }
}

/// Milliseconds after which a reader comes back whose stream has ended.
const COME_BACK_MS: u32 = 1_000;

/// With this header a reader of server-sent events says up to where it has read.
const LAST_EVENT_ID: &str = "last-event-id";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    /// The position behind which to read.
    #[schemars(regex(pattern = "^[0-9]+$"))]
    after: Option<String>,
    /// How many at most, on a page.
    #[schemars(range(min = 1, max = PAGE))]
    limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EventPage")]
struct Page {
    #[schemars(with = "Vec<PlacedEvent>")]
    events: Vec<Value>,
    /// `after` of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// An event with its place in the stream.
#[derive(JsonSchema)]
#[schemars(rename = "Event")]
#[expect(dead_code, reason = "what is told is written once and stored; this says what it looks like")]
struct PlacedEvent {
    #[schemars(flatten)]
    payload: Payload<'static, Map<String, Value>>,
    /// Its place.
    position: u64,
}

async fn events(
    service: Data<Service>,
    request: HttpRequest,
    query: Result<Query<EventsQuery>, actix_web::Error>,
) -> HttpResponse {
    let account = match auth::account(&service, &request).await {
        Ok(account) => account,
        Err(problem) => return problem.response(),
    };
    let Ok(query) = query else { return Problem::BadParameter("unknown or malformed parameter".to_owned()).response() };
    let after = match position(query.after.as_deref(), request.headers()) {
        Ok(after) => after,
        Err(problem) => return problem.response(),
    };
    if wants_pages(request.headers()) {
        return page(&service, account, after, query.limit).await;
    }
    stream(&service, &request, account, after).await.unwrap_or_else(|problem| problem.response())
}

/// Whoever asks for JSON and not for a stream gets a page.
fn wants_pages(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    let accepts = |media: &str| accepted.clone().any(|value| value.to_ascii_lowercase().contains(media));
    accepts("application/json") && !accepts("text/event-stream")
}

/// The position behind which somebody wants to read. A reader that comes back repeats its first address, so the header counts for more.
fn position(after: Option<&str>, headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let header = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or("?").trim());
    let Some(text) = header.filter(|text| !text.is_empty()).or(after) else { return Ok(None) };
    text.parse().map_err(|_| not_a_position()).and_then(known_position).map(Some)
}

async fn page(service: &Service, account: AccountId, after: Option<u64>, limit: Option<u32>) -> HttpResponse {
    answer(service, |flows| async move {
        let limit = page_size(limit)?;
        let found = flows.ledger.events_after(account, after.unwrap_or(0), limit).await?;
        let full = found.len() == limit as usize;
        let next_cursor = found.last().filter(|_| full).map(|event| event.position.to_string());
        Reply::ok(&Page { events: found.iter().map(with_position).collect::<Result<_, _>>()?, next_cursor })
    })
    .await
}

/// What a webhook is sent, with the position beside it.
fn with_position(event: &ToldEvent) -> Result<Value, Problem> {
    let mut told: Value = serde_json::from_str(&event.body).map_err(|_| Problem::Internal)?;
    told["position"] = event.position.into();
    Ok(told)
}

async fn stream(
    service: &Service,
    request: &HttpRequest,
    account: AccountId,
    after: Option<u64>,
) -> Result<HttpResponse, Problem> {
    let key = auth::envelope(request).key()?.ok_or(Problem::Unauthorized)?;
    let stream = Stream::open(service, account, key, after).await?;
    let mut head = HttpResponse::Ok();
    // Some proxies collect an answer before they pass it on.
    head.content_type("text/event-stream").insert_header(("x-accel-buffering", "no"));
    Ok(streaming::respond(&mut head, &service.runtime, |writer| async move {
        // Its reader comes back and misses nothing, however it ended.
        stream.tell(&writer).await;
        Ok::<(), Cut>(())
    }))
}

impl Sink for Writer {
    async fn take(&self, piece: Piece) -> bool {
        self.write(match piece {
            Piece::Beginning(position) => opening(position),
            Piece::Events(events) => events.iter().map(written).collect(),
            Piece::Nothing(_) => ":\n\n".to_owned(),
        })
        .await
    }
}

/// The beginning of a stream: when to come back, and from where, also if it ends before the first event.
fn opening(position: u64) -> String {
    format!("retry: {COME_BACK_MS}\nid: {position}\n\n")
}

/// An event of the stream. What is told is one line.
fn written(event: &ToldEvent) -> String {
    let ToldEvent { position, kind, body } = event;
    format!("id: {position}\nevent: {kind}\ndata: {body}\n\n")
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter();
        pairs.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_who_asks_for_json_and_for_no_stream_gets_pages() {
        let pages = |accept| wants_pages(&headers(&[("accept", accept)]));

        assert!(pages("application/json") && pages("Application/JSON; q=0.9, */*;q=0.1"));
        assert!(!pages("text/event-stream") && !pages("application/json, text/event-stream") && !pages("*/*"));
        assert!(!wants_pages(&HeaderMap::new()));
    }

    #[test]
    fn a_reader_that_comes_back_goes_on_where_it_was() {
        let of = |after, header: &[(&'static str, &'static str)]| position(after, &headers(header)).ok();

        assert_eq!(of(None, &[]), Some(None));
        assert_eq!(of(Some("7"), &[]), Some(Some(7)));
        assert_eq!(of(Some("7"), &[(LAST_EVENT_ID, "9")]), Some(Some(9)));
        assert_eq!(of(Some("7"), &[(LAST_EVENT_ID, "")]), Some(Some(7)));
        for text in ["", "-1", "evt_1", "1.5", "9223372036854775808"] {
            assert_eq!(of(Some(text), &[]), None, "{text}");
        }
        assert_eq!(of(None, &[(LAST_EVENT_ID, "x")]), None);
    }

    #[test]
    fn a_stream_is_written_as_server_sent_events_are() {
        let event = ToldEvent { position: 12, kind: "invoice.paid".to_owned(), body: "{\"type\":\"invoice.paid\"}".to_owned() };

        assert_eq!(opening(11), "retry: 1000\nid: 11\n\n");
        assert_eq!(written(&event), "id: 12\nevent: invoice.paid\ndata: {\"type\":\"invoice.paid\"}\n\n");
        let expected = serde_json::json!({"type": "invoice.paid", "position": 12});
        assert_eq!(with_position(&event).ok(), Some(expected));
    }
}
