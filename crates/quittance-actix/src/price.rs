//! Prices: exact decimal numbers of whole tokens, such as 0.001 USDC.

use std::fmt;
use std::str::FromStr;

/// The places behind the point that USDC has on every network known here.
const USDC_DECIMALS: u8 = 6;

/// The most places behind the point that a price may have. Tokens of EVM networks mostly have 18.
const DECIMALS_MAX: u8 = 18;

/// What something costs, in whole tokens. Never rounded, except where [`Price::atomic_at_least`] says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// The digits, without a point.
    units: u128,
    /// How many of the digits stand behind the point.
    decimals: u8,
}

/// Why a text is no price, or a price cannot be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// Something else than digits with at most one point between them.
    #[error("a price is digits, and perhaps a point between them")]
    Form,
    /// More than 18 places behind the point.
    #[error("a price has at most {DECIMALS_MAX} places behind the point")]
    TooFine,
    /// More than 128 bits.
    #[error("the price is too large")]
    TooLarge,
    /// Free things need no paywall.
    #[error("the price is zero")]
    Zero,
    /// The token cannot be divided so far.
    #[error("a token with {0} places behind the point cannot pay exactly this")]
    NotPayable(u8),
}

impl Price {
    /// A price in USDC from its text, such as `0.001`.
    ///
    /// # Errors
    /// See [`PriceError`].
    pub fn usdc(text: &str) -> Result<Self, PriceError> {
        text.parse()
    }

    /// A price in millionths of a USDC, which is the smallest part that there is.
    #[must_use]
    pub const fn micro_usdc(millionths: u64) -> Self {
        Self { units: millionths as u128, decimals: USDC_DECIMALS }
    }

    /// The price of `count` such things. `None` beyond 128 bits.
    #[must_use]
    pub fn times(self, count: u64) -> Option<Self> {
        let units = self.units.checked_mul(u128::from(count))?;
        Some(Self { units, ..self })
    }

    /// The price in atomic units of a token with so many places behind the point.
    ///
    /// # Errors
    /// [`PriceError::NotPayable`] if it would have to be rounded, [`PriceError::Zero`], [`PriceError::TooLarge`].
    pub fn atomic(self, decimals: u8) -> Result<u128, PriceError> {
        let (whole, rest) = self.divided(decimals).ok_or(PriceError::TooLarge)?;
        match (whole, rest) {
            (_, 1..) => Err(PriceError::NotPayable(decimals)),
            (0, _) => Err(PriceError::Zero),
            (whole, _) => Ok(whole),
        }
    }

    /// The same, rounded up to what the token can pay. `None` beyond 128 bits.
    #[must_use]
    pub fn atomic_at_least(self, decimals: u8) -> Option<u128> {
        let (whole, rest) = self.divided(decimals)?;
        whole.checked_add(u128::from(rest > 0))
    }

    fn divided(self, decimals: u8) -> Option<(u128, u128)> {
        let power = |exponent: u8| 10_u128.checked_pow(exponent.into());
        if decimals >= self.decimals {
            return Some((self.units.checked_mul(power(decimals - self.decimals)?)?, 0));
        }
        let divisor = power(self.decimals - decimals)?;
        Some((self.units / divisor, self.units % divisor))
    }
}

impl FromStr for Price {
    type Err = PriceError;

    fn from_str(text: &str) -> Result<Self, PriceError> {
        let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !fraction.is_none_or(digits) {
            return Err(PriceError::Form);
        }
        let fraction = fraction.unwrap_or_default();
        let decimals =
            u8::try_from(fraction.len()).ok().filter(|decimals| *decimals <= DECIMALS_MAX).ok_or(PriceError::TooFine)?;
        let units = format!("{whole}{fraction}").parse().map_err(|_| PriceError::TooLarge)?;
        Ok(Self { units, decimals })
    }
}

impl fmt::Display for Price {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let places = usize::from(self.decimals);
        if places == 0 {
            return write!(formatter, "{}", self.units);
        }
        let digits = format!("{:0>width$}", self.units, width = places + 1);
        let (whole, fraction) = digits.split_at(digits.len() - places);
        write!(formatter, "{whole}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_is_the_number_that_was_written() {
        for (text, atomic) in [("0.001", 1_000), ("1", 1_000_000), ("1.0", 1_000_000), ("0.000001", 1), ("12.5", 12_500_000)] {
            let price = Price::usdc(text).unwrap();
            assert_eq!((price.atomic(6), price.to_string().as_str()), (Ok(atomic), text));
        }
        assert_eq!(Price::micro_usdc(1_000).atomic(6), Price::usdc("0.001").unwrap().atomic(6));
        assert_eq!(Price::micro_usdc(25).to_string(), "0.000025");
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for (text, error) in [
            ("", PriceError::Form),
            (".5", PriceError::Form),
            ("5.", PriceError::Form),
            ("-1", PriceError::Form),
            ("+1", PriceError::Form),
            ("1e3", PriceError::Form),
            ("$1", PriceError::Form),
            ("1,5", PriceError::Form),
            ("1.2.3", PriceError::Form),
            (" 1", PriceError::Form),
            ("0.0000000000000000001", PriceError::TooFine),
            ("340282366920938463463374607431768211456", PriceError::TooLarge),
        ] {
            assert_eq!(Price::usdc(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_price_that_the_token_cannot_pay_is_not_rounded_silently() {
        let fine = Price::usdc("0.0000015").unwrap();

        assert_eq!((fine.atomic(6), fine.atomic(7)), (Err(PriceError::NotPayable(6)), Ok(15)));
        assert_eq!((fine.atomic_at_least(6), fine.atomic_at_least(9)), (Some(2), Some(1_500)));
        assert_eq!(Price::usdc("0.00").unwrap().atomic(6), Err(PriceError::Zero));
        assert_eq!(Price::usdc("0").unwrap().atomic_at_least(6), Some(0));
        let large = Price::usdc("340282366920938463463374607431768211455").unwrap();
        assert_eq!((large.atomic(6), large.atomic_at_least(6)), (Err(PriceError::TooLarge), None));
    }

    #[test]
    fn many_things_cost_many_times_as_much() {
        let each = Price::micro_usdc(3);

        assert_eq!(each.times(7).and_then(|all| all.atomic_at_least(6)), Some(21));
        assert_eq!(Price::usdc("0.0000005").unwrap().times(3).unwrap().atomic_at_least(6), Some(2));
        assert_eq!(Price { units: u128::MAX, decimals: 0 }.times(2), None);
    }
}
