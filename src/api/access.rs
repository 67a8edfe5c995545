//! Who is behind a request.

use super::Service;
use super::problem::Problem;
use crate::config::Access;
use crate::domain::account::{ApiKey, Caller, Scope};
use crate::domain::ids::AccountId;
use crate::flow::limits::Origin;

/// What is known of a request beside its content, whichever transport it came by.
#[derive(Debug, Clone, Copy, Default)]
pub struct Envelope<'a> {
    /// `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// `Idempotency-Key`.
    pub idempotency_key: Option<&'a [u8]>,
    /// For whom it counts, once it was let in.
    pub origin: Option<Origin>,
}

impl Envelope<'_> {
    /// The key in a request, whatever it is worth.
    ///
    /// # Errors
    /// One that is malformed.
    pub fn key(&self) -> Result<Option<ApiKey>, Problem> {
        let Some(written) = self.authorization else { return Ok(None) };
        let bearer = std::str::from_utf8(written).ok().and_then(|text| text.strip_prefix("Bearer "));
        bearer.and_then(ApiKey::parse).map(Some).ok_or(Problem::Unauthorized)
    }

    /// The `Idempotency-Key` of a request.
    ///
    /// # Errors
    /// One that is none.
    pub fn idempotency_key(&self) -> Result<Option<String>, Problem> {
        let Some(written) = self.idempotency_key else { return Ok(None) };
        let visible = |key: &&str| (16..=128).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        let key = std::str::from_utf8(written).ok().filter(visible).ok_or(Problem::IdempotencyKey)?;
        Ok(Some(key.to_owned()))
    }
}

/// The holder of the key in a request; nobody in particular if there is none.
///
/// # Errors
/// A key that is malformed, unknown or revoked, even where none is needed: its holder believes to be somebody.
pub async fn caller(service: &Service, envelope: Envelope<'_>) -> Result<Caller, Problem> {
    let Some(key) = envelope.key()? else { return Ok(Caller::Anonymous) };
    let flows = service.flows();
    service.run(async move { flows.authenticate(&key).await }).await??.ok_or(Problem::Unauthorized)
}

/// Who may read what became of payments: every account, and where the service is open also those without one. Which payments is
/// another question.
///
/// # Errors
/// No key where one is needed.
pub async fn reader(service: &Service, envelope: Envelope<'_>) -> Result<Caller, Problem> {
    match caller(service, envelope).await? {
        Caller::Anonymous if service.server.access != Access::Open => Err(Problem::Unauthorized),
        caller => Ok(caller),
    }
}

/// Who may verify and settle: everybody where the service is open, else providers and operators.
///
/// # Errors
/// No key where one is needed, or one for other things.
pub async fn provider(service: &Service, envelope: Envelope<'_>) -> Result<Caller, Problem> {
    match reader(service, envelope).await? {
        Caller::Account { scope: Scope::Merchant, .. } => Err(Problem::Forbidden),
        caller => Ok(caller),
    }
}

/// Which account runs its addresses and invoices: the holder of a merchant's key, and nobody else.
///
/// # Errors
/// No key, or one for other things.
pub async fn merchant(service: &Service, envelope: Envelope<'_>) -> Result<AccountId, Problem> {
    merchant_of(caller(service, envelope).await?)
}

/// The same for a caller that is known already.
///
/// # Errors
/// Nobody in particular, or one with a key for other things.
pub const fn merchant_of(caller: Caller) -> Result<AccountId, Problem> {
    match caller {
        Caller::Account { account, scope: Scope::Merchant } => Ok(account),
        Caller::Account { .. } => Err(Problem::Forbidden),
        Caller::Anonymous => Err(Problem::Unauthorized),
    }
}

/// Which account is told of its events: the holder of a merchant's or a provider's key.
///
/// # Errors
/// No key, or an operator's, whose account has no events of its own.
pub async fn account(service: &Service, envelope: Envelope<'_>) -> Result<AccountId, Problem> {
    party_of(caller(service, envelope).await?)
}

/// The same for a caller that is known already.
///
/// # Errors
/// Nobody in particular, or an operator, whose account has no events of its own.
pub const fn party_of(caller: Caller) -> Result<AccountId, Problem> {
    match caller {
        Caller::Account { account, scope: Scope::Merchant | Scope::Provider } => Ok(account),
        Caller::Account { scope: Scope::Operator, .. } => Err(Problem::Forbidden),
        Caller::Anonymous => Err(Problem::Unauthorized),
    }
}

/// Who holds any key at all.
///
/// # Errors
/// No key.
pub async fn holder(service: &Service, envelope: Envelope<'_>) -> Result<AccountId, Problem> {
    caller(service, envelope).await?.account().ok_or(Problem::Unauthorized)
}

/// Whose books may be read: an account's own, or, by an operator, everybody's, which is `None`.
///
/// # Errors
/// No key.
pub async fn books(service: &Service, envelope: Envelope<'_>) -> Result<Option<AccountId>, Problem> {
    books_of(caller(service, envelope).await?)
}

/// The same for a caller that is known already.
///
/// # Errors
/// Nobody in particular, to whom nothing belongs.
pub const fn books_of(caller: Caller) -> Result<Option<AccountId>, Problem> {
    match caller {
        Caller::Account { scope: Scope::Operator, .. } => Ok(None),
        Caller::Account { account, .. } => Ok(Some(account)),
        Caller::Anonymous => Err(Problem::Unauthorized),
    }
}

/// Only an operator.
///
/// # Errors
/// No key, or one for other things.
pub async fn operator(service: &Service, envelope: Envelope<'_>) -> Result<(), Problem> {
    operator_of(caller(service, envelope).await?)
}

/// The same for a caller that is known already.
///
/// # Errors
/// Nobody in particular, or one with a key for other things.
pub const fn operator_of(caller: Caller) -> Result<(), Problem> {
    match caller {
        Caller::Account { scope: Scope::Operator, .. } => Ok(()),
        Caller::Account { .. } => Err(Problem::Forbidden),
        Caller::Anonymous => Err(Problem::Unauthorized),
    }
}
