//! The level at which a settlement is answered with success, as an operator writes it.

use figment::value::Value;

use super::problem::Fault;
use super::table::{Reported, Table};
use super::value::{decimal, text};
use crate::domain::answer::{AnswerPolicy, Tier};
use crate::domain::block::Level;

/// Reads `answer_at`: one level, or a list of tiers. Its bounds must be exact in every one of `decimals`.
pub(super) fn answer_policy(table: &Table, decimals: &[u8]) -> Result<AnswerPolicy, Reported> {
    if table.holds_text("answer_at") {
        return table.required("answer_at", level).map(AnswerPolicy::always);
    }
    let tiers = table.tables("answer_at")?.into_iter().map(|(_, table)| table.and_then(|table| tier(&table, decimals)));
    let tiers = tiers.collect::<Vec<_>>().into_iter().collect::<Result<Vec<_>, _>>()?;
    let places = decimals.iter().max().copied().unwrap_or_default();
    AnswerPolicy::by_amount(tiers, places).map_or_else(|| table.refuse("answer_at", Fault::Tiers), Ok)
}

fn tier(table: &Table, decimals: &[u8]) -> Result<Tier, Reported> {
    let below = table.optional("below", decimal(decimals));
    let at = table.required("at", level);
    Ok(Tier { below: below?, at: at? })
}

fn level(value: &Value) -> Result<Level, Fault> {
    Level::parse(&text(value)?).ok_or(Fault::Expected("included, safe or final"))
}
