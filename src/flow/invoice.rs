//! Opens invoices, calls them off, and gives them transfers by the merchant's word.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::credit::settle_standings;
use super::verify::Verdict;
use super::{Flows, Unavailable};
use crate::domain::address::Address;
use crate::domain::amount::{Amount, ParseAmountError};
use crate::domain::answer::AnswerPolicy;
use crate::domain::asset::Asset;
use crate::domain::block::Level;
use crate::domain::ids::{AccountId, AddressId, InvoiceId, TransferId};
use crate::domain::invoice::{PaymentOption, Standing, Status, Terms, least, rescale};
use crate::domain::matching;
use crate::domain::network::Network;
use crate::domain::payment::PaymentRequest;
use crate::domain::reason::{Reason, Refusal};
use crate::ledger::addresses::RegisteredAddress;
use crate::ledger::invoices::Invoice;
use crate::ledger::{
    Db, LedgerError, accounts, addresses, blocks, commit, events, invoices, payments, receipts, settings, transfers,
};

/// What a merchant asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// How much, as people write it.
    pub amount: String,
    /// What people call the token.
    pub symbol: String,
    /// Where it can be paid; empty: everywhere.
    pub networks: Vec<Network>,
    /// At which of the merchant's addresses; empty: at one of each network, which was kept for another invoice longest ago, or never.
    pub addresses: Vec<AddressId>,
    /// Whether the addresses are kept for this invoice alone.
    pub reserve: bool,
    /// Who is expected to pay.
    pub payer: Option<Address>,
    /// Whether its amount alone may name it.
    pub by_amount: bool,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
    /// When it was ordered. Its time is counted from then.
    pub ordered_at: DateTime<Utc>,
    /// For how much longer a transfer pays.
    pub grace: TimeDelta,
    /// By how much the payments may fall short, as people write it.
    pub tolerance: Option<String>,
    /// How deep a transfer must stand to count, if that is more than the networks' and the merchant's settings say.
    pub answer_at: Option<Level>,
    /// What is bought, as a URL.
    pub resource: Option<String>,
    /// What is bought, for people.
    pub description: Option<String>,
    /// The merchant's own name for it.
    pub reference: Option<String>,
    /// What the merchant wants to find again.
    pub metadata: Value,
}

/// Why there is no such invoice.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// Not a number, none at all, or more precise than the token.
    #[error("amount: {0}")]
    Amount(#[source] ParseAmountError),
    /// Nothing is owed.
    #[error("amount: it must be more than nothing")]
    NoAmount,
    /// Less than what is worth matching.
    #[error("amount: it must be at least {0}")]
    Dust(String),
    /// Not a number, or more precise than the token.
    #[error("tolerance: {0}")]
    Tolerance(#[source] ParseAmountError),
    /// As much as is owed, or more.
    #[error("tolerance: it must be less than the amount")]
    ToleranceTooLarge,
    /// No configured network has such a token.
    #[error("asset: no network here has a token called {0}")]
    UnknownAsset(String),
    /// A network that is not configured, or lacks the token.
    #[error("networks: {0} is not offered here with this token")]
    UnknownNetwork(Network),
    /// Not an address that the account has registered, or one that is kept for another invoice.
    #[error("addresses: {0} is not yours to be paid at now")]
    UnknownAddress(AddressId),
    /// The account has no address where it could be paid, or all are kept for other invoices.
    #[error("addresses: no address of yours is free on any of the networks")]
    NoAddress,
    /// A network that the order names, and on which the account has no address where it could be paid.
    #[error("networks: no address of yours is free on {}", names(.0))]
    Unserved(Vec<Network>),
    /// All addresses are kept for other invoices, or are where others are paid.
    #[error("reserveAddress: no address is free")]
    NoFreeAddress,
    /// An address is to be kept where nobody looks for what reaches it.
    #[error("reserveAddress: transfers on {0} are not looked for here; name other networks, or keep no address")]
    Unwatched(Network),
    /// In the past, too soon, or too late.
    #[error("expiresAt: it must be between five seconds and ten years from now")]
    Expiry,
    /// Longer than the time that an invoice is watched for.
    #[error("grace: it must be at most 30 days")]
    Grace,
    /// A payer of a family of networks on which it cannot be paid.
    #[error("payer: not an address of any of the networks")]
    Payer,
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Why an invoice is not called off, or gets no transfer.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such invoice, or it is not the caller's.
    #[error("there is no such invoice here")]
    NoSuchInvoice,
    /// There is no such transfer, or it is not the caller's.
    #[error("there is no such transfer here")]
    NoSuchTransfer,
    /// Something has been paid for it.
    #[error("something has been paid for it")]
    Begun,
    /// Somebody pays it at this moment.
    #[error("a payment for it is under way")]
    UnderWay,
    /// The transfer pays something already, or its block is gone.
    #[error("the transfer is not free")]
    NotFree,
    /// The invoice cannot be paid with this token, or the transfer moved nothing.
    #[error("the invoice cannot be paid by this transfer")]
    DoesNotFit,
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The shortest and the longest time that an invoice is open.
const EXPIRES_WITHIN: (TimeDelta, TimeDelta) = (TimeDelta::seconds(5), TimeDelta::days(3_653));

/// The longest time that is allowed beyond the expiry.
const GRACE_MAX: TimeDelta = TimeDelta::days(30);

impl Flows {
    /// Opens an invoice for an account.
    ///
    /// # Errors
    /// See [`OrderError`]. Then the transaction must not be committed.
    pub async fn open_invoice(&self, db: &mut Db, account: AccountId, order: Order) -> Result<Invoice, OrderError> {
        let now = self.clock.now();
        check_times(&order)?;
        let assets = self.assets_of(&order)?;
        // Two orders of an account wait for each other here. Otherwise one could reserve an address while another sees it free.
        accounts::lock(db, account).await?;
        let id = InvoiceId::new();
        let decimals = assets.iter().map(|asset| asset.decimals).max().unwrap_or_default();
        let places = addresses_for(db, account, &order, &assets, now).await?;
        let options = options(&order, &assets, &places)?;
        check_networks(&order, &options)?;
        if order.payer.is_some_and(|payer| !options.iter().any(|option| is_of(&option.network, payer))) {
            return Err(OrderError::Payer);
        }
        let closes_at = order.expires_at + order.grace;
        if order.reserve {
            for place in places.iter().filter(|place| options.iter().any(|option| option.pay_to == place.address)) {
                if !self.records_transfers(&place.network) {
                    return Err(OrderError::Unwatched(place.network.clone()));
                }
                if !addresses::reserve(db, place.id, id, closes_at, now).await? {
                    return Err(OrderError::NoFreeAddress);
                }
            }
        }
        let policy = settings::find(db, account).await?.answer_at;
        let terms = self.terms(&order, &options, decimals, policy.as_ref())?;
        let due = terms.amount;
        let invoice = Invoice {
            id,
            account,
            terms,
            decimals,
            symbol: order.symbol,
            payer: order.payer,
            by_amount: order.by_amount,
            created_at: now,
            expires_at: order.expires_at,
            canceled_at: None,
            resource: order.resource,
            description: order.description,
            reference: order.reference,
            metadata: order.metadata,
            options,
            told: Standing {
                status: Status::Open,
                paid: Amount::ZERO,
                pending: Amount::ZERO,
                due,
                surplus: Amount::ZERO,
                late: Amount::ZERO,
            },
        };
        invoices::insert(db, &invoice).await?;
        Ok(invoice)
    }

    /// The tokens with which an order can be paid.
    fn assets_of(&self, order: &Order) -> Result<Vec<Asset>, OrderError> {
        let all = self.chains.iter().flat_map(|chain| chain.profile().assets.iter());
        let named: Vec<_> = all.filter(|asset| asset.symbol.eq_ignore_ascii_case(&order.symbol)).cloned().collect();
        if named.is_empty() {
            return Err(OrderError::UnknownAsset(order.symbol.clone()));
        }
        if let Some(missing) = order.networks.iter().find(|network| !named.iter().any(|asset| asset.network == **network)) {
            return Err(OrderError::UnknownNetwork((*missing).clone()));
        }
        Ok(named.into_iter().filter(|asset| order.networks.is_empty() || order.networks.contains(&asset.network)).collect())
    }

    fn terms(
        &self,
        order: &Order,
        options: &[PaymentOption],
        decimals: u8,
        policy: Option<&AnswerPolicy>,
    ) -> Result<Terms, OrderError> {
        let amount = Amount::from_decimal(&order.amount, decimals).map_err(OrderError::Amount)?;
        let tolerance = order.tolerance.as_deref().map(|text| Amount::from_decimal(text, decimals)).transpose();
        let tolerance = tolerance.map_err(OrderError::Tolerance)?.unwrap_or_default();
        if tolerance >= amount {
            return Err(OrderError::ToleranceTooLarge);
        }
        let level = |option: &PaymentOption| {
            let at = |policy: &AnswerPolicy| policy.level(option.amount, option.decimals);
            let operators = self.policies.get(&option.network).map_or(Level::Final, |policy| at(&policy.answer));
            operators.max(policy.map_or(Level::Included, at))
        };
        let usual = options.iter().map(level).max().unwrap_or(Level::Final);
        Ok(Terms {
            amount,
            tolerance,
            // An order may ask for more than the operator's and the merchant's rules, never for less.
            answer_at: order.answer_at.map_or(usual, |wanted| wanted.max(usual)),
            closes_at: order.expires_at + order.grace,
            canceled: false,
        })
    }

    /// Calls an account's invoice off.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn cancel_invoice(&self, account: AccountId, id: InvoiceId) -> Result<(), ChangeError> {
        let now = self.clock.now();
        let found = self.ledger.find_invoice(id).await?.filter(|invoice| invoice.account == account);
        let found = found.ok_or(ChangeError::NoSuchInvoice)?;
        let networks: BTreeSet<_> = found.options.into_iter().map(|option| option.network).collect();
        let mut db = self.ledger.begin().await?;
        // Blocks are taken in under these locks, so none that pays the invoice comes in between. Always in the same order, so that
        // nobody waits in a circle.
        for network in &networks {
            blocks::lock_cursor(&mut db, network).await?;
        }
        let locked = invoices::lock(&mut db, &[id]).await?.pop().filter(|invoice| invoice.account == account);
        let invoice = locked.ok_or(ChangeError::NoSuchInvoice)?;
        if invoice.terms.canceled {
            return Ok(());
        }
        if !invoices::credits_of(&mut db, &[invoice]).await?.is_empty() {
            return Err(ChangeError::Begun);
        }
        // Payments are recorded while they hold the invoice, so none comes in between either.
        if payments::is_under_way_for(&mut db, id, now).await? {
            return Err(ChangeError::UnderWay);
        }
        invoices::cancel(&mut db, id, now).await?;
        let told = settle_standings(&mut db, &BTreeSet::from([id]), now).await?;
        events::insert(&mut db, &told, now).await?;
        commit(db).await?;
        self.count_told(&told);
        Ok(())
    }

    /// Gives a free transfer of an account to one of its invoices.
    ///
    /// # Errors
    /// See [`ChangeError`]. Then the transaction must not be committed.
    pub async fn assign_transfer(
        &self,
        db: &mut Db,
        account: AccountId,
        transfer: TransferId,
        invoice: InvoiceId,
    ) -> Result<(), ChangeError> {
        let now = self.clock.now();
        let network = transfers::network_of(db, account, transfer).await?.ok_or(ChangeError::NoSuchTransfer)?;
        // Blocks are undone under this lock, so the transfer stands where it stands until the end.
        blocks::lock_cursor(db, &network).await?;
        let found = transfers::lock_own(db, account, transfer).await?.ok_or(ChangeError::NoSuchTransfer)?;
        let locked = invoices::lock(db, &[invoice]).await?.pop().filter(|invoice| invoice.account == account);
        locked.ok_or(ChangeError::NoSuchInvoice)?;
        // What settled a payment that named no invoice may still be said to be for one.
        if !found.canonical || found.invoice.is_some() {
            return Err(ChangeError::NotFree);
        }
        // It is the payment's that was settled here, and that claims it in a moment under the same lock.
        if transfers::awaits_payment(db, &network, &found.transfer.transaction).await? {
            return Err(ChangeError::NotFree);
        }
        if !matching::can_pay(&found.transfer) || !invoices::knows(db, invoice, &found.network, found.transfer.asset).await? {
            return Err(ChangeError::DoesNotFit);
        }
        invoices::assign(db, &found, invoice, now).await?;
        let claim =
            transfers::NewClaim { transfer: &found.transfer, payment: None, invoice: Some((invoice, matching::Basis::Assigned)) };
        transfers::claim(db, &found.network, &found.block, &[claim]).await?;
        receipts::issue(db, &found.network, &found.block.hash, now).await?;
        let told = settle_standings(db, &BTreeSet::from([invoice]), now).await?;
        events::insert(db, &told, now).await?;
        // The caller commits. If that fails, one too many was counted, which a graph can bear.
        self.count_told(&told);
        Ok(())
    }

    /// The invoice of ours that a payment is for.
    ///
    /// # Errors
    /// An invoice that this payment cannot pay, or the database could not be reached.
    pub(super) async fn named_invoice(&self, request: &PaymentRequest) -> Result<Option<Invoice>, Verdict> {
        let Some(id) = request.named_invoice() else { return Ok(None) };
        let refused = |why: &str| Verdict::from(Refusal::because(Reason::InvalidPaymentRequirements, why));
        let invoice = self.ledger.find_invoice(id).await.map_err(Unavailable::from)?;
        let invoice = invoice.ok_or_else(|| refused("extra.invoice: there is no such invoice"))?;
        let (network, asset, pay_to) = (&request.network, request.asset, request.pay_to);
        let takes = async {
            let mut db = self.ledger.acquire().await?;
            // An address may have got another owner since the invoice was opened, to whom the money goes then.
            let owner = addresses::owners(&mut db, network, &[pay_to.to_string()], None).await?.pop().map(|(_, owner)| owner);
            invoices::takes(&mut db, id, network, asset, (pay_to, owner)).await
        };
        if !takes.await.map_err(Unavailable::from)? {
            return Err(refused("extra.invoice: it cannot be paid like this"));
        }
        check_payable(&invoice.terms, &invoice.told, self.clock.now())?;
        Ok(Some(invoice))
    }

    /// Makes sure, when a payment that names an invoice is about to be recorded, that it can still be paid. It may have been called off
    /// or paid since it was looked at; from here on it is not, until the transaction ends.
    pub(super) async fn hold_open(&self, db: &mut Db, invoice: Option<InvoiceId>) -> Result<(), Verdict> {
        let Some(invoice) = invoice else { return Ok(()) };
        let (terms, told) = invoices::hold(db, invoice).await?.ok_or_else(not_open)?;
        Ok(check_payable(&terms, &told, self.clock.now())?)
    }
}

fn check_payable(terms: &Terms, told: &Standing, now: DateTime<Utc>) -> Result<(), Refusal> {
    if !terms.is_open(now) {
        return Err(not_open());
    }
    if told.due.is_zero() {
        return Err(Refusal::because(Reason::InvalidPaymentRequirements, "extra.invoice: nothing of it is left to pay"));
    }
    Ok(())
}

fn not_open() -> Refusal {
    Refusal::because(Reason::InvalidPaymentRequirements, "extra.invoice: it is not open any more")
}

fn check_times(order: &Order) -> Result<(), OrderError> {
    let (shortest, longest) = EXPIRES_WITHIN;
    if order.expires_at < order.ordered_at + shortest || order.expires_at > order.ordered_at + longest {
        return Err(OrderError::Expiry);
    }
    if order.grace < TimeDelta::zero() || order.grace > GRACE_MAX {
        return Err(OrderError::Grace);
    }
    Ok(())
}

/// The merchant's addresses at which an order can be paid: those that it names, or one of each network. Only these are read: there may be
/// a hundred thousand others.
async fn addresses_for(
    db: &mut Db,
    account: AccountId,
    order: &Order,
    assets: &[Asset],
    now: DateTime<Utc>,
) -> Result<Vec<RegisteredAddress>, OrderError> {
    // What comes a moment too late for the invoice that an address was kept for is not to be taken for what this one waits for.
    let now = now - matching::CLOCKS_DIFFER;
    let networks: Vec<_> = assets.iter().map(|asset| asset.network.as_str().to_owned()).collect();
    let places = if order.addresses.is_empty() {
        let chosen = addresses::choose(db, account, &networks, order.reserve, now).await?;
        addresses::free_of(db, account, &networks, &chosen, now).await?
    } else {
        named_addresses(db, account, order, &networks, now).await?
    };
    match (places.is_empty(), order.reserve) {
        (false, _) => Ok(places),
        (true, true) => Err(OrderError::NoFreeAddress),
        (true, false) => Err(OrderError::NoAddress),
    }
}

async fn named_addresses(
    db: &mut Db,
    account: AccountId,
    order: &Order,
    networks: &[String],
    now: DateTime<Utc>,
) -> Result<Vec<RegisteredAddress>, OrderError> {
    let free = addresses::free_of(db, account, networks, &order.addresses, now).await?;
    if let Some(missing) = order.addresses.iter().find(|id| !free.iter().any(|address| address.id == **id)) {
        return Err(OrderError::UnknownAddress(*missing));
    }
    let awaited = if order.reserve { addresses::awaited(db, account, &order.addresses, now).await? } else { Vec::new() };
    Ok(free.into_iter().filter(|address| !awaited.contains(&address.id)).collect())
}

/// Each token at each address of its network.
fn options(order: &Order, assets: &[Asset], places: &[RegisteredAddress]) -> Result<Vec<PaymentOption>, OrderError> {
    let mut options = Vec::new();
    for asset in assets {
        let amount = Amount::from_decimal(&order.amount, asset.decimals).map_err(OrderError::Amount)?;
        if amount.is_zero() {
            return Err(OrderError::NoAmount);
        }
        let least = least(asset.decimals);
        if amount < least {
            return Err(OrderError::Dust(least.to_decimal(asset.decimals)));
        }
        let here = places.iter().filter(|place| place.network == asset.network);
        options.extend(here.map(|place| PaymentOption {
            network: asset.network.clone(),
            asset: asset.address,
            decimals: asset.decimals,
            pay_to: place.address,
            amount,
            reserved: order.reserve,
        }));
    }
    // What every credit will be counted in.
    let finest = options.iter().map(|option| option.decimals).max().unwrap_or_default();
    match options.iter().all(|option| rescale(option.amount, option.decimals, finest).is_some()) {
        true if !options.is_empty() => Ok(options),
        true => Err(OrderError::NoAddress),
        false => Err(OrderError::Amount(ParseAmountError::TooLarge)),
    }
}

/// Whether the order can be paid on each network that it names: a payer may have been promised one of them.
fn check_networks(order: &Order, options: &[PaymentOption]) -> Result<(), OrderError> {
    let is_served = |network: &Network| options.iter().any(|option| option.network == *network);
    let unserved: Vec<_> = order.networks.iter().filter(|network| !is_served(network)).cloned().collect();
    if unserved.is_empty() { Ok(()) } else { Err(OrderError::Unserved(unserved)) }
}

fn names(networks: &[Network]) -> String {
    networks.iter().map(Network::as_str).collect::<Vec<_>>().join(", ")
}

fn is_of(network: &Network, address: Address) -> bool {
    use crate::domain::network::Family;
    matches!((network.family(), address), (Family::Eip155, Address::Evm(_)) | (Family::Solana, Address::Solana(_)))
}
