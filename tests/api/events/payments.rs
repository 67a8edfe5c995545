//! Who is told of a payment: whoever asked for it and whom it pays, each once, and nobody else.

use chrono::Utc;
use quittance::domain::event::{EventKind, Subject};
use quittance::domain::ids::{AccountId, PaymentId};
use quittance::ledger::events::{self, NewEvent};
use quittance::ledger::{Ledger, commit};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{PATIENCE, page, start, text};
use crate::support::chain::Chain;
use crate::support::cli::{open_account, run_well, word_behind};
use crate::support::facilitator::Facilitator;
use crate::support::merchant::Merchant;
use crate::support::payer::Terms;
use crate::support::{database, eventually};

/// Settles what an option of an invoice says, as the holder of a key or as nobody, and returns our name for the payment.
async fn settle(chain: &Chain, facilitator: &Facilitator, invoice: &Value, key: Option<&str>) -> String {
    let mut body = chain.payers[1].authorize(&Terms::to(&chain.payers[0].address())).v2();
    body["paymentRequirements"] = invoice["accepts"][0].clone();
    body["paymentPayload"]["accepted"] = invoice["accepts"][0].clone();
    let mut request = facilitator.client().post(format!("{}/settle", facilitator.url)).json(&body);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(answer["success"], true, "{answer}");
    text(&answer["extra"]["paymentId"])
}

/// Everything that an account was told, once an event of this kind is in it. What was written with that one is in the stream then, too.
async fn told(facilitator: &Facilitator, key: &str, last: &str) -> Vec<Value> {
    eventually(last, PATIENCE, || async {
        let (status, page) = page(facilitator, Some(key), "/v1/events").await;
        assert_eq!(status, 200, "{page}");
        let events = page["events"].as_array().expect("a list");
        events.iter().any(|event| event["type"] == last).then(|| events.clone())
    })
    .await
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().expect("a type")).collect()
}

/// What events about payments say, without their own names and places.
fn about_payments(events: &[Value]) -> Vec<Value> {
    let about = events.iter().filter(|event| event["data"]["payment"].is_string()).cloned();
    let nameless = |mut event: Value| {
        event.as_object_mut().expect("an object").remove("position");
        event["data"].as_object_mut().expect("an object").remove("event");
        event
    };
    about.map(nameless).collect()
}

/// What happened to a payment, as the holder of a key or nobody reads it.
async fn shown(facilitator: &Facilitator, payment: &str, key: Option<&str>) -> Value {
    let (status, shown) = page(facilitator, key, &format!("/v1/payments/{payment}")).await;
    assert_eq!(status, 200, "{shown}");
    shown["events"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_a_payment_and_whom_it_pays_are_told_of_it_once_each() {
    let (chain, facilitator) = start().await;
    let (merchant, rival) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
    merchant.register(&chain.network(), &chain.payers[0]).await;
    rival.register(&chain.network(), &chain.payers[2]).await;
    let (provider, other) = (open_account(&facilitator, "provider").await, open_account(&facilitator, "provider").await);
    let invoice = merchant.invoice(&json!({"amount": "0.01"})).await;

    let payment = settle(&chain, &facilitator, &invoice, Some(&provider.key)).await;
    chain.mine(20).await;
    let by_provider = told(&facilitator, &provider.key, "payment.finalized").await;
    let by_merchant = told(&facilitator, merchant.key(), "invoice.finalized").await;

    assert_eq!(kinds(&by_provider), ["payment.included", "payment.finalized"], "{by_provider:?}");
    // In the order in which it happened, though the merchant is told of the one as paid and of the other as the owner.
    let everything = ["payment.included", "invoice.paid", "payment.finalized", "invoice.finalized"];
    assert_eq!(kinds(&by_merchant), everything, "{by_merchant:?}");
    assert_eq!(about_payments(&by_merchant), about_payments(&by_provider));
    assert!(by_provider.iter().all(|event| event["data"]["payment"] == json!(payment)), "{by_provider:?}");
    for (one, another) in [(&by_provider[0], &by_merchant[0]), (&by_provider[1], &by_merchant[2])] {
        assert_ne!(one["data"]["event"], another["data"]["event"], "each event has a name of its own");
    }
    let happened = shown(&facilitator, &payment, Some(&provider.key)).await;
    assert_eq!(kinds(happened.as_array().expect("a list")), ["payment.included", "payment.finalized"]);
    assert_eq!(shown(&facilitator, &payment, Some(merchant.key())).await, happened);
    for nobody in [rival.key(), &other.key] {
        assert_eq!(page(&facilitator, Some(nobody), "/v1/events").await, (200, json!({"events": []})));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_with_a_key_asks_for_a_payment_the_merchant_is_told_of_it() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.01"})).await;

    let payment = settle(&chain, &facilitator, &invoice, None).await;
    chain.mine(20).await;
    let events = told(&facilitator, merchant.key(), "payment.finalized").await;

    let about = about_payments(&events);
    assert_eq!(kinds(&about), ["payment.included", "payment.finalized"], "{events:?}");
    assert!(about.iter().all(|event| event["data"]["payment"] == json!(payment)), "{events:?}");
    for key in [None, Some(merchant.key())] {
        let happened = shown(&facilitator, &payment, key).await;
        assert_eq!(kinds(happened.as_array().expect("a list")), ["payment.included", "payment.finalized"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_who_asks_for_a_payment_to_itself_is_told_of_it_once() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let second = run_well(&facilitator, &["api-key", "create", merchant.id(), "--scope", "provider"]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.01"})).await;

    let payment = settle(&chain, &facilitator, &invoice, Some(&word_behind(&second, "API key"))).await;
    chain.mine(20).await;
    let events = told(&facilitator, merchant.key(), "payment.finalized").await;

    assert_eq!(kinds(&about_payments(&events)), ["payment.included", "payment.finalized"], "{events:?}");
    let happened = shown(&facilitator, &payment, Some(merchant.key())).await;
    assert_eq!(kinds(happened.as_array().expect("a list")), ["payment.included", "payment.finalized"]);
}

/// Writes an account with this number in its name.
async fn account(ledger: &Ledger, number: u128) -> AccountId {
    let account = sqlx::query("INSERT INTO accounts VALUES ($1, 'somebody', now())").bind(Uuid::from_u128(number));
    account.execute(ledger.pool()).await.expect("it fits");
    AccountId::from_uuid(Uuid::from_u128(number))
}

/// Writes a payment that one account asked for and another is paid by.
async fn payment(ledger: &Ledger, provider: Option<AccountId>, merchant: Option<AccountId>) -> PaymentId {
    let payment = PaymentId::new();
    let insert = "
        INSERT INTO payments (id, network, key, fingerprint, x402_version, asset, payer, pay_to, amount, provider_id, merchant_id,
                              payload, expires_at, created_at, answer_by, answer_at, alone, accepted_block, checked_block, payer_code, gas)
        VALUES ($1, 'eip155:84532', '', decode(repeat('00', 32), 'hex'), 2, '', '', '', 1, $2, $3,
                '{}', now(), now(), now(), 'included', false, 1, 1, '', 1)";
    let insert = sqlx::query(insert).bind(payment.uuid()).bind(provider.map(AccountId::uuid)).bind(merchant.map(AccountId::uuid));
    insert.execute(ledger.pool()).await.expect("it fits");
    payment
}

/// Whoever may read a payment reads once what happened to it, whoever was told of it and also before merchants were.
#[tokio::test(flavor = "multi_thread")]
async fn what_happens_to_a_payment_is_listed_once_whoever_is_told() {
    let ledger = database::ledger(&database::fresh().await).await;
    let (one, another) = (account(&ledger, 1).await, account(&ledger, 2).await);
    for (provider, merchant, expected) in [
        (Some(one), Some(another), vec![Some(one), Some(another)]),
        (Some(one), Some(one), vec![Some(one)]),
        (Some(one), None, vec![Some(one)]),
        (None, Some(another), vec![Some(another)]),
        (None, None, vec![None]),
    ] {
        let payment = payment(&ledger, provider, merchant).await;
        // As it was written when nobody but the provider was told.
        let old =
            "INSERT INTO events (id, account_id, payment_id, kind, data, created_at) VALUES ($1, $2, $3, 'old', '{}', now())";
        let old = sqlx::query(old).bind(Uuid::now_v7()).bind(provider.map(AccountId::uuid)).bind(payment.uuid());
        old.execute(ledger.pool()).await.expect("it fits");
        let event =
            NewEvent { kind: EventKind::PaymentFailed, about: Subject::Payment(payment), account: provider, data: json!({}) };

        let mut db = ledger.begin().await.expect("the database answers");
        events::insert(&mut db, &[event], Utc::now()).await.expect("the database answers");
        commit(db).await.expect("the database answers");

        let accounts = "SELECT account_id FROM events WHERE payment_id = $1 AND kind = 'payment.failed' ORDER BY id";
        let accounts = sqlx::query_scalar::<_, Option<Uuid>>(accounts).bind(payment.uuid()).fetch_all(ledger.pool()).await;
        let accounts: Vec<_> =
            accounts.expect("the database answers").into_iter().map(|id| id.map(AccountId::from_uuid)).collect();
        let listed = ledger.events_of(payment).await.expect("the database answers");
        let listed: Vec<_> = listed.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!((accounts, listed), (expected, vec!["old", "payment.failed"]), "asked by {provider:?}, paid to {merchant:?}");
    }
}
