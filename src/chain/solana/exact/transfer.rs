//! The third instruction moves exactly the amount from the payer's account to the recipient's, and the money is not ours.

use crate::chain::solana::associated;
use crate::chain::solana::message::{Instruction, Key};
use crate::chain::solana::programs::{TOKEN, TOKEN_2022};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::asset::{Asset, TokenProgram};
use crate::domain::payment::PaymentRequest;
use crate::domain::reason::{Reason, Refusal};
use crate::domain::verification::Sendable;

/// `TransferChecked` (both token programs): amount and decimals. No other transfer names the mint.
const TRANSFER_CHECKED: u8 = 12;

/// A movement of tokens from one token account to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The program that moves them.
    pub program: TokenProgram,
    /// The token account that they leave.
    pub source: Key,
    /// Which token.
    pub mint: Key,
    /// The token account that they reach.
    pub destination: Key,
    /// By whose word: the owner of the source, or its delegate. After [`check`] it is the owner that the source's address is derived
    /// from.
    pub authority: Key,
    /// How many of the smallest unit.
    pub amount: u64,
    /// The decimals that the payer believes the token has. The program refuses others than the mint's.
    pub decimals: u8,
}

/// Reads a transfer.
///
/// # Errors
/// [`Reason::NoTransfer`].
pub fn read(instruction: &Instruction) -> Result<Transfer, Refusal> {
    parse(instruction).ok_or_else(|| Reason::NoTransfer.into())
}

fn parse(instruction: &Instruction) -> Option<Transfer> {
    let program = match instruction.program {
        TOKEN => TokenProgram::Token,
        TOKEN_2022 => TokenProgram::Token2022,
        _ => return None,
    };
    let [TRANSFER_CHECKED, amount @ .., decimals] = instruction.data.as_slice() else { return None };
    let amount = u64::from_le_bytes(amount.try_into().ok()?);
    let [source, mint, destination, authority, ..] = *instruction.accounts.as_slice() else { return None };
    Some(Transfer { program, source, mint, destination, authority, amount, decimals: *decimals })
}

/// Checks that no signer of ours moves its own money, by its own word or through a delegate.
///
/// # Errors
/// [`Reason::FeePayerTransfers`].
pub fn check_funds(transfer: &Transfer, signers: &[Key]) -> Result<(), Refusal> {
    let held_by = |owner: &Key| associated::account(owner, &transfer.mint, transfer.program) == Some(transfer.source);
    let is_ours = |signer: &Key| *signer == transfer.authority || *signer == transfer.source || held_by(signer);
    if signers.iter().any(is_ours) { Err(Reason::FeePayerTransfers.into()) } else { Ok(()) }
}

/// Compares the transfer with what the resource server requires.
///
/// # Errors
/// [`Reason::MintMismatch`], [`Reason::DestinationMismatch`], [`Reason::AmountMismatch`], or [`Reason::NoTransfer`] for one out of
/// another account than the payer's.
pub fn check(transfer: &Transfer, request: &PaymentRequest, asset: &Asset, program: TokenProgram) -> Result<(), Refusal> {
    check_mint(transfer, asset, program)?;
    check_destination(transfer, request)?;
    if Amount::new(transfer.amount.into()) != request.amount {
        return Err(Reason::AmountMismatch.into());
    }
    check_source(transfer)
}

/// Whether a transfer is the one that a payment in the ledger is about.
#[must_use]
pub fn makes(transfer: &Transfer, payment: &Sendable) -> bool {
    let Address::Solana(recipient) = payment.pay_to else { return false };
    Address::Solana(transfer.mint) == payment.asset
        && Address::Solana(transfer.authority) == payment.payer
        && Amount::new(transfer.amount.into()) == payment.amount
        && associated::account(&recipient, &transfer.mint, transfer.program) == Some(transfer.destination)
}

/// Whoever holds a token in several accounts could pay from each of them at once, while what is promised to payments under way is
/// counted against the associated one. And of other accounts the payer could be a mere delegate: even of the recipient's, whose money
/// would then come from where it goes. The SDKs' clients pay from the associated one.
fn check_source(transfer: &Transfer) -> Result<(), Refusal> {
    if associated::account(&transfer.authority, &transfer.mint, transfer.program) == Some(transfer.source) {
        return Ok(());
    }
    Err(Refusal::because(Reason::NoTransfer, "the money does not come from the payer's associated token account"))
}

fn check_mint(transfer: &Transfer, asset: &Asset, program: TokenProgram) -> Result<(), Refusal> {
    let problem = match Address::Solana(transfer.mint) {
        mint if mint != asset.address => "the transfer is of another mint",
        _ if transfer.program != program => "the mint belongs to the other token program",
        _ if transfer.decimals != asset.decimals => "the token has other decimals",
        _ => return Ok(()),
    };
    Err(Refusal::because(Reason::MintMismatch, problem))
}

fn check_destination(transfer: &Transfer, request: &PaymentRequest) -> Result<(), Refusal> {
    let expected = match request.pay_to {
        Address::Solana(owner) => associated::account(&owner, &transfer.mint, transfer.program),
        Address::Evm(_) => None,
    };
    if expected == Some(transfer.destination) {
        return Ok(());
    }
    Err(Refusal::because(Reason::DestinationMismatch, "not the associated token account of payTo"))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::chain::solana::exact::Authorization;
    use crate::chain::solana::exact::tests::{PAYER, public, request};
    use crate::domain::ids::PaymentId;
    use crate::domain::payment::AuthorizationKey;
    use crate::domain::verification::Checked;

    #[test]
    fn a_row_that_says_something_else_is_not_what_the_payer_signed() {
        let PaymentRequest { asset, pay_to, amount, payload, .. } = request();
        let transfer = Authorization::read(&payload).unwrap().transfer;
        let (payer, other) = (Address::Solana(public(PAYER)), Address::Solana(public(99)));
        let row = Sendable {
            id: PaymentId::new(),
            asset,
            payer,
            pay_to,
            amount,
            provider: None,
            expires_at: DateTime::UNIX_EPOCH,
            payload,
            checked: Checked { block: 1, payer_code: String::new(), alone: true, gas: 1 },
            failures: 0,
            key: AuthorizationKey(vec![1]),
        };

        assert!(makes(&transfer, &row));
        for changed in [
            Sendable { asset: other, ..row.clone() },
            Sendable { payer: other, ..row.clone() },
            Sendable { pay_to: other, ..row.clone() },
            Sendable { amount: Amount::new(10_001), ..row.clone() },
        ] {
            assert!(!makes(&transfer, &changed), "{changed:?}");
        }
    }
}
