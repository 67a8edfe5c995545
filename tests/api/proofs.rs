//! Transfers that are presented by their transaction as the payment of an invoice: who may present them, and who is told.

use std::time::Duration;

use alloy::primitives::eip191_hash_message;
use alloy::signers::local::PrivateKeySigner;
use futures_util::future::join_all;
use quittance::domain::challenge::Presentation;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::support::chain::{Chain, ChainOptions, hex};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options, replicas};
use crate::support::merchant::{Merchant, pay, sign};
use crate::support::payer::{Payer, Terms, landings_call, transfer_call};
use crate::support::typed;
use crate::support::{cli, contract, database};

mod at_once;
mod page;
mod refusals;
mod signed_here;
mod solana;

const PATIENCE: Duration = Duration::from_secs(30);

/// What every invoice here asks for, as people write it and in atomic units.
const AMOUNT: (&str, u128) = ("0.5", 500_000);

async fn start() -> (Chain, Facilitator, SecretString) {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let facilitator = Facilitator::start(&Options::new(network(&chain), &url)).await;
    (chain, facilitator, url)
}

/// The chain, on which nothing becomes final while a test looks at it.
fn network(chain: &Chain) -> NetworkOptions {
    NetworkOptions { lines: "final = 1000\n".to_owned(), ..NetworkOptions::of(chain) }
}

/// A merchant who is paid at the address of one of the payers, with a key of its account for `/verify` and `/settle`.
struct Shop<'a> {
    chain: &'a Chain,
    facilitator: &'a Facilitator,
    merchant: Merchant<'a>,
    address: String,
    key: String,
}

impl<'a> Shop<'a> {
    async fn open(chain: &'a Chain, facilitator: &'a Facilitator, owner: &Payer) -> Self {
        let merchant = Merchant::open(facilitator).await;
        merchant.register(&chain.network(), owner).await;
        let printed = cli::run_well(facilitator, &["api-key", "create", merchant.id(), "--scope", "provider"]).await;
        let key = cli::word_behind(&printed, "API key");
        Self { chain, facilitator, merchant, address: owner.address(), key }
    }

    /// An invoice to which nothing matches by itself.
    async fn invoice(&self) -> Value {
        self.merchant.invoice(&json!({"amount": AMOUNT.0})).await
    }

    /// A wallet pays, and nobody can say for what.
    async fn paid_by(&self, payer: &Payer) -> String {
        let transaction = pay(self.chain, payer, &self.address, AMOUNT.1).await;
        assert_eq!(self.merchant.until_transfer(&transaction).await["matched"], false);
        transaction
    }

    /// What a payer signs for an invoice.
    fn text(&self, invoice: &Value, transaction: &str) -> String {
        text(&self.facilitator.url, &self.chain.network(), invoice, transaction)
    }

    /// Sends a body with the merchant's key, and returns the answer.
    async fn post(&self, path: &str, body: &Value) -> Value {
        post(self.facilitator, path, body, Some(&self.key), None).await.1
    }
}

fn text(service_url: &str, network: &str, invoice: &Value, transaction: &str) -> String {
    let presentation = Presentation {
        service_url: service_url.to_owned(),
        invoice: invoice["id"].as_str().expect("a name").parse().expect("an identifier"),
        network: network.parse().expect("a network"),
        transaction: transaction.to_owned(),
    };
    presentation.text()
}

/// What an invoice requires of a transfer, by its first option.
fn terms(invoice: &Value) -> Value {
    let option = &invoice["options"][0];
    json!({
        "scheme": "transfer", "network": option["network"], "amount": option["amount"], "asset": option["asset"],
        "payTo": option["payTo"], "maxTimeoutSeconds": 60, "extra": {"invoice": invoice["id"]},
    })
}

/// The body with which a transaction is presented for these terms.
fn presented(terms: &Value, transaction: &str, signature: Option<&str>) -> Value {
    let mut payload = json!({"transaction": transaction});
    if let Some(signature) = signature {
        payload["signature"] = signature.into();
    }
    json!({
        "x402Version": 2, "paymentRequirements": terms,
        "paymentPayload": {"x402Version": 2, "accepted": terms, "payload": payload},
    })
}

/// A POST with or without a key; status and answer.
async fn post(facilitator: &Facilitator, path: &str, body: &Value, key: Option<&str>, repeat: Option<&str>) -> (u16, Value) {
    let mut request = facilitator.client().post(format!("{}{path}", facilitator.url)).json(body);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    if let Some(repeat) = repeat {
        request = request.header("idempotency-key", repeat);
    }
    contract::read("POST", request.send().await.expect("an answer")).await.expect("JSON")
}

/// How many rows the ledger has where a presentation can leave one.
async fn facts(url: &SecretString) -> Vec<(&'static str, i64)> {
    let mut connection = PgConnection::connect(url.expose_secret()).await.expect("PostgreSQL answers");
    let mut facts = Vec::new();
    for table in ["claims", "assignments", "events", "idempotency"] {
        let count = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
        facts.push((table, count.fetch_one(&mut connection).await.expect("the table is there")));
    }
    facts
}

/// How often an invoice's owner was told this of it.
async fn told(url: &SecretString, invoice: &Value, kind: &str) -> i64 {
    let id: quittance::domain::ids::InvoiceId = invoice["id"].as_str().expect("a name").parse().expect("an identifier");
    let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM events WHERE invoice_id = $1 AND kind = $2");
    let count = count.bind(id.uuid()).bind(kind);
    count.fetch_one(database::ledger(url).await.pool()).await.expect("the database answers")
}

fn is_duplicate(answer: &Value, transaction: &str) -> bool {
    answer["success"] == false && answer["errorReason"] == "duplicate_settlement" && answer["transaction"] == transaction
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_takes_a_transfer_that_could_be_for_anything() {
    let (chain, facilitator, url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let (invoice, other) = (shop.invoice().await, shop.invoice().await);
    let transaction = shop.paid_by(&chain.payers[1]).await;
    let body = presented(&terms(&invoice), &transaction, None);

    let before = facts(&url).await;
    let verified = shop.post("/verify", &body).await;
    assert_eq!(verified, json!({"isValid": true, "payer": chain.payers[1].address()}));
    assert_eq!((facts(&url).await, &shop.merchant.show(&invoice).await["status"]), (before, &json!("open")));
    let settled = shop.post("/settle", &body).await;
    let expected = json!({
        "success": true, "payer": chain.payers[1].address(), "transaction": transaction, "network": chain.network(),
        "amount": AMOUNT.1.to_string(), "extra": {"finality": "included"},
    });
    assert_eq!(settled, expected);

    let paid = shop.merchant.until(&invoice, "paid").await;
    let transfer = &paid["transfers"][0];
    assert_eq!((&transfer["transaction"], &transfer["basis"]), (&json!(transaction), &json!("assigned")), "{paid}");
    assert_eq!(shop.merchant.show(&other).await["status"], "open");
    for twice in [&invoice, &other] {
        let body = presented(&terms(twice), &transaction, None);
        assert_eq!(shop.post("/verify", &body).await["invalidReason"], "duplicate_settlement");
        assert!(is_duplicate(&shop.post("/settle", &body).await, &transaction));
    }
    assert_eq!((told(&url, &invoice, "invoice.paid").await, told(&url, &other, "invoice.paid").await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_takes_its_transfer_by_its_signature() {
    let (chain, facilitator, url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let (invoice, other, payer) = (shop.invoice().await, shop.invoice().await, &chain.payers[1]);
    let transaction = shop.paid_by(payer).await;
    let body = |invoice: &Value| {
        let signature = sign(payer, &shop.text(invoice, &transaction));
        presented(&terms(invoice), &transaction, Some(&signature))
    };

    assert_eq!(facilitator.verify(&body(&invoice)).await.1["isValid"], true);
    let (status, settled) = facilitator.settle(&body(&invoice)).await;
    assert_eq!((status, &settled["success"], &settled["payer"]), (200, &json!(true), &json!(payer.address())), "{settled}");
    shop.merchant.until(&invoice, "paid").await;

    // Neither the payer nor the merchant is told of it again, whatever it is presented for.
    assert!(is_duplicate(&facilitator.settle(&body(&invoice)).await.1, &transaction));
    assert!(is_duplicate(&facilitator.settle(&body(&other)).await.1, &transaction));
    assert!(is_duplicate(&shop.post("/settle", &presented(&terms(&invoice), &transaction, None)).await, &transaction));
    assert_eq!(shop.merchant.show(&other).await["status"], "open");
    assert_eq!(told(&url, &invoice, "invoice.paid").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_many_payers_in_one_transaction_is_believed_like_the_first() {
    let (chain, facilitator, _url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let mut payers: Vec<_> = chain.payers[1..].iter().take(17).collect();
    payers.sort_by_key(|payer| payer.address().to_lowercase());
    let terms_of_all = Terms { amount: AMOUNT.1, ..Terms::to(&shop.address) };
    let signed: Vec<_> = payers.iter().map(|payer| payer.authorize(&terms_of_all)).collect();
    let landings = landings_call(&chain.usdc(), &signed);
    let caller = chain.text("/accounts/buyer/address");
    let receipt = chain.transact(&caller, Some(&chain.text("/multicall3")), &landings).await;
    let transaction = receipt["transactionHash"].as_str().expect("a hash");
    shop.merchant.until_transfer(transaction).await;

    for payer in [payers[16], payers[0]] {
        let invoice = shop.invoice().await;
        let signature = sign(payer, &shop.text(&invoice, transaction));
        let settled = facilitator.settle(&presented(&terms(&invoice), transaction, Some(&signature))).await.1;
        assert_eq!((&settled["success"], &settled["payer"]), (&json!(true), &json!(payer.address())), "{settled}");
    }
    let invoice = shop.invoice().await;
    let stranger = sign(&chain.payers[18], &shop.text(&invoice, transaction));
    let refused = facilitator.settle(&presented(&terms(&invoice), transaction, Some(&stranger))).await.1;
    assert_eq!(refused["errorReason"], "proof_signature_invalid", "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_wallet_vouches_for_what_it_has_paid() {
    let (chain, facilitator, _url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let invoice = shop.invoice().await;
    let safe = chain.text("/safe");
    let owner: PrivateKeySigner = chain.text("/accounts/safeOwner/key").parse().expect("a key");
    pay(&chain, &chain.payers[1], &safe, 2 * AMOUNT.1).await;
    let transaction = chain.send_as(&safe, &chain.usdc(), &transfer_call(&shop.address, AMOUNT.1), 1_000_000).await;
    shop.merchant.until_transfer(&transaction).await;
    let hash = eip191_hash_message(shop.text(&invoice, &transaction));
    let chain_id = chain.world["chainId"].as_u64().expect("a number");
    let signed_for = |signer: &PrivateKeySigner| {
        let signature = typed::sign_for_safe(signer, safe.parse().expect("an address"), chain_id, hash);
        presented(&terms(&invoice), &transaction, Some(&alloy::hex::encode_prefixed(signature)))
    };

    let stranger = facilitator.settle(&signed_for(chain.payers[2].signer())).await.1;
    assert_eq!(stranger["errorReason"], "proof_signature_invalid", "{stranger}");
    let settled = facilitator.settle(&signed_for(&owner)).await.1;
    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!(settled["payer"].as_str().map(str::to_lowercase), Some(safe.to_lowercase()));
    shop.merchant.until(&invoice, "paid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_matched_without_anybodys_word_is_told_once_too() {
    let (chain, facilitator, url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let invoice = shop.merchant.invoice(&json!({"amount": AMOUNT.0, "reserveAddress": true})).await;
    let transaction = pay(&chain, &chain.payers[1], &shop.address, AMOUNT.1).await;
    shop.merchant.until(&invoice, "paid").await;
    let body = presented(&terms(&invoice), &transaction, None);

    let first = shop.post("/settle", &body).await;
    assert_eq!((&first["success"], &first["transaction"]), (&json!(true), &json!(transaction)), "{first}");
    assert!(is_duplicate(&shop.post("/settle", &body).await, &transaction));
    let shown = shop.merchant.show(&invoice).await;
    assert_eq!(shown["transfers"][0]["basis"], "reserved", "{shown}");
    assert_eq!(told(&url, &invoice, "invoice.paid").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_payment_has_settled_is_not_proven_again() {
    let (chain, facilitator, url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let (invoice, other) = (shop.invoice().await, shop.invoice().await);
    let accepts = &invoice["accepts"][0];
    let mut body = chain.payers[1].authorize(&Terms { amount: AMOUNT.1, ..Terms::to(&shop.address) }).v2();
    body["paymentRequirements"] = accepts.clone();
    body["paymentPayload"]["accepted"] = accepts.clone();
    let settled = facilitator.settle(&body).await.1;
    assert_eq!(settled["success"], true, "{settled}");
    shop.merchant.until(&invoice, "paid").await;
    let transaction = settled["transaction"].as_str().expect("a transaction");

    for invoice in [&invoice, &other] {
        let proof = presented(&terms(invoice), transaction, None);
        assert_eq!(shop.post("/verify", &proof).await["invalidReason"], "duplicate_settlement");
        assert!(is_duplicate(&shop.post("/settle", &proof).await, transaction));
    }
    assert_eq!((told(&url, &invoice, "invoice.paid").await, told(&url, &other, "invoice.paid").await), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_counts_when_it_stands_as_deep_as_the_merchant_wants() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    // Final and safe after six blocks.
    let network = NetworkOptions { lines: "final = 6\n".to_owned(), ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &url)).await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let (deep, flat) = (shop.merchant.invoice(&json!({"amount": AMOUNT.0, "answerAt": "safe"})).await, shop.invoice().await);
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    let payer = &chain.payers[1];
    let transaction = chain.send_as(&payer.address(), &chain.usdc(), &transfer_call(&shop.address, AMOUNT.1), 1_000_000).await;
    chain.mine(1).await;
    shop.merchant.until_transfer(&transaction).await;
    let body = |invoice: &Value, answer_at: Option<&str>| {
        let mut terms = terms(invoice);
        terms["extra"]["answerAt"] = answer_at.into();
        presented(&terms, &transaction, Some(&sign(payer, &shop.text(invoice, &transaction))))
    };

    for shallow in [body(&deep, None), body(&deep, Some("included")), body(&flat, Some("final"))] {
        let before = facts(&url).await;
        let (verified, settled) = (facilitator.verify(&shallow).await.1, facilitator.settle(&shallow).await.1);
        assert_eq!(verified["invalidReason"], "settlement_pending", "{verified}");
        assert_eq!((&settled["errorReason"], &settled["transaction"]), (&json!("settlement_pending"), &json!(transaction)));
        assert_eq!(facts(&url).await, before);
    }
    chain.mine(6).await;
    let settled = facilitator.settle_patiently(&body(&deep, None), PATIENCE).await;
    assert_eq!((&settled["success"], &settled["extra"]["finality"]), (&json!(true), &json!("final")), "{settled}");
    shop.merchant.until(&deep, "final").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_was_not_read_yet_is_waited_for() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let lines = format!("{}start_block = {}\n", network(&chain).lines, chain.height().await);
    let options = Options::new(NetworkOptions { lines, ..NetworkOptions::of(&chain) }, &url);
    // Nobody reads blocks.
    let facilitator = Facilitator::start(&Options { roles: Some("api".to_owned()), ..options.clone() }).await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let invoice = shop.invoice().await;
    let transaction = pay(&chain, &chain.payers[1], &shop.address, AMOUNT.1).await;
    let body = presented(&terms(&invoice), &transaction, None);

    let pending = shop.post("/settle", &body).await;
    assert_eq!((&pending["errorReason"], &pending["transaction"]), (&json!("settlement_pending"), &json!(transaction)));
    // What can never pay is said at once.
    let mut more = body.clone();
    more["paymentRequirements"]["amount"] = json!("500001");
    assert_eq!(shop.post("/settle", &more).await["errorReason"], "transfer_amount_mismatch");
    // An answer that passes is not kept under a key.
    let key = "order-7-of-today";
    let keyed = post(&facilitator, "/settle", &body, Some(&shop.key), Some(key)).await.1;
    assert_eq!(keyed["errorReason"], "settlement_pending", "{keyed}");

    let _reader = Facilitator::start(&options).await;
    shop.merchant.until_transfer(&transaction).await;
    let settled = post(&facilitator, "/settle", &body, Some(&shop.key), Some(key)).await.1;
    assert_eq!(settled["success"], true, "{settled}");
    assert_eq!(post(&facilitator, "/settle", &body, Some(&shop.key), Some(key)).await.1, settled, "the same again");
    assert!(is_duplicate(&shop.post("/settle", &body).await, &transaction), "and to nobody else");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_present_one_transfer_one_is_told() {
    const URL: &str = "https://pay.example.org";
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let server = format!("access = \"open\"\npublic_url = {URL:?}\n");
    let replicas = replicas(2, &Options { server, ..Options::new(network(&chain), &url) }).await;
    let shop = Shop::open(&chain, &replicas[0], &chain.payers[0]).await;
    let payer = &chain.payers[1];
    for _ in 0..3 {
        let (invoice, other) = (shop.invoice().await, shop.invoice().await);
        let transaction = shop.paid_by(payer).await;
        let by_payer = |invoice: &Value| {
            let signature = sign(payer, &text(URL, &chain.network(), invoice, &transaction));
            presented(&terms(invoice), &transaction, Some(&signature))
        };
        let by_owner = presented(&terms(&invoice), &transaction, None);
        let bodies = [(by_owner, Some(shop.key.as_str())), (by_payer(&invoice), None), (by_payer(&other), None)];
        let asked = (0..16).map(|number: usize| {
            let (body, key) = &bodies[number % bodies.len()];
            post(&replicas[number % replicas.len()], "/settle", body, *key, None)
        });
        let answers: Vec<_> = join_all(asked).await.into_iter().map(|(_, answer)| answer).collect();

        let won = answers.iter().filter(|answer| answer["success"] == true).count();
        let lost = answers.iter().filter(|answer| is_duplicate(answer, &transaction)).count();
        assert_eq!((won, lost), (1, 15), "{answers:?}");
        let paid = told(&url, &invoice, "invoice.paid").await + told(&url, &other, "invoice.paid").await;
        assert_eq!(paid, 1, "one of the two invoices is paid, once");
    }

    // All who ask under one key are one.
    let (invoice, transaction) = (shop.invoice().await, shop.paid_by(payer).await);
    let body = presented(&terms(&invoice), &transaction, None);
    let ask = |replica: usize, key| post(&replicas[replica % replicas.len()], "/settle", &body, Some(&shop.key), Some(key));
    let answers = join_all((0..8).map(|number| ask(number, "order-8-of-today"))).await;
    for answer in &answers {
        assert_eq!((&answer.1["success"], answer), (&json!(true), &answers[0]));
    }
    assert!(is_duplicate(&ask(0, "order-9-of-today").await.1, &transaction));
    assert_eq!(told(&url, &invoice, "invoice.paid").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proven_transfer_whose_block_is_replaced_pays_no_more() {
    let (chain, facilitator, url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let invoice = shop.invoice().await;
    let transaction = shop.paid_by(&chain.payers[1]).await;
    let body = presented(&terms(&invoice), &transaction, None);
    assert_eq!(shop.post("/settle", &body).await["success"], true);
    shop.merchant.until(&invoice, "paid").await;

    let depth = chain.height().await + 1 - hex(&chain.receipt(&transaction).await["blockNumber"]);
    chain.rpc("anvil_reorg", json!([depth + 1, []])).await;
    let open = shop.merchant.until(&invoice, "open").await;
    assert_eq!(open["transfers"], json!([]), "{open}");
    let again = shop.post("/settle", &body).await;
    assert_eq!(again["errorReason"], "transfer_not_found", "{again}");
    assert_eq!((told(&url, &invoice, "invoice.paid").await, told(&url, &invoice, "invoice.reopened").await), (1, 1));
}
