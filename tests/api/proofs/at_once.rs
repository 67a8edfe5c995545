//! Everybody who can say what a transfer is for says so in the same moment, to two replicas.

use futures_util::future::join_all;
use quittance::ledger::Ledger;
use serde_json::{Value, json};

use super::{AMOUNT, Shop, is_duplicate, network, post, presented, terms, text, told};
use crate::queue::until_waiting;
use crate::support::chain::{Chain, ChainOptions};
use crate::support::database;
use crate::support::facilitator::{Facilitator, replicas};
use crate::support::merchant::sign;
use crate::support::payer::{Payer, transfer_call};
use crate::support::receipts::Keys;

const URL: &str = "https://pay.example.org";

/// By whose word, and in which way, a transfer gets to an invoice.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Word {
    /// The merchant's resource server, at `/settle`.
    Server,
    /// The payer, at the invoice's page.
    Payer,
    /// The merchant, who assigns it.
    Merchant,
}

const WORDS: [Word; 3] = [Word::Server, Word::Payer, Word::Merchant];

/// What is said: by whom, for which of two invoices, and to which replica.
type Said = (Word, usize, usize);

/// A transfer that could be for either of two invoices.
struct Case<'a> {
    shop: &'a Shop<'a>,
    payer: &'a Payer,
    replicas: [&'a Facilitator; 2],
    invoices: [Value; 2],
    transaction: String,
    transfer: String,
}

impl Case<'_> {
    /// Says something; status and answer.
    async fn say(&self, (word, invoice, replica): Said) -> (u16, Value) {
        let (invoice, replica) = (&self.invoices[invoice], self.replicas[replica]);
        let name = invoice["id"].as_str().expect("a name");
        match word {
            Word::Server => {
                let body = presented(&terms(invoice), &self.transaction, None);
                post(replica, "/settle", &body, Some(&self.shop.key), None).await
            }
            Word::Payer => {
                let signature = sign(self.payer, &text(URL, &self.shop.chain.network(), invoice, &self.transaction));
                let body = json!({"transaction": self.transaction, "signature": signature});
                post(replica, &format!("/i/{name}/proof"), &body, None, None).await
            }
            Word::Merchant => {
                let path = format!("/v1/transfers/{}/assign", self.transfer);
                post(replica, &path, &json!({"invoice": name}), Some(self.shop.merchant.key()), None).await
            }
        }
    }

    /// Whether what was said was taken; otherwise it must be said why it was not.
    fn is_taken(&self, (word, ..): Said, answer: &(u16, Value)) -> bool {
        let (status, answer) = answer;
        let lost = match word {
            Word::Server => is_duplicate(answer, &self.transaction),
            Word::Payer => (*status, &answer["code"]) == (409, &json!("duplicate_settlement")),
            Word::Merchant => (*status, &answer["code"]) == (409, &json!("transfer_not_free")),
        };
        let taken = *status == 200 && (word != Word::Server || answer["success"] == true);
        assert!(taken != lost, "{word:?}: {status} {answer}");
        taken
    }
}

/// Has everything be said for both invoices to both replicas at once, with `first` in front: all of them wait for the network's row,
/// which we hold until they do.
async fn race(ledger: &Ledger, case: &Case<'_>, first: Said) -> Vec<(Said, bool)> {
    let all = WORDS.into_iter().flat_map(|word| [(word, 0, 0), (word, 1, 1), (word, 1, 0), (word, 0, 1)]);
    let others: Vec<Said> = all.filter(|said| *said != first).collect();
    let mut held = ledger.pool().begin().await.expect("the database answers");
    sqlx::query("SELECT FROM networks FOR UPDATE").execute(&mut *held).await.expect("it is there");
    let behind = async {
        until_waiting(ledger, 1).await;
        let release = async {
            // Of those who prove something one comes so far in each process, and each of the four assignments.
            until_waiting(ledger, 6).await;
            held.commit().await.expect("the database answers");
        };
        tokio::join!(join_all(others.iter().map(|said| case.say(*said))), release).0
    };
    let (answer, answers) = tokio::join!(case.say(first), behind);
    let said = [first].into_iter().chain(others).zip([answer].into_iter().chain(answers));
    said.map(|(said, answer)| (said, case.is_taken(said, &answer))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_all_who_say_at_once_what_a_transfer_is_for_the_first_is_right_and_one_is_told() {
    let chain = Chain::start(ChainOptions { block_time: 0.25, ..ChainOptions::default() }).await;
    let (url, keys) = (database::fresh().await, Keys::generate().await);
    let mut options = keys.options(network(&chain), &url);
    options.server.insert_str(0, &format!("public_url = {URL:?}\n"));
    let replicas = replicas(2, &options).await;
    let (shop, payer) = (Shop::open(&chain, &replicas[0], &chain.payers[0]).await, &chain.payers[1]);
    let ledger = database::ledger(&url).await;
    // No block is taken in while the network's row is held, so that whoever waits for it is one of ours.
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    for first in [0, 1].into_iter().flat_map(|replica| WORDS.map(|word| (word, 0, replica))) {
        let invoices = [shop.invoice().await, shop.invoice().await];
        let call = transfer_call(&shop.address, AMOUNT.1);
        let transaction = chain.send_as(&payer.address(), &chain.usdc(), &call, 1_000_000).await;
        chain.mine(1).await;
        let transfer = shop.merchant.until_transfer(&transaction).await["id"].as_str().expect("a name").to_owned();
        let case = Case { shop: &shop, payer, replicas: [&replicas[0], &replicas[1]], invoices, transaction, transfer };

        let said = race(&ledger, &case, first).await;

        let taken: Vec<_> = said.iter().filter(|(_, is_taken)| *is_taken).map(|(said, _)| *said).collect();
        let by = |word| taken.iter().filter(|(taken, ..)| *taken == word).count();
        assert!(taken.contains(&first) && taken.iter().all(|(_, invoice, _)| *invoice == 0), "{first:?} was first: {taken:?}");
        // A payer is told as often as it asks, and whoever was told first is the only one.
        assert_eq!(by(Word::Server) + by(Word::Payer).min(1), 1, "{first:?} was first: {taken:?}");
        assert!(by(Word::Merchant) == usize::from(first.0 == Word::Merchant), "{first:?} was first: {taken:?}");
        let [paid, open] = [shop.merchant.show(&case.invoices[0]).await, shop.merchant.show(&case.invoices[1]).await];
        assert_eq!((&paid["status"], &open["status"]), (&json!("paid"), &json!("open")), "{first:?} was first");
        let count = async |query: &'static str| {
            let count = sqlx::query_scalar::<_, i64>(query).bind(&case.transaction);
            count.fetch_one(ledger.pool()).await.expect("the database answers")
        };
        assert_eq!(count("SELECT count(*) FROM claims WHERE transaction = $1").await, 1);
        assert_eq!(count("SELECT sum(revision) FROM receipts WHERE transaction = $1").await, 1, "one receipt says it once");
        assert_eq!(paid["receipts"].as_array().map(Vec::len), Some(1), "{paid}");
        let paid = [told(&url, &case.invoices[0], "invoice.paid").await, told(&url, &case.invoices[1], "invoice.paid").await];
        assert_eq!(paid, [1, 0], "{first:?} was first");
    }
}
