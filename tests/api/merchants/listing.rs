//! Lists of transfers: all, those that pay something, those that nobody could place, and those of an invoice.

use chrono::{DateTime, Utc};
use quittance::domain::address::Address;
use quittance::domain::amount::Amount;
use quittance::domain::block::Block;
use quittance::domain::ids::{AccountId, InvoiceId};
use quittance::domain::matching::Basis;
use quittance::domain::network::Network;
use quittance::domain::transfer::Transfer;
use quittance::ledger::transfers::{self, Kept, NewClaim, TransferFilter};
use quittance::ledger::{Ledger, blocks, commit};
use serde_json::{Value, json};
use sqlx::Executor;
use uuid::Uuid;

use super::reorg::undo;
use super::start;
use crate::support::database;
use crate::support::merchant::Merchant;
use crate::support::payer::transfer_call;

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_listed_where_it_stands_before_and_after_its_block_is_replaced() {
    let (chain, facilitator) = start().await;
    let merchant = Merchant::open(&facilitator).await;
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let (invoice, other) = (merchant.invoice(&json!({"amount": "1"})).await, merchant.invoice(&json!({"amount": "1"})).await);
    let id = |invoice: &Value| invoice["id"].as_str().expect("a name").to_owned();
    let queries = [
        String::new(),
        "matched=true".to_owned(),
        "matched=false".to_owned(),
        format!("invoice={}", id(&invoice)),
        format!("invoice={}", id(&other)),
        format!("matched=true&invoice={}", id(&invoice)),
        format!("matched=false&invoice={}", id(&invoice)),
    ];
    let listed = async || {
        let mut listed = Vec::new();
        for query in &queries {
            let (status, page) = merchant.get(&format!("/v1/transfers?{query}")).await;
            assert_eq!(status, 200, "{page}");
            listed.push(page["transfers"].as_array().expect("transfers").len());
        }
        listed
    };
    let (sender, call, token) = (chain.payers[1].address(), transfer_call(&chain.payers[0].address(), 1_000_000), chain.usdc());
    let send = || chain.send_as(&sender, &token, &call, 1_000_000);
    chain.mine(5).await;

    let transaction = send().await;
    let transfer = merchant.until_transfer(&transaction).await;
    assert_eq!(listed().await, [1, 0, 1, 0, 0, 0, 0], "nobody could place it");
    let path = format!("/v1/transfers/{}/assign", transfer["id"].as_str().expect("a name"));
    assert_eq!(merchant.post(&path, &json!({"invoice": invoice["id"]})).await.0, 200);
    assert_eq!(listed().await, [1, 1, 0, 1, 0, 1, 0], "the merchant has placed it");
    undo(&chain, &transaction).await;
    merchant.until(&invoice, "open").await;
    assert_eq!(listed().await, [0; 7], "it is gone");
    assert_eq!(send().await, transaction, "it is the same transaction");
    merchant.until(&invoice, "paid").await;
    assert_eq!(listed().await, [1, 1, 0, 1, 0, 1, 0], "it is there again");
}

const ACCOUNT: Uuid = Uuid::from_u128(0xa1);
const INVOICE: Uuid = Uuid::from_u128(0xf1);

/// An account with an invoice.
const WORLD: &str = "
    INSERT INTO accounts VALUES ('00000000-0000-0000-0000-0000000000a1', 'merchant', now());
    INSERT INTO invoices (id, account_id, reference, amount, tolerance, decimals, symbol, by_amount, answer_at, created_at, expires_at,
                          closes_at, metadata, told_status, told_paid, told_pending, told_due, told_surplus, told_late)
    VALUES ('00000000-0000-0000-0000-0000000000f1', '00000000-0000-0000-0000-0000000000a1', decode(repeat('01', 32), 'hex'), 100, 0, 6,
            'USDC', false, 'included', now(), now() + interval '1 hour', now() + interval '1 hour', '{}', 'open', 0, 0, 100, 0, 0);
";

/// A block with three equal transfers to the account, of which those at some positions are claimed.
struct Books {
    ledger: Ledger,
    network: Network,
    block: Block,
    transfers: Vec<Transfer>,
}

impl Books {
    async fn open() -> Self {
        let ledger = database::ledger(&database::fresh().await).await;
        ledger.pool().execute(WORLD).await.expect("it fits");
        let network: Network = "eip155:84532".parse().expect("a network");
        let address = |digit: &str| Address::parse(network.family(), &format!("0x{}", digit.repeat(40))).expect("an address");
        let transfer = |index: u32| Transfer {
            transaction: format!("0x0{index}"),
            index,
            asset: address("1"),
            from: address("2"),
            to: address("3"),
            amount: Some(Amount::new(1_000)),
            marks: Vec::new(),
        };
        let transfers = (0..3).map(transfer).collect();
        let block = Block { number: 10, hash: "0x0a".to_owned(), parent_hash: "0x09".to_owned(), timestamp: now() };
        Self { ledger, network, block, transfers }
    }

    async fn keep(&self) {
        let mut db = self.ledger.begin().await.expect("the database answers");
        let owner = Some(AccountId::from_uuid(ACCOUNT));
        let kept: Vec<_> = self.transfers.iter().map(|transfer| Kept { transfer, owner }).collect();
        transfers::keep(&mut db, &self.network, &self.block, &kept).await.expect("it is written");
        commit(db).await.expect("the database answers");
    }

    async fn claim(&self, index: usize) {
        let mut db = self.ledger.begin().await.expect("the database answers");
        let invoice = Some((InvoiceId::from_uuid(INVOICE), Basis::Amount));
        let claim = NewClaim { transfer: &self.transfers[index], payment: None, invoice };
        transfers::claim(&mut db, &self.network, &self.block, &[claim]).await.expect("it is written");
        commit(db).await.expect("the database answers");
    }

    async fn undo(&self) {
        let mut db = self.ledger.begin().await.expect("the database answers");
        blocks::orphan_above(&mut db, &self.network, 9).await.expect("it is written");
        transfers::drop_claims_above(&mut db, &self.network, 9, now()).await.expect("it is written");
        commit(db).await.expect("the database answers");
    }

    /// The positions of the transfers in the list of those that do or do not pay something, newest first, a page each.
    async fn listed(&self, matched: bool) -> Vec<u32> {
        let mut filter = TransferFilter { matched: Some(matched), limit: 1, ..TransferFilter::default() };
        let mut listed = Vec::new();
        while let [own] =
            self.ledger.list_transfers(AccountId::from_uuid(ACCOUNT), &filter).await.expect("the database answers").as_slice()
        {
            listed.push(own.transfer.index);
            filter.after = Some(own.id);
        }
        listed
    }

    /// The positions of those that are marked as claimed.
    async fn marked(&self) -> Vec<i32> {
        let marked = sqlx::query_scalar("SELECT index FROM transfers WHERE claimed ORDER BY index");
        marked.fetch_all(self.ledger.pool()).await.expect("the database answers")
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).expect("a time")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pays_nothing_is_listed_though_it_paid_before_its_block_came_back() {
    let books = Books::open().await;
    books.keep().await;
    assert_eq!((books.listed(false).await, books.listed(true).await), (vec![2, 1, 0], vec![]));

    books.claim(1).await;
    assert_eq!((books.listed(false).await, books.listed(true).await, books.marked().await), (vec![2, 0], vec![1], vec![1]));
    books.keep().await;
    assert_eq!((books.listed(false).await, books.marked().await), (vec![2, 0], vec![1]), "the block was read again");
    books.undo().await;
    assert_eq!((books.listed(false).await, books.listed(true).await, books.marked().await), (vec![], vec![], vec![]));
    books.keep().await;
    assert_eq!((books.listed(false).await, books.listed(true).await), (vec![2, 1, 0], vec![]), "nobody has claimed it again yet");
    for index in [1, 2] {
        books.claim(index).await;
    }
    assert_eq!((books.listed(false).await, books.listed(true).await, books.marked().await), (vec![0], vec![2, 1], vec![1, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_version_has_claimed_is_not_listed_as_what_pays_nothing() {
    let books = Books::open().await;
    books.keep().await;
    books.claim(1).await;

    books.ledger.pool().execute("UPDATE transfers SET claimed = false").await.expect("the database answers");

    assert_eq!((books.listed(false).await, books.listed(true).await), (vec![2, 0], vec![1]));
}
