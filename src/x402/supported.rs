//! What this facilitator offers: the answer of `GET /supported`, and of a `GET` where a `POST` belongs.
//!
//! Resource servers read `/supported` when they start and keep it, so the same configuration always gives the same bytes.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use super::permit2::GAS_SPONSORING_EXTENSION;
use super::{builder_code, networks};
use crate::domain::network::{Extras, Family, Network, Offered};
use crate::domain::payment::{SCHEME_EXACT, SCHEME_TRANSFER, SCHEME_UPTO};
use crate::domain::reason::Version;

/// The answer of `GET /supported`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Supported {
    /// Every combination that can be paid with.
    pub kinds: Vec<Kind>,
    /// Extensions of the protocol that this facilitator takes part in.
    pub extensions: Vec<&'static str>,
    /// Who may send settlements, by family of chains: `eip155:*`.
    pub signers: BTreeMap<String, BTreeSet<String>>,
    /// Why nothing is offered to this caller, as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<&'static str>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
}

/// A combination of version, scheme and network that can be paid with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Kind {
    /// The version as a number.
    pub x402_version: u8,
    /// The scheme.
    pub scheme: &'static str,
    /// The network, as this version writes it.
    pub network: String,
    /// What a payer must know beforehand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<KindExtra>,
}

/// What a payer must know of a network beforehand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum KindExtra {
    /// Who pays the fee of a transaction that the payer signs (Solana).
    FeePayer(String),
    /// Who says in the end how much of what the payer signs is paid (scheme `upto`).
    FacilitatorAddress(String),
}

impl Supported {
    /// Describes an offer of networks. On those that `watched` says a transfer that was made already can be presented.
    #[must_use]
    pub fn of(offered: &[Offered], watched: impl Fn(&Network) -> bool) -> Self {
        let sorted: BTreeMap<&Network, &Offered> = offered.iter().map(|offered| (&offered.network, offered)).collect();
        let offers = || sorted.iter().map(|(network, offered)| (*network, extra(network, &offered.signers)));
        let current = offers().map(|(network, extra)| Kind::of(Version::V2, network.as_str(), extra));
        let legacy = offers().filter_map(|(network, extra)| Some(Kind::of(Version::V1, networks::v1_name(network)?, extra)));
        let metered = sorted.values().filter_map(|offered| Kind::of_use(offered));
        // A merchant or a payer presents a transfer; no client of version 1 knows how.
        let proofs = sorted.keys().filter(|network| watched(network)).map(|network| Kind::of_transfers(network.as_str()));
        let any = |has: fn(&Extras) -> bool| offered.iter().any(|offered| has(&offered.extras));
        let extensions = [
            (GAS_SPONSORING_EXTENSION, any(|extras| extras.gas_sponsoring)),
            (builder_code::EXTENSION, any(|extras| extras.attribution)),
        ];
        Self {
            kinds: current.chain(legacy).chain(metered).chain(proofs).collect(),
            extensions: extensions.into_iter().filter(|(_, taken)| *taken).map(|(extension, _)| extension).collect(),
            signers: signers(offered),
            ..Self::default()
        }
    }

    /// Nothing can be said: the code tells what stood in the way.
    #[must_use]
    pub fn fault(code: &'static str, problem: String) -> Self {
        Self { error_reason: Some(code), error_message: Some(problem), ..Self::default() }
    }
}

impl Kind {
    fn of(version: Version, network: &str, extra: Option<KindExtra>) -> Self {
        Self { x402_version: version.number(), scheme: SCHEME_EXACT, network: network.to_owned(), extra }
    }

    /// Payments of at most what was signed, where there are such. Version 1 has none.
    fn of_use(offered: &Offered) -> Option<Self> {
        let signer = offered.signers.first().filter(|_| offered.extras.upto)?;
        let extra = KindExtra::FacilitatorAddress(signer.clone());
        Some(Self { scheme: SCHEME_UPTO, ..Self::of(Version::V2, offered.network.as_str(), Some(extra)) })
    }

    fn of_transfers(network: &str) -> Self {
        Self { scheme: SCHEME_TRANSFER, ..Self::of(Version::V2, network, None) }
    }
}

/// Where payers name the fee payer in what they sign, the first of the list is offered, where the flow puts one that can pay. Any other
/// will do as well.
fn extra(network: &Network, signers: &[String]) -> Option<KindExtra> {
    match network.family() {
        Family::Eip155 => None,
        Family::Solana => signers.first().cloned().map(KindExtra::FeePayer),
    }
}

fn signers(offered: &[Offered]) -> BTreeMap<String, BTreeSet<String>> {
    let mut signers = BTreeMap::<_, BTreeSet<_>>::new();
    for Offered { network, signers: addresses, .. } in offered {
        signers.entry(format!("{}:*", network.family().namespace())).or_default().extend(addresses.iter().cloned());
    }
    signers
}

/// What an endpoint says of itself when it is asked with `GET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SelfDescription {
    /// The path.
    pub endpoint: &'static str,
    /// What it does.
    pub description: &'static str,
    /// What to send.
    pub body: BodyDescription,
}

/// The body that an endpoint expects, as names of protocol objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BodyDescription {
    /// The name of the first object.
    pub payment_payload: &'static str,
    /// The name of the second object.
    pub payment_requirements: &'static str,
}

const BODY: BodyDescription = BodyDescription { payment_payload: "PaymentPayload", payment_requirements: "PaymentRequirements" };

/// The answer of `GET /verify`.
pub const VERIFY: SelfDescription =
    SelfDescription { endpoint: "/verify", description: "POST to verify x402 payments", body: BODY };

/// The answer of `GET /settle`.
pub const SETTLE: SelfDescription =
    SelfDescription { endpoint: "/settle", description: "POST to settle x402 payments", body: BODY };

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn offer(networks: &[(&str, &[&str])]) -> Vec<Offered> {
        let strings = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let offered = |(network, signers): &(&str, &[&str])| Offered {
            network: network.parse().unwrap(),
            signers: strings(signers),
            extras: Extras::default(),
        };
        networks.iter().map(offered).collect()
    }

    #[test]
    fn payments_by_use_name_who_says_how_much() {
        let mut offered = offer(&[("eip155:84532", &["0xa", "0xb"])]);
        offered[0].extras = Extras { upto: true, gas_sponsoring: true, attribution: true };
        let supported = serde_json::to_value(Supported::of(&offered, |_| false)).unwrap();

        assert_eq!(
            supported["kinds"][2],
            json!({"x402Version": 2, "scheme": "upto", "network": "eip155:84532", "extra": {"facilitatorAddress": "0xa"}})
        );
        assert_eq!(supported["extensions"], json!(["eip2612GasSponsoring", "builder-code"]));
    }

    #[test]
    fn each_network_is_offered_in_both_versions_where_both_have_a_name_for_it() {
        let supported = Supported::of(&offer(&[("eip155:84532", &["0xb", "0xa"]), ("eip155:42161", &["0xa"])]), |_| false);
        assert_eq!(
            serde_json::to_value(supported).unwrap(),
            json!({
                "kinds": [
                    {"x402Version": 2, "scheme": "exact", "network": "eip155:42161"},
                    {"x402Version": 2, "scheme": "exact", "network": "eip155:84532"},
                    {"x402Version": 1, "scheme": "exact", "network": "base-sepolia"},
                ],
                "extensions": [],
                "signers": {"eip155:*": ["0xa", "0xb"]},
            })
        );
    }

    #[test]
    fn the_order_of_the_configuration_does_not_show() {
        let one = offer(&[("eip155:8453", &["0xa", "0xb"]), ("eip155:84532", &["0xc"])]);
        let other = offer(&[("eip155:84532", &["0xc"]), ("eip155:8453", &["0xb", "0xa"])]);
        assert_eq!(Supported::of(&one, |_| true), Supported::of(&other, |_| true));
    }

    #[test]
    fn the_first_of_the_signers_is_named_where_payers_must_name_one() {
        // One that cannot pay at present stands behind those that can.
        let supported = Supported::of(&offer(&[("solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", &["second", "first"])]), |_| false);
        assert_eq!(
            serde_json::to_value(supported).unwrap(),
            json!({
                "kinds": [
                    {
                        "x402Version": 2, "scheme": "exact", "network": "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
                        "extra": {"feePayer": "second"},
                    },
                    {"x402Version": 1, "scheme": "exact", "network": "solana-devnet", "extra": {"feePayer": "second"}},
                ],
                "extensions": [],
                "signers": {"solana:*": ["first", "second"]},
            })
        );
    }

    #[test]
    fn an_empty_offer_still_has_all_three_members() {
        let empty = Supported::of(&[], |_| true);
        assert_eq!(serde_json::to_value(empty).unwrap(), json!({"kinds": [], "extensions": [], "signers": {}}));
    }

    #[test]
    fn transfers_are_presented_where_they_are_recorded_and_in_version_2_only() {
        let networks = offer(&[("eip155:84532", &["0xa"]), ("eip155:8453", &["0xa"])]);
        let supported = Supported::of(&networks, |network| network.as_str() == "eip155:84532");
        let kinds: Vec<_> = supported.kinds.iter().map(|kind| (kind.x402_version, kind.scheme, kind.network.as_str())).collect();

        assert_eq!(
            kinds,
            [
                (2, "exact", "eip155:8453"),
                (2, "exact", "eip155:84532"),
                (1, "exact", "base"),
                (1, "exact", "base-sepolia"),
                (2, "transfer", "eip155:84532"),
            ]
        );
    }

    #[test]
    fn a_fault_has_the_members_of_an_offer_too() {
        assert_eq!(
            serde_json::to_value(Supported::fault("unauthorized", "an API key is needed".to_owned())).unwrap(),
            json!({
                "kinds": [], "extensions": [], "signers": {},
                "errorReason": "unauthorized", "errorMessage": "an API key is needed",
            })
        );
    }

    #[test]
    fn a_get_says_what_to_post() {
        assert_eq!(
            serde_json::to_value(SETTLE).unwrap(),
            json!({
                "endpoint": "/settle", "description": "POST to settle x402 payments",
                "body": {"paymentPayload": "PaymentPayload", "paymentRequirements": "PaymentRequirements"},
            })
        );
        assert_eq!(serde_json::to_value(VERIFY).unwrap()["endpoint"], "/verify");
    }
}
