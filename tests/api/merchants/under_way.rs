//! Invoices that come to their end, or are called off, while a payment for them is on its way.

use secrecy::SecretString;
use serde_json::{Value, json};

use super::{PATIENCE, told};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::Merchant;
use crate::support::payer::{Payer, Terms};
use crate::support::proxy::{Act, Proxy};
use crate::support::{database, eventually};

async fn start() -> (Chain, Proxy, SecretString, Facilitator) {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let (proxy, url) = (Proxy::start(&chain.url), database::fresh().await);
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &url)).await;
    (chain, proxy, url, facilitator)
}

/// A payment of everything that an invoice asks for.
fn payment(invoice: &Value, payer: &Payer) -> Value {
    let terms = &invoice["accepts"][0];
    let mut body = payer.authorize(&Terms::to(terms["payTo"].as_str().expect("an address"))).v2();
    body["paymentRequirements"] = terms.clone();
    body["paymentPayload"]["accepted"] = terms.clone();
    body
}

fn cancel_path(invoice: &Value) -> String {
    format!("/v1/invoices/{}/cancel", invoice["id"].as_str().expect("a name"))
}

/// Has the time of an invoice end now.
async fn end(url: &SecretString, invoice: &Value) {
    let id: quittance::domain::ids::InvoiceId = invoice["id"].as_str().expect("a name").parse().expect("an identifier");
    let end = sqlx::query("UPDATE invoices SET expires_at = now(), closes_at = now() WHERE id = $1").bind(id.uuid());
    end.execute(database::ledger(url).await.pool()).await.expect("the database answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_accepted_in_time_pays_its_invoice_which_cannot_be_called_off_meanwhile() {
    let (chain, proxy, url, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let (invoice, other) = (merchant.invoice(&json!({"amount": "0.01"})).await, merchant.invoice(&json!({"amount": "1"})).await);
    let body = payment(&invoice, &chain.payers[1]);
    // Signed, and kept from the node.
    proxy.rule(|method, _, _| if method == "eth_sendRawTransaction" { Act::Swallow } else { Act::Forward });
    let caller = facilitator.caller();
    let settling = tokio::spawn(async move { caller.settle_patiently(&body, 2 * PATIENCE).await });
    let of_invoice = format!("/v1/payments?state=submitted&invoice={}", invoice["id"].as_str().expect("a name"));
    eventually("a payment under way", PATIENCE, || async {
        let (_, page) = merchant.get(&of_invoice).await;
        (page["payments"].as_array()?.len() == 1).then_some(())
    })
    .await;

    let (status, problem) = merchant.post(&cancel_path(&invoice), &json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("payment_under_way")), "{problem}");
    end(&url, &invoice).await;
    end(&url, &other).await;
    merchant.until(&other, "expired").await;
    assert_eq!(merchant.show(&invoice).await["status"], "open", "what is under way was in time");
    proxy.behave();
    let settled = settling.await.expect("it ends");

    assert_eq!(settled["success"], true, "{settled}");
    let paid = merchant.until(&invoice, "paid").await;
    assert_eq!((&paid["amountPaid"], &paid["amountLate"]), (&json!("0.01"), &json!("0")), "{paid}");
    assert_eq!(told(&url, &invoice).await, ["invoice.paid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_not_taken_for_an_invoice_that_was_called_off_while_the_network_was_asked() {
    let (chain, proxy, _, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.01"})).await;
    let body = payment(&invoice, &chain.payers[1]);
    proxy.rule(|method, _, _| if method == "eth_call" { Act::Hold } else { Act::Forward });
    let before = chain.transfers_to(&chain.payers[0].address()).await.len();
    let caller = facilitator.caller();
    let settling = tokio::spawn(async move { caller.try_post("/settle", &body).await });
    eventually("a simulation", PATIENCE, || async { (proxy.held() > 0).then_some(()) }).await;

    assert_eq!(merchant.post(&cancel_path(&invoice), &json!({})).await.0, 200);
    proxy.behave();
    proxy.release();
    let (_, settled) = settling.await.expect("it ends").expect("an answer");

    assert_eq!(
        (&settled["success"], &settled["errorReason"]),
        (&json!(false), &json!("invalid_payment_requirements")),
        "{settled}"
    );
    assert_eq!(chain.transfers_to(&chain.payers[0].address()).await.len(), before, "nothing was sent");
    assert_eq!(merchant.get("/v1/payments").await.1["payments"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_was_given_up_is_late_when_it_lands_after_its_invoice_has_ended() {
    let (chain, proxy, url, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let invoice = merchant.invoice(&json!({"amount": "0.01"})).await;
    let signed = chain.payers[1].authorize(&Terms::to(&chain.payers[0].address()));
    let mut body = signed.v2();
    body["paymentRequirements"] = invoice["accepts"][0].clone();
    body["paymentPayload"]["accepted"] = invoice["accepts"][0].clone();
    proxy.rule(|method, _, _| if method == "eth_sendRawTransaction" { Act::Swallow } else { Act::Forward });
    let (_, pending) = facilitator.settle(&body).await;
    assert_eq!(pending["errorReason"], "settlement_pending", "{pending}");
    // As after a failure of which its caller was told.
    let ledger = database::ledger(&url).await;
    let given_up = sqlx::query("UPDATE payments SET given_up_at = now(), given_up_reason = 'settlement_cost_exceeds_limit'");
    given_up.execute(ledger.pool()).await.expect("the database answers");
    end(&url, &invoice).await;
    merchant.until(&invoice, "expired").await;

    let stranger = chain.payers[2].address();
    chain.send_as(&stranger, &chain.usdc(), &signed.call(), 1_000_000).await;

    let late = eventually("what came late", PATIENCE, || async {
        let shown = merchant.show(&invoice).await;
        (shown["amountLate"] != "0" || shown["amountPaid"] != "0").then_some(shown)
    })
    .await;
    assert_eq!((&late["status"], &late["amountLate"]), (&json!("expired"), &json!("0.01")), "{late}");

    // Its success is collected all the same, and what was told as late stays late when its block becomes final.
    assert_eq!(facilitator.settle(&body).await.1["success"], true);
    chain.mine(700).await;
    eventually("a final block", PATIENCE, || async {
        let is_final = "SELECT EXISTS (SELECT FROM networks WHERE final_number > (SELECT max(block_number) FROM claims))";
        sqlx::query_scalar::<_, bool>(is_final).fetch_one(ledger.pool()).await.expect("the database answers").then_some(())
    })
    .await;
    let shown = merchant.show(&invoice).await;
    assert_eq!((&shown["status"], &shown["amountLate"]), (&json!("expired"), &json!("0.01")), "{shown}");
    assert_eq!(told(&url, &invoice).await, ["invoice.expired", "invoice.paid_late"]);
}
