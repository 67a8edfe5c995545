//! What an EVM node answers to the shared simulation.

use quittance::chain::evm::outcome;

/// Payments that were asked about: as many as the first byte says, and the answer is what stands behind it.
///
/// Checks that each of them gets a word of its own, and no more than the contract has returned. Returns whether it is an answer.
///
/// # Panics
/// If it is not so.
pub fn outcomes(bytes: &[u8]) -> bool {
    let Some((count, answer)) = bytes.split_first() else { return false };
    let Some(outcomes) = outcome::all(answer, usize::from(*count)) else { return false };
    assert_eq!(outcomes.len(), usize::from(*count));
    let returned: usize = outcomes.iter().flatten().map(|outcome| outcome.return_data.len()).sum();
    assert!(returned <= answer.len(), "each byte is one payment's");
    let words = outcomes.iter().flatten().filter_map(outcome::Outcome::revert_text);
    assert!(words.map(|words| words.len()).sum::<usize>() <= returned);
    true
}
