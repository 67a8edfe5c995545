//! Signs receipts, and has them redeemed.
//!
//! What a receipt says is written in the transaction that makes it true (`ledger::receipts`). Signing it needs nothing else, and gives the
//! same bytes wherever and however often it is done: for an answer on the spot, for whoever asks, and by the worker for all the others.

use std::collections::HashMap;
use std::time::Duration;

use chrono::SubsecRound;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Flows;
use super::prove::Proven;
use crate::domain::amount::Amount;
use crate::domain::ids::{AccountId, PaymentId, ReceiptId};
use crate::domain::payment::Claim;
use crate::domain::receipt::{Finality, Statement};
use crate::domain::schema::Transaction;
use crate::ledger::receipts::{self, Redemption, Revision};
use crate::ledger::{Ledger, LedgerError, commit};
use crate::signing::Issuer;
use crate::signing::jwk::{Material, PublicKey};
use crate::telemetry::ErrorChain;

/// An answer does not wait for its receipt for longer than this: the success is worth more.
const READ_WITHIN: Duration = Duration::from_millis(500);

/// Revisions that are signed in one go.
const SIGNED_AT_ONCE: u32 = 500;

/// Digits behind the second that the ledger keeps.
const LEDGER_DIGITS: u16 = 6;

/// Why a receipt is not redeemed.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// There is no such receipt, or it is not the caller's.
    #[error("there is no such receipt here")]
    NoSuchReceipt,
    /// Its transfer was undone.
    #[error("the receipt is revoked")]
    Revoked,
    /// It was redeemed before.
    #[error("the receipt was redeemed before")]
    Redeemed,
    /// The ledger did not answer.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A receipt as the answer to a settlement carries it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignedReceipt {
    /// Our own form, a compact JWS. `None` if it was not known in time, or there are no keys.
    pub jws: Option<String>,
    /// What stands in the answer under the extension `offer-receipt`, for merchants who want it.
    pub offer: Option<Value>,
}

/// One receipt among others, as its newest revision has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptLine {
    #[schemars(with = "ReceiptId")]
    pub(crate) id: String,
    pub(crate) revision: u32,
    #[schemars(with = "Finality")]
    pub(crate) finality: &'static str,
    #[schemars(with = "Transaction")]
    pub(crate) transaction: String,
    #[schemars(with = "Amount")]
    amount: String,
    /// The signed form, as a compact JWS.
    receipt: String,
}

impl From<(Statement, String)> for ReceiptLine {
    fn from((statement, jws): (Statement, String)) -> Self {
        Self {
            id: statement.receipt.to_string(),
            revision: statement.revision,
            finality: statement.finality.as_str(),
            transaction: statement.transaction,
            amount: statement.amount.to_string(),
            receipt: jws,
        }
    }
}

/// What the receipts of paid payments say now, as far as that is known in time.
pub(super) async fn statements(ledger: &Ledger, payments: &[PaymentId]) -> HashMap<PaymentId, Statement> {
    if payments.is_empty() {
        return HashMap::new();
    }
    let found = match tokio::time::timeout(READ_WITHIN, ledger.statements_of(payments)).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            tracing::debug!(error = %ErrorChain(&error), "successes are answered without receipts");
            Vec::new()
        }
        Err(_) => {
            tracing::debug!("successes are answered without receipts, which were not read in time");
            Vec::new()
        }
    };
    found.into_iter().filter_map(|statement| Some((statement.purpose.payment()?, statement))).collect()
}

impl Flows {
    /// The receipt for an answer that tells of `claim`, with its form of the extension `offer-receipt` if that is wanted. Empty if
    /// there are no keys, or if the network has replaced the block since.
    pub(super) fn receipt_for(&self, claim: &Claim, statement: Option<&Statement>, offers: bool) -> SignedReceipt {
        let statement = statement.filter(|statement| statement.block_hash == claim.block_hash);
        let (Some(statement), Some(issuer)) = (statement, &self.issuer) else { return SignedReceipt::default() };
        let offer = if offers { issuer.offer_receipt(statement).ok().flatten() } else { None };
        SignedReceipt { jws: issuer.sign(statement).ok(), offer }
    }

    /// The same, where the ledger has to be asked what the receipt says.
    pub(super) async fn find_receipt_for(&self, payment: PaymentId, claim: &Claim, offers: bool) -> SignedReceipt {
        if self.issuer.is_none() {
            return SignedReceipt::default();
        }
        let found = statements(&self.ledger, &[payment]).await;
        self.receipt_for(claim, found.get(&payment), offers)
    }

    /// The receipt for a proven transfer, as far as it is known in time. None if there are no keys, or if the network has replaced the
    /// block since.
    pub async fn receipt_for_proven(&self, proven: &Proven) -> Option<String> {
        self.issuer.as_ref()?;
        let read = async {
            let found = self.ledger.receipt_of_transfer(&proven.network, &proven.block.hash, proven.transfer.index).await?;
            Ok::<_, LedgerError>(self.signed(found.into_iter().collect()).await.pop())
        };
        match tokio::time::timeout(READ_WITHIN, read).await {
            Ok(Ok(signed)) => signed.map(|(_, receipt)| receipt),
            Ok(Err(error)) => {
                tracing::debug!(error = %ErrorChain(&error), "a proof is answered without its receipt");
                None
            }
            Err(_) => {
                tracing::debug!("a proof is answered without its receipt, which was not read in time");
                None
            }
        }
    }

    fn sign(&self, statement: &Statement) -> Option<String> {
        self.issuer.as_ref()?.sign(statement).ok()
    }

    /// Revisions with their signatures. What was not signed yet is signed now, and kept by the worker; without keys it is left out.
    pub(super) fn sign_all(&self, revisions: Vec<Revision>) -> Vec<(Statement, String)> {
        let signed = revisions.into_iter().filter_map(|Revision { statement, jws }| {
            let jws = jws.or_else(|| self.sign(&statement))?;
            Some((statement, jws))
        });
        signed.collect()
    }

    /// The same, and what was not signed yet is kept.
    pub async fn signed(&self, revisions: Vec<Revision>) -> Vec<(Statement, String)> {
        let mut signed = Vec::with_capacity(revisions.len());
        let mut fresh = Vec::new();
        for Revision { statement, jws } in revisions {
            let known = jws.is_some();
            let Some(jws) = jws.or_else(|| self.sign(&statement)) else { continue };
            fresh.extend((!known).then_some(signed.len()));
            signed.push((statement, jws));
        }
        let fresh: Vec<_> = fresh.into_iter().map(|place: usize| (&signed[place].0, signed[place].1.clone())).collect();
        if !fresh.is_empty()
            && let Err(error) = self.ledger.keep_signed(&fresh).await
        {
            // The worker does it.
            tracing::debug!(error = %ErrorChain(&error), "signatures of receipts were not kept");
        }
        signed
    }

    /// Signs everything that waits for it.
    ///
    /// # Errors
    /// The database could not be reached.
    pub async fn sign_receipts(&self) -> Result<(), LedgerError> {
        let Some(issuer) = &self.issuer else { return Ok(()) };
        loop {
            let waiting = self.ledger.unsigned(SIGNED_AT_ONCE).await?;
            let signed: Vec<_> = waiting.iter().filter_map(|statement| Some((statement, issuer.sign(statement).ok()?))).collect();
            if !signed.is_empty() {
                self.ledger.keep_signed(&signed).await?;
                self.metrics.receipts_signed(signed.len() as u64);
            }
            let left = waiting.len() - signed.len();
            self.metrics.receipts_unsigned(left);
            let dated = if left > 0 { self.date_unsigned(issuer).await? } else { 0 };
            let full = waiting.len() == SIGNED_AT_ONCE as usize;
            if dated == 0 && (!full || signed.is_empty()) {
                return Ok(());
            }
        }
    }

    /// What waits since before there was any key counts from now on, because a key signs only for its own time.
    async fn date_unsigned(&self, issuer: &Issuer) -> Result<u64, LedgerError> {
        let keys = issuer.keys().keys().iter().filter(|key| matches!(key.material(), Material::Ed25519(_)));
        let now = self.clock.now();
        match keys.map(PublicKey::created_at).min() {
            Some(first) if first <= now => self.ledger.date_unsigned(first, now, SIGNED_AT_ONCE).await,
            Some(_) | None => Ok(0),
        }
    }

    /// Redeems a receipt of an account, once over all its revisions. Under the same nonce it is told again.
    ///
    /// # Errors
    /// See [`RedeemError`].
    pub async fn redeem_receipt(
        &self,
        account: AccountId,
        id: ReceiptId,
        nonce: Option<String>,
    ) -> Result<Redemption, RedeemError> {
        let mut db = self.ledger.begin().await?;
        let receipt = receipts::lock(&mut db, id).await?.filter(|receipt| receipt.owner() == Some(account));
        let receipt = receipt.ok_or(RedeemError::NoSuchReceipt)?;
        match (receipt.finality, receipt.redeemed) {
            (Finality::Revoked, _) => Err(RedeemError::Revoked),
            (Finality::Included | Finality::Final, None) => {
                // What is told now and what is told again must be the same.
                let redemption = Redemption { at: self.clock.now().trunc_subsecs(LEDGER_DIGITS), nonce };
                receipts::redeem(&mut db, id, &redemption).await?;
                commit(db).await?;
                Ok(redemption)
            }
            (Finality::Included | Finality::Final, Some(former)) if nonce.is_some() && former.nonce == nonce => Ok(former),
            (Finality::Included | Finality::Final, Some(_)) => Err(RedeemError::Redeemed),
        }
    }
}
