//! What is presented for scheme `transfer`: a transaction that was made already, with or without a signature of its payer.

use serde_json::Value;

use super::members::Members;
use crate::domain::address::{decode_base58_pair, decode_hex};
use crate::domain::network::Family;
use crate::domain::reason::{Reason, Refusal};
use crate::domain::transfer::TransactionId;

/// A transaction, as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferPayload {
    /// Its identifier as the network prints it.
    pub transaction: TransactionId,
    /// What its payer has signed, not yet looked at. The merchant needs none.
    pub signature: Option<String>,
}

impl TransferPayload {
    /// Reads the member `payload` of a payment.
    ///
    /// # Errors
    /// [`Reason::InvalidPayload`] if there is no text `transaction`, or it is no identifier of this family.
    pub fn parse(family: Family, payload: &Value) -> Result<Self, Refusal> {
        let payload = Members::of(payload, "payload", Reason::InvalidPayload)?;
        Ok(Self {
            transaction: payload.parsed("transaction", |text| transaction(family, text))?,
            signature: payload.optional_text("signature")?.map(str::to_owned),
        })
    }
}

/// Reads the identifier of a transaction. It has one text only: it is looked up, and signed, as it is.
///
/// # Errors
/// What is wrong with it, in words.
pub fn transaction(family: Family, text: &str) -> Result<TransactionId, &'static str> {
    match family {
        Family::Eip155 if is_hash(text) => Ok(text.to_owned()),
        Family::Eip155 => Err("must be 0x and 64 hexadecimal digits in lower case"),
        Family::Solana if decode_base58_pair(text).is_some() => Ok(text.to_owned()),
        Family::Solana => Err("must be 64 bytes in base58"),
    }
}

fn is_hash(text: &str) -> bool {
    let digits = text.strip_prefix("0x").filter(|digits| !digits.bytes().any(|byte| byte.is_ascii_uppercase()));
    digits.and_then(decode_hex::<32>).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::encode_base58;
    use serde_json::json;

    #[test]
    fn a_transaction_has_one_text_on_each_network() {
        let (hash, name) = (format!("0x{}", "1f".repeat(32)), encode_base58(&[7; 64]));

        assert_eq!(transaction(Family::Eip155, &hash).as_ref(), Ok(&hash));
        assert_eq!(transaction(Family::Solana, &name).as_ref(), Ok(&name));
        let (upper, prefix) = (hash.replace('f', "F"), hash.replace("0x", "0X"));
        let padded = format!(" {hash}");
        for wrong in ["", "0x", &hash[2..], &hash[..64], &upper, &prefix, &padded, &format!("{hash}0"), &name] {
            assert!(transaction(Family::Eip155, wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["", &name[1..], &format!("{name} "), &encode_base58(&[7; 63]), &hash, &"1".repeat(100_000)] {
            assert!(transaction(Family::Solana, wrong).is_err(), "{wrong:.80?}");
        }
    }

    #[test]
    fn a_signature_may_be_missing_and_is_a_text() {
        let hash = format!("0x{}", "00".repeat(32));
        let read = |payload: Value| TransferPayload::parse(Family::Eip155, &payload).map_err(|refusal| refusal.reason);
        let with =
            |signature: Option<&str>| Ok(TransferPayload { transaction: hash.clone(), signature: signature.map(str::to_owned) });

        assert_eq!(read(json!({"transaction": hash})), with(None));
        assert_eq!(read(json!({"transaction": hash, "signature": null, "more": 1})), with(None));
        assert_eq!(read(json!({"transaction": hash, "signature": "0x00"})), with(Some("0x00")));
        for malformed in [json!({}), json!([]), json!({"transaction": 1}), json!({"transaction": hash, "signature": 1})] {
            assert_eq!(read(malformed.clone()), Err(Reason::InvalidPayload), "{malformed}");
        }
    }
}
