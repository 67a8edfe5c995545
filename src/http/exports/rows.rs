//! Rows of exports, in the words of the JSON that tells of the same things.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::block::Heights;
use crate::domain::network::Network;
use crate::domain::payment::{Payment, State};
use crate::flow::Flows;
use crate::ledger::invoices::Invoice;
use crate::ledger::transfers::OwnTransfer;

/// The columns of payments. New ones come at the end, so that whoever counts columns goes on.
pub const PAYMENTS: [&str; 21] = [
    "id",
    "createdAt",
    "state",
    "finality",
    "reason",
    "network",
    "asset",
    "symbol",
    "payer",
    "payTo",
    "amountAtomic",
    "amount",
    "transaction",
    "blockNumber",
    "blockHash",
    "resource",
    "invoice",
    "expiresAt",
    "answeredAt",
    "x402Version",
    "account",
];
/// The same of transfers.
pub const TRANSFERS: [&str; 17] = [
    "id",
    "happenedAt",
    "network",
    "transaction",
    "index",
    "blockNumber",
    "blockHash",
    "asset",
    "symbol",
    "from",
    "to",
    "amountAtomic",
    "amount",
    "invoice",
    "basis",
    "payment",
    "account",
];
/// The same of invoices.
pub const INVOICES: [&str; 25] = [
    "id",
    "createdAt",
    "status",
    "asset",
    "decimals",
    "amountAtomic",
    "amount",
    "amountPaidAtomic",
    "amountPaid",
    "amountPendingAtomic",
    "amountPending",
    "amountDueAtomic",
    "amountDue",
    "amountSurplusAtomic",
    "amountSurplus",
    "amountLateAtomic",
    "amountLate",
    "expiresAt",
    "closesAt",
    "canceledAt",
    "payer",
    "reference",
    "resource",
    "description",
    "account",
];

/// An amount of a token: in atomic units, as people read it, and what people call the token. The last two are known of tokens that are
/// configured now.
fn amount(flows: &Flows, network: &Network, asset: Address, amount: Amount) -> [String; 3] {
    let known = flows.chains.find(network).ok().and_then(|chain| chain.profile().asset(asset));
    let human = known.map(|known| amount.to_decimal(known.decimals)).unwrap_or_default();
    [amount.to_string(), human, known.map(|known| known.symbol.clone()).unwrap_or_default()]
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// What is there, or nothing.
fn or_empty<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// A payment as it stands now. `heights` say how far its network was read.
pub fn payment(flows: &Flows, payment: &Payment, heights: Option<&Heights>, now: DateTime<Utc>) -> [String; PAYMENTS.len()] {
    let heights = heights.copied().unwrap_or(Heights { head: 0, safe: 0, finalized: 0 });
    let state = payment.state(heights, now);
    let (finality, reason) = match &state {
        State::Included { level, .. } => (level.as_str(), ""),
        State::GivenUp { reason } => ("", reason.code_in(payment.version)),
        State::Queued | State::Withdrawn | State::Submitted { .. } | State::Waived => ("", ""),
    };
    let [atomic, human, symbol] = amount(flows, &payment.network, payment.asset, payment.amount);
    let claim = payment.claim.as_ref();
    [
        payment.id.to_string(),
        time(payment.created_at),
        state.as_str().to_owned(),
        finality.to_owned(),
        reason.to_owned(),
        payment.network.to_string(),
        payment.asset.to_string(),
        symbol,
        payment.payer.to_string(),
        payment.pay_to.to_string(),
        atomic,
        human,
        or_empty(payment.known_transaction()),
        or_empty(claim.map(|claim| claim.block_number)),
        or_empty(claim.map(|claim| &claim.block_hash)),
        or_empty(payment.resource.as_ref()),
        or_empty(payment.invoice),
        time(payment.expires_at),
        or_empty(payment.handed_out.as_ref().map(|handed_out| time(handed_out.at))),
        payment.version.number().to_string(),
        or_empty(payment.provider),
    ]
}

/// A transfer to an address of an account.
pub fn transfer(flows: &Flows, own: &OwnTransfer) -> [String; TRANSFERS.len()] {
    let OwnTransfer { block, transfer, .. } = own;
    let [atomic, human, symbol] = amount(flows, &own.network, transfer.asset, transfer.amount.unwrap_or_default());
    [
        own.id.to_string(),
        time(block.timestamp),
        own.network.to_string(),
        transfer.transaction.clone(),
        transfer.index.to_string(),
        block.number.to_string(),
        block.hash.clone(),
        transfer.asset.to_string(),
        symbol,
        transfer.from.to_string(),
        transfer.to.to_string(),
        atomic,
        human,
        or_empty(own.invoice.map(|(invoice, _)| invoice)),
        or_empty(own.invoice.map(|(_, basis)| basis.as_str())),
        or_empty(own.payment),
        own.account.to_string(),
    ]
}

/// An invoice as its owner was told of it last.
pub fn invoice(invoice: &Invoice) -> [String; INVOICES.len()] {
    let Invoice { terms, told, .. } = invoice;
    let both = |amount: Amount| [amount.to_string(), amount.to_decimal(invoice.decimals)];
    let [[owed, owed_human], [paid, paid_human], [pending, pending_human]] = [terms.amount, told.paid, told.pending].map(both);
    let [[due, due_human], [surplus, surplus_human], [late, late_human]] = [told.due, told.surplus, told.late].map(both);
    [
        invoice.id.to_string(),
        time(invoice.created_at),
        told.status.as_str().to_owned(),
        invoice.symbol.clone(),
        invoice.decimals.to_string(),
        owed,
        owed_human,
        paid,
        paid_human,
        pending,
        pending_human,
        due,
        due_human,
        surplus,
        surplus_human,
        late,
        late_human,
        time(invoice.expires_at),
        time(terms.closes_at),
        or_empty(invoice.canceled_at.map(time)),
        or_empty(invoice.payer),
        or_empty(invoice.reference.as_ref()),
        or_empty(invoice.resource.as_ref()),
        or_empty(invoice.description.as_ref()),
        invoice.account.to_string(),
    ]
}
