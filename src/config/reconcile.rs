//! The section `reconcile`.

use chrono::TimeDelta;

use super::table::{Reported, Table};
use super::value::seconds;

/// How networks are compared with the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reconcile {
    /// From the beginning of one comparison to that of the next.
    pub every: TimeDelta,
}

pub(super) fn reconcile(table: &Table) -> Result<Reconcile, Reported> {
    Ok(Reconcile { every: table.required("every_seconds", seconds(1..=31 * 86_400))? })
}
