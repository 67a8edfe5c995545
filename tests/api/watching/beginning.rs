//! Where a watcher begins whose ledger has read nothing of its network.

use serde_json::json;

use super::{cursor, names, until_read};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay};

/// Blocks between what came before and what came after the address was registered; more than are read in one go.
const BETWEEN: u64 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_begins_at_an_earlier_block_finds_what_came_since() {
    let chain = Chain::start(ChainOptions { block_time: 0.0, ..ChainOptions::default() }).await;
    let address = chain.payers[0].address();
    pay(&chain, &chain.payers[1], &address, 1).await;
    let start = chain.height().await + 1;
    let mut since = vec![pay(&chain, &chain.payers[2], &address, 2).await];
    chain.mine(BETWEEN).await;
    let url = database::fresh().await;
    let network = NetworkOptions { lines: format!("final = 16\nstart_block = {start}\n"), ..NetworkOptions::of(&chain) };
    // Without a watcher: the address is known before the first block is read.
    let options = Options { roles: Some("api".to_owned()), ..Options::new(network, &url) };
    let mut facilitator = Facilitator::start(&options).await;
    let account = {
        let merchant = Merchant::open(&facilitator).await;
        merchant.register(&chain.network(), &chain.payers[0]).await;
        merchant.into_account()
    };
    let (ledger, network) = (database::ledger(&url).await, chain.network().parse().expect("a network"));
    assert_eq!(cursor(&ledger, &network).await, 0, "nothing is read");
    assert!(facilitator.terminate().await.success());
    since.push(pay(&chain, &chain.payers[3], &address, 3).await);
    chain.mine(BETWEEN).await;

    facilitator.restart().await;
    until_read(&ledger, &network, chain.height().await).await;
    // With a ledger that has read something it begins where that ends.
    assert!(facilitator.terminate().await.success());
    since.push(pay(&chain, &chain.payers[4], &address, 4).await);
    facilitator.restart().await;
    until_read(&ledger, &network, chain.height().await).await;

    let found = Merchant::again(&facilitator, account).transfers().await;
    since.sort();
    assert_eq!(names(&found, "transaction"), since);
    assert!(found.iter().all(|transfer| transfer["matched"] == json!(false)), "no invoice was there to be paid: {found:?}");
}
