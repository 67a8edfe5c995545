//! Accounts and the keys they talk with.

use std::fmt;

use super::ids::{AccountId, ApiKeyId};

/// What a key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Scope {
    /// Verifies and settles payments, and reads its own.
    Provider,
    /// Runs addresses and invoices.
    Merchant,
    /// Runs the service.
    Operator,
}

impl Scope {
    /// The word in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Provider => "provider",
            Self::Merchant => "merchant",
            Self::Operator => "operator",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Provider, Self::Merchant, Self::Operator].into_iter().find(|scope| scope.as_str() == text)
    }
}

/// Who is behind a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Nobody in particular; the service is open.
    Anonymous,
    /// The holder of a key.
    Account {
        /// Whose key.
        account: AccountId,
        /// What the key is good for.
        scope: Scope,
    },
}

impl Caller {
    /// The account, if there is one.
    #[must_use]
    pub const fn account(&self) -> Option<AccountId> {
        match self {
            Self::Anonymous => None,
            Self::Account { account, .. } => Some(*account),
        }
    }

    /// Whether the caller may see everything.
    #[must_use]
    pub const fn is_operator(&self) -> bool {
        matches!(self, Self::Account { scope: Scope::Operator, .. })
    }
}

/// Bytes of the secret half of a key: 256 bits cannot be guessed, so a plain hash protects them.
pub const SECRET_BYTES: usize = 32;

/// An API key as its holder writes it: `key_<id>.<64 hexadecimal digits>`. It is shown once and stored as a hash.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// The public half, by which the key is found.
    pub id: ApiKeyId,
    /// The secret half.
    pub secret: [u8; SECRET_BYTES],
}

impl ApiKey {
    /// Reads a key from a request. `None` if it does not have the form of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.split_once('.')?;
        Some(Self { id: id.parse().ok()?, secret: super::address::decode_hex(secret)? })
    }

    /// The whole key, for its holder only.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.id, &super::address::encode_hex(&self.secret)[2..])
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ApiKey({}.…)", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_never_printed() {
        let key = ApiKey { id: ApiKeyId::new(), secret: [0xab; SECRET_BYTES] };

        assert_eq!(ApiKey::parse(&key.reveal()), Some(key.clone()));
        assert!(!format!("{key:?}").contains("abab"));
        assert_eq!(ApiKey::parse("key_1.ff"), None);
    }
}
