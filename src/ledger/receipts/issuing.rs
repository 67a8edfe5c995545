//! How receipts come to be, and get further revisions: in the transaction that changes their claims.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::ids::ReceiptId;
use crate::domain::network::Network;
use crate::ledger::{LedgerError, to_bigint};

/// Gives each receipt that a statement changes one more revision, with the facts of the one before. `$1` is the time.
macro_rules! follow {
    ($change:tt, $now:expr $(, $argument:expr)* $(,)?) => {
        sqlx::query!(
            "WITH changed AS (" + $change + r#"
                RETURNING r.id, r.revision, r.finality
            )
            INSERT INTO receipt_revisions (receipt_id, number, finality, transaction, block_hash, index, payment_id, invoice_id,
                                           account_id, issued_at)
            SELECT c.id, c.revision, c.finality, v.transaction, v.block_hash, v.index, v.payment_id, v.invoice_id, v.account_id, $1
            FROM changed c JOIN receipt_revisions v ON v.receipt_id = c.id AND v.number = c.revision - 1
            "#,
            $now
            $(, $argument)*
        )
    };
}

/// A claim of a block about which nothing is stated yet, or something else.
struct Unstated {
    /// Its position in the block.
    index: i32,
    /// Which of several equal transfers of its transaction it is.
    occurrence: i32,
    /// Its receipt, if it has one from another block, or from before a payment took its transfer over.
    known: Option<Uuid>,
    /// The receipt that stands at its place and says something else.
    standing: Option<Uuid>,
}

/// States every claim of a block for which no receipt says so yet. To be called when the claims are made and the levels of the network
/// are moved. A claim that is found again in another block has its receipt already, and that gets a further revision.
///
/// # Errors
/// The database could not be reached.
pub async fn issue(db: &mut PgConnection, network: &Network, block_hash: &str, now: DateTime<Utc>) -> Result<(), LedgerError> {
    let claims = unstated(db, network, block_hash).await?;
    if claims.is_empty() {
        return Ok(());
    }
    // What a payment takes over is not for the invoice alone any more that it was believed to be for.
    let stale: Vec<_> = claims.iter().filter_map(|claim| claim.standing).collect();
    if !stale.is_empty() {
        revoke(db, &stale, now).await?;
    }
    write(db, network, block_hash, &claims, now).await
}

async fn unstated(db: &mut PgConnection, network: &Network, block_hash: &str) -> Result<Vec<Unstated>, LedgerError> {
    let rows = sqlx::query_as!(
        Unstated,
        r#"
        SELECT c.index AS "index!", t.occurrence AS "occurrence!", s.id AS "standing?",
               COALESCE(
                   (SELECT r.id FROM receipts r WHERE r.payment_id = c.payment_id),
                   s.id,
                   (SELECT r.id FROM receipts r
                    WHERE r.payment_id IS NULL AND c.payment_id IS NULL AND r.network = c.network AND r.transaction = c.transaction
                      AND r.asset = t.asset AND r.sender = t.sender AND r.recipient = t.recipient AND r.amount = t.amount
                      AND r.occurrence = t.occurrence AND r.invoice_id = c.invoice_id)
               ) AS "known?"
        FROM claims c
        JOIN transfers t ON t.network = c.network AND t.block_hash = c.block_hash AND t.index = c.index
        LEFT JOIN receipts s ON s.network = c.network AND s.block_hash = c.block_hash AND s.index = c.index AND s.finality <> 'revoked'
        WHERE c.network = $1 AND c.block_hash = $2 AND t.amount > 0
          AND (s.id IS NULL OR s.payment_id IS DISTINCT FROM c.payment_id OR s.invoice_id IS DISTINCT FROM c.invoice_id)
        "#,
        network.as_str(),
        block_hash,
    );
    Ok(rows.fetch_all(db).await?)
}

async fn write(
    db: &mut PgConnection,
    network: &Network,
    block_hash: &str,
    claims: &[Unstated],
    now: DateTime<Utc>,
) -> Result<(), LedgerError> {
    let indices: Vec<_> = claims.iter().map(|claim| claim.index).collect();
    let occurrences: Vec<_> = claims.iter().map(|claim| claim.occurrence).collect();
    let ids: Vec<_> = claims.iter().map(|claim| claim.known.unwrap_or_else(|| ReceiptId::new().uuid())).collect();
    sqlx::query!(
        r#"
        WITH facts AS (
            SELECT n.id, n.occurrence, c.network, c.block_hash, c.block_number, c.index, c.transaction, c.payment_id, c.invoice_id,
                   t.asset, t.sender, t.recipient, t.amount, t.account_id,
                   CASE WHEN c.block_number <= w.final_number THEN 'final' ELSE 'included' END AS finality
            FROM unnest($3::uuid[], $4::int[], $5::int[]) AS n (id, index, occurrence)
            JOIN claims c ON c.network = $1 AND c.block_hash = $2 AND c.index = n.index
            JOIN transfers t ON t.network = c.network AND t.block_hash = c.block_hash AND t.index = c.index
            JOIN networks w ON w.network = c.network
        ), written AS (
            INSERT INTO receipts AS r (id, network, asset, sender, recipient, amount, transaction, occurrence, payment_id, invoice_id,
                                       account_id, revision, finality, block_hash, block_number, index)
            SELECT id, network, asset, sender, recipient, amount, transaction, occurrence, payment_id, invoice_id, account_id, 1, finality,
                   block_hash, block_number, index
            FROM facts
            ON CONFLICT (id) DO UPDATE
            SET transaction = excluded.transaction, occurrence = excluded.occurrence, payment_id = excluded.payment_id,
                invoice_id = excluded.invoice_id, account_id = excluded.account_id, revision = r.revision + 1,
                finality = excluded.finality, block_hash = excluded.block_hash, block_number = excluded.block_number,
                index = excluded.index
            RETURNING r.id, r.revision
        )
        INSERT INTO receipt_revisions (receipt_id, number, finality, transaction, block_hash, index, payment_id, invoice_id, account_id,
                                       issued_at)
        SELECT w.id, w.revision, f.finality, f.transaction, f.block_hash, f.index, f.payment_id, f.invoice_id, f.account_id, $6
        FROM written w JOIN facts f ON f.id = w.id
        "#,
        network.as_str(),
        block_hash,
        &ids,
        &indices,
        &occurrences,
        now,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// States of all receipts up to the newest final block that they are final. One that was missed before, because its claim was made in
/// the same moment, is among them.
///
/// # Errors
/// The database could not be reached.
pub async fn finalize(db: &mut PgConnection, network: &Network, finalized: u64, now: DateTime<Utc>) -> Result<(), LedgerError> {
    let deep = follow!(
        r#"
        UPDATE receipts r SET finality = 'final', revision = r.revision + 1
        WHERE r.network = $2 AND r.block_number <= $3 AND r.finality = 'included'
        "#,
        now,
        network.as_str(),
        to_bigint(finalized),
    );
    deep.execute(db).await?;
    Ok(())
}

/// Revokes the receipts that stand on blocks above `ancestor`.
///
/// # Errors
/// The database could not be reached.
pub async fn revoke_above(
    db: &mut PgConnection,
    network: &Network,
    ancestor: u64,
    now: DateTime<Utc>,
) -> Result<(), LedgerError> {
    let lost = follow!(
        r#"
        UPDATE receipts r SET finality = 'revoked', revision = r.revision + 1
        WHERE r.network = $2 AND r.block_number > $3 AND r.finality <> 'revoked'
        "#,
        now,
        network.as_str(),
        to_bigint(ancestor),
    );
    lost.execute(db).await?;
    Ok(())
}

async fn revoke(db: &mut PgConnection, ids: &[Uuid], now: DateTime<Utc>) -> Result<(), LedgerError> {
    let stale = follow!(
        r#"
        UPDATE receipts r SET finality = 'revoked', revision = r.revision + 1
        WHERE r.id = ANY ($2) AND r.finality <> 'revoked'
        "#,
        now,
        ids,
    );
    stale.execute(db).await?;
    Ok(())
}
