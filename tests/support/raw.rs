//! Bytes on a socket, for what no client would send.

use serde::Deserialize;
use tokio::net::{TcpSocket, TcpStream};

/// A request of `tests/vectors/raw_http`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// Its row.
    pub row: u32,
    /// What it is.
    pub name: String,
    /// The status that answers it, or `cut`.
    pub expect: String,
    request: String,
    /// What stands in place of `FILL`, and how often.
    fill: Option<(String, usize)>,
}

impl Raw {
    /// All of them.
    pub fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("../vectors/raw_http/requests.json")).expect("it is JSON")
    }

    /// The bytes, for the service that listens there.
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let filling = self.fill.as_ref().map(|(text, times)| text.repeat(*times)).unwrap_or_default();
        self.request.replace("HOST", host).replace("FILL", &filling).into_bytes()
    }
}

/// A connection from an address of this machine, of which all of 127.0.0.0/8 are.
pub async fn connect_from(host: &str, source: [u8; 4]) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    socket.connect(host.parse().expect("an address")).await
}

/// The same for somebody who does not mean to read: the system takes in little for it.
pub async fn connect_deaf(host: &str, source: [u8; 4]) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(4_096)?;
    socket.bind((source, 0).into())?;
    socket.connect(host.parse().expect("an address")).await
}
