//! A service that is started on an older copy of its database, with payments that were settled since: nobody is told a success again, and
//! no money moves twice.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay};
use crate::support::payer::{Signed, Terms};
use crate::support::{cli, database, eventually};

mod solana;

const PATIENCE: Duration = Duration::from_secs(30);

/// A chain, a service on it that soon gives up waiting, and where its database is.
struct Before {
    chain: Chain,
    facilitator: Facilitator,
    url: SecretString,
    merchant: String,
}

/// A program of the newest PostgreSQL on this machine.
fn program(name: &str) -> PathBuf {
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = debian.map(|major| major.path().join("bin").join(name)).filter(|path| path.is_file()).collect();
    found.sort();
    found.pop().unwrap_or_else(|| PathBuf::from(name))
}

fn run(name: &str, arguments: &[&str]) {
    let output = std::process::Command::new(program(name)).args(arguments).output().expect("the program runs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An older copy of a database, to be restored later.
struct Copy(PathBuf);

impl Copy {
    fn of(url: &SecretString) -> Self {
        let file = database::open_directory().join("copy.dump");
        run("pg_dump", &["--format", "custom", "--file", file.to_str().expect("Unicode"), url.expose_secret()]);
        Self(file)
    }

    /// Restores it beside the database that it was taken of, and returns its address.
    async fn restore(&self, url: &SecretString) -> SecretString {
        let ledger = database::ledger(url).await;
        let name =
            url.expose_secret().split('?').next().and_then(|address| address.rsplit('/').next()).expect("a name").to_owned();
        let copy = format!("{name}_restored");
        sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {copy}"))).execute(ledger.pool()).await.expect("it is new");
        let restored: SecretString = url.expose_secret().replacen(&format!("/{name}?"), &format!("/{copy}?"), 1).into();
        run("pg_restore", &["--exit-on-error", "--dbname", restored.expose_secret(), self.0.to_str().expect("Unicode")]);
        restored
    }
}

impl Before {
    async fn start() -> Self {
        let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
        let url = database::fresh().await;
        let facilitator = Facilitator::start(&options(&chain, &url)).await;
        let merchant = chain.text("/accounts/merchant/address");
        Self { chain, facilitator, url, merchant }
    }

    fn signed(&self, payer: usize) -> Signed {
        self.chain.payers[payer].authorize(&Terms::to(&self.merchant))
    }

    async fn mining(&self, on: bool) {
        self.chain.rpc("evm_setIntervalMining", json!([u8::from(on)])).await;
    }

    /// Settles while no block comes: bytes are committed, and nobody is told.
    async fn leave_pending(&self, signed: &Signed) {
        self.mining(false).await;
        let (_, answer) = self.facilitator.settle(&signed.v2()).await;
        assert_eq!(answer["errorReason"], "settlement_pending", "{answer}");
    }

    /// Ends the service, and starts it on the copy.
    async fn go_back(mut self, copy: &SecretString) -> (Chain, Facilitator) {
        assert!(self.facilitator.terminate().await.success());
        let facilitator = Facilitator::start(&options(&self.chain, copy)).await;
        (self.chain, facilitator)
    }
}

fn options(chain: &Chain, url: &SecretString) -> Options {
    let mut options = Options::new(NetworkOptions::of(chain), url);
    options.server.push_str("answer_within_v2_seconds = 3\n");
    options
}

/// Asks until there is a verdict.
async fn ask(facilitator: &Facilitator, signed: &Signed) -> Value {
    facilitator.settle_patiently(&signed.v2(), PATIENCE).await
}

fn reason(answer: &Value) -> &str {
    answer["errorReason"].as_str().unwrap_or("success")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_a_success_again_and_no_money_moves_twice() {
    let before = Before::start().await;
    let (told, pending, fresh, next) = (before.signed(0), before.signed(1), before.signed(2), before.signed(3));
    assert_eq!(reason(&ask(&before.facilitator, &told).await), "success");
    before.leave_pending(&pending).await;
    let copy = Copy::of(&before.url);
    before.mining(true).await;
    // What the copy lacks: that somebody was told of the payment under way, and whole payments.
    assert_eq!(reason(&ask(&before.facilitator, &pending).await), "success");
    assert_eq!(reason(&ask(&before.facilitator, &fresh).await), "success");
    for payer in 4..8 {
        assert_eq!(reason(&ask(&before.facilitator, &before.signed(payer)).await), "success");
    }

    let merchant = before.merchant.clone();
    let restored = copy.restore(&before.url).await;
    let (chain, facilitator) = before.go_back(&restored).await;
    let (first, second, third) =
        (ask(&facilitator, &told).await, ask(&facilitator, &pending).await, ask(&facilitator, &fresh).await);
    assert_eq!(reason(&first), "duplicate_settlement", "{first}");
    assert_eq!(reason(&second), "duplicate_settlement", "{second}");
    assert_eq!(second["transaction"], chain.uses_of(&pending).await[0]);
    assert_eq!(reason(&third), "invalid_exact_evm_nonce_already_used", "the token refuses it: {third}");
    assert_eq!(reason(&ask(&facilitator, &next).await), "success", "it is new");

    let id = payment_of(&restored, &pending).await;
    let story = cli::run_well(&facilitator, &["payment", "show", &id]).await;
    assert!(story.contains("to one copy") && story.contains("with the recipient"), "{story}");
    let network = cli::run_well(&facilitator, &["network", "list"]).await;
    assert!(network.contains("a copy that was restored: what stands in blocks up to"), "{network}");
    for signed in [&told, &pending, &fresh, &next] {
        assert_eq!(chain.uses_of(signed).await.len(), 1);
    }
    assert_eq!(chain.transfers_to(&merchant).await.len(), 8);
    assert!(facilitator.log().contains("the database is a copy that was restored"), "{}", facilitator.log());

    // From then on it is the ledger.
    let mut facilitator = facilitator;
    facilitator.terminate().await;
    facilitator.restart().await;
    assert_eq!(facilitator.log().matches("the database is a copy that was restored").count(), 1);
}

/// Our name for a payment that the ledger has.
async fn payment_of(url: &SecretString, signed: &Signed) -> String {
    let payer = sqlx::query_scalar::<_, uuid::Uuid>("SELECT id FROM payments WHERE lower(payer) = lower($1)").bind(&signed.payer);
    let id = payer.fetch_one(database::ledger(url).await.pool()).await.expect("it is there");
    quittance::domain::ids::PaymentId::from_uuid(id).to_string()
}

/// Has a copy say that it is none, as one of a server's files would.
async fn disguise(url: &SecretString) {
    let ledger = database::ledger(url).await;
    let made = sqlx::query("UPDATE ledger_identity SET identity = present_identity()").execute(ledger.pool());
    assert_eq!(made.await.expect("the database answers").rows_affected(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_does_not_show_itself_is_noticed_by_the_nonces_of_its_signers() {
    let before = Before::start().await;
    let (pending, fresh, next) = (before.signed(0), before.signed(1), before.signed(2));
    before.leave_pending(&pending).await;
    let copy = Copy::of(&before.url);
    before.mining(true).await;
    assert_eq!(reason(&ask(&before.facilitator, &pending).await), "success");
    assert_eq!(reason(&ask(&before.facilitator, &fresh).await), "success");

    let restored = copy.restore(&before.url).await;
    disguise(&restored).await;
    let (chain, mut facilitator) = before.go_back(&restored).await;
    eventually("a lane that compares", PATIENCE, || async {
        facilitator.log().contains("the signer has sent what the ledger does not know").then_some(())
    })
    .await;
    let again = ask(&facilitator, &pending).await;
    assert_eq!(reason(&again), "duplicate_settlement", "{again}");
    assert_eq!(reason(&ask(&facilitator, &next).await), "success", "it is new");
    let log = facilitator.log();
    assert!(log.contains("the signer has sent what the ledger does not know") && !log.contains("a copy that was"), "{log}");
    assert_eq!(chain.uses_of(&pending).await.len(), 1);

    // What was found is accounted for.
    facilitator.terminate().await;
    facilitator.restart().await;
    eventually("an idle lane", PATIENCE, || async {
        (facilitator.metric("quittance_lease_held{lease=\"lane").await == 1.0).then_some(())
    })
    .await;
    assert_eq!(facilitator.log().matches("the signer has sent what the ledger does not know").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_nothing_shows_is_one_on_an_operators_word() {
    let before = Before::start().await;
    let (pending, queued) = (before.signed(0), before.signed(1));
    before.leave_pending(&pending).await;
    let copy = Copy::of(&before.url);
    before.mining(true).await;
    assert_eq!(reason(&ask(&before.facilitator, &pending).await), "success");

    let restored = copy.restore(&before.url).await;
    disguise(&restored).await;
    let blind = Facilitator::spawn(&Options { roles: Some("worker".to_owned()), ..options(&before.chain, &restored) });
    cli::run_well(&blind, &["restored"]).await;
    drop(blind);
    let (chain, facilitator) = before.go_back(&restored).await;
    let again = ask(&facilitator, &pending).await;
    assert_eq!(reason(&again), "duplicate_settlement", "{again}");
    assert_eq!(reason(&ask(&facilitator, &queued).await), "success", "it is new");
    assert_eq!(chain.uses_of(&pending).await.len(), 1);
}

/// What was presented as a proof was told in the time that the copy lacks.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_that_time_is_not_taken_again() {
    let before = Before::start().await;
    let shop = Merchant::open(&before.facilitator).await;
    shop.register(&before.chain.network(), &before.chain.payers[0]).await;
    let printed = cli::run_well(&before.facilitator, &["api-key", "create", shop.id(), "--scope", "provider"]).await;
    let key = cli::word_behind(&printed, "API key");
    let invoices = [shop.invoice(&json!({"amount": "0.5"})).await, shop.invoice(&json!({"amount": "0.5"})).await];
    let copy = Copy::of(&before.url);
    let transaction = pay(&before.chain, &before.chain.payers[1], &before.chain.payers[0].address(), 500_000).await;
    shop.until_transfer(&transaction).await;
    let account = shop.into_account();
    let body = presented(&invoices[0], &transaction);
    assert_eq!(reason(&present(&before.facilitator, &key, &body).await), "success");

    let restored = copy.restore(&before.url).await;
    let (chain, facilitator) = before.go_back(&restored).await;
    let shop = Merchant::again(&facilitator, account);
    shop.until_transfer(&transaction).await;
    let again = present(&facilitator, &key, &body).await;
    assert_eq!(reason(&again), "duplicate_settlement", "{again}");
    let later = pay(&chain, &chain.payers[1], &chain.payers[0].address(), 500_000).await;
    shop.until_transfer(&later).await;
    assert_eq!(reason(&present(&facilitator, &key, &presented(&invoices[1], &later)).await), "success", "it is new");
}

fn presented(invoice: &Value, transaction: &str) -> Value {
    let option = &invoice["options"][0];
    let terms = json!({
        "scheme": "transfer", "network": option["network"], "amount": option["amount"], "asset": option["asset"],
        "payTo": option["payTo"], "maxTimeoutSeconds": 60, "extra": {"invoice": invoice["id"]},
    });
    json!({
        "x402Version": 2, "paymentRequirements": terms,
        "paymentPayload": {"x402Version": 2, "accepted": terms, "payload": {"transaction": transaction}},
    })
}

/// Presents a transfer until there is a verdict.
async fn present(facilitator: &Facilitator, key: &str, body: &Value) -> Value {
    eventually("a verdict", PATIENCE, || async {
        let request = facilitator.client().post(format!("{}/settle", facilitator.url)).bearer_auth(key).json(body);
        let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        (reason(&answer) != "unexpected_settle_error").then_some(answer)
    })
    .await
}
