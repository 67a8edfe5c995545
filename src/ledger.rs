//! The ledger: all SQL of the service, in PostgreSQL 15 or newer.
//!
//! A function that takes a connection leaves the transaction to its caller; one that belongs together opens its own. Rows are
//! read into private structs and turned into domain values at this border, and a row that cannot be one is an error that names
//! it.

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::types::BigDecimal;
use sqlx::{Connection, PgConnection, PgPool, Postgres, Row, Transaction};

use crate::domain::address::Address;
use crate::domain::amount::Amount;

pub mod accounts;
pub mod addresses;
pub mod blocks;
pub mod budgets;
pub mod copies;
pub mod deliveries;
pub mod events;
pub mod exports;
pub mod idempotency;
pub mod invoices;
pub mod leases;
pub mod news;
pub mod orders;
pub mod outbox;
pub mod payments;
pub mod private;
pub mod receipts;
pub mod reconciliations;
pub mod resources;
pub mod sessions;
pub mod settings;
pub mod signers;
pub mod submissions;
pub mod summaries;
pub mod transfers;
pub mod webhooks;

/// The migrations, compiled in. The lock around them is our own, see [`Ledger::migrate`].
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrations = sqlx::migrate!("./migrations");
    migrations.set_locking(false);
    migrations
});

/// The advisory lock that one migrator of a database holds at a time.
const MIGRATOR_LOCK: i64 = 0x7175_6974;

/// Between two looks at whether another migrator is done.
const MIGRATOR_LOOKS_APART: Duration = Duration::from_millis(100);

/// A connection, as functions take it that leave the transaction to their caller.
pub type Db = PgConnection;

/// An open transaction. It is rolled back when it is dropped.
pub type DbTransaction = Transaction<'static, Postgres>;

/// Opens a transaction that the server ends by itself if we fall silent in it, because it holds locks. We are never silent for
/// long: no node is asked while a transaction is open.
const BEGIN: &str = "BEGIN; SET LOCAL idle_in_transaction_session_timeout = '10s'";

/// Connections that are kept open.
const CONNECTIONS_MIN: u32 = 4;

/// A connection that is given back must answer within this.
const RELEASE_WITHIN: Duration = Duration::from_secs(2);

/// A pool of connections to the ledger.
#[derive(Debug, Clone)]
pub struct Ledger {
    pool: PgPool,
}

/// Why the ledger did not do something.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It could not be reached, or not in time. If this happened to a COMMIT, the outcome is not known.
    #[error("the database could not be reached")]
    Unavailable(#[source] sqlx::Error),
    /// It refused what we asked, which is our own bug or a damaged schema.
    #[error("the database refused a statement")]
    Refused(#[source] sqlx::Error),
    /// A row holds something that our own rules forbid.
    #[error("inconsistent row in {table}: {column}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// The lease under which a change was made belongs to somebody else by now. Nothing was changed.
    #[error("the lease was lost")]
    LeaseLost,
    /// The schema is not the one that this binary was built for.
    #[error("the schema is not up to date; run `quittance migrate` first")]
    Schema,
    /// A migration failed.
    #[error("a migration failed")]
    Migration(#[source] sqlx::migrate::MigrateError),
}

impl LedgerError {
    /// It did not answer in the time that somebody gave it.
    #[must_use]
    pub fn silent() -> Self {
        Self::Unavailable(sqlx::Error::PoolTimedOut)
    }
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => match database.code().as_deref() {
                // Connection exceptions, insufficient resources, operator intervention, serialization failures and deadlocks, and
                // a transaction that was silent for too long.
                Some(code) if ["08", "53", "57", "40", "25P03"].iter().any(|class| code.starts_with(class)) => {
                    Self::Unavailable(error)
                }
                _ => Self::Refused(error),
            },
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::RowNotFound
            | sqlx::Error::ColumnNotFound(_) => Self::Refused(error),
            _ => Self::Unavailable(error),
        }
    }
}

/// Whether no transaction is open on a connection. sqlx takes note of one only when it has begun, so whoever gave up on a BEGIN leaves one
/// that nobody ends, and the next one who gets the connection would be in it. The clocks tell: that of a transaction stands still. In one message,
/// because each message has a time of its own.
async fn is_idle(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let row = sqlx::raw_sql("SELECT transaction_timestamp() = statement_timestamp()").fetch_one(connection).await?;
    row.try_get(0)
}

impl Ledger {
    /// Connects to a database. Nothing is changed there.
    ///
    /// # Errors
    /// An address that is not one, or a database that does not answer.
    pub async fn connect(url: &SecretString, connections_max: u32, acquire_within: TimeDelta) -> Result<Self, LedgerError> {
        let options: PgConnectOptions = url.expose_secret().parse()?;
        let pool = PgPoolOptions::new()
            .max_connections(connections_max)
            // A connection takes a while to open, and the first requests after a start often come all at once.
            .min_connections(connections_max.min(CONNECTIONS_MIN))
            .acquire_timeout(acquire_within.to_std().unwrap_or(Duration::from_secs(2)))
            // Whoever gave up on a connection that fell silent gives it back, and it would keep its place in the pool until the
            // operating system gives up too, which takes a quarter of an hour.
            .after_release(|connection, _| {
                Box::pin(async {
                    let answer = tokio::time::timeout(RELEASE_WITHIN, is_idle(connection)).await;
                    answer.unwrap_or(Err(sqlx::Error::PoolTimedOut))
                })
            })
            .connect_with(options.application_name("quittance"))
            .await?;
        Ok(Self { pool })
    }

    /// The connections, for listeners and metrics.
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Brings the schema up to date. Replicas that do this at once wait for each other.
    ///
    /// # Errors
    /// A migration that fails; those before it stay done.
    pub async fn migrate(&self) -> Result<(), LedgerError> {
        // Its end gives the lock back, whatever ended it.
        let mut db = self.pool.acquire().await?.detach();
        // Not a statement that waits: an index that is built CONCURRENTLY waits for the end of every older statement, and so of this one.
        let held = "SELECT pg_try_advisory_lock($1)";
        while !sqlx::query_scalar::<_, bool>(held).bind(MIGRATOR_LOCK).fetch_one(&mut db).await? {
            tokio::time::sleep(MIGRATOR_LOOKS_APART).await;
        }
        let migrated = MIGRATIONS.run(&mut db).await.map_err(LedgerError::Migration);
        db.close().await?;
        migrated
    }

    /// Makes sure that every migration of this binary was run.
    ///
    /// # Errors
    /// [`LedgerError::Schema`] if one is missing.
    pub async fn check_schema(&self) -> Result<(), LedgerError> {
        let exists = sqlx::query_scalar!(r#"SELECT to_regclass('_sqlx_migrations') IS NOT NULL AS "exists!""#);
        if !exists.fetch_one(&self.pool).await? {
            return Err(LedgerError::Schema);
        }
        // Not checked at compile time: the table belongs to the migrator, and is not there before its first run.
        let applied = sqlx::query_scalar::<_, i64>("SELECT version FROM _sqlx_migrations WHERE success");
        let applied = applied.fetch_all(&self.pool).await?;
        let complete = MIGRATIONS.iter().all(|migration| applied.contains(&migration.version));
        if complete { Ok(()) } else { Err(LedgerError::Schema) }
    }

    /// What the database's clock says.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn now(&self) -> Result<DateTime<Utc>, LedgerError> {
        Ok(sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(&self.pool).await?)
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if it does not.
    pub async fn ping(&self) -> Result<(), LedgerError> {
        sqlx::query_scalar!(r#"SELECT 1 AS "one!""#).fetch_one(&self.pool).await?;
        Ok(())
    }

    /// Opens a transaction.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if there is no connection in time.
    pub async fn begin(&self) -> Result<DbTransaction, LedgerError> {
        Ok(self.pool.begin_with(BEGIN).await?)
    }

    /// Takes a connection without a transaction.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`] if there is none in time.
    pub async fn acquire(&self) -> Result<sqlx::pool::PoolConnection<Postgres>, LedgerError> {
        Ok(self.pool.acquire().await?)
    }
}

/// Commits. An error here leaves the outcome open: the caller reads it back before it says anything.
///
/// # Errors
/// [`LedgerError::Unavailable`] if the answer did not arrive.
pub async fn commit(transaction: Transaction<'_, Postgres>) -> Result<(), LedgerError> {
    Ok(transaction.commit().await?)
}

/// Whether a statement was refused because there may be only one row of its kind.
fn is_conflict(error: &sqlx::Error, constraint: &str) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation() && error.constraint() == Some(constraint))
}

fn to_decimal(amount: Amount) -> BigDecimal {
    BigDecimal::from(amount.units())
}

fn wei_to_decimal(wei: u128) -> BigDecimal {
    BigDecimal::from(wei)
}

fn from_decimal(value: &BigDecimal) -> Option<u128> {
    value.normalized().to_plain_string().parse().ok()
}

/// Turns an optional reading of a column into an error that names it.
trait Column<T> {
    fn column(self, table: &'static str, column: &'static str) -> Result<T, LedgerError>;
}

impl<T> Column<T> for Option<T> {
    fn column(self, table: &'static str, column: &'static str) -> Result<T, LedgerError> {
        self.ok_or(LedgerError::Inconsistent { table, column })
    }
}

impl<T, E> Column<T> for Result<T, E> {
    fn column(self, table: &'static str, column: &'static str) -> Result<T, LedgerError> {
        self.ok().column(table, column)
    }
}

fn read_amount(value: &BigDecimal, table: &'static str) -> Result<Amount, LedgerError> {
    from_decimal(value).map(Amount::new).column(table, "amount")
}

fn read_address(text: &str, table: &'static str, column: &'static str) -> Result<Address, LedgerError> {
    Address::parse_any(text).column(table, column)
}

/// Heights and nonces fit: no chain will see 2^63 of either.
fn to_bigint(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn from_bigint(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
