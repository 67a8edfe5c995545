//! Whether a transfer that somebody presents by its transaction pays an invoice, and who may present it.
//!
//! A transaction is public, and so is every memo in it: neither says anything about who presents it. So it counts only from the
//! merchant, who would give away nothing but its own, or with a signature of the address that paid.

use chrono::{DateTime, Utc};

use super::account::Caller;
use super::address::Address;
use super::amount::Amount;
use super::block::Block;
use super::ids::{AccountId, InvoiceId, PaymentId};
use super::invoice::PaymentOption;
use super::matching;
use super::reason::{Reason, Refusal};
use super::transfer::Transfer;

/// One way in which the money may have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The token.
    pub asset: Address,
    /// Who was to be paid.
    pub pay_to: Address,
    /// Exactly how much.
    pub amount: Amount,
}

impl From<&PaymentOption> for Way {
    fn from(option: &PaymentOption) -> Self {
        Self { asset: option.asset, pay_to: option.pay_to, amount: option.amount }
    }
}

/// What a presented transfer must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// The invoice that it is presented for.
    pub invoice: InvoiceId,
    /// The ways in which it may have come.
    pub ways: Vec<Way>,
    /// When the invoice was made. Nothing that happened before is for it.
    pub created_at: DateTime<Utc>,
    /// Until when it could be paid.
    pub closes_at: DateTime<Utc>,
}

/// A transfer as it was recorded, and what has become of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The transfer.
    pub transfer: Transfer,
    /// Which of several equal transfers of its transaction it is.
    pub occurrence: u32,
    /// The canonical block in which it stands.
    pub block: Block,
    /// The payment that it pays.
    pub payment: Option<PaymentId>,
    /// The invoice that it pays.
    pub invoice: Option<InvoiceId>,
    /// The invoice that somebody has said it is for.
    pub assigned: Option<InvoiceId>,
    /// Who was told that it pays that invoice.
    pub told: Option<String>,
}

impl Record {
    /// Whether it pays nothing yet.
    #[must_use]
    pub const fn is_free(&self) -> bool {
        self.payment.is_none() && self.invoice.is_none()
    }

    /// Whether `taker` may be told that this pays `invoice`: nobody else was, and it pays nothing else.
    fn is_for(&self, invoice: InvoiceId, taker: Option<&str>) -> bool {
        let nothing_else = |known: Option<InvoiceId>| known.is_none_or(|known| known == invoice);
        let told_nobody_else = self.told.as_deref().is_none_or(|told| Some(told) == taker);
        self.payment.is_none() && nothing_else(self.invoice) && nothing_else(self.assigned) && told_nobody_else
    }
}

/// How near a transfer comes to what is sought: what differs first. The later, the nearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    OtherAsset,
    OtherRecipient,
    OtherAmount,
    Exact,
}

impl Way {
    fn nearness(&self, transfer: &Transfer) -> Nearness {
        if transfer.asset != self.asset {
            Nearness::OtherAsset
        } else if transfer.to != self.pay_to || transfer.from == transfer.to {
            Nearness::OtherRecipient
        } else if transfer.amount != Some(self.amount) {
            Nearness::OtherAmount
        } else {
            Nearness::Exact
        }
    }
}

impl Sought {
    fn nearness(&self, transfer: &Transfer) -> Nearness {
        self.ways.iter().map(|way| way.nearness(transfer)).max().unwrap_or(Nearness::OtherAsset)
    }

    /// Whether one of a transaction's transfers is what is sought.
    ///
    /// # Errors
    /// What differs in the one that comes nearest.
    pub fn check<'a>(&self, transfers: impl IntoIterator<Item = &'a Transfer>) -> Result<(), Refusal> {
        let nearest = transfers.into_iter().map(|transfer| self.nearness(transfer)).max().unwrap_or(Nearness::OtherAsset);
        let (reason, why) = match nearest {
            Nearness::Exact => return Ok(()),
            Nearness::OtherAsset => (Reason::TransferAssetMismatch, "the transaction did not move the token that is asked for"),
            Nearness::OtherRecipient => (Reason::TransferRecipientMismatch, "the transaction did not pay the merchant's address"),
            Nearness::OtherAmount => (Reason::TransferAmountMismatch, "the transaction did not move exactly what is asked for"),
        };
        Err(Refusal::because(reason, why))
    }

    /// Whether a block came in the time in which the invoice could be paid.
    ///
    /// # Errors
    /// It came before or after.
    pub fn check_time(&self, at: DateTime<Utc>) -> Result<(), Refusal> {
        if matching::is_in_time(at, self.created_at, self.closes_at) {
            return Ok(());
        }
        let why = if at > self.closes_at { "it was made after the invoice's end" } else { "it was made before the invoice" };
        Err(Refusal::because(Reason::TransferOutOfTime, why))
    }

    /// Those of a transaction's transfers of which `taker` may be told that they pay the invoice. There is at least one.
    ///
    /// # Errors
    /// The first rule that the nearest of them breaks.
    pub fn choose<'a>(&self, records: &'a [Record], taker: Option<&str>) -> Result<Vec<&'a Record>, Refusal> {
        self.check(records.iter().map(|record| &record.transfer))?;
        let is_exact = |record: &&Record| self.nearness(&record.transfer) == Nearness::Exact;
        let exact: Vec<_> = records.iter().filter(is_exact).collect();
        for record in &exact {
            self.check_time(record.block.timestamp)?;
        }
        let free: Vec<_> = exact.into_iter().filter(|record| record.is_for(self.invoice, taker)).collect();
        if free.is_empty() {
            let why = "the transfer pays something else, or somebody was told already what it pays";
            return Err(Refusal::because(Reason::DuplicateSettlement, why));
        }
        Ok(free)
    }
}

/// Who presents a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presenter {
    /// The account whose invoice it is.
    Owner,
    /// Somebody who says to have paid. The signature has to show it.
    Payer {
        /// As the network's wallets write it, not yet looked at.
        signature: String,
    },
}

impl Presenter {
    /// Who presents, as far as that can be told without looking at the transfer.
    ///
    /// # Errors
    /// Neither the owner nor anybody who has signed.
    pub fn of(caller: &Caller, owner: AccountId, signature: Option<String>) -> Result<Self, Refusal> {
        match signature {
            _ if caller.account() == Some(owner) => Ok(Self::Owner),
            Some(signature) => Ok(Self::Payer { signature }),
            None => {
                let why = "a transaction is public: its payer must sign for it, or the merchant present it";
                Err(Refusal::because(Reason::ProofSignatureMissing, why))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::account::Scope;
    use chrono::TimeDelta;

    const TOKEN: Address = Address::Evm([1; 20]);
    const PAYER: Address = Address::Evm([2; 20]);
    const MERCHANT: Address = Address::Evm([3; 20]);
    const STRANGER: Address = Address::Evm([9; 20]);

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    /// A hundred to the merchant, from second 10 to 60.
    fn sought() -> Sought {
        let way = Way { asset: TOKEN, pay_to: MERCHANT, amount: Amount::new(100) };
        Sought { invoice: InvoiceId::new(), ways: vec![way], created_at: at(10), closes_at: at(60) }
    }

    fn transfer() -> Transfer {
        Transfer {
            transaction: "0x01".to_owned(),
            index: 0,
            asset: TOKEN,
            from: PAYER,
            to: MERCHANT,
            amount: Some(Amount::new(100)),
            marks: Vec::new(),
        }
    }

    fn record() -> Record {
        let block = Block { number: 7, hash: "0x07".to_owned(), parent_hash: String::new(), timestamp: at(20) };
        Record { transfer: transfer(), occurrence: 0, block, payment: None, invoice: None, assigned: None, told: None }
    }

    fn reason<T: std::fmt::Debug>(checked: Result<T, Refusal>) -> Option<Reason> {
        checked.err().map(|refusal| refusal.reason)
    }

    #[test]
    fn only_exactly_what_is_sought_will_do() {
        let check = |transfers: &[Transfer]| reason(sought().check(transfers));
        let amount = |units| Transfer { amount: Some(Amount::new(units)), ..transfer() };

        assert_eq!(check(&[transfer()]), None);
        assert_eq!(check(&[]), Some(Reason::TransferAssetMismatch));
        assert_eq!(check(&[Transfer { asset: STRANGER, ..transfer() }]), Some(Reason::TransferAssetMismatch));
        assert_eq!(check(&[Transfer { to: STRANGER, ..transfer() }]), Some(Reason::TransferRecipientMismatch));
        assert_eq!(check(&[Transfer { from: MERCHANT, ..transfer() }]), Some(Reason::TransferRecipientMismatch));
        assert_eq!(check(&[amount(99)]), Some(Reason::TransferAmountMismatch));
        assert_eq!(check(&[amount(101)]), Some(Reason::TransferAmountMismatch));
        assert_eq!(check(&[Transfer { amount: None, ..transfer() }]), Some(Reason::TransferAmountMismatch));
    }

    #[test]
    fn of_several_transfers_the_nearest_is_spoken_of() {
        let other_token = Transfer { asset: STRANGER, ..transfer() };
        let other_amount = Transfer { amount: Some(Amount::new(1)), ..transfer() };
        let other_recipient = Transfer { to: STRANGER, ..transfer() };

        let all = [other_amount.clone(), other_token.clone(), other_recipient.clone()];
        assert_eq!(reason(sought().check(&all)), Some(Reason::TransferAmountMismatch));
        assert_eq!(reason(sought().check(&[other_recipient, other_token])), Some(Reason::TransferRecipientMismatch));
        assert_eq!(reason(sought().check(&[other_amount, transfer()])), None);
    }

    #[test]
    fn one_of_several_ways_is_enough_and_two_halves_make_none() {
        let other = Way { asset: STRANGER, pay_to: STRANGER, amount: Amount::new(7) };
        let sought = Sought { ways: [sought().ways, vec![other]].concat(), ..sought() };
        let mixed = Transfer { asset: STRANGER, amount: Some(Amount::new(7)), ..transfer() };

        assert_eq!(reason(sought.check(&[transfer()])), None);
        let by_the_other = Transfer { asset: STRANGER, to: STRANGER, amount: Some(Amount::new(7)), ..transfer() };
        assert_eq!(reason(sought.check(&[by_the_other])), None);
        assert_eq!(reason(sought.check(&[mixed])), Some(Reason::TransferRecipientMismatch));
    }

    #[test]
    fn a_block_counts_from_just_before_the_invoice_to_its_end() {
        let late = Sought { created_at: at(20), ..sought() };

        // Clocks differ by up to ten seconds.
        for (second, expected) in
            [(9, Some(Reason::TransferOutOfTime)), (10, None), (60, None), (61, Some(Reason::TransferOutOfTime))]
        {
            assert_eq!(reason(late.check_time(at(second))), expected, "{second}");
        }
    }

    #[test]
    fn what_pays_something_else_pays_nothing_here() {
        let sought = sought();
        let other = Some(InvoiceId::new());
        let taken = [
            Record { payment: Some(PaymentId::new()), ..record() },
            Record { payment: Some(PaymentId::new()), invoice: Some(sought.invoice), ..record() },
            Record { invoice: other, ..record() },
            Record { assigned: other, ..record() },
        ];

        assert_eq!(sought.choose(&[record()], None).unwrap().len(), 1);
        for taken in taken {
            let alone = sought.choose(std::slice::from_ref(&taken), None);
            assert_eq!(reason(alone), Some(Reason::DuplicateSettlement), "{taken:?}");
            // Another one like it is free.
            let two = [taken, record()];
            assert_eq!(sought.choose(&two, None).unwrap(), [&two[1]]);
        }
    }

    #[test]
    fn what_the_ledger_has_matched_itself_is_told_once() {
        let sought = sought();
        let matched = Record { invoice: Some(sought.invoice), ..record() };
        let told = Record { assigned: Some(sought.invoice), told: Some("one".to_owned()), ..matched.clone() };
        let choose = |record: &Record, taker| reason(sought.choose(std::slice::from_ref(record), taker));

        assert_eq!(choose(&matched, Some("one")), None);
        assert_eq!(choose(&told, Some("one")), None, "the same taker is told the same again");
        assert_eq!(choose(&told, Some("two")), Some(Reason::DuplicateSettlement));
        assert_eq!(choose(&told, None), Some(Reason::DuplicateSettlement));
    }

    #[test]
    fn a_time_is_looked_at_before_what_has_become_of_the_transfer() {
        let sought = sought();
        let block = Block { timestamp: at(61), ..record().block };
        let late = Record { block, told: Some("one".to_owned()), ..record() };

        assert_eq!(reason(sought.choose(&[late], None)), Some(Reason::TransferOutOfTime));
    }

    #[test]
    fn only_the_owner_needs_no_signature() {
        let owner = AccountId::new();
        let caller = |account| Caller::Account { account, scope: Scope::Provider };
        let operator = Caller::Account { account: AccountId::new(), scope: Scope::Operator };
        let signed = || Some("0x00".to_owned());
        let payer = Ok(Presenter::Payer { signature: "0x00".to_owned() });

        assert_eq!(Presenter::of(&caller(owner), owner, None), Ok(Presenter::Owner));
        assert_eq!(Presenter::of(&caller(owner), owner, signed()), Ok(Presenter::Owner));
        for stranger in [Caller::Anonymous, caller(AccountId::new()), operator] {
            assert_eq!(reason(Presenter::of(&stranger, owner, None)), Some(Reason::ProofSignatureMissing), "{stranger:?}");
            assert_eq!(Presenter::of(&stranger, owner, signed()), payer, "{stranger:?}");
        }
    }
}
