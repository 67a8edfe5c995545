//! `Invoices.Watch`: what an account is told, in order, without gaps and without repeats.

use quittance::grpc::v1::invoices_client::InvoicesClient;
use quittance::grpc::v1::{Event, InvoicesWatchRequest, InvoicesWatchResponse};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::*;
use crate::events::{Reader, cancel_one};
use crate::support::cli::{run_well, word_behind};
use crate::support::merchant::Merchant;

/// A reader of the stream.
struct Watch {
    stream: Streaming<InvoicesWatchResponse>,
    /// What it would come back with.
    last: Option<u64>,
}

impl Watch {
    async fn open(channel: Channel, key: &str, invoice: Option<&str>, after: Option<u64>) -> Result<Self, Status> {
        let asked = InvoicesWatchRequest { invoice: invoice.map(str::to_owned), after };
        let stream = InvoicesClient::new(channel).watch(keyed(asked, key)).await?.into_inner();
        Ok(Self { stream, last: None })
    }

    async fn step(&mut self) -> Result<Option<InvoicesWatchResponse>, Status> {
        let message = tokio::time::timeout(PATIENCE, self.stream.message()).await.expect("a stream is not silent for so long")?;
        self.last = message.as_ref().map(|message| message.position).or(self.last);
        Ok(message)
    }

    /// The next so many events.
    async fn events(&mut self, count: usize) -> Vec<(u64, Event)> {
        let mut events = Vec::new();
        while events.len() < count {
            let message = self.step().await.expect("the stream goes on").expect("the stream goes on");
            events.extend(message.event.map(|event| (message.position, event)));
        }
        events
    }
}

fn invoices(told: &[(u64, Event)]) -> Vec<String> {
    told.iter().map(|(_, event)| event.invoice.clone().expect("an invoice")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_cut_goes_on_where_it_was_left_without_gap_or_repeat() {
    let (chain, mut facilitator) = start(OPEN).await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(cancel_one(&merchant).await);
    }
    let account = merchant.into_account();

    let mut first = Watch::open(connect(&facilitator), &account.key, None, Some(0)).await.expect("a stream");
    let mut told = first.events(2).await;
    // The process is gone in the middle of it, and comes back.
    facilitator.kill().await;
    facilitator.restart().await;
    while let Ok(Some(message)) = first.step().await {
        told.extend(message.event.map(|event| (message.position, event)));
    }
    let merchant = Merchant::again(&facilitator, account);
    for _ in 0..2 {
        made.push(cancel_one(&merchant).await);
    }
    let mut second = Watch::open(connect(&facilitator), merchant.key(), None, first.last).await.expect("a stream");
    told.extend(second.events(made.len() - told.len()).await);
    made.push(cancel_one(&merchant).await);
    told.extend(second.events(1).await);

    assert_eq!(invoices(&told), made);
    assert!(told.windows(2).all(|pair| pair[0].0 < pair[1].0), "{told:?}");
    // It is the same stream as over HTTP, with the same positions and bytes.
    let mut reader = Reader::open(&facilitator, merchant.key(), "?after=0", None).await;
    for ((position, event), sent) in told.iter().zip(reader.events(told.len()).await) {
        assert_eq!((position, event.r#type.as_str()), (&sent.id, sent.kind.as_str()));
        assert_eq!(serde_json::from_str::<Value>(&event.body).expect("JSON"), sent.data);
        assert_eq!(event.id, sent.data["data"]["event"]);
        assert_eq!(event.timestamp.expect("a moment").to_string()[..19], sent.data["timestamp"].as_str().expect("a text")[..19]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_one_invoice_hears_of_no_other() {
    let (chain, facilitator) = start(OPEN).await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let wanted = merchant.invoice(&json!({"amount": "1"})).await;
    let wanted = wanted["id"].as_str().expect("a name");
    cancel_one(&merchant).await;

    let mut watch = Watch::open(connect(&facilitator), merchant.key(), Some(wanted), Some(0)).await.expect("a stream");
    assert_eq!(watch.step().await.expect("a message").expect("one"), InvoicesWatchResponse { position: 0, event: None });
    let others = watch.step().await.expect("a message").expect("one");
    assert!(others.position > 0 && others.event.is_none(), "whoever comes back need not be told of them again: {others:?}");
    assert_eq!(merchant.post(&format!("/v1/invoices/{wanted}/cancel"), &json!({})).await.0, 200);

    let told = watch.events(1).await;
    assert_eq!((invoices(&told), told[0].1.r#type.as_str()), (vec![wanted.to_owned()], "invoice.canceled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_when_its_key_is_revoked_and_tells_nothing_more() {
    let (chain, facilitator) = start(OPEN).await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let made = run_well(&facilitator, &["api-key", "create", merchant.id(), "--scope", "merchant"]).await;
    let stolen = word_behind(&made, "API key");
    let mut watch = Watch::open(connect(&facilitator), &stolen, None, None).await.expect("a stream");
    assert_eq!(watch.step().await.expect("a message").expect("one").event, None, "where it begins");
    cancel_one(&merchant).await;
    assert_eq!(watch.events(1).await.len(), 1);

    let name = stolen.split('.').next().expect("a name");
    run_well(&facilitator, &["api-key", "revoke", name]).await;
    cancel_one(&merchant).await;

    let ended = watch.step().await.expect_err("it ends");
    assert_eq!(refusal(&ended), (Code::Unauthenticated, "unauthorized".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_for_accounts_and_share_their_room_with_http() {
    let (_chain, mut facilitator) = start(OPEN).await;
    let (merchant, operator) = (open_account(&facilitator, "merchant").await, open_account(&facilitator, "operator").await);
    let channel = connect(&facilitator);
    let open = async |key: &str, after| Watch::open(channel.clone(), key, None, after).await;

    let refused = InvoicesClient::new(channel.clone()).watch(InvoicesWatchRequest::default()).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::Unauthenticated, "unauthorized".to_owned()));
    let refused = open(&operator.key, None).await.err().expect("a refusal");
    assert_eq!(refusal(&refused), (Code::PermissionDenied, "forbidden".to_owned()));
    let refused = open(&merchant.key, Some(u64::MAX)).await.err().expect("a refusal");
    assert_eq!(refusal(&refused), (Code::InvalidArgument, "bad_parameter".to_owned()));

    let (mut watches, mut readers) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        watches.push(open(&merchant.key, None).await.expect("a stream"));
        readers.push(Reader::open(&facilitator, &merchant.key, "", None).await);
    }
    let refused = open(&merchant.key, None).await.err().expect("a refusal");
    assert_eq!(refusal(&refused), (Code::Unavailable, "too_many_streams".to_owned()));
    drop(readers);

    // Nobody waits for a stream at the end.
    assert!(facilitator.terminate().await.success());
    for watch in &mut watches {
        let ended = loop {
            match watch.step().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a stream that is cut says so"),
                Err(ended) => break ended,
            }
        };
        assert_eq!(refusal(&ended), (Code::Unavailable, "unavailable".to_owned()));
    }
}
