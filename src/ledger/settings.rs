//! What merchants have decided for all of their payments.

use serde_json::Value;
use sqlx::PgConnection;

use super::{Column, Ledger, LedgerError};
use crate::domain::address::Address;
use crate::domain::answer::{AnswerPolicy, BOUND_PLACES};
use crate::domain::block::Level;
use crate::domain::ids::{AccountId, InvoiceId};
use crate::domain::network::Network;

/// What an account has decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    /// How deep transfers must stand before success is answered. `None`: as deep as the operator says.
    pub answer_at: Option<AnswerPolicy>,
    /// Whether settle answers carry the receipt in the shape of the extension `offer-receipt`, too.
    pub offer_receipts: bool,
}

/// What is known of whom a payment is to pay.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recipient {
    /// The account that has registered the address.
    pub merchant: Option<AccountId>,
    /// What that account has decided.
    pub settings: Settings,
    /// The level that the invoice wants which the payment names.
    pub invoice: Option<Level>,
}

/// What an account has decided.
///
/// # Errors
/// The database could not be reached.
pub async fn find(db: &mut PgConnection, account: AccountId) -> Result<Settings, LedgerError> {
    let row = sqlx::query!("SELECT answer_at, offer_receipts FROM accounts WHERE id = $1", account.uuid());
    let Some(row) = row.fetch_optional(db).await? else { return Ok(Settings::default()) };
    Ok(Settings { answer_at: row.answer_at.map(read).transpose()?, offer_receipts: row.offer_receipts })
}

/// Notes what an account has decided, in the place of what it had decided before.
///
/// # Errors
/// The database could not be reached.
pub async fn set(db: &mut PgConnection, account: AccountId, settings: &Settings) -> Result<(), LedgerError> {
    let tiers = settings.answer_at.as_ref().map(|policy| serde_json::to_value(policy.tiers()).column("accounts", "answer_at"));
    sqlx::query!(
        "UPDATE accounts SET answer_at = $2, offer_receipts = $3 WHERE id = $1",
        account.uuid(),
        tiers.transpose()?,
        settings.offer_receipts,
    )
    .execute(db)
    .await?;
    Ok(())
}

impl Ledger {
    /// Whom a payment to an address pays, and what that merchant and its invoice want.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn recipient(
        &self,
        network: &Network,
        pay_to: Address,
        invoice: Option<InvoiceId>,
    ) -> Result<Recipient, LedgerError> {
        let row = sqlx::query!(
            r#"
            SELECT o.account_id AS "merchant?", m.answer_at AS "answer_at?", coalesce(m.offer_receipts, false) AS "offer_receipts!",
                   i.answer_at AS "invoice?"
            FROM (SELECT) AS one
            LEFT JOIN addresses o ON o.network = $1 AND o.address = $2 AND o.proven_at IS NOT NULL AND o.removed_at IS NULL
            LEFT JOIN accounts m ON m.id = o.account_id
            LEFT JOIN invoices i ON i.id = $3
            "#,
            network.as_str(),
            pay_to.to_string(),
            invoice.map(InvoiceId::uuid),
        );
        let row = row.fetch_one(self.pool()).await?;
        Ok(Recipient {
            merchant: row.merchant.map(AccountId::from_uuid),
            settings: Settings { answer_at: row.answer_at.map(read).transpose()?, offer_receipts: row.offer_receipts },
            invoice: row.invoice.map(|level| Level::parse(&level).column("invoices", "answer_at")).transpose()?,
        })
    }
}

fn read(tiers: Value) -> Result<AnswerPolicy, LedgerError> {
    let tiers = serde_json::from_value(tiers).ok().and_then(|tiers| AnswerPolicy::by_amount(tiers, BOUND_PLACES));
    tiers.column("accounts", "answer_at")
}
