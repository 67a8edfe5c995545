//! What is asked for a route: the price, where it may be paid, and how that reads as an offer of x402.

use serde_json::{Map, Value, json};

use crate::price::{Price, PriceError};
use crate::token::{Family, Token, v1_name};
use crate::wire::{Accepted, Payment, Requirements, RequirementsV1, Resource, Supported, Version};

/// The extension by which a facilitator takes a payer's permit for Permit2 with the payment.
const GAS_SPONSORING: &str = "eip2612GasSponsoring";

/// Its declaration: what the payer adds, all of it as texts.
fn gas_sponsoring() -> Value {
    let text = |pattern: &str| json!({"type": "string", "pattern": pattern});
    let (address, number) = (text("^0x[a-fA-F0-9]{40}$"), text("^[0-9]+$"));
    let properties = json!({
        "from": address, "asset": address, "spender": address, "amount": number, "nonce": number, "deadline": number,
        "signature": text("^0x[a-fA-F0-9]+$"), "version": text("^[0-9]+(\\.[0-9]+)*$"),
    });
    let required: Vec<_> = properties.as_object().into_iter().flat_map(Map::keys).collect();
    let schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "required": required, "properties": properties,
    });
    json!({"info": {"description": "A permit for Permit2 (EIP-2612) is taken with the payment.", "version": "1"}, "schema": schema})
}

/// How a price is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// The price, whatever is done.
    Exact,
    /// At most the price: what is done decides.
    UpTo,
}

impl Scheme {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::UpTo => "upto",
        }
    }
}

/// One way to pay, before the facilitator is asked what it needs for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Way {
    pub family: Family,
    pub token: Token,
    pub pay_to: String,
    /// In atomic units of the token.
    pub amount: u128,
}

/// Everything that is asked for a route.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    pub scheme: Scheme,
    pub ways: Vec<Way>,
    pub max_timeout_seconds: u64,
    pub description: String,
    pub mime_type: String,
    pub public_url: Option<String>,
}

/// Why a paywall cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// Nobody would be paid.
    #[error("there is nobody to pay: use pay_to")]
    NoRecipient,
    /// Not a CAIP-2 identifier of an EVM network or of Solana.
    #[error("{0:?} is not a network such as eip155:8453")]
    Network(String),
    /// The USDC of this network is not known here.
    #[error("the USDC of {0} is not known: use pay_to_in with its token")]
    NoUsdc(String),
    /// Not an address of its network.
    #[error("{address:?} is not an address on {network}")]
    Address {
        /// The network.
        network: String,
        /// The text.
        address: String,
    },
    /// The token cannot pay the price.
    #[error("the price cannot be paid on {network}")]
    Price {
        /// The network.
        network: String,
        /// Why not.
        #[source]
        fault: PriceError,
    },
}

impl Way {
    /// A way to pay a price in a token to an address.
    pub(crate) fn new(price: Price, token: Token, pay_to: &str) -> Result<Self, TermsError> {
        let family = Family::of(&token.network).ok_or_else(|| TermsError::Network(token.network.clone()))?;
        if let Some(address) = [token.address.as_str(), pay_to].into_iter().find(|text| !family.has_address(text)) {
            return Err(TermsError::Address { network: token.network, address: address.to_owned() });
        }
        let amount = price.atomic(token.decimals).map_err(|fault| TermsError::Price { network: token.network.clone(), fault })?;
        Ok(Self { family, pay_to: pay_to.to_owned(), amount, token })
    }
}

/// One way to pay, with what the facilitator needs for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    pub family: Family,
    pub decimals: u8,
    pub amount: u128,
    pub requirements: Requirements,
    /// The name that version 1 has for the network, where the facilitator takes that version, too.
    pub v1_network: Option<&'static str>,
}

/// What a payment is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub version: Version,
    pub offer: Offer,
}

impl Terms {
    /// The ways that the facilitator takes at present.
    pub(crate) fn offers(&self, supported: &Supported) -> Vec<Offer> {
        self.ways.iter().filter_map(|way| self.offer(way, supported)).collect()
    }

    fn offer(&self, way: &Way, supported: &Supported) -> Option<Offer> {
        let Way { family, token, pay_to, amount } = way;
        let kind = supported.kind(Version::V2, self.scheme.as_str(), &token.network)?;
        let v1_network = v1_name(&token.network).filter(|name| supported.kind(Version::V1, self.scheme.as_str(), name).is_some());
        let requirements = Requirements {
            scheme: self.scheme.as_str().to_owned(),
            network: token.network.clone(),
            amount: amount.to_string(),
            asset: token.address.clone(),
            pay_to: pay_to.clone(),
            max_timeout_seconds: self.max_timeout_seconds,
            extra: self.extra(token, kind.extra.as_ref()),
        };
        Some(Offer { family: *family, decimals: token.decimals, amount: *amount, requirements, v1_network })
    }

    /// What the token says of itself, what the scheme wants, and what the facilitator says of its kind, such as who pays the fee.
    fn extra(&self, token: &Token, of_kind: Option<&Map<String, Value>>) -> Map<String, Value> {
        let mut extra = of_kind.cloned().unwrap_or_default();
        if let Some((name, version)) = &token.domain {
            extra.insert("name".to_owned(), name.as_str().into());
            extra.insert("version".to_owned(), version.as_str().into());
        }
        if self.scheme == Scheme::UpTo {
            extra.insert("assetTransferMethod".to_owned(), "permit2".into());
        }
        extra
    }

    /// What buyers may use besides. Where the facilitator pays for it, a payer signs a permit (EIP-2612) and needs no gas to let Permit2 move
    /// its tokens.
    pub(crate) fn extensions(&self, supported: &Supported) -> Map<String, Value> {
        let sponsored = self.scheme == Scheme::UpTo && supported.extends(GAS_SPONSORING);
        sponsored.then(|| (GAS_SPONSORING.to_owned(), gas_sponsoring())).into_iter().collect()
    }

    /// What is sold at a URL.
    pub(crate) fn resource(&self, url: String) -> Resource {
        Resource { url, description: self.description.clone(), mime_type: self.mime_type.clone() }
    }
}

impl Offer {
    /// Whether the amount is only the most that may be charged.
    pub(crate) fn is_metered(&self) -> bool {
        self.requirements.scheme == Scheme::UpTo.as_str()
    }

    /// The same offer in version 1, if it has one.
    pub(crate) fn in_v1<'a>(&'a self, resource: &'a Resource) -> Option<RequirementsV1<'a>> {
        let Requirements { scheme, amount, asset, pay_to, max_timeout_seconds, extra, .. } = &self.requirements;
        Some(RequirementsV1 {
            scheme,
            network: self.v1_network?,
            max_amount_required: amount,
            resource: &resource.url,
            description: &resource.description,
            mime_type: &resource.mime_type,
            pay_to,
            max_timeout_seconds: *max_timeout_seconds,
            asset,
            extra,
        })
    }

    fn is_accepted(&self, accepted: &Accepted) -> bool {
        let Requirements { scheme, network, amount, asset, pay_to, .. } = &self.requirements;
        let same = |left: &str, right: &str| self.family.same_address(left, right);
        (scheme, network, amount) == (&accepted.scheme, &accepted.network, &accepted.amount)
            && same(asset, &accepted.asset)
            && same(pay_to, &accepted.pay_to)
    }

    /// Takes over by which of the facilitator's addresses the buyer was told to pay. The facilitator may offer another one by now, and
    /// what the buyer signed names the one before.
    fn keep_signer(&mut self, accepted: &Accepted, supported: &Supported) {
        for name in ["feePayer", "facilitatorAddress"] {
            let named = accepted.extra.as_ref().and_then(|extra| extra.get(name));
            let own = |address: &&Value| address.as_str().is_some_and(|text| supported.signs_with(self.family.pattern(), text));
            if let (Some(address), Some(ours)) = (named.filter(own), self.requirements.extra.get_mut(name)) {
                *ours = address.clone();
            }
        }
    }
}

impl Order {
    /// The offer that a payment takes, if it takes one.
    pub(crate) fn of(payment: &Payment, offers: &[Offer], supported: &Supported) -> Option<Self> {
        let offer = if let Some(accepted) = &payment.accepted {
            let mut offer = offers.iter().find(|offer| offer.is_accepted(accepted))?.clone();
            offer.keep_signer(accepted, supported);
            offer
        } else {
            let taken = |offer: &&Offer| {
                offer.v1_network == Some(payment.network.as_str()) && offer.requirements.scheme == payment.scheme
            };
            offers.iter().find(taken)?.clone()
        };
        Some(Self { version: payment.version, offer })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub const MERCHANT: &str = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359";
    const ON_SOLANA: &str = "EdmxWPmx2WH6WgFfTdu9xfkYf3k1g5wD1zccTVySEEh1";
    const BASE: &str = "eip155:84532";
    const SOLANA: &str = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";

    fn price() -> Price {
        Price::usdc("0.001").unwrap()
    }

    fn terms(scheme: Scheme) -> Terms {
        let way = |network: &str, pay_to: &str| Way::new(price(), Token::usdc(network).unwrap(), pay_to).unwrap();
        Terms {
            scheme,
            ways: vec![way(BASE, MERCHANT), way(SOLANA, ON_SOLANA)],
            max_timeout_seconds: 60,
            description: "Weather".to_owned(),
            mime_type: "application/json".to_owned(),
            public_url: None,
        }
    }

    fn supported() -> Supported {
        serde_json::from_value(json!({
            "kinds": [
                {"x402Version": 2, "scheme": "exact", "network": BASE},
                {"x402Version": 2, "scheme": "upto", "network": BASE, "extra": {"facilitatorAddress": "0xF1"}},
                {"x402Version": 1, "scheme": "exact", "network": "base-sepolia"},
                {"x402Version": 2, "scheme": "exact", "network": SOLANA, "extra": {"feePayer": "A"}},
            ],
            "signers": {"solana:*": ["A", "B"], "eip155:*": ["0xF1", "0xF2"]},
        }))
        .unwrap()
    }

    fn payment(accepted: &Value) -> Payment {
        let text = |name: &str| accepted[name].as_str().unwrap().to_owned();
        Payment {
            version: Version::V2,
            scheme: text("scheme"),
            network: text("network"),
            accepted: Some(serde_json::from_value(accepted.clone()).unwrap()),
            resource: None,
            payload: serde_json::value::RawValue::from_string("{}".to_owned()).unwrap(),
        }
    }

    fn wire(offer: &Offer) -> Value {
        serde_json::to_value(&offer.requirements).unwrap()
    }

    #[test]
    fn an_offer_has_what_the_payer_and_the_facilitator_need() {
        let offers = terms(Scheme::Exact).offers(&supported());

        assert_eq!(
            wire(&offers[0]),
            json!({
                "scheme": "exact", "network": BASE, "amount": "1000", "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
                "payTo": MERCHANT, "maxTimeoutSeconds": 60, "extra": {"name": "USDC", "version": "2"},
            })
        );
        assert_eq!((&wire(&offers[1])["extra"], offers[1].v1_network), (&json!({"feePayer": "A"}), None));
        let resource = terms(Scheme::Exact).resource("https://a/b".to_owned());
        assert_eq!(
            serde_json::to_value(offers[0].in_v1(&resource).unwrap()).unwrap(),
            json!({
                "scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "1000", "resource": "https://a/b",
                "description": "Weather", "mimeType": "application/json", "payTo": MERCHANT, "maxTimeoutSeconds": 60,
                "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "extra": {"name": "USDC", "version": "2"},
            })
        );
        assert_eq!(offers[1].in_v1(&resource), None);
    }

    #[test]
    fn a_metered_offer_names_the_facilitator_and_the_method() {
        let offers = terms(Scheme::UpTo).offers(&supported());

        assert_eq!(offers.len(), 1, "nobody settles upto on Solana here");
        let extra = json!({"facilitatorAddress": "0xF1", "name": "USDC", "version": "2", "assetTransferMethod": "permit2"});
        assert_eq!((&wire(&offers[0])["extra"], offers[0].v1_network), (&extra, None));
    }

    #[test]
    fn a_permit_for_permit2_is_asked_for_where_the_facilitator_takes_it() {
        let sponsoring = Supported { extensions: vec![GAS_SPONSORING.to_owned()], ..supported() };

        let declared = terms(Scheme::UpTo).extensions(&sponsoring);
        let schema = &declared[GAS_SPONSORING]["schema"];
        assert_eq!(schema["required"].as_array().unwrap().len(), 8);
        assert_eq!(schema["properties"]["version"]["pattern"], r"^[0-9]+(\.[0-9]+)*$");
        assert!(
            terms(Scheme::UpTo).extensions(&supported()).is_empty() && terms(Scheme::Exact).extensions(&sponsoring).is_empty()
        );
    }

    #[test]
    fn what_the_facilitator_does_not_take_is_not_offered() {
        let nothing = Supported { kinds: Vec::new(), ..supported() };

        assert!(terms(Scheme::Exact).offers(&nothing).is_empty());
    }

    #[test]
    fn a_payment_takes_the_offer_that_it_repeats() {
        let (supported, offers) = (supported(), terms(Scheme::Exact).offers(&supported()));
        let order = |accepted: &Value| Order::of(&payment(accepted), &offers, &supported);
        for offer in &offers {
            assert_eq!(order(&wire(offer)).unwrap().offer, *offer);
        }
        // Clients write addresses of EVM networks with another checksum, and add what they like to `extra`.
        let mut loose = wire(&offers[0]);
        loose["payTo"] = json!(MERCHANT.to_lowercase());
        loose["extra"]["more"] = json!(1);
        assert_eq!(order(&loose).unwrap().offer, offers[0]);
        for (name, value) in
            [("amount", "999"), ("network", "eip155:8453"), ("scheme", "upto"), ("asset", MERCHANT), ("payTo", "0x1")]
        {
            let mut other = wire(&offers[0]);
            other[name] = json!(value);
            assert_eq!(order(&other), None, "{name}");
        }
    }

    #[test]
    fn a_buyer_who_was_told_another_signer_may_pay_by_it() {
        let (supported, offers) = (supported(), terms(Scheme::Exact).offers(&supported()));
        for (told, asked) in [("A", "A"), ("B", "B"), ("C", "A")] {
            let mut accepted = wire(&offers[1]);
            accepted["extra"]["feePayer"] = json!(told);
            let order = Order::of(&payment(&accepted), &offers, &supported).unwrap();
            assert_eq!(order.offer.requirements.extra["feePayer"], asked, "{told}");
        }
        let mut accepted = wire(&offers[0]);
        accepted["extra"]["feePayer"] = json!("A");
        let order = Order::of(&payment(&accepted), &offers, &supported).unwrap();
        assert_eq!(order.offer.requirements.extra.get("feePayer"), None);
    }

    #[test]
    fn a_payment_of_version_1_takes_the_offer_of_its_network() {
        let (supported, offers) = (supported(), terms(Scheme::Exact).offers(&supported()));
        let v1 = |scheme: &str, network: &str| Payment {
            version: Version::V1,
            scheme: scheme.to_owned(),
            network: network.to_owned(),
            accepted: None,
            ..payment(&wire(&offers[0]))
        };
        assert_eq!(Order::of(&v1("exact", "base-sepolia"), &offers, &supported).unwrap().offer, offers[0]);
        for (scheme, network) in [("exact", BASE), ("exact", "solana-devnet"), ("upto", "base-sepolia")] {
            assert_eq!(Order::of(&v1(scheme, network), &offers, &supported), None);
        }
    }

    #[test]
    fn terms_that_nobody_could_pay_are_refused_at_the_start() {
        let usdc = || Token::usdc(BASE).unwrap();
        let refused = |price: Price, token: Token, pay_to: &str| Way::new(price, token, pay_to).unwrap_err();
        let network = || BASE.to_owned();

        assert_eq!(refused(price(), usdc(), "0x1"), TermsError::Address { network: network(), address: "0x1".to_owned() });
        assert_eq!(
            refused(price(), usdc(), ON_SOLANA),
            TermsError::Address { network: network(), address: ON_SOLANA.to_owned() }
        );
        let unnamed = Token { network: "base".to_owned(), ..usdc() };
        assert_eq!(refused(price(), unnamed, MERCHANT), TermsError::Network("base".to_owned()));
        let fine = Price::usdc("0.0000001").unwrap();
        assert_eq!(refused(fine, usdc(), MERCHANT), TermsError::Price { network: network(), fault: PriceError::NotPayable(6) });
    }
}
