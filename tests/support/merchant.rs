//! A merchant who registers addresses and opens invoices, and wallets that pay without asking anybody.

use std::time::Duration;

use alloy::signers::SignerSync;
use quittance::domain::ids::InvoiceId;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::chain::Chain;
use super::cli::{Account, open_account};
use super::facilitator::Facilitator;
use super::payer::{Payer, transfer_call};
use super::{contract, database, eventually};

/// How long something may take that needs a block or two.
const PATIENCE: Duration = Duration::from_secs(30);

/// An account with a merchant's key.
pub struct Merchant<'a> {
    facilitator: &'a Facilitator,
    account: Account,
}

impl<'a> Merchant<'a> {
    /// Opens the account.
    pub async fn open(facilitator: &'a Facilitator) -> Self {
        Self { facilitator, account: open_account(facilitator, "merchant").await }
    }

    /// An account that was opened before, after the service was started again.
    pub fn again(facilitator: &'a Facilitator, account: Account) -> Self {
        Self { facilitator, account }
    }

    /// The account, which outlives the process that it was opened in.
    pub fn into_account(self) -> Account {
        self.account
    }

    /// The account's identifier.
    pub fn id(&self) -> &str {
        &self.account.id
    }

    /// The key.
    pub fn key(&self) -> &str {
        &self.account.key
    }

    /// Sends a request and returns status and answer.
    pub async fn send(&self, method: &str, path: &str, body: Option<&Value>, idempotency: Option<&str>) -> (u16, Value) {
        let url = format!("{}{path}", self.facilitator.url);
        let verb = method.parse().expect("a method");
        let mut request = self.facilitator.client().request(verb, url).bearer_auth(&self.account.key);
        if let Some(body) = body {
            request = request.json(body);
        }
        if let Some(key) = idempotency {
            request = request.header("idempotency-key", key);
        }
        contract::read(method, request.send().await.expect("an answer")).await.expect("JSON")
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        self.send("GET", path, None, None).await
    }

    /// Changes something.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send("POST", path, Some(body), None).await
    }

    /// Registers the address of somebody who can sign, and returns our name for it.
    pub async fn register(&self, network: &str, owner: &Payer) -> String {
        self.register_signed(network, &owner.address(), |challenge| sign(owner, challenge)).await
    }

    /// The same for an address whose owner signs in another way.
    pub async fn register_signed(&self, network: &str, owner: &str, sign: impl Fn(&str) -> String) -> String {
        let (status, address) = self.post("/v1/addresses", &json!({"network": network, "address": owner})).await;
        assert_eq!(status, 201, "{address}");
        let id = address["id"].as_str().expect("a name").to_owned();
        let signature = sign(address["challenge"].as_str().expect("a challenge"));
        let (status, proven) = self.post(&format!("/v1/addresses/{id}/proof"), &json!({"signature": signature})).await;
        assert_eq!((status, &proven["status"]), (200, &json!("active")), "{proven}");
        id
    }

    /// Opens an invoice.
    pub async fn invoice(&self, order: &Value) -> Value {
        let (status, invoice) = self.post("/v1/invoices", order).await;
        assert_eq!(status, 201, "{invoice}");
        invoice
    }

    /// An invoice as it stands now.
    pub async fn show(&self, invoice: &Value) -> Value {
        let (status, shown) = self.get(&format!("/v1/invoices/{}", invoice["id"].as_str().expect("a name"))).await;
        assert_eq!(status, 200, "{shown}");
        shown
    }

    /// Waits until an invoice stands somewhere.
    pub async fn until(&self, invoice: &Value, status: &str) -> Value {
        let what = format!("{} {status}", invoice["id"]);
        eventually(&what, PATIENCE, || async {
            let shown = self.show(invoice).await;
            (shown["status"] == status).then_some(shown)
        })
        .await
    }

    /// Every transfer that has been observed, newest first.
    pub async fn transfers(&self) -> Vec<Value> {
        let (mut all, mut path) = (Vec::new(), "/v1/transfers?limit=100".to_owned());
        loop {
            let (status, page) = self.get(&path).await;
            assert_eq!(status, 200, "{page}");
            all.extend(page["transfers"].as_array().expect("transfers").iter().cloned());
            match page["nextCursor"].as_str() {
                Some(cursor) => path = format!("/v1/transfers?limit=100&cursor={cursor}"),
                None => return all,
            }
        }
    }

    /// Waits until a transfer has been observed, and returns it.
    pub async fn until_transfer(&self, transaction: &str) -> Value {
        eventually("a transfer", PATIENCE, || async {
            let (_, page) = self.get("/v1/transfers").await;
            page["transfers"].as_array()?.iter().find(|transfer| transfer["transaction"] == transaction).cloned()
        })
        .await
    }
}

/// What a wallet makes of a text (EIP-191).
pub fn sign(owner: &Payer, text: &str) -> String {
    let signature = owner.signer().sign_message_sync(text.as_bytes()).expect("the key signs");
    alloy::hex::encode_prefixed(signature.as_bytes())
}

/// A wallet sends USDC to somebody, and returns the transaction.
pub async fn pay(chain: &Chain, from: &Payer, to: &str, units: u128) -> String {
    let transaction = chain.send_as(&from.address(), &chain.usdc(), &transfer_call(to, units), 1_000_000).await;
    assert_eq!(chain.receipt(&transaction).await["status"], "0x1", "the transfer went through");
    transaction
}

/// The kinds of events that an account was told of an invoice, in order.
pub async fn told(url: &SecretString, invoice: &Value) -> Vec<String> {
    let id: InvoiceId = invoice["id"].as_str().expect("a name").parse().expect("an identifier");
    let kinds = sqlx::query_scalar::<_, String>("SELECT kind FROM events WHERE invoice_id = $1 ORDER BY id").bind(id.uuid());
    kinds.fetch_all(database::ledger(url).await.pool()).await.expect("the database answers")
}
