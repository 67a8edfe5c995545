//! What a block says: which tokens moved, which authorizations it used up, and what those moved.

use std::collections::{HashMap, VecDeque};

use alloy::primitives::{Address as EvmAddress, B256, Bloom, BloomInput, Bytes, U64, U256};
use alloy::sol_types::SolEvent;
use serde::Deserialize;

use super::abi::Token;
use super::exact::authorization_key;
use super::permit2::observe::{PROXIES, SETTLED};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::block::Block;
use crate::domain::transfer::{AuthorizationUse, Mark, Transfer, Use};

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
    #[must_use]
    pub fn block(&self) -> Option<Block> {
        Some(Block {
            number: self.number.to(),
            hash: self.hash?.to_string(),
            parent_hash: self.parent_hash.to_string(),
            timestamp: chrono::DateTime::from_timestamp(i64::try_from(self.timestamp.to::<u64>()).ok()?, 0)?,
        })
    }

    /// Whether this is the header of `block`.
    #[must_use]
    pub fn is(&self, block: &Block) -> bool {
        self.hash.is_some_and(|hash| hash.to_string() == block.hash)
    }

    /// Whether the logs must be looked at: the bloom filter never hides what is there, and often promises what is not.
    #[must_use]
    pub fn may_hold_entries(&self, tokens: &[EvmAddress]) -> bool {
        let Some(bloom) = &self.logs_bloom else { return true };
        let holds = |input: &[u8]| bloom.contains_input(BloomInput::Raw(input));
        tokens.iter().any(|token| holds(token.as_slice())) && topics().iter().any(|topic| holds(topic.as_slice()))
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
#[must_use]
pub fn topics() -> [B256; 6] {
    let [settled, settled_with_permit] = SETTLED;
    [
        Token::Transfer::SIGNATURE_HASH,
        Token::AuthorizationUsed::SIGNATURE_HASH,
        Token::AuthorizationCanceled::SIGNATURE_HASH,
        Token::Upgraded::SIGNATURE_HASH,
        settled,
        settled_with_permit,
    ]
}

/// What a block's logs say of the allowed tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// Every authorization that was used up, whoever sent it.
    pub uses: Vec<AuthorizationUse>,
    /// Every movement, whoever paid and was paid.
    pub transfers: Vec<Transfer>,
    /// Tokens that got other code.
    pub upgraded: Vec<Address>,
    /// The transactions in which a proxy took something through Permit2. Which authorization that used up stands in them.
    pub settled: Vec<B256>,
}

/// Reads what a block's logs say of `tokens`.
///
/// A token announces the use of an authorization first and the transfer next, within one transaction (EIP-3009); several of both can
/// stand in one transaction, so each use takes the first transfer behind it that its authorizer sent and that no other use took.
///
/// Returns `None` if the logs are not those of one sealed block in their order: a node that answers such a thing is not believed.
#[must_use]
pub fn entries(tokens: &[EvmAddress], block_hash: &str, logs: &[LogEntry]) -> Option<Entries> {
    let mut entries = Entries::default();
    // Uses that have no transfer yet, with their nonces, by transaction, token and authorizer.
    let mut open: HashMap<(B256, EvmAddress, EvmAddress), VecDeque<(usize, B256)>> = HashMap::new();
    let mut last = None;
    for log in logs {
        let (transaction, index) = (log.transaction_hash?, log.log_index?);
        if log.removed || log.block_hash?.to_string() != block_hash || Some(index) <= last {
            return None;
        }
        last = Some(index);
        // Anybody can emit such logs; only the tokens' own count, and those of the proxies.
        if PROXIES.contains(&log.address) && log.topics.first().is_some_and(|topic| SETTLED.contains(topic)) {
            entries.settled.push(transaction);
        }
        if !tokens.contains(&log.address) {
            continue;
        }
        match read(log) {
            Some(Entry::Used { authorizer, nonce }) => {
                open.entry((transaction, log.address, authorizer)).or_default().push_back((entries.uses.len(), nonce));
                let key = authorization_key(log.address, authorizer, nonce);
                entries.uses.push(AuthorizationUse { key, outcome: Use::Spent(None) });
            }
            Some(Entry::Cancelled { authorizer, nonce }) => {
                let key = authorization_key(log.address, authorizer, nonce);
                entries.uses.push(AuthorizationUse { key, outcome: Use::Cancelled });
            }
            Some(Entry::Moved(Moved { from, to, value })) => {
                let used = open.get_mut(&(transaction, log.address, from)).and_then(VecDeque::pop_front);
                let transfer = Transfer {
                    transaction: transaction.to_string(),
                    index: u32::try_from(index.to::<u64>()).ok()?,
                    asset: Address::Evm(log.address.into()),
                    from: Address::Evm(from.into()),
                    to: Address::Evm(to.into()),
                    amount: u128::try_from(value).ok().map(Amount::new),
                    marks: used.iter().map(|(_, nonce)| Mark::Nonce((*nonce).into())).collect(),
                };
                if let Some((place, _)) = used {
                    entries.uses[place].outcome = Use::Spent(Some(transfer.clone()));
                }
                entries.transfers.push(transfer);
            }
            Some(Entry::Upgraded) => entries.upgraded.push(Address::Evm(log.address.into())),
            None => {}
        }
    }
    Some(entries)
}

/// Gives each of several blocks its logs, from an answer about all of them.
///
/// Returns `None` if a log belongs to none of the blocks, was removed, or does not stand in order. Then the chain changed meanwhile, or
/// the answer was put together from several nodes.
#[must_use]
pub fn by_block(blocks: &[Block], logs: Vec<LogEntry>) -> Option<Vec<Vec<LogEntry>>> {
    let places: HashMap<B256, usize> =
        blocks.iter().enumerate().map(|(place, block)| Some((block.hash.parse::<B256>().ok()?, place))).collect::<Option<_>>()?;
    let mut grouped = vec![Vec::new(); blocks.len()];
    let mut last = None;
    for log in logs {
        let place = *places.get(&log.block_hash?)?;
        let position = Some((place, log.log_index?));
        if log.removed || position <= last {
            return None;
        }
        last = position;
        grouped[place].push(log);
    }
    Some(grouped)
}

/// A transfer as a token announces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Who paid.
    pub from: EvmAddress,
    /// Who was paid.
    pub to: EvmAddress,
    /// How much.
    pub value: U256,
}

/// The transfer that a log announces, if it announces one.
#[must_use]
pub fn moved(log: &LogEntry) -> Option<Moved> {
    match read(log)? {
        Entry::Moved(moved) => Some(moved),
        Entry::Used { .. } | Entry::Cancelled { .. } | Entry::Upgraded => None,
    }
}

enum Entry {
    Used { authorizer: EvmAddress, nonce: B256 },
    Cancelled { authorizer: EvmAddress, nonce: B256 },
    Moved(Moved),
    Upgraded,
}

fn read(log: &LogEntry) -> Option<Entry> {
    let address = |topic: usize| log.topics.get(topic).map(|topic| EvmAddress::from_word(*topic));
    let nonce = || log.topics.get(2).copied();
    match *log.topics.first()? {
        Token::AuthorizationUsed::SIGNATURE_HASH => Some(Entry::Used { authorizer: address(1)?, nonce: nonce()? }),
        Token::AuthorizationCanceled::SIGNATURE_HASH => Some(Entry::Cancelled { authorizer: address(1)?, nonce: nonce()? }),
        // As proxies of every age announce it (EIP-1967); some have the new code among the topics, and some behind them.
        Token::Upgraded::SIGNATURE_HASH => Some(Entry::Upgraded),
        // Tokens of another kind have an event of the same name with one more topic and no amount (ERC-721).
        Token::Transfer::SIGNATURE_HASH if log.topics.len() == 3 && log.data.len() == 32 => {
            let value = U256::try_from_be_slice(&log.data)?;
            Some(Entry::Moved(Moved { from: address(1)?, to: address(2)?, value }))
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
        entries(&[TOKEN], &BLOCK.to_string(), logs)
            .unwrap()
            .uses
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

        assert_eq!(entries(&[TOKEN], &BLOCK.to_string(), &[elsewhere]), None);
        assert_eq!(entries(&[TOKEN], &BLOCK.to_string(), &[removed]), None);
    }

    #[test]
    fn logs_that_do_not_follow_on_each_other_are_not_believed() {
        let entries = |logs: &[LogEntry]| entries(&[TOKEN], &BLOCK.to_string(), logs);
        let stranger = |index| LogEntry { address: EvmAddress::repeat_byte(2), ..moved(index, 7, 5, 3, 1) };

        assert!(entries(&[moved(1, 7, 5, 3, 10), moved(4, 7, 5, 3, 10)]).is_some());
        assert_eq!(entries(&[moved(1, 7, 5, 3, 10), moved(1, 7, 5, 3, 10)]), None);
        assert_eq!(entries(&[moved(2, 7, 5, 3, 10), moved(1, 7, 5, 3, 10)]), None);
        assert_eq!(entries(&[stranger(2), moved(1, 7, 5, 3, 10)]), None);
        assert_eq!(entries(&[LogEntry { log_index: None, ..moved(1, 7, 5, 3, 10) }]), None);
    }

    #[test]
    fn every_transfer_is_told_and_one_that_an_authorization_made_with_its_nonce() {
        let logs = [
            moved(0, 7, 5, 3, 1),
            used(1, 7, 5, 1),
            moved(2, 7, 6, 3, 2),
            moved(3, 7, 5, 3, 10),
            moved(4, 7, 5, 3, 20),
            moved(5, 8, 5, 5, 0),
        ];

        let Entries { uses, transfers, .. } = entries(&[TOKEN], &BLOCK.to_string(), &logs).unwrap();

        let amount = |moved: &Transfer| moved.amount.unwrap().units();
        let told: Vec<_> = transfers.iter().map(|moved| (moved.index, amount(moved), moved.marks.clone())).collect();
        let nonce = vec![Mark::Nonce([1; 32])];
        assert_eq!(told, [(0, 1, vec![]), (2, 2, vec![]), (3, 10, nonce), (4, 20, vec![]), (5, 0, vec![])]);
        assert_eq!(uses.into_iter().map(|entry| entry.outcome).collect::<Vec<_>>(), [Use::Spent(Some(transfers[2].clone()))]);
        let Transfer { transaction, asset, from, to, .. } = transfers[1].clone();
        assert_eq!(transaction, B256::repeat_byte(7).to_string());
        assert_eq!([asset, from, to], [Address::Evm([1; 20]), Address::Evm([6; 20]), Address::Evm([3; 20])]);
    }

    #[test]
    fn an_event_of_another_form_is_no_transfer() {
        let mut token_of_another_kind = moved(1, 7, 5, 3, 10);
        token_of_another_kind.topics.push(word(9));
        let mut lacks_a_topic = moved(1, 7, 5, 3, 10);
        lacks_a_topic.topics.pop();
        let with_data = |bytes: usize| LogEntry { data: vec![1; bytes].into(), ..moved(1, 7, 5, 3, 10) };

        for log in [token_of_another_kind, lacks_a_topic, with_data(0), with_data(31), with_data(33)] {
            let told = entries(&[TOKEN], &BLOCK.to_string(), &[used(0, 7, 5, 1), log]).unwrap();
            assert_eq!((told.transfers, told.uses.len()), (Vec::new(), 1));
            assert_eq!(told.uses[0].outcome, Use::Spent(None));
        }
        let told = entries(&[TOKEN], &BLOCK.to_string(), &[with_data(32)]).unwrap();
        assert_eq!((told.transfers.len(), told.transfers[0].amount), (1, None), "more than 128 bits");
    }

    #[test]
    fn a_filter_without_a_token_or_an_event_promises_nothing() {
        let header = |logs_bloom| Header {
            number: U64::from(1),
            hash: Some(BLOCK),
            parent_hash: B256::ZERO,
            timestamp: U64::ZERO,
            base_fee_per_gas: None,
            logs_bloom,
            transactions: Vec::new(),
        };
        let promises = |inputs: &[&[u8]]| {
            let mut bloom = Bloom::ZERO;
            for input in inputs {
                bloom.accrue(BloomInput::Raw(input));
            }
            header(Some(bloom)).may_hold_entries(&[EvmAddress::repeat_byte(9), TOKEN])
        };
        let moved = Token::Transfer::SIGNATURE_HASH;

        assert!(header(None).may_hold_entries(&[TOKEN]));
        assert!(!promises(&[]));
        assert!(!promises(&[TOKEN.as_slice()]));
        assert!(!promises(&[moved.as_slice()]));
        for topic in topics() {
            assert!(promises(&[TOKEN.as_slice(), topic.as_slice()]), "{topic}");
        }
    }

    #[test]
    fn a_token_with_other_code_is_told_wherever_its_proxy_names_the_code() {
        let upgraded = |topics| log(0, 1, topics, None);
        let of = |log: LogEntry| entries(&[TOKEN], &BLOCK.to_string(), &[log]).unwrap().upgraded;
        let event = Token::Upgraded::SIGNATURE_HASH;

        assert_eq!(of(upgraded(vec![event, word(7)])), [Address::Evm(TOKEN.into())]);
        assert_eq!(of(upgraded(vec![event])), [Address::Evm(TOKEN.into())]);
        assert_eq!(of(LogEntry { address: EvmAddress::repeat_byte(2), ..upgraded(vec![event]) }), [], "another contract's");
    }

    /// The block at a height, whose hash is that number.
    fn block(number: u8) -> Block {
        Block {
            number: number.into(),
            hash: B256::with_last_byte(number).to_string(),
            parent_hash: B256::with_last_byte(number - 1).to_string(),
            timestamp: chrono::DateTime::UNIX_EPOCH,
        }
    }

    fn log_of(block: u8, index: u64) -> LogEntry {
        LogEntry { block_hash: Some(B256::with_last_byte(block)), ..moved(index, 7, 5, 3, 1) }
    }

    #[test]
    fn each_block_of_a_range_gets_its_own_logs() {
        let blocks = [block(1), block(2), block(3)];

        let grouped = by_block(&blocks, vec![log_of(1, 0), log_of(1, 4), log_of(3, 0)]).unwrap();

        let indices = |logs: &Vec<LogEntry>| logs.iter().map(|log| log.log_index.unwrap().to()).collect::<Vec<u64>>();
        assert_eq!(grouped.iter().map(indices).collect::<Vec<_>>(), [vec![0, 4], vec![], vec![0]]);
        let none = by_block(&blocks, Vec::new()).unwrap();
        assert!(none.len() == 3 && none.iter().all(Vec::is_empty));
    }

    #[test]
    fn a_range_with_a_log_out_of_place_is_not_believed() {
        let blocks = [block(1), block(2)];
        let removed = LogEntry { removed: true, ..log_of(1, 0) };
        let pending = LogEntry { block_hash: None, ..log_of(1, 0) };

        assert!(by_block(&blocks, vec![log_of(1, 0), log_of(2, 0)]).is_some());
        for logs in [
            vec![log_of(3, 0)],
            vec![removed],
            vec![pending],
            vec![log_of(2, 0), log_of(1, 0)],
            vec![log_of(1, 1), log_of(1, 0)],
            vec![log_of(1, 0), log_of(1, 0)],
        ] {
            assert!(by_block(&blocks, logs.clone()).is_none(), "{logs:?}");
        }
    }
}
