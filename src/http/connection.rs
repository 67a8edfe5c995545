//! A connection on its way from the socket to the server: what must be bounded before there is a request.
//!
//! The server has limits for the first head of a connection, for its body and for the time between two requests. This adds those
//! that it does not have: heads in time behind the first one, answers that nobody reads, requests that run ahead of their
//! answers, bodies that nobody has asked for yet, and connections of one address.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::demand::Demand;
use super::framing::{Framing, HEAD_BYTES_MAX};
use crate::api::places::Place;
use crate::api::turns::{Peer, Turn, Turns};
use crate::flow::limits::Prefix;

/// A request line and headers must arrive within this.
pub const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// How long a client may take.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For a request line and headers.
    head: Duration,
    /// To take something of its answer.
    reader: Duration,
}

impl Patience {
    const USUAL: Self = Self { head: HEAD_WITHIN, reader: Duration::from_secs(30) };
}

/// What is read at a time, and at most of further requests while one is not answered.
const PIECE: usize = 4 * 1024;

/// What is read of a request before somebody wants its body: every head, and something of the body.
const UNASKED_MAX: usize = HEAD_BYTES_MAX + PIECE;

/// Goes before a body that its client sends only then, and is no answer.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What is known of the answer to the request that was handed on last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// Nothing was written of it while the request is being read, or it was answered and no other one has begun.
    Open,
    /// Something was written before the request has ended, as where its body does not matter.
    Early,
    /// The request has ended, and nothing was written of its answer.
    Owed,
}

/// A client's connection.
pub struct Connection<S = TcpStream> {
    stream: S,
    framing: Framing,
    patience: Patience,
    /// Ends the patience with a head.
    head: Option<Pin<Box<Sleep>>>,
    /// Ends the patience with a client that takes nothing.
    reader: Option<Pin<Box<Sleep>>>,
    answer: Answer,
    /// How much of the present request was handed on.
    handed_on: usize,
    /// Whether somebody wants its body.
    demand: Demand,
    /// What came behind it. The server would make requests of all of it, and each of them takes up much more than its bytes.
    ahead: Vec<u8>,
    /// When that may be read on.
    turn: Option<Turn>,
    turns: Arc<Turns>,
    /// Whether the server has yet to look at what it was handed: it would read on as long as there is something, and its buffer stays
    /// as large as it ever was.
    handed: bool,
    /// Whether reading waits for writing.
    holds_back: bool,
    _place: Option<Place<Prefix>>,
}

impl<S> Connection<S> {
    /// A connection that was just made, with the place that it takes, and where its requests wait that run ahead.
    pub fn new(stream: S, place: Option<Place<Prefix>>, turns: Arc<Turns>) -> Self {
        Self {
            stream,
            framing: Framing::default(),
            patience: Patience::USUAL,
            head: None,
            reader: None,
            answer: Answer::Open,
            handed_on: 0,
            demand: Demand::default(),
            ahead: Vec::new(),
            turn: None,
            turns,
            handed: false,
            holds_back: false,
            _place: place,
        }
    }

    /// By what handlers say that they read the body.
    pub const fn demand(&self) -> &Demand {
        &self.demand
    }

    /// Looks at the next bytes, and returns how many of them may be handed on: those up to the end of a request.
    fn note_read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.framing.is_between_requests() {
            self.demand.forget();
        }
        let passed = self.framing.pass(bytes).map_err(|trailer| io::Error::new(io::ErrorKind::InvalidData, trailer))?;
        self.handed_on += passed;
        self.handed = true;
        if self.framing.is_between_requests() {
            self.answer = if self.answer == Answer::Early { Answer::Open } else { Answer::Owed };
            self.handed_on = 0;
        }
        if !self.framing.is_in_head() {
            self.head = None;
        } else if self.head.is_none() {
            self.head = Some(Box::pin(sleep(self.patience.head)));
        }
        Ok(passed)
    }

    /// Something was written, so that reading may go on.
    fn note_written(&mut self, bytes: &[u8], context: &Context<'_>) {
        self.reader = None;
        if bytes != CONTINUE {
            self.answer = if self.framing.is_between_requests() { Answer::Open } else { Answer::Early };
        }
        if let Some(head) = &mut self.head {
            head.as_mut().reset(Instant::now() + self.patience.head);
        }
        if std::mem::take(&mut self.holds_back) || !self.ahead.is_empty() {
            context.waker().wake_by_ref();
        }
    }

    /// Whether more of the body may be handed on than anybody has asked for.
    fn is_wanted(&self, context: &Context<'_>) -> bool {
        self.handed_on < UNASKED_MAX || self.answer == Answer::Early || self.demand.is_there(context)
    }

    /// Hands on what has run ahead, when its turn has come.
    fn poll_ahead(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>>
    where
        S: Peer,
    {
        // Some clients leave an empty line behind a body. The request behind it has not come yet.
        if self.framing.is_between_requests() && !self.ahead.iter().all(u8::is_ascii_whitespace) {
            let turn = self.turn.get_or_insert_with(|| self.turns.wait());
            ready!(turn.poll(context, &self.stream))?;
        }
        self.turn = None;
        let mut ahead = std::mem::take(&mut self.ahead);
        let most = ahead.len().min(buffer.remaining());
        let passed = self.note_read(&mut ahead[..most])?;
        buffer.put_slice(&ahead[..passed]);
        self.ahead = ahead.split_off(passed);
        Poll::Ready(Ok(()))
    }
}

/// Whether somebody's time is up.
fn poll_deadline(deadline: Option<&mut Pin<Box<Sleep>>>, context: &mut Context<'_>) -> io::Result<()> {
    let over = deadline.is_some_and(|deadline| deadline.as_mut().poll(context).is_ready());
    if over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
}

impl<S: AsyncRead + Unpin> Connection<S> {
    /// Reads what has run ahead of an answer, as far as there is room, and otherwise waits for the answer. Ready means that the client
    /// is gone.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.ahead.len() < PIECE {
            let mut room = [0; PIECE];
            let mut piece = ReadBuf::new(&mut room[self.ahead.len()..]);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.ahead.extend_from_slice(piece.filled());
        }
        self.holds_back = true;
        Poll::Pending
    }

    /// Reads on where nothing has run ahead.
    fn poll_piece(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut room = [0; PIECE];
        let most = PIECE.min(buffer.remaining());
        let mut piece = ReadBuf::new(&mut room[..most]);
        if Pin::new(&mut self.stream).poll_read(context, &mut piece)?.is_pending() {
            poll_deadline(self.head.as_mut(), context)?;
            return Poll::Pending;
        }
        let read = piece.filled_mut();
        if !read.is_empty() {
            let passed = self.note_read(read)?;
            let (passed, ahead) = read.split_at(passed);
            buffer.put_slice(passed);
            self.ahead = ahead.to_vec();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Peer + Unpin> AsyncRead for Connection<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.reader.is_some() {
            this.holds_back = true;
            return Poll::Pending;
        }
        if this.answer == Answer::Owed {
            // While a request waits for its answer, its client is not waited for.
            this.handed = false;
            return this.poll_gone(context);
        }
        if std::mem::take(&mut this.handed) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if !this.is_wanted(context) {
            this.holds_back = true;
            return Poll::Pending;
        }
        if this.ahead.is_empty() { this.poll_piece(context, buffer) } else { this.poll_ahead(context, buffer) }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        if written.is_ready() {
            this.note_written(bytes, context);
            return written;
        }
        let patience = this.patience.reader;
        let reader = this.reader.get_or_insert_with(|| Box::pin(sleep(patience)));
        poll_deadline(Some(reader), context)?;
        Poll::Pending
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.get_mut().stream).poll_shutdown(context))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::timeout;

    use super::*;

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    const SHORT: Duration = Duration::from_millis(200);

    /// Longer than all patience.
    const LONG: Duration = Duration::from_secs(1);

    impl Peer for DuplexStream {
        fn has_left(&self) -> bool {
            false
        }
    }

    /// Both ends of a connection that holds so many bytes on its way.
    fn pair(bytes: usize) -> (DuplexStream, Connection<DuplexStream>) {
        let (client, server) = duplex(bytes);
        (
            client,
            Connection { patience: Patience { head: SHORT, reader: SHORT }, ..Connection::new(server, None, Arc::default()) },
        )
    }

    async fn read(connection: &mut Connection<DuplexStream>) -> io::Result<usize> {
        connection.read(&mut [0; 4096]).await
    }

    #[tokio::test]
    async fn every_head_must_come_in_time_however_often_a_byte_comes() {
        let (mut client, mut connection) = pair(64);
        client.write_all(GET).await.unwrap();
        assert_eq!(read(&mut connection).await.unwrap(), GET.len());
        connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();

        let drip = async {
            while client.write_all(b"\r\n").await.is_ok() {
                sleep(SHORT / 4).await;
            }
        };
        let reads = async {
            while read(&mut connection).await? > 0 {}
            Ok::<(), io::Error>(())
        };
        let error = tokio::select! {
            () = drip => panic!("it can be written to"),
            read = timeout(10 * LONG, reads) => read.expect("it is cut off").unwrap_err(),
        };

        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_empty_line_behind_a_request_does_not_end_the_wait_for_its_answer() {
        let (mut client, mut connection) = pair(64);
        client.write_all(&[GET, b"\r\n"].concat()).await.unwrap();
        read(&mut connection).await.unwrap();

        assert!(timeout(LONG, read(&mut connection)).await.is_err(), "the answer takes its time");

        connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        assert_eq!(read(&mut connection).await.unwrap(), 2);
        assert_eq!(read(&mut connection).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn between_two_requests_nothing_must_come_in_time() {
        let (mut client, mut connection) = pair(64);
        client.write_all(GET).await.unwrap();
        read(&mut connection).await.unwrap();

        assert!(timeout(LONG, read(&mut connection)).await.is_err(), "that is for the server to end");
    }

    #[tokio::test]
    async fn whoever_takes_nothing_of_an_answer_is_read_no_further() {
        let (mut client, mut connection) = pair(64);
        connection.write_all(&[b'a'; 64]).await.unwrap();
        client.write_all(GET).await.unwrap();
        let write = |context: &mut Context<'_>| Poll::Ready(Pin::new(&mut connection).poll_write(context, b"b").is_pending());
        assert!(std::future::poll_fn(write).await);

        assert!(timeout(LONG, read(&mut connection)).await.is_err());

        client.read_exact(&mut [0; 64]).await.unwrap();
        connection.write_all(b"b").await.unwrap();
        assert_eq!(read(&mut connection).await.unwrap(), GET.len());
    }

    #[tokio::test]
    async fn whoever_takes_nothing_is_told_apart_from_whoever_is_slow() {
        let (mut client, mut connection) = pair(1);
        let slow = async {
            for _ in 0..4 {
                sleep(SHORT / 4).await;
                client.read_u8().await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(connection.write_all(b"abcd"), slow);
        written.unwrap();

        connection.write_all(b"e").await.unwrap();
        let write = timeout(10 * LONG, connection.write_all(b"f"));
        assert_eq!(write.await.expect("it is cut off").unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_request_is_handed_on_when_the_one_before_it_was_answered() {
        let (mut client, mut connection) = pair(1 << 20);
        client.write_all(&GET.repeat(10_000)).await.unwrap();

        assert_eq!(read(&mut connection).await.unwrap(), GET.len());
        assert!(timeout(LONG, read(&mut connection)).await.is_err());
        assert_eq!(connection.ahead.len(), PIECE, "no more than that has left the system's buffers");

        for _ in 0..3 {
            connection.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
            assert_eq!(read(&mut connection).await.unwrap(), GET.len());
        }
    }

    #[tokio::test]
    async fn what_has_run_ahead_waits_for_its_turn_and_nothing_else_does() {
        let (mut client, mut connection) = pair(1 << 20);
        let crowd: Vec<_> = (0..10_000).map(|_| connection.turns.wait()).collect();
        client.write_all(&[GET, b"\r\n"].concat()).await.unwrap();
        read(&mut connection).await.unwrap();
        connection.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        client.write_all(&GET.repeat(2)).await.unwrap();
        let first = async {
            let empty_line = read(&mut connection).await.unwrap();
            (empty_line, read(&mut connection).await.unwrap())
        };
        assert_eq!(timeout(LONG, first).await.expect("it has not run ahead"), (2, GET.len()));
        connection.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();

        assert!(timeout(LONG, read(&mut connection)).await.is_err(), "the second one has");
        drop((crowd, connection.turn.take()));
        assert_eq!(read(&mut connection).await.unwrap(), GET.len());
    }

    #[tokio::test]
    async fn whoever_leaves_before_the_answer_is_noticed() {
        let (mut client, mut connection) = pair(1 << 20);
        client.write_all(&GET.repeat(2)).await.unwrap();
        read(&mut connection).await.unwrap();
        drop(client);

        assert_eq!(read(&mut connection).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn the_server_looks_at_a_piece_before_it_gets_the_next() {
        let (mut client, mut connection) = pair(1 << 20);
        client.write_all(&long_request().as_bytes()[..UNASKED_MAX]).await.unwrap();
        let mut taken = Vec::new();

        let looks = std::future::poll_fn(|context| {
            let mut room = [0; 16 * 1024];
            let mut buffer = ReadBuf::new(&mut room);
            while Pin::new(&mut connection).poll_read(context, &mut buffer).is_ready() {}
            taken.push(buffer.filled().len());
            if taken.len() < 3 { Poll::Pending } else { Poll::Ready(()) }
        });
        timeout(LONG, looks).await.expect("it looks again at once");

        assert_eq!(taken, [PIECE; 3]);
    }

    /// Reads as much as there is, for somebody who wants the body or not.
    async fn read_body(connection: &mut Connection<DuplexStream>, wanted: bool) -> usize {
        let mut taken = 0;
        while let Ok(read) = timeout(LONG, read(connection)).await {
            taken += read.unwrap();
            if wanted {
                connection.demand().want();
            }
        }
        taken
    }

    fn long_request() -> String {
        let body = 8 * UNASKED_MAX;
        format!("POST / HTTP/1.1\r\nContent-Length: {body}\r\n\r\n{}", "a".repeat(body))
    }

    #[tokio::test]
    async fn a_long_body_is_read_to_its_end_when_somebody_wants_it() {
        let (mut client, mut connection) = pair(1 << 20);
        for number in 0..2 {
            client.write_all(long_request().as_bytes()).await.unwrap();

            let unasked = read_body(&mut connection, false).await;
            assert!((UNASKED_MAX..UNASKED_MAX + PIECE).contains(&unasked), "{number}: {unasked}");

            connection.demand().want();
            assert_eq!(unasked + read_body(&mut connection, true).await, long_request().len(), "{number}");
            connection.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_request_that_was_answered_before_its_end_owes_nothing() {
        let (mut client, mut connection) = pair(1 << 20);
        let (begin, rest) = (&long_request()[..100], &long_request()[100..]);
        client.write_all(begin.as_bytes()).await.unwrap();
        read(&mut connection).await.unwrap();
        connection.write_all(b"HTTP/1.1 401 Unauthorized\r\n").await.unwrap();
        client.write_all(&[rest.as_bytes(), GET].concat()).await.unwrap();

        assert_eq!(read_body(&mut connection, false).await, rest.len() + GET.len());
    }

    #[tokio::test]
    async fn whoever_is_told_to_continue_is_not_answered() {
        let (mut client, mut connection) = pair(1 << 20);
        let (head, rest) = ("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", [b"{}", GET].concat());
        client.write_all(head.as_bytes()).await.unwrap();
        read(&mut connection).await.unwrap();
        connection.write_all(CONTINUE).await.unwrap();
        client.write_all(&rest).await.unwrap();

        assert_eq!(read(&mut connection).await.unwrap(), 2);
        assert!(timeout(LONG, read(&mut connection)).await.is_err());
    }
}
