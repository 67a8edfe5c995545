//! Calls over gRPC that nobody means: streams of HTTP/2 that are opened and taken back, and headers without an end.

use futures_util::StreamExt;
use quittance::grpc::v1::SupportedRequest;
use quittance::grpc::v1::facilitator_client::FacilitatorClient;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{MEMORY_MIB_MAX, PATIENCE, World, report, scale};
use crate::support::chain::ChainOptions;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::frames::{self, ENHANCE_YOUR_CALM, Frame};
use crate::support::{eventually, grpc};

const PATH: &str = "/quittance.v1.Facilitator/Supported";

/// Calls at once, of which a connection may take so many back.
const AHEAD: usize = 10;

/// The same of somebody who asks to be cut.
const BURST: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_opened_and_reset_leave_nothing_behind() {
    let streams = scale(5_000, 100_000);
    let world = World::new(ChainOptions::default()).await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&world.chain), &world.database)).await;
    let before = facilitator.peak_mib();

    take_back_slowly(&facilitator, streams).await;
    let bursts = futures_util::stream::iter(0..streams / BURST).map(|_| take_back_at_once(&facilitator)).buffer_unordered(4);
    let farewells: Vec<Option<u32>> = bursts.collect().await;
    let flood = headers_without_end(&facilitator).await;

    let calmed = farewells.iter().filter(|farewell| **farewell == Some(ENHANCE_YOUR_CALM)).count();
    let peak = facilitator.peak_mib();
    report(
        "streams",
        &format!(
            "{streams} streams opened on one connection, and nine in ten of them reset; {streams} opened and reset on {} connections, all cut, {calmed} told why; headers without \
             end cut after {} KiB; memory {before:.0} MiB before and at most {peak:.0} MiB then",
            farewells.len(),
            flood >> 10,
        ),
    );
    assert!(calmed > 0, "{farewells:?}");
    assert!(peak < MEMORY_MIB_MAX, "{peak} MiB");
    eventually("an end of all calls", PATIENCE, || async {
        (facilitator.metric("quittance_grpc_requests_in_flight").await == 0.0).then_some(())
    })
    .await;
    let answer = FacilitatorClient::new(grpc::connect(&facilitator)).supported(SupportedRequest {}).await;
    assert!(answer.is_ok(), "{answer:?}");
}

fn host(facilitator: &Facilitator) -> &str {
    facilitator.grpc.trim_start_matches("http://")
}

async fn connect(facilitator: &Facilitator) -> TcpStream {
    let mut stream = TcpStream::connect(host(facilitator)).await.expect("it listens");
    stream.write_all(&frames::begin(1 << 16)).await.expect("it reads");
    stream
}

fn taken_back(host: &str, numbers: std::ops::Range<usize>) -> Vec<u8> {
    let streams = numbers.map(|number| frames::stream(number as u32));
    streams.flat_map(|stream| [frames::open(stream, host, PATH), frames::reset(stream)].concat()).collect()
}

/// Opens and takes back on one connection, which keeps to what it may. The last call of each few is meant: that it is answered tells that
/// those before it were looked at.
async fn take_back_slowly(facilitator: &Facilitator, streams: usize) {
    let mut connection = connect(facilitator).await;
    for begin in (0..streams).step_by(AHEAD) {
        let (last, host) = (begin + AHEAD - 1, host(facilitator));
        let stream = frames::stream(last as u32);
        let meant = [frames::open(stream, host, PATH), frames::message(stream, b"")].concat();
        connection.write_all(&[taken_back(host, begin..last), meant].concat()).await.expect("it reads");
        loop {
            let frame = tokio::time::timeout(PATIENCE, Frame::read(&mut connection)).await.expect("an answer").expect("a frame");
            assert_eq!(frame.farewell(), None, "after {begin}");
            if frame.ends_answer() {
                break;
            }
        }
    }
}

/// Sends more than it may until it is cut, and returns why it was, if that was heard.
async fn take_back_at_once(facilitator: &Facilitator) -> Option<u32> {
    let (mut reader, mut writer) = connect(facilitator).await.into_split();
    let bytes = taken_back(host(facilitator), 0..BURST);
    let write = async { drop(writer.write_all(&bytes).await) };
    let read = async {
        let mut farewell = None;
        while let Some(frame) = Frame::read(&mut reader).await {
            farewell = farewell.or(frame.farewell());
        }
        farewell
    };
    tokio::time::timeout(PATIENCE, async { tokio::join!(write, read).1 }).await.expect("it is cut")
}

/// Sends headers that do not end until it is cut, and returns how many bytes that took.
async fn headers_without_end(facilitator: &Facilitator) -> usize {
    const LIMIT: usize = 64 << 20;
    let mut connection = connect(facilitator).await;
    let mut sent = 0;
    let mut bytes = frames::open_without_end(1, host(facilitator), PATH);
    while connection.write_all(&bytes).await.is_ok() {
        sent += bytes.len();
        assert!(sent < LIMIT, "it reads without an end");
        bytes = frames::more_headers(1);
    }
    sent
}
