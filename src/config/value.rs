//! Single values: what a text or number in a file means, and in which range it makes sense.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use chrono::TimeDelta;
use figment::value::Value;

use super::problem::Fault;
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::network::Family;

/// The word that turns a limit or a feature off.
const NONE: &str = "none";

/// A number without sign or point.
fn unsigned(value: &Value) -> Option<u128> {
    // TOML has only signed numbers, and variables make unsigned ones.
    value.to_u128().or_else(|| u128::try_from(value.to_i128()?).ok())
}

/// A text. A number is one too: a variable does not say which of them it means.
pub(super) fn text(value: &Value) -> Result<String, Fault> {
    match (value.as_str(), unsigned(value)) {
        (Some(text), _) => Ok(text.trim().to_owned()),
        (None, Some(number)) => Ok(number.to_string()),
        (None, None) => Err(Fault::Expected("a text in quotes")),
    }
}

/// A text that says something.
pub(super) fn some_text(value: &Value) -> Result<String, Fault> {
    text(value).and_then(|text| if text.is_empty() { Err(Fault::Empty) } else { Ok(text) })
}

/// Yes or no.
pub(super) fn flag(value: &Value) -> Result<bool, Fault> {
    value.to_bool().ok_or(Fault::Expected("true or false"))
}

/// A number in `range`.
pub(super) fn number(range: RangeInclusive<u64>) -> impl Fn(&Value) -> Result<u64, Fault> {
    move |value| {
        let number = unsigned(value).ok_or(Fault::Expected("a number without sign or point"))?;
        let out_of_range = Fault::OutOfRange { min: *range.start(), max: *range.end() };
        u64::try_from(number).ok().filter(|number| range.contains(number)).ok_or(out_of_range)
    }
}

/// A count in `range`.
pub(super) fn count(range: RangeInclusive<u32>) -> impl Fn(&Value) -> Result<u32, Fault> {
    let number = number(u64::from(*range.start())..=u64::from(*range.end()));
    move |value| number(value).map(|number| u32::try_from(number).expect("the range ends below 2^32"))
}

/// A size in `range`.
pub(super) fn size(range: RangeInclusive<u32>) -> impl Fn(&Value) -> Result<usize, Fault> {
    let count = count(range);
    move |value| count(value).map(|count| usize::try_from(count).expect("the service runs on 32 bits or more"))
}

/// A duration in milliseconds.
pub(super) fn milliseconds(range: RangeInclusive<u32>) -> impl Fn(&Value) -> Result<TimeDelta, Fault> {
    let count = count(range);
    move |value| count(value).map(|count| TimeDelta::milliseconds(count.into()))
}

/// A duration in seconds.
pub(super) fn seconds(range: RangeInclusive<u32>) -> impl Fn(&Value) -> Result<TimeDelta, Fault> {
    let count = count(range);
    move |value| count(value).map(|count| TimeDelta::seconds(count.into()))
}

/// An address and port to listen on.
pub(super) fn socket(value: &Value) -> Result<SocketAddr, Fault> {
    text(value)?.parse().map_err(|_| Fault::Expected("an IP address and port such as 127.0.0.1:4020"))
}

/// An `http` or `https` URL. What was written is not repeated, because URLs of nodes hold keys.
pub(super) fn http_url(text: &str) -> Result<reqwest::Url, Fault> {
    url(text, ["http", "https"], Fault::Expected("a URL that begins with http:// or https://"))
}

/// A `ws` or `wss` URL, with the same care.
pub(super) fn ws_url(text: &str) -> Result<reqwest::Url, Fault> {
    url(text, ["ws", "wss"], Fault::Expected("a URL that begins with ws:// or wss://"))
}

fn url(text: &str, schemes: [&str; 2], fault: Fault) -> Result<reqwest::Url, Fault> {
    reqwest::Url::parse(text).ok().filter(|url| schemes.contains(&url.scheme()) && url.has_host()).ok_or(fault)
}

/// An address on a network of this family.
pub(super) fn address(family: Family) -> impl Fn(&Value) -> Result<Address, Fault> {
    move |value| Ok(Address::parse(family, &text(value)?)?)
}

/// A decimal number of tokens as text, which every one of `decimals` can hold exactly.
pub(super) fn decimal(decimals: &[u8]) -> impl Fn(&Value) -> Result<String, Fault> {
    move |value| {
        let text = text(value)?;
        for decimals in decimals {
            Amount::from_decimal(&text, *decimals)?;
        }
        Ok(text)
    }
}

/// A decimal number of the network's coin, in its smallest unit.
pub(super) fn native(family: Family) -> impl Fn(&Value) -> Result<u128, Fault> + Copy {
    move |value| Ok(Amount::from_decimal(&text(value)?, family.native_decimals())?.units())
}

/// What `parse` reads, or the word `none`.
pub(super) fn or_none<T>(parse: impl Fn(&Value) -> Result<T, Fault>) -> impl Fn(&Value) -> Result<Option<T>, Fault> {
    move |value| if value.as_str() == Some(NONE) { Ok(None) } else { parse(value).map(Some) }
}
