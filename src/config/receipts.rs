//! The section `receipts`.

use super::secret::{Secret, secret};
use super::table::{Reported, Table};

/// How receipts are signed.
#[derive(Debug, Clone)]
pub struct Receipts {
    /// The text of the keyring. Absent: that of the private database's directory, or none.
    pub keys: Option<Secret>,
}

pub(super) fn receipts(table: &Table) -> Result<Receipts, Reported> {
    Ok(Receipts { keys: secret(table, "keys")? })
}
