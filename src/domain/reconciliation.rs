//! Compares what a network says of registered addresses with what the ledger says: rules over values.

use std::collections::BTreeMap;

use super::address::Address;
use super::amount::Amount;
use super::transfer::TransactionId;

/// What one transaction did to what an address holds of a token, as the network tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// The transaction.
    pub transaction: TransactionId,
    /// The address.
    pub address: Address,
    /// The token.
    pub asset: Address,
    /// What came.
    pub received: Amount,
    /// What went.
    pub spent: Amount,
}

/// What the ledger says that one transaction brought to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// The transaction.
    pub transaction: TransactionId,
    /// The address.
    pub address: Address,
    /// The token.
    pub asset: Address,
    /// What came.
    pub received: Amount,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DifferenceKind {
    /// The network has a credit that the ledger has not, or not in full.
    Missing,
    /// The ledger has a credit that the network has not, or not in full.
    Unfounded,
    /// The address does not hold what it held before, what came since and what went. Then both sides lack a movement.
    Balance,
}

impl DifferenceKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Missing, Self::Unfounded, Self::Balance];

    /// The word on the wire and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unfounded => "unfounded",
            Self::Balance => "balance",
        }
    }
}

/// One thing in which network and ledger differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What is wrong.
    pub kind: DifferenceKind,
    /// The address.
    pub address: Address,
    /// The token.
    pub asset: Address,
    /// The transaction, unless it is the balance that is wrong.
    pub transaction: Option<TransactionId>,
    /// What the network says, in the smallest unit.
    pub network: Amount,
    /// What follows from what we know, in the smallest unit.
    pub ledger: Amount,
}

/// Compares what came to addresses, transaction by transaction. `movements` and `kept` are of the same addresses and blocks.
#[must_use]
pub fn compare_credits(movements: &[Movement], kept: &[Kept]) -> Vec<Difference> {
    let mut sums: BTreeMap<(&TransactionId, Address, Address), (Amount, Amount)> = BTreeMap::new();
    for movement in movements {
        let (network, _) = sums.entry((&movement.transaction, movement.address, movement.asset)).or_default();
        *network = add(*network, movement.received);
    }
    for kept in kept {
        let (_, ledger) = sums.entry((&kept.transaction, kept.address, kept.asset)).or_default();
        *ledger = add(*ledger, kept.received);
    }
    let difference = |((transaction, address, asset), (network, ledger)): ((&TransactionId, _, _), (Amount, Amount))| {
        let kind = match network.cmp(&ledger) {
            std::cmp::Ordering::Greater => DifferenceKind::Missing,
            std::cmp::Ordering::Less => DifferenceKind::Unfounded,
            std::cmp::Ordering::Equal => return None,
        };
        Some(Difference { kind, address, asset, transaction: Some(transaction.clone()), network, ledger })
    };
    sums.into_iter().filter_map(difference).collect()
}

/// Compares what an address holds of a token with what it held before and what `movements` did since. Movements of others are passed
/// over.
#[must_use]
pub fn compare_balance(
    (address, asset): (Address, Address),
    before: Amount,
    now: Amount,
    movements: &[Movement],
) -> Option<Difference> {
    let own = || movements.iter().filter(|movement| (movement.address, movement.asset) == (address, asset));
    let came = own().fold(before, |sum, movement| add(sum, movement.received));
    let went = own().fold(Amount::ZERO, |sum, movement| add(sum, movement.spent));
    if came == add(now, went) {
        return None;
    }
    let ledger = Amount::new(came.units().saturating_sub(went.units()));
    Some(Difference { kind: DifferenceKind::Balance, address, asset, transaction: None, network: now, ledger })
}

/// No token has more than 2^128 of its smallest units in honest hands; a sum that would be more is wrong anyway.
fn add(a: Amount, b: Amount) -> Amount {
    Amount::new(a.units().saturating_add(b.units()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Address = Address::Evm([1; 20]);
    const USDC: Address = Address::Evm([2; 20]);

    fn moved(transaction: &str, received: u128, spent: u128) -> Movement {
        let (received, spent) = (Amount::new(received), Amount::new(spent));
        Movement { transaction: transaction.to_owned(), address: OWN, asset: USDC, received, spent }
    }

    fn kept(transaction: &str, received: u128) -> Kept {
        Kept { transaction: transaction.to_owned(), address: OWN, asset: USDC, received: Amount::new(received) }
    }

    fn told(differences: &[Difference]) -> Vec<(DifferenceKind, Option<&str>, u128, u128)> {
        let tell = |found: &'_ Difference| (found.kind, found.network.units(), found.ledger.units());
        differences.iter().map(|found| (tell(found).0, found.transaction.as_deref(), tell(found).1, tell(found).2)).collect()
    }

    #[test]
    fn credits_that_both_sides_have_in_full_differ_in_nothing() {
        let movements = [moved("a", 10, 0), moved("b", 3, 0), moved("b", 4, 0), moved("c", 0, 9)];

        assert_eq!(compare_credits(&movements, &[kept("a", 10), kept("b", 5), kept("b", 2)]), []);
        assert_eq!(compare_credits(&[], &[]), []);
    }

    #[test]
    fn each_credit_that_one_side_lacks_is_told() {
        use DifferenceKind::{Missing, Unfounded};
        let movements = [moved("a", 10, 0), moved("b", 7, 0), moved("d", 1, 0)];

        let found = compare_credits(&movements, &[kept("b", 6), kept("c", 5), kept("d", 2)]);
        let expected =
            [(Missing, Some("a"), 10, 0), (Missing, Some("b"), 7, 6), (Unfounded, Some("c"), 0, 5), (Unfounded, Some("d"), 1, 2)];
        assert_eq!(told(&found), expected);
    }

    #[test]
    fn credits_of_other_addresses_and_tokens_are_others() {
        let other = Address::Evm([9; 20]);
        let elsewhere = [Movement { address: other, ..moved("a", 10, 0) }, Movement { asset: other, ..moved("a", 10, 0) }];

        assert_eq!(compare_credits(&elsewhere, &[kept("a", 10)]).len(), 3);
        assert_eq!(compare_balance((OWN, USDC), Amount::new(5), Amount::new(5), &elsewhere), None);
    }

    #[test]
    fn a_balance_follows_from_what_it_was_and_what_came_and_went() {
        let compare = |before, now, movements: &[Movement]| {
            compare_balance((OWN, USDC), Amount::new(before), Amount::new(now), movements)
                .map(|found| (found.network.units(), found.ledger.units()))
        };

        assert_eq!(compare(5, 5, &[]), None);
        assert_eq!(compare(5, 12, &[moved("a", 10, 0), moved("b", 0, 3)]), None);
        assert_eq!(compare(5, 15, &[moved("a", 10, 3)]), Some((15, 12)), "too much");
        assert_eq!(compare(5, 11, &[moved("a", 10, 3)]), Some((11, 12)), "too little");
        assert_eq!(compare(5, 5, &[moved("a", 0, 9)]), Some((5, 0)), "more went than there was");
    }
}
