//! What says behind which thing the next page of a list begins.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use quittance::api::page::{cursor, next_cursor};
use quittance::domain::ids::{InvoiceId, TransferId};

/// Takes the first line for whose list it is. Checks that the name of a thing is no cursor, and with a seal is one of this list only.
/// Returns whether it names a thing of any kind.
///
/// # Panics
/// If it is not so.
pub fn list_cursor(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (owner, name) = text.split_once('\n').unwrap_or(("", text));
    let known = [sealed::<InvoiceId>(owner, name), sealed::<TransferId>(owner, name), sealed::<u32>(owner, name)];
    known.contains(&true)
}

fn sealed<N: FromStr + Display + Debug + PartialEq>(owner: &str, name: &str) -> bool {
    assert!(cursor::<N>(&owner, Some(name)).is_err(), "nobody was given {name}");
    let Ok(thing) = name.parse::<N>() else { return false };
    let given = next_cursor(&owner, &[()], 1, |()| thing.to_string()).expect("the page is full");
    assert_eq!(cursor(&owner, Some(&given)), Ok(Some(thing)));
    assert!(cursor::<N>(&format!("{owner}x"), Some(&given)).is_err(), "another list");
    true
}
