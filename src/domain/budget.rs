//! Who may cost how much in an hour.

use std::collections::BTreeMap;

use super::address::Address;
use super::ids::AccountId;
use super::verification::Sendable;

/// On whose account a settlement's cost is counted. Every settlement counts for its network, its payer, and its provider; where
/// the provider is unknown, for the recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beneficiaries {
    /// Who pays.
    pub payer: Address,
    /// The account that asked.
    pub provider: Option<AccountId>,
    /// Who is paid.
    pub pay_to: Address,
}

/// The kinds of budget, by what they bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Budget {
    /// Everything on the network.
    Network,
    /// One payer.
    Payer,
    /// One provider's account.
    Account,
    /// One recipient that no account stands for.
    PayTo,
}

impl Budget {
    /// The subject under which the ledger counts what an account costs.
    #[must_use]
    pub fn subject_of(account: AccountId) -> String {
        format!("account:{account}")
    }
}

/// What each budget allows in an hour, in wei. One without a figure bounds nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// For the whole network.
    pub network: Option<u128>,
    /// For one payer.
    pub payer: Option<u128>,
    /// For one account.
    pub account: Option<u128>,
    /// For one recipient that no account stands for.
    pub pay_to: Option<u128>,
}

impl Limits {
    const fn of(&self, budget: Budget) -> Option<u128> {
        match budget {
            Budget::Network => self.network,
            Budget::Payer => self.payer,
            Budget::Account => self.account,
            Budget::PayTo => self.pay_to,
        }
    }
}

impl From<&Sendable> for Beneficiaries {
    fn from(payment: &Sendable) -> Self {
        Self { payer: payment.payer, provider: payment.provider, pay_to: payment.pay_to }
    }
}

impl Beneficiaries {
    /// The subjects under which the ledger counts, and which budget bounds each.
    #[must_use]
    pub fn subjects(&self) -> [(Budget, String); 3] {
        let third = match self.provider {
            Some(account) => (Budget::Account, Budget::subject_of(account)),
            None => (Budget::PayTo, format!("pay_to:{}", self.pay_to)),
        };
        [(Budget::Network, "network".to_owned()), (Budget::Payer, format!("payer:{}", self.payer)), third]
    }

    /// The subjects that a limit bounds, with that limit.
    pub fn bounded(&self, limits: &Limits) -> impl Iterator<Item = (String, u128)> {
        self.subjects().into_iter().filter_map(|(budget, subject)| Some((subject, limits.of(budget)?)))
    }
}

/// What each of `count` payments in one transaction costs: they share evenly.
#[must_use]
pub const fn share(cost: u128, count: usize) -> u128 {
    match count {
        0 => cost,
        _ => cost / count as u128,
    }
}

/// For each of several payments, in order, whether its `cost` still fits behind what was `spent` and behind those before it. One
/// that does not fit leaves the room to those behind it.
#[must_use]
pub fn covered(limits: &Limits, mut spent: BTreeMap<String, u128>, cost: u128, payments: &[Beneficiaries]) -> Vec<bool> {
    let mut cover = |payment: &Beneficiaries| {
        let after: Vec<_> = payment
            .bounded(limits)
            .map(|(subject, limit)| {
                let sum = spent.get(&subject).copied().unwrap_or(0).saturating_add(cost);
                (sum <= limit).then_some((subject, sum))
            })
            .collect::<Option<_>>()?;
        spent.extend(after);
        Some(())
    };
    payments.iter().map(|payment| cover(payment).is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Beneficiaries = Beneficiaries { payer: Address::Evm([1; 20]), provider: None, pay_to: Address::Evm([2; 20]) };

    const UNLIMITED: Limits = Limits { network: None, payer: None, account: None, pay_to: None };

    fn spent(payment: &Beneficiaries, spent: u128) -> BTreeMap<String, u128> {
        payment.subjects().into_iter().map(|(_, subject)| (subject, spent)).collect()
    }

    #[test]
    fn a_budget_is_used_up_to_its_limit() {
        let limits = Limits { payer: Some(100), ..UNLIMITED };

        assert_eq!(covered(&limits, spent(&NOBODY, 90), 10, &[NOBODY]), [true]);
        assert_eq!(covered(&limits, spent(&NOBODY, 91), 10, &[NOBODY]), [false]);
        assert_eq!(covered(&limits, BTreeMap::new(), 101, &[NOBODY]), [false]);
        assert_eq!(covered(&UNLIMITED, spent(&NOBODY, u128::MAX), 1, &[NOBODY]), [true]);
        assert_eq!(covered(&limits, spent(&NOBODY, u128::MAX), 1, &[NOBODY]), [false]);
    }

    #[test]
    fn payments_that_come_at_once_are_counted_one_after_the_other() {
        let other = Beneficiaries { payer: Address::Evm([3; 20]), ..NOBODY };
        let limits = Limits { payer: Some(25), network: Some(40), ..UNLIMITED };

        let covered = covered(&limits, BTreeMap::new(), 10, &[NOBODY, NOBODY, NOBODY, other, NOBODY, other, other]);

        // The third of one payer is too much for its budget and takes nothing from the network's.
        assert_eq!(covered, [true, true, false, true, false, true, false]);
    }

    #[test]
    fn every_budget_has_its_own_limit() {
        let somebody = Beneficiaries { provider: Some(AccountId::new()), ..NOBODY };
        let refuses = |limits: Limits, payment| covered(&limits, BTreeMap::new(), 10, &[payment]) == [false];

        assert!(refuses(Limits { network: Some(9), ..UNLIMITED }, somebody));
        assert!(refuses(Limits { payer: Some(9), ..UNLIMITED }, somebody));
        assert!(refuses(Limits { account: Some(9), ..UNLIMITED }, somebody));
        assert!(refuses(Limits { pay_to: Some(9), ..UNLIMITED }, NOBODY));
        assert!(!refuses(Limits { pay_to: Some(9), ..UNLIMITED }, somebody));
        assert!(!refuses(Limits { account: Some(9), ..UNLIMITED }, NOBODY));
    }

    #[test]
    fn a_transaction_is_shared_evenly() {
        assert_eq!((share(100, 3), share(100, 1), share(100, 0)), (33, 100, 100));
    }

    #[test]
    fn a_recipient_is_counted_only_where_no_account_is() {
        let somebody = Beneficiaries { provider: Some(AccountId::new()), ..NOBODY };

        assert_eq!(NOBODY.subjects()[2].0, Budget::PayTo);
        assert_eq!(somebody.subjects()[2].0, Budget::Account);
    }
}
