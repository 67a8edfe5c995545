//! Webhooks as a receiver sees them who verifies with the library of Standard Webhooks.

use chrono::{TimeDelta, Utc};
use quittance::webhook::secret::Secret;
use quittance::webhook::signature::{Message, SignedHeaders, TOLERANCE_SECONDS, sign};
use serde_json::json;

use super::{cancel_one, listen, merchant, pass, start, text};
use crate::support::receiver::{Received, Receiver};

/// How the library refuses what none of the signatures fits.
const NOT_SIGNED: &str = "No matching signature found\n";

/// The same message as it would have been sent at another time.
fn sent_at(webhook: &Received, secret: &str, age: i64) -> Received {
    let message = Message { id: &webhook.headers.id, sent_at: Utc::now() - TimeDelta::seconds(age), body: &webhook.body };
    let headers = sign(&message, [&Secret::parse(&secret.into()).expect("a secret")]);
    Received { headers, ..webhook.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_of_receivers_accepts_a_webhook_and_nothing_that_was_made_of_it() {
    let (chain, _, facilitator) = start().await;
    let merchant = merchant(&chain, &facilitator).await;
    let receiver = Receiver::start().await;
    let (_, secret) = listen(&merchant, &json!({"url": receiver.url()})).await;
    let (_, another) = listen(&merchant, &json!({"url": receiver.url(), "events": ["invoice.paid"]})).await;
    let invoice = cancel_one(&merchant).await;
    let webhook = receiver.until(1).await.remove(0);

    let told = webhook.verify_independently(&secret).await.expect("it was signed with this secret");
    assert_eq!((&told, text(&told["data"]["invoice"])), (&webhook.told(), invoice.clone()));
    let recent = sent_at(&webhook, &secret, TOLERANCE_SECONDS - 60).verify_independently(&secret).await;
    assert!(recent.is_ok(), "it may take some minutes: {recent:?}");

    let of_another = invoice.replace("inv_", "inv_0");
    let body = String::from_utf8(webhook.body.clone()).expect("UTF-8").replace(&invoice, &of_another).into_bytes();
    assert_ne!(body, webhook.body);
    let later: i64 = webhook.headers.timestamp.parse().expect("a number");
    let headers = |change: fn(&mut SignedHeaders, String), value: String| {
        let mut headers = webhook.headers.clone();
        change(&mut headers, value);
        Received { headers, ..webhook.clone() }
    };
    for (what, changed) in [
        ("body", Received { body, ..webhook.clone() }),
        ("time", headers(|headers, value| headers.timestamp = value, (later + 1).to_string())),
        ("name", headers(|headers, value| headers.id = value, format!("{}0", webhook.headers.id))),
    ] {
        assert_eq!(changed.verify_independently(&secret).await, Err(NOT_SIGNED.to_owned()), "{what}");
    }
    assert_eq!(webhook.verify_independently(&another).await, Err(NOT_SIGNED.to_owned()), "another secret");
    for (age, words) in
        [(TOLERANCE_SECONDS + 60, "Message timestamp too old\n"), (-TOLERANCE_SECONDS - 60, "Message timestamp too new\n")]
    {
        let refused = sent_at(&webhook, &secret, age).verify_independently(&secret).await;
        assert_eq!(refused, Err(words.to_owned()), "{age} seconds old");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_of_receivers_accepts_either_secret_while_both_count() {
    let (chain, ledger, facilitator) = start().await;
    let merchant = merchant(&chain, &facilitator).await;
    let receiver = Receiver::start().await;
    let (path, former) = listen(&merchant, &json!({"url": receiver.url()})).await;
    let (status, rotated) = merchant.post(&format!("{path}/rotate-secret"), &json!({})).await;
    assert_eq!(status, 200, "{rotated}");
    let current = text(&rotated["secret"]);

    cancel_one(&merchant).await;
    let both = receiver.until(1).await.remove(0);
    pass(&ledger, "UPDATE webhooks SET former_secret_until = now() - interval '1 second'").await;
    cancel_one(&merchant).await;
    let last = receiver.until(2).await.remove(1);

    for secret in [&current, &former] {
        assert_eq!(both.verify_independently(secret).await, Ok(both.told()));
    }
    assert_eq!(last.verify_independently(&current).await, Ok(last.told()));
    assert_eq!(last.verify_independently(&former).await, Err(NOT_SIGNED.to_owned()), "its day is over");
}
