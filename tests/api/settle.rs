//! Settling, as a resource server sees it.

use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::Terms;

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_verified_and_settled_once() {
    let chain = Chain::start(ChainOptions::default()).await;
    let database = database::fresh().await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database)).await;
    let merchant = chain.text("/accounts/merchant/address");
    let signed = chain.payers[0].authorize(&Terms::to(&merchant));

    let (verified, settled) = (facilitator.verify(&signed.v2()).await, facilitator.settle(&signed.v2()).await);
    let again = facilitator.settle(&signed.v2()).await;

    assert_eq!(verified.1["isValid"], true, "{verified:?}");
    assert_eq!(settled.1["success"], true, "{settled:?}");
    assert_eq!(again.1["errorReason"], "duplicate_settlement");
    assert_eq!(again.1["transaction"], settled.1["transaction"]);
    assert_eq!(chain.transfers_to(&merchant).await.len(), 1);
}
