//! Which invoice a transfer pays. What is not certain is left to the merchant: a guess would give one buyer's money to another.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use super::address::Address;
use super::amount::Amount;
use super::ids::InvoiceId;
use super::invoice::least;
use super::network::Network;
use super::transfer::Transfer;

/// A block may claim a time that is so long before its transactions were sent: it carries whole seconds, and its network tells the
/// time by a clock of its own, which on Solana is the word of those who voted on earlier blocks.
pub const CLOCKS_DIFFER: TimeDelta = TimeDelta::seconds(10);

/// Why a transfer counts for an invoice. The first that applies decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Basis {
    /// The merchant, or the payer with a proof, has said so.
    Assigned,
    /// It settles a payment that was asked for with the invoice's name.
    Payment,
    /// It carries the invoice's own nonce, reference or memo.
    Reference,
    /// It reached an address that was kept for the invoice alone.
    Reserved,
    /// It is exactly what the payer whom the invoice names owes.
    Payer,
    /// It is exactly what one open invoice of the address, and no other, asks for, and the merchant wants such matches.
    Amount,
}

impl Basis {
    /// Every basis.
    pub const ALL: [Self; 6] = [Self::Assigned, Self::Payment, Self::Reference, Self::Reserved, Self::Payer, Self::Amount];

    /// The word on the wire and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::Payment => "payment",
            Self::Reference => "reference",
            Self::Reserved => "reserved",
            Self::Payer => "payer",
            Self::Amount => "amount",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|basis| basis.as_str() == text)
    }
}

/// An invoice that a transfer may be for: one of its options, and why it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and every combination of them can be")]
pub struct Candidate {
    /// Which invoice.
    pub invoice: InvoiceId,
    /// Where it can be paid.
    pub network: Network,
    /// With which token.
    pub asset: Address,
    /// To whom.
    pub pay_to: Address,
    /// What the option asks for, in atomic units.
    pub amount: Amount,
    /// Decimal places of the token.
    pub decimals: u8,
    /// Whether the address was kept for it alone.
    pub reserved: bool,
    /// Who is expected to pay, if the merchant knows.
    pub payer: Option<Address>,
    /// Whether its amount alone may name it.
    pub by_amount: bool,
    /// Whether something was paid for it before. Then its amount says nothing any more.
    pub begun: bool,
    /// Whether so many transfers pay it that no more are taken without somebody's word.
    pub full: bool,
    /// Whether the transfer carries its nonce, reference or memo.
    pub named: bool,
    /// When it was made. Nothing that happened before is for it.
    pub created_at: DateTime<Utc>,
    /// Until when it can be paid.
    pub closes_at: DateTime<Utc>,
    /// Whether the merchant has called it off.
    pub canceled: bool,
}

impl Candidate {
    fn accepts(&self, network: &Network, transfer: &Transfer) -> bool {
        let is_dust = transfer.amount.is_none_or(|amount| amount < least(self.decimals));
        self.network == *network && self.asset == transfer.asset && self.pay_to == transfer.to && !is_dust && !self.full
    }

    fn is_open(&self, at: DateTime<Utc>) -> bool {
        !self.canceled && is_in_time(at, self.created_at, self.closes_at)
    }

    fn is_exact(&self, transfer: &Transfer, begun: &BTreeSet<InvoiceId>) -> bool {
        !self.begun && !begun.contains(&self.invoice) && transfer.amount == Some(self.amount)
    }
}

/// Chooses the invoice that a transfer in a block of the time `at` pays. `begun` are invoices that other transfers of the block pay.
#[must_use]
pub fn choose(
    network: &Network,
    transfer: &Transfer,
    at: DateTime<Utc>,
    candidates: &[&Candidate],
    begun: &BTreeSet<InvoiceId>,
) -> Option<(InvoiceId, Basis)> {
    if !can_pay(transfer) {
        return None;
    }
    let accepting: Vec<_> = candidates.iter().filter(|candidate| candidate.accepts(network, transfer)).collect();
    let only = |basis, matches: &dyn Fn(&Candidate) -> bool| {
        let mut found = accepting.iter().filter(|candidate| matches(candidate)).map(|candidate| candidate.invoice);
        let first = found.next()?;
        // Two of a kind cannot be told apart, unless they are two options of one invoice.
        found.all(|other| other == first).then_some((first, basis))
    };
    // Its own name belongs to an invoice for ever: what comes late is late for it and for nothing else.
    if let Some(named) = only(Basis::Reference, &|candidate| candidate.named) {
        return Some(named);
    }
    if let Some(reserved) = only(Basis::Reserved, &|candidate| candidate.reserved && candidate.is_open(at)) {
        return Some(reserved);
    }
    // Its payer has said what it is for. Where that cannot be, nothing else is guessed.
    if candidates.iter().any(|candidate| candidate.named) {
        return None;
    }
    let exact = |candidate: &Candidate| candidate.is_open(at) && !candidate.reserved && candidate.is_exact(transfer, begun);
    let from_payer = |candidate: &Candidate| exact(candidate) && candidate.payer == Some(transfer.from);
    only(Basis::Payer, &from_payer).or_else(|| {
        // One that does not want it, or waits for somebody else, makes the amount ambiguous all the same.
        let clear = |candidate: &Candidate| !exact(candidate) || (candidate.by_amount && candidate.payer.is_none());
        let clear = accepting.iter().all(|candidate| clear(candidate));
        only(Basis::Amount, &exact).filter(|_| clear)
    })
}

/// Whether a block of the time `at` comes in the time of an invoice.
#[must_use]
pub fn is_in_time(at: DateTime<Utc>, created_at: DateTime<Utc>, closes_at: DateTime<Utc>) -> bool {
    created_at <= made_until(at) && at <= closes_at
}

/// The latest moment at which an invoice can have been made that a block of the time `at` pays.
#[must_use]
pub fn made_until(at: DateTime<Utc>) -> DateTime<Utc> {
    at + CLOCKS_DIFFER
}

/// Whether a transfer can pay anything: something must move, from somebody to somebody else.
#[must_use]
pub fn can_pay(transfer: &Transfer) -> bool {
    transfer.from != transfer.to && transfer.amount.is_some_and(|amount| !amount.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAY_TO: Address = Address::Evm([3; 20]);
    const PAYER: Address = Address::Evm([2; 20]);
    const TOKEN: Address = Address::Evm([1; 20]);

    fn network() -> Network {
        "eip155:84532".parse().unwrap()
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn transfer() -> Transfer {
        Transfer {
            transaction: "0x01".to_owned(),
            index: 0,
            asset: TOKEN,
            from: PAYER,
            to: PAY_TO,
            amount: Some(Amount::new(100)),
            marks: Vec::new(),
        }
    }

    /// Open from second 10 to 60, as far as clocks agree, and asks for 100.
    fn candidate() -> Candidate {
        Candidate {
            invoice: InvoiceId::new(),
            network: network(),
            asset: TOKEN,
            pay_to: PAY_TO,
            amount: Amount::new(100),
            decimals: 4,
            reserved: false,
            payer: None,
            by_amount: false,
            begun: false,
            full: false,
            named: false,
            created_at: at(10),
            closes_at: at(60),
            canceled: false,
        }
    }

    fn basis(transfer: &Transfer, second: i64, candidates: &[Candidate]) -> Option<Basis> {
        let (invoice, basis) =
            choose(&network(), transfer, at(second), &candidates.iter().collect::<Vec<_>>(), &BTreeSet::new())?;
        assert_eq!(invoice, candidates[0].invoice, "the first is the one that was meant");
        Some(basis)
    }

    #[test]
    fn the_strongest_basis_decides() {
        let named = Candidate { named: true, ..candidate() };
        let reserved = Candidate { reserved: true, ..candidate() };
        let payer = Candidate { payer: Some(PAYER), ..candidate() };
        let amount = Candidate { by_amount: true, ..candidate() };
        let all = [&named, &reserved, &payer, &amount];

        for (index, expected) in [Basis::Reference, Basis::Reserved, Basis::Payer, Basis::Amount].into_iter().enumerate() {
            let rest: Vec<_> = all[index..].iter().map(|candidate| (*candidate).clone()).collect();
            assert_eq!(basis(&transfer(), 20, &rest), Some(expected));
        }
    }

    #[test]
    fn a_transfer_of_something_else_or_to_somebody_else_pays_nothing() {
        let elsewhere = Address::Evm([9; 20]);
        for wrong in [
            Candidate { network: "eip155:8453".parse().unwrap(), ..candidate() },
            Candidate { asset: elsewhere, ..candidate() },
            Candidate { pay_to: elsewhere, ..candidate() },
        ] {
            assert_eq!(basis(&transfer(), 20, &[Candidate { named: true, reserved: true, ..wrong }]), None);
        }
    }

    #[test]
    fn nothing_and_what_comes_from_the_recipient_pay_nothing() {
        let named = [Candidate { named: true, ..candidate() }];
        for transfer in [
            Transfer { amount: Some(Amount::ZERO), ..transfer() },
            Transfer { amount: None, ..transfer() },
            Transfer { from: PAY_TO, ..transfer() },
        ] {
            assert_eq!(basis(&transfer, 20, &named), None);
        }
    }

    #[test]
    fn dust_pays_nothing_whatever_it_names() {
        let candidates =
            [Candidate { decimals: 6, named: true, ..candidate() }, Candidate { decimals: 6, reserved: true, ..candidate() }];
        for candidate in &candidates {
            let of =
                |units| basis(&Transfer { amount: Some(Amount::new(units)), ..transfer() }, 20, std::slice::from_ref(candidate));
            assert_eq!((of(99).is_some(), of(100).is_some()), (false, true), "{candidate:?}");
        }
    }

    #[test]
    fn only_a_name_reaches_an_invoice_out_of_its_time() {
        let reserved = [Candidate { reserved: true, ..candidate() }];
        for (second, expected) in [(-1, None), (0, Some(Basis::Reserved)), (60, Some(Basis::Reserved)), (61, None)] {
            assert_eq!(basis(&transfer(), second, &reserved), expected, "{second}");
        }
        let canceled = Candidate { canceled: true, reserved: true, ..candidate() };
        assert_eq!(basis(&transfer(), 20, std::slice::from_ref(&canceled)), None);
        for second in [-1, 61] {
            assert_eq!(basis(&transfer(), second, &[Candidate { named: true, ..candidate() }]), Some(Basis::Reference));
        }
        assert_eq!(basis(&transfer(), 20, &[Candidate { named: true, ..canceled }]), Some(Basis::Reference));
    }

    #[test]
    fn an_amount_names_an_invoice_only_if_it_is_exact_alone_and_wanted() {
        let wanted = Candidate { by_amount: true, ..candidate() };
        let of = |candidates: &[Candidate]| basis(&transfer(), 20, candidates);

        assert_eq!(of(std::slice::from_ref(&wanted)), Some(Basis::Amount));
        assert_eq!(of(&[Candidate { amount: Amount::new(99), ..wanted.clone() }]), None);
        assert_eq!(of(&[Candidate { begun: true, ..wanted.clone() }]), None);
        assert_eq!(of(&[candidate()]), None);
        assert_eq!(of(&[wanted.clone(), Candidate { by_amount: true, ..candidate() }]), None);
        assert_eq!(of(&[wanted.clone(), candidate()]), None);
        assert_eq!(of(&[wanted.clone(), Candidate { payer: Some(TOKEN), by_amount: true, ..candidate() }]), None);
        // Two options of one invoice with the same address and amount.
        assert_eq!(of(&[wanted.clone(), wanted]), Some(Basis::Amount));
    }

    #[test]
    fn an_amount_says_nothing_of_an_invoice_that_the_same_block_has_begun() {
        let wanted = Candidate { by_amount: true, ..candidate() };
        let begun = BTreeSet::from([wanted.invoice]);

        assert_eq!(choose(&network(), &transfer(), at(20), &[&wanted], &begun), None);
    }

    #[test]
    fn where_the_named_invoice_cannot_be_paid_nothing_is_guessed() {
        let elsewhere = Candidate { named: true, pay_to: Address::Evm([9; 20]), ..candidate() };
        let amount = Candidate { by_amount: true, ..candidate() };
        let payer = Candidate { payer: Some(PAYER), ..candidate() };
        let reserved = Candidate { reserved: true, ..candidate() };

        for other in [&amount, &payer] {
            assert_eq!(basis(&transfer(), 20, &[other.clone(), elsewhere.clone()]), None, "{other:?}");
        }
        assert_eq!(basis(&transfer(), 20, &[reserved, elsewhere]), Some(Basis::Reserved));
        let (one, two) = (Candidate { named: true, ..candidate() }, Candidate { named: true, ..candidate() });
        assert_eq!(basis(&transfer(), 20, &[amount, one, two]), None);
    }

    #[test]
    fn an_invoice_that_is_full_takes_nothing_more() {
        for full in [Candidate { named: true, ..candidate() }, Candidate { reserved: true, ..candidate() }] {
            assert_eq!(basis(&transfer(), 20, &[Candidate { full: true, ..full }]), None);
        }
    }

    #[test]
    fn a_named_payer_pays_exactly_and_nobody_in_its_place() {
        let named = Candidate { payer: Some(PAYER), by_amount: true, ..candidate() };
        let of = |transfer: &Transfer, candidates: &[Candidate]| basis(transfer, 20, candidates);

        assert_eq!(of(&transfer(), std::slice::from_ref(&named)), Some(Basis::Payer));
        assert_eq!(of(&Transfer { from: TOKEN, ..transfer() }, std::slice::from_ref(&named)), None);
        assert_eq!(of(&Transfer { amount: Some(Amount::new(50)), ..transfer() }, std::slice::from_ref(&named)), None);
        assert_eq!(of(&transfer(), &[named.clone(), Candidate { payer: Some(PAYER), ..candidate() }]), None);
    }
}
