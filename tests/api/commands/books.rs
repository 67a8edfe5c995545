//! Blocks that are read again, and the comparison that an operator asks for.

use quittance::ledger::Ledger;
use serde_json::{Value, json};

use super::{PATIENCE, fail, run, tell, with_signers};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay};
use crate::support::proxy::{Act, Edit, Proxy};
use crate::support::{cli, database, eventually};

/// A node that keeps back what a recipient is paid while blocks are read, and every promise of logs.
fn hide(proxy: &Proxy, recipient: &str) {
    let recipient = format!("0x{:0>64}", recipient.trim_start_matches("0x").to_lowercase());
    proxy.rule(move |method, _, _| match method {
        "eth_getLogs" => {
            let recipient = recipient.clone();
            Edit::of(move |logs| {
                if let Some(logs) = logs.as_array_mut() {
                    logs.retain(|log| log["topics"][2] != recipient.as_str());
                }
            })
        }
        "eth_getBlockByNumber" | "eth_getBlockByHash" => Edit::of(|block| {
            if block.is_object() {
                block["logsBloom"] = json!(format!("0x{}", "0".repeat(512)));
            }
        }),
        _ => Act::Forward,
    });
}

async fn until_read(ledger: &Ledger, chain: &Chain, height: u64) {
    let network = chain.network().parse().expect("a network");
    eventually("the watcher to come so far", PATIENCE, || async {
        let cursor = ledger.cursor(&network).await.expect("the database answers")?;
        (cursor.heights.head >= height).then_some(())
    })
    .await;
}

fn found(backfilled: &Value) -> [u64; 3] {
    ["transfers", "claims", "payments"].map(|member| backfilled[member].as_u64().unwrap_or_else(|| panic!("{backfilled}")))
}

/// The number of rows of each kind that a credit leaves.
async fn rows(ledger: &Ledger) -> Vec<i64> {
    let mut rows = Vec::new();
    for table in ["transfers", "claims", "receipts", "receipt_revisions", "events", "assignments"] {
        let count = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
        rows.push(count.fetch_one(ledger.pool()).await.expect("the database answers"));
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credit_that_was_missed_is_compared_read_again_and_there_once() {
    // With a block each second its time is that of the clock, by which the address is registered.
    let chain = Chain::start(ChainOptions::default()).await;
    let (proxy, url) = (Proxy::start(&chain.url), database::fresh().await);
    let ledger = database::ledger(&url).await;
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..with_signers(&chain, 1) };
    let facilitator = Facilitator::start(&Options::new(network, &url)).await;
    let (name, shop) = (chain.network(), &chain.payers[0]);
    let merchant = Merchant::open(&facilitator).await;
    // Money that came before the address was the merchant's, and is not its business.
    let begun = chain.height().await;
    pay(&chain, &chain.payers[1], &shop.address(), 11).await;
    let paid = chain.height().await;
    until_read(&ledger, &chain, paid + 2).await;
    merchant.register(&name, shop).await;
    let invoice = merchant.invoice(&json!({"amount": "0.5", "matchAmount": true})).await;
    let first = tell(&facilitator, &["reconcile", &name]).await;
    assert_eq!((&first["reconciliations"][0]["differences"], &first["reconciliations"][0]["addresses"]), (&json!(0), &json!(1)));

    hide(&proxy, &shop.address());
    pay(&chain, &chain.payers[1], &shop.address(), 500_000).await;
    let paid = chain.height().await;
    // Balances are compared some blocks below the head.
    until_read(&ledger, &chain, paid + 10).await;
    proxy.behave();
    let (code, wrong) = run(&facilitator, &["reconcile", &name]).await;
    let difference = &wrong["reconciliations"][0]["report"][0];
    assert_eq!((code, &difference["kind"], &difference["network"]), (1, &json!("missing"), &json!("500000")), "{wrong}");
    assert_eq!(merchant.transfers().await.len(), 0);

    let from = begun.to_string();
    let backfilled = tell(&facilitator, &["backfill", &name, "--from", &from]).await;
    assert_eq!(found(&backfilled), [1, 1, 0], "{backfilled}");
    assert_eq!(merchant.until(&invoice, "paid").await["amountPaid"], "0.5");
    let before = rows(&ledger).await;
    for _ in 0..2 {
        let again = tell(&facilitator, &["backfill", &name, "--from", &from]).await;
        assert_eq!(found(&again), [0, 0, 0], "{again}");
    }
    assert_eq!(rows(&ledger).await, before, "nothing is credited twice");
    assert_eq!(merchant.transfers().await.len(), 1);
    let right = cli::run_well(&facilitator, &["reconcile"]).await;
    assert!(right.starts_with(&format!("{name}  0 differences")), "{right}");

    let (code, words) = fail(&facilitator, &["backfill", &name, "--from", "0", "--to", "999999999"]).await;
    assert!(code == 3 && words.contains("was not read yet"), "{words}");
    assert_eq!(fail(&facilitator, &["backfill", &name, "--from", "9", "--to", "8"]).await.0, 3);
    assert_eq!(fail(&facilitator, &["backfill", "eip155:1", "--from", "1"]).await.0, 3);
    assert_eq!(fail(&facilitator, &["backfill", &name]).await.0, 2, "blocks are named");
    proxy.rule(|_, _, _| Act::Status(500));
    assert_eq!(fail(&facilitator, &["backfill", &name, "--from", &from]).await.0, 4, "no node answers");
}
