//! What the payer signed, and whether an ordinary account signed it.
//!
//! Whether the payer *is* an ordinary account only the chain knows, and the token asks the payer's code where there is any
//! (EIP-1271, EIP-7702). So a signature that does not recover is not refused here; the simulation decides.

use alloy::primitives::{Address as EvmAddress, B256, Bytes, Signature, U256, b256, keccak256};
use alloy::sol_types::{SolStruct, SolValue};

use super::super::abi::TransferWithAuthorization;
use super::evm;
use crate::domain::address::Address;
use crate::domain::asset::Asset;
use crate::domain::reason::{Reason, Refusal};
use crate::x402::exact_evm::Eip3009Payload;

/// The end of a signature that is wrapped with its wallet's deployment (ERC-6492).
const WRAPPER: B256 = b256!("6492649264926492649264926492649264926492649264926492649264926492");

/// A signature of an ordinary account, as the token's function for such takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainSignature {
    /// 27 or 28; USDC reverts on 0 and 1.
    pub v: u8,
    /// The first half.
    pub r: B256,
    /// The second half, in the lower half of its range.
    pub s: B256,
}

/// How to deploy a wallet that does not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// The contract that deploys it.
    pub factory: EvmAddress,
    /// What to call there.
    pub calldata: Bytes,
}

/// The EIP-712 domain separator of a token, from our own table. `None` for a token that payers sign nothing under.
#[must_use]
pub fn separator(asset: &Asset, chain_id: u64) -> Option<B256> {
    let domain = asset.domain()?;
    let domain = alloy::sol_types::eip712_domain! {
        name: domain.name.clone(),
        version: domain.version.clone(),
        chain_id: chain_id,
        verifying_contract: evm(asset.address),
    };
    Some(domain.separator())
}

/// The hash that the payer signs.
#[must_use]
pub fn digest(separator: B256, message: &Eip3009Payload) -> B256 {
    let message = TransferWithAuthorization {
        from: evm(message.from),
        to: evm(message.to),
        value: U256::from(message.value.units()),
        validAfter: U256::from(message.valid_after),
        validBefore: U256::from(message.valid_before),
        nonce: message.nonce.into(),
    };
    keccak256([&[0x19, 0x01], separator.as_slice(), message.eip712_hash_struct().as_slice()].concat())
}

/// Takes off the wrapper of ERC-6492, if there is one. A zero factory deploys nothing.
///
/// # Errors
/// [`Reason::SignatureUnreadable`] for a wrapper that cannot be read, [`Reason::FactoryNotAllowed`] for one inside another: no
/// factory that we allow makes such.
pub fn unwrap(signature: &[u8]) -> Result<(Bytes, Option<Deployment>), Refusal> {
    let Some(wrapped) = signature.strip_suffix(WRAPPER.as_slice()) else {
        return Ok((signature.to_vec().into(), None));
    };
    let (factory, calldata, inner) = <(EvmAddress, Bytes, Bytes)>::abi_decode_params_validate(wrapped)
        .map_err(|_| Refusal::from(Reason::SignatureUnreadable))?;
    if inner.ends_with(WRAPPER.as_slice()) {
        return Err(Refusal::because(Reason::FactoryNotAllowed, "the signature is wrapped twice"));
    }
    let deployment = (!factory.is_zero()).then_some(Deployment { factory, calldata });
    Ok((inner, deployment))
}

/// The signature in parts if `signer` made it as an ordinary account: 65 bytes, `s` in its lower half (EIP-2), recovering to it.
#[must_use]
pub fn plain(signature: &[u8], digest: B256, signer: Address) -> Option<PlainSignature> {
    let signature: &[u8; 65] = signature.try_into().ok()?;
    let parity = match signature[64] {
        0 | 27 => false,
        1 | 28 => true,
        _ => return None,
    };
    let (r, s) = (B256::from_slice(&signature[..32]), B256::from_slice(&signature[32..64]));
    let parsed = Signature::new(r.into(), s.into(), parity);
    let canonical = parsed.normalize_s().is_none();
    let recovered = parsed.recover_address_from_prehash(&digest).ok()?;
    (canonical && recovered == evm(signer) && !recovered.is_zero()).then_some(PlainSignature { v: 27 + u8::from(parity), r, s })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::evm::exact::tests::{asset, golden};
    use crate::domain::asset::known;

    #[test]
    fn separators_are_those_of_the_real_tokens() {
        let of = |network: &str, id| separator(&known(&network.parse().unwrap())[0], id).unwrap().to_string();

        assert_eq!(of("eip155:8453", 8453), "0x02fa7265e7c5d81118673727957699e4d68f74cd74b7db77da710fe8a2c7834f");
        assert_eq!(of("eip155:84532", 84532), "0x71f17a3b2ff373b803d70a5a07c046c1a2bc8e89c09ef722fcb047abe94c9818");
        assert_eq!(of("eip155:1329", 1329), "0x0a19136106ae98d2c245cbbd451f3cb2bbbb1670e1ee191abacb5a5e255c0255");
    }

    #[test]
    fn the_golden_authorization_recovers_to_its_payer() {
        let message = golden();
        let digest = digest(separator(&asset(), 84532).unwrap(), &message);

        assert_eq!(digest.to_string(), "0x50708d3bf7216e1aeabe7bf22081b9f36c7c287530f92510318f13a03d89dc86");
        assert_eq!(plain(&message.signature, digest, message.from).map(|signature| signature.v), Some(27));
    }

    #[test]
    fn only_the_canonical_signature_of_the_payer_is_plain() {
        let message = golden();
        let digest = digest(separator(&asset(), 84532).unwrap(), &message);
        let signature: [u8; 65] = message.signature.clone().try_into().unwrap();
        let with = |index: usize, byte| {
            let mut changed = signature;
            changed[index] = byte;
            plain(&changed, digest, message.from)
        };
        let high_s = {
            let order = U256::from_be_slice(&b256!("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")[..]);
            let mut twin = signature;
            let s = U256::from_be_slice(&twin[32..64]);
            twin[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
            twin[64] = 28;
            twin
        };

        assert_eq!(with(64, 0).map(|signature| signature.v), Some(27));
        assert_eq!(with(64, 28), None);
        assert_eq!(with(64, 29), None);
        assert_eq!(with(64, 255), None);
        assert_eq!(with(0, signature[0] ^ 1), None);
        assert_eq!(plain(&high_s, digest, message.from), None);
        assert_eq!(plain(&signature[..64], digest, message.from), None);
        assert_eq!(plain(&signature, digest, Address::Evm([0; 20])), None);
        assert_eq!(plain(&[0; 65], digest, message.from), None);
    }

    #[test]
    fn a_wrapper_is_taken_off_once() {
        // Made with viem: factory 0x0BA5…428a, calldata 0x1234, signature 0xabcd.
        let factory: EvmAddress = "0x0BA5ED0c6AA8c49038F819E587E2633c4A9F428a".parse().unwrap();
        let wrap = |factory: EvmAddress, inner: &[u8]| {
            let mut wrapped = (factory, Bytes::from_static(&[0x12, 0x34]), Bytes::copy_from_slice(inner)).abi_encode_params();
            wrapped.extend_from_slice(WRAPPER.as_slice());
            wrapped
        };
        let once = wrap(factory, &[0xab, 0xcd]);

        let (inner, deployment) = unwrap(&once).unwrap();
        assert_eq!(inner.as_ref(), [0xab, 0xcd]);
        assert_eq!(deployment, Some(Deployment { factory, calldata: Bytes::from_static(&[0x12, 0x34]) }));
        assert_eq!(unwrap(&wrap(EvmAddress::ZERO, &[0xab])).unwrap(), (Bytes::from_static(&[0xab]), None));
        assert_eq!(unwrap(&wrap(factory, &once)).unwrap_err().reason, Reason::FactoryNotAllowed);
        for unreadable in [[&once[..40], WRAPPER.as_slice()].concat(), WRAPPER.to_vec()] {
            assert_eq!(unwrap(&unreadable).unwrap_err().reason, Reason::SignatureUnreadable);
        }
    }
}
