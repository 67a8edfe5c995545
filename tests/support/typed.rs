//! What payers sign, in parts that a test can get wrong one at a time, and the calls that land it without us.

use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{Eip712Domain, SolCall, SolStruct, SolValue};
use serde_json::Value;

alloy::sol! {
    struct TransferWithAuthorization {
        address from; address to; uint256 value; uint256 validAfter; uint256 validBefore; bytes32 nonce;
    }
    struct ReceiveWithAuthorization {
        address from; address to; uint256 value; uint256 validAfter; uint256 validBefore; bytes32 nonce;
    }
    struct CancelAuthorization { address authorizer; bytes32 nonce; }
    struct Permit { address owner; address spender; uint256 value; uint256 nonce; uint256 deadline; }
    struct SafeMessage { bytes message; }

    interface Usdc {
        function transferWithAuthorization(
            address from, address to, uint256 value, uint256 validAfter, uint256 validBefore, bytes32 nonce, bytes signature
        ) external;
        function cancelAuthorization(address authorizer, bytes32 nonce, bytes signature) external;
        function transfer(address to, uint256 value) external returns (bool);
        function pause() external;
        function unpause() external;
        function blacklist(address account) external;
        function unBlacklist(address account) external;
    }
    interface Multicall3 {
        struct Call3 { address target; bool allowFailure; bytes callData; }
        struct Result { bool success; bytes returnData; }
        function aggregate3(Call3[] calldata calls) external payable returns (Result[] memory returnData);
    }
    interface AnybodysToken {
        function mint(address to, uint256 value) external;
    }
    interface Factory {
        function createWallet(address owner, bytes32 salt) external returns (address);
        function walletOf(address owner, bytes32 salt) external view returns (address);
    }
}

/// The structure that is signed. A careless verifier takes one for another, because the numbers are the same.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
pub enum Kind {
    /// The right one.
    #[default]
    TransferWithAuthorization,
    /// Only the recipient may land it.
    ReceiveWithAuthorization,
    /// It ends an authorization instead of using it.
    CancelAuthorization,
    /// An allowance (EIP-2612).
    Permit,
}

/// The fields of an authorization.
#[derive(Clone, Debug)]
pub struct Fields {
    /// Who pays.
    pub from: Address,
    /// Who is paid.
    pub to: Address,
    /// How much.
    pub value: U256,
    /// From when on.
    pub valid_after: U256,
    /// Until when.
    pub valid_before: U256,
    /// What makes it unique.
    pub nonce: B256,
}

impl Fields {
    /// Reads the member `authorization` of a payload.
    pub fn of(payload: &Value) -> Self {
        let text = |name: &str| payload["authorization"][name].as_str().expect("a string");
        Self {
            from: text("from").parse().expect("an address"),
            to: text("to").parse().expect("an address"),
            value: text("value").parse().expect("a number"),
            valid_after: text("validAfter").parse().expect("a number"),
            valid_before: text("validBefore").parse().expect("a number"),
            nonce: text("nonce").parse().expect("a nonce"),
        }
    }

    /// The hash that is signed.
    pub fn digest(&self, kind: Kind, domain: &Eip712Domain) -> B256 {
        let Self { from, to, value, valid_after, valid_before, nonce } = self.clone();
        let (after, before) = (valid_after, valid_before);
        match kind {
            Kind::TransferWithAuthorization => {
                TransferWithAuthorization { from, to, value, validAfter: after, validBefore: before, nonce }
                    .eip712_signing_hash(domain)
            }
            Kind::ReceiveWithAuthorization => {
                ReceiveWithAuthorization { from, to, value, validAfter: after, validBefore: before, nonce }
                    .eip712_signing_hash(domain)
            }
            Kind::CancelAuthorization => CancelAuthorization { authorizer: from, nonce }.eip712_signing_hash(domain),
            Kind::Permit => {
                Permit { owner: from, spender: to, value, nonce: nonce.into(), deadline: before }.eip712_signing_hash(domain)
            }
        }
    }
}

/// The signing domain of the chain's USDC.
pub fn usdc_domain(world: &Value) -> Eip712Domain {
    let text = |name: &str| world[name].as_str().expect("a string").to_owned();
    Eip712Domain::new(
        Some(text("usdcName").into()),
        Some(text("usdcVersion").into()),
        Some(U256::from(world["chainId"].as_u64().expect("a number"))),
        Some(text("usdc").parse().expect("an address")),
        None,
    )
}

/// An ordinary signature of a hash.
pub fn sign(key: &PrivateKeySigner, digest: B256) -> Vec<u8> {
    key.sign_hash_sync(&digest).expect("it signs").as_bytes().to_vec()
}

/// The signature that a Safe takes for a hash, from its only owner.
pub fn sign_for_safe(owner: &PrivateKeySigner, safe: Address, chain_id: u64, digest: B256) -> Vec<u8> {
    let domain = Eip712Domain::new(None, None, Some(U256::from(chain_id)), Some(safe), None);
    let message = SafeMessage { message: digest.abi_encode().into() };
    sign(owner, message.eip712_signing_hash(&domain))
}

/// A signature in the wrapper of ERC-6492.
pub fn wrap(factory: Address, calldata: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut wrapped = (factory, Bytes::copy_from_slice(calldata), Bytes::copy_from_slice(signature)).abi_encode_params();
    wrapped.extend([0x64, 0x92].repeat(16));
    wrapped
}

/// The call that lands a payload: anybody may make it.
pub fn landing(payload: &Value) -> Vec<u8> {
    let Fields { from, to, value, valid_after, valid_before, nonce } = Fields::of(payload);
    let signature = payload["signature"].as_str().expect("a string").parse::<Bytes>().expect("hexadecimal");
    Usdc::transferWithAuthorizationCall { from, to, value, validAfter: valid_after, validBefore: valid_before, nonce, signature }
        .abi_encode()
}

/// The call that cancels a payload's authorization.
pub fn cancelling(key: &PrivateKeySigner, payload: &Value, domain: &Eip712Domain) -> Vec<u8> {
    let fields = Fields::of(payload);
    let signature = sign(key, fields.digest(Kind::CancelAuthorization, domain)).into();
    Usdc::cancelAuthorizationCall { authorizer: fields.from, nonce: fields.nonce, signature }.abi_encode()
}

/// The address to which a factory deploys by CREATE2.
pub fn create2(factory: Address, salt: B256, code: &[u8]) -> Address {
    factory.create2(salt, keccak256(code))
}
