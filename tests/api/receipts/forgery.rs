//! Receipts that somebody has changed, or made without us.

use serde_json::{Map, Value, json};

use super::{World, get_as, text, verdict};
use crate::support::cli::open_account;
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::Merchant;
use crate::support::payer::Terms;
use crate::support::receipts::{
    Keys, claims_of, forged, kid_of, receipt_in, run, verify_independently, verify_offline, verify_piped, with_header,
};

/// A receipt with every claim that there is: for a payment by x402 that names an invoice of an account.
async fn whole_receipt(world: &World) -> String {
    let chain = &world.chain;
    let merchant = Merchant::open(&world.facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.01"})).await;
    let accepts = &invoice["paymentRequired"]["accepts"][0];
    let mut body = chain.payers[1].authorize(&Terms::to(&chain.payers[0].address())).v2();
    body["paymentRequirements"] = accepts.clone();
    body["paymentPayload"]["accepted"] = accepts.clone();
    receipt_in(&world.facilitator.settle(&body).await.1)
}

/// Something else of the same kind.
fn other(value: &Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_u64().expect("a whole number") + 1),
        Value::String(text) => {
            let last = if text.ends_with('1') { '2' } else { '1' };
            json!(format!("{}{last}", &text[..text.len() - 1]))
        }
        other => panic!("no claim is {other}"),
    }
}

/// Each claim changed alone, and left out alone.
fn changes(claims: &Map<String, Value>) -> Vec<(String, Map<String, Value>)> {
    let mut changes = Vec::new();
    for (name, value) in claims {
        let mut changed = claims.clone();
        changed.insert(name.clone(), other(value));
        changes.push((name.clone(), changed));
        let mut shorter = claims.clone();
        shorter.remove(name);
        changes.push((format!("no {name}"), shorter));
    }
    changes
}

async fn assert_refused(world: &World, what: &str, receipt: &Value) {
    let verdict = verdict(&world.facilitator, receipt).await;
    assert_eq!((&verdict["valid"], &verdict["reason"]), (&json!(false), &json!("invalid_receipt")), "{what}: {verdict}");
    assert_eq!((&verdict["claims"], &verdict["latest"]), (&Value::Null, &Value::Null), "{what}: nothing of it is repeated");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_with_any_claim_changed_is_refused_in_either_form() {
    let world = World::quick().await;
    let jws = whole_receipt(&world).await;
    let claims = claims_of(&jws);
    let members = claims.as_object().expect("an object");
    assert_eq!(members.len(), 18, "every claim is there: {claims}");
    let id = text(&claims["receiptId"]);
    let operator = open_account(&world.facilitator, "operator").await;
    let (_, shown) = get_as(&world.facilitator, &format!("/v1/receipts/{id}?format=eip712"), &operator.key).await;
    let typed = shown["revisions"][0]["receipt"].clone();

    for (what, changed) in changes(members) {
        assert_refused(&world, &what, &json!(forged(&jws, &Value::Object(changed.clone())))).await;
        let mut altered = typed.clone();
        altered["payload"] = Value::Object(changed);
        assert_refused(&world, &what, &altered).await;
    }
    let header = |alg: &str, kid: &str, typ: &str| json!({"alg": alg, "kid": kid, "typ": typ});
    let (kid, kind) = (kid_of(&jws), "quittance-receipt+jws");
    let (unsigned, signature) = jws.rsplit_once('.').expect("three parts");
    let turned: String = signature.chars().rev().collect();
    for (what, receipt) in [
        ("no algorithm", with_header(&jws, &header("none", &kid, kind))),
        ("a symmetric algorithm", with_header(&jws, &header("HS256", &kid, kind))),
        ("another key", with_header(&jws, &header("EdDSA", text(&other(&json!(kid))), kind))),
        ("another type", with_header(&jws, &header("EdDSA", &kid, "JWT"))),
        ("no signature", format!("{unsigned}.")),
        ("another signature", format!("{unsigned}.{turned}")),
        ("two receipts", format!("{jws}.{jws}")),
        ("nothing", String::new()),
    ] {
        assert_refused(&world, what, &json!(receipt)).await;
    }
    for what in [json!(7), json!([jws]), json!({"format": "eip712"}), Value::Null] {
        assert_refused(&world, "no receipt", &what).await;
    }

    assert_eq!(verdict(&world.facilitator, &json!(jws)).await["valid"], true);
    assert_eq!(verdict(&world.facilitator, &typed).await["valid"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_was_changed_convinces_nobody_offline() {
    let world = World::quick().await;
    let body = world.chain.payers[0].authorize(&Terms::to(&world.chain.text("/accounts/merchant/address"))).v2();
    let jws = receipt_in(&world.facilitator.settle(&body).await.1);
    let (jwks, issuer) = (world.jwks().await, world.facilitator.url.as_str());
    let mut claims = claims_of(&jws);
    claims["amount"] = json!("1000000000");
    let richer = forged(&jws, &claims);

    let ours = verify_offline(&richer, &jwks, issuer).await.expect_err("it was changed");
    assert!(ours.contains("the signature does not hold"), "{ours}");
    verify_independently(&richer, &jwks).await.expect_err("it was changed");
    let (kid, typ) = (kid_of(&jws), "quittance-receipt+jws");
    for alg in ["none", "HS256", "ES256"] {
        let swapped = with_header(&jws, &json!({"alg": alg, "kid": kid, "typ": typ}));
        verify_independently(&swapped, &jwks).await.expect_err("the algorithm is another one");
    }
    // Keys of somebody else, who may have made the same statement.
    let others = Keys::generate().await;
    let options = others.options(NetworkOptions::of(&world.chain), &database::fresh().await);
    let stranger = Facilitator::start(&Options { roles: Some("api".to_owned()), ..options }).await;
    let strangers = stranger.get("/.well-known/jwks.json").await.1;
    let unknown = verify_offline(&jws, &strangers, issuer).await.expect_err("it is another's");
    assert!(unknown.contains("no key that the verifier knows"), "{unknown}");
    verify_independently(&jws, &strangers).await.expect_err("it is another's");
    assert_eq!(verdict(&stranger, &json!(jws)).await["reason"], "invalid_receipt");

    verify_offline(&jws, &jwks, issuer).await.expect("it holds");
    // From the service's own address as well as from a file.
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("receipt");
    std::fs::write(&file, &jws).expect("it is writable");
    let (file, address) = (file.to_str().expect("Unicode"), format!("{issuer}/.well-known/jwks.json"));
    assert!(run(&["receipt", "verify", file, "--jwks", &address]).await.status.success());
    assert!(!run(&["receipt", "verify", file, "--jwks", "/nowhere"]).await.status.success());
    assert_eq!(verify_piped(&jws, &jwks).await, Ok(claims_of(&jws)));
    let piped = verify_piped(&richer, &jwks).await.expect_err("it was changed");
    assert!(piped.contains("the signature does not hold"), "{piped}");
}
