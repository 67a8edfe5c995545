//! Accounts and their keys.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Column, Ledger, LedgerError};
use crate::domain::account::Scope;
use crate::domain::ids::{AccountId, ApiKeyId};

/// An account as it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRecord {
    /// Our name for it.
    pub id: AccountId,
    /// What the operator calls it.
    pub name: String,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
}

/// A key as the ledger knows it: without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// The public half.
    pub id: ApiKeyId,
    /// Whose key.
    pub account: AccountId,
    /// What it is good for.
    pub scope: Scope,
    /// SHA-256 of the secret half.
    pub secret_hash: Vec<u8>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// Since when it is worth nothing.
    pub revoked_at: Option<DateTime<Utc>>,
}

struct KeyRow {
    id: Uuid,
    account_id: Uuid,
    scope: String,
    secret_hash: Vec<u8>,
    created_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
}

impl TryFrom<KeyRow> for StoredKey {
    type Error = LedgerError;

    fn try_from(row: KeyRow) -> Result<Self, LedgerError> {
        Ok(Self {
            id: ApiKeyId::from_uuid(row.id),
            account: AccountId::from_uuid(row.account_id),
            scope: Scope::parse(&row.scope).column("api_keys", "scope")?,
            secret_hash: row.secret_hash,
            created_at: row.created_at,
            revoked_at: row.revoked_at,
        })
    }
}

/// Records a new account.
///
/// # Errors
/// The database could not be reached.
pub async fn insert_account(db: &mut PgConnection, id: AccountId, name: &str, now: DateTime<Utc>) -> Result<(), LedgerError> {
    sqlx::query!("INSERT INTO accounts (id, name, created_at) VALUES ($1, $2, $3)", id.uuid(), name, now).execute(db).await?;
    Ok(())
}

/// Whether there is such an account.
///
/// # Errors
/// The database could not be reached.
pub async fn account_exists(db: &mut PgConnection, id: AccountId) -> Result<bool, LedgerError> {
    let found = sqlx::query_scalar!(r#"SELECT 1 AS "one!" FROM accounts WHERE id = $1"#, id.uuid()).fetch_optional(db).await?;
    Ok(found.is_some())
}

/// Holds an account until the transaction ends, so that whoever wants the same waits.
///
/// # Errors
/// The database could not be reached.
pub async fn lock(db: &mut PgConnection, id: AccountId) -> Result<(), LedgerError> {
    // Weak enough to let others name the account meanwhile.
    sqlx::query_scalar!(r#"SELECT 1 AS "one!" FROM accounts WHERE id = $1 FOR NO KEY UPDATE"#, id.uuid())
        .fetch_optional(db)
        .await?;
    Ok(())
}

/// Records a new key.
///
/// # Errors
/// The database could not be reached.
pub async fn insert_key(db: &mut PgConnection, key: &StoredKey) -> Result<(), LedgerError> {
    sqlx::query!(
        "INSERT INTO api_keys (id, account_id, scope, secret_hash, created_at) VALUES ($1, $2, $3, $4, $5)",
        key.id.uuid(),
        key.account.uuid(),
        key.scope.as_str(),
        key.secret_hash,
        key.created_at,
    )
    .execute(db)
    .await?;
    Ok(())
}

impl Ledger {
    /// What the operator calls an account.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn account_name(&self, id: AccountId) -> Result<Option<String>, LedgerError> {
        let name = sqlx::query_scalar!("SELECT name FROM accounts WHERE id = $1", id.uuid());
        Ok(name.fetch_optional(self.pool()).await?)
    }

    /// A page of the accounts, newest first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn list_accounts(&self, before: Option<AccountId>, limit: u32) -> Result<Vec<AccountRecord>, LedgerError> {
        let rows = sqlx::query!(
            "SELECT id, name, created_at FROM accounts WHERE id < $1 ORDER BY id DESC LIMIT $2",
            before.map_or(Uuid::max(), AccountId::uuid),
            i64::from(limit),
        );
        let rows = rows.fetch_all(self.pool()).await?.into_iter();
        Ok(rows
            .map(|row| AccountRecord { id: AccountId::from_uuid(row.id), name: row.name, created_at: row.created_at })
            .collect())
    }

    /// The key with this public half, revoked or not.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn find_key(&self, id: ApiKeyId) -> Result<Option<StoredKey>, LedgerError> {
        sqlx::query_as!(
            KeyRow,
            "SELECT id, account_id, scope, secret_hash, created_at, revoked_at FROM api_keys WHERE id = $1",
            id.uuid(),
        )
        .fetch_optional(self.pool())
        .await?
        .map(StoredKey::try_from)
        .transpose()
    }

    /// Every key of an account, oldest first.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn list_keys(&self, account: AccountId) -> Result<Vec<StoredKey>, LedgerError> {
        sqlx::query_as!(
            KeyRow,
            "SELECT id, account_id, scope, secret_hash, created_at, revoked_at FROM api_keys WHERE account_id = $1 ORDER BY id",
            account.uuid(),
        )
        .fetch_all(self.pool())
        .await?
        .into_iter()
        .map(StoredKey::try_from)
        .collect()
    }

    /// Makes a key worthless. Returns whether there was one to revoke.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn revoke_key(&self, id: ApiKeyId, now: DateTime<Utc>) -> Result<bool, LedgerError> {
        let changed = sqlx::query!("UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL", id.uuid(), now)
            .execute(self.pool())
            .await?;
        Ok(changed.rows_affected() == 1)
    }
}
