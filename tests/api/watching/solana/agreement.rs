//! What is not believed of one node about the credits of wallets on Solana.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use quittance::domain::address::encode_base58;
use serde_json::{Value, json};

use super::{HISTORY, PATIENCE, credit, is_whole, register, watching};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::Merchant;
use crate::support::proxy::{Act, Edit, Proxy};
use crate::support::solana::Cluster;
use crate::support::solana::made_up::shown;
use crate::support::solana::wallet::{Marks, Token, Wallet};
use crate::support::{database, eventually};

/// More than this two nodes have to say.
const LITTLE: u64 = 500;

/// Questions for one block, after which one that believes a single node would have believed it.
const QUESTIONS: u64 = 4;

/// How a node keeps back what stands in blocks.
#[derive(Clone, Copy, Debug)]
enum Silence {
    /// It does not serve them with their transactions yet.
    NotYet,
    /// It leaves their transactions out.
    Sparing,
}

/// How often a node was asked what stands in the block of each slot.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<BTreeMap<u64, u64>>>);

impl Asked {
    fn note(&self, method: &str, params: &Value) {
        if is_whole(method, params) {
            *self.0.lock().expect("no panic under the lock").entry(params[0].as_u64().expect("a slot")).or_default() += 1;
        }
    }

    /// Waits until the node was asked again and again about a block.
    async fn until_often(&self, slot: u64) {
        let often = || async {
            let asked = self.0.lock().expect("no panic under the lock").get(&slot).copied();
            (asked >= Some(QUESTIONS)).then_some(())
        };
        eventually("questions whether it agrees", PATIENCE, often).await;
    }
}

fn fall_silent(node: &Proxy, silence: Silence) -> Asked {
    let asked = Asked::default();
    let counter = asked.clone();
    node.rule(move |method, params, _| {
        counter.note(method, params);
        match silence {
            _ if !is_whole(method, params) => Act::Forward,
            Silence::NotYet => Act::Answer(json!({"jsonrpc": "2.0", "error": {"code": -32_004, "message": "not yet"}})),
            Silence::Sparing => Edit::of(|block| {
                if let Some(transactions) = block.get_mut("transactions") {
                    *transactions = json!([]);
                }
            }),
        }
    });
    asked
}

/// A service that wants two of its nodes to agree about more than a little.
fn wary(cluster: &Cluster, nodes: [&Proxy; 2], watch: &str) -> NetworkOptions {
    let network = watching(cluster, &nodes[0].url, watch);
    NetworkOptions {
        rpc: nodes.map(|node| node.url.clone()).to_vec(),
        lines: format!("{}agree_above = \"0.0005\"\npoll_idle_ms = 200\n", network.lines),
        ..network
    }
}

async fn is_kept_back(watch: &str, silence: Silence, is_asked_first: bool) {
    let what = format!("{watch}, {silence:?}, asked first: {is_asked_first}");
    let cluster = Cluster::start(200).await;
    let (honest, silent) = (Proxy::start(&cluster.url), Proxy::start(&cluster.url));
    let nodes = if is_asked_first { [&silent, &honest] } else { [&honest, &silent] };
    let facilitator = Facilitator::start(&Options::new(wary(&cluster, nodes, watch), &database::fresh().await)).await;
    let merchant = Merchant::open(&facilitator).await;
    let (shop, buyer) = (Wallet::of(&cluster, "/accounts/merchant").await, Wallet::of(&cluster, "/payers/0").await);
    register(&merchant, &cluster, &shop).await;
    let invoice = merchant.invoice(&json!({"amount": "0.25", "reserveAddress": true})).await;
    let pay = async |units| buyer.pay(&cluster, Token::of(&cluster, "usdc"), &shop.address(), units, Marks::default()).await;
    let asked = fall_silent(&silent, silence);

    merchant.until_transfer(&pay(LITTLE).await).await;
    let large = pay(250_000 - LITTLE).await;
    asked.until_often(cluster.slot_of(&large).await).await;
    let shown = merchant.show(&invoice).await;
    assert_eq!((&shown["status"], &shown["amountPaid"]), (&json!("underpaid"), &json!("0.0005")), "{what}: {shown}");
    assert_eq!(merchant.transfers().await.len(), 1, "{what}: the nodes do not agree yet");
    silent.behave();
    merchant.until_transfer(&large).await;
    let paid = merchant.show(&invoice).await;

    let transfers = paid["transfers"].as_array().map(Vec::len);
    assert_eq!((&paid["amountPaid"], transfers), (&json!("0.25"), Some(2)), "{what}: {paid}");
    assert_eq!(merchant.transfers().await.len(), 2, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wallet_sends_on_solana_is_credited_on_one_nodes_word_only_if_it_is_little_where_blocks_are_read() {
    is_kept_back("blocks", Silence::Sparing, false).await;
    is_kept_back("blocks", Silence::NotYet, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_wallet_sends_on_solana_is_credited_on_one_nodes_word_only_if_it_is_little_where_histories_are_read() {
    is_kept_back("signatures", Silence::Sparing, false).await;
    is_kept_back("signatures", Silence::NotYet, true).await;
    // That something is kept back shows, because the histories name it.
    is_kept_back("signatures", Silence::Sparing, true).await;
}

/// A node shows a transfer in the block of a slot, and in histories, that nobody has made.
fn lie(liar: &Proxy, cluster: &Cluster, slot: u64) {
    let (name, shown) = (encode_base58(&rand::random::<[[u8; 32]; 2]>().concat()), shown(cluster, 0, Value::Null));
    liar.rule(move |method, params, _| match method {
        // On the first page.
        HISTORY if params[1].get("before").is_none() => {
            let entry = json!({"signature": name, "slot": slot, "err": null, "memo": null, "confirmationStatus": "confirmed"});
            Edit::of(move |entries| entries.as_array_mut().expect("entries").insert(0, entry.clone()))
        }
        "getBlock" if params[0] == slot => {
            let transaction = shown(&name);
            Edit::of(move |block| {
                if let Some(transactions) = block.get_mut("transactions").and_then(Value::as_array_mut) {
                    transactions.push(transaction.clone());
                }
            })
        }
        _ => Act::Forward,
    });
}

async fn is_made_up(watch: &str) {
    let cluster = Cluster::start(200).await;
    let (liar, honest) = (Proxy::start(&cluster.url), Proxy::start(&cluster.url));
    let options = Options::new(wary(&cluster, [&liar, &honest], watch), &database::fresh().await);
    let facilitator = Facilitator::start(&options).await;
    let merchant = Merchant::open(&facilitator).await;
    let (shop, buyer) = (Wallet::of(&cluster, "/accounts/merchant").await, Wallet::of(&cluster, "/payers/0").await);
    register(&merchant, &cluster, &shop).await;
    let invoice = merchant.invoice(&json!({"amount": "0.25", "reserveAddress": true})).await;
    let (asked, slot) = (Asked::default(), cluster.slot().await + 5);
    let counter = asked.clone();
    honest.rule(move |method, params, _| {
        counter.note(method, params);
        Act::Forward
    });

    lie(&liar, &cluster, slot);
    asked.until_often(slot).await;
    let status = merchant.show(&invoice).await["status"].clone();
    assert_eq!((merchant.transfers().await, status), (Vec::new(), json!("open")), "{watch}");
    liar.behave();
    let usdc = Token::of(&cluster, "usdc");
    let transaction = buyer.pay(&cluster, usdc, &shop.address(), 250_000, Marks::default()).await;
    merchant.until_transfer(&transaction).await;

    assert_eq!(merchant.transfers().await.len(), 1, "{watch}");
    let paid = merchant.show(&invoice).await;
    assert_eq!((&paid["amountPaid"], credit(&paid)), (&json!("0.25"), ("reserved", transaction.as_str())), "{watch}: {paid}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_on_solana_made_up_is_credited_to_nobody_where_blocks_are_read() {
    is_made_up("blocks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_node_on_solana_made_up_is_credited_to_nobody_where_histories_are_read() {
    is_made_up("signatures").await;
}
