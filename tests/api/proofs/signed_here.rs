//! Transfers that we have signed ourselves: they are for the payments in them, and told once, as a payment or as a proof.

use chrono::DateTime;
use quittance::domain::ids::PaymentId;
use quittance::ledger::payments;
use secrecy::SecretString;
use serde_json::json;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{AMOUNT, Shop, facts, presented, start, terms};
use crate::support::database;
use crate::support::merchant::{pay, sign};
use crate::support::payer::Terms;

const SIGNER: &str = "0x0000000000000000000000000000000000000005";

/// Records that a transaction was signed here for a payment whose end is not recorded. On Solana every transfer of ours is in the ledger
/// like this until its payment is asked about. Nobody sends the payment: its time to be answered has passed.
async fn sign_for_payment(url: &SecretString, network: &str, transaction: &str) -> PaymentId {
    let ledger = database::ledger(url).await;
    let (slot, payment) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let submission = "
        INSERT INTO submissions (id, network, signer, nonce, fence, created_at, spent_block) VALUES ($1, $2, $3, 0, 1, now(), 1)";
    let submission = sqlx::query(submission).bind(slot).bind(network).bind(SIGNER);
    submission.execute(ledger.pool()).await.expect("it fits");
    let insert = "
        INSERT INTO payments (id, network, key, fingerprint, x402_version, asset, payer, pay_to, amount, payload, expires_at,
                              created_at, answer_by, answer_at, alone, accepted_block, checked_block, payer_code, gas)
        VALUES ($1, $2, uuid_send($1), decode(repeat('00', 32), 'hex'), 2, $3, $3, $3, 1, '{}', now() + interval '1 hour',
                now(), now() - interval '1 minute', 'included', false, 1, 1, '', 1)";
    let insert = sqlx::query(insert).bind(payment).bind(network).bind(SIGNER);
    insert.execute(ledger.pool()).await.expect("it fits");
    let attempt = "
        INSERT INTO attempts (network, transaction, submission_id, number, payments, erased_at, cost_wei_max, fee_per_gas, tip_per_gas,
                              gas_limit, signed_at)
        VALUES ($1, $2, $3, 1, ARRAY[$4::uuid], now(), 1, 1, 1, 1, now())";
    let attempt = sqlx::query(attempt).bind(network).bind(transaction).bind(slot).bind(payment);
    attempt.execute(ledger.pool()).await.expect("it fits");
    PaymentId::from_uuid(payment)
}

async fn change(url: &SecretString, statement: &str) {
    let ledger = database::ledger(url).await;
    sqlx::query(AssertSqlSafe(statement.to_owned())).execute(ledger.pool()).await.expect("it fits");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_have_signed_is_no_proof_before_its_payment_has_ended() {
    let (chain, facilitator, url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let (invoice, payer) = (shop.invoice().await, &chain.payers[1]);
    let transaction = shop.paid_by(payer).await;
    let payment = sign_for_payment(&url, &chain.network(), &transaction).await;
    let transfer = shop.merchant.until_transfer(&transaction).await;
    let assign = format!("/v1/transfers/{}/assign", transfer["id"].as_str().expect("a name"));
    let page = format!("/i/{}/proof", invoice["id"].as_str().expect("a name"));
    let signed = json!({"transaction": transaction, "signature": sign(payer, &shop.text(&invoice, &transaction))});
    let body = presented(&terms(&invoice), &transaction, None);
    let before = facts(&url).await;

    assert_eq!(shop.post("/verify", &body).await["invalidReason"], "settlement_pending");
    let settled = shop.post("/settle", &body).await;
    assert_eq!(
        (&settled["errorReason"], &settled["transaction"]),
        (&json!("settlement_pending"), &json!(transaction)),
        "{settled}"
    );
    let (status, problem) = facilitator.post(&page, &signed).await;
    assert_eq!((status, &problem["code"]), (409, &json!("settlement_pending")), "{problem}");
    let (status, problem) = shop.merchant.post(&assign, &json!({"invoice": invoice["id"]})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("transfer_not_free")), "{problem}");
    assert_eq!(facts(&url).await, before, "nothing was claimed, and nobody was told");

    // A failure was answered: then the money is for whatever it is shown for.
    change(
        &url,
        "UPDATE payments SET given_up_reason = 'invalid_exact_evm_payload_authorization_valid_before', given_up_at = now()",
    )
    .await;
    let (status, shown) = facilitator.post(&page, &signed).await;
    assert_eq!((status, &shown["status"]), (200, &json!("paid")), "{shown}");

    // If the payment finds its transfer after all, its success was told already.
    change(&url, &format!("UPDATE claims SET payment_id = '{}'", payment.uuid())).await;
    let ledger = database::ledger(&url).await;
    let mut connection = ledger.pool().acquire().await.expect("the database answers");
    payments::take_spent(&mut connection, &[payment], DateTime::UNIX_EPOCH).await.expect("the database answers");
    let taken = sqlx::query_scalar::<_, Option<String>>("SELECT handed_out_to FROM payments").fetch_one(&mut *connection).await;
    assert_eq!(taken.expect("the database answers").as_deref(), Some("proof"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_transfer_was_credited_to_another_invoice_by_its_name_has_no_success() {
    for (payments_own, expected) in [(false, Some("invoice")), (true, None)] {
        let (chain, facilitator, url) = start().await;
        let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
        let invoice = shop.merchant.invoice(&json!({"amount": AMOUNT.0})).await;
        let nonce = invoice["options"][0]["nonce"].as_str().expect("a nonce").parse().expect("32 bytes");
        let payer = &chain.payers[1];
        let owed = Terms { amount: AMOUNT.1, ..Terms::to(&shop.address) };
        let signed = payer.authorize_with(&owed, nonce, payer.address().parse().expect("an address"));
        let transaction = chain.send_as(&chain.payers[2].address(), &chain.usdc(), &signed.call(), 1_000_000).await;
        shop.merchant.until(&invoice, "paid").await;
        let payment = sign_for_payment(&url, &chain.network(), &transaction).await;

        change(&url, &format!("UPDATE claims SET payment_id = '{}'", payment.uuid())).await;
        if payments_own {
            change(&url, "UPDATE payments SET invoice_id = (SELECT id FROM invoices)").await;
        }
        let ledger = database::ledger(&url).await;
        let mut connection = ledger.pool().acquire().await.expect("the database answers");
        payments::take_spent(&mut connection, &[payment], DateTime::UNIX_EPOCH).await.expect("the database answers");
        let taken = "SELECT handed_out_to FROM payments";
        let taken = sqlx::query_scalar::<_, Option<String>>(taken).fetch_one(&mut *connection).await;
        assert_eq!(taken.expect("the database answers").as_deref(), expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_transfer_nobody_has_shown_keeps_its_success() {
    let (chain, facilitator, url) = start().await;
    let shop = Shop::open(&chain, &facilitator, &chain.payers[0]).await;
    let invoice = shop.merchant.invoice(&json!({"amount": AMOUNT.0, "reserveAddress": true})).await;
    let transaction = pay(&chain, &chain.payers[1], &shop.address, AMOUNT.1).await;
    shop.merchant.until(&invoice, "paid").await;
    let payment = sign_for_payment(&url, &chain.network(), &transaction).await;

    change(&url, &format!("UPDATE claims SET payment_id = '{}'", payment.uuid())).await;
    let ledger = database::ledger(&url).await;
    let mut connection = ledger.pool().acquire().await.expect("the database answers");
    payments::take_spent(&mut connection, &[payment], DateTime::UNIX_EPOCH).await.expect("the database answers");
    let taken = sqlx::query_scalar::<_, Option<String>>("SELECT handed_out_to FROM payments").fetch_one(&mut *connection).await;
    assert_eq!(taken.expect("the database answers"), None);
}
