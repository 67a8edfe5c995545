//! What is sent to servers on this machine, and what becomes of their answers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::DateTime;
use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::*;
use crate::webhook::secret::Secret;

/// How long a test waits. Less than an attempt may take, so that what ends only with the attempt is noticed.
const DEADLINE: Duration = Duration::from_secs(10);

/// The message of the example of Standard Webhooks.
const BODY: &[u8] = br#"{"test": 2432232314}"#;

/// A server on this machine.
struct Server {
    address: SocketAddr,
    /// How many connections it has taken.
    connections: Arc<AtomicUsize>,
    requests: mpsc::UnboundedReceiver<String>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// A server that gives every request one answer: this head, and this body so many times.
    async fn start(head: &str, body: &'static [u8], times: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (told, requests) = mpsc::unbounded_channel();
        let (head, count) = (format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n"), connections.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                drop(told.send(read_request(&mut stream).await));
                // A client that has read enough goes.
                drop(answer(&mut stream, head.as_bytes(), body, times).await);
            }
        });
        Self { address, connections, requests, _tasks: tasks }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn url(&self) -> String {
        format!("http://{}/hook?key=value", self.address)
    }
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(BODY) && stream.read_buf(&mut request).await.unwrap() > 0 {}
    String::from_utf8(request).unwrap()
}

async fn answer(stream: &mut TcpStream, head: &[u8], body: &[u8], times: usize) -> io::Result<()> {
    stream.write_all(head).await?;
    for _ in 0..times {
        stream.write_all(body).await?;
    }
    stream.shutdown().await
}

fn webhooks(reach: Reach, resolver: Resolver, answer_within: Duration) -> Webhooks {
    // Only the first of all tests installs it.
    drop(rustls::crypto::ring::default_provider().install_default());
    Webhooks::with(reach, resolver, answer_within).unwrap()
}

async fn send_with(webhooks: &Webhooks, url: &str) -> Outcome {
    let secret = Secret::parse(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).unwrap();
    let sent_at = DateTime::from_timestamp(1_614_265_330, 0).unwrap();
    let message = Message { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", sent_at, body: BODY };
    let secrets = Secrets { current: secret, former: None };
    let sending = webhooks.send(url, &message, &secrets);
    tokio::time::timeout(DEADLINE, sending).await.expect("an attempt ends in time")
}

async fn send(reach: Reach, url: &str) -> Outcome {
    send_with(&webhooks(reach, Resolver::of_the_machine(reach), ANSWER_WITHIN), url).await
}

/// Sends to a name that stands for an address.
async fn send_to_name(reach: Reach, url: &str, address: SocketAddr) -> Outcome {
    let resolver = Resolver::with_lookup(reach, move |_| std::future::ready(Ok(vec![address])).boxed());
    send_with(&webhooks(reach, resolver, ANSWER_WITHIN), url).await
}

fn refused(status: u16, excerpt: &str) -> Outcome {
    Outcome::Refused { status, excerpt: excerpt.to_owned(), retry_after: None }
}

#[tokio::test]
async fn a_receiver_gets_the_bytes_and_the_headers_of_the_specification() {
    let mut server = Server::start("204 No Content", b"", 0).await;

    assert_eq!(send(Reach::Anywhere, &server.url()).await, Outcome::Delivered { status: 204 });

    let request = server.requests.recv().await.unwrap();
    let lines = [
        "content-type: application/json".to_owned(),
        "webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek".to_owned(),
        "webhook-timestamp: 1614265330".to_owned(),
        "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=".to_owned(),
        format!("user-agent: {USER_AGENT}"),
    ];
    assert!(request.starts_with("POST /hook?key=value HTTP/1.1\r\n") && request.as_bytes().ends_with(BODY), "{request}");
    for line in lines {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{line} is not in {request}");
    }
}

#[tokio::test]
async fn the_status_says_what_became_of_a_message() {
    for (head, body, outcome) in [
        ("200 OK", "thanks", Outcome::Delivered { status: 200 }),
        ("299 Odd", "", Outcome::Delivered { status: 299 }),
        ("300 Multiple Choices", "", refused(300, "")),
        ("400 Bad Request", "no\x1b[31m\0", refused(400, "no[31m")),
        ("410 Gone", "for ever", Outcome::Gone),
        ("500 Internal Server Error", "\u{fc}", refused(500, "\u{fc}")),
    ] {
        let server = Server::start(head, body.as_bytes(), 1).await;

        assert_eq!(send(Reach::Anywhere, &server.url()).await, outcome, "{head}");
    }
}

#[tokio::test]
async fn a_busy_receiver_is_asked_when_to_come_back() {
    let server = Server::start("429 Too Many Requests\r\nretry-after: 7", b"", 0).await;

    let outcome = send(Reach::Anywhere, &server.url()).await;

    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(outcome, Outcome::Refused { status: 429, excerpt: String::new(), retry_after });
}

#[tokio::test]
async fn a_redirection_is_not_followed() {
    let elsewhere = Server::start("200 OK", b"", 0).await;
    for status in [301, 302, 303, 307, 308] {
        let server = Server::start(&format!("{status} Elsewhere\r\nlocation: {}", elsewhere.url()), b"", 0).await;

        assert_eq!(send(Reach::Anywhere, &server.url()).await, refused(status, ""));
        assert_eq!((server.connections(), elsewhere.connections()), (1, 0));
    }
}

#[tokio::test]
async fn an_answer_without_end_is_left() {
    let (accepting, refusing) = tokio::join!(
        Server::start("200 OK", &[b'x'; 1000], usize::MAX),
        Server::start("500 Internal Server Error", &[b'x'; 1000], usize::MAX),
    );

    assert_eq!(send(Reach::Anywhere, &accepting.url()).await, Outcome::Delivered { status: 200 });
    assert_eq!(send(Reach::Anywhere, &refusing.url()).await, refused(500, &"x".repeat(1024)));
}

#[tokio::test]
async fn an_address_that_is_not_public_is_not_even_connected_to() {
    let server = Server::start("200 OK", b"", 0).await;
    let port = server.address.port();

    for url in [server.url(), format!("https://127.0.0.1:{port}/"), format!("https://[::ffff:7f00:1]:{port}/")] {
        assert_eq!(send(Reach::Public, &url).await, Outcome::Failed(FailureKind::Forbidden), "{url}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_of_an_address_that_is_not_public_is_not_even_connected_to() {
    let server = Server::start("200 OK", b"", 0).await;
    let (secure, plain) = ("https://merchant.example/", "http://merchant.example/");

    let outcome = send_to_name(Reach::Public, secure, server.address).await;
    assert_eq!((outcome, server.connections()), (Outcome::Failed(FailureKind::Forbidden), 0));

    // The same name does lead there where that is allowed.
    let outcome = send_to_name(Reach::Anywhere, plain, server.address).await;
    assert_eq!((outcome, server.connections()), (Outcome::Delivered { status: 200 }, 1));
}

/// Whoever owns a name can have it mean a harmless server while it is judged, and another one when it is connected to.
#[tokio::test]
async fn a_connection_is_made_to_what_the_one_look_up_of_its_name_found() {
    let (first, second) = tokio::join!(Server::start("200 OK", b"", 0), Server::start("200 OK", b"", 0));
    let (places, lookups) = ([first.address, second.address], Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&lookups);
    let resolver = Resolver::with_lookup(Reach::Anywhere, move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(vec![places[number.min(1)]])).boxed()
    });
    let webhooks = webhooks(Reach::Anywhere, resolver, ANSWER_WITHIN);

    assert_eq!(send_with(&webhooks, "http://merchant.example/").await, Outcome::Delivered { status: 200 });

    assert_eq!((lookups.load(Ordering::SeqCst), first.connections(), second.connections()), (1, 1, 0));
}

#[tokio::test]
async fn failures_are_told_apart() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(send(Reach::Anywhere, &format!("http://{closed}/")).await, Outcome::Failed(FailureKind::Connect));

    let lost = Resolver::with_lookup(Reach::Public, |_| std::future::ready(Err(io::Error::other("no server"))).boxed());
    let webhooks = webhooks(Reach::Public, lost, ANSWER_WITHIN);
    assert_eq!(send_with(&webhooks, "https://merchant.example/").await, Outcome::Failed(FailureKind::Dns));
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let webhooks = webhooks(Reach::Anywhere, Resolver::of_the_machine(Reach::Anywhere), Duration::from_millis(50));

    let (_stream, outcome) = tokio::join!(listener.accept(), send_with(&webhooks, &url));

    assert_eq!(outcome, Outcome::Failed(FailureKind::Timeout));
}

#[tokio::test]
async fn a_server_without_tls_is_told_from_one_that_is_away() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let plain = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };

    let (_stream, outcome) = tokio::join!(plain, send(Reach::Anywhere, &url));

    assert_eq!(outcome, Outcome::Failed(FailureKind::Tls));
}
