//! The names that version 1 has for networks, and the CAIP-2 identifiers behind them.

use crate::domain::network::Network;
use crate::domain::reason::{Reason, Refusal, Version};

/// Every name that version 1 knows. Newer networks have none: they are paid through version 2 only.
const V1_NAMES: [(&str, &str); 26] = [
    ("base", "eip155:8453"),
    ("base-sepolia", "eip155:84532"),
    ("ethereum", "eip155:1"),
    ("sepolia", "eip155:11155111"),
    ("avalanche", "eip155:43114"),
    ("avalanche-fuji", "eip155:43113"),
    ("polygon", "eip155:137"),
    ("polygon-amoy", "eip155:80002"),
    ("sei", "eip155:1329"),
    ("sei-testnet", "eip155:1328"),
    ("iotex", "eip155:4689"),
    ("peaq", "eip155:3338"),
    ("story", "eip155:1514"),
    ("educhain", "eip155:41923"),
    ("abstract", "eip155:2741"),
    ("abstract-testnet", "eip155:11124"),
    ("skale-base-sepolia", "eip155:324705682"),
    ("megaeth", "eip155:4326"),
    ("monad", "eip155:143"),
    ("celo", "eip155:42220"),
    ("stable", "eip155:988"),
    ("stable-testnet", "eip155:2201"),
    ("flare", "eip155:14"),
    ("solana", "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
    ("solana-devnet", "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"),
    ("solana-testnet", "solana:4uhcVJyU9pJkvQyS88uRDiswHXSCkY3z"),
];

/// Longest part of an unknown name that is repeated in an answer.
const ECHO_CHARS_MAX: usize = 64;

/// Reads a network as a peer of `version` writes it. The versions do not mix: each has its own form only.
///
/// # Errors
/// [`Reason::InvalidNetwork`] for a name that this version does not have.
pub fn parse(version: Version, text: &str) -> Result<Network, Refusal> {
    let identifier = match version {
        Version::V1 => identifier(text),
        Version::V2 => Some(text),
    };
    identifier.and_then(|identifier| identifier.parse().ok()).ok_or_else(|| unknown(version, text))
}

/// The name that version 1 has for `network`, if it has one.
#[must_use]
pub fn v1_name(network: &Network) -> Option<&'static str> {
    V1_NAMES.iter().find(|(_, identifier)| *identifier == network.as_str()).map(|(name, _)| *name)
}

fn identifier(v1_name: &str) -> Option<&'static str> {
    V1_NAMES.iter().find(|(name, _)| *name == v1_name).map(|(_, identifier)| *identifier)
}

fn unknown(version: Version, text: &str) -> Refusal {
    let text: String = text.chars().take(ECHO_CHARS_MAX).collect();
    Refusal::because(Reason::InvalidNetwork, format!("version {} has no network {text:?}", version.number()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_name_of_version_1_and_its_identifier_translate_both_ways() {
        for (name, identifier) in V1_NAMES {
            let network: Network = identifier.parse().unwrap();
            assert_eq!(parse(Version::V1, name), Ok(network.clone()));
            assert_eq!(parse(Version::V2, identifier), Ok(network.clone()));
            assert_eq!(v1_name(&network), Some(name));
        }
        assert_eq!(v1_name(&"eip155:42161".parse().unwrap()), None);
    }

    #[test]
    fn no_name_and_no_identifier_stands_twice() {
        let names: HashSet<_> = V1_NAMES.iter().map(|(name, _)| name).collect();
        let identifiers: HashSet<_> = V1_NAMES.iter().map(|(_, identifier)| identifier).collect();
        assert_eq!((names.len(), identifiers.len()), (V1_NAMES.len(), V1_NAMES.len()));
    }

    #[test]
    fn each_version_has_its_own_form_only() {
        // Row 19.
        for (version, text) in [
            (Version::V1, "eip155:8453"),
            (Version::V1, "Base"),
            (Version::V1, "base "),
            (Version::V1, ""),
            (Version::V1, "arbitrum"),
            (Version::V2, "base"),
            (Version::V2, "eip155:08453"),
            (Version::V2, "eip155:8453 "),
            (Version::V2, "EIP155:8453"),
            (Version::V2, "eip155:"),
            (Version::V1, "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"),
            (Version::V2, "solana"),
            (Version::V2, "solana-devnet"),
            (Version::V2, "solana:mainnet"),
            (Version::V2, ""),
        ] {
            assert_eq!(parse(version, text).map_err(|refusal| refusal.reason), Err(Reason::InvalidNetwork), "{text:?}");
        }
    }
}
