//! What merchants' requests must look like, and what becomes of those that do not.

use serde_json::json;

use super::start;
use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::Merchant;

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_say_what_it_is_is_refused_and_not_thrown_away() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "1"})).await;
    let cancel = format!("{}/v1/invoices/{}/cancel", facilitator.url, invoice["id"].as_str().expect("a name"));
    let send = async |body: &'static str| {
        let request = facilitator.client().post(&cancel).bearer_auth(merchant.key()).body(body);
        request.send().await.expect("an answer").status().as_u16()
    };

    for body in [r#"{"reason": "a typing error"}"#, "{}", "reason=none"] {
        assert_eq!(send(body).await, 415, "{body}");
    }
    assert_eq!(merchant.show(&invoice).await["status"], "open");
    assert_eq!(send("").await, 200);
    assert_eq!(merchant.show(&invoice).await["status"], "canceled");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_names_a_network_without_an_address_is_refused_and_says_which() {
    let (base, sei) = (
        Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await,
        Chain::start(ChainOptions { chain_id: 1329, block_time: 0.25, ..ChainOptions::default() }).await,
    );
    let mut options = Options::new(NetworkOptions::of(&base), &database::fresh().await);
    options.networks.push(NetworkOptions::of(&sei));
    let facilitator = Facilitator::start(&options).await;
    let merchant = Merchant::open(&facilitator).await;
    let place = merchant.register(&base.network(), &base.payers[0]).await;
    let both = json!([base.network(), sei.network()]);

    for order in [
        json!({"amount": "1", "networks": both}),
        json!({"amount": "1", "networks": both, "addresses": [place]}),
        json!({"amount": "1", "networks": both, "reserveAddress": true}),
    ] {
        let (status, problem) = merchant.post("/v1/invoices", &order).await;
        assert_eq!((status, &problem["code"]), (422, &json!("no_address")), "{order}: {problem}");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains(&sei.network()) && !detail.contains(&base.network()), "{detail}");
    }
    assert_eq!(merchant.get("/v1/invoices").await.1["invoices"], json!([]));
    let anywhere = merchant.invoice(&json!({"amount": "1"})).await;
    assert_eq!(anywhere["options"].as_array().map(Vec::len), Some(1), "what is not named is not promised: {anywhere}");
    merchant.register(&sei.network(), &sei.payers[0]).await;
    let named = merchant.invoice(&json!({"amount": "1", "networks": both})).await;
    assert_eq!(named["options"].as_array().map(Vec::len), Some(2), "{named}");
}
