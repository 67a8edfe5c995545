//! What replicas tell each other through the database: that a block was read, or that something else changed for those who wait.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Executor, PgConnection};

use super::{Ledger, LedgerError};
use crate::domain::network::Network;

const CHANNEL: &str = "quittance_block";

/// After this long without a word the listener looks whether it is still connected.
const QUIET_MAX: Duration = Duration::from_secs(10);

/// How long the database may take to say so.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Tells the other replicas that a block of `network` was read, when the transaction commits.
pub(crate) async fn notify_block(db: &mut PgConnection, network: &Network) -> Result<(), LedgerError> {
    sqlx::query!("SELECT pg_notify($1, $2)", CHANNEL, network.as_str()).execute(db).await?;
    Ok(())
}

/// Hears what the other replicas tell.
pub struct News(PgListener);

impl Ledger {
    /// Begins to listen, on a connection of its own: when it ends it says goodbye to the database, without any limit of time, and of
    /// the ledger's connections it would keep one that fell silent.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn listen(&self) -> Result<News, LedgerError> {
        let options = self.pool().connect_options().as_ref().clone();
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let listening = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(CHANNEL).await?;
            Ok(News(listener))
        };
        in_time(Box::pin(listening)).await
    }
}

impl News {
    /// Waits for the next network of which a block was read.
    ///
    /// # Errors
    /// The connection was lost, and what was told meanwhile with it.
    pub async fn next(&mut self) -> Result<Network, LedgerError> {
        loop {
            let Ok(heard) = tokio::time::timeout(QUIET_MAX, self.0.try_recv()).await else {
                // A connection that fell silent does not say so.
                in_time(Box::pin(async { Ok(self.0.execute("SELECT 1").await?) })).await?;
                continue;
            };
            let lost = || sqlx::Error::Io(std::io::ErrorKind::ConnectionAborted.into());
            if let Ok(network) = heard?.ok_or_else(lost)?.payload().parse() {
                return Ok(network);
            }
        }
    }
}

async fn in_time<T>(answer: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
    tokio::time::timeout(ANSWERS_WITHIN, answer).await.unwrap_or(Err(LedgerError::silent()))
}
