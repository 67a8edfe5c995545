//! Exports: the same as the lists tell, in lines that a spreadsheet takes for nothing else.

use std::collections::BTreeMap;

use quittance::domain::ids::{AccountId, InvoiceId, PaymentId, TransferId};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::support::chain::{Chain, ChainOptions};
use crate::support::cli::{Account, open_account};
use crate::support::database;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay};
use crate::support::payer::Terms;

async fn start() -> (Chain, Facilitator) {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    // Nothing becomes final between one question and the next.
    let network = NetworkOptions { lines: "final = 10000\n".to_owned(), ..NetworkOptions::of(&chain) };
    let facilitator = Facilitator::start(&Options::new(network, &database::fresh().await)).await;
    (chain, facilitator)
}

/// Rows by their first cell, each by the names of its columns.
type Rows = BTreeMap<String, BTreeMap<String, String>>;

/// Reads CSV as RFC 4180 says.
fn parse(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => cell.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {
                assert_eq!(letters.next(), Some('\n'), "a line ends with both");
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            letter => cell.push(letter),
        }
    }
    assert!(cell.is_empty() && row.is_empty() && !quoted, "the last line ends like the others");
    rows
}

async fn ask(facilitator: &Facilitator, key: Option<&str>, path: &str) -> reqwest::Response {
    let mut request = facilitator.client().get(format!("{}/v1/export/{path}", facilitator.url));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    request.send().await.expect("an answer")
}

/// The names of columns and the rows below them, in their order.
async fn lines(facilitator: &Facilitator, key: &str, path: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let answer = ask(facilitator, Some(key), path).await;
    assert_eq!(answer.status().as_u16(), 200, "{path}");
    assert!(answer.headers()["content-type"].to_str().is_ok_and(|media| media.starts_with("text/csv")), "{answer:?}");
    let mut rows = parse(&answer.text().await.expect("text"));
    (rows.remove(0), rows)
}

async fn export(facilitator: &Facilitator, key: &str, path: &str) -> Rows {
    let (names, rows) = lines(facilitator, key, path).await;
    let row = |cells: Vec<String>| -> (String, BTreeMap<String, String>) {
        assert_eq!(cells.len(), names.len(), "{cells:?}");
        (cells[0].clone(), names.iter().cloned().zip(cells).collect())
    };
    rows.into_iter().map(row).collect()
}

/// Compares members of a list with the columns of the same names.
fn assert_same(list: &Value, rows: &Rows, members: &[(&str, &str)]) {
    let list = list.as_array().expect("a list");
    assert_eq!(list.len(), rows.len(), "{rows:?}");
    for thing in list {
        let row = &rows[thing["id"].as_str().expect("a name")];
        for (member, column) in members {
            let told = match &thing[*member] {
                Value::String(text) => text.clone(),
                Value::Null => String::new(),
                other => other.to_string(),
            };
            assert_eq!(row[*column], told, "{member}: {thing}");
        }
    }
}

async fn settle(facilitator: &Facilitator, account: &Account, body: &Value) {
    let request = facilitator.client().post(format!("{}/settle", facilitator.url)).bearer_auth(&account.key).json(body);
    let answer: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(answer["success"], true, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn invoices_and_transfers_are_exported_as_they_are_listed() {
    let (chain, facilitator) = start().await;
    let (merchant, rival) = (Merchant::open(&facilitator).await, Merchant::open(&facilitator).await);
    merchant.register(&chain.network(), &chain.payers[0]).await;
    let formula = "=cmd|' /C calc'!A0";
    for (amount, reference, description) in
        [("0.25", "order 7", formula), ("1", "-5", "a \"good\" one, really"), ("2.5", "@home", "plain")]
    {
        merchant
            .invoice(&json!({"amount": amount, "reference": reference, "description": description, "matchAmount": true}))
            .await;
    }
    for (payer, units) in [(1, 250_000), (2, 7_000), (3, 1_000_000)] {
        let transaction = pay(&chain, &chain.payers[payer], &chain.payers[0].address(), units).await;
        merchant.until_transfer(&transaction).await;
    }

    let rows = export(&facilitator, merchant.key(), "invoices.csv").await;
    let (_, page) = merchant.get("/v1/invoices").await;
    let same =
        ["id", "status", "amount", "amountAtomic", "decimals", "asset", "amountPaid", "amountDue", "amountSurplus", "createdAt"];
    assert_same(&page["invoices"], &rows, &same.map(|name| (name, name)));
    let told: Vec<_> = rows.values().map(|row| (row["reference"].as_str(), row["description"].as_str())).collect();
    let guarded = format!("'{formula}");
    assert_eq!(told, [("order 7", guarded.as_str()), ("-5", "a \"good\" one, really"), ("'@home", "plain")]);
    let paid: Vec<_> = rows.values().map(|row| row["amountPaidAtomic"].as_str()).collect();
    assert_eq!(paid, ["250000", "1000000", "0"]);

    let rows = export(&facilitator, merchant.key(), "transfers.csv").await;
    let (_, page) = merchant.get("/v1/transfers").await;
    let same = [
        "id",
        "network",
        "transaction",
        "index",
        "blockNumber",
        "blockHash",
        "happenedAt",
        "asset",
        "from",
        "to",
        "invoice",
        "basis",
    ];
    let mut members = same.map(|name| (name, name)).to_vec();
    members.push(("amount", "amountAtomic"));
    assert_same(&page["transfers"], &rows, &members);
    let human: Vec<_> = rows.values().map(|row| (row["amount"].as_str(), row["symbol"].as_str())).collect();
    assert_eq!(human, [("0.25", "USDC"), ("0.007", "USDC"), ("1", "USDC")]);
    assert!(rows.values().all(|row| row["account"] == merchant.id()));

    // A span holds what happened in it, with its beginning and without its end.
    let second = page["transfers"][1]["happenedAt"].as_str().expect("a time");
    let from_second = export(&facilitator, merchant.key(), &format!("transfers.csv?from={second}")).await;
    let until_second = export(&facilitator, merchant.key(), &format!("transfers.csv?to={second}")).await;
    let id = page["transfers"][1]["id"].as_str().expect("a name");
    assert!(from_second.contains_key(id) && !until_second.contains_key(id));
    assert_eq!(from_second.len() + until_second.len(), 3);
    for path in ["invoices.csv?from=2101-01-01", "invoices.csv?to=2001-01-01T00:00:00Z", "transfers.csv?from=2101-01-01"] {
        assert!(export(&facilitator, merchant.key(), path).await.is_empty(), "{path}");
    }

    // Nothing of it is another account's, and the operator has all of it.
    for path in ["invoices.csv", "transfers.csv", "payments.csv"] {
        assert!(export(&facilitator, rival.key(), path).await.is_empty(), "{path}");
        assert_eq!(ask(&facilitator, None, path).await.status().as_u16(), 401, "{path}");
        for query in ["?from=yesterday", "?to=2026-13-01", "?limit=1"] {
            let refused = ask(&facilitator, Some(merchant.key()), &format!("{path}{query}")).await;
            assert_eq!(refused.status().as_u16(), 400, "{path}{query}");
        }
    }
    let operator = open_account(&facilitator, "operator").await.key;
    assert_eq!(export(&facilitator, &operator, "invoices.csv").await.len(), 3);
    assert_eq!(export(&facilitator, &operator, "transfers.csv").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_are_exported_as_they_are_listed() {
    let (chain, facilitator) = start().await;
    let (ours, theirs) = (open_account(&facilitator, "provider").await, open_account(&facilitator, "provider").await);
    let terms = Terms::to(&chain.text("/accounts/merchant/address"));
    for payer in 0..3 {
        settle(&facilitator, &ours, &chain.payers[payer].authorize(&terms).v2()).await;
    }
    settle(&facilitator, &theirs, &chain.payers[3].authorize(&terms).v2()).await;

    let rows = export(&facilitator, &ours.key, "payments.csv").await;
    let request = facilitator.client().get(format!("{}/v1/payments", facilitator.url)).bearer_auth(&ours.key);
    let page: Value = request.send().await.expect("an answer").json().await.expect("JSON");
    let same = [
        "id",
        "network",
        "asset",
        "payer",
        "payTo",
        "transaction",
        "blockNumber",
        "blockHash",
        "resource",
        "x402Version",
        "createdAt",
        "expiresAt",
        "answeredAt",
    ];
    let mut members = same.map(|name| (name, name)).to_vec();
    members.push(("amount", "amountAtomic"));
    assert_same(&page["payments"], &rows, &members);

    let operator = open_account(&facilitator, "operator").await.key;
    let all = export(&facilitator, &operator, "payments.csv").await;
    assert_eq!((all.len(), all.values().filter(|row| row["account"] == ours.id).count()), (4, 3));
    for row in all.values() {
        assert_eq!((row["amount"].as_str(), row["symbol"].as_str(), row["state"].as_str()), ("0.01", "USDC", "included"));
    }
}

/// Fills the tables that are exported, in no order, with rows that are named by their numbers. Of the first 2,000 every second one is
/// the second account's, and all others are the first one's.
async fn fill(url: &secrecy::SecretString, [first, second]: [&str; 2]) {
    let uuid = |account: &str| account.parse::<AccountId>().expect("an identifier").uuid();
    let (first, second) = (uuid(first), uuid(second));
    let rows = format!(
        "CREATE TEMPORARY TABLE rows AS
         SELECT n, lpad(to_hex(n), 32, '0')::uuid AS id, sha256(n::text::bytea) AS hash, 'eip155:1' AS network,
                '0x0000000000000000000000000000000000000005' AS address, now() AS now, now() + interval '1 hour' AS later,
                CASE WHEN n <= 2000 AND n % 2 = 0 THEN '{second}' ELSE '{first}' END::uuid AS account
         FROM generate_series(1, 2203) AS n ORDER BY md5(n::text);

         INSERT INTO payments (id, network, key, fingerprint, x402_version, asset, payer, pay_to, amount, payload, expires_at,
                               created_at, answer_by, answer_at, alone, accepted_block, checked_block, payer_code, gas, provider_id)
         SELECT id, network, hash, hash, 2, address, address, address, n, '{{}}', later, now, later, 'included', false, 1, 1, '', 1, account
         FROM rows;

         INSERT INTO transfers (network, block_hash, index, block_number, happened_at, transaction, asset, sender, recipient, amount,
                                canonical, account_id, id)
         SELECT network, 'a block', n, 1, now, 'a transaction', address, address, address, n, true, account, id FROM rows;

         INSERT INTO invoices (id, account_id, reference, amount, tolerance, decimals, symbol, by_amount, answer_at, created_at,
                               expires_at, closes_at, metadata, told_status, told_paid, told_pending, told_due, told_surplus, told_late)
         SELECT id, account, hash, n, 0, 6, 'USDC', false, 'included', now, later, later, '{{}}', 'open', 0, 0, n, 0, 0 FROM rows;"
    );
    sqlx::raw_sql(AssertSqlSafe(rows)).execute(database::ledger(url).await.pool()).await.expect("they fit");
}

/// Our name for a row.
type Name = fn(Uuid) -> String;

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_exported_once_and_in_order_however_many_there_are() {
    let chain = Chain::start(ChainOptions::default()).await;
    let url = database::fresh().await;
    // Nobody does anything about what stands in the ledger.
    let options = Options { roles: Some("api".to_owned()), ..Options::new(NetworkOptions::of(&chain), &url) };
    let facilitator = Facilitator::start(&options).await;
    let (first, second) = (open_account(&facilitator, "merchant").await, open_account(&facilitator, "merchant").await);
    let operator = open_account(&facilitator, "operator").await;
    fill(&url, [&first.id, &second.id]).await;

    let tables: [(&str, Name); 3] = [
        ("payments.csv", |id| PaymentId::from_uuid(id).to_string()),
        ("transfers.csv", |id| TransferId::from_uuid(id).to_string()),
        ("invoices.csv", |id| InvoiceId::from_uuid(id).to_string()),
    ];
    // Rows are read by 500: the second account's fill two pages to the brim, and the others' last page is not full.
    let is_seconds = |number: &u128| *number <= 2_000 && number.is_multiple_of(2);
    let all = || 1..=2_203_u128;
    let wanted: [(&str, Vec<u128>); 3] = [
        (&first.key, all().filter(|number| !is_seconds(number)).collect()),
        (&second.key, all().filter(is_seconds).collect()),
        (&operator.key, all().collect()),
    ];
    assert_eq!(wanted.each_ref().map(|(_, numbers)| numbers.len()), [1_203, 1_000, 2_203]);
    for (path, name) in tables {
        for (key, numbers) in &wanted {
            let (names, rows) = lines(&facilitator, key, path).await;
            let amounts = names.iter().position(|name| name == "amountAtomic").expect("a column");
            let told: Vec<_> = rows.iter().map(|row| (row[0].clone(), row[amounts].clone())).collect();
            let expected: Vec<_> = numbers.iter().map(|number| (name(Uuid::from_u128(*number)), number.to_string())).collect();
            assert!(told == expected, "{path}: {} rows instead of {}, or others", told.len(), expected.len());
        }
    }
}
