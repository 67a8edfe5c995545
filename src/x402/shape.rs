//! What the body of `POST /verify` and `POST /settle` looks like, for the description of the API.
//!
//! The body is read by [`super::request`] and the parsers of its schemes, member by member, because each fault has a code of its own. These
//! types are never made: they say in JSON Schema what those parsers take. A test holds the two together. Unknown members are ignored
//! everywhere, and an optional one may be `null`.

use schemars::JsonSchema;
use serde_json::{Map, Value};

use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::block::Level;
use crate::domain::ids::InvoiceId;
use crate::domain::network::Network;
use crate::domain::schema::Transaction;

/// A payment and what is required of it, in one of the two versions of the protocol. The version in `paymentPayload` decides which.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, rename = "FacilitatorRequest")]
pub enum Request {
    /// In version 2.
    V2(RequestV2),
    /// In version 1.
    V1(RequestV1),
}

/// A request of x402 version 2.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct RequestV2 {
    /// A copy of the version in the payload; may be left out.
    #[schemars(extend("const" = 2))]
    pub x402_version: Option<u8>,
    /// What the payer sent.
    pub payment_payload: PaymentPayloadV2,
    /// What the resource server requires.
    pub payment_requirements: PaymentRequirementsV2,
}

/// A request of x402 version 1.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct RequestV1 {
    /// A copy of the version in the payload; may be left out.
    #[schemars(extend("const" = 1))]
    pub x402_version: Option<u8>,
    /// What the payer sent.
    pub payment_payload: PaymentPayloadV1,
    /// What the resource server requires.
    pub payment_requirements: PaymentRequirementsV1,
}

/// `PaymentPayload` of version 2.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct PaymentPayloadV2 {
    /// The version.
    #[schemars(extend("const" = 2))]
    pub x402_version: u8,
    /// What is paid for.
    pub resource: Option<Resource>,
    /// The offer that the payer accepted. Only its scheme and its network are compared with the requirements.
    pub accepted: Accepted,
    /// What the payer signed, or presents.
    pub payload: Payload,
    /// Extensions by their keys. These are read: `payment-identifier` (`{"info": {"id": "…"}}`, 16 to 128 letters, digits, hyphens and
    /// underscores), `eip2612GasSponsoring`, `builder-code` and `bazaar`, which docs/DISCOVERY.md is about.
    pub extensions: Option<Map<String, Value>>,
}

/// `PaymentPayload` of version 1.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct PaymentPayloadV1 {
    /// The version.
    #[schemars(extend("const" = 1))]
    pub x402_version: u8,
    /// The scheme that the payer accepted.
    pub scheme: SchemeV1,
    /// The network that the payer accepted, by its name of version 1.
    #[schemars(example = &"base-sepolia")]
    pub network: String,
    /// What the payer signed, or presents.
    pub payload: Payload,
}

/// How it is paid: `exact` and `upto` by what the payer signed, `transfer` by a transfer that was made already.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum Scheme {
    /// Exactly the amount, by an authorization (EIP-3009), by Permit2, or by a transaction of Solana that lacks the fee payer's signature.
    Exact,
    /// What the resource server says in the end, and at most what the payer signed, by Permit2.
    Upto,
    /// A transfer that was made already, presented as the payment of an invoice.
    Transfer,
}

/// The same in version 1, which has no scheme `upto`.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "lowercase")]
pub enum SchemeV1 {
    /// Exactly the amount.
    Exact,
    /// A transfer that was made already.
    Transfer,
}

/// What is paid for.
#[derive(Debug, JsonSchema)]
pub struct Resource {
    /// Its URL.
    pub url: Option<String>,
}

/// An offer that a payer accepted.
#[derive(Debug, JsonSchema)]
pub struct Accepted {
    /// The scheme.
    pub scheme: Scheme,
    /// The network, as in the requirements.
    #[schemars(with = "Network")]
    pub network: String,
}

/// `PaymentRequirements` of version 2.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct PaymentRequirementsV2 {
    /// The scheme.
    pub scheme: Scheme,
    /// The network.
    #[schemars(with = "Network")]
    pub network: String,
    /// How much, in atomic units; zero only where scheme `upto` is settled for nothing.
    #[schemars(with = "Amount")]
    pub amount: String,
    /// The token.
    #[schemars(with = "Address")]
    pub asset: String,
    /// Who is paid.
    #[schemars(with = "Address")]
    pub pay_to: String,
    /// For how long an authorization may be valid.
    #[schemars(range(min = 1))]
    pub max_timeout_seconds: u32,
    /// What the scheme needs on this network.
    pub extra: Option<Extra>,
}

/// `PaymentRequirements` of version 1.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct PaymentRequirementsV1 {
    /// The scheme.
    pub scheme: SchemeV1,
    /// The network by its name of version 1, as `GET /supported` has it.
    #[schemars(example = &"base-sepolia")]
    pub network: String,
    /// How much, in atomic units; not zero.
    #[schemars(with = "Amount")]
    pub max_amount_required: String,
    /// The token.
    #[schemars(with = "Address")]
    pub asset: String,
    /// Who is paid.
    #[schemars(with = "Address")]
    pub pay_to: String,
    /// For how long an authorization may be valid.
    #[schemars(range(min = 1))]
    pub max_timeout_seconds: u32,
    /// The URL of what is paid for.
    pub resource: Option<String>,
    /// What the scheme needs on this network.
    pub extra: Option<Extra>,
}

/// `extra` of requirements.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct Extra {
    /// The token's EIP-712 name. Needed in version 2 on EVM networks.
    pub name: Option<String>,
    /// The token's EIP-712 version. Needed in version 2 on EVM networks.
    pub version: Option<String>,
    /// Who pays the fee, from `GET /supported`. Needed on Solana.
    pub fee_payer: Option<String>,
    /// The memo that the transaction must have (Solana).
    pub memo: Option<String>,
    /// The invoice that is paid. Needed by the scheme `transfer`.
    #[schemars(with = "Option<InvoiceId>")]
    pub invoice: Option<String>,
    /// How deep the transfer must stand before success is answered, at least.
    pub answer_at: Option<Level>,
}

/// What the payer signed, or presents. Its form decides which of these it is.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, rename = "SchemePayload")]
pub enum Payload {
    /// Schemes `exact` and `upto` on EVM networks, by Permit2.
    Permit2(Permit2),
    /// Scheme `exact` on EVM networks.
    Eip3009(Eip3009),
    /// Scheme `exact` on Solana.
    Solana(SolanaTransaction),
    /// Scheme `transfer`.
    Transfer(PresentedTransfer),
}

/// An authorization of the token (EIP-3009), signed by the payer.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Eip3009Payload")]
pub struct Eip3009 {
    /// What the payer's account or wallet accepts as its signature, at most 4,096 bytes.
    #[schemars(regex(pattern = "^0x([0-9a-fA-F]{2})+$"), length(max = 8_194))]
    pub signature: String,
    /// What was signed.
    pub authorization: Authorization,
}

/// `TransferWithAuthorization` of EIP-3009.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct Authorization {
    /// Who pays.
    #[schemars(with = "Address")]
    pub from: String,
    /// Who is paid.
    #[schemars(with = "Address")]
    pub to: String,
    /// How much, in atomic units.
    #[schemars(with = "Amount")]
    pub value: String,
    /// The second after which it is valid.
    #[schemars(regex(pattern = "^(0|[1-9][0-9]{0,77})$"))]
    pub valid_after: String,
    /// The second before which it is valid.
    #[schemars(regex(pattern = "^(0|[1-9][0-9]{0,77})$"))]
    pub valid_before: String,
    /// What makes it unique among the payer's.
    #[schemars(regex(pattern = "^0x[0-9a-fA-F]{64}$"))]
    pub nonce: String,
}

/// A transfer that Permit2 makes on the payer's signature.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "Permit2Payload", rename_all = "camelCase")]
pub struct Permit2 {
    /// What the payer's account or wallet accepts as its signature, at most 4,096 bytes.
    #[schemars(regex(pattern = "^0x([0-9a-fA-F]{2})+$"), length(max = 8_194))]
    pub signature: String,
    /// What was signed.
    pub permit2_authorization: Permit2Authorization,
}

/// `PermitWitnessTransferFrom` of Permit2.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct Permit2Authorization {
    /// Who pays.
    #[schemars(with = "Address")]
    pub from: String,
    /// What may be moved.
    pub permitted: Permitted,
    /// Which contract may ask Permit2 for it: the proxy of the scheme.
    #[schemars(with = "Address")]
    pub spender: String,
    /// What makes it unique among the payer's.
    #[schemars(regex(pattern = "^(0|[1-9][0-9]{0,77})$"))]
    pub nonce: String,
    /// The last second in which it can be used.
    #[schemars(regex(pattern = "^(0|[1-9][0-9]{0,77})$"))]
    pub deadline: String,
    /// What the proxy holds itself to.
    pub witness: Witness,
}

/// `TokenPermissions` of Permit2.
#[derive(Debug, JsonSchema)]
pub struct Permitted {
    /// The token.
    #[schemars(with = "Address")]
    pub token: String,
    /// How much of it, at most, in atomic units.
    #[schemars(with = "Amount")]
    pub amount: String,
}

/// `Witness` of the proxies.
#[derive(Debug, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub struct Witness {
    /// Who is paid.
    #[schemars(with = "Address")]
    pub to: String,
    /// Who alone may settle it: of scheme `upto`, and only there.
    #[schemars(with = "Option<Address>")]
    pub facilitator: Option<String>,
    /// The first second in which it can be used.
    #[schemars(regex(pattern = "^(0|[1-9][0-9]{0,77})$"))]
    pub valid_after: String,
}

/// A transaction of Solana that the payer signed and that lacks the fee payer's signature.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "SolanaPayload")]
pub struct SolanaTransaction {
    /// Its bytes in base64, at most 1,232 of them.
    #[schemars(regex(pattern = "^[A-Za-z0-9+/]+={0,2}$"), length(max = 1_644))]
    pub transaction: String,
}

/// A transfer that was made already.
#[derive(Debug, JsonSchema)]
#[schemars(rename = "TransferPayload")]
pub struct PresentedTransfer {
    /// Its transaction.
    #[schemars(with = "Transaction")]
    pub transaction: String,
    /// The payer's signature over what docs/adr/0031-proofs.md says. The merchant needs none.
    pub signature: Option<String>,
}

/// Requests as they are written down in the specification, by the names of examples.
#[must_use]
pub fn examples() -> Vec<(&'static str, Value)> {
    let read = |text| serde_json::from_str(text).unwrap_or_default();
    vec![
        ("version 2, EIP-3009", read(include_str!("../../tests/vectors/x402/exact-eip3009-v2.json"))),
        ("version 2, Permit2", read(include_str!("../../tests/vectors/x402/exact-permit2-v2.json"))),
        ("version 1, EIP-3009", read(include_str!("../../tests/vectors/x402/exact-eip3009-v1.json"))),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use schemars::schema_for;

    use super::*;
    use crate::x402::exact_evm::Eip3009Payload;
    use crate::x402::permit2::Permit2Payload;
    use crate::x402::request::parse_request;

    /// The paths of all members in a value.
    fn members(value: &Value, path: &str, found: &mut BTreeSet<String>) {
        for (name, member) in value.as_object().into_iter().flatten() {
            let path = format!("{path}/{name}");
            members(member, &path, found);
            found.insert(path);
        }
    }

    /// Whether the schema of a type says that a member, by its path, must be there.
    fn is_required(schema: &Value, root: &Value, path: &[&str]) -> bool {
        let resolved = schema["$ref"].as_str().map(|reference| root.pointer(&reference[1..]).unwrap());
        let schema = resolved.unwrap_or(schema);
        if let Some(choices) = schema["anyOf"].as_array() {
            return choices.iter().filter(|choice| choice["type"] != "null").any(|choice| is_required(choice, root, path));
        }
        let [name, rest @ ..] = path else { return true };
        let here = schema["required"].as_array().is_some_and(|required| required.contains(&Value::from(*name)));
        if rest.is_empty() { here } else { is_required(&schema["properties"][*name], root, rest) }
    }

    #[test]
    fn the_parser_misses_exactly_what_the_shape_requires() {
        let (v1, v2) = (schema_for!(RequestV1).to_value(), schema_for!(RequestV2).to_value());
        for (name, example) in examples() {
            let schema = if example["x402Version"] == 1 { &v1 } else { &v2 };
            assert!(parse_request(example.to_string().as_bytes()).is_ok(), "{name}");
            let mut paths = BTreeSet::new();
            members(&example, "", &mut paths);
            // What the payer signed is read by the scheme, and the accepted terms are only compared.
            for path in paths.iter().filter(|path| !path.contains("/payload/")) {
                let mut without = example.clone();
                let (parent, member) = path.rsplit_once('/').unwrap();
                without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(member);
                let parts: Vec<_> = path[1..].split('/').collect();
                let is_read = parse_request(without.to_string().as_bytes()).is_ok();
                assert_eq!(is_read, !is_required(schema, schema, &parts), "{name}: {path}");
            }
        }
    }

    #[test]
    fn each_scheme_and_each_payload_of_the_shape_is_read() {
        let schemes = schema_for!(Scheme).to_value();
        let words = schemes["oneOf"].as_array().unwrap().iter().map(|choice| choice["const"].clone());
        for scheme in words {
            let (_, mut example) = examples().swap_remove(0);
            example["paymentRequirements"]["scheme"] = scheme.clone();
            assert!(parse_request(example.to_string().as_bytes()).is_ok(), "{scheme}");
        }
        for (name, example) in examples() {
            let payload = &example["paymentPayload"]["payload"];
            let schema = if Permit2Payload::is_in(payload) { schema_for!(Permit2) } else { schema_for!(Eip3009) }.to_value();
            assert!(is_read(payload), "{name}");
            let mut paths = BTreeSet::new();
            members(payload, "", &mut paths);
            for path in paths {
                let mut without = payload.clone();
                *without.pointer_mut(&path).unwrap() = Value::Null;
                assert!(!is_read(&without), "{name}: {path}");
                assert!(is_required(&schema, &schema, &path[1..].split('/').collect::<Vec<_>>()), "{name}: {path}");
            }
        }
    }

    fn is_read(payload: &Value) -> bool {
        if Permit2Payload::is_in(payload) {
            Permit2Payload::parse(payload).is_ok()
        } else {
            Eip3009Payload::parse(payload).is_ok()
        }
    }
}
