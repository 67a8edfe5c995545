//! What a block brings to registered addresses, which invoices it pays, and where these stand then.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::particulars::InvoiceStands;
use super::{Flows, Unavailable};
use crate::domain::address::Address;
use crate::domain::block::Block;
use crate::domain::event::{EventKind, Subject};
use crate::domain::ids::{AccountId, InvoiceId};
use crate::domain::invoice::{Credit, Standing, Status, changes, standing};
use crate::domain::matching::{self, Basis};
use crate::domain::network::Network;
use crate::domain::payment::Payment;
use crate::domain::transfer::Transfer;
use crate::ledger::events::NewEvent;
use crate::ledger::invoices::{self, LockedInvoice, Told};
use crate::ledger::transfers::{Kept, NewClaim};
use crate::ledger::{Db, LedgerError, addresses, commit, events, payments, transfers};
use crate::metrics::TransferOutcome;

/// What came to registered addresses.
#[derive(Debug, Default)]
pub struct Credited {
    /// The invoices that this concerns.
    pub invoices: BTreeSet<InvoiceId>,
    /// Transfers that pay something now, our own payments among them.
    pub claims: usize,
    /// Transfers that pay something.
    matched: u64,
    /// Transfers that pay nothing. Those that we have signed are not among them: their payments are found in another way.
    unmatched: u64,
}

/// Keeps what a block moved to registered addresses and for payments, and records what it pays. `deeper` are the invoices that it
/// concerns because blocks below it stand deeper now.
///
/// The cost grows with what stands in the block, and not with how many addresses are registered.
///
/// # Errors
/// The database could not be reached.
pub async fn credit(
    db: &mut Db,
    network: &Network,
    block: &Block,
    (moved, owners): (&[Transfer], &Owners),
    paid: &[(&Payment, &Transfer)],
    deeper: &BTreeSet<InvoiceId>,
) -> Result<Credited, LedgerError> {
    let owner = |transfer: &Transfer| owners.get(&transfer.to).copied();
    let ours: Vec<&Transfer> = moved.iter().filter(|transfer| owner(transfer).is_some()).collect();
    let foreign =
        paid.iter().map(|(_, transfer)| *transfer).filter(|transfer| !ours.iter().any(|own| own.index == transfer.index));
    let mut kept: Vec<_> =
        ours.iter().copied().chain(foreign).map(|transfer| Kept { transfer, owner: owner(transfer) }).collect();
    if kept.is_empty() {
        return Ok(Credited { invoices: deeper.clone(), ..Credited::default() });
    }
    kept.sort_by_key(|kept| kept.transfer.index);
    transfers::keep(db, network, block, &kept).await?;

    let indices: Vec<_> = kept.iter().map(|kept| kept.transfer.index).collect();
    let before: BTreeMap<_, _> = transfers::claimed(db, network, block, &indices).await?.into_iter().collect();
    let mut claims = claims_of_payments(db, network, block, owners, paid).await?;
    // Before others are matched: for an invoice that a payment of this block begins, its amount says nothing any more.
    transfers::claim(db, network, block, &claims).await?;
    let free: Vec<_> = ours
        .into_iter()
        .filter(|transfer| !before.contains_key(&transfer.index) && !paid.iter().any(|(_, own)| own.index == transfer.index))
        .filter(|transfer| matching::can_pay(transfer))
        .map(|transfer| Kept { transfer, owner: owner(transfer) })
        .collect();
    // A payment that takes over a transfer takes it from the invoice that it was believed to be for.
    let robbed = claims.iter().filter_map(|claim| before.get(&claim.transfer.index).copied().flatten());
    let mut concerned: BTreeSet<_> = deeper.iter().copied().chain(robbed).chain(invoices_of(&claims)).collect();
    let (found, unmatched) = matched(db, network, block, free, &concerned).await?;
    transfers::claim(db, network, block, &found).await?;
    concerned.extend(invoices_of(&found));
    claims.extend(found);
    let merchants: Vec<_> = paid.iter().map(|(payment, transfer)| (payment.id, owner(transfer))).collect();
    payments::note_merchants(db, &merchants).await?;

    let matched = claims.iter().filter(|claim| owner(claim.transfer).is_some()).count() as u64;
    Ok(Credited { invoices: concerned, claims: claims.len(), matched, unmatched })
}

fn invoices_of<'a>(claims: &'a [NewClaim<'_>]) -> impl Iterator<Item = InvoiceId> + 'a {
    claims.iter().filter_map(|claim| claim.invoice.map(|(invoice, _)| invoice))
}

/// Who owns which of the addresses that a block concerns.
pub type Owners = BTreeMap<Address, AccountId>;

/// Who owns the addresses that these transfers reached, and had them `by` a time, if that matters.
///
/// # Errors
/// The database could not be reached.
pub async fn owners<'a>(
    db: &mut Db,
    network: &Network,
    moved: impl Iterator<Item = &'a Transfer>,
    by: Option<DateTime<Utc>>,
) -> Result<Owners, LedgerError> {
    let recipients: BTreeSet<_> = moved.map(|transfer| transfer.to).collect();
    if recipients.is_empty() {
        return Ok(Owners::new());
    }
    let recipients: Vec<_> = recipients.iter().map(Address::to_string).collect();
    // Blocks tell their time in whole seconds, and an address was registered in the midst of one.
    let by = by.map(|by| by + TimeDelta::milliseconds(999));
    Ok(addresses::owners(db, network, &recipients, by).await?.into_iter().collect())
}

/// What payments are paid by, and which invoices these transfers pay besides: the one that the payment was asked for with, or what
/// somebody has said of the transfer since. Whoever asked for the payment is told its success and serves for that, so what its nonce or
/// its memo names besides is not bought with the same money.
async fn claims_of_payments<'a>(
    db: &mut Db,
    network: &Network,
    block: &Block,
    owners: &Owners,
    paid: &[(&Payment, &'a Transfer)],
) -> Result<Vec<NewClaim<'a>>, LedgerError> {
    let mut claims = Vec::new();
    let wishes = invoices::wishes(db, network, block, paid.iter().map(|(_, transfer)| transfer.index)).await?;
    for (payment, transfer) in paid {
        let place = (transfer.to, owners.get(&transfer.to).copied());
        // What a merchant or a reference has said of the transfer outlasts the payment, as in `transfers::claim`.
        let said = wishes.get(&transfer.index).filter(|(_, basis)| matches!(basis, Basis::Assigned | Basis::Reference)).copied();
        let asked = match payment.invoice {
            Some(invoice) if invoices::takes(db, invoice, network, transfer.asset, place).await? => Some(invoice),
            Some(_) | None => None,
        };
        let invoice = said.or_else(|| asked.map(|invoice| (invoice, Basis::Payment)));
        claims.push(NewClaim { transfer, payment: Some(payment.id), invoice });
    }
    Ok(claims)
}

/// Which invoices transfers pay that pay nothing yet, and how many of them pay none. `concerned` are the other invoices that the
/// transaction will lock.
async fn matched<'a>(
    db: &mut Db,
    network: &Network,
    block: &Block,
    free: Vec<Kept<'a>>,
    concerned: &BTreeSet<InvoiceId>,
) -> Result<(Vec<NewClaim<'a>>, u64), LedgerError> {
    if free.is_empty() {
        return Ok((Vec::new(), 0));
    }
    // What we have signed ourselves is for the payments in it, also where these are found in another way.
    let transactions: Vec<_> = free.iter().map(|kept| kept.transfer.transaction.clone()).collect();
    let ours = transfers::signed_here(db, network, &transactions).await?;
    let free: Vec<_> = free.into_iter().filter(|kept| !ours.contains(&kept.transfer.transaction)).collect();
    let count = free.len();
    let wishes = invoices::wishes(db, network, block, free.iter().map(|kept| kept.transfer.index)).await?;
    let candidates = invoices::candidates(db, network, block.timestamp, &free).await?;
    let mut claims = Vec::new();
    let mut begun: BTreeSet<InvoiceId> = wishes.values().map(|(invoice, _)| *invoice).collect();
    let mut guessed = BTreeMap::new();
    for (position, Kept { transfer, .. }) in free.into_iter().enumerate() {
        let wish = wishes.get(&transfer.index).copied();
        let chosen = wish.or_else(|| matching::choose(network, transfer, block.timestamp, &candidates.of(position), &begun));
        let Some((invoice, basis)) = chosen else { continue };
        begun.insert(invoice);
        if wish.is_none() && matches!(basis, Basis::Payer | Basis::Amount) {
            guessed.insert(invoice, transfer.index);
        }
        claims.push(NewClaim { transfer, payment: None, invoice: Some((invoice, basis)) });
    }
    let concerned: BTreeSet<_> = concerned.iter().copied().chain(invoices_of(&claims)).collect();
    for invoice in begun_meanwhile(db, guessed.keys().copied().collect(), concerned).await? {
        let guess = guessed.get(&invoice).copied();
        claims.retain(|claim| guess != Some(claim.transfer.index));
    }
    let unmatched = count.saturating_sub(claims.len()) as u64;
    Ok((claims, unmatched))
}

/// Of these invoices those that something pays by now: a block of another network may have been taken in while this one was looked at.
/// They stay locked, so that from here on no other does, and with them whatever else the transaction will lock: all at once and in one
/// order, or two networks could wait for each other.
async fn begun_meanwhile(
    db: &mut Db,
    guessed: Vec<InvoiceId>,
    concerned: BTreeSet<InvoiceId>,
) -> Result<Vec<InvoiceId>, LedgerError> {
    if guessed.is_empty() {
        return Ok(Vec::new());
    }
    invoices::lock(db, &concerned.into_iter().collect::<Vec<_>>()).await?;
    invoices::begun(db, &guessed).await
}

/// Derives where invoices stand now, notes it, and returns what their owners are told. To be called when everything else of the
/// transaction is written. None comes to its end here: what pays it in time may stand in a block that was not read yet, or be under way.
///
/// # Errors
/// The database could not be reached.
pub async fn settle_standings(
    db: &mut Db,
    concerned: &BTreeSet<InvoiceId>,
    now: DateTime<Utc>,
) -> Result<Vec<NewEvent>, LedgerError> {
    let has_ended = |invoice: &LockedInvoice| invoice.told.status == Status::Expired;
    derive(db, concerned, |invoice| if has_ended(invoice) { now } else { now.min(invoice.terms.closes_at) }).await
}

/// The same, where each is seen at the time that `seen_at` says.
async fn derive(
    db: &mut Db,
    concerned: &BTreeSet<InvoiceId>,
    seen_at: impl Fn(&LockedInvoice) -> DateTime<Utc>,
) -> Result<Vec<NewEvent>, LedgerError> {
    if concerned.is_empty() {
        return Ok(Vec::new());
    }
    let locked = invoices::lock(db, &concerned.iter().copied().collect::<Vec<_>>()).await?;
    let credits = invoices::credits_of(db, &locked).await?;
    let mut events = Vec::new();
    let mut told = Vec::new();
    for invoice in &locked {
        let own: Vec<Credit> = credits.iter().filter(|(id, _)| *id == invoice.id).map(|(_, credit)| *credit).collect();
        let standing = standing(&invoice.terms, &own, seen_at(invoice));
        if standing != invoice.told {
            told.push(Told { invoice: invoice.id, standing });
            events.extend(changes(&invoice.told, &standing).into_iter().map(|change| NewEvent {
                kind: EventKind::Invoice(change),
                about: Subject::Invoice(invoice.id),
                account: Some(invoice.account),
                data: told_of(invoice, &standing),
            }));
        }
    }
    invoices::tell(db, &told).await?;
    Ok(events)
}

/// The particulars of an event.
fn told_of(invoice: &LockedInvoice, standing: &Standing) -> Value {
    let amount = |amount: crate::domain::amount::Amount| amount.to_decimal(invoice.decimals);
    json!(InvoiceStands {
        status: standing.status.as_str(),
        amount: amount(invoice.terms.amount),
        amount_paid: amount(standing.paid),
        amount_pending: amount(standing.pending),
        amount_due: amount(standing.due),
        amount_surplus: amount(standing.surplus),
        amount_late: amount(standing.late),
    })
}

/// Invoices that are looked at in one go.
const CLOSED_AT_ONCE: u32 = 500;

/// For so long an invoice waits for a network that is not read to the end of its time.
const PATIENCE: TimeDelta = TimeDelta::days(1);

impl Flows {
    /// Closes invoices whose time is over. Returns whether there may be more.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn close_invoices(&self) -> Result<bool, Unavailable> {
        let now = self.clock.now();
        let due = self.ledger.invoices_to_close(now, PATIENCE, CLOSED_AT_ONCE).await?;
        if due.is_empty() {
            return Ok(false);
        }
        let more = due.len() == CLOSED_AT_ONCE as usize;
        let mut db = self.ledger.begin().await?;
        let told = derive(&mut db, &due.into_iter().collect(), |_| now).await?;
        events::insert(&mut db, &told, now).await?;
        commit(db).await?;
        self.count_told(&told);
        // One that has become deep enough in the meantime, or waits for that, is looked at again by its block.
        Ok(more && !told.is_empty())
    }

    /// Counts what came to registered addresses of a network.
    pub(super) fn count_credited(&self, network: &Network, credited: &Credited) {
        self.metrics.transfers(network, TransferOutcome::Matched, credited.matched);
        self.metrics.transfers(network, TransferOutcome::Unmatched, credited.unmatched);
    }

    /// Counts what the owners of invoices are told.
    pub(super) fn count_told(&self, told: &[NewEvent]) {
        for event in told {
            if let EventKind::Invoice(change) = event.kind {
                self.metrics.invoice_changed(change);
            }
        }
    }
}
