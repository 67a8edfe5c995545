//! Where requests begin and end in the bytes of a connection.
//!
//! A proxy and a server that disagree about that let a stranger hide one request in another. The parser behind this one takes some
//! things that HTTP lets it take and others read differently, such as a line feed alone as the end of a line. So this one looks at
//! the bytes before it does, and lets through what has one meaning only (RFC 9112): lines that end with CR LF, one length in plain
//! digits or `chunked` and nothing else, chunks without extensions, no trailers. The first byte that does not fit is replaced by
//! NUL, which no parser takes, so that the one behind answers 400 and closes.

/// Bytes of a request line and its headers together.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What is kept of a header line: enough for the name and value of those that decide where a request ends.
const LINE_KEPT: usize = 64;

/// The place in the bytes of one connection.
#[derive(Debug)]
pub struct Framing {
    state: State,
    /// Bytes of the head that is being read, none between two requests.
    head_bytes: usize,
    /// Whether a line of it has ended.
    has_line: bool,
    line: Line,
    length: Option<u64>,
    chunked: bool,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first byte of a line in a head, or the CR of an empty one.
    LineStart,
    /// More of a line.
    Line,
    /// The LF of a line, or of the empty line at the end of a head.
    LineEnd,
    /// So many bytes of a body.
    Body(u64),
    /// A digit of a chunk's size, or the CR behind it.
    ChunkSize { size: u64, digits: u8 },
    /// The LF behind a chunk's size.
    ChunkSizeEnd(u64),
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The CR behind a chunk.
    ChunkCr,
    /// The LF behind that.
    ChunkLf,
    /// The CR that ends the last chunk.
    LastCr,
    /// The LF behind that.
    LastLf,
    /// Nothing: a fault was found, and whoever reads on will find it, too.
    Spoilt,
}

/// A request that would have to be cut off, because nothing that is put in its place makes the parser refuse it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("chunks end with a trailer")]
pub struct Trailer;

/// The beginning of a line, and how long all of it is.
#[derive(Debug)]
struct Line {
    kept: [u8; LINE_KEPT],
    bytes: usize,
}

impl Default for Framing {
    fn default() -> Self {
        let line = Line { kept: [0; LINE_KEPT], bytes: 0 };
        Self { state: State::LineStart, head_bytes: 0, has_line: false, line, length: None, chunked: false }
    }
}

impl Framing {
    /// Looks at the next bytes of the connection up to the end of a request, spoils the first that does not fit, and returns at how many
    /// it has looked.
    ///
    /// # Errors
    /// A trailer, which the parser behind would read to an end of its own.
    pub fn pass(&mut self, bytes: &mut [u8]) -> Result<usize, Trailer> {
        let mut at = 0;
        while at < bytes.len() && !self.is_spoilt() {
            let left = &mut bytes[at..];
            at += match self.skippable() {
                0 => self.step(&mut left[0]).map(|()| 1)?,
                skippable => self.skip(usize::try_from(skippable).unwrap_or(usize::MAX).min(left.len())),
            };
            if self.is_between_requests() {
                return Ok(at);
            }
        }
        Ok(bytes.len())
    }

    /// Whether the head of a request has begun and not ended.
    #[must_use]
    pub const fn is_in_head(&self) -> bool {
        self.head_bytes > 0
    }

    /// Whether a request has ended and no other one has begun.
    #[must_use]
    pub fn is_between_requests(&self) -> bool {
        self.state == State::LineStart && self.head_bytes == 0
    }

    /// Whether a fault was found. The parser behind finds it, too.
    #[must_use]
    pub fn is_spoilt(&self) -> bool {
        self.state == State::Spoilt
    }

    /// Bytes that come before anything has to be looked at.
    const fn skippable(&self) -> u64 {
        match self.state {
            State::Body(left) | State::Chunk(left) => left,
            _ => 0,
        }
    }

    fn skip(&mut self, bytes: usize) -> usize {
        let done = bytes as u64;
        self.state = match self.state {
            State::Body(left) if left == done => State::LineStart,
            State::Body(left) => State::Body(left - done),
            State::Chunk(left) if left == done => State::ChunkCr,
            State::Chunk(left) => State::Chunk(left - done),
            state => state,
        };
        bytes
    }

    fn step(&mut self, byte: &mut u8) -> Result<(), Trailer> {
        let next = match self.state {
            State::LineStart | State::Line | State::LineEnd => self.step_head(*byte),
            State::ChunkSize { size, digits } => step_chunk_size(size, digits, *byte),
            State::ChunkSizeEnd(0) => (*byte == b'\n').then_some(State::LastCr),
            State::ChunkSizeEnd(size) => (*byte == b'\n').then_some(State::Chunk(size)),
            State::ChunkCr => (*byte == b'\r').then_some(State::ChunkLf),
            State::ChunkLf => (*byte == b'\n').then_some(State::ChunkSize { size: 0, digits: 0 }),
            State::LastCr if *byte != b'\r' => return Err(Trailer),
            State::LastCr => Some(State::LastLf),
            State::LastLf => (*byte == b'\n').then_some(State::LineStart),
            state @ (State::Body(_) | State::Chunk(_) | State::Spoilt) => Some(state),
        };
        if let Some(next) = next {
            self.state = next;
        } else {
            *byte = 0;
            self.state = State::Spoilt;
            self.head_bytes = 0;
        }
        Ok(())
    }

    fn step_head(&mut self, byte: u8) -> Option<State> {
        self.head_bytes += 1;
        if self.head_bytes > HEAD_BYTES_MAX {
            return None;
        }
        match (self.state, byte) {
            (State::LineEnd, b'\n') => self.end_line(),
            // A line that goes on with another one is none that everybody reads alike either.
            (State::LineEnd, _) | (_, b'\n') | (State::LineStart, b' ' | b'\t') => None,
            (_, b'\r') => Some(State::LineEnd),
            (_, byte) => {
                self.line.push(byte);
                Some(State::Line)
            }
        }
    }

    /// A line has ended. An empty one ends the head, unless it stands in front of it, where some clients leave one behind a body.
    fn end_line(&mut self) -> Option<State> {
        if self.line.bytes == 0 {
            return if self.has_line { self.end_head() } else { Some(State::LineStart) };
        }
        self.has_line = true;
        let good = self.note_header();
        self.line.bytes = 0;
        good.then_some(State::LineStart)
    }

    fn end_head(&mut self) -> Option<State> {
        (self.head_bytes, self.has_line) = (0, false);
        match (std::mem::take(&mut self.chunked), self.length.take()) {
            (true, Some(_)) => None,
            (true, None) => Some(State::ChunkSize { size: 0, digits: 0 }),
            (false, Some(length)) if length > 0 => Some(State::Body(length)),
            (false, _) => Some(State::LineStart),
        }
    }

    /// Notes a header that decides where the request ends, and returns whether it is one that nobody reads differently.
    fn note_header(&mut self) -> bool {
        let Some((name, value)) = self.line.header() else { return true };
        let whole = self.line.bytes <= LINE_KEPT;
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = plain_number(value).filter(|_| whole && self.length.is_none());
            self.length = length;
            length.is_some()
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let good = whole && !self.chunked && value.eq_ignore_ascii_case(b"chunked");
            self.chunked = true;
            good
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            // The parser behind takes everything that follows for one body then.
            whole && !value.to_ascii_lowercase().windows(9).any(|word| word == b"websocket")
        } else {
            true
        }
    }
}

fn step_chunk_size(size: u64, digits: u8, byte: u8) -> Option<State> {
    match char::from(byte).to_digit(16) {
        // Four gigabytes are more than any body may have.
        Some(digit) if digits < 8 => Some(State::ChunkSize { size: size << 4 | u64::from(digit), digits: digits + 1 }),
        None if byte == b'\r' && digits > 0 => Some(State::ChunkSizeEnd(size)),
        _ => None,
    }
}

/// A number of nothing but digits.
fn plain_number(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| digits)?.parse().ok()
}

impl Line {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.kept.get_mut(self.bytes) {
            *place = byte;
        }
        self.bytes += 1;
    }

    /// Name and value, as far as they were kept.
    fn header(&self) -> Option<(&[u8], &[u8])> {
        let kept = &self.kept[..self.bytes.min(LINE_KEPT)];
        let colon = kept.iter().position(|byte| *byte == b':')?;
        Some((&kept[..colon], kept[colon + 1..].trim_ascii()))
    }
}

#[cfg(test)]
mod tests {
    use actix_http::ServiceConfig;
    use actix_http::h1::{Codec, Message};
    use actix_web::web::BytesMut;
    use proptest::prelude::*;
    use proptest::test_runner::TestRunner;
    use tokio_util::codec::Decoder;

    use super::*;

    const POST: &str = "POST /verify HTTP/1.1\r\nHost: a\r\n";

    /// What comes out, in pieces of this size, and the place behind it.
    fn pass(bytes: &[u8], piece: usize) -> (Vec<u8>, Result<bool, Trailer>) {
        let (mut framing, mut bytes) = (Framing::default(), bytes.to_vec());
        for mut piece in bytes.chunks_mut(piece) {
            while !piece.is_empty() {
                match framing.pass(piece) {
                    Ok(passed) => piece = &mut piece[passed..],
                    Err(trailer) => return (bytes, Err(trailer)),
                }
            }
        }
        let whole = framing.is_between_requests();
        (bytes, Ok(whole))
    }

    fn is_taken(text: &str) -> bool {
        let taken = pass(text.as_bytes(), usize::MAX) == (text.as_bytes().to_vec(), Ok(true));
        for piece in 1..text.len().min(20) {
            assert_eq!(pass(text.as_bytes(), piece), pass(text.as_bytes(), usize::MAX), "{text:?} in pieces of {piece}");
        }
        taken
    }

    #[test]
    fn plain_requests_pass_one_behind_the_other_and_in_any_pieces() {
        let requests = [
            "GET /health HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            format!("{POST}Content-Length: 0\r\n\r\n"),
            format!("{POST}content-length:\t7 \r\n\r\n{{\n\n\n\n\n}}"),
            format!("{POST}Transfer-Encoding: chunked\r\n\r\n3\r\n{{\n}}\r\n00A\r\n\n\n\n\n\n\n\n\n\n\n\r\n0\r\n\r\n"),
            format!("\r\n{POST}Upgrade: h2c\r\nX: {}\r\n\r\n", "x".repeat(9_000)),
        ];
        for request in &requests {
            assert!(is_taken(request), "{request:?}");
        }
        assert!(is_taken(&requests.concat()));
    }

    #[test]
    fn the_first_byte_that_can_be_read_in_two_ways_is_spoilt() {
        let faults = [
            ("GET / HTTP/1.1\n", 14),
            ("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 23),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", 25),
            ("\nGET / HTTP/1.1\r\n", 0),
            ("GET / HTTP/1.1\r\nX: a\rb", 21),
            ("GET / HTTP/1.1\r\nX: a\r\n b", 22),
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 53),
            ("GET / HTTP/1.1\r\nContent-Length: +1\r\n", 35),
            ("GET / HTTP/1.1\r\nContent-Length: 1, 1\r\n", 37),
            ("GET / HTTP/1.1\r\nContent-Length:\r\n", 32),
            ("GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n", 53),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n", 49),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 71),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", 64),
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 64),
            ("GET / HTTP/1.1\r\nUpgrade: h2c, WebSocket\r\n", 40),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\n", 47),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\n", 47),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x2\r\n", 47),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n", 46),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n000000001\r\n", 54),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab", 50),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\rx", 50),
        ];
        for (text, place) in faults {
            let mut spoilt = text.as_bytes().to_vec();
            spoilt[place] = 0;
            let (came_out, _) = pass(text.as_bytes(), usize::MAX);
            assert_eq!(String::from_utf8_lossy(&came_out), String::from_utf8_lossy(&spoilt), "{text:?}");
            assert_eq!(came_out, pass(text.as_bytes(), 1).0, "{text:?}");
        }
        let trailer = "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n";
        assert_eq!(pass(trailer.as_bytes(), usize::MAX).1, Err(Trailer));
    }

    #[test]
    fn a_head_has_a_limit() {
        let head = |filling: usize| format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(filling));
        let most = HEAD_BYTES_MAX - head(0).len();

        assert!(is_taken(&head(most)));
        assert_eq!(pass(head(most + 1).as_bytes(), usize::MAX).0.iter().position(|byte| *byte == 0), Some(HEAD_BYTES_MAX));
    }

    #[test]
    fn what_comes_behind_a_request_is_not_looked_at() {
        let (mut framing, text) = (Framing::default(), format!("{POST}Content-Length: 2\r\n\r\n{{}}\nGET / H"));
        let (first, second) = text.split_at(40);
        let mut second = second.as_bytes().to_vec();

        assert_eq!(framing.pass(&mut first.as_bytes().to_vec()), Ok(40));
        assert!(framing.is_in_head());
        assert_eq!(framing.pass(&mut second), Ok(second.len() - 8));
        assert!(framing.is_between_requests());
        assert!(second.ends_with(b"\nGET / H"));
    }

    /// The requests that the parser behind finds, each with its body, and whether it refused the rest.
    fn read(config: &ServiceConfig, bytes: &[u8]) -> (Vec<Vec<u8>>, bool) {
        let (mut codec, mut left, mut found) = (Codec::new(config.clone()), BytesMut::from(bytes), Vec::new());
        loop {
            match codec.decode(&mut left) {
                Ok(Some(Message::Item(request))) => found.push(format!("{} ", request.method()).into_bytes()),
                Ok(Some(Message::Chunk(Some(chunk)))) => found.last_mut().unwrap().extend_from_slice(&chunk),
                Ok(Some(Message::Chunk(None))) => {}
                Ok(None) => return (found, false),
                Err(_) => return (found, true),
            }
        }
    }

    /// How many requests this one finds before it spoils something.
    fn count(bytes: &[u8]) -> Option<usize> {
        let (mut framing, mut bytes, mut ended) = (Framing::default(), bytes.to_vec(), 0);
        for byte in bytes.chunks_mut(1) {
            let was_in_request = !framing.is_between_requests();
            framing.pass(byte).ok()?;
            ended += usize::from(was_in_request && framing.is_between_requests());
        }
        (!framing.is_spoilt()).then_some(ended)
    }

    fn piece() -> impl Strategy<Value = String> {
        let pieces = [
            "GET / HTTP/1.1\r\nHost: a\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n",
            "POST / HTTP/1.0\r\n",
            "Content-Length: 3\r\n",
            "Content-Length: 0\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "content-length : 3\r\n",
            "X: y\r\n",
            "X: y\n",
            "\r\n",
            "\n",
            "\r",
            "\0",
            " ",
            "abc",
            "3\r\nabc\r\n",
            "0\r\n\r\n",
            "0\r\n",
            "3;x\r\nabc\r\n",
            "X: y\nContent-Length: 3\r\n",
            "Upgrade: websocket\r\n",
            "Connection: close\r\n",
            "Expect: 100-continue\r\n",
            ":",
            "\t",
        ];
        prop::sample::select(pieces.to_vec()).prop_map(str::to_owned)
    }

    /// Whatever strangers put together: either both find the same requests in it, or the one behind refuses it.
    #[test]
    fn the_parser_behind_finds_the_same_requests_or_refuses() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let config = tokio::task::LocalSet::new().block_on(&runtime, async { ServiceConfig::default() });
        let mut runner = TestRunner::new(ProptestConfig::with_cases(20_000));
        let compare = |pieces: Vec<String>| {
            let text = pieces.concat();
            let (let_through, passed) = pass(text.as_bytes(), usize::MAX);
            let (found, refused) = read(&config, &let_through);
            match (passed, count(text.as_bytes())) {
                (Err(Trailer), _) => {}
                (Ok(_), None) => prop_assert!(refused || let_through.ends_with(b"\0"), "{text:?}: {found:?}"),
                (Ok(whole), Some(requests)) => {
                    let same = found.len() == requests || !whole && found.len() == requests + 1;
                    prop_assert!(refused || same, "{text:?}: {requests}, {found:?}");
                }
            }
            Ok(())
        };
        runner.run(&prop::collection::vec(piece(), 1..14), compare).unwrap();
    }
}
