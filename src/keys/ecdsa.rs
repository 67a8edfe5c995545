//! What makes an ECDSA signature one of a transaction: a low `s`, and which of two keys it stands for.
//!
//! Keepers of keys speak of `r` and `s` alone, and half of them answer with a high `s`, which networks refuse (EIP-2).

use alloy::primitives::{B256, Signature};
use alloy::signers::k256::ecdsa;

/// The signature over `hash` in the one form in which `address` can have made it; `None` if it did not.
pub(super) fn made_by(address: [u8; 20], hash: B256, signature: &[u8; 64]) -> Option<Signature> {
    let signature = ecdsa::Signature::from_slice(signature).ok()?;
    let signature = signature.normalize_s().unwrap_or(signature);
    let either = [false, true].map(|parity| Signature::from_signature_and_parity(signature, parity));
    let is_its_own = |made: &Signature| made.recover_address_from_prehash(&hash).is_ok_and(|found| found.into_array() == address);
    either.into_iter().find(is_its_own)
}

/// `r` and `s` as DER has them.
pub(super) fn from_der(der: &[u8]) -> Option<[u8; 64]> {
    ecdsa::Signature::from_der(der).ok().map(|signature| signature.to_bytes().into())
}

/// `r` and `s`, one behind the other.
pub(super) fn bytes(signature: &Signature) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes.copy_from_slice(&signature.as_bytes()[..64]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::{U256, b256, uint};
    use alloy::signers::SignerSync;
    use alloy::signers::local::PrivateKeySigner;

    const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);

    fn key() -> PrivateKeySigner {
        PrivateKeySigner::from_bytes(&B256::repeat_byte(0x46)).unwrap()
    }

    #[test]
    fn a_high_s_becomes_a_low_one_with_the_other_parity() {
        let address = key().address().into_array();
        for byte in 0..8 {
            let hash = B256::repeat_byte(byte);
            let low = key().sign_hash_sync(&hash).unwrap();
            let high = bytes(&Signature::new(low.r(), ORDER - low.s(), !low.v()));

            assert_eq!(made_by(address, hash, &bytes(&low)), Some(low));
            assert_eq!(made_by(address, hash, &high), Some(low));
        }
    }

    #[test]
    fn what_another_key_signed_or_another_hash_is_none_of_ours() {
        let (address, hash) = (key().address().into_array(), B256::repeat_byte(1));
        let own = bytes(&key().sign_hash_sync(&hash).unwrap());
        let other = PrivateKeySigner::from_bytes(&B256::repeat_byte(0x47)).unwrap();

        assert!(made_by(address, hash, &own).is_some());
        assert_eq!(made_by(address, hash, &bytes(&other.sign_hash_sync(&hash).unwrap())), None);
        assert_eq!(made_by(address, B256::repeat_byte(2), &own), None);
        assert_eq!(made_by(address, hash, &[0; 64]), None);
        assert_eq!(made_by(address, hash, &[0xff; 64]), None);
    }

    #[test]
    fn r_and_s_are_read_out_of_der() {
        // A byte of zero stands before r, because its highest bit is set and it would be negative otherwise.
        let r = b256!("0xf6d6f3b1a1a2c7c1a3fef6b1d0c0aa0b4a4c94e4b1f36f6b6a6f2c2f6e5d4c3b");
        let s = b256!("0x0182030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20");
        let der = [&[0x30, 0x45, 0x02, 0x21, 0x00], r.as_slice(), &[0x02, 0x20], s.as_slice()].concat();

        assert_eq!(from_der(&der).unwrap().as_slice(), [r, s].concat());
        assert_eq!(from_der(&der[..70]), None);
        assert_eq!(from_der(&[]), None);
        assert_eq!(from_der(&[der.as_slice(), &[0]].concat()), None);
    }
}
