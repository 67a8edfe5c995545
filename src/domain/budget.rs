//! Who may cost how much in an hour.

use super::address::Address;
use super::ids::AccountId;

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

impl Beneficiaries {
    /// The subjects under which the ledger counts, and which budget bounds each.
    #[must_use]
    pub fn subjects(&self) -> [(Budget, String); 3] {
        let third = match self.provider {
            Some(account) => (Budget::Account, format!("account:{account}")),
            None => (Budget::PayTo, format!("pay_to:{}", self.pay_to)),
        };
        [(Budget::Network, "network".to_owned()), (Budget::Payer, format!("payer:{}", self.payer)), third]
    }
}

/// Whether `cost` still fits behind what was `spent`, under an optional limit.
#[must_use]
pub const fn fits(spent: u128, cost: u128, limit: Option<u128>) -> bool {
    match limit {
        Some(limit) => spent.saturating_add(cost) <= limit,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_used_up_to_its_limit() {
        assert!(fits(90, 10, Some(100)));
        assert!(!fits(91, 10, Some(100)));
        assert!(fits(u128::MAX, 1, None));
        assert!(!fits(u128::MAX, 1, Some(u128::MAX - 1)));
    }

    #[test]
    fn a_recipient_is_counted_only_where_no_account_is() {
        let nobody = Beneficiaries { payer: Address::Evm([1; 20]), provider: None, pay_to: Address::Evm([2; 20]) };
        let somebody = Beneficiaries { provider: Some(AccountId::new()), ..nobody };

        assert_eq!(nobody.subjects()[2].0, Budget::PayTo);
        assert_eq!(somebody.subjects()[2].0, Budget::Account);
    }
}
