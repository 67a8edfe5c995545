//! Sessions of people who look at the dashboard: each is opened with an API key, and read back from what the browser keeps.
//!
//! Nothing is stored. A session names its key and its end, sealed with the hash by which the ledger knows that key. Nobody can make one
//! but the ledger and the holder of the key, who needs none. Every replica reads it, and it ends when its key is revoked.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Flows;
use crate::domain::account::{ApiKey, Caller};
use crate::domain::address::{decode_hex, encode_hex};
use crate::domain::ids::ApiKeyId;
use crate::ledger::LedgerError;
use crate::ledger::accounts::StoredKey;

/// How long a session lasts. Whoever looks for longer shows the key again.
pub const LASTS: TimeDelta = TimeDelta::hours(1);

/// What is sealed before everything else, so that the seal can be that of nothing else.
const MARKER: &[u8] = b"quittance session";

/// Bytes of a seal.
const SEAL_BYTES: usize = 32;

/// What a browser keeps, read and not believed yet.
struct Claimed {
    key: ApiKeyId,
    until: DateTime<Utc>,
    seal: [u8; SEAL_BYTES],
}

impl Claimed {
    /// Reads `key_….<seconds>.<seal>`.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let key = parts.next()?.parse().ok()?;
        let until = DateTime::from_timestamp(parts.next()?.parse().ok()?, 0)?;
        Some(Self { key, until, seal: decode_hex(parts.next()?)? })
    }

    fn is_sealed_by(&self, stored: &StoredKey) -> bool {
        mac(stored, self.until).verify_slice(&self.seal).is_ok()
    }
}

/// A session as the browser keeps it.
fn written(stored: &StoredKey, until: DateTime<Utc>) -> String {
    let seal = encode_hex(&mac(stored, until).finalize().into_bytes());
    format!("{}.{}.{}", stored.id, until.timestamp(), seal.trim_start_matches("0x"))
}

fn mac(stored: &StoredKey, until: DateTime<Utc>) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(&stored.secret_hash).expect("HMAC takes keys of any length");
    mac.chain_update(MARKER).chain_update(stored.id.uuid().as_bytes()).chain_update(until.timestamp().to_be_bytes())
}

impl Flows {
    /// Opens a session for the holder of a key. `None` for a key that is worth nothing.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn open_session(&self, key: &ApiKey) -> Result<Option<String>, LedgerError> {
        if self.authenticate(key).await?.is_none() {
            return Ok(None);
        }
        let until = self.clock.now() + LASTS;
        Ok(self.ledger.find_key(key.id).await?.map(|stored| written(&stored, until)))
    }

    /// Whose session it is. `None` for one that is over, whose key was revoked, or that nobody has sealed.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn resume_session(&self, text: &str) -> Result<Option<Caller>, LedgerError> {
        let Some(claimed) = Claimed::parse(text).filter(|claimed| self.clock.now() < claimed.until) else { return Ok(None) };
        let stored = self.ledger.find_key(claimed.key).await?.filter(|stored| stored.revoked_at.is_none());
        let genuine = stored.filter(|stored| claimed.is_sealed_by(stored));
        Ok(genuine.map(|stored| Caller::Account { account: stored.account, scope: stored.scope }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::Scope;
    use crate::domain::ids::AccountId;

    fn key(hash: u8) -> StoredKey {
        StoredKey {
            id: ApiKeyId::new(),
            account: AccountId::new(),
            scope: Scope::Merchant,
            secret_hash: vec![hash; 32],
            created_at: DateTime::UNIX_EPOCH,
            revoked_at: None,
        }
    }

    #[test]
    fn a_session_is_read_back_and_nothing_of_it_can_be_changed() {
        let (until, mine) = (DateTime::from_timestamp(1_796_000_000, 0).unwrap(), key(1));
        let text = written(&mine, until);
        let read = Claimed::parse(&text).unwrap();
        assert_eq!((read.key, read.until), (mine.id, until));
        assert!(read.is_sealed_by(&mine));

        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Claimed::parse(&changed).is_none_or(|other| other.key != mine.id || !other.is_sealed_by(&mine)), "{changed}");
        }
    }

    #[test]
    fn a_session_is_of_the_key_that_it_was_opened_with() {
        let (mine, until) = (key(1), DateTime::from_timestamp(1_796_000_000, 0).unwrap());
        let read = Claimed::parse(&written(&mine, until)).unwrap();

        assert!(!read.is_sealed_by(&StoredKey { secret_hash: vec![2; 32], ..mine.clone() }), "another secret");
        assert!(!read.is_sealed_by(&StoredKey { id: ApiKeyId::new(), ..mine }), "another key with the same secret");
        for text in ["", "key_1.2.3", "a.b.c.d"] {
            assert!(Claimed::parse(text).is_none(), "{text}");
        }
    }
}
