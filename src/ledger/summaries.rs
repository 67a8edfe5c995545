//! What can be said of an account, or of all of them, in a few numbers. Of a long history only the newest part is counted, and no
//! statement takes long, so that nobody who looks at it has the whole ledger read.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::types::BigDecimal;

use super::exports::Span;
use super::{Column, DbTransaction, Ledger, LedgerError, from_bigint, from_decimal};
use crate::domain::ids::AccountId;
use crate::domain::invoice::Status;

/// The newest rows that are counted.
pub const COUNTED_MAX: u32 = 20_000;

/// Opens a transaction that changes nothing, and in which no statement takes long: it is for people who look, and payments need the
/// database, too.
const BEGIN: &str = "BEGIN READ ONLY; SET LOCAL statement_timeout = '2s'; SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// What was counted, and whether there is more of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted<T> {
    /// The numbers.
    pub of: T,
    /// Whether there were more than are counted. Then the numbers are those of the newest, and one more.
    pub is_cut: bool,
}

impl<T> Counted<T> {
    fn new(of: T, rows: u64) -> Self {
        Self { of, is_cut: rows > COUNTED_MAX.into() }
    }
}

/// Reads summaries, on one connection.
#[derive(Debug)]
pub struct Summaries(DbTransaction);

/// The payments of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Which day, in UTC.
    pub day: NaiveDate,
    /// Payments that were asked for.
    pub asked: u64,
    /// Those of them that are settled: their transfer stands in a canonical block, or there was nothing to be transferred.
    pub settled: u64,
}

/// How much came of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// On which network.
    pub network: String,
    /// Which token.
    pub asset: String,
    /// How much, in atomic units.
    pub amount: u128,
    /// In how many transfers.
    pub transfers: u64,
}

impl Ledger {
    /// Begins to read summaries. Whoever drops them gives their connection back.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn summaries(&self) -> Result<Summaries, LedgerError> {
        Ok(Summaries(self.pool().begin_with(BEGIN).await?))
    }
}

impl Summaries {
    /// Gives the connection back, and returns when that is done.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn end(self) -> Result<(), LedgerError> {
        Ok(self.0.rollback().await?)
    }

    /// Payments by the day on which they were asked for, oldest day first: those that an account asked for or is paid by.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn payments_by_day(&mut self, account: AccountId, from: DateTime<Utc>) -> Result<Counted<Vec<Day>>, LedgerError> {
        // A part for each role of the account: one for both would be read from everybody's payments.
        let rows = sqlx::query_as!(
            DayRow,
            r#"
            SELECT (n.created_at AT TIME ZONE 'UTC')::date AS "day!", count(*) AS "asked!",
                   count(*) FILTER (WHERE c.payment_id IS NOT NULL OR n.amount = 0) AS "settled!"
            FROM ((SELECT id, created_at, amount FROM payments
                   WHERE provider_id = $1 AND id > $2 AND created_at >= $3 ORDER BY id DESC LIMIT $4)
                  UNION
                  (SELECT id, created_at, amount FROM payments
                   WHERE merchant_id = $1 AND id > $2 AND created_at >= $3 ORDER BY id DESC LIMIT $4)
                  ORDER BY id DESC LIMIT $4) n
            LEFT JOIN claims c ON c.payment_id = n.id
            GROUP BY 1 ORDER BY 1
            "#,
            account.uuid(),
            since(from).below(),
            from,
            LIMIT,
        );
        Ok(days(rows.fetch_all(&mut *self.0).await?))
    }

    /// The same of everybody's payments.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn all_payments_by_day(&mut self, from: DateTime<Utc>) -> Result<Counted<Vec<Day>>, LedgerError> {
        let rows = sqlx::query_as!(
            DayRow,
            r#"
            SELECT (n.created_at AT TIME ZONE 'UTC')::date AS "day!", count(*) AS "asked!",
                   count(*) FILTER (WHERE c.payment_id IS NOT NULL OR n.amount = 0) AS "settled!"
            FROM (SELECT id, created_at, amount FROM payments WHERE id > $1 AND created_at >= $2 ORDER BY id DESC LIMIT $3) n
            LEFT JOIN claims c ON c.payment_id = n.id
            GROUP BY 1 ORDER BY 1
            "#,
            since(from).below(),
            from,
            LIMIT,
        );
        Ok(days(rows.fetch_all(&mut *self.0).await?))
    }

    /// How many of an account's invoices stand where, of those that were made since then.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn invoices_by_status(
        &mut self,
        account: AccountId,
        from: DateTime<Utc>,
    ) -> Result<Counted<Vec<(Status, u64)>>, LedgerError> {
        let rows = sqlx::query!(
            r#"
            SELECT n.told_status AS "status!", count(*) AS "count!"
            FROM (SELECT told_status FROM invoices WHERE account_id = $1 AND id > $2 AND created_at >= $3
                  ORDER BY id DESC LIMIT $4) n
            GROUP BY 1
            "#,
            account.uuid(),
            since(from).below(),
            from,
            LIMIT,
        );
        let mut counts = Vec::new();
        for row in rows.fetch_all(&mut *self.0).await? {
            counts.push((Status::parse(&row.status).column("invoices", "told_status")?, from_bigint(row.count)));
        }
        let all = counts.iter().map(|(_, count)| count).sum();
        Ok(Counted::new(counts, all))
    }

    /// What has come to an account's addresses since then, whatever it was for, by network and token.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn received_since(
        &mut self,
        account: AccountId,
        from: DateTime<Utc>,
    ) -> Result<Counted<Vec<Received>>, LedgerError> {
        let rows = sqlx::query_as!(
            ReceivedRow,
            r#"
            SELECT n.network, n.asset, sum(n.amount) AS "amount!", count(*) AS "transfers!"
            FROM (SELECT network, asset, amount FROM transfers
                  WHERE account_id = $1 AND id > $2 AND canonical AND happened_at >= $3 ORDER BY id DESC LIMIT $4) n
            GROUP BY 1, 2 ORDER BY 1, 2
            "#,
            account.uuid(),
            since(from).below(),
            from,
            LIMIT,
        );
        let received = rows.fetch_all(&mut *self.0).await?.into_iter().map(Received::try_from);
        let received = received.collect::<Result<Vec<_>, _>>()?;
        let all = received.iter().map(|received| received.transfers).sum();
        Ok(Counted::new(received, all))
    }

    /// How many transfers to an account pay nothing that is known; `limit` at most.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn count_unmatched(&mut self, account: AccountId, limit: u32) -> Result<u64, LedgerError> {
        let count = sqlx::query_scalar!(
            r#"
            SELECT count(*) AS "count!"
            FROM (SELECT FROM transfers t LEFT JOIN claims c USING (network, block_hash, index)
                  WHERE t.account_id = $1 AND t.canonical AND NOT t.claimed AND c.network IS NULL
                  LIMIT $2) n
            "#,
            account.uuid(),
            i64::from(limit),
        );
        Ok(from_bigint(count.fetch_one(&mut *self.0).await?))
    }
}

/// One row more than is counted says that there are more.
const LIMIT: i64 = COUNTED_MAX as i64 + 1;

/// Everything from a moment on.
fn since(from: DateTime<Utc>) -> Span {
    Span { from: Some(from), ..Span::default() }
}

struct DayRow {
    day: NaiveDate,
    asked: i64,
    settled: i64,
}

impl From<DayRow> for Day {
    fn from(row: DayRow) -> Self {
        Self { day: row.day, asked: from_bigint(row.asked), settled: from_bigint(row.settled) }
    }
}

fn days(rows: Vec<DayRow>) -> Counted<Vec<Day>> {
    let days: Vec<_> = rows.into_iter().map(Day::from).collect();
    let all = days.iter().map(|day| day.asked).sum();
    Counted::new(days, all)
}

struct ReceivedRow {
    network: String,
    asset: String,
    amount: BigDecimal,
    transfers: i64,
}

impl TryFrom<ReceivedRow> for Received {
    type Error = LedgerError;

    fn try_from(row: ReceivedRow) -> Result<Self, LedgerError> {
        Ok(Self {
            network: row.network,
            asset: row.asset,
            amount: from_decimal(&row.amount).column("transfers", "amount")?,
            transfers: from_bigint(row.transfers),
        })
    }
}
