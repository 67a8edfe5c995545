//! What is stored under an `Idempotency-Key`, and what is not.

use chrono::Utc;
use quittance::domain::payment::Fingerprint;
use quittance::ledger::idempotency::{StorageKey, StoredAnswer};
use serde_json::Value;

use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::Terms;

const FINGERPRINT: Fingerprint = Fingerprint([7; 32]);

fn answer(body: &str, success: bool) -> StoredAnswer {
    StoredAnswer { status: 200, body: body.as_bytes().to_vec(), success }
}

/// Of two requests under one key that are under way together, one may be refused by what passes, and the other paid.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_takes_the_place_of_a_refusal_and_never_the_other_way_round() {
    let ledger = database::ledger(&database::fresh().await).await;
    let key = StorageKey { scope: "somebody".to_owned(), key: "0123456789abcdef".to_owned() };
    let store = async |given: StoredAnswer| ledger.store_answer(&key, FINGERPRINT, given, Utc::now()).await.expect("it answers");
    let (refused, paid) = (answer("refused", false), answer("paid", true));
    assert_eq!(ledger.bind_key(&key, FINGERPRINT, Utc::now()).await.expect("it answers").answer, None);

    assert_eq!(store(refused.clone()).await, refused);
    assert_eq!(store(answer("refused otherwise", false)).await, refused);
    assert_eq!(store(paid.clone()).await, paid);
    assert_eq!(store(answer("paid again", true)).await, paid);
    assert_eq!(store(refused).await, paid);
    let bound = ledger.bind_key(&key, Fingerprint([8; 32]), Utc::now()).await.expect("it answers");
    assert_eq!((bound.fingerprint, bound.answer), (FINGERPRINT, Some(paid)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_leaves_nothing_behind_until_there_is_a_payment() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let ledger = database::ledger(&url).await;
    let facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &url)).await;
    let good = chain.payers[0].authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v2();
    let mut unsigned = good.clone();
    unsigned["paymentPayload"]["payload"]["signature"] = format!("0x{}", "11".repeat(65)).into();
    let settle = async |body: &Value| {
        let request = facilitator.client().post(format!("{}/settle", facilitator.url)).json(body);
        let answer = request.header("idempotency-key", "0123456789abcdef").send().await.expect("an answer");
        answer.text().await.expect("a body")
    };
    let stored = async || {
        let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM idempotency");
        count.fetch_one(ledger.pool()).await.expect("the database answers")
    };

    let refused = settle(&unsigned).await;
    assert!(refused.contains("invalid_exact_evm_signature"), "{refused}");
    assert_eq!(stored().await, 0);
    let paid = settle(&good).await;
    assert!(paid.contains(r#""success":true"#), "{paid}");
    assert_eq!((stored().await, settle(&good).await), (1, paid));
}
