//! What the settlement signers hold, and whether they sign, as their lanes saw it last.

use super::{Column, Ledger, LedgerError, from_decimal, wei_to_decimal};
use crate::domain::network::Network;

/// What is known of a signer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerRecord {
    /// Its address, by which it is known.
    pub address: String,
    /// The operator's name for it.
    pub name: String,
    /// What it holds, in wei.
    pub balance: u128,
    /// Whether that may not last for another hour.
    pub short: bool,
    /// Whether it did not sign when it was asked last.
    pub away: bool,
}

impl Ledger {
    /// Notes what a signer holds. Whether it signs is noted with it only where nothing was noted yet; see [`Self::note_away`].
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn note_signer(&self, network: &Network, record: &SignerRecord) -> Result<(), LedgerError> {
        sqlx::query!(
            r#"
            INSERT INTO signers (network, address, name, balance_wei, short, away) VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (network, address) DO UPDATE
            SET name = excluded.name, balance_wei = excluded.balance_wei, short = excluded.short
            "#,
            network.as_str(),
            record.address,
            record.name,
            wei_to_decimal(record.balance),
            record.short,
            record.away,
        )
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Notes whether a signer signs, if anything was noted of it already.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn note_away(&self, network: &Network, address: &str, away: bool) -> Result<(), LedgerError> {
        sqlx::query!("UPDATE signers SET away = $3 WHERE network = $1 AND address = $2", network.as_str(), address, away)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// What is known of the signers of a network.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn signers(&self, network: &Network) -> Result<Vec<SignerRecord>, LedgerError> {
        let rows = sqlx::query!(
            "SELECT address, name, balance_wei, short, away FROM signers WHERE network = $1 ORDER BY name, address",
            network.as_str()
        );
        rows.fetch_all(self.pool())
            .await?
            .into_iter()
            .map(|row| {
                let balance = from_decimal(&row.balance_wei).column("signers", "balance_wei")?;
                Ok(SignerRecord { address: row.address, name: row.name, balance, short: row.short, away: row.away })
            })
            .collect()
    }
}
