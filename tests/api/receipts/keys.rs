//! The keys of receipts: made, rotated, absent, and there after all.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use secrecy::SecretString;
use serde_json::{Value, json};

use super::{PATIENCE, World, text, verdict};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::payer::Terms;
use crate::support::receipts::{Keys, claims_of, kid_of, receipt_in, run, verify_independently, verify_offline};
use crate::support::{cli, database, eventually};

async fn settle(chain: &Chain, facilitator: &Facilitator, payer: usize) -> Value {
    let body = chain.payers[payer].authorize(&Terms::to(&chain.text("/accounts/merchant/address"))).v2();
    let (_, answer) = facilitator.settle(&body).await;
    assert_eq!(answer["success"], true, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_old_receipts_hold_and_new_ones_have_a_new_key() {
    let World { chain, mut facilitator, _keys: keys, .. } = World::quick().await;
    let before = facilitator.get("/.well-known/jwks.json").await.1;
    let first = receipt_in(&settle(&chain, &facilitator, 0).await);

    // At once, because nobody here waits for other replicas.
    keys.command("rotate", &["--after", "0"]).await;
    assert!(facilitator.terminate().await.success());
    facilitator.restart().await;
    let second = receipt_in(&settle(&chain, &facilitator, 1).await);
    let after = facilitator.get("/.well-known/jwks.json").await.1;

    assert_ne!(kid_of(&first), kid_of(&second));
    for jws in [&first, &second] {
        let claims = verify_offline(jws, &after, &facilitator.url).await.expect("it holds");
        let said = verify_independently(jws, &after).await.expect("it holds");
        assert_eq!((&said["claims"], text(&said["signer"])), (&claims, kid_of(jws).as_str()));
        assert_eq!(verdict(&facilitator, &json!(jws)).await["valid"], true);
    }
    let early = verify_offline(&second, &before, &facilitator.url).await.expect_err("the verifier has the old keys");
    assert!(early.contains("no key that the verifier knows"), "{early}");
    verify_independently(&second, &before).await.expect_err("nor have others");
    let list = keys.command("list", &[]).await;
    let lines = |kid: &str| list.lines().filter(|line| line.starts_with(kid)).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(list.lines().count(), 4, "{list}");
    assert!(lines(&kid_of(&first)).iter().all(|line| line.contains("until 2")), "{list}");
    assert!(lines(&kid_of(&second)).iter().all(|line| line.ends_with("in use")), "{list}");
    assert_eq!((lines(&kid_of(&first)).len(), lines(&kid_of(&second)).len()), (1, 1), "{list}");
    let stored: Value = serde_json::from_slice(&std::fs::read(keys.file()).expect("it is there")).expect("JSON");
    for key in stored["keys"].as_array().expect("keys") {
        let secret = text(&key["d"]);
        assert!(!list.contains(secret) && !after.to_string().contains(secret) && !facilitator.log().contains(secret));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_not_overwritten_and_broken_ones_are_refused_before_anything_listens() {
    let keys = Keys::generate().await;
    let file = keys.file();
    let path = file.to_str().expect("Unicode");
    assert_eq!(std::fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&file).expect("it is readable");

    let again = run(&["keys", "generate", "--out", path]).await;
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(std::fs::read(&file).expect("it is readable"), before, "the first keys stay");
    let printed = run(&["keys", "generate"]).await;
    let printed: Value = serde_json::from_slice(&printed.stdout).expect("a keyring");
    assert_eq!(printed["keys"].as_array().map(Vec::len), Some(2), "one of each kind");

    std::fs::write(&file, r#"{"keys":[{"kty":"OKP","d":"canary"}]}"#).expect("it is writable");
    let chain = Chain::start(ChainOptions::default()).await;
    let options = keys.options(NetworkOptions::of(&chain), &database::fresh().await);
    let facilitator = Facilitator::spawn(&Options { roles: Some("nothing".to_owned()), ..options });
    for command in ["serve", "check"] {
        let output = cli::run(&facilitator, &[command]).await;
        let words = [output.stdout, output.stderr].concat();
        let words = String::from_utf8_lossy(&words);
        assert_eq!(output.status.code(), Some(1), "{command}: {words}");
        assert!(words.contains("receipts.keys cannot be used") && !words.contains("canary"), "{command}: {words}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_the_private_database_keys_are_made_once() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let unused: SecretString = "postgres://unused".to_owned().into();
    let options = Options { database: None, ..Options::new(NetworkOptions::of(&chain), &unused) };
    let mut facilitator = Facilitator::start(&options).await;
    let first = receipt_in(&settle(&chain, &facilitator, 0).await);
    let jwks = facilitator.get("/.well-known/jwks.json").await.1;
    let file = facilitator.config_file().with_file_name("data").join("receipt-keys.json");
    let mode = std::fs::metadata(&file).expect("it is there").permissions().mode();
    let (_, checked) = facilitator.command(&["check"]).await;

    assert!(facilitator.terminate().await.success());
    facilitator.restart().await;
    let again = facilitator.get("/.well-known/jwks.json").await.1;
    let held = verify_offline(&first, &again, &facilitator.url).await;
    // The server of a private database outlives whoever is killed.
    assert!(facilitator.terminate().await.success());

    assert_eq!((mode & 0o777, again), (0o600, jwks));
    assert!(held.is_ok(), "{held:?}");
    assert!(checked.lines().any(|line| line.starts_with("ok    receipts: are signed by ")), "{checked}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_keys_receipts_wait_and_are_signed_when_there_are_some() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let mut facilitator = Facilitator::start(&Options::new(NetworkOptions::of(&chain), &database::fresh().await)).await;
    let (_, checked) = facilitator.command(&["check"]).await;
    assert!(checked.lines().any(|line| line.starts_with("ok    receipts: are not signed")), "{checked}");
    let answer = settle(&chain, &facilitator, 0).await;
    assert_eq!(answer["extensions"], Value::Null, "{answer}");
    let supported = facilitator.get("/supported").await.1;
    assert!(!supported["extensions"].as_array().expect("a list").contains(&json!("settlement-receipt")), "{supported}");
    for path in ["/.well-known/jwks.json", "/.well-known/did.json"] {
        assert_eq!(facilitator.get(path).await.0, 404, "{path}");
    }
    let payment = facilitator.get(&format!("/v1/payments/{}", text(&answer["extra"]["paymentId"]))).await.1;
    let path = format!("/v1/receipts/{}", text(&payment["receipt"]));
    let (status, shown) = facilitator.get(&path).await;
    assert_eq!((status, &shown["revisions"], &shown["finality"]), (200, &json!([]), &json!("included")), "{shown}");
    for (status, problem) in [
        facilitator.get(&format!("{path}?format=eip712")).await,
        facilitator.post("/v1/receipts/verify", &json!({"receipt": "a.b.c"})).await,
    ] {
        assert_eq!((status, &problem["code"]), (409, &json!("receipts_not_signed")), "{problem}");
    }

    let keys = Keys::generate().await;
    let mut config = std::fs::File::options().append(true).open(facilitator.config_file()).expect("it is ours");
    config.write_all(keys.section().as_bytes()).expect("it is writable");
    assert!(facilitator.terminate().await.success());
    facilitator.restart().await;
    let jws = eventually("a signature", PATIENCE, || async {
        let (_, shown) = facilitator.get(&path).await;
        Some(shown["revisions"][0]["receipt"].as_str()?.to_owned())
    })
    .await;

    let jwks = facilitator.get("/.well-known/jwks.json").await.1;
    let claims = verify_offline(&jws, &jwks, &facilitator.url).await.expect("it holds");
    assert_eq!((&claims["revision"], &claims["receiptId"]), (&json!(1), &payment["receipt"]), "{claims}");
    assert_eq!(claims, claims_of(&jws));
    eventually("nothing that waits", PATIENCE, || async {
        (facilitator.metric("quittance_receipts_unsigned").await == 0.0
            && facilitator.metric("quittance_receipts_signed_total").await > 0.0)
            .then_some(())
    })
    .await;
}
