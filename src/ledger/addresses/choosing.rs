//! Which of an account's addresses an invoice is paid at.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{AddressRow, RegisteredAddress, addresses};
use crate::domain::ids::{AccountId, AddressId, InvoiceId};
use crate::ledger::LedgerError;

/// Of these addresses, the active ones of an account on some networks that are not kept for an invoice, oldest first.
///
/// # Errors
/// The database could not be reached.
pub async fn free_of(
    db: &mut PgConnection,
    account: AccountId,
    networks: &[String],
    ids: &[AddressId],
    now: DateTime<Utc>,
) -> Result<Vec<RegisteredAddress>, LedgerError> {
    let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
    let rows = addresses!(
        r#"
        WHERE id = ANY($1) AND account_id = $2 AND network = ANY($3) AND proven_at IS NOT NULL AND removed_at IS NULL
          AND (reserved_until IS NULL OR reserved_until < $4)
        ORDER BY id
        "#,
        &ids,
        account.uuid(),
        networks,
        now,
    );
    rows.fetch_all(db).await?.into_iter().map(RegisteredAddress::try_from).collect()
}

/// Asks about addresses, called `a`, at which an invoice of their account waits to be paid: with nothing yet, or with less than is owed,
/// or for what it has seen to become deeper. The first argument is the account, the second the time.
///
/// What has begun is gathered once: an address may have a long history, and few of an account's invoices are in the middle of it. With
/// OFFSET the other question is asked of each address by itself, and not of the invoices of everybody.
macro_rules! awaited {
    ($before:tt, $after:tt $(, $argument:expr)* $(,)?) => {
        sqlx::query_scalar!(
            r#"
            WITH begun AS MATERIALIZED (
                SELECT o.network, o.pay_to FROM invoices i JOIN invoice_options o ON o.invoice_id = i.id
                WHERE i.account_id = $1 AND i.told_status IN ('seen', 'underpaid') AND i.closes_at >= $2 AND NOT o.reserved
            )
            "# + $before + r#"
            (EXISTS (SELECT FROM begun b WHERE b.network = a.network AND b.pay_to = a.address)
             OR EXISTS (SELECT FROM invoice_options o JOIN invoices i ON i.id = o.invoice_id AND i.account_id = $1
                        WHERE o.network = a.network AND o.pay_to = a.address AND o.open AND NOT o.reserved OFFSET 0))
            "# + $after
            $(, $argument)*
        )
    };
}

/// For each of some networks the active address of an account that was kept for an invoice longest ago, or never; of several, the
/// oldest. With `alone` only addresses count at which no other invoice waits to be paid. However many addresses there are, few are
/// looked at.
///
/// # Errors
/// The database could not be reached.
pub async fn choose(
    db: &mut PgConnection,
    account: AccountId,
    networks: &[String],
    alone: bool,
    now: DateTime<Utc>,
) -> Result<Vec<AddressId>, LedgerError> {
    let chosen = awaited!(
        r#"
        SELECT chosen.id FROM unnest($3::text[]) AS n (network) CROSS JOIN LATERAL (
            SELECT a.id FROM addresses a
            WHERE a.account_id = $1 AND a.network = n.network AND a.proven_at IS NOT NULL AND a.removed_at IS NULL
              AND COALESCE(a.reserved_until, '-infinity'::timestamptz) < $2
              AND NOT ($4 AND "#,
        r#")
            ORDER BY COALESCE(a.reserved_until, '-infinity'::timestamptz), a.id LIMIT 1
        ) chosen
        "#,
        account.uuid(),
        now,
        networks,
        alone,
    );
    Ok(chosen.fetch_all(db).await?.into_iter().map(AddressId::from_uuid).collect())
}

/// Of these addresses of an account, those at which one of its invoices waits to be paid.
///
/// # Errors
/// The database could not be reached.
pub async fn awaited(
    db: &mut PgConnection,
    account: AccountId,
    ids: &[AddressId],
    now: DateTime<Utc>,
) -> Result<Vec<AddressId>, LedgerError> {
    let ids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
    let awaited = awaited!("SELECT a.id FROM addresses a WHERE a.id = ANY($3) AND ", "", account.uuid(), now, &ids);
    Ok(awaited.fetch_all(db).await?.into_iter().map(AddressId::from_uuid).collect())
}

/// Whether an invoice of its account waits to be paid at an address, or has it kept: registered anew, it would be free for another one.
///
/// # Errors
/// The database could not be reached.
pub async fn is_awaited(db: &mut PgConnection, address: &RegisteredAddress, now: DateTime<Utc>) -> Result<bool, LedgerError> {
    let awaited = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM invoice_options o JOIN invoices i ON i.id = o.invoice_id
            WHERE o.network = $1 AND o.pay_to = $2 AND i.account_id = $3
              AND (o.open OR o.reserved_until >= $4 OR (i.told_status IN ('seen', 'underpaid') AND i.closes_at >= $4))
        ) AS "awaited!"
        "#,
        address.network.as_str(),
        address.address.to_string(),
        address.account.uuid(),
        now,
    );
    Ok(awaited.fetch_one(db).await?)
}

/// Keeps an address for one invoice. Returns whether it did: not if it is kept for another one, or is not the account's.
///
/// # Errors
/// The database could not be reached.
pub async fn reserve(
    db: &mut PgConnection,
    id: AddressId,
    invoice: InvoiceId,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool, LedgerError> {
    let done = sqlx::query!(
        r#"
        UPDATE addresses SET reserved_for = $2, reserved_until = $3
        WHERE id = $1 AND proven_at IS NOT NULL AND removed_at IS NULL AND (reserved_until IS NULL OR reserved_until < $4)
        "#,
        id.uuid(),
        invoice.uuid(),
        until,
        now,
    )
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}
