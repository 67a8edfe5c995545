//! Asking for the configuration to be read again, and what can be in the way of that.

use std::error::Error;
use std::fmt;

use tokio::sync::{mpsc, oneshot};

use crate::config::{ConfigErrors, ConfigProblem};
use crate::domain::network::Network;
use crate::ledger::LedgerError;
use crate::telemetry::ErrorChain;

/// Requests that wait while the configuration is read for another one.
const WAITING_MAX: usize = 8;

/// Why a new configuration was not taken. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum ReloadProblem {
    /// It cannot be read.
    #[error("{0}")]
    Config(ConfigProblem),
    /// It changes what is decided once, at the start.
    #[error("{0}: cannot be changed without a restart")]
    Fixed(&'static str),
    /// It takes a network, a token or the watch for transfers away. Payments of it that are under way would not be found in any block any more.
    #[error("{0}: cannot be taken away without a restart, when nothing is under way there")]
    TakenAway(String),
    /// It takes a signer away whose lane may still begin something, or has something under way for which nobody would care.
    #[error(
        "networks: the lane of signer {address} of {network} {} and has {in_flight} transactions and {queued} payments under way: drain it, and keep the signer until it has none",
        if *.is_drained { "is drained" } else { "is not drained" }
    )]
    UnderWay {
        /// The network.
        network: Network,
        /// The signer's address.
        address: String,
        /// Whether an operator drains it.
        is_drained: bool,
        /// How many slots are open, or in blocks that are not final.
        in_flight: u64,
        /// How many payments wait for one.
        queued: u64,
    },
    /// The new keyring lacks a key that was published, so nobody could verify what it signed.
    #[error("receipts.keys: the key {0} is missing, which has signed receipts")]
    KeyMissing(String),
    /// A part of it does not work.
    #[error("{subject}")]
    Unusable {
        /// What.
        subject: String,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It could not be found out what is under way.
    #[error("the ledger could not be asked")]
    Ledger(#[from] LedgerError),
}

/// All that is in the way, one line each. Never empty.
#[derive(Debug)]
pub struct ReloadRefused(Vec<ReloadProblem>);

impl ReloadRefused {
    /// All that is wrong with a configuration that cannot be read.
    #[must_use]
    pub fn of(errors: &ConfigErrors) -> Self {
        Self(errors.problems().iter().cloned().map(ReloadProblem::Config).collect())
    }

    /// Nothing, if there is nothing in the way.
    ///
    /// # Errors
    /// There is.
    pub fn unless_empty(problems: Vec<ReloadProblem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }
}

impl From<ReloadProblem> for ReloadRefused {
    fn from(problem: ReloadProblem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for ReloadRefused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let line = if index > 0 { "\n" } else { "" };
            write!(formatter, "{line}{}", ErrorChain(problem))?;
        }
        Ok(())
    }
}

impl Error for ReloadRefused {}

/// What a new configuration has changed, as keys of it.
pub type Changes = Vec<String>;

/// Where somebody waits for what became of it.
pub type Answer = oneshot::Sender<Result<Changes, ReloadRefused>>;

/// The way to whoever reads the configuration.
#[derive(Debug, Clone)]
pub struct Reloads(mpsc::Sender<Answer>);

impl Reloads {
    /// The way, and where it ends.
    #[must_use]
    pub fn channel() -> (Self, mpsc::Receiver<Answer>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self(sender), receiver)
    }

    /// Has the configuration read again. `None` if nobody does that any more, because the process ends.
    pub async fn ask(&self) -> Option<Result<Changes, ReloadRefused>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(answer).await.ok()?;
        answered.await.ok()
    }
}
