//! What can be said of an account, or of all of them, in a few numbers.

use chrono::{DateTime, NaiveDate, Utc};

use super::exports::Span;
use super::{Column, Ledger, LedgerError, from_bigint};
use crate::domain::ids::AccountId;
use crate::domain::invoice::Status;

/// The newest rows that are counted: beyond that a number says nothing that a graph of the metrics does not say better.
const COUNTED_MAX: i64 = 100_000;

/// The payments of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Which day, in UTC.
    pub day: NaiveDate,
    /// Payments that were asked for.
    pub asked: u64,
    /// Those of them whose transfer stands in a canonical block.
    pub paid: u64,
}

impl Ledger {
    /// Payments by the day on which they were asked for, oldest day first: those that an account asked for or is paid by, or all.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn payments_by_day(&self, account: Option<AccountId>, from: DateTime<Utc>) -> Result<Vec<Day>, LedgerError> {
        let span = Span { account, from: Some(from), until: None };
        let rows = sqlx::query!(
            r#"
            SELECT (n.created_at AT TIME ZONE 'UTC')::date AS "day!", count(*) AS "asked!", count(c.payment_id) AS "paid!"
            FROM (SELECT p.id, p.created_at FROM payments p
                  WHERE ($1::uuid IS NULL OR p.provider_id = $1 OR p.merchant_id = $1) AND p.id > $2 AND p.created_at >= $3
                  ORDER BY p.id DESC LIMIT $4) n
            LEFT JOIN claims c ON c.payment_id = n.id
            GROUP BY 1 ORDER BY 1
            "#,
            account.map(AccountId::uuid),
            span.below(),
            from,
            COUNTED_MAX,
        );
        let rows = rows.fetch_all(self.pool()).await?.into_iter();
        Ok(rows.map(|row| Day { day: row.day, asked: from_bigint(row.asked), paid: from_bigint(row.paid) }).collect())
    }

    /// How many invoices stand where, of those that were made since then: an account's, or all.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn invoices_by_status(
        &self,
        account: Option<AccountId>,
        from: DateTime<Utc>,
    ) -> Result<Vec<(Status, u64)>, LedgerError> {
        let span = Span { account, from: Some(from), until: None };
        let rows = sqlx::query!(
            r#"
            SELECT n.told_status AS "status!", count(*) AS "count!"
            FROM (SELECT i.told_status FROM invoices i
                  WHERE ($1::uuid IS NULL OR i.account_id = $1) AND i.id > $2 AND i.created_at >= $3
                  ORDER BY i.id DESC LIMIT $4) n
            GROUP BY 1
            "#,
            account.map(AccountId::uuid),
            span.below(),
            from,
            COUNTED_MAX,
        );
        let rows = rows.fetch_all(self.pool()).await?.into_iter();
        rows.map(|row| Ok((Status::parse(&row.status).column("invoices", "told_status")?, from_bigint(row.count)))).collect()
    }

    /// How many transfers to an account, or to anybody, pay nothing that is known; `limit` at most.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn count_unmatched(&self, account: Option<AccountId>, limit: u32) -> Result<u64, LedgerError> {
        let count = sqlx::query_scalar!(
            r#"
            SELECT count(*) AS "count!"
            FROM (SELECT FROM transfers t LEFT JOIN claims c USING (network, block_hash, index)
                  WHERE t.account_id IS NOT NULL AND ($1::uuid IS NULL OR t.account_id = $1) AND t.canonical AND NOT t.claimed
                    AND c.network IS NULL
                  LIMIT $2) n
            "#,
            account.map(AccountId::uuid),
            i64::from(limit),
        );
        Ok(from_bigint(count.fetch_one(self.pool()).await?))
    }

    /// The leases of which somebody is the owner now, by their names.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn held_leases(&self) -> Result<Vec<String>, LedgerError> {
        let names = sqlx::query_scalar!("SELECT name FROM leases WHERE expires_at > clock_timestamp() ORDER BY name");
        Ok(names.fetch_all(self.pool()).await?)
    }
}
