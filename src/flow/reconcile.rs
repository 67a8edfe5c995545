//! Compares each network with the ledger: what came to registered addresses, and whether what they hold follows from it.
//!
//! Blocks were read one after the other, so here nodes are asked by address, and where there are several, another one than blocks
//! are read from. Nothing is changed by what is found: it is for a person to look at. See docs/adr/0037-reconciliation.md.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use super::{Flows, Unavailable};
use crate::chain::Chain;
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::block::BlockHash;
use crate::domain::ids::{AddressId, ReconciliationId};
use crate::domain::network::Network;
use crate::domain::reconciliation::{Difference, DifferenceKind, Movement, compare_balance, compare_credits};
use crate::domain::schema::Transaction;
use crate::ledger::commit;
use crate::ledger::leases::{self, Lease};
use crate::ledger::reconciliations::{self, Basis, Compared, Reconciliation};

/// Addresses that are compared together.
const ADDRESSES_AT_ONCE: u32 = 64;

/// Balances that are asked for at the same time.
const BALANCES_AT_ONCE: usize = 8;

/// So many blocks below the newest one balances are asked for: a node that lags a little has them, and one that forgets old states has
/// them still.
const BELOW_HEAD: usize = 8;

/// For so long the watcher may take to come to a block in whose state a balance was shown.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// Between two looks at how far it has come.
const READ_POLL: Duration = Duration::from_millis(100);

/// Differences that a report names. There may be more, and who mends the first ones sees the others the next time.
const TOLD_MAX: usize = 100;

/// A balance, and the one that was found right before.
struct Reading<'a> {
    owner: &'a Compared,
    before: Option<&'a Basis>,
    now: Basis,
}

impl Reading<'_> {
    fn place(&self) -> (Address, Address) {
        (self.owner.address, self.now.asset)
    }

    /// The blocks between the two. None if there is no earlier balance, or no block between.
    fn blocks(&self) -> Option<RangeInclusive<u64>> {
        let first = self.before?.block.0 + 1;
        (first <= self.now.block.0).then_some(first..=self.now.block.0)
    }
}

/// What was found so far.
#[derive(Default)]
struct Findings {
    addresses: u64,
    credits: u64,
    begun: u64,
    differences: Vec<Difference>,
}

impl Flows {
    /// Compares a network with the ledger if that was done longer than `every` ago, and stores what it came to. Returns it if it was
    /// done now.
    ///
    /// # Errors
    /// The network or the database could not be reached, or the lease was lost; then nothing is stored but how far it came.
    pub async fn reconcile_if_due(
        &self,
        lease: &Lease,
        chain: &Arc<dyn Chain>,
        every: TimeDelta,
    ) -> Result<Option<Reconciliation>, Unavailable> {
        let network = &chain.profile().network;
        let last = self.ledger.last_reconciliation(network).await?;
        if let Some(last) = &last {
            self.metrics.reconciled(network, last.differences, last.finished_at);
        }
        let due = last.is_none_or(|last| last.begun_at + every <= self.clock.now());
        let readable = chain.is_prepared() && chain.observes_transfers();
        let cursor = self.ledger.cursor(network).await?.filter(|cursor| cursor.halted.is_none());
        let Some(cursor) = cursor.filter(|_| due && readable) else { return Ok(None) };
        self.reconcile(lease, chain, cursor.heights.head).await.map(Some)
    }

    /// Compares a network with the ledger now, and stores what it came to. `None` if transfers are not recorded there, it is halted, or
    /// nothing of it was read yet.
    ///
    /// # Errors
    /// See [`Flows::reconcile_if_due`].
    pub async fn reconcile_now(&self, lease: &Lease, chain: &Arc<dyn Chain>) -> Result<Option<Reconciliation>, Unavailable> {
        let cursor = self.ledger.cursor(&chain.profile().network).await?.filter(|cursor| cursor.halted.is_none());
        let Some(cursor) = cursor.filter(|_| chain.observes_transfers()) else { return Ok(None) };
        self.reconcile(lease, chain, cursor.heights.head).await.map(Some)
    }

    async fn reconcile(&self, lease: &Lease, chain: &Arc<dyn Chain>, head: u64) -> Result<Reconciliation, Unavailable> {
        let network = &chain.profile().network;
        let done = self.compare_all(lease, chain, head).await?;
        self.metrics.reconciled(network, done.differences, done.finished_at);
        for difference in done.report.as_array().into_iter().flatten() {
            tracing::error!(%network, %difference, "network and ledger differ");
        }
        Ok(done)
    }

    async fn compare_all(&self, lease: &Lease, chain: &Arc<dyn Chain>, head: u64) -> Result<Reconciliation, Unavailable> {
        let network = &chain.profile().network;
        let begun_at = self.clock.now();
        let (mut found, mut after) = (Findings::default(), None);
        loop {
            let page = self.ledger.compared_addresses(network, after, ADDRESSES_AT_ONCE).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            found.addresses += page.len() as u64;
            self.compare(lease, chain, &page, &mut found).await?;
        }
        let done = Reconciliation {
            id: ReconciliationId::new(),
            network: network.clone(),
            begun_at,
            finished_at: self.clock.now(),
            block: head,
            addresses: found.addresses,
            credits: found.credits,
            begun: found.begun,
            differences: found.differences.len() as u64,
            report: found.differences.iter().take(TOLD_MAX).map(|difference| json!(ToldDifference::from(difference))).collect(),
        };
        let mut db = self.ledger.begin().await?;
        leases::require(&mut db, lease).await?;
        reconciliations::insert(&mut db, &done).await?;
        commit(db).await?;
        Ok(done)
    }

    /// Compares some addresses. Those that differ in anything are looked at once more, with newer balances: a block may have been
    /// replaced meanwhile, or a node have lagged.
    async fn compare(
        &self,
        lease: &Lease,
        chain: &Arc<dyn Chain>,
        page: &[Compared],
        found: &mut Findings,
    ) -> Result<(), Unavailable> {
        let (mut right, mut wrong) = self.look(chain, page, found).await?;
        if !wrong.is_empty() {
            let doubtful: Vec<_> =
                page.iter().filter(|owner| wrong.iter().any(|found| found.address == owner.address)).cloned().collect();
            right.retain(|(id, _)| doubtful.iter().all(|owner| owner.id != *id));
            let (again, still_wrong) = self.look(chain, &doubtful, &mut Findings::default()).await?;
            right.extend(again);
            wrong = still_wrong;
        }
        found.differences.append(&mut wrong);
        let mut db = self.ledger.begin().await?;
        leases::require(&mut db, lease).await?;
        reconciliations::keep_bases(&mut db, &right).await?;
        commit(db).await?;
        Ok(())
    }

    /// Looks at some addresses. Returns the balances from which the next look goes on, because everything up to them is right, and
    /// what is not. What is wrong is compared from the same balance again the next time, until somebody has mended it.
    async fn look(
        &self,
        chain: &Arc<dyn Chain>,
        owners: &[Compared],
        found: &mut Findings,
    ) -> Result<(Vec<(AddressId, Basis)>, Vec<Difference>), Unavailable> {
        let readings = self.readings(chain, owners).await?;
        let mut groups: BTreeMap<(u64, u64), Vec<&Reading<'_>>> = BTreeMap::new();
        for reading in &readings {
            match reading.blocks() {
                Some(blocks) => groups.entry(blocks.into_inner()).or_default().push(reading),
                None => found.begun += u64::from(reading.before.is_none()),
            }
        }
        let mut wrong = Vec::new();
        for ((first, last), group) in groups {
            wrong.extend(self.compare_blocks(chain, first..=last, &group, found).await?);
        }
        let is_right = |reading: &&Reading<'_>| wrong.iter().all(|found| (found.address, found.asset) != reading.place());
        let is_next = |reading: &&Reading<'_>| reading.before.is_none() || reading.blocks().is_some();
        let right =
            readings.iter().filter(is_next).filter(is_right).map(|reading| (reading.owner.id, reading.now.clone())).collect();
        Ok((right, wrong))
    }

    /// Compares what happened to some balances between two blocks.
    async fn compare_blocks(
        &self,
        chain: &Arc<dyn Chain>,
        blocks: RangeInclusive<u64>,
        group: &[&Reading<'_>],
        found: &mut Findings,
    ) -> Result<Vec<Difference>, Unavailable> {
        let network = &chain.profile().network;
        let mut addresses: Vec<_> = group.iter().map(|reading| reading.owner.address).collect();
        addresses.dedup();
        let is_ours = |place: (Address, Address)| group.iter().any(|reading| reading.place() == place);
        let mut movements: Vec<Movement> = chain.movements(&addresses, blocks.clone()).await?;
        movements.retain(|movement| is_ours((movement.address, movement.asset)));
        let mut kept = self.ledger.received(network, &addresses, blocks.into_inner()).await?;
        kept.retain(|kept| is_ours((kept.address, kept.asset)));
        found.credits += kept.len() as u64;

        let mut wrong = Vec::new();
        for difference in compare_credits(&movements, &kept) {
            if difference.kind == DifferenceKind::Missing || !self.is_founded(chain, &difference).await? {
                wrong.push(difference);
            }
        }
        wrong.extend(
            group
                .iter()
                .filter_map(|reading| compare_balance(reading.place(), reading.before?.amount, reading.now.amount, &movements)),
        );
        Ok(wrong)
    }

    /// Whether the network shows a credit after all, if it is asked for the transaction by its name.
    async fn is_founded(&self, chain: &Arc<dyn Chain>, difference: &Difference) -> Result<bool, Unavailable> {
        let Some(transaction) = &difference.transaction else { return Ok(false) };
        let Some(landed) = chain.transfers_of(transaction).await? else { return Ok(false) };
        let own = |to, asset| (to, asset) == (difference.address, difference.asset);
        let credits = landed.transfers.iter().filter(|transfer| !landed.failed && own(transfer.to, transfer.asset));
        let sum = credits.filter_map(|transfer| transfer.amount).map(Amount::units).fold(0, u128::saturating_add);
        Ok(sum >= difference.ledger.units())
    }

    /// What addresses hold of each token.
    async fn readings<'a>(&self, chain: &Arc<dyn Chain>, owners: &'a [Compared]) -> Result<Vec<Reading<'a>>, Unavailable> {
        let network = &chain.profile().network;
        let kept = self.ledger.canonical_blocks(network).await?;
        let Some(newest) = kept.first() else { return Err(Unavailable::Behind(network.clone())) };
        let settled = kept.get(BELOW_HEAD).or(kept.last()).unwrap_or(newest);
        let mut places: Vec<(&Compared, Address)> = Vec::new();
        for owner in owners {
            places.extend(chain.profile().assets.iter().map(|asset| (owner, asset.address)));
        }
        let mut held = Vec::with_capacity(places.len());
        for part in places.chunks(BALANCES_AT_ONCE) {
            held.extend(try_join_all(part.iter().map(|place| holding(chain, *place, newest, settled))).await?);
        }
        let highest = held.iter().map(|(.., height)| *height).max().unwrap_or_default();
        if highest > newest.0 {
            self.read_to(network, highest).await?;
            // Who asks may be another process than the one that has read it.
            chain.head().await?;
        }
        let mut hashes: BTreeMap<u64, Option<BlockHash>> =
            [newest, settled].into_iter().map(|(number, hash)| (*number, Some(hash.clone()))).collect();
        let mut readings = Vec::new();
        for (owner, before, asset, amount, height) in held {
            for height in before.map(|basis| basis.block.0).into_iter().chain([height]) {
                if let Entry::Vacant(unknown) = hashes.entry(height) {
                    unknown.insert(chain.block(height).await?.map(|block| block.hash));
                }
            }
            let Some(hash) = hashes[&height].clone() else { return Err(Unavailable::NodeLags(network.clone())) };
            // A balance in a block that was replaced says nothing.
            let before = before.filter(|basis| hashes[&basis.block.0].as_ref() == Some(&basis.block.1));
            readings.push(Reading { owner, before, now: Basis { asset, block: (height, hash), amount } });
        }
        Ok(readings)
    }

    /// Waits until the watcher has come to a block.
    async fn read_to(&self, network: &Network, number: u64) -> Result<(), Unavailable> {
        let until = Instant::now() + READ_WITHIN;
        while self.ledger.cursor(network).await?.is_none_or(|cursor| cursor.heights.head < number) {
            if Instant::now() >= until {
                return Err(Unavailable::Behind(network.clone()));
            }
            tokio::time::sleep(READ_POLL).await;
        }
        Ok(())
    }
}

/// What an address holds of a token, at which height, with what it held before.
async fn holding<'a>(
    chain: &Arc<dyn Chain>,
    (owner, asset): (&'a Compared, Address),
    newest: &(u64, BlockHash),
    settled: &(u64, BlockHash),
) -> Result<(&'a Compared, Option<&'a Basis>, Address, Amount, u64), Unavailable> {
    let before = owner.bases.iter().find(|basis| basis.asset == asset);
    // What came to an address before it was registered is not in the ledger, but everything behind the newest block is.
    let (number, hash) = if before.is_some() { settled } else { newest };
    let (amount, height) = chain.holding(asset, owner.address, (*number, hash)).await?;
    Ok((owner, before, asset, amount, height))
}

/// A difference as it is stored and told.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Difference")]
pub struct ToldDifference {
    #[schemars(with = "DifferenceKind")]
    kind: &'static str,
    #[schemars(with = "Address")]
    address: String,
    #[schemars(with = "Address")]
    asset: String,
    /// The transaction, unless it is the balance that is wrong.
    #[schemars(with = "Option<Transaction>")]
    transaction: Option<String>,
    /// What the network says.
    #[schemars(with = "Amount")]
    network: String,
    /// What follows from the ledger.
    #[schemars(with = "Amount")]
    ledger: String,
}

impl From<&Difference> for ToldDifference {
    fn from(difference: &Difference) -> Self {
        let Difference { kind, address, asset, ref transaction, network, ledger } = *difference;
        Self {
            kind: kind.as_str(),
            address: address.to_string(),
            asset: asset.to_string(),
            transaction: transaction.clone(),
            network: network.to_string(),
            ledger: ledger.to_string(),
        }
    }
}
