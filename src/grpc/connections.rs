//! Connections of the listener: so many at a time, of them so many of one address, each must say soon that it speaks HTTP/2, and calls that
//! run ahead of the answers to others wait for their turns.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use super::frames::{Frames, PREFACE_BYTES};
use crate::api::Service;
use crate::api::admission::Connections;
use crate::api::places::Place;
use crate::api::turns::{Turn, Turns};
use crate::flow::limits::Prefix;

/// A connection must have said within this what it speaks. From then on keep-alives tell whether anybody is there.
const PREFACE_WITHIN: Duration = Duration::from_secs(10);

/// So many calls of a stranger are under way at a time before the next one waits for its turn. Clients of gRPC share one connection where those of
/// HTTP have some: with one call alone, whoever is kept waiting once would have all that it asks later wait.
const STRANGERS_AT_ONCE: usize = 4;

/// What is read at a time from somebody who is not known.
const PIECE: usize = 4 * 1024;

/// Pause after a connection could not be taken, which is so when the process has too many files open.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Takes connections while there is room for them.
pub fn accept(listener: TcpListener, service: Arc<Service>) -> impl Stream<Item = io::Result<Connection>> + Send {
    let places = Arc::new(Semaphore::new(service.connections_max));
    let connections = Connections::new(&service);
    let gate = Gate { listener, places, connections, turns: Arc::default(), service };
    futures_util::stream::unfold(gate, |gate| async move { Some((gate.next().await?, gate)) })
}

struct Gate {
    listener: TcpListener,
    /// The places that all have together.
    places: Arc<Semaphore>,
    connections: Connections,
    turns: Arc<Turns>,
    service: Arc<Service>,
}

impl Gate {
    /// The next connection, or why it was not taken in.
    async fn next(&self) -> Option<io::Result<Connection>> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let taken = match self.listener.accept().await {
            Ok((stream, peer)) => {
                let own = self.connections.admit(&self.service, Some(peer.ip()));
                own.and_then(|own| Connection::new(stream, (place, own), Arc::clone(&self.turns)))
            }
            Err(error) => {
                tokio::time::sleep(ACCEPT_AGAIN).await;
                Err(error)
            }
        };
        Some(taken)
    }
}

/// A place among all connections, and one among those of its address, which proxies of the operator's do not need.
type Taken = (OwnedSemaphorePermit, Option<Place<Prefix>>);

/// What a call knows of its connection.
#[derive(Debug, Clone)]
pub struct Line {
    /// Who is connected, as far as the system knows.
    pub peer: Option<IpAddr>,
    /// Ends the connection, with all its calls. One call alone cannot be ended while its client takes nothing of its answer.
    pub cut: CancellationToken,
    /// Whether whoever is connected is known, by a key or as a proxy of the operator's.
    known: Arc<AtomicBool>,
    /// Calls that were begun and have not ended. What the server refuses before it is a call counts until the connection ends.
    under_way: Arc<AtomicUsize>,
    /// Whoever reads from it, where calls wait for their turns.
    reader: Arc<AtomicWaker>,
}

impl Line {
    /// Whoever has shown a genuine key may have as many calls under way as there is room for.
    pub fn know(&self) {
        if !self.known.swap(true, Ordering::Release) {
            self.reader.wake();
        }
    }

    /// Notes the end of a call when it is dropped.
    pub fn call(&self) -> UnderWay {
        UnderWay(Arc::clone(&self.under_way))
    }

    pub fn is_known(&self) -> bool {
        self.known.load(Ordering::Acquire)
    }

    /// Whether the next call may begin at once.
    fn may_begin(&self) -> bool {
        let may = self.is_known() || self.under_way.load(Ordering::Relaxed) < STRANGERS_AT_ONCE;
        if may {
            self.begins();
        }
        may
    }

    fn begins(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }
}

/// A call on a connection.
#[derive(Debug)]
pub struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        // Calls of somebody who is known need not be counted when they begin.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |calls| calls.checked_sub(1));
    }
}

/// A connection with its place.
pub struct Connection {
    stream: TcpStream,
    line: Line,
    /// When it is cut. Whoever reads nothing is not read from any more, so each direction must learn of it.
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// What is still to be read of the preface, and until when.
    preface: Option<(usize, Pin<Box<Sleep>>)>,
    /// What was read, and what of it is to be handed on.
    frames: Frames,
    passed: Vec<u8>,
    /// When the call may begin that was held first.
    turn: Option<Turn>,
    turns: Arc<Turns>,
    _taken: Taken,
}

impl Connection {
    fn new(stream: TcpStream, taken: Taken, turns: Arc<Turns>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let line = Line {
            peer: stream.peer_addr().ok().map(|address| address.ip()),
            cut: CancellationToken::new(),
            known: Arc::new(AtomicBool::new(taken.1.is_none())),
            under_way: Arc::default(),
            reader: Arc::default(),
        };
        Ok(Self {
            stream,
            cut: Box::pin(line.cut.clone().cancelled_owned()),
            line,
            preface: Some((PREFACE_BYTES, Box::pin(tokio::time::sleep(PREFACE_WITHIN)))),
            frames: Frames::default(),
            passed: Vec::new(),
            turn: None,
            turns,
            _taken: taken,
        })
    }

    fn check_cut(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// Reads on, and hands on what need not wait.
    fn poll_more(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            if !self.passed.is_empty() {
                let most = self.passed.len().min(buffer.remaining());
                buffer.put_slice(&self.passed[..most]);
                self.passed.drain(..most);
                return Poll::Ready(Ok(()));
            }
            if self.line.is_known() && self.frames.is_empty() {
                return Pin::new(&mut self.stream).poll_read(context, buffer);
            }
            if self.begin_held(context)? {
                continue;
            }
            if self.frames.is_full() {
                return Poll::Pending;
            }
            let mut room = [0; PIECE];
            let mut piece = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
            if piece.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.frames.part(piece.filled(), &mut self.passed, || self.line.may_begin());
        }
    }

    /// Lets a call begin that was held, if its turn has come, and returns whether it did.
    fn begin_held(&mut self, context: &mut Context<'_>) -> io::Result<bool> {
        if !self.frames.is_waiting() {
            return Ok(false);
        }
        // Whoever becomes known waits no longer.
        self.line.reader.register(context.waker());
        if self.line.is_known() {
            self.turn = None;
            return Ok(self.frames.release(&mut self.passed));
        }
        let turn = self.turn.get_or_insert_with(|| self.turns.wait());
        if turn.poll(context, &self.stream)?.is_pending() {
            return Ok(false);
        }
        self.turn = None;
        self.line.begins();
        Ok(self.frames.release(&mut self.passed))
    }
}

impl Connected for Connection {
    type ConnectInfo = Line;

    fn connect_info(&self) -> Line {
        self.line.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let late = this.preface.as_mut().is_some_and(|(_, until)| until.as_mut().poll(context).is_ready());
        if late {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        this.check_cut(context)?;
        let before = buffer.filled().len();
        let read = this.poll_more(context, buffer);
        this.preface = this.preface.take().and_then(|(left, until)| {
            let left = left.saturating_sub(buffer.filled().len() - before);
            (left > 0).then_some((left, until))
        });
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check_cut(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_cut(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_cut(context)?;
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
