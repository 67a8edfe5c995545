//! To whom settlements are attributed: names at the end of their transactions' data (extension `builder-code`, ERC-8021).

use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::Terms;

const MARKER: &str = "80218021802180218021802180218021";

/// What a transaction's data ends with, from the names on.
async fn ending(chain: &Chain, settled: &Value, length: usize) -> String {
    let transaction = chain.rpc("eth_getTransactionByHash", json!([settled["transaction"]])).await;
    let input = transaction["input"].as_str().expect("hexadecimal");
    input[input.len() - length..].to_owned()
}

fn hex(text: &str) -> String {
    alloy::hex::encode(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_payment_stands_in_a_transaction_that_names_its_own() {
    let chain = Chain::start(ChainOptions::default()).await;
    let mut network = NetworkOptions::of(&chain);
    network.lines.push_str("builder_code = \"my_fac\"\n");
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    let merchant = chain.text("/accounts/merchant/address");
    let names = ["app_a", "app_b", ""];
    let bodies: Vec<_> = (0..9)
        .map(|index| {
            let mut body = chain.payers[index].authorize(&Terms::to(&merchant)).v2();
            if !names[index % 3].is_empty() {
                body["paymentPayload"]["extensions"] = json!({"builder-code": {"info": {"a": names[index % 3]}, "schema": {}}});
            }
            body
        })
        .collect();

    let settled = futures_util::future::join_all(bodies.iter().map(|body| facilitator.settle(body))).await;

    for (index, (_, settled)) in settled.iter().enumerate() {
        assert_eq!(settled["success"], true, "{settled}");
        let (own, size) = (format!("617766{}", hex("my_fac")), |bytes: usize| format!("{bytes:04x}02{MARKER}"));
        let expected = match names[index % 3] {
            "" => format!("a1{own}{}", size(10)),
            name => format!("a2616165{}{own}{}", hex(name), size(18)),
        };
        assert_eq!(ending(&chain, settled, expected.len()).await, expected, "{index}");
    }
    assert_eq!(chain.transfers_to(&merchant).await.len(), 9);
    let supported = facilitator.get("/supported").await.1;
    assert!(supported["extensions"].as_array().expect("extensions").contains(&"builder-code".into()), "{supported}");
}
