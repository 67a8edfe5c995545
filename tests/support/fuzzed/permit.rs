//! What a payer signed for Permit2, and for the token so that Permit2 may take it.

use quittance::chain::evm::permit2::Permit;
use quittance::chain::evm::permit2::observe::{Called, used};
use quittance::x402::permit2::{Permit2Payload, TokenPermit};
use serde::Deserialize;
use serde_json::Value;

/// The parts of a request that are about it.
#[derive(Deserialize)]
struct Sent {
    payload: Value,
    info: Value,
}

/// Checks that it is stored as it was read, and that whoever sees the call of the proxy reads in it what it uses up. Returns whether there is
/// something for Permit2.
///
/// # Panics
/// If it is not so.
pub fn permit(bytes: &[u8]) -> bool {
    let Ok(sent) = serde_json::from_slice::<Sent>(bytes) else { return false };
    let sponsoring = TokenPermit::read(&sent.info).ok().flatten();
    let Ok(message) = Permit2Payload::parse(&sent.payload) else { return false };
    let (stored, amount) = (message.to_json(sponsoring.as_ref()), message.permitted);
    let permit = Permit::of(message, amount, sponsoring);
    assert_eq!(Permit::read_back(&stored, amount).as_ref(), Ok(&permit));
    let permit = permit.examined([7; 32].into(), [8; 32].into());
    let call = Called { to: Some(permit.proxy.address()), input: permit.call() };
    assert_eq!(used(&call, &[]).map(|spent| spent.key), Some(permit.key()));
    true
}
