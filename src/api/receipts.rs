//! What was stated about payments, whether it still holds, and the one use that a receipt has.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::code::Code;
use super::problem::Problem;
use super::reply::Reply;
use crate::domain::account::Caller;
use crate::domain::ids::{AccountId, ReceiptId};
use crate::domain::receipt::{Finality, Statement};
use crate::domain::schema::{self, Transaction};
use crate::flow::Flows;
use crate::flow::receipt::RedeemError;
use crate::ledger::receipts::Receipt;
use crate::signing::Issuer;
use crate::signing::claims::Claims;
use crate::signing::eip712::TypedReceipt;
use crate::signing::verify;
use crate::telemetry::ErrorChain;

/// How long the name of a redemption may be.
pub const NONCE_CHARS_MAX: usize = 128;

/// What was wrong with a receipt that is not ours, or was changed.
pub const INVALID: &str = "invalid_receipt";
/// It is signed by us, and the ledger does not have it.
const UNKNOWN: &str = "receipt_unknown";
/// Its transfer was undone.
const REVOKED: &str = Code::ReceiptRevoked.as_str();

/// What anybody may know of a receipt by its name.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReceiptStatus")]
pub struct ReceiptStatus {
    #[schemars(with = "ReceiptId")]
    id: String,
    /// The newest.
    revision: u32,
    #[schemars(with = "Finality")]
    finality: &'static str,
    /// Whether it was used up.
    redeemed: bool,
}

impl From<&Receipt> for ReceiptStatus {
    fn from(receipt: &Receipt) -> Self {
        Self {
            id: receipt.id.to_string(),
            revision: receipt.revision,
            finality: receipt.finality.as_str(),
            redeemed: receipt.redeemed.is_some(),
        }
    }
}

/// A receipt with all its revisions.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Receipt")]
pub struct ReceiptView {
    #[serde(flatten)]
    status: ReceiptStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    redeemed_at: Option<DateTime<Utc>>,
    /// Who was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AccountId>")]
    account: Option<String>,
    /// Oldest first.
    revisions: Vec<RevisionView>,
}

/// The two signed forms: a compact JWS, or typed data (EIP-712). Receipts are read as they come; this only describes them.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum SignedReceipt {
    /// A compact JWS.
    Jws(String),
    /// Typed data.
    Eip712(Box<TypedReceipt>),
}

/// One revision in its signed form.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReceiptRevision")]
struct RevisionView {
    revision: u32,
    #[schemars(with = "Finality")]
    finality: &'static str,
    #[schemars(with = "Transaction")]
    transaction: String,
    #[schemars(with = "schema::Block")]
    block_hash: String,
    issued_at: DateTime<Utc>,
    /// The signed form.
    #[schemars(with = "SignedReceipt")]
    receipt: Value,
}

impl RevisionView {
    fn new(statement: Statement, receipt: Value) -> Self {
        Self {
            revision: statement.revision,
            finality: statement.finality.as_str(),
            transaction: statement.transaction,
            block_hash: statement.block_hash,
            issued_at: statement.issued_at,
            receipt,
        }
    }
}

/// The forms in which a receipt is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ReceiptFormat")]
#[expect(missing_docs, reason = "they are words of a query, which the OpenAPI document lists as such only without descriptions")]
pub enum Format {
    #[default]
    Jws,
    Eip712,
}

impl Format {
    /// Reads the word.
    ///
    /// # Errors
    /// It is another one.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        match text {
            "jws" => Ok(Self::Jws),
            "eip712" => Ok(Self::Eip712),
            _ => Err(Self::unknown()),
        }
    }

    /// What is said of another word.
    #[must_use]
    pub fn unknown() -> Problem {
        Problem::BadParameter("format is jws or eip712".to_owned())
    }
}

/// The verdict on a receipt.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReceiptVerdict")]
pub struct Verdict {
    valid: bool,
    /// Why not, as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = [INVALID, UNKNOWN, REVOKED]))]
    reason: Option<&'static str>,
    /// Why not, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// What it says, if it is this service's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Claims>")]
    claims: Option<Value>,
    /// What its newest revision says.
    #[serde(skip_serializing_if = "Option::is_none")]
    latest: Option<ReceiptStatus>,
}

impl Verdict {
    fn refused(reason: &'static str, detail: &str) -> Self {
        Self { valid: false, reason: Some(reason), detail: Some(detail.to_owned()), claims: None, latest: None }
    }
}

/// The answer to whoever redeemed a receipt.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RedeemedReceipt")]
pub struct RedemptionView {
    #[schemars(with = "ReceiptId")]
    id: String,
    redeemed_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
}

impl From<RedeemError> for Problem {
    fn from(error: RedeemError) -> Self {
        let detail = error.to_string();
        match error {
            RedeemError::NoSuchReceipt => Self::NotFound,
            RedeemError::Revoked => Self::Refused(Code::ReceiptRevoked, detail),
            RedeemError::Redeemed => Self::Refused(Code::ReceiptRedeemed, detail),
            RedeemError::Ledger(error) => error.into(),
        }
    }
}

fn issuer(flows: &Flows) -> Result<&Arc<Issuer>, Problem> {
    let none = || Problem::Refused(Code::ReceiptsNotSigned, "there are no keys for receipts here".to_owned());
    flows.issuer.as_ref().ok_or_else(none)
}

/// A receipt is read by who was paid and by who asked for the payment. Where neither has an account, whoever knows its name reads it.
fn may_read(caller: &Caller, receipt: &Receipt) -> bool {
    let owners = [receipt.account, receipt.provider];
    let is_owner = caller.account().is_some_and(|account| owners.contains(&Some(account)));
    is_owner || caller.is_operator() || owners == [None, None]
}

/// Shows a receipt with all its revisions.
///
/// # Errors
/// There is no such receipt for this caller, or nobody can sign.
pub async fn show(flows: &Flows, caller: &Caller, id: &str, format: Format) -> Result<Reply, Problem> {
    let id = parse(id)?;
    let receipt = flows.ledger.find_receipt(id).await?.filter(|receipt| may_read(caller, receipt));
    let receipt = receipt.ok_or(Problem::NotFound)?;
    let revisions = match format {
        Format::Jws => in_jws(flows, id).await?,
        Format::Eip712 => in_typed_data(flows, id).await?,
    };
    Reply::ok(&ReceiptView {
        status: ReceiptStatus::from(&receipt),
        redeemed_at: receipt.redeemed.map(|redemption| redemption.at),
        account: receipt.account.map(|account| account.to_string()),
        revisions,
    })
}

async fn in_jws(flows: &Flows, id: ReceiptId) -> Result<Vec<RevisionView>, Problem> {
    let signed = flows.signed(flows.ledger.revisions_of(id).await?).await;
    Ok(signed.into_iter().map(|(statement, jws)| RevisionView::new(statement, Value::String(jws))).collect())
}

async fn in_typed_data(flows: &Flows, id: ReceiptId) -> Result<Vec<RevisionView>, Problem> {
    let issuer = issuer(flows)?;
    let revisions = flows.ledger.revisions_of(id).await?.into_iter();
    let typed = revisions.filter_map(|revision| {
        let receipt = serde_json::to_value(issuer.sign_typed(&revision.statement).ok()?).ok()?;
        Some(RevisionView::new(revision.statement, receipt))
    });
    Ok(typed.collect())
}

/// Shows where a receipt stands, to anybody.
///
/// # Errors
/// There is no such receipt.
pub async fn status(flows: &Flows, id: &str) -> Result<Reply, Problem> {
    let receipt = flows.ledger.find_receipt(parse(id)?).await?.ok_or(Problem::NotFound)?;
    Reply::ok(&ReceiptStatus::from(&receipt))
}

/// Says whether a receipt holds: a JWS, or signed typed data in JSON.
///
/// # Errors
/// Nobody can sign here, so nothing is ours.
pub async fn verify(flows: &Flows, receipt: &str) -> Result<Reply, Problem> {
    let issuer = issuer(flows)?;
    let claims = match verify::verify(receipt, issuer.keys(), Some(issuer.name())) {
        Ok(claims) => claims,
        Err(error) => return Reply::ok(&Verdict::refused(INVALID, &ErrorChain(&error).to_string())),
    };
    let (id, number) = (claims.statement.receipt, claims.statement.revision);
    let latest = flows.ledger.find_receipt(id).await?;
    let mut stated = flows.ledger.revisions_of(id).await?.into_iter().map(|revision| revision.statement);
    let stated = stated.find(|statement| statement.revision == number);
    Reply::ok(&judge(&claims, latest.as_ref(), stated))
}

/// What is to be said of a receipt whose signature holds. It must say what the ledger states, or somebody else has our keys. One that a
/// later revision took the place of holds as long as the newest one does: it was paid.
fn judge(claims: &Claims, latest: Option<&Receipt>, stated: Option<Statement>) -> Verdict {
    let presented = claims.to_canonical();
    let same = |statement: Statement| Claims { issuer: claims.issuer.clone(), statement }.to_canonical() == presented;
    let (Some(latest), true) = (latest, stated.is_some_and(same)) else {
        return Verdict::refused(UNKNOWN, "the signature is ours, and the ledger states nothing like it");
    };
    let revoked = [claims.statement.finality, latest.finality].contains(&Finality::Revoked);
    Verdict {
        valid: !revoked,
        reason: revoked.then_some(REVOKED),
        detail: revoked.then(|| "the transfer was undone".to_owned()),
        claims: serde_json::from_str(&presented).ok(),
        latest: Some(ReceiptStatus::from(latest)),
    }
}

/// Uses a receipt up for an account. Under the same `nonce` it is told again.
///
/// # Errors
/// There is no such receipt of this account, it was used, or its transfer was undone.
pub async fn redeem(flows: &Flows, account: AccountId, id: &str, nonce: Option<String>) -> Result<Reply, Problem> {
    let id = parse(id)?;
    if nonce.as_deref().is_some_and(|nonce| !is_nonce(nonce)) {
        return Err(Problem::BadBody(format!("nonce: 1 to {NONCE_CHARS_MAX} visible characters")));
    }
    let redemption = flows.redeem_receipt(account, id, nonce).await?;
    Reply::ok(&RedemptionView { id: id.to_string(), redeemed_at: redemption.at, nonce: redemption.nonce })
}

fn is_nonce(text: &str) -> bool {
    (1..=NONCE_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn parse(id: &str) -> Result<ReceiptId, Problem> {
    id.parse().map_err(|_| Problem::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::Scope;
    use crate::domain::receipt::tests::statement;

    fn latest(revision: u32, finality: Finality) -> Receipt {
        Receipt { id: statement().receipt, revision, finality, account: None, provider: None, redeemed: None }
    }

    fn claims(revision: u32, finality: Finality) -> Claims {
        Claims { issuer: "https://pay.example.com".to_owned(), statement: Statement { revision, finality, ..statement() } }
    }

    #[test]
    fn a_receipt_holds_as_long_as_its_newest_revision_does() {
        use Finality::{Final, Included, Revoked};
        for (presented, newest, reason) in [
            ((1, Included), (1, Included), None),
            ((1, Included), (2, Final), None),
            ((2, Final), (2, Final), None),
            ((1, Included), (2, Revoked), Some(REVOKED)),
            ((2, Revoked), (2, Revoked), Some(REVOKED)),
            ((2, Revoked), (3, Included), Some(REVOKED)),
            ((1, Included), (3, Included), None),
        ] {
            let (claims, newest) = (claims(presented.0, presented.1), latest(newest.0, newest.1));
            let verdict = judge(&claims, Some(&newest), Some(claims.statement.clone()));
            assert_eq!((verdict.valid, verdict.reason), (reason.is_none(), reason), "{presented:?} {newest:?}");
        }
    }

    #[test]
    fn what_the_ledger_does_not_state_is_not_ours_whoever_signed_it() {
        let (signed, newest) = (claims(1, Finality::Included), latest(1, Finality::Included));
        let later = signed.statement.issued_at + chrono::TimeDelta::milliseconds(999);
        let reason = |newest, stated| judge(&signed, newest, stated).reason;

        // A signed form has whole seconds.
        let stated = Statement { issued_at: later, ..signed.statement.clone() };
        assert_eq!(reason(Some(&newest), Some(stated)), None);
        let less = Statement { amount: crate::domain::amount::Amount::new(1), ..signed.statement.clone() };
        assert_eq!(reason(Some(&newest), Some(less)), Some(UNKNOWN));
        assert_eq!(reason(Some(&newest), None), Some(UNKNOWN));
        assert_eq!(reason(None, None), Some(UNKNOWN));
    }

    #[test]
    fn both_sides_of_a_payment_read_its_receipt() {
        let [merchant, provider, other] = [AccountId::new(), AccountId::new(), AccountId::new()];
        let caller = |account, scope| Caller::Account { account, scope };
        let nobodys = latest(1, Finality::Included);
        let paid = Receipt { account: Some(merchant), ..nobodys.clone() };
        let both = Receipt { provider: Some(provider), ..paid.clone() };

        assert!(may_read(&Caller::Anonymous, &nobodys) && may_read(&caller(other, Scope::Provider), &nobodys));
        for receipt in [&paid, &both] {
            assert!(may_read(&caller(merchant, Scope::Merchant), receipt));
            assert!(may_read(&caller(other, Scope::Operator), receipt));
            assert!(!may_read(&caller(other, Scope::Merchant), receipt) && !may_read(&Caller::Anonymous, receipt));
        }
        assert!(may_read(&caller(provider, Scope::Provider), &both) && !may_read(&caller(provider, Scope::Provider), &paid));
        assert_eq!((both.owner(), Receipt { account: None, ..both.clone() }.owner()), (Some(merchant), Some(provider)));
    }

    #[test]
    fn the_name_of_a_redemption_is_short_and_visible() {
        let longest = "n".repeat(NONCE_CHARS_MAX);
        assert!(is_nonce("n") && is_nonce(&longest));
        for text in ["", "a b", "a\n", "é", &format!("{longest}n")] {
            assert!(!is_nonce(text), "{text:?}");
        }
    }
}
