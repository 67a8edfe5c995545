//! Announcements of new blocks, pushed by nodes over WebSocket.
//!
//! An announcement is a hint: nothing of it is read but that it came, and whether there is a block, and what stands in it, is asked
//! of the nodes as always. One that is lost costs no more than the wait for the next look, and one that is a lie no more than a look.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::Error as SocketError;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};
use tokio_util::task::AbortOnDropHandle;

use crate::config::RpcUrl;
use crate::domain::network::Network;
use crate::supervisor::BACKOFF;
use crate::telemetry::ErrorChain;

const SUBSCRIBE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"eth_subscribe","params":["newHeads"]}"#;

/// A node must take the connection, and answer when it is asked for a sign of life, within this.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

/// After this long without a word a connection is asked whether it still lives.
const QUIET_MAX: Duration = Duration::from_secs(30);

/// No announcement is larger: a header has a few hundred bytes beside its bloom filter.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The subscription to the heads of one network, at one of several nodes.
pub struct Heads {
    network: Network,
    nodes: Vec<RpcUrl>,
    state: Arc<State>,
    task: OnceLock<AbortOnDropHandle<()>>,
}

#[derive(Default)]
struct State {
    /// Holds one announcement at most: whoever looks at the head sees all blocks that were announced before.
    announced: Notify,
    subscribed: AtomicBool,
}

impl Heads {
    /// A subscription at the first of these nodes that has one to give. It begins when somebody waits for an announcement, because
    /// not every replica watches.
    pub fn new(network: Network, nodes: Vec<RpcUrl>) -> Self {
        Self { network, nodes, state: Arc::default(), task: OnceLock::new() }
    }

    /// Waits until a block is announced, or until blocks are no longer announced. For ever without a node.
    pub async fn announced(&self) {
        if self.nodes.is_empty() {
            return std::future::pending().await;
        }
        self.task.get_or_init(|| self.start());
        self.state.announced.notified().await;
    }

    /// Whether blocks are announced at present.
    pub fn is_subscribed(&self) -> bool {
        self.state.subscribed.load(Ordering::Relaxed)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "it never ends by itself, and nothing depends on it: without it heads are polled"
    )]
    fn start(&self) -> AbortOnDropHandle<()> {
        let (network, nodes, state) = (self.network.clone(), self.nodes.clone(), Arc::clone(&self.state));
        AbortOnDropHandle::new(tokio::spawn(async move { state.keep_subscribed(&network, &nodes).await }))
    }
}

impl State {
    async fn keep_subscribed(&self, network: &Network, nodes: &[RpcUrl]) {
        let mut failures = 0_u32;
        for node in nodes.iter().cycle() {
            let lost = self.subscribe(node).await;
            failures = if self.subscribed.swap(false, Ordering::Relaxed) { 1 } else { failures.saturating_add(1) };
            // Whoever relied on announcements has to look by himself from now on.
            self.announced.notify_one();
            tracing::warn!(%network, node = node.host(), error = %ErrorChain(&lost), "heads are polled, because a node announces none");
            tokio::time::sleep(BACKOFF.pause(failures, rand::random())).await;
        }
    }

    /// Passes on what a node announces, for as long as it does.
    async fn subscribe(&self, node: &RpcUrl) -> Lost {
        let mut socket = match in_time(Box::pin(connect(node))).await {
            Ok(socket) => socket,
            Err(lost) => return lost,
        };
        loop {
            match next(&mut socket).await.map(|message| Word::of(&message)) {
                Ok(Word::Subscribed) => self.subscribed.store(true, Ordering::Relaxed),
                Ok(Word::Announcement) => self.announced.notify_one(),
                Ok(Word::Refusal) => return Lost::Refused,
                Ok(Word::Nothing) => {}
                Err(lost) => return lost,
            }
        }
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(node: &RpcUrl) -> Result<Socket, Lost> {
    let limits = WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES_MAX)).max_frame_size(Some(MESSAGE_BYTES_MAX));
    let (mut socket, _) = connect_async_with_config(node.expose(), Some(limits), true).await?;
    socket.send(Message::text(SUBSCRIBE)).await?;
    Ok(socket)
}

/// The next message. A connection that fell silent does not say so, so it is asked for a sign of life after a while.
async fn next(socket: &mut Socket) -> Result<Message, Lost> {
    let message = match tokio::time::timeout(QUIET_MAX, socket.next()).await {
        Ok(message) => message,
        Err(_) => {
            in_time(async {
                socket.send(Message::Ping(Vec::new().into())).await?;
                Ok(socket.next().await)
            })
            .await?
        }
    };
    Ok(message.ok_or(Lost::Broken)??)
}

async fn in_time<T>(step: impl Future<Output = Result<T, Lost>>) -> Result<T, Lost> {
    tokio::time::timeout(ANSWERS_WITHIN, step).await.unwrap_or(Err(Lost::Silent))
}

/// Why a node announces nothing. Holds no address, because the paths and queries of nodes contain keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Lost {
    #[error("no answer in time")]
    Silent,
    #[error("the connection was refused or broken")]
    Broken,
    #[error("it takes no subscription to heads")]
    Refused,
}

impl From<SocketError> for Lost {
    // The error itself can contain the node's address, so its words stay here.
    fn from(_: SocketError) -> Self {
        Self::Broken
    }
}

/// What a message means to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    Subscribed,
    Announcement,
    Refusal,
    Nothing,
}

#[derive(Deserialize)]
struct Envelope {
    method: Option<String>,
    result: Option<String>,
    error: Option<IgnoredAny>,
}

impl Word {
    fn of(message: &Message) -> Self {
        let Message::Text(text) = message else { return Self::Nothing };
        match serde_json::from_str(text) {
            Ok(Envelope { method: Some(method), .. }) if method == "eth_subscription" => Self::Announcement,
            Ok(Envelope { error: Some(_), .. }) => Self::Refusal,
            Ok(Envelope { result: Some(_), .. }) => Self::Subscribed,
            _ => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;
    use tokio_tungstenite::accept_async;

    /// A node that takes one subscription and announces one block.
    async fn announce_once(listener: &TcpListener) -> WebSocketStream<TcpStream> {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(SUBSCRIBE));
        socket.send(Message::text(r#"{"jsonrpc":"2.0","id":1,"result":"0x1"}"#)).await.unwrap();
        let announcement =
            r#"{"jsonrpc":"2.0","method":"eth_subscription","params":{"subscription":"0x1","result":{"number":"0x2"}}}"#;
        socket.send(Message::text(announcement)).await.unwrap();
        socket
    }

    #[tokio::test]
    async fn a_subscription_that_ends_is_made_again_at_the_next_node() {
        let (first, second) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let url = |listener: &TcpListener| RpcUrl::parse_ws(&format!("ws://{}/key", listener.local_addr().unwrap())).unwrap();
        let heads = Heads::new("eip155:84532".parse().unwrap(), vec![url(&first), url(&second)]);

        let (socket, ()) = tokio::join!(announce_once(&first), heads.announced());
        assert!(heads.is_subscribed());
        drop(socket);
        heads.announced().await;
        assert!(!heads.is_subscribed(), "that it ended wakes whoever relies on it");
        let (_socket, ()) = tokio::join!(announce_once(&second), heads.announced());
        assert!(heads.is_subscribed());
    }

    #[test]
    fn nothing_is_believed_of_a_message_but_that_it_came() {
        let word = |text: &str| Word::of(&Message::text(text));

        assert_eq!(word(r#"{"id":1,"result":"0xcd0c"}"#), Word::Subscribed);
        assert_eq!(word(r#"{"method":"eth_subscription","params":[]}"#), Word::Announcement);
        assert_eq!(word(r#"{"id":1,"error":{"code":-32601,"message":"no"}}"#), Word::Refusal);
        for text in ["", "[]", r#"{"method":"other"}"#, r#"{"id":1,"result":null}"#, r#"{"id":1,"result":7}"#] {
            assert_eq!(word(text), Word::Nothing, "{text}");
        }
        assert_eq!(Word::of(&Message::Ping(Vec::new().into())), Word::Nothing);
    }
}
