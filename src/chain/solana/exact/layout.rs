//! Each instruction has its place: compute limit, compute price, transfer, and a few that may follow.

use crate::chain::solana::message::{Instruction, Transaction};
use crate::domain::reason::{Reason, Refusal, Version};

/// The instructions of a payment by their places. What they are is not known yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout<'a> {
    /// Where the limit of compute units is set.
    pub compute_limit: &'a Instruction,
    /// Where their price is set.
    pub compute_price: &'a Instruction,
    /// Where the money moves.
    pub transfer: &'a Instruction,
    /// What may follow.
    pub optional: &'a [Instruction],
}

impl<'a> Layout<'a> {
    /// Gives each instruction its place. There are at most seven, and in version 1 six, as the reference implementation has it: a
    /// memo, and the guards that wallets add.
    ///
    /// # Errors
    /// [`Reason::InstructionCount`].
    pub fn of(transaction: &'a Transaction, version: Version) -> Result<Self, Refusal> {
        let optional_max = match version {
            Version::V1 => 3,
            Version::V2 => 4,
        };
        match transaction.instructions() {
            [compute_limit, compute_price, transfer, optional @ ..] if optional.len() <= optional_max => {
                Ok(Self { compute_limit, compute_price, transfer, optional })
            }
            _ => Err(Reason::InstructionCount.into()),
        }
    }
}
