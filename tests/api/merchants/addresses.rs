//! Whose an address is: by the word of a contract, for as long as a challenge lasts, until it is removed, and against an operator's word.

use alloy::primitives::{B256, eip191_hash_message};
use alloy::signers::local::PrivateKeySigner;
use serde_json::{Value, json};

use super::{PATIENCE, start, start_with_ledger};
use crate::support::chain::Chain;
use crate::support::facilitator::Facilitator;
use crate::support::merchant::{Merchant, pay, sign};
use crate::support::payer::Terms;
use crate::support::{contract, database, deploy, eventually, typed};

/// Asks for an address; our name for it, and what its owner has to sign.
async fn ask_for(merchant: &Merchant<'_>, network: &str, address: &str) -> (String, String) {
    let (status, asked) = merchant.post("/v1/addresses", &json!({"network": network, "address": address})).await;
    assert_eq!(status, 201, "{asked}");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&asked["id"]), text(&asked["challenge"]))
}

/// Sends a signature for something that was asked for; the status of the answer, and its code or the new status of the address.
async fn prove(merchant: &Merchant<'_>, path: &str, signature: &str) -> (u16, String) {
    let (status, answer) = merchant.post(&format!("{path}/proof"), &json!({"signature": signature})).await;
    let said = if status == 200 { &answer["status"] } else { &answer["code"] };
    (status, said.as_str().unwrap_or_default().to_owned())
}

/// Has an operator give an address to an account; whether that was done, and what was said.
async fn grant(chain: &Chain, facilitator: &Facilitator, account: &Merchant<'_>, address: &str) -> (bool, String) {
    facilitator.command(&["address", "grant", account.id(), &chain.network(), address, "--note", "a custodian"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_wallet_signs_for_its_address_as_its_code_says() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    let (network, safe) = (chain.network(), chain.text("/safe"));
    let owner: PrivateKeySigner = chain.text("/accounts/safeOwner/key").parse().expect("a key");
    let chain_id = chain.world["chainId"].as_u64().expect("a number");
    let sign_for_safe = |signer: &PrivateKeySigner, challenge: &str| {
        let hash = eip191_hash_message(challenge);
        alloy::hex::encode_prefixed(typed::sign_for_safe(signer, safe.parse().expect("an address"), chain_id, hash))
    };

    let (id, challenge) = ask_for(&merchant, &network, &safe).await;
    let path = format!("/v1/addresses/{id}");
    let plain = alloy::hex::encode_prefixed(typed::sign(&owner, eip191_hash_message(&challenge)));
    for (who, signature) in [
        ("a stranger", sign_for_safe(chain.payers[2].signer(), &challenge)),
        ("the owner, for another challenge", sign_for_safe(&owner, &format!("{challenge} "))),
        ("the owner, for itself", plain),
    ] {
        assert_eq!(prove(&merchant, &path, &signature).await, (422, "invalid_signature".to_owned()), "{who}");
    }
    assert_eq!(prove(&merchant, &path, &sign_for_safe(&owner, &challenge)).await, (200, "active".to_owned()));
    let transaction = pay(&chain, &chain.payers[1], &safe, 5_000).await;
    assert_eq!(merchant.until_transfer(&transaction).await["amount"], "5000");

    for name in ["RevertingWallet", "GasBurnerWallet", "ReturnBombWallet", "L1FeeOracleStub"] {
        let wallet = deploy(&chain, &contract(name), &[]).await;
        let (id, challenge) = ask_for(&merchant, &network, &wallet).await;
        let signature = sign(&chain.payers[0], &challenge);
        let refused = prove(&merchant, &format!("/v1/addresses/{id}"), &signature).await;
        assert_eq!(refused, (422, "invalid_signature".to_owned()), "{name} vouches for nothing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_challenge_that_was_made_too_long_ago_proves_nothing() {
    let (chain, url, facilitator) = start_with_ledger().await;
    let merchant = Merchant::open(&facilitator).await;
    let (network, owner) = (chain.network(), &chain.payers[0]);
    let (id, _) = ask_for(&merchant, &network, &owner.address()).await;
    let path = format!("/v1/addresses/{id}");

    let ledger = database::ledger(&url).await;
    let end = "UPDATE addresses SET challenged_until = now() - interval '1 second' WHERE proven_at IS NULL";
    sqlx::query(end).execute(ledger.pool()).await.expect("the database answers");
    let (_, shown) = merchant.get(&path).await;
    // The time stands in the text, so that nothing but the time is wrong with this signature.
    let signature = sign(owner, shown["challenge"].as_str().expect("a challenge"));
    assert_eq!(prove(&merchant, &path, &signature).await, (422, "challenge_expired".to_owned()));
    assert_eq!(merchant.get(&path).await.1["status"], "challenged");

    let signatory = merchant.register(&network, owner).await;
    let list = json!({"network": network, "addresses": [chain.payers[1].address()], "signedBy": signatory});
    let (status, listed) = merchant.post("/v1/address-lists", &list).await;
    assert_eq!(status, 201, "{listed}");
    sqlx::query(end).execute(ledger.pool()).await.expect("the database answers");
    let path = format!("/v1/address-lists/{}", listed["id"].as_str().expect("a name"));
    let signature = sign(owner, listed["challenge"].as_str().expect("a statement"));
    assert_eq!(prove(&merchant, &path, &signature).await, (422, "challenge_expired".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reaches_an_address_that_was_removed_is_nobodys() {
    let (chain, facilitator) = start().await;
    let (merchant, heir) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
    let (network, owner, payer) = (chain.network(), &chain.payers[0], &chain.payers[2]);
    let address = merchant.register(&network, owner).await;
    merchant.register(&network, &chain.payers[1]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.02"})).await;
    let nonce: B256 = invoice["options"][0]["nonce"].as_str().expect("a nonce").parse().expect("32 bytes");
    // A transfer with the invoice's own nonce is told to the merchant even now, as long as the address is the merchant's.
    let cancel = format!("/v1/invoices/{}/cancel", invoice["id"].as_str().expect("a name"));
    assert_eq!(merchant.post(&cancel, &json!({})).await.0, 200);
    let land = async |counter: u8| {
        let mut nonce = nonce;
        nonce.0[31] = counter;
        let terms = Terms { amount: 5_000, ..Terms::to(&owner.address()) };
        let signed = payer.authorize_with(&terms, nonce, payer.address().parse().expect("an address"));
        let transaction = chain.send_as(&chain.payers[3].address(), &chain.usdc(), &signed.call(), 1_000_000).await;
        assert_eq!(chain.receipt(&transaction).await["status"], "0x1");
        transaction
    };
    let known = land(1).await;
    let late = eventually("a late transfer", PATIENCE, || async {
        let shown = merchant.show(&invoice).await;
        (shown["amountLate"] == "0.005").then_some(shown)
    })
    .await;

    let path = format!("/v1/addresses/{address}");
    assert_eq!(merchant.send("DELETE", &path, None, None).await.0, 200);
    land(2).await;
    // Blocks are read in their order, so that what was before this one was read.
    let elsewhere = pay(&chain, payer, &chain.payers[1].address(), 6_000).await;
    merchant.until_transfer(&elsewhere).await;

    let transactions = |transfers: Vec<Value>| transfers.into_iter().map(|transfer| transfer["transaction"].clone());
    assert_eq!(transactions(merchant.transfers().await).collect::<Vec<_>>(), [elsewhere, known]);
    let now = merchant.show(&invoice).await;
    assert_eq!((&now["amountLate"], &now["transfers"]), (&late["amountLate"], &late["transfers"]), "nothing more came for it");
    heir.register(&network, owner).await;
    let inherited = pay(&chain, payer, &owner.address(), 7_000).await;
    heir.until_transfer(&inherited).await;
    assert_eq!(transactions(heir.transfers().await).collect::<Vec<_>>(), [inherited], "what came before is not the heir's");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operators_word_yields_to_the_owners_signature_and_to_nothing_else() {
    let (chain, facilitator) = start().await;
    let (merchant, rival) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
    let (network, owner) = (chain.network(), &chain.payers[0]);
    let (done, words) = grant(&chain, &facilitator, &merchant, &owner.address()).await;
    assert!(done, "{words}");
    let first = pay(&chain, &chain.payers[5], &owner.address(), 5_000).await;
    merchant.until_transfer(&first).await;

    let (again, words) = grant(&chain, &facilitator, &rival, &owner.address()).await;
    assert!(!again && words.contains("another account's"), "{words}");
    let signatory = rival.register(&network, &chain.payers[1]).await;
    let list = json!({"network": network, "addresses": [owner.address()], "signedBy": signatory});
    let (status, listed) = rival.post("/v1/address-lists", &list).await;
    assert_eq!(status, 201, "{listed}");
    let path = format!("/v1/address-lists/{}/proof", listed["id"].as_str().expect("a name"));
    let statement = sign(&chain.payers[1], listed["challenge"].as_str().expect("a statement"));
    assert_eq!(rival.post(&path, &json!({"signature": statement})).await, (200, json!({"active": []})));

    rival.register(&network, owner).await;
    let second = pay(&chain, &chain.payers[5], &owner.address(), 6_000).await;
    assert_eq!(rival.until_transfer(&second).await["amount"], "6000");
    let transactions = |transfers: Vec<Value>| transfers.into_iter().map(|transfer| transfer["transaction"].clone());
    assert_eq!(transactions(rival.transfers().await).collect::<Vec<_>>(), [second], "the first one was the other's");
    assert_eq!(transactions(merchant.transfers().await).collect::<Vec<_>>(), [first]);
    assert_eq!(merchant.get("/v1/addresses").await.1["addresses"], json!([]));
    let (back, words) = grant(&chain, &facilitator, &merchant, &owner.address()).await;
    assert!(!back && words.contains("another account's"), "{words}");
}
