//! What was said of a transaction's transfers, and who was told that one of them pays its invoice.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::ids::InvoiceId;
use crate::domain::network::Network;
use crate::domain::transfer::Transfer;
use crate::ledger::transfers::to_integer;
use crate::ledger::{LedgerError, read_address, read_amount, to_decimal};

const TABLE: &str = "assignments";

/// What was said that a transfer is for. It is known by what it is and not by its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    asset: Address,
    from: Address,
    to: Address,
    amount: Amount,
    occurrence: i32,
    /// The invoice.
    pub invoice: InvoiceId,
    /// Who was told that the transfer pays it.
    pub handed_out_to: Option<String>,
}

impl Assignment {
    /// Whether it is said of this transfer of the transaction: that which comes so many places behind the first one that is equal.
    #[must_use]
    pub fn is_of(&self, transfer: &Transfer, occurrence: u32) -> bool {
        let Transfer { asset, from, to, amount, .. } = *transfer;
        let equal = (self.asset, self.from, self.to, Some(self.amount)) == (asset, from, to, amount);
        equal && self.occurrence == to_integer(occurrence)
    }
}

/// What was said of the transfers of a transaction.
///
/// # Errors
/// The database could not be reached.
pub async fn assignments(db: &mut PgConnection, network: &Network, transaction: &str) -> Result<Vec<Assignment>, LedgerError> {
    let rows = sqlx::query!(
        r#"
        SELECT asset, sender, recipient, amount, occurrence, invoice_id, handed_out_to FROM assignments
        WHERE network = $1 AND transaction = $2
        "#,
        network.as_str(),
        transaction,
    );
    let assignment = rows.fetch_all(db).await?.into_iter().map(|row| {
        Ok(Assignment {
            asset: read_address(&row.asset, TABLE, "asset")?,
            from: read_address(&row.sender, TABLE, "sender")?,
            to: read_address(&row.recipient, TABLE, "recipient")?,
            amount: read_amount(&row.amount, TABLE)?,
            occurrence: row.occurrence,
            invoice: InvoiceId::from_uuid(row.invoice_id),
            handed_out_to: row.handed_out_to,
        })
    });
    assignment.collect()
}

/// Notes that a transfer pays an invoice and that `taker` is told so, which is as good as having said it. Returns whether it did: not if
/// somebody else was told, or the transfer was said to be for another invoice.
///
/// # Errors
/// The database could not be reached.
pub async fn hand_out(
    db: &mut PgConnection,
    network: &Network,
    (transfer, occurrence): (&Transfer, u32),
    invoice: InvoiceId,
    taker: &str,
    now: DateTime<Utc>,
) -> Result<bool, LedgerError> {
    let done = sqlx::query!(
        r#"
        INSERT INTO assignments AS a (network, transaction, asset, sender, recipient, amount, occurrence, invoice_id, basis,
                                      assigned_at, handed_out_to, handed_out_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'assigned', $9, $10, $9)
        ON CONFLICT (network, transaction, asset, sender, recipient, amount, occurrence) DO UPDATE
        SET basis = excluded.basis, handed_out_to = excluded.handed_out_to,
            handed_out_at = COALESCE(a.handed_out_at, excluded.handed_out_at)
        WHERE a.invoice_id = excluded.invoice_id AND (a.handed_out_to IS NULL OR a.handed_out_to = excluded.handed_out_to)
        "#,
        network.as_str(),
        transfer.transaction,
        transfer.asset.to_string(),
        transfer.from.to_string(),
        transfer.to.to_string(),
        to_decimal(transfer.amount.unwrap_or_default()),
        to_integer(occurrence),
        invoice.uuid(),
        now,
        taker,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
