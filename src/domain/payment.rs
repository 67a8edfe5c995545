//! A payment: the facts that we keep of it, and what follows from them.
//!
//! No state is stored. A row holds what was asked, what was signed and what stands in canonical blocks; [`Payment::state`]
//! derives the rest, so that a reorganisation is only "the facts changed".

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::account::Caller;
use super::address::Address;
use super::amount::Amount;
use super::attribution::Named;
use super::block::{BlockHash, Heights, Level};
use super::ids::{AccountId, InvoiceId, PaymentId, SubmissionId};
use super::network::Network;
use super::reason::{Reason, Version};
use super::transfer::TransactionId;

/// The scheme of payments that we make: exactly the amount, once.
pub const SCHEME_EXACT: &str = "exact";

/// The scheme of payments that we make: what the resource server says in the end, and at most what the payer signed, once.
pub const SCHEME_UPTO: &str = "upto";

/// The scheme of payments that were made without us: a transfer is presented by its transaction. See `domain::proof`.
pub const SCHEME_TRANSFER: &str = "transfer";

/// A payment as somebody presents it, read from either version of the protocol but not yet judged.
///
/// Terms come from the resource server's requirements; of what the payer accepted, only scheme and network are kept, because
/// clients may echo the rest as they like.
#[derive(Debug, Clone, PartialEq)]
pub struct PaymentRequest {
    /// The version it was written in, which decides two codes and the patience of the caller.
    pub version: Version,
    /// The scheme, for example `exact`.
    pub scheme: String,
    /// Where to pay.
    pub network: Network,
    /// With which token.
    pub asset: Address,
    /// To whom.
    pub pay_to: Address,
    /// Exactly how much. Of scheme `upto` the most that may be paid while it is verified, and what is paid when it is settled.
    pub amount: Amount,
    /// How long the payer was told that settling may take.
    pub timeout_seconds: u32,
    /// What is paid for.
    pub resource: Option<String>,
    /// The invoice that is paid, if the requirements name one.
    pub invoice: Option<String>,
    /// The signing domain that the requirements name.
    pub domain_name: Option<String>,
    /// See `domain_name`.
    pub domain_version: Option<String>,
    /// Who the requirements say pays the fee, as they wrote it. Only networks where the payer's transaction is sent name one.
    pub fee_payer: Option<String>,
    /// What the payer's transaction must say besides, if the requirements ask for it.
    pub memo: Option<String>,
    /// The level that the caller wants success to mean.
    pub answer_at: Option<Level>,
    /// The scheme that the payer accepted.
    pub accepted_scheme: String,
    /// Whether the payer accepted this very network.
    pub accepted_network: bool,
    /// What the payer signed; its form belongs to the scheme and the chain family.
    pub payload: serde_json::Value,
    /// What the payer signed besides, so that others can pay the gas of what must come first (`eip2612GasSponsoring`).
    pub gas_sponsoring: Option<serde_json::Value>,
    /// To whom the settlement is attributed.
    pub named: Named,
}

impl PaymentRequest {
    /// The invoice of ours that the requirements name. Names of others, whatever they mean, are none of ours.
    #[must_use]
    pub fn named_invoice(&self) -> Option<InvoiceId> {
        self.invoice.as_deref()?.parse().ok()
    }
}

/// What a chain lets be used once, in bytes that its family defines. EVM: the contract that counts nonces, which is the token (EIP-3009)
/// or Permit2, the payer, and the nonce. Solana: SHA-256 of the message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorizationKey(pub Vec<u8>);

/// Identifies a request: two requests with one fingerprint ask for the same thing in every way that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Hashes what binds a settlement: terms, payload, purpose and caller. Hints, descriptions and white space do not count,
    /// nor does the version of the protocol that carried them.
    #[must_use]
    pub fn of(request: &PaymentRequest, caller: &Caller) -> Self {
        // `serde_json` keeps object keys sorted, so one payload has one text.
        let payload = request.payload.to_string();
        let account = caller.account().map(|account| account.to_string());
        let parts = [
            request.scheme.as_str(),
            request.network.as_str(),
            &request.asset.to_string(),
            &request.pay_to.to_string(),
            &request.amount.to_string(),
            &payload,
            request.resource.as_deref().unwrap_or_default(),
            request.invoice.as_deref().unwrap_or_default(),
            account.as_deref().unwrap_or_default(),
        ];
        let mut hash = Sha256::new();
        for part in parts {
            // The length in front keeps two neighbouring texts from running into each other.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// A settlement that we were asked to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Our name for it.
    pub id: PaymentId,
    /// Where it is paid.
    pub network: Network,
    /// What the chain lets be used once.
    pub key: AuthorizationKey,
    /// What was asked.
    pub fingerprint: Fingerprint,
    /// The version it was asked in.
    pub version: Version,
    /// The token.
    pub asset: Address,
    /// Who pays.
    pub payer: Address,
    /// Who is paid.
    pub pay_to: Address,
    /// Exactly how much. Nothing of a payment that its resource server waived.
    pub amount: Amount,
    /// What is paid for.
    pub resource: Option<String>,
    /// The invoice of ours that it is for, if the requirements name one.
    pub invoice: Option<InvoiceId>,
    /// The account that asked, if it has one.
    pub provider: Option<AccountId>,
    /// The account that is paid, if it has registered the address.
    pub merchant: Option<AccountId>,
    /// When the authorization can no longer land.
    pub expires_at: DateTime<Utc>,
    /// When we accepted it.
    pub created_at: DateTime<Utc>,
    /// Until when somebody waits for it. A payment nobody waits for is not sent behind the caller's back.
    pub answer_by: DateTime<Utc>,
    /// The level that success was asked to mean.
    pub answer_at: Level,
    /// The slot that carries it now.
    pub submission: Option<SubmissionId>,
    /// The newest transaction of that slot; of a payment that was given up, the newest that was included and did not pay.
    pub transaction: Option<TransactionId>,
    /// The newest transaction of the last slot that was spent without paying. After a reorganisation it may land after all.
    pub failed_transaction: Option<TransactionId>,
    /// Why we will not send it again.
    pub given_up: Option<Reason>,
    /// To whom success was handed out. It is, once.
    pub handed_out: Option<HandedOut>,
    /// The transfer that pays it.
    pub claim: Option<Claim>,
}

/// The one handing out of a payment's success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOut {
    /// When.
    pub at: DateTime<Utc>,
    /// Which request took it.
    pub to: String,
}

/// A canonical transfer, and the block it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The transaction, ours or a stranger's.
    pub transaction: TransactionId,
    /// The block's height.
    pub block_number: u64,
    /// The block's hash.
    pub block_hash: BlockHash,
    /// The transfer's position in the block.
    pub index: u32,
}

/// Where a payment stands, derived from its facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Waiting for a lane, and somebody waits for it.
    Queued,
    /// Not sent, and nobody waits any more: it will not be sent. The same request revives it.
    Withdrawn,
    /// Signed bytes are committed; they may be sent at any time.
    Submitted {
        /// The newest of the transactions that may land.
        transaction: TransactionId,
    },
    /// The exact transfer stands in a canonical block.
    Included {
        /// Which transfer.
        claim: Claim,
        /// How deep it stands.
        level: Level,
    },
    /// Settled without moving money: the resource server charges nothing (scheme `upto`).
    Waived,
    /// We answered a failure and will not send it again.
    GivenUp {
        /// The failure.
        reason: Reason,
    },
}

impl State {
    /// Every word by which a state goes on the wire.
    pub const WORDS: [&str; 7] = ["queued", "withdrawn", "submitted", "included", "final", "waived", "failed"];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Withdrawn => "withdrawn",
            Self::Submitted { .. } => "submitted",
            Self::Included { level: Level::Final, .. } => "final",
            Self::Included { .. } => "included",
            Self::Waived => "waived",
            Self::GivenUp { .. } => "failed",
        }
    }
}

/// A state that is not a payment's last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unended {
    /// See [`State::Queued`].
    Queued,
    /// See [`State::Submitted`].
    Submitted,
    /// See [`State::Included`], while its block can still be replaced.
    Included,
}

impl Unended {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Queued, Self::Submitted, Self::Included];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Submitted => "submitted",
            Self::Included => "included",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl Payment {
    /// The transaction to name to whoever asks: the one that paid, that may pay, or that did not.
    #[must_use]
    pub fn known_transaction(&self) -> Option<TransactionId> {
        let paid = self.claim.as_ref().map(|claim| claim.transaction.clone());
        paid.or_else(|| self.transaction.clone()).or_else(|| self.failed_transaction.clone())
    }

    /// Derives where the payment stands. What the chain says comes before everything that we decided.
    #[must_use]
    pub fn state(&self, heights: Heights, now: DateTime<Utc>) -> State {
        if self.amount.is_zero() {
            return State::Waived;
        }
        if let Some(claim) = &self.claim {
            return State::Included { claim: claim.clone(), level: heights.level(claim.block_number) };
        }
        if let Some(reason) = self.given_up {
            return State::GivenUp { reason };
        }
        match &self.transaction {
            Some(transaction) => State::Submitted { transaction: transaction.clone() },
            None if now < self.answer_by => State::Queued,
            None => State::Withdrawn,
        }
    }
}

/// Where the money of a payment is, as far as the ledger knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whereabouts {
    /// The payer has it, and nothing that we have signed can move it.
    WithPayer,
    /// The payer has it, and it may move at any time.
    UnderWay,
    /// The recipient has it, in a block that can still be replaced.
    WithRecipient,
    /// The recipient has it for good.
    WithRecipientForGood,
}

impl Whereabouts {
    /// Where the money of a payment in this state is. `bytes_out` says whether signed bytes that make it may still land.
    #[must_use]
    pub const fn of(state: &State, bytes_out: bool) -> Self {
        match state {
            State::Included { level: Level::Final, .. } => Self::WithRecipientForGood,
            State::Included { .. } => Self::WithRecipient,
            State::Submitted { .. } => Self::UnderWay,
            State::Queued | State::Withdrawn | State::GivenUp { .. } if bytes_out => Self::UnderWay,
            State::Queued | State::Withdrawn | State::GivenUp { .. } | State::Waived => Self::WithPayer,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn request() -> PaymentRequest {
        PaymentRequest {
            version: Version::V2,
            scheme: SCHEME_EXACT.to_owned(),
            network: "eip155:84532".parse().unwrap(),
            asset: Address::Evm([1; 20]),
            pay_to: Address::Evm([3; 20]),
            amount: Amount::new(10_000),
            timeout_seconds: 60,
            resource: Some("https://api.example/inference".to_owned()),
            invoice: None,
            domain_name: None,
            domain_version: None,
            fee_payer: None,
            memo: None,
            answer_at: None,
            accepted_scheme: SCHEME_EXACT.to_owned(),
            accepted_network: true,
            payload: serde_json::json!({"signature": "0x00", "authorization": {"nonce": "0x01"}}),
            gas_sponsoring: None,
            named: Named::default(),
        }
    }

    pub(crate) fn payment() -> Payment {
        let request = request();
        let now = DateTime::UNIX_EPOCH;
        Payment {
            id: PaymentId::new(),
            network: request.network.clone(),
            key: AuthorizationKey(vec![1, 2, 3]),
            fingerprint: Fingerprint::of(&request, &Caller::Anonymous),
            version: request.version,
            asset: request.asset,
            payer: Address::Evm([2; 20]),
            pay_to: request.pay_to,
            amount: request.amount,
            resource: request.resource,
            invoice: None,
            provider: None,
            merchant: None,
            expires_at: now + TimeDelta::seconds(60),
            created_at: now,
            answer_by: now + TimeDelta::seconds(20),
            answer_at: Level::Included,
            submission: None,
            transaction: None,
            failed_transaction: None,
            given_up: None,
            handed_out: None,
            claim: None,
        }
    }

    #[test]
    fn a_state_follows_from_the_facts() {
        let heights = Heights { head: 10, safe: 8, finalized: 5 };
        let before = DateTime::UNIX_EPOCH + TimeDelta::seconds(19);
        let after = DateTime::UNIX_EPOCH + TimeDelta::seconds(20);
        let queued = payment();
        let submitted = Payment { transaction: Some("0xaa".to_owned()), ..queued.clone() };
        let failed = Payment { given_up: Some(Reason::Expired), ..queued.clone() };
        let claim = Claim { transaction: "0xbb".to_owned(), block_number: 6, block_hash: "0x06".to_owned(), index: 1 };
        // The chain has the last word: a payment that we gave up and that landed all the same is paid.
        let landed = Payment { claim: Some(claim.clone()), ..failed.clone() };
        let deep = Payment { claim: Some(Claim { block_number: 5, ..claim }), ..submitted.clone() };

        let waived = Payment { amount: Amount::new(0), ..queued.clone() };

        assert_eq!(waived.state(heights, after), State::Waived);
        assert_eq!(queued.state(heights, before), State::Queued);
        assert_eq!(queued.state(heights, after), State::Withdrawn);
        assert_eq!(submitted.state(heights, after).as_str(), "submitted");
        assert_eq!(failed.state(heights, before), State::GivenUp { reason: Reason::Expired });
        assert_eq!(landed.state(heights, before).as_str(), "included");
        assert_eq!(deep.state(heights, before).as_str(), "final");
    }

    #[test]
    fn money_is_where_the_chain_has_it_or_may_take_it() {
        let claim = Claim { transaction: "0xbb".to_owned(), block_number: 6, block_hash: "0x06".to_owned(), index: 1 };
        let included = |level| State::Included { claim: claim.clone(), level };
        let given_up = State::GivenUp { reason: Reason::Expired };

        assert_eq!(Whereabouts::of(&included(Level::Safe), true), Whereabouts::WithRecipient);
        assert_eq!(Whereabouts::of(&included(Level::Final), true), Whereabouts::WithRecipientForGood);
        assert_eq!(Whereabouts::of(&State::Submitted { transaction: "0xaa".to_owned() }, false), Whereabouts::UnderWay);
        assert_eq!([true, false].map(|out| Whereabouts::of(&given_up, out)), [Whereabouts::UnderWay, Whereabouts::WithPayer]);
        assert_eq!(Whereabouts::of(&State::Queued, false), Whereabouts::WithPayer);
        assert_eq!(Whereabouts::of(&State::Waived, false), Whereabouts::WithPayer);
    }

    #[test]
    fn a_fingerprint_binds_what_matters_and_nothing_else() {
        let account = Caller::Account { account: AccountId::new(), scope: crate::domain::account::Scope::Provider };
        let of = |request: &PaymentRequest| Fingerprint::of(request, &Caller::Anonymous);
        let same = PaymentRequest { version: Version::V1, timeout_seconds: 5, domain_name: Some("USDC".to_owned()), ..request() };
        let others = [
            PaymentRequest { scheme: "upto".to_owned(), ..request() },
            PaymentRequest { network: "eip155:8453".parse().unwrap(), ..request() },
            PaymentRequest { asset: Address::Evm([7; 20]), ..request() },
            PaymentRequest { pay_to: Address::Evm([7; 20]), ..request() },
            PaymentRequest { amount: Amount::new(10_001), ..request() },
            PaymentRequest { resource: None, ..request() },
            PaymentRequest { invoice: Some("inv_1".to_owned()), ..request() },
            PaymentRequest { payload: serde_json::json!({"signature": "0x01"}), ..request() },
        ];

        assert_eq!(of(&request()), of(&same));
        for other in others {
            assert_ne!(of(&request()), of(&other), "{other:?}");
        }
        assert_ne!(of(&request()), Fingerprint::of(&request(), &account));
    }
}
