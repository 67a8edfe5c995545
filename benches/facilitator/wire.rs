//! As little of HTTP as a load generator needs: it shares its cores with those whom it measures.

use std::io::{Error, ErrorKind, Result};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// A connection that is kept from request to request, and made anew after it broke.
pub struct Connection {
    address: String,
    stream: Option<BufReader<TcpStream>>,
}

/// A whole request as it goes over the wire. `base` is of the form `http://127.0.0.1:8080`.
pub fn request(base: &str, path: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\naccept: */*\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        address(base),
        body.len()
    )
    .into_bytes()
}

fn address(base: &str) -> &str {
    base.strip_prefix("http://").expect("facilitators are measured without TLS")
}

impl Connection {
    /// To a server. The first request connects.
    pub fn to(base: &str) -> Self {
        Self { address: address(base).to_owned(), stream: None }
    }

    /// Sends a request and returns status and body of the answer.
    pub async fn send(&mut self, request: &[u8]) -> Result<(u16, Vec<u8>)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(TcpStream::connect(&self.address).await?),
        };
        stream.get_ref().set_nodelay(true)?;
        stream.write_all(request).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).and_then(|text| text.parse().ok()).ok_or_else(|| wrong("no status"))?;
        let (mut length, mut keep) = (None, true);
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Err(wrong("the connection ended within a head"));
            }
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok(),
                "connection" => keep = !value.trim().eq_ignore_ascii_case("close"),
                _ => {}
            }
        }
        let mut body = vec![0; length.ok_or_else(|| wrong("an answer without its length"))?];
        stream.read_exact(&mut body).await?;
        self.stream = keep.then_some(stream);
        Ok((status, body))
    }
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what)
}
