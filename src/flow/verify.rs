//! Judges a payment without settling it. Writes nothing.

use std::sync::Arc;

use super::{Flows, Unavailable};
use crate::chain::{Chain, VerifiedPayment, VerifyError};
use crate::domain::account::Caller;
use crate::domain::address::Address;
use crate::domain::network::Network;
use crate::domain::payment::{Fingerprint, PaymentRequest};
use crate::domain::reason::{Reason, Refusal};
use crate::domain::verification::ExaminedPayment;

/// Why a payment did not pass.
#[derive(Debug, thiserror::Error)]
pub enum Verdict {
    /// It is not acceptable.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is no verdict.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<VerifyError> for Verdict {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Refused(refusal) => Self::Refused(refusal),
            VerifyError::Unavailable(error) => Self::Unavailable(error.into()),
        }
    }
}

impl From<crate::ledger::LedgerError> for Verdict {
    fn from(error: crate::ledger::LedgerError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl Flows {
    /// Judges a payment, and returns who pays.
    ///
    /// # Errors
    /// A refusal, or no verdict.
    pub async fn verify(&self, request: PaymentRequest, caller: &Caller) -> Result<Address, Verdict> {
        let limit = self.patience.v2.to_std().unwrap_or_default();
        tokio::time::timeout(limit, self.try_verify(request, caller)).await.unwrap_or(Err(Unavailable::TimedOut.into()))
    }

    async fn try_verify(&self, request: PaymentRequest, caller: &Caller) -> Result<Address, Verdict> {
        let fingerprint = Fingerprint::of(&request, caller);
        let chain = self.open_chain(&request.network).await?;
        let examined = chain.examine(request)?;
        let (payer, network, key) = (examined.payer, examined.request.network.clone(), examined.key.clone());
        match self.check_on_chain(chain, examined).await {
            Ok(_) => Ok(payer),
            // Our own settlement of this very request may have used it, and its success may still be waiting to be collected.
            Err(Verdict::Refused(refusal)) if refusal.reason == Reason::NonceAlreadyUsed => {
                let holder = self.ledger.find_holder(&network, &key).await?;
                let collectable = holder.is_some_and(|payment| {
                    let payable = payment.claim.is_some() || payment.given_up.is_none();
                    payment.fingerprint == fingerprint && payment.handed_out.is_none() && payable
                });
                if collectable { Ok(payer) } else { Err(refusal.into()) }
            }
            Err(verdict) => Err(verdict),
        }
    }

    /// The adapter of a network that takes payments now.
    pub(super) async fn open_chain(&self, network: &Network) -> Result<&Arc<dyn Chain>, Verdict> {
        let chain = self.chains.find(network)?;
        if !chain.is_prepared() {
            return Err(Unavailable::NotReady(network.clone()).into());
        }
        if self.availability.of(&self.ledger, network).await?.halted.is_some() {
            return Err(Unavailable::Halted(network.clone()).into());
        }
        Ok(chain)
    }

    /// The rules that need the time and the chain.
    pub(super) async fn check_on_chain(
        &self,
        chain: &Arc<dyn Chain>,
        examined: ExaminedPayment,
    ) -> Result<VerifiedPayment, Verdict> {
        chain.check_window(&examined, self.clock.now())?;
        let verified = chain.verify(examined).await?;
        chain.price(&verified).await?;
        Ok(verified)
    }
}
