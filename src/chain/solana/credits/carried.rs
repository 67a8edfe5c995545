//! A transaction as a block carries it: its name, the accounts that it names, and the programs that it calls.

use std::collections::BTreeSet;

use super::answer::{Meta, TransactionAnswer};
use crate::chain::solana::message::Key;
use crate::chain::solana::programs::{MEMO, MEMO_V1, PROGRAMS};
use crate::domain::address::{decode_base58, encode_base58};
use crate::domain::transfer::{Mark, TransactionId};

/// What the addresses of all sysvars begin with: `Sysvar`, in base58.
const SYSVARS: [u8; 4] = [0x06, 0xa7, 0xd5, 0x17];

/// A longer memo names nothing of ours. Reading base58 takes time that grows with the square of the length.
const MEMO_BYTES_MAX: usize = 512;

/// What that is in digits of base58, at most.
const MEMO_DIGITS_MAX: usize = 700;

/// A decoded transaction.
pub(super) struct Carried {
    /// The first signature.
    pub(super) name: TransactionId,
    /// How many accounts it names.
    pub(super) accounts: usize,
    /// Those that are only read, and whose owners need not sign.
    read: Vec<Key>,
    called: BTreeSet<Key>,
    memos: Vec<String>,
}

/// The name of a transaction. `None` if it cannot be decoded.
pub(super) fn name(transaction: &TransactionAnswer) -> Option<TransactionId> {
    let decoded = transaction.transaction.decode()?;
    decoded.signatures.first().map(|signature| encode_base58(signature.as_ref()))
}

impl Carried {
    /// Decodes a transaction. `None` if that is not possible, or the accounts behind its lookup tables are missing.
    pub(super) fn read(transaction: &TransactionAnswer, meta: &Meta) -> Option<Self> {
        let decoded = transaction.transaction.decode()?;
        let message = &decoded.message;
        let own: Vec<Key> = message.static_account_keys().iter().map(|key| *key.as_array()).collect();
        let (written, only_read) = loaded(meta)?;
        let looked_up = message.address_table_lookups().unwrap_or_default().iter();
        let wanted: usize = looked_up.map(|table| table.writable_indexes.len() + table.readonly_indexes.len()).sum();
        if wanted != written.len() + only_read.len() {
            return None;
        }
        let first_read = own.len().checked_sub(message.header().num_readonly_unsigned_accounts.into())?;
        let read = [own.get(first_read..)?, only_read.as_slice()].concat();
        let keys = [own, written, only_read].concat();

        let (mut called, mut memos) = (BTreeSet::new(), Vec::new());
        for call in message.instructions() {
            let program = *keys.get(usize::from(call.program_id_index))?;
            called.insert(program);
            memos.extend(memo(&program, || Some(call.data.clone())));
        }
        for call in meta.inner_instructions.iter().flatten().flat_map(|inner| &inner.instructions) {
            let program = *keys.get(usize::from(call.program_id_index))?;
            called.insert(program);
            memos.extend(memo(&program, || decode(&call.data)));
        }
        let name = decoded.signatures.first().map(|signature| encode_base58(signature.as_ref()))?;
        Some(Self { name, accounts: keys.len(), read, called, memos })
    }

    /// What binds the transfers in it to something that the payer meant: accounts that it names without need, and memos. `mints` are
    /// those of the accounts that it moves tokens of.
    pub(super) fn marks(&self, mints: &BTreeSet<Key>) -> Vec<Mark> {
        let is_needed =
            |key: &Key| self.called.contains(key) || mints.contains(key) || PROGRAMS.contains(key) || key.starts_with(&SYSVARS);
        let references = self.read.iter().filter(|key| !is_needed(key)).copied().map(Mark::Reference);
        references.chain(self.memos.iter().cloned().map(Mark::Memo)).collect()
    }
}

/// The accounts behind the lookup tables of a transaction: those that it writes to, and those that it reads.
fn loaded(meta: &Meta) -> Option<(Vec<Key>, Vec<Key>)> {
    let Some(loaded) = &meta.loaded_addresses else { return Some((Vec::new(), Vec::new())) };
    let keys = |texts: &[String]| texts.iter().map(|text| decode_base58(text)).collect::<Option<Vec<_>>>();
    Some((keys(&loaded.writable)?, keys(&loaded.readonly)?))
}

/// The text that a program is told, if it is one that keeps memos.
fn memo(program: &Key, data: impl FnOnce() -> Option<Vec<u8>>) -> Option<String> {
    let data = [MEMO, MEMO_V1].contains(program).then(data).flatten()?;
    String::from_utf8(data).ok().filter(|text| !text.is_empty() && text.len() <= MEMO_BYTES_MAX)
}

fn decode(digits: &str) -> Option<Vec<u8>> {
    let digits = Some(digits).filter(|digits| digits.len() <= MEMO_DIGITS_MAX)?;
    bs58::decode(digits).into_vec().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::solana::programs::TOKEN;

    #[test]
    fn sysvars_are_known_by_how_their_addresses_begin() {
        for text in [
            "SysvarC1ock11111111111111111111111111111111",
            "SysvarRent111111111111111111111111111111111",
            "Sysvar1nstructions1111111111111111111111111",
            "SysvarRecentB1ockHashes11111111111111111111",
            "SysvarS1otHashes111111111111111111111111111",
        ] {
            assert!(decode_base58(text).unwrap().starts_with(&SYSVARS), "{text}");
        }
        assert!(PROGRAMS.iter().all(|program| !program.starts_with(&SYSVARS)));
    }

    #[test]
    fn a_memo_is_the_text_that_a_memo_program_is_told() {
        let told = |program: &Key, data: &[u8]| memo(program, || Some(data.to_vec()));
        let long = "x".repeat(MEMO_BYTES_MAX);

        assert_eq!(told(&MEMO, b"order 7"), Some("order 7".to_owned()));
        assert_eq!(told(&MEMO_V1, "é\n".as_bytes()), Some("é\n".to_owned()));
        assert_eq!(told(&MEMO, long.as_bytes()), Some(long.clone()));
        assert_eq!(told(&MEMO, format!("{long}x").as_bytes()), None);
        assert_eq!(told(&MEMO, b""), None);
        assert_eq!(told(&MEMO, &[0xff]), None);
        assert_eq!(told(&TOKEN, b"order 7"), None);
    }

    #[test]
    fn the_longest_memo_is_short_enough_in_base58() {
        let longest = vec![0xff; MEMO_BYTES_MAX];

        assert_eq!(decode(&encode_base58(&longest)), Some(longest));
        assert_eq!(decode(&"1".repeat(MEMO_DIGITS_MAX)), Some(vec![0; MEMO_DIGITS_MAX]));
        assert_eq!(decode(&"1".repeat(MEMO_DIGITS_MAX + 1)), None);
        assert_eq!(decode("0"), None);
    }
}
