//! Our decoder of Solana's transactions beside the SDK's.

use std::collections::BTreeSet;

use bincode::Options as _;
use quittance::chain::solana::message::{DecodeError, Instruction, Transaction};
use solana_transaction::Address;
use solana_transaction::versioned::{TransactionVersion, VersionedTransaction};

/// What a packet holds. The SDK's reader does not mind, and the network does.
const PACKET_BYTES: usize = 1_232;

/// Checks that whatever we take, the SDK takes for the same transaction, and that what the SDK takes and we do not is refused for one of
/// the few things that we are stricter about. Returns whether we take it.
///
/// # Panics
/// If the two disagree.
pub fn compare(bytes: &[u8]) -> bool {
    let strict = bincode::DefaultOptions::new().with_fixint_encoding();
    let theirs = strict.deserialize::<VersionedTransaction>(bytes).ok().filter(|theirs| theirs.sanitize().is_ok());
    match (Transaction::decode(bytes), theirs) {
        (Ok(ours), theirs) => {
            assert_same(&ours, &theirs.expect("the SDK reads what we read, and finds nothing wrong with it"));
            true
        }
        (Err(error), Some(theirs)) => {
            assert!(is_so(error, bytes, &theirs), "the SDK takes it, and it is not so that: {error}");
            false
        }
        (Err(_), None) => false,
    }
}

fn assert_same(ours: &Transaction, theirs: &VersionedTransaction) {
    assert_eq!(theirs.message.serialize(), ours.message(), "the message");
    let keys = keys(theirs);
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
}

/// Whether a transaction that the SDK takes is what our error says of it: something that the network checks elsewhere, or that we do not
/// take. All other errors mean that the SDK must refuse it, too.
fn is_so(error: DecodeError, bytes: &[u8], theirs: &VersionedTransaction) -> bool {
    let message = &theirs.message;
    match error {
        DecodeError::TooLong => bytes.len() > PACKET_BYTES,
        DecodeError::Version(version) => theirs.version() == TransactionVersion::Number(version),
        DecodeError::DuplicateKey => {
            let keys = keys(theirs);
            keys.iter().collect::<BTreeSet<_>>().len() < keys.len()
        }
        DecodeError::TooManySigners => message.header().num_required_signatures > 2,
        DecodeError::LookupTables => message.address_table_lookups().is_some_and(|tables| !tables.is_empty()),
        DecodeError::Truncated
        | DecodeError::Length
        | DecodeError::TrailingBytes
        | DecodeError::Header
        | DecodeError::Index
        | DecodeError::Tables => false,
    }
}

fn keys(theirs: &VersionedTransaction) -> Vec<[u8; 32]> {
    theirs.message.static_account_keys().iter().map(Address::to_bytes).collect()
}
