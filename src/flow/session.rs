//! Sessions of people who look at the dashboard: each is opened with an API key, and found again by what the browser keeps.
//!
//! A browser keeps random bytes, and the ledger their hash, as it does with keys. So whoever has a copy of the database has no session,
//! a session ends when somebody signs out, and at the latest with its hour or its key.

use chrono::TimeDelta;
use rand::TryRngCore;
use sha2::{Digest, Sha256};

use super::Flows;
use super::limits::Limited;
use crate::domain::account::{ApiKey, Caller};
use crate::domain::address::{decode_hex, encode_hex};
use crate::domain::ids::ApiKeyId;
use crate::ledger::LedgerError;
use crate::ledger::sessions::SessionHash;

/// How long a session lasts. Whoever looks for longer shows the key again.
pub const LASTS: TimeDelta = TimeDelta::hours(1);

/// Bytes that nobody guesses.
const TOKEN_BYTES: usize = 32;

/// What a browser keeps of a session, and nobody else has.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; TOKEN_BYTES]);

impl Token {
    fn generate() -> Result<Self, rand::rand_core::OsError> {
        let mut bytes = [0; TOKEN_BYTES];
        rand::rngs::OsRng.try_fill_bytes(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads one. `None` for what can be none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        decode_hex(text).map(Self)
    }

    /// As the browser keeps it.
    #[must_use]
    pub fn reveal(&self) -> String {
        encode_hex(&self.0).trim_start_matches("0x").to_owned()
    }

    fn hash(&self) -> SessionHash {
        Sha256::digest(self.0).into()
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Token(…)")
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The machine gave no random numbers.
    #[error("the machine gave no random numbers")]
    Random(#[source] rand::rand_core::OsError),
    /// The key is used too often.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Flows {
    /// Opens a session for the holder of a key. `None` for a key that is worth nothing.
    ///
    /// # Errors
    /// See [`SessionError`].
    pub async fn open_session(&self, key: &ApiKey) -> Result<Option<Token>, SessionError> {
        if self.authenticate(key).await?.is_none() {
            return Ok(None);
        }
        self.admit_key(key.id)?;
        let token = Token::generate().map_err(SessionError::Random)?;
        let (hash, now) = (token.hash(), self.clock.now());
        self.ledger.insert_session(&hash, key.id, (now, now + LASTS)).await?;
        self.limits.vouch_session(hash);
        Ok(Some(token))
    }

    /// Whose session it is, and with which key it was opened. `None` for one that is over, whose key was revoked, or that nobody has
    /// opened.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn resume_session(&self, token: &Token) -> Result<Option<(ApiKeyId, Caller)>, LedgerError> {
        let hash = token.hash();
        let _turn = self.limits.session_turn(&hash).await;
        let Some(found) = self.ledger.find_session(&hash, self.clock.now()).await? else {
            self.limits.forget_session(&hash);
            return Ok(None);
        };
        self.limits.vouch_session(hash);
        Ok(Some((found.key, Caller::Account { account: found.account, scope: found.scope })))
    }

    /// Ends a session, if it is one.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn end_session(&self, token: &Token) -> Result<(), LedgerError> {
        let hash = token.hash();
        let _turn = self.limits.session_turn(&hash).await;
        self.ledger.end_session(&hash).await?;
        self.limits.forget_session(&hash);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_keeps_is_read_back_and_told_to_nobody_else() {
        let (one, other) = (Token::generate().unwrap(), Token::generate().unwrap());

        assert_ne!(one, other);
        assert_eq!(Token::parse(&one.reveal()), Some(one.clone()));
        assert_ne!(one.hash(), one.0, "the ledger has something else");
        assert!(!format!("{one:?}").contains(&one.reveal()));
        for text in ["", "key_1.2.3", &one.reveal()[1..], &format!("0x{}", one.reveal()), &"g".repeat(64)] {
            assert_eq!(Token::parse(text), None, "{text}");
        }
    }
}
