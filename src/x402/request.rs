//! The body of `POST /verify` and `POST /settle`, in both versions of the protocol.
//!
//! The version is read first and decides which members are read at all. Guessing it from the shape would accept mixtures
//! of the two, and would blame the wrong member for every fault.
//!
//! Unknown members are ignored, and optional ones may be `null`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::bazaar::Declaration;
use super::members::Members;
use super::{builder_code, identifier, json, networks, permit2};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::attribution::Named;
use crate::domain::block::Level;
use crate::domain::network::Family;
use crate::domain::payment::{PaymentRequest, SCHEME_EXACT, SCHEME_TRANSFER, SCHEME_UPTO};
use crate::domain::reason::{Reason, Refusal, Version};

/// A well-formed request, with what the answer repeats of it.
#[derive(Debug, Clone, PartialEq)]
pub struct FacilitatorRequest {
    /// What is asked.
    pub request: PaymentRequest,
    /// The network as the request wrote it: a name in version 1, a CAIP-2 identifier in version 2.
    pub network_text: String,
    /// Who claims to pay, not yet proven; empty where the payload does not say.
    pub payer_hint: String,
    /// The name that the payer gives its payment (`payment-identifier`).
    pub identifier: Option<String>,
    /// What the resource says of itself (`bazaar`).
    pub declaration: Option<Declaration>,
}

/// Why a body is no request that we take, with what could be read of it for a typed answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an acceptable request")]
pub struct RequestError {
    /// What was wrong.
    #[source]
    pub refusal: Refusal,
    /// The version, if there is such a one.
    pub version: Option<Version>,
    /// The network as the request wrote it.
    pub network: Option<String>,
    /// Who claims to pay; empty where that cannot be read.
    pub payer: String,
}

impl From<Refusal> for RequestError {
    /// A body of which nothing could be read.
    fn from(refusal: Refusal) -> Self {
        Self { refusal, version: None, network: None, payer: String::new() }
    }
}

/// Reads the body of a request to verify or to settle.
///
/// What is wrong first is reported first, in this order: the JSON, the two parameters, the version, the scheme, the network,
/// and then the rest.
///
/// # Errors
/// A body that is malformed, or asks for a version, scheme or network that does not exist here.
pub fn parse_request(bytes: &[u8]) -> Result<FacilitatorRequest, RequestError> {
    let mut body = json::object(bytes, json::DEPTH_MAX)?;
    let outer_version = take(&mut body, "x402Version");
    let requirements = take(&mut body, "paymentRequirements");
    judge(outer_version.as_ref(), payment_payload(&mut body), requirements.as_ref())
}

/// Reads a request whose two parameters came apart from each other, each as one JSON object; empty if it is missing.
///
/// # Errors
/// See [`parse_request`].
pub fn parse_parts(payload: &[u8], requirements: &[u8]) -> Result<FacilitatorRequest, RequestError> {
    // In a body they would lie one level deeper.
    let part = |bytes: &[u8], name: &str| match bytes {
        [] => Ok(None),
        bytes => json::parse(bytes, json::DEPTH_MAX - 1).map(Some).map_err(|Refusal { reason, detail }| {
            let detail = detail.unwrap_or_else(|| "is not JSON".to_owned());
            Refusal::because(reason, format!("{name}: {detail}"))
        }),
    };
    let (payload, requirements) = (part(payload, "paymentPayload")?, part(requirements, "paymentRequirements")?);
    judge(None, Ok(payload), requirements.as_ref())
}

fn judge(
    outer_version: Option<&Value>,
    payload: Result<Option<Value>, Refusal>,
    requirements: Option<&Value>,
) -> Result<FacilitatorRequest, RequestError> {
    let known = Known::of(payload.as_ref().ok().and_then(Option::as_ref), requirements);
    match payload.and_then(|payload| read(outer_version, payload.as_ref(), requirements)) {
        Ok((request, identifier, declaration)) => {
            let network_text = known.network.unwrap_or_default();
            Ok(FacilitatorRequest { request, network_text, payer_hint: known.payer, identifier, declaration })
        }
        Err(refusal) => Err(RequestError { refusal, version: known.version, network: known.network, payer: known.payer }),
    }
}

fn take(body: &mut Map<String, Value>, name: &str) -> Option<Value> {
    body.remove(name).filter(|value| !value.is_null())
}

/// The payment payload; from the header of the first drafts, which clients in Java still send, if it is not in the body.
fn payment_payload(body: &mut Map<String, Value>) -> Result<Option<Value>, Refusal> {
    match (take(body, "paymentPayload"), take(body, "paymentHeader")) {
        (Some(payload), _) => Ok(Some(payload)),
        (None, Some(header)) => decode_header(&header).map(Some),
        (None, None) => Ok(None),
    }
}

fn decode_header(header: &Value) -> Result<Value, Refusal> {
    let refused = |problem: &str| Refusal::because(Reason::InvalidPayload, format!("paymentHeader: {problem}"));
    let text = header.as_str().ok_or_else(|| refused("must be a string"))?;
    let bytes = STANDARD.decode(text).map_err(|_| refused("is not padded base64"))?;
    json::parse(&bytes, json::DEPTH_MAX).map_err(|refusal| refused(refusal.detail.as_deref().unwrap_or("is not JSON")))
}

/// What an answer repeats of a request, read without judging it.
struct Known {
    version: Option<Version>,
    network: Option<String>,
    payer: String,
}

/// Longest network that an answer repeats. CAIP-2 identifiers have at most 41 characters.
const NETWORK_BYTES_MAX: usize = 64;

impl Known {
    fn of(payload: Option<&Value>, requirements: Option<&Value>) -> Self {
        let network = requirements.and_then(|requirements| requirements.get("network")?.as_str());
        Self {
            version: payload.and_then(|payload| version(payload.get("x402Version")?)),
            network: network.filter(|text| (1..=NETWORK_BYTES_MAX).contains(&text.len())).map(str::to_owned),
            payer: payload.and_then(payer).map(|payer| payer.to_string()).unwrap_or_default(),
        }
    }
}

/// The address that the payload names as the payer, for the kinds of payload that name one.
fn payer(payload: &Value) -> Option<Address> {
    let signed = payload.get("payload")?;
    let from = ["authorization", "permit2Authorization"].iter().find_map(|kind| signed.get(kind)?.get("from")?.as_str())?;
    Address::parse(Family::Eip155, from).ok()
}

fn version(value: &Value) -> Option<Version> {
    let number = value.as_u64()?;
    [Version::V1, Version::V2].into_iter().find(|version| u64::from(version.number()) == number)
}

fn read(
    outer: Option<&Value>,
    payload: Option<&Value>,
    requirements: Option<&Value>,
) -> Result<(PaymentRequest, Option<String>, Option<Declaration>), Refusal> {
    let (Some(payload), Some(required)) = (payload, requirements) else {
        return Err(Refusal::because(Reason::MissingParameters, "paymentPayload and paymentRequirements are both required"));
    };
    let members = Members::of(payload, "paymentPayload", Reason::InvalidPayload)?;
    let requirements = Members::of(required, "paymentRequirements", Reason::InvalidPaymentRequirements)?;
    let version = agreed_version(outer, members.get("x402Version"))?;
    let request = read_members(version, &members, &requirements)?;
    let declaration = Declaration::find(payload, required, &request);
    Ok((request, identifier::read(payload)?, declaration))
}

/// The payload's version is the one that counts. The outer one is a copy that clients add and may leave out.
fn agreed_version(outer: Option<&Value>, inner: Option<&Value>) -> Result<Version, Refusal> {
    let refused = |problem| Refusal::because(Reason::InvalidVersion, problem);
    let agreed = inner.and_then(version).ok_or_else(|| refused("paymentPayload.x402Version: must be 1 or 2"))?;
    match outer {
        Some(outer) if version(outer) != Some(agreed) => Err(refused("x402Version: is not the version of paymentPayload")),
        _ => Ok(agreed),
    }
}

fn read_members(version: Version, payload: &Members<'_>, requirements: &Members<'_>) -> Result<PaymentRequest, Refusal> {
    let scheme = scheme(version, requirements)?;
    let network_text = requirements.text("network")?;
    let network = networks::parse(version, network_text)?;
    let family = network.family();
    let dialect = match version {
        Version::V1 => Dialect::v1(payload, requirements, family)?,
        Version::V2 => Dialect::v2(payload, requirements, family)?,
    };
    let extra = requirements.optional_object("extra", "paymentRequirements.extra")?;
    let extra_text = |name| extra.optional_text(name).map(|text| text.map(str::to_owned));
    // What only another family reads is a member like any other that nobody knows.
    let family_text = |owner, name| if owner == family { extra_text(name) } else { Ok(None) };
    let signed = payload.required("payload")?;
    Members::of(signed, "paymentPayload.payload", Reason::InvalidPayload)?;

    Ok(PaymentRequest {
        version,
        scheme: scheme.to_owned(),
        network,
        asset: requirements.parsed("asset", |text| Address::parse(family, text))?,
        pay_to: requirements.parsed("payTo", |text| Address::parse(family, text))?,
        amount: dialect.amount,
        timeout_seconds: timeout_seconds(requirements)?,
        resource: dialect.resource.map(str::to_owned),
        invoice: extra_text("invoice")?,
        domain_name: family_text(Family::Eip155, "name")?,
        domain_version: family_text(Family::Eip155, "version")?,
        fee_payer: fee_payer(family, &extra),
        memo: family_text(Family::Solana, "memo")?,
        answer_at: answer_at(&extra)?,
        accepted_scheme: dialect.accepted_scheme.to_owned(),
        accepted_network: dialect.accepted_network == network_text,
        payload: signed.clone(),
        gas_sponsoring: dialect.gas_sponsoring.cloned(),
        named: dialect.named,
    })
}

/// Where there is no text the scheme knows of no fee payer, which it refuses with a code of its own, as the reference does.
fn fee_payer(family: Family, extra: &Members<'_>) -> Option<String> {
    let text = extra.get("feePayer").and_then(Value::as_str).map(str::to_owned);
    text.filter(|_| family == Family::Solana)
}

fn scheme<'a>(version: Version, requirements: &Members<'a>) -> Result<&'a str, Refusal> {
    let scheme = requirements.text("scheme")?;
    match scheme {
        SCHEME_EXACT | SCHEME_TRANSFER => Ok(scheme),
        SCHEME_UPTO if version == Version::V2 => Ok(scheme),
        SCHEME_UPTO => Err(Refusal::because(Reason::UnsupportedScheme, "version 1 has no scheme upto")),
        _ => Err(Refusal::because(Reason::UnsupportedScheme, "the schemes are exact, upto and transfer")),
    }
}

/// What the two versions keep in different places.
struct Dialect<'a> {
    amount: Amount,
    resource: Option<&'a str>,
    accepted_scheme: &'a str,
    accepted_network: &'a str,
    gas_sponsoring: Option<&'a Value>,
    named: Named,
}

impl<'a> Dialect<'a> {
    fn v1(payload: &Members<'a>, requirements: &Members<'a>, family: Family) -> Result<Self, Refusal> {
        Ok(Self {
            amount: amount(requirements, "maxAmountRequired", family)?,
            resource: requirements.optional_text("resource")?,
            accepted_scheme: payload.text("scheme")?,
            accepted_network: payload.text("network")?,
            gas_sponsoring: None,
            named: Named::default(),
        })
    }

    fn v2(payload: &Members<'a>, requirements: &Members<'a>, family: Family) -> Result<Self, Refusal> {
        // The payer's copy of the terms may differ from the server's in everything else: clients add hints to it.
        let accepted = payload.object("accepted", "paymentPayload.accepted")?;
        Ok(Self {
            amount: amount(requirements, "amount", family)?,
            resource: payload.optional_object("resource", "paymentPayload.resource")?.optional_text("url")?,
            accepted_scheme: accepted.text("scheme")?,
            accepted_network: accepted.text("network")?,
            gas_sponsoring: gas_sponsoring(payload, family),
            named: builder_code::read(payload.get("extensions")),
        })
    }
}

/// What a payer signed so that others can pay the gas of what must come before its payment. Whether it is of any use is for the rules
/// of the scheme to say.
fn gas_sponsoring<'a>(payload: &Members<'a>, family: Family) -> Option<&'a Value> {
    let extension = payload.get("extensions")?.get(permit2::GAS_SPONSORING_EXTENSION)?;
    extension.get("info").filter(|info| family == Family::Eip155 && !info.is_null())
}

fn amount(requirements: &Members<'_>, name: &str, family: Family) -> Result<Amount, Refusal> {
    let amount: Amount = requirements.parsed(name, str::parse)?;
    // In the end a resource server may charge nothing.
    let is_open = requirements.get("scheme").and_then(Value::as_str) == Some(SCHEME_UPTO);
    match family {
        _ if amount.is_zero() && !is_open => Err(requirements.blame(name, "must not be zero")),
        // The token programs of Solana count in 64 bits.
        Family::Solana if amount.units() > u64::MAX.into() => Err(requirements.blame(name, "larger than 2^64 - 1")),
        Family::Eip155 | Family::Solana => Ok(amount),
    }
}

fn timeout_seconds(requirements: &Members<'_>) -> Result<u32, Refusal> {
    const NAME: &str = "maxTimeoutSeconds";
    let seconds = requirements.required(NAME)?.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
    seconds.filter(|seconds| *seconds > 0).ok_or_else(|| requirements.blame(NAME, "must be an integer from 1 to 2^32 - 1"))
}

fn answer_at(extra: &Members<'_>) -> Result<Option<Level>, Refusal> {
    const NAME: &str = "answerAt";
    let level = |text| Level::parse(text).ok_or_else(|| extra.blame(NAME, "must be included, safe or final"));
    extra.optional_text(NAME)?.map(level).transpose()
}

#[cfg(test)]
mod tests;
