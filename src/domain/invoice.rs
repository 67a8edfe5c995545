//! What a merchant expects to be paid, and where an invoice stands.
//!
//! Terms are stored; everything else follows from them, from the transfers that pay, and from the time. So a reorganisation is only a
//! change in the list of transfers, and un-paying is told like paying.

use chrono::{DateTime, Utc};

use super::address::Address;
use super::amount::Amount;
use super::block::Level;
use super::network::Network;

/// One way of paying an invoice: a token on a network, to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentOption {
    /// Where.
    pub network: Network,
    /// The token.
    pub asset: Address,
    /// Decimal places of the token.
    pub decimals: u8,
    /// Who is paid.
    pub pay_to: Address,
    /// How much, in atomic units of the token.
    pub amount: Amount,
    /// Whether everything that reaches the address in time is for this invoice.
    pub reserved: bool,
}

impl PaymentOption {
    /// The same way to pay only what is `due`, in the unit of the invoice, which has `decimals` places: as many as the token, or more.
    /// What the token cannot express is rounded up.
    #[must_use]
    pub fn for_due(&self, due: Amount, decimals: u8) -> Self {
        let finer = decimals.saturating_sub(self.decimals);
        let units = due.units().div_ceil(10_u128.saturating_pow(finer.into()));
        Self { amount: Amount::new(units), ..self.clone() }
    }
}

/// Decimal places of the least that is worth an invoice.
const PLACES_WORTH: u8 = 4;

/// The least that an invoice asks for, and that a transfer must bring to be taken for one without anybody's word, in atomic units of a
/// token. Less than this is dust, which strangers send to everybody.
#[must_use]
pub fn least(decimals: u8) -> Amount {
    Amount::new(10_u128.saturating_pow(decimals.saturating_sub(PLACES_WORTH).into()))
}

/// What decides where an invoice stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// What is owed, in the invoice's own unit. Tokens of different decimals pay in the same coin, so the unit is the finest of them.
    pub amount: Amount,
    /// By how much the payments may fall short, in the same unit.
    pub tolerance: Amount,
    /// How deep a transfer must stand to count.
    pub answer_at: Level,
    /// The end of the time in which a transfer pays: the expiry and what is allowed beyond it.
    pub closes_at: DateTime<Utc>,
    /// Whether the merchant has called it off.
    pub canceled: bool,
}

impl Terms {
    /// Whether it can still be paid.
    #[must_use]
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        !self.canceled && now <= self.closes_at
    }
}

/// A transfer that an invoice has a claim on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// How much, in the invoice's unit.
    pub amount: Amount,
    /// How deep it stands.
    pub level: Level,
    /// When it came: the time of its block, or, if that was sooner, when we accepted the payment that it settles. For how long we
    /// and the network take to settle it nobody is to be blamed. A payment that we have given up counts when it lands after all.
    pub at: DateTime<Utc>,
}

/// Where an invoice stands, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nothing has come, and there is time.
    Open,
    /// Something has come that does not stand deep enough yet.
    Seen,
    /// Less has come than is owed.
    Underpaid,
    /// Nothing has come in time.
    Expired,
    /// Everything has come.
    Paid,
    /// Everything has come, and can no longer be undone.
    Final,
    /// The merchant has called it off.
    Canceled,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 7] = [Self::Open, Self::Seen, Self::Underpaid, Self::Expired, Self::Paid, Self::Final, Self::Canceled];

    /// The word on the wire and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Seen => "seen",
            Self::Underpaid => "underpaid",
            Self::Expired => "expired",
            Self::Paid => "paid",
            Self::Final => "final",
            Self::Canceled => "canceled",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// Whether the merchant may hand out what was bought.
    #[must_use]
    pub const fn is_paid(self) -> bool {
        matches!(self, Self::Paid | Self::Final)
    }
}

/// Where an invoice stands, with its amounts in the invoice's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// In a word.
    pub status: Status,
    /// What has come in time and stands deep enough.
    pub paid: Amount,
    /// What has come in time and does not stand deep enough yet.
    pub pending: Amount,
    /// What is still to be sent.
    pub due: Amount,
    /// What has come in time beyond what is owed.
    pub surplus: Amount,
    /// What has come after the time, or for an invoice that was called off. It pays nothing; what becomes of it is between merchant
    /// and payer.
    pub late: Amount,
}

/// Derives where an invoice stands.
#[must_use]
pub fn standing(terms: &Terms, credits: &[Credit], now: DateTime<Utc>) -> Standing {
    let sum = |counts: &dyn Fn(&Credit) -> bool| {
        let units = credits.iter().filter(|credit| counts(credit)).map(|credit| credit.amount.units());
        Amount::new(units.fold(0, u128::saturating_add))
    };
    // For what was called off everything comes too late, so that the merchant is told of it.
    let in_time = |credit: &Credit| !terms.canceled && credit.at <= terms.closes_at;
    let paid = sum(&|credit| in_time(credit) && credit.level >= terms.answer_at);
    let pending = sum(&|credit| in_time(credit) && credit.level < terms.answer_at);
    let finalized = sum(&|credit| in_time(credit) && credit.level == Level::Final);
    let late = sum(&|credit| !in_time(credit));
    let covers = |amount: Amount| amount.units() >= terms.amount.units().saturating_sub(terms.tolerance.units());

    let status = if terms.canceled {
        Status::Canceled
    } else if covers(finalized) {
        Status::Final
    } else if covers(paid) {
        Status::Paid
    } else if !paid.is_zero() {
        Status::Underpaid
    } else if !pending.is_zero() {
        // It came in time, so the clock does not run out while its block becomes deeper.
        Status::Seen
    } else if now > terms.closes_at {
        Status::Expired
    } else {
        Status::Open
    };
    let covered = terms.canceled || status.is_paid();
    let missing = terms.amount.units().saturating_sub(paid.units()).saturating_sub(pending.units());
    Standing {
        status,
        paid,
        pending,
        due: if covered { Amount::ZERO } else { Amount::new(missing) },
        surplus: Amount::new(paid.units().saturating_sub(terms.amount.units())),
        late,
    }
}

/// Something that happened to an invoice: the difference of two standings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    /// A first transfer is there that does not count yet.
    Seen,
    /// Less has come than is owed.
    Underpaid,
    /// Everything has come.
    Paid,
    /// Everything has come, and can no longer be undone.
    Finalized,
    /// The time is over.
    Expired,
    /// The merchant has called it off.
    Canceled,
    /// Something that had come is gone, and it is not paid: blocks were replaced.
    Reopened,
    /// More or less has come beyond what is owed. The surplus may be gone again: what was told before is not to be sent back then.
    Overpaid,
    /// The same of what has come after the time, or for an invoice that was called off.
    PaidLate,
}

/// Whether something that was told is gone, and the invoice is not paid without it.
fn has_lost(before: &Standing, after: &Standing) -> bool {
    let come = |standing: &Standing| standing.paid.units().saturating_add(standing.pending.units());
    let lost = after.paid < before.paid || come(after) < come(before);
    lost && !after.status.is_paid() && after.status != Status::Canceled
}

/// What is to be told after an invoice came from one standing to another.
#[must_use]
pub fn changes(before: &Standing, after: &Standing) -> Vec<Change> {
    let mut changes = Vec::new();
    let lost = has_lost(before, after);
    changes.extend(lost.then_some(Change::Reopened));
    if before.status != after.status {
        changes.extend(match after.status {
            // Falling back to one of these is told as the reopening.
            Status::Open => None,
            Status::Seen | Status::Underpaid if lost => None,
            Status::Seen => Some(Change::Seen),
            Status::Underpaid => Some(Change::Underpaid),
            Status::Expired => Some(Change::Expired),
            // From final it came back to paid only because an operator said so, and nothing new has come.
            Status::Paid if before.status == Status::Final => Some(Change::Reopened),
            Status::Paid => Some(Change::Paid),
            Status::Final => Some(Change::Finalized),
            Status::Canceled => Some(Change::Canceled),
        });
        // Whoever waits for the payment must hear of it, also where it is final at once.
        if after.status == Status::Final && !before.status.is_paid() {
            changes.insert(0, Change::Paid);
        }
    } else if after.status == Status::Underpaid && after.paid > before.paid {
        changes.push(Change::Underpaid);
    }
    if after.surplus > before.surplus || (after.surplus < before.surplus && !lost) {
        changes.push(Change::Overpaid);
    }
    if after.late != before.late {
        changes.push(Change::PaidLate);
    }
    changes
}

/// Takes an amount from a token's decimals to a finer unit. `None` if it does not fit 128 bits, or the unit is coarser.
#[must_use]
pub fn rescale(amount: Amount, from: u8, to: u8) -> Option<Amount> {
    let factor = 10_u128.checked_pow(u32::from(to.checked_sub(from)?))?;
    amount.units().checked_mul(factor).map(Amount::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use proptest::prelude::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    /// Owes 100 until second 60, at included blocks, give or take nothing.
    fn terms() -> Terms {
        Terms {
            amount: Amount::new(100),
            tolerance: Amount::ZERO,
            answer_at: Level::Included,
            closes_at: at(60),
            canceled: false,
        }
    }

    fn credit(units: u128, level: Level, second: i64) -> Credit {
        Credit { amount: Amount::new(units), level, at: at(second) }
    }

    /// Status, paid, pending, due, surplus and late.
    fn of(terms: &Terms, credits: &[Credit], now: i64) -> (&'static str, [u128; 5]) {
        let standing = standing(terms, credits, at(now));
        let Standing { status, paid, pending, due, surplus, late } = standing;
        (status.as_str(), [paid, pending, due, surplus, late].map(Amount::units))
    }

    #[test]
    fn an_invoice_is_paid_by_what_comes_in_time() {
        let one = |units, second| [credit(units, Level::Included, second)];

        assert_eq!(of(&terms(), &[], 60), ("open", [0, 0, 100, 0, 0]));
        assert_eq!(of(&terms(), &[], 61), ("expired", [0, 0, 100, 0, 0]));
        assert_eq!(of(&terms(), &one(99, 5), 6), ("underpaid", [99, 0, 1, 0, 0]));
        assert_eq!(of(&terms(), &one(99, 5), 61), ("underpaid", [99, 0, 1, 0, 0]));
        assert_eq!(of(&terms(), &one(100, 60), 99), ("paid", [100, 0, 0, 0, 0]));
        assert_eq!(of(&terms(), &one(100, 61), 99), ("expired", [0, 0, 100, 0, 100]));
        assert_eq!(of(&terms(), &one(101, 5), 6), ("paid", [101, 0, 0, 1, 0]));
        let halves = [credit(40, Level::Final, 1), credit(60, Level::Included, 2), credit(7, Level::Included, 61)];
        assert_eq!(of(&terms(), &halves, 70), ("paid", [100, 0, 0, 0, 7]));
    }

    #[test]
    fn an_invoice_can_be_paid_until_its_last_moment_unless_it_was_called_off() {
        assert!(terms().is_open(at(60)));
        assert!(!terms().is_open(at(61)));
        assert!(!Terms { canceled: true, ..terms() }.is_open(at(1)));
    }

    #[test]
    fn what_does_not_stand_deep_enough_is_seen_and_not_owed_again() {
        let deep = Terms { answer_at: Level::Safe, ..terms() };

        assert_eq!(of(&deep, &[credit(100, Level::Included, 5)], 6), ("seen", [0, 100, 0, 0, 0]));
        assert_eq!(of(&deep, &[credit(100, Level::Included, 60)], 99), ("seen", [0, 100, 0, 0, 0]));
        assert_eq!(of(&deep, &[credit(100, Level::Safe, 5)], 6), ("paid", [100, 0, 0, 0, 0]));
        assert_eq!(of(&deep, &[credit(100, Level::Final, 5)], 6), ("final", [100, 0, 0, 0, 0]));
        let mixed = [credit(30, Level::Safe, 5), credit(30, Level::Included, 5)];
        assert_eq!(of(&deep, &mixed, 6), ("underpaid", [30, 30, 40, 0, 0]));
    }

    #[test]
    fn the_tolerance_forgives_what_is_missing_and_no_more() {
        let kind = Terms { tolerance: Amount::new(5), ..terms() };

        assert_eq!(of(&kind, &[credit(94, Level::Included, 5)], 6), ("underpaid", [94, 0, 6, 0, 0]));
        assert_eq!(of(&kind, &[credit(95, Level::Included, 5)], 6), ("paid", [95, 0, 0, 0, 0]));
        assert_eq!(of(&kind, &[credit(95, Level::Final, 5)], 6), ("final", [95, 0, 0, 0, 0]));
    }

    #[test]
    fn what_is_called_off_stays_so_whatever_comes() {
        let canceled = Terms { canceled: true, ..terms() };

        assert_eq!(of(&canceled, &[], 6), ("canceled", [0, 0, 0, 0, 0]));
        assert_eq!(of(&canceled, &[credit(101, Level::Final, 5)], 6), ("canceled", [0, 0, 0, 0, 101]));
    }

    #[test]
    fn every_change_is_told_once() {
        use Change::{Canceled, Expired, Finalized, Overpaid, Paid, PaidLate, Reopened, Seen, Underpaid};
        let after = |credits: &[Credit], now| standing(&Terms { answer_at: Level::Safe, ..terms() }, credits, at(now));
        let open = after(&[], 1);
        let seen = after(&[credit(100, Level::Included, 1)], 1);
        let less = after(&[credit(50, Level::Included, 1)], 1);
        let half = after(&[credit(50, Level::Safe, 1)], 1);
        let more = after(&[credit(60, Level::Safe, 1)], 1);
        let paid = after(&[credit(100, Level::Safe, 1)], 1);
        let over = after(&[credit(101, Level::Safe, 1)], 1);
        let last = after(&[credit(100, Level::Final, 1)], 1);
        let expired = after(&[], 61);
        let late = after(&[credit(100, Level::Safe, 61)], 61);
        let called_off = |credits: &[Credit]| standing(&Terms { canceled: true, ..terms() }, credits, at(1));
        let canceled = called_off(&[]);
        let needless = called_off(&[credit(100, Level::Included, 1)]);

        for (before, after, told) in [
            (open, open, vec![]),
            (open, seen, vec![Seen]),
            (seen, paid, vec![Paid]),
            (open, half, vec![Underpaid]),
            (half, more, vec![Underpaid]),
            (half, paid, vec![Paid]),
            (paid, over, vec![Overpaid]),
            (paid, last, vec![Finalized]),
            (open, last, vec![Paid, Finalized]),
            (open, expired, vec![Expired]),
            (expired, late, vec![PaidLate]),
            (open, canceled, vec![Canceled]),
            (canceled, needless, vec![PaidLate]),
            (needless, canceled, vec![PaidLate]),
            (paid, open, vec![Reopened]),
            (paid, seen, vec![Reopened]),
            (paid, half, vec![Reopened]),
            (paid, expired, vec![Reopened, Expired]),
            (last, paid, vec![Reopened]),
            (seen, less, vec![Reopened]),
            (seen, open, vec![Reopened]),
            (seen, expired, vec![Reopened, Expired]),
            (half, open, vec![Reopened]),
            (half, less, vec![Reopened]),
            (half, expired, vec![Reopened, Expired]),
            (more, half, vec![Reopened]),
            (over, paid, vec![Overpaid]),
            (over, half, vec![Reopened]),
            (late, expired, vec![PaidLate]),
        ] {
            assert_eq!(changes(&before, &after), told, "{:?} -> {:?}", before.status, after.status);
        }
    }

    #[test]
    fn a_ten_thousandth_is_worth_an_invoice_or_the_least_that_the_token_has() {
        for (decimals, units) in [(0, 1), (4, 1), (5, 10), (6, 100), (18, 100_000_000_000_000)] {
            assert_eq!(least(decimals), Amount::new(units), "{decimals}");
        }
    }

    #[test]
    fn amounts_are_taken_to_a_finer_unit_exactly() {
        assert_eq!(rescale(Amount::new(7), 6, 6), Some(Amount::new(7)));
        assert_eq!(rescale(Amount::new(7), 6, 18), Some(Amount::new(7_000_000_000_000)));
        assert_eq!(rescale(Amount::new(7), 18, 6), None);
        assert_eq!(rescale(Amount::new(u128::MAX), 6, 7), None);
    }

    proptest! {
        /// Nodes report transfers late and out of order. None of that may change what an invoice is worth.
        #[test]
        fn a_standing_depends_only_on_the_set_of_credits(
            credits in prop::collection::vec((0_u128..120, 0_u8..3, 0_i64..90), 0..6),
            rotation in 0_usize..6, tolerance in 0_u128..10, now in 0_i64..120, level in 0_u8..3,
        ) {
            let levels = [Level::Included, Level::Safe, Level::Final];
            let terms = Terms { tolerance: Amount::new(tolerance), answer_at: levels[usize::from(level)], ..terms() };
            let mut credits: Vec<_> = credits.iter().map(|(units, level, at)| credit(*units, levels[usize::from(*level)], *at)).collect();
            let first = standing(&terms, &credits, at(now));
            let total: u128 = credits.iter().map(|credit| credit.amount.units()).sum();
            let length = credits.len().max(1);
            credits.rotate_left(rotation % length);

            prop_assert_eq!(standing(&terms, &credits, at(now)), first);
            prop_assert_eq!(first.paid.units() + first.pending.units() + first.late.units(), total);
            prop_assert!(first.surplus.is_zero() || first.due.is_zero());
            prop_assert_eq!(first.status.is_paid(), first.paid.units() + tolerance >= 100);
        }
    }

    #[test]
    fn what_is_due_is_asked_for_in_the_unit_of_the_token_and_never_less() {
        let option = PaymentOption {
            network: "eip155:8453".parse().unwrap(),
            asset: Address::Evm([1; 20]),
            decimals: 6,
            pay_to: Address::Evm([2; 20]),
            amount: Amount::new(250_000),
            reserved: false,
        };
        let due = |units, decimals| option.for_due(Amount::new(units), decimals).amount.units();

        assert_eq!(due(150_000, 6), 150_000);
        assert_eq!(due(150_000_000, 9), 150_000);
        assert_eq!(due(150_000_001, 9), 150_001);
        assert_eq!(due(0, 9), 0);
    }
}
