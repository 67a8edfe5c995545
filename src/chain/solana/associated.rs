//! The account in which an owner holds a token, derived as the Associated Token Account program derives it.

use curve25519_dalek::edwards::CompressedEdwardsY;
use sha2::{Digest, Sha256};

use super::message::Key;
use super::programs::{ASSOCIATED_TOKEN, token};
use crate::domain::asset::TokenProgram;

/// What a derived address is hashed with at the end, so that it can be nothing else (`PDA_MARKER` of the Solana SDK).
const MARKER: &[u8] = b"ProgramDerivedAddress";

/// The account of `owner` for `mint`. `None` if no bump leads off the curve, which happens for one in 2^255 owners.
#[must_use]
pub fn account(owner: &Key, mint: &Key, program: TokenProgram) -> Option<Key> {
    derive(&[owner, &token(program), mint], &ASSOCIATED_TOKEN)
}

/// The first address, from bump 255 down, that is no point of the curve and therefore nobody's public key.
fn derive(seeds: &[&Key], program: &Key) -> Option<Key> {
    let hash = seeds.iter().fold(Sha256::new(), Digest::chain_update);
    let with =
        |bump: u8| -> Key { hash.clone().chain_update([bump]).chain_update(program).chain_update(MARKER).finalize().into() };
    (0..=u8::MAX).rev().map(with).find(|address| !is_on_curve(address))
}

fn is_on_curve(address: &Key) -> bool {
    CompressedEdwardsY(*address).decompress().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::decode_base58;

    fn key(text: &str) -> Key {
        decode_base58(text).unwrap()
    }

    #[test]
    fn accounts_are_those_that_the_sdk_derives() {
        // Made with @solana/kit: devnet USDC of two owners.
        let mint = key("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU");
        for (owner, expected) in [
            ("9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu", "GzpVTWkyGGfBXRaprnrhV3JtGj3TT52z5w2CrEJsTfjm"),
            ("EdmxWPmx2WH6WgFfTdu9xfkYf3k1g5wD1zccTVySEEh1", "HfP3RZibPCj2EdqEyR7mSkKYSUzFPKsbRrMoR4i1mbmd"),
        ] {
            assert_eq!(account(&key(owner), &mint, TokenProgram::Token), Some(key(expected)));
            assert_ne!(account(&key(owner), &mint, TokenProgram::Token2022), Some(key(expected)));
        }
    }

    #[test]
    fn a_bump_that_leads_to_a_public_key_is_passed_over() {
        // Of the owners 0 to 63 about half need a second try.
        let mint = key("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU");
        for byte in 0..64 {
            let address = account(&[byte; 32], &mint, TokenProgram::Token).unwrap();
            assert!(!is_on_curve(&address));
        }
        assert!(is_on_curve(&key("9hSR6S7WPtxmTojgo6GG3k4yDPecgJY292j7xrsUGWBu")));
    }
}
