//! `quittance payment show`: the whole story of a payment.

use std::fmt;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;
use serde_json::Value;

use super::output::{Output, time};
use super::{CommandError, ConfigFile, chain_of, with_flows};
use crate::domain::block::{Heights, Level};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::ids::PaymentId;
use crate::domain::payment::{Payment, State, Whereabouts};
use crate::flow::Flows;
use crate::ledger::events::PastEvent;
use crate::ledger::payments::{Background, PastAttempt, PastDelivery, PastTransfer};
use crate::ledger::receipts::Revision;

/// What is done with payments.
#[derive(Debug, Subcommand)]
pub(super) enum PaymentCommand {
    /// Shows everything that is known of a payment, where its money is, and what the nodes say of its transactions.
    Show {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        output: Output,
        /// Which payment, for example pay_….
        payment: PaymentId,
    },
}

/// Transactions of which nodes are asked: the newest ones.
const ASKED_MAX: usize = 5;

/// A transaction that was signed for a slot in which the payment was.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AttemptView {
    /// The account nonce, or the hash of the message.
    slot: String,
    signer: String,
    number: u16,
    transaction: String,
    signed_at: DateTime<Utc>,
    cost_max: String,
    payments: usize,
    makes_it: bool,
    bytes_kept: bool,
    /// The block in which something spent the slot.
    spent_block: Option<u64>,
}

impl From<PastAttempt> for AttemptView {
    fn from(attempt: PastAttempt) -> Self {
        Self {
            slot: attempt.place,
            signer: attempt.signer,
            number: attempt.number,
            transaction: attempt.transaction,
            signed_at: attempt.signed_at,
            cost_max: attempt.cost_max.to_string(),
            payments: attempt.payments,
            makes_it: attempt.makes_it,
            bytes_kept: attempt.bytes_kept,
            spent_block: attempt.spent_block,
        }
    }
}

impl fmt::Display for AttemptView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { slot, signer, number, transaction, payments, .. } = self;
        write!(formatter, "slot {slot} of {signer}  attempt {number}  {transaction}  signed {}", time(self.signed_at))?;
        match (self.makes_it, payments) {
            (true, 1) => write!(formatter, "  makes this payment")?,
            (true, _) => write!(formatter, "  makes this payment and {} others", payments.saturating_sub(1))?,
            (false, _) => write!(formatter, "  does not make this payment")?,
        }
        match self.spent_block {
            Some(block) => write!(formatter, "  the slot was spent in block {block}"),
            None => write!(formatter, "  no block holds the slot"),
        }
    }
}

/// A transfer that makes the payment, or did.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TransferView {
    transaction: String,
    block_number: u64,
    block_hash: String,
    at: Option<DateTime<Utc>>,
    /// Whether its block is one of the chain's. If not, it was replaced.
    canonical: bool,
}

impl From<PastTransfer> for TransferView {
    fn from(transfer: PastTransfer) -> Self {
        let PastTransfer { transaction, block_number, block_hash, happened_at, canonical } = transfer;
        Self { transaction, block_number, block_hash, at: happened_at, canonical }
    }
}

impl fmt::Display for TransferView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transaction, block_number, block_hash, .. } = self;
        let replaced = if self.canonical { "" } else { ", which was replaced" };
        write!(formatter, "{transaction} in block {block_number} ({block_hash}){replaced}")
    }
}

/// To whom the success was handed out.
#[derive(Debug, Serialize)]
struct HandedOutView {
    at: DateTime<Utc>,
    /// `request`, `idempotency-key`, `proof`, `invoice`, or `copy`. The name itself is the caller's business.
    to: &'static str,
}

/// A revision of the receipt.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RevisionView {
    number: u32,
    finality: &'static str,
    issued_at: DateTime<Utc>,
    signed: bool,
}

impl From<Revision> for RevisionView {
    fn from(revision: Revision) -> Self {
        let Revision { statement, jws } = revision;
        let (number, finality, issued_at) = (statement.revision, statement.finality.as_str(), statement.issued_at);
        Self { number, finality, issued_at, signed: jws.is_some() }
    }
}

/// The receipt.
#[derive(Debug, Serialize)]
struct ReceiptView {
    id: String,
    revisions: Vec<RevisionView>,
}

/// Something that happened to the payment.
#[derive(Debug, Serialize)]
struct EventView {
    kind: String,
    at: DateTime<Utc>,
    data: Value,
}

impl From<PastEvent> for EventView {
    fn from(event: PastEvent) -> Self {
        Self { kind: event.kind, at: event.at, data: event.data }
    }
}

/// An event on its way to a webhook, whose address may hold a secret and is not shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryView {
    id: String,
    webhook: String,
    kind: String,
    attempts: u32,
    delivered_at: Option<DateTime<Utc>>,
    given_up_at: Option<DateTime<Utc>>,
}

impl From<PastDelivery> for DeliveryView {
    fn from(delivery: PastDelivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            webhook: delivery.webhook.to_string(),
            kind: delivery.kind,
            attempts: delivery.attempts,
            delivered_at: delivery.delivered_at,
            given_up_at: delivery.given_up_at,
        }
    }
}

impl fmt::Display for DeliveryView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, webhook, kind, attempts, .. } = self;
        write!(formatter, "{kind} to {webhook} ({id})  {attempts} attempts")?;
        match (self.delivered_at, self.given_up_at) {
            (Some(at), _) => write!(formatter, "  arrived {}", time(at)),
            (None, Some(at)) => write!(formatter, "  given up {}", time(at)),
            (None, None) => write!(formatter, "  under way"),
        }
    }
}

/// What the nodes say of a transaction now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SeenView {
    transaction: String,
    /// `succeeded`, `failed`, `unknown`, or `not-asked` if no node answered.
    seen: &'static str,
    block: Option<u64>,
    /// Whether it moved what the payment is about.
    pays: bool,
}

impl fmt::Display for SeenView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}  ", self.transaction)?;
        match (self.seen, self.block) {
            ("unknown", _) => write!(formatter, "no node has it in a block"),
            (seen, Some(block)) => {
                let pays = if self.pays { "and pays" } else { "and does not pay" };
                write!(formatter, "{seen} in block {block} {pays}")
            }
            _ => write!(formatter, "no node answered"),
        }
    }
}

/// A payment as it is told. No member holds a signature or a payload.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Story {
    id: String,
    state: &'static str,
    money: Whereabouts,
    reason: Option<String>,
    network: String,
    asset: String,
    amount: String,
    payer: String,
    pay_to: String,
    resource: Option<String>,
    invoice: Option<String>,
    provider: Option<String>,
    merchant: Option<String>,
    x402_version: u8,
    answer_at: Level,
    created_at: DateTime<Utc>,
    answer_by: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    given_up_at: Option<DateTime<Utc>>,
    final_at: Option<DateTime<Utc>>,
    lane: Option<String>,
    alone: bool,
    failures: u16,
    /// Whether the payer's signature is still kept.
    signature_kept: bool,
    handed_out: Option<HandedOutView>,
    attempts: Vec<AttemptView>,
    transfers: Vec<TransferView>,
    receipt: Option<ReceiptView>,
    events: Vec<EventView>,
    deliveries: Vec<DeliveryView>,
    /// What the nodes say now.
    nodes: Vec<SeenView>,
}

impl fmt::Display for Story {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, state, network, asset, amount, payer, pay_to, .. } = self;
        writeln!(formatter, "payment     {id}")?;
        write!(formatter, "state       {state}")?;
        if let Some(reason) = &self.reason {
            write!(formatter, " ({reason})")?;
        }
        writeln!(formatter, "\nmoney       {}", whereabouts(self.money))?;
        writeln!(formatter, "what        {amount} of {asset} on {network}")?;
        writeln!(formatter, "from        {payer}\nto          {pay_to}")?;
        let optional = [("resource", &self.resource), ("invoice", &self.invoice), ("provider", &self.provider)];
        for (label, value) in optional.into_iter().chain([("merchant", &self.merchant), ("lane", &self.lane)]) {
            if let Some(value) = value {
                writeln!(formatter, "{label:<12}{value}")?;
            }
        }
        writeln!(formatter, "accepted    {}, answer at {}", time(self.created_at), self.answer_at.as_str())?;
        writeln!(formatter, "awaited to  {}\nexpires     {}", time(self.answer_by), time(self.expires_at))?;
        for (label, at) in [("given up", self.given_up_at), ("final", self.final_at)] {
            if let Some(at) = at {
                writeln!(formatter, "{label:<12}{}", time(at))?;
            }
        }
        match &self.handed_out {
            Some(HandedOutView { at, to }) => write!(formatter, "handed out  {} to one {to}", time(*at))?,
            None => write!(formatter, "handed out  to nobody")?,
        }
        if let Some(ReceiptView { id, revisions }) = &self.receipt {
            write!(formatter, "\nreceipt     {id}")?;
            for RevisionView { number, finality, issued_at, signed } in revisions {
                let signed = if *signed { "signed" } else { "not signed" };
                write!(formatter, "\n  revision {number}  {finality}  {}  {signed}", time(*issued_at))?;
            }
        }
        section(formatter, "attempts", &self.attempts)?;
        section(formatter, "transfers", &self.transfers)?;
        section(formatter, "nodes say", &self.nodes)?;
        if !self.events.is_empty() {
            write!(formatter, "\nevents")?;
        }
        for event in &self.events {
            write!(formatter, "\n  {}  {}  {}", time(event.at), event.kind, event.data)?;
        }
        section(formatter, "deliveries", &self.deliveries)
    }
}

fn section(formatter: &mut fmt::Formatter<'_>, title: &str, lines: &[impl fmt::Display]) -> fmt::Result {
    if !lines.is_empty() {
        write!(formatter, "\n{title}")?;
    }
    lines.iter().try_for_each(|line| write!(formatter, "\n  {line}"))
}

const fn whereabouts(money: Whereabouts) -> &'static str {
    match money {
        Whereabouts::WithPayer => "with the payer; nothing that we have signed can move it",
        Whereabouts::UnderWay => "with the payer; what we have signed may move it at any time",
        Whereabouts::WithRecipient => "with the recipient, in a block that can still be replaced",
        Whereabouts::WithRecipientForGood => "with the recipient for good",
    }
}

impl PaymentCommand {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let Self::Show { config, output, payment } = self;
        let story = with_flows(&config, async |flows| tell(&flows, payment).await).await?;
        output.tell(&story);
        Ok(())
    }
}

async fn tell(flows: &Flows, id: PaymentId) -> Result<Story, CommandError> {
    let ledger = &flows.ledger;
    let payment = ledger.find_payment(id).await?.ok_or(CommandError::NoSuchPayment(id))?;
    let background = ledger.background_of(id).await?.ok_or(CommandError::NoSuchPayment(id))?;
    let attempts = ledger.attempts_of(&payment).await?;
    // The one that paid, which may be a stranger's, and the newest of ours.
    let mut transactions: Vec<_> = payment.claim.iter().map(|claim| claim.transaction.clone()).collect();
    let ours = attempts.iter().rev().map(|attempt| attempt.transaction.clone());
    transactions.extend(ours.filter(|transaction| payment.claim.as_ref().is_none_or(|claim| claim.transaction != *transaction)));
    let receipt = match ledger.receipt_of_payment(id).await? {
        Some(receipt) => {
            let revisions = ledger.revisions_of(receipt).await?.into_iter().map(RevisionView::from).collect();
            Some(ReceiptView { id: receipt.to_string(), revisions })
        }
        None => None,
    };
    let transfers = ledger.transfers_making(&payment, &transactions).await?.into_iter().map(TransferView::from).collect();
    let events = ledger.events_of(id).await?.into_iter().map(EventView::from).collect();
    let deliveries = ledger.deliveries_about(id).await?.into_iter().map(DeliveryView::from).collect();
    let heights = ledger.cursor(&payment.network).await?.map(|cursor| cursor.heights);
    let nodes = ask_nodes(flows, &payment, &transactions).await;
    let bytes_out = attempts.iter().any(|attempt| attempt.makes_it && attempt.bytes_kept && attempt.spent_block.is_none());
    let story = Story { transfers, receipt, events, deliveries, nodes, ..story(payment, background, heights, bytes_out) };
    Ok(Story { attempts: attempts.into_iter().map(AttemptView::from).collect(), ..story })
}

fn story(payment: Payment, background: Background, heights: Option<Heights>, bytes_out: bool) -> Story {
    let heights = heights.unwrap_or(Heights { head: 0, safe: 0, finalized: 0 });
    let state = payment.state(heights, SystemClock.now());
    Story {
        id: payment.id.to_string(),
        state: state.as_str(),
        money: Whereabouts::of(&state, bytes_out),
        reason: match state {
            State::GivenUp { reason } => Some(reason.code_in(payment.version).to_owned()),
            _ => None,
        },
        network: payment.network.to_string(),
        asset: payment.asset.to_string(),
        amount: payment.amount.to_string(),
        payer: payment.payer.to_string(),
        pay_to: payment.pay_to.to_string(),
        resource: payment.resource,
        invoice: payment.invoice.map(|invoice| invoice.to_string()),
        provider: payment.provider.map(|account| account.to_string()),
        merchant: payment.merchant.map(|account| account.to_string()),
        x402_version: payment.version.number(),
        answer_at: payment.answer_at,
        created_at: payment.created_at,
        answer_by: payment.answer_by,
        expires_at: payment.expires_at,
        given_up_at: background.given_up_at,
        final_at: background.final_at,
        lane: background.lane,
        alone: background.alone,
        failures: background.failures,
        signature_kept: background.signature_kept,
        handed_out: payment.handed_out.map(|taken| HandedOutView { at: taken.at, to: taker(&taken.to) }),
        attempts: Vec::new(),
        transfers: Vec::new(),
        receipt: None,
        events: Vec::new(),
        deliveries: Vec::new(),
        nodes: Vec::new(),
    }
}

/// What took a success, without its name.
fn taker(name: &str) -> &'static str {
    match name {
        "proof" => "proof",
        "invoice" => "invoice",
        "copy" => "copy",
        name if name.starts_with("request:") => "request",
        _ => "idempotency-key",
    }
}

/// Asks nodes for the newest transactions. A story without their word is better than none.
async fn ask_nodes(flows: &Flows, payment: &Payment, transactions: &[String]) -> Vec<SeenView> {
    let Ok(chain) = chain_of(flows, &payment.network) else { return Vec::new() };
    let mut seen = Vec::new();
    for transaction in transactions.iter().take(ASKED_MAX) {
        let landed = chain.transfers_of(transaction).await;
        let pays = |transfer: &crate::domain::transfer::Transfer| {
            let Payment { asset, payer, pay_to, amount, .. } = payment;
            (transfer.asset, transfer.from, transfer.to, transfer.amount) == (*asset, *payer, *pay_to, Some(*amount))
        };
        seen.push(SeenView {
            transaction: transaction.clone(),
            seen: match &landed {
                Ok(Some(landed)) if landed.failed => "failed",
                Ok(Some(_)) => "succeeded",
                Ok(None) => "unknown",
                Err(_) => "not-asked",
            },
            block: landed.as_ref().ok().and_then(|landed| landed.as_ref()).map(|landed| landed.block),
            pays: landed.is_ok_and(|landed| landed.is_some_and(|landed| !landed.failed && landed.transfers.iter().any(pays))),
        });
    }
    seen
}
