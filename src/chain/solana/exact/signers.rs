//! The fee payer is the one that was asked for, and everybody else has signed.

use crate::chain::solana::message::{Decoded, Key, Transaction};
use crate::chain::solana::signature;
use crate::domain::reason::{Reason, Refusal};

/// Checks that the fee is paid by the account that the requirements name.
///
/// # Errors
/// [`Reason::FeePayerMismatch`].
pub fn check_fee_payer(transaction: &Decoded, fee_payer: &Key) -> Result<(), Refusal> {
    if transaction.fee_payer() == fee_payer { Ok(()) } else { Err(Reason::FeePayerMismatch.into()) }
}

/// Checks the signature that must be there before ours.
///
/// # Errors
/// [`Reason::PayerSignatureInvalid`].
pub fn check_signature(transaction: &Decoded) -> Result<(), Refusal> {
    let valid = |signer: &Key, made| signature::is_valid(signer, transaction.message(), made);
    match transaction.cosigner() {
        Some(cosigner) if !valid(&cosigner.key, &cosigner.signature) => Err(Reason::PayerSignatureInvalid.into()),
        Some(_) | None => Ok(()),
    }
}

/// Checks that the money moves by the word of who signed. Whoever did not sign is not the payer.
///
/// # Errors
/// [`Reason::PayerSignatureInvalid`].
pub fn check_authority(transaction: &Transaction, authority: &Key) -> Result<(), Refusal> {
    if transaction.cosigner().is_some_and(|cosigner| cosigner.key == *authority) {
        Ok(())
    } else {
        Err(Refusal::because(Reason::PayerSignatureInvalid, "the transfer's authority does not sign"))
    }
}
