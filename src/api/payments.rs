//! What became of payments, for those who asked for them and those who are paid.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::access::books_of;
use super::page::{OPERATORS, PAGE, cursor, next_cursor, page_size};
use super::problem::Problem;
use crate::domain::account::Caller;
use crate::domain::address::{Address, decode_hex};
use crate::domain::amount::Amount;
use crate::domain::block::{Heights, Level};
use crate::domain::event::EventKind;
use crate::domain::ids::{AccountId, InvoiceId, PaymentId, ReceiptId};
use crate::domain::network::{Family, Network};
use crate::domain::payment::{AuthorizationKey, Payment, State};
use crate::domain::reason::Reason;
use crate::domain::schema::{self, Transaction};
use crate::flow::Flows;
use crate::ledger::events::PastEvent;
use crate::ledger::payments::PaymentFilter;

/// A payment as its owner reads it. Never its signature.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Payment")]
pub struct PaymentView {
    #[schemars(with = "PaymentId")]
    pub(crate) id: String,
    #[schemars(with = "State")]
    pub(crate) state: &'static str,
    /// How deep the transfer stands, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finality: Option<Level>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Reason>")]
    pub(crate) reason: Option<&'static str>,
    #[schemars(with = "Network")]
    pub(crate) network: String,
    #[schemars(with = "Address")]
    pub(crate) asset: String,
    #[schemars(with = "Address")]
    pub(crate) payer: String,
    #[schemars(with = "Address")]
    pub(crate) pay_to: String,
    #[schemars(with = "Amount")]
    pub(crate) amount: String,
    /// The transaction that paid, that may pay, or that did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Transaction>")]
    pub(crate) transaction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) block_number: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Block>")]
    pub(crate) block_hash: Option<String>,
    /// The URL of what was paid for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<InvoiceId>")]
    pub(crate) invoice: Option<String>,
    #[schemars(range(min = 1, max = 2))]
    pub(crate) x402_version: u8,
    /// How deep the transfer must stand before success is answered.
    pub(crate) answer_at: Level,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
    /// When its success was handed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answered_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<ReceiptId>")]
    pub(crate) receipt: Option<String>,
    /// What has happened to it, oldest first. Lists do not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) events: Option<Vec<EventView>>,
}

/// Something that has happened to a payment.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PaymentEvent")]
pub struct EventView {
    #[serde(rename = "type")]
    #[schemars(with = "EventKind")]
    pub(crate) kind: String,
    pub(crate) at: DateTime<Utc>,
    /// The particulars, as in the event of this type.
    #[schemars(with = "Map<String, Value>")]
    pub(crate) data: Value,
}

impl From<PastEvent> for EventView {
    fn from(event: PastEvent) -> Self {
        Self { kind: event.kind, at: event.at, data: event.data }
    }
}

/// A page of payments.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PaymentPage")]
pub struct Page {
    pub(crate) payments: Vec<PaymentView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

fn view(payment: Payment, heights: Option<Heights>, now: DateTime<Utc>, events: Option<Vec<PastEvent>>) -> PaymentView {
    let heights = heights.unwrap_or(Heights { head: 0, safe: 0, finalized: 0 });
    let state = payment.state(heights, now);
    let transaction = payment.known_transaction();
    let claim = payment.claim;
    PaymentView {
        id: payment.id.to_string(),
        state: state.as_str(),
        finality: match &state {
            State::Included { level, .. } => Some(*level),
            _ => None,
        },
        reason: match &state {
            State::GivenUp { reason } => Some(reason.code_in(payment.version)),
            _ => None,
        },
        network: payment.network.to_string(),
        asset: payment.asset.to_string(),
        payer: payment.payer.to_string(),
        pay_to: payment.pay_to.to_string(),
        amount: payment.amount.to_string(),
        transaction,
        block_number: claim.as_ref().map(|claim| claim.block_number),
        block_hash: claim.map(|claim| claim.block_hash),
        resource: payment.resource,
        invoice: payment.invoice.map(|invoice| invoice.to_string()),
        x402_version: payment.version.number(),
        answer_at: payment.answer_at,
        created_at: payment.created_at,
        expires_at: payment.expires_at,
        answered_at: payment.handed_out.map(|handed_out| handed_out.at),
        receipt: None,
        events: events.map(|events| events.into_iter().map(EventView::from).collect()),
    }
}

/// A payment that no account asked for is read by whoever knows its name.
fn may_read(caller: &Caller, payment: &Payment) -> bool {
    payment.provider.is_none() || is_party(caller, payment)
}

fn is_party(caller: &Caller, payment: &Payment) -> bool {
    let of_account = |account| [payment.provider, payment.merchant].contains(&Some(account));
    caller.is_operator() || caller.account().is_some_and(of_account)
}

/// Shows a payment with what has happened to it.
///
/// # Errors
/// There is no such payment for this caller.
pub async fn show(flows: &Flows, caller: &Caller, id: &str) -> Result<PaymentView, Problem> {
    let id = id.parse().map_err(|_| Problem::NotFound)?;
    let payment = flows.ledger.find_payment(id).await?.filter(|payment| may_read(caller, payment));
    let payment = payment.ok_or(Problem::NotFound)?;
    let events = flows.ledger.events_of(id).await?;
    let receipt = flows.ledger.receipt_of_payment(id).await?.map(|receipt| receipt.to_string());
    let shown = present(flows, payment, Some(events)).await?;
    Ok(PaymentView { receipt, ..shown })
}

async fn present(flows: &Flows, payment: Payment, events: Option<Vec<PastEvent>>) -> Result<PaymentView, Problem> {
    let heights = flows.ledger.cursor(&payment.network).await?.map(|cursor| cursor.heights);
    Ok(view(payment, heights, flows.clock.now(), events))
}

/// Which payments are listed.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only those with this transaction.
    #[schemars(regex(pattern = "^[0-9A-Za-z]{1,128}$"))]
    pub(crate) transaction: Option<String>,
    /// Only the one of this authorization: `network:token:payer:nonce`, on Solana `network:0x` and the SHA-256 of the message.
    pub(crate) authorization: Option<String>,
    /// Only those for this invoice.
    #[schemars(with = "Option<InvoiceId>")]
    pub(crate) invoice: Option<String>,
    /// Only those in this state.
    #[schemars(with = "Option<State>")]
    pub(crate) state: Option<String>,
    /// How many at most.
    #[schemars(range(min = 1, max = PAGE))]
    pub(crate) limit: Option<u32>,
    /// `nextCursor` of the page before.
    pub(crate) cursor: Option<String>,
}

/// Lists payments: those of an account, or to an operator all.
///
/// # Errors
/// Nobody in particular has none, or a parameter is none.
pub async fn list(flows: &Flows, caller: &Caller, query: ListQuery) -> Result<Page, Problem> {
    let account = books_of(*caller)?;
    if let Some(authorization) = &query.authorization {
        let (network, key) = parse_authorization(authorization)?;
        return find_by_authorization(flows, caller, &network, &key).await;
    }
    if query.transaction.as_deref().is_some_and(|transaction| !is_transaction(transaction)) {
        return Err(Problem::BadParameter("transaction is an id as the network prints it".to_owned()));
    }
    let limit = page_size(query.limit)?;
    if query.state.as_deref().is_some_and(|state| !State::WORDS.contains(&state)) {
        return Err(Problem::BadParameter(format!("state is one of {}", State::WORDS.join(", "))));
    }
    let bad_invoice = |_| Problem::BadParameter("invoice is the name of an invoice".to_owned());
    let invoice = query.invoice.map(|invoice| invoice.parse()).transpose().map_err(bad_invoice)?;
    let before = cursor(&owner_of(account), query.cursor.as_deref())?;
    let filter = PaymentFilter { account, invoice, transaction: query.transaction, state: query.state, before, limit };
    list_page(flows, &filter).await
}

/// Whether a text can be the id of a transaction on any network: hexadecimal or base58 digits.
fn is_transaction(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whose list it is: an account's, or every operator's.
fn owner_of(account: Option<AccountId>) -> String {
    account.map_or_else(|| OPERATORS.to_owned(), |account| account.to_string())
}

async fn list_page(flows: &Flows, filter: &PaymentFilter) -> Result<Page, Problem> {
    let found = flows.ledger.list_payments(filter).await?;
    let next_cursor = next_cursor(&owner_of(filter.account), &found, filter.limit, |payment| payment.id);
    let mut payments = Vec::with_capacity(found.len());
    for payment in found {
        payments.push(present(flows, payment, None).await?);
    }
    Ok(Page { payments, next_cursor })
}

async fn find_by_authorization(
    flows: &Flows,
    caller: &Caller,
    network: &Network,
    key: &AuthorizationKey,
) -> Result<Page, Problem> {
    // Unlike the name of a payment, an authorization stands on the chain for everybody.
    let payment = flows.ledger.find_holder(network, key).await?.filter(|payment| is_party(caller, payment));
    let payments = match payment {
        Some(payment) => vec![present(flows, payment, None).await?],
        None => Vec::new(),
    };
    Ok(Page { payments, next_cursor: None })
}

/// Reads `network:token:payer:nonce`, or on Solana `network:message`, where the message is named by its SHA-256. The network has a
/// colon of its own.
fn parse_authorization(text: &str) -> Result<(Network, AuthorizationKey), Problem> {
    let malformed = || {
        Problem::BadParameter(
            "authorization is network:token:payer:nonce, or network:0x and the SHA-256 of a Solana message".to_owned(),
        )
    };
    let (end, _) = text.match_indices(':').nth(1).ok_or_else(malformed)?;
    let network: Network = text[..end].parse().map_err(|_| malformed())?;
    let parts: Vec<_> = text[end + 1..].split(':').collect();
    let word = |text: &str| text.strip_prefix("0x").and_then(decode_hex::<32>).ok_or_else(malformed);
    let address = |text: &str| Address::parse(network.family(), text).map_err(|_| malformed());
    let key = match (network.family(), parts.as_slice()) {
        (Family::Eip155, [token, payer, nonce]) => {
            [address(token)?.as_bytes(), address(payer)?.as_bytes(), &word(nonce)?].concat()
        }
        (Family::Solana, [message]) => word(message)?.to_vec(),
        _ => return Err(malformed()),
    };
    Ok((network, AuthorizationKey(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authorization_is_named_by_what_the_chain_sees() {
        let (token, payer, nonce) =
            (format!("0x{}", "11".repeat(20)), format!("0x{}", "22".repeat(20)), format!("0x{}", "33".repeat(32)));
        let (network, key) = parse_authorization(&format!("eip155:84532:{token}:{payer}:{nonce}")).unwrap();

        assert_eq!(network.as_str(), "eip155:84532");
        assert_eq!(key.0, [vec![0x11; 20], vec![0x22; 20], vec![0x33; 32]].concat());
        for text in ["", "eip155:84532", &format!("84532:{token}:{payer}:{nonce}"), &format!("eip155:1:{token}:{payer}:0x33")] {
            assert!(parse_authorization(text).is_err(), "{text}");
        }
    }

    #[test]
    fn on_solana_the_message_is_the_authorization() {
        let cluster = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
        let (network, key) = parse_authorization(&format!("{cluster}:0x{}", "44".repeat(32))).unwrap();

        assert_eq!((network.as_str(), key.0), (cluster, vec![0x44; 32]));
        for text in [cluster, &format!("{cluster}:0x44"), &format!("{cluster}:a:b:0x{}", "44".repeat(32))] {
            assert!(parse_authorization(text).is_err(), "{text}");
        }
    }
}
