//! The third instruction moves exactly the amount to the recipient, and the money is not ours.

use crate::chain::solana::associated;
use crate::chain::solana::message::{Instruction, Key};
use crate::chain::solana::programs::{TOKEN, TOKEN_2022};
use crate::domain::address::Address;
use crate::domain::amount::Amount;
use crate::domain::asset::{Asset, TokenProgram};
use crate::domain::payment::PaymentRequest;
use crate::domain::reason::{Reason, Refusal};

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
    /// By whose word: the owner of the source, or its delegate.
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
/// [`Reason::MintMismatch`], [`Reason::DestinationMismatch`] or [`Reason::AmountMismatch`].
pub fn check(transfer: &Transfer, request: &PaymentRequest, asset: &Asset, program: TokenProgram) -> Result<(), Refusal> {
    check_mint(transfer, asset, program)?;
    check_destination(transfer, request)?;
    if Amount::new(transfer.amount.into()) == request.amount { Ok(()) } else { Err(Reason::AmountMismatch.into()) }
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
    if expected != Some(transfer.destination) {
        return Err(Refusal::because(Reason::DestinationMismatch, "not the associated token account of payTo"));
    }
    // A delegate of the recipient could move its money to where it is, which the program takes for a good transfer.
    if transfer.source == transfer.destination {
        return Err(Refusal::because(Reason::DestinationMismatch, "the money comes from where it goes"));
    }
    Ok(())
}
