//! Proof that whoever has the key of an address signed a text. The key is the address, so no node is asked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::message::SignatureBytes;
use super::signature::is_valid;
use crate::chain::address::Proof;
use crate::domain::address::{Address, decode_base58_pair};

/// Characters of 64 bytes in base64. The last two are padding, which base58 does not have, so no text can be both.
const BASE64_CHARS: usize = 88;

/// Whether `signature`, in base58 or base64, is one of `address` over the bytes of `text`.
pub fn verify(address: Address, text: &str, signature: &str) -> Proof {
    let Some(signature) = read(signature) else { return Proof::Malformed };
    match address {
        Address::Solana(key) if is_valid(&key, text.as_bytes(), &signature) => Proof::Valid,
        Address::Solana(_) | Address::Evm(_) => Proof::Invalid,
    }
}

/// Wallets hand out bytes, and their users print them in base58, as the network does, or in base64. `None` if the text is no signature.
pub fn read(text: &str) -> Option<SignatureBytes> {
    decode_base58_pair(text).or_else(|| decode_base64(text))
}

fn decode_base64(text: &str) -> Option<SignatureBytes> {
    let text = Some(text).filter(|text| text.len() == BASE64_CHARS)?;
    STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::{decode_hex, encode_base58};

    /// The second vector of RFC 8032, whose message is a letter.
    const TEXT: &str = "r";

    fn signer() -> Address {
        Address::Solana(decode_hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c").unwrap())
    }

    fn signature() -> SignatureBytes {
        decode_hex("92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00").unwrap()
    }

    #[test]
    fn only_the_key_itself_proves_itself() {
        let text = encode_base58(&signature());

        assert_eq!(verify(signer(), TEXT, &text), Proof::Valid);
        assert_eq!(verify(signer(), TEXT, &STANDARD.encode(signature())), Proof::Valid);
        assert_eq!(verify(signer(), "R", &text), Proof::Invalid);
        assert_eq!(verify(signer(), "", &text), Proof::Invalid);
        assert_eq!(verify(Address::Solana([7; 32]), TEXT, &text), Proof::Invalid);
        assert_eq!(verify(Address::Evm([7; 20]), TEXT, &text), Proof::Invalid);
        assert_eq!(verify(signer(), TEXT, &encode_base58(&[1; 64])), Proof::Invalid);
    }

    #[test]
    fn a_signature_is_64_bytes_in_base58_or_base64() {
        let base58 = encode_base58(&signature());
        let base64 = STANDARD.encode(signature());

        assert_eq!(base64.len(), BASE64_CHARS);
        for malformed in [
            "",
            "1",
            &format!("{base58} "),
            &format!("1{base58}"),
            &encode_base58(&[1; 63]),
            &encode_base58(&[1; 65]),
            base64.trim_end_matches('='),
            &STANDARD.encode([1; 63]),
            &STANDARD.encode([1; 65]),
            &format!("{}==", "é".repeat(43)),
            &format!("0x{}", "92".repeat(64)),
            &"1".repeat(100_000),
        ] {
            assert_eq!(verify(signer(), TEXT, malformed), Proof::Malformed, "{malformed:.60?}");
        }
    }
}
