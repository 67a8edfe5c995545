//! Payments through Permit2: the payer signs for Permit2 what one of two contracts may ask of it, the proxy of scheme `exact` or that of
//! scheme `upto`.
//!
//! The rules, in order:
//!  1. `terms`: scheme, network, proxy, recipient, amount and token are the ones that were asked for.
//!  2. `sponsoring`: what lets Permit2 take the token first, if the payer sent that, fits the payment.
//!  3. `exact::window`: it is valid now, and not for longer than policy allows.
//!  4. `signature` and `sponsoring`: an ordinary account signed exactly this, for Permit2 and for the token.
//!  5. `simulation` and `verdict`: the contracts themselves agree.
//!
//! Permit2 counts nonces for all tokens of a payer together, tells nobody which one it used, and only the payer's terms are in the logs.
//! So a use is read from the call of the proxy (`observe`), or found by the state of the nonce.

use alloy::primitives::{Address as EvmAddress, B256, Bytes, U256, address};
use alloy::sol_types::SolCall;
use serde_json::Value;

use self::signature::Plain;
use super::abi::{ExactProxy, UptoProxy};
use super::exact::{authorization_key, evm};
use crate::chain::Observed;
use crate::domain::amount::Amount;
use crate::domain::payment::AuthorizationKey;
use crate::domain::reason::Refusal;
use crate::domain::transfer::{TransactionId, Transfer, Use};
use crate::x402::permit2::{Permit2Payload, TokenPermit};

pub mod observe;
pub mod signature;
pub mod simulation;
pub mod sponsoring;
pub mod terms;
pub mod verdict;

/// Permit2 has one address everywhere.
pub const PERMIT2: EvmAddress = address!("000000000022D473030F116dDEE9F6B43aC78BA3");

/// The proxy of scheme `exact`. Whoever calls it, it moves what was signed.
pub const EXACT_PROXY: EvmAddress = address!("402085c248EeA27D92E8b30b2C58ed07f9E20001");

/// The proxy of scheme `upto`. It moves what the facilitator says whom the payer named, and at most what was signed.
pub const UPTO_PROXY: EvmAddress = address!("4020A4f3b7b90ccA423B9fabCc0CE57C6C240002");

/// Which of the two contracts a payment goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// Of scheme `exact`.
    Exact,
    /// Of scheme `upto`, on the word of this signer of ours.
    Upto(EvmAddress),
}

impl Proxy {
    /// Where it is.
    #[must_use]
    pub const fn address(self) -> EvmAddress {
        match self {
            Self::Exact => EXACT_PROXY,
            Self::Upto(_) => UPTO_PROXY,
        }
    }
}

/// What a payer signed for Permit2, with everything that landing it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Permit {
    /// Through which contract.
    pub proxy: Proxy,
    /// What was signed.
    pub message: Permit2Payload,
    /// What is to be moved of it.
    pub amount: Amount,
    /// What lets Permit2 take the token first (EIP-2612).
    pub sponsoring: Option<TokenPermit>,
    /// The signature, if it is the payer's own as an ordinary account.
    pub plain: Option<Plain>,
    /// Whether the payer signed as an ordinary account what lets Permit2 take the token.
    pub is_sponsoring_own: bool,
}

impl Permit {
    /// Reads back what is stored of a payment of `amount`. Who signed it is not known yet.
    ///
    /// # Errors
    /// It is none.
    pub fn read_back(payload: &Value, amount: Amount) -> Result<Self, Refusal> {
        Ok(Self::of(Permit2Payload::parse(payload)?, amount, TokenPermit::read_back(payload)?))
    }

    /// What moves `amount` of what was signed. Who signed it is not known yet.
    #[must_use]
    pub fn of(message: Permit2Payload, amount: Amount, sponsoring: Option<TokenPermit>) -> Self {
        let proxy = message.facilitator.map_or(Proxy::Exact, |facilitator| Proxy::Upto(evm(facilitator)));
        Self { proxy, message, amount, sponsoring, plain: None, is_sponsoring_own: false }
    }

    /// The same with its signatures looked at, which costs more than everything else that is done here. The separators are those of
    /// Permit2 on this network, and of the token.
    #[must_use]
    pub fn examined(self, permit2: B256, token: B256) -> Self {
        let digest = signature::digest(permit2, &self);
        let is_sponsoring_own = self.sponsoring.as_ref().is_some_and(|permit| sponsoring::is_own(permit, token));
        Self { plain: signature::plain(&self.message.signature, digest, self.message.from), is_sponsoring_own, ..self }
    }

    /// The contract that moves the money in the end.
    #[must_use]
    pub fn token(&self) -> EvmAddress {
        evm(self.message.token)
    }

    /// Who pays.
    #[must_use]
    pub fn payer(&self) -> EvmAddress {
        evm(self.message.from)
    }

    /// What Permit2 lets be used once: payer and nonce, whatever the token.
    #[must_use]
    pub fn key(&self) -> AuthorizationKey {
        key(self.payer(), self.message.nonce.into())
    }

    /// The transfer in a block that moved exactly this in one of the transactions in which a proxy settled something, if there is one that is
    /// free and that nothing else explains.
    #[must_use]
    pub fn found_in(&self, observed: &Observed, settled: &[TransactionId], free: impl Fn(&Transfer) -> bool) -> Option<Transfer> {
        let Permit2Payload { from, to, token, .. } = self.message;
        let is_explained =
            |transfer: &Transfer| observed.uses.iter().any(|entry| entry.outcome == Use::Spent(Some(transfer.clone())));
        let moved = |transfer: &&Transfer| {
            (transfer.asset, transfer.from, transfer.to, transfer.amount) == (token, from, to, Some(self.amount))
                && settled.contains(&transfer.transaction)
        };
        observed.transfers.iter().filter(moved).find(|transfer| free(transfer) && !is_explained(transfer)).cloned()
    }

    /// Where the nonce is among those of its payer: the word of the bitmap, and the bit in it.
    #[must_use]
    pub fn nonce_place(&self) -> (U256, usize) {
        let nonce = U256::from_be_bytes(self.message.nonce);
        (nonce >> 8, usize::from(nonce.byte(0)))
    }

    /// The signature as the contracts take it: an ordinary account's with the `v` that they know, any other unchanged.
    fn signature(&self) -> Bytes {
        self.plain.map_or_else(|| self.message.signature.clone().into(), |Plain(bytes)| bytes.into())
    }

    /// The call of the proxy that makes the transfer.
    #[must_use]
    pub fn call(&self) -> Bytes {
        match (self.proxy, &self.sponsoring) {
            (Proxy::Exact, None) => {
                let (permit, owner, witness, signature) = self.exact_arguments();
                ExactProxy::settleCall { permit, owner, witness, signature }.abi_encode()
            }
            (Proxy::Exact, Some(sponsoring)) => {
                let (permit, owner, witness, signature) = self.exact_arguments();
                let word = Word::of(sponsoring);
                let permit2612 =
                    ExactProxy::EIP2612Permit { value: word.value, deadline: word.deadline, r: word.r, s: word.s, v: word.v };
                ExactProxy::settleWithPermitCall { permit2612, permit, owner, witness, signature }.abi_encode()
            }
            (Proxy::Upto(facilitator), None) => {
                let (permit, amount, owner, witness, signature) = self.upto_arguments(facilitator);
                UptoProxy::settleCall { permit, amount, owner, witness, signature }.abi_encode()
            }
            (Proxy::Upto(facilitator), Some(sponsoring)) => {
                let (permit, amount, owner, witness, signature) = self.upto_arguments(facilitator);
                let word = Word::of(sponsoring);
                let permit2612 =
                    UptoProxy::EIP2612Permit { value: word.value, deadline: word.deadline, r: word.r, s: word.s, v: word.v };
                UptoProxy::settleWithPermitCall { permit2612, permit, amount, owner, witness, signature }.abi_encode()
            }
        }
        .into()
    }

    fn exact_arguments(&self) -> (ExactProxy::PermitTransferFrom, EvmAddress, ExactProxy::Witness, Bytes) {
        let message = &self.message;
        let permitted = ExactProxy::TokenPermissions { token: self.token(), amount: U256::from(message.permitted.units()) };
        let (nonce, deadline) = (U256::from_be_bytes(message.nonce), U256::from(message.deadline));
        let witness = ExactProxy::Witness { to: evm(message.to), validAfter: U256::from(message.valid_after) };
        (ExactProxy::PermitTransferFrom { permitted, nonce, deadline }, self.payer(), witness, self.signature())
    }

    fn upto_arguments(
        &self,
        facilitator: EvmAddress,
    ) -> (UptoProxy::PermitTransferFrom, U256, EvmAddress, UptoProxy::Witness, Bytes) {
        let message = &self.message;
        let permitted = UptoProxy::TokenPermissions { token: self.token(), amount: U256::from(message.permitted.units()) };
        let (nonce, deadline) = (U256::from_be_bytes(message.nonce), U256::from(message.deadline));
        let witness = UptoProxy::Witness { to: evm(message.to), facilitator, validAfter: U256::from(message.valid_after) };
        let permit = UptoProxy::PermitTransferFrom { permitted, nonce, deadline };
        (permit, U256::from(self.amount.units()), self.payer(), witness, self.signature())
    }
}

/// The replay guard of Permit2 in bytes: the contract, the payer, the nonce.
#[must_use]
pub fn key(payer: EvmAddress, nonce: B256) -> AuthorizationKey {
    authorization_key(PERMIT2, payer, nonce)
}

/// The payer's word to the token, as both proxies take it.
struct Word {
    value: U256,
    deadline: U256,
    r: B256,
    s: B256,
    v: u8,
}

impl Word {
    fn of(permit: &TokenPermit) -> Self {
        let signature = &permit.signature;
        Self {
            value: U256::from(permit.amount.units()),
            deadline: U256::from(permit.deadline),
            r: B256::from_slice(&signature[..32]),
            s: B256::from_slice(&signature[32..64]),
            // Tokens know 27 and 28 only.
            v: if signature[64] < 27 { signature[64] + 27 } else { signature[64] },
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::chain::evm::exact;
    use crate::domain::address::Address;
    use crate::domain::network::Family;
    use crate::domain::payment::{PaymentRequest, SCHEME_UPTO};

    fn address(text: &str) -> Address {
        Address::parse(Family::Eip155, text).unwrap()
    }

    /// Signed with the first public key of the usual test mnemonic on Base Sepolia, made with viem.
    pub(crate) fn golden() -> Permit2Payload {
        Permit2Payload {
            signature: alloy::hex::decode("a3142cf9e6c198fbc8a900a326bbed895fad9ab685774e68e041fbab9f00654658e12f9092552bb66ba67636e4c6432c7d0bafbdd7df09ba24c41cd22cbb00a21b").unwrap(),
            from: address("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
            token: exact::tests::asset().address,
            permitted: Amount::new(10_000),
            spender: Address::Evm(EXACT_PROXY.into()),
            nonce: U256::from(1).to_be_bytes(),
            deadline: 1_740_672_154,
            to: address("0x209693Bc6afc0C5328bA36FaF03C514EF312287C"),
            facilitator: None,
            valid_after: 0,
        }
    }

    /// The same for scheme `upto`; the signature is not one of it.
    pub(crate) fn golden_upto() -> Permit2Payload {
        let facilitator = Some(address("0x70997970C51812dc3A010C7d01b50e0d17dc79C8"));
        Permit2Payload { facilitator, spender: Address::Evm(UPTO_PROXY.into()), ..golden() }
    }

    /// What asks for the payment that was signed.
    pub(crate) fn request() -> PaymentRequest {
        PaymentRequest { pay_to: golden().to, amount: Amount::new(10_000), ..exact::tests::request() }
    }

    /// The same for scheme `upto`.
    pub(crate) fn upto_request() -> PaymentRequest {
        PaymentRequest { scheme: SCHEME_UPTO.to_owned(), accepted_scheme: SCHEME_UPTO.to_owned(), ..request() }
    }

    pub(crate) fn permit(message: Permit2Payload) -> Permit {
        Permit::of(message, Amount::new(10_000), None)
    }

    /// The separator of the token's domain.
    pub(crate) fn token_separator() -> B256 {
        exact::signature::separator(&exact::tests::asset(), 84_532).unwrap()
    }

    /// Signed with the same key, made with viem.
    pub(crate) fn sponsoring() -> TokenPermit {
        TokenPermit {
            from: golden().from,
            asset: golden().token,
            spender: Address::Evm(PERMIT2.into()),
            amount: Amount::new(10_000),
            nonce: [0; 32],
            deadline: 1_740_672_154,
            signature: alloy::hex::decode_to_array("69baca18f0761582a372da88d9d0ff9b81123913755d3aa5f2d8eaa97315f5a53fe41fe1a9f546e105cbc3de0e0f5e1962207eda86ddee33eec0d57abaa1ac741b").unwrap(),
        }
    }

    #[test]
    fn each_call_has_the_selector_of_its_contract() {
        let selector = |message, sponsoring| Permit::of(message, Amount::new(1), sponsoring).call()[..4].to_vec();

        assert_eq!(selector(golden(), None), [0x13, 0xcd, 0x3b, 0x53]);
        assert_eq!(selector(golden(), Some(sponsoring())), [0xfa, 0x34, 0x03, 0x78]);
        assert_eq!(selector(golden_upto(), None), [0xff, 0x11, 0xe7, 0xb4]);
        assert_eq!(selector(golden_upto(), Some(sponsoring())), [0x01, 0x6c, 0x17, 0x48]);
    }

    #[test]
    fn a_nonce_is_a_bit_of_a_word() {
        let place = |nonce: U256| permit(Permit2Payload { nonce: nonce.to_be_bytes(), ..golden() }).nonce_place();

        assert_eq!(place(U256::from(1)), (U256::ZERO, 1));
        assert_eq!(place(U256::from(255)), (U256::ZERO, 255));
        assert_eq!(place(U256::from(256)), (U256::from(1), 0));
        assert_eq!(place(U256::MAX), (U256::MAX >> 8, 255));
    }

    #[test]
    fn what_is_stored_is_read_back() {
        for (message, sponsoring) in [(golden(), None), (golden_upto(), Some(sponsoring()))] {
            let stored = message.to_json(sponsoring.as_ref());
            let permit = Permit::of(message, Amount::new(7), sponsoring);
            assert_eq!(Permit::read_back(&stored, Amount::new(7)), Ok(permit));
        }
    }
}
