//! What invoices have got, and what their owners were told of it.

use sqlx::PgConnection;

use super::{InvoiceRow, amount, decimals, invoices};
use crate::domain::amount::Amount;
use crate::domain::block::{Heights, Level};
use crate::domain::ids::{AccountId, InvoiceId};
use crate::domain::invoice::{Credit, Standing, Status, Terms, rescale};
use crate::domain::network::Network;
use crate::ledger::{Column, LedgerError, from_bigint, to_bigint, to_decimal};

/// An invoice that nobody else changes until the transaction ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedInvoice {
    /// Our name for it.
    pub id: InvoiceId,
    /// Who is to be paid.
    pub account: AccountId,
    /// What decides where it stands.
    pub terms: Terms,
    /// Decimal places of its unit.
    pub decimals: u8,
    /// Where it stood when its owner was told last.
    pub told: Standing,
}

/// Where an invoice stands now, as its owner is to be told.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    /// Which invoice.
    pub invoice: InvoiceId,
    /// Where it stands.
    pub standing: Standing,
}

/// Locks invoices, always in the same order, so that nobody waits in a circle. Weak enough to let others name them meanwhile, which a
/// claim does before its invoice is locked.
///
/// # Errors
/// The database could not be reached.
pub async fn lock(db: &mut PgConnection, ids: &[InvoiceId]) -> Result<Vec<LockedInvoice>, LedgerError> {
    let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
    let rows = invoices!("WHERE i.id = ANY($1) ORDER BY i.id FOR NO KEY UPDATE", &ids);
    let locked = rows.fetch_all(db).await?.into_iter().map(|row: InvoiceRow| {
        Ok(LockedInvoice {
            id: InvoiceId::from_uuid(row.id),
            account: AccountId::from_uuid(row.account_id),
            terms: row.terms()?,
            decimals: decimals(row.decimals)?,
            told: row.told()?,
        })
    });
    locked.collect()
}

/// The terms of an invoice and where its owner was told that it stands, which nobody changes until the transaction ends. Others may hold
/// it beside us.
///
/// # Errors
/// The database could not be reached.
pub async fn hold(db: &mut PgConnection, id: InvoiceId) -> Result<Option<(Terms, Standing)>, LedgerError> {
    let row = invoices!("WHERE i.id = $1 FOR SHARE", id.uuid());
    row.fetch_optional(db).await?.map(|row| Ok((row.terms()?, row.told()?))).transpose()
}

/// What invoices have got: every canonical transfer that is claimed for them, in the unit of the invoice. To be asked in a statement
/// behind [`lock`], which then sees what others have committed before.
///
/// # Errors
/// The database could not be reached.
pub async fn credits_of(db: &mut PgConnection, locked: &[LockedInvoice]) -> Result<Vec<(InvoiceId, Credit)>, LedgerError> {
    let ids: Vec<_> = locked.iter().map(|invoice| invoice.id.uuid()).collect();
    let units: Vec<_> = locked.iter().map(|invoice| i16::from(invoice.decimals)).collect();
    let rows = sqlx::query!(
        r#"
        SELECT c.invoice_id AS "invoice_id!", t.amount,
               CASE WHEN p.given_up_at IS NULL OR p.handed_out_at <= p.given_up_at THEN LEAST(t.happened_at, p.created_at)
                    ELSE t.happened_at END AS "came_at!",
               c.block_number, n.cursor_number, n.safe_number, n.final_number, i.unit AS "unit!",
               (SELECT o.decimals FROM invoice_options o WHERE o.invoice_id = c.invoice_id AND o.network = c.network AND o.asset = t.asset
                LIMIT 1) AS decimals
        FROM unnest($1::uuid[], $2::smallint[]) AS i (id, unit)
        JOIN claims c ON c.invoice_id = i.id
        JOIN transfers t ON t.network = c.network AND t.block_hash = c.block_hash AND t.index = c.index
        JOIN networks n ON n.network = c.network
        LEFT JOIN payments p ON p.id = c.payment_id
        "#,
        &ids,
        &units,
    );
    let credits = rows.fetch_all(db).await?.into_iter().map(|row| {
        let heights = Heights {
            head: from_bigint(row.cursor_number),
            safe: from_bigint(row.safe_number),
            finalized: from_bigint(row.final_number),
        };
        let from = decimals(row.decimals.column("claims", "invoice_id")?)?;
        // More than can be counted is more than enough.
        let amount = rescale(amount(&row.amount, "amount")?, from, decimals(row.unit)?).unwrap_or(Amount::new(u128::MAX));
        let level: Level = heights.level(from_bigint(row.block_number));
        Ok((InvoiceId::from_uuid(row.invoice_id), Credit { amount, level, at: row.came_at }))
    });
    credits.collect()
}

/// The invoices with claims in blocks that came to a deeper level when the levels of a network moved.
///
/// # Errors
/// The database could not be reached.
pub async fn ending_between(
    db: &mut PgConnection,
    network: &Network,
    before: Heights,
    after: Heights,
) -> Result<Vec<InvoiceId>, LedgerError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT DISTINCT invoice_id AS "id!" FROM claims
        WHERE network = $1 AND invoice_id IS NOT NULL
          AND ((block_number > $2 AND block_number <= $3) OR (block_number > $4 AND block_number <= $5))
        "#,
        network.as_str(),
        to_bigint(before.finalized),
        to_bigint(after.finalized),
        to_bigint(before.safe),
        to_bigint(after.safe),
    );
    Ok(ids.fetch_all(db).await?.into_iter().map(InvoiceId::from_uuid).collect())
}

/// Notes what the owners of locked invoices are told.
///
/// # Errors
/// The database could not be reached.
pub async fn tell(db: &mut PgConnection, told: &[Told]) -> Result<(), LedgerError> {
    let ids: Vec<_> = told.iter().map(|told| told.invoice.uuid()).collect();
    let statuses: Vec<_> = told.iter().map(|told| told.standing.status.as_str().to_owned()).collect();
    let column = |read: fn(&Standing) -> Amount| told.iter().map(|told| to_decimal(read(&told.standing))).collect::<Vec<_>>();
    sqlx::query!(
        r#"
        UPDATE invoices i
        SET told_status = t.status, told_paid = t.paid, told_pending = t.pending, told_due = t.due, told_surplus = t.surplus,
            told_late = t.late
        FROM unnest($1::uuid[], $2::text[], $3::numeric[], $4::numeric[], $5::numeric[], $6::numeric[], $7::numeric[])
             AS t (id, status, paid, pending, due, surplus, late)
        WHERE i.id = t.id
        "#,
        &ids,
        &statuses,
        &column(|standing| standing.paid),
        &column(|standing| standing.pending),
        &column(|standing| standing.due),
        &column(|standing| standing.surplus),
        &column(|standing| standing.late),
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        r#"
        UPDATE invoice_options o SET open = t.open FROM unnest($1::uuid[], $2::bool[]) AS t (id, open)
        WHERE o.invoice_id = t.id AND o.open <> t.open
        "#,
        &ids,
        &told.iter().map(|told| told.standing.status == Status::Open).collect::<Vec<_>>(),
    )
    .execute(db)
    .await?;
    Ok(())
}
