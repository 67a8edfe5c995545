//! Tokens that can be paid with, from configuration or from the table of known ones.

use super::address::Address;
use super::network::Network;

/// A token on a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asset {
    /// Where the token lives.
    pub network: Network,
    /// The token's contract, or its mint.
    pub address: Address,
    /// How people call it, for example `USDC`.
    pub symbol: String,
    /// Decimal places. They belong to a deployment, not to a symbol: USDC has 18 of them on one network.
    pub decimals: u8,
    /// How it is paid with.
    pub kind: AssetKind,
}

/// How a token is paid with, and what must be known of it for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AssetKind {
    /// By an authorization that the payer signs under the token's own domain (EIP-3009, EIP-712).
    Eip3009(SigningDomain),
    /// By a transaction that the payer signs, which calls the program that owns the mint.
    Spl(TokenProgram),
}

/// The two programs that own mints on Solana. A mint belongs to one of them for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenProgram {
    /// SPL Token.
    Token,
    /// Token-2022, whose mints can have extensions.
    Token2022,
}

impl Asset {
    /// The domain under which payers sign, if this token is paid with by EIP-3009.
    #[must_use]
    pub const fn domain(&self) -> Option<&SigningDomain> {
        match &self.kind {
            AssetKind::Eip3009(domain) => Some(domain),
            AssetKind::Spl(_) => None,
        }
    }

    /// The program that owns the mint, if this is a token of Solana.
    #[must_use]
    pub const fn program(&self) -> Option<TokenProgram> {
        match self.kind {
            AssetKind::Spl(program) => Some(program),
            AssetKind::Eip3009(_) => None,
        }
    }
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
const KNOWN_EIP3009: &[(&str, &str, &str, u8, &str, &str)] = &[
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

/// network, mint, symbol, decimals, program: what Circle issues on Solana (`DEFAULT_ASSETS` of `@x402/svm` 2.27).
const KNOWN_SPL: &[(&str, &str, &str, u8, TokenProgram)] = &[
    ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", "USDC", 6, TokenProgram::Token),
    ("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", "USDC", 6, TokenProgram::Token),
];

/// The tokens that a network brings without being configured. Empty for a network we do not know.
#[must_use]
pub fn known(network: &Network) -> Vec<Asset> {
    let asset = |address: &str, symbol: &str, decimals, kind| {
        let address = Address::parse(network.family(), address).ok()?;
        Some(Asset { network: network.clone(), address, symbol: symbol.to_owned(), decimals, kind })
    };
    let eip3009 = KNOWN_EIP3009.iter().filter(|(id, ..)| *id == network.as_str()).filter_map(|row| {
        let (_, address, symbol, decimals, name, version) = *row;
        let domain = SigningDomain { name: name.to_owned(), version: version.to_owned() };
        asset(address, symbol, decimals, AssetKind::Eip3009(domain))
    });
    let spl = KNOWN_SPL.iter().filter(|(id, ..)| *id == network.as_str()).filter_map(|row| {
        let (_, mint, symbol, decimals, program) = *row;
        asset(mint, symbol, decimals, AssetKind::Spl(program))
    });
    eip3009.chain(spl).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_token_is_well_formed() {
        let ids: Vec<_> = KNOWN_EIP3009.iter().map(|row| row.0).chain(KNOWN_SPL.iter().map(|row| row.0)).collect();
        for id in &ids {
            let rows = ids.iter().filter(|other| *other == id).count();
            assert_eq!(known(&id.parse().unwrap()).len(), rows, "{id}");
        }
    }

    #[test]
    fn a_token_has_what_its_family_needs_and_no_more() {
        let base = known(&"eip155:8453".parse().unwrap()).remove(0);
        let solana = known(&"solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".parse().unwrap()).remove(0);

        assert_eq!((base.domain().map(|domain| domain.name.as_str()), base.program()), (Some("USD Coin"), None));
        assert_eq!((solana.domain(), solana.program()), (None, Some(TokenProgram::Token)));
    }
}
