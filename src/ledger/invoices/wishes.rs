//! What was said of transfers before their block was read: by somebody, or by their credit in a block that was replaced.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use crate::domain::block::Block;
use crate::domain::ids::InvoiceId;
use crate::domain::matching::Basis;
use crate::domain::network::Network;
use crate::ledger::transfers::{from_integer, to_integer};
use crate::ledger::{Column, LedgerError};

/// Which invoices the kept transfers at these positions in a block are for, and why, as far as it was said. Only of invoices of the
/// account that owns the address now.
///
/// # Errors
/// The database could not be reached.
pub async fn wishes(
    db: &mut PgConnection,
    network: &Network,
    block: &Block,
    indices: impl Iterator<Item = u32>,
) -> Result<BTreeMap<u32, (InvoiceId, Basis)>, LedgerError> {
    let indices: Vec<_> = indices.map(to_integer).collect();
    let rows = sqlx::query!(
        r#"
        SELECT t.index, a.invoice_id, a.basis
        FROM transfers t
        JOIN assignments a ON a.network = t.network AND a.transaction = t.transaction AND a.asset = t.asset AND a.sender = t.sender
                          AND a.recipient = t.recipient AND a.amount = t.amount AND a.occurrence = t.occurrence
        JOIN invoices i ON i.id = a.invoice_id AND i.account_id = t.account_id
        WHERE t.network = $1 AND t.block_hash = $2 AND t.index = ANY($3)
        "#,
        network.as_str(),
        block.hash,
        &indices,
    );
    let wishes = rows.fetch_all(db).await?.into_iter().map(|row| {
        let basis = Basis::parse(&row.basis).column("assignments", "basis")?;
        Ok((from_integer(row.index), (InvoiceId::from_uuid(row.invoice_id), basis)))
    });
    wishes.collect()
}
