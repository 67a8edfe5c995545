//! What settling has cost in the present hour, and for whom.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{Column, Ledger, LedgerError, from_decimal, wei_to_decimal};
use crate::domain::budget::Budget;
use crate::domain::ids::AccountId;
use crate::domain::network::Network;

/// The hour in which a cost falls.
fn hour(now: DateTime<Utc>) -> DateTime<Utc> {
    now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now)
}

/// Adds costs, in wei, to their subjects.
///
/// # Errors
/// The database could not be reached.
pub async fn spend(
    db: &mut PgConnection,
    network: &Network,
    costs: &BTreeMap<String, u128>,
    now: DateTime<Utc>,
) -> Result<(), LedgerError> {
    // The map's order is the same in every lane, so two of them never wait for each other in a circle.
    let subjects: Vec<_> = costs.keys().cloned().collect();
    let spent: Vec<_> = costs.values().copied().map(wei_to_decimal).collect();
    sqlx::query!(
        r#"
        INSERT INTO budgets AS budget (network, hour, subject, spent_wei)
        SELECT $1, $2, subject, spent FROM unnest($3::text[], $4::numeric[]) AS new (subject, spent)
        ON CONFLICT (network, hour, subject) DO UPDATE SET spent_wei = budget.spent_wei + excluded.spent_wei
        "#,
        network.as_str(),
        hour(now),
        &subjects,
        &spent,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// Removes at most `limit` budgets of hours before `until`. Returns how many.
///
/// # Errors
/// The database could not be reached.
pub async fn forget(db: &mut PgConnection, until: DateTime<Utc>, limit: u32) -> Result<u64, LedgerError> {
    let gone = sqlx::query!(
        r#"
        DELETE FROM budgets WHERE (network, hour, subject) IN (
            SELECT network, hour, subject FROM budgets WHERE hour < $1 ORDER BY hour LIMIT $2
        )
        "#,
        until,
        i64::from(limit),
    );
    Ok(gone.execute(db).await?.rows_affected())
}

impl Ledger {
    /// What was spent on these subjects in the present hour. A subject on which nothing was spent is missing.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn spent(
        &self,
        network: &Network,
        subjects: &[String],
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<String, u128>, LedgerError> {
        let rows = sqlx::query!(
            "SELECT subject, spent_wei FROM budgets WHERE network = $1 AND hour = $2 AND subject = ANY ($3)",
            network.as_str(),
            hour(now),
            subjects,
        );
        rows.fetch_all(self.pool())
            .await?
            .into_iter()
            .map(|row| Ok((row.subject, from_decimal(&row.spent_wei).column("budgets", "spent_wei")?)))
            .collect()
    }

    /// What was spent on each of these accounts in the present hour and the 23 before it, by network. One on which nothing was spent is missing.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn spent_on_accounts(
        &self,
        networks: &[String],
        accounts: &[AccountId],
        now: DateTime<Utc>,
    ) -> Result<Vec<(AccountId, String, u128)>, LedgerError> {
        let subjects: Vec<_> = accounts.iter().map(|account| Budget::subject_of(*account)).collect();
        // Named one by one, as below.
        let hours: Vec<_> = (0..24).map(|ago| hour(now) - TimeDelta::hours(ago)).collect();
        let rows = sqlx::query!(
            r#"
            SELECT subject, network, sum(spent_wei) AS "spent!" FROM budgets
            WHERE network = ANY ($1) AND hour = ANY ($2) AND subject = ANY ($3) GROUP BY 1, 2 ORDER BY 1, 2
            "#,
            networks,
            &hours,
            &subjects,
        );
        let mut spent = Vec::new();
        for row in rows.fetch_all(self.pool()).await? {
            let account = accounts.iter().find(|account| Budget::subject_of(**account) == row.subject);
            let account = *account.ok_or(LedgerError::Inconsistent { table: "budgets", column: "subject" })?;
            spent.push((account, row.network, from_decimal(&row.spent).column("budgets", "spent_wei")?));
        }
        Ok(spent)
    }

    /// What a network cost in the present or the last hour, whichever was dearer.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn spent_lately(&self, network: &Network, now: DateTime<Utc>) -> Result<u128, LedgerError> {
        // Named one by one, so that the index leads to the network's own rows and not through those of all payers.
        let hours = [hour(now) - TimeDelta::hours(1), hour(now)];
        let most = sqlx::query_scalar!(
            "SELECT max(spent_wei) FROM budgets WHERE network = $1 AND hour = ANY ($2) AND subject = 'network'",
            network.as_str(),
            &hours[..],
        );
        let most = most.fetch_one(self.pool()).await?;
        most.map_or(Ok(0), |most| from_decimal(&most).column("budgets", "spent_wei"))
    }
}
