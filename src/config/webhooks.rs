//! The section `webhooks`.

use super::table::{Reported, Table};
use super::value::{count, flag};

/// Where accounts may be told of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhooks {
    /// Whether webhooks may reach private networks, and do without TLS.
    pub allow_private: bool,
    /// How many an account may have.
    pub per_account_max: u32,
}

pub(super) fn webhooks(table: &Table) -> Result<Webhooks, Reported> {
    let allow_private = table.required("allow_private", flag);
    let per_account_max = table.required("per_account_max", count(0..=1_000));
    Ok(Webhooks { allow_private: allow_private?, per_account_max: per_account_max? })
}
