//! What the payer signed for Permit2, as it travels and as the ledger stores it: schemes `exact` and `upto` on EVM networks.

use serde_json::{Value, json};

use super::exact_evm::{address, signature, time};
use super::members::Members;
use super::uint256::{self, Uint256};
use crate::domain::address::{Address, encode_hex};
use crate::domain::amount::Amount;
use crate::domain::reason::{Reason, Refusal};

/// The member that only payloads for Permit2 have.
pub const AUTHORIZATION: &str = "permit2Authorization";

/// The extension by which a payer lets Permit2 take its token without sending a transaction.
pub const GAS_SPONSORING_EXTENSION: &str = "eip2612GasSponsoring";

/// The member of the stored form that has what came in the extension. No payer can write it: that form is made by us.
const STORED_PERMIT: &str = "eip2612";

const AUTHORIZATION_PATH: &str = "payload.permit2Authorization";
const PERMITTED_PATH: &str = "payload.permit2Authorization.permitted";
const WITNESS_PATH: &str = "payload.permit2Authorization.witness";
const INFO_PATH: &str = "paymentPayload.extensions.eip2612GasSponsoring.info";

/// A transfer that Permit2 makes on the payer's signature (`PermitWitnessTransferFrom`), in the names of that contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit2Payload {
    /// What the payer's account or wallet accepts as its signature, not yet looked at.
    pub signature: Vec<u8>,
    /// Who pays.
    pub from: Address,
    /// The token that may be moved.
    pub token: Address,
    /// How much of it, at most.
    pub permitted: Amount,
    /// Which contract may ask Permit2 for it.
    pub spender: Address,
    /// What makes it unique among the payer's, as 256 bits from the most significant on.
    pub nonce: Uint256,
    /// The last second in which it can be used; beyond 64 bits as in [`super::exact_evm::Eip3009Payload::valid_after`].
    pub deadline: u64,
    /// Who is paid.
    pub to: Address,
    /// Who alone may settle it: only of scheme `upto`.
    pub facilitator: Option<Address>,
    /// The first second in which it can be used.
    pub valid_after: u64,
}

impl Permit2Payload {
    /// Whether a payload is for Permit2. The kind is decided by shape, as all implementations do, and by this member before all others.
    #[must_use]
    pub fn is_in(payload: &Value) -> bool {
        payload.get(AUTHORIZATION).is_some_and(|authorization| !authorization.is_null())
    }

    /// Reads the member `payload` of a payment.
    ///
    /// # Errors
    /// [`Reason::InvalidPayload`] for whatever is not well-formed.
    pub fn parse(payload: &Value) -> Result<Self, Refusal> {
        let payload = Members::of(payload, "payload", Reason::InvalidPayload)?;
        let authorization = payload.object(AUTHORIZATION, AUTHORIZATION_PATH)?;
        let permitted = authorization.object("permitted", PERMITTED_PATH)?;
        let witness = authorization.object("witness", WITNESS_PATH)?;
        Ok(Self {
            signature: payload.parsed("signature", signature)?,
            from: authorization.parsed("from", address)?,
            token: permitted.parsed("token", address)?,
            permitted: permitted.parsed("amount", str::parse)?,
            spender: authorization.parsed("spender", address)?,
            nonce: authorization.parsed("nonce", uint256::parse)?,
            deadline: authorization.parsed("deadline", time)?,
            to: witness.parsed("to", address)?,
            facilitator: match witness.get("facilitator") {
                Some(_) => Some(witness.parsed("facilitator", address)?),
                None => None,
            },
            valid_after: witness.parsed("validAfter", time)?,
        })
    }

    /// Writes the payload in its canonical form, which [`Self::parse`] reads back, together with what lets Permit2 take the token.
    #[must_use]
    pub fn to_json(&self, permit: Option<&TokenPermit>) -> Value {
        let mut witness = json!({"to": self.to.to_string(), "validAfter": self.valid_after.to_string()});
        if let Some(facilitator) = self.facilitator {
            witness["facilitator"] = facilitator.to_string().into();
        }
        let mut payload = json!({
            "signature": encode_hex(&self.signature),
            AUTHORIZATION: {
                "from": self.from.to_string(),
                "permitted": {"token": self.token.to_string(), "amount": self.permitted.to_string()},
                "spender": self.spender.to_string(),
                "nonce": uint256::text(self.nonce),
                "deadline": self.deadline.to_string(),
                "witness": witness,
            },
        });
        if let Some(permit) = permit {
            payload[STORED_PERMIT] = permit.to_json();
        }
        payload
    }
}

/// The payer's word to the token that somebody may take so much of it (EIP-2612), as the extension carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenPermit {
    /// Whose word it is.
    pub from: Address,
    /// Of which token.
    pub asset: Address,
    /// Who may take it.
    pub spender: Address,
    /// How much.
    pub amount: Amount,
    /// The payer's nonce at the token under which it was given.
    pub nonce: Uint256,
    /// The last second in which it can be given to the token.
    pub deadline: u64,
    /// 65 bytes.
    pub signature: [u8; 65],
}

impl TokenPermit {
    /// The members without which there is nothing to act on.
    const MEMBERS: [&'static str; 8] = ["from", "asset", "spender", "amount", "nonce", "deadline", "signature", "version"];

    /// Reads the `info` of the extension. As for the reference implementations, one that lacks a member is none.
    ///
    /// # Errors
    /// [`Reason::GasSponsoringUnreadable`] if all is there and something has another form.
    pub fn read(info: &Value) -> Result<Option<Self>, Refusal> {
        let info = Members::of(info, INFO_PATH, Reason::GasSponsoringUnreadable)?;
        if Self::MEMBERS.iter().any(|name| info.get(name).is_none()) {
            return Ok(None);
        }
        // Of the extension, not of the token, whose version its domain has.
        info.parsed("version", version)?;
        Self::of(&info).map(Some)
    }

    /// Reads back what [`Permit2Payload::to_json`] wrote.
    ///
    /// # Errors
    /// [`Reason::GasSponsoringUnreadable`].
    pub fn read_back(stored: &Value) -> Result<Option<Self>, Refusal> {
        let Some(permit) = stored.get(STORED_PERMIT) else { return Ok(None) };
        Self::of(&Members::of(permit, STORED_PERMIT, Reason::GasSponsoringUnreadable)?).map(Some)
    }

    fn of(members: &Members<'_>) -> Result<Self, Refusal> {
        Ok(Self {
            from: members.parsed("from", address)?,
            asset: members.parsed("asset", address)?,
            spender: members.parsed("spender", address)?,
            amount: members.parsed("amount", str::parse)?,
            nonce: members.parsed("nonce", uint256::parse)?,
            deadline: members.parsed("deadline", time)?,
            signature: members.parsed("signature", |text| signature(text)?.try_into().map_err(|_| "is not 65 bytes long"))?,
        })
    }

    fn to_json(&self) -> Value {
        json!({
            "from": self.from.to_string(),
            "asset": self.asset.to_string(),
            "spender": self.spender.to_string(),
            "amount": self.amount.to_string(),
            "nonce": uint256::text(self.nonce),
            "deadline": self.deadline.to_string(),
            "signature": encode_hex(&self.signature),
        })
    }
}

/// Numbers with dots between them.
fn version(text: &str) -> Result<(), &'static str> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if text.split('.').all(is_number) { Ok(()) } else { Err("not numbers with dots between them") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wire() -> Value {
        json!({
            "signature": "0x01",
            "permit2Authorization": {
                "from": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
                "permitted": {"token": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "amount": "10000"},
                "spender": "0x402085c248EeA27D92E8b30b2C58ed07f9E20001",
                "nonce": "1",
                "deadline": "1740672154",
                "witness": {"to": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C", "validAfter": "0"},
            },
        })
    }

    fn info() -> Value {
        json!({
            "from": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
            "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
            "spender": "0x000000000022D473030F116dDEE9F6B43aC78BA3",
            "amount": "10000",
            "nonce": "0",
            "deadline": "1740672154",
            "signature": format!("0x{}", "ab".repeat(65)),
            "version": "1",
        })
    }

    fn with(pointer: &str, value: impl Into<Value>) -> Result<Permit2Payload, Reason> {
        let mut payload = wire();
        *payload.pointer_mut(pointer).unwrap() = value.into();
        Permit2Payload::parse(&payload).map_err(|refusal| refusal.reason)
    }

    #[test]
    fn a_payload_is_read_and_written_back() {
        let payload = Permit2Payload::parse(&wire()).unwrap();

        assert_eq!(payload.permitted, Amount::new(10_000));
        assert_eq!(payload.nonce[31], 1);
        assert_eq!(payload.facilitator, None);
        assert_eq!(payload.to_json(None), wire());
    }

    #[test]
    fn what_lets_permit2_take_the_token_is_stored_beside_it() {
        let payload = Permit2Payload::parse(&wire()).unwrap();
        let permit = TokenPermit::read(&info()).unwrap().unwrap();
        let stored = payload.to_json(Some(&permit));

        assert_eq!(Permit2Payload::parse(&stored).unwrap(), payload);
        assert_eq!(TokenPermit::read_back(&stored).unwrap(), Some(permit));
        assert_eq!(TokenPermit::read_back(&wire()).unwrap(), None);
    }

    #[test]
    fn only_one_grammar_is_a_number() {
        let too_large = format!("{}0", "9".repeat(78));
        for text in ["01", "+1", "", "0x1", "1.0", " 1", "-1", too_large.as_str()] {
            for pointer in ["/permitted/amount", "/nonce", "/deadline", "/witness/validAfter"] {
                assert_eq!(
                    with(&format!("/permit2Authorization{pointer}"), text),
                    Err(Reason::InvalidPayload),
                    "{pointer} {text}"
                );
            }
        }
        assert_eq!(with("/permit2Authorization/nonce", 1), Err(Reason::InvalidPayload));
    }

    #[test]
    fn each_member_is_needed() {
        for (object, name) in [
            ("", "signature"),
            ("/permit2Authorization", "from"),
            ("/permit2Authorization", "permitted"),
            ("/permit2Authorization", "spender"),
            ("/permit2Authorization", "nonce"),
            ("/permit2Authorization", "deadline"),
            ("/permit2Authorization", "witness"),
            ("/permit2Authorization/permitted", "token"),
            ("/permit2Authorization/permitted", "amount"),
            ("/permit2Authorization/witness", "to"),
            ("/permit2Authorization/witness", "validAfter"),
        ] {
            let mut payload = wire();
            payload.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(name);
            let refused = Permit2Payload::parse(&payload).map_err(|refusal| refusal.reason);
            assert_eq!(refused, Err(Reason::InvalidPayload), "{object}/{name}");
        }
    }

    #[test]
    fn an_extension_that_lacks_a_member_is_none_and_one_of_another_form_is_refused() {
        for name in TokenPermit::MEMBERS {
            let mut incomplete = info();
            incomplete.as_object_mut().unwrap().remove(name);
            assert_eq!(TokenPermit::read(&incomplete), Ok(None), "{name}");
            let mut malformed = info();
            malformed[name] = "?".into();
            let refused = TokenPermit::read(&malformed).map_err(|refusal| refusal.reason);
            assert_eq!(refused, Err(Reason::GasSponsoringUnreadable), "{name}");
        }
        assert_eq!(TokenPermit::read(&json!([])).unwrap_err().reason, Reason::GasSponsoringUnreadable);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            signature in prop::collection::vec(any::<u8>(), 1..200),
            from: [u8; 20],
            token: [u8; 20],
            spender: [u8; 20],
            to: [u8; 20],
            facilitator: Option<[u8; 20]>,
            permitted: u128,
            nonce: [u8; 32],
            deadline: u64,
            valid_after: u64,
        ) {
            let payload = Permit2Payload {
                signature,
                from: Address::Evm(from),
                token: Address::Evm(token),
                permitted: Amount::new(permitted),
                spender: Address::Evm(spender),
                nonce,
                deadline,
                to: Address::Evm(to),
                facilitator: facilitator.map(Address::Evm),
                valid_after,
            };
            prop_assert_eq!(Permit2Payload::parse(&payload.to_json(None)), Ok(payload));
        }
    }
}
