//! Behind the transfer there may be memos, and guards that wallets add.

use super::transfer::Transfer;
use crate::chain::solana::message::{Instruction, Key};
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

/// What a guard compares. The first byte of an instruction tells (`LighthouseInstruction` in `programs/lighthouse` of
/// github.com/Jac0xb/lighthouse, as it is deployed; the generated clients have the same numbers).
///
/// These four compare what an account holds and whose it is, which is what wallets promise their users. All others are refused:
/// 0 and 1 write to memory accounts and close them, 2 to 4 compare any bytes of any account, 7, 8, 11 to 14, 16 and 17 ask mints,
/// stakes, programs and trees, and 15 (`AssertSysvarClock`) asks for slot and time.
const COMPARISONS: [u8; 4] = [ASSERT_ACCOUNT_INFO, ASSERT_ACCOUNT_INFO_MULTI, ASSERT_TOKEN_ACCOUNT, ASSERT_TOKEN_ACCOUNT_MULTI];
const ASSERT_ACCOUNT_INFO: u8 = 5;
const ASSERT_ACCOUNT_INFO_MULTI: u8 = 6;
const ASSERT_TOKEN_ACCOUNT: u8 = 9;
const ASSERT_TOKEN_ACCOUNT_MULTI: u8 = 10;

/// Checks what the instructions behind the transfer do.
///
/// # Errors
/// The reason of the first that calls another program, or is no guard of the payer's own; [`Reason::UnknownOptionalInstruction`] for
/// too many guards.
pub fn check(optional: &[Instruction], transfer: &Transfer) -> Result<(), Refusal> {
    let placed = || optional.iter().zip(REASONS.into_iter().chain(std::iter::repeat(Reason::UnknownOptionalInstruction)));
    if let Some((_, reason)) = placed().find(|(instruction, _)| ![LIGHTHOUSE, MEMO].contains(&instruction.program)) {
        return Err(reason.into());
    }
    let guards = || placed().filter(|(instruction, _)| instruction.program == LIGHTHOUSE);
    if let Some((_, reason)) = guards().find(|(guard, _)| !is_harmless(guard, [transfer.authority, transfer.source])) {
        return Err(Refusal::because(reason, "a guard of Lighthouse may only compare what the payer's own accounts hold"));
    }
    if guards().count() > GUARDS_MAX { Err(Reason::UnknownOptionalInstruction.into()) } else { Ok(()) }
}

/// A guard that fails on landing costs us the fee and its payer nothing. So what it depends on must not change by itself between the
/// simulation and the block: not the clock, and not what strangers do to accounts of theirs or of the recipient.
fn is_harmless(guard: &Instruction, payers: [Key; 2]) -> bool {
    guard.data.first().is_some_and(|first| COMPARISONS.contains(first)) && guard.accounts.iter().all(|key| payers.contains(key))
}
