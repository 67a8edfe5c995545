//! The stream of events: what an account is told, in order, without gaps and without repeats.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::{open_account, run_well, word_behind};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::Merchant;
use crate::support::{database, eventually, http_client};

mod payments;

const PATIENCE: Duration = Duration::from_secs(30);

async fn start() -> (Chain, Facilitator) {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database::fresh().await)).await;
    (chain, facilitator)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Opens an invoice and calls it off, which is told; returns its name.
pub async fn cancel_one(merchant: &Merchant<'_>) -> String {
    let id = text(&merchant.invoice(&json!({"amount": "1"})).await["id"]);
    let (status, canceled) = merchant.post(&format!("/v1/invoices/{id}/cancel"), &json!({})).await;
    assert_eq!((status, &canceled["status"]), (200, &json!("canceled")), "{canceled}");
    id
}

/// An event as a reader of server-sent events has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    pub id: u64,
    pub kind: String,
    pub data: Value,
}

impl Sent {
    pub fn invoice(&self) -> String {
        text(&self.data["data"]["invoice"])
    }
}

/// A reader of server-sent events.
pub struct Reader {
    answer: reqwest::Response,
    unread: String,
    /// What it would send as `Last-Event-ID`.
    pub last: Option<u64>,
}

impl Reader {
    pub async fn open(facilitator: &Facilitator, key: &str, query: &str, last: Option<u64>) -> Self {
        let answer = Self::ask(facilitator, key, query, last).await;
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, unread: String::new(), last }
    }

    pub async fn ask(facilitator: &Facilitator, key: &str, query: &str, last: Option<u64>) -> reqwest::Response {
        let request = http_client().get(format!("{}/v1/events{query}", facilitator.url)).bearer_auth(key);
        let request = request.header("accept", "text/event-stream");
        let request = match last {
            Some(last) => request.header("last-event-id", last.to_string()),
            None => request,
        };
        request.send().await.expect("an answer")
    }

    /// The next block of lines; `None` at the end of the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.unread.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.unread = rest;
                return Some(block);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.answer.chunk()).await.expect("a stream is not silent for so long");
            self.unread.push_str(std::str::from_utf8(&chunk.expect("it is readable")?).expect("UTF-8"));
        }
    }

    /// Reads up to the next block that names a position, as the standard says, and returns the event in it, if it has one.
    async fn step(&mut self) -> Option<Option<Sent>> {
        loop {
            let block = self.block().await?;
            let field =
                |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned);
            let Some(id) = field("id") else { continue };
            let id = id.parse().expect("a position");
            self.last = Some(id);
            let data = field("data").map(|data| serde_json::from_str(&data).expect("JSON"));
            return Some(data.map(|data| Sent { id, kind: field("event").expect("a type"), data }));
        }
    }

    /// The next so many events.
    pub async fn events(&mut self, count: usize) -> Vec<Sent> {
        let mut events = Vec::new();
        while events.len() < count {
            events.extend(self.step().await.expect("the stream goes on"));
        }
        events
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_where_it_was_left_without_gap_or_repeat() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    let rival = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let mut invoices = Vec::new();
    for _ in 0..3 {
        invoices.push(cancel_one(&merchant).await);
    }

    let mut first = Reader::open(&facilitator, merchant.key(), "?after=0", None).await;
    let mut told = first.events(2).await;
    let left_at = first.last;
    drop(first);
    for _ in 0..2 {
        invoices.push(cancel_one(&merchant).await);
    }
    // It comes back to the address with which it began.
    let mut second = Reader::open(&facilitator, merchant.key(), "?after=0", left_at).await;
    told.extend(second.events(3).await);
    invoices.push(cancel_one(&merchant).await);
    told.extend(second.events(1).await);

    assert_eq!(told.iter().map(Sent::invoice).collect::<Vec<_>>(), invoices);
    assert!(told.windows(2).all(|pair| pair[0].id < pair[1].id), "{told:?}");
    assert!(told.iter().all(|event| event.kind == "invoice.canceled" && event.data["type"] == "invoice.canceled"), "{told:?}");

    // In pages it is the same.
    let mut paged = Vec::new();
    let mut path = "/v1/events?limit=4".to_owned();
    loop {
        let (status, page) = page(&facilitator, Some(merchant.key()), &path).await;
        assert_eq!(status, 200, "{page}");
        paged.extend(page["events"].as_array().expect("a list").clone());
        let Some(cursor) = page["nextCursor"].as_str() else { break };
        path = format!("/v1/events?limit=4&after={cursor}");
    }
    let with_positions = told.iter().map(|event| {
        let mut data = event.data.clone();
        data["position"] = event.id.into();
        data
    });
    assert_eq!(paged, with_positions.collect::<Vec<_>>());
    assert_eq!(page(&facilitator, Some(rival.key()), "/v1/events").await.1["events"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_key_is_revoked_and_tells_nothing_more() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let made = run_well(&facilitator, &["api-key", "create", merchant.id(), "--scope", "merchant"]).await;
    let stolen = word_behind(&made, "API key");
    let mut reader = Reader::open(&facilitator, &stolen, "", None).await;
    assert_eq!(reader.step().await, Some(None), "where it begins");
    cancel_one(&merchant).await;
    assert_eq!(reader.events(1).await.len(), 1);

    let name = stolen.split('.').next().expect("a name");
    run_well(&facilitator, &["api-key", "revoke", name]).await;
    cancel_one(&merchant).await;

    assert_eq!(reader.step().await, None);
}

/// Asks for a page.
async fn page(facilitator: &Facilitator, key: Option<&str>, path: &str) -> (u16, Value) {
    let mut request = facilitator.client().get(format!("{}{path}", facilitator.url)).header("accept", "application/json");
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_without_a_position_is_told_of_what_happens_from_then_on() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    cancel_one(&merchant).await;
    eventually("the event in the stream", PATIENCE, || async {
        let (_, page) = page(&facilitator, Some(merchant.key()), "/v1/events").await;
        (page["events"].as_array()?.len() == 1).then_some(())
    })
    .await;

    let mut reader = Reader::open(&facilitator, merchant.key(), "", None).await;
    assert_eq!(reader.step().await, Some(None), "it begins with the place where it begins");
    let began = reader.last;
    let invoice = cancel_one(&merchant).await;

    assert_eq!(reader.events(1).await[0].invoice(), invoice);
    // A reader that was cut off before the first event misses nothing either.
    let mut again = Reader::open(&facilitator, merchant.key(), "", began).await;
    assert_eq!(again.events(1).await[0].invoice(), invoice);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_for_accounts_and_there_is_room_for_so_many() {
    let (_chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    let (provider, operator) = (open_account(&facilitator, "provider").await, open_account(&facilitator, "operator").await);

    assert_eq!(page(&facilitator, None, "/v1/events").await.0, 401);
    assert_eq!(page(&facilitator, Some(&operator.key), "/v1/events").await.0, 403);
    assert_eq!(page(&facilitator, Some(&provider.key), "/v1/events").await, (200, json!({"events": []})));
    for query in ["?after=-1", "?after=evt_1", "?limit=0", "?limit=101", "?before=1"] {
        let (status, problem) = page(&facilitator, Some(merchant.key()), &format!("/v1/events{query}")).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_parameter")), "{query}: {problem}");
    }

    let mut readers = Vec::new();
    for _ in 0..16 {
        readers.push(Reader::open(&facilitator, merchant.key(), "", None).await);
    }
    let refused = Reader::ask(&facilitator, merchant.key(), "", None).await;
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().ok()), (503, Some("1")));
    assert_eq!(refused.json::<Value>().await.expect("JSON")["code"], "too_many_streams");
    // Others are not kept out by that.
    Reader::open(&facilitator, &provider.key, "", None).await;
    assert!(facilitator.metric("quittance_event_streams").await >= 16.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_the_service_is_told_to_stop() {
    let (_chain, mut facilitator) = start().await;
    let key = Merchant::open(&facilitator).await.key().to_owned();
    let mut reader = Reader::open(&facilitator, &key, "", None).await;
    assert_eq!(reader.step().await, Some(None));

    let ended = tokio::time::timeout(Duration::from_secs(15), facilitator.terminate());

    assert!(ended.await.expect("nobody waits for a stream").success());
    assert_eq!(reader.step().await, None);
}
