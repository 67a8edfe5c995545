//! Receipts as typed data (EIP-712), for wallets and contracts, which cannot check a JWS.

use alloy::primitives::{B256, Signature, U256};
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{Eip712Domain, SolStruct as _, eip712_domain};
use schemars::JsonSchema;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};

use super::claims::{Claims, ClaimsError, Wire};
use super::jwk::Material;
use crate::domain::address::{Address, decode_hex, encode_hex};

alloy::sol! {
    /// Every claim of a receipt. An empty text stands for one that is absent.
    struct Receipt {
        uint256 version;
        string issuer;
        string receiptId;
        uint256 revision;
        string finality;
        string network;
        string asset;
        string transaction;
        uint256 index;
        string blockHash;
        string payer;
        string payTo;
        string amount;
        string invoice;
        string paymentId;
        string resourceUrl;
        string account;
        uint256 issuedAt;
    }
}

/// The domain of all receipts. No contract verifies them, and the chain is always 1, as in the x402 extension `offer-receipt`: wallets
/// refuse domains without a chain, and a receipt from Solana has no number to put there.
const DOMAIN: Eip712Domain = eip712_domain! {
    name: "quittance receipt",
    version: "1",
    chain_id: 1,
};

/// What the member `format` of such a receipt says.
const FORMAT: &str = "eip712";

/// A private key of secp256k1 that signs receipts. It is overwritten when it is dropped, and never printed.
pub(super) struct TypedKey(PrivateKeySigner);

impl TypedKey {
    /// Takes a private key. `None` for zero and for numbers that are not below the order of the curve.
    pub(super) fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        PrivateKeySigner::from_slice(bytes).ok().map(Self)
    }

    /// The private key, for the text of a keyring.
    pub(super) fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes().0)
    }

    /// The public part.
    pub(super) fn material(&self) -> Material {
        let point = self.0.public_key();
        let (mut x, mut y) = ([0_u8; 32], [0_u8; 32]);
        x.copy_from_slice(&point[..32]);
        y.copy_from_slice(&point[32..]);
        Material::Secp256k1 { x, y }
    }
}

/// A receipt as typed data with its signature. `payload` is the message, as `eth_signTypedData_v4` takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TypedReceipt {
    #[schemars(extend("const" = FORMAT))]
    format: String,
    payload: Wire,
    signature: String,
}

impl TypedReceipt {
    /// Signs claims. `None` if the curve's arithmetic fails, which does not happen with a valid key.
    pub(super) fn sign(claims: &Claims, key: &TypedKey) -> Option<Self> {
        Self::of(Wire::from(claims).filled(), key)
    }

    fn of(payload: Wire, key: &TypedKey) -> Option<Self> {
        let signature = key.0.sign_hash_sync(&digest(&payload)).ok()?;
        Some(Self { format: FORMAT.to_owned(), payload, signature: encode_hex(&signature.as_bytes()) })
    }

    /// Whether it says that it is typed data.
    pub(super) fn has_format(&self) -> bool {
        self.format == FORMAT
    }

    /// What it says, if it says so in the one form of these claims.
    ///
    /// # Errors
    /// See [`ClaimsError`].
    pub fn claims(&self) -> Result<Claims, ClaimsError> {
        let claims = Claims::try_from(self.payload.clone().unfilled())?;
        if Wire::from(&claims).filled() == self.payload { Ok(claims) } else { Err(ClaimsError::NotCanonical) }
    }

    /// The signature, if it has the one form of its bytes: 65 of them in lower-case hexadecimal digits behind `0x`.
    #[must_use]
    pub fn signature(&self) -> Option<[u8; 65]> {
        let bytes = decode_hex::<65>(self.signature.strip_prefix("0x")?)?;
        (encode_hex(&bytes) == self.signature).then_some(bytes)
    }

    /// Whose signature it is. `None` unless `v` is 27 or 28 and `s` in the lower half of its range (EIP-2).
    #[must_use]
    pub fn signer(&self, signature: &[u8; 65]) -> Option<Address> {
        let parity = match signature[64] {
            27 => false,
            28 => true,
            _ => return None,
        };
        let signature = Signature::from_bytes_and_parity(signature, parity);
        if signature.normalize_s().is_some() {
            return None;
        }
        let signer = signature.recover_address_from_prehash(&digest(&self.payload)).ok()?;
        Some(Address::Evm(signer.into_array()))
    }
}

/// The hash that is signed.
fn digest(payload: &Wire) -> B256 {
    let text = |member: &Option<String>| member.clone().unwrap_or_default();
    let message = Receipt {
        version: U256::from(payload.version),
        issuer: payload.issuer.clone(),
        receiptId: payload.receipt_id.clone(),
        revision: U256::from(payload.revision),
        finality: payload.finality.clone(),
        network: payload.network.clone(),
        asset: payload.asset.clone(),
        transaction: payload.transaction.clone(),
        index: U256::from(payload.index),
        blockHash: payload.block_hash.clone(),
        payer: payload.payer.clone(),
        payTo: payload.pay_to.clone(),
        amount: payload.amount.clone(),
        invoice: text(&payload.invoice),
        paymentId: text(&payload.payment_id),
        resourceUrl: text(&payload.resource_url),
        account: text(&payload.account),
        issuedAt: U256::from(payload.issued_at),
    };
    message.eip712_signing_hash(&DOMAIN)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::claims::tests::claims;
    use super::*;
    use crate::domain::receipt::Purpose;

    /// The key of the example in EIP-155.
    pub fn key() -> TypedKey {
        TypedKey::from_bytes(&[0x46; 32]).unwrap()
    }

    /// The same claims without any that may be absent, and the payment alone as a purpose.
    fn bare() -> Claims {
        let mut claims = claims();
        claims.statement.account = None;
        claims.statement.purpose = Purpose::of(claims.statement.purpose.payment(), None, None).unwrap();
        claims
    }

    #[test]
    fn hash_and_signature_are_those_of_viem() {
        let type_text = "Receipt(uint256 version,string issuer,string receiptId,uint256 revision,string finality,string network,\
            string asset,string transaction,uint256 index,string blockHash,string payer,string payTo,string amount,string invoice,\
            string paymentId,string resourceUrl,string account,uint256 issuedAt)";
        assert_eq!(Receipt::eip712_encode_type(), type_text);
        for (claims, hash, signature) in [
            (
                claims(),
                "0x5384cf3c2f623d2a319c5322f0888942379d74a98dd8e3499e0c9aced8bbe3aa",
                "0x62e4e087b92e83b93c48a78cd621cd7827b126d6f47e5f344abf9c0b9dd89c1e\
                 3559c86cab585a31999879229d18651182ded47b10acdc0257be4f249c4de7431c",
            ),
            (
                bare(),
                "0x9a4046bb46e880177fbe51a620149a86f5d32fef60146a7b559faed78c63bdd3",
                "0xdd0a9ee55f622816a51981e4d6823a8d93de082cfa5a3a33e5ccaeb7932e3cf1\
                 6b8a33edfa9490262af85bc20903552903f54bf9da025c8ff8e9f59143a300761b",
            ),
        ] {
            let receipt = TypedReceipt::sign(&claims, &key()).unwrap();

            assert_eq!(digest(&receipt.payload).to_string(), hash);
            assert_eq!(receipt.signature, signature);
            assert_eq!(receipt.claims().unwrap(), claims);
            assert_eq!(receipt.signer(&receipt.signature().unwrap()), key().material().address());
        }
    }

    #[test]
    fn an_absent_claim_is_an_empty_text() {
        let receipt = serde_json::to_value(TypedReceipt::sign(&bare(), &key()).unwrap()).unwrap();

        assert_eq!(receipt["format"], "eip712");
        assert_eq!(receipt["payload"]["version"], 1);
        for member in ["account", "invoice", "resourceUrl"] {
            assert_eq!(receipt["payload"][member], "");
        }
        let mut without = receipt;
        without["payload"].as_object_mut().unwrap().remove("account");
        let without: TypedReceipt = serde_json::from_value(without).unwrap();
        assert!(matches!(without.claims(), Err(ClaimsError::NotCanonical)));
    }

    #[test]
    fn claims_in_another_form_are_refused_though_they_are_signed() {
        let mut payload = Wire::from(&claims()).filled();
        payload.pay_to = payload.pay_to.to_lowercase();
        let receipt = TypedReceipt::of(payload, &key()).unwrap();

        assert_eq!(receipt.signer(&receipt.signature().unwrap()), key().material().address());
        assert!(matches!(receipt.claims(), Err(ClaimsError::NotCanonical)));
    }

    #[test]
    fn a_signature_has_one_form() {
        let receipt = TypedReceipt::sign(&claims(), &key()).unwrap();
        let bytes = receipt.signature().unwrap();
        let high_s = {
            let order = "0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141".parse::<U256>().unwrap();
            let mut twin = bytes;
            let s = U256::from_be_slice(&bytes[32..64]);
            twin[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
            twin[64] = 27 + 28 - twin[64];
            twin
        };
        let with_v = |v| {
            let mut changed = bytes;
            changed[64] = v;
            receipt.signer(&changed)
        };

        assert_eq!(receipt.signer(&high_s), None);
        assert_eq!((with_v(0), with_v(1), with_v(26), with_v(29), with_v(255)), (None, None, None, None, None));
        assert_ne!(with_v(27), with_v(28));
        let mut nothing = [0; 65];
        nothing[64] = 27;
        assert_eq!(receipt.signer(&nothing), None);
        for text in [
            receipt.signature.to_uppercase(),
            receipt.signature[2..].to_owned(),
            receipt.signature[..130].to_owned(),
            format!("{}00", receipt.signature),
            format!("{} ", receipt.signature),
            receipt.signature.replace('e', "E"),
            String::new(),
        ] {
            assert_eq!(TypedReceipt { signature: text.clone(), ..receipt.clone() }.signature(), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_private_key_is_refused() {
        assert!(TypedKey::from_bytes(&[0; 32]).is_none());
        assert!(TypedKey::from_bytes(&[0xff; 32]).is_none());
        assert_eq!(*key().to_bytes(), [0x46; 32]);
    }
}
