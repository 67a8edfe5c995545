//! What stands in canonical blocks, and which payment it settles.

use std::collections::HashMap;

use super::address::Address;
use super::amount::Amount;
use super::payment::{AuthorizationKey, Payment};
use super::reason::Reason;

/// A transaction's identifier as its network prints it.
pub type TransactionId = String;

/// A movement of a token in a block, ours or anybody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The transaction that moved it.
    pub transaction: TransactionId,
    /// Position in the block; with the block's hash it identifies the transfer. On EVM networks that of its log, on Solana that of its
    /// transaction and of the account in it.
    pub index: u32,
    /// The token.
    pub asset: Address,
    /// Who paid.
    pub from: Address,
    /// Who received.
    pub to: Address,
    /// How much. Absent when more than 128 bits moved, which no payment of ours can equal.
    pub amount: Option<Amount>,
    /// What its payer bound it to.
    pub marks: Vec<Mark>,
}

/// Which of several equal transfers of its transaction each of these is, from zero. They stand in the order of their block, which is that
/// of the transaction, so a transfer keeps its number in whichever block the transaction stands.
#[must_use]
pub fn occurrences<'a>(transfers: impl IntoIterator<Item = &'a Transfer>) -> Vec<u32> {
    let mut counted = HashMap::new();
    let count = |transfer: &'a Transfer| {
        let Transfer { transaction, asset, from, to, amount, .. } = transfer;
        let equal = counted.entry((transaction, asset, from, to, amount)).or_insert(0);
        *equal += 1;
        *equal - 1
    };
    transfers.into_iter().map(count).collect()
}

/// What binds a transfer to something that its payer meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// The nonce of the authorization that moved it (EIP-3009).
    Nonce([u8; 32]),
    /// An account that the transaction names and does not write to (the `reference` of Solana Pay).
    Reference([u8; 32]),
    /// The text of a memo in the transaction, on Solana.
    Memo(String),
}

/// How an authorization came to its end on chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Use {
    /// It was used, and moved this. Absent where the token moved nothing, as one known token does on a repeated nonce.
    Spent(Option<Transfer>),
    /// Its owner cancelled it.
    Cancelled,
    /// The only transaction that could use it was included, and failed for this reason.
    Failed(Reason),
}

/// An authorization that a block used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationUse {
    /// Which one.
    pub key: AuthorizationKey,
    /// What became of it.
    pub outcome: Use,
}

/// What a use of the payment's own authorization means for the payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending<'a> {
    /// Exactly what was asked for was paid.
    Paid(&'a Transfer),
    /// The authorization is gone, and the payment can never be made.
    Spoiled(Reason),
}

/// Judges a payment by what the chain says of its authorization.
///
/// The transaction's own status is not evidence, and neither is who sent it: anybody may land an authorization (EIP-3009).
#[must_use]
pub fn judge<'a>(payment: &Payment, outcome: &'a Use) -> Ending<'a> {
    match outcome {
        Use::Spent(Some(transfer)) if pays(payment, transfer) => Ending::Paid(transfer),
        // Our own transaction says exactly what was asked, so the token did something else.
        Use::Spent(Some(transfer)) if payment.transaction.as_ref() == Some(&transfer.transaction) => {
            Ending::Spoiled(Reason::TransferEventMismatch)
        }
        Use::Spent(None) => Ending::Spoiled(Reason::TransferEventMismatch),
        Use::Spent(Some(_)) | Use::Cancelled => Ending::Spoiled(Reason::NonceAlreadyUsed),
        Use::Failed(reason) => Ending::Spoiled(*reason),
    }
}

fn pays(payment: &Payment, transfer: &Transfer) -> bool {
    transfer.asset == payment.asset
        && transfer.from == payment.payer
        && transfer.to == payment.pay_to
        && transfer.amount == Some(payment.amount)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::payment::tests::payment;

    fn transfer(payment: &Payment) -> Transfer {
        Transfer {
            transaction: "0x01".to_owned(),
            index: 0,
            asset: payment.asset,
            from: payment.payer,
            to: payment.pay_to,
            amount: Some(payment.amount),
            marks: Vec::new(),
        }
    }

    #[test]
    fn only_transfers_that_are_equal_in_all_but_their_place_are_counted_together() {
        let first = transfer(&payment());
        let other = Address::Evm([9; 20]);
        let transfers = [
            first.clone(),
            Transfer { amount: Some(Amount::new(1)), ..first.clone() },
            Transfer { index: 7, marks: vec![Mark::Nonce([1; 32])], ..first.clone() },
            Transfer { from: other, ..first.clone() },
            Transfer { to: other, ..first.clone() },
            Transfer { asset: other, ..first.clone() },
            Transfer { transaction: "0x02".to_owned(), ..first.clone() },
            Transfer { index: 9, ..first },
        ];

        assert_eq!(occurrences(&transfers), [0, 0, 1, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn only_the_exact_transfer_pays() {
        let payment = payment();
        let exact = transfer(&payment);
        let stranger = Address::Evm([9; 20]);
        let wrong = [
            Transfer { asset: stranger, ..exact.clone() },
            Transfer { from: stranger, ..exact.clone() },
            Transfer { to: stranger, ..exact.clone() },
            Transfer { amount: Some(Amount::new(payment.amount.units() - 1)), ..exact.clone() },
            Transfer { amount: Some(Amount::new(payment.amount.units() + 1)), ..exact.clone() },
            Transfer { amount: None, ..exact.clone() },
        ];

        assert_eq!(judge(&payment, &Use::Spent(Some(exact.clone()))), Ending::Paid(&exact));
        let ours = Payment { transaction: Some(exact.transaction.clone()), ..payment.clone() };
        for transfer in wrong {
            let outcome = Use::Spent(Some(transfer.clone()));
            assert_eq!(judge(&payment, &outcome), Ending::Spoiled(Reason::NonceAlreadyUsed), "{transfer:?}");
            assert_eq!(judge(&ours, &outcome), Ending::Spoiled(Reason::TransferEventMismatch), "{transfer:?}");
        }
        assert_eq!(judge(&payment, &Use::Spent(None)), Ending::Spoiled(Reason::TransferEventMismatch));
        assert_eq!(judge(&payment, &Use::Cancelled), Ending::Spoiled(Reason::NonceAlreadyUsed));
        let failed = Use::Failed(Reason::SolanaTransactionFailed);
        assert_eq!(judge(&payment, &failed), Ending::Spoiled(Reason::SolanaTransactionFailed));
    }
}
