//! `/v1/receipts`: what was stated about payments, whether it still holds, and the one use that a receipt has. Beside it the keys with
//! which anybody verifies receipts alone.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Service;
use super::auth;
use super::endpoint::{Callers, Group, Operation, at};
use super::merchant::{Reply, answer, read_body};
use super::problem::{Code, Problem};
use crate::domain::account::Caller;
use crate::domain::ids::{AccountId, ReceiptId};
use crate::domain::receipt::{Finality, Statement};
use crate::domain::schema::{self, Transaction};
use crate::flow::Flows;
use crate::flow::receipt::RedeemError;
use crate::ledger::receipts::Receipt;
use crate::signing::Issuer;
use crate::signing::claims::Claims;
use crate::signing::did::DidDocument;
use crate::signing::eip712::TypedReceipt;
use crate::signing::key_set::Jwks;
use crate::signing::verify;
use crate::telemetry::ErrorChain;

/// The paths.
pub fn group() -> Group {
    let keys = Operation::constant("getJwks", "Publishes the keys that sign receipts, as JSON Web Keys")
        .problems(&[Code::NotFound])
        .answers::<Jwks>(StatusCode::OK, "The keys, retired ones among them.");
    let document = |id| {
        Operation::constant(id, "Publishes the same keys as a DID document of the method `did:web`")
            .problems(&[Code::NotFound])
            .answers::<DidDocument>(StatusCode::OK, "The document.")
    };
    let verifying = Operation::new("verifyReceipt", "Says whether a receipt is this service's, and still holds")
        .about("Whoever holds a receipt may ask. `quittance receipt verify` does the same offline.")
        .body::<Presented>(json!({"receipt": "eyJ…"}))
        .answers_like::<Verdict>(
            StatusCode::OK,
            "The verdict.",
            json!({"valid": false, "reason": INVALID, "detail": "not a receipt: …"}),
        )
        .problems(&[Code::ReceiptsNotSigned]);
    let showing = Operation::new("getReceipt", "Shows a receipt with all its revisions")
        .about("It is read by who was paid and by who asked for the payment. Where neither has an account, whoever knows its name reads it.")
        .of(Callers::Readers)
        .query::<ShowQuery>()
        .answers::<ReceiptView>(StatusCode::OK, "The receipt.")
        .problems(&[Code::ReceiptsNotSigned]);
    let telling = Operation::new("getReceiptStatus", "Says what anybody may know of a receipt")
        .answers::<Status>(StatusCode::OK, "Where it stands.");
    let redeeming = Operation::new("redeemReceipt", "Uses a receipt up, exactly once over all its revisions")
        .about("A repetition with the same `nonce` is told the same again.")
        .of(Callers::Accounts)
        .optional_body::<Redeeming>(json!({"nonce": "order-417"}))
        .answers::<RedemptionView>(StatusCode::OK, "It is used up now.")
        .problems(&[Code::ReceiptRedeemed, Code::ReceiptRevoked]);
    Group {
        name: "Receipts",
        about: "What was stated about payments, whether it still holds, and the keys with which anybody verifies it alone.",
        paths: vec![
            at("/.well-known/jwks.json").get(jwks, keys),
            at("/.well-known/did.json").get(did, document("getDid")),
            // Where the public URL has a path, the method `web` of DID looks for the document right below it.
            at("/did.json").get(did, document("getDidBelowPath")),
            at("/v1/receipts/verify").post(verify_receipt, verifying),
            at("/v1/receipts/{id}").part::<ReceiptId>("id").get(show, showing),
            at("/v1/receipts/{id}/status").part::<ReceiptId>("id").get(status, telling),
            at("/v1/receipts/{id}/redeem").part::<ReceiptId>("id").post(redeem, redeeming),
        ],
    }
}

/// How long the name of a redemption may be.
const NONCE_CHARS_MAX: usize = 128;

/// What was wrong with a receipt that is not ours, or was changed.
const INVALID: &str = "invalid_receipt";
/// It is signed by us, and the ledger does not have it.
const UNKNOWN: &str = "receipt_unknown";
/// Its transfer was undone.
const REVOKED: &str = Code::ReceiptRevoked.as_str();

/// What anybody may know of a receipt by its name.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReceiptStatus")]
struct Status {
    #[schemars(with = "ReceiptId")]
    id: String,
    /// The newest.
    revision: u32,
    #[schemars(with = "Finality")]
    finality: &'static str,
    /// Whether it was used up.
    redeemed: bool,
}

impl From<&Receipt> for Status {
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
struct ReceiptView {
    #[serde(flatten)]
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    redeemed_at: Option<DateTime<Utc>>,
    /// Who was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<AccountId>")]
    account: Option<String>,
    /// Oldest first.
    revisions: Vec<RevisionView>,
}

/// The two signed forms: a compact JWS, or typed data (EIP-712).
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "receipts are read as they come; this says in which forms they do")]
enum SignedReceipt {
    Jws(String),
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
enum Format {
    #[default]
    Jws,
    Eip712,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ShowQuery {
    /// The form in which it is signed.
    #[serde(default)]
    format: Format,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "PresentedReceipt")]
struct Presented {
    #[schemars(with = "SignedReceipt")]
    receipt: Value,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Redemption")]
struct Redeeming {
    /// The caller's name for this use.
    #[schemars(length(min = 1, max = NONCE_CHARS_MAX), regex(pattern = "^[!-~]+$"))]
    nonce: Option<String>,
}

/// The verdict on a receipt.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ReceiptVerdict")]
struct Verdict {
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
    latest: Option<Status>,
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
struct RedemptionView {
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

async fn jwks(service: Data<Service>) -> HttpResponse {
    service.flows.issuer.as_ref().map_or_else(super::problem::not_found, |issuer| HttpResponse::Ok().json(issuer.keys().jwks()))
}

async fn did(service: Data<Service>) -> HttpResponse {
    service.flows.issuer.as_ref().map_or_else(super::problem::not_found, |issuer| HttpResponse::Ok().json(issuer.did_document()))
}

/// A receipt is read by who was paid and by who asked for the payment. Where neither has an account, whoever knows its name reads it.
fn may_read(caller: &Caller, receipt: &Receipt) -> bool {
    let owners = [receipt.account, receipt.provider];
    let is_owner = caller.account().is_some_and(|account| owners.contains(&Some(account)));
    is_owner || caller.is_operator() || owners == [None, None]
}

async fn show(
    service: Data<Service>,
    request: HttpRequest,
    id: Path<String>,
    query: Result<Query<ShowQuery>, actix_web::Error>,
) -> HttpResponse {
    let caller = match auth::reader(&service, &request).await {
        Ok(caller) => caller,
        Err(problem) => return problem.response(),
    };
    let Ok(query) = query else { return Problem::BadParameter("format is jws or eip712".to_owned()).response() };
    answer(&service, |flows| async move {
        let id = parse(&id)?;
        let receipt = flows.ledger.find_receipt(id).await?.filter(|receipt| may_read(&caller, receipt));
        let receipt = receipt.ok_or(Problem::NotFound)?;
        let revisions = match query.format {
            Format::Jws => in_jws(&flows, id).await?,
            Format::Eip712 => in_typed_data(&flows, id).await?,
        };
        Reply::ok(&ReceiptView {
            status: Status::from(&receipt),
            redeemed_at: receipt.redeemed.map(|redemption| redemption.at),
            account: receipt.account.map(|account| account.to_string()),
            revisions,
        })
    })
    .await
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

async fn status(service: Data<Service>, id: Path<String>) -> HttpResponse {
    answer(&service, |flows| async move {
        let receipt = flows.ledger.find_receipt(parse(&id)?).await?.ok_or(Problem::NotFound)?;
        Reply::ok(&Status::from(&receipt))
    })
    .await
}

async fn verify_receipt(service: Data<Service>, request: HttpRequest, payload: Payload) -> HttpResponse {
    let presented = match read_body::<Presented>(&service, &request, payload).await {
        Ok((_, presented)) => presented,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let issuer = issuer(&flows)?;
        let text = match presented.receipt {
            Value::String(jws) => jws,
            typed => typed.to_string(),
        };
        let claims = match verify::verify(&text, issuer.keys(), Some(issuer.name())) {
            Ok(claims) => claims,
            Err(error) => return Reply::ok(&Verdict::refused(INVALID, &ErrorChain(&error).to_string())),
        };
        let (id, number) = (claims.statement.receipt, claims.statement.revision);
        let latest = flows.ledger.find_receipt(id).await?;
        let mut stated = flows.ledger.revisions_of(id).await?.into_iter().map(|revision| revision.statement);
        let stated = stated.find(|statement| statement.revision == number);
        Reply::ok(&judge(&claims, latest.as_ref(), stated))
    })
    .await
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
        latest: Some(Status::from(latest)),
    }
}

async fn redeem(service: Data<Service>, request: HttpRequest, id: Path<String>, payload: Payload) -> HttpResponse {
    let caller = match auth::caller(&service, &request).await {
        Ok(caller) => caller,
        Err(problem) => return problem.response(),
    };
    let Some(account) = caller.account() else { return Problem::Unauthorized.response() };
    let redeeming = match read_body::<Redeeming>(&service, &request, payload).await {
        Ok((_, redeeming)) => redeeming,
        Err(problem) => return problem.response(),
    };
    answer(&service, |flows| async move {
        let id = parse(&id)?;
        let nonce = redeeming.nonce;
        if nonce.as_deref().is_some_and(|nonce| !is_nonce(nonce)) {
            return Err(Problem::BadBody(format!("nonce: 1 to {NONCE_CHARS_MAX} visible characters")));
        }
        let redemption = flows.redeem_receipt(account, id, nonce).await?;
        Reply::ok(&RedemptionView { id: id.to_string(), redeemed_at: redemption.at, nonce: redemption.nonce })
    })
    .await
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
