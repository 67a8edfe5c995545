//! What the payer signed for scheme `exact` on Solana, as it travels and as the ledger stores it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::members::Members;
use crate::domain::reason::{Reason, Refusal};

/// What the network takes of a transaction: a packet of IPv6's smallest MTU without headers (`PACKET_DATA_SIZE` of Agave).
pub const TRANSACTION_BYTES_MAX: usize = 1232;

/// The same as base64.
const TRANSACTION_CHARS_MAX: usize = TRANSACTION_BYTES_MAX.div_ceil(3) * 4;

/// A transaction that the payer signed and that lacks the fee payer's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionPayload {
    /// Its bytes, not yet looked at. At most [`TRANSACTION_BYTES_MAX`].
    pub transaction: Vec<u8>,
}

impl TransactionPayload {
    /// Reads the member `payload` of a payment.
    ///
    /// # Errors
    /// [`Reason::InvalidPayload`] if there is no text `transaction`, [`Reason::TransactionUnreadable`] if it is not padded base64 in
    /// the standard alphabet of at most [`TRANSACTION_BYTES_MAX`] bytes.
    pub fn parse(payload: &Value) -> Result<Self, Refusal> {
        let payload = Members::of(payload, "payload", Reason::InvalidPayload)?;
        let text = payload.text("transaction")?;
        let transaction = decode(text)
            .map_err(|problem| Refusal::because(Reason::TransactionUnreadable, format!("payload.transaction: {problem}")))?;
        Ok(Self { transaction })
    }

    /// Writes the payload, which [`Self::parse`] reads back.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"transaction": STANDARD.encode(&self.transaction)})
    }
}

fn decode(text: &str) -> Result<Vec<u8>, &'static str> {
    const TOO_LONG: &str = "is longer than 1232 bytes";
    if text.len() > TRANSACTION_CHARS_MAX {
        return Err(TOO_LONG);
    }
    let bytes = STANDARD.decode(text).map_err(|_| "is not padded base64 in the standard alphabet")?;
    if bytes.len() > TRANSACTION_BYTES_MAX { Err(TOO_LONG) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};

    fn read(transaction: impl Into<Value>) -> Result<Vec<u8>, Reason> {
        let payload = TransactionPayload::parse(&json!({"transaction": transaction.into()}));
        payload.map(|payload| payload.transaction).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn only_one_form_of_base64_is_read() {
        // Row 62. These bytes have digits that the two alphabets write differently, and padding.
        let bytes = [0xfb, 0xff, 0xbf, 0x01];
        let text = STANDARD.encode(bytes);
        assert_eq!(read(text.as_str()), Ok(bytes.to_vec()));
        for text in [
            format!(" {text}"),
            format!("{text}\n"),
            text.replace('A', "A "),
            URL_SAFE.encode(bytes),
            STANDARD_NO_PAD.encode(bytes),
            format!("{text}{text}"),
            // Bits that belong to no byte are set.
            text.replace("Q==", "R=="),
            "=".to_owned(),
            "é".to_owned(),
        ] {
            assert_eq!(read(text.as_str()), Err(Reason::TransactionUnreadable), "{text:?}");
        }
    }

    #[test]
    fn a_transaction_fits_into_a_packet() {
        // Row 63. What no bytes at all are worth is for the decoder to say.
        for length in [0, 1, TRANSACTION_BYTES_MAX - 1, TRANSACTION_BYTES_MAX] {
            assert_eq!(read(STANDARD.encode(vec![7; length])), Ok(vec![7; length]));
        }
        for length in [TRANSACTION_BYTES_MAX + 1, TRANSACTION_BYTES_MAX + 2, TRANSACTION_BYTES_MAX + 3, 1 << 20] {
            assert_eq!(read(STANDARD.encode(vec![7; length])), Err(Reason::TransactionUnreadable), "{length}");
        }
    }

    #[test]
    fn a_payload_without_a_transaction_is_none_of_this_scheme() {
        for payload in [json!({}), json!([]), json!({"transaction": null}), json!({"transaction": 1}), json!({"signature": "0x"})]
        {
            assert_eq!(
                TransactionPayload::parse(&payload).map_err(|refusal| refusal.reason),
                Err(Reason::InvalidPayload),
                "{payload}"
            );
        }
    }

    #[test]
    fn what_is_written_is_read_back_and_unknown_members_are_not_read() {
        let payload = TransactionPayload { transaction: (0..=255).collect() };
        let mut written = payload.to_json();
        written["hint"] = json!([1]);
        assert_eq!(TransactionPayload::parse(&written), Ok(payload));
    }
}
