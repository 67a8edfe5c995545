//! Takes in what stands in blocks that the watcher has passed: before we held the payment, where blocks do not tell, or because an
//! operator has them read again.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{confirm, finalize, find, hold_payments, is_large, moved_by, settle_findings, spend_messages};
use crate::chain::{Chain, ChainError, Observed, Outcomes};
use crate::domain::ids::PaymentId;
use crate::domain::payment::{AuthorizationKey, Payment};
use crate::domain::verification::Sendable;
use crate::flow::credit::{credit, owners, settle_standings};
use crate::flow::{Flows, Unavailable};
use crate::ledger::news::notify_block;
use crate::ledger::{self, LedgerError, blocks, commit, events, receipts};
use crate::telemetry::ErrorChain;

/// What was taken in of a block that the watcher had passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// Transfers to registered addresses.
    pub credits: u64,
    /// Of these, and of those that were recorded before, the ones that pay something now.
    pub claims: u64,
    /// Payments that are paid now.
    pub payments: u64,
}

impl Flows {
    /// Searches for the use of a payment's authorization in blocks that the watcher passed before we held the payment, and
    /// claims it. Returns whether anything was found.
    pub(in crate::flow) async fn claim_found_use(&self, chain: &Arc<dyn Chain>, payment: PaymentId) -> Result<bool, Unavailable> {
        let carried = self.ledger.find_sendable(payment).await?;
        let cursor = self.ledger.cursor(&chain.profile().network).await?;
        let (Some(sendable), Some(cursor)) = (carried, cursor) else { return Ok(false) };
        self.claim_use(chain, &sendable, cursor.heights.head).await
    }

    /// Whether the network says that the authorization of a payment was used: that it has expired, or that nobody sent it, does not
    /// mean that nobody landed it. `None` if that cannot be told yet, or the payment has come to its end meanwhile.
    pub(in crate::flow) async fn is_used(&self, chain: &Arc<dyn Chain>, payment: PaymentId) -> Result<Option<bool>, Unavailable> {
        let Some(sendable) = self.ledger.find_sendable(payment).await? else { return Ok(None) };
        Ok(chain.is_used(&sendable).await?)
    }

    /// Searches in the same way for a payment that waits in a lane.
    ///
    /// # Errors
    /// The network could not be read, or the database could not be reached.
    pub async fn claim_use(&self, chain: &Arc<dyn Chain>, payment: &Sendable, cursor: u64) -> Result<bool, Unavailable> {
        let from = self.ledger.first_checked(payment.id).await?.unwrap_or(cursor).min(cursor);
        let taken = self.ledger.taken_by_others(&chain.profile().network, from..=cursor, payment.id).await?;
        let Some(mut observed) = chain.lookup(payment, from..=cursor, &taken).await? else { return Ok(false) };
        observed.uses.retain(|entry| entry.key == payment.key);
        self.claim_late(chain, observed, is_large(chain, payment.asset, payment.amount)).await
    }

    /// Asks what became of payments that were sent, where blocks do not tell, and takes in what is found. Returns those of which the
    /// network knows something, even if that could not be taken in now.
    ///
    /// # Errors
    /// The network could not be asked.
    pub async fn inquire(
        &self,
        chain: &Arc<dyn Chain>,
        sent: &[Payment],
        thorough: Option<u64>,
    ) -> Result<HashSet<AuthorizationKey>, ChainError> {
        let Outcomes { observed, unclear } = chain.outcomes(sent, thorough).await?;
        let mut known: HashSet<_> = unclear.into_iter().collect();
        for observed in observed {
            let ends = |payment: &&Payment| observed.uses.iter().any(|entry| entry.key == payment.key);
            let large = sent.iter().filter(ends).any(|payment| is_large(chain, payment.asset, payment.amount));
            known.extend(observed.uses.iter().map(|entry| entry.key.clone()));
            // What cannot be taken in now does not keep the others.
            if let Err(error) = self.claim_late(chain, observed, large).await {
                let (network, error) = (&chain.profile().network, ErrorChain(&error));
                tracing::warn!(%network, %error, "the end of a payment could not be taken in");
            }
        }
        Ok(known)
    }

    /// Whether a block holds anything for an address or a payment of ours, and if so, whether one node's word is not enough for it.
    pub(in crate::flow) async fn concerns_us(
        &self,
        chain: &Arc<dyn Chain>,
        observed: &Observed,
    ) -> Result<Option<bool>, LedgerError> {
        let Observed { block, uses, transfers, .. } = observed;
        if uses.is_empty() && transfers.is_empty() {
            return Ok(None);
        }
        let network = &chain.profile().network;
        let mut db = self.ledger.begin().await?;
        let owners = owners(&mut db, network, transfers.iter(), Some(block.timestamp)).await?;
        let held = hold_payments(&mut db, network, uses).await?;
        let mut ours = transfers.iter().filter(|transfer| owners.contains_key(&transfer.to)).peekable();
        if held.is_empty() && ours.peek().is_none() {
            return Ok(None);
        }
        let large = held.iter().any(|payment| is_large(chain, payment.asset, payment.amount))
            || ours.any(|transfer| is_large(chain, transfer.asset, transfer.amount.unwrap_or_default()));
        Ok(Some(large))
    }

    /// Takes in uses in a block that the watcher has passed.
    async fn claim_late(&self, chain: &Arc<dyn Chain>, observed: Observed, large: bool) -> Result<bool, Unavailable> {
        if observed.uses.is_empty() {
            return Ok(false);
        }
        Ok(self.take_late(chain, &observed, large, None).await?.is_some())
    }

    /// Takes in what a block that the watcher has passed holds and the ledger lacks; what was taken in before stays what it is. Besides
    /// uses these are transfers to those who had their addresses `by` a time, if there is one. `None` if the block does not stand in our
    /// chain, or nothing is believed of it.
    pub(in crate::flow) async fn take_late(
        &self,
        chain: &Arc<dyn Chain>,
        observed: &Observed,
        large: bool,
        by: Option<DateTime<Utc>>,
    ) -> Result<Option<Late>, Unavailable> {
        let network = &chain.profile().network;
        if large {
            confirm(chain, observed).await?;
        }
        let Observed { block, uses, transfers, .. } = observed;
        let moved = if by.is_some() { transfers.as_slice() } else { &[] };
        // The ledger keeps no block that is final for long; there the network itself is asked a second time.
        let kept = self.ledger.cursor(network).await?.is_some_and(|cursor| block.number > cursor.heights.finalized);
        let again = if kept { None } else { chain.block(block.number).await? };
        let now = self.clock.now();
        let mut db = self.ledger.begin().await?;
        let cursor = blocks::lock_cursor(&mut db, network).await?;
        // On a network that contradicts itself nothing is believed that it says of the past.
        let Some(known) = cursor.filter(|cursor| cursor.halted.is_none()) else { return Ok(None) };
        // Only a block that stands in our own canonical chain counts.
        let canonical = match blocks::canonical_hash(&mut db, network, block.number).await? {
            Some(hash) => hash == block.hash,
            None => block.number <= known.heights.finalized && again.as_ref() == Some(block),
        };
        if !canonical {
            return Ok(None);
        }
        let held = hold_payments(&mut db, network, uses).await?;
        let findings = find(&held, uses);
        // Of two payments that are alike, both may have been found paid by one transfer. Whoever comes second looks again.
        if ledger::transfers::pays_another(&mut db, network, block, &findings.paid).await? {
            return Ok(None);
        }
        let owners = owners(&mut db, network, moved.iter().chain(moved_by(uses)), by).await?;
        let recorded = ledger::transfers::recorded(&mut db, network, &block.hash).await?;
        let new: Vec<_> = moved.iter().filter(|transfer| !recorded.contains(&transfer.index)).cloned().collect();
        let credited = credit(&mut db, network, block, (&new, &owners), &findings.paid, &BTreeSet::new()).await?;
        receipts::issue(&mut db, network, &block.hash, now).await?;
        let mut told = settle_findings(&mut db, (block, known.may_be_told(block.number)), &findings, now).await?;
        spend_messages(&mut db, network, observed).await?;
        told.extend(finalize(&mut db, network, (block.number, known.heights.finalized), now).await?);
        told.extend(settle_standings(&mut db, &credited.invoices, now).await?);
        events::insert(&mut db, &told, now).await?;
        notify_block(&mut db, network).await?;
        commit(db).await?;
        self.count_credited(network, &credited);
        self.count_told(&told);
        self.waiting.wake(network);
        let credits = new.iter().filter(|transfer| owners.contains_key(&transfer.to)).count() as u64;
        Ok(Some(Late { credits, claims: credited.claims as u64, payments: findings.paid.len() as u64 }))
    }
}
