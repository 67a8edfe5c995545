//! What a merchant expects to be paid, with everything that payers of each kind need.

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::code::Code;
use super::page::{PAGE, cursor, next_cursor, page_size};
use super::problem::Problem;
use super::reply::{Begun, Change, Reply, begin, end};
use super::status::Status;
use super::transfers::TransferView;
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::asset::AssetKind;
use crate::domain::block::Level;
use crate::domain::ids::{AccountId, AddressId, InvoiceId};
use crate::domain::invoice::{self, PaymentOption};
use crate::domain::network::{Family, Network};
use crate::domain::payment::SCHEME_EXACT;
use crate::domain::schema::Decimal;
use crate::flow::Flows;
use crate::flow::availability::FeePayers;
use crate::flow::invoice::{ChangeError, Order, OrderError};
use crate::flow::receipt::ReceiptLine;
use crate::ledger::invoices::{Invoice, InvoiceFilter};
use crate::ledger::transfers::{OwnTransfer, TransferFilter};
use crate::x402::links::{Links, Offer};

/// The token, unless an order names another one.
const USUAL_TOKEN: &str = "USDC";

/// How long an invoice is open, unless an order says something else.
const USUAL_EXPIRY: i64 = 3_600;

/// How long after its expiry a transfer still pays, unless an order says something else: a block may take a while to come.
const USUAL_GRACE: i64 = 600;

/// How long texts may be.
const DESCRIPTION_CHARS_MAX: usize = 500;
const REFERENCE_CHARS_MAX: usize = 128;
const URL_CHARS_MAX: usize = 2_048;
const METADATA_BYTES_MAX: usize = 4_096;

/// How many networks or addresses an order may name. Each is an option of its invoice.
const PLACES_MAX: usize = 32;

/// Seconds after which a payer of a 402 answer may look again.
const LOOK_AGAIN_SECONDS: u64 = 5;

/// What an invoice is opened with.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "InvoiceOrder")]
pub struct OrderBody {
    /// What is owed, in whole tokens.
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?$"), example = &"0.25")]
    amount: String,
    /// The symbol of the token.
    #[schemars(length(min = 1, max = 32))]
    asset: Option<String>,
    /// Where it can be paid. Every network with an address of the account, if none is named.
    #[serde(default)]
    #[schemars(with = "Vec<Network>")]
    #[schemars(length(max = PLACES_MAX))]
    networks: Vec<String>,
    /// At which of the account's addresses. One on each network, if none is named.
    #[serde(default)]
    #[schemars(with = "Vec<AddressId>")]
    #[schemars(length(max = PLACES_MAX))]
    addresses: Vec<String>,
    /// Keeps the addresses for this invoice alone, so that whatever reaches them in time is for it.
    #[serde(default)]
    reserve_address: bool,
    /// Who is expected to pay: a transfer of exactly the amount from there pays the invoice.
    #[schemars(with = "Option<Address>")]
    payer: Option<String>,
    /// A transfer of exactly the amount pays the invoice, if no other open one at the address asks for as much.
    #[serde(default)]
    match_amount: bool,
    /// Seconds until it expires; an hour, if nothing is said.
    #[schemars(range(min = 5))]
    expires_in: Option<i64>,
    /// The same as a time; only one of the two.
    expires_at: Option<DateTime<Utc>>,
    /// For how many seconds after that a transfer still pays; 600, if nothing is said.
    #[schemars(range(min = 0, max = 2_592_000))]
    grace: Option<i64>,
    /// By how much the payments may fall short.
    #[schemars(regex(pattern = r"^[0-9]+(\.[0-9]+)?$"), example = &"0.01")]
    tolerance: Option<String>,
    /// How deep a transfer must stand to count, at least.
    answer_at: Option<Level>,
    /// The URL of what is bought.
    #[schemars(length(min = 1, max = URL_CHARS_MAX))]
    resource: Option<String>,
    /// What is bought, for people.
    #[schemars(length(min = 1, max = DESCRIPTION_CHARS_MAX))]
    description: Option<String>,
    /// The merchant's own name for it. Invoices may share one.
    #[schemars(length(min = 1, max = REFERENCE_CHARS_MAX))]
    reference: Option<String>,
    /// What the merchant wants to find again: at most 4,096 bytes of JSON.
    metadata: Option<Map<String, Value>>,
}

fn unprocessable(detail: &str) -> Problem {
    Problem::Refused(Code::InvalidInvoice, detail.to_owned())
}

impl OrderBody {
    fn into_order(self, now: DateTime<Utc>) -> Result<Order, Problem> {
        for (named, what) in [(&self.networks, "networks"), (&self.addresses, "addresses")] {
            if named.len() > PLACES_MAX {
                return Err(unprocessable(&format!("{what}: at most {PLACES_MAX}")));
            }
        }
        let network = |text: &String| text.parse::<Network>().map_err(|_| unprocessable("networks: not CAIP-2 identifiers"));
        let address = |text: &String| text.parse().map_err(|_| unprocessable("addresses: not identifiers of addresses"));
        let expires_at = match (self.expires_at, self.expires_in) {
            (Some(_), Some(_)) => return Err(unprocessable("expiresAt and expiresIn cannot both be given")),
            (Some(at), None) => at,
            (None, seconds) => after(now, seconds.unwrap_or(USUAL_EXPIRY)).ok_or_else(|| unprocessable("expiresIn: too long"))?,
        };
        let grace = TimeDelta::try_seconds(self.grace.unwrap_or(USUAL_GRACE)).ok_or_else(|| unprocessable("grace: too long"))?;
        let metadata = Value::Object(self.metadata.unwrap_or_default());
        if metadata.to_string().len() > METADATA_BYTES_MAX {
            return Err(unprocessable("metadata: at most 4,096 bytes of JSON"));
        }
        Ok(Order {
            amount: self.amount,
            symbol: plain(self.asset, 32, "asset")?.unwrap_or_else(|| USUAL_TOKEN.to_owned()),
            networks: self.networks.iter().map(network).collect::<Result<_, _>>()?,
            addresses: self.addresses.iter().map(address).collect::<Result<_, _>>()?,
            reserve: self.reserve_address,
            payer: self
                .payer
                .map(|payer| Address::parse_any(&payer))
                .transpose()
                .map_err(|_| unprocessable("payer: not an address"))?,
            by_amount: self.match_amount,
            expires_at,
            ordered_at: now,
            grace,
            tolerance: self.tolerance,
            answer_at: self.answer_at,
            resource: plain(self.resource, URL_CHARS_MAX, "resource")?,
            description: plain(self.description, DESCRIPTION_CHARS_MAX, "description")?,
            reference: plain(self.reference, REFERENCE_CHARS_MAX, "reference")?,
            metadata,
        })
    }
}

fn after(now: DateTime<Utc>, seconds: i64) -> Option<DateTime<Utc>> {
    now.checked_add_signed(TimeDelta::try_seconds(seconds)?)
}

/// A text that is shown to people: it must not upset a terminal, nor hide what it says.
fn plain(text: Option<String>, chars_max: usize, what: &str) -> Result<Option<String>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let length = text.chars().count();
    if !(1..=chars_max).contains(&length) {
        return Err(unprocessable(&format!("{what}: between 1 and {chars_max} characters")));
    }
    if text.chars().any(is_deceptive) {
        return Err(unprocessable(&format!("{what}: no control characters and none that turn the direction of writing")));
    }
    Ok(Some(text))
}

const fn is_deceptive(character: char) -> bool {
    character.is_ascii_control()
        || matches!(character, '\u{80}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl From<OrderError> for Problem {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Ledger(error) => error.into(),
            error @ (OrderError::NoAddress | OrderError::Unserved(_) | OrderError::NoFreeAddress) => {
                Self::Refused(Code::NoAddress, error.to_string())
            }
            error => unprocessable(&error.to_string()),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Ledger(error) => error.into(),
            ChangeError::NoSuchInvoice | ChangeError::NoSuchTransfer => Self::NotFound,
            ChangeError::Begun => Self::Refused(Code::InvoiceBegun, ChangeError::Begun.to_string()),
            ChangeError::UnderWay => Self::Refused(Code::PaymentUnderWay, ChangeError::UnderWay.to_string()),
            ChangeError::NotFree => Self::Refused(Code::TransferNotFree, ChangeError::NotFree.to_string()),
            ChangeError::DoesNotFit => Self::Refused(Code::TransferDoesNotFit, ChangeError::DoesNotFit.to_string()),
        }
    }
}

/// An invoice as its merchant reads it, and as payers need it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Invoice")]
pub struct InvoiceView {
    #[schemars(with = "InvoiceId")]
    pub(crate) id: String,
    #[schemars(with = "invoice::Status")]
    pub(crate) status: &'static str,
    /// What is owed.
    #[schemars(with = "Decimal")]
    pub(crate) amount: String,
    #[schemars(with = "Amount")]
    pub(crate) amount_atomic: String,
    /// Decimal places of the invoice's unit.
    pub(crate) decimals: u8,
    /// The symbol of the token.
    #[schemars(example = &"USDC")]
    pub(crate) asset: String,
    /// What has come in time and stands as deep as `answerAt` asks.
    #[schemars(with = "Decimal")]
    pub(crate) amount_paid: String,
    /// What has come in time and does not stand so deep yet.
    #[schemars(with = "Decimal")]
    pub(crate) amount_pending: String,
    /// What is still to be sent.
    #[schemars(with = "Decimal")]
    pub(crate) amount_due: String,
    /// What was paid beyond `amount`.
    #[schemars(with = "Decimal")]
    pub(crate) amount_surplus: String,
    /// What came too late to pay anything.
    #[schemars(with = "Decimal")]
    pub(crate) amount_late: String,
    #[schemars(with = "Decimal")]
    pub(crate) tolerance: String,
    pub(crate) answer_at: Level,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) expires_at: DateTime<Utc>,
    /// The end of the time in which a transfer pays.
    pub(crate) closes_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) canceled_at: Option<DateTime<Utc>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Address>")]
    pub(crate) payer: Option<String>,
    pub(crate) match_amount: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reference: Option<String>,
    #[schemars(with = "Map<String, Value>")]
    pub(crate) metadata: Value,
    /// x402 requirements (version 2), one for each network and address. None of what is paid or over.
    #[schemars(with = "Vec<Map<String, Value>>")]
    pub(crate) accepts: Vec<Value>,
    /// The whole `PaymentRequired` of x402 version 2, ready for the header `PAYMENT-REQUIRED`.
    #[schemars(with = "Map<String, Value>")]
    pub(crate) payment_required: Value,
    /// Headers of a 402 answer for plain HTTP clients.
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub(crate) headers: Map<String, Value>,
    pub(crate) links: InvoiceLinks,
    /// The ways of paying.
    pub(crate) options: Vec<OptionView>,
    /// What has come for it, newest first. Lists do not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) transfers: Option<Vec<TransferView>>,
    /// Its receipts, newest first. Lists do not have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) receipts: Option<Vec<ReceiptLine>>,
}

/// Where an invoice is shown.
#[derive(Serialize, JsonSchema)]
pub struct InvoiceLinks {
    /// Where the payer presents a transfer, below this URL.
    #[schemars(extend("format" = "uri"))]
    pub(crate) page: String,
}

/// One way of paying, with its links.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PaymentOption")]
pub struct OptionView {
    #[schemars(with = "Network")]
    pub(crate) network: String,
    #[schemars(with = "Address")]
    pub(crate) asset: String,
    #[schemars(with = "Address")]
    pub(crate) pay_to: String,
    /// What is due, as in the links.
    #[schemars(with = "Amount")]
    pub(crate) amount: String,
    /// Whether the address is kept for this invoice alone.
    pub(crate) reserved: bool,
    #[serde(flatten)]
    pub(crate) links: Option<Links>,
}

/// A page of invoices.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "InvoicePage")]
pub struct Page {
    pub(crate) invoices: Vec<InvoiceView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// Writes an invoice down. What is due is asked for, and not what was asked for once; of what is paid or over, nothing.
fn view(flows: &Flows, fee_payers: &FeePayers, invoice: &Invoice, transfers: Option<Vec<OwnTransfer>>) -> InvoiceView {
    let human = |amount: Amount| amount.to_decimal(invoice.decimals);
    let told = &invoice.told;
    let is_payable = is_payable(flows, invoice);
    let due = due_by_each_option(invoice);
    let payable = || due.iter().filter(|_| is_payable);
    let accepts: Vec<_> = payable().filter_map(|option| requirements(flows, fee_payers, invoice, option)).collect();
    let page = page_of(flows, invoice.id);
    let resource = invoice.resource.clone().unwrap_or_else(|| page.clone());
    let offers: Vec<_> = payable().map(|option| offer(invoice, option)).collect();
    let headers = offers.first().map(|offer| offer.headers(&page, LOOK_AGAIN_SECONDS)).into_iter().flatten();
    let options = due.iter().enumerate().map(|(index, option)| OptionView {
        network: option.network.to_string(),
        asset: option.asset.to_string(),
        pay_to: option.pay_to.to_string(),
        amount: option.amount.to_string(),
        reserved: option.reserved,
        links: offers.get(index).map(Links::of),
    });
    InvoiceView {
        id: invoice.id.to_string(),
        status: told.status.as_str(),
        amount: human(invoice.terms.amount),
        amount_atomic: invoice.terms.amount.to_string(),
        decimals: invoice.decimals,
        asset: invoice.symbol.clone(),
        amount_paid: human(told.paid),
        amount_pending: human(told.pending),
        amount_due: human(told.due),
        amount_surplus: human(told.surplus),
        amount_late: human(told.late),
        tolerance: human(invoice.terms.tolerance),
        answer_at: invoice.terms.answer_at,
        created_at: invoice.created_at,
        expires_at: invoice.expires_at,
        closes_at: invoice.terms.closes_at,
        canceled_at: invoice.canceled_at,
        payer: invoice.payer.map(|payer| payer.to_string()),
        match_amount: invoice.by_amount,
        resource: invoice.resource.clone(),
        description: invoice.description.clone(),
        reference: invoice.reference.clone(),
        metadata: invoice.metadata.clone(),
        payment_required: json!({
            "x402Version": 2, "error": "Payment required", "accepts": accepts,
            "resource": {"url": resource, "description": invoice.description.clone().unwrap_or_default(), "mimeType": ""},
        }),
        accepts,
        headers: headers.map(|(name, value)| (name.to_owned(), Value::String(value))).collect(),
        links: InvoiceLinks { page },
        options: options.collect(),
        transfers: transfers.map(|transfers| transfers.into_iter().map(TransferView::from).collect()),
        receipts: None,
    }
}

/// Where an invoice is shown to a person.
pub(super) fn page_of(flows: &Flows, invoice: InvoiceId) -> String {
    format!("{}/i/{invoice}", flows.public_url)
}

/// Whether there is something to pay, and time for it.
pub(super) fn is_payable(flows: &Flows, invoice: &Invoice) -> bool {
    flows.clock.now() <= invoice.terms.closes_at && !invoice.told.due.is_zero()
}

/// The options, each asking for what is due and not for what was asked for once.
pub(super) fn due_by_each_option(invoice: &Invoice) -> Vec<PaymentOption> {
    invoice.options.iter().map(|option| option.for_due(invoice.told.due, invoice.decimals)).collect()
}

fn offer<'a>(invoice: &'a Invoice, option: &'a PaymentOption) -> Offer<'a> {
    Offer { invoice: invoice.id, option, symbol: &invoice.symbol, label: None, message: invoice.description.as_deref() }
}

/// The requirements of x402 (version 2) for one option. `None` for a token that cannot be paid with by x402 here any more, or not now, because
/// nobody would pay for the transaction.
fn requirements(flows: &Flows, fee_payers: &FeePayers, invoice: &Invoice, option: &PaymentOption) -> Option<Value> {
    let profile = flows.chains.find(&option.network).ok()?.profile();
    let mut extra = Map::from_iter([
        ("invoice".to_owned(), Value::String(invoice.id.to_string())),
        ("answerAt".to_owned(), Value::String(invoice.terms.answer_at.as_str().to_owned())),
    ]);
    match &profile.asset(option.asset)?.kind {
        AssetKind::Eip3009(domain) => {
            extra.insert("name".to_owned(), Value::String(domain.name.clone()));
            extra.insert("version".to_owned(), Value::String(domain.version.clone()));
        }
        AssetKind::Spl(_) => {
            extra.insert("feePayer".to_owned(), Value::String(fee_payers.get(&option.network)?.clone()));
            extra.insert("memo".to_owned(), Value::String(invoice.id.to_string()));
        }
    }
    Some(json!({
        "scheme": SCHEME_EXACT, "network": option.network.to_string(), "amount": option.amount.to_string(),
        "asset": option.asset.to_string(), "payTo": option.pay_to.to_string(), "maxTimeoutSeconds": timeout(option.network.family()),
        "extra": extra,
    }))
}

/// For how long what a payer signs is good: on Solana a blockhash lasts about a minute.
const fn timeout(family: Family) -> u64 {
    match family {
        Family::Eip155 => 300,
        Family::Solana => 60,
    }
}

/// Opens an invoice, once under the order's key.
///
/// # Errors
/// The order is not possible, or its key was used for another one.
pub async fn create(flows: &Flows, change: Change<OrderBody>) -> Result<Reply, Problem> {
    let Change { account, body, keyed } = change;
    let order = body.into_order(flows.clock.now())?;
    let fee_payers = flows.fee_payers().await;
    let mut db = match begin(flows, keyed.as_ref()).await? {
        Begun::New(db) => db,
        Begun::Done(reply) => return Ok(reply),
    };
    let invoice = flows.open_invoice(&mut db, account, order).await?;
    end(flows, db, keyed.as_ref(), Status::Created, &view(flows, &fee_payers, &invoice, None)).await
}

/// Calls an account's invoice off, and shows it. To call off twice is to call off once, so a key has nothing to add here.
///
/// # Errors
/// There is no such invoice of this account, or somebody has begun to pay it.
pub async fn cancel(flows: &Flows, account: AccountId, id: &str) -> Result<Reply, Problem> {
    flows.cancel_invoice(account, parse(id)?).await?;
    show(flows, account, id).await
}

/// Shows an account's invoice with its transfers and receipts.
///
/// # Errors
/// There is no such invoice of this account.
pub async fn show(flows: &Flows, account: AccountId, id: &str) -> Result<Reply, Problem> {
    Reply::ok(&look_up(flows, account, id).await?)
}

/// The same, to be shown in another way.
///
/// # Errors
/// There is no such invoice of this account.
pub async fn look_up(flows: &Flows, account: AccountId, id: &str) -> Result<InvoiceView, Problem> {
    let invoice = find(flows, account, id).await?;
    let filter = TransferFilter { invoice: Some(invoice.id), limit: PAGE, ..TransferFilter::default() };
    let transfers = flows.ledger.list_transfers(account, &filter).await?;
    let receipts = flows.signed(flows.ledger.receipts_of_invoice(invoice.id, PAGE).await?).await;
    let receipts = Some(receipts.into_iter().map(ReceiptLine::from).collect());
    let fee_payers = flows.fee_payers().await;
    Ok(InvoiceView { receipts, ..view(flows, &fee_payers, &invoice, Some(transfers)) })
}

/// An account's invoice by its name.
///
/// # Errors
/// There is no such invoice of this account.
pub async fn find(flows: &Flows, account: AccountId, id: &str) -> Result<Invoice, Problem> {
    let found = flows.ledger.find_invoice(parse(id)?).await?.filter(|invoice| invoice.account == account);
    found.ok_or(Problem::NotFound)
}

/// Which invoices are listed.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListQuery {
    /// Only those that stand here.
    #[schemars(with = "Option<invoice::Status>")]
    pub status: Option<String>,
    /// Only those with this name of the merchant's.
    pub reference: Option<String>,
    /// Only those that can be paid here.
    #[schemars(with = "Option<Address>")]
    pub address: Option<String>,
    /// How many at most.
    #[schemars(range(min = 1, max = PAGE))]
    pub limit: Option<u32>,
    /// `nextCursor` of the page before.
    pub cursor: Option<String>,
}

impl ListQuery {
    fn into_filter(self, account: AccountId) -> Result<InvoiceFilter, Problem> {
        let status = |text: String| {
            invoice::Status::parse(&text).ok_or_else(|| Problem::BadParameter("status: not one of an invoice".to_owned()))
        };
        let address = |text: String| Address::parse_any(&text).map_err(|_| Problem::BadParameter("address: not one".to_owned()));
        Ok(InvoiceFilter {
            status: self.status.map(status).transpose()?,
            reference: self.reference,
            address: self.address.map(address).transpose()?,
            after: cursor(&account, self.cursor.as_deref())?,
            limit: page_size(self.limit)?,
        })
    }
}

/// Lists an account's invoices.
///
/// # Errors
/// A parameter is none.
pub async fn list(flows: &Flows, account: AccountId, query: ListQuery) -> Result<Reply, Problem> {
    Reply::ok(&page(flows, account, query).await?)
}

/// The same, to be shown in another way.
///
/// # Errors
/// A parameter is none.
pub async fn page(flows: &Flows, account: AccountId, query: ListQuery) -> Result<Page, Problem> {
    let filter = query.into_filter(account)?;
    let found = flows.ledger.list_invoices(account, &filter).await?;
    let next_cursor = next_cursor(&account, &found, filter.limit, |invoice| invoice.id);
    let fee_payers = flows.fee_payers().await;
    let invoices = found.iter().map(|invoice| view(flows, &fee_payers, invoice, None)).collect();
    Ok(Page { invoices, next_cursor })
}

fn parse(id: &str) -> Result<InvoiceId, Problem> {
    id.parse().map_err(|_| Problem::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_deceive_are_refused() {
        let check = |text: &str| plain(Some(text.to_owned()), 10, "description").is_ok();

        for good in ["a", "Überraschung".get(..10).unwrap(), "日本", "a b"] {
            assert!(check(good), "{good:?}");
        }
        for bad in ["", "12345678901", "a\nb", "a\u{1b}[31m", "a\u{202e}b", "a\u{200b}", "\u{feff}", "\u{85}"] {
            assert!(!check(bad), "{bad:?}");
        }
        assert_eq!(plain(None, 10, "description").unwrap(), None);
    }
}
