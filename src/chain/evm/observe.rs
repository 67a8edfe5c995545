//! What a block says: which authorizations it used up, and what they moved.

use std::collections::HashMap;

use alloy::primitives::{Address as EvmAddress, B256, Bloom, BloomInput, Bytes, U64, U256};
use alloy::sol_types::SolEvent;
use serde::Deserialize;

use super::abi::Token;
use super::exact::authorization_key;
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::block::Block;
use crate::domain::payment::AuthorizationKey;
use crate::domain::transfer::{AuthorizationUse, Transfer, Use};

/// A block as `eth_getBlockByNumber` answers it, as far as we read it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Height.
    pub number: U64,
    /// The block's hash. Absent for pending blocks, which are never evidence.
    pub hash: Option<B256>,
    /// The block before.
    pub parent_hash: B256,
    /// Seconds since 1970.
    pub timestamp: U64,
    /// Wei per gas (EIP-1559).
    #[serde(default)]
    pub base_fee_per_gas: Option<U256>,
    /// Which addresses and topics may be in the logs.
    #[serde(default)]
    pub logs_bloom: Option<Bloom>,
    /// Transactions, by hash.
    #[serde(default)]
    pub transactions: Vec<B256>,
}

impl Header {
    /// The block, if it is sealed and its time can be.
    pub fn block(&self) -> Option<Block> {
        Some(Block {
            number: self.number.to(),
            hash: self.hash?.to_string(),
            parent_hash: self.parent_hash.to_string(),
            timestamp: chrono::DateTime::from_timestamp(i64::try_from(self.timestamp.to::<u64>()).ok()?, 0)?,
        })
    }

    /// Whether this is the header of `block`.
    pub fn is(&self, block: &Block) -> bool {
        self.hash.is_some_and(|hash| hash.to_string() == block.hash)
    }

    /// Whether the logs must be looked at: the bloom filter never hides what is there.
    pub fn may_hold_uses(&self, tokens: &[EvmAddress]) -> bool {
        let Some(bloom) = &self.logs_bloom else { return true };
        let holds = |input: &[u8]| bloom.contains_input(BloomInput::Raw(input));
        tokens.iter().any(|token| holds(token.as_slice()))
            && [Token::AuthorizationUsed::SIGNATURE_HASH, Token::AuthorizationCanceled::SIGNATURE_HASH]
                .iter()
                .any(|topic| holds(topic.as_slice()))
    }
}

/// A log as `eth_getLogs` answers it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry {
    /// Who emitted it.
    pub address: EvmAddress,
    /// What kind, and its indexed values.
    pub topics: Vec<B256>,
    /// The rest.
    pub data: Bytes,
    /// The block.
    pub block_hash: Option<B256>,
    /// Its height.
    pub block_number: Option<U64>,
    /// The transaction.
    pub transaction_hash: Option<B256>,
    /// Position in the block.
    pub log_index: Option<U64>,
    /// Set by nodes that announce a reorganisation.
    #[serde(default)]
    pub removed: bool,
}

/// The topics that matter, as a filter takes them.
pub fn topics() -> [B256; 3] {
    [Token::Transfer::SIGNATURE_HASH, Token::AuthorizationUsed::SIGNATURE_HASH, Token::AuthorizationCanceled::SIGNATURE_HASH]
}

/// Reads the uses of authorizations out of a block's logs.
///
/// A token announces the use first and the transfer next, within one transaction (EIP-3009); several of both can stand in one
/// transaction, so each use takes the first transfer behind it that its authorizer sent and that no other use took.
///
/// Returns `None` if the logs are not those of one sealed block: a node that answers such a thing is not believed.
pub fn uses(tokens: &[EvmAddress], block_hash: &str, logs: &[LogEntry]) -> Option<Vec<AuthorizationUse>> {
    let mut uses: Vec<AuthorizationUse> = Vec::new();
    // Uses that have no transfer yet, by transaction, token and authorizer.
    let mut open: HashMap<(B256, EvmAddress, EvmAddress), Vec<usize>> = HashMap::new();
    for log in logs {
        let (transaction, index) = (log.transaction_hash?, log.log_index?);
        if log.removed || log.block_hash?.to_string() != block_hash {
            return None;
        }
        // Anybody can emit such logs; only the tokens' own count.
        if !tokens.contains(&log.address) {
            continue;
        }
        match read(log) {
            Some(Entry::Used { authorizer, key }) => {
                open.entry((transaction, log.address, authorizer)).or_default().push(uses.len());
                uses.push(AuthorizationUse { key, outcome: Use::Spent(None) });
            }
            Some(Entry::Cancelled { key }) => uses.push(AuthorizationUse { key, outcome: Use::Cancelled }),
            Some(Entry::Moved { from, to, value }) => {
                let waiting = open.get_mut(&(transaction, log.address, from)).filter(|waiting| !waiting.is_empty());
                if let Some(waiting) = waiting {
                    let transfer = Transfer {
                        transaction: transaction.to_string(),
                        index: u32::try_from(index.to::<u64>()).ok()?,
                        asset: Address::Evm(log.address.into()),
                        from: Address::Evm(from.into()),
                        to: Address::Evm(to.into()),
                        amount: u128::try_from(value).ok().map(Amount::new),
                    };
                    uses[waiting.remove(0)].outcome = Use::Spent(Some(transfer));
                }
            }
            None => {}
        }
    }
    Some(uses)
}

enum Entry {
    Used { authorizer: EvmAddress, key: AuthorizationKey },
    Cancelled { key: AuthorizationKey },
    Moved { from: EvmAddress, to: EvmAddress, value: U256 },
}

fn read(log: &LogEntry) -> Option<Entry> {
    let address = |topic: usize| log.topics.get(topic).map(|topic| EvmAddress::from_word(*topic));
    let key = || Some(authorization_key(log.address, address(1)?, *log.topics.get(2)?));
    match *log.topics.first()? {
        Token::AuthorizationUsed::SIGNATURE_HASH => Some(Entry::Used { authorizer: address(1)?, key: key()? }),
        Token::AuthorizationCanceled::SIGNATURE_HASH => Some(Entry::Cancelled { key: key()? }),
        Token::Transfer::SIGNATURE_HASH => {
            let value = U256::try_from_be_slice(log.data.get(..32)?)?;
            Some(Entry::Moved { from: address(1)?, to: address(2)?, value })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::b256;

    const BLOCK: B256 = b256!("00000000000000000000000000000000000000000000000000000000000000b1");
    const TOKEN: EvmAddress = EvmAddress::repeat_byte(1);

    fn log(index: u64, transaction: u8, topics: Vec<B256>, value: Option<u64>) -> LogEntry {
        LogEntry {
            address: TOKEN,
            topics,
            data: value.map_or_else(Bytes::new, |value| U256::from(value).to_be_bytes_vec().into()),
            block_hash: Some(BLOCK),
            block_number: Some(U64::from(1)),
            transaction_hash: Some(B256::repeat_byte(transaction)),
            log_index: Some(U64::from(index)),
            removed: false,
        }
    }

    fn used(index: u64, transaction: u8, payer: u8, nonce: u8) -> LogEntry {
        let topics = vec![Token::AuthorizationUsed::SIGNATURE_HASH, word(payer), B256::repeat_byte(nonce)];
        log(index, transaction, topics, None)
    }

    fn moved(index: u64, transaction: u8, from: u8, to: u8, value: u64) -> LogEntry {
        log(index, transaction, vec![Token::Transfer::SIGNATURE_HASH, word(from), word(to)], Some(value))
    }

    fn word(byte: u8) -> B256 {
        EvmAddress::repeat_byte(byte).into_word()
    }

    fn outcomes(logs: &[LogEntry]) -> Vec<Option<(u32, u128)>> {
        uses(&[TOKEN], &BLOCK.to_string(), logs)
            .unwrap()
            .into_iter()
            .map(|entry| match entry.outcome {
                Use::Spent(Some(transfer)) => Some((transfer.index, transfer.amount.unwrap().units())),
                Use::Spent(None) | Use::Cancelled | Use::Failed(_) => None,
            })
            .collect()
    }

    #[test]
    fn each_use_takes_the_transfer_that_follows_it() {
        let logs = [
            moved(0, 7, 5, 3, 1),
            used(1, 7, 5, 1),
            moved(2, 7, 5, 3, 10),
            used(3, 7, 6, 2),
            moved(4, 7, 6, 3, 20),
            used(5, 7, 5, 3),
            moved(6, 7, 5, 4, 30),
        ];

        assert_eq!(outcomes(&logs), [Some((2, 10)), Some((4, 20)), Some((6, 30))]);
    }

    #[test]
    fn a_transfer_of_another_transaction_or_payer_pays_nothing() {
        let logs = [used(0, 7, 5, 1), moved(1, 8, 5, 3, 10), moved(2, 7, 6, 3, 10)];

        assert_eq!(outcomes(&logs), [None]);
    }

    #[test]
    fn one_transfer_never_pays_for_two_uses() {
        let logs = [used(0, 7, 5, 1), used(1, 7, 5, 2), moved(2, 7, 5, 3, 10)];

        assert_eq!(outcomes(&logs), [Some((2, 10)), None]);
    }

    #[test]
    fn logs_of_other_contracts_do_not_count() {
        let mut forged = used(0, 7, 5, 1);
        forged.address = EvmAddress::repeat_byte(2);

        assert_eq!(outcomes(&[forged, moved(1, 7, 5, 3, 10)]), []);
    }

    #[test]
    fn logs_of_another_block_are_not_believed() {
        let mut elsewhere = used(0, 7, 5, 1);
        elsewhere.block_hash = Some(B256::ZERO);
        let removed = LogEntry { removed: true, ..used(0, 7, 5, 1) };

        assert_eq!(uses(&[TOKEN], &BLOCK.to_string(), &[elsewhere]), None);
        assert_eq!(uses(&[TOKEN], &BLOCK.to_string(), &[removed]), None);
    }
}
