//! The use cases, a file each. Every change of state goes through here.
//!
//! A flow reads, decides by the rules of `domain`, and changes the ledger in one transaction. It never calls a node inside a
//! transaction, and waiting holds no connection.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::TimeDelta;
use tokio::sync::Notify;

use crate::chain::{ChainError, Chains};
use crate::config::CostLimits;
use crate::domain::answer::AnswerPolicy;
use crate::domain::clock::Clock;
use crate::domain::network::Network;
use crate::domain::reason::Version;
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::Metrics;
use crate::signing::Issuer;

pub mod account;
pub mod address;
pub mod address_list;
pub mod availability;
pub mod backfill;
mod copy;
mod credit;
pub mod current;
pub mod deliver;
pub mod discovery;
pub mod dispatch;
pub mod ingest;
pub mod invoice;
pub mod limits;
pub mod naming;
pub mod once;
pub mod outbox;
pub mod particulars;
pub mod prove;
pub mod receipt;
pub mod reconcile;
pub mod reload;
pub mod reorg;
mod reserve;
pub mod retention;
pub mod session;
pub mod settle;
pub mod streams;
pub mod telling;
pub mod tenure;
pub mod turns;
mod unended;
pub mod verify;
pub mod waiting;
pub mod webhook;

/// What the flows work with. One for each configuration of a process; what is counted, waited for or queued is shared by all of them.
pub struct Flows {
    /// The ledger.
    pub ledger: Ledger,
    /// The networks.
    pub chains: Chains,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Who waits for which payment.
    pub waiting: Arc<waiting::Waiting>,
    /// Wakes the lanes of a network.
    pub bells: Bells,
    /// Which networks take payments now.
    pub availability: availability::Availability,
    /// How each network answers, and what it may cost.
    pub policies: HashMap<Network, Policy>,
    /// How long a caller waits for an answer to a settle.
    pub patience: Patience,
    /// Callers with the same payment.
    pub errands: Arc<turns::Turns>,
    /// Payments of the same payer that are to be recorded.
    pub reservations: Arc<turns::Turns>,
    /// How often somebody may ask.
    pub limits: Arc<limits::RateLimits>,
    /// How paid resources are listed.
    pub discovery: Arc<discovery::Discovery>,
    /// How accounts are told what happened.
    pub telling: Arc<telling::Telling>,
    /// What the outside calls this service. It stands in what is signed for us.
    pub public_url: String,
    /// Signs receipts, if there are keys for that.
    pub issuer: Option<Arc<Issuer>>,
}

/// The settings of one network that flows need.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The level at which success is answered, by amount.
    pub answer: AnswerPolicy,
    /// What settling may cost.
    pub cost: CostLimits,
}

/// How long a caller waits for an answer to a settle. Servers of version 1 never ask twice, so they wait for longer.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Version 1.
    pub v1: TimeDelta,
    /// Version 2; the official Go client gives up after 30 seconds.
    pub v2: TimeDelta,
}

impl Patience {
    /// How long a caller of a version waits.
    #[must_use]
    pub const fn of(self, version: Version) -> TimeDelta {
        match version {
            Version::V1 => self.v1,
            Version::V2 => self.v2,
        }
    }
}

/// Why a flow could not give a verdict. The payment may be as good as any.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// The network could not be read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The network was halted until an operator looks at it, or by one.
    #[error("{0} is halted")]
    Halted(Network),
    /// An operator drains every lane that could send the payment.
    #[error("no lane of {0} takes this payment now")]
    Drained(Network),
    /// The nodes of the network were not found to be the right ones yet.
    #[error("{0} is not ready")]
    NotReady(Network),
    /// The node that was asked is behind what was read already, so its refusal counts for nothing.
    #[error("a node of {0} lags behind")]
    NodeLags(Network),
    /// The network is read so far behind its head that the end of a payment would not be known in time.
    #[error("{0} is read far behind its head")]
    Behind(Network),
    /// Something that we depend on neither answered nor failed.
    #[error("there was no answer in time")]
    TimedOut,
    /// A bug of ours ended the work. Nobody knows how far it had come; the same request finds out.
    #[error("something went wrong here")]
    Crashed,
    /// The payment was not sent in time and will not be. The same request may be made again.
    #[error("the payment was not sent in time")]
    NotSent,
    /// The process is to end, and begins nothing new.
    #[error("the service is stopping")]
    Stopping,
}

/// Wakes the lanes of this process when a payment waits for them.
#[derive(Debug, Default, Clone)]
pub struct Bells(HashMap<Network, Arc<Notify>>);

impl Bells {
    /// A bell for each network.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        Self(networks.into_iter().map(|network| (network, Arc::default())).collect())
    }

    /// These bells for these networks, and new ones for those that had none.
    #[must_use]
    pub fn with(&self, networks: impl IntoIterator<Item = Network>) -> Self {
        Self(networks.into_iter().map(|network| (network.clone(), self.of(&network))).collect())
    }

    /// Tells the lanes of a network that there is something to do.
    pub fn ring(&self, network: &Network) {
        if let Some(bell) = self.0.get(network) {
            bell.notify_waiters();
            // For a lane that is not waiting at this moment.
            bell.notify_one();
        }
    }

    /// What a lane waits on.
    #[must_use]
    pub fn of(&self, network: &Network) -> Arc<Notify> {
        self.0.get(network).cloned().unwrap_or_default()
    }
}
