//! What contracts/Simulator.sol found out about payments, as a node tells it.

use alloy::primitives::{B256, Bytes, KECCAK256_EMPTY, U256};
use alloy::sol_types::{Revert, SolError, SolValue};

use super::abi::SimulatedOutcome;

/// What the chain says about one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The block whose state was used.
    pub block: u64,
    /// Whether the transfer went through.
    pub success: bool,
    /// The payer's code at that block; `None` for an account without any.
    pub payer_code: Option<B256>,
    /// What the payer held, if it was asked for and the token said.
    pub balance: Option<U256>,
    /// Whether the authorization was used or cancelled, if it was asked for and the token said.
    pub authorization_used: Option<bool>,
    /// The gas that the transfer took.
    pub gas_used: u64,
    /// The beginning of what the token returned.
    pub return_data: Bytes,
}

impl Outcome {
    /// The token's words when it refused, if it used any.
    #[must_use]
    pub fn revert_text(&self) -> Option<String> {
        Revert::abi_decode(&self.return_data).ok().map(|revert| revert.reason)
    }
}

/// Reads the contract's answer about so many payments: `None` if it is none, and within it for a payment that it did not get to.
#[must_use]
pub fn all(answer: &[u8], count: usize) -> Option<Vec<Option<Outcome>>> {
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
