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
    /// Calls that were begun and have not ended.
    under_way: Arc<AtomicUsize>,
}

impl Line {
    /// Whoever has shown a genuine key may have as many calls under way as there is room for.
    pub fn know(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    /// Notes the end of a call when it is dropped.
    pub fn call(&self) -> UnderWay {
        UnderWay(Arc::clone(&self.under_way))
    }

    fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }
}

/// A call on a connection.
#[derive(Debug)]
pub struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        // Calls of somebody who is known are not counted when they begin.
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
    frames: Frames,
    /// What was read and not handed on: it begins with a call.
    ahead: Vec<u8>,
    /// Whether the next call runs ahead: another one was under way when it was read, or came with it.
    runs_ahead: bool,
    /// When it may begin.
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
        };
        Ok(Self {
            stream,
            cut: Box::pin(line.cut.clone().cancelled_owned()),
            line,
            preface: Some((PREFACE_BYTES, Box::pin(tokio::time::sleep(PREFACE_WITHIN)))),
            frames: Frames::default(),
            ahead: Vec::new(),
            runs_ahead: false,
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

    /// Reads from somebody who is known, or in pieces of which one call at a time is handed on.
    fn poll_more(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            if self.line.is_known() {
                return Pin::new(&mut self.stream).poll_read(context, buffer);
            }
            let mut room = [0; PIECE];
            let mut piece = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut piece))?;
            self.ahead = piece.filled().to_vec();
            self.runs_ahead = self.line.under_way.load(Ordering::Relaxed) > 0;
        }
        let most = self.ahead.len().min(buffer.remaining());
        let passed = ready!(self.poll_passed(context, most));
        buffer.put_slice(&self.ahead[..passed]);
        self.ahead.drain(..passed);
        Poll::Ready(Ok(()))
    }

    /// How much of what was read may be handed on.
    fn poll_passed(&mut self, context: &mut Context<'_>, most: usize) -> Poll<usize> {
        if self.line.is_known() {
            return Poll::Ready(most);
        }
        let next = &self.ahead[..most];
        let passed = self.frames.pass(next, false);
        if passed > 0 || most == 0 {
            return Poll::Ready(passed);
        }
        if self.runs_ahead {
            let turn = self.turn.get_or_insert_with(|| self.turns.wait());
            ready!(turn.poll(context));
            self.turn = None;
        }
        self.runs_ahead = true;
        self.line.under_way.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(self.frames.pass(next, true))
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
