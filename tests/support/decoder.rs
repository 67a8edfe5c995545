//! Our decoder of Solana's transactions beside the SDK's.

use bincode::Options as _;
use quittance::chain::solana::message::{Instruction, Transaction};
use solana_transaction::versioned::VersionedTransaction;

/// Checks that whatever we take, the SDK takes for the same transaction. Returns whether we take it.
///
/// # Panics
/// If the two disagree.
pub fn compare(bytes: &[u8]) -> bool {
    let Ok(ours) = Transaction::decode(bytes) else { return false };
    let strict = bincode::DefaultOptions::new().with_fixint_encoding();
    let theirs: VersionedTransaction = strict.deserialize(bytes).expect("the SDK reads what we read");
    theirs.sanitize().expect("the SDK finds nothing wrong with it");
    assert_eq!(theirs.message.serialize(), ours.message(), "the message");
    let keys: Vec<_> = theirs.message.static_account_keys().iter().map(solana_transaction::Address::to_bytes).collect();
    let signers = usize::from(theirs.message.header().num_required_signatures);
    assert_eq!((keys.first(), signers), (Some(ours.fee_payer()), usize::from(ours.signatures())), "who signs");
    assert_eq!(theirs.message.recent_blockhash().as_bytes(), ours.recent_blockhash(), "the blockhash");
    let key = |index: u8| keys[usize::from(index)];
    let instructions = theirs.message.instructions().iter().map(|instruction| Instruction {
        program: key(instruction.program_id_index),
        accounts: instruction.accounts.iter().copied().map(key).collect(),
        data: instruction.data.clone(),
    });
    assert_eq!(instructions.collect::<Vec<_>>(), ours.instructions(), "the instructions");
    true
}
