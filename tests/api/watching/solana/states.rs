//! What becomes of invoices that wallets pay on Solana, and what their merchant is told of it.

use secrecy::SecretString;
use serde_json::{Value, json};

use super::{PATIENCE, register, text, watching};
use crate::support::facilitator::{Facilitator, Options};
use crate::support::merchant::{Merchant, told};
use crate::support::proxy::{Act, Edit, Proxy};
use crate::support::solana::Cluster;
use crate::support::solana::wallet::{Marks, Token, Wallet};
use crate::support::{database, eventually};

/// A merchant with two tills, whose addresses can be reserved, and a shop.
struct World {
    cluster: Cluster,
    node: Proxy,
    url: SecretString,
    facilitator: Facilitator,
    tills: [Wallet; 2],
    shop: Wallet,
    buyer: Wallet,
}

impl World {
    async fn start(watch: &str) -> Self {
        let cluster = Cluster::start(100).await;
        let (node, url) = (Proxy::start(&cluster.url), database::fresh().await);
        let facilitator = Facilitator::start(&Options::new(watching(&cluster, &node.url, watch), &url)).await;
        let tills = [Wallet::of(&cluster, "/payers/10").await, Wallet::of(&cluster, "/payers/11").await];
        let (shop, buyer) = (Wallet::of(&cluster, "/accounts/merchant").await, Wallet::of(&cluster, "/payers/0").await);
        Self { cluster, node, url, facilitator, tills, shop, buyer }
    }

    async fn pay(&self, to: &Wallet, units: u64, memo: Option<&Value>) -> String {
        let (usdc, marks) = (Token::of(&self.cluster, "usdc"), Marks { memo: memo.map(text), ..Marks::default() });
        self.buyer.pay(&self.cluster, usdc, &to.address(), units, marks).await
    }

    /// Has no further block become final.
    async fn hold_finality(&self) {
        let newest = self.cluster.slot().await;
        self.node.rule(move |method, params, _| match method {
            "getSlot" if params[0]["commitment"] == "finalized" => {
                Edit::of(move |slot| *slot = json!(slot.as_u64().expect("a slot").min(newest)))
            }
            _ => Act::Forward,
        });
    }
}

fn amounts(invoice: &Value) -> [&str; 4] {
    ["amountPaid", "amountDue", "amountSurplus", "amountLate"].map(|member| text(&invoice[member]))
}

/// Waits until something has come for an invoice whose time is over.
async fn until_late(merchant: &Merchant<'_>, invoice: &Value) -> Value {
    eventually("a late transfer", PATIENCE, || async {
        let shown = merchant.show(invoice).await;
        (shown["amountLate"] != "0").then_some(shown)
    })
    .await
}

async fn reaches_every_status(watch: &str) {
    let world = World::start(watch).await;
    let merchant = Merchant::open(&world.facilitator).await;
    let mut places = Vec::new();
    for owner in [&world.tills[0], &world.tills[1], &world.shop] {
        places.push(json!([register(&merchant, &world.cluster, owner).await]));
    }
    let short = merchant.invoice(&json!({"amount": "0.01", "expiresIn": 5, "grace": 0, "addresses": places[2]})).await;
    let order = json!({"amount": "1", "reserveAddress": true, "addresses": places[0], "answerAt": "final"});
    let deep = merchant.invoice(&order).await;
    let parted = merchant.invoice(&json!({"amount": "0.25", "reserveAddress": true, "addresses": places[1]})).await;
    let dropped = merchant.invoice(&json!({"amount": "0.02", "addresses": places[2]})).await;
    world.hold_finality().await;

    world.pay(&world.tills[0], 1_000_000, None).await;
    let seen = merchant.until(&deep, "seen").await;
    assert_eq!((amounts(&seen), &seen["amountPending"]), (["0", "0", "0", "0"], &json!("1")), "{watch}: {seen}");
    world.pay(&world.tills[1], 100_000, None).await;
    let begun = merchant.until(&parted, "underpaid").await;
    assert_eq!(amounts(&begun), ["0.1", "0.15", "0", "0"], "{watch}: {begun}");
    world.pay(&world.tills[1], 160_000, None).await;
    let paid = merchant.until(&parted, "paid").await;
    assert_eq!(amounts(&paid), ["0.26", "0", "0.01", "0"], "{watch}: {paid}");
    world.node.behave();
    let counted = merchant.until(&deep, "final").await;
    assert_eq!((amounts(&counted), &counted["amountPending"]), (["1", "0", "0", "0"], &json!("0")), "{watch}: {counted}");
    merchant.until(&parted, "final").await;

    merchant.until(&short, "expired").await;
    world.pay(&world.shop, 10_000, Some(&short["id"])).await;
    let late = until_late(&merchant, &short).await;
    assert_eq!((amounts(&late), &late["status"]), (["0", "0.01", "0", "0.01"], &json!("expired")), "{watch}: {late}");
    let path = format!("/v1/invoices/{}/cancel", text(&dropped["id"]));
    assert_eq!(merchant.post(&path, &json!({})).await.1["status"], "canceled");
    world.pay(&world.shop, 20_000, Some(&dropped["id"])).await;
    let late = until_late(&merchant, &dropped).await;
    assert_eq!((text(&late["amountLate"]), &late["status"]), ("0.02", &json!("canceled")), "{watch}: {late}");

    let told = async |invoice| told(&world.url, invoice).await;
    assert_eq!(told(&deep).await, ["invoice.seen", "invoice.paid", "invoice.finalized"], "{watch}");
    let parts = ["invoice.underpaid", "invoice.paid", "invoice.overpaid", "invoice.finalized"];
    assert_eq!(told(&parted).await, parts, "{watch}");
    assert_eq!(told(&short).await, ["invoice.expired", "invoice.paid_late"], "{watch}");
    assert_eq!(told(&dropped).await, ["invoice.canceled", "invoice.paid_late"], "{watch}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_on_solana_reaches_every_status_and_each_change_is_told_once_where_blocks_are_read() {
    reaches_every_status("blocks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_on_solana_reaches_every_status_and_each_change_is_told_once_where_histories_are_read() {
    reaches_every_status("signatures").await;
}
