//! A server that receives webhooks, and answers them as a test wants.

use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quittance::webhook::secret::Secret;
use quittance::webhook::signature::{SignedHeaders, VerifyError, verify};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio_util::task::AbortOnDropHandle;

use super::eventually;

/// How long a webhook may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A webhook as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// What was signed, and how.
    pub headers: SignedHeaders,
    /// The very bytes.
    pub body: Vec<u8>,
}

impl Received {
    /// What it says.
    pub fn told(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a webhook is JSON")
    }

    /// The type of its event.
    pub fn kind(&self) -> String {
        self.told()["type"].as_str().expect("a type").to_owned()
    }

    /// Whether it was signed with this secret.
    pub fn verify(&self, secret: &str) -> Result<(), VerifyError> {
        let secret = Secret::parse(&secret.into()).expect("a secret");
        verify(&self.headers, &self.body, &[secret], chrono::Utc::now())
    }

    /// What the library says of it that receivers use, with which we share nothing: what it tells, or why it is refused.
    pub async fn verify_independently(&self, secret: &str) -> Result<Value, String> {
        let SignedHeaders { id, timestamp, signature } = &self.headers;
        let head = format!("webhook-id: {id}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\n\r\n");
        let directory = tempfile::tempdir().expect("a directory");
        let files = ["request", "secret"].map(|name| directory.path().join(name));
        std::fs::write(&files[0], [head.as_bytes(), &self.body].concat()).expect("it is writable");
        std::fs::write(&files[1], secret).expect("it is writable");
        let script = super::root().join("dev/verify-webhook.mjs");
        let mut command = Command::new("node");
        command.arg(script).args(&files).stdin(Stdio::null());
        super::receipts::printed(command.output().await.expect("node runs"))
    }
}

/// The server. It ends when this is dropped, and refuses connections from then on.
pub struct Receiver {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    status: Arc<AtomicU16>,
    _task: AbortOnDropHandle<()>,
}

impl Receiver {
    /// A server on a free port, which is glad of everything.
    pub async fn start() -> Self {
        Self::start_at(0).await
    }

    /// The same on a port that is free.
    pub async fn start_at(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let status = Arc::new(AtomicU16::new(200));
        let (heard, answer) = (Arc::clone(&received), Arc::clone(&status));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(webhook) = read(&mut stream).await else { continue };
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(webhook);
                let head = format!("HTTP/1.1 {} Whatever\r\n", answer.load(Ordering::SeqCst));
                let answer = format!("{head}content-length: 2\r\nconnection: close\r\n\r\nok");
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        Self { port, received, status, _task: AbortOnDropHandle::new(task) }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        url_at(self.port)
    }

    /// What it says from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Everything that has come, in the order in which it came.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many webhooks have come.
    pub async fn until(&self, count: usize) -> Vec<Received> {
        let what = format!("{count} webhooks");
        eventually(&what, PATIENCE, || async { Some(self.received()).filter(|received| received.len() >= count) }).await
    }

    /// Waits until a webhook of some type has come.
    pub async fn until_kind(&self, kind: &str) -> Received {
        eventually(kind, PATIENCE, || async { self.received().into_iter().find(|received| received.kind() == kind) }).await
    }
}

/// The URL of a receiver at a port.
pub fn url_at(port: u16) -> String {
    format!("http://127.0.0.1:{port}/hook?key=in-the-url")
}

/// Reads a request to its end. `None` for a connection that ends before.
async fn read(stream: &mut TcpStream) -> Option<Received> {
    let mut request = Vec::new();
    let head_ends = loop {
        if let Some(at) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(request[..head_ends].to_vec()).expect("headers are ASCII");
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let length: usize = header("content-length").parse().expect("a length");
    while request.len() < head_ends + 4 + length {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    let headers = SignedHeaders {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
    };
    Some(Received { headers, body: request[head_ends + 4..].to_vec() })
}
