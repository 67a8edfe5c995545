//! The story of a payment.

use serde_json::{Value, json};

use super::{PATIENCE, fail, tell, with_signers};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, Options, free_port};
use crate::support::payer::{Signed, Terms};
use crate::support::receipts::Keys;
use crate::support::{cli, database, eventually};

/// Settles under an account's key and a name of its own, and returns the payment's.
async fn settle_as(facilitator: &Facilitator, key: &str, name: &str, signed: &Signed) -> String {
    let request = facilitator.client().post(format!("{}/settle", facilitator.url)).bearer_auth(key).json(&signed.v2());
    let answer = request.header("idempotency-key", name).send().await.expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    assert_eq!(answer["success"], true, "{answer}");
    answer["extra"]["paymentId"].as_str().expect("a payment").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_told_from_its_acceptance_to_its_receipt() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let (url, keys) = (database::fresh().await, Keys::generate().await);
    let facilitator = Facilitator::start(&keys.options(with_signers(&chain, 1), &url)).await;
    let (provider, merchant) = (cli::open_account(&facilitator, "provider").await, chain.text("/accounts/merchant/address"));
    let signed = chain.payers[0].authorize(&Terms::to(&merchant));
    let name = "a-name-that-only-its-caller-knows";
    let id = settle_as(&facilitator, &provider.key, name, &signed).await;

    let story = eventually("the end", PATIENCE, || async {
        let story = tell(&facilitator, &["payment", "show", &id]).await;
        let told = story["state"] == "final" && story["receipt"]["revisions"].as_array()?.len() == 2;
        // The lane lets go of the signature when it looks at its slot again.
        (told && story["signatureKept"] == false).then_some(story)
    })
    .await;
    let transaction = &chain.uses_of(&signed).await[0];
    assert_eq!((&story["money"], &story["provider"]), (&json!("with-recipient-for-good"), &json!(provider.id)), "{story}");
    assert_eq!(story["handedOut"]["to"], "idempotency-key");
    let (attempt, transfer) = (&story["attempts"][0], &story["transfers"][0]);
    assert_eq!((&attempt["transaction"], &attempt["makesIt"]), (&json!(transaction), &json!(true)), "{story}");
    assert!(attempt["spentBlock"].is_u64(), "{story}");
    assert_eq!((&transfer["transaction"], &transfer["canonical"]), (&json!(transaction), &json!(true)), "{story}");
    let seen = json!([{"transaction": transaction, "seen": "succeeded", "block": transfer["blockNumber"], "pays": true}]);
    assert_eq!(story["nodes"], seen);
    let kinds: Vec<_> = story["events"].as_array().expect("events").iter().map(|event| event["kind"].clone()).collect();
    assert_eq!(kinds, ["payment.included", "payment.finalized"]);

    let told = cli::run_well(&facilitator, &["payment", "show", &id]).await;
    for line in ["state       final", "money       with the recipient for good", "  revision 2  final"] {
        assert!(told.contains(line), "{line} is missing in:\n{told}");
    }
    let signature = &signed.payload["signature"].as_str().expect("a signature")[2..];
    for (secret, what) in [(signature, "signature"), (name, "Idempotency-Key"), (provider.key.as_str(), "key")] {
        assert!(!told.contains(secret) && !story.to_string().contains(secret), "the {what} is told:\n{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_is_not_made_says_where_its_money_is() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let mut options = Options::new(with_signers(&chain, 1), &url);
    options.server.push_str("answer_within_v2_seconds = 2\n");
    let facilitator = Facilitator::start(&options).await;
    let merchant = chain.text("/accounts/merchant/address");
    let under_way = chain.payers[0].authorize(&Terms::to(&merchant));
    super::mining(&chain, false).await;
    let (_, answer) = facilitator.settle(&under_way.v2()).await;
    assert_eq!(answer["errorReason"], "settlement_pending", "{answer}");
    let id = answer["extra"]["paymentId"].as_str().expect("a payment");

    let story = tell(&facilitator, &["payment", "show", id]).await;
    assert_eq!((&story["state"], &story["money"]), (&json!("submitted"), &json!("under-way")), "{story}");
    assert_eq!((&story["handedOut"], &story["nodes"][0]["seen"]), (&json!(null), &json!("unknown")), "{story}");
    super::mining(&chain, true).await;
    eventually("a block with it", PATIENCE, || async {
        let story = tell(&facilitator, &["payment", "show", id]).await;
        ["included", "final"].iter().any(|state| story["state"] == **state).then_some(())
    })
    .await;

    assert_eq!(fail(&facilitator, &["payment", "show", "everything"]).await.0, 2);
    let unknown = quittance::domain::ids::PaymentId::new().to_string();
    assert_eq!(fail(&facilitator, &["payment", "show", &unknown]).await, (3, format!("there is no payment {unknown}\n")));
    let nowhere = format!("postgres://nobody@127.0.0.1:{}/nothing", free_port()).into();
    let blind = Facilitator::spawn(&Options::new(with_signers(&chain, 1), &nowhere));
    assert_eq!(fail(&blind, &["payment", "show", id]).await.0, 4, "the same command may work later");
}
