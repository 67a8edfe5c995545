//! The shared simulation: payments that are asked about at the same time share one `eth_call`.
//!
//! The call names no contract; its data is the code of contracts/Simulator.sol with the payments behind it, so nothing has to be
//! deployed. Nothing waits for company: a call carries what piled up while the last one was under way. The next call is made beside it
//! if a good pile has come together, so that we and the node work at the same time, and if it takes much longer than usual, so
//! that a node that hangs does not hold up everybody.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::{Address as EvmAddress, B256, Bytes, U256, hex};
use alloy::rpc::types::{TransactionInput, TransactionRequest};
use alloy::sol_types::SolCall;
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::abi::Frame;
use super::outcome::{self, Outcome};
use super::rpc::Nodes;
use crate::chain::ChainError;
use crate::chain::nodes::{CallError, Complaint};
use crate::domain::network::Network;
use crate::metrics::Metrics;

/// The compiled contract, without the payments.
const CODE: &str = include_str!("../../../contracts/out/Simulator.hex");

/// Payments in one call: what the contract accepts.
const CALLS_MAX: usize = 64;

/// Calls under way at a time.
const CALLS_AT_ONCE: usize = 4;

/// Calls for a single payment that was spoilt in company, or spoilt its company, under way at a time.
const LONE_CALLS_AT_ONCE: usize = 8;

/// So many payments are worth a call of their own while another is under way.
const PILE: usize = 16;

/// For so long a call is waited for before the next one is made: several times what a good node takes, so that it is rare, and
/// little of what a caller has.
const USUALLY_TAKES: Duration = Duration::from_millis(250);

/// EIP-3860 bounds the code of a creation, and our data counts as that.
const DATA_BYTES_MAX: usize = 49_152;

/// What a record takes up at most beside its payment's data: three words, a look with three, an attempt with four, and padding.
const RECORD_BYTES: usize = 3 * 32 + (4 + 3 * 32) + (4 + 4 * 32) + 31;

/// What follows the records: how many, and their size.
const TRAILER_BYTES: usize = 2 * 32;

/// Gas that one payment may use. USDC takes about 90,000 for an ordinary payer; contract wallets need several times that.
pub const GAS_CAP: u64 = 400_000;

/// What the contract keeps in reserve while it runs, with room for one payment that burns its whole cap.
const GAS_BASE: u64 = 1_600_000;

/// What a payment takes on average with the reads around it. Where many take more, those at the end are not run and asked alone.
const GAS_PER_CALL: u64 = 190_000;

/// Calldata and its copies.
const GAS_PER_BYTE: u64 = 20;

/// One payment as settlement would make it.
#[derive(Debug, Clone)]
pub struct Question {
    /// The token, which is asked what the payer has.
    pub token: EvmAddress,
    /// Who pays.
    pub payer: EvmAddress,
    /// The authorization's nonce.
    pub nonce: B256,
    /// What is called: the token, or Multicall3 if the payer's wallet has yet to be deployed.
    pub target: EvmAddress,
    /// What it is told.
    pub data: Bytes,
    /// Whether the payer's balance is wanted even if the payment is good. A refusal always comes with it.
    pub look_anyway: bool,
}

impl Question {
    /// What it adds to a call at most.
    fn bytes(&self) -> usize {
        RECORD_BYTES + self.data.len()
    }

    /// Its record, as contracts/Simulator.sol has it.
    fn write(&self, records: &mut Vec<u8>) {
        let cap = U256::from(GAS_CAP);
        let attempt = Frame::attemptCall { target: self.target, gasCap: cap, data: self.data.clone() }.abi_encode();
        for word in [cap, U256::from(self.look_anyway), U256::from(attempt.len())] {
            records.extend_from_slice(&word.to_be_bytes::<32>());
        }
        records.extend_from_slice(&Frame::lookCall { token: self.token, payer: self.payer, nonce: self.nonce }.abi_encode());
        records.extend_from_slice(&attempt);
    }
}

struct Job {
    question: Question,
    answer: oneshot::Sender<Result<Outcome, ChainError>>,
}

/// A queue of payments to simulate on one network.
pub struct Simulator {
    jobs: mpsc::Sender<Job>,
    network: Network,
}

impl Simulator {
    /// Starts the task that makes the calls. It ends with the simulator.
    pub fn start(network: Network, from: EvmAddress, nodes: Arc<Nodes>, metrics: Arc<Metrics>) -> Self {
        let (jobs, queue) = mpsc::channel(4 * CALLS_MAX);
        let code = hex::decode(CODE.trim()).expect("the committed bytes of the contract are hexadecimal");
        let lone_calls = Semaphore::new(LONE_CALLS_AT_ONCE);
        let caller = Caller { network: network.clone(), from, code, nodes, metrics, lone_calls };
        #[expect(clippy::disallowed_methods, reason = "the task lives exactly as long as the queue that feeds it")]
        tokio::spawn(Arc::new(caller).run(queue));
        Self { jobs, network }
    }

    /// Simulates one payment, together with whatever else is asked for now.
    pub async fn simulate(&self, question: Question) -> Result<Outcome, ChainError> {
        let (answer, outcome) = oneshot::channel();
        let gone = || ChainError::Implausible { network: self.network.clone(), what: "the simulation ended early".to_owned() };
        self.jobs.send(Job { question, answer }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

impl Job {
    /// Whether anybody still waits for the answer.
    fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }
}

/// Payments that wait for a call. Few of them are taken out of the queue before, whose bound holds back those who come later.
struct Line {
    queue: mpsc::Receiver<Job>,
    /// The first in line.
    front: VecDeque<Job>,
}

impl Line {
    /// What is here now for one call that has so many bytes already, and at least one payment. `None` when nobody can ask any more.
    async fn batch(&mut self, mut bytes: usize) -> Option<Vec<Job>> {
        let first = self.first().await?;
        bytes += first.question.bytes();
        let mut batch = vec![first];
        while batch.len() < CALLS_MAX
            && let Some(job) = self.next()
        {
            bytes += job.question.bytes();
            if bytes > DATA_BYTES_MAX {
                self.front.push_front(job);
                break;
            }
            batch.push(job);
        }
        Some(batch)
    }

    async fn first(&mut self) -> Option<Job> {
        loop {
            let job = match self.front.pop_front() {
                Some(job) => job,
                None => self.queue.recv().await?,
            };
            if job.is_wanted() {
                return Some(job);
            }
        }
    }

    fn next(&mut self) -> Option<Job> {
        std::iter::from_fn(|| self.front.pop_front().or_else(|| self.queue.try_recv().ok())).find(Job::is_wanted)
    }

    /// Waits until so many are in line that the next call need not wait for the last one.
    async fn piled_up(&mut self) {
        while self.front.len() < PILE {
            match self.queue.recv().await {
                Some(job) => self.front.push_back(job),
                // Those who are here are the last.
                None => return,
            }
        }
    }
}

struct Caller {
    network: Network,
    from: EvmAddress,
    code: Vec<u8>,
    nodes: Arc<Nodes>,
    metrics: Arc<Metrics>,
    lone_calls: Semaphore,
}

impl Caller {
    async fn run(self: Arc<Self>, queue: mpsc::Receiver<Job>) {
        let mut line = Line { queue, front: VecDeque::new() };
        let calls = Arc::new(Semaphore::new(CALLS_AT_ONCE));
        loop {
            // First the permit and then the batch, so that it carries what piles up meanwhile.
            let permit = Arc::clone(&calls).acquire_owned().await.expect("nobody closes it");
            let Some(batch) = line.batch(self.code.len() + TRAILER_BYTES).await else { return };
            self.metrics.simulation(&self.network, batch.len());
            let caller = Arc::clone(&self);
            #[expect(clippy::disallowed_methods, reason = "bounded by the permits, and by the time limit of a call")]
            let call = tokio::spawn(async move {
                caller.answer(batch).await;
                drop(permit);
            });
            // If the wait ends before the call, it goes on beside the next one.
            tokio::select! {
                _ = call => {}
                () = tokio::time::sleep(USUALLY_TAKES) => {}
                () = line.piled_up() => {}
            }
        }
    }

    async fn answer(self: &Arc<Self>, batch: Vec<Job>) {
        let alone = batch.len() == 1;
        match self.call(&batch).await {
            Ok(outcomes) => {
                for (job, outcome) in batch.into_iter().zip(outcomes) {
                    match outcome {
                        Some(outcome) => drop(job.answer.send(Ok(outcome))),
                        None if alone => drop(job.answer.send(Err(self.implausible("the simulation could not be run")))),
                        None => self.ask_alone(job),
                    }
                }
            }
            // One payment may have spoilt the call for all, so each gets a call of its own.
            Err(CallError::Complaint(_)) if !alone => batch.into_iter().for_each(|job| self.ask_alone(job)),
            Err(error) => {
                for job in batch {
                    drop(job.answer.send(Err(self.nodes.unavailable("eth_call", error.clone()))));
                }
            }
        }
    }

    /// Not in line with the rest, which must not wait for a payment that needs special care.
    fn ask_alone(self: &Arc<Self>, job: Job) {
        if !job.is_wanted() {
            return;
        }
        let caller = Arc::clone(self);
        #[expect(clippy::disallowed_methods, reason = "as many as callers wait, and few of them at work")]
        tokio::spawn(async move {
            let _permit = caller.lone_calls.acquire().await.expect("nobody closes it");
            if job.is_wanted() {
                Box::pin(caller.answer(vec![job])).await;
            }
        });
    }

    async fn call(&self, batch: &[Job]) -> Result<Vec<Option<Outcome>>, CallError> {
        let count = batch.len();
        let mut data = self.code.clone();
        for job in batch {
            job.question.write(&mut data);
        }
        let size = data.len() - self.code.len();
        for word in [count, size] {
            data.extend_from_slice(&U256::from(word).to_be_bytes::<32>());
        }
        let gas = GAS_BASE + GAS_PER_CALL * count as u64 + GAS_PER_BYTE * data.len() as u64;
        let request = TransactionRequest {
            from: Some(self.from),
            gas: Some(gas),
            input: TransactionInput::new(data.into()),
            ..TransactionRequest::default()
        };
        // That a node complains about many may be the fault of one of them. What it says about a single one, and an answer that is
        // none, only mean that it cannot serve us.
        let usable = |answer: &Result<Bytes, CallError>| match answer {
            Ok(answer) => outcome::all(answer, count).is_some(),
            Err(CallError::Complaint(_)) => count > 1,
            Err(CallError::Unavailable(_)) => false,
        };
        let answer = self.nodes.ask("eth_call", (request, "latest"), usable).await?;
        outcome::all(&answer, count).ok_or(CallError::Complaint(Complaint::new(0, "the simulation returned something else")))
    }

    fn implausible(&self, what: &str) -> ChainError {
        ChainError::Implausible { network: self.network.clone(), what: what.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    /// What is left of a caller who waits.
    type Waiting = oneshot::Receiver<Result<Outcome, ChainError>>;

    fn job(payer: u8, data_bytes: usize) -> (Job, Waiting) {
        let (answer, waiting) = oneshot::channel();
        let question = Question {
            token: EvmAddress::ZERO,
            payer: EvmAddress::repeat_byte(payer),
            nonce: B256::ZERO,
            target: EvmAddress::ZERO,
            data: vec![0; data_bytes].into(),
            look_anyway: false,
        };
        (Job { question, answer }, waiting)
    }

    /// A line of these payments, with their callers. Nobody joins it later.
    fn line(jobs: impl IntoIterator<Item = (Job, Waiting)>) -> (Line, Vec<Waiting>) {
        let (sender, queue) = mpsc::channel(4 * CALLS_MAX);
        let callers = jobs.into_iter().map(|(job, waiting)| {
            sender.try_send(job).expect("there is room");
            waiting
        });
        let callers = callers.collect();
        (Line { queue, front: VecDeque::new() }, callers)
    }

    async fn payers(line: &mut Line) -> Option<Vec<u8>> {
        Some(line.batch(0).await?.iter().map(|job| job.question.payer[0]).collect())
    }

    #[tokio::test]
    async fn a_call_carries_what_is_there_up_to_its_limit() {
        let (mut line, _callers) = line((0..=64).map(|payer| job(payer, 0)));

        assert_eq!(payers(&mut line).await, Some((0..64).collect()));
        assert_eq!(payers(&mut line).await, Some(vec![64]));
        assert_eq!(payers(&mut line).await, None);
    }

    #[tokio::test]
    async fn what_does_not_fit_goes_first_in_the_next_call() {
        let half = DATA_BYTES_MAX / 2 - RECORD_BYTES;
        let (mut line, _callers) = line([job(1, half), job(2, half), job(3, 0), job(4, 2 * DATA_BYTES_MAX), job(5, 0)]);

        assert_eq!(payers(&mut line).await, Some(vec![1, 2]));
        assert_eq!(payers(&mut line).await, Some(vec![3]));
        assert_eq!(payers(&mut line).await, Some(vec![4]), "one alone always goes: the node shall say that it is too large");
        assert_eq!(payers(&mut line).await, Some(vec![5]));
        assert_eq!(payers(&mut line).await, None);
    }

    #[tokio::test]
    async fn nobody_is_asked_about_for_a_caller_who_left() {
        let (mut line, mut callers) = line([job(1, 0), job(2, 0), job(3, DATA_BYTES_MAX), job(4, 0), job(5, 0)]);
        drop(callers.remove(0));
        drop(callers.remove(2));

        assert_eq!(payers(&mut line).await, Some(vec![2]));
        callers.clear();
        assert_eq!(payers(&mut line).await, None);
    }

    #[tokio::test]
    async fn a_pile_is_waited_for_and_keeps_its_order() {
        let (sender, queue) = mpsc::channel(4 * CALLS_MAX);
        let mut line = Line { queue, front: VecDeque::new() };
        let mut callers = Vec::new();
        let mut join = |payer| {
            let (job, caller) = job(payer, 0);
            sender.try_send(job).expect("there is room");
            callers.push(caller);
        };
        let pile = u8::try_from(PILE).unwrap();
        (1..pile).for_each(&mut join);

        assert!(line.piled_up().now_or_never().is_none());
        join(pile);
        assert!(line.piled_up().now_or_never().is_some());
        join(pile + 1);
        assert_eq!(payers(&mut line).await, Some((1..=pile + 1).collect()));
    }
}
