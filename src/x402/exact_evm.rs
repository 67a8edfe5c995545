//! What the payer signed for scheme `exact` on EVM networks, as it travels and as the ledger stores it.

use serde_json::{Value, json};

use super::members::Members;
use super::permit2;
use crate::domain::address::{Address, ParseAddressError, decode_hex, encode_hex};
use crate::domain::amount::{Amount, is_decimal_integer};
use crate::domain::network::Family;
use crate::domain::reason::{Reason, Refusal};

/// Longest signature. A nested wallet signature with its ERC-6492 wrapper stays below 2 KiB.
pub const SIGNATURE_BYTES_MAX: usize = 4096;

/// The largest `uint256`, which bounds what a token can take as a time.
const UINT256_MAX: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";

/// A transfer that the token makes on the payer's signature (EIP-3009), in the names of the standard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eip3009Payload {
    /// What the payer's account or wallet accepts as its signature, not yet looked at.
    pub signature: Vec<u8>,
    /// Who pays.
    pub from: Address,
    /// Who is paid.
    pub to: Address,
    /// How much.
    pub value: Amount,
    /// The second after which the authorization is valid.
    ///
    /// A time beyond 64 bits reads as `u64::MAX`. That fails closed: no window admits it, and what was signed over the true
    /// time is no signature over this one.
    pub valid_after: u64,
    /// The second before which the authorization is valid; beyond 64 bits as for `valid_after`.
    pub valid_before: u64,
    /// What makes the authorization unique among the payer's.
    pub nonce: [u8; 32],
}

impl Eip3009Payload {
    /// Reads the member `payload` of a payment. The kind is decided by shape, as all implementations do.
    ///
    /// # Errors
    /// [`Reason::UnsupportedPayloadType`] for the kinds that are known but not taken (Permit2, ERC-7710);
    /// [`Reason::InvalidPayload`] for everything else that is not a well-formed EIP-3009 authorization.
    pub fn parse(payload: &Value) -> Result<Self, Refusal> {
        let payload = Members::of(payload, "payload", Reason::InvalidPayload)?;
        refuse_other_kinds(&payload)?;
        let authorization = payload.object("authorization", "payload.authorization")?;
        Ok(Self {
            signature: payload.parsed("signature", signature)?,
            from: authorization.parsed("from", address)?,
            to: authorization.parsed("to", address)?,
            value: authorization.parsed("value", str::parse)?,
            valid_after: authorization.parsed("validAfter", time)?,
            valid_before: authorization.parsed("validBefore", time)?,
            nonce: authorization.parsed("nonce", nonce)?,
        })
    }

    /// Writes the payload in its canonical form, which [`Self::parse`] reads back.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "signature": encode_hex(&self.signature),
            "authorization": {
                "from": self.from.to_string(),
                "to": self.to.to_string(),
                "value": self.value.to_string(),
                "validAfter": self.valid_after.to_string(),
                "validBefore": self.valid_before.to_string(),
                "nonce": encode_hex(&self.nonce),
            },
        })
    }
}

/// Members that only another kind of payload has. A payload that has them beside an authorization is ambiguous, and the
/// reference implementations look for Permit2 first.
const OTHER_KINDS: [&str; 3] = [permit2::AUTHORIZATION, "delegationManager", "permissionContext"];

fn refuse_other_kinds(payload: &Members<'_>) -> Result<(), Refusal> {
    match OTHER_KINDS.into_iter().find(|name| payload.get(name).is_some()) {
        Some(name) => Err(Refusal::because(Reason::UnsupportedPayloadType, format!("payload.{name}: is not supported"))),
        None => Ok(()),
    }
}

pub(super) fn address(text: &str) -> Result<Address, ParseAddressError> {
    Address::parse(Family::Eip155, text)
}

fn nonce(text: &str) -> Result<[u8; 32], &'static str> {
    text.strip_prefix("0x").and_then(decode_hex).ok_or("not 0x and 64 hexadecimal digits")
}

/// Reads a signature: `0x` and an even number of hexadecimal digits, for one byte at least and [`SIGNATURE_BYTES_MAX`] at most.
///
/// # Errors
/// What is wrong with it, in words.
pub fn signature(text: &str) -> Result<Vec<u8>, &'static str> {
    let digits = text.strip_prefix("0x").ok_or("does not begin with 0x")?;
    match digits.len().div_ceil(2) {
        0 => Err("is empty"),
        1..=SIGNATURE_BYTES_MAX => bytes(digits).ok_or("not an even number of hexadecimal digits"),
        _ => Err("is longer than 4096 bytes"),
    }
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let byte = |pair| decode_hex::<1>(str::from_utf8(pair).ok()?).map(|[byte]| byte);
    digits.as_bytes().chunks(2).map(byte).collect()
}

pub(super) fn time(text: &str) -> Result<u64, &'static str> {
    if !is_decimal_integer(text) {
        return Err("not a decimal integer without sign, spaces or leading zeros");
    }
    // Without leading zeros, the longer number is the larger one, and equally long ones compare as texts.
    if (text.len(), text) > (UINT256_MAX.len(), UINT256_MAX) {
        return Err("larger than 2^256 - 1");
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UINT256_MAX_PLUS_1: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639936";

    fn wire() -> Value {
        let body: Value = serde_json::from_str(include_str!("../../tests/vectors/x402/exact-eip3009-v2.json")).unwrap();
        body["paymentPayload"]["payload"].clone()
    }

    fn with(pointer: &str, value: impl Into<Value>) -> Result<Eip3009Payload, Reason> {
        let mut payload = wire();
        *payload.pointer_mut(pointer).unwrap() = value.into();
        Eip3009Payload::parse(&payload).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn the_example_of_the_specification_is_read_and_written_back() {
        let payload = Eip3009Payload::parse(&wire()).unwrap();
        assert_eq!(payload.from.to_string(), "0x857b06519E91e3A54538791bDbb0E22373e36b66");
        assert_eq!(payload.to.to_string(), "0x209693Bc6afc0C5328bA36FaF03C514EF312287C");
        assert_eq!(payload.value, Amount::new(10_000));
        assert_eq!((payload.valid_after, payload.valid_before), (1_740_672_089, 1_740_672_154));
        assert_eq!(payload.nonce[..4], [0xf3, 0x74, 0x66, 0x13]);
        assert_eq!((payload.signature.len(), payload.signature[64]), (65, 0x1c));
        assert_eq!(payload.to_json(), wire());
    }

    #[test]
    fn only_one_grammar_is_a_number() {
        // Rows 23 to 29 and 33.
        let long = "9".repeat(100_000);
        for text in [
            "010000",
            "+10000",
            " 10000",
            "10000\n",
            "10_000",
            "10,000",
            "1e4",
            "10000.0",
            "1E4",
            "0x2710",
            "0b1",
            "0o7",
            "",
            "-1",
            "-0",
            "１００００",
            "٣",
            UINT256_MAX_PLUS_1,
            &long,
        ] {
            for pointer in ["/authorization/value", "/authorization/validAfter", "/authorization/validBefore"] {
                assert_eq!(with(pointer, text), Err(Reason::InvalidPayload), "{pointer} {text:.20?}");
            }
        }
        // Row 30.
        for number in [Value::from(10_000), Value::from(1e4)] {
            assert_eq!(with("/authorization/value", number), Err(Reason::InvalidPayload));
        }
    }

    #[test]
    fn a_value_has_128_bits_and_a_time_has_256() {
        // Row 31.
        assert_eq!(with("/authorization/value", u128::MAX.to_string()).unwrap().value, Amount::new(u128::MAX));
        assert_eq!(with("/authorization/value", "340282366920938463463374607431768211456"), Err(Reason::InvalidPayload));
        for (text, seconds) in
            [("0", 0), ("18446744073709551615", u64::MAX), ("18446744073709551616", u64::MAX), (UINT256_MAX, u64::MAX)]
        {
            assert_eq!(with("/authorization/validAfter", text).unwrap().valid_after, seconds, "{text}");
            assert_eq!(with("/authorization/validBefore", text).unwrap().valid_before, seconds, "{text}");
        }
    }

    #[test]
    fn only_one_grammar_is_an_address() {
        // Row 35.
        for text in [
            "857b06519E91e3A54538791bDbb0E22373e36b66",
            "0x857b06519E91e3A54538791bDbb0E22373e36b6",
            "0x857b06519E91e3A54538791bDbb0E22373e36b666",
            "0X857b06519E91e3A54538791bDbb0E22373e36b66",
            "0x857B06519E91e3A54538791bDbb0E22373e36b66",
            "",
        ] {
            for pointer in ["/authorization/from", "/authorization/to"] {
                assert_eq!(with(pointer, text), Err(Reason::InvalidPayload), "{text:?}");
            }
        }
        for text in ["0x857b06519e91e3a54538791bdbb0e22373e36b66", "0x857B06519E91E3A54538791BDBB0E22373E36B66"] {
            assert_eq!(with("/authorization/from", text).unwrap(), Eip3009Payload::parse(&wire()).unwrap());
        }
    }

    #[test]
    fn a_nonce_is_exactly_32_bytes() {
        // Row 38.
        let digits = "ab".repeat(32);
        assert!(with("/authorization/nonce", format!("0x{digits}")).is_ok());
        for text in [
            format!("0x{}", &digits[2..]),
            format!("0x{digits}ab"),
            digits.clone(),
            format!("0x{}", &digits[1..]),
            format!("0X{digits}"),
            String::new(),
        ] {
            assert_eq!(with("/authorization/nonce", text.as_str()), Err(Reason::InvalidPayload), "{text:?}");
        }
    }

    #[test]
    fn a_signature_is_hexadecimal_and_neither_empty_nor_endless() {
        // Row 51. What 66 bytes are worth is for the payer's wallet to say.
        for bytes in [1, 64, 65, 66, SIGNATURE_BYTES_MAX] {
            assert_eq!(with("/signature", format!("0x{}", "aB".repeat(bytes))).unwrap().signature, vec![0xab; bytes]);
        }
        let too_long = format!("0x{}", "ab".repeat(SIGNATURE_BYTES_MAX + 1));
        for text in ["", "0x", "ab", "0xa", "0xabc", "0xag", "0x€", "0xaé", "0x ab", "0X12", "0x+1", &too_long] {
            assert_eq!(with("/signature", text), Err(Reason::InvalidPayload), "{text:.20?}");
        }
    }

    #[test]
    fn the_shape_decides_the_kind() {
        for (payload, reason) in [
            (json!({"signature": "0x00", "permit2Authorization": {"from": "0x"}}), Reason::UnsupportedPayloadType),
            (json!({"delegationManager": "0x", "permissionContext": "0x", "delegator": "0x"}), Reason::UnsupportedPayloadType),
            (json!({"permissionContext": "0x"}), Reason::UnsupportedPayloadType),
            (json!({"transaction": "AQAB"}), Reason::InvalidPayload),
            (json!({"signature": "0x00"}), Reason::InvalidPayload),
            (json!({"signature": "0x00", "authorization": null}), Reason::InvalidPayload),
            (json!({"signature": "0x00", "authorization": "0x"}), Reason::InvalidPayload),
            (json!({}), Reason::InvalidPayload),
            (json!([]), Reason::InvalidPayload),
        ] {
            assert_eq!(Eip3009Payload::parse(&payload).map_err(|refusal| refusal.reason), Err(reason), "{payload}");
        }
        let mut both = wire();
        both["permit2Authorization"] = json!({});
        assert_eq!(Eip3009Payload::parse(&both).map_err(|refusal| refusal.reason), Err(Reason::UnsupportedPayloadType));
        both["permit2Authorization"] = Value::Null;
        assert!(Eip3009Payload::parse(&both).is_ok());
    }

    #[test]
    fn each_member_is_needed_and_unknown_ones_are_not_read() {
        for pointer in ["from", "to", "value", "validAfter", "validBefore", "nonce"] {
            let mut payload = wire();
            payload["authorization"].as_object_mut().unwrap().remove(pointer);
            assert_eq!(
                Eip3009Payload::parse(&payload).map_err(|refusal| refusal.reason),
                Err(Reason::InvalidPayload),
                "{pointer}"
            );
        }
        let mut payload = wire();
        payload["authorization"]["hint"] = json!([1, 2]);
        payload["v"] = json!(27);
        assert_eq!(Eip3009Payload::parse(&payload).unwrap().to_json(), wire());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            signature in prop::collection::vec(any::<u8>(), 1..200),
            from: [u8; 20],
            to: [u8; 20],
            value: u128,
            valid_after: u64,
            valid_before: u64,
            nonce: [u8; 32],
        ) {
            let (from, to, value) = (Address::Evm(from), Address::Evm(to), Amount::new(value));
            let payload = Eip3009Payload { signature, from, to, value, valid_after, valid_before, nonce };
            prop_assert_eq!(Eip3009Payload::parse(&payload.to_json()), Ok(payload));
        }

        #[test]
        fn a_time_is_read_exactly_or_saturates(text in "[1-9][0-9]{0,77}") {
            let fits = text.len() < UINT256_MAX.len() || text.as_str() <= UINT256_MAX;
            prop_assert_eq!(time(&text).ok(), fits.then(|| text.parse().unwrap_or(u64::MAX)));
        }
    }
}
