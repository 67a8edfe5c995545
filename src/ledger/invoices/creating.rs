//! How an invoice comes into the ledger, is called off, and gets a transfer by somebody's word.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Invoice;
use crate::domain::binding::Reference;
use crate::domain::ids::InvoiceId;
use crate::ledger::transfers::{OwnTransfer, to_integer};
use crate::ledger::{LedgerError, to_decimal};

/// Records a new invoice.
///
/// # Errors
/// The database could not be reached.
pub async fn insert(db: &mut PgConnection, invoice: &Invoice) -> Result<(), LedgerError> {
    let Invoice { terms, told, .. } = invoice;
    let reference = Reference::of(invoice.id);
    sqlx::query!(
        r#"
        INSERT INTO invoices (id, account_id, reference, amount, tolerance, decimals, symbol, payer, by_amount, answer_at, created_at,
                              expires_at, closes_at, resource, description, merchant_reference, metadata,
                              told_status, told_paid, told_pending, told_due, told_surplus, told_late)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, 0, 0, $19, 0, 0)
        "#,
        invoice.id.uuid(),
        invoice.account.uuid(),
        &reference.key()[..],
        to_decimal(terms.amount),
        to_decimal(terms.tolerance),
        i16::from(invoice.decimals),
        invoice.symbol,
        invoice.payer.map(|payer| payer.to_string()),
        invoice.by_amount,
        terms.answer_at.as_str(),
        invoice.created_at,
        invoice.expires_at,
        terms.closes_at,
        invoice.resource,
        invoice.description,
        invoice.reference,
        invoice.metadata,
        told.status.as_str(),
        to_decimal(told.due),
    )
    .execute(&mut *db)
    .await?;
    let options = &invoice.options;
    let networks: Vec<_> = options.iter().map(|option| option.network.as_str().to_owned()).collect();
    let assets: Vec<_> = options.iter().map(|option| option.asset.to_string()).collect();
    let decimals: Vec<_> = options.iter().map(|option| i16::from(option.decimals)).collect();
    let recipients: Vec<_> = options.iter().map(|option| option.pay_to.to_string()).collect();
    let amounts: Vec<_> = options.iter().map(|option| to_decimal(option.amount)).collect();
    let reserved: Vec<_> = options.iter().map(|option| option.reserved).collect();
    sqlx::query!(
        r#"
        INSERT INTO invoice_options (invoice_id, position, network, asset, decimals, pay_to, amount, reserved, reserved_until, payer,
                                     open)
        SELECT $1, position - 1, network, asset, decimals, pay_to, amount, reserved, CASE WHEN reserved THEN $9::timestamptz END, $8,
               true
        FROM unnest($2::text[], $3::text[], $4::smallint[], $5::text[], $6::numeric[], $7::bool[])
            WITH ORDINALITY AS o (network, asset, decimals, pay_to, amount, reserved, position)
        "#,
        invoice.id.uuid(),
        &networks,
        &assets,
        &decimals,
        &recipients,
        &amounts,
        &reserved,
        invoice.payer.map(|payer| payer.to_string()),
        terms.closes_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Calls an invoice off. The addresses that were kept for it stay so for its time: what comes there meanwhile was meant for it, and must
/// not be taken for what the next one is waiting for.
///
/// # Errors
/// The database could not be reached.
pub async fn cancel(db: &mut PgConnection, id: InvoiceId, now: DateTime<Utc>) -> Result<(), LedgerError> {
    sqlx::query!("UPDATE invoices SET canceled_at = $2 WHERE id = $1 AND canceled_at IS NULL", id.uuid(), now)
        .execute(&mut *db)
        .await?;
    // What a transfer was believed to be for before its block was replaced is no reason to credit it to an invoice that is no more.
    sqlx::query!(
        "DELETE FROM assignments
         WHERE invoice_id = $1 AND handed_out_at IS NULL AND basis IN ('amount', 'payer', 'reserved')",
        id.uuid(),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Notes that a transfer is for an invoice, because somebody who may say so has said it. It counts in whichever block the transfer
/// stands.
///
/// # Errors
/// The database could not be reached.
pub async fn assign(db: &mut PgConnection, own: &OwnTransfer, invoice: InvoiceId, now: DateTime<Utc>) -> Result<(), LedgerError> {
    let OwnTransfer { network, transfer, occurrence, .. } = own;
    sqlx::query!(
        r#"
        INSERT INTO assignments (network, transaction, asset, sender, recipient, amount, occurrence, invoice_id, basis, assigned_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'assigned', $9)
        ON CONFLICT (network, transaction, asset, sender, recipient, amount, occurrence)
        DO UPDATE SET invoice_id = excluded.invoice_id, basis = excluded.basis, assigned_at = excluded.assigned_at
        "#,
        network.as_str(),
        transfer.transaction,
        transfer.asset.to_string(),
        transfer.from.to_string(),
        transfer.to.to_string(),
        to_decimal(transfer.amount.unwrap_or_default()),
        to_integer(*occurrence),
        invoice.uuid(),
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}
