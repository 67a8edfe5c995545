//! The section `discovery`.

use chrono::TimeDelta;
use figment::value::Value;

use super::problem::Fault;
use super::table::{Reported, Table};
use super::value::{count, text};

/// How paid resources are listed for others to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discovery {
    /// Whose.
    pub list: Listing,
    /// How many an account may have.
    pub per_account_max: u32,
    /// An entry for which nobody has paid for so long is forgotten.
    pub forget_after: TimeDelta,
}

/// Whose paid resources are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Those that accounts settle for.
    Accounts,
    /// Also those that are settled without a key.
    Everybody,
    /// Nobody's: the extension is off.
    Nobody,
}

pub(super) fn discovery(table: &Table) -> Result<Discovery, Reported> {
    let list = table.required("list", listing);
    let per_account_max = table.required("per_account_max", count(0..=10_000));
    let days = table.required("forget_after_days", count(1..=3_650));
    Ok(Discovery { list: list?, per_account_max: per_account_max?, forget_after: TimeDelta::days(days?.into()) })
}

fn listing(value: &Value) -> Result<Listing, Fault> {
    match text(value)?.as_str() {
        "accounts" => Ok(Listing::Accounts),
        "everybody" => Ok(Listing::Everybody),
        "nobody" => Ok(Listing::Nobody),
        _ => Err(Fault::Expected("accounts, everybody or nobody")),
    }
}
