//! Proofs of addresses that come in the same moment.

use quittance::domain::ids::AddressId;
use quittance::ledger::Ledger;
use secrecy::SecretString;
use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::start_with_ledger;
use crate::queue::until_waiting;
use crate::support::database;
use crate::support::merchant::{Merchant, sign};
use crate::support::payer::Payer;

/// An address that waits for its proof.
struct Asked {
    id: Uuid,
    path: String,
    proof: Value,
}

async fn ask(merchant: &Merchant<'_>, network: &str, owner: &Payer) -> Asked {
    let (status, asked) = merchant.post("/v1/addresses", &json!({"network": network, "address": owner.address()})).await;
    assert_eq!(status, 201, "{asked}");
    let name = asked["id"].as_str().expect("a name");
    let id: AddressId = name.parse().expect("an identifier");
    Asked {
        id: id.uuid(),
        path: format!("/v1/addresses/{name}/proof"),
        proof: json!({"signature": sign(owner, asked["challenge"].as_str().expect("a challenge"))}),
    }
}

/// A transaction of ours in which something happens to an address, and that has not ended.
async fn change(ledger: &Ledger, statement: &'static str, id: Uuid) -> Transaction<'static, Postgres> {
    let mut db = ledger.pool().begin().await.expect("the database answers");
    sqlx::query(statement).bind(id).execute(&mut *db).await.expect("it fits");
    db
}

/// Waits until so many others wait for a transaction, and ends it.
async fn end_awaited(url: &SecretString, transactions: i64, db: Transaction<'static, Postgres>) {
    until_waiting(&database::ledger(url).await, transactions).await;
    db.commit().await.expect("the database answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_proof_twice_at_once_is_one_proof() {
    let (chain, url, facilitator) = start_with_ledger().await;
    let merchant = Merchant::open(&facilitator).await;
    let asked = ask(&merchant, &chain.network(), &chain.payers[0]).await;
    let ledger = database::ledger(&url).await;
    let held = change(&ledger, "SELECT FROM addresses WHERE id = $1 FOR UPDATE", asked.id).await;

    let prove = || merchant.post(&asked.path, &asked.proof);
    let (first, second, ()) = tokio::join!(prove(), prove(), end_awaited(&url, 2, held));

    for (status, answer) in [&first, &second] {
        assert_eq!((status, &answer["status"]), (&200, &json!("active")), "{answer}");
    }
    assert_eq!(merchant.get("/v1/addresses").await.1["addresses"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_accounts_that_prove_an_address_at_once_one_has_it() {
    for (proof, expected, code) in [("signature", 422, json!("address_taken")), ("operator", 200, json!(null))] {
        let (chain, url, facilitator) = start_with_ledger().await;
        let (first, second) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
        let (network, owner) = (chain.network(), &chain.payers[0]);
        let (won, lost) = (ask(&first, &network, owner).await, ask(&second, &network, owner).await);
        let ledger = database::ledger(&url).await;
        let statement = match proof {
            "signature" => "UPDATE addresses SET proven_at = now(), proof = 'signature' WHERE id = $1",
            _ => "UPDATE addresses SET proven_at = now(), proof = 'operator' WHERE id = $1",
        };
        let proven = change(&ledger, statement, won.id).await;

        let ((status, answer), ()) = tokio::join!(second.post(&lost.path, &lost.proof), end_awaited(&url, 1, proven));

        assert_eq!((status, &answer["code"]), (expected, &code), "against a {proof}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_leaves_out_what_somebody_else_proves_at_once() {
    let (chain, url, facilitator) = start_with_ledger().await;
    let (merchant, rival) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
    let (network, signatory) = (chain.network(), &chain.payers[0]);
    let signed_by = merchant.register(&network, signatory).await;
    let rivals = ask(&rival, &network, &chain.payers[1]).await;
    let listed = [&chain.payers[1], &chain.payers[2]].map(Payer::address);
    let list = json!({"network": network, "addresses": listed, "signedBy": signed_by});
    let (_, list) = merchant.post("/v1/address-lists", &list).await;
    let path = format!("/v1/address-lists/{}/proof", list["id"].as_str().expect("a name"));
    let proof = json!({"signature": sign(signatory, list["challenge"].as_str().expect("a challenge"))});
    let ledger = database::ledger(&url).await;
    let proven = change(&ledger, "UPDATE addresses SET proven_at = now(), proof = 'signature' WHERE id = $1", rivals.id).await;

    let ((status, answer), ()) = tokio::join!(merchant.post(&path, &proof), end_awaited(&url, 1, proven));

    assert_eq!((status, &answer["active"]), (200, &json!([listed[1]])), "{answer}");
}
