//! How far each network was read, and the canonical blocks that can still be replaced.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{Ledger, LedgerError, from_bigint, to_bigint};
use crate::domain::block::{Block, BlockHash, Heights};
use crate::domain::network::Network;

/// Where the reading of a network stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The newest block that was read, and the levels known with it.
    pub heights: Heights,
    /// That block.
    pub hash: BlockHash,
    /// Why its watcher halted the network, if it did. Then nothing is believed that the nodes tell.
    pub halted: Option<String>,
    /// Why an operator halted it, if one did. Then nothing new is begun.
    pub stopped: Option<String>,
    /// Up to which block the ledger may lack what was told, if it is a copy that was restored.
    pub copied_to: Option<u64>,
    /// Whether an operator said that the nodes' history counts, also where it contradicts what was final.
    pub accepts_history: bool,
}

impl Cursor {
    /// The newest block that nothing may undo.
    #[must_use]
    pub const fn untouchable(&self) -> u64 {
        if self.accepts_history { 0 } else { self.heights.finalized }
    }

    /// Whether somebody may have been told of what stands in a block, without the ledger knowing.
    #[must_use]
    pub fn may_be_told(&self, number: u64) -> bool {
        self.copied_to.is_some_and(|copied_to| number <= copied_to)
    }

    /// Whether everything was read that the ledger may lack. Until then nothing is sent.
    #[must_use]
    pub fn has_caught_up(&self) -> bool {
        self.copied_to.is_none_or(|copied_to| self.heights.head >= copied_to)
    }
}

/// Final blocks that are kept below the newest final one, so that a node which contradicts them is noticed, and so that it is known
/// how old a payment is that was built on one of them.
const FINAL_BLOCKS_KEPT: i64 = 192;

struct CursorRow {
    cursor_number: i64,
    cursor_hash: String,
    safe_number: i64,
    final_number: i64,
    halted_reason: Option<String>,
    stopped_reason: Option<String>,
    copied_to: Option<i64>,
    accepts_history: bool,
}

impl From<CursorRow> for Cursor {
    fn from(row: CursorRow) -> Self {
        let heights = Heights {
            head: from_bigint(row.cursor_number),
            safe: from_bigint(row.safe_number),
            finalized: from_bigint(row.final_number),
        };
        Self {
            heights,
            hash: row.cursor_hash,
            halted: row.halted_reason,
            stopped: row.stopped_reason,
            copied_to: row.copied_to.map(from_bigint),
            accepts_history: row.accepts_history,
        }
    }
}

impl Ledger {
    /// The height of a canonical block, if it is kept.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn height_of(&self, network: &Network, hash: &BlockHash) -> Result<Option<u64>, LedgerError> {
        let height = sqlx::query_scalar!(
            "SELECT number FROM blocks WHERE network = $1 AND hash = $2 AND canonical",
            network.as_str(),
            hash
        );
        Ok(height.fetch_optional(self.pool()).await?.map(from_bigint))
    }

    /// The time that a block says of itself, if it is kept.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn time_of(&self, network: &Network, hash: &BlockHash) -> Result<Option<DateTime<Utc>>, LedgerError> {
        let time = sqlx::query_scalar!("SELECT timestamp FROM blocks WHERE network = $1 AND hash = $2", network.as_str(), hash);
        Ok(time.fetch_optional(self.pool()).await?)
    }

    /// Where the reading of a network stands, if it began.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn cursor(&self, network: &Network) -> Result<Option<Cursor>, LedgerError> {
        let row = sqlx::query_as!(
            CursorRow,
            r#"
            SELECT cursor_number, cursor_hash, safe_number, final_number, halted_reason, stopped_reason, copied_to, accepts_history
            FROM networks WHERE network = $1
            "#,
            network.as_str(),
        );
        Ok(row.fetch_optional(self.pool()).await?.map(Cursor::from))
    }

    /// The canonical blocks that are kept, newest first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn canonical_blocks(&self, network: &Network) -> Result<Vec<(u64, BlockHash)>, LedgerError> {
        let rows = sqlx::query!(
            "SELECT number, hash FROM blocks WHERE network = $1 AND canonical ORDER BY number DESC",
            network.as_str(),
        );
        Ok(rows.fetch_all(self.pool()).await?.into_iter().map(|row| (from_bigint(row.number), row.hash)).collect())
    }

    /// Halts a network until an operator resumes it, unless the reading has left the block at which it was judged. The first reason
    /// stays.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn halt(&self, network: &Network, judged: &BlockHash, reason: &str) -> Result<(), LedgerError> {
        sqlx::query!(
            r#"
            UPDATE networks SET halted_at = clock_timestamp(), halted_reason = $2
            WHERE network = $1 AND cursor_hash = $3 AND halted_at IS NULL
            "#,
            network.as_str(),
            reason,
            judged,
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }
}

/// Halts a network behind the block that is taken in by this transaction.
///
/// # Errors
/// The database could not be reached.
pub async fn halt_behind(db: &mut PgConnection, network: &Network, reason: &str) -> Result<(), LedgerError> {
    sqlx::query!(
        "UPDATE networks SET halted_at = clock_timestamp(), halted_reason = $2 WHERE network = $1 AND halted_at IS NULL",
        network.as_str(),
        reason,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The cursor, locked until the transaction ends.
///
/// # Errors
/// The database could not be reached.
pub async fn lock_cursor(db: &mut PgConnection, network: &Network) -> Result<Option<Cursor>, LedgerError> {
    let row = sqlx::query_as!(
        CursorRow,
        r#"
        SELECT cursor_number, cursor_hash, safe_number, final_number, halted_reason, stopped_reason, copied_to, accepts_history
        FROM networks WHERE network = $1 FOR UPDATE
        "#,
        network.as_str(),
    );
    Ok(row.fetch_optional(db).await?.map(Cursor::from))
}

/// Moves the cursor. What was final stays final, what was safe stays so in its chain, whatever another node says of it, and the
/// operator's word on another history is used up.
///
/// # Errors
/// The database could not be reached.
pub async fn move_cursor(db: &mut PgConnection, network: &Network, hash: &str, heights: Heights) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO networks AS n (network, cursor_number, cursor_hash, safe_number, final_number) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (network) DO UPDATE
        SET cursor_number = excluded.cursor_number, cursor_hash = excluded.cursor_hash, accepts_history = false,
            final_number = GREATEST(n.final_number, excluded.final_number),
            safe_number = LEAST(excluded.cursor_number, GREATEST(n.safe_number, n.final_number, excluded.safe_number))
        "#,
        network.as_str(),
        to_bigint(heights.head),
        hash,
        to_bigint(heights.safe),
        to_bigint(heights.finalized),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Lowers the levels to `number`, because an operator said that what was final above it is not.
///
/// # Errors
/// The database could not be reached.
pub async fn lower_final(db: &mut PgConnection, network: &Network, number: u64) -> Result<(), LedgerError> {
    sqlx::query!(
        "UPDATE networks SET final_number = LEAST(final_number, $2), safe_number = LEAST(safe_number, $2) WHERE network = $1",
        network.as_str(),
        to_bigint(number),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Records a canonical block. A block that was orphaned before can come back.
///
/// # Errors
/// The database could not be reached, or the height has another canonical block.
pub async fn insert_block(db: &mut PgConnection, network: &Network, block: &Block) -> Result<(), LedgerError> {
    sqlx::query!(
        r#"
        INSERT INTO blocks (network, hash, number, parent_hash, timestamp, canonical) VALUES ($1, $2, $3, $4, $5, true)
        ON CONFLICT (network, hash) DO UPDATE SET canonical = true
        "#,
        network.as_str(),
        block.hash,
        to_bigint(block.number),
        block.parent_hash,
        block.timestamp,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Takes the blocks above `ancestor` out of the canonical chain, with the transfers in them.
///
/// # Errors
/// The database could not be reached.
pub async fn orphan_above(db: &mut PgConnection, network: &Network, ancestor: u64) -> Result<(), LedgerError> {
    let ancestor = to_bigint(ancestor);
    sqlx::query!(
        "UPDATE blocks SET canonical = false WHERE network = $1 AND number > $2 AND canonical",
        network.as_str(),
        ancestor
    )
    .execute(&mut *db)
    .await?;
    sqlx::query!(
        "UPDATE transfers SET canonical = false WHERE network = $1 AND block_number > $2 AND canonical",
        network.as_str(),
        ancestor
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Forgets blocks that lie so deep that nothing asks for them.
///
/// # Errors
/// The database could not be reached.
pub async fn prune(db: &mut PgConnection, network: &Network, finalized: u64) -> Result<(), LedgerError> {
    sqlx::query!(
        "DELETE FROM blocks WHERE network = $1 AND number < $2",
        network.as_str(),
        to_bigint(finalized).saturating_sub(FINAL_BLOCKS_KEPT),
    )
    .execute(db)
    .await?;
    Ok(())
}

/// The hash of the canonical block at a height.
///
/// # Errors
/// The database could not be reached.
pub async fn canonical_hash(db: &mut PgConnection, network: &Network, number: u64) -> Result<Option<BlockHash>, LedgerError> {
    let hash = sqlx::query_scalar!(
        "SELECT hash FROM blocks WHERE network = $1 AND number = $2 AND canonical",
        network.as_str(),
        to_bigint(number)
    );
    Ok(hash.fetch_optional(db).await?)
}
