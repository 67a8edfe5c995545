//! Asks the chain about one payment through Permit2: what its transaction would do in the state of the newest block.
//!
//! Not in the simulation that other payments share: there a contract calls, and the proxy of `upto` moves nothing unless the signer does
//! whom the payer named.

use alloy::primitives::{Address as EvmAddress, Bytes, U64, hex, keccak256};
use alloy::rpc::types::{TransactionInput, TransactionRequest};
use futures_util::future::try_join;
use serde_json::Value;

use super::super::abi::Token;
use super::super::fees::{GAS_CALLDATA_BYTE, GAS_TRANSACTION};
use super::super::observe::Header;
use super::super::rpc::{ESTIMATE, Nodes};
use super::super::simulate::GAS_CAP;
use super::super::state_of;
use super::verdict::{Outcome, Refused};
use super::{PERMIT2, Permit};
use crate::chain::ChainError;
use crate::chain::nodes::{CallError, Complaint};

/// The code with which nodes say that a contract reverted.
const REVERTED: i64 = 3;

/// Simulates a payment in the state of `newest`, as `sender` would make it.
///
/// # Errors
/// The nodes do not say.
pub async fn simulate(nodes: &Nodes, newest: &Header, sender: EvmAddress, permit: &Permit) -> Result<Outcome, ChainError> {
    let block = newest.block().ok_or_else(|| nodes.implausible("the newest block is not sealed".to_owned()))?;
    let state = state_of(&block.hash);
    let code = nodes.read::<_, Bytes>("eth_getCode", (permit.payer(), state.clone()));
    let (code, estimated) = try_join(code, estimate(nodes, sender, permit, &state)).await?;
    let gas = match estimated {
        Ok(gas) => Ok(gas),
        Err(complaint) => Err(explain(nodes, permit, &state, complaint).await?),
    };
    Ok(Outcome { block: block.number, payer_code: (!code.is_empty()).then(|| keccak256(&code)), gas })
}

/// The gas of the call alone, or the words with which it was refused.
async fn estimate(
    nodes: &Nodes,
    sender: EvmAddress,
    permit: &Permit,
    state: &Value,
) -> Result<Result<u64, Complaint>, ChainError> {
    let data = permit.call();
    let intrinsic = GAS_TRANSACTION + GAS_CALLDATA_BYTE * data.len() as u64;
    let request = TransactionRequest::default()
        .from(sender)
        .to(permit.proxy.address())
        .input(TransactionInput::new(data))
        .gas_limit(GAS_CAP + intrinsic);
    let usable = |answer: &Result<U64, CallError>| match answer {
        Ok(_) => true,
        Err(CallError::Complaint(complaint)) => is_refusal(complaint),
        Err(CallError::Unavailable(_)) => false,
    };
    match nodes.ask(ESTIMATE, (request, state.clone()), usable).await {
        Ok(gas) => Ok(Ok(gas.to::<u64>().saturating_sub(intrinsic))),
        Err(CallError::Complaint(complaint)) if is_refusal(&complaint) => Ok(Err(complaint)),
        Err(error) => Err(nodes.unavailable(ESTIMATE, error)),
    }
}

/// Whether the contracts refuse the payment, or use more gas for it than any payment may, as far as the node's words tell. Whatever else
/// a node complains about is no verdict.
fn is_refusal(complaint: &Complaint) -> bool {
    let message = complaint.message.to_ascii_lowercase();
    complaint.code == REVERTED || ["revert", "gas required exceeds", "out of gas"].iter().any(|words| message.contains(words))
}

/// Adds what the payer holds in the same state.
async fn explain(nodes: &Nodes, permit: &Permit, state: &Value, complaint: Complaint) -> Result<Refused, ChainError> {
    let (account, owner) = (permit.payer(), permit.payer());
    let balance = nodes.view(permit.token(), Token::balanceOfCall { account }, state.clone());
    let allowance = nodes.view(permit.token(), Token::allowanceCall { owner, spender: PERMIT2 }, state.clone());
    let (balance, allowance) = try_join(balance, allowance).await?;
    let data = complaint.data.as_deref().and_then(|data| hex::decode(data).ok()).unwrap_or_default();
    Ok(Refused { data, text: complaint.message, balance, allowance })
}
