//! Where a watcher of Solana begins whose ledger has read nothing.

use quittance::domain::network::Network;
use serde_json::json;

use super::{PATIENCE, names, newest, register, until_read, watching};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::Merchant;
use crate::support::solana::Cluster;
use crate::support::solana::wallet::{Marks, Token, Wallet};
use crate::support::{database, eventually};
use crate::watching::cursor;

/// Blocks between what came before and what came after the address was registered; more than are read in one go.
const BETWEEN: u64 = 100;

/// A service whose watcher is to begin at a height.
fn beginning(cluster: &Cluster, watch: &str, start_block: u64) -> NetworkOptions {
    let network = watching(cluster, &cluster.url, watch);
    NetworkOptions { lines: format!("{}start_block = {start_block}\n", network.lines), ..network }
}

/// Sends somebody so many units of USDC, waits until they are there, and returns the transaction.
async fn pay(cluster: &Cluster, to: &Wallet, units: u64) -> String {
    let buyer = Wallet::of(cluster, "/payers/0").await;
    let transaction = buyer.pay(cluster, Token::of(cluster, "usdc"), &to.address(), units, Marks::default()).await;
    cluster.slot_of(&transaction).await;
    transaction
}

/// Waits until there are so many more blocks: the local node skips no slot.
async fn until_more(cluster: &Cluster, blocks: u64) {
    let slot = cluster.slot().await;
    eventually("blocks", PATIENCE, || async { (cluster.slot().await >= slot + blocks).then_some(()) }).await;
}

async fn begins_at_an_earlier_block(watch: &str) {
    let cluster = Cluster::start(50).await;
    let shop = Wallet::of(&cluster, "/payers/10").await;
    pay(&cluster, &shop, 1).await;
    until_more(&cluster, 1).await;
    let start = newest(&cluster).await + 1;
    until_more(&cluster, 1).await;
    let mut since = vec![pay(&cluster, &shop, 2).await];
    until_more(&cluster, BETWEEN).await;
    let url = database::fresh().await;
    // Without a watcher: the address is known before the first block is read.
    let options = Options::new(beginning(&cluster, watch, start), &url);
    let mut facilitator = Facilitator::start(&Options { roles: Some("api".to_owned()), ..options }).await;
    let account = {
        let merchant = Merchant::open(&facilitator).await;
        register(&merchant, &cluster, &shop).await;
        merchant.into_account()
    };
    let (ledger, network) = (database::ledger(&url).await, cluster.text("/network").parse::<Network>().expect("a network"));
    assert_eq!(cursor(&ledger, &network).await, 0, "nothing is read");
    assert!(facilitator.terminate().await.success());
    since.push(pay(&cluster, &shop, 3).await);
    until_more(&cluster, BETWEEN).await;

    facilitator.restart().await;
    until_read(&ledger, &network, newest(&cluster).await).await;
    // With a ledger that has read something it begins where that ends.
    assert!(facilitator.terminate().await.success());
    since.push(pay(&cluster, &shop, 4).await);
    until_more(&cluster, 1).await;
    facilitator.restart().await;
    until_read(&ledger, &network, newest(&cluster).await).await;

    let found = Merchant::again(&facilitator, account).transfers().await;
    since.sort();
    assert_eq!(names(&found, "transaction"), since, "{watch}");
    assert!(found.iter().all(|transfer| transfer["matched"] == json!(false)), "no invoice was there to be paid: {found:?}");
    assert!(!facilitator.log().contains("start_block"), "{watch}: {}", facilitator.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_of_solana_that_begins_at_an_earlier_block_finds_what_came_since_in_blocks() {
    begins_at_an_earlier_block("blocks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_of_solana_that_begins_at_an_earlier_block_finds_what_came_since_in_histories() {
    begins_at_an_earlier_block("signatures").await;
}

/// On a real cluster that is what a slot is.
#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_is_to_begin_above_the_head_begins_at_the_head_and_says_so() {
    let cluster = Cluster::start(200).await;
    let shop = Wallet::of(&cluster, "/payers/10").await;
    let start_block = newest(&cluster).await + 1_000_000;
    let options = Options::new(beginning(&cluster, "blocks", start_block), &database::fresh().await);
    let facilitator = Facilitator::start(&options).await;
    let merchant = Merchant::open(&facilitator).await;
    register(&merchant, &cluster, &shop).await;

    let transaction = pay(&cluster, &shop, 1).await;
    merchant.until_transfer(&transaction).await;

    let log = facilitator.log();
    let words = ["\"WARN\"", "start_block is above the head", &format!("\"start_block\":{start_block}")];
    assert!(log.lines().any(|line| words.iter().all(|word| line.contains(word))), "{log}");
}
