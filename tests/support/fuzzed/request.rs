//! What a provider sends us: the body of a request, the payment in it, and what its resource declares.

use quittance::chain::evm::exact::{Authorization, signature};
use quittance::domain::network::Family;
use quittance::domain::payment::SCHEME_TRANSFER;
use quittance::x402::exact_evm::Eip3009Payload;
use quittance::x402::request::parse_request;
use quittance::x402::transfer::TransferPayload;

/// Checks that what is read is read in the same way once more, and that a payment in it is written as it is read. Returns whether it is a
/// request.
///
/// # Panics
/// If it is not so.
pub fn request(bytes: &[u8]) -> bool {
    let read = parse_request(bytes);
    assert_eq!(read, parse_request(bytes));
    let Ok(asked) = read else { return false };
    if let Some(Ok(resource)) = asked.declaration.map(|declaration| declaration.read()) {
        assert!(resource.url.len() <= 2048 && !resource.url.contains(['?', '#']), "{}", resource.url);
    }
    let request = asked.request;
    if request.scheme == SCHEME_TRANSFER {
        drop(TransferPayload::parse(request.network.family(), &request.payload));
    } else if request.network.family() == Family::Eip155
        && let Ok(payload) = Eip3009Payload::parse(&request.payload)
    {
        assert_eq!(Eip3009Payload::parse(&payload.to_json()).as_ref(), Ok(&payload));
        let digest = signature::digest([7; 32].into(), &payload);
        if let Ok(authorization) = Authorization::read(request.asset, payload) {
            let _ = signature::plain(&authorization.inner, digest, authorization.message.from);
            assert!(!authorization.transfer_call().is_empty());
        }
    }
    true
}
