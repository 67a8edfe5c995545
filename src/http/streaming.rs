//! Answers that are sent while they are written.
//!
//! They are written on the service's runtime, like everything that asks the ledger. The writer is a few pieces ahead of its reader at
//! most, and ends when the reader leaves.

use actix_web::web::Bytes;
use actix_web::{HttpResponse, HttpResponseBuilder};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// Pieces that are written before anybody has read them.
const PIECES_AHEAD: usize = 2;

/// The answer is not whole. Its reader notices, because the connection ends in the middle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer could not be finished")]
pub struct Cut;

/// Where an answer is written to.
pub struct Writer(mpsc::Sender<Bytes>);

impl Writer {
    /// Sends a piece. Waits while the reader is behind, and returns whether there is still one.
    pub async fn write(&self, piece: String) -> bool {
        self.0.send(Bytes::from(piece)).await.is_ok()
    }
}

/// What is still to be read of an answer, and who writes it.
struct Unread {
    pieces: mpsc::Receiver<Bytes>,
    author: AbortOnDropHandle<Result<(), Cut>>,
}

impl Unread {
    async fn next(mut self) -> Option<(Result<Bytes, Cut>, Option<Self>)> {
        if let Some(piece) = self.pieces.recv().await {
            return Some((Ok(piece), Some(self)));
        }
        match self.author.await {
            Ok(Ok(())) => None,
            // A panic leaves it just as unfinished.
            Ok(Err(_)) | Err(_) => Some((Err(Cut), None)),
        }
    }
}

/// Begins an answer that `write` goes on with.
pub fn respond<F>(head: &mut HttpResponseBuilder, runtime: &Handle, write: impl FnOnce(Writer) -> F) -> HttpResponse
where
    F: Future<Output = Result<(), Cut>> + Send + 'static,
{
    let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
    let author = AbortOnDropHandle::new(runtime.spawn(write(Writer(sender))));
    let unread = Some(Unread { pieces, author });
    head.streaming(futures_util::stream::unfold(unread, |unread| async move { unread?.next().await }))
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    async fn body_of(pieces: &'static [&'static str], end: Result<(), Cut>) -> Option<Bytes> {
        let response = respond(&mut HttpResponse::Ok(), &Handle::current(), |writer| async move {
            for piece in pieces {
                assert!(writer.write((*piece).to_owned()).await);
            }
            end
        });
        to_bytes(response.into_body()).await.ok()
    }

    #[tokio::test]
    async fn an_answer_is_read_as_it_was_written() {
        let body = body_of(&["one ", "two ", "three ", "four"], Ok(())).await;

        assert_eq!(body.as_deref(), Some(b"one two three four".as_slice()));
    }

    #[tokio::test]
    async fn an_answer_that_could_not_be_finished_does_not_look_whole() {
        assert_eq!(body_of(&["one ", "two "], Err(Cut)).await, None);
    }

    #[tokio::test]
    async fn whoever_writes_is_ended_when_the_reader_leaves() {
        let (alive, ended) = tokio::sync::oneshot::channel::<()>();
        let response = respond(&mut HttpResponse::Ok(), &Handle::current(), |writer| async move {
            let _alive = alive;
            while writer.write("more".to_owned()).await {}
            Ok(())
        });

        drop(response);

        assert!(ended.await.is_err(), "what it held is gone");
    }
}
