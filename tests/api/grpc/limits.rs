//! What every call and connection keeps to, and what tools ask a server for.

use std::time::Instant;

use futures_util::StreamExt;
use quittance::grpc::v1::InvoicesWatchRequest;
use quittance::grpc::v1::invoices_client::InvoicesClient;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::*;
use crate::support::frames::{self, Frame};
use crate::support::merchant::Merchant;

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_and_ends_with_the_service() {
    let (_chain, mut facilitator) = start(OPEN).await;
    let mut client = HealthClient::new(connect(&facilitator));

    for name in ["", "quittance.v1.Facilitator", "quittance.v1.Invoices", "quittance.v1.Receipts"] {
        let answer = client.check(about(name)).await.expect("an answer").into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{name}");
    }
    assert_eq!(client.check(about("quittance.v1.Nothing")).await.expect_err("a refusal").code(), Code::NotFound);

    let mut watched = client.watch(about("")).await.expect("a stream").into_inner();
    assert_eq!(watched.message().await.expect("a message").expect("one").status(), ServingStatus::Serving);
    assert!(facilitator.terminate().await.success());
    assert_eq!(watched.message().await.expect("a message").expect("one").status(), ServingStatus::NotServing);
    assert!(watched.message().await.expect("an end").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_can_be_read_from_the_service_itself() {
    let (_chain, facilitator) = start(OPEN).await;
    let mut client = ServerReflectionClient::new(connect(&facilitator));
    let ask = |message| ServerReflectionRequest { host: String::new(), message_request: Some(message) };
    let asked = [
        ask(MessageRequest::ListServices(String::new())),
        ask(MessageRequest::FileContainingSymbol("quittance.v1.Facilitator".to_owned())),
    ];

    let mut answers = client.server_reflection_info(futures_util::stream::iter(asked)).await.expect("a stream").into_inner();

    let listed = answers.message().await.expect("an answer").expect("one").message_response.expect("something");
    let MessageResponse::ListServicesResponse(listed) = listed else { panic!("{listed:?}") };
    let names: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["quittance.v1.Facilitator", "quittance.v1.Invoices", "quittance.v1.Receipts", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{names:?}");
    }
    let described = answers.message().await.expect("an answer").expect("one").message_response.expect("something");
    assert!(matches!(described, MessageResponse::FileDescriptorResponse(files) if !files.file_descriptor_proto.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_no_larger_than_a_body() {
    let (_chain, facilitator) = start("access = \"open\"\nbody_bytes_max = 2048\n").await;
    let mut client = FacilitatorClient::new(connect(&facilitator));
    let message = |bytes| quittance::grpc::v1::VerifyRequest { payment_payload: " ".repeat(bytes), ..Default::default() };

    let refused = client.verify(message(1_900)).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::InvalidArgument, "invalid_json".to_owned()));
    assert_eq!(client.verify(message(2_100)).await.expect_err("a refusal").code(), Code::OutOfRange);
    let counted = |code: &str| {
        let series = format!("quittance_grpc_requests_total{{code=\"{code}\",method=\"quittance.v1.Facilitator/Verify\"}}");
        let facilitator = &facilitator;
        async move { facilitator.metric(&series).await }
    };
    assert_eq!((counted("INVALID_ARGUMENT").await, counted("OUT_OF_RANGE").await), (1.0, 1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_room_for_so_many_calls() {
    let (_chain, facilitator) = start("access = \"open\"\nconnections_max = 1\n").await;
    let merchant = Merchant::open(&facilitator).await;
    let channel = connect(&facilitator);
    let watching = keyed(InvoicesWatchRequest::default(), merchant.key());
    let mut watched = InvoicesClient::new(channel.clone()).watch(watching).await.expect("a stream").into_inner();
    assert!(watched.next().await.expect("a message").is_ok());

    let refused = FacilitatorClient::new(channel.clone()).supported(SupportedRequest {}).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::Unavailable, "too_many_calls".to_owned()));
    let health = HealthClient::new(channel.clone()).check(about("")).await;
    assert!(health.is_ok(), "health has room of its own: {health:?}");

    drop(watched);
    eventually("room", PATIENCE, || async { FacilitatorClient::new(channel.clone()).supported(SupportedRequest {}).await.ok() })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_its_client_keeps_waiting_gives_way_to_a_new_one() {
    let (_chain, facilitator) = start("access = \"open\"\nconnections_max = 4\n").await;
    let host = facilitator.grpc.trim_start_matches("http://");
    let mut slow = TcpStream::connect(host).await.expect("it listens");
    // The one waits for its message, and the others for somebody to take their answers.
    let method = "/quittance.v1.Facilitator/Supported";
    let mut bytes = [frames::begin(0), frames::open(1, host, method)].concat();
    for stream in [3, 5, 7] {
        bytes.extend([frames::open(stream, host, method), frames::message(stream, b"")].concat());
    }
    slow.write_all(&bytes).await.expect("it reads");
    eventually("four calls", PATIENCE, || async {
        (facilitator.metric("quittance_grpc_requests_in_flight").await == 4.0).then_some(())
    })
    .await;

    // Until then they are not slow.
    let client = FacilitatorClient::new(connect(&facilitator));
    eventually("room", PATIENCE, || async { client.clone().supported(SupportedRequest {}).await.ok() }).await;

    let ended = tokio::time::timeout(PATIENCE, async { while Frame::read(&mut slow).await.is_some() {} }).await;
    assert!(ended.is_ok(), "whoever kept it waiting is cut");
}

/// Calls, as they are sent.
struct Calls<'a> {
    host: &'a str,
    key: Option<&'a str>,
}

impl Calls<'_> {
    fn open(&self, number: u32) -> Vec<u8> {
        const METHOD: &str = "/quittance.v1.Facilitator/Supported";
        match self.key {
            Some(key) => frames::open_keyed(frames::stream(number), self.host, METHOD, key),
            None => frames::open(frames::stream(number), self.host, METHOD),
        }
    }

    fn message(number: u32) -> Vec<u8> {
        frames::message(frames::stream(number), b"")
    }

    /// A connection over which this came.
    async fn connect(&self, bytes: Vec<u8>) -> TcpStream {
        let mut connection = TcpStream::connect(self.host).await.expect("it listens");
        connection.write_all(&[frames::begin(1 << 16), bytes].concat()).await.expect("it reads");
        connection
    }
}

async fn until_answered(connection: &mut TcpStream, calls: u32) {
    for call in 0..calls {
        loop {
            let frame = tokio::time::timeout(PATIENCE, Frame::read(connection)).await.expect("in time").expect("an answer");
            assert_eq!(frame.farewell(), None, "at {call}");
            if frame.ends_answer() {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_strangers_that_run_ahead_wait_for_their_turns_and_those_with_a_key_do_not() {
    const CROWD: usize = 200;
    const STRANGERS_AT_ONCE: usize = 4;
    const CALLS: u32 = 60;
    let (_chain, facilitator) = start(OPEN).await;
    let provider = open_account(&facilitator, "provider").await;
    let client = FacilitatorClient::new(connect(&facilitator));
    client.clone().supported(keyed(SupportedRequest {}, &provider.key)).await.expect("an answer");
    let host = facilitator.grpc.trim_start_matches("http://");
    let (strangers, known) = (Calls { host, key: None }, Calls { host, key: Some(&provider.key) });
    let before = facilitator.metric("quittance_grpc_requests_total{code=\"OK\"").await;
    let began = Instant::now();

    // A turn comes to each of them once in a second, and to those with a key it would, too, if they waited.
    let crowd = (0..CROWD)
        .map(|_| strangers.connect((0..CALLS).flat_map(|call| [strangers.open(call), Calls::message(call)].concat()).collect()));
    let mut crowd = join_all(crowd).await;
    until_answered(&mut crowd[0], 1).await;
    let mut known = known.connect((0..CALLS).flat_map(|call| [known.open(call), Calls::message(call)].concat()).collect()).await;
    tokio::time::timeout(PATIENCE, until_answered(&mut known, CALLS)).await.expect("nobody holds them up");

    let done = facilitator.metric("quittance_grpc_requests_total{code=\"OK\"").await - before;
    let turns = began.elapsed().as_secs_f64() * 200.0;
    for code in ["UNAVAILABLE", "RESOURCE_EXHAUSTED"] {
        let refused = facilitator.metric(&format!("quittance_grpc_requests_total{{code=\"{code}\"")).await;
        assert_eq!(refused, 0.0, "{code}: they wait, and are not refused");
    }
    let at_once = (1 + STRANGERS_AT_ONCE) as f64 * CROWD as f64;
    assert!(done <= f64::from(CALLS) + at_once + turns, "{done} where {turns} had their turns");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_caller_has_so_many_calls_and_leaves_room_for_others() {
    let (_chain, facilitator) = start("access = \"open\"\nconnections_per_address_max = 4\n").await;
    let merchant = Merchant::open(&facilitator).await;
    let channel = connect(&facilitator);
    let mut watched = Vec::new();

    // The first one may still count for the address, because the key was not known.
    let refused = loop {
        let watching = keyed(InvoicesWatchRequest::default(), merchant.key());
        match InvoicesClient::new(channel.clone()).watch(watching).await {
            Ok(stream) if watched.len() < 6 => watched.push(stream),
            Ok(_) => panic!("there is no end"),
            Err(refused) => break refused,
        }
    };

    assert_eq!(refusal(&refused), (Code::Unavailable, "too_many_calls".to_owned()));
    assert!(FacilitatorClient::new(channel.clone()).supported(SupportedRequest {}).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_health_takes_no_call_from_others() {
    let (_chain, facilitator) = start(OPEN).await;
    let channel = connect(&facilitator);
    let mut client = HealthClient::new(channel.clone());
    let mut watched = Vec::new();
    for _ in 0..16 {
        watched.push(client.watch(about("")).await.expect("a stream"));
    }

    let refused = client.watch(about("")).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::Unavailable, "too_many_calls".to_owned()));
    assert!(FacilitatorClient::new(channel.clone()).supported(SupportedRequest {}).await.is_ok());
    drop(watched);
    eventually("room", PATIENCE, || async { HealthClient::new(channel.clone()).check(about("")).await.ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_nothing_of_an_answer_is_cut() {
    let (_chain, facilitator) = start(OPEN).await;
    let endpoint = Endpoint::from_shared(facilitator.grpc.clone()).expect("an address").initial_stream_window_size(Some(0));
    let mut deaf = FacilitatorClient::new(endpoint.connect_lazy());

    let ended = tokio::time::timeout(2 * PATIENCE, deaf.supported(SupportedRequest {})).await.expect("it is cut");

    assert!(ended.is_err(), "nothing of it was taken: {ended:?}");
    eventually("room", PATIENCE, || async {
        (facilitator.metric("quittance_grpc_requests_in_flight").await == 0.0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_share_the_room_of_large_bodies() {
    let (chain, facilitator) = start("access = \"open\"\nbody_bytes_max = 16777216\n").await;
    chain.rpc("anvil_setIntervalMining", json!([0])).await;
    // Two of them leave less than 64 KiB of the 32 MiB.
    let padding = " ".repeat((16 << 20) - (8 << 10));
    let large = |payer: usize| {
        let mut message = settle(&chain.payers[payer].authorize(&Terms::to(&shop(&chain))).v2());
        message.payment_payload.push_str(&padding);
        message
    };
    let client = FacilitatorClient::new(connect(&facilitator));
    let waiting = [0, 1].map(|payer| {
        let (mut client, message) = (client.clone(), large(payer));
        tokio::spawn(async move { client.settle(message).await })
    });
    eventually("two that wait", PATIENCE, || async {
        (facilitator.metric("quittance_payments_waiting").await == 2.0).then_some(())
    })
    .await;

    let refused = client.clone().settle(large(2)).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::Unavailable, "too_many_bodies".to_owned()));
    let body = format!("{{{}}}", " ".repeat(64 << 10));
    let request = facilitator.client().post(format!("{}/verify", facilitator.url)).header("content-type", "application/json");
    assert_eq!(request.body(body).send().await.expect("an answer").status().as_u16(), 503);
    assert!(client.clone().supported(SupportedRequest {}).await.is_ok(), "small ones need none");

    chain.rpc("anvil_setIntervalMining", json!([1])).await;
    for call in waiting {
        assert!(call.await.expect("no panic").expect("an answer").into_inner().success);
    }
    assert!(client.clone().settle(large(2)).await.expect("there is room again").into_inner().success);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_so_many_connections() {
    let (_chain, facilitator) = start("access = \"open\"\nconnections_per_address_max = 2\n").await;
    let address = facilitator.grpc.strip_prefix("http://").expect("an address");
    let mut connections = Vec::new();
    for _ in 0..2 {
        connections.push(TcpStream::connect(address).await.expect("a connection"));
    }

    eventually("a refusal", PATIENCE, || async {
        let mut one_more = TcpStream::connect(address).await.expect("a connection");
        let mut answer = [0; 64];
        let read = tokio::io::AsyncReadExt::read(&mut one_more, &mut answer);
        let closed = tokio::time::timeout(Duration::from_secs(1), read).await;
        closed.is_ok_and(|read| !matches!(read, Ok(bytes) if bytes > 0)).then_some(())
    })
    .await;
    assert!(facilitator.metric("quittance_connections_refused_total").await >= 1.0);

    drop(connections);
    eventually("a place", PATIENCE, || async {
        FacilitatorClient::new(connect(&facilitator)).supported(SupportedRequest {}).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_can_be_switched_off() {
    let chain = Chain::start(ChainOptions::default()).await;
    let options = Options::new(NetworkOptions::of(&chain), &database::fresh().await);
    let mut facilitator = Facilitator::spawn(&options);
    facilitator.until_ready(PATIENCE).await;
    assert!(facilitator.terminate().await.success());
    let file = facilitator.config_file();
    let text = std::fs::read_to_string(&file).expect("it is there");
    let address = facilitator.grpc.strip_prefix("http://").expect("an address").to_owned();
    std::fs::write(&file, text.replace(&format!("{address:?}"), "\"none\"")).expect("it is writable");

    facilitator.restart().await;

    assert!(TcpStream::connect(&address).await.is_err(), "nobody listens");
    assert_eq!(facilitator.get("/supported").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_is_not_waited_for() {
    let (_chain, facilitator) = start(OPEN).await;
    let address = facilitator.grpc.strip_prefix("http://").expect("an address");
    let mut silent = TcpStream::connect(address).await.expect("a connection");
    let mut client = ServerReflectionClient::new(connect(&facilitator));
    let silence = futures_util::stream::pending::<ServerReflectionRequest>();
    let mut answers = client.server_reflection_info(silence).await.expect("a stream").into_inner();

    let closed = tokio::time::timeout(PATIENCE, async {
        let mut said = Vec::new();
        drop(tokio::io::AsyncReadExt::read_to_end(&mut silent, &mut said).await);
    });
    let ended = tokio::time::timeout(PATIENCE, answers.message());

    let (closed, ended) = tokio::join!(closed, ended);
    assert!(closed.is_ok(), "a connection that says nothing is closed");
    assert!(!matches!(ended.expect("a call whose message does not come ends"), Ok(Some(_))));
}
