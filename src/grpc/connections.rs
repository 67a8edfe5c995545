//! Connections of the listener: so many at a time, of them so many of one address, and each must say soon that it speaks HTTP/2.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::api::Service;
use crate::api::admission::Connections;
use crate::api::places::Place;
use crate::flow::limits::Prefix;

/// A connection must have said this within [`PREFACE_WITHIN`]: the preface of HTTP/2 (RFC 9113, section 3.4). From then on keep-alives
/// tell whether anybody is there.
const PREFACE_BYTES: usize = 24;
const PREFACE_WITHIN: Duration = Duration::from_secs(10);

/// Pause after a connection could not be taken, which is so when the process has too many files open.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Takes connections while there is room for them.
pub fn accept(listener: TcpListener, service: Arc<Service>) -> impl Stream<Item = io::Result<Connection>> + Send {
    let places = Arc::new(Semaphore::new(service.connections_max));
    let gate = Gate { listener, places, connections: Connections::new(&service), service };
    futures_util::stream::unfold(gate, |gate| async move { Some((gate.next().await?, gate)) })
}

struct Gate {
    listener: TcpListener,
    /// The places that all have together.
    places: Arc<Semaphore>,
    connections: Connections,
    service: Arc<Service>,
}

impl Gate {
    /// The next connection, or why it was not taken in.
    async fn next(&self) -> Option<io::Result<Connection>> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        let taken = match self.listener.accept().await {
            Ok((stream, peer)) => {
                let own = self.connections.admit(&self.service, Some(peer.ip()));
                own.and_then(|own| Connection::new(stream, (place, own)))
            }
            Err(error) => {
                tokio::time::sleep(ACCEPT_AGAIN).await;
                Err(error)
            }
        };
        Some(taken)
    }
}

/// A place among all connections, and one among those of its address.
type Taken = (OwnedSemaphorePermit, Option<Place<Prefix>>);

/// What a call knows of its connection.
#[derive(Debug, Clone)]
pub struct Line {
    /// Who is connected, as far as the system knows.
    pub peer: Option<IpAddr>,
    /// Ends the connection, with all its calls. One call alone cannot be ended while its client takes nothing of its answer.
    pub cut: CancellationToken,
}

/// A connection with its place.
pub struct Connection {
    stream: TcpStream,
    line: Line,
    /// When it is cut.
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    /// What is still to be read of the preface, and until when.
    preface: Option<(usize, Pin<Box<Sleep>>)>,
    _taken: Taken,
}

impl Connection {
    fn new(stream: TcpStream, taken: Taken) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let preface = Some((PREFACE_BYTES, Box::pin(tokio::time::sleep(PREFACE_WITHIN))));
        let line = Line { peer: stream.peer_addr().ok().map(|address| address.ip()), cut: CancellationToken::new() };
        let cut = Box::pin(line.cut.clone().cancelled_owned());
        Ok(Self { stream, line, cut, preface, _taken: taken })
    }
}

impl Connected for Connection {
    type ConnectInfo = Line;

    fn connect_info(&self) -> Line {
        self.line.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let late = self.preface.as_mut().is_some_and(|(_, until)| until.as_mut().poll(context).is_ready());
        if late || self.cut.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.preface = self.preface.take().and_then(|(left, until)| {
            let left = left.saturating_sub(buffer.filled().len() - before);
            (left > 0).then_some((left, until))
        });
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
