//! Which claims share a receipt and which do not, asked of the ledger itself.

use chrono::{DateTime, Utc};
use quittance::domain::ids::ReceiptId;
use quittance::domain::network::Network;
use quittance::domain::receipt::Statement;
use quittance::ledger::{Ledger, commit, receipts};
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

use crate::support::database;

const INVOICE: &str = "00000000-0000-0000-0000-0000000000f1";
const PAYMENT: &str = "00000000-0000-0000-0000-0000000000e1";

/// An account with an invoice, a payment that nobody has made, and a network read up to block 10 of which 5 are final.
const WORLD: &str = "
    INSERT INTO accounts VALUES ('00000000-0000-0000-0000-0000000000a1', 'merchant', now());
    INSERT INTO networks (network, cursor_number, cursor_hash, safe_number, final_number) VALUES ('eip155:84532', 10, '0x0a', 5, 5);
    INSERT INTO invoices (id, account_id, reference, amount, tolerance, decimals, symbol, by_amount, answer_at, created_at, expires_at,
                          closes_at, metadata, told_status, told_paid, told_pending, told_due, told_surplus, told_late)
    VALUES ('00000000-0000-0000-0000-0000000000f1', '00000000-0000-0000-0000-0000000000a1', decode(repeat('01', 32), 'hex'), 100, 0, 6,
            'USDC', false, 'included', now(), now() + interval '1 hour', now() + interval '1 hour', '{}', 'open', 0, 0, 100, 0, 0);
    INSERT INTO payments (id, network, key, fingerprint, x402_version, asset, payer, pay_to, amount, payload, expires_at, created_at,
                          answer_by, answer_at, alone, accepted_block, checked_block, payer_code, gas, resource)
    VALUES ('00000000-0000-0000-0000-0000000000e1', 'eip155:84532', '', decode(repeat('00', 32), 'hex'), 2, '', '', '', 50, '{}', now(),
            now(), now(), 'included', false, 1, 1, '', 1, 'https://shop.example/thing');
";

struct Books {
    ledger: Ledger,
    network: Network,
}

impl Books {
    async fn open() -> Self {
        let ledger = database::ledger(&database::fresh().await).await;
        ledger.pool().execute(WORLD).await.expect("it fits");
        Self { ledger, network: "eip155:84532".parse().expect("a network") }
    }

    async fn execute(&self, statement: String) {
        self.ledger.pool().execute(AssertSqlSafe(statement)).await.expect("it fits");
    }

    /// Two equal transfers of one transaction, and a third of nothing, in a block.
    async fn block(&self, number: u32, hash: &str, transaction: &str, first: u32) {
        for (index, amount, occurrence) in [(first, 50, 0), (first + 3, 50, 1), (first + 5, 0, 0)] {
            self.execute(format!(
                "INSERT INTO transfers (network, block_hash, index, block_number, transaction, asset, sender, recipient, amount, canonical,
                                        occurrence)
                 VALUES ('eip155:84532', '{hash}', {index}, {number}, '{transaction}', '0x036CbD53842c5426634e7929541eC2318f3dCF7e',
                         '0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed', '0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359', {amount}, true, {occurrence})"
            ))
            .await;
        }
    }

    /// A transfer pays the invoice.
    async fn claim(&self, number: u32, hash: &str, index: u32) {
        self.execute(format!(
            "INSERT INTO claims (network, block_hash, index, block_number, transaction, invoice_id, basis)
             SELECT network, block_hash, index, {number}, transaction, '{INVOICE}', 'reserved' FROM transfers
             WHERE block_hash = '{hash}' AND index = {index}"
        ))
        .await;
    }

    async fn issue(&self, hash: &str) {
        let mut db = self.ledger.begin().await.expect("the database answers");
        receipts::issue(&mut db, &self.network, hash, now()).await.expect("it is written");
        commit(db).await.expect("the database answers");
    }

    async fn revoke_above(&self, number: u64) {
        self.execute("DELETE FROM claims".to_owned()).await;
        let mut db = self.ledger.begin().await.expect("the database answers");
        receipts::revoke_above(&mut db, &self.network, number, now()).await.expect("it is written");
        commit(db).await.expect("the database answers");
    }

    async fn finalize(&self, number: u64) {
        let mut db = self.ledger.begin().await.expect("the database answers");
        receipts::finalize(&mut db, &self.network, number, now()).await.expect("it is written");
        commit(db).await.expect("the database answers");
    }

    /// Every receipt by the position of the transfer in its newest revision, with what it has said so far.
    async fn said(&self) -> Vec<(ReceiptId, Vec<Statement>)> {
        let ids = sqlx::query_scalar::<_, Uuid>("SELECT id FROM receipts ORDER BY index");
        let mut said = Vec::new();
        for id in ids.fetch_all(self.ledger.pool()).await.expect("the database answers") {
            let id = ReceiptId::from_uuid(id);
            let revisions = self.ledger.revisions_of(id).await.expect("they are whole");
            said.push((id, revisions.into_iter().map(|revision| revision.statement).collect()));
        }
        said
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).expect("a time")
}

fn words(statements: &[Statement]) -> Vec<&'static str> {
    statements.iter().map(|statement| statement.finality.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_transfers_have_a_receipt_each_and_keep_it_in_another_block() {
    let books = Books::open().await;
    books.block(10, "0x0a", "0x77", 1).await;
    for index in [1, 4, 6] {
        books.claim(10, "0x0a", index).await;
    }
    books.issue("0x0a").await;
    books.issue("0x0a").await;
    let first = books.said().await;
    assert_eq!(first.iter().map(|(_, said)| (said.len(), said[0].index)).collect::<Vec<_>>(), [(1, 1), (1, 4)]);

    books.revoke_above(9).await;
    books.block(11, "0x0b", "0x77", 20).await;
    books.claim(11, "0x0b", 23).await;
    books.claim(11, "0x0b", 20).await;
    books.issue("0x0b").await;

    let second = books.said().await;
    assert_eq!(second.iter().map(|(id, _)| id).collect::<Vec<_>>(), first.iter().map(|(id, _)| id).collect::<Vec<_>>());
    for ((_, said), index) in second.iter().zip([20, 23]) {
        assert_eq!(words(said), ["included", "revoked", "included"]);
        assert_eq!((said[2].index, said[2].block_hash.as_str(), said[2].revision), (index, "0x0b", 3));
        assert!(said.iter().all(|statement| statement.check().is_ok()), "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_takes_a_transfer_over_takes_its_receipt_over() {
    let books = Books::open().await;
    books.block(10, "0x0a", "0x77", 1).await;
    books.claim(10, "0x0a", 1).await;
    books.issue("0x0a").await;
    books.finalize(10).await;
    books.execute(format!("UPDATE claims SET payment_id = '{PAYMENT}', invoice_id = NULL, basis = NULL")).await;
    books.execute("UPDATE networks SET final_number = 10, safe_number = 10".to_owned()).await;

    books.issue("0x0a").await;

    let said = books.said().await;
    let [(id, said)] = said.as_slice() else { panic!("one receipt: {said:?}") };
    assert_eq!(words(said), ["included", "final", "revoked", "final"]);
    let purposes: Vec<_> = said.iter().map(|statement| statement.purpose.payment().is_some()).collect();
    assert_eq!((purposes, said[3].purpose.resource()), (vec![false, false, false, true], Some("https://shop.example/thing")));
    for pair in said.windows(2) {
        assert!(pair[1].finality.may_follow(Some(pair[0].finality)) && pair[1].supersedes(&pair[0]), "{pair:?}");
    }

    // Wherever the payment lands next, in whichever transaction, the receipt is the same.
    books.revoke_above(9).await;
    books.block(12, "0x0c", "0x78", 7).await;
    books.claim(12, "0x0c", 10).await;
    books
        .execute(format!("UPDATE claims SET payment_id = '{PAYMENT}', invoice_id = NULL, basis = NULL, transaction = '0x78'"))
        .await;
    books.issue("0x0c").await;
    let again = books.said().await;
    let [(same, said)] = again.as_slice() else { panic!("one receipt: {again:?}") };
    assert_eq!((same, said[5].transaction.as_str(), said[5].index), (id, "0x78", 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_final_when_it_is_claimed_is_stated_once_and_what_was_missed_is_caught_up_with() {
    let books = Books::open().await;
    books.block(5, "0x05", "0x75", 1).await;
    books.claim(5, "0x05", 1).await;
    books.issue("0x05").await;
    books.block(10, "0x0a", "0x77", 11).await;
    books.claim(10, "0x0a", 11).await;
    books.issue("0x0a").await;

    // The claim of block 10 was made while block 12 became final.
    books.finalize(12).await;
    books.finalize(13).await;

    let said: Vec<_> = books.said().await.into_iter().map(|(_, said)| said).collect();
    assert_eq!(said.iter().map(|said| words(said)).collect::<Vec<_>>(), [vec!["final"], vec!["included", "final"]]);
    // Only a person undoes what was final.
    books.revoke_above(4).await;
    let said: Vec<_> = books.said().await.into_iter().map(|(_, said)| said).collect();
    assert_eq!(
        said.iter().map(|said| words(said)).collect::<Vec<_>>(),
        [vec!["final", "revoked"], vec!["included", "final", "revoked"]]
    );
}
