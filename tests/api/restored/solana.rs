//! A copy on Solana, where no nonce shows that more was sent than the ledger knows of: only an operator's word does.

use serde_json::{Value, json};

use super::{Copy, PATIENCE, disguise, reason};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::proxy::{Act, Proxy};
use crate::support::solana::{AMOUNT, Cluster};
use crate::support::{cli, database};

fn options(network: &NetworkOptions, url: &secrecy::SecretString) -> Options {
    let mut options = Options::new(network.clone(), url);
    options.server.push_str("answer_within_v2_seconds = 1\n");
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_a_success_on_solana_again() {
    let cluster = Cluster::start(400).await;
    let proxy = Proxy::start(&cluster.url);
    let network = cluster.options(&proxy.url);
    let network = NetworkOptions { lines: format!("{}resend_after_ms = 500\n", network.lines), ..network };
    let url = database::fresh().await;
    let mut facilitator = Facilitator::start(&options(&network, &url)).await;
    let told = cluster.payment(0, "told").await.v2();
    assert_eq!(reason(&facilitator.settle_patiently(&told, PATIENCE).await), "success");
    proxy.rule(|method, _, _| if method == "sendTransaction" { Act::Answer(json!("taken")) } else { Act::Forward });
    let pending = cluster.payment(1, "pending").await.v2();
    let (_, first) = facilitator.settle(&pending).await;
    assert_eq!(reason(&first), "settlement_pending", "{first}");
    let copy = Copy::of(&url);
    proxy.behave();
    // What the copy lacks: that somebody was told of the payment under way, and a whole payment.
    let second = facilitator.settle_patiently(&pending, PATIENCE).await;
    assert_eq!(reason(&second), "success", "{second}");
    let fresh = cluster.payment(2, "fresh").await.v2();
    assert_eq!(reason(&facilitator.settle_patiently(&fresh, PATIENCE).await), "success");

    let restored = copy.restore(&url).await;
    disguise(&restored).await;
    assert!(facilitator.terminate().await.success());
    let not_yet = Facilitator::spawn(&Options { roles: Some("worker".to_owned()), ..options(&network, &restored) });
    let said: Value = serde_json::from_str(&cli::run_well(&not_yet, &["restored", "--json"]).await).expect("JSON");
    assert_eq!(said["countsAsTold"], "up to the next start");
    drop(not_yet);
    let facilitator = Facilitator::start(&options(&network, &restored)).await;
    let again = async |body| facilitator.settle_patiently(body, PATIENCE).await;
    let (first, third, fourth) = (again(&told).await, again(&pending).await, again(&fresh).await);
    assert_eq!(reason(&first), "duplicate_settlement", "{first}");
    assert_eq!((reason(&third), &third["transaction"]), ("duplicate_settlement", &second["transaction"]), "{third}");
    assert_eq!(reason(&fourth), "invalid_exact_svm_transaction_already_processed", "the cluster refuses it: {fourth}");
    let next = cluster.payment(3, "next").await.v2();
    let next = facilitator.settle_patiently(&next, PATIENCE).await;
    assert_eq!(reason(&next), "success", "it is new: {next}");
    assert_eq!(cluster.paid().await, 4 * AMOUNT);
}
