//! Addresses on a network, in the one spelling that the ledger stores.

use std::fmt;

use sha3::{Digest, Keccak256};

use super::network::Family;

/// An account or contract on a network. One variant for each chain family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// Twenty bytes, printed with the checksum of EIP-55.
    Evm([u8; 20]),
    /// An account's 32 bytes, printed in base58: a public key, or an address that a program derived.
    Solana([u8; 32]),
}

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseAddressError {
    /// Not `0x` and forty hexadecimal digits.
    #[error("not 0x and 40 hexadecimal digits")]
    Malformed,
    /// Mixed case that disagrees with EIP-55: very likely a typing mistake.
    #[error("the mixed-case checksum (EIP-55) is wrong")]
    Checksum,
    /// Not exactly 32 bytes in base58.
    #[error("not 32 bytes in base58")]
    Base58,
}

impl Address {
    /// Reads an address of `family`.
    ///
    /// EVM: all lower case, all upper case, or the correct checksum of EIP-55. Solana: base58, which has one text for 32 bytes.
    ///
    /// # Errors
    /// See [`ParseAddressError`].
    pub fn parse(family: Family, text: &str) -> Result<Self, ParseAddressError> {
        match family {
            Family::Eip155 => parse_evm(text).map(Self::Evm),
            Family::Solana => decode_base58(text).map(Self::Solana).ok_or(ParseAddressError::Base58),
        }
    }

    /// Reads an address whose family only the text tells, as in the ledger. Base58 has no zero, with which all others begin.
    ///
    /// # Errors
    /// See [`ParseAddressError`].
    pub fn parse_any(text: &str) -> Result<Self, ParseAddressError> {
        let family = if text.starts_with('0') { Family::Eip155 } else { Family::Solana };
        Self::parse(family, text)
    }

    /// The bytes, without the family.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Evm(bytes) => bytes,
            Self::Solana(bytes) => bytes,
        }
    }
}

fn parse_evm(text: &str) -> Result<[u8; 20], ParseAddressError> {
    let digits = text.strip_prefix("0x").ok_or(ParseAddressError::Malformed)?;
    let bytes = decode_hex::<20>(digits).ok_or(ParseAddressError::Malformed)?;
    let lower = !digits.bytes().any(|byte| byte.is_ascii_uppercase());
    let upper = !digits.bytes().any(|byte| byte.is_ascii_lowercase());
    if lower || upper || checksummed(&bytes) == text { Ok(bytes) } else { Err(ParseAddressError::Checksum) }
}

/// Reads exactly `N` bytes from hexadecimal digits of either case, without a prefix.
#[must_use]
pub fn decode_hex<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let digits = digits.as_bytes();
    if digits.len() != N.checked_mul(2)? {
        return None;
    }
    let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

/// Writes bytes as lower-case hexadecimal digits behind `0x`.
#[must_use]
pub fn encode_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 + bytes.len() * 2);
    text.push_str("0x");
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 0x0f)]));
    }
    text
}

/// Fewest and most base58 digits of 64 bytes.
const BASE58_PAIR_DIGITS: std::ops::RangeInclusive<usize> = 64..=88;

/// Fewest and most base58 digits of 32 bytes.
const BASE58_DIGITS: std::ops::RangeInclusive<usize> = 32..=44;

/// Reads exactly 32 bytes from base58 in the alphabet of Bitcoin, which is Solana's.
///
/// Each leading `1` is a leading zero byte, so different texts are different bytes.
#[must_use]
pub fn decode_base58(text: &str) -> Option<[u8; 32]> {
    // The work grows with the square of the length.
    let text = Some(text).filter(|text| BASE58_DIGITS.contains(&text.len()))?;
    let mut bytes = [0; 32];
    (bs58::decode(text).onto(&mut bytes) == Ok(bytes.len())).then_some(bytes)
}

/// Reads exactly 64 bytes from base58: the secret and the public key of an account, as wallets export them, or a signature.
#[must_use]
pub fn decode_base58_pair(text: &str) -> Option<[u8; 64]> {
    let text = Some(text).filter(|text| BASE58_PAIR_DIGITS.contains(&text.len()))?;
    let mut bytes = [0; 64];
    (bs58::decode(text).onto(&mut bytes) == Ok(bytes.len())).then_some(bytes)
}

/// Writes bytes in base58.
#[must_use]
pub fn encode_base58(bytes: &[u8]) -> String {
    bs58::encode(bytes).into_string()
}

/// Whether a byte is a digit of base58.
#[must_use]
pub const fn is_base58_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() && !matches!(byte, b'0' | b'O' | b'I' | b'l')
}

/// EIP-55: a letter is upper case where the hash of the lower-case digits has a nibble of eight or more.
fn checksummed(bytes: &[u8; 20]) -> String {
    let lower = encode_hex(bytes);
    let hash = Keccak256::digest(&lower.as_bytes()[2..]);
    let digits = lower[2..].char_indices().map(|(index, digit)| {
        let byte = hash[index / 2];
        let nibble = if index % 2 == 0 { byte >> 4 } else { byte & 0x0f };
        if nibble >= 8 { digit.to_ascii_uppercase() } else { digit }
    });
    "0x".chars().chain(digits).collect()
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evm(bytes) => formatter.write_str(&checksummed(bytes)),
            Self::Solana(bytes) => formatter.write_str(&encode_base58(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_of_eip_55_is_kept() {
        // The examples of EIP-55 itself.
        for text in [
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
            "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
            "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
        ] {
            let address = Address::parse(Family::Eip155, text).unwrap();
            assert_eq!(address.to_string(), text);
            assert_eq!(Address::parse(Family::Eip155, &text.to_lowercase()), Ok(address));
            assert_eq!(Address::parse(Family::Eip155, &format!("0x{}", text[2..].to_uppercase())), Ok(address));
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        let address = |text: &str| Address::parse(Family::Eip155, text);
        assert_eq!(address("0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed"), Err(ParseAddressError::Checksum));
        for text in [
            "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0X5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed0",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg",
            "",
        ] {
            assert_eq!(address(text), Err(ParseAddressError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn base58_has_one_text_for_an_address() {
        let solana = |text: &str| Address::parse(Family::Solana, text);
        let system = "1".repeat(32);
        assert_eq!(solana(&system), Ok(Address::Solana([0; 32])));
        assert_eq!(solana(&system).unwrap().to_string(), system);
        let usdc = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
        assert_eq!(solana(usdc).unwrap().to_string(), usdc);
        for text in [
            "",
            "1",
            &"1".repeat(31),
            &"1".repeat(33),
            &format!("1{usdc}"),
            &format!("{usdc} "),
            &format!(" {usdc}"),
            &usdc[2..],
            &usdc.replace('E', "0"),
            &usdc.replace('E', "l"),
            &"z".repeat(44),
            &"1".repeat(100_000),
            "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
            "é",
        ] {
            assert_eq!(solana(text), Err(ParseAddressError::Base58), "{text:.60?}");
        }
    }

    proptest! {
        #[test]
        fn the_text_tells_the_family(evm: [u8; 20], solana: [u8; 32]) {
            for address in [Address::Evm(evm), Address::Solana(solana)] {
                prop_assert_eq!(Address::parse_any(&address.to_string()), Ok(address));
            }
        }

        #[test]
        fn what_is_read_from_base58_is_written_the_same(text in "[1-9A-HJ-NP-Za-km-z]{30,46}") {
            if let Some(bytes) = decode_base58(&text) {
                prop_assert_eq!(encode_base58(&bytes), text);
            }
        }
    }
}
