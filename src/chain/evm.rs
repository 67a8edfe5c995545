//! EVM networks: Base and every other chain that speaks Ethereum's JSON-RPC. Which one is configuration only.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use alloy::consensus::SignableTransaction;
use alloy::primitives::{Address as EvmAddress, B256, Bytes, U64, U256};
use alloy::rpc::types::{TransactionInput, TransactionRequest};
use alloy::sol_types::{SolCall, SolEvent};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use self::abi::{GasPriceOracle, SimulatedCall, Token};
use self::exact::verdict::NO_CODE;
use self::exact::{Authorization, evm};
use self::fees::{BlockPrice, PriceBoard, Prices, SlowPrices};
use self::heads::Heads;
use self::observe::{Header, LogEntry};
use self::rpc::{CallError, NodeFailure, Nodes};
use self::simulate::Simulator;
use super::{
    Broadcast, BuildError, Chain, ChainError, Head, Observed, Profile, Recheck, Rejection, SignerProfile, SignerState, SlotOrder,
    VerifiedPayment, VerifyError,
};
use crate::config::{CostLimits, Finality, NetworkConfig};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::asset::Asset;
use crate::domain::block::{Block, BlockHash};
use crate::domain::payment::{PaymentRequest, SCHEME_EXACT};
use crate::domain::reason::{Reason, Refusal};
use crate::domain::submission::SignedAttempt;
use crate::domain::transfer::AuthorizationUse;
use crate::domain::verification::{ExaminedPayment, Sendable};
use crate::keys::{NamedSigner, SettlementSigner};
use crate::metrics::Metrics;
use crate::x402::exact_evm::Eip3009Payload;

mod abi;
mod build;
pub mod exact;
mod fees;
mod heads;
mod observe;
mod rpc;
mod simulate;

/// How long the network's word on what is safe and final is believed. It moves by minutes.
const LEVELS_LAST: Duration = Duration::from_secs(10);

/// Headers kept between the reading of a block and the reading of its logs.
const HEADERS_KEPT: usize = 32;

/// Blocks in one search for an authorization's use; public nodes refuse much longer ranges.
const LOOKUP_BLOCKS: u64 = 1_000;

/// So often a block's logs are asked for again if the block's filter promises some and every node has none.
const DOUBTS_MAX: u32 = 3;

/// What the OP stack's oracle is asked for: the price of this many bytes.
const DATA_SAMPLE_BYTES: u64 = 1_024;

/// One EVM network.
pub struct EvmChain {
    profile: Profile,
    chain_id: u64,
    nodes: Arc<Nodes>,
    heads: Heads,
    simulator: Simulator,
    tokens: Vec<TokenEntry>,
    signers: BTreeMap<String, Arc<dyn SettlementSigner>>,
    signer_addresses: Vec<Address>,
    factories: Vec<EvmAddress>,
    multicall: EvmAddress,
    l1_fee_oracle: Option<EvmAddress>,
    cost: CostLimits,
    finality: Finality,
    agree_above: Option<String>,
    validity_slack: TimeDelta,
    tip_min: u128,
    prices: PriceBoard,
    pricing: tokio::sync::Mutex<()>,
    levels: Mutex<Option<(u64, u64, Instant)>>,
    headers: Mutex<VecDeque<Header>>,
    /// The block whose logs were doubted last, and how often.
    doubted: Mutex<(BlockHash, u32)>,
    prepared: AtomicBool,
    batches: AtomicBool,
}

struct TokenEntry {
    asset: Asset,
    separator: B256,
}

impl EvmChain {
    /// Puts an adapter together. Nothing is sent before [`Chain::prepare`].
    ///
    /// # Errors
    /// A chain id or node address that cannot be one.
    pub fn new(
        config: &NetworkConfig,
        signers: Vec<NamedSigner>,
        client: &reqwest::Client,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ChainError> {
        let nodes = Arc::new(Nodes::new(config, client, Arc::clone(&metrics))?);
        let chain_id = nodes.chain_id();
        let addresses: Vec<_> = signers.iter().map(|(_, signer)| Address::Evm(signer.address())).collect();
        let profile = Profile {
            network: config.network.clone(),
            assets: config.assets.clone(),
            signers: signers
                .iter()
                .map(|(name, signer)| SignerProfile { name: name.clone(), address: Address::Evm(signer.address()).to_string() })
                .collect(),
        };
        let tokens = config
            .assets
            .iter()
            .map(|asset| TokenEntry { separator: exact::signature::separator(asset, chain_id), asset: asset.clone() })
            .collect();
        let from = addresses.first().map_or(EvmAddress::ZERO, |address| evm(*address));
        Ok(Self {
            profile,
            chain_id,
            simulator: Simulator::start(config.network.clone(), from, Arc::clone(&nodes), metrics),
            nodes,
            heads: Heads::new(config.network.clone(), config.ws.clone()),
            tokens,
            signers: signers.into_iter().collect(),
            signer_addresses: addresses,
            factories: config.factories.iter().copied().map(evm).collect(),
            multicall: evm(config.multicall),
            l1_fee_oracle: config.l1_fee_oracle.map(evm),
            cost: config.cost,
            finality: config.finality,
            agree_above: config.agree_above.clone(),
            validity_slack: config.validity_slack,
            tip_min: config.priority_fee_min_wei,
            prices: PriceBoard::default(),
            pricing: tokio::sync::Mutex::new(()),
            levels: Mutex::new(None),
            headers: Mutex::default(),
            doubted: Mutex::default(),
            prepared: AtomicBool::new(false),
            batches: AtomicBool::new(false),
        })
    }

    fn token(&self, asset: Address) -> Result<&TokenEntry, Refusal> {
        self.tokens
            .iter()
            .find(|token| token.asset.address == asset)
            .ok_or_else(|| Refusal::because(Reason::UnsupportedAsset, format!("{asset} is not accepted here")))
    }

    fn token_addresses(&self) -> Vec<EvmAddress> {
        self.tokens.iter().map(|token| evm(token.asset.address)).collect()
    }

    fn authorization(&self, asset: Address, payload: &serde_json::Value) -> Result<Authorization, Refusal> {
        let token = self.token(asset)?;
        Authorization::new(asset, token.separator, Eip3009Payload::parse(payload)?)
    }

    async fn simulate(&self, payment: &Authorization) -> Result<simulate::Outcome, ChainError> {
        // A factory that is not allowed is not called, not even in a simulation; the verdict then depends on the payer's code.
        let allowed = payment.deployment.as_ref().is_some_and(|deployment| self.factories.contains(&deployment.factory));
        let (target, data) = build::single(self.multicall, payment, allowed);
        self.simulator
            .simulate(SimulatedCall {
                token: payment.token,
                payer: evm(payment.message.from),
                nonce: payment.message.nonce.into(),
                gasCap: U256::from(simulate::GAS_CAP),
                target,
                data,
            })
            .await
    }

    async fn code_at(&self, address: EvmAddress) -> Result<Bytes, ChainError> {
        self.nodes.read("eth_getCode", (address, "latest")).await
    }

    async fn view<C: SolCall>(&self, to: EvmAddress, call: C, block: &str) -> Result<C::Return, ChainError> {
        let request = TransactionRequest::default().to(to).input(TransactionInput::new(call.abi_encode().into()));
        let answer: Bytes = self.nodes.read("eth_call", (request, block)).await?;
        C::abi_decode_returns(&answer).map_err(|_| self.implausible(format!("{} answered something else", C::SIGNATURE)))
    }

    fn implausible(&self, what: String) -> ChainError {
        ChainError::Implausible { network: self.profile.network.clone(), what }
    }

    fn misconfigured(&self, what: String) -> ChainError {
        ChainError::Misconfigured { network: self.profile.network.clone(), what }
    }

    async fn header(&self, tag: &str) -> Result<Option<Header>, ChainError> {
        self.nodes.find("eth_getBlockByNumber", (tag, false)).await
    }

    fn note_price(&self, header: &Header) {
        let base_fee = header.base_fee_per_gas.map_or(0, |fee| fee.saturating_to());
        self.prices.note_block(BlockPrice { number: header.number.to(), base_fee, read_at: Instant::now() });
    }

    async fn prices(&self) -> Result<Prices, ChainError> {
        if let Some(prices) = self.prices.fresh(Instant::now()) {
            return Ok(prices);
        }
        // One caller reads, the others wait for what it learns.
        let _one = self.pricing.lock().await;
        if let Some(prices) = self.prices.fresh(Instant::now()) {
            return Ok(prices);
        }
        let header = self.header("latest").await?.ok_or_else(|| self.implausible("there is no newest block".to_owned()))?;
        self.note_price(&header);
        let tip = self.tip().await?;
        let data_kilobyte = self.data_price().await?;
        self.prices.note_slow(SlowPrices { tip, data_kilobyte, read_at: Instant::now() });
        self.prices.fresh(Instant::now()).ok_or_else(|| self.implausible("there are no prices".to_owned()))
    }

    async fn tip(&self) -> Result<u128, ChainError> {
        match self.nodes.call::<_, U256>("eth_maxPriorityFeePerGas", ()).await {
            Ok(tip) => Ok(self.tip_min.max(tip.saturating_to())),
            // Some networks have no such method and no tips.
            Err(CallError::Complaint(_)) => Ok(self.tip_min),
            Err(error) => Err(self.nodes.unavailable("eth_maxPriorityFeePerGas", error)),
        }
    }

    async fn data_price(&self) -> Result<u128, ChainError> {
        let Some(oracle) = self.l1_fee_oracle else { return Ok(0) };
        let call = GasPriceOracle::getL1FeeUpperBoundCall { unsignedTxSize: U256::from(DATA_SAMPLE_BYTES) };
        self.view(oracle, call, "latest").await.map(|price| price.saturating_to())
    }

    async fn levels(&self, head: u64) -> Result<(u64, u64), ChainError> {
        if let Finality::Confirmations(confirmations) = self.finality {
            let deep = (head + 1).saturating_sub(confirmations.max(1));
            return Ok((deep, deep));
        }
        let known = *self.lock_levels();
        if let Some((safe, finalized, _)) = known.filter(|(.., read_at)| read_at.elapsed() < LEVELS_LAST) {
            return Ok((safe.min(head), finalized.min(head)));
        }
        let number = |header: Option<Header>| header.map_or(0, |header| header.number.to::<u64>());
        let finalized = number(self.header("finalized").await?).min(head);
        let safe = number(self.header("safe").await?).clamp(finalized, head);
        *self.lock_levels() = Some((safe, finalized, Instant::now()));
        Ok((safe, finalized))
    }

    fn lock_levels(&self) -> std::sync::MutexGuard<'_, Option<(u64, u64, Instant)>> {
        self.levels.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn logs(&self, node: usize, block_hash: &str) -> Result<Vec<LogEntry>, CallError> {
        let filter = json!({"blockHash": block_hash, "address": self.token_addresses(), "topics": [observe::topics()]});
        self.nodes.call_node(node, "eth_getLogs", (filter,)).await
    }

    /// A block's uses from the first node that finds any, with its index; a node that finds none is believed only if the block's
    /// own filter agrees or every node says the same, and says it repeatedly. Nodes are known to answer an empty list for a block
    /// whose logs they have not indexed yet.
    async fn uses_in(&self, block: &Block, header: &Header) -> Result<(Vec<AuthorizationUse>, usize), ChainError> {
        let doubtful = header.logs_bloom.is_some() && header.may_hold_uses(&self.token_addresses());
        let first = self.nodes.preferred();
        let (mut found, mut failure, mut any_logs) = (None, None, false);
        for offset in 0..self.nodes.len() {
            let node = (first + offset) % self.nodes.len();
            match self.logs(node, &block.hash).await {
                Ok(logs) => {
                    let uses = self.read_uses(block, &logs)?;
                    if !uses.is_empty() || !doubtful {
                        return Ok((uses, node));
                    }
                    any_logs |= !logs.is_empty();
                    found = Some((uses, node));
                }
                Err(error) => failure = Some(error),
            }
        }
        match (found, failure) {
            (Some(_), _) if !any_logs && self.doubts(block) => {
                Err(self.implausible(format!("block {} should have logs, but no node has any", block.number)))
            }
            (Some(found), _) => Ok(found),
            (None, Some(error)) => Err(self.nodes.unavailable("eth_getLogs", error)),
            (None, None) => Ok((Vec::new(), first)),
        }
    }

    /// What one node has at a block's height, with the logs of that block.
    async fn seen_by(&self, node: usize, block: &Block) -> Result<Option<(Block, Vec<LogEntry>)>, CallError> {
        let header: Option<Header> = self.nodes.call_node(node, "eth_getBlockByNumber", (tag(block.number), false)).await?;
        let Some(seen) = header.and_then(|header| header.block()) else { return Ok(None) };
        let logs = if seen == *block { self.logs(node, &block.hash).await? } else { Vec::new() };
        Ok(Some((seen, logs)))
    }

    /// Whether to ask again for the logs of a block whose filter promises some. It may be wrong, so the doubt ends.
    fn doubts(&self, block: &Block) -> bool {
        let mut doubted = self.doubted.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if doubted.0 != block.hash {
            *doubted = (block.hash.clone(), 0);
        }
        doubted.1 += 1;
        doubted.1 <= DOUBTS_MAX
    }

    async fn header_of(&self, block: &Block) -> Result<Header, ChainError> {
        let remembered = self.lock_headers().iter().find(|header| header.is(block)).cloned();
        if let Some(header) = remembered {
            return Ok(header);
        }
        let header: Option<Header> = self.nodes.find("eth_getBlockByHash", (&block.hash, false)).await?;
        header.filter(|header| header.is(block)).ok_or_else(|| self.implausible(format!("block {} is gone", block.hash)))
    }

    /// Keeps a header, because its block is looked into next.
    fn remember(&self, header: Header) {
        let mut headers = self.lock_headers();
        headers.truncate(HEADERS_KEPT - 1);
        headers.push_front(header);
    }

    fn lock_headers(&self) -> std::sync::MutexGuard<'_, VecDeque<Header>> {
        self.headers.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn read_uses(&self, block: &Block, logs: &[LogEntry]) -> Result<Vec<AuthorizationUse>, ChainError> {
        observe::uses(&self.token_addresses(), &block.hash, logs)
            .ok_or_else(|| self.implausible(format!("the logs of block {} are not that block's", block.number)))
    }

    fn signer_named(&self, name: &str) -> Result<&Arc<dyn SettlementSigner>, ChainError> {
        self.signers.get(name).ok_or_else(|| self.misconfigured(format!("there is no signer {name}")))
    }

    async fn send_to(&self, node: usize, raw: &[u8]) -> Broadcast {
        match self.nodes.call_node::<_, B256>(node, "eth_sendRawTransaction", (Bytes::copy_from_slice(raw),)).await {
            Ok(_) => Broadcast::Accepted,
            Err(CallError::Complaint(complaint)) => classify(&complaint.message),
            Err(CallError::Unavailable(_)) => Broadcast::Unknown,
        }
    }
}

/// Nodes have no codes for this, only words, and each its own.
fn classify(message: &str) -> Broadcast {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    if says(&["already known", "already imported", "known transaction", "alreadyexists", "already exists"]) {
        Broadcast::AlreadyKnown
    } else if says(&["nonce too low", "nonce is too low", "old nonce", "invalid nonce"]) {
        Broadcast::Rejected(Rejection::NonceTooLow)
    } else if says(&["underpriced", "fee too low", "max fee per gas less than", "gas price too low"]) {
        Broadcast::Rejected(Rejection::Underpriced)
    } else if says(&["insufficient funds", "insufficient balance"]) {
        Broadcast::Rejected(Rejection::SignerShort)
    } else if says(&["pool is full", "txpool is full", "limit exceeded", "too many pending", "in-flight transaction limit"]) {
        Broadcast::Rejected(Rejection::PoolFull)
    } else {
        Broadcast::Rejected(Rejection::Other)
    }
}

fn tag(number: u64) -> String {
    format!("{number:#x}")
}

#[async_trait]
impl Chain for EvmChain {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn prepare(&self) -> Result<(), ChainError> {
        // What the token says is compared with our table before its node is believed, here and whenever a node was away.
        for token in self.token_addresses() {
            self.view(token, Token::DOMAIN_SEPARATORCall {}, "latest").await?;
        }
        let batches = !self.code_at(self.multicall).await?.is_empty();
        if !batches {
            tracing::warn!(network = %self.profile.network, "there is no Multicall3 here, so every payment goes alone");
        }
        self.batches.store(batches, Ordering::Relaxed);
        self.prices().await?;
        self.prepared.store(true, Ordering::Release);
        Ok(())
    }

    fn is_prepared(&self) -> bool {
        self.prepared.load(Ordering::Acquire)
    }

    fn batches(&self) -> bool {
        self.batches.load(Ordering::Relaxed)
    }

    fn examine(&self, request: PaymentRequest) -> Result<ExaminedPayment, Refusal> {
        if request.scheme != SCHEME_EXACT {
            return Err(Reason::UnsupportedScheme.into());
        }
        let token = self.token(request.asset)?;
        exact::terms::check_agreement(&request, &token.asset)?;
        let message = Eip3009Payload::parse(&request.payload)?;
        exact::terms::check_recipient(&request, message.from, &self.signer_addresses)?;
        exact::authorization::check(&request, &message)?;
        let payload = message.to_json();
        let payment = Authorization::new(request.asset, token.separator, message)?;
        Ok(ExaminedPayment {
            key: payment.key(),
            payer: payment.message.from,
            valid_after: exact::window::time(payment.message.valid_after),
            expires_at: exact::window::time(payment.message.valid_before),
            payload,
            request,
        })
    }

    fn check_window(&self, payment: &ExaminedPayment, now: DateTime<Utc>) -> Result<(), Refusal> {
        let longest = TimeDelta::seconds(payment.request.timeout_seconds.into()) + self.validity_slack;
        exact::window::check(payment.valid_after, payment.expires_at, longest, now)
    }

    async fn verify(&self, payment: ExaminedPayment) -> Result<VerifiedPayment, VerifyError> {
        let authorization = self.authorization(payment.request.asset, &payment.payload)?;
        let outcome = self.simulate(&authorization).await?;
        let checked = exact::verdict::judge(&authorization, &outcome, &self.factories)?;
        Ok(VerifiedPayment::new(payment, checked))
    }

    async fn price(&self, payment: &VerifiedPayment) -> Result<u128, VerifyError> {
        let authorization = self.authorization(payment.examined().request.asset, &payment.examined().payload)?;
        let (_, data) = build::single(self.multicall, &authorization, payment.checked().payer_code == NO_CODE);
        let gas = build::gas_expected(&data, &[payment.checked().gas]);
        let cost = self.prices().await?.expected(gas, data.len());
        if cost > self.cost.payment_wei_max {
            return Err(Refusal::from(Reason::CostExceedsLimit).into());
        }
        Ok(cost)
    }

    async fn recheck(&self, payment: &Sendable) -> Result<Recheck, ChainError> {
        let Ok(authorization) = self.authorization(payment.asset, &payment.payload) else {
            return Ok(Recheck::Refused(Reason::InvalidPayload.into()));
        };
        let outcome = self.simulate(&authorization).await?;
        Ok(match exact::verdict::judge(&authorization, &outcome, &self.factories) {
            Ok(checked) => Recheck::Good(checked),
            // The payment passed in a later state, so this node only lags behind the one that said so.
            Err(_) if outcome.block < payment.checked.block => {
                return Err(self.implausible(format!("block {} is older than what was known already", outcome.block)));
            }
            Err(refusal) if refusal.reason == Reason::NonceAlreadyUsed => Recheck::Used,
            Err(refusal) => Recheck::Refused(refusal),
        })
    }

    async fn balance(&self, asset: Address, payer: Address, block: u64) -> Result<Amount, ChainError> {
        let balance = self.view(evm(asset), Token::balanceOfCall { account: evm(payer) }, &tag(block)).await?;
        Ok(Amount::new(balance.saturating_to()))
    }

    async fn build(&self, order: SlotOrder<'_>, payments: &[Sendable]) -> Result<SignedAttempt, BuildError> {
        let signer = self.signer_named(order.signer)?;
        let ready = payments
            .iter()
            .map(|payment| {
                let authorization =
                    self.authorization(payment.asset, &payment.payload).map_err(|_| BuildError::Unreadable(payment.id))?;
                Ok((authorization, payment.checked.clone()))
            })
            .collect::<Result<Vec<_>, BuildError>>()?;
        let call =
            if ready.is_empty() { build::Call::nothing(signer.address().into()) } else { build::call(self.multicall, &ready) };
        let prices = self.prices().await?;
        let allowed = self.cost.payment_wei_max.saturating_mul(ready.len().max(1) as u128);
        let offer = prices.offer(order.outbid);
        let fees = fees::cap(&prices, offer, call.gas_limit, call.data.len(), allowed).ok_or(BuildError::TooDear)?;
        if order.outbid.is_some() && fees != offer {
            return Err(BuildError::CannotOutbid);
        }
        let cost_max = prices.most(fees, call.gas_limit, call.data.len());
        let cost_expected = prices.expected(call.gas_expected, call.data.len());
        let gas_limit = call.gas_limit;
        let unsigned = build::transaction(self.chain_id, order.nonce, fees, call);
        let signature = signer.sign(unsigned.signature_hash()).await.map_err(|source| ChainError::Signer {
            network: self.profile.network.clone(),
            signer: order.signer.to_owned(),
            source,
        })?;
        let (transaction, raw) = build::encode(unsigned, signature);
        Ok(SignedAttempt { transaction, raw, fees, gas_limit, cost_max, cost_expected })
    }

    async fn broadcast(&self, raw: &[u8]) -> Broadcast {
        let first = self.nodes.preferred();
        let mut answer = Broadcast::Unknown;
        for offset in 0..self.nodes.len() {
            let sent = self.send_to((first + offset) % self.nodes.len(), raw).await;
            match sent {
                Broadcast::Accepted | Broadcast::AlreadyKnown => return sent,
                // One node's refusal does not undo another's silence.
                Broadcast::Rejected(_) if offset > 0 && matches!(answer, Broadcast::Unknown) => {}
                other => answer = other,
            }
        }
        answer
    }

    async fn signer(&self, name: &str) -> Result<SignerState, ChainError> {
        let address = EvmAddress::from(self.signer_named(name)?.address());
        let nonce: U64 = self.nodes.read("eth_getTransactionCount", (address, "latest")).await?;
        let balance: U256 = self.nodes.read("eth_getBalance", (address, "latest")).await?;
        Ok(SignerState { nonce: nonce.to(), balance: balance.saturating_to() })
    }

    async fn nonce_at(&self, name: &str, block: u64) -> Result<u64, ChainError> {
        let address = EvmAddress::from(self.signer_named(name)?.address());
        let nonce: U64 = self.nodes.read("eth_getTransactionCount", (address, tag(block))).await?;
        Ok(nonce.to())
    }

    async fn head_announced(&self) {
        self.heads.announced().await;
    }

    fn announces_heads(&self) -> bool {
        self.heads.is_subscribed()
    }

    async fn head(&self) -> Result<Head, ChainError> {
        let header = self.header("latest").await?.ok_or_else(|| self.implausible("there is no newest block".to_owned()))?;
        self.note_price(&header);
        let block = header.block().ok_or_else(|| self.implausible("the newest block is not sealed".to_owned()))?;
        let (safe, finalized) = self.levels(block.number).await?;
        self.remember(header);
        Ok(Head { block, safe, finalized })
    }

    async fn block(&self, number: u64) -> Result<Option<Block>, ChainError> {
        let Some(header) = self.header(&tag(number)).await? else { return Ok(None) };
        let block = header.block().ok_or_else(|| self.implausible(format!("block {number} is not sealed")))?;
        self.remember(header);
        Ok(Some(block))
    }

    async fn observe(&self, block: &Block) -> Result<Observed, ChainError> {
        let header = self.header_of(block).await?;
        let transactions = header.transactions.iter().map(B256::to_string).collect();
        let (uses, node) = if header.transactions.is_empty() {
            (Vec::new(), self.nodes.preferred())
        } else {
            self.uses_in(block, &header).await?
        };
        Ok(Observed { block: block.clone(), uses, transactions, node })
    }

    async fn agrees(&self, observed: &Observed) -> Result<bool, ChainError> {
        let mut last = CallError::Unavailable(NodeFailure::Broken);
        for offset in 1..self.nodes.len() {
            let other = (observed.node + offset) % self.nodes.len();
            match self.seen_by(other, &observed.block).await {
                Ok(Some((block, logs))) => {
                    return Ok(block == observed.block && self.read_uses(&block, &logs)? == observed.uses);
                }
                // It has not come so far, which says nothing.
                Ok(None) => {}
                Err(error) => last = error,
            }
        }
        Err(self.nodes.unavailable("eth_getLogs", last))
    }

    fn agree_above(&self, asset: Address) -> Option<Amount> {
        let decimals = self.profile.asset(asset)?.decimals;
        Amount::from_decimal(self.agree_above.as_deref()?, decimals).ok()
    }

    async fn lookup(&self, payment: &Sendable, from: u64, to: u64) -> Result<Option<Observed>, ChainError> {
        let Ok(authorization) = self.authorization(payment.asset, &payment.payload) else { return Ok(None) };
        let events = [Token::AuthorizationUsed::SIGNATURE_HASH, Token::AuthorizationCanceled::SIGNATURE_HASH];
        let payer = evm(authorization.message.from).into_word();
        let nonce = B256::from(authorization.message.nonce);
        let mut start = from;
        while start <= to {
            let end = to.min(start.saturating_add(LOOKUP_BLOCKS - 1));
            let filter = json!({
                "fromBlock": tag(start), "toBlock": tag(end), "address": authorization.token, "topics": [events, payer, nonce],
            });
            let logs: Vec<LogEntry> = self.nodes.read("eth_getLogs", (filter,)).await?;
            if let Some(number) = logs.first().and_then(|log| log.block_number) {
                let Some(block) = self.block(number.to()).await? else { return Ok(None) };
                return self.observe(&block).await.map(Some);
            }
            start = end + 1;
        }
        Ok(None)
    }
}
