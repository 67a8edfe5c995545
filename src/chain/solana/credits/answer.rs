//! A block as `getBlock` answers it in base64, as far as it is read.
//!
//! The SDK's own types hold all that nodes say, and refuse a whole block for an error that they do not know.

use serde::Deserialize;
use serde_json::Value;
use solana_transaction_status::{EncodedTransaction, UiLoadedAddresses};

/// The newest version of transactions that is read. Nodes refuse to show a block that holds a newer one to whoever does not ask for
/// it, and such a block cannot be half read.
pub const VERSION_MAX: u8 = 0;

/// A block.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockAnswer {
    /// Its hash.
    pub blockhash: String,
    /// The hash of the block before.
    pub previous_blockhash: String,
    /// Its height.
    pub block_height: Option<u64>,
    /// Its time, in seconds since 1970.
    pub block_time: Option<i64>,
    /// Its transactions in order, if they were asked for in full.
    pub transactions: Option<Vec<TransactionAnswer>>,
}

/// A transaction of a block.
#[derive(Debug, Deserialize)]
pub struct TransactionAnswer {
    pub(super) transaction: EncodedTransaction,
    pub(super) meta: Option<Meta>,
    pub(super) version: Option<Value>,
}

/// A transaction as `getTransaction` answers it in base64, with where it stands.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LandedAnswer {
    /// The slot of its block.
    pub slot: u64,
    /// The time of its block, in seconds since 1970.
    pub block_time: Option<i64>,
    transaction: EncodedTransaction,
    meta: Option<Meta>,
    version: Option<Value>,
}

impl LandedAnswer {
    /// The transaction alone.
    #[must_use]
    pub fn into_transaction(self) -> TransactionAnswer {
        let Self { transaction, meta, version, .. } = self;
        TransactionAnswer { transaction, meta, version }
    }
}

impl TransactionAnswer {
    /// Whether the transaction is of the old form, or of a version that is known.
    pub(super) fn has_known_version(&self) -> bool {
        match &self.version {
            Some(Value::String(name)) => name == "legacy",
            Some(version) => version.as_u64().is_some_and(|version| version <= VERSION_MAX.into()),
            None => false,
        }
    }
}

/// What became of a transaction.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Meta {
    /// Why it failed. It must be said, because a transaction without it would look like a good one.
    #[serde(deserialize_with = "Option::deserialize")]
    pub(super) err: Option<Value>,
    pub(super) inner_instructions: Option<Vec<InnerInstructions>>,
    pub(super) pre_token_balances: Option<Vec<TokenBalance>>,
    pub(super) post_token_balances: Option<Vec<TokenBalance>>,
    pub(super) loaded_addresses: Option<UiLoadedAddresses>,
}

/// What one instruction of a transaction made other programs do.
#[derive(Debug, Deserialize)]
pub(super) struct InnerInstructions {
    pub(super) instructions: Vec<InnerInstruction>,
}

/// A call of a program by another.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InnerInstruction {
    pub(super) program_id_index: u8,
    /// In base58, whatever the encoding of the block.
    pub(super) data: String,
}

/// What a token account held before or after a transaction.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenBalance {
    /// Its place among the transaction's accounts.
    pub(super) account_index: u8,
    pub(super) mint: String,
    pub(super) owner: Option<String>,
    pub(super) program_id: Option<String>,
    pub(super) ui_token_amount: TokenAmount,
}

/// How much.
#[derive(Debug, Deserialize)]
pub(super) struct TokenAmount {
    /// In the token's smallest unit, in decimal digits.
    pub(super) amount: String,
}
