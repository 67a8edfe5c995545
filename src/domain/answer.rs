//! The level at which a settlement is answered with success, by the amount at stake.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amount::Amount;
use super::block::Level;

/// Decimal places that a merchant's bounds can have, whatever tokens it is paid with.
pub const BOUND_PLACES: u8 = 18;

/// How deep a transfer must stand before success is answered. Larger amounts may wait longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPolicy {
    /// In rising order; only the last has no bound.
    tiers: Vec<Tier>,
}

/// What is asked for amounts below a bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// A decimal number of tokens. Absent: every amount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub below: Option<String>,
    /// The level.
    pub at: Level,
}

impl AnswerPolicy {
    /// The same level for every amount.
    #[must_use]
    pub fn always(at: Level) -> Self {
        Self { tiers: vec![Tier { below: None, at }] }
    }

    /// Levels by amount, with bounds of at most so many decimal places. `None` unless every amount falls into exactly one tier, and a
    /// larger amount never needs less than a smaller one.
    #[must_use]
    pub fn by_amount(tiers: Vec<Tier>, places: u8) -> Option<Self> {
        is_rising(&tiers, places).then_some(Self { tiers })
    }

    /// The tiers in rising order.
    #[must_use]
    pub fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// The level for an amount of a token with `decimals` places.
    #[must_use]
    pub fn level(&self, amount: Amount, decimals: u8) -> Level {
        // A bound that this token cannot express decides nothing, so that doubt makes the answer deeper and never shallower.
        let is_below = |bound: &String| Amount::from_decimal(bound, decimals).is_ok_and(|bound| amount < bound);
        let tier = self.tiers.iter().find(|tier| tier.below.as_ref().is_none_or(is_below));
        tier.map_or(Level::Final, |tier| tier.at)
    }
}

fn is_rising(tiers: &[Tier], places: u8) -> bool {
    let bound = |tier: &Tier| tier.below.as_ref().and_then(|bound| Amount::from_decimal(bound, places).ok());
    let Some((last, bounded)) = tiers.split_last() else { return false };
    last.below.is_none()
        && bounded.iter().all(|tier| bound(tier).is_some())
        && bounded.is_sorted_by(|lower, upper| bound(lower) < bound(upper))
        && tiers.is_sorted_by_key(|tier| tier.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(below: Option<&str>, at: Level) -> Tier {
        Tier { below: below.map(str::to_owned), at }
    }

    #[test]
    fn a_larger_amount_needs_a_deeper_block() {
        let tiers = vec![tier(Some("1.00"), Level::Included), tier(Some("50"), Level::Safe), tier(None, Level::Final)];
        let policy = AnswerPolicy::by_amount(tiers, 6).unwrap();
        let level = |units| policy.level(Amount::new(units), 6);

        assert_eq!((level(0), level(999_999)), (Level::Included, Level::Included));
        assert_eq!((level(1_000_000), level(49_999_999)), (Level::Safe, Level::Safe));
        assert_eq!((level(50_000_000), level(u128::MAX)), (Level::Final, Level::Final));
        assert_eq!(policy.level(Amount::new(10), 0), Level::Safe);
    }

    #[test]
    fn every_amount_falls_into_one_tier_and_more_never_needs_less() {
        for wrong in [
            vec![],
            vec![tier(Some("1"), Level::Included)],
            vec![tier(None, Level::Included), tier(None, Level::Final)],
            vec![tier(Some("2"), Level::Included), tier(Some("1"), Level::Safe), tier(None, Level::Final)],
            vec![tier(Some("1"), Level::Included), tier(Some("1.0"), Level::Safe), tier(None, Level::Final)],
            vec![tier(Some("1"), Level::Safe), tier(None, Level::Included)],
            vec![tier(Some("one"), Level::Included), tier(None, Level::Final)],
            vec![tier(Some("0.0000001"), Level::Included), tier(None, Level::Final)],
        ] {
            assert_eq!(AnswerPolicy::by_amount(wrong.clone(), 6), None, "{wrong:?}");
        }
    }
}
