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

#[tokio::test(flavor = "multi_thread")]
async fn a_second_network_is_paid_on_by_configuration_alone() {
    let (base, sei) = (
        Chain::start(ChainOptions::default()).await,
        Chain::start(ChainOptions { chain_id: 1329, ..ChainOptions::default() }).await,
    );
    let mut options = Options::new(NetworkOptions::of(&base), &database::fresh().await);
    options.networks.push(NetworkOptions::of(&sei));
    let facilitator = Facilitator::start(&options).await;

    for (chain, other) in [(&base, &sei), (&sei, &base)] {
        let merchant = chain.text("/accounts/merchant/address");
        let before = other.transfers_to(&merchant).await.len();
        let settled = facilitator.settle(&chain.payers[0].authorize(&Terms::to(&merchant)).v2()).await.1;

        assert_eq!((&settled["success"], &settled["network"]), (&true.into(), &chain.network().into()), "{settled}");
        let transfers = chain.transfers_to(&merchant).await;
        assert_eq!((transfers.len(), &transfers[0]["transactionHash"]), (1, &settled["transaction"]));
        assert_eq!(other.transfers_to(&merchant).await.len(), before, "nothing moved on the other one");
    }
    assert_eq!((base.network().as_str(), sei.network().as_str()), ("eip155:84532", "eip155:1329"));
}
