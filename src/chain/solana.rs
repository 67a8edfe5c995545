//! Solana: a payment is one transaction of the payer's, for which we pay the fee.
//!
//! A message is a slot of its own: it lands once, only as it is, and within 150 blocks. Blocks are not searched for payments; the
//! cluster is asked for the transactions by their names. They are searched for transfers to registered addresses. Heights, not slots,
//! are what everything outside of this folder counts in. See docs/adr/0019-solana.md and docs/adr/0032-watching.md.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use futures_util::stream::{FuturesUnordered, StreamExt};
use serde_json::{Value, json};
use solana_client::rpc_request::RpcRequest;

use self::accounts::accounts;
use self::blocks::{Blocks, SLOTS_SKIPPED_MAX};
use self::exact::Authorization;
use self::exact::compute::Limits;
use self::histories::Histories;
use self::memory::Memory;
use self::message::{Key, SignedTransaction, Transaction};
use self::rpc::{Nodes, Stated, confirmed};
use self::statuses::{Effort, Sent};
use self::watching::{Foresight, Way};
use super::address::{Payable, Proof};
use super::nodes::{CallError, Complaint, NodeFailure};
use super::{
    Anchor, Broadcast, BuildError, Chain, ChainError, Head, LAG_MAX, Landed, Nonces, Observed, Outcomes, Profile, Recheck,
    Rejection, SIGNING_PROBE, SignerProfile, SlotOrder, VerifiedPayment, VerifyError, Wanted, Watched,
};
use crate::config::{NetworkConfig, SolanaConfig, Watch};
use crate::domain::address::{Address, encode_base58};
use crate::domain::amount::Amount;
use crate::domain::asset::Asset;
use crate::domain::block::{Block, BlockHash};
use crate::domain::network::Extras;
use crate::domain::payment::{Payment, PaymentRequest, SCHEME_EXACT};
use crate::domain::reason::{Reason, Refusal};
use crate::domain::reconciliation::Movement;
use crate::domain::submission::{Fees, SignedAttempt};
use crate::domain::verification::{Checked, ExaminedPayment, Purpose, Sendable};
use crate::keys::{KeyError, NamedMessageSigner};
use crate::metrics::Metrics;

mod accounts;
pub mod associated;
mod blocks;
pub mod credits;
pub mod exact;
mod histories;
mod landed;
mod memory;
pub mod message;
mod movements;
mod payable;
pub mod programs;
mod proof;
mod rpc;
mod sender;
pub mod signature;
mod simulate;
mod statuses;
pub mod tokens;
mod watching;

/// A transaction can be processed until its blockhash is this old (`MAX_PROCESSING_AGE` of Agave).
const BLOCKHASH_LASTS: u64 = 150;

/// So many blocks higher than it was read can the block be in whose state a payment was good. A node shows a state before it serves
/// the block, and then the height is that of the newest block which it does serve, at most [`SLOTS_SKIPPED_MAX`] slots before; and
/// one to spare.
const HEIGHT_ERROR_MAX: u64 = SLOTS_SKIPPED_MAX + 1;

/// A simulation is as good as a new one for so many blocks: five seconds.
const CHECK_LASTS_BLOCKS: u64 = 12;

/// So much longer than the first node to take a transaction the others are waited for, before they get it with the next sending.
const OTHERS_WITHIN: Duration = Duration::from_millis(500);

/// One in so many looks asks a second node for transactions that the first does not know.
const SECOND_GLANCE_EVERY: usize = 8;

/// One in so many looks asks a node, where blocks are read with all of their transactions.
const GLANCE_EVERY: usize = 4;

/// How the ledger writes that a payer runs no code.
const NO_CODE: &str = "none";

/// One cluster.
pub struct SolanaChain {
    profile: Profile,
    nodes: Arc<Nodes>,
    blocks: Blocks,
    signers: BTreeMap<String, NamedMessageSigner>,
    keys: Vec<Key>,
    limits: Limits,
    blocks_left_min: u64,
    watch: Watch,
    histories: Histories,
    foresight: Foresight,
    verified: Memory,
    agree_above: Option<String>,
    prepared: AtomicBool,
    /// How often it was asked what became of transactions.
    looks: AtomicUsize,
}

impl SolanaChain {
    /// Puts an adapter together. Nothing is sent before [`Chain::prepare`].
    #[must_use]
    pub fn new(config: &NetworkConfig, family: SolanaConfig, signers: Vec<NamedMessageSigner>, metrics: Arc<Metrics>) -> Self {
        let nodes = Arc::new(Nodes::new(config, metrics));
        let profile = Profile {
            network: config.network.clone(),
            assets: config.assets.clone(),
            signers: signers
                .iter()
                .map(|signer| SignerProfile { name: signer.name.clone(), address: encode_base58(&signer.address) })
                .collect(),
        };
        let limits = Limits {
            units_max: family.compute_units_max,
            unit_price_max: family.compute_price_max,
            fee_max: u64::try_from(config.cost.payment_wei_max).unwrap_or(u64::MAX),
        };
        let mint = |asset: &Asset| match asset.address {
            Address::Solana(mint) => Some((mint, asset.program()?)),
            Address::Evm(_) => None,
        };
        let mints = config.assets.iter().filter_map(mint).collect();
        Self {
            profile,
            blocks: Blocks::new(Arc::clone(&nodes), mints),
            histories: Histories::new(Arc::clone(&nodes)),
            nodes,
            keys: signers.iter().map(|signer| signer.address).collect(),
            signers: signers.into_iter().map(|signer| (signer.name.clone(), signer)).collect(),
            limits,
            blocks_left_min: family.blocks_left_min,
            watch: family.watch,
            foresight: Foresight::default(),
            verified: Memory::default(),
            agree_above: config.agree_above.clone(),
            prepared: AtomicBool::new(false),
            looks: AtomicUsize::new(0),
        }
    }

    fn asset(&self, address: Address) -> Result<&Asset, Refusal> {
        let refused = || Refusal::because(Reason::UnsupportedAsset, format!("{address} is not accepted here"));
        self.profile.asset(address).ok_or_else(refused)
    }

    fn signer_named(&self, name: &str) -> Result<&NamedMessageSigner, ChainError> {
        self.signers.get(name).ok_or_else(|| self.nodes.misconfigured(format!("there is no signer {name}")))
    }

    /// What an examined payment is. It was read before, and therefore can be read again.
    fn authorization(&self, payload: &Value) -> Result<Authorization, ChainError> {
        Authorization::read(payload).map_err(|refusal| self.nodes.misconfigured(format!("an examined payment: {refusal}")))
    }

    async fn sign_message(&self, name: &str, message: &[u8]) -> Result<[u8; 64], ChainError> {
        let failed =
            |source: KeyError| ChainError::Signer { network: self.profile.network.clone(), signer: name.to_owned(), source };
        self.signer_named(name)?.sign(message).await.map_err(failed)
    }

    async fn sign(&self, name: &str, transaction: &Transaction) -> Result<SignedTransaction, ChainError> {
        let signature = self.sign_message(name, transaction.message()).await?;
        let wrong = |_| self.nodes.misconfigured(format!("{name} is not the fee payer of this transaction"));
        transaction.signed(&signature).map_err(wrong)
    }

    /// Simulates a payment, and says at which height.
    async fn simulate(
        &self,
        payment: &Authorization,
        pay_to: Address,
    ) -> Result<(Result<simulate::Good, Refusal>, u64), ChainError> {
        let outcome = simulate::simulate(&self.nodes, payment, pay_to).await?;
        let height = match &outcome.verdict {
            // A payment that is thought to be accepted later than it was is given up later.
            Ok(_) => self.blocks.height_at_most(outcome.slot).await?,
            // A refusal counts only if its state is not older than what was read.
            Err(_) => self.blocks.height_of(outcome.slot).await?,
        };
        Ok((outcome.verdict, height))
    }

    /// How hard the nodes are asked for what was sent a moment ago, which is done all the time. Where blocks are read in full anyway,
    /// they say most of it.
    fn glance(&self) -> Effort {
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        if look % SECOND_GLANCE_EVERY == SECOND_GLANCE_EVERY - 1 {
            Effort::SecondGlance(look / SECOND_GLANCE_EVERY)
        } else if self.foresight.is_all_wanted() && !look.is_multiple_of(GLANCE_EVERY) {
            Effort::AtHand
        } else {
            Effort::Glance
        }
    }

    /// A block with every transfer in it, which takes megabytes to read.
    ///
    /// # Errors
    /// The nodes do not show the block, or not in full.
    pub async fn observe_whole(&self, block: &Block) -> Result<Observed, ChainError> {
        let contents = self.blocks.whole(block.number).await?;
        if contents.block != *block {
            return Err(self.nodes.implausible(format!("block {} is gone", block.hash)));
        }
        Ok(contents.observed())
    }

    /// Blocks of which nothing is wanted but that they are there.
    async fn observe_bare(&self, heights: RangeInclusive<u64>) -> Result<Vec<Observed>, ChainError> {
        let node = self.nodes.order().next().unwrap_or_default();
        let bare = |block| Observed {
            block,
            uses: Vec::new(),
            transfers: Vec::new(),
            upgraded: Vec::new(),
            transactions: Vec::new(),
            node,
        };
        Ok(self.blocks.range(heights).await?.into_iter().map(bare).collect())
    }

    /// Of these blocks, only those are read that hold a transaction in the history of an account of these addresses.
    async fn observe_histories(
        &self,
        heights: RangeInclusive<u64>,
        head: &Block,
        watched: &[Address],
    ) -> Result<Vec<Observed>, ChainError> {
        let mut observed = self.observe_bare(heights.clone()).await?;
        let slots = self.slot_below_head(*heights.start()).await?..=self.slot_below_head(*heights.end()).await?;
        let newest = (self.slot_below_head(head.number).await?, head);
        let accounts = watching::accounts(watched, &self.profile.assets);
        for (slot, names) in self.histories.between(&self.blocks, &accounts, slots, newest).await? {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let contents = self.blocks.holding(slot, &names).await?.filter(|contents| contents.holds(names.iter().copied()));
            let place = contents.as_ref().and_then(|contents| observed.iter().position(|bare| bare.block == contents.block));
            let (Some(contents), Some(place)) = (contents, place) else {
                self.histories.forget();
                return Err(self.nodes.implausible(format!("slot {slot} does not hold what accounts' histories say")));
            };
            observed[place] = contents.observed();
        }
        Ok(observed)
    }

    async fn slot_below_head(&self, number: u64) -> Result<u64, ChainError> {
        let gone = || self.nodes.implausible(format!("there is no block {number} below the head"));
        self.blocks.slot_of(number).await?.ok_or_else(gone)
    }

    /// Whether a node has the same block with the same transactions, and says the same of what they moved and how they ended.
    async fn seen_by(&self, node: usize, slot: u64, observed: &Observed) -> Result<Option<bool>, ChainError> {
        let Some(contents) = self.blocks.shown_by(node, slot).await? else { return Ok(None) };
        if !contents.confirms(observed) {
            return Ok(Some(false));
        }
        let confirmed = statuses::confirms(&self.nodes, node, observed).await;
        confirmed.map_err(|error| self.nodes.unavailable(RpcRequest::GetSignatureStatuses, error))
    }
}

/// What its blockhash says about its end is the client's word; that it was good once is the cluster's. So whatever lands does so
/// before its blockhash can have ended, even if the height was read too low, or the node said of its state that it was older than it is.
const fn lands_until(accepted: u64) -> u64 {
    accepted.saturating_add(BLOCKHASH_LASTS + HEIGHT_ERROR_MAX + LAG_MAX)
}

/// Every payment goes by itself.
fn checked(good: simulate::Good, block: u64) -> Checked {
    Checked { block, payer_code: NO_CODE.to_owned(), alone: true, gas: good.units.max(1) }
}

#[async_trait]
impl Chain for SolanaChain {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn prepare(&self) -> Result<(), ChainError> {
        let addresses: Vec<_> = self.profile.assets.iter().map(|asset| asset.address).collect();
        for (asset, account) in self.profile.assets.iter().zip(accounts(&self.nodes, &addresses).await?.1) {
            let account = account.as_ref().map(|(owner, data)| (owner, data.as_slice()));
            tokens::check_mint(asset, account)
                .map_err(|error| self.nodes.misconfigured(format!("{} {}: {error}", asset.symbol, asset.address)))?;
        }
        self.blocks.head(false).await?;
        self.prepared.store(true, Ordering::Release);
        Ok(())
    }

    async fn check_nodes(&self) -> Vec<(String, Result<(), CallError>)> {
        self.nodes.check_each().await
    }

    fn is_prepared(&self) -> bool {
        self.prepared.load(Ordering::Acquire)
    }

    fn extras(&self) -> Extras {
        Extras::default()
    }

    fn batches(&self) -> bool {
        false
    }

    /// As long as what was verified is remembered; see `memory`.
    /// Each is a transaction of its own.
    fn may_share(&self, _: &Sendable, _: &Sendable) -> bool {
        false
    }

    fn check_lasts(&self) -> u64 {
        CHECK_LASTS_BLOCKS
    }

    fn claimed_payer(&self, request: &PaymentRequest) -> Option<Address> {
        Authorization::read(&request.payload).ok().map(|payment| Address::Solana(payment.transfer.authority))
    }

    fn examine(&self, request: PaymentRequest, _purpose: Purpose, now: DateTime<Utc>) -> Result<ExaminedPayment, Refusal> {
        if request.scheme != SCHEME_EXACT {
            return Err(Reason::UnsupportedScheme.into());
        }
        let asset = self.asset(request.asset)?;
        exact::examine(request, asset, &self.keys, &self.limits, now)
    }

    /// A blockhash has an age in blocks and none in time; the simulation knows it.
    fn check_window(&self, _payment: &ExaminedPayment, _now: DateTime<Utc>) -> Result<(), Refusal> {
        Ok(())
    }

    fn anchor(&self, payment: &ExaminedPayment) -> Option<Anchor> {
        let authorization = Authorization::read(&payment.payload).ok()?;
        let block = encode_base58(authorization.transaction.recent_blockhash());
        Some(Anchor { block, age_max: BLOCKHASH_LASTS.saturating_sub(self.blocks_left_min) })
    }

    async fn verify(&self, payment: Arc<ExaminedPayment>, wanted: Wanted) -> Result<VerifiedPayment, VerifyError> {
        let authorization = self.authorization(&payment.payload)?;
        let known = match wanted {
            Wanted::Balance => self.verified.take(&payment.key, Instant::now()),
            Wanted::Verdict => None,
        };
        let (verdict, block) = match known {
            Some((good, block)) => (Ok(good), block),
            None => self.simulate(&authorization, payment.request.pay_to).await?,
        };
        match verdict {
            Ok(good) => {
                if wanted == Wanted::Verdict {
                    self.verified.keep(payment.key.clone(), good, block, Instant::now());
                }
                let balance = Some(Amount::new(good.balance.into()));
                let bytes = authorization.transaction.unsigned().len();
                Ok(VerifiedPayment::new(payment, checked(good, block), balance, bytes))
            }
            Err(refusal) => Err(VerifyError::Refused { refusal, block }),
        }
    }

    async fn price(&self, payment: &VerifiedPayment) -> Result<u128, ChainError> {
        Ok(self.authorization(&payment.examined().payload)?.fee().into())
    }

    async fn recheck(&self, payment: &Sendable) -> Result<Recheck, ChainError> {
        // Stored by an older version with other rules, or damaged. No later block mends that.
        let authorization = match Authorization::read(&payment.payload) {
            Ok(authorization) => authorization,
            Err(refusal) => return Ok(Recheck::Refused { refusal, block: u64::MAX }),
        };
        let (verdict, block) = self.simulate(&authorization, payment.pay_to).await?;
        Ok(match verdict {
            Ok(good) => Recheck::Good(checked(good, block)),
            Err(refusal) => Recheck::Refused { refusal, block },
        })
    }

    fn failure(&self, _: &Sendable) -> Reason {
        Reason::SolanaTransactionFailed
    }

    /// Without our signature a message is worth nothing to anybody, and what became of one that we signed is for its slot to say.
    async fn is_used(&self, _: &Sendable) -> Result<Option<bool>, ChainError> {
        Ok(Some(false))
    }

    /// Nodes do not know past states, so it is the newest confirmed one.
    async fn balance(&self, asset: Address, payer: Address, (number, _): (u64, &BlockHash)) -> Result<(Amount, u64), ChainError> {
        let (Address::Solana(mint), Address::Solana(owner)) = (asset, payer) else {
            return Err(self.nodes.misconfigured("an address of another family".to_owned()));
        };
        let program = self.profile.asset(asset).and_then(Asset::program);
        let account = program.and_then(|program| associated::account(&owner, &mint, program));
        let account = account.ok_or_else(|| self.nodes.misconfigured(format!("{asset} is not configured")))?;
        let (slot, found) = accounts(&self.nodes, &[Address::Solana(account)]).await?;
        let height = self.blocks.height_of(slot).await?;
        if height < number {
            return Err(self.nodes.implausible(format!("a state before block {number}")));
        }
        let held = found.into_iter().next().flatten().and_then(|(_, data)| tokens::TokenAccount::read(&data));
        Ok((Amount::new(held.map_or(0, |held| held.amount).into()), height))
    }

    async fn build(&self, order: SlotOrder<'_>, payments: &[Sendable]) -> Result<SignedAttempt, BuildError> {
        let [payment] = payments else {
            return Err(self.nodes.misconfigured("a slot holds one payment".to_owned()).into());
        };
        let authorization = match Authorization::read(&payment.payload) {
            // What is signed must be what was recorded, whatever happened to the row since.
            Ok(authorization) if exact::transfer::makes(&authorization.transfer, payment) => authorization,
            Ok(_) | Err(_) => return Err(BuildError::Unreadable(payment.id)),
        };
        let complete = self.sign(order.signer, &authorization.transaction).await?;
        let fee = u128::from(authorization.fee());
        Ok(SignedAttempt {
            transaction: complete.id,
            raw: complete.wire,
            fees: Fees { fee_per_gas: authorization.budget.unit_price.into(), tip_per_gas: 0 },
            gas_limit: u64::from(authorization.budget.units).max(1),
            cost_max: fee,
            cost_expected: fee,
        })
    }

    /// To every node, because none of them promises to pass it on. Once one has taken it, nobody waits for long for a node that hangs.
    async fn broadcast(&self, raw: &[u8]) -> Broadcast {
        let wire = STANDARD.encode(raw);
        let config = json!({"encoding": "base64", "skipPreflight": true, "preflightCommitment": "confirmed", "maxRetries": 0});
        let sends = self
            .nodes
            .order()
            .map(|node| self.nodes.call_node::<String>(node, RpcRequest::SendTransaction, json!([wire, config])));
        let (mut sends, mut answers) = (sends.collect::<FuturesUnordered<_>>(), Vec::new());
        while let Some(answer) = sends.next().await.map(sent) {
            let taken = matches!(answer, Broadcast::Accepted | Broadcast::AlreadyKnown);
            answers.push(answer);
            if taken {
                break;
            }
        }
        let others = async {
            while let Some(answer) = sends.next().await {
                answers.push(sent(answer));
            }
        };
        // Who has not answered by then is out of the count.
        drop(tokio::time::timeout(OTHERS_WITHIN, others).await);
        let rank = |answer: &Broadcast| match answer {
            Broadcast::Accepted => 3,
            Broadcast::AlreadyKnown => 2,
            // One node's refusal does not undo another's silence.
            Broadcast::Unknown => 1,
            Broadcast::Rejected(_) => 0,
        };
        answers.into_iter().max_by_key(rank).unwrap_or(Broadcast::Unknown)
    }

    async fn check_signer(&self, name: &str) -> Result<(), ChainError> {
        self.sign_message(name, SIGNING_PROBE).await.map(drop)
    }

    async fn signer_balance(&self, name: &str) -> Result<u128, ChainError> {
        let address = encode_base58(&self.signer_named(name)?.address);
        let balance: Stated<u64> = self.nodes.read(RpcRequest::GetBalance, json!([address, confirmed()])).await?;
        Ok(balance.value.into())
    }

    fn nonces(&self) -> Option<&dyn Nonces> {
        None
    }

    fn lands_until(&self, accepted: u64) -> Option<u64> {
        Some(lands_until(accepted))
    }

    async fn head_announced(&self) {
        std::future::pending::<()>().await;
    }

    fn announces_heads(&self) -> bool {
        false
    }

    fn note_under_way(&self, payments: usize) {
        self.foresight.note_under_way(payments);
    }

    async fn head(&self) -> Result<Head, ChainError> {
        self.blocks.head(self.foresight.is_all_wanted()).await
    }

    async fn block(&self, number: u64) -> Result<Option<Block>, ChainError> {
        self.blocks.block(number).await
    }

    /// What was used up is asked for by name; see [`Chain::outcomes`].
    async fn observe(&self, block: &Block) -> Result<Observed, ChainError> {
        self.observe_whole(block).await
    }

    fn addresses_wanted(&self) -> u32 {
        watching::addresses_wanted(self.watch)
    }

    async fn observe_range(
        &self,
        heights: RangeInclusive<u64>,
        head: &Block,
        watched: &Watched,
    ) -> Result<Vec<Observed>, ChainError> {
        let way = watching::way(self.watch, watched);
        let newest = *heights.end() == head.number;
        self.foresight.saw_transfers_wanted(newest && way == Way::Blocks);
        if newest && way == Way::None && self.foresight.is_all_wanted() {
            // Whatever is wrong with them is told when more is wanted of them than that they are there.
            drop(self.blocks.whole_range(heights.clone()).await);
        }
        match way {
            Way::None => self.observe_bare(heights).await,
            Way::Histories(watched) => self.observe_histories(heights, head, watched).await,
            Way::Blocks => Ok(self.blocks.whole_range(heights).await?.into_iter().map(blocks::Contents::observed).collect()),
        }
    }

    async fn outcomes(&self, sent: &[Payment], thorough: Option<u64>) -> Result<Outcomes, ChainError> {
        let (sent, strange): (Vec<_>, Vec<_>) =
            sent.iter().filter_map(Sent::of).partition(|sent| self.profile.asset(sent.asset).is_some());
        let effort = thorough.map_or_else(|| self.glance(), Effort::Thorough);
        let mut outcomes = statuses::outcomes(&self.nodes, &self.blocks, &sent, effort).await?;
        // Blocks are read for the tokens of the configuration, so a transfer of another one would not be found, although it was made. Whoever
        // has been given the token, by a newer configuration or an older one, will see it.
        outcomes.unclear.extend(strange.into_iter().map(|sent| sent.key.clone()));
        Ok(outcomes)
    }

    async fn agrees(&self, observed: &Observed) -> Result<bool, ChainError> {
        let Some(slot) = self.blocks.slot_of(observed.block.number).await? else { return Ok(false) };
        let mut last = self.nodes.unavailable(RpcRequest::GetBlock, CallError::Unavailable(NodeFailure::Broken));
        for node in self.nodes.order().filter(|node| *node != observed.node) {
            match self.seen_by(node, slot, observed).await {
                Ok(Some(same)) => return Ok(same),
                // It has not come so far, which says nothing.
                Ok(None) => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn agree_above(&self, asset: Address) -> Option<Amount> {
        let decimals = self.profile.asset(asset)?.decimals;
        Amount::from_decimal(self.agree_above.as_deref()?, decimals).ok()
    }

    async fn verify_message(&self, address: Address, text: &str, signature: &str) -> Result<Proof, ChainError> {
        Ok(proof::verify(address, text, signature))
    }

    fn is_signature(&self, text: &str) -> bool {
        proof::read(text).is_some()
    }

    fn observes_transfers(&self) -> bool {
        self.watch != Watch::Off
    }

    /// Nodes do not know past states, so it is the newest confirmed one.
    async fn holding(
        &self,
        asset: Address,
        address: Address,
        (number, _): (u64, &BlockHash),
    ) -> Result<(Amount, u64), ChainError> {
        let (amount, slot) = movements::holding(&self.nodes, asset, address).await?;
        let height = self.blocks.height_of(slot).await?;
        if height < number {
            return Err(self.nodes.implausible(format!("a state before block {number}")));
        }
        Ok((amount, height))
    }

    async fn movements(&self, addresses: &[Address], heights: RangeInclusive<u64>) -> Result<Vec<Movement>, ChainError> {
        // Who asks may be another process than the one that reads blocks.
        self.blocks.head(false).await?;
        let slots = self.slot_below_head(*heights.start()).await?..=self.slot_below_head(*heights.end()).await?;
        let mut found = Vec::new();
        for address in addresses {
            found.extend(movements::movements(&self.nodes, self.blocks.mints(), *address, &slots).await?);
        }
        Ok(found)
    }

    async fn transfers_of(&self, transaction: &str) -> Result<Option<Landed>, ChainError> {
        landed::landed(&self.nodes, &self.blocks, transaction).await
    }

    async fn check_payable(&self, address: Address) -> Result<Payable, ChainError> {
        let tokens: Vec<_> = self.profile.assets.iter().map(|asset| asset.address).collect();
        if let Err(why) = payable::check(address, &tokens, &self.keys) {
            return Ok(Payable::No(why));
        }
        let Address::Solana(key) = address else {
            return Err(self.nodes.misconfigured("an address of another family".to_owned()));
        };
        let owner = payable::Owner::new(key, &self.profile.assets);
        let (_, found) = accounts(&self.nodes, &owner.accounts()).await?;
        Ok(owner.judge(&found))
    }

    /// Nobody else can land what our fee payer has not signed, and it signs the same message with the same signature each time
    /// (RFC 8032). So the name is known even if a restored ledger has lost it.
    async fn lookup(
        &self,
        payment: &Sendable,
        blocks: RangeInclusive<u64>,
        _: &[(BlockHash, u32)],
    ) -> Result<Option<Observed>, ChainError> {
        if self.profile.asset(payment.asset).is_none() {
            let what = format!("{} is not configured, which payment {} is made in", payment.asset, payment.id);
            return Err(ChainError::Misconfigured { network: self.profile.network.clone(), what });
        }
        let authorization = self.authorization(&payment.payload)?;
        let fee_payer = authorization.transaction.fee_payer();
        let Some(signer) = self.signers.values().find(|signer| signer.address == *fee_payer) else { return Ok(None) };
        let SignedTransaction { id, .. } = self.sign(&signer.name, &authorization.transaction).await?;
        let Sendable { ref key, asset, payer, pay_to, amount, .. } = *payment;
        let sent = Sent { transaction: &id, key, asset, payer, pay_to, amount };
        let Outcomes { mut observed, unclear } =
            statuses::outcomes(&self.nodes, &self.blocks, &[sent], Effort::Thorough(*blocks.end())).await?;
        if unclear.is_empty() {
            Ok(observed.pop())
        } else {
            Err(self.nodes.implausible(format!("{id} is neither there nor gone")))
        }
    }
}

fn sent(answer: Result<String, CallError>) -> Broadcast {
    match answer {
        Ok(_) => Broadcast::Accepted,
        Err(CallError::Complaint(Complaint { message, .. })) => {
            let message = message.to_ascii_lowercase();
            if message.contains("already been processed") {
                Broadcast::AlreadyKnown
            } else if message.contains("insufficient funds for fee") {
                Broadcast::Rejected(Rejection::SignerShort)
            } else {
                Broadcast::Rejected(Rejection::Other)
            }
        }
        Err(CallError::Unavailable(_)) => Broadcast::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, FamilyConfig, SigningKeys};
    use crate::domain::payment::tests::payment;

    /// A cluster whose one node nobody has, with the token that is usual there.
    const AWAY: &str = r#"
        [[networks]]
        id = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
        rpc = ["http://127.0.0.1:1"]
        signers = [{ name = "solana-1", address = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", key = "env:AWAY" }]
    "#;

    #[tokio::test]
    async fn of_a_payment_in_a_token_that_is_not_configured_nothing_is_said() {
        let config = config::load_text(AWAY, &[].into_iter().collect(), SigningKeys::Unwanted).unwrap();
        let [network] = config.networks.as_slice() else { panic!("one network") };
        let FamilyConfig::Solana(family) = network.family else { panic!("a cluster") };
        let chain = SolanaChain::new(network, family, Vec::new(), Arc::new(Metrics::new(&[])));
        let in_token = |asset| Payment { asset, transaction: Some("4zMM".to_owned()), ..payment() };
        let (strange, usual) = (in_token(Address::Solana([9; 32])), in_token(network.assets[0].address));

        let outcomes = chain.outcomes(std::slice::from_ref(&strange), Some(9)).await.unwrap();

        assert_eq!(outcomes, Outcomes { observed: Vec::new(), unclear: vec![strange.key] });
        assert!(chain.outcomes(&[usual], Some(9)).await.is_err(), "nodes are asked about the others");
    }

    #[test]
    fn nothing_is_given_up_that_could_land_even_if_its_height_was_read_too_low() {
        // The node served the block of 16 slots before, and each slot in between had one; and what it said was as old as is believed.
        let read = 1_000;
        let really = read + SLOTS_SKIPPED_MAX + LAG_MAX;

        assert!(lands_until(read) > really + BLOCKHASH_LASTS);
        assert_eq!(lands_until(u64::MAX), u64::MAX);
    }
}
