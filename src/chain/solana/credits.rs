//! What a block credited to token accounts, read out of the balances before and after each of its transactions.
//!
//! Balances say what was carried out, whoever called the token program and how. Instructions only say what was asked.

use std::collections::BTreeSet;

use self::answer::{BlockAnswer, Meta, TokenBalance, TransactionAnswer};
use self::carried::Carried;
use self::movements::{Movements, Token};
use super::message::Key;
use crate::domain::address::{Address, decode_base58};
use crate::domain::amount::Amount;
use crate::domain::asset::TokenProgram;
use crate::domain::transfer::{TransactionId, Transfer};

pub mod answer;
mod carried;
mod movements;

/// Transactions of a block that have an index: as many as leave it positive in 32 bits with a sign.
const POSITIONS: u32 = 1 << 23;

/// Why a block cannot be read. Nothing of it is believed then, because what is missing could be a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableBlock {
    /// It was not asked for in full.
    #[error("its transactions are not there")]
    Transactions,
    /// One of its transactions cannot be read.
    #[error("transaction {position}: {fault}")]
    Transaction {
        /// Where it stands in the block.
        position: usize,
        /// Why.
        fault: Fault,
    },
}

/// Why a transaction cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its version is none that we know, or is not said.
    #[error("its version is not known")]
    Version,
    /// The node does not say what became of it.
    #[error("what became of it is not said")]
    Meta,
    /// The node does not say what its token accounts held.
    #[error("its token balances are not there")]
    Balances,
    /// A balance is no number of 64 bits.
    #[error("a token balance is no amount")]
    Amount,
    /// Whose an account is, is not said.
    #[error("a token account has no owner")]
    Owner,
    /// Its bytes are no transaction, or the accounts behind its lookup tables are missing.
    #[error("it cannot be decoded")]
    Undecodable,
    /// It has a balance of an account that it does not name.
    #[error("a token account is none of its accounts")]
    Account,
    /// It stands behind more transactions than a block can hold.
    #[error("it stands behind too many others")]
    Position,
}

/// A transaction that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its name.
    pub name: TransactionId,
    /// Whether it failed. Then it changed nothing, and was paid for all the same.
    pub failed: bool,
}

/// The transactions of a block, in order. What cannot be decoded has no name, and is nothing that we sent.
#[must_use]
pub fn executed(block: &BlockAnswer) -> Vec<Executed> {
    let executed = |transaction: &TransactionAnswer| {
        let name = carried::name(transaction)?;
        Some(Executed { name, failed: transaction.meta.as_ref().is_none_or(|meta| meta.err.is_some()) })
    };
    block.transactions.iter().flatten().filter_map(executed).collect()
}

/// Every transfer of these mints in a block: each account that held more after a transaction than before.
///
/// Who paid is the only owner whose accounts of the mint lost any in the same transaction, and the System program if there is none such.
/// What a token keeps of each transfer for itself did not arrive, and is not in the amount.
///
/// # Errors
/// Any transaction that was carried out cannot be read; see [`UnreadableBlock`].
pub fn transfers(block: &BlockAnswer, mints: &[(Key, TokenProgram)]) -> Result<Vec<Transfer>, UnreadableBlock> {
    let tokens: Vec<_> = mints.iter().map(|(mint, program)| Token::new(*mint, *program)).collect();
    let mut transfers = Vec::new();
    for (position, transaction) in block.transactions.as_ref().ok_or(UnreadableBlock::Transactions)?.iter().enumerate() {
        let credits = credits(position, transaction, &tokens);
        transfers.extend(credits.map_err(|fault| UnreadableBlock::Transaction { position, fault })?);
    }
    Ok(transfers)
}

/// Every transfer of these mints in one transaction, as if it stood first in its block, and whether the transaction failed.
///
/// # Errors
/// It cannot be read; see [`Fault`].
pub fn of_transaction(transaction: &TransactionAnswer, mints: &[(Key, TokenProgram)]) -> Result<(Vec<Transfer>, bool), Fault> {
    let tokens: Vec<_> = mints.iter().map(|(mint, program)| Token::new(*mint, *program)).collect();
    let failed = transaction.meta.as_ref().is_none_or(|meta| meta.err.is_some());
    Ok((credits(0, transaction, &tokens)?, failed))
}

/// What one transaction did to what an owner holds of these mints: what came and what went, mint by mint. Nothing if it failed.
///
/// # Errors
/// It cannot be read; see [`Fault`].
pub fn of_owner(
    transaction: &TransactionAnswer,
    owner: &Key,
    mints: &[(Key, TokenProgram)],
) -> Result<Vec<(Key, u64, u64)>, Fault> {
    let Some((_, before, after)) = balances(transaction)? else { return Ok(Vec::new()) };
    let mut moved = Vec::new();
    for (mint, program) in mints {
        let (came, went) = Movements::read(&Token::new(*mint, *program), before, after)?.of(owner);
        moved.push((*mint, came, went));
    }
    Ok(moved)
}

/// The index of a transfer: where its transaction stands in the block, and its account in the transaction.
#[must_use]
pub fn index_of(position: usize, account: usize) -> Option<u32> {
    let position = u32::try_from(position).ok().filter(|position| *position < POSITIONS)?;
    Some((position << 8) | u32::from(u8::try_from(account).ok()?))
}

fn credits(position: usize, transaction: &TransactionAnswer, tokens: &[Token]) -> Result<Vec<Transfer>, Fault> {
    let Some((meta, before, after)) = balances(transaction)? else { return Ok(Vec::new()) };
    let mut moved = Vec::new();
    for token in tokens {
        let movements = Movements::read(token, before, after)?;
        if !movements.gains.is_empty() {
            moved.push((token, movements));
        }
    }
    if moved.is_empty() {
        return Ok(Vec::new());
    }
    let carried = Carried::read(transaction, meta).ok_or(Fault::Undecodable)?;
    let marks = carried.marks(&mints(before.iter().chain(after)));
    let mut transfers = Vec::new();
    for (token, movements) in moved {
        let from = Address::Solana(movements.sender());
        for gain in movements.gains {
            let account = Some(usize::from(gain.account)).filter(|account| *account < carried.accounts).ok_or(Fault::Account)?;
            transfers.push(Transfer {
                transaction: carried.name.clone(),
                index: index_of(position, account).ok_or(Fault::Position)?,
                asset: Address::Solana(token.mint),
                from,
                to: Address::Solana(gain.owner),
                amount: Some(Amount::new(gain.amount.into())),
                marks: marks.clone(),
            });
        }
    }
    transfers.sort_by_key(|transfer| transfer.index);
    Ok(transfers)
}

/// What became of a transaction, and what its token accounts held before and after it.
type Balances<'a> = (&'a Meta, &'a [TokenBalance], &'a [TokenBalance]);

/// Nothing of a transaction that failed, because it has moved nothing.
fn balances(transaction: &TransactionAnswer) -> Result<Option<Balances<'_>>, Fault> {
    if !transaction.has_known_version() {
        return Err(Fault::Version);
    }
    let meta = transaction.meta.as_ref().ok_or(Fault::Meta)?;
    if meta.err.is_some() {
        return Ok(None);
    }
    let (before, after) = meta.pre_token_balances.as_ref().zip(meta.post_token_balances.as_ref()).ok_or(Fault::Balances)?;
    Ok(Some((meta, before, after)))
}

fn mints<'a>(balances: impl Iterator<Item = &'a TokenBalance>) -> BTreeSet<Key> {
    balances.filter_map(|balance| decode_base58(&balance.mint)).collect()
}

#[cfg(test)]
mod tests;
