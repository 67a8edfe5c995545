//! A connection on its way from the socket to the server: what must be bounded before there is a request.
//!
//! The server has limits for the first head of a connection, for its body and for the time between two requests. This adds those
//! that it does not have: heads in time behind the first one, answers that nobody reads, requests that run ahead of their
//! answers, and connections of one address.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::framing::Framing;
use super::places::Place;
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

/// Bytes of further requests that are read while one is not answered.
const AHEAD_MAX: usize = 32 * 1024;

/// A client's connection.
pub struct Connection<S = TcpStream> {
    stream: S,
    framing: Framing,
    patience: Patience,
    /// Ends the patience with a head.
    head: Option<Pin<Box<Sleep>>>,
    /// Ends the patience with a client that takes nothing.
    reader: Option<Pin<Box<Sleep>>>,
    /// Whether a request was read to its end of whose answer nothing was written.
    unanswered: bool,
    /// Whether something was written before the request that is being read has ended, as where its body does not matter.
    answered_early: bool,
    /// How much was read behind an unanswered request.
    ahead: usize,
    /// Whether reading waits for writing.
    holds_back: bool,
    _place: Option<Place<Prefix>>,
}

impl<S> Connection<S> {
    /// A connection that was just made, with the place that it takes.
    pub fn new(stream: S, place: Option<Place<Prefix>>) -> Self {
        Self {
            stream,
            framing: Framing::default(),
            patience: Patience::USUAL,
            head: None,
            reader: None,
            unanswered: false,
            answered_early: false,
            ahead: 0,
            holds_back: false,
            _place: place,
        }
    }

    fn note_read(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let read = bytes.len();
        let passed = self.framing.pass(bytes).map_err(|trailer| io::Error::new(io::ErrorKind::InvalidData, trailer))?;
        if self.unanswered {
            self.ahead += read;
        } else if passed.ended && !std::mem::take(&mut self.answered_early) {
            (self.unanswered, self.ahead) = (true, passed.beyond);
        }
        if !self.framing.is_in_head() {
            self.head = None;
        } else if self.head.is_none() {
            self.head = Some(Box::pin(sleep(self.patience.head)));
        }
        Ok(())
    }

    /// Something was written, so that reading may go on.
    fn note_written(&mut self, context: &Context<'_>) {
        self.reader = None;
        self.answered_early |= !self.unanswered && !self.framing.is_between_requests();
        (self.unanswered, self.ahead) = (false, 0);
        if let Some(head) = &mut self.head {
            head.as_mut().reset(Instant::now() + self.patience.head);
        }
        if std::mem::take(&mut self.holds_back) {
            context.waker().wake_by_ref();
        }
    }
}

/// Whether somebody's time is up.
fn poll_deadline(deadline: Option<&mut Pin<Box<Sleep>>>, context: &mut Context<'_>) -> io::Result<()> {
    let over = deadline.is_some_and(|deadline| deadline.as_mut().poll(context).is_ready());
    if over { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.reader.is_some() || this.ahead > AHEAD_MAX {
            this.holds_back = true;
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            // While a request waits for its answer nobody is waited for: some clients leave an empty line behind a body.
            Poll::Pending if this.unanswered => Poll::Pending,
            Poll::Pending => {
                poll_deadline(this.head.as_mut(), context)?;
                Poll::Pending
            }
            Poll::Ready(read) => {
                read?;
                Poll::Ready(this.note_read(&mut buffer.filled_mut()[before..]))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        if written.is_ready() {
            this.note_written(context);
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

    /// Both ends of a connection that holds so many bytes on its way.
    fn pair(bytes: usize) -> (DuplexStream, Connection<DuplexStream>) {
        let (client, server) = duplex(bytes);
        (client, Connection { patience: Patience { head: SHORT, reader: SHORT }, ..Connection::new(server, None) })
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
    async fn requests_do_not_run_far_ahead_of_their_answers() {
        let (mut client, mut connection) = pair(1 << 20);
        client.write_all(&GET.repeat(10_000)).await.unwrap();

        let mut taken = 0;
        while let Ok(read) = timeout(LONG, read(&mut connection)).await {
            taken += read.unwrap();
        }
        assert!((AHEAD_MAX..=AHEAD_MAX + 8_192).contains(&taken), "{taken}");

        connection.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        assert!(timeout(LONG, read(&mut connection)).await.is_ok(), "an answer makes room");
    }

    #[tokio::test]
    async fn a_request_that_was_answered_before_its_end_owes_nothing() {
        let (mut client, mut connection) = pair(1 << 20);
        client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\na").await.unwrap();
        read(&mut connection).await.unwrap();
        connection.write_all(b"HTTP/1.1 401 Unauthorized\r\n").await.unwrap();
        let body = 4 * AHEAD_MAX;
        let rest = format!("bcPOST / HTTP/1.1\r\nContent-Length: {body}\r\n\r\n{}", "a".repeat(body));
        client.write_all(rest.as_bytes()).await.unwrap();

        let mut taken = 0;
        while let Ok(read) = timeout(LONG, read(&mut connection)).await {
            taken += read.unwrap();
        }
        assert_eq!(taken, rest.len());
    }

    #[tokio::test]
    async fn one_long_body_is_read_to_its_end() {
        let (mut client, mut connection) = pair(1 << 20);
        let body = 8 * AHEAD_MAX;
        client
            .write_all(format!("POST / HTTP/1.1\r\nContent-Length: {body}\r\n\r\n{}", "a".repeat(body)).as_bytes())
            .await
            .unwrap();

        let mut taken = 0;
        while let Ok(read) = timeout(LONG, read(&mut connection)).await {
            taken += read.unwrap();
        }
        assert!(taken > body, "{taken}");
    }
}
