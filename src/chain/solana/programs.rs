//! The programs that a payment may call, by the addresses that all clusters have them at.

use super::message::Key;
use crate::domain::asset::TokenProgram;

/// Sets how much a transaction may compute and what it offers for that.
pub const COMPUTE_BUDGET: Key = key("ComputeBudget111111111111111111111111111111");

/// SPL Token.
pub const TOKEN: Key = key("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");

/// Token-2022.
pub const TOKEN_2022: Key = key("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb");

/// SPL Memo in its second version.
pub const MEMO: Key = key("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr");

/// SPL Memo in its first version, which is still called.
pub const MEMO_V1: Key = key("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo");

/// Lighthouse, whose guards wallets such as Phantom add to what their users sign.
pub const LIGHTHOUSE: Key = key("L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95");

/// Associated Token Account, which gives an owner one account for each mint.
pub const ASSOCIATED_TOKEN: Key = key("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL");

/// System, which owns what nobody else does. Its address is zero.
pub const SYSTEM: Key = [0; 32];

/// All of these. Whatever is sent to one of them is lost, because nobody has a key for it, and instructions are given them although
/// they may call none.
pub const PROGRAMS: [Key; 8] = [SYSTEM, TOKEN, TOKEN_2022, ASSOCIATED_TOKEN, COMPUTE_BUDGET, MEMO, MEMO_V1, LIGHTHOUSE];

/// The address of a token program.
#[must_use]
pub const fn token(program: TokenProgram) -> Key {
    match program {
        TokenProgram::Token => TOKEN,
        TokenProgram::Token2022 => TOKEN_2022,
    }
}

const fn key(text: &str) -> Key {
    bs58::decode(text.as_bytes()).into_array_const_unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::Address;

    #[test]
    fn the_addresses_are_printed_as_they_were_written() {
        assert_eq!(Address::Solana(TOKEN).to_string(), "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA");
        assert_eq!(Address::Solana(COMPUTE_BUDGET).to_string(), "ComputeBudget111111111111111111111111111111");
        assert_eq!(Address::Solana(SYSTEM).to_string(), "1".repeat(32));
    }
}
