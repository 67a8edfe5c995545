//! Frames of HTTP/2 (RFC 9113), for what no client would send.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Kinds of frames, by their numbers (RFC 9113, section 6).
mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GO_AWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
const CANCEL: u32 = 0x8;

/// What a connection may take beyond the 65,535 bytes that it begins with: as much as there is (section 6.9.1).
const WINDOW_MORE: u32 = (1 << 31) - 1 - 65_535;

/// What a connection is closed with that does more than it may.
pub const ENHANCE_YOUR_CALM: u32 = 0xb;

/// A frame that came.
#[derive(Debug)]
pub struct Frame {
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

impl Frame {
    /// The next frame, or none at the end of the connection.
    pub async fn read(reader: &mut (impl AsyncRead + Unpin)) -> Option<Self> {
        let mut head = [0; 9];
        reader.read_exact(&mut head).await.ok()?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        reader.read_exact(&mut payload).await.ok()?;
        Some(Self { kind: head[3], flags: head[4], payload })
    }

    /// Whether this is the last of an answer.
    pub fn ends_answer(&self) -> bool {
        self.kind == kind::HEADERS && self.flags & END_STREAM != 0
    }

    /// Why the connection is closed, if this closes it.
    pub fn farewell(&self) -> Option<u32> {
        let code = (self.kind == kind::GO_AWAY).then(|| self.payload.get(4..8))??;
        Some(u32::from_be_bytes(code.try_into().ok()?))
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// What a client begins with, that takes so many bytes of each answer and no end of all together.
pub fn begin(window: u32) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(kind::SETTINGS, 0, 0, &[INITIAL_WINDOW_SIZE.as_slice(), &window.to_be_bytes()].concat()));
    bytes.extend(frame(kind::WINDOW_UPDATE, 0, 0, &WINDOW_MORE.to_be_bytes()));
    bytes
}

/// The stream of a client with this number.
pub const fn stream(number: u32) -> u32 {
    2 * number + 1
}

/// A text of less than 127 bytes (RFC 7541, section 5.2).
fn text(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).expect("a short text")], text.as_bytes()].concat()
}

/// A header that nobody remembers (RFC 7541, section 6.2.2).
fn header(name: &str, value: &str) -> Vec<u8> {
    [vec![0x00], text(name), text(value)].concat()
}

/// The headers of a call of gRPC.
fn call_headers(host: &str, path: &str) -> Vec<u8> {
    [
        // `:method: POST` and `:scheme: http` stand in the static table, and so do the names of the next two.
        vec![0x83, 0x86, 0x04],
        text(path),
        vec![0x01],
        text(host),
        header("content-type", "application/grpc"),
        header("te", "trailers"),
    ]
    .concat()
}

/// Begins a call.
pub fn open(stream: u32, host: &str, path: &str) -> Vec<u8> {
    frame(kind::HEADERS, END_HEADERS, stream, &call_headers(host, path))
}

/// Begins a call with a key.
pub fn open_keyed(stream: u32, host: &str, path: &str, key: &str) -> Vec<u8> {
    let authorization = header("authorization", &format!("Bearer {key}"));
    frame(kind::HEADERS, END_HEADERS, stream, &[call_headers(host, path), authorization].concat())
}

/// Begins a call whose headers do not end.
pub fn open_without_end(stream: u32, host: &str, path: &str) -> Vec<u8> {
    frame(kind::HEADERS, 0, stream, &call_headers(host, path))
}

/// More headers of it: 16 KiB, of which each is a byte long.
pub fn more_headers(stream: u32) -> Vec<u8> {
    frame(kind::CONTINUATION, 0, stream, &[0x00, 0x01, b'x', 0x01, b'y'].repeat(3_200))
}

/// A message of a call, which is its last one.
pub fn message(stream: u32, message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u32).to_be_bytes();
    frame(kind::DATA, END_STREAM, stream, &[&[0], length.as_slice(), message].concat())
}

/// Takes a call back.
pub fn reset(stream: u32) -> Vec<u8> {
    frame(kind::RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

/// Asks whether anybody is there.
pub fn ping() -> Vec<u8> {
    frame(kind::PING, 0, 0, &[0; 8])
}
