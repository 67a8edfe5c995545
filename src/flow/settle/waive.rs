//! A settlement that moves nothing: the resource server measured no use, and charges nothing of what its payer signed for (scheme
//! `upto`).
//!
//! Nothing is sent, so the chain keeps no trace, and what was signed could be settled for more until it ends. It is used up here instead:
//! whoever was told that nothing is due is told so once, and nobody serves for that signature again.

use std::sync::Arc;

use super::{Errand, Settled, duplicate};
use crate::chain::{Chain, Wanted};
use crate::domain::ids::PaymentId;
use crate::domain::payment::Payment;
use crate::flow::verify::Verdict;
use crate::flow::{Flows, Unavailable};
use crate::ledger::commit;
use crate::ledger::payments::{self, NewPayment};

impl Flows {
    /// Settles a payment of nothing, once.
    pub(super) async fn waive(&self, chain: &Arc<dyn Chain>, errand: &Errand<'_>) -> Result<Settled, Verdict> {
        let (network, key) = (&errand.examined.request.network, &errand.examined.key);
        let Ok(_turn) = tokio::time::timeout_at(errand.deadline, self.errands.take((network, &key.0))).await else {
            return Err(Unavailable::NotSent.into());
        };
        if let Some(payment) = self.ledger.find_holder(network, key).await? {
            return Ok(settled_before(errand, &payment));
        }
        self.check_begins(network).await?;
        // Or anybody could use up what others have signed.
        chain.check_window(&errand.examined, self.clock.now())?;
        let verified = self.ask_chain(chain, &errand.examined, Wanted::Verdict).await?;
        let new = NewPayment {
            id: PaymentId::new(),
            examined: &errand.examined,
            checked: verified.checked(),
            fingerprint: errand.fingerprint,
            invoice: None,
            provider: errand.caller.account(),
            merchant: errand.merchant,
            answer_at: errand.answer_at,
            wait: errand.wait(),
            now: self.clock.now(),
            waived_to: Some(&errand.taker),
        };
        let mut db = self.ledger.begin().await?;
        if payments::insert(&mut db, &new).await?
            && let Some(name) = &errand.name
        {
            self.take_name(&mut db, name, errand.fingerprint).await?;
        }
        if let Err(lost) = commit(db).await {
            self.find_out(errand, new.id, lost).await?;
        }
        // Another replica may have been quicker, and an answer to a COMMIT that was lost may have been a refusal.
        let holder = self.ledger.find_holder(network, key).await?;
        holder.map(|payment| settled_before(errand, &payment)).ok_or(Verdict::Unavailable(Unavailable::NotSent))
    }
}

/// What this caller is told of a payment that holds the authorization.
fn settled_before(errand: &Errand<'_>, payment: &Payment) -> Settled {
    let is_own = payment.handed_out.as_ref().is_some_and(|handed_out| handed_out.to == errand.taker);
    if payment.fingerprint == errand.fingerprint && is_own { Settled::Waived { payment: payment.id } } else { duplicate(payment) }
}
