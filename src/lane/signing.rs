//! What a lane knows of its signer, which may be kept elsewhere and be away.
//!
//! Nothing is given up because of that: what waits goes on waiting, or to a neighbour that signs, and what is in flight is sent again as it is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio_util::task::AbortOnDropHandle;

use super::{Lane, LaneError};
use crate::chain::{BuildError, ChainError, SlotOrder};
use crate::domain::ids::PaymentId;
use crate::domain::submission::{Fees, Place, SignedAttempt};
use crate::domain::verification::Sendable;
use crate::flow::tenure::ASK_AGAIN;
use crate::keys::KeyError;
use crate::ledger::LedgerError;
use crate::telemetry::ErrorChain;

/// A signer that has not been heard for so long is asked whether it would sign, so that somebody knows before a payment comes.
const HEARD_WITHIN: Duration = Duration::from_mins(1);

/// Signatures of messages that are asked for at a time.
const SIGNED_AT_ONCE: usize = 16;

/// A message that was refused is not asked for again before this.
const REFUSED_FOR: Duration = Duration::from_secs(5);

/// What is known of a signer.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Whether it did not sign when it was asked last.
    pub(super) is_away: bool,
    /// When that was.
    at: Option<Instant>,
    /// The question whether it would, while it is open. Nothing waits for the answer: a signer that hangs takes seconds to be given up.
    asked: Option<AbortOnDropHandle<Result<(), ChainError>>>,
    /// What the ledger was told.
    noted: Option<bool>,
    /// Payments whose messages were refused, and when.
    refused: HashMap<PaymentId, Instant>,
}

impl Heard {
    /// Has the ledger told again.
    pub(super) const fn forget_noted(&mut self) {
        self.noted = None;
    }

    /// Whether it is time to ask again.
    fn is_due(&self) -> bool {
        let within = if self.is_away { ASK_AGAIN } else { HEARD_WITHIN };
        self.at.is_none_or(|at| at.elapsed() >= within)
    }
}

impl Lane {
    /// Has a signer that was not heard for long, or is away, asked whether it would sign, and hears what it answered. Does not wait for it.
    #[expect(clippy::disallowed_methods, reason = "it ends with the lane, which hears how it ended and asks again")]
    pub(super) async fn ask_signer(&mut self) {
        if let Some(asked) = self.heard.asked.take_if(|asked| asked.is_finished()) {
            match asked.await {
                Ok(answer) => self.note_heard(answer.err().as_ref()),
                // The panic stands in the log, and whether the signer signs is as unknown as before.
                Err(_) => self.heard.at = Some(Instant::now()),
            }
        }
        if self.heard.asked.is_none() && self.heard.is_due() {
            let (chain, name) = (Arc::clone(&self.chain), self.signer.name.clone());
            let asked = tokio::spawn(async move { chain.check_signer(&name).await });
            self.heard.asked = Some(AbortOnDropHandle::new(asked));
        }
    }

    /// Tells the neighbours, and those who offer the network, whether the signer signs. What it holds need not be known for that.
    pub(super) async fn note_away(&mut self) -> Result<(), LedgerError> {
        let is_away = self.heard.is_away;
        if self.heard.at.is_some() && self.heard.noted != Some(is_away) {
            self.flows.ledger.note_away(&self.network, &self.signer.address, is_away).await?;
            self.heard.noted = Some(is_away);
        }
        Ok(())
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
        let built = self.chain.build(order, payments).await;
        self.hear(built)
    }

    /// Signs a message for each payment, a few at a time: a signer that is elsewhere takes its time for each of them. Of those for which
    /// there is no answer it was not asked any more, because it is away.
    pub(super) async fn build_messages(&mut self, payments: &[Sendable]) -> Vec<Result<SignedAttempt, LaneError>> {
        let mut built = Vec::with_capacity(payments.len());
        for some in payments.chunks(SIGNED_AT_ONCE) {
            if self.heard.is_away {
                break;
            }
            let (chain, signer) = (&self.chain, &self.signer.name);
            let signing = some.iter().map(|payment| async move {
                let place = Place::Message(payment.key.clone());
                chain.build(SlotOrder { signer, place: &place, outbid: None }, std::slice::from_ref(payment)).await
            });
            let answers = join_all(signing).await;
            for (payment, answer) in some.iter().zip(answers) {
                built.push(match answer {
                    Err(BuildError::Chain(error @ ChainError::Signer { source: KeyError::Refused { .. }, .. })) => {
                        self.note_refused(payment.id, &error);
                        Err(LaneError::MessageRefused)
                    }
                    answer => self.hear(answer),
                });
            }
        }
        built
    }

    /// Whether the signer has refused the payment's message a moment ago.
    pub(super) fn is_refused(&self, payment: PaymentId) -> bool {
        self.heard.refused.get(&payment).is_some_and(|at| at.elapsed() < REFUSED_FOR)
    }

    /// Whoever keeps a key may read what it signs, and refuse one message and not the next. Whether it is the message or the signer shows when
    /// it is asked for words that are no transaction.
    fn note_refused(&mut self, payment: PaymentId, error: &ChainError) {
        let (network, signer) = (&self.network, &self.signer.name);
        tracing::error!(%network, signer, %payment, error = %ErrorChain(error), "the signer refuses a message, and its payment waits");
        if let ChainError::Signer { source, .. } = error {
            self.flows.metrics.signer_failed(network, signer, source.into());
        }
        self.heard.refused.retain(|_, at| at.elapsed() < REFUSED_FOR);
        self.heard.refused.insert(payment, Instant::now());
        self.heard.at = None;
    }

    /// Notes what a signature, or its absence, says of the signer.
    fn hear(&mut self, built: Result<SignedAttempt, BuildError>) -> Result<SignedAttempt, LaneError> {
        match built {
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
        // Whatever was asked before is answered by this.
        let refused = std::mem::take(&mut self.heard.refused);
        self.heard = Heard { is_away, at: Some(Instant::now()), asked: None, noted: self.heard.noted, refused };
    }
}
