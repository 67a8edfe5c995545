//! The one use that a receipt has.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{status, text};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, replicas};
use crate::support::merchant::{Merchant, pay};
use crate::support::receipts::Keys;

/// Those who redeem at once.
const CALLERS: usize = 16;

async fn redeem(facilitator: &Facilitator, id: &str, key: Option<&str>, body: &Value) -> (u16, Value) {
    let mut request = facilitator.client().post(format!("{}/v1/receipts/{id}/redeem", facilitator.url)).json(body);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_redeem_a_receipt_at_once_one_does() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let keys = Keys::generate().await;
    let mut options = keys.options(NetworkOptions::of(&chain), &database::fresh().await);
    options.server.insert_str(0, "public_url = \"https://receipts.example\"\n");
    let replicas = replicas(2, &options).await;
    let (merchant, rival) = (Merchant::open(&replicas[0]).await, Merchant::open(&replicas[0]).await);
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.25", "reserveAddress": true})).await;
    pay(&chain, &chain.payers[1], &chain.payers[0].address(), 250_000).await;
    let paid = merchant.until(&invoice, "paid").await;
    let id = text(&paid["receipts"][0]["id"]);
    let key = Some(merchant.key());

    // Whoever has no right to it uses nothing up.
    assert_eq!(redeem(&replicas[0], id, None, &json!({})).await.0, 401);
    assert_eq!(redeem(&replicas[0], id, Some(rival.key()), &json!({})).await.0, 404);
    for nonce in [json!(""), json!("n".repeat(129)), json!("a b"), json!(7)] {
        let (status, problem) = redeem(&replicas[0], id, key, &json!({"nonce": nonce})).await;
        assert_eq!((status, &problem["code"]), (400, &json!("bad_body")), "{nonce}");
    }
    assert_eq!(status(&replicas[1], id).await["redeemed"], false);

    let bodies: Vec<_> = (0..CALLERS).map(|number| json!({"nonce": format!("order-{number}")})).collect();
    let asked = bodies.iter().enumerate().map(|(number, body)| redeem(&replicas[number % replicas.len()], id, key, body));
    let answers = join_all(asked).await;

    let won: Vec<_> = answers.iter().enumerate().filter(|(_, (status, _))| *status == 200).map(|(number, _)| number).collect();
    let [winner] = won.as_slice() else { panic!("one redeems: {answers:?}") };
    let lost = answers.iter().filter(|(status, problem)| *status == 409 && problem["code"] == "receipt_redeemed").count();
    assert_eq!(lost, CALLERS - 1, "{answers:?}");
    assert_eq!((&answers[*winner].1["id"], &answers[*winner].1["nonce"]), (&json!(id), &bodies[*winner]["nonce"]));
    for replica in &replicas {
        // The same again is told the same, and nobody else gets it.
        assert_eq!(redeem(replica, id, key, &bodies[*winner]).await, answers[*winner]);
        for body in [json!({}), json!({"nonce": "another"})] {
            let (status, problem) = redeem(replica, id, key, &body).await;
            assert_eq!((status, &problem["code"]), (409, &json!("receipt_redeemed")), "{problem}");
        }
        assert_eq!(status(replica, id).await["redeemed"], true);
    }
    let (_, shown) = merchant.get(&format!("/v1/receipts/{id}")).await;
    assert_eq!(shown["redeemedAt"], answers[*winner].1["redeemedAt"], "{shown}");
}
