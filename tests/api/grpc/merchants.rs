//! Invoices and receipts, each read by its own people.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::FileDescriptorSet;
use quittance::grpc::v1::invoices_client::InvoicesClient;
use quittance::grpc::v1::{
    DESCRIPTORS, InvoicesCancelRequest, InvoicesCreateRequest, InvoicesGetRequest, InvoicesListRequest, InvoicesWatchRequest,
    ReceiptsGetRequest, ReceiptsRedeemRequest,
};

use super::*;
use crate::support::merchant::{Merchant, pay};

fn order(amount: &str) -> InvoicesCreateRequest {
    InvoicesCreateRequest { amount: amount.to_owned(), ..Default::default() }
}

fn named(id: &str) -> InvoicesGetRequest {
    InvoicesGetRequest { id: id.to_owned() }
}

/// The members of a message, as JSON calls them.
fn members(message: &str) -> BTreeSet<String> {
    let contract = FileDescriptorSet::decode(DESCRIPTORS).expect("it is one");
    let files = contract.file.iter().filter(|file| file.package() == "quittance.v1");
    let message = files.flat_map(|file| &file.message_type).find(|found| found.name() == message).expect("it is there");
    message.field.iter().map(|field| field.json_name().to_owned()).collect()
}

fn assert_members(message: &str, shown: &Value) {
    let known = members(message);
    let unknown: Vec<_> = shown.as_object().expect("an object").keys().filter(|name| !known.contains(*name)).collect();
    assert!(unknown.is_empty(), "{message} lacks {unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_is_the_same_over_both_transports() {
    let (chain, facilitator) = start(OPEN).await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let mut client = InvoicesClient::new(connect(&facilitator));
    let order = InvoicesCreateRequest {
        reserve_address: true,
        expires_in: Some(1_800),
        description: Some("An answer".to_owned()),
        reference: Some("order-1".to_owned()),
        metadata: Some("{\"big\": 12345678901234567890, \"list\": [1.5, null]}".to_owned()),
        ..order("0.25")
    };

    let created = client.create(keyed(order, merchant.key())).await.expect("an answer").into_inner().invoice.expect("one");
    pay(&chain, &chain.payers[1], &chain.payers[0].address(), 250_000).await;
    let over_http = merchant.until(&json!({"id": created.id}), "paid").await;
    let got = client.get(keyed(named(&created.id), merchant.key())).await.expect("an answer").into_inner();
    let invoice = got.invoice.expect("one");

    assert_eq!((created.status.as_str(), invoice.status.as_str()), ("open", "paid"));
    for (name, value) in [
        ("amount", &invoice.amount),
        ("amountAtomic", &invoice.amount_atomic),
        ("amountPaid", &invoice.amount_paid),
        ("amountDue", &invoice.amount_due),
        ("asset", &invoice.asset),
        ("answerAt", &invoice.answer_at),
    ] {
        assert_eq!(&over_http[name], value, "{name}");
    }
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    assert_eq!(json(&invoice.metadata), over_http["metadata"]);
    assert!(invoice.metadata.contains("12345678901234567890"), "{}", invoice.metadata);
    assert_eq!(json(&invoice.payment_required), over_http["paymentRequired"]);
    assert_eq!(created.accepts.iter().map(|text| json(text)).collect::<Vec<_>>().len(), 1);
    assert_eq!(invoice.created_at.expect("a moment").to_string()[..19], text(&over_http["createdAt"])[..19]);
    assert_eq!(created.headers["X402-Invoice"], created.id);
    assert_eq!(invoice.links["page"], over_http["links"]["page"]);
    assert_eq!(invoice.options[0].pay_to, over_http["options"][0]["payTo"]);
    assert_eq!(invoice.options[0].nonce.as_deref(), over_http["options"][0]["nonce"].as_str());
    assert_eq!((invoice.transfers.len(), &invoice.transfers[0].id), (1, &text(&over_http["transfers"][0]["id"]).to_owned()));
    assert_eq!(invoice.transfers[0].block_number, over_http["transfers"][0]["blockNumber"].as_u64().expect("a number"));

    // Whatever HTTP shows has a place in the message.
    assert_members("Invoice", &over_http);
    assert_members("PaymentOption", &over_http["options"][0]);
    assert_members("Transfer", &over_http["transfers"][0]);
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_done_once_under_its_key_and_refused_with_the_code_of_http() {
    let (chain, facilitator) = start(OPEN).await;
    let merchant = Merchant::open(&facilitator).await;
    let provider = open_account(&facilitator, "provider").await;
    let mut client = InvoicesClient::new(connect(&facilitator));
    let refused = client.create(keyed(order("1"), merchant.key())).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::InvalidArgument, "no_address".to_owned()));
    merchant.register(&chain.network(), &chain.payers[0]).await;

    let key = "0123456789abcdef";
    let call = |order| once(keyed(order, merchant.key()), key);
    let first = client.create(call(order("1"))).await.expect("an answer").into_inner();
    let again = client.create(call(order("1"))).await.expect("an answer").into_inner();
    assert_eq!(first, again);
    let refused = client.create(call(order("2"))).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::Aborted, "idempotency_key_reused".to_owned()));
    let over_http = merchant.send("POST", "/v1/invoices", Some(&json!({"amount": "1"})), Some(key)).await;
    assert_eq!((over_http.0, &over_http.1["code"]), (409, &json!("idempotency_key_reused")), "it bound another request");

    let listed = client.list(keyed(InvoicesListRequest::default(), merchant.key())).await.expect("a page").into_inner();
    assert_eq!((listed.invoices.len(), listed.next_cursor), (1, None));
    for (order, code) in [
        (order(""), "invalid_invoice"),
        (order("-1"), "invalid_invoice"),
        (InvoicesCreateRequest { metadata: Some("[]".to_owned()), ..order("1") }, "bad_body"),
        (InvoicesCreateRequest { metadata: Some("{\"a\":1,\"a\":2}".to_owned()), ..order("1") }, "bad_body"),
        (InvoicesCreateRequest { metadata: Some("{}, \"tolerance\": \"9\"".to_owned()), ..order("1") }, "bad_body"),
        (InvoicesCreateRequest { description: Some("a\nb".to_owned()), ..order("1") }, "invalid_invoice"),
    ] {
        let refused = client.create(keyed(order.clone(), merchant.key())).await.expect_err("a refusal");
        assert_eq!(refusal(&refused), (Code::InvalidArgument, code.to_owned()), "{order:?}");
    }
    let refused = client.create(order("1")).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::Unauthenticated, "unauthorized".to_owned()));
    let refused = client.create(keyed(order("1"), &provider.key)).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::PermissionDenied, "forbidden".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_in_pages_and_what_was_called_off_stays_so() {
    let (chain, facilitator) = start(OPEN).await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let mut client = InvoicesClient::new(connect(&facilitator));
    let mut opened = BTreeSet::new();
    for _ in 0..3 {
        let created = client.create(keyed(order("1"), merchant.key())).await.expect("an answer").into_inner();
        opened.insert(created.invoice.expect("one").id);
    }

    let (mut listed, mut cursor) = (BTreeSet::new(), None);
    loop {
        let page = InvoicesListRequest { limit: Some(2), cursor, status: Some("open".to_owned()), ..Default::default() };
        let page = client.list(keyed(page, merchant.key())).await.expect("a page").into_inner();
        listed.extend(page.invoices.into_iter().map(|invoice| invoice.id));
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(listed, opened);
    for page in [
        InvoicesListRequest { limit: Some(0), ..Default::default() },
        InvoicesListRequest { cursor: Some("inv_1".to_owned()), ..Default::default() },
        InvoicesListRequest { status: Some("lost".to_owned()), ..Default::default() },
    ] {
        let refused = client.list(keyed(page, merchant.key())).await.expect_err("a refusal");
        assert_eq!(refusal(&refused), (Code::InvalidArgument, "bad_parameter".to_owned()));
    }

    let id = opened.first().expect("one").clone();
    for _ in 0..2 {
        let canceled = client.cancel(keyed(InvoicesCancelRequest { id: id.clone() }, merchant.key())).await.expect("an answer");
        assert_eq!(canceled.into_inner().invoice.expect("one").status, "canceled");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_or_changes_what_is_another_accounts() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let keys = Keys::generate().await;
    let facilitator = Facilitator::start(&keys.options(NetworkOptions::of(&chain), &database::fresh().await)).await;
    let (merchant, rival) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let mut invoices = InvoicesClient::new(connect(&facilitator));
    let mut receipts = ReceiptsClient::new(connect(&facilitator));
    let order = InvoicesCreateRequest { reserve_address: true, ..order("0.25") };
    let created = invoices.create(keyed(order, merchant.key())).await.expect("an answer").into_inner().invoice.expect("one");
    pay(&chain, &chain.payers[1], &chain.payers[0].address(), 250_000).await;
    let paid = merchant.until(&json!({"id": created.id}), "paid").await;
    let receipt = text(&paid["receipts"][0]["id"]).to_owned();
    assert_members("ReceiptLine", &paid["receipts"][0]);
    let not_found = (Code::NotFound, "not_found".to_owned());

    let id = created.id.clone();
    let refused = invoices.get(keyed(named(&id), rival.key())).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), not_found);
    let refused = invoices.cancel(keyed(InvoicesCancelRequest { id: id.clone() }, rival.key())).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), not_found);
    let watch = InvoicesWatchRequest { invoice: Some(id.clone()), after: Some(0) };
    let refused = invoices.watch(keyed(watch, rival.key())).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), not_found);
    let listed = invoices.list(keyed(InvoicesListRequest::default(), rival.key())).await.expect("a page").into_inner();
    assert!(listed.invoices.is_empty());

    let get = |format: Option<&str>| ReceiptsGetRequest { id: receipt.clone(), format: format.map(str::to_owned) };
    let redeem = |nonce: &str| ReceiptsRedeemRequest { id: receipt.clone(), nonce: Some(nonce.to_owned()) };
    assert_eq!(refusal(&receipts.get(keyed(get(None), rival.key())).await.expect_err("a refusal")), not_found);
    assert_eq!(refusal(&receipts.get(get(None)).await.expect_err("a refusal")), not_found);
    assert_eq!(refusal(&receipts.redeem(keyed(redeem("n"), rival.key())).await.expect_err("a refusal")), not_found);
    let refused = receipts.redeem(redeem("n")).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::Unauthenticated, "unauthorized".to_owned()));

    let shown = receipts.get(keyed(get(None), merchant.key())).await.expect("an answer").into_inner().receipt.expect("one");
    let (_, over_http) = merchant.get(&format!("/v1/receipts/{receipt}")).await;
    assert_eq!((shown.id.as_str(), shown.redeemed), (receipt.as_str(), false));
    assert_eq!(shown.account.as_deref(), Some(merchant.id()));
    assert_eq!(shown.revisions[0].receipt, text(&over_http["revisions"][0]["receipt"]));
    assert_members("Receipt", &over_http);
    assert_members("ReceiptRevision", &over_http["revisions"][0]);
    let typed = receipts.get(keyed(get(Some("eip712")), merchant.key())).await.expect("an answer").into_inner();
    let typed = typed.receipt.expect("one").revisions[0].receipt.clone();
    assert!(serde_json::from_str::<Value>(&typed).expect("JSON").is_object(), "{typed}");
    for presented in [typed, shown.revisions[0].receipt.clone()] {
        let verdict = receipts.verify(ReceiptsVerifyRequest { receipt: presented }).await.expect("a verdict").into_inner();
        assert!(verdict.valid && verdict.latest.expect("a status").id == receipt, "{:?}", verdict.reason);
    }
    let refused = receipts.get(keyed(get(Some("pdf")), merchant.key())).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::InvalidArgument, "bad_parameter".to_owned()));

    let refused = receipts.redeem(once(keyed(redeem("first"), merchant.key()), "short")).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::InvalidArgument, "invalid_idempotency_key".to_owned()));
    let redeemed = receipts.redeem(keyed(redeem("first"), merchant.key())).await.expect("an answer").into_inner();
    let again = receipts.redeem(keyed(redeem("first"), merchant.key())).await.expect("an answer").into_inner();
    assert_eq!((&redeemed, redeemed.nonce.as_deref()), (&again, Some("first")));
    let refused = receipts.redeem(keyed(redeem("second"), merchant.key())).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::Aborted, "receipt_redeemed".to_owned()));
    let refused = receipts.redeem(keyed(redeem("a b"), merchant.key())).await.expect_err("a refusal");
    assert_eq!(refusal(&refused), (Code::InvalidArgument, "bad_body".to_owned()));
}
