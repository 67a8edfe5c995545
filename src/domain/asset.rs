//! Tokens that can be paid with, from configuration or from the table of known ones.

use super::address::Address;
use super::network::{Family, Network};

/// A token on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Where the token lives.
    pub network: Network,
    /// The token's contract.
    pub address: Address,
    /// How people call it, for example `USDC`.
    pub symbol: String,
    /// Decimal places. They belong to a deployment, not to a symbol: USDC has 18 of them on one network.
    pub decimals: u8,
    /// The domain under which payers sign (EIP-712).
    pub domain: SigningDomain,
}

/// The two texts of an EIP-712 domain that differ from token to token; chain id and contract complete it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningDomain {
    /// `name()` of the token, for example `USD Coin` on Base but `USDC` on Base Sepolia.
    pub name: String,
    /// `version()` of the token.
    pub version: String,
}

/// network, contract, symbol, decimals, domain name, domain version: tokens with EIP-3009 that the x402 SDKs use by default
/// (`DEFAULT_ASSETS` of `@x402/evm` 2.27). Names and versions are compared with the chain when the service starts.
const KNOWN: &[(&str, &str, &str, u8, &str, &str)] = &[
    ("eip155:8453", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USDC", 6, "USD Coin", "2"),
    ("eip155:84532", "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC", 6, "USDC", "2"),
    ("eip155:1", "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USDC", 6, "USD Coin", "2"),
    ("eip155:43114", "0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E", "USDC", 6, "USD Coin", "2"),
    ("eip155:137", "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359", "USDC", 6, "USD Coin", "2"),
    ("eip155:42161", "0xaf88d065e77c8cC2239327C5EDb3A432268e5831", "USDC", 6, "USD Coin", "2"),
    ("eip155:421614", "0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d", "USDC", 6, "USD Coin", "2"),
    ("eip155:1329", "0xe15fC38F6D8c56aF07bbCBe3BAf5708A2Bf42392", "USDC", 6, "USDC", "2"),
    ("eip155:1328", "0x4fCF1784B31630811181f670Aea7A7bEF803eaED", "USDC", 6, "USDC", "2"),
    ("eip155:143", "0x754704Bc059F8C67012fEd69BC8A327a5aafb603", "USDC", 6, "USDC", "2"),
    ("eip155:42220", "0xcebA9300f2b948710d2653dD7B07f33A8B32118C", "USDC", 6, "USDC", "2"),
    ("eip155:11142220", "0x01C5C0122039549AD1493B8220cABEdD739BC44E", "USDC", 6, "USDC", "2"),
    ("eip155:988", "0x779Ded0c9e1022225f8E0630b35a9b54bE713736", "USDT0", 6, "USDT0", "1"),
    ("eip155:14", "0xe7cd86e13AC4309349F30B3435a9d337750fC82D", "USDT0", 6, "USD₮0", "1"),
    ("eip155:50", "0xfA2958CB79b0491CC627c1557F441eF849Ca8eb1", "USDC", 6, "USDC", "2"),
    ("eip155:51", "0xb5AB69F7bBada22B28e79C8FFAECe55eF1c771D4", "USDC", 6, "USDC", "2"),
];

/// The tokens that a network brings without being configured. Empty for a network we do not know.
#[must_use]
pub fn known(network: &Network) -> Vec<Asset> {
    KNOWN
        .iter()
        .filter(|(id, ..)| *id == network.as_str())
        .filter_map(|(_, address, symbol, decimals, name, version)| {
            Some(Asset {
                network: network.clone(),
                address: Address::parse(Family::Eip155, address).ok()?,
                symbol: (*symbol).to_owned(),
                decimals: *decimals,
                domain: SigningDomain { name: (*name).to_owned(), version: (*version).to_owned() },
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_token_is_well_formed() {
        for (network, ..) in KNOWN {
            let network: Network = network.parse().unwrap();
            let rows = KNOWN.iter().filter(|(id, ..)| *id == network.as_str()).count();
            assert_eq!(known(&network).len(), rows, "{network}");
        }
    }
}
