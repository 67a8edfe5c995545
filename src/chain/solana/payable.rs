//! Addresses at which payments are surely lost, and owners who have no account for a token yet.

use super::associated;
use super::message::Key;
use super::programs::{PROGRAMS, SYSTEM, TOKEN, TOKEN_2022};
use super::tokens::TokenAccount;
use crate::chain::address::{NotPayable, Payable};
use crate::domain::address::Address;
use crate::domain::asset::Asset;

/// An account as a node has it: the program that it belongs to, and its data.
type Account = (Key, Vec<u8>);

/// Checks where money is to be sent, without asking a node. `tokens` are those that are paid with, and `signers` ours.
///
/// # Errors
/// See [`NotPayable`].
pub fn check(address: Address, tokens: &[Address], signers: &[Key]) -> Result<(), NotPayable> {
    let is = |key: &Key| Address::Solana(*key) == address;
    if is(&SYSTEM) {
        Err(NotPayable::Zero)
    } else if PROGRAMS.iter().any(is) {
        Err(NotPayable::Program)
    } else if tokens.contains(&address) {
        Err(NotPayable::Token)
    } else if signers.iter().any(is) {
        Err(NotPayable::OurSigner)
    } else {
        Ok(())
    }
}

/// An owner, and where the tokens that are paid with would be held.
pub struct Owner {
    key: Key,
    holdings: Vec<Holding>,
}

struct Holding {
    mint: Key,
    account: Key,
}

impl Owner {
    /// Whoever has the key `key`, paid with `assets`.
    pub fn new(key: Key, assets: &[Asset]) -> Self {
        let holding = |asset: &Asset| {
            let Address::Solana(mint) = asset.address else { return None };
            Some(Holding { mint, account: associated::account(&key, &mint, asset.program()?)? })
        };
        Self { key, holdings: assets.iter().filter_map(holding).collect() }
    }

    /// What a node has to be asked for.
    pub fn accounts(&self) -> Vec<Address> {
        std::iter::once(self.key).chain(self.holdings.iter().map(|holding| holding.account)).map(Address::Solana).collect()
    }

    /// Judges by what a node has at [`Self::accounts`], in that order.
    pub fn judge(&self, found: &[Option<Account>]) -> Payable {
        let account = |index: usize| found.get(index).and_then(Option::as_ref);
        if account(0).is_some_and(|(program, _)| [TOKEN, TOKEN_2022].contains(program)) {
            return Payable::No(NotPayable::TokenAccount);
        }
        let lacking = self.holdings.iter().enumerate().filter(|(index, holding)| !self.can_use(holding, account(index + 1)));
        let mints: Vec<_> = lacking.map(|(_, holding)| Address::Solana(holding.mint)).collect();
        if mints.is_empty() { Payable::Yes } else { Payable::YesWithoutTokenAccount { mints } }
    }

    /// An owner can give an account away, and whoever issues the token may freeze it.
    fn can_use(&self, holding: &Holding, account: Option<&Account>) -> bool {
        let held = account.and_then(|(_, data)| TokenAccount::read(data));
        held.is_some_and(|held| held.usable && held.owner == self.key && held.mint == holding.mint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::asset::known;

    const OWNER: Key = [7; 32];

    fn usdc() -> Asset {
        known(&"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1".parse().unwrap()).remove(0)
    }

    fn mint() -> Key {
        let Address::Solana(mint) = usdc().address else { unreachable!() };
        mint
    }

    fn token_account(mint: Key, owner: Key, state: u8) -> Account {
        let mut data = vec![0; 165];
        data[..32].copy_from_slice(&mint);
        data[32..64].copy_from_slice(&owner);
        data[108] = state;
        (TOKEN, data)
    }

    #[test]
    fn money_goes_where_somebody_has_a_key_for_it() {
        let check = |key| check(Address::Solana(key), &[usdc().address], &[[5; 32], [6; 32]]);

        assert_eq!(check(OWNER), Ok(()));
        assert_eq!(check(SYSTEM), Err(NotPayable::Zero));
        for program in PROGRAMS.into_iter().filter(|program| *program != SYSTEM) {
            assert_eq!(check(program), Err(NotPayable::Program));
        }
        assert_eq!(check(mint()), Err(NotPayable::Token));
        assert_eq!(check([6; 32]), Err(NotPayable::OurSigner));
    }

    #[test]
    fn the_owner_and_its_accounts_are_looked_at() {
        let other = Asset { address: Address::Solana([8; 32]), ..usdc() };
        let accounts = Owner::new(OWNER, &[usdc(), other]).accounts();

        let account = |mint| associated::account(&OWNER, &mint, usdc().program().unwrap()).map(Address::Solana);
        assert_eq!(accounts[0], Address::Solana(OWNER));
        assert_eq!(Some(accounts[1]), account(mint()));
        assert_eq!(Some(accounts[2]), account([8; 32]));
        assert_eq!(accounts.len(), 3);
    }

    #[test]
    fn a_token_account_is_not_its_owner() {
        let owner = Owner::new(OWNER, &[usdc()]);
        let good = token_account(mint(), OWNER, 1);
        let judge = |program| owner.judge(&[Some((program, Vec::new())), Some(good.clone())]);

        assert_eq!(judge(SYSTEM), Payable::Yes);
        assert_eq!(judge([9; 32]), Payable::Yes, "an address that another program derived");
        assert_eq!(judge(TOKEN), Payable::No(NotPayable::TokenAccount));
        assert_eq!(judge(TOKEN_2022), Payable::No(NotPayable::TokenAccount));
    }

    #[test]
    fn an_owner_without_a_usable_account_is_warned() {
        let owner = Owner::new(OWNER, &[usdc()]);
        let lacking = Payable::YesWithoutTokenAccount { mints: vec![usdc().address] };

        assert_eq!(owner.judge(&[None, Some(token_account(mint(), OWNER, 1))]), Payable::Yes, "without any SOL");
        assert_eq!(owner.judge(&[None, None]), lacking);
        assert_eq!(owner.judge(&[]), lacking);
        for unusable in [
            token_account(mint(), OWNER, 0),
            token_account(mint(), OWNER, 2),
            token_account(mint(), [9; 32], 1),
            token_account([9; 32], OWNER, 1),
            (SYSTEM, Vec::new()),
        ] {
            assert_eq!(owner.judge(&[None, Some(unusable)]), lacking);
        }
        assert_eq!(Owner::new(OWNER, &[]).judge(&[None]), Payable::Yes);
    }

    #[test]
    fn each_token_is_looked_at_by_itself() {
        let other = Asset { address: Address::Solana([8; 32]), ..usdc() };
        let owner = Owner::new(OWNER, &[usdc(), other.clone()]);
        let good = Some(token_account(mint(), OWNER, 1));

        assert_eq!(owner.judge(&[None, good, None]), Payable::YesWithoutTokenAccount { mints: vec![other.address] });
    }
}
