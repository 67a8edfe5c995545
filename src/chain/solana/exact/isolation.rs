//! No instruction names an account of ours: what a program cannot see, it cannot spend with our signature.

use crate::chain::solana::message::{Instruction, Key};
use crate::domain::reason::{Reason, Refusal};

/// Checks accounts and programs of all instructions. The reference implementations check the transfer's authority only, and the
/// specification all.
///
/// # Errors
/// [`Reason::FeePayerIncluded`].
pub fn check(instructions: &[Instruction], signers: &[Key]) -> Result<(), Refusal> {
    let named = instructions.iter().flat_map(|instruction| instruction.accounts.iter().chain([&instruction.program]));
    if named.into_iter().any(|key| signers.contains(key)) { Err(Reason::FeePayerIncluded.into()) } else { Ok(()) }
}
