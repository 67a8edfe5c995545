//! Behind the transfer there may be memos, and guards that wallets add.

use crate::chain::solana::message::Instruction;
use crate::chain::solana::programs::{LIGHTHOUSE, MEMO};
use crate::domain::reason::{Reason, Refusal};

/// Phantom adds up to three.
const GUARDS_MAX: usize = 3;

/// What the fourth, the fifth and so on are refused with.
const REASONS: [Reason; 4] = [
    Reason::UnknownFourthInstruction,
    Reason::UnknownFifthInstruction,
    Reason::UnknownSixthInstruction,
    Reason::UnknownSeventhInstruction,
];

/// Checks which programs the instructions behind the transfer call.
///
/// # Errors
/// The reason of the first that calls another one, [`Reason::UnknownOptionalInstruction`] for too many guards.
pub fn check(optional: &[Instruction]) -> Result<(), Refusal> {
    let reasons = REASONS.into_iter().chain(std::iter::repeat(Reason::UnknownOptionalInstruction));
    let unknown = optional.iter().zip(reasons).find(|(instruction, _)| ![LIGHTHOUSE, MEMO].contains(&instruction.program));
    if let Some((_, reason)) = unknown {
        return Err(reason.into());
    }
    let guards = optional.iter().filter(|instruction| instruction.program == LIGHTHOUSE).count();
    if guards > GUARDS_MAX { Err(Reason::UnknownOptionalInstruction.into()) } else { Ok(()) }
}
