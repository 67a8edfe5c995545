//! Token amounts in atomic units.

use std::fmt;
use std::str::FromStr;

/// An amount of one asset in its smallest unit, for example `10_000` for 0.01 USDC.
///
/// There is no `Add`: an overflow is either a bug or an attack, and both must stop the payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(u128);

/// Why a text is not an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseAmountError {
    /// Something other than `0` or a digit string without leading zeros.
    #[error("not a decimal integer without sign, spaces or leading zeros")]
    NotDecimal,
    /// More than 128 bits.
    #[error("larger than 2^128 - 1")]
    TooLarge,
    /// More decimal places than the asset has.
    #[error("more decimal places than the asset has")]
    TooPrecise,
}

impl Amount {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// Wraps a number of atomic units.
    #[must_use]
    pub const fn new(units: u128) -> Self {
        Self(units)
    }

    /// The number of atomic units.
    #[must_use]
    pub const fn units(self) -> u128 {
        self.0
    }

    /// Whether this is no money at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Adds two amounts of the same asset.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Reads an amount as people write it, for example `"0.25"` for an asset of six decimals.
    ///
    /// # Errors
    /// A text that is not a plain decimal number, has more places than `decimals`, or exceeds 128 bits.
    pub fn from_decimal(text: &str, decimals: u8) -> Result<Self, ParseAmountError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || text.ends_with('.') {
            return Err(ParseAmountError::NotDecimal);
        }
        let padding = usize::from(decimals).checked_sub(fraction.len()).ok_or(ParseAmountError::TooPrecise)?;
        let units = format!("{whole}{fraction}{}", "0".repeat(padding));
        units.parse().map(Self).map_err(|_| ParseAmountError::TooLarge)
    }

    /// Writes the amount as people read it, for example `0.25`.
    #[must_use]
    pub fn to_decimal(self, decimals: u8) -> String {
        let places = usize::from(decimals);
        let digits = format!("{:0>width$}", self.0, width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        match fraction.trim_end_matches('0') {
            "" => whole.to_owned(),
            fraction => format!("{whole}.{fraction}"),
        }
    }
}

/// Whether `text` is a decimal integer in the one grammar that the service accepts: `0|[1-9][0-9]*`.
///
/// `u128::from_str` also takes `+5`, and other languages take `""`, `" 1 "` or `0x10`; a payment must not depend on that.
#[must_use]
pub fn is_decimal_integer(text: &str) -> bool {
    match text.as_bytes() {
        [] | [b'0', _, ..] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !is_decimal_integer(text) {
            return Err(ParseAmountError::NotDecimal);
        }
        text.parse().map(Self).map_err(|_| ParseAmountError::TooLarge)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_one_grammar_is_an_amount() {
        for text in ["", " 1", "1 ", "+1", "-0", "01", "1_000", "1e4", "0x10", "1.0", "１", "٣", "1\n"] {
            assert_eq!(text.parse::<Amount>(), Err(ParseAmountError::NotDecimal), "{text:?}");
        }
        assert_eq!("0".parse(), Ok(Amount::ZERO));
        assert_eq!(u128::MAX.to_string().parse(), Ok(Amount::new(u128::MAX)));
        assert_eq!("340282366920938463463374607431768211456".parse::<Amount>(), Err(ParseAmountError::TooLarge));
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        assert_eq!(Amount::from_decimal("0.25", 6), Ok(Amount::new(250_000)));
        assert_eq!(Amount::from_decimal("7", 6), Ok(Amount::new(7_000_000)));
        assert_eq!(Amount::from_decimal("0.0000001", 6), Err(ParseAmountError::TooPrecise));
        for text in ["", ".5", "1.", "1,5", "-1", "1.2.3"] {
            assert_eq!(Amount::from_decimal(text, 6), Err(ParseAmountError::NotDecimal), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(units: u128, decimals in 0_u8..30) {
            let amount = Amount::new(units);
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
            prop_assert_eq!(Amount::from_decimal(&amount.to_decimal(decimals), decimals), Ok(amount));
        }
    }
}
