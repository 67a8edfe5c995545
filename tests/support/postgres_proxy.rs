//! A proxy in front of PostgreSQL that can lose the answer to a COMMIT, which is the one thing that a client cannot foresee, and
//! that can be out of reach.
//!
//! It reads what the client sends (protocol 3.0), so it knows which statements a transaction ran; answers go back unread.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;

/// Which COMMIT something happens to.
#[derive(Clone, Debug)]
pub struct Cut {
    /// A piece of a statement in the transaction.
    pub statement: &'static str,
    /// What happens to it.
    pub fate: Fate,
}

/// What happens to a COMMIT.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// The server never gets it, and the connection ends.
    Undelivered,
    /// The server does it, and the connection ends before its answer.
    Unanswered,
    /// The server never gets it, and every present connection falls silent; see [`PostgresProxy::silence`].
    Silent,
    /// The server does it, and the client waits for the answer until the connection is buried. The others go on.
    Unheard,
    /// The server gets it no more than the client gets an answer, until the connection is buried. The others go on.
    Held,
}

/// A running proxy. It ends when this is dropped.
pub struct PostgresProxy {
    /// The database's address through the proxy.
    pub url: SecretString,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

struct Shared {
    socket: PathBuf,
    cut: Mutex<Option<Cut>>,
    cuts: AtomicU64,
    /// Whether clients are let through. Those that are connected are thrown out when it changes to false.
    open: watch::Sender<bool>,
    /// Grows when all present connections fall silent.
    silence: watch::Sender<u64>,
    /// Grows when the connections that fell silent or are held end.
    burial: watch::Sender<u64>,
}

impl PostgresProxy {
    /// A proxy in front of a database of [`super::database::fresh`].
    pub async fn start(database: &SecretString) -> Self {
        let url = reqwest::Url::parse(database.expose_secret()).expect("a URL");
        let query = |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let directory = query("host").expect("the server of the tests has a socket");
        let socket = PathBuf::from(directory).join(format!(".s.PGSQL.{}", query("port").expect("a port")));
        let shared = Arc::new(Shared {
            socket,
            cut: Mutex::default(),
            cuts: AtomicU64::new(0),
            open: watch::Sender::new(true),
            silence: watch::Sender::new(0),
            burial: watch::Sender::new(0),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let (user, password) = (url.username(), url.password().unwrap_or_default());
        let through = format!("postgres://{user}:{password}@127.0.0.1:{port}{}?sslmode=disable", url.path());
        let accepting = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(Arc::clone(&accepting), client));
            }
        });
        Self { url: through.into(), shared, task }
    }

    /// Something happens to the next COMMIT that fits.
    pub fn cut_next(&self, cut: Cut) {
        *self.shared.cut.lock().expect("no panic under the lock") = Some(cut);
    }

    /// How often it happened so far.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::SeqCst)
    }

    /// From now on nothing passes through the present connections, in neither direction, and they stay open: what a server looks
    /// like that vanished from the network. New connections work.
    pub fn silence(&self) {
        self.shared.silence();
    }

    /// Ends the connections that fell silent or are held.
    pub fn bury(&self) {
        self.shared.burial.send_modify(|burial| *burial += 1);
    }

    /// Throws everybody out and lets nobody in.
    pub fn close(&self) {
        self.shared.open.send_replace(false);
    }

    /// Lets clients in again.
    pub fn open(&self) {
        self.shared.open.send_replace(true);
    }
}

impl Drop for PostgresProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.close();
    }
}

impl Shared {
    fn silence(&self) {
        self.silence.send_modify(|silence| *silence += 1);
    }

    /// The cut for a transaction that is about to commit, if it is the one that was waited for.
    fn take_cut(&self, watched: &Watched) -> Option<Cut> {
        let fits = |cut: &mut Cut| watched.ran.iter().any(|text| text.contains(cut.statement));
        let cut = self.cut.lock().expect("no panic under the lock").take_if(fits);
        self.cuts.fetch_add(u64::from(cut.is_some()), Ordering::SeqCst);
        cut
    }
}

async fn serve(shared: Arc<Shared>, client: TcpStream) {
    let mut open = shared.open.subscribe();
    let mut silence = shared.silence.subscribe();
    let before = *silence.borrow_and_update();
    if !*open.borrow_and_update() {
        return;
    }
    let Ok(server) = UnixStream::connect(&shared.socket).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (cut_here, mut is_cut) = watch::channel(None);
    let back = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = from_server.read(&mut buffer).await.unwrap_or(0);
            // After the cut the server's words are waited for, because they prove that it did what it was told, and kept back.
            let cut = *is_cut.borrow_and_update();
            if cut == Some(Fate::Unheard) {
                // Ended by the other direction.
                std::future::pending::<()>().await;
            }
            if count == 0 || cut.is_some() || to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    let forth = async {
        let mut watched = Watched::default();
        let mut startup = true;
        while let Some(message) = read_message(&mut from_client, startup).await {
            let mut burial = shared.burial.subscribe();
            if !startup
                && watched.is_commit(&message)
                && let Some(cut) = shared.take_cut(&watched)
            {
                match cut.fate {
                    Fate::Undelivered => return,
                    Fate::Unanswered => {
                        cut_here.send_replace(Some(cut.fate));
                        drop(to_server.write_all(&message).await);
                    }
                    Fate::Unheard => {
                        cut_here.send_replace(Some(cut.fate));
                        drop(to_server.write_all(&message).await);
                        drop(burial.changed().await);
                        return;
                    }
                    Fate::Silent => shared.silence(),
                    Fate::Held => {
                        drop(burial.changed().await);
                        return;
                    }
                }
                // Ended by the other direction when the server has answered, or by the silence.
                std::future::pending::<()>().await;
            }
            startup = false;
            if to_server.write_all(&message).await.is_err() {
                return;
            }
        }
    };
    let mut talk = std::pin::pin!(async {
        tokio::select! {
            () = back => {}
            () = forth => {}
        }
    });
    let silent = tokio::select! {
        () = &mut talk => false,
        _ = open.wait_for(|open| !open) => false,
        _ = silence.wait_for(|silence| *silence > before) => true,
    };
    if silent {
        let mut burial = shared.burial.subscribe();
        // Nobody carries anything any more, but the sockets stay until then.
        tokio::select! {
            _ = open.wait_for(|open| !open) => {}
            _ = burial.changed() => {}
        }
    }
}

/// One message with its header. The first one of a connection has no type.
async fn read_message(client: &mut tokio::net::tcp::OwnedReadHalf, startup: bool) -> Option<Vec<u8>> {
    let mut message = vec![0; if startup { 4 } else { 5 }];
    client.read_exact(&mut message).await.ok()?;
    let header = message.len();
    let length = u32::from_be_bytes(message[header - 4..].try_into().expect("four bytes")) as usize;
    message.resize(header + length - 4, 0);
    client.read_exact(&mut message[header..]).await.ok()?;
    Some(message)
}

/// What a connection prepared, and what its present transaction ran.
#[derive(Default)]
struct Watched {
    prepared: std::collections::HashMap<Vec<u8>, String>,
    ran: HashSet<String>,
}

impl Watched {
    /// Takes a message in, and says whether it is a COMMIT.
    fn is_commit(&mut self, message: &[u8]) -> bool {
        let body = &message[5..];
        let mut words = body.split(|byte| *byte == 0);
        match message[0] {
            b'P' => {
                let name = words.next().unwrap_or_default().to_vec();
                let text = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
                self.prepared.insert(name, text);
                false
            }
            b'B' => {
                let name = words.nth(1).unwrap_or_default();
                self.ran.extend(self.prepared.get(name).cloned());
                false
            }
            b'Q' => {
                let text = String::from_utf8_lossy(words.next().unwrap_or_default()).to_ascii_uppercase();
                if text.starts_with("BEGIN") {
                    self.ran.clear();
                }
                text.starts_with("COMMIT")
            }
            _ => false,
        }
    }
}
