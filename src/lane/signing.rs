//! What a lane knows of its signer, which may be kept elsewhere and be away.
//!
//! Nothing is given up because of that: what waits goes on waiting, or to a neighbour that signs, and what is in flight is sent again as it is.

use std::time::{Duration, Instant};

use super::{Lane, LaneError};
use crate::chain::{BuildError, ChainError, SlotOrder};
use crate::domain::submission::{Fees, Place, SignedAttempt};
use crate::domain::verification::Sendable;
use crate::flow::tenure::ASK_AGAIN;
use crate::telemetry::ErrorChain;

/// A signer that has not been heard for so long is asked whether it would sign, so that somebody knows before a payment comes.
const HEARD_WITHIN: Duration = Duration::from_mins(1);

/// What is known of a signer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    /// Whether it did not sign when it was asked last.
    pub(super) is_away: bool,
    /// When that was.
    at: Option<Instant>,
}

impl Heard {
    /// Whether it is time to ask again.
    fn is_due(self) -> bool {
        let within = if self.is_away { ASK_AGAIN } else { HEARD_WITHIN };
        self.at.is_none_or(|at| at.elapsed() >= within)
    }
}

impl Lane {
    /// Asks a signer that was not heard for long, or is away, whether it would sign.
    pub(super) async fn ask_signer(&mut self) {
        if self.heard.is_due() {
            let asked = self.chain.check_signer(&self.signer.name).await;
            self.note_heard(asked.err().as_ref());
        }
    }

    /// Signs a slot's transaction, unless the signer is known to be away.
    pub(super) async fn build(
        &mut self,
        place: &Place,
        outbid: Option<Fees>,
        payments: &[Sendable],
    ) -> Result<SignedAttempt, LaneError> {
        if self.heard.is_away {
            return Err(LaneError::SignerAway);
        }
        let order = SlotOrder { signer: &self.signer.name, place, outbid };
        match self.chain.build(order, payments).await {
            Ok(attempt) => {
                self.note_heard(None);
                Ok(attempt)
            }
            Err(BuildError::Chain(error @ ChainError::Signer { .. })) => {
                self.note_heard(Some(&error));
                Err(LaneError::SignerAway)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn note_heard(&mut self, failure: Option<&ChainError>) {
        let (network, signer) = (&self.network, &self.signer.name);
        let is_away = failure.is_some();
        if let Some(error) = failure {
            tracing::error!(%network, signer, error = %ErrorChain(error), "the signer does not sign, and payments wait");
            if let ChainError::Signer { source, .. } = error {
                self.flows.metrics.signer_failed(network, signer, source.into());
            }
        } else if self.heard.is_away {
            tracing::info!(%network, signer, "the signer signs again");
        }
        self.flows.metrics.signer_away(network, signer, is_away);
        if self.heard.is_away != is_away {
            // Whoever looks at the balance next notes this, too, for the neighbours and for those who offer the network.
            self.funds = None;
        }
        self.heard = Heard { is_away, at: Some(Instant::now()) };
    }
}
