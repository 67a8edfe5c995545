//! Lists of invoices: by where they stand, and by where they can be paid.

use quittance::domain::invoice::Status;
use serde_json::{Value, json};

use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay};
use crate::support::payer::transfer_call;

/// An invoice for each status that there is, which can be paid at one address, by the amount that it asks for.
async fn open_all(merchant: &Merchant<'_>, place: &str) -> Vec<(Status, Value)> {
    let mut opened = Vec::new();
    for (number, status) in Status::ALL.into_iter().enumerate() {
        let mut order = json!({"amount": (number + 1).to_string(), "matchAmount": true, "addresses": [place]});
        match status {
            Status::Seen => order["answerAt"] = json!("safe"),
            Status::Expired => (order["expiresIn"], order["grace"]) = (json!(5), json!(0)),
            _ => {}
        }
        opened.push((status, merchant.invoice(&order).await));
    }
    opened
}

/// What an invoice asks for, in atomic units.
fn asked(invoice: &Value) -> u128 {
    invoice["amountAtomic"].as_str().expect("a text").parse().expect("a number")
}

/// Brings each invoice to where it is to stand. No block comes afterwards, so all of them stay there.
async fn bring_about(chain: &Chain, merchant: &Merchant<'_>, invoices: &[(Status, Value)]) {
    let of = |wanted: Status| invoices.iter().filter(move |(status, _)| *status == wanted).map(|(_, invoice)| invoice);
    let address = |invoice: &Value| invoice["options"][0]["payTo"].as_str().expect("an address").to_owned();
    let payer = &chain.payers[5];
    for invoice in of(Status::Final) {
        pay(chain, payer, &address(invoice), asked(invoice)).await;
    }
    for invoice in of(Status::Canceled) {
        let path = format!("/v1/invoices/{}/cancel", invoice["id"].as_str().expect("a name"));
        assert_eq!(merchant.post(&path, &json!({})).await.0, 200);
    }
    for (status, invoice) in invoices.iter().filter(|(status, _)| matches!(status, Status::Final | Status::Expired)) {
        merchant.until(invoice, status.as_str()).await;
    }
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    let mut parts = Vec::new();
    for (status, invoice) in invoices {
        let units = match status {
            Status::Seen | Status::Paid => asked(invoice),
            Status::Underpaid => asked(invoice) / 10,
            _ => continue,
        };
        let call = transfer_call(&address(invoice), units);
        let transaction = chain.send_as(&payer.address(), &chain.usdc(), &call, 1_000_000).await;
        parts.extend((*status == Status::Underpaid).then_some((transaction, invoice)));
    }
    chain.mine(1).await;
    // A part of what an invoice asks for is nothing that it could be known by.
    for (transaction, invoice) in parts {
        let transfer = merchant.until_transfer(&transaction).await;
        let path = format!("/v1/transfers/{}/assign", transfer["id"].as_str().expect("a name"));
        assert_eq!(merchant.post(&path, &json!({"invoice": invoice["id"]})).await.0, 200);
    }
    for (status, invoice) in invoices {
        merchant.until(invoice, status.as_str()).await;
    }
}

/// The names and statuses in a list, read in pages of so many.
async fn listed(merchant: &Merchant<'_>, query: &str, limit: usize) -> Vec<(String, String)> {
    let first = format!("/v1/invoices?limit={limit}&{query}");
    let (mut listed, mut path) = (Vec::new(), first.clone());
    loop {
        let (status, page) = merchant.get(&path).await;
        assert_eq!(status, 200, "{path}: {page}");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let invoices = page["invoices"].as_array().expect("invoices").iter();
        listed.extend(invoices.map(|invoice| (text(&invoice["id"]), text(&invoice["status"]))));
        let Some(cursor) = page["nextCursor"].as_str() else { return listed };
        path = format!("{first}&cursor={cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invoices_are_listed_by_where_they_stand_and_by_where_they_can_be_paid() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    // Final and safe after six blocks.
    let node = NetworkOptions { lines: "final = 6\n".to_owned(), ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(node, &database::fresh().await)).await;
    let (merchant, rival) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
    let (network, [one, other]) = (chain.network(), [&chain.payers[0], &chain.payers[1]]);
    let places = [merchant.register(&network, one).await, merchant.register(&network, other).await];
    let rivals = rival.register(&network, &chain.payers[2]).await;
    let foreign = open_all(&rival, &rivals).await;
    let mut invoices = open_all(&merchant, &places[0]).await;
    invoices.extend(open_all(&merchant, &places[1]).await);
    bring_about(&chain, &merchant, &invoices).await;

    // Newest first.
    let line =
        |(status, invoice): &(Status, Value)| (invoice["id"].as_str().expect("a name").to_owned(), status.as_str().to_owned());
    let all: Vec<_> = invoices.iter().rev().map(line).collect();
    let (of_other, of_one) = all.split_at(Status::ALL.len());
    assert_eq!(listed(&merchant, "", 100).await, all);
    for status in Status::ALL.map(Status::as_str) {
        let wanted: Vec<_> = all.iter().filter(|(_, stands)| stands == status).cloned().collect();
        assert_eq!(wanted.len(), 2, "{status}");
        for limit in [1, 2, 100] {
            assert_eq!(listed(&merchant, &format!("status={status}"), limit).await, wanted, "{status} by {limit}");
        }
        for (at, own) in [(one, of_one), (other, of_other)] {
            let wanted: Vec<_> = own.iter().filter(|(_, stands)| stands == status).cloned().collect();
            let query = format!("status={status}&address={}", at.address());
            assert_eq!(listed(&merchant, &query, 100).await, wanted, "{query}");
        }
    }
    for (at, own) in [(one, of_one), (other, of_other)] {
        for address in [at.address(), at.address().to_lowercase()] {
            assert_eq!(listed(&merchant, &format!("address={address}"), 3).await, own, "{address}");
        }
    }
    // What can be paid at somebody else's address is somebody else's, and where nobody is paid there is nothing.
    assert_eq!(listed(&rival, &format!("address={}", chain.payers[2].address()), 100).await.len(), foreign.len());
    for nobodys in [&chain.payers[2], &chain.payers[3]] {
        assert_eq!(listed(&merchant, &format!("address={}", nobodys.address()), 100).await, []);
    }
}
