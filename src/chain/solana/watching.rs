//! What is wanted of blocks: the ways to find transfers to registered addresses, and which one is taken.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::associated;
use super::message::Key;
use crate::chain::Watched;
use crate::config::Watch;
use crate::domain::address::Address;
use crate::domain::asset::Asset;

/// The most addresses whose histories are asked for. With each look that is a question for each of them and each token, and for more
/// of them it is less work to read the blocks.
const HISTORIES_MAX: u32 = 16;

/// With so many payments under way nearly every block holds some.
const PAYMENTS_MANY: usize = 16;

/// How blocks are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way<'a> {
    /// Nothing in them is wanted.
    None,
    /// Every one is read with all of its transactions.
    Blocks,
    /// Those are read that hold a transaction in the history of an account of these addresses.
    Histories(&'a [Address]),
}

/// How many registered addresses have to be known to choose a way.
pub const fn addresses_wanted(watch: Watch) -> u32 {
    match watch {
        Watch::Off => 0,
        // Whether there is any.
        Watch::Blocks => 1,
        Watch::Signatures => HISTORIES_MAX + 1,
    }
}

/// Chooses the way.
pub fn way(watch: Watch, watched: &Watched) -> Way<'_> {
    match (watch, watched) {
        (Watch::Off, _) => Way::None,
        (_, Watched::These(addresses)) if addresses.is_empty() => Way::None,
        (Watch::Signatures, Watched::These(addresses)) if addresses.len() <= HISTORIES_MAX as usize => Way::Histories(addresses),
        (Watch::Blocks | Watch::Signatures, _) => Way::Blocks,
    }
}

/// What the watcher will want of the next blocks, as far as it is known before they are read. A block of which more is wanted than
/// that it is there is read once then, with all of its transactions.
#[derive(Debug, Default)]
pub struct Foresight {
    transfers: AtomicBool,
    payments: AtomicUsize,
}

impl Foresight {
    /// Whether the transfers of the newest block were wanted.
    pub fn saw_transfers_wanted(&self, wanted: bool) {
        self.transfers.store(wanted, Ordering::Relaxed);
    }

    /// So many payments are under way.
    pub fn note_under_way(&self, payments: usize) {
        self.payments.store(payments, Ordering::Relaxed);
    }

    /// Whether the next blocks are wanted with all of its transactions.
    pub fn is_all_wanted(&self) -> bool {
        self.transfers.load(Ordering::Relaxed) || self.payments.load(Ordering::Relaxed) >= PAYMENTS_MANY
    }
}

/// The accounts in which these addresses hold these tokens.
pub fn accounts(addresses: &[Address], assets: &[Asset]) -> Vec<Key> {
    let account = |address: &Address, asset: &Asset| match (*address, asset.address) {
        (Address::Solana(owner), Address::Solana(mint)) => associated::account(&owner, &mint, asset.program()?),
        _ => None,
    };
    addresses.iter().flat_map(|address| assets.iter().filter_map(move |asset| account(address, asset))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::asset::known;

    fn these(count: u32) -> Watched {
        Watched::These(vec![Address::Solana([7; 32]); count as usize])
    }

    #[test]
    fn nothing_is_read_while_nobody_is_registered() {
        for watch in [Watch::Off, Watch::Blocks, Watch::Signatures] {
            assert_eq!(way(watch, &these(0)), Way::None, "{watch:?}");
        }
        assert_eq!(way(Watch::Off, &these(1)), Way::None);
        assert_eq!(way(Watch::Off, &Watched::Anybody), Way::None);
        assert_eq!(way(Watch::Blocks, &these(1)), Way::Blocks);
    }

    #[test]
    fn histories_are_asked_for_as_long_as_they_are_few() {
        let few = these(HISTORIES_MAX);
        let Watched::These(addresses) = &few else { unreachable!() };

        assert_eq!(way(Watch::Signatures, &few), Way::Histories(addresses));
        assert_eq!(way(Watch::Signatures, &these(HISTORIES_MAX + 1)), Way::Blocks);
        assert_eq!(addresses_wanted(Watch::Signatures), HISTORIES_MAX + 1, "so that one too many is noticed");
    }

    #[test]
    fn each_address_has_an_account_for_each_token() {
        let usdc = known(&"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1".parse().unwrap()).remove(0);
        let other = Asset { address: Address::Solana([8; 32]), ..usdc.clone() };
        let owners = [Address::Solana([1; 32]), Address::Solana([2; 32])];

        let all = accounts(&owners, &[usdc.clone(), other]);
        let Address::Solana(mint) = usdc.address else { unreachable!() };
        assert_eq!(all.len(), 4);
        assert_eq!(all[2], associated::account(&[2; 32], &mint, usdc.program().unwrap()).unwrap());
        assert_eq!(accounts(&[Address::Evm([1; 20])], &[usdc]), Vec::<Key>::new());
    }
}
