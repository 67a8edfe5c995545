//! What comparisons of networks with the ledger came to, and from where the next one goes on.

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Column, Ledger, LedgerError, from_bigint, read_address, read_amount, to_bigint, to_decimal};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::block::BlockHash;
use crate::domain::ids::{AddressId, ReconciliationId};
use crate::domain::network::Network;
use crate::domain::reconciliation::Kept;

/// What an address held of a token at a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basis {
    /// The token.
    pub asset: Address,
    /// The block.
    pub block: (u64, BlockHash),
    /// How much.
    pub amount: Amount,
}

/// An address whose balances are compared, with those that were found right last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Our name for it.
    pub id: AddressId,
    /// The address.
    pub address: Address,
    /// What it held, token by token. A token that was never looked at is not there.
    pub bases: Vec<Basis>,
}

/// What a comparison came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconciliation {
    /// Our name for it.
    pub id: ReconciliationId,
    /// Of which network.
    pub network: Network,
    /// When it began.
    pub begun_at: DateTime<Utc>,
    /// When it was done.
    pub finished_at: DateTime<Utc>,
    /// The newest block of the ledger at the beginning.
    pub block: u64,
    /// Addresses that were looked at.
    pub addresses: u64,
    /// Credits that were looked at, transaction by transaction.
    pub credits: u64,
    /// Balances that were looked at for the first time.
    pub begun: u64,
    /// Differences that were found.
    pub differences: u64,
    /// The first of them, as they are told.
    pub report: Value,
}

struct ReconciliationRow {
    id: Uuid,
    network: String,
    begun_at: DateTime<Utc>,
    finished_at: DateTime<Utc>,
    block_number: i64,
    addresses: i64,
    credits: i64,
    begun: i64,
    differences: i64,
    report: Value,
}

impl TryFrom<ReconciliationRow> for Reconciliation {
    type Error = LedgerError;

    fn try_from(row: ReconciliationRow) -> Result<Self, LedgerError> {
        Ok(Self {
            id: ReconciliationId::from_uuid(row.id),
            network: row.network.parse().column("reconciliations", "network")?,
            begun_at: row.begun_at,
            finished_at: row.finished_at,
            block: from_bigint(row.block_number),
            addresses: from_bigint(row.addresses),
            credits: from_bigint(row.credits),
            begun: from_bigint(row.begun),
            differences: from_bigint(row.differences),
            report: row.report,
        })
    }
}

/// Which comparisons are listed.
#[derive(Debug, Clone, Default)]
pub struct ReconciliationFilter {
    /// Of which network.
    pub network: Option<Network>,
    /// Those that are older than this one.
    pub before: Option<ReconciliationId>,
    /// How many at most.
    pub limit: u32,
}

impl Ledger {
    /// A page of the addresses of a network that are somebody's now, in the order of their names, behind `after`.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn compared_addresses(
        &self,
        network: &Network,
        after: Option<AddressId>,
        limit: u32,
    ) -> Result<Vec<Compared>, LedgerError> {
        let rows = sqlx::query!(
            r#"
            SELECT a.id, a.address, b.asset AS "asset?", b.block_number AS "block_number?", b.block_hash AS "block_hash?",
                   b.amount AS "amount?"
            FROM (
                SELECT id, address FROM addresses
                WHERE network = $1 AND proven_at IS NOT NULL AND removed_at IS NULL AND id > $2
                ORDER BY id LIMIT $3
            ) a LEFT JOIN reconciled_balances b ON b.address_id = a.id
            ORDER BY a.id, b.asset
            "#,
            network.as_str(),
            after.map_or(Uuid::nil(), AddressId::uuid),
            i64::from(limit),
        );
        let mut found: Vec<Compared> = Vec::new();
        for row in rows.fetch_all(self.pool()).await? {
            let id = AddressId::from_uuid(row.id);
            if found.last().is_none_or(|last| last.id != id) {
                found.push(Compared { id, address: read_address(&row.address, "addresses", "address")?, bases: Vec::new() });
            }
            let (Some(asset), Some(number), Some(hash), Some(amount)) = (row.asset, row.block_number, row.block_hash, row.amount)
            else {
                continue;
            };
            let basis = Basis {
                asset: read_address(&asset, "reconciled_balances", "asset")?,
                block: (from_bigint(number), hash),
                amount: read_amount(&amount, "reconciled_balances")?,
            };
            if let Some(last) = found.last_mut() {
                last.bases.push(basis);
            }
        }
        Ok(found)
    }

    /// What the ledger has of what came to addresses in these blocks, transaction by transaction.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn received(
        &self,
        network: &Network,
        addresses: &[Address],
        (first, last): (u64, u64),
    ) -> Result<Vec<Kept>, LedgerError> {
        let addresses: Vec<_> = addresses.iter().map(Address::to_string).collect();
        let rows = sqlx::query!(
            r#"
            SELECT transaction, recipient, asset, sum(amount) AS "amount!"
            FROM transfers
            WHERE network = $1 AND block_number BETWEEN $2 AND $3 AND recipient = ANY($4) AND canonical
            GROUP BY transaction, recipient, asset
            "#,
            network.as_str(),
            to_bigint(first),
            to_bigint(last),
            &addresses,
        );
        let read = |row: (String, String, String, sqlx::types::BigDecimal)| {
            let (transaction, recipient, asset, amount) = row;
            Ok(Kept {
                transaction,
                address: read_address(&recipient, "transfers", "recipient")?,
                asset: read_address(&asset, "transfers", "asset")?,
                received: read_amount(&amount, "transfers")?,
            })
        };
        let rows = rows.fetch_all(self.pool()).await?;
        rows.into_iter().map(|row| read((row.transaction, row.recipient, row.asset, row.amount))).collect()
    }

    /// The newest comparison of a network.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn last_reconciliation(&self, network: &Network) -> Result<Option<Reconciliation>, LedgerError> {
        let filter = ReconciliationFilter { network: Some(network.clone()), before: None, limit: 1 };
        Ok(self.list_reconciliations(&filter).await?.pop())
    }

    /// A page of comparisons, newest first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn list_reconciliations(&self, filter: &ReconciliationFilter) -> Result<Vec<Reconciliation>, LedgerError> {
        let rows = sqlx::query_as!(
            ReconciliationRow,
            r#"
            SELECT id, network, begun_at, finished_at, block_number, addresses, credits, begun, differences, report
            FROM reconciliations
            WHERE ($1::text IS NULL OR network = $1) AND id < $2
            ORDER BY id DESC LIMIT $3
            "#,
            filter.network.as_ref().map(Network::as_str),
            filter.before.map_or(Uuid::max(), ReconciliationId::uuid),
            i64::from(filter.limit),
        );
        rows.fetch_all(self.pool()).await?.into_iter().map(Reconciliation::try_from).collect()
    }
}

/// Notes what addresses held where everything was right.
///
/// # Errors
/// The database could not be reached.
pub async fn keep_bases(db: &mut PgConnection, bases: &[(AddressId, Basis)]) -> Result<(), LedgerError> {
    let ids: Vec<_> = bases.iter().map(|(id, _)| id.uuid()).collect();
    let assets: Vec<_> = bases.iter().map(|(_, basis)| basis.asset.to_string()).collect();
    let numbers: Vec<_> = bases.iter().map(|(_, basis)| to_bigint(basis.block.0)).collect();
    let hashes: Vec<_> = bases.iter().map(|(_, basis)| basis.block.1.clone()).collect();
    let amounts: Vec<_> = bases.iter().map(|(_, basis)| to_decimal(basis.amount)).collect();
    sqlx::query!(
        r#"
        INSERT INTO reconciled_balances (address_id, asset, block_number, block_hash, amount)
        SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::numeric[])
        ON CONFLICT (address_id, asset) DO UPDATE
        SET block_number = excluded.block_number, block_hash = excluded.block_hash, amount = excluded.amount
        "#,
        &ids,
        &assets,
        &numbers,
        &hashes,
        &amounts,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Stores what a comparison came to.
///
/// # Errors
/// The database could not be reached.
pub async fn insert(db: &mut PgConnection, done: &Reconciliation) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO reconciliations (id, network, begun_at, finished_at, block_number, addresses, credits, begun, differences, report)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        "#,
        done.id.uuid(),
        done.network.as_str(),
        done.begun_at,
        done.finished_at,
        to_bigint(done.block),
        to_bigint(done.addresses),
        to_bigint(done.credits),
        to_bigint(done.begun),
        to_bigint(done.differences),
        done.report,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Removes comparisons that ended before a time, `limit` of them at most. Returns how many.
///
/// # Errors
/// The database could not be reached.
pub async fn forget(db: &mut PgConnection, before: DateTime<Utc>, limit: u32) -> Result<u64, LedgerError> {
    let done = sqlx::query!(
        "DELETE FROM reconciliations WHERE id IN (SELECT id FROM reconciliations WHERE finished_at < $1 LIMIT $2)",
        before,
        i64::from(limit),
    );
    Ok(done.execute(db).await?.rows_affected())
}
