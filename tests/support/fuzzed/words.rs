//! Single words that strangers write: names of things, addresses, amounts, keys.

use std::fmt::Display;
use std::str::FromStr;

use quittance::domain::account::ApiKey;
use quittance::domain::address::Address;
use quittance::domain::amount::Amount;
use quittance::domain::ids::InvoiceId;
use quittance::domain::network::Network;

/// Checks that what is read from a word is written in one way, and read from that again. Returns whether it is a word of any kind.
///
/// # Panics
/// If it is not so.
pub fn words(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let known = [again::<Network>(text), again::<Amount>(text), again::<InvoiceId>(text)];
    let address = Address::parse_any(text);
    if let Ok(address) = &address {
        assert_eq!(Address::parse_any(&address.to_string()).as_ref(), Ok(address));
    }
    let decimal = Amount::from_decimal(text, 6);
    if let Ok(amount) = &decimal {
        assert_eq!(Amount::from_decimal(&amount.to_decimal(6), 6).as_ref(), Ok(amount));
    }
    known.contains(&true) || address.is_ok() || decimal.is_ok() || ApiKey::parse(text).is_some()
}

fn again<T: FromStr + Display + PartialEq>(text: &str) -> bool {
    let Ok(read) = text.parse::<T>() else { return false };
    let written = read.to_string();
    assert!(written.parse::<T>().is_ok_and(|again| again == read), "{written}");
    true
}
