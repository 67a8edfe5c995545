//! Transfers on Solana that are presented by their transaction.

use secrecy::SecretString;
use serde_json::{Value, json};

use super::refusals::refusal;
use super::{AMOUNT, PATIENCE, facts, is_duplicate, post, presented, terms, text, told};
use crate::support::facilitator::{Facilitator, Options};
use crate::support::merchant::Merchant;
use crate::support::solana::Cluster;
use crate::support::solana::wallet::{Marks, Token, Wallet};
use crate::support::{cli, database, eventually};

/// What [`AMOUNT`] is in units of a token on Solana.
const UNITS: u64 = 500_000;

async fn start() -> (Cluster, Facilitator, SecretString) {
    let (cluster, url) = (Cluster::start(200).await, database::fresh().await);
    let facilitator = Facilitator::start(&Options::new(cluster.options(&cluster.url), &url)).await;
    (cluster, facilitator, url)
}

/// A merchant who is paid in USDC at the address of a wallet, with a key of its account for `/verify` and `/settle`.
struct Shop<'a> {
    cluster: &'a Cluster,
    facilitator: &'a Facilitator,
    merchant: Merchant<'a>,
    owner: Wallet,
    key: String,
}

impl<'a> Shop<'a> {
    async fn open(cluster: &'a Cluster, facilitator: &'a Facilitator) -> Self {
        let (merchant, owner) = (Merchant::open(facilitator).await, Wallet::of(cluster, "/accounts/merchant").await);
        merchant.register_signed(&cluster.text("/network"), &owner.address(), |challenge| owner.sign(challenge)).await;
        let printed = cli::run_well(facilitator, &["api-key", "create", merchant.id(), "--scope", "provider"]).await;
        let key = cli::word_behind(&printed, "API key");
        Self { cluster, facilitator, merchant, owner, key }
    }

    async fn invoice(&self) -> Value {
        self.merchant.invoice(&json!({"amount": AMOUNT.0})).await
    }

    /// A wallet pays, and nobody can say for what.
    async fn paid_by(&self, payer: &Wallet) -> String {
        let usdc = Token::of(self.cluster, "usdc");
        let transaction = payer.pay(self.cluster, usdc, &self.owner.address(), UNITS, Marks::default()).await;
        assert_eq!(self.merchant.until_transfer(&transaction).await["matched"], false);
        transaction
    }

    /// What a wallet signs for an invoice.
    fn signed_by(&self, payer: &Wallet, invoice: &Value, transaction: &str) -> String {
        payer.sign(&text(&self.facilitator.url, &self.cluster.text("/network"), invoice, transaction))
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        post(self.facilitator, path, body, Some(&self.key), None).await.1
    }
}

/// Waits until a transaction is in a block, whatever became of it there.
async fn until_landed(cluster: &Cluster, transaction: &str) {
    eventually("a block with the transaction", PATIENCE, || async {
        let statuses = cluster.rpc("getSignatureStatuses", json!([[transaction]])).await;
        (!statuses["value"][0].is_null()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_on_solana_is_taken_once_by_its_merchant_or_by_its_payer() {
    let (cluster, facilitator, url) = start().await;
    let shop = Shop::open(&cluster, &facilitator).await;
    let payer = Wallet::of(&cluster, "/payers/0").await;
    let (by_merchant, by_payer) = (shop.invoice().await, shop.invoice().await);
    let (first, second) = (shop.paid_by(&payer).await, shop.paid_by(&payer).await);
    let bare = presented(&terms(&by_merchant), &first, None);
    let signed = presented(&terms(&by_payer), &second, Some(&shop.signed_by(&payer, &by_payer, &second)));

    let before = facts(&url).await;
    assert_eq!(shop.post("/verify", &bare).await, json!({"isValid": true, "payer": payer.address()}));
    assert_eq!(facilitator.verify(&signed).await.1["isValid"], true);
    assert_eq!(facts(&url).await, before, "to verify changes nothing");
    let settled = shop.post("/settle", &bare).await;
    let expected = json!({
        "success": true, "payer": payer.address(), "transaction": first, "network": cluster.text("/network"),
        "amount": UNITS.to_string(), "extra": settled["extra"],
    });
    assert_eq!(settled, expected);
    assert_eq!(facilitator.settle(&signed).await.1["success"], true);

    for (invoice, transaction) in [(&by_merchant, &first), (&by_payer, &second)] {
        let paid = eventually("the payment of an invoice", PATIENCE, || async {
            let shown = shop.merchant.show(invoice).await;
            ["paid", "final"].iter().any(|status| shown["status"] == *status).then_some(shown)
        })
        .await;
        let transfer = &paid["transfers"][0];
        assert_eq!((&transfer["transaction"], &transfer["basis"]), (&json!(transaction), &json!("assigned")), "{paid}");
        assert_eq!(told(&url, invoice, "invoice.paid").await, 1);
    }
    assert!(is_duplicate(&facilitator.settle(&signed).await.1, &second));
    for invoice in [&by_merchant, &by_payer] {
        assert!(is_duplicate(&shop.post("/settle", &presented(&terms(invoice), &first, None)).await, &first));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_on_solana_that_did_something_else_pays_nothing() {
    let (cluster, facilitator, url) = start().await;
    let shop = Shop::open(&cluster, &facilitator).await;
    let (payer, stranger) = (Wallet::of(&cluster, "/payers/0").await, Wallet::of(&cluster, "/payers/1").await);
    let (usdc, other_token) = (Token::of(&cluster, "usdc"), Token::of(&cluster, "token2022"));
    let invoice = shop.invoice().await;
    let good = shop.paid_by(&payer).await;
    let address = shop.owner.address();
    let to_nobody = payer.pay(&cluster, usdc, &stranger.address(), UNITS, Marks::default()).await;
    let foreign = payer.pay(&cluster, other_token, &address, UNITS, Marks::default()).await;
    let failed = payer.pay(&cluster, usdc, &address, u64::MAX, Marks::default()).await;
    for transaction in [&to_nobody, &foreign, &failed] {
        until_landed(&cluster, transaction).await;
    }
    shop.merchant.until_transfer(&foreign).await;
    let unknown = stranger.sign("no transaction");
    let of = |amount: u64| {
        let mut terms = terms(&invoice);
        terms["amount"] = amount.to_string().into();
        terms
    };

    for (terms, transaction, code) in [
        (of(UNITS - 1), &good, "transfer_amount_mismatch"),
        (of(UNITS + 1), &good, "transfer_amount_mismatch"),
        (of(UNITS), &to_nobody, "transfer_recipient_mismatch"),
        (of(UNITS), &foreign, "transfer_asset_mismatch"),
        (of(UNITS), &failed, "transfer_failed"),
        (of(UNITS), &unknown, "transfer_not_found"),
    ] {
        let body = presented(&terms, transaction, None);
        assert_eq!(refusal(&url, &facilitator, &body, Some(&shop.key)).await, (200, code.to_owned()), "{body}");
    }
    let signed = shop.signed_by(&stranger, &invoice, &good);
    for (signature, code) in [
        (None, "proof_signature_missing"),
        (Some(signed.as_str()), "proof_signature_invalid"),
        (Some("0x00"), "proof_signature_invalid"),
    ] {
        let body = presented(&terms(&invoice), &good, signature);
        assert_eq!(refusal(&url, &facilitator, &body, None).await, (200, code.to_owned()), "{body}");
    }
    let malformed = presented(&terms(&invoice), &format!("0x{}", "ab".repeat(32)), None);
    assert_eq!(refusal(&url, &facilitator, &malformed, Some(&shop.key)).await, (400, "invalid_payload".to_owned()));
    assert_eq!(shop.merchant.show(&invoice).await["status"], "open");
    assert_eq!(shop.post("/settle", &presented(&of(UNITS), &good, None)).await["success"], true, "and the good one is good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_on_solana_that_must_be_final_is_pending_until_it_is() {
    let (cluster, facilitator, url) = start().await;
    let shop = Shop::open(&cluster, &facilitator).await;
    let payer = Wallet::of(&cluster, "/payers/0").await;
    let invoice = shop.merchant.invoice(&json!({"amount": AMOUNT.0, "answerAt": "final"})).await;
    let transaction = shop.paid_by(&payer).await;
    let signed = presented(&terms(&invoice), &transaction, Some(&shop.signed_by(&payer, &invoice, &transaction)));

    let before = facts(&url).await;
    let (verified, pending) = (facilitator.verify(&signed).await.1, facilitator.settle(&signed).await.1);
    assert_eq!(verified["invalidReason"], "settlement_pending", "{verified}");
    assert_eq!((&pending["errorReason"], &pending["transaction"]), (&json!("settlement_pending"), &json!(transaction)));
    assert_eq!(facts(&url).await, before, "nothing is claimed before");

    let settled = facilitator.settle_patiently(&signed, PATIENCE).await;
    assert_eq!((&settled["success"], &settled["extra"]["finality"]), (&json!(true), &json!("final")), "{settled}");
    shop.merchant.until(&invoice, "final").await;
}
