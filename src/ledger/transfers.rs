//! Transfers in blocks, and the claims that they pay.

use sqlx::PgConnection;

use super::{LedgerError, to_bigint, to_decimal};
use crate::domain::amount::Amount;
use crate::domain::block::Block;
use crate::domain::ids::{AccountId, PaymentId};
use crate::domain::network::Network;
use crate::domain::transfer::Transfer;

/// Records that transfers in a canonical block pay payments.
///
/// # Errors
/// The database could not be reached, or a transfer or a payment has a claim already.
pub async fn claim(
    db: &mut PgConnection,
    network: &Network,
    block: &Block,
    paid: &[(PaymentId, &Transfer)],
) -> Result<(), LedgerError> {
    let column = |read: fn(&Transfer) -> String| paid.iter().map(|(_, transfer)| read(transfer)).collect::<Vec<_>>();
    let payments: Vec<_> = paid.iter().map(|(payment, _)| payment.uuid()).collect();
    let indices: Vec<_> = paid.iter().map(|(_, transfer)| i32::try_from(transfer.index).unwrap_or(i32::MAX)).collect();
    let amounts: Vec<_> = paid.iter().map(|(_, transfer)| to_decimal(transfer.amount.unwrap_or(Amount::ZERO))).collect();
    let transactions = column(|transfer| transfer.transaction.clone());
    sqlx::query!(
        r#"
        INSERT INTO transfers (network, block_hash, block_number, index, transaction, asset, sender, recipient, amount, canonical)
        SELECT $1, $2, $3, index, transaction, asset, sender, recipient, amount, true
        FROM unnest($4::int[], $5::text[], $6::text[], $7::text[], $8::text[], $9::numeric[])
            AS t (index, transaction, asset, sender, recipient, amount)
        ON CONFLICT (network, block_hash, index) DO UPDATE SET canonical = true
        "#,
        network.as_str(),
        block.hash,
        to_bigint(block.number),
        &indices,
        &transactions,
        &column(|transfer| transfer.asset.to_string()),
        &column(|transfer| transfer.from.to_string()),
        &column(|transfer| transfer.to.to_string()),
        &amounts,
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO claims (network, block_hash, block_number, index, transaction, payment_id)
        SELECT $1, $2, $3, index, transaction, payment_id
        FROM unnest($4::int[], $5::text[], $6::uuid[]) AS c (index, transaction, payment_id)
        "#,
        network.as_str(),
        block.hash,
        to_bigint(block.number),
        &indices,
        &transactions,
        &payments,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// A payment that lost its transfer in a reorganisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LostClaim {
    /// Which payment.
    pub payment: PaymentId,
    /// Who asked for it.
    pub provider: Option<AccountId>,
    /// The transaction that is gone.
    pub transaction: String,
    /// Whether somebody was told of its success.
    pub handed_out: bool,
}

/// Removes the claims that stand on blocks above `ancestor`.
///
/// # Errors
/// The database could not be reached.
pub async fn drop_claims_above(db: &mut PgConnection, network: &Network, ancestor: u64) -> Result<Vec<LostClaim>, LedgerError> {
    // Successes are handed out under locks on payments and their claims, in the order of the payments. To come in another order
    // would be to wait for each other in a circle.
    sqlx::query!(
        r#"
        SELECT FROM claims c JOIN payments p ON p.id = c.payment_id
        WHERE c.network = $1 AND c.block_number > $2 ORDER BY p.id FOR UPDATE OF p
        "#,
        network.as_str(),
        to_bigint(ancestor),
    )
    .execute(&mut *db)
    .await?;
    let dropped = sqlx::query!(
        "DELETE FROM claims WHERE network = $1 AND block_number > $2 RETURNING payment_id, transaction",
        network.as_str(),
        to_bigint(ancestor),
    );
    let (payments, transactions): (Vec<_>, Vec<_>) =
        dropped.fetch_all(&mut *db).await?.into_iter().map(|row| (row.payment_id, row.transaction)).unzip();
    // A statement of its own: it sees what was handed out while the first one waited for the claims.
    let rows = sqlx::query!(
        r#"
        SELECT p.id, p.provider_id, lost.transaction AS "transaction!", p.handed_out_at IS NOT NULL AS "handed_out!"
        FROM unnest($1::uuid[], $2::text[]) AS lost (payment_id, transaction) JOIN payments p ON p.id = lost.payment_id
        "#,
        &payments,
        &transactions,
    );
    let lost = rows.fetch_all(db).await?.into_iter().map(|row| LostClaim {
        payment: PaymentId::from_uuid(row.id),
        provider: row.provider_id.map(AccountId::from_uuid),
        transaction: row.transaction,
        handed_out: row.handed_out,
    });
    Ok(lost.collect())
}
