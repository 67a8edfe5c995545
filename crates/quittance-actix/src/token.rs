//! Tokens and the networks that they are on.

/// network, its name in version 1 of x402, token, name and version of its EIP-712 domain; the table of `@x402/evm` 2.27.
const USDC_ON_EVM: &[(&str, Option<&str>, &str, &str, &str)] = &[
    ("eip155:8453", Some("base"), "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "USD Coin", "2"),
    ("eip155:84532", Some("base-sepolia"), "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "USDC", "2"),
    ("eip155:1", Some("ethereum"), "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48", "USD Coin", "2"),
    ("eip155:43114", Some("avalanche"), "0xB97EF9Ef8734C71904D8002F8b6Bc66Dd9c48a6E", "USD Coin", "2"),
    ("eip155:137", Some("polygon"), "0x3c499c542cEF5E3811e1192ce70d8cC03d5c3359", "USD Coin", "2"),
    ("eip155:42161", None, "0xaf88d065e77c8cC2239327C5EDb3A432268e5831", "USD Coin", "2"),
    ("eip155:421614", None, "0x75faf114eafb1BDbe2F0316DF893fd58CE46AA4d", "USD Coin", "2"),
    ("eip155:1329", Some("sei"), "0xe15fC38F6D8c56aF07bbCBe3BAf5708A2Bf42392", "USDC", "2"),
    ("eip155:1328", Some("sei-testnet"), "0x4fCF1784B31630811181f670Aea7A7bEF803eaED", "USDC", "2"),
    ("eip155:143", Some("monad"), "0x754704Bc059F8C67012fEd69BC8A327a5aafb603", "USDC", "2"),
    ("eip155:42220", Some("celo"), "0xcebA9300f2b948710d2653dD7B07f33A8B32118C", "USDC", "2"),
    ("eip155:11142220", None, "0x01C5C0122039549AD1493B8220cABEdD739BC44E", "USDC", "2"),
];

/// network, its name in version 1 of x402, mint; the table of `@x402/svm` 2.27.
const USDC_ON_SOLANA: &[(&str, Option<&str>, &str)] = &[
    ("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp", Some("solana"), "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"),
    ("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", Some("solana-devnet"), "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU"),
];

/// The places behind the point that USDC has on all of them.
const USDC_DECIMALS: u8 = 6;

/// The kinds of networks that x402 pays on, by the namespace of their identifiers (CAIP-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Evm,
    Solana,
}

impl Family {
    /// The family of a network such as `eip155:8453`.
    pub(crate) fn of(network: &str) -> Option<Self> {
        match network.split_once(':')? {
            ("eip155", reference) if !reference.is_empty() && reference.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Self::Evm)
            }
            ("solana", reference) if is_base58(reference) => Some(Self::Solana),
            _ => None,
        }
    }

    /// The pattern under which a facilitator lists its signers.
    pub(crate) const fn pattern(self) -> &'static str {
        match self {
            Self::Evm => "eip155:*",
            Self::Solana => "solana:*",
        }
    }

    /// Whether a text has the form of an address. Checksums are the facilitator's affair.
    pub(crate) fn has_address(self, text: &str) -> bool {
        match self {
            Self::Evm => text
                .strip_prefix("0x")
                .is_some_and(|digits| digits.len() == 40 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())),
            Self::Solana => (32..=44).contains(&text.len()) && is_base58(text),
        }
    }

    /// Whether two addresses are the same. On EVM networks the case of a letter is only a checksum, and clients rewrite it.
    pub(crate) fn same_address(self, left: &str, right: &str) -> bool {
        match self {
            Self::Evm => left.eq_ignore_ascii_case(right),
            Self::Solana => left == right,
        }
    }
}

fn is_base58(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() && !b"0OIl".contains(&byte))
}

/// A token that prices are paid in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub(crate) network: String,
    pub(crate) address: String,
    pub(crate) decimals: u8,
    /// Name and version, where payers sign for the token's own EIP-712 domain.
    pub(crate) domain: Option<(String, String)>,
}

impl Token {
    /// USDC on a network that this library knows by its identifier (CAIP-2), such as `eip155:8453`.
    #[must_use]
    pub fn usdc(network: &str) -> Option<Self> {
        let on_evm = USDC_ON_EVM
            .iter()
            .find(|(id, ..)| *id == network)
            .map(|(_, _, address, name, version)| Self::eip3009(network, address, USDC_DECIMALS, name, version));
        let on_solana = || USDC_ON_SOLANA.iter().find(|(id, ..)| *id == network);
        on_evm.or_else(|| on_solana().map(|(_, _, mint)| Self::spl(network, mint, USDC_DECIMALS)))
    }

    /// A token on an EVM network that takes signed authorizations (EIP-3009): its address, the places behind the point, and name and
    /// version of its EIP-712 domain.
    #[must_use]
    pub fn eip3009(network: &str, address: &str, decimals: u8, name: &str, version: &str) -> Self {
        Self { domain: Some((name.to_owned(), version.to_owned())), ..Self::spl(network, address, decimals) }
    }

    /// A token on Solana: its mint and the places behind the point.
    #[must_use]
    pub fn spl(network: &str, mint: &str, decimals: u8) -> Self {
        Self { network: network.to_owned(), address: mint.to_owned(), decimals, domain: None }
    }
}

/// The name that version 1 of x402 has for a network, if it has one.
pub(crate) fn v1_name(network: &str) -> Option<&'static str> {
    let on_evm = USDC_ON_EVM.iter().find(|(id, ..)| *id == network).and_then(|(_, name, ..)| *name);
    on_evm.or_else(|| USDC_ON_SOLANA.iter().find(|(id, ..)| *id == network).and_then(|(_, name, _)| *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usdc_is_well_formed_and_known_once() {
        let networks = || USDC_ON_EVM.iter().map(|row| row.0).chain(USDC_ON_SOLANA.iter().map(|row| row.0));
        for network in networks() {
            let (family, token) = (Family::of(network).unwrap(), Token::usdc(network).unwrap());
            assert!(family.has_address(&token.address), "{network}");
            assert_eq!(token.domain.is_some(), family == Family::Evm, "{network}");
            assert_eq!(networks().filter(|other| *other == network).count(), 1, "{network}");
        }
        assert_eq!(Token::usdc("eip155:5"), None);
        assert_eq!((v1_name("eip155:84532"), v1_name("eip155:42161")), (Some("base-sepolia"), None));
        assert_eq!(v1_name("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"), Some("solana"));
    }

    #[test]
    fn only_identifiers_of_networks_have_a_family() {
        for text in ["", "base", "eip155:", "eip155:x", "solana", "solana:", "solana:0O", "cosmos:hub"] {
            assert_eq!(Family::of(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_has_the_form_of_its_family() {
        let (evm, solana) = ("0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v");

        assert!(Family::Evm.has_address(evm) && Family::Solana.has_address(solana));
        assert!(!Family::Evm.has_address(solana) && !Family::Solana.has_address(evm) && !Family::Evm.has_address(&evm[..41]));
        assert!(
            Family::Evm.same_address(evm, &evm.to_lowercase()) && !Family::Solana.same_address(solana, &solana.to_lowercase())
        );
    }
}
