//! Accounts and their keys.

use rand::TryRngCore;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Flows;
use crate::domain::account::{ApiKey, Caller, SECRET_BYTES, Scope};
use crate::domain::clock::Clock;
use crate::domain::ids::{AccountId, ApiKeyId};
use crate::ledger::accounts::{self, StoredKey};
use crate::ledger::settings::{self, Settings};
use crate::ledger::{Ledger, LedgerError, commit};

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is no such account.
    #[error("there is no account {0}")]
    NoSuchAccount(AccountId),
    /// Names have between 1 and 200 characters.
    #[error("an account's name has between 1 and 200 characters")]
    Name,
    /// The machine gave no random numbers.
    #[error("the machine gave no random numbers")]
    Random(#[source] rand::rand_core::OsError),
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Opens an account with a first key.
///
/// # Errors
/// See [`AccountError`].
pub async fn create(ledger: &Ledger, clock: &dyn Clock, name: &str, scope: Scope) -> Result<(AccountId, ApiKey), AccountError> {
    if !(1..=200).contains(&name.chars().count()) {
        return Err(AccountError::Name);
    }
    let account = AccountId::new();
    let (key, stored) = new_key(account, scope, clock)?;
    let mut db = ledger.begin().await?;
    accounts::insert_account(&mut db, account, name, clock.now()).await?;
    accounts::insert_key(&mut db, &stored).await?;
    commit(db).await?;
    Ok((account, key))
}

/// Gives an account a further key.
///
/// # Errors
/// See [`AccountError`].
pub async fn create_key(ledger: &Ledger, clock: &dyn Clock, account: AccountId, scope: Scope) -> Result<ApiKey, AccountError> {
    let (key, stored) = new_key(account, scope, clock)?;
    let mut db = ledger.begin().await?;
    if !accounts::account_exists(&mut db, account).await? {
        return Err(AccountError::NoSuchAccount(account));
    }
    accounts::insert_key(&mut db, &stored).await?;
    commit(db).await?;
    Ok(key)
}

fn new_key(account: AccountId, scope: Scope, clock: &dyn Clock) -> Result<(ApiKey, StoredKey), AccountError> {
    let mut secret = [0; SECRET_BYTES];
    rand::rngs::OsRng.try_fill_bytes(&mut secret).map_err(AccountError::Random)?;
    let id = ApiKeyId::new();
    let stored =
        StoredKey { id, account, scope, secret_hash: Sha256::digest(secret).to_vec(), created_at: clock.now(), revoked_at: None };
    Ok((ApiKey { id, secret }, stored))
}

impl Flows {
    /// Has the payments to an account answered as it wants from now on.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn set_settings(&self, account: AccountId, settings: &Settings) -> Result<(), LedgerError> {
        let mut db = self.ledger.begin().await?;
        settings::set(&mut db, account, settings).await?;
        commit(db).await
    }

    /// Who holds a key. `None` for a key that is wrong, revoked or unknown; the three take the same work.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn authenticate(&self, key: &ApiKey) -> Result<Option<Caller>, LedgerError> {
        let _turn = self.limits.turn(key).await;
        let stored = self.ledger.find_key(key.id).await?;
        let expected = stored.as_ref().map_or_else(|| vec![0; 32], |stored| stored.secret_hash.clone());
        let matches: bool = Sha256::digest(key.secret)[..].ct_eq(&expected).into();
        let genuine = stored.filter(|stored| matches && stored.revoked_at.is_none());
        if genuine.is_some() {
            self.limits.vouch(key);
        }
        Ok(genuine.map(|stored| Caller::Account { account: stored.account, scope: stored.scope }))
    }
}
