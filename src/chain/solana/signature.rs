//! Ed25519 signatures, as strictly as the network checks them.

use ed25519_dalek::{Signature, VerifyingKey};

use super::message::{Key, SignatureBytes};

/// Whether `signer` made `signature` over `message`.
///
/// Strict: keys and signatures of small order, for which one signature can fit several messages, are none.
#[must_use]
pub fn is_valid(signer: &Key, message: &[u8], signature: &SignatureBytes) -> bool {
    VerifyingKey::from_bytes(signer).is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::decode_hex;

    #[test]
    fn the_first_two_vectors_of_rfc_8032_are_valid_and_do_not_fit_each_other() {
        let key = |text| decode_hex(text).unwrap();
        let vectors: [(Key, SignatureBytes, &[u8]); 2] = [
            (
                key("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
                decode_hex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b").unwrap(),
                &[],
            ),
            (
                key("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"),
                decode_hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00").unwrap(),
                &[0x72],
            ),
        ];
        for (index, (key, signature, message)) in vectors.iter().enumerate() {
            for (other, (_, _, said)) in vectors.iter().enumerate() {
                assert_eq!(is_valid(key, said, signature), index == other);
            }
            assert!(is_valid(key, message, signature));
        }
    }

    #[test]
    fn a_key_of_small_order_signs_nothing() {
        // The neutral element signs everything for a check that is not strict: R and A neutral, s zero.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        assert!(!is_valid(&neutral, b"anything", &signature));
        assert!(!is_valid(&[0; 32], b"anything", &[0; 64]));
    }

    #[test]
    fn a_signature_has_one_form() {
        // The order of the curve's group added to the second half gives the same number for a check that is not strict.
        let order: [u8; 32] = decode_hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        let key = decode_hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").unwrap();
        let mut signature: SignatureBytes = decode_hex("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b").unwrap();
        assert!(is_valid(&key, &[], &signature));
        let mut carry = 0;
        for (byte, more) in signature[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            *byte = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        assert!(!is_valid(&key, &[], &signature));
    }
}
