//! What mints and token accounts say of themselves: the layouts of SPL Token and Token-2022 (`spl-token-interface`).

use super::message::Key;
use super::programs;
use crate::domain::asset::Asset;

/// A mint without extensions.
const MINT_BYTES: usize = 82;

/// A token account without extensions. A mint with extensions is filled up to this, so that the two can be told apart.
const ACCOUNT_BYTES: usize = 165;

/// What stands behind that in what has extensions.
const MINT_WITH_EXTENSIONS: u8 = 1;

/// Extensions of a mint that change nothing for those who pay and are paid: its names, and the groups that it belongs to. Others can
/// take a fee, call strangers, freeze or move what an account holds.
const HARMLESS: [u16; 6] = [18, 19, 20, 21, 22, 23];

/// Why a mint is none that payments are taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// There is no such account.
    #[error("there is no such mint")]
    Missing,
    /// It belongs to another program than configured.
    #[error("it belongs to another program")]
    Program,
    /// The account is not a mint.
    #[error("it is not a mint")]
    NotAMint,
    /// It has other decimals than configured.
    #[error("it has {0} decimals")]
    Decimals(u8),
    /// It has an extension that nobody has looked at, or that is known to do harm.
    #[error("it has the extension {0}, which is not taken")]
    Extension(u16),
}

/// Checks what the chain has at the address of a token.
///
/// # Errors
/// See [`MintError`].
pub fn check_mint(asset: &Asset, account: Option<(&Key, &[u8])>) -> Result<(), MintError> {
    let (owner, data) = account.ok_or(MintError::Missing)?;
    if asset.program().map(programs::token).as_ref() != Some(owner) {
        return Err(MintError::Program);
    }
    let (Some(decimals), Some(1)) = (data.get(44).copied(), data.get(45).copied()) else { return Err(MintError::NotAMint) };
    if decimals != asset.decimals {
        return Err(MintError::Decimals(decimals));
    }
    match data.len() {
        MINT_BYTES => Ok(()),
        0..=ACCOUNT_BYTES => Err(MintError::NotAMint),
        _ => check_extensions(&data[ACCOUNT_BYTES..]),
    }
}

/// Each extension has two bytes of type, two of length, and its own.
fn check_extensions(data: &[u8]) -> Result<(), MintError> {
    let Some((&MINT_WITH_EXTENSIONS, mut rest)) = data.split_first() else { return Err(MintError::NotAMint) };
    while let [first, second, low, high, more @ ..] = rest {
        let extension = u16::from_le_bytes([*first, *second]);
        // What follows the last one is filled with zeros.
        if extension == 0 {
            return Ok(());
        }
        if !HARMLESS.contains(&extension) {
            return Err(MintError::Extension(extension));
        }
        rest = more.get(usize::from(u16::from_le_bytes([*low, *high]))..).ok_or(MintError::NotAMint)?;
    }
    Ok(())
}

/// A token account, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenAccount {
    /// Which token.
    pub mint: Key,
    /// Whose it is.
    pub owner: Key,
    /// How much it holds.
    pub amount: u64,
    /// Whether it can be used: it exists and is not frozen.
    pub usable: bool,
}

impl TokenAccount {
    /// Reads one. `None` for what is none.
    #[must_use]
    pub fn read(data: &[u8]) -> Option<Self> {
        if data.len() < ACCOUNT_BYTES {
            return None;
        }
        Some(Self {
            mint: data[..32].try_into().ok()?,
            owner: data[32..64].try_into().ok()?,
            amount: u64::from_le_bytes(data[64..72].try_into().ok()?),
            usable: data[108] == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::asset::known;

    fn mint(decimals: u8) -> Vec<u8> {
        let mut data = vec![0; MINT_BYTES];
        (data[44], data[45]) = (decimals, 1);
        data
    }

    fn extended(extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut data = mint(6);
        data.resize(ACCOUNT_BYTES, 0);
        data.push(MINT_WITH_EXTENSIONS);
        for (extension, bytes) in extensions {
            data.extend_from_slice(&extension.to_le_bytes());
            data.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_le_bytes());
            data.extend_from_slice(bytes);
        }
        data
    }

    #[test]
    fn a_mint_must_be_the_one_that_is_configured() {
        let usdc = known(&"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1".parse().unwrap()).remove(0);
        let check = |owner: &Key, data: &[u8]| check_mint(&usdc, Some((owner, data)));
        let token = &programs::TOKEN;

        assert_eq!(check(token, &mint(6)), Ok(()));
        assert_eq!(check_mint(&usdc, None), Err(MintError::Missing));
        assert_eq!(check(&programs::TOKEN_2022, &mint(6)), Err(MintError::Program));
        assert_eq!(check(token, &mint(9)), Err(MintError::Decimals(9)));
        assert_eq!(check(token, &[]), Err(MintError::NotAMint));
        assert_eq!(check(token, &[0; MINT_BYTES]), Err(MintError::NotAMint));
        assert_eq!(check(token, &[mint(6), vec![0; 83]].concat()), Err(MintError::NotAMint), "a token account");
    }

    #[test]
    fn only_extensions_that_do_nothing_are_taken() {
        let usdc = known(&"solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1".parse().unwrap()).remove(0);
        let check = |data: &[u8]| check_mint(&usdc, Some((&programs::TOKEN, data)));
        let (transfer_fee, hook, metadata) = (1, 14, 19);

        assert_eq!(check(&extended(&[])), Ok(()));
        assert_eq!(check(&extended(&[(18, &[7; 64]), (metadata, &[7; 100])])), Ok(()));
        assert_eq!(check(&extended(&[(metadata, &[7; 100]), (transfer_fee, &[0; 108])])), Err(MintError::Extension(1)));
        assert_eq!(check(&extended(&[(hook, &[0; 64])])), Err(MintError::Extension(14)));
        assert_eq!(check(&extended(&[(999, &[])])), Err(MintError::Extension(999)));
        let mut cut = extended(&[(metadata, &[7; 100])]);
        cut.truncate(cut.len() - 1);
        assert_eq!(check(&cut), Err(MintError::NotAMint));
    }

    #[test]
    fn an_account_says_whose_it_is_and_what_it_holds() {
        let mut data = vec![0; ACCOUNT_BYTES];
        data[..32].copy_from_slice(&[1; 32]);
        data[32..64].copy_from_slice(&[2; 32]);
        data[64..72].copy_from_slice(&1_000_u64.to_le_bytes());
        data[108] = 1;

        let account = TokenAccount { mint: [1; 32], owner: [2; 32], amount: 1_000, usable: true };
        assert_eq!(TokenAccount::read(&data), Some(account));
        data[108] = 2;
        assert_eq!(TokenAccount::read(&data), Some(TokenAccount { usable: false, ..account }), "frozen");
        assert_eq!(TokenAccount::read(&data[..164]), None);
    }
}
