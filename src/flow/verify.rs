//! Judges a payment without settling it. Writes nothing.

use std::sync::Arc;
use std::time::Duration;

use super::{Flows, Unavailable};
use crate::chain::{Anchor, Chain, ChainError, LAG_MAX, Profile, SignerProfile, VerifiedPayment, VerifyError, Wanted};
use crate::domain::account::Caller;
use crate::domain::address::Address;
use crate::domain::block::Sight;
use crate::domain::network::Network;
use crate::domain::payment::{Fingerprint, PaymentRequest, SCHEME_TRANSFER};
use crate::domain::reason::{Reason, Refusal};
use crate::domain::verification::{ExaminedPayment, Purpose};
use crate::ledger::idempotency::StorageKey;

/// So often the chain is asked before a node that refuses out of an old state is taken for one that lags: the block may have been read
/// in between.
const LOOKS_MAX: usize = 2;

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

impl From<ChainError> for Verdict {
    fn from(error: ChainError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<crate::ledger::LedgerError> for Verdict {
    fn from(error: crate::ledger::LedgerError) -> Self {
        Self::Unavailable(error.into())
    }
}

impl Flows {
    /// Judges a payment that its payer may have given a name, and returns who pays. A caller that waits no longer than `within` gets no
    /// verdict after that.
    ///
    /// # Errors
    /// A refusal, or no verdict.
    pub async fn verify(
        &self,
        request: PaymentRequest,
        caller: &Caller,
        name: Option<StorageKey>,
        within: Option<Duration>,
    ) -> Result<Address, Verdict> {
        let judged = async {
            if let Some(name) = &name {
                self.check_name(name, Fingerprint::of(&request, caller)).await?;
            }
            self.try_verify(request, caller).await
        };
        self.in_time(judged, within).await
    }

    /// Ends what takes longer than a caller of version 2 waits, or this one does.
    pub(super) async fn in_time<T>(
        &self,
        judged: impl Future<Output = Result<T, Verdict>>,
        within: Option<Duration>,
    ) -> Result<T, Verdict> {
        let limit = self.patience.v2.to_std().unwrap_or_default();
        let limit = within.map_or(limit, |within| within.min(limit));
        tokio::time::timeout(limit, judged).await.unwrap_or(Err(Unavailable::TimedOut.into()))
    }

    async fn try_verify(&self, request: PaymentRequest, caller: &Caller) -> Result<Address, Verdict> {
        if request.scheme == SCHEME_TRANSFER {
            return self.check_proof(&request, caller).await;
        }
        let chain = self.open_chain(&request.network).await?;
        let examined = Arc::new(chain.examine(request, Purpose::Verify, self.clock.now())?);
        let checked = match self.named_invoice(&examined.request).await {
            Ok(_) => self.check_on_chain(chain, &examined, Wanted::Verdict).await,
            Err(verdict) => Err(verdict),
        };
        match checked {
            // The chain does not know of it, and nobody may serve for it.
            Ok(_) if self.is_waived(&examined).await? => {
                Err(Refusal::because(Reason::DuplicateSettlement, "it was settled for nothing").into())
            }
            Ok(_) => Ok(examined.payer),
            // Our own settlement of this very request may have used it, and its success may still be waiting to be collected, or
            // nobody may have been told of it. How the chain words that it cannot be made again depends on the chain and its age.
            Err(Verdict::Refused(refusal)) => {
                let holder = self.ledger.find_holder(&examined.request.network, &examined.key).await?;
                let fingerprint = Fingerprint::of(&examined.request, caller);
                let collectable = holder.is_some_and(|payment| {
                    let under_way = refusal.reason.means_used() || payment.submission.is_some();
                    let payable = payment.claim.is_some() || payment.given_up.is_none() && under_way;
                    let told = payment.handed_out.as_ref().is_some_and(|taken| !self.waiting.is_orphan(payment.id, &taken.to));
                    payment.fingerprint == fingerprint && payable && !told
                });
                if collectable { Ok(examined.payer) } else { Err(refusal.into()) }
            }
            Err(verdict) => Err(verdict),
        }
    }

    /// Whether what was signed was used up by a payment of nothing.
    async fn is_waived(&self, examined: &ExaminedPayment) -> Result<bool, Verdict> {
        if !examined.waivable {
            return Ok(false);
        }
        let holder = self.ledger.find_holder(&examined.request.network, &examined.key).await?;
        Ok(holder.is_some_and(|payment| payment.amount.is_zero()))
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

    /// Whether anything new is begun on a network. What was begun before goes on when an operator halts it.
    pub(super) async fn check_begins(&self, network: &Network) -> Result<(), Unavailable> {
        let standing = self.availability.of(&self.ledger, network).await?;
        match (standing.stopped, standing.catches_up) {
            (Some(_), _) => Err(Unavailable::Halted(network.clone())),
            (None, true) => Err(Unavailable::Behind(network.clone())),
            (None, false) => Ok(()),
        }
    }

    /// Whether the chain is asked at all. While it is known to be read far behind its head, a verdict would count for nothing, and what it takes
    /// to get one is taken from the watcher, which has to catch up: callers ask again and again, and the more the longer it takes.
    async fn check_keeps_up(&self, network: &Network) -> Result<(), Unavailable> {
        let catches_up = self.availability.of(&self.ledger, network).await?.catches_up;
        if catches_up || self.availability.is_ahead(network) { Err(Unavailable::Behind(network.clone())) } else { Ok(()) }
    }

    /// Whether there is a lane that takes this payment.
    async fn check_lanes(&self, chain: &Arc<dyn Chain>, examined: &ExaminedPayment) -> Result<(), Unavailable> {
        let Profile { network, signers, .. } = chain.profile();
        let standing = self.availability.of(&self.ledger, network).await?;
        let chosen = examined.signer.map(|signer| signer.to_string());
        let may_send = |signer: &&SignerProfile| chosen.as_ref().is_none_or(|chosen| *chosen == signer.address);
        let mut lanes = signers.iter().filter(may_send);
        if lanes.any(|signer| !standing.drained.contains(&signer.address)) {
            return Ok(());
        }
        Err(Unavailable::Drained(network.clone()))
    }

    /// Simulates a payment. A refusal counts only if it was read from a state as new as what the watcher has read.
    pub(super) async fn ask_chain(
        &self,
        chain: &Arc<dyn Chain>,
        examined: &Arc<ExaminedPayment>,
        wanted: Wanted,
    ) -> Result<VerifiedPayment, Verdict> {
        let network = &examined.request.network;
        for _ in 0..LOOKS_MAX {
            let verdict = match chain.verify(Arc::clone(examined), wanted).await {
                // When it can be given up does not follow from the height of its state.
                Ok(verified) if chain.lands_until(0).is_none() => return Ok(verified),
                Ok(verified) => Ok(verified),
                Err(VerifyError::Refused { refusal, block }) => Err((refusal, block)),
                Err(VerifyError::Unavailable(error)) => return Err(error.into()),
            };
            let read_to = self.ledger.cursor(network).await?.map(|cursor| cursor.heights.head);
            match verdict {
                Ok(verified) if Sight::of(verified.checked().block.saturating_add(LAG_MAX), read_to) != Sight::Stale => {
                    return Ok(verified);
                }
                Err((refusal, block)) if Sight::of(block, read_to) != Sight::Stale => return Err(refusal.into()),
                Ok(_) | Err(_) => {}
            }
        }
        Err(Unavailable::NodeLags(network.clone()).into())
    }

    /// The rules that need the time and the chain.
    pub(super) async fn check_on_chain(
        &self,
        chain: &Arc<dyn Chain>,
        examined: &Arc<ExaminedPayment>,
        wanted: Wanted,
    ) -> Result<VerifiedPayment, Verdict> {
        chain.check_window(examined, self.clock.now())?;
        let network = &examined.request.network;
        self.check_keeps_up(network).await?;
        let verified = self.ask_chain(chain, examined, wanted).await?;
        let read_to = self.availability.of(&self.ledger, network).await?.read_to;
        if Sight::of(verified.checked().block, read_to) == Sight::Ahead {
            self.availability.note_ahead(network);
            return Err(Unavailable::Behind(network.clone()).into());
        }
        // A block that is not known here is newer than what was read, or reading has just begun.
        if let Some(Anchor { block, age_max }) = chain.anchor(examined)
            && let Some(height) = self.ledger.height_of(network, &block).await?
            && verified.checked().block > height.saturating_add(age_max)
        {
            return Err(Refusal::from(Reason::BlockhashExpiring).into());
        }
        self.check_begins(network).await?;
        self.check_lanes(chain, examined).await?;
        let cost_max = self.policies.get(network).map_or(u128::MAX, |policy| policy.cost.payment_wei_max);
        if chain.price(&verified).await? > cost_max {
            return Err(Refusal::from(Reason::CostExceedsLimit).into());
        }
        Ok(verified)
    }
}
