//! The scheme `exact` on Solana: a transaction that transfers exactly the amount, signed by the payer, for which we pay the fee.
//!
//! The rules, in order, each in a file of its own. The order is that of the reference implementation (`@x402/svm` 2.27), so that a
//! payment with several faults gets the same code:
//!  1. `terms`: scheme, network and fee payer are ones that may be paid with.
//!  2. `message` (beside this folder): the transaction is one, with at most two signatures.
//!  3. `signers`: the fee payer is the one that was asked for, and everybody else has signed.
//!  4. `message` again: it has no lookup tables.
//!  5. `layout`: there is a place for each instruction, and nothing else.
//!  6. `compute`: what the transaction may compute, and what it offers for that, stays within the operator's limits.
//!  7. `transfer`: it transfers money that is not ours.
//!  8. `isolation`: no instruction names an account of ours.
//!  9. `terms` again: a recipient that can hold money.
//! 10. `transfer` again: the payer signed, and it is the right token, recipient and amount, out of the payer's own account.
//! 11. `optional`: whatever follows is a memo, or a wallet's own guard of what the payer has.
//! 12. `memo`: it says what it must.
//!
//! An instruction list that is not exactly this one is refused, and with it everything else that a transaction can do: durable
//! nonces, transfers of lamports, creating, closing and approving accounts.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::message::{Decoded, Key, Transaction};
use crate::domain::address::Address;
use crate::domain::asset::{Asset, TokenProgram};
use crate::domain::payment::PaymentRequest;
use crate::domain::reason::{Reason, Refusal, Version};
use crate::domain::verification::ExaminedPayment;
use crate::x402::exact_solana::TransactionPayload;
use compute::{Budget, Limits};
use layout::Layout;
use transfer::Transfer;

pub mod compute;
pub mod isolation;
pub mod layout;
pub mod memo;
pub mod optional;
pub mod signers;
pub mod terms;
pub mod transfer;

/// How long after it was examined a payment counts as possible, for people and for clean-up.
///
/// A transaction lands within 150 blocks of the one it was built on or never, and 150 blocks take about a minute. No clock can tell
/// when they have passed, so whoever gives a payment up must look at the height of finalized blocks instead; this is long enough
/// that it has long happened.
pub const LANDS_WITHIN: TimeDelta = TimeDelta::minutes(10);

/// A transaction with everything that landing it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// What is signed and sent.
    pub transaction: Transaction,
    /// What it may compute, and what it offers for that.
    pub budget: Budget,
    /// What it moves.
    pub transfer: Transfer,
}

impl Authorization {
    /// Reads what is to be landed out of a payload that was examined before.
    ///
    /// # Errors
    /// A payload that was not.
    pub fn read(payload: &Value) -> Result<Self, Refusal> {
        let transaction = decode(payload)?.without_lookups()?;
        let layout = Layout::of(&transaction, Version::V2)?;
        let budget = compute::read(&layout)?;
        let transfer = transfer::read(layout.transfer)?;
        Ok(Self { transaction, budget, transfer })
    }

    /// What the network charges the fee payer, in lamports.
    #[must_use]
    pub fn fee(&self) -> u64 {
        self.budget.fee(self.transaction.signatures())
    }
}

/// Applies every rule that needs no node. `signers` are all our accounts on this network, and `now` dates what comes out.
///
/// # Errors
/// The first rule that the request breaks.
pub fn examine(
    request: PaymentRequest,
    asset: &Asset,
    signers: &[Key],
    limits: &Limits,
    now: DateTime<Utc>,
) -> Result<ExaminedPayment, Refusal> {
    let program = token_program(&request, asset)?;
    terms::check_agreement(&request)?;
    let fee_payer = terms::fee_payer(&request, signers)?;
    let decoded = decode(&request.payload)?;
    signers::check_fee_payer(&decoded, &fee_payer)?;
    signers::check_signature(&decoded)?;
    let transaction = decoded.without_lookups()?;
    let layout = Layout::of(&transaction, request.version)?;
    compute::check(&layout, transaction.signatures(), limits)?;
    let transfer = transfer::read(layout.transfer)?;
    transfer::check_funds(&transfer, signers)?;
    isolation::check(transaction.instructions(), signers)?;
    terms::check_recipient(&request, &transfer.authority, signers)?;
    signers::check_authority(&transaction, &transfer.authority)?;
    transfer::check(&transfer, &request, asset, program)?;
    optional::check(layout.optional, &transfer)?;
    memo::check(layout.optional, request.memo.as_deref())?;
    Ok(ExaminedPayment {
        key: transaction.key(),
        payer: Address::Solana(transfer.authority),
        valid_after: DateTime::UNIX_EPOCH,
        expires_at: now + LANDS_WITHIN,
        signer: Some(Address::Solana(*transaction.fee_payer())),
        waivable: false,
        // What came in the fee payer's place is nobody's, and is not kept.
        payload: TransactionPayload { transaction: transaction.unsigned() }.to_json(),
        request,
    })
}

/// The token's program, if the request is for this token of Solana.
fn token_program(request: &PaymentRequest, asset: &Asset) -> Result<TokenProgram, Refusal> {
    let program = asset.program().filter(|_| asset.address == request.asset && asset.network == request.network);
    program.ok_or_else(|| Refusal::because(Reason::UnsupportedAsset, format!("{} is not accepted here", request.asset)))
}

fn decode(payload: &Value) -> Result<Decoded, Refusal> {
    Ok(Decoded::read(&TransactionPayload::parse(payload)?.transaction)?)
}

#[cfg(test)]
pub(crate) mod tests;
