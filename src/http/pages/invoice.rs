//! `GET /i/{invoice}`: the invoice's page for the person who pays it, and for programs where it stands.

use actix_web::http::header::{ETAG, VARY};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::qr::Qr;
use super::words::{self, Link, Moment};
use super::{EXAMPLE, Frame, MEDIA_TYPE, served, show, tell, wants_page};
use crate::api::Service;
use crate::api::payers::{Asked, StandingView};
use crate::api::status::Status;
use crate::config::Pages;
use crate::domain::address::encode_hex;
use crate::domain::amount::Amount;
use crate::domain::challenge::Presentation;
use crate::domain::ids::InvoiceId;
use crate::domain::invoice::{self, PaymentOption};
use crate::domain::network::Family;
use crate::domain::receipt::{Finality, Statement};
use crate::http::endpoint::{Errors, Operation, PathItem, at};
use crate::http::problem::Problem;
use crate::x402::links::Links;

/// Bytes of the hash by which a page knows that it is no longer what is told.
const TAG_BYTES: usize = 16;

/// What stands in the text to be signed until there is a transaction.
const THE_TRANSACTION: &str = "the transaction's id";

/// The paths.
pub fn paths() -> Vec<PathItem> {
    let showing = Operation::new("showInvoice", "Shows an invoice to whoever pays it")
        .about(
            "As a page with everything that a wallet needs (`Accept: text/html`), for programs where the invoice stands. Takes no key: \
             the invoice's name is enough. 404 where the operator serves no pages.",
        )
        .header("Accept", "`text/html` for the page.")
        .answers_text("The page, or where the invoice stands.", MEDIA_TYPE, EXAMPLE)
        .answers_like::<StandingView>(Status::Ok, "", example())
        .errors(Errors::Pages);
    vec![at("/i/{invoice}").part::<InvoiceId>("invoice").get(answer, showing)]
}

fn example() -> serde_json::Value {
    json!({
        "id": "inv_018f4a1e7d3c70008000000000000001", "status": "underpaid", "payable": true, "amount": "0.25", "asset": "USDC",
        "amountPaid": "0.1", "amountPending": "0", "amountDue": "0.15", "expiresAt": "2026-11-28T14:15:44Z",
        "closesAt": "2026-11-28T14:25:44Z", "receipts": [],
    })
}

/// Whether a path is that of an invoice.
pub fn is_at(path: &str) -> bool {
    path.strip_prefix("/i/").is_some_and(|rest| !rest.contains('/'))
}

async fn answer(service: Data<Service>, request: HttpRequest, id: Path<String>) -> HttpResponse {
    let found = find(&service, id.into_inner()).await;
    match (found, wants_page(request.headers())) {
        (Ok(asked), true) => show(Status::Ok, None, &page(&service, &asked)),
        (Ok(asked), false) => standing(&asked),
        (Err(problem), true) => tell(&service, &problem),
        (Err(problem), false) => problem.response(),
    }
}

async fn find(service: &Service, id: String) -> Result<Asked, Problem> {
    served(service, Pages::Invoices)?;
    let flows = service.flows();
    service.run(async move { Asked::find(&flows, &id).await }).await?
}

fn page(service: &Service, asked: &Asked) -> InvoicePage {
    let flows = service.flows();
    let issuer = flows.issuer.as_ref().map(|issuer| issuer.name().to_owned());
    InvoicePage::of(Frame::of(service), issuer, &flows.public_url, asked)
}

/// Where an invoice stands, for programs. The script of the page compares the tag with that of the page.
fn standing(asked: &Asked) -> HttpResponse {
    let body = written(asked);
    let mut response = HttpResponse::Ok();
    response.insert_header((ETAG, format!("\"{}\"", tag(&body)))).insert_header((VARY, "accept"));
    response.content_type("application/json").body(body)
}

fn written(asked: &Asked) -> String {
    serde_json::to_string(&asked.standing()).unwrap_or_default()
}

fn tag(body: &str) -> String {
    encode_hex(&Sha256::digest(body)[..TAG_BYTES])
}

#[derive(Template)]
#[template(path = "invoice.html")]
struct InvoicePage {
    frame: Frame,
    /// What the script compares.
    tag: String,
    id: String,
    merchant: String,
    description: Option<String>,
    resource: Option<Link>,
    symbol: String,
    amount: String,
    paid: String,
    /// What is due, if anything is.
    due: Option<String>,
    /// What came beyond the amount, if anything did.
    surplus: Option<String>,
    /// What came too late, if anything did.
    late: Option<String>,
    headline: Headline,
    /// Whether the page may still change.
    follows: bool,
    /// Whether it does so soon, so that a page without a script is to be loaded again.
    reloads: bool,
    expires: Moment,
    closes: Moment,
    ways: Vec<Way>,
    receipts: Vec<ReceiptLine>,
    /// What the receipts name as who has signed them; absent where nobody signs.
    issuer: Option<String>,
    page: String,
}

/// Where an invoice stands, in the words of its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Headline {
    words: &'static str,
    /// The class of its colour.
    tone: &'static str,
    about: &'static str,
}

/// One way of paying.
struct Way {
    network: String,
    network_id: String,
    family: &'static str,
    address: String,
    token: String,
    amount: String,
    units: String,
    /// For wallets that follow links.
    wallet: Option<PaymentLink>,
    payto: PaymentLink,
    /// What makes a transfer count for this invoice, in sentences.
    rules: Vec<String>,
    /// What ties a transfer to it: name and value.
    ties: Vec<(&'static str, String)>,
    /// What ties an authorization to it, which is made by programs.
    nonce: Option<String>,
    /// What a payer signs who shows its transfer.
    proof: String,
}

struct PaymentLink {
    uri: String,
    qr: Option<Qr>,
}

impl PaymentLink {
    fn to(uri: String) -> Self {
        Self { qr: Qr::of(&uri), uri }
    }
}

struct ReceiptLine {
    id: String,
    revision: u32,
    says: &'static str,
    network: String,
    transaction: String,
    amount: String,
}

impl InvoicePage {
    fn of(frame: Frame, issuer: Option<String>, service_url: &str, asked: &Asked) -> Self {
        let (invoice, told) = (&asked.invoice, &asked.invoice.told);
        let some = |amount: Amount| Some(asked.human(amount)).filter(|_| !amount.is_zero());
        let payable = asked.options.iter().filter(|_| asked.is_payable);
        Self {
            frame,
            tag: tag(&written(asked)),
            id: invoice.id.to_string(),
            merchant: asked.merchant.clone(),
            description: invoice.description.clone(),
            resource: invoice.resource.as_deref().map(Link::to),
            symbol: invoice.symbol.clone(),
            amount: asked.human(invoice.terms.amount),
            paid: asked.human(told.paid),
            due: some(told.due).filter(|_| asked.is_payable),
            surplus: some(told.surplus),
            late: some(told.late),
            headline: headline(told.status, told.due.is_zero(), asked.is_payable),
            follows: may_change(told.status),
            reloads: may_change(told.status) && !told.status.is_paid(),
            expires: invoice.expires_at.into(),
            closes: invoice.terms.closes_at.into(),
            ways: payable.map(|option| Way::of(asked, option, service_url)).collect(),
            receipts: asked.receipts.iter().map(|statement| ReceiptLine::of(asked, statement)).collect(),
            issuer,
            page: asked.page.clone(),
        }
    }
}

/// Whether something may still happen that changes where an invoice stands.
const fn may_change(status: invoice::Status) -> bool {
    use invoice::Status;
    match status {
        Status::Open | Status::Seen | Status::Underpaid | Status::Paid => true,
        Status::Expired | Status::Final | Status::Canceled => false,
    }
}

/// What a payer is told first. `is_covered` says that what has come would be enough if it stood deep enough.
const fn headline(status: invoice::Status, is_covered: bool, is_payable: bool) -> Headline {
    use invoice::Status;
    let (words, tone, about) = match (status, is_covered, is_payable) {
        (Status::Open, _, true) => ("Waiting for payment", "waiting", "This page changes by itself when the payment arrives."),
        (Status::Seen, _, false) | (Status::Underpaid, true, _) => {
            ("Payment seen", "seen", "The network is still confirming it. Nothing more has to be sent.")
        }
        (Status::Seen | Status::Underpaid, _, true) => {
            ("Partly paid", "waiting", "Less has arrived than is owed. Send what is still due.")
        }
        (Status::Underpaid, false, false) => {
            ("Not paid in full", "over", "The time is over. Do not send more; ask the merchant what becomes of your payment.")
        }
        (Status::Open | Status::Expired, ..) => {
            ("Expired", "over", "The time is over. Do not send anything now; ask the merchant for a new invoice.")
        }
        (Status::Paid, ..) => ("Paid", "paid", "Everything has arrived. The network may take a while to make it final."),
        (Status::Final, ..) => ("Paid", "paid", "Everything has arrived, and it can no longer be undone."),
        (Status::Canceled, ..) => ("Called off", "over", "The merchant has called this invoice off. Do not send anything."),
    };
    Headline { words, tone, about }
}

impl Way {
    fn of(asked: &Asked, option: &PaymentOption, service_url: &str) -> Self {
        let offer = asked.offer(option);
        let links = Links::of(&offer);
        let ties = [("Reference", links.reference), ("Memo", links.memo)];
        let presentation = Presentation {
            service_url: service_url.to_owned(),
            invoice: asked.invoice.id,
            network: option.network.clone(),
            transaction: THE_TRANSACTION.to_owned(),
        };
        Self {
            network: words::network(&option.network),
            network_id: option.network.to_string(),
            family: option.network.family().namespace(),
            address: option.pay_to.to_string(),
            token: option.asset.to_string(),
            amount: option.amount.to_decimal(option.decimals),
            units: option.amount.to_string(),
            wallet: links.eip681.or(links.solana_pay).map(PaymentLink::to),
            payto: PaymentLink::to(links.payto),
            rules: rules(asked, option),
            ties: ties.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
            nonce: links.nonce,
            proof: presentation.text(),
        }
    }
}

/// What makes a transfer count for an invoice without anybody's word, as `domain::matching` has it.
fn rules(asked: &Asked, option: &PaymentOption) -> Vec<String> {
    let (invoice, symbol) = (&asked.invoice, &asked.invoice.symbol);
    let exactly = format!("exactly {} {symbol}", option.amount.to_decimal(option.decimals));
    let mut rules = Vec::new();
    if option.network.family() == Family::Solana {
        rules.push("A wallet that reads the link adds reference and memo by itself. If yours does not, write the memo into the transfer.".to_owned());
    }
    if option.reserved {
        rules.push(format!("The address is kept for this invoice: any transfer of {symbol} that reaches it in time counts."));
    }
    if let Some(payer) = invoice.payer {
        rules.push(format!("A transfer of {exactly} from {payer} counts."));
    }
    if invoice.by_amount {
        rules.push(format!("Send {exactly}: the amount tells which invoice is meant."));
    }
    if rules.is_empty() {
        rules.push(
            "A plain transfer does not say which invoice it pays. When it is made, show it with a signature of the address that paid, as \
             told below, or let the merchant know of it."
                .to_owned(),
        );
    }
    rules
}

impl ReceiptLine {
    fn of(asked: &Asked, statement: &Statement) -> Self {
        let is_its = |option: &&PaymentOption| option.network == statement.network && option.asset == statement.asset;
        let decimals = asked.options.iter().find(is_its).map_or(0, |option| option.decimals);
        Self {
            id: statement.receipt.to_string(),
            revision: statement.revision,
            says: match statement.finality {
                Finality::Included => "in a block that may still be replaced",
                Finality::Final => "final",
                Finality::Revoked => "revoked: the transfer was undone",
            },
            network: words::network(&statement.network),
            transaction: statement.transaction.clone(),
            amount: statement.amount.to_decimal(decimals),
        }
    }
}

#[cfg(test)]
mod tests;
