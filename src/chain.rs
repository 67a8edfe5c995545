//! What the service needs of a blockchain network, whichever it is.
//!
//! Adapters hold connections and keys but no payment state: everything that must survive a restart is in the ledger. Matching
//! and judging are not theirs either; they report facts.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use self::nodes::CallError;
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::asset::Asset;
use crate::domain::block::{Block, BlockHash};
use crate::domain::ids::PaymentId;
use crate::domain::network::{Extras, Network};
use crate::domain::payment::{AuthorizationKey, Payment, PaymentRequest};
use crate::domain::reason::{Reason, Refusal};
use crate::domain::reconciliation::Movement;
use crate::domain::submission::{Fees, Place, SignedAttempt};
use crate::domain::transfer::{AuthorizationUse, TransactionId, Transfer};
use crate::domain::verification::{Checked, ExaminedPayment, Purpose, Sendable};

pub mod address;
pub mod evm;
mod nodes;
pub mod solana;

use self::address::{Payable, Proof};

/// What signers sign when they are asked whether they would. It is the message of no transaction, and its hash that of none.
const SIGNING_PROBE: &[u8] = b"Quittance asks whether this signer would sign.";

/// What an adapter can do. Constant for the life of the process.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Which network.
    pub network: Network,
    /// The tokens that may be paid with.
    pub assets: Vec<Asset>,
    /// The signers that pay the network's fees, by name and address.
    pub signers: Vec<SignerProfile>,
}

/// One signer of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerProfile {
    /// The operator's name for it, which is also its lane's.
    pub name: String,
    /// Its address as the network prints it.
    pub address: String,
}

impl Profile {
    /// The allowed token at `address`.
    #[must_use]
    pub fn asset(&self, address: Address) -> Option<&Asset> {
        self.assets.iter().find(|asset| asset.address == address)
    }

    /// The signer at `address`.
    #[must_use]
    pub fn signer(&self, address: &str) -> Option<&SignerProfile> {
        self.signers.iter().find(|signer| signer.address == address)
    }

    /// The addresses of all signers.
    #[must_use]
    pub fn signer_addresses(&self) -> Vec<String> {
        self.signers.iter().map(|signer| signer.address.clone()).collect()
    }
}

/// The network could not be read, or gave no answer that may be trusted. It says nothing about any payment.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// No node answered in time.
    #[error("no node of {network} answered {method}")]
    Unavailable {
        /// Which network.
        network: Network,
        /// What was asked.
        method: &'static str,
        /// What the last node did.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Every node serves another chain than the configured one. What stands behind their addresses was exchanged.
    #[error("every node of {network} serves another chain: {what}")]
    WrongChain {
        /// Which network.
        network: Network,
        /// What a node says that it is.
        what: String,
    },
    /// A node answered something that cannot be.
    #[error("a node of {network} gave an impossible answer: {what}")]
    Implausible {
        /// Which network.
        network: Network,
        /// What was wrong with it.
        what: String,
    },
    /// A block cannot be read, and no further question changes that. What is not read could be a payment, so nothing behind it is read
    /// either.
    #[error("{block} of {network} cannot be read: {what}")]
    Unreadable {
        /// Which network.
        network: Network,
        /// Which block, in words.
        block: String,
        /// Why.
        what: String,
    },
    /// The configuration names something that the network does not have.
    #[error("{network}: {what}")]
    Misconfigured {
        /// Which network.
        network: Network,
        /// What is wrong.
        what: String,
    },
    /// The settlement key could not sign.
    #[error("the signer {signer} of {network} could not sign")]
    Signer {
        /// Which network.
        network: Network,
        /// The signer's name.
        signer: String,
        /// Why.
        #[source]
        source: crate::keys::KeyError,
    },
    /// The network would not take the fee from a signer of ours. Whoever sends it money mends that, and the payer cannot.
    #[error("the signer {signer} of {network} cannot pay the fee: {what}")]
    SignerShort {
        /// Which network.
        network: Network,
        /// The signer's address.
        signer: String,
        /// What the network said.
        what: String,
    },
}

/// What can end a verification without a pass.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The payment is not acceptable.
    #[error("{refusal}")]
    Refused {
        /// Why.
        refusal: Refusal,
        /// The block in whose state it is not. A later one may say otherwise.
        block: u64,
    },
    /// No verdict. The payer did nothing wrong, and the same request may pass later.
    #[error("no verdict")]
    Unavailable(#[from] ChainError),
}

/// What is wanted of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Whether the payment is good.
    Verdict,
    /// And what the payer holds, which costs the node a little more.
    Balance,
}

/// A payment that the chain itself agrees to, in the state that it had at `checked.block`.
///
/// It can only come from [`Chain::verify`].
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedPayment {
    examined: Arc<ExaminedPayment>,
    checked: Checked,
    balance: Option<Amount>,
    bytes: usize,
}

impl VerifiedPayment {
    /// Only adapters vouch for a payment.
    pub(in crate::chain) const fn new(
        examined: Arc<ExaminedPayment>,
        checked: Checked,
        balance: Option<Amount>,
        bytes: usize,
    ) -> Self {
        Self { examined, checked, balance, bytes }
    }

    /// What was asked, and what the rules read out of it.
    #[must_use]
    pub fn examined(&self) -> &ExaminedPayment {
        &self.examined
    }

    /// What the chain said.
    #[must_use]
    pub const fn checked(&self) -> &Checked {
        &self.checked
    }

    /// What the payer held at `checked.block`, if that was wanted and the token said.
    #[must_use]
    pub const fn balance(&self) -> Option<Amount> {
        self.balance
    }

    /// How many bytes tell the network to make this payment alone. Some networks charge for them.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The block that a payment was built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// Its hash.
    pub block: BlockHash,
    /// A payment is taken only while no more blocks than this have come after it.
    pub age_max: u64,
}

/// What a second look at a waiting payment found.
#[derive(Debug)]
pub enum Recheck {
    /// Still good, in this state.
    Good(Checked),
    /// It cannot be made in the state of this block.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The block.
        block: u64,
    },
}

/// Which bytes to sign.
#[derive(Debug, Clone, Copy)]
pub struct SlotOrder<'a> {
    /// The signer's name.
    pub signer: &'a str,
    /// The slot.
    pub place: &'a Place,
    /// The fees of the attempt that this one must outbid, if there is one.
    pub outbid: Option<Fees>,
}

/// Why there are no signed bytes.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The network asks for more than the operator allows for these payments.
    #[error("settling would cost more than allowed")]
    TooDear,
    /// The slot cannot be outbid within the operator's limit.
    #[error("the next attempt would cost more than allowed")]
    CannotOutbid,
    /// A stored payload cannot be read back; our own bug or a damaged ledger.
    #[error("the stored payload of {0} is unreadable")]
    Unreadable(PaymentId),
    /// A payment's token is not configured, and may be again. It was accepted, so this says nothing about it.
    #[error("the token of {0} is not configured")]
    UnknownToken(PaymentId),
    /// The network or the key did not answer.
    #[error(transparent)]
    Chain(#[from] ChainError),
}

/// What became of handing bytes to the network. Only the chain itself can say more.
#[derive(Debug)]
pub enum Broadcast {
    /// A node took them.
    Accepted,
    /// A node had them already.
    AlreadyKnown,
    /// Every node that answered refused them.
    Rejected(Rejection),
    /// They may or may not be out there.
    Unknown,
}

/// Why a node refuses signed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The signer's nonce passed this slot.
    NonceTooLow,
    /// The slot holds another transaction that offers about as much.
    Underpriced,
    /// The signer cannot pay.
    SignerShort,
    /// The node's pool is full, or it takes no more of this sender.
    PoolFull,
    /// Something else.
    Other,
}

/// The newest block, and how deep the network says that it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The newest sealed block.
    pub block: Block,
    /// The newest block that the network calls safe.
    pub safe: u64,
    /// The newest block that can no longer be replaced.
    pub finalized: u64,
}

/// What a block says about authorizations, transfers and our own transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// The block.
    pub block: Block,
    /// Every authorization of an allowed token that it used up, whoever sent it.
    pub uses: Vec<AuthorizationUse>,
    /// Every transfer of an allowed token in it, from and to whomever.
    pub transfers: Vec<Transfer>,
    /// Allowed tokens whose code was replaced in it.
    pub upgraded: Vec<Address>,
    /// The transactions in it.
    pub transactions: Vec<TransactionId>,
    /// Which of the network's nodes said what was used, so that another one can be asked whether that is so.
    pub node: usize,
}

/// Whose transfers are looked for in blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Watched {
    /// Everybody's.
    Anybody,
    /// Those to the registered addresses. If they are as many as [`Chain::addresses_wanted`], there may be more than these.
    These(Vec<Address>),
}

/// What became of payments that were sent, as far as the nodes know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcomes {
    /// The blocks that hold the transaction of any of them.
    pub observed: Vec<Observed>,
    /// Those of which there is a trace, and of which no more can be said now. They are not gone.
    pub unclear: Vec<AuthorizationKey>,
}

/// A payment is accepted in a state so many blocks older at most than what was read. Where the height of that state decides when the
/// payment can be given up, one node's word on it is believed no further than this.
pub const LAG_MAX: u64 = 32;

/// What a transaction in a block came to, whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Landed {
    /// The height of the block.
    pub block: u64,
    /// The time of the block.
    pub at: DateTime<Utc>,
    /// Whether the transaction failed. Then it moved nothing.
    pub failed: bool,
    /// Every transfer of an allowed token that it made. Their positions are those in the block only where the network numbers them so.
    pub transfers: Vec<Transfer>,
}

/// The account nonces of a network's signers, where transactions are numbered.
#[async_trait]
pub trait Nonces: Send + Sync {
    /// A signer's next account nonce in the newest sealed block.
    async fn newest(&self, signer: &str) -> Result<u64, ChainError>;

    /// A signer's next account nonce at a block. A node that does not have this very block gives no answer.
    async fn at(&self, signer: &str, block: &BlockHash) -> Result<u64, ChainError>;
}

/// One blockchain network, as far as this service needs it.
#[async_trait]
pub trait Chain: Send + Sync {
    /// What this adapter can do.
    fn profile(&self) -> &Profile;

    /// Checks that the nodes serve the configured chain and that it has the configured tokens, before anything is believed.
    async fn prepare(&self) -> Result<(), ChainError>;

    /// Asks each node by itself whether it serves the configured chain, for people: the nodes' hosts in the order of the configuration,
    /// each with what is wrong with it. Nothing waits for a node that is wrong while another one is right.
    async fn check_nodes(&self) -> Vec<(String, Result<(), CallError>)>;

    /// Whether [`Chain::prepare`] succeeded.
    fn is_prepared(&self) -> bool;

    /// What the network takes beyond payments as their payers send them.
    fn extras(&self) -> Extras;

    /// Whether several payments can go in one transaction.
    fn batches(&self) -> bool;

    /// Whether two payments that may go in one transaction may go in the same one.
    fn may_share(&self, one: &Sendable, other: &Sendable) -> bool;

    /// For how many blocks a payment that was found good need not be looked at again before it is sent.
    fn check_lasts(&self) -> u64;

    /// Who pays, as the request has it before anything of it is checked; for answers only.
    fn claimed_payer(&self, request: &PaymentRequest) -> Option<Address>;

    /// The rules that need no chain, cheap ones first. `now` dates what comes out and decides nothing.
    ///
    /// # Errors
    /// The first rule that the request breaks.
    fn examine(&self, request: PaymentRequest, purpose: Purpose, now: DateTime<Utc>) -> Result<ExaminedPayment, Refusal>;

    /// The rule that needs the time: the authorization must be usable now, and no longer than policy allows.
    ///
    /// # Errors
    /// [`Reason::Expired`] or [`Reason::NotYetValid`].
    fn check_window(&self, payment: &ExaminedPayment, now: DateTime<Utc>) -> Result<(), Refusal>;

    /// The block that a payment was built on, where that decides for how long it can land.
    fn anchor(&self, payment: &ExaminedPayment) -> Option<Anchor>;

    /// Asks the chain, in one simulation that is shared with other requests.
    async fn verify(&self, payment: Arc<ExaminedPayment>, wanted: Wanted) -> Result<VerifiedPayment, VerifyError>;

    /// What settling this payment alone costs at present prices, in wei.
    async fn price(&self, payment: &VerifiedPayment) -> Result<u128, ChainError>;

    /// Looks again at a payment that has been waiting.
    async fn recheck(&self, payment: &Sendable) -> Result<Recheck, ChainError>;

    /// What a payment is refused for whose transactions were included and did not pay.
    fn failure(&self, payment: &Sendable) -> Reason;

    /// Whether the authorization of a payment that no slot of ours carries was used, by whomever. It is unused only if it can be used
    /// no more; `None` while that may still happen, or cannot be found out.
    async fn is_used(&self, payment: &Sendable) -> Result<Option<bool>, ChainError>;

    /// What `payer` held of `asset` at a block, or at a newer one where nodes know no past states, and at which. A node that does not
    /// have this very block, or a newer one, gives no answer.
    async fn balance(&self, asset: Address, payer: Address, block: (u64, &BlockHash)) -> Result<(Amount, u64), ChainError>;

    /// Signs the transaction that makes these payments in this slot. Without payments: one that only spends the slot.
    async fn build(&self, order: SlotOrder<'_>, payments: &[Sendable]) -> Result<SignedAttempt, BuildError>;

    /// Hands signed bytes to the network. Safe to repeat with the same bytes.
    async fn broadcast(&self, raw: &[u8]) -> Broadcast;

    /// Has a signer sign something that is worth nothing to anybody, to see whether it would sign a payment.
    async fn check_signer(&self, name: &str) -> Result<(), ChainError>;

    /// What a signer holds of the native unit.
    async fn signer_balance(&self, name: &str) -> Result<u128, ChainError>;

    /// The signers' account nonces. `None` where a message is a slot of its own.
    fn nonces(&self) -> Option<&dyn Nonces>;

    /// The height whose finality shows that bytes of a payment which was good at `accepted` can no longer land. `None` where time
    /// decides, or a slot that something else has used.
    fn lands_until(&self, accepted: u64) -> Option<u64>;

    /// Waits until there may be a new block, as somebody says who is not believed; for ever if nobody does. Also ends when
    /// [`Chain::announces_heads`] has become false.
    async fn head_announced(&self);

    /// Whether new blocks are announced at present, so that the head need not be asked for all the time.
    fn announces_heads(&self) -> bool;

    /// How many payments are under way, of which blocks that are read next may hold some. It changes nothing but the way to read them.
    fn note_under_way(&self, payments: usize);

    /// The newest block.
    async fn head(&self) -> Result<Head, ChainError>;

    /// The canonical block at a height, as the node sees it now; `None` above its head.
    async fn block(&self, number: u64) -> Result<Option<Block>, ChainError>;

    /// What a block holds, whoever is concerned by it.
    async fn observe(&self, block: &Block) -> Result<Observed, ChainError>;

    /// How many registered addresses have to be named to [`Chain::observe_range`]: 0 where it sees everybody's transfers anyway.
    fn addresses_wanted(&self) -> u32;

    /// What the blocks at these heights hold, the lowest first, in as few questions as the nodes allow; `head` is the newest block
    /// there is. Transfers to others than `watched` may be missing. Fewer blocks than asked for may come back, but not none.
    async fn observe_range(
        &self,
        heights: RangeInclusive<u64>,
        head: &Block,
        watched: &Watched,
    ) -> Result<Vec<Observed>, ChainError>;

    /// What became of payments that were sent, where blocks are not searched for them. With a height, also of one that landed long ago,
    /// and only nodes that have come to that height say that there is none.
    async fn outcomes(&self, sent: &[Payment], thorough: Option<u64>) -> Result<Outcomes, ChainError>;

    /// Whether another node than the one that was asked says the same about a block and the uses in it.
    async fn agrees(&self, observed: &Observed) -> Result<bool, ChainError>;

    /// The amount of `asset` above which two nodes must agree.
    fn agree_above(&self, asset: Address) -> Option<Amount>;

    /// Whether whoever controls `address` signed this very text. `signature` is as the network's wallets write it.
    async fn verify_message(&self, address: Address, text: &str, signature: &str) -> Result<Proof, ChainError>;

    /// Whether a text has the form of a signature on this network. Whose it is, and over what, is another question.
    fn is_signature(&self, text: &str) -> bool;

    /// Whether [`Chain::observe`] tells every transfer of an allowed token, so that what reaches registered addresses is known.
    fn observes_transfers(&self) -> bool;

    /// What a transaction came to, as the nodes see it now; `None` if none of them has it in a block. It serves to explain what was
    /// not observed, or not yet: only what [`Chain::observe`] told is ever paid with.
    async fn transfers_of(&self, transaction: &str) -> Result<Option<Landed>, ChainError>;

    /// What `address` held of `asset`, in all of its accounts, at a block, or at a newer one where nodes know no past states, and at
    /// which.
    async fn holding(&self, asset: Address, address: Address, block: (u64, &BlockHash)) -> Result<(Amount, u64), ChainError>;

    /// What addresses received and spent in these blocks, transaction by transaction. Nodes are asked by address and not by block, so
    /// the answer says something about what was read in the other way.
    async fn movements(&self, addresses: &[Address], heights: RangeInclusive<u64>) -> Result<Vec<Movement>, ChainError>;

    /// Whether payments can be taken at an address.
    async fn check_payable(&self, address: Address) -> Result<Payable, ChainError>;

    /// Searches for the use of one authorization in a range of blocks: the slow path, for what the watcher passed before we
    /// held the payment. Returns the whole block that holds it. `taken` are the transfers of these blocks, by their block and position,
    /// that pay other payments: where the network does not say whose a transfer is, it is none of them.
    async fn lookup(
        &self,
        payment: &Sendable,
        blocks: RangeInclusive<u64>,
        taken: &[(BlockHash, u32)],
    ) -> Result<Option<Observed>, ChainError>;
}

/// The configured networks.
#[derive(Clone, Default)]
pub struct Chains(BTreeMap<Network, Arc<dyn Chain>>);

impl Chains {
    /// Puts adapters in order.
    #[must_use]
    pub fn new(chains: impl IntoIterator<Item = Arc<dyn Chain>>) -> Self {
        Self(chains.into_iter().map(|chain| (chain.profile().network.clone(), chain)).collect())
    }

    /// The adapter of a network.
    ///
    /// # Errors
    /// [`Reason::InvalidNetwork`] if the network is not configured.
    pub fn find(&self, network: &Network) -> Result<&Arc<dyn Chain>, Refusal> {
        self.0.get(network).ok_or_else(|| Refusal::because(Reason::InvalidNetwork, format!("{network} is not offered here")))
    }

    /// All of them, in the order of their identifiers.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Chain>> {
        self.0.values()
    }
}
