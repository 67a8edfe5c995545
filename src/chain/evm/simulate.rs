//! The shared simulation: payments that are asked about at the same time share one `eth_call`.
//!
//! The call names no contract; its data is the code of contracts/Simulator.sol with the payments behind it, so nothing has to be
//! deployed. Nothing waits for company: a call carries what piled up while the last one was under way.

use std::collections::VecDeque;
use std::sync::Arc;

use alloy::primitives::{Address as EvmAddress, B256, Bytes, KECCAK256_EMPTY, U256, hex};
use alloy::rpc::types::{TransactionInput, TransactionRequest};
use alloy::sol_types::{Revert, SolError, SolValue};
use tokio::sync::{mpsc, oneshot};

use super::abi::{SimulatedCall, SimulatedOutcome};
use super::rpc::{CallError, Nodes};
use crate::chain::ChainError;
use crate::domain::network::Network;
use crate::metrics::Metrics;

/// The compiled contract, without its argument.
const CODE: &str = include_str!("../../../contracts/out/Simulator.hex");

/// Payments in one call: what the contract accepts.
const CALLS_MAX: usize = 64;

/// EIP-3860 bounds the code of a creation, and our data counts as that.
const DATA_BYTES_MAX: usize = 49_152;

/// What the words around a call's data take up at most when they are encoded.
const CALL_BYTES: usize = 11 * 32;

/// Gas that one payment may use. USDC takes about 90,000 for an ordinary payer; contract wallets need several times that.
pub const GAS_CAP: u64 = 400_000;

/// What the contract keeps in reserve while it runs, with room for one payment that burns its whole cap.
const GAS_BASE: u64 = 1_600_000;

/// What a payment takes on average with the reads around it. Where many take more, those at the end are not run and asked alone.
const GAS_PER_CALL: u64 = 190_000;

/// Calldata and its copies.
const GAS_PER_BYTE: u64 = 20;

/// What the chain says about one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The block whose state was used.
    pub block: u64,
    /// Whether the transfer went through.
    pub success: bool,
    /// The payer's code at that block; `None` for an account without any.
    pub payer_code: Option<B256>,
    /// What the payer held, if the token said.
    pub balance: Option<U256>,
    /// Whether the authorization was used or cancelled, if the token said.
    pub authorization_used: Option<bool>,
    /// The gas that the transfer took.
    pub gas_used: u64,
    /// The beginning of what the token returned.
    pub return_data: Bytes,
}

impl Outcome {
    /// The token's words when it refused, if it used any.
    pub fn revert_text(&self) -> Option<String> {
        Revert::abi_decode(&self.return_data).ok().map(|revert| revert.reason)
    }
}

struct Job {
    call: SimulatedCall,
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
        let caller = Caller { network: network.clone(), from, code, nodes, metrics };
        #[expect(clippy::disallowed_methods, reason = "the task lives exactly as long as the queue that feeds it")]
        tokio::spawn(Arc::new(caller).run(queue));
        Self { jobs, network }
    }

    /// Simulates one payment, together with whatever else is asked for now.
    pub async fn simulate(&self, call: SimulatedCall) -> Result<Outcome, ChainError> {
        let (answer, outcome) = oneshot::channel();
        let gone = || ChainError::Implausible { network: self.network.clone(), what: "the simulation ended early".to_owned() };
        self.jobs.send(Job { call, answer }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

struct Caller {
    network: Network,
    from: EvmAddress,
    code: Vec<u8>,
    nodes: Arc<Nodes>,
    metrics: Arc<Metrics>,
}

impl Caller {
    async fn run(self: Arc<Self>, mut queue: mpsc::Receiver<Job>) {
        let mut waiting = VecDeque::new();
        while let Some(job) = match waiting.pop_front() {
            Some(job) => Some(job),
            None => queue.recv().await,
        } {
            waiting.push_front(job);
            while let Ok(job) = queue.try_recv() {
                waiting.push_back(job);
            }
            let batch = self.take_batch(&mut waiting);
            self.metrics.simulation(&self.network, batch.len());
            self.answer(batch).await;
        }
    }

    fn take_batch(&self, waiting: &mut VecDeque<Job>) -> Vec<Job> {
        let mut bytes = self.code.len() + 64;
        let mut batch = Vec::new();
        while let Some(job) = waiting.front() {
            bytes += CALL_BYTES + job.call.data.len();
            if !batch.is_empty() && (batch.len() == CALLS_MAX || bytes > DATA_BYTES_MAX) {
                break;
            }
            batch.extend(waiting.pop_front());
        }
        batch
    }

    async fn answer(self: &Arc<Self>, batch: Vec<Job>) {
        let alone = batch.len() == 1;
        match self.call(batch.iter().map(|job| job.call.clone()).collect()).await {
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
        let caller = Arc::clone(self);
        #[expect(clippy::disallowed_methods, reason = "bounded by the calls in one batch, and by the time limit of a call")]
        tokio::spawn(async move { Box::pin(caller.answer(vec![job])).await });
    }

    async fn call(&self, calls: Vec<SimulatedCall>) -> Result<Vec<Option<Outcome>>, CallError> {
        let count = calls.len();
        let mut data = self.code.clone();
        data.extend_from_slice(&calls.abi_encode());
        let gas = GAS_BASE + GAS_PER_CALL * count as u64 + GAS_PER_BYTE * data.len() as u64;
        let request = TransactionRequest {
            from: Some(self.from),
            gas: Some(gas),
            input: TransactionInput::new(data.into()),
            ..TransactionRequest::default()
        };
        let answer: Bytes = self.nodes.call("eth_call", (request, "latest")).await?;
        decode(&answer, count).ok_or(CallError::Complaint(super::rpc::Complaint {
            code: 0,
            message: "the simulation returned something else".to_owned(),
        }))
    }

    fn implausible(&self, what: &str) -> ChainError {
        ChainError::Implausible { network: self.network.clone(), what: what.to_owned() }
    }
}

/// Reads the contract's answer; `None` for a payment that it did not get to.
fn decode(answer: &[u8], count: usize) -> Option<Vec<Option<Outcome>>> {
    type Answer = (U256, U256, B256, Vec<SimulatedOutcome>, Bytes);
    let (number, _, _, outcomes, mut returned) = Answer::abi_decode_params(answer).ok()?;
    if outcomes.len() != count {
        return None;
    }
    let block = number.try_into().ok()?;
    outcomes
        .into_iter()
        .map(|outcome| {
            let facts = Facts::read(outcome.facts)?;
            let return_data = (facts.return_size <= returned.len()).then(|| returned.split_to(facts.return_size))?;
            Some(facts.ran.then(|| Outcome {
                block,
                success: facts.success,
                payer_code:
                    (facts.payer_code_size > 0 && outcome.payerCodeHash != KECCAK256_EMPTY).then_some(outcome.payerCodeHash),
                balance: facts.balance_known.then_some(outcome.balance),
                authorization_used: facts.authorization_known.then_some(facts.authorization_used),
                gas_used: facts.gas_used,
                return_data,
            }))
        })
        .collect()
}

/// The word of small values in an outcome; contracts/Simulator.sol has its layout.
#[expect(clippy::struct_excessive_bools, reason = "the contract's word has these flags, and they are independent")]
struct Facts {
    ran: bool,
    success: bool,
    balance_known: bool,
    authorization_known: bool,
    authorization_used: bool,
    return_size: usize,
    gas_used: u64,
    payer_code_size: u64,
}

impl Facts {
    fn read(word: B256) -> Option<Self> {
        let number = |from: usize| word[from..from + 8].try_into().ok().map(u64::from_be_bytes);
        Some(Self {
            ran: word[0] == 0,
            success: word[1] == 1,
            balance_known: word[2] == 1,
            authorization_known: word[3] == 1,
            authorization_used: word[4] == 1,
            return_size: number(8)?.try_into().ok()?,
            gas_used: number(16)?,
            payer_code_size: number(24)?,
        })
    }
}
