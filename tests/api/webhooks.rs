//! Webhooks: what is told, that it is told whatever happens, and to whom.

use std::collections::BTreeSet;
use std::time::Duration;

use quittance::ledger::Ledger;
use quittance::webhook::signature::VerifyError;
use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options, free_port};
use crate::support::merchant::{Merchant, pay};
use crate::support::receiver::{Receiver, url_at};
use crate::support::{database, eventually};

mod consumer;

const PATIENCE: Duration = Duration::from_secs(30);

/// A chain, a database and a service whose webhooks reach this machine.
async fn start() -> (Chain, Ledger, Facilitator) {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let url = database::fresh().await;
    let options = Options {
        server: "access = \"open\"\n\n[webhooks]\nallow_private = true\n".to_owned(),
        ..Options::new(NetworkOptions::of(&chain), &url)
    };
    let facilitator = Facilitator::start(&options).await;
    (chain, database::ledger(&url).await, facilitator)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// A merchant who can open invoices.
async fn merchant<'a>(chain: &Chain, facilitator: &'a Facilitator) -> Merchant<'a> {
    let merchant = Merchant::open(facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    merchant
}

/// Makes a webhook, and returns its path and its secret.
async fn listen(merchant: &Merchant<'_>, body: &Value) -> (String, String) {
    let (status, webhook) = merchant.post("/v1/webhooks", body).await;
    assert_eq!(status, 201, "{webhook}");
    (format!("/v1/webhooks/{}", text(&webhook["id"])), text(&webhook["secret"]))
}

/// Opens an invoice and calls it off, which is told; returns its name.
async fn cancel_one(merchant: &Merchant<'_>) -> String {
    let id = text(&merchant.invoice(&json!({"amount": "1"})).await["id"]);
    let (status, canceled) = merchant.post(&format!("/v1/invoices/{id}/cancel"), &json!({})).await;
    assert_eq!((status, &canceled["status"]), (200, &json!("canceled")), "{canceled}");
    id
}

/// The deliveries of a webhook, newest first.
async fn deliveries(merchant: &Merchant<'_>, path: &str) -> Vec<Value> {
    let (status, page) = merchant.get(&format!("{path}/deliveries")).await;
    assert_eq!(status, 200, "{page}");
    page["deliveries"].as_array().expect("a list").clone()
}

/// Waits until a webhook stands like this.
async fn until_status(merchant: &Merchant<'_>, path: &str, status: &str) -> Value {
    eventually(&format!("a webhook that is {status}"), PATIENCE, || async {
        let (_, webhook) = merchant.get(path).await;
        (webhook["status"] == status).then_some(webhook)
    })
    .await
}

/// Waits until so many deliveries of a webhook stand like this.
async fn until_deliveries(merchant: &Merchant<'_>, path: &str, status: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} deliveries that are {status}"), PATIENCE, || async {
        let all = deliveries(merchant, path).await;
        (all.iter().filter(|delivery| delivery["status"] == status).count() >= count).then_some(all)
    })
    .await
}

/// Changes something in the ledger that only time would change.
async fn pass(ledger: &Ledger, change: &'static str) {
    sqlx::query(change).execute(ledger.pool()).await.expect("the database answers");
}

async fn count(ledger: &Ledger, query: &'static str) -> i64 {
    sqlx::query_scalar(query).fetch_one(ledger.pool()).await.expect("the database answers")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_transfer_that_pays_an_invoice_is_told_with_a_signature() {
    let (chain, _, facilitator) = start().await;
    let merchant = merchant(&chain, &facilitator).await;
    let receiver = Receiver::start().await;
    let (path, secret) = listen(&merchant, &json!({"url": receiver.url(), "events": ["invoice.paid"]})).await;
    let (_, shown) = merchant.get(&path).await;
    assert_eq!((&shown["status"], &shown["events"]), (&json!("active"), &json!(["invoice.paid"])), "{shown}");
    assert!(secret.starts_with("whsec_") && shown.get("secret").is_none(), "a secret is shown once: {shown}");
    let invoice = merchant.invoice(&json!({"amount": "0.25", "reserveAddress": true})).await;

    pay(&chain, &chain.payers[1], &chain.payers[0].address(), 250_000).await;
    let webhook = receiver.until_kind("invoice.paid").await;

    assert_eq!(webhook.verify(&secret), Ok(()));
    let stranger = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    assert_eq!(webhook.verify(stranger), Err(VerifyError::NotSigned));
    let told = webhook.told();
    for (member, value) in [
        ("invoice", invoice["id"].clone()),
        ("event", json!(webhook.headers.id)),
        ("status", json!("paid")),
        ("amountPaid", json!("0.25")),
        ("amountDue", json!("0")),
    ] {
        assert_eq!(told["data"][member], value, "{member}: {told}");
    }
    assert!(webhook.headers.id.starts_with("evt_") && told["timestamp"].is_string(), "{told}");
    let delivered = until_deliveries(&merchant, &path, "delivered", 1).await.remove(0);
    assert_eq!((&delivered["attempts"], &delivered["lastStatus"]), (&json!(1), &json!(200)), "{delivered}");

    // Asked for again, the same message comes once more, byte for byte.
    let again = format!("{path}/deliveries/{}/redeliver", text(&delivered["id"]));
    let (status, pending) = merchant.post(&again, &json!({})).await;
    assert_eq!((status, &pending["status"]), (200, &json!("pending")), "{pending}");
    let twice = receiver.until(2).await;
    assert_eq!((&twice[1].headers.id, &twice[1].body), (&webhook.headers.id, &webhook.body));
    assert_eq!(twice[1].verify(&secret), Ok(()));

    // The block becomes final, and this webhook does not want to know that.
    chain.mine(20).await;
    merchant.until(&invoice, "final").await;
    assert!(deliveries(&merchant, &path).await.iter().all(|delivery| delivery["type"] == "invoice.paid"));
    assert!(facilitator.metric("quittance_webhook_attempts_total{outcome=\"delivered\"}").await >= 2.0);
    let log = facilitator.log();
    assert!(!log.contains(&secret[6..]) && !log.contains("in-the-url"), "secrets never stand in the log: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_receiver_is_away_everything_is_kept_and_nothing_is_lost() {
    const EVENTS: usize = 5;
    let (chain, ledger, mut facilitator) = start().await;
    let port = free_port();
    let wanted: BTreeSet<String> = {
        let merchant = merchant(&chain, &facilitator).await;
        let (path, _) = listen(&merchant, &json!({"url": url_at(port)})).await;
        let mut wanted = BTreeSet::new();
        for _ in 0..EVENTS {
            wanted.insert(cancel_one(&merchant).await);
        }
        let tried = eventually("an attempt at each", PATIENCE, || async {
            let all = deliveries(&merchant, &path).await;
            (all.len() == EVENTS && all.iter().all(|delivery| delivery["lastFailure"] == "connect")).then_some(all)
        })
        .await;
        assert!(
            tried.iter().all(|delivery| delivery["status"] == "pending" && delivery["nextAttemptAt"].is_string()),
            "{tried:?}"
        );
        wanted
    };
    let waiting = facilitator.metric("quittance_webhook_backlog").await;
    assert!((waiting - EVENTS as f64).abs() < 0.5, "{waiting} wait");

    // The service dies in the middle of it, and days pass.
    facilitator.kill().await;
    facilitator.restart().await;
    let receiver = Receiver::start_at(port).await;
    eventually("everything", PATIENCE, || async {
        pass(&ledger, "UPDATE deliveries SET next_at = now() - interval '1 second' WHERE next_at IS NOT NULL AND attempts < 9")
            .await;
        let told: BTreeSet<_> = receiver.received().iter().map(|webhook| text(&webhook.told()["data"]["invoice"])).collect();
        (told == wanted).then_some(())
    })
    .await;

    let ids: BTreeSet<_> = receiver.received().into_iter().map(|webhook| webhook.headers.id).collect();
    assert_eq!(ids.len(), EVENTS, "an event that is told twice has one name");
    eventually("no open deliveries", PATIENCE, || async {
        (count(&ledger, "SELECT count(*) FROM deliveries WHERE delivered_at IS NULL").await == 0).then_some(())
    })
    .await;
}

/// Lets so many minutes pass for all deliveries, and waits until those whose time has come were tried.
async fn pass_minutes(ledger: &Ledger, minutes: i32) {
    // What is due forgets how its last attempt failed, so that the next one is known to have ended when that stands there again.
    let pass = "
        UPDATE deliveries SET next_at = next_at - make_interval(mins => $1), created_at = created_at - make_interval(mins => $1),
            last_failure = CASE WHEN next_at - make_interval(mins => $1) > now() THEN last_failure END
        WHERE next_at IS NOT NULL";
    sqlx::query(pass).bind(minutes).execute(ledger.pool()).await.expect("the database answers");
    let due = "SELECT count(*) FROM deliveries WHERE next_at IS NOT NULL AND last_failure IS NULL";
    eventually("an attempt at all that is due", PATIENCE, || async { (count(ledger, due).await == 0).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_away_for_an_hour_is_told_all_that_happened_meanwhile() {
    let (chain, ledger, facilitator) = start().await;
    let merchant = merchant(&chain, &facilitator).await;
    let port = free_port();
    let (path, secret) = listen(&merchant, &json!({"url": url_at(port)})).await;
    let mut happened = BTreeSet::new();
    for minutes in [0, 1, 6, 23, 30] {
        happened.insert(cancel_one(&merchant).await);
        let made = i64::try_from(happened.len()).expect("a few");
        eventually("a delivery of it", PATIENCE, || async {
            (count(&ledger, "SELECT count(*) FROM deliveries").await == made).then_some(())
        })
        .await;
        pass_minutes(&ledger, minutes).await;
    }
    let waiting = deliveries(&merchant, &path).await;
    assert!(
        waiting.iter().all(|delivery| delivery["status"] == "pending" && delivery["lastFailure"] == "connect"),
        "{waiting:?}"
    );
    assert!(waiting.iter().any(|delivery| delivery["attempts"].as_u64() >= Some(4)), "an hour has four attempts: {waiting:?}");

    let receiver = Receiver::start_at(port).await;
    // As long as the longest pause that has begun.
    for _ in 0..3 {
        pass_minutes(&ledger, 60).await;
    }
    until_deliveries(&merchant, &path, "delivered", happened.len()).await;

    let told = receiver.received();
    assert!(told.iter().all(|webhook| webhook.verify(&secret).is_ok()), "each is signed when it is sent");
    let of: BTreeSet<_> = told.iter().map(|webhook| text(&webhook.told()["data"]["invoice"])).collect();
    assert_eq!(of, happened);
    let lost = "SELECT count(*) FROM events e LEFT JOIN deliveries d ON d.event_id = e.id WHERE e.account_id IS NOT NULL AND d.delivered_at IS NULL";
    assert_eq!((count(&ledger, lost).await, &merchant.get(&path).await.1["status"]), (0, &json!("active")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_says_gone_is_told_nothing_more_until_it_is_enabled() {
    let (chain, _, facilitator) = start().await;
    let merchant = merchant(&chain, &facilitator).await;
    let (receiver, witness) = (Receiver::start().await, Receiver::start().await);
    receiver.answer(410);
    let (path, _) = listen(&merchant, &json!({"url": receiver.url()})).await;
    listen(&merchant, &json!({"url": witness.url()})).await;

    cancel_one(&merchant).await;
    let disabled = until_status(&merchant, &path, "disabled").await;
    assert_eq!(disabled["disabledReason"], "gone", "{disabled}");
    cancel_one(&merchant).await;
    witness.until(2).await;
    let all = deliveries(&merchant, &path).await;
    assert_eq!(all.len(), 1, "what happened since is not for it: {all:?}");
    assert_eq!((&all[0]["status"], &all[0]["lastStatus"]), (&json!("failed"), &json!(410)), "{all:?}");

    let again = format!("{path}/deliveries/{}/redeliver", text(&all[0]["id"]));
    let (status, problem) = merchant.post(&again, &json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("webhook_disabled")), "{problem}");
    receiver.answer(200);
    let (status, enabled) = merchant.post(&format!("{path}/enable"), &json!({})).await;
    assert_eq!((status, &enabled["status"]), (200, &json!("active")), "{enabled}");
    assert_eq!(merchant.post(&again, &json!({})).await.0, 200);
    until_deliveries(&merchant, &path, "delivered", 1).await;
    cancel_one(&merchant).await;
    until_deliveries(&merchant, &path, "delivered", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_to_the_last_attempt_is_given_up_and_its_webhook_fails() {
    let (chain, ledger, facilitator) = start().await;
    let merchant = merchant(&chain, &facilitator).await;
    let receiver = Receiver::start().await;
    receiver.answer(500);
    let (path, _) = listen(&merchant, &json!({"url": receiver.url()})).await;
    cancel_one(&merchant).await;
    eventually("a first attempt", PATIENCE, || async {
        (deliveries(&merchant, &path).await.first()?["lastStatus"] == 500).then_some(())
    })
    .await;

    pass(&ledger, "UPDATE deliveries SET attempts = 9, next_at = now() - interval '1 second' WHERE next_at IS NOT NULL").await;
    let failing = until_status(&merchant, &path, "failing").await;
    assert!(failing["failingSince"].is_string(), "{failing}");
    let failed = deliveries(&merchant, &path).await.remove(0);
    for (member, value) in
        [("status", json!("failed")), ("attempts", json!(10)), ("lastStatus", json!(500)), ("lastAnswer", json!("ok"))]
    {
        assert_eq!(failed[member], value, "{member}: {failed}");
    }
    assert!((facilitator.metric("quittance_webhook_given_up_total").await - 1.0).abs() < 0.5);

    receiver.answer(204);
    let again = format!("{path}/deliveries/{}/redeliver", text(&failed["id"]));
    assert_eq!(merchant.post(&again, &json!({})).await.0, 200);
    until_status(&merchant, &path, "active").await;
    assert_eq!(until_deliveries(&merchant, &path, "delivered", 1).await[0]["attempts"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_was_replaced_signs_for_another_day() {
    let (chain, ledger, facilitator) = start().await;
    let merchant = merchant(&chain, &facilitator).await;
    let receiver = Receiver::start().await;
    let (path, old) = listen(&merchant, &json!({"url": receiver.url()})).await;
    let (status, rotated) = merchant.post(&format!("{path}/rotate-secret"), &json!({})).await;
    let new = text(&rotated["secret"]);
    assert_eq!(status, 200, "{rotated}");
    assert!(new != old && rotated["formerSecretExpiresAt"].is_string(), "{rotated}");

    cancel_one(&merchant).await;
    let both = receiver.until(1).await.remove(0);
    assert_eq!((both.verify(&new), both.verify(&old)), (Ok(()), Ok(())));
    pass(&ledger, "UPDATE webhooks SET former_secret_until = now() - interval '1 second'").await;
    cancel_one(&merchant).await;
    let last = receiver.until(2).await.remove(1);

    assert_eq!((last.verify(&new), last.verify(&old)), (Ok(()), Err(VerifyError::NotSigned)));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_stored_with_an_answer_and_a_repetition_shows_it_all_the_same() {
    let (chain, ledger, facilitator) = start().await;
    let merchant = merchant(&chain, &facilitator).await;
    let (body, key) = (json!({"url": url_at(free_port())}), Some("a-key-of-16-or-more"));
    let create = || merchant.send("POST", "/v1/webhooks", Some(&body), key);
    let (made, again) = (create().await, create().await);
    assert!(made == again && text(&made.1["secret"]).starts_with("whsec_"), "{made:?} {again:?}");
    let path = format!("/v1/webhooks/{}", text(&made.1["id"]));
    let (rotation, rotate_key, nothing) = (format!("{path}/rotate-secret"), Some("another-key-of-16"), json!({}));
    let rotate = || merchant.send("POST", &rotation, Some(&nothing), rotate_key);
    let (rotated, repeated) = (rotate().await, rotate().await);
    assert_eq!((rotated.0, &rotated), (200, &repeated), "it was rotated once");
    assert_ne!(rotated.1["secret"], made.1["secret"]);

    let stored = "SELECT count(*) FROM idempotency WHERE body IS NOT NULL";
    let with_secret = "SELECT count(*) FROM idempotency WHERE position('whsec_' IN encode(body, 'escape')) > 0";
    assert_eq!((count(&ledger, stored).await, count(&ledger, with_secret).await), (2, 0));
    assert_eq!(merchant.send("DELETE", &path, None, None).await.0, 200);
    assert_eq!(create().await.1.get("secret"), None, "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_webhook_is_told_nothing_and_leaves_no_secret_behind() {
    let (chain, ledger, facilitator) = start().await;
    let merchant = merchant(&chain, &facilitator).await;
    let port = free_port();
    let (path, _) = listen(&merchant, &json!({"url": url_at(port)})).await;
    cancel_one(&merchant).await;
    until_deliveries(&merchant, &path, "pending", 1).await;

    assert_eq!(merchant.send("DELETE", &path, None, None).await.0, 200);

    assert_eq!(merchant.get(&path).await.0, 404);
    assert_eq!(merchant.send("DELETE", &path, None, None).await.0, 404);
    assert_eq!(merchant.get("/v1/webhooks").await.1["webhooks"], json!([]));
    let left = "SELECT count(*) FROM webhooks w JOIN deliveries d ON d.webhook_id = w.id WHERE w.secret IS NOT NULL OR d.next_at IS NOT NULL";
    assert_eq!(count(&ledger, left).await, 0);
}

/// The service has the settings that it has in public, but for the number of webhooks.
#[tokio::test(flavor = "multi_thread")]
async fn only_public_servers_with_tls_can_be_told_and_only_so_many() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let options = Options {
        server: "access = \"open\"\n\n[webhooks]\nper_account_max = 2\n".to_owned(),
        ..Options::new(NetworkOptions::of(&chain), &database::fresh().await)
    };
    let facilitator = Facilitator::start(&options).await;
    let merchant = Merchant::open(&facilitator).await;

    for (url, why) in [
        ("http://example.com/hook", "https"),
        ("https://127.0.0.1/hook", "127.0.0.1"),
        ("https://2130706433/hook", "127.0.0.1"),
        ("https://10.0.0.1/hook", "10.0.0.1"),
        ("https://169.254.169.254/latest/meta-data", "169.254.169.254"),
        ("https://[::1]/hook", "::1"),
        ("https://[::ffff:127.0.0.1]/hook", "127.0.0.1"),
        ("https://localhost/hook", "local"),
        ("https://db.internal/hook", "local"),
        ("https://example.com:25/hook", "port"),
        ("https://user:password@example.com/hook", "password"),
        ("ftp://example.com", "https"),
        ("example.com", "URL"),
    ] {
        let (status, problem) = merchant.post("/v1/webhooks", &json!({"url": url})).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid_webhook_url")), "{url}: {problem}");
        let detail = text(&problem["detail"]);
        assert!(detail.contains(why), "{url}: {detail}");
    }
    let (status, problem) = merchant.post("/v1/webhooks", &json!({"url": "https://example.com", "events": ["invoice.*"]})).await;
    assert_eq!((status, &problem["code"]), (422, &json!("unknown_event")), "{problem}");
    for malformed in [json!({}), json!({"url": 1}), json!({"url": "https://example.com", "secret": "whsec_"})] {
        assert_eq!(merchant.post("/v1/webhooks", &malformed).await.0, 400, "{malformed}");
    }
    assert_eq!(merchant.get("/v1/webhooks").await.1["webhooks"], json!([]));

    // Under one key one webhook is made, and its secret is told again.
    let body = json!({"url": "https://example.com/hook"});
    let key = Some("my-first-webhook");
    let (first, again) = tokio::join!(
        merchant.send("POST", "/v1/webhooks", Some(&body), key),
        merchant.send("POST", "/v1/webhooks", Some(&body), key)
    );
    assert_eq!((first.0, &first), (201, &again));
    assert_eq!(merchant.post("/v1/webhooks", &body).await.0, 201);
    let (status, problem) = merchant.post("/v1/webhooks", &body).await;
    assert_eq!((status, &problem["code"]), (409, &json!("too_many_webhooks")), "{problem}");
    let (_, page) = merchant.get("/v1/webhooks?limit=1").await;
    assert_eq!((page["webhooks"].as_array().map(Vec::len), &page["webhooks"][0]["id"]), (Some(1), &first.1["id"]), "{page}");
    let next = format!("/v1/webhooks?limit=1&cursor={}", text(&page["nextCursor"]));
    assert_ne!(merchant.get(&next).await.1["webhooks"][0]["id"], first.1["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_accounts_each_is_told_by_its_own_webhooks() {
    let (chain, _, facilitator) = start().await;
    let owner = merchant(&chain, &facilitator).await;
    let rival = Merchant::open(&facilitator).await;
    let receiver = Receiver::start().await;
    let (path, secret) = listen(&owner, &json!({"url": receiver.url()})).await;
    cancel_one(&owner).await;
    let delivery = until_deliveries(&owner, &path, "delivered", 1).await.remove(0);
    let (own, _) = listen(&rival, &json!({"url": receiver.url()})).await;

    let again = format!("{own}/deliveries/{}/redeliver", text(&delivery["id"]));
    assert_eq!(rival.post(&again, &json!({})).await.0, 404, "it is another webhook's");
    cancel_one(&owner).await;
    let told = receiver.until(2).await;
    assert!(told.iter().all(|webhook| webhook.verify(&secret).is_ok()), "only the owner was told");
}
