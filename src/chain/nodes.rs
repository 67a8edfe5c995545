//! The nodes of one network: which of them is asked, when the next one is, and what they do instead of answering.

use std::sync::atomic::{AtomicUsize, Ordering};

use thiserror::Error;

/// What a node said instead of a result.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the node answered error {code}: {message}")]
pub struct Complaint {
    /// The JSON-RPC code.
    pub code: i64,
    /// The node's words. Never sent on to clients unbounded.
    pub message: String,
    /// What came with them, if that was a text: of an EVM, what a contract returned when it reverted, in hexadecimal.
    pub data: Option<String>,
}

impl Complaint {
    /// Words alone.
    #[must_use]
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

/// Why a call has no result.
#[derive(Debug, Clone, Error)]
pub enum CallError {
    /// The node understood and refused.
    #[error(transparent)]
    Complaint(#[from] Complaint),
    /// Nobody gave a usable answer in time.
    #[error(transparent)]
    Unavailable(NodeFailure),
}

/// What a node did instead of answering. Holds no address, because the paths and queries of nodes contain keys.
#[derive(Debug, Clone, Error)]
pub enum NodeFailure {
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection or the answer was broken.
    #[error("the connection or the answer was broken")]
    Broken,
    /// It has had enough of us.
    #[error("too many requests")]
    RateLimited,
    /// It serves another chain than the configured one.
    #[error("it serves another chain: {0}")]
    WrongChain(String),
    /// A token there is not the one in our table.
    #[error("{0}")]
    WrongToken(String),
}

/// Whose turn it is. One node is asked until it fails.
#[derive(Debug)]
pub struct Rotation {
    nodes: usize,
    preferred: AtomicUsize,
}

impl Rotation {
    /// Of so many nodes, the first of which is asked first.
    pub const fn of(nodes: usize) -> Self {
        Self { nodes, preferred: AtomicUsize::new(0) }
    }

    /// The index of the node that is asked now.
    pub fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed) % self.nodes.max(1)
    }

    /// The indexes of all nodes, beginning with the preferred one.
    pub fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, nodes) = (self.preferred(), self.nodes);
        (0..nodes).map(move |offset| (first + offset) % nodes)
    }

    /// Asks in turn until an answer is usable. If none is, the last word of a node counts for more than silence, and that one serves
    /// another chain only if all do. `failed` hears of every answer that is an error and not usable.
    pub async fn ask<R, F>(
        &self,
        call: impl Fn(usize) -> F,
        usable: impl Fn(&Result<R, CallError>) -> bool,
        failed: impl Fn(usize, &CallError),
    ) -> Result<R, CallError>
    where
        F: Future<Output = Result<R, CallError>>,
    {
        let mut last = Err(CallError::Unavailable(NodeFailure::WrongChain("there is no node".to_owned())));
        for (offset, index) in self.order().enumerate() {
            let answer = call(index).await;
            if usable(&answer) {
                if offset > 0 {
                    self.preferred.store(index, Ordering::Relaxed);
                }
                return answer;
            }
            if let Err(error) = &answer {
                failed(index, error);
            }
            if weight(&answer) >= weight(&last) {
                last = answer;
            }
        }
        last
    }
}

/// Which of two answers, neither of them usable, says more.
const fn weight<R>(answer: &Result<R, CallError>) -> u8 {
    match answer {
        Err(CallError::Unavailable(NodeFailure::WrongChain(_))) => 0,
        Err(CallError::Unavailable(_)) => 1,
        Ok(_) | Err(CallError::Complaint(_)) => 2,
    }
}
