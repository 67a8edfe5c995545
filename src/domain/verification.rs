//! A payment on its way from a request to something that a lane may send.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::address::Address;
use super::amount::Amount;
use super::ids::{AccountId, PaymentId};
use super::payment::{AuthorizationKey, PaymentRequest};

/// What a request is examined for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Whether it could be settled. Its amount is what the payer agreed to.
    Verify,
    /// To settle it. Where the payer agreed to more, its amount is what is to be paid.
    Settle,
}

/// A request that passed every rule that needs no chain.
#[derive(Debug, Clone, PartialEq)]
pub struct ExaminedPayment {
    /// What was asked.
    pub request: PaymentRequest,
    /// What the chain lets be used once.
    pub key: AuthorizationKey,
    /// Who pays.
    pub payer: Address,
    /// From when the authorization may land.
    pub valid_after: DateTime<Utc>,
    /// When it no longer can.
    pub expires_at: DateTime<Utc>,
    /// The only signer of ours that can send it, where the payer has chosen one.
    pub signer: Option<Address>,
    /// Whether a settlement of nothing can have used up the key, which leaves no trace on the chain.
    pub waivable: bool,
    /// The scheme's payload in the one form that is stored and sent from.
    pub payload: Value,
}

/// What a simulation found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The block whose state was used.
    pub block: u64,
    /// Identifies the payer's code there; a payer whose code changed later is kept out of batches.
    pub payer_code: String,
    /// Whether the payment must not share a transaction with others.
    pub alone: bool,
    /// The gas, or compute, that the transfer took.
    pub gas: u64,
}

/// A payment in the ledger with everything that sending it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Sendable {
    /// Which payment.
    pub id: PaymentId,
    /// The token.
    pub asset: Address,
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub pay_to: Address,
    /// Exactly how much.
    pub amount: Amount,
    /// The account that asked, as the budgets name it.
    pub provider: Option<AccountId>,
    /// When the authorization can no longer land.
    pub expires_at: DateTime<Utc>,
    /// See [`ExaminedPayment::payload`].
    pub payload: Value,
    /// What the newest simulation found.
    pub checked: Checked,
    /// How many slots were spent on it alone in vain.
    pub failures: u16,
    /// The scheme's replay guard.
    pub key: AuthorizationKey,
}
