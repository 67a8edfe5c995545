//! Addresses that an account has by somebody else's word, and then by their owner's own signature.

use serde_json::{Value, json};

use super::start;
use crate::support::merchant::{Merchant, pay, sign};

#[tokio::test(flavor = "multi_thread")]
async fn an_address_on_somebodys_word_is_raised_by_its_owners_signature_and_stays_reserved() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    let (network, granted, listed) = (chain.network(), &chain.payers[1], &chain.payers[2]);
    let signatory = merchant.register(&network, &chain.payers[0]).await;
    let words = ["address", "grant", merchant.id(), &network, &granted.address(), "--note", "a custodian"];
    let (done, said) = facilitator.command(&words).await;
    assert!(done, "{said}");
    let list = json!({"network": network, "addresses": [listed.address()], "signedBy": signatory});
    let (_, statement) = merchant.post("/v1/address-lists", &list).await;
    let signature = sign(&chain.payers[0], statement["challenge"].as_str().expect("a challenge"));
    let path = format!("/v1/address-lists/{}/proof", statement["id"].as_str().expect("a name"));
    assert_eq!(merchant.post(&path, &json!({"signature": signature})).await.0, 200);
    let (_, page) = merchant.get("/v1/addresses").await;
    let place = |page: &Value, address: &str| {
        let places = page["addresses"].as_array().expect("addresses");
        places.iter().find(|place| place["address"] == address).cloned().expect("it is there")
    };
    let kept = json!({"amount": "0.5", "reserveAddress": true, "addresses": [place(&page, &granted.address())["id"]]});
    let invoice = merchant.invoice(&kept).await;

    for (owner, proof) in [(granted, "operator"), (listed, "statement")] {
        assert_eq!(place(&page, &owner.address())["proof"], proof);
        merchant.register(&network, owner).await;
        let body = json!({"network": network, "address": owner.address()});
        let (status, problem) = merchant.post("/v1/addresses", &body).await;
        assert_eq!((status, &problem["code"]), (409, &json!("address_known")), "it cannot be raised further: {problem}");
    }

    let (_, page) = merchant.get("/v1/addresses").await;
    assert_eq!(page["addresses"].as_array().map(Vec::len), Some(3), "each is there once: {page}");
    for owner in [granted, listed] {
        assert_eq!(place(&page, &owner.address())["proof"], "signature", "{page}");
    }
    let (status, problem) =
        merchant.post("/v1/invoices", &json!({"amount": "1", "addresses": [place(&page, &granted.address())["id"]]})).await;
    assert_eq!(status, 422, "it is kept for the first invoice: {problem}");
    pay(&chain, &chain.payers[3], &granted.address(), 500_000).await;
    assert_eq!(merchant.until(&invoice, "paid").await["transfers"][0]["basis"], "reserved");
}
