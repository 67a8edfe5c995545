//! How a receipt is redeemed.

use sqlx::PgConnection;

use super::{Receipt, ReceiptRow, Redemption, receipts};
use crate::domain::ids::ReceiptId;
use crate::ledger::LedgerError;

/// A receipt, locked until the transaction ends.
///
/// # Errors
/// The database could not be reached.
pub async fn lock(db: &mut PgConnection, id: ReceiptId) -> Result<Option<Receipt>, LedgerError> {
    receipts!("WHERE r.id = $1 FOR UPDATE OF r", id.uuid()).fetch_optional(db).await?.map(Receipt::try_from).transpose()
}

/// Notes the redemption of a locked receipt.
///
/// # Errors
/// The database could not be reached.
pub async fn redeem(db: &mut PgConnection, id: ReceiptId, redemption: &Redemption) -> Result<(), LedgerError> {
    sqlx::query!(
        "UPDATE receipts SET redeemed_at = $2, redeemed_nonce = $3 WHERE id = $1 AND redeemed_at IS NULL",
        id.uuid(),
        redemption.at,
        redemption.nonce,
    )
    .execute(db)
    .await?;
    Ok(())
}
