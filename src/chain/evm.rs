//! EVM networks: Base and every other chain that speaks Ethereum's JSON-RPC. Which one is configuration only.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use alloy::consensus::SignableTransaction;
use alloy::primitives::{Address as EvmAddress, B256, Bytes, Signature, U64, U256, keccak256};
use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use self::abi::{GasPriceOracle, Token};
use self::blocks::Blocks;
use self::exact::verdict::NO_CODE;
use self::exact::{Authorization, evm};
use self::fees::{BlockPrice, PriceBoard, Prices, SlowPrices};
use self::heads::Heads;
use self::observe::Header;
use self::outcome::Outcome;
use self::permit2::{EXACT_PROXY, Permit, Proxy, UPTO_PROXY};
use self::rpc::Nodes;
use self::signed::Signed;
use self::simulate::{Question, Simulator};
use super::address::{Payable, Proof};
use super::nodes::CallError;
use super::{
    Anchor, Broadcast, BuildError, Chain, ChainError, Head, Landed, Nonces, Observed, Outcomes, Profile, Recheck, SIGNING_PROBE,
    SignerProfile, SlotOrder, VerifiedPayment, VerifyError, Wanted, Watched,
};
use crate::config::{CostLimits, EvmConfig, NetworkConfig};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::asset::Asset;
use crate::domain::attribution::Own;
use crate::domain::block::{Block, BlockHash};
use crate::domain::network::Extras;
use crate::domain::payment::{Payment, PaymentRequest, SCHEME_EXACT, SCHEME_UPTO};
use crate::domain::reason::{Reason, Refusal, Version};
use crate::domain::reconciliation::Movement;
use crate::domain::submission::{Place, SignedAttempt};
use crate::domain::verification::{Checked, ExaminedPayment, Purpose, Sendable};
use crate::keys::{KeyError, NamedSigner};
use crate::metrics::Metrics;
use crate::x402::builder_code;
use crate::x402::exact_evm::Eip3009Payload;
use crate::x402::permit2::{Permit2Payload, TokenPermit};

mod abi;
mod attribution;
mod blocks;
mod broadcast;
mod build;
pub mod exact;
mod fees;
mod heads;
mod movements;
pub mod observe;
pub mod outcome;
mod payable;
pub mod permit2;
mod proof;
mod receipt;
mod rpc;
mod signed;
mod simulate;

/// What the OP stack's oracle is asked for: the price of this many bytes.
const DATA_SAMPLE_BYTES: u64 = 1_024;

/// A simulation is as good as a new one for so many blocks.
const CHECK_LASTS_BLOCKS: u64 = 1;

/// One EVM network.
pub struct EvmChain {
    profile: Profile,
    chain_id: u64,
    nodes: Arc<Nodes>,
    blocks: Blocks,
    heads: Heads,
    simulator: Simulator,
    tokens: Vec<TokenEntry>,
    signers: BTreeMap<String, NamedSigner>,
    signer_addresses: Vec<Address>,
    factories: Vec<EvmAddress>,
    multicall: EvmAddress,
    l1_fee_oracle: Option<EvmAddress>,
    cost: CostLimits,
    agree_above: Option<String>,
    validity_slack: TimeDelta,
    tip_min: u128,
    prices: PriceBoard,
    pricing: tokio::sync::Mutex<()>,
    prepared: AtomicBool,
    batches: AtomicBool,
    permit2_separator: B256,
    own_codes: Own,
    /// Whether the proxies were seen, that of `exact` and that of `upto`.
    exact_proxy: AtomicBool,
    upto_proxy: AtomicBool,
}

struct TokenEntry {
    asset: Asset,
    separator: B256,
}

/// What the chain said about a payment.
struct Look {
    verdict: Result<Checked, Refusal>,
    /// In the state of which block.
    block: u64,
    /// What the payer holds, if that was wanted and the token said.
    balance: Option<Amount>,
}

impl EvmChain {
    /// Puts an adapter together. Nothing is sent before [`Chain::prepare`].
    ///
    /// # Errors
    /// A chain id or node address that cannot be one.
    pub fn new(
        config: &NetworkConfig,
        family: &EvmConfig,
        signers: Vec<NamedSigner>,
        client: &reqwest::Client,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ChainError> {
        let nodes = Arc::new(Nodes::new(config, client, Arc::clone(&metrics))?);
        let chain_id = nodes.chain_id();
        let addresses: Vec<_> = signers.iter().map(|signer| Address::Evm(signer.address)).collect();
        let profile = Profile {
            network: config.network.clone(),
            assets: config.assets.clone(),
            signers: signers
                .iter()
                .map(|signer| SignerProfile { name: signer.name.clone(), address: Address::Evm(signer.address).to_string() })
                .collect(),
        };
        let tokens = config
            .assets
            .iter()
            .filter_map(|asset| {
                Some(TokenEntry { separator: exact::signature::separator(asset, chain_id)?, asset: asset.clone() })
            })
            .collect();
        let token_addresses = config.assets.iter().map(|asset| evm(asset.address)).collect();
        let from = addresses.first().map_or(EvmAddress::ZERO, |address| evm(*address));
        Ok(Self {
            profile,
            chain_id,
            blocks: Blocks::new(Arc::clone(&nodes), token_addresses, family.finality),
            simulator: Simulator::start(config.network.clone(), from, Arc::clone(&nodes), metrics),
            nodes,
            heads: Heads::new(config.network.clone(), family.ws.clone()),
            tokens,
            signers: signers.into_iter().map(|signer| (signer.name.clone(), signer)).collect(),
            signer_addresses: addresses,
            factories: family.factories.iter().copied().map(evm).collect(),
            multicall: evm(family.multicall),
            l1_fee_oracle: family.l1_fee_oracle.map(evm),
            cost: config.cost,
            agree_above: config.agree_above.clone(),
            validity_slack: family.validity_slack,
            tip_min: family.priority_fee_min_wei,
            prices: PriceBoard::default(),
            pricing: tokio::sync::Mutex::new(()),
            prepared: AtomicBool::new(false),
            batches: AtomicBool::new(false),
            permit2_separator: permit2::signature::separator(chain_id),
            own_codes: family.own_codes.clone(),
            exact_proxy: AtomicBool::new(false),
            upto_proxy: AtomicBool::new(false),
        })
    }

    fn token(&self, asset: Address) -> Result<&TokenEntry, Refusal> {
        self.tokens
            .iter()
            .find(|token| token.asset.address == asset)
            .ok_or_else(|| Refusal::because(Reason::UnsupportedAsset, format!("{asset} is not accepted here")))
    }

    /// What is stored of a payment, with who signed it.
    fn signed(&self, asset: Address, payload: &Value, amount: Amount) -> Result<Signed, Refusal> {
        let token = self.token(asset)?;
        Ok(if Permit2Payload::is_in(payload) {
            Signed::Permit(Box::new(Permit::read_back(payload, amount)?.examined(self.permit2_separator, token.separator)))
        } else {
            Signed::Authorization(Box::new(Authorization::new(asset, token.separator, Eip3009Payload::parse(payload)?)?))
        })
    }

    fn signed_for(&self, payment: &Sendable) -> Result<Signed, Refusal> {
        self.signed(payment.asset, &payment.payload, payment.amount)
    }

    /// The rules for what was signed for Permit2.
    fn examine_permit(&self, request: PaymentRequest, purpose: Purpose) -> Result<ExaminedPayment, Refusal> {
        if request.version == Version::V1 {
            return Err(Refusal::because(Reason::UnsupportedPayloadType, "version 1 has no payloads for Permit2"));
        }
        let message = Permit2Payload::parse(&request.payload)?;
        exact::terms::check_recipient(&request, message.from, &self.signer_addresses)?;
        let sponsoring = request.gas_sponsoring.as_ref().map(TokenPermit::read).transpose()?.flatten();
        let permit = Permit::of(message, request.amount, sponsoring);
        permit2::terms::check(&request, &permit, purpose, &self.signer_addresses)?;
        if let Some(sponsoring) = &permit.sponsoring {
            permit2::sponsoring::check(sponsoring, &permit.message)?;
        }
        let mut payload = permit.message.to_json(permit.sponsoring.as_ref());
        builder_code::store(&mut payload, &request.named);
        Ok(ExaminedPayment {
            key: permit.key(),
            payer: permit.message.from,
            valid_after: exact::window::time(permit.message.valid_after),
            expires_at: exact::window::time(permit.message.deadline),
            signer: permit.message.facilitator,
            waivable: true,
            payload,
            request,
        })
    }

    /// Whether the network has a proxy. One that is there stays there.
    async fn has_proxy(&self, proxy: EvmAddress) -> Result<bool, ChainError> {
        let seen = if proxy == EXACT_PROXY { &self.exact_proxy } else { &self.upto_proxy };
        if !seen.load(Ordering::Relaxed) {
            seen.store(!self.code_at(proxy).await?.is_empty(), Ordering::Relaxed);
        }
        Ok(seen.load(Ordering::Relaxed))
    }

    /// Asks the chain about what was signed. A refusal comes with the block in whose state it was refused.
    async fn look(&self, signed: &Signed, look_anyway: bool) -> Result<Look, ChainError> {
        match signed {
            Signed::Authorization(authorization) => {
                let outcome = self.simulate(authorization, look_anyway).await?;
                let balance = outcome.balance.map(|balance| Amount::new(balance.saturating_to()));
                let verdict = exact::verdict::judge(authorization, &outcome, &self.factories);
                Ok(Look { verdict, block: outcome.block, balance })
            }
            Signed::Permit(permit) => {
                let newest = self.blocks.newest().await?;
                if !self.has_proxy(permit.proxy.address()).await? {
                    let verdict = Err(Reason::Permit2ProxyMissing.into());
                    return Ok(Look { verdict, block: newest.number.to(), balance: None });
                }
                let outcome = permit2::simulation::simulate(&self.nodes, &newest, self.sender_of(permit), permit).await?;
                Ok(Look { verdict: permit2::verdict::judge(permit, &outcome), block: outcome.block, balance: None })
            }
        }
    }

    /// What stands behind the data of a transaction with this payment.
    fn suffix(&self, payload: &Value) -> Vec<u8> {
        attribution::suffix(&builder_code::read_back(payload), &self.own_codes)
    }

    /// Which of our signers sends it: any, unless the payer has named one.
    fn sender_of(&self, permit: &Permit) -> EvmAddress {
        match permit.proxy {
            Proxy::Exact => self.signer_addresses.first().map_or(EvmAddress::ZERO, |address| evm(*address)),
            Proxy::Upto(facilitator) => facilitator,
        }
    }

    async fn simulate(&self, payment: &Authorization, look_anyway: bool) -> Result<Outcome, ChainError> {
        // A factory that is not allowed is not called, not even in a simulation; the verdict then depends on the payer's code.
        let allowed = payment.deployment.as_ref().is_some_and(|deployment| self.factories.contains(&deployment.factory));
        let (target, data) = build::single(self.multicall, payment, allowed);
        self.simulator
            .simulate(Question {
                token: payment.token,
                payer: evm(payment.message.from),
                nonce: payment.message.nonce.into(),
                target,
                data,
                look_anyway,
            })
            .await
    }

    async fn code_at(&self, address: EvmAddress) -> Result<Bytes, ChainError> {
        self.nodes.read("eth_getCode", (address, "latest")).await
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
        self.note_price(&self.blocks.newest().await?);
        let tip = self.tip().await?;
        let data_kilobyte = self.data_price().await?;
        self.prices.note_slow(SlowPrices { tip, data_kilobyte, read_at: Instant::now() });
        self.prices.fresh(Instant::now()).ok_or_else(|| self.nodes.implausible("there are no prices".to_owned()))
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
        self.nodes.view(oracle, call, "latest".into()).await.map(|price| price.saturating_to())
    }

    fn signer_named(&self, name: &str) -> Result<&NamedSigner, ChainError> {
        self.signers.get(name).ok_or_else(|| self.nodes.misconfigured(format!("there is no signer {name}")))
    }

    async fn sign(&self, name: &str, hash: B256) -> Result<Signature, ChainError> {
        let failed =
            |source: KeyError| ChainError::Signer { network: self.profile.network.clone(), signer: name.to_owned(), source };
        self.signer_named(name)?.sign(hash).await.map_err(failed)
    }
}

#[async_trait]
impl Nonces for EvmChain {
    async fn newest(&self, signer: &str) -> Result<u64, ChainError> {
        let address = EvmAddress::from(self.signer_named(signer)?.address);
        let nonce: U64 = self.nodes.read("eth_getTransactionCount", (address, "latest")).await?;
        Ok(nonce.to())
    }

    async fn at(&self, signer: &str, block: &BlockHash) -> Result<u64, ChainError> {
        let address = EvmAddress::from(self.signer_named(signer)?.address);
        let nonce: U64 = self.nodes.read("eth_getTransactionCount", (address, state_of(block))).await?;
        Ok(nonce.to())
    }
}

/// Names a state by its block's hash, so that a node on another branch says nothing instead of something else (EIP-1898).
fn state_of(block: &BlockHash) -> Value {
    json!({"blockHash": block, "requireCanonical": true})
}

#[async_trait]
impl Chain for EvmChain {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn prepare(&self) -> Result<(), ChainError> {
        // What the token says is compared with our table before its node is believed, here and whenever a node was away.
        for token in &self.tokens {
            self.nodes.view(evm(token.asset.address), Token::DOMAIN_SEPARATORCall {}, "latest".into()).await?;
        }
        self.blocks.check_levels().await?;
        let batches = !self.code_at(self.multicall).await?.is_empty();
        if !batches {
            tracing::warn!(network = %self.profile.network, "there is no Multicall3 here, so every payment goes alone");
        }
        self.batches.store(batches, Ordering::Relaxed);
        for proxy in [EXACT_PROXY, UPTO_PROXY] {
            self.has_proxy(proxy).await?;
        }
        self.prices().await?;
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
        let seen = |proxy: &AtomicBool| proxy.load(Ordering::Relaxed);
        Extras { upto: seen(&self.upto_proxy), gas_sponsoring: seen(&self.exact_proxy), attribution: true }
    }

    fn batches(&self) -> bool {
        self.batches.load(Ordering::Relaxed)
    }

    /// All that stand in a transaction are attributed to those whom its end names.
    fn may_share(&self, one: &Sendable, other: &Sendable) -> bool {
        builder_code::read_back(&one.payload) == builder_code::read_back(&other.payload)
    }

    fn check_lasts(&self) -> u64 {
        CHECK_LASTS_BLOCKS
    }

    fn claimed_payer(&self, request: &PaymentRequest) -> Option<Address> {
        if Permit2Payload::is_in(&request.payload) {
            Permit2Payload::parse(&request.payload).ok().map(|payload| payload.from)
        } else {
            Eip3009Payload::parse(&request.payload).ok().map(|payload| payload.from)
        }
    }

    fn examine(&self, request: PaymentRequest, purpose: Purpose, _now: DateTime<Utc>) -> Result<ExaminedPayment, Refusal> {
        if ![SCHEME_EXACT, SCHEME_UPTO].contains(&request.scheme.as_str()) {
            return Err(Reason::UnsupportedScheme.into());
        }
        let token = self.token(request.asset)?;
        if Permit2Payload::is_in(&request.payload) {
            return self.examine_permit(request, purpose);
        }
        if request.scheme == SCHEME_UPTO {
            return Err(Refusal::because(Reason::UnsupportedPayloadType, "scheme upto takes payloads for Permit2"));
        }
        exact::terms::check_agreement(&request, &token.asset)?;
        let message = Eip3009Payload::parse(&request.payload)?;
        exact::terms::check_recipient(&request, message.from, &self.signer_addresses)?;
        exact::authorization::check(&request, &message)?;
        let mut payload = message.to_json();
        builder_code::store(&mut payload, &request.named);
        // Who signed it matters only together with the payer's code, so that is found out when the chain is asked.
        let payment = Authorization::read(request.asset, message)?;
        Ok(ExaminedPayment {
            key: payment.key(),
            payer: payment.message.from,
            valid_after: exact::window::time(payment.message.valid_after),
            expires_at: exact::window::time(payment.message.valid_before),
            signer: None,
            waivable: false,
            payload,
            request,
        })
    }

    fn anchor(&self, _: &ExaminedPayment) -> Option<Anchor> {
        None
    }

    fn check_window(&self, payment: &ExaminedPayment, now: DateTime<Utc>) -> Result<(), Refusal> {
        let longest = TimeDelta::seconds(payment.request.timeout_seconds.into()) + self.validity_slack;
        let in_time = exact::window::check(payment.valid_after, payment.expires_at, longest, now);
        if !Permit2Payload::is_in(&payment.payload) {
            return in_time;
        }
        in_time.map_err(permit2::terms::in_its_words)?;
        match TokenPermit::read_back(&payment.payload)? {
            Some(sponsoring) => permit2::sponsoring::check_deadline(&sponsoring, now),
            None => Ok(()),
        }
    }

    async fn verify(&self, payment: Arc<ExaminedPayment>, wanted: Wanted) -> Result<VerifiedPayment, VerifyError> {
        let read = self.signed(payment.request.asset, &payment.payload, payment.request.amount);
        // It was read before, and therefore can be read again.
        let signed = read.map_err(|refusal| self.nodes.misconfigured(format!("an examined payment: {refusal}")))?;
        let signed = signed.into_question();
        let Look { verdict, block, balance } = self.look(&signed, wanted == Wanted::Balance).await?;
        match verdict {
            Ok(checked) => {
                let (_, data) = signed.call(self.multicall, checked.payer_code == NO_CODE);
                let bytes = data.len() + self.suffix(&payment.payload).len();
                Ok(VerifiedPayment::new(payment, checked, balance, bytes))
            }
            Err(refusal) => Err(VerifyError::Refused { refusal, block }),
        }
    }

    async fn price(&self, payment: &VerifiedPayment) -> Result<u128, ChainError> {
        let gas = build::gas_expected(payment.bytes(), &[payment.checked().gas]);
        Ok(self.prices().await?.expected(gas, payment.bytes()))
    }

    async fn recheck(&self, payment: &Sendable) -> Result<Recheck, ChainError> {
        // It was accepted, so this is no verdict: the token may be configured again.
        if self.token(payment.asset).is_err() {
            return Err(self.nodes.misconfigured(format!("{} is not configured, and payments wait for it", payment.asset)));
        }
        // Stored by an older version, or damaged. No later block mends that.
        let signed = match self.signed_for(payment) {
            Ok(signed) => signed,
            Err(refusal) => return Ok(Recheck::Refused { refusal, block: u64::MAX }),
        };
        let Look { verdict, block, .. } = self.look(&signed, false).await?;
        Ok(verdict.map_or_else(|refusal| Recheck::Refused { refusal, block }, Recheck::Good))
    }

    fn failure(&self, payment: &Sendable) -> Reason {
        self.signed_for(payment).map_or(Reason::TransactionFailed, |signed| signed.failure())
    }

    async fn is_used(&self, payment: &Sendable) -> Result<Option<bool>, ChainError> {
        // Stored by an older version with other assets, or its token is not configured now, and may be again.
        let Ok(signed) = self.signed_for(payment) else { return Ok(None) };
        let newest = self.blocks.newest().await?;
        let Some(block) = newest.block() else { return Ok(None) };
        let (state, time) = (state_of(&block.hash), newest.timestamp.to::<u64>());
        let (used, over) = match &signed {
            Signed::Authorization(authorization) => {
                let (authorizer, nonce) = (evm(authorization.message.from), authorization.message.nonce.into());
                let call = Token::authorizationStateCall { authorizer, nonce };
                let used = self.nodes.view(authorization.token, call, state).await?;
                // No later block can use it (EIP-3009: a block's time must be before `validBefore`).
                (used, time >= authorization.message.valid_before)
            }
            Signed::Permit(permit) => (self.blocks.is_nonce_used(permit, state).await?, time > permit.message.deadline),
        };
        Ok((used || over).then_some(used))
    }

    async fn balance(
        &self,
        asset: Address,
        payer: Address,
        (number, hash): (u64, &BlockHash),
    ) -> Result<(Amount, u64), ChainError> {
        let balance = self.nodes.view(evm(asset), Token::balanceOfCall { account: evm(payer) }, state_of(hash)).await?;
        Ok((Amount::new(balance.saturating_to()), number))
    }

    async fn build(&self, order: SlotOrder<'_>, payments: &[Sendable]) -> Result<SignedAttempt, BuildError> {
        let sender = self.signer_named(order.signer)?;
        let ready = payments
            .iter()
            .map(|payment| {
                self.token(payment.asset).map_err(|_| BuildError::UnknownToken(payment.id))?;
                let signed = self.signed_for(payment).map_err(|_| BuildError::Unreadable(payment.id))?;
                Ok((signed, payment.checked.clone()))
            })
            .collect::<Result<Vec<_>, BuildError>>()?;
        let call = match payments.first() {
            Some(first) => build::call(self.multicall, &ready, &self.suffix(&first.payload)),
            None => build::Call::nothing(sender.address.into()),
        };
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
        let Place::Nonce(nonce) = *order.place else {
            return Err(self.nodes.misconfigured("a slot without a nonce".to_owned()).into());
        };
        let unsigned = build::transaction(self.chain_id, nonce, fees, call);
        let signature = self.sign(order.signer, unsigned.signature_hash()).await?;
        let (transaction, raw) = build::encode(unsigned, signature);
        Ok(SignedAttempt { transaction, raw, fees, gas_limit, cost_max, cost_expected })
    }

    async fn broadcast(&self, raw: &[u8]) -> Broadcast {
        broadcast::broadcast(&self.nodes, raw).await
    }

    async fn check_signer(&self, name: &str) -> Result<(), ChainError> {
        self.sign(name, keccak256(SIGNING_PROBE)).await.map(drop)
    }

    async fn signer_balance(&self, name: &str) -> Result<u128, ChainError> {
        let address = EvmAddress::from(self.signer_named(name)?.address);
        let balance: U256 = self.nodes.read("eth_getBalance", (address, "latest")).await?;
        Ok(balance.saturating_to())
    }

    fn nonces(&self) -> Option<&dyn Nonces> {
        Some(self)
    }

    /// An authorization ends by the clock, and a nonce that was used for it is used up by something else then.
    fn lands_until(&self, _accepted: u64) -> Option<u64> {
        None
    }

    async fn head_announced(&self) {
        self.heads.announced().await;
    }

    fn announces_heads(&self) -> bool {
        self.heads.is_subscribed()
    }

    /// Every block is searched.
    fn note_under_way(&self, _payments: usize) {}

    async fn head(&self) -> Result<Head, ChainError> {
        let newest = self.blocks.newest().await?;
        self.note_price(&newest);
        self.blocks.head(newest).await
    }

    async fn block(&self, number: u64) -> Result<Option<Block>, ChainError> {
        self.blocks.block(number).await
    }

    async fn observe(&self, block: &Block) -> Result<Observed, ChainError> {
        self.blocks.observe(block).await
    }

    /// The logs of the tokens are those of everybody.
    fn addresses_wanted(&self) -> u32 {
        0
    }

    async fn observe_range(
        &self,
        heights: RangeInclusive<u64>,
        head: &Block,
        _watched: &Watched,
    ) -> Result<Vec<Observed>, ChainError> {
        let blocks = self.blocks.range(heights, head).await?;
        self.blocks.observe_range(&blocks).await
    }

    /// Every block is searched.
    async fn outcomes(&self, _sent: &[Payment], _thorough: Option<u64>) -> Result<Outcomes, ChainError> {
        Ok(Outcomes::default())
    }

    async fn agrees(&self, observed: &Observed) -> Result<bool, ChainError> {
        self.blocks.agrees(observed).await
    }

    fn agree_above(&self, asset: Address) -> Option<Amount> {
        let decimals = self.profile.asset(asset)?.decimals;
        Amount::from_decimal(self.agree_above.as_deref()?, decimals).ok()
    }

    async fn verify_message(&self, address: Address, text: &str, signature: &str) -> Result<Proof, ChainError> {
        proof::verify(&self.simulator, address, text, signature).await
    }

    fn is_signature(&self, text: &str) -> bool {
        proof::read(text).is_some()
    }

    fn observes_transfers(&self) -> bool {
        true
    }

    async fn holding(&self, asset: Address, address: Address, block: (u64, &BlockHash)) -> Result<(Amount, u64), ChainError> {
        self.balance(asset, address, block).await
    }

    async fn movements(&self, addresses: &[Address], heights: RangeInclusive<u64>) -> Result<Vec<Movement>, ChainError> {
        let tokens: Vec<_> = self.profile.assets.iter().map(|asset| evm(asset.address)).collect();
        movements::movements(&self.nodes, &tokens, addresses, heights).await
    }

    async fn transfers_of(&self, transaction: &str) -> Result<Option<Landed>, ChainError> {
        let tokens: Vec<_> = self.profile.assets.iter().map(|asset| evm(asset.address)).collect();
        receipt::landed(&self.nodes, &tokens, transaction).await
    }

    async fn check_payable(&self, address: Address) -> Result<Payable, ChainError> {
        let tokens: Vec<_> = self.profile.assets.iter().map(|asset| asset.address).collect();
        Ok(payable::check(address, &tokens, &self.signer_addresses).map_or_else(Payable::No, |()| Payable::Yes))
    }

    async fn lookup(
        &self,
        payment: &Sendable,
        blocks: RangeInclusive<u64>,
        taken: &[(BlockHash, u32)],
    ) -> Result<Option<Observed>, ChainError> {
        match self.signed_for(payment) {
            Ok(Signed::Authorization(authorization)) => self.blocks.lookup(&authorization, *blocks.start(), *blocks.end()).await,
            Ok(Signed::Permit(permit)) => self.blocks.lookup_nonce(&permit, blocks, taken).await,
            Err(_) => Ok(None),
        }
    }
}
