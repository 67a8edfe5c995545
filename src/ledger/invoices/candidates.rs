//! Which invoices the transfers of a block may pay. What they do pay is for the rules of `domain::matching`.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::amount::Amount;
use crate::domain::binding;
use crate::domain::ids::{AccountId, InvoiceId};
use crate::domain::matching::{Candidate, made_until};
use crate::domain::network::Network;
use crate::domain::transfer::{Mark, Transfer};
use crate::ledger::transfers::Kept;
use crate::ledger::{Column, LedgerError, from_decimal, read_address, to_decimal};

const TABLE: &str = "invoice_options";

/// What somebody has said that a transfer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The position of the transfer among those that were asked about.
    pub transfer: usize,
    /// The invoice.
    pub invoice: InvoiceId,
}

/// The invoices that each of these transfers may pay in a block of the time `at`, by the position of the transfer, and what was said of
/// them before.
///
/// For each transfer that is: those that it names, the one that its recipient's address is kept for, and a few that ask for exactly
/// its amount. Of these last ones two are as good as many, because none of them can be meant alone. They are counted behind every rule
/// of `domain::matching`, and each transfer of the call may begin one of them before its amount is compared.
///
/// An address may have been another account's before. So only invoices of the one that owns it now are looked at, and where nobody
/// does, only those that the transfer names.
///
/// # Errors
/// The database could not be reached.
pub async fn candidates(
    db: &mut PgConnection,
    network: &Network,
    at: DateTime<Utc>,
    kept: &[Kept<'_>],
) -> Result<(Vec<(usize, Candidate)>, Vec<Wish>), LedgerError> {
    let transfers: Vec<_> = kept.iter().map(|kept| kept.transfer).collect();
    let owners: Vec<_> = kept.iter().map(|kept| kept.owner.map(AccountId::uuid)).collect();
    let enough = i64::try_from(kept.len()).unwrap_or(i64::MAX).saturating_add(2);
    let assets: Vec<_> = transfers.iter().map(|transfer| transfer.asset.to_string()).collect();
    let senders: Vec<_> = transfers.iter().map(|transfer| transfer.from.to_string()).collect();
    let recipients: Vec<_> = transfers.iter().map(|transfer| transfer.to.to_string()).collect();
    let amounts: Vec<_> = transfers.iter().map(|transfer| to_decimal(transfer.amount.unwrap_or(Amount::ZERO))).collect();
    let named = named(db, &transfers).await?;
    let (named_transfers, named_invoices): (Vec<i64>, Vec<uuid::Uuid>) = named.into_iter().unzip();
    let rows = sqlx::query!(
        r#"
        WITH t AS (
            SELECT position - 1 AS position, asset, sender, recipient, amount, owner
            FROM unnest($2::text[], $3::text[], $4::text[], $5::numeric[], $8::uuid[])
                 WITH ORDINALITY AS t (asset, sender, recipient, amount, owner, position)
        ), found AS (
            SELECT n.position, o.invoice_id, o.position AS option, true AS named
            FROM unnest($6::bigint[], $7::uuid[]) AS n (position, invoice_id) JOIN invoice_options o USING (invoice_id)
            UNION ALL
            SELECT t.position, o.invoice_id, o.position, false
            FROM t JOIN invoice_options o ON o.network = $1 AND o.pay_to = t.recipient AND o.asset = t.asset AND o.reserved
            UNION ALL
            SELECT t.position, o.invoice_id, o.position, false
            FROM t CROSS JOIN LATERAL (
                (SELECT o.invoice_id, o.position FROM invoice_options o JOIN invoices i ON i.id = o.invoice_id
                 WHERE o.network = $1 AND o.pay_to = t.recipient AND o.asset = t.asset AND o.amount = t.amount
                   AND o.payer = t.sender AND o.open AND NOT o.reserved AND i.account_id = t.owner
                   AND i.canceled_at IS NULL AND i.created_at <= $9 AND i.closes_at >= $10
                   AND NOT EXISTS (SELECT FROM claims c WHERE c.invoice_id = i.id) LIMIT $11)
                UNION ALL
                (SELECT o.invoice_id, o.position FROM invoice_options o JOIN invoices i ON i.id = o.invoice_id
                 WHERE o.network = $1 AND o.pay_to = t.recipient AND o.asset = t.asset AND o.amount = t.amount
                   AND o.payer IS NULL AND o.open AND NOT o.reserved AND i.account_id = t.owner
                   AND i.canceled_at IS NULL AND i.created_at <= $9 AND i.closes_at >= $10
                   AND NOT EXISTS (SELECT FROM claims c WHERE c.invoice_id = i.id) LIMIT $11)
                UNION ALL
                (SELECT o.invoice_id, o.position FROM invoice_options o JOIN invoices i ON i.id = o.invoice_id
                 WHERE o.network = $1 AND o.pay_to = t.recipient AND o.asset = t.asset AND o.amount = t.amount
                   AND o.payer <> t.sender AND o.open AND NOT o.reserved AND i.account_id = t.owner
                   AND i.canceled_at IS NULL AND i.created_at <= $9 AND i.closes_at >= $10
                   AND NOT EXISTS (SELECT FROM claims c WHERE c.invoice_id = i.id) LIMIT $11)
            ) o
        )
        SELECT f.position AS "position!", f.named AS "named!", o.network AS "network!", o.asset AS "asset!", o.pay_to AS "pay_to!",
               o.amount AS "amount!", o.reserved AS "reserved!", i.id AS "id!", i.payer, i.by_amount AS "by_amount!",
               i.created_at AS "created_at!", i.closes_at AS "closes_at!", i.canceled_at IS NOT NULL AS "canceled!",
               EXISTS (SELECT FROM claims c WHERE c.invoice_id = i.id) AS "begun!"
        FROM found f JOIN t USING (position) JOIN invoice_options o ON o.invoice_id = f.invoice_id AND o.position = f.option
             JOIN invoices i ON i.id = f.invoice_id
        WHERE i.account_id = t.owner OR (t.owner IS NULL AND f.named)
        "#,
        network.as_str(),
        &assets,
        &senders,
        &recipients,
        &amounts,
        &named_transfers,
        &named_invoices,
        &owners as &[Option<uuid::Uuid>],
        made_until(at),
        at,
        enough,
    );
    let rows = rows.fetch_all(&mut *db).await?;
    let candidates = rows.into_iter().map(|row| {
        let candidate = Candidate {
            invoice: InvoiceId::from_uuid(row.id),
            network: row.network.parse().column(TABLE, "network")?,
            asset: read_address(&row.asset, TABLE, "asset")?,
            pay_to: read_address(&row.pay_to, TABLE, "pay_to")?,
            amount: from_decimal(&row.amount).map(Amount::new).column(TABLE, "amount")?,
            reserved: row.reserved,
            payer: row.payer.map(|payer| read_address(&payer, "invoices", "payer")).transpose()?,
            by_amount: row.by_amount,
            begun: row.begun,
            named: row.named,
            created_at: row.created_at,
            closes_at: row.closes_at,
            canceled: row.canceled,
        };
        Ok((usize::try_from(row.position).column(TABLE, "position")?, candidate))
    });
    let candidates = candidates.collect::<Result<Vec<_>, LedgerError>>()?;
    let wishes = wishes(db, network, kept).await?;
    Ok((candidates, wishes))
}

/// What was said of these transfers before.
async fn wishes(db: &mut PgConnection, network: &Network, kept: &[Kept<'_>]) -> Result<Vec<Wish>, LedgerError> {
    let transfers: Vec<_> = kept.iter().map(|kept| kept.transfer).collect();
    let owners: Vec<_> = kept.iter().map(|kept| kept.owner.map(AccountId::uuid)).collect();
    let transactions: Vec<_> = transfers.iter().map(|transfer| transfer.transaction.clone()).collect();
    let assets: Vec<_> = transfers.iter().map(|transfer| transfer.asset.to_string()).collect();
    let senders: Vec<_> = transfers.iter().map(|transfer| transfer.from.to_string()).collect();
    let recipients: Vec<_> = transfers.iter().map(|transfer| transfer.to.to_string()).collect();
    let amounts: Vec<_> = transfers.iter().map(|transfer| to_decimal(transfer.amount.unwrap_or(Amount::ZERO))).collect();
    let wishes = sqlx::query!(
        r#"
        SELECT t.position - 1 AS "position!", a.invoice_id
        FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::uuid[])
             WITH ORDINALITY AS t (transaction, asset, sender, recipient, amount, owner, position)
        JOIN assignments a ON a.network = $1 AND a.transaction = t.transaction AND a.asset = t.asset AND a.sender = t.sender
                          AND a.recipient = t.recipient AND a.amount = t.amount
        JOIN invoices i ON i.id = a.invoice_id AND i.account_id = t.owner
        ORDER BY t.position
        "#,
        network.as_str(),
        &transactions,
        &assets,
        &senders,
        &recipients,
        &amounts,
        &owners as &[Option<uuid::Uuid>],
    );
    let wishes = wishes.fetch_all(db).await?.into_iter().map(|row| {
        let transfer = usize::try_from(row.position).column("assignments", "position")?;
        Ok(Wish { transfer, invoice: InvoiceId::from_uuid(row.invoice_id) })
    });
    wishes.collect()
}

/// The invoices that the marks of transfers name.
async fn named(db: &mut PgConnection, transfers: &[&Transfer]) -> Result<Vec<(i64, uuid::Uuid)>, LedgerError> {
    let (mut positions, mut names, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for (position, transfer) in (0_i64..).zip(transfers) {
        for mark in &transfer.marks {
            // Each mark gives one of the two; the other matches nothing.
            let (name, id) = match mark {
                Mark::Nonce(bytes) | Mark::Reference(bytes) => (binding::names(bytes).to_vec(), None),
                Mark::Memo(text) => match text.trim().parse::<InvoiceId>() {
                    Ok(invoice) => (Vec::new(), Some(invoice.uuid())),
                    Err(_) => continue,
                },
            };
            positions.push(position);
            names.push(name);
            ids.push(id);
        }
    }
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"
        SELECT DISTINCT m.position AS "position!", i.id
        FROM unnest($1::bigint[], $2::bytea[], $3::uuid[]) AS m (position, name, id)
        JOIN invoices i ON substring(i.reference FROM 1 FOR 24) = m.name OR i.id = m.id
        "#,
        &positions,
        &names,
        &ids as &[Option<uuid::Uuid>],
    );
    Ok(rows.fetch_all(db).await?.into_iter().map(|row| (row.position, row.id)).collect())
}
