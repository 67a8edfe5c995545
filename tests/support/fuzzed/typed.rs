//! What somebody shows us as a receipt in the form of typed data (EIP-712).

use quittance::signing::claims::Claims;
use quittance::signing::eip712::TypedReceipt;

/// Checks that it has the claims of a receipt in the other form, whoever signed it. Returns whether it has claims.
///
/// # Panics
/// If it is not so.
pub fn typed(bytes: &[u8]) -> bool {
    let Ok(receipt) = serde_json::from_slice::<TypedReceipt>(bytes) else { return false };
    if let Some(signature) = receipt.signature() {
        let _ = receipt.signer(&signature);
    }
    let Ok(claims) = receipt.claims() else { return false };
    assert_eq!(Claims::parse(claims.to_canonical().as_bytes()).ok(), Some(claims));
    true
}
