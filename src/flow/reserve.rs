//! A payer's balance is promised once, to whichever of its payments comes first.

use std::sync::Arc;

use tokio::sync::MutexGuard;

use super::verify::Verdict;
use super::{Flows, Unavailable};
use crate::chain::{Chain, VerifiedPayment};
use crate::domain::amount::Amount;
use crate::domain::ids::PaymentId;
use crate::domain::reason::{Reason, Refusal};
use crate::ledger::{DbTransaction, payments};

/// Times that a balance is read again because the watcher moved on in between. After that the newest reading counts: the chain
/// is the judge in the end, and the cost of being wrong is bounded.
const BALANCE_READS_MAX: usize = 3;

impl Flows {
    /// Opens a transaction in which no other payment of the payer can be recorded, having made sure that the balance covers this
    /// one, `id`, together with those under way.
    pub(super) async fn reserve(
        &self,
        chain: &Arc<dyn Chain>,
        verified: &VerifiedPayment,
        id: PaymentId,
    ) -> Result<(MutexGuard<'_, ()>, DbTransaction), Verdict> {
        let (payer, request) = (verified.examined().payer, &verified.examined().request);
        let turn = self.reservations.take((&request.network, request.asset, payer)).await;
        let mut held = verified.balance().map(|balance| (balance, verified.checked().block));
        for reads_left in (0..BALANCE_READS_MAX).rev() {
            let mut db = self.ledger.begin().await?;
            let since = held.map(|(_, block)| block);
            let under_way = payments::reserve(&mut db, &request.network, request.asset, payer, id, since).await?;
            // A payer with nothing under way was judged by the simulation already.
            let Some(sum) = under_way.sum else { return Ok((turn, db)) };
            if let Some((balance, block)) = held {
                let cursor = under_way.cursor.as_ref().map(|(cursor, _)| *cursor);
                let is_covered = covers(balance, sum, request.amount);
                // What landed behind the cursor is under way and gone from a newer balance, which can therefore only be too low. An
                // older one covers what landed since, too, unless that is final by now and not counted any more.
                if is_covered && cursor.is_none_or(|cursor| block >= cursor.min(under_way.finalized)) {
                    return Ok((turn, db));
                }
                // To refuse, the balance must not be newer. If the ledger does not catch up with it, nobody knows.
                match cursor {
                    Some(cursor) if block > cursor && reads_left == 0 => break,
                    Some(cursor) if block != cursor && reads_left > 0 => {}
                    _ if is_covered => return Ok((turn, db)),
                    _ => return Err(Refusal::from(Reason::InsufficientFunds).into()),
                }
            }
            drop(db);
            let Some((cursor, hash)) = under_way.cursor else { break };
            held = Some(chain.balance(request.asset, payer, (cursor, &hash)).await.map_err(Unavailable::from)?);
        }
        Err(Unavailable::Behind(request.network.clone()).into())
    }
}

/// Whether a balance covers a payment on top of those under way.
fn covers(balance: Amount, under_way: Amount, amount: Amount) -> bool {
    under_way.checked_add(amount).is_some_and(|sum| sum <= balance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balance_is_promised_once() {
        let amount = Amount::new;

        assert!(covers(amount(100), amount(60), amount(40)));
        assert!(!covers(amount(100), amount(61), amount(40)));
        assert!(!covers(amount(u128::MAX), amount(u128::MAX), amount(1)));
    }
}
