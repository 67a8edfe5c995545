//! The level at which a settlement is answered with success, by the amount at stake.

use figment::value::Value;

use super::problem::Fault;
use super::table::{Reported, Table};
use super::value::{decimal, text};
use crate::domain::amount::Amount;
use crate::domain::block::Level;

/// How deep a transfer must stand before success is answered. Larger amounts may wait longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPolicy {
    /// In rising order; only the last has no bound.
    tiers: Vec<Tier>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Tier {
    /// Amounts below this decimal number of tokens. Absent: every amount.
    below: Option<String>,
    at: Level,
}

impl AnswerPolicy {
    /// The same level for every amount.
    #[must_use]
    pub fn always(at: Level) -> Self {
        Self { tiers: vec![Tier { below: None, at }] }
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

/// Reads `answer_at`: one level, or a list of tiers. Its bounds must be exact in every one of `decimals`.
pub(super) fn answer_policy(table: &Table, decimals: &[u8]) -> Result<AnswerPolicy, Reported> {
    if table.holds_text("answer_at") {
        return table.required("answer_at", level).map(AnswerPolicy::always);
    }
    let tiers = table.tables("answer_at")?.into_iter().map(|(_, table)| table.and_then(|table| tier(&table, decimals)));
    let tiers = tiers.collect::<Vec<_>>().into_iter().collect::<Result<Vec<_>, _>>()?;
    if is_rising(&tiers, decimals) { Ok(AnswerPolicy { tiers }) } else { table.refuse("answer_at", Fault::Tiers) }
}

fn tier(table: &Table, decimals: &[u8]) -> Result<Tier, Reported> {
    let below = table.optional("below", decimal(decimals));
    let at = table.required("at", level);
    Ok(Tier { below: below?, at: at? })
}

fn level(value: &Value) -> Result<Level, Fault> {
    Level::parse(&text(value)?).ok_or(Fault::Expected("included, safe or final"))
}

/// Whether every amount falls into exactly one tier, and a larger amount never needs less than a smaller one.
fn is_rising(tiers: &[Tier], decimals: &[u8]) -> bool {
    let places = decimals.iter().max().copied().unwrap_or_default();
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

    #[test]
    fn a_larger_amount_needs_a_deeper_block() {
        let tier = |below: Option<&str>, at| Tier { below: below.map(str::to_owned), at };
        let tiers = vec![tier(Some("1.00"), Level::Included), tier(Some("50"), Level::Safe), tier(None, Level::Final)];
        let policy = AnswerPolicy { tiers };
        let level = |units| policy.level(Amount::new(units), 6);

        assert!(is_rising(&policy.tiers, &[6]));
        assert_eq!((level(0), level(999_999)), (Level::Included, Level::Included));
        assert_eq!((level(1_000_000), level(49_999_999)), (Level::Safe, Level::Safe));
        assert_eq!((level(50_000_000), level(u128::MAX)), (Level::Final, Level::Final));
        assert_eq!(policy.level(Amount::new(10), 0), Level::Safe);
    }
}
