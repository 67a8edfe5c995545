//! Networks by their CAIP-2 identifier.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A blockchain network, for example `eip155:8453` for Base (CAIP-2).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    id: Arc<str>,
    family: Family,
}

/// A kind of chain with rules of its own: the namespace of a CAIP-2 identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Ethereum and everything that runs its virtual machine.
    Eip155,
    /// The clusters of Solana.
    Solana,
}

/// The text is not the CAIP-2 identifier of a family that this service knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a network identifier such as eip155:8453")]
pub struct ParseNetworkError(String);

/// Longest EIP-155 reference: CAIP-2 allows 32 characters, a chain id of 64 bits has at most 20.
const EIP155_REFERENCE_MAX: usize = 20;

/// A cluster is named by the beginning of its genesis hash in base58 (CAIP-2 namespace `solana`).
const SOLANA_REFERENCE_CHARS: usize = 32;

impl Network {
    /// The whole identifier.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.id
    }

    /// The chain family, which decides how addresses look.
    #[must_use]
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The part behind the colon, for example `8453`.
    #[must_use]
    pub fn reference(&self) -> &str {
        self.id.split_once(':').map_or("", |(_, reference)| reference)
    }
}

impl Family {
    const ALL: [Self; 2] = [Self::Eip155, Self::Solana];

    /// The CAIP-2 namespace.
    #[must_use]
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::Eip155 => "eip155",
            Self::Solana => "solana",
        }
    }

    /// Decimal places of the coin that fees are paid in.
    #[must_use]
    pub const fn native_decimals(self) -> u8 {
        match self {
            Self::Eip155 => 18,
            Self::Solana => 9,
        }
    }

    /// What the smallest unit of that coin is called.
    #[must_use]
    pub const fn native_unit(self) -> &'static str {
        match self {
            Self::Eip155 => "wei",
            Self::Solana => "lamports",
        }
    }

    fn has(self, reference: &str) -> bool {
        match self {
            Self::Eip155 => is_chain_id(reference),
            Self::Solana => is_genesis_prefix(reference),
        }
    }
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ParseNetworkError(text.chars().take(64).collect());
        let (namespace, reference) = text.split_once(':').ok_or_else(refused)?;
        let family = Family::ALL.into_iter().find(|family| family.namespace() == namespace);
        let family = family.filter(|family| family.has(reference)).ok_or_else(refused)?;
        Ok(Self { id: text.into(), family })
    }
}

fn is_chain_id(reference: &str) -> bool {
    reference.len() <= EIP155_REFERENCE_MAX
        && !reference.starts_with('0')
        && super::amount::is_decimal_integer(reference)
        && reference.parse::<u64>().is_ok()
}

fn is_genesis_prefix(reference: &str) -> bool {
    reference.len() == SOLANA_REFERENCE_CHARS && reference.bytes().all(super::address::is_base58_digit)
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(formatter)
    }
}

/// What a network takes beyond payments of exactly what was signed, of payers who need nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extras {
    /// Payers may sign for more than is settled in the end (scheme `upto`).
    pub upto: bool,
    /// What lets Permit2 take a token goes with the payment, so that its payer needs no gas (`eip2612GasSponsoring`).
    pub gas_sponsoring: bool,
    /// Transactions name those to whom settlements are attributed (`builder-code`).
    pub attribution: bool,
}

/// A network that takes payments now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Which network.
    pub network: Network,
    /// The addresses of its signers; those that can pay come first.
    pub signers: Vec<String>,
    /// What it takes besides.
    pub extras: Extras,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exact_identifiers_are_networks() {
        let base: Network = "eip155:8453".parse().unwrap();
        assert_eq!((base.family(), base.reference()), (Family::Eip155, "8453"));
        let solana: Network = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp".parse().unwrap();
        assert_eq!((solana.family(), solana.reference()), (Family::Solana, "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"));
        for text in [
            "base",
            "eip155:",
            "eip155:08453",
            "eip155:0",
            "eip155:8453 ",
            "EIP155:8453",
            "eip155:0x1",
            "solana:mainnet",
            "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvd",
            "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpp",
            "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKv0p",
            "solana:8453",
            "eip155:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
            "Solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp",
            "eip155:18446744073709551616",
            "",
        ] {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
    }
}
