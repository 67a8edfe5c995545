//! What a payer signs for Permit2, and whether an ordinary account signed it.

use alloy::primitives::{B256, U256, keccak256};
use alloy::sol_types::{SolStruct, eip712_domain};

use super::super::abi::{ExactProxy, UptoProxy};
use super::super::exact::evm;
use super::super::exact::signature::{PlainSignature, plain as recover};
use super::{PERMIT2, Permit, Proxy};
use crate::domain::address::Address;

/// The 65 bytes of an ordinary account's signature, the last of them 27 or 28.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain(pub [u8; 65]);

impl From<PlainSignature> for Plain {
    fn from(PlainSignature { v, r, s }: PlainSignature) -> Self {
        let mut bytes = [0; 65];
        bytes[..32].copy_from_slice(r.as_slice());
        bytes[32..64].copy_from_slice(s.as_slice());
        bytes[64] = v;
        Self(bytes)
    }
}

/// The EIP-712 domain separator of Permit2 on a chain. Its domain has no version.
#[must_use]
pub fn separator(chain_id: u64) -> B256 {
    eip712_domain! { name: "Permit2", chain_id: chain_id, verifying_contract: PERMIT2, }.separator()
}

/// The hash that the payer signs.
#[must_use]
pub fn digest(separator: B256, permit: &Permit) -> B256 {
    let message = &permit.message;
    let (spender, nonce) = (evm(message.spender), U256::from_be_bytes(message.nonce));
    let (amount, deadline) = (U256::from(message.permitted.units()), U256::from(message.deadline));
    let (to, valid_after, token) = (evm(message.to), U256::from(message.valid_after), permit.token());
    let hash = match permit.proxy {
        Proxy::Exact => ExactProxy::PermitWitnessTransferFrom {
            permitted: ExactProxy::TokenPermissions { token, amount },
            spender,
            nonce,
            deadline,
            witness: ExactProxy::Witness { to, validAfter: valid_after },
        }
        .eip712_hash_struct(),
        Proxy::Upto(facilitator) => UptoProxy::PermitWitnessTransferFrom {
            permitted: UptoProxy::TokenPermissions { token, amount },
            spender,
            nonce,
            deadline,
            witness: UptoProxy::Witness { to, facilitator, validAfter: valid_after },
        }
        .eip712_hash_struct(),
    };
    keccak256([&[0x19, 0x01], separator.as_slice(), hash.as_slice()].concat())
}

/// The signature as the contracts take it, if `signer` made it as an ordinary account (see [`recover`]).
#[must_use]
pub fn plain(signature: &[u8], digest: B256, signer: Address) -> Option<Plain> {
    recover(signature, digest, signer).map(Plain::from)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{golden, golden_upto, permit, token_separator};
    use super::*;
    use crate::x402::permit2::Permit2Payload;

    const BASE_SEPOLIA: u64 = 84_532;

    #[test]
    fn the_separators_are_those_of_the_real_contract() {
        let base = "0x3b6f35e4fce979ef8eac3bcdc8c3fc38fe7911bb0c69c8fe72bf1fd1a17e6f07";
        let base_sepolia = "0x010f27a92fb9a32622f44f001dc4d15706a85b33499cfc2ce9033113ab26592c";

        assert_eq!(separator(8_453).to_string(), base);
        assert_eq!(separator(BASE_SEPOLIA).to_string(), base_sepolia);
    }

    #[test]
    fn what_is_hashed_is_what_other_libraries_hash() {
        let of = |message| digest(separator(BASE_SEPOLIA), &permit(message)).to_string();

        assert_eq!(of(golden()), "0x06a4918ad77eb4494644e8b34414bbffa54c824ab15356c0de09335b83126c41");
        assert_eq!(of(golden_upto()), "0x36a38e0895f6913ba0e1a0681519ff5d82ddeedfd9acfc603a83e12636e119fa");
    }

    #[test]
    fn only_the_payers_own_signature_is_plain() {
        let plain = |message: Permit2Payload| permit(message).examined(separator(BASE_SEPOLIA), token_separator()).plain;
        let mut altered = golden();
        altered.signature[3] ^= 1;
        let zero_based = {
            let mut twin = golden();
            twin.signature[64] -= 27;
            twin
        };

        assert_eq!(plain(golden()).map(|plain| plain.0.to_vec()), Some(golden().signature));
        assert_eq!(plain(zero_based).map(|plain| plain.0.to_vec()), Some(golden().signature), "as the contracts take it");
        assert_eq!(plain(altered), None);
        assert_eq!(plain(golden_upto()), None, "signed for the other scheme");
        assert_eq!(plain(Permit2Payload { valid_after: 1, ..golden() }), None);
    }
}
