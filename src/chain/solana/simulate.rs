//! The simulation of one payment: whether the cluster would carry it out now, and what the two token accounts hold afterwards.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use solana_client::rpc_request::RpcRequest;

use super::exact::Authorization;
use super::message::Key;
use super::rpc::Nodes;
use super::tokens::TokenAccount;
use crate::chain::ChainError;
use crate::domain::address::{Address, encode_base58};
use crate::domain::reason::{Reason, Refusal};

/// What the cluster says about a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The slot whose state was used.
    pub slot: u64,
    /// What happened.
    pub verdict: Result<Good, Refusal>,
}

/// A payment that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Good {
    /// What the payer held before.
    pub balance: u64,
    /// The compute units that it took.
    pub units: u64,
}

/// The part of the answer that is read. The errors of transactions are an open list, so they are kept as they come.
#[derive(Deserialize)]
struct Answer {
    context: Context,
    value: Simulated,
}

#[derive(Deserialize)]
struct Context {
    slot: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Simulated {
    err: Option<Value>,
    accounts: Option<Vec<Option<Account>>>,
    units_consumed: Option<u64>,
}

#[derive(Deserialize)]
struct Account {
    data: (String, String),
}

/// Simulates a payment as it will be sent, without the fee payer's signature and with its own blockhash.
pub async fn simulate(nodes: &Nodes, payment: &Authorization, pay_to: Address) -> Result<Outcome, ChainError> {
    let wire = STANDARD.encode(payment.transaction.unsigned());
    let transfer = &payment.transfer;
    let accounts = [encode_base58(&transfer.source), encode_base58(&transfer.destination)];
    let config = json!({
        "encoding": "base64", "commitment": "confirmed", "sigVerify": false, "replaceRecentBlockhash": false,
        "accounts": {"encoding": "base64", "addresses": accounts},
    });
    let answer: Answer = nodes.read(RpcRequest::SimulateTransaction, json!([wire, config])).await?;
    Ok(Outcome { slot: answer.context.slot, verdict: judge(&answer.value, payment, pay_to) })
}

fn judge(simulated: &Simulated, payment: &Authorization, pay_to: Address) -> Result<Good, Refusal> {
    if let Some(error) = &simulated.err {
        return Err(explain(error));
    }
    let accounts = simulated.accounts.as_deref().unwrap_or_default();
    let read = |index: usize| {
        let account = accounts.get(index)?.as_ref()?;
        TokenAccount::read(&STANDARD.decode(&account.data.0).ok()?)
    };
    let failed = |what: &str| Err(Refusal::because(Reason::SolanaSimulationFailed, what));
    let (Some(source), Some(destination)) = (read(0), read(1)) else { return failed("a token account is missing") };
    let transfer = &payment.transfer;
    let is = |key: &Key, address: Address| Address::Solana(*key) == address;
    // An owner can give an associated account away, and then the money would not reach whom the address is derived from.
    if !is(&destination.owner, pay_to) || destination.mint != transfer.mint || !destination.usable {
        return failed("the recipient's token account is not the recipient's any more, or is frozen");
    }
    if source.owner != transfer.authority || source.mint != transfer.mint {
        return failed("the money is not the payer's own");
    }
    Ok(Good { balance: source.amount.saturating_add(transfer.amount), units: simulated.units_consumed.unwrap_or_default() })
}

fn explain(error: &Value) -> Refusal {
    match error.as_str() {
        Some("AlreadyProcessed") => Reason::TransactionProcessed.into(),
        _ => Refusal::because(Reason::SolanaSimulationFailed, format!("Simulation failed: {error}")),
    }
}
