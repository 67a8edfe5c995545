//! Takes a canonical block into the ledger: who was paid, which slots were spent, what became final.
//!
//! Everything an observer can see moves in one transaction, so no crash can pay a payment without telling it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::json;

use super::credit::{credit, owners, settle_standings};
use super::particulars::{Failed, Finalized, Landed};
use super::{Flows, Unavailable};
use crate::chain::{Chain, ChainError, Observed};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::block::{Block, Heights};
use crate::domain::event::{EventKind, Subject};
use crate::domain::network::Network;
use crate::domain::payment::Payment;
use crate::domain::reason::Reason;
use crate::domain::transfer::{AuthorizationUse, Ending, Transfer, Use, judge};
use crate::ledger::events::{self, NewEvent};
use crate::ledger::leases::{self, Lease};
use crate::ledger::news::notify_block;
use crate::ledger::{Db, LedgerError, blocks, commit, copies, invoices, payments, receipts, submissions};
use crate::metrics::PaidBy;

mod late;

pub use late::Late;

/// How taking a block in ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingested {
    /// It is in the ledger.
    Done,
    /// It does not follow the newest block in the ledger; the caller must compare the chains again.
    DoesNotFollow,
}

/// What a block means for the payments that we hold.
#[derive(Default)]
struct Findings<'a> {
    paid: Vec<(&'a Payment, &'a Transfer)>,
    spoilt: Vec<(&'a Payment, Reason)>,
}

/// On whose word a block is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    OneNode,
    TwoNodes,
}

impl Flows {
    /// Takes in the block behind the newest one in the ledger. `heights` are the levels known with it.
    ///
    /// # Errors
    /// The lease was lost, the database could not be reached, or a second node is needed and does not agree; then nothing was
    /// taken in, or, if the answer to the COMMIT was lost, all of it.
    pub async fn ingest(
        &self,
        lease: &Lease,
        chain: &Arc<dyn Chain>,
        observed: &Observed,
        heights: Heights,
    ) -> Result<Ingested, Unavailable> {
        if let Some(ingested) = self.try_ingest(lease, chain, observed, heights, Trust::OneNode).await? {
            return Ok(ingested);
        }
        confirm(chain, observed).await?;
        let ingested = self.try_ingest(lease, chain, observed, heights, Trust::TwoNodes).await?;
        Ok(ingested.unwrap_or(Ingested::DoesNotFollow))
    }

    /// `None` if the block ends a payment, or holds a credit, for which one node's word is not enough. Nothing was changed then.
    async fn try_ingest(
        &self,
        lease: &Lease,
        chain: &Arc<dyn Chain>,
        observed: &Observed,
        heights: Heights,
        trust: Trust,
    ) -> Result<Option<Ingested>, LedgerError> {
        let network = &chain.profile().network;
        let now = self.clock.now();
        let mut db = self.ledger.begin().await?;
        leases::require(&mut db, lease).await?;
        let cursor = blocks::lock_cursor(&mut db, network).await?;
        if cursor.as_ref().is_some_and(|cursor| cursor.hash != observed.block.parent_hash || cursor.halted.is_some()) {
            return Ok(Some(Ingested::DoesNotFollow));
        }
        let lost = cursor.as_ref().is_some_and(|cursor| cursor.may_be_told(observed.block.number));
        let before = cursor.map_or(heights, |cursor| cursor.heights);
        blocks::insert_block(&mut db, network, &observed.block).await?;
        let held = hold_payments(&mut db, network, &observed.uses).await?;
        let owners = owners(&mut db, network, observed.transfers.iter().chain(moved_by(&observed.uses)), None).await?;
        let is_large_credit = |transfer: &Transfer| {
            owners.contains_key(&transfer.to) && is_large(chain, transfer.asset, transfer.amount.unwrap_or_default())
        };
        let large = held.iter().any(|payment| is_large(chain, payment.asset, payment.amount))
            || observed.transfers.iter().any(is_large_credit);
        if trust == Trust::OneNode && large {
            return Ok(None);
        }
        let findings = find(&held, &observed.uses);
        let moved = (observed.transfers.as_slice(), &owners);
        let deeper = invoices::ending_between(&mut db, network, before, heights).await?.into_iter().collect();
        let credited = credit(&mut db, network, &observed.block, moved, &findings.paid, &deeper).await?;
        let claimed = credited.claims > 0;
        let mut told = settle_findings(&mut db, (&observed.block, lost), &findings, now).await?;
        let spent = spend_slots(&mut db, network, observed).await?;
        blocks::move_cursor(&mut db, network, &observed.block.hash, heights).await?;
        let upgrade = upgrade(observed);
        if let Some(reason) = &upgrade {
            blocks::halt_behind(&mut db, network, reason).await?;
        }
        if claimed {
            receipts::issue(&mut db, network, &observed.block.hash, now).await?;
        }
        if heights.finalized > before.finalized {
            receipts::finalize(&mut db, network, heights.finalized, now).await?;
        }
        let finalized = finalize(&mut db, network, (before.finalized, heights.finalized), now).await?;
        let finalized_count = finalized.len();
        told.extend(finalized);
        told.extend(settle_standings(&mut db, &credited.invoices, now).await?);
        events::insert(&mut db, &told, now).await?;
        blocks::prune(&mut db, network, heights.finalized).await?;
        notify_block(&mut db, network).await?;
        commit(db).await?;

        if let Some(reason) = upgrade {
            tracing::error!(%network, reason, "the network is halted");
        }
        self.count(network, heights, &findings, finalized_count, &observed.transactions);
        self.count_credited(network, &credited);
        self.count_told(&told);
        self.waiting.wake(network);
        if spent {
            self.bells.ring(network);
        }
        Ok(Some(Ingested::Done))
    }

    fn count(&self, network: &Network, heights: Heights, findings: &Findings<'_>, finalized: usize, ours: &[String]) {
        for (payment, transfer) in &findings.paid {
            let by_us = payment.transaction.as_ref() == Some(&transfer.transaction) && ours.contains(&transfer.transaction);
            self.metrics.payment_included(network, if by_us { PaidBy::Us } else { PaidBy::Stranger });
        }
        for (_, reason) in &findings.spoilt {
            self.metrics.payment_failed(network, *reason);
        }
        self.metrics.payments_finalized(network, finalized as u64);
        self.metrics.blocks_ingested(network, 1);
        self.metrics.cursor(network, heights.head, heights.finalized);
    }
}

/// Whether one node's word is not enough for so much. Only payments that we hold and credits to registered addresses are asked about,
/// so nodes that differ over a transfer among strangers hold up nothing.
fn is_large(chain: &Arc<dyn Chain>, asset: Address, amount: Amount) -> bool {
    chain.agree_above(asset).is_some_and(|limit| amount > limit)
}

/// Asks a second node about a block.
async fn confirm(chain: &Arc<dyn Chain>, observed: &Observed) -> Result<(), ChainError> {
    if chain.agrees(observed).await? {
        return Ok(());
    }
    let what = format!("two nodes disagree about block {}", observed.block.number);
    Err(ChainError::Implausible { network: chain.profile().network.clone(), what })
}

/// The payments that hold the used authorizations and are not paid yet.
async fn hold_payments(db: &mut Db, network: &Network, uses: &[AuthorizationUse]) -> Result<Vec<Payment>, LedgerError> {
    if uses.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<_> = uses.iter().map(|entry| entry.key.clone()).collect();
    let held = payments::lock_holders(db, network, &keys).await?;
    Ok(held.into_iter().filter(|payment| payment.claim.is_none()).collect())
}

/// What the uses of authorizations moved.
fn moved_by(uses: &[AuthorizationUse]) -> impl Iterator<Item = &Transfer> {
    uses.iter().filter_map(|entry| match &entry.outcome {
        Use::Spent(transfer) => transfer.as_ref(),
        Use::Cancelled | Use::Failed(_) => None,
    })
}

fn find<'a>(held: &'a [Payment], uses: &'a [AuthorizationUse]) -> Findings<'a> {
    let outcomes: HashMap<_, _> = uses.iter().map(|entry| (&entry.key, &entry.outcome)).collect();
    let mut findings = Findings::default();
    for payment in held {
        match outcomes.get(&payment.key).map(|outcome| judge(payment, outcome)) {
            Some(Ending::Paid(transfer)) => findings.paid.push((payment, transfer)),
            Some(Ending::Spoiled(reason)) => findings.spoilt.push((payment, reason)),
            None => {}
        }
    }
    findings
}

/// Why a network is halted in whose block a token got other code. What the rules rely on may not hold any more until somebody has looked.
fn upgrade(observed: &Observed) -> Option<String> {
    let token = observed.upgraded.first()?;
    Some(format!("the code of the token {token} was replaced in block {}", observed.block.number))
}

/// Notes how payments ended in a block. `lost` says that whoever asked for them may have been told already.
async fn settle_findings(
    db: &mut Db,
    (block, lost): (&Block, bool),
    findings: &Findings<'_>,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Vec<NewEvent>, LedgerError> {
    let mut told = Vec::new();
    let paid: Vec<_> = findings.paid.iter().map(|(payment, _)| payment.id).collect();
    payments::take_spent(db, &paid, now).await?;
    if lost {
        copies::take_lost(db, &paid, now).await?;
    }
    for (payment, transfer) in &findings.paid {
        // A failure had been answered: the owner must hear that the money moved after all.
        let kind = if payment.given_up.is_some() { EventKind::PaymentRecovered } else { EventKind::PaymentIncluded };
        let data = json!(Landed::new(&transfer.transaction, block));
        told.push(NewEvent { kind, about: Subject::Payment(payment.id), account: payment.provider, data });
    }
    if !findings.spoilt.is_empty() {
        let spoilt: Vec<_> = findings.spoilt.iter().map(|(payment, reason)| (payment.id, *reason)).collect();
        let new = payments::spoil(db, &spoilt, now).await?;
        told.extend(findings.spoilt.iter().filter(|(payment, _)| new.contains(&payment.id)).map(|(payment, reason)| NewEvent {
            kind: EventKind::PaymentFailed,
            about: Subject::Payment(payment.id),
            account: payment.provider,
            data: json!(Failed::from(*reason)),
        }));
    }
    Ok(told)
}

/// Marks what became final between two heights.
async fn finalize(
    db: &mut Db,
    network: &Network,
    (from, finalized): (u64, u64),
    now: chrono::DateTime<chrono::Utc>,
) -> Result<Vec<NewEvent>, LedgerError> {
    let payments = payments::finalize(db, network, from, finalized, now).await?;
    let event = |(payment, account)| NewEvent {
        kind: EventKind::PaymentFinalized,
        about: Subject::Payment(payment),
        account,
        data: json!(Finalized {}),
    };
    Ok(payments.into_iter().map(event).collect())
}

/// Marks the slots that the block's transactions spent. A slot is spent together with every slot of its signer below it.
async fn spend_slots(db: &mut Db, network: &Network, observed: &Observed) -> Result<bool, LedgerError> {
    if observed.transactions.is_empty() {
        return Ok(false);
    }
    let mut highest: BTreeMap<String, u64> = BTreeMap::new();
    for slot in submissions::slots_of(db, network, &observed.transactions).await? {
        let Some(nonce) = slot.nonce else { continue };
        highest.entry(slot.signer).and_modify(|known| *known = nonce.max(*known)).or_insert(nonce);
    }
    for (signer, nonce) in &highest {
        submissions::mark_spent(db, network, signer, *nonce, observed.block.number).await?;
    }
    Ok(!highest.is_empty())
}

/// Marks the slots without nonces that the block's transactions are.
async fn spend_messages(db: &mut Db, network: &Network, observed: &Observed) -> Result<(), LedgerError> {
    let landed = submissions::slots_of(db, network, &observed.transactions).await?;
    let messages: Vec<_> = landed.into_iter().filter(|slot| slot.nonce.is_none()).map(|slot| slot.id).collect();
    submissions::mark_messages_spent(db, &messages, observed.block.number).await?;
    Ok(())
}
