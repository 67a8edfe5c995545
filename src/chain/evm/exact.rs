//! The scheme `exact` on EVM networks: a transfer of exactly the amount, authorized by the payer's signature (EIP-3009).
//!
//! The rules, in order, each in a file of its own:
//!  1. `terms`: scheme, network, token, signing domain and recipient are ones that may be paid.
//!  2. `authorization`: it pays the right address the right amount.
//!  3. `window`: it is valid now, and not for longer than policy allows.
//!  4. `signature`: what was signed, and whether an ordinary account signed it.
//!  5. `simulate` (beside this folder): the token itself agrees.
//!
//! Cheap rules come first, so a payment with several faults gets the code of the cheapest.

pub mod authorization;
pub mod signature;
pub mod terms;
pub mod verdict;
pub mod window;

use alloy::primitives::{Address as EvmAddress, B256, Bytes, U256};
use alloy::sol_types::SolCall;

use super::abi::Token;
use crate::domain::address::Address;
use crate::domain::payment::AuthorizationKey;
use crate::domain::reason::Refusal;
use crate::x402::exact_evm::Eip3009Payload;
use signature::{Deployment, PlainSignature};

/// An authorization with everything that landing it needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Authorization {
    /// The token.
    pub token: EvmAddress,
    /// What the payer signed.
    pub message: Eip3009Payload,
    /// The signature without the wrapper of ERC-6492.
    pub inner: Bytes,
    /// The signature in parts, if it is the payer's own as an ordinary account.
    pub plain: Option<PlainSignature>,
    /// How to deploy the payer's wallet first, if the payload says so (ERC-6492).
    pub deployment: Option<Deployment>,
}

impl Authorization {
    /// Reads what is to be landed out of a payload. Who signed it is not known yet.
    ///
    /// # Errors
    /// A signature wrapper that cannot be read.
    pub fn read(token: Address, message: Eip3009Payload) -> Result<Self, Refusal> {
        let (inner, deployment) = signature::unwrap(&message.signature)?;
        Ok(Self { token: evm(token), message, inner, plain: None, deployment })
    }

    /// The same with its signature taken apart, which costs more than everything else that is done here for a payment.
    ///
    /// # Errors
    /// A signature wrapper that cannot be read.
    pub fn new(token: Address, separator: B256, message: Eip3009Payload) -> Result<Self, Refusal> {
        let read = Self::read(token, message)?;
        let digest = signature::digest(separator, &read.message);
        Ok(Self { plain: signature::plain(&read.inner, digest, read.message.from), ..read })
    }

    /// What the chain lets be used once: token, payer and nonce.
    #[must_use]
    pub fn key(&self) -> AuthorizationKey {
        authorization_key(self.token, evm(self.message.from), self.message.nonce.into())
    }

    /// The call of the token that makes the transfer.
    #[must_use]
    pub fn transfer_call(&self) -> Bytes {
        let message = &self.message;
        let (from, to, value) = (evm(message.from), evm(message.to), U256::from(message.value.units()));
        let (after, before, nonce) = (U256::from(message.valid_after), U256::from(message.valid_before), message.nonce.into());
        match &self.plain {
            Some(PlainSignature { v, r, s }) => Token::transferWithAuthorization_0Call {
                from,
                to,
                value,
                validAfter: after,
                validBefore: before,
                nonce,
                v: *v,
                r: *r,
                s: *s,
            }
            .abi_encode(),
            // A contract's signature is its own affair and goes through unchanged, also one of 65 bytes: wallets give the
            // last byte meanings of their own.
            None => Token::transferWithAuthorization_1Call {
                from,
                to,
                value,
                validAfter: after,
                validBefore: before,
                nonce,
                signature: self.inner.clone(),
            }
            .abi_encode(),
        }
        .into()
    }
}

/// The replay guard of EIP-3009 in bytes: token, authorizer, nonce.
#[must_use]
pub fn authorization_key(token: EvmAddress, authorizer: EvmAddress, nonce: B256) -> AuthorizationKey {
    AuthorizationKey([token.as_slice(), authorizer.as_slice(), nonce.as_slice()].concat())
}

/// The address as the EVM library has it.
#[must_use]
pub fn evm(address: Address) -> EvmAddress {
    match address {
        Address::Evm(bytes) => bytes.into(),
        Address::Solana(_) => unreachable!("whatever is paid on an EVM network was read with addresses of its family"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::amount::Amount;
    use crate::domain::asset::{Asset, known};
    use crate::domain::network::Family;
    use crate::domain::payment::{PaymentRequest, SCHEME_EXACT};
    use crate::domain::reason::Version;

    pub(crate) fn asset() -> Asset {
        known(&"eip155:84532".parse().unwrap()).remove(0)
    }

    pub(crate) fn request() -> PaymentRequest {
        PaymentRequest {
            version: Version::V2,
            scheme: SCHEME_EXACT.to_owned(),
            network: asset().network,
            asset: asset().address,
            pay_to: Address::Evm([3; 20]),
            amount: Amount::new(10_000),
            timeout_seconds: 60,
            resource: None,
            invoice: None,
            domain_name: Some("USDC".to_owned()),
            domain_version: Some("2".to_owned()),
            fee_payer: None,
            memo: None,
            answer_at: None,
            accepted_scheme: SCHEME_EXACT.to_owned(),
            accepted_network: true,
            payload: serde_json::Value::Null,
            gas_sponsoring: None,
            named: crate::domain::attribution::Named::default(),
        }
    }

    pub(crate) fn message() -> Eip3009Payload {
        Eip3009Payload { to: Address::Evm([3; 20]), ..golden() }
    }

    /// An authorization signed with the first public key of the usual test mnemonic, made with viem.
    pub(crate) fn golden() -> Eip3009Payload {
        let address = |text| Address::parse(Family::Eip155, text).unwrap();
        Eip3009Payload {
            signature: alloy::hex::decode("dc53a4a579de989368a0fae2ef2172ff2f474b4297013f865d171239f17ef4c3157b4b4030f1bebc53d55ace15c2377dff501a60e1e56c291f1000d6e78f082f1b").unwrap(),
            from: address("0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
            to: address("0x209693Bc6afc0C5328bA36FaF03C514EF312287C"),
            value: Amount::new(10_000),
            valid_after: 1_740_672_089,
            valid_before: 1_740_672_154,
            nonce: crate::domain::address::decode_hex("f3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480").unwrap(),
        }
    }
}
