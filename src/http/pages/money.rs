//! Amounts for people, with their exact units.

use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::network::Network;
use crate::flow::Flows;

/// The tokens that are known here.
pub struct Tokens<'a>(pub &'a Flows);

/// An amount of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Money {
    /// `0.25 USDC`, or what can be said of a token that nobody knows any more.
    pub people: String,
    /// In atomic units.
    pub exact: String,
}

impl Tokens<'_> {
    /// An amount in atomic units, as the API writes it, of a token on a network.
    pub fn money(&self, network: &str, asset: &str, units: &str) -> Money {
        Money { people: self.named(network, asset, units).unwrap_or_else(|| format!("{units} units")), exact: units.to_owned() }
    }

    fn named(&self, network: &str, asset: &str, units: &str) -> Option<String> {
        let network: Network = network.parse().ok()?;
        let chain = self.0.chains.find(&network).ok()?;
        let asset = chain.profile().asset(Address::parse(network.family(), asset).ok()?)?;
        let amount: Amount = units.parse().ok()?;
        Some(format!("{} {}", amount.to_decimal(asset.decimals), asset.symbol))
    }
}
