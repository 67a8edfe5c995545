//! The memo says what the requirements ask for, byte for byte.

use crate::chain::solana::message::Instruction;
use crate::chain::solana::programs::MEMO;
use crate::domain::reason::{Reason, Refusal};

/// Longest memo (`@x402/svm` 2.27).
pub const MEMO_BYTES_MAX: usize = 256;

/// Checks the memos among the instructions behind the transfer. Without a requirement there may be any, as clients add random ones
/// to tell two equal payments apart.
///
/// Bytes are compared, not texts: two different memos that are not UTF-8 can be the same text after repair.
///
/// # Errors
/// [`Reason::MemoCount`], [`Reason::MemoMismatch`].
pub fn check(optional: &[Instruction], required: Option<&str>) -> Result<(), Refusal> {
    let memos = || optional.iter().filter(|instruction| instruction.program == MEMO).map(|memo| memo.data.as_slice());
    if let Some(required) = required.filter(|text| !text.is_empty()) {
        let mut found = memos();
        let (Some(memo), None) = (found.next(), found.next()) else {
            return Err(Reason::MemoCount.into());
        };
        if memo != required.as_bytes() {
            return Err(Reason::MemoMismatch.into());
        }
    }
    if memos().any(|memo| memo.len() > MEMO_BYTES_MAX) {
        return Err(Refusal::because(Reason::MemoMismatch, "a memo is longer than 256 bytes"));
    }
    Ok(())
}
