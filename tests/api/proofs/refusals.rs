//! What is no proof: each wrong thing has its code, and changes nothing.

use alloy::primitives::U256;
use alloy::sol_types::SolCall;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{AMOUNT, Shop, facts, post, presented, start, terms};
use crate::support::chain::Chain;
use crate::support::cli::open_account;
use crate::support::facilitator::Facilitator;
use crate::support::merchant::{pay, sign};
use crate::support::payer::transfer_call;
use crate::support::typed::AnybodysToken;
use crate::support::{contract, database, deploy};

/// The status and the code with which both endpoints refuse, having made sure that they agree and change nothing.
pub async fn refusal(url: &SecretString, facilitator: &Facilitator, body: &Value, key: Option<&str>) -> (u16, String) {
    let before = facts(url).await;
    let (status, verified) = post(facilitator, "/verify", body, key, None).await;
    let (other, settled) = post(facilitator, "/settle", body, key, None).await;
    assert_eq!(status, other, "{verified} {settled}");
    assert_eq!((&verified["isValid"], &settled["success"]), (&json!(false), &json!(false)), "{verified} {settled}");
    assert_eq!(verified["invalidReason"], settled["errorReason"]);
    assert_eq!(facts(url).await, before, "a refusal leaves no trace: {settled}");
    (status, settled["errorReason"].as_str().expect("a code").to_owned())
}

/// A transaction that mints a stranger's token to somebody.
async fn mint(chain: &Chain, to: &str) -> String {
    let token = deploy(chain, &contract("FakeUsdc"), &[]).await;
    let call = AnybodysToken::mintCall { to: to.parse().expect("an address"), value: U256::from(AMOUNT.1) };
    let call = alloy::hex::encode_prefixed(call.abi_encode());
    let transaction = chain.send_as(&chain.payers[1].address(), &token, &call, 1_000_000).await;
    assert_eq!(chain.receipt(&transaction).await["status"], "0x1");
    transaction
}

/// A transfer of more than the payer has.
async fn fail(chain: &Chain, to: &str) -> String {
    let call = transfer_call(to, 1_000_000_000_000_000);
    let transaction = chain.send_as(&chain.payers[1].address(), &chain.usdc(), &call, 1_000_000).await;
    assert_eq!(chain.receipt(&transaction).await["status"], "0x0", "it fails");
    transaction
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_did_something_else_pays_nothing() {
    let (chain, facilitator, url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let rival = Shop::open(&chain, &facilitator, &chain.payers[3]).await;
    let (invoice, rivals) = (shop.invoice().await, rival.invoice().await);
    let good = shop.paid_by(&chain.payers[1]).await;
    let to_nobody = pay(&chain, &chain.payers[1], &chain.payers[5].address(), AMOUNT.1).await;
    let to_rival = rival.paid_by(&chain.payers[1]).await;
    let (foreign, failed) = (mint(&chain, &shop.address).await, fail(&chain, &shop.address).await);
    let unknown = format!("0x{}", "ab".repeat(32));
    let of = |amount: &str| {
        let mut terms = terms(&invoice);
        terms["amount"] = amount.into();
        terms
    };

    for (terms, transaction, code) in [
        (of("499999"), &good, "transfer_amount_mismatch"),
        (of("500001"), &good, "transfer_amount_mismatch"),
        (of("500000"), &to_nobody, "transfer_recipient_mismatch"),
        (of("500000"), &to_rival, "transfer_recipient_mismatch"),
        (of("500000"), &foreign, "transfer_asset_mismatch"),
        (of("500000"), &failed, "transfer_failed"),
        (of("500000"), &unknown, "transfer_not_found"),
    ] {
        let body = presented(&terms, transaction, None);
        assert_eq!(refusal(&url, &facilitator, &body, Some(&shop.key)).await, (200, code.to_owned()), "{body}");
    }
    // Another merchant with the same price cannot have it either.
    let stolen = presented(&terms(&rivals), &good, None);
    let (status, code) = refusal(&url, &facilitator, &stolen, Some(&rival.key)).await;
    assert_eq!((status, code.as_str()), (200, "transfer_recipient_mismatch"));

    assert_eq!(shop.merchant.show(&invoice).await["status"], "open");
    assert_eq!(shop.post("/settle", &presented(&of("500000"), &good, None)).await["success"], true, "and the good one is good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_alone_says_nothing_about_who_presents_it() {
    let (chain, facilitator, url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let (invoice, other, payer) = (shop.invoice().await, shop.invoice().await, &chain.payers[1]);
    let transaction = shop.paid_by(payer).await;
    let second = shop.paid_by(payer).await;
    let stranger = open_account(&facilitator, "provider").await.key;
    let operator = open_account(&facilitator, "operator").await.key;
    let text = shop.text(&invoice, &transaction);
    let elsewhere = super::text("https://pay.example.com", &chain.network(), &invoice, &transaction);
    let on_base = super::text(&facilitator.url, "eip155:8453", &invoice, &transaction);

    for key in [None, Some(stranger.as_str()), Some(operator.as_str())] {
        let bare = presented(&terms(&invoice), &transaction, None);
        assert_eq!(refusal(&url, &facilitator, &bare, key).await, (200, "proof_signature_missing".to_owned()));
        for signature in [
            sign(&chain.payers[2], &text),
            sign(&chain.payers[0], &text),
            sign(payer, &shop.text(&other, &transaction)),
            sign(payer, &shop.text(&invoice, &second)),
            sign(payer, &elsewhere),
            sign(payer, &on_base),
            sign(payer, &format!("{text}\n")),
            "0x00".to_owned(),
            "0x".to_owned(),
            "signed".to_owned(),
        ] {
            let body = presented(&terms(&invoice), &transaction, Some(&signature));
            let refused = refusal(&url, &facilitator, &body, key).await;
            assert_eq!(refused, (200, "proof_signature_invalid".to_owned()), "{signature}");
        }
    }
    let signed = presented(&terms(&invoice), &transaction, Some(&sign(payer, &text)));
    let settled = post(&facilitator, "/settle", &signed, Some(&stranger), None).await.1;
    assert_eq!(settled["success"], true, "whose key it is does not matter then: {settled}");
}

/// Moves an invoice in time, as if it had been opened earlier or later.
async fn shift(url: &SecretString, invoice: &Value, hours: i32) {
    let id: quittance::domain::ids::InvoiceId = invoice["id"].as_str().expect("a name").parse().expect("an identifier");
    let shifted = "UPDATE invoices SET created_at = created_at + make_interval(hours => $2), \
                   expires_at = expires_at + make_interval(hours => $2), closes_at = closes_at + make_interval(hours => $2) \
                   WHERE id = $1";
    let ledger = database::ledger(url).await;
    sqlx::query(shifted).bind(id.uuid()).bind(hours).execute(ledger.pool()).await.expect("the database answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_pays_in_the_time_of_its_invoice_and_may_be_presented_later() {
    let (chain, facilitator, url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let (early, late, due) = (shop.invoice().await, shop.invoice().await, shop.invoice().await);
    let transaction = shop.paid_by(&chain.payers[1]).await;
    shift(&url, &early, 1).await;
    shift(&url, &late, -3).await;
    shop.merchant.until(&late, "expired").await;

    for invoice in [&early, &late] {
        let body = presented(&terms(invoice), &transaction, None);
        let refused = refusal(&url, &facilitator, &body, Some(&shop.key)).await;
        assert_eq!(refused, (200, "transfer_out_of_time".to_owned()));
    }
    // It was made in the time of an invoice that has come to its end since: from two hours ago to fifty minutes ago.
    let moved = "UPDATE transfers SET happened_at = happened_at - interval '90 minutes' WHERE transaction = $1";
    let ledger = database::ledger(&url).await;
    sqlx::query(moved).bind(&transaction).execute(ledger.pool()).await.expect("the database answers");
    shift(&url, &due, -2).await;
    shop.merchant.until(&due, "expired").await;
    let settled = shop.post("/settle", &presented(&terms(&due), &transaction, None)).await;
    assert_eq!(settled["success"], true, "{settled}");
    shop.merchant.until(&due, "paid").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_or_asks_for_something_else_is_said_to_be_so() {
    let (chain, facilitator, url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let (invoice, canceled) = (shop.invoice().await, shop.invoice().await);
    let path = format!("/v1/invoices/{}/cancel", canceled["id"].as_str().expect("a name"));
    assert_eq!(shop.merchant.post(&path, &json!({})).await.0, 200);
    let transaction = shop.paid_by(&chain.payers[1]).await;
    let good = presented(&terms(&invoice), &transaction, None);
    let with = |pointer: &str, value: Value| {
        let mut body = good.clone();
        *body.pointer_mut(pointer).expect("it is there") = value;
        body
    };
    let (payload, required) = ("/paymentPayload/payload/transaction", "/paymentRequirements");
    let upper = transaction.to_uppercase().replace("0X", "0x");

    for (body, status, code) in [
        (with(payload, json!("0x1234")), 400, "invalid_payload"),
        (with(payload, json!(upper)), 400, "invalid_payload"),
        (with(payload, json!(&transaction[2..])), 400, "invalid_payload"),
        (with(payload, json!(7)), 400, "invalid_payload"),
        (with("/paymentPayload/payload", json!({})), 400, "invalid_payload"),
        (with(&format!("{required}/extra"), json!({})), 400, "invalid_payment_requirements"),
        (with(&format!("{required}/extra/invoice"), json!("7")), 400, "invalid_payment_requirements"),
        (
            with(&format!("{required}/extra/invoice"), json!("inv_00000000000070008000000000000000")),
            400,
            "invalid_payment_requirements",
        ),
        (with(&format!("{required}/payTo"), json!(chain.payers[5].address())), 400, "invalid_payment_requirements"),
        (with(&format!("{required}/asset"), json!(chain.payers[5].address())), 200, "unsupported_asset"),
        (with(&format!("{required}/network"), json!("eip155:1")), 200, "invalid_network"),
        (with("/paymentPayload/accepted/scheme", json!("exact")), 200, "unsupported_scheme"),
        (with("/paymentPayload/accepted/network", json!("eip155:1")), 200, "invalid_network"),
        (presented(&terms(&canceled), &transaction, None), 400, "invalid_payment_requirements"),
    ] {
        let refused = refusal(&url, &facilitator, &body, Some(&shop.key)).await;
        assert_eq!(refused, (status, code.to_owned()), "{body}");
    }
    assert_eq!(shop.post("/settle", &good).await["success"], true);
}
