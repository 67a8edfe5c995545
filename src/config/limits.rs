//! The section `limits`.

use super::table::{Reported, Table};
use super::value::{count, or_none};
use crate::domain::rate::Rate;

/// How often somebody may ask, at each replica. `None` is as often as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The holder of an API key.
    pub key: Option<Rate>,
    /// One payer, in what one caller brings of it.
    pub payer: Option<Rate>,
    /// An address without an API key.
    pub address: Option<Rate>,
}

pub(super) fn limits(table: &Table) -> Result<Limits, Reported> {
    let key = rate(table, "key_per_second", "key_burst");
    let payer = rate(table, "payer_per_second", "payer_burst");
    let address = rate(table, "address_per_second", "address_burst");
    Ok(Limits { key: key?, payer: payer?, address: address? })
}

fn rate(table: &Table, per_second: &str, burst: &str) -> Result<Option<Rate>, Reported> {
    let per_second = table.required(per_second, or_none(count(1..=1_000_000)));
    let burst = table.required(burst, count(1..=1_000_000));
    let (per_second, burst) = (per_second?, burst?);
    Ok(per_second.map(|per_second| Rate { per_second, burst }))
}
