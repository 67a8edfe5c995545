//! What a payer can put into a transfer so that it names its invoice, and no other.
//!
//! An authorization (EIP-3009) has a nonce that the payer chooses, and a transaction on Solana can name an account that it does not
//! touch. Both are derived from the invoice's identifier alone, so that anybody can compute and check them. A memo on Solana is the
//! identifier itself.

use sha2::{Digest, Sha256};

use super::ids::InvoiceId;

/// What is hashed before the invoice, so that the hash can be nothing else.
const MARKER: &[u8] = b"quittance invoice";

/// Bytes of a nonce that name the invoice. The others are a counter, because one invoice may be paid in parts.
const NAME_BYTES: usize = 24;

/// What all nonces for one invoice begin with.
pub type NonceName = [u8; NAME_BYTES];

/// An invoice in 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reference([u8; 32]);

impl Reference {
    /// The reference of an invoice: SHA-256 over `quittance invoice` and the 16 bytes of its identifier.
    #[must_use]
    pub fn of(invoice: InvoiceId) -> Self {
        Self(Sha256::new().chain_update(MARKER).chain_update(invoice.uuid().as_bytes()).finalize().into())
    }

    /// The account that a transaction on Solana names (the `reference` of Solana Pay). It is nobody's, and is printed in base58.
    #[must_use]
    pub const fn key(&self) -> &[u8; 32] {
        &self.0
    }

    /// The nonce of an authorization (EIP-3009): the first 24 bytes, and a counter of the payer's choice in big-endian order.
    #[must_use]
    pub fn nonce(&self, counter: u64) -> [u8; 32] {
        let mut nonce = self.0;
        nonce[NAME_BYTES..].copy_from_slice(&counter.to_be_bytes());
        nonce
    }

    /// What all of its nonces begin with.
    #[must_use]
    pub fn nonce_name(&self) -> NonceName {
        names(&self.0)
    }
}

/// What a nonce names: the [`Reference::nonce_name`] of an invoice, or nothing if it was drawn by lot.
#[must_use]
pub fn names(nonce: &[u8; 32]) -> NonceName {
    std::array::from_fn(|index| nonce[index])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::address::{encode_base58, encode_hex};
    use uuid::Uuid;

    fn reference(uuid: u128) -> Reference {
        Reference::of(InvoiceId::from_uuid(Uuid::from_u128(uuid)))
    }

    #[test]
    fn the_values_of_an_invoice_never_change() {
        let reference = reference(0x018f_4a1e_7d3c_7000_8000_0000_0000_0001);

        assert_eq!(encode_hex(reference.key()), "0xe7cfa4885dfffb5799efaea52dd86435914735375d602247ebada4bf6b024f76");
        assert_eq!(encode_base58(reference.key()), "GbtpUFLe3FA1KiNBSeWjCTokwGauiqH8CjjNxxGaRw2u");
        assert_eq!(encode_hex(&reference.nonce(0)), "0xe7cfa4885dfffb5799efaea52dd86435914735375d6022470000000000000000");
        assert_eq!(encode_hex(&reference.nonce(258)), "0xe7cfa4885dfffb5799efaea52dd86435914735375d6022470000000000000102");
        assert_eq!(encode_hex(&reference.nonce(u64::MAX)), "0xe7cfa4885dfffb5799efaea52dd86435914735375d602247ffffffffffffffff");
    }

    #[test]
    fn all_nonces_of_an_invoice_name_it_and_no_other() {
        let (one, other) = (reference(1), reference(2));

        for counter in [0, 1, u64::MAX] {
            assert_eq!(names(&one.nonce(counter)), one.nonce_name());
            assert_ne!(names(&other.nonce(counter)), one.nonce_name());
        }
        assert_ne!(one.nonce(0), one.nonce(1));
        let mut strange = one.nonce(0);
        strange[NAME_BYTES - 1] ^= 1;
        assert_ne!(names(&strange), one.nonce_name());
    }
}
