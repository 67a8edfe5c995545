//! Lists come in pages: how many things one has, and where the next one begins.

use std::fmt::Display;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use super::problem::Problem;
use crate::domain::address::encode_hex;

/// Things on a page, unless the caller wants fewer.
pub const PAGE: u32 = 100;

/// Whose those lists are that every operator reads.
pub const OPERATORS: &str = "operators";

/// Bytes of the seal of a cursor. It is no secret: nobody reads more with a cursor than without one.
const SEAL_BYTES: usize = 8;

/// Between the name of a thing and its seal.
const SEPARATOR: char = '.';

/// How many things a page has.
///
/// # Errors
/// None, or more than [`PAGE`].
pub fn page_size(limit: Option<u32>) -> Result<u32, Problem> {
    page_size_or(limit, PAGE)
}

/// The same where a page has `usual` things unless the caller says how many.
///
/// # Errors
/// None, or more than [`PAGE`].
pub fn page_size_or(limit: Option<u32>, usual: u32) -> Result<u32, Problem> {
    match limit.unwrap_or(usual) {
        limit @ 1..=PAGE => Ok(limit),
        _ => Err(Problem::BadParameter(format!("limit is between 1 and {PAGE}"))),
    }
}

/// What the next page is asked for with, unless this one is the last: the name of its last thing, sealed for whoever `owner` names.
pub fn next_cursor<T, N: Display>(owner: &impl Display, found: &[T], limit: u32, name: impl Fn(&T) -> N) -> Option<String> {
    let last = found.last().filter(|_| u32::try_from(found.len()) == Ok(limit))?;
    let name = name(last).to_string();
    let seal = seal(owner, &name);
    Some(format!("{name}{SEPARATOR}{seal}"))
}

/// Behind which thing a page begins.
///
/// # Errors
/// The text is no cursor, or is one of another owner's list.
pub fn cursor<N: FromStr>(owner: &impl Display, text: Option<&str>) -> Result<Option<N>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let sealed = text.split_once(SEPARATOR).filter(|(name, given)| seal(owner, name) == *given);
    let name = sealed.and_then(|(name, _)| name.parse().ok());
    name.map(Some).ok_or_else(|| Problem::BadParameter("cursor: not one that was given to you".to_owned()))
}

fn seal(owner: &impl Display, name: &str) -> String {
    let digest = Sha256::digest(format!("{owner}{SEPARATOR}{name}"));
    encode_hex(&digest[..SEAL_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::{AccountId, InvoiceId, TransferId};

    #[test]
    fn a_cursor_opens_the_list_that_it_came_with_and_no_other() {
        let (owner, found) = (AccountId::new(), [InvoiceId::new(), InvoiceId::new()]);
        let text = next_cursor(&owner, &found, 2, |id| *id).unwrap();
        assert_eq!(cursor(&owner, Some(&text)), Ok(Some(found[1])));
        assert!(cursor::<InvoiceId>(&AccountId::new(), Some(&text)).is_err(), "another account");
        assert!(cursor::<TransferId>(&owner, Some(&text)).is_err(), "another list");
        assert!(cursor::<InvoiceId>(&owner, Some(&found[1].to_string())).is_err(), "a name alone");
    }

    #[test]
    fn a_cursor_with_a_flipped_bit_is_none() {
        let owner = AccountId::new();
        let text = next_cursor(&owner, &[InvoiceId::new()], 1, |id| *id).unwrap();
        for position in 0..text.len() {
            for bit in 0..7 {
                let mut bytes = text.clone().into_bytes();
                bytes[position] ^= 1 << bit;
                let other = String::from_utf8(bytes).unwrap();
                assert!(cursor::<InvoiceId>(&owner, Some(&other)).is_err(), "{other}");
            }
        }
    }

    #[test]
    fn the_last_page_has_no_next_one() {
        let owner = AccountId::new();
        assert_eq!(next_cursor(&owner, &[InvoiceId::new()], 2, |id| *id), None);
        assert_eq!(next_cursor::<InvoiceId, _>(&owner, &[], 1, |id| *id), None);
        assert_eq!(cursor::<InvoiceId>(&owner, None), Ok(None));
    }
}
