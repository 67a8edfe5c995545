//! What arrives before anybody reads a body: requests that two readers would read differently, too much of everything, and clients that
//! take their time or leave.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::Terms;
use crate::support::{database, eventually};

/// Within this a connection is answered or cut.
const PATIENCE: Duration = Duration::from_mins(1);

async fn start() -> (Chain, Facilitator) {
    let chain = Chain::start(ChainOptions::default()).await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database::fresh().await)).await;
    (chain, facilitator)
}

fn host(facilitator: &Facilitator) -> &str {
    facilitator.url.trim_start_matches("http://")
}

async fn connect(facilitator: &Facilitator) -> TcpStream {
    TcpStream::connect(host(facilitator)).await.expect("it listens")
}

/// Everything that is answered until the connection is closed.
async fn rest_of(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // Whoever is cut while it still sends may learn so by a reset.
    drop(tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the connection is closed"));
    String::from_utf8_lossy(&answer).into_owned()
}

/// What answers these bytes, until the connection is closed.
async fn ask(facilitator: &Facilitator, bytes: &[u8]) -> String {
    let mut stream = connect(facilitator).await;
    drop(stream.write_all(bytes).await);
    rest_of(&mut stream).await
}

/// A request whose end different readers would look for in different places, or which is for different readers.
fn ambiguous() -> Vec<(&'static str, String)> {
    let post = |headers: &str, body: &str| {
        format!("POST /verify HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\n{headers}\r\n\r\n{body}")
    };
    let get = |line: &str| format!("GET /health HTTP/1.1\r\nHost: HOST\r\n{line}\r\n\r\n");
    let (plain, chunks) = ("{}", "2\r\n{}\r\n0\r\n\r\n");
    vec![
        ("a length and chunks", post("Content-Length: 2\r\nTransfer-Encoding: chunked", chunks)),
        ("chunks and a length", post("Transfer-Encoding: chunked\r\nContent-Length: 2", chunks)),
        ("two lengths", post("Content-Length: 2\r\nContent-Length: 3", plain)),
        ("the same length twice", post("Content-Length: 2\r\nContent-Length: 2", plain)),
        ("a list of lengths", post("Content-Length: 2, 2", plain)),
        ("a length with a sign", post("Content-Length: +2", plain)),
        ("a length without an end", post("Content-Length: 99999999999999999999", plain)),
        ("an encoding that is none", post("Transfer-Encoding: xchunked", chunks)),
        ("a space before the colon", post("Transfer-Encoding : chunked", chunks)),
        ("two encodings in one line", post("Transfer-Encoding: gzip, chunked", chunks)),
        ("two encodings in two lines", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", chunks)),
        ("a chunk with a prefix", post("Transfer-Encoding: chunked", "0x2\r\n{}\r\n0\r\n\r\n")),
        ("a chunk that overflows", post("Transfer-Encoding: chunked", "fffffffffffffffff\r\n{}\r\n0\r\n\r\n")),
        ("chunks that end with a line feed", post("Transfer-Encoding: chunked", "2\n{}\n0\n\n")),
        ("a header over two lines", get("X: a\r\n b")),
        ("a header with NUL", get("X: a\0b")),
        ("a header with a carriage return", get("X: a\rb")),
        ("no host", "GET /health HTTP/1.1\r\n\r\n".to_owned()),
        ("two hosts", get("Host: other")),
        ("chunks in HTTP/1.0", post("Transfer-Encoding: chunked", chunks).replace("HTTP/1.1", "HTTP/1.0")),
        ("HTTP/0.9", "GET /health\r\n\r\n".to_owned()),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        ("another host", "GET http://other.example/health HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n".to_owned()),
        ("a path without an end", format!("GET /{} HTTP/1.1\r\nHost: HOST\r\n\r\n", "a".repeat(65_536))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_two_readers_would_read_differently_is_refused_and_its_connection_closed() {
    let (_chain, facilitator) = start().await;

    let mut faults = Vec::new();
    for (what, request) in ambiguous() {
        let answer = ask(&facilitator, request.replace("HOST", host(&facilitator)).as_bytes()).await;
        let answers = answer.matches("HTTP/1.1 ").count();
        if !answer.starts_with("HTTP/1.1 400 ") || answers != 1 {
            faults.push(format!("{what}: {answers} answers: {}", answer.lines().next().unwrap_or_default()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_and_too_long_headers_are_refused() {
    let (_chain, facilitator) = start().await;
    let many = (0..200).map(|number| format!("X-{number}: y\r\n")).collect::<Vec<_>>().concat();
    for headers in [many, format!("X: {}\r\n", "y".repeat(1 << 20))] {
        let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n{headers}Connection: close\r\n\r\n", host(&facilitator));
        let mut stream = connect(&facilitator).await;
        // It need not be read to its end.
        drop(stream.write_all(request.as_bytes()).await);
        let mut head = [0; 16];
        let read = tokio::time::timeout(PATIENCE, stream.read(&mut head)).await.expect("it is answered or cut");
        let told = read.map(|length| String::from_utf8_lossy(&head[..length]).into_owned()).unwrap_or_default();
        assert!(told.is_empty() || told.starts_with("HTTP/1.1 431"), "{} bytes of headers: {told}", headers.len());
    }
    assert_eq!(facilitator.get("/health").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_their_time_are_cut_and_keep_nobody_waiting() {
    const SLOW: usize = 500;
    let (chain, facilitator) = start().await;
    let drip = async |mut stream: TcpStream| {
        let mut answer = [0; 64];
        loop {
            tokio::select! {
                read = stream.read(&mut answer) => return matches!(read, Ok(0) | Err(_)) || answer.starts_with(b"HTTP/1.1 408"),
                () = tokio::time::sleep(Duration::from_millis(500)) => drop(stream.write_all(b"a").await),
            }
        }
    };
    let mut slow = Vec::new();
    for number in 0..SLOW {
        let mut stream = connect(&facilitator).await;
        let begin = match number % 3 {
            0 => "GET /health HTTP/1.1\r\nX: ",
            1 => "POST /settle HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n",
            _ => "GET /h",
        };
        stream.write_all(begin.as_bytes()).await.expect("it reads");
        slow.push(drip(stream));
    }

    let good = async {
        for payer in 0..5 {
            let signed = chain.payers[payer].authorize(&Terms::to(&chain.text("/accounts/merchant/address")));
            let (_, settled) = facilitator.settle(&signed.v2()).await;
            assert_eq!(settled["success"], true, "{settled}");
        }
    };
    let (cut, ()) = tokio::join!(tokio::time::timeout(PATIENCE, join_all(slow)), good);
    assert!(cut.expect("all of them are cut").into_iter().all(|cut| cut));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_come_in_one_stream_are_each_processed_once() {
    const REQUESTS: usize = 1_000;
    let (chain, facilitator) = start().await;
    let signed = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address")));
    let body = signed.v2().to_string();
    let request = |last: bool| {
        let (host, close) = (host(&facilitator), if last { "Connection: close\r\n" } else { "" });
        let head = format!("POST /settle HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{close}");
        format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())
    };
    let stream: String = (1..=REQUESTS).map(|number| request(number == REQUESTS)).collect();

    let (mut reader, mut writer) = connect(&facilitator).await.into_split();
    let write = async { writer.write_all(stream.as_bytes()).await.expect("it reads") };
    let mut answer = String::new();
    let (read, ()) = tokio::join!(tokio::time::timeout(PATIENCE * 2, reader.read_to_string(&mut answer)), write);
    read.expect("it ends").expect("it is text");

    let count = |words: &str| answer.matches(words).count();
    let told = (count("HTTP/1.1 200 OK"), count("\"success\":true"), count("duplicate_settlement"));
    assert_eq!(told, (REQUESTS, 1, REQUESTS - 1));
    assert_eq!(chain.transfers_to(&signed.terms.pay_to).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_goes_on_though_its_client_has_left() {
    let (chain, facilitator) = start().await;
    let signed = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address")));
    let body = signed.v2();
    chain.rpc("evm_setAutomine", json!([false])).await;
    let text = body.to_string();
    let head = format!("POST /settle HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n", host(&facilitator));
    let mut stream = connect(&facilitator).await;
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{text}", text.len()).as_bytes()).await.expect("it reads");
    eventually("a transaction", PATIENCE, || async { (chain.pooled().await > 0).then_some(()) }).await;
    drop(stream);
    eventually("the end of the request", PATIENCE, || async {
        (facilitator.metric("quittance_http_requests_in_flight").await == 0.0).then_some(())
    })
    .await;
    chain.mine(1).await;

    let settled = facilitator.settle_patiently(&body, PATIENCE).await;
    assert_eq!(settled["success"], true, "whoever comes back is told: {settled}");
    assert_eq!(chain.transfers_to(&signed.terms.pay_to).await.len(), 1);
}
