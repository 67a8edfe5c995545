//! What a receipt says, as JSON with one text for each statement.

use std::str::FromStr;

use chrono::DateTime;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::canonical::canonical;
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::ids::ReceiptId;
use crate::domain::network::Network;
use crate::domain::receipt::{Finality, Purpose, Statement, StatementFault};
use crate::domain::schema::{self, Transaction};

/// The version of the claims.
pub const VERSION: u32 = 1;

/// A statement and who makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The public URL of the service that signs.
    pub issuer: String,
    /// What it says.
    pub statement: Statement,
}

/// Why a text is not the claims of a receipt.
#[derive(Debug, thiserror::Error)]
pub enum ClaimsError {
    /// Not JSON, or not an object with exactly the members of a receipt, each of them once and of its kind.
    #[error("not an object with the members of a receipt, each of them once")]
    Members(#[source] serde_json::Error),
    /// A version that does not exist yet.
    #[error("claims of version {0} are unknown")]
    Version(u32),
    /// The member of this name has a value that cannot be what it should be.
    #[error("the claim {0} cannot be read")]
    Unreadable(&'static str),
    /// Neither an invoice nor a payment is named.
    #[error("neither an invoice nor a payment is named")]
    NoPurpose,
    /// The members are readable, and no statement says this.
    #[error("no receipt says this")]
    Statement(#[source] StatementFault),
    /// The same could be said in another text: white space, order, escapes, letter case, or an empty member.
    #[error("not in the one form of these claims (RFC 8785)")]
    NotCanonical,
}

impl Claims {
    /// The one text of these claims (RFC 8785).
    #[must_use]
    pub fn to_canonical(&self) -> String {
        canonical(&Wire::from(self))
    }

    /// Reads the one text of some claims.
    ///
    /// # Errors
    /// See [`ClaimsError`].
    pub fn parse(text: &[u8]) -> Result<Self, ClaimsError> {
        let claims = Self::try_from(serde_json::from_slice::<Wire>(text).map_err(ClaimsError::Members)?)?;
        if claims.to_canonical().as_bytes() == text { Ok(claims) } else { Err(ClaimsError::NotCanonical) }
    }
}

/// Claims look like `Wire` outside.
impl JsonSchema for Claims {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        Wire::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<Wire>()
    }
}

/// The members of the claims, in the order of their names. A member without value is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Claims")]
pub(super) struct Wire {
    /// The account that was paid, if it is known. Empty in typed data where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<String>,
    #[schemars(with = "Amount")]
    pub(super) amount: String,
    #[schemars(with = "Address")]
    pub(super) asset: String,
    #[schemars(with = "schema::Block")]
    pub(super) block_hash: String,
    #[schemars(with = "Finality")]
    pub(super) finality: String,
    pub(super) index: u32,
    /// The invoice that is paid. Empty in typed data where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) invoice: Option<String>,
    /// Seconds since 1970.
    pub(super) issued_at: u64,
    /// The service that signed.
    pub(super) issuer: String,
    #[schemars(with = "Network")]
    pub(super) network: String,
    #[schemars(with = "Address")]
    pub(super) pay_to: String,
    #[schemars(with = "Address")]
    pub(super) payer: String,
    /// The payment that was settled here. Empty in typed data where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payment_id: Option<String>,
    #[schemars(with = "ReceiptId")]
    pub(super) receipt_id: String,
    /// What was paid for. Empty in typed data where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resource_url: Option<String>,
    pub(super) revision: u32,
    #[schemars(with = "Transaction")]
    pub(super) transaction: String,
    #[schemars(extend("const" = VERSION))]
    pub(super) version: u32,
}

impl Wire {
    /// The same with an empty text for every absent member, as typed data has it.
    pub(super) fn filled(mut self) -> Self {
        for member in self.optional() {
            *member = Some(member.take().unwrap_or_default());
        }
        self
    }

    /// The same with no member for an empty text.
    pub(super) fn unfilled(mut self) -> Self {
        for member in self.optional() {
            *member = member.take().filter(|text| !text.is_empty());
        }
        self
    }

    fn optional(&mut self) -> [&mut Option<String>; 4] {
        [&mut self.account, &mut self.invoice, &mut self.payment_id, &mut self.resource_url]
    }
}

impl From<&Claims> for Wire {
    fn from(claims: &Claims) -> Self {
        let Claims { issuer, statement } = claims;
        Self {
            account: statement.account.map(|account| account.to_string()),
            amount: statement.amount.to_string(),
            asset: statement.asset.to_string(),
            block_hash: statement.block_hash.clone(),
            finality: statement.finality.as_str().to_owned(),
            index: statement.index,
            invoice: statement.purpose.invoice().map(|invoice| invoice.to_string()),
            // A checked statement is not from before 1970.
            issued_at: statement.issued_at.timestamp().try_into().unwrap_or_default(),
            issuer: issuer.clone(),
            network: statement.network.to_string(),
            pay_to: statement.pay_to.to_string(),
            payer: statement.payer.to_string(),
            payment_id: statement.purpose.payment().map(|payment| payment.to_string()),
            receipt_id: statement.receipt.to_string(),
            resource_url: statement.purpose.resource().map(str::to_owned),
            revision: statement.revision,
            transaction: statement.transaction.clone(),
            version: VERSION,
        }
    }
}

impl TryFrom<Wire> for Claims {
    type Error = ClaimsError;

    fn try_from(wire: Wire) -> Result<Self, ClaimsError> {
        if wire.version != VERSION {
            return Err(ClaimsError::Version(wire.version));
        }
        let network: Network = read("network", &wire.network)?;
        let address = |name, text: &str| Address::parse(network.family(), text).map_err(|_| ClaimsError::Unreadable(name));
        let payment = wire.payment_id.as_deref().map(|text| read("paymentId", text)).transpose()?;
        let invoice = wire.invoice.as_deref().map(|text| read("invoice", text)).transpose()?;
        let issued_at = i64::try_from(wire.issued_at).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let statement = Statement {
            receipt: read("receiptId", &wire.receipt_id)?,
            revision: wire.revision,
            finality: Finality::parse(&wire.finality).ok_or(ClaimsError::Unreadable("finality"))?,
            asset: address("asset", &wire.asset)?,
            transaction: wire.transaction,
            index: wire.index,
            block_hash: wire.block_hash,
            payer: address("payer", &wire.payer)?,
            pay_to: address("payTo", &wire.pay_to)?,
            amount: read("amount", &wire.amount)?,
            purpose: Purpose::of(payment, invoice, wire.resource_url).ok_or(ClaimsError::NoPurpose)?,
            account: wire.account.as_deref().map(|text| read("account", text)).transpose()?,
            issued_at: issued_at.ok_or(ClaimsError::Unreadable("issuedAt"))?,
            network,
        };
        statement.check().map_err(ClaimsError::Statement)?;
        Ok(Self { issuer: wire.issuer, statement })
    }
}

fn read<T: FromStr>(name: &'static str, text: &str) -> Result<T, ClaimsError> {
    text.parse().map_err(|_| ClaimsError::Unreadable(name))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::canonical::tests::is_sorted;
    use super::*;
    use crate::domain::amount::Amount;
    use crate::domain::ids::{InvoiceId, PaymentId};
    use crate::domain::receipt::tests::statement;
    use proptest::prelude::*;

    /// Claims of a service that has signed them elsewhere, too: with jose, viem and the x402 SDK.
    pub fn claims() -> Claims {
        Claims { issuer: "https://pay.example.com".to_owned(), statement: statement() }
    }

    /// What the canonicalizer of the x402 SDK makes of [`claims`].
    pub const CANONICAL: &str = concat!(
        r#"{"account":"acc_0190a1b2c3d4700080000000000000a4","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","#,
        r#""blockHash":"0x2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b","finality":"included","index":7,"#,
        r#""invoice":"inv_0190a1b2c3d4700080000000000000a3","issuedAt":1790000000,"issuer":"https://pay.example.com","#,
        r#""network":"eip155:84532","payTo":"0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359","#,
        r#""payer":"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed","paymentId":"pay_0190a1b2c3d4700080000000000000a2","#,
        r#""receiptId":"rct_0190a1b2c3d4700080000000000000a1","resourceUrl":"https://api.example/inference","revision":1,"#,
        r#""transaction":"0x1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a","version":1}"#,
    );

    fn refusal(text: &str) -> String {
        let refused = Claims::parse(text.as_bytes()).expect_err(text);
        format!("{refused:?}")
    }

    #[test]
    fn claims_have_one_text() {
        assert_eq!(claims().to_canonical(), CANONICAL);
        assert_eq!(Claims::parse(CANONICAL.as_bytes()).unwrap(), claims());
    }

    #[test]
    fn a_member_without_value_is_left_out() {
        let mut bare = claims();
        bare.statement.account = None;
        bare.statement.purpose = Purpose::Invoice(InvoiceId::new());

        let text = bare.to_canonical();

        assert!(!["account", "paymentId", "resourceUrl", "null"].iter().any(|word| text.contains(word)), "{text}");
        assert!(is_sorted(&text));
        assert_eq!(Claims::parse(text.as_bytes()).unwrap(), bare);
    }

    #[test]
    fn another_text_of_the_same_claims_is_refused() {
        for (from, to) in [
            (r#""index":7"#, r#""index": 7"#),
            ("0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359", "0xfb6916095ca1df60bb79ce92ce3ea74c37c5d359"),
            ("0190a1b2c3d4700080000000000000a1", "0190A1B2C3D4700080000000000000A1"),
            ("https://api", r"https:\/\/api"),
            ("included", r"\u0069ncluded"),
            (
                r#""index":7,"invoice":"inv_0190a1b2c3d4700080000000000000a3""#,
                r#""invoice":"inv_0190a1b2c3d4700080000000000000a3","index":7"#,
            ),
            (r#""account":"acc_0190a1b2c3d4700080000000000000a4""#, r#""account":null"#),
            (r#""resourceUrl":"https://api.example/inference""#, r#""resourceUrl":"""#),
            (r#""paymentId":"pay_0190a1b2c3d4700080000000000000a2","#, ""),
        ] {
            assert!(CANONICAL.contains(from), "{from}");
            assert_eq!(refusal(&CANONICAL.replace(from, to)), "NotCanonical", "{to}");
        }
        assert_eq!(refusal(&format!("{CANONICAL}\n")), "NotCanonical");
        assert_eq!(refusal(&format!(" {CANONICAL}")), "NotCanonical");
        let values = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(CANONICAL).unwrap();
        let array = serde_json::Value::from(values.into_iter().map(|(_, value)| value).collect::<Vec<_>>());
        assert_eq!(refusal(&array.to_string()), "NotCanonical");
    }

    #[test]
    fn every_member_stands_there_once_and_no_other() {
        let members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(CANONICAL).unwrap();
        for name in members.keys() {
            let mut fewer = members.clone();
            fewer.remove(name);
            let text = serde_json::to_string(&fewer).unwrap();
            let optional = ["account", "invoice", "paymentId", "resourceUrl"].contains(&name.as_str());
            assert_eq!(Claims::parse(text.as_bytes()).is_ok(), optional && name != "paymentId", "without {name}");
        }
        for text in [
            CANONICAL.replace(r#""index":7"#, r#""index":7,"index":7"#),
            CANONICAL.replace(r#""index":7"#, r#""index":7,"inde\u0078":7"#),
            CANONICAL.replace(r#""version":1"#, r#""version":1,"zone":1"#),
            CANONICAL.replace(r#""index":7"#, r#""index":7.0"#),
            CANONICAL.replace(r#""index":7"#, r#""index":-7"#),
            CANONICAL.replace(r#""index":7"#, r#""index":4294967296"#),
            CANONICAL.replace(r#""index":7"#, r#""index":"7""#),
            CANONICAL.replace(r#""amount":"10000""#, r#""amount":10000"#),
            format!("{CANONICAL}{CANONICAL}"),
            format!("{CANONICAL},"),
            "null".to_owned(),
            String::new(),
        ] {
            assert!(refusal(&text).starts_with("Members("), "{text}");
        }
    }

    #[test]
    fn a_claim_that_cannot_be_read_is_named() {
        for (from, to, error) in [
            (r#""version":1"#, r#""version":2"#, "Version(2)"),
            ("rct_0190", "inv_0190", r#"Unreadable("receiptId")"#),
            ("included", "Included", r#"Unreadable("finality")"#),
            ("eip155:84532", "base-sepolia", r#"Unreadable("network")"#),
            ("0x036CbD", "0x036Cbd", r#"Unreadable("asset")"#),
            ("0x5aAeb6", "0x5aaeb6", r#"Unreadable("payer")"#),
            ("0xfB6916", "0xfb6916", r#"Unreadable("payTo")"#),
            (r#""amount":"10000""#, r#""amount":"010000""#, r#"Unreadable("amount")"#),
            ("inv_0190", "inv_x190", r#"Unreadable("invoice")"#),
            ("pay_0190", "pay-0190", r#"Unreadable("paymentId")"#),
            ("acc_0190", "acc_190", r#"Unreadable("account")"#),
            ("1790000000", "18446744073709551615", r#"Unreadable("issuedAt")"#),
            (r#""revision":1"#, r#""revision":0"#, "Statement(Unnumbered)"),
            (r#""amount":"10000""#, r#""amount":"0""#, "Statement(NothingPaid)"),
        ] {
            assert!(CANONICAL.contains(from), "{from}");
            assert_eq!(refusal(&CANONICAL.replace(from, to)), error, "{to}");
        }
        let neither = CANONICAL
            .replace(r#""paymentId":"pay_0190a1b2c3d4700080000000000000a2","#, "")
            .replace(r#""invoice":"inv_0190a1b2c3d4700080000000000000a3","#, "");
        assert_eq!(refusal(&neither), "NoPurpose");
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_back(
            issuer in "[^\0]{1,20}",
            resource in proptest::option::of("[^\0]{1,40}"),
            units in 1..=u128::MAX,
            index in any::<u32>(),
            seconds in 0_i64..8_000_000_000,
        ) {
            let purpose = Purpose::Payment { payment: PaymentId::new(), resource, invoice: None };
            let issued_at = DateTime::from_timestamp(seconds, 0).unwrap();
            let statement = Statement { purpose, amount: Amount::new(units), index, issued_at, account: None, ..statement() };
            let claims = Claims { issuer, statement };
            let text = claims.to_canonical();
            prop_assert!(is_sorted(&text));
            prop_assert_eq!(Claims::parse(text.as_bytes()).unwrap(), claims);
        }
    }
}
