//! What one transaction did with one token: which accounts gained, and whose lost.

use std::collections::BTreeMap;

use super::Fault;
use super::answer::TokenBalance;
use crate::chain::solana::message::Key;
use crate::chain::solana::programs::{self, SYSTEM};
use crate::domain::address::{decode_base58, encode_base58};
use crate::domain::asset::TokenProgram;

/// A token, with the texts by which nodes name it.
pub(super) struct Token {
    pub(super) mint: Key,
    name: String,
    program: String,
}

impl Token {
    pub(super) fn new(mint: Key, program: TokenProgram) -> Self {
        Self { mint, name: encode_base58(&mint), program: encode_base58(&programs::token(program)) }
    }

    fn is_in(&self, balance: &TokenBalance) -> bool {
        // Old nodes do not name the program.
        balance.mint == self.name && balance.program_id.as_ref().is_none_or(|program| *program == self.program)
    }
}

/// An account that holds more than before.
pub(super) struct Gain {
    /// Its place among the transaction's accounts.
    pub(super) account: u8,
    /// Whose it is afterwards.
    pub(super) owner: Key,
    /// How much more.
    pub(super) amount: u64,
}

/// What happened to the accounts of a token.
#[derive(Default)]
pub(super) struct Movements {
    /// In the order of the accounts.
    pub(super) gains: Vec<Gain>,
    /// What all accounts of an owner lost.
    losses: BTreeMap<Key, u128>,
}

#[derive(Default)]
struct Holding<'a> {
    before: Option<&'a TokenBalance>,
    after: Option<&'a TokenBalance>,
}

impl Movements {
    /// Compares what accounts held before and after. One that is on one side only was opened or closed by the transaction, and held
    /// nothing on the other.
    pub(super) fn read(token: &Token, before: &[TokenBalance], after: &[TokenBalance]) -> Result<Self, Fault> {
        let mut accounts: BTreeMap<u8, Holding<'_>> = BTreeMap::new();
        for balance in before.iter().filter(|balance| token.is_in(balance)) {
            accounts.entry(balance.account_index).or_default().before = Some(balance);
        }
        for balance in after.iter().filter(|balance| token.is_in(balance)) {
            accounts.entry(balance.account_index).or_default().after = Some(balance);
        }
        let mut movements = Self::default();
        for (account, Holding { before, after }) in accounts {
            let (held, holds) = (units(before)?, units(after)?);
            match (before, after) {
                (_, Some(after)) if holds > held => {
                    movements.gains.push(Gain { account, owner: owner(after)?, amount: holds - held });
                }
                (Some(before), _) if holds < held => movements.lose(owner(before)?, held - holds),
                _ => {}
            }
        }
        Ok(movements)
    }

    /// The only owner whose accounts lost any. The address of the System program, for which nobody can sign, if nobody lost any, as
    /// when a token is issued, or if several did: balances do not say which of them paid whom.
    pub(super) fn sender(&self) -> Key {
        let mut losers = self.losses.keys();
        match (losers.next(), losers.next()) {
            (Some(only), None) => *only,
            _ => SYSTEM,
        }
    }

    /// What came to an owner, and what went.
    pub(super) fn of(&self, owner: &Key) -> (u64, u64) {
        let gains = self.gains.iter().filter(|gain| gain.owner == *owner).map(|gain| gain.amount);
        let lost = self.losses.get(owner).map_or(0, |loss| u64::try_from(*loss).unwrap_or(u64::MAX));
        (gains.fold(0, u64::saturating_add), lost)
    }

    fn lose(&mut self, owner: Key, amount: u64) {
        *self.losses.entry(owner).or_default() += u128::from(amount);
    }
}

fn units(balance: Option<&TokenBalance>) -> Result<u64, Fault> {
    balance.map_or(Ok(0), |balance| balance.ui_token_amount.amount.parse().map_err(|_| Fault::Amount))
}

fn owner(balance: &TokenBalance) -> Result<Key, Fault> {
    balance.owner.as_deref().and_then(decode_base58).ok_or(Fault::Owner)
}
