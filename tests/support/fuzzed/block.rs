//! What a node of Solana answers about a block with all of its transactions.

use quittance::chain::solana::credits::answer::BlockAnswer;
use quittance::chain::solana::credits::{executed, transfers};
use quittance::domain::address::decode_base58;
use quittance::domain::amount::Amount;
use quittance::domain::asset::TokenProgram;

/// USDC on the main network.
const MINT: &str = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";

/// Checks that transfers are told in their order, none twice and none of nothing, and only of transactions that did not fail. Returns
/// whether the block can be read.
///
/// # Panics
/// If it is not so.
pub fn block(bytes: &[u8]) -> bool {
    let Ok(answer) = serde_json::from_slice::<BlockAnswer>(bytes) else { return false };
    let executed = executed(&answer);
    let mint = decode_base58(MINT).expect("an address");
    let Ok(found) = transfers(&answer, &[(mint, TokenProgram::Token)]) else { return false };
    assert!(found.is_sorted_by(|one, next| one.index < next.index), "in their order, and none twice");
    for transfer in &found {
        assert!(transfer.amount > Some(Amount::ZERO));
        assert!(executed.iter().any(|one| one.name == transfer.transaction && !one.failed), "its transaction was carried out");
    }
    true
}
