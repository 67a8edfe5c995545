//! What a payer signed, in either of its kinds: for the token itself (EIP-3009) or for Permit2.

use alloy::primitives::{Address as EvmAddress, Bytes};

use super::build;
use super::exact::Authorization;
use super::permit2::{Permit, Proxy};
use crate::domain::reason::Reason;

/// A payer's signature with everything that landing it needs.
#[derive(Debug, Clone, PartialEq)]
pub enum Signed {
    /// For the token.
    Authorization(Box<Authorization>),
    /// For Permit2.
    Permit(Box<Permit>),
}

impl Signed {
    /// What the chain can be asked about. It moves nothing for nothing, and says of all that was signed whether it is good.
    #[must_use]
    pub fn into_question(self) -> Self {
        match self {
            Self::Permit(permit) if permit.amount.is_zero() => {
                Self::Permit(Box::new(Permit { amount: permit.message.permitted, ..*permit }))
            }
            signed => signed,
        }
    }

    /// What it is refused for when its transactions were included and did not pay: of either kind of signature, the scheme's own code.
    #[must_use]
    pub const fn failure(&self) -> Reason {
        match self {
            Self::Permit(permit) if matches!(permit.proxy, Proxy::Upto(_)) => Reason::UptoTransactionFailed,
            Self::Authorization(_) | Self::Permit(_) => Reason::TransactionFailed,
        }
    }

    /// What settles this payment alone: which contract is called, and what it is told. A wallet that has yet to be deployed is deployed
    /// with it.
    #[must_use]
    pub fn call(&self, multicall: EvmAddress, payer_has_no_code: bool) -> (EvmAddress, Bytes) {
        match self {
            Self::Authorization(authorization) => build::single(multicall, authorization, payer_has_no_code),
            Self::Permit(permit) => (permit.proxy.address(), permit.call()),
        }
    }
}
