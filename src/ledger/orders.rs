//! What operators have told lanes and networks not to begin, and how they stand. Every replica obeys, because whoever takes payments
//! asks here.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Column, Ledger, LedgerError, from_bigint, from_decimal};
use crate::domain::network::Network;

/// A lane, and what it has under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneRecord {
    /// The address of its signer.
    pub address: String,
    /// The operator's name for it, if it ever ran.
    pub name: Option<String>,
    /// What the signer held when it was looked at last, in the smallest unit of the coin.
    pub balance: Option<u128>,
    /// Whether that may not last for another hour.
    pub short: bool,
    /// Whether the signer did not sign when it was asked last.
    pub away: bool,
    /// Since when it takes no new payments, if an operator drains it.
    pub drained_at: Option<DateTime<Utc>>,
    /// The process that runs it now.
    pub owner: Option<Uuid>,
    /// Slots that no block holds yet.
    pub in_flight: u64,
    /// Slots that a block holds which is not final. A fork may leave them out, and then they are to be sent again.
    pub not_final: u64,
    /// Payments that are assigned to it and in no slot.
    pub queued: u64,
}

/// Whether a lane takes payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneState {
    /// It takes payments.
    Working,
    /// It takes none, and finishes those that it has.
    Draining,
    /// It takes none, and has none.
    Drained,
}

impl LaneRecord {
    /// Whether it takes payments.
    #[must_use]
    pub const fn state(&self) -> LaneState {
        match self.drained_at {
            None => LaneState::Working,
            Some(_) if self.in_flight > 0 || self.not_final > 0 || self.queued > 0 => LaneState::Draining,
            Some(_) => LaneState::Drained,
        }
    }
}

impl LaneState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Working => "working",
            Self::Draining => "draining",
            Self::Drained => "drained",
        }
    }
}

/// Why and since when a network is halted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// Why.
    pub reason: String,
    /// Since when.
    pub since: DateTime<Utc>,
}

/// Who has halted a network. Both may have.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Halts {
    /// Its watcher, which found a contradiction.
    pub found: Option<Halt>,
    /// An operator.
    pub ordered: Option<Halt>,
}

impl Ledger {
    /// Has a lane take no new payments. Returns whether it did until now.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn drain_lane(&self, network: &Network, signer: &str, now: DateTime<Utc>) -> Result<bool, LedgerError> {
        let done = sqlx::query!(
            "INSERT INTO drained_lanes (network, signer, drained_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            network.as_str(),
            signer,
            now,
        );
        Ok(done.execute(self.pool()).await?.rows_affected() == 1)
    }

    /// Lets a drained lane take payments again. Returns whether it was drained.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn undrain_lane(&self, network: &Network, signer: &str) -> Result<bool, LedgerError> {
        let done = sqlx::query!("DELETE FROM drained_lanes WHERE network = $1 AND signer = $2", network.as_str(), signer);
        Ok(done.execute(self.pool()).await?.rows_affected() == 1)
    }

    /// The addresses of the signers whose lanes take no new payments.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn drained_lanes(&self, network: &Network) -> Result<Vec<String>, LedgerError> {
        let signers =
            sqlx::query_scalar!("SELECT signer FROM drained_lanes WHERE network = $1 ORDER BY signer", network.as_str());
        Ok(signers.fetch_all(self.pool()).await?)
    }

    /// The lanes of a network: those of these signers, and others that the ledger knows of.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn lanes(&self, network: &Network, signers: &[String]) -> Result<Vec<LaneRecord>, LedgerError> {
        // Known before, so that the index is read from there on and not through a signer's whole history.
        let finalized = sqlx::query_scalar!("SELECT final_number FROM networks WHERE network = $1", network.as_str());
        let finalized = finalized.fetch_optional(self.pool()).await?.unwrap_or(0);
        let rows = sqlx::query!(
            r#"
            SELECT l.address AS "address!", s.name AS "name?", s.balance_wei AS "balance_wei?", s.short AS "short?",
                   s.away AS "away?", d.drained_at AS "drained_at?", e.owner AS "owner?",
                   (SELECT count(*) FROM submissions u WHERE u.network = $1 AND u.signer = l.address AND u.spent_block IS NULL)
                       AS "in_flight!",
                   (SELECT count(*) FROM submissions u WHERE u.network = $1 AND u.signer = l.address AND u.spent_block > $3)
                       AS "not_final!",
                   (SELECT count(*) FROM payments p
                    WHERE p.network = $1 AND p.lane = l.address AND p.submission_id IS NULL AND p.given_up_at IS NULL
                      AND p.final_at IS NULL AND p.answer_by > clock_timestamp()
                      AND NOT EXISTS (SELECT FROM claims c WHERE c.payment_id = p.id)) AS "queued!"
            FROM (
                SELECT unnest($2::text[]) AS address
                UNION SELECT address FROM signers WHERE network = $1
                UNION SELECT signer FROM drained_lanes WHERE network = $1
            ) l
            LEFT JOIN signers s ON s.network = $1 AND s.address = l.address
            LEFT JOIN drained_lanes d ON d.network = $1 AND d.signer = l.address
            LEFT JOIN leases e ON e.name = 'lane:' || $1 || ':' || l.address AND e.expires_at > clock_timestamp()
            ORDER BY s.name, l.address
            "#,
            network.as_str(),
            signers,
            finalized,
        );
        rows.fetch_all(self.pool())
            .await?
            .into_iter()
            .map(|row| {
                let balance = row.balance_wei.map(|wei| from_decimal(&wei).column("signers", "balance_wei")).transpose()?;
                Ok(LaneRecord {
                    address: row.address,
                    name: row.name,
                    balance,
                    short: row.short.unwrap_or(false),
                    away: row.away.unwrap_or(false),
                    drained_at: row.drained_at,
                    owner: row.owner,
                    in_flight: from_bigint(row.in_flight),
                    not_final: from_bigint(row.not_final),
                    queued: from_bigint(row.queued),
                })
            })
            .collect()
    }

    /// Halts a network on an operator's word, until one resumes it. Returns whether it was not halted by one before.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn stop_network(&self, network: &Network, reason: &str, now: DateTime<Utc>) -> Result<bool, LedgerError> {
        let done = sqlx::query!(
            "UPDATE networks SET stopped_at = $3, stopped_reason = $2 WHERE network = $1 AND stopped_at IS NULL",
            network.as_str(),
            reason,
            now,
        );
        Ok(done.execute(self.pool()).await?.rows_affected() == 1)
    }

    /// Who has halted a network, if its reading began.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn halts(&self, network: &Network) -> Result<Option<Halts>, LedgerError> {
        let row = sqlx::query!(
            "SELECT halted_at, halted_reason, stopped_at, stopped_reason FROM networks WHERE network = $1",
            network.as_str()
        );
        let halt = |(since, reason): (DateTime<Utc>, String)| Halt { reason, since };
        Ok(row.fetch_optional(self.pool()).await?.map(|row| Halts {
            found: row.halted_at.zip(row.halted_reason).map(halt),
            ordered: row.stopped_at.zip(row.stopped_reason).map(halt),
        }))
    }

    /// Lets a halted network go on, whoever halted it, and says whether the nodes' history counts from now on, whatever it contradicts, if
    /// that is why its watcher halted it. Returns who had halted it.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn resume(&self, network: &Network, accepts_history: bool) -> Result<Halts, LedgerError> {
        let row = sqlx::query!(
            r#"
            WITH old AS (
                SELECT halted_at, halted_reason, stopped_at, stopped_reason FROM networks
                WHERE network = $1 AND (halted_at IS NOT NULL OR stopped_at IS NOT NULL) FOR UPDATE
            )
            UPDATE networks n
            SET halted_at = NULL, halted_reason = NULL, stopped_at = NULL, stopped_reason = NULL,
                accepts_history = $2 AND old.halted_at IS NOT NULL
            FROM old WHERE n.network = $1
            RETURNING old.halted_at, old.halted_reason, old.stopped_at, old.stopped_reason
            "#,
            network.as_str(),
            accepts_history,
        );
        let halt = |(since, reason): (DateTime<Utc>, String)| Halt { reason, since };
        Ok(row.fetch_optional(self.pool()).await?.map_or_else(Halts::default, |row| Halts {
            found: row.halted_at.zip(row.halted_reason).map(halt),
            ordered: row.stopped_at.zip(row.stopped_reason).map(halt),
        }))
    }
}
