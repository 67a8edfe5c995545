//! Calls over gRPC that nobody means: streams of HTTP/2 that are opened and taken back, and headers without an end.

use futures_util::StreamExt;
use quittance::grpc::v1::SupportedRequest;
use quittance::grpc::v1::facilitator_client::FacilitatorClient;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{MEMORY_MIB_MAX, PATIENCE, World, report, scale};
use crate::support::chain::ChainOptions;
use crate::support::cli::open_account;
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
    // Those who show no key wait for their turns, and come to nothing like this.
    let provider = open_account(&facilitator, "provider").await;
    let client = Client { host: facilitator.grpc.trim_start_matches("http://"), key: &provider.key };
    let before = facilitator.peak_mib();

    client.take_back_slowly(streams).await;
    let bursts = futures_util::stream::iter(0..streams / BURST).map(|_| client.take_back_at_once()).buffer_unordered(4);
    let farewells: Vec<Option<u32>> = bursts.collect().await;
    let flood = client.send_headers_without_end().await;

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

/// Somebody with a key.
struct Client<'a> {
    host: &'a str,
    key: &'a str,
}

impl Client<'_> {
    /// A connection whose first call was answered, so that it is known whose it is.
    async fn connect(&self) -> TcpStream {
        let mut connection = TcpStream::connect(self.host).await.expect("it listens");
        connection.write_all(&[frames::begin(1 << 16), self.meant(0)].concat()).await.expect("it reads");
        until_answered(&mut connection).await;
        connection
    }

    fn open(&self, number: usize) -> Vec<u8> {
        frames::open_keyed(frames::stream(number as u32), self.host, PATH, self.key)
    }

    /// A call that is to be answered.
    fn meant(&self, number: usize) -> Vec<u8> {
        [self.open(number), frames::message(frames::stream(number as u32), b"")].concat()
    }

    fn taken_back(&self, numbers: std::ops::Range<usize>) -> Vec<u8> {
        numbers.flat_map(|number| [self.open(number), frames::reset(frames::stream(number as u32))].concat()).collect()
    }

    /// Opens and takes back on one connection, which keeps to what it may. The last call of each few is meant: that it is answered tells
    /// that those before it were looked at.
    async fn take_back_slowly(&self, streams: usize) {
        let mut connection = self.connect().await;
        for begin in (1..=streams).step_by(AHEAD) {
            let last = begin + AHEAD - 1;
            let bytes = [self.taken_back(begin..last), self.meant(last)].concat();
            connection.write_all(&bytes).await.expect("it reads");
            until_answered(&mut connection).await;
        }
    }

    /// Sends more than it may until it is cut, and returns why it was, if that was heard.
    async fn take_back_at_once(&self) -> Option<u32> {
        let (mut reader, mut writer) = self.connect().await.into_split();
        let bytes = self.taken_back(1..BURST + 1);
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
    async fn send_headers_without_end(&self) -> usize {
        const LIMIT: usize = 64 << 20;
        let mut connection = self.connect().await;
        let mut sent = 0;
        let stream = frames::stream(1);
        let mut bytes = frames::open_without_end(stream, self.host, PATH);
        while connection.write_all(&bytes).await.is_ok() {
            sent += bytes.len();
            assert!(sent < LIMIT, "it reads without an end");
            bytes = frames::more_headers(stream);
        }
        sent
    }
}

async fn until_answered(connection: &mut TcpStream) {
    loop {
        let frame = tokio::time::timeout(PATIENCE, Frame::read(connection)).await.expect("an answer").expect("a frame");
        assert_eq!(frame.farewell(), None);
        if frame.ends_answer() {
            break;
        }
    }
}
