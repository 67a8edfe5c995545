//! Receipts: what a signed statement over a transfer says, and which of its revisions holds.

use chrono::{DateTime, Utc};

use super::address::Address;
use super::amount::Amount;
use super::block::BlockHash;
use super::ids::{AccountId, InvoiceId, PaymentId, ReceiptId};
use super::network::{Family, Network};
use super::transfer::TransactionId;

/// The number of a receipt's first revision.
pub const FIRST_REVISION: u32 = 1;

/// Longest name of a transaction or block. EVM networks need 66 characters and Solana 88.
const CHAIN_NAME_CHARS_MAX: usize = 128;

/// What a revision says of its transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finality {
    /// It stands in a canonical block that may still be replaced.
    Included,
    /// It can no longer be undone.
    Final,
    /// It was undone: its block was replaced by one without it.
    Revoked,
}

impl Finality {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Included, Self::Final, Self::Revoked];

    /// The word on the wire and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Included => "included",
            Self::Final => "final",
            Self::Revoked => "revoked",
        }
    }

    /// Reads the word back.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|finality| finality.as_str() == text)
    }

    /// Whether a revision may say this right after one that said `former`; `None` stands before the first.
    #[must_use]
    pub const fn may_follow(self, former: Option<Self>) -> bool {
        match former {
            None | Some(Self::Revoked) => !matches!(self, Self::Revoked),
            // A transfer that moved to another block is included twice in a row.
            Some(Self::Included) => true,
            // Only where an operator let a node's history count that contradicts a final block.
            Some(Self::Final) => matches!(self, Self::Revoked),
        }
    }
}

/// What a transfer paid for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// An invoice, paid without our help.
    Invoice(InvoiceId),
    /// What a settlement that we made was asked for.
    Payment {
        /// The settlement.
        payment: PaymentId,
        /// The URL of what was bought, where the request named one.
        resource: Option<String>,
        /// The invoice, where the request named one.
        invoice: Option<InvoiceId>,
    },
}

impl Purpose {
    /// Puts the parts together as the ledger has them. `None` without payment and invoice, which is no purpose.
    ///
    /// An empty URL names nothing, and only a settlement has one.
    #[must_use]
    pub fn of(payment: Option<PaymentId>, invoice: Option<InvoiceId>, resource: Option<String>) -> Option<Self> {
        let resource = resource.filter(|url| !url.is_empty());
        let settled = payment.map(|payment| Self::Payment { payment, resource, invoice });
        settled.or_else(|| invoice.map(Self::Invoice))
    }

    /// The settlement, if there was one.
    #[must_use]
    pub const fn payment(&self) -> Option<PaymentId> {
        match self {
            Self::Invoice(_) => None,
            Self::Payment { payment, .. } => Some(*payment),
        }
    }

    /// The invoice, if one is known.
    #[must_use]
    pub const fn invoice(&self) -> Option<InvoiceId> {
        match self {
            Self::Invoice(invoice) => Some(*invoice),
            Self::Payment { invoice, .. } => *invoice,
        }
    }

    /// The URL of what was bought, if one is known.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        match self {
            Self::Invoice(_) => None,
            Self::Payment { resource, .. } => resource.as_deref(),
        }
    }
}

/// One revision of a receipt: what is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The receipt, the same in all its revisions.
    pub receipt: ReceiptId,
    /// Counts from [`FIRST_REVISION`].
    pub revision: u32,
    /// What it says of the transfer.
    pub finality: Finality,
    /// Where the transfer stands, or stood.
    pub network: Network,
    /// The token.
    pub asset: Address,
    /// The transaction that moved it.
    pub transaction: TransactionId,
    /// Position in the block; with the block's hash it identifies the transfer.
    pub index: u32,
    /// The block that it stands in, or stood in when it was last seen.
    pub block_hash: BlockHash,
    /// Who paid.
    pub payer: Address,
    /// Who was paid.
    pub pay_to: Address,
    /// How much.
    pub amount: Amount,
    /// What for.
    pub purpose: Purpose,
    /// The account that was paid, where the recipient has one.
    pub account: Option<AccountId>,
    /// When this revision was made. Its signed form has whole seconds.
    pub issued_at: DateTime<Utc>,
}

/// Why nobody may sign a statement, or believe it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementFault {
    /// Revisions count from one.
    #[error("revisions count from one")]
    Unnumbered,
    /// There is nothing to revoke before the first revision.
    #[error("the first revision revokes nothing")]
    RevokedFirst,
    /// Token, payer or recipient is an address of another family than the network's.
    #[error("an address does not belong to the network")]
    ForeignAddress,
    /// A transfer of nothing pays for nothing.
    #[error("nothing was paid")]
    NothingPaid,
    /// The name of the transaction or block is empty, too long, or not visible ASCII.
    #[error("the transaction or the block has no readable name")]
    UnreadableName,
    /// A URL is absent rather than empty, and holds no NUL.
    #[error("the URL of the resource is empty or holds a NUL")]
    UnreadableResource,
    /// Before 1970.
    #[error("issued before 1970")]
    TooEarly,
}

impl Statement {
    /// Whether this revision takes the place of `other`: the highest number of a receipt holds, whatever the two say.
    ///
    /// A transfer that was mined again after a revocation is included again, so a word alone decides nothing.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        self.receipt == other.receipt && self.revision > other.revision
    }

    /// Looks for what no revision may say. Whoever signs asks this, and whoever verifies.
    ///
    /// # Errors
    /// See [`StatementFault`].
    pub fn check(&self) -> Result<(), StatementFault> {
        let faults = [
            (self.revision < FIRST_REVISION, StatementFault::Unnumbered),
            (self.revision == FIRST_REVISION && self.finality == Finality::Revoked, StatementFault::RevokedFirst),
            (!self.has_addresses_of_its_network(), StatementFault::ForeignAddress),
            (self.amount.is_zero(), StatementFault::NothingPaid),
            (!is_chain_name(&self.transaction) || !is_chain_name(&self.block_hash), StatementFault::UnreadableName),
            (self.purpose.resource().is_some_and(is_unreadable), StatementFault::UnreadableResource),
            (self.issued_at.timestamp() < 0, StatementFault::TooEarly),
        ];
        faults.into_iter().find(|(broken, _)| *broken).map_or(Ok(()), |(_, fault)| Err(fault))
    }

    fn has_addresses_of_its_network(&self) -> bool {
        let belongs = |address: &Address| match (self.network.family(), address) {
            (Family::Eip155, Address::Evm(_)) | (Family::Solana, Address::Solana(_)) => true,
            (Family::Eip155, Address::Solana(_)) | (Family::Solana, Address::Evm(_)) => false,
        };
        [&self.asset, &self.payer, &self.pay_to].into_iter().all(belongs)
    }
}

fn is_chain_name(text: &str) -> bool {
    (1..=CHAIN_NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_unreadable(url: &str) -> bool {
    url.is_empty() || url.contains('\0')
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::domain::address::decode_hex;

    fn evm(digits: &str) -> Address {
        Address::Evm(decode_hex(digits).unwrap())
    }

    /// A first revision over a transfer on Base Sepolia.
    pub fn statement() -> Statement {
        Statement {
            receipt: "rct_0190a1b2c3d4700080000000000000a1".parse().unwrap(),
            revision: 1,
            finality: Finality::Included,
            network: "eip155:84532".parse().unwrap(),
            asset: evm("036cbd53842c5426634e7929541ec2318f3dcf7e"),
            transaction: format!("0x{}", "1a".repeat(32)),
            index: 7,
            block_hash: format!("0x{}", "2b".repeat(32)),
            payer: evm("5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"),
            pay_to: evm("fb6916095ca1df60bb79ce92ce3ea74c37c5d359"),
            amount: Amount::new(10_000),
            purpose: Purpose::Payment {
                payment: "pay_0190a1b2c3d4700080000000000000a2".parse().unwrap(),
                resource: Some("https://api.example/inference".to_owned()),
                invoice: Some("inv_0190a1b2c3d4700080000000000000a3".parse().unwrap()),
            },
            account: Some("acc_0190a1b2c3d4700080000000000000a4".parse().unwrap()),
            issued_at: DateTime::from_timestamp(1_790_000_000, 0).unwrap(),
        }
    }

    #[test]
    fn the_highest_revision_holds_whatever_it_says() {
        let first = statement();
        let revoked = Statement { revision: 2, finality: Finality::Revoked, ..statement() };
        let mined_again = Statement { revision: 3, finality: Finality::Included, ..statement() };
        let other = Statement { receipt: ReceiptId::new(), revision: 9, ..statement() };

        assert!(revoked.supersedes(&first) && mined_again.supersedes(&revoked) && mined_again.supersedes(&first));
        assert!(!first.supersedes(&revoked) && !first.supersedes(&first));
        assert!(!other.supersedes(&first));
    }

    #[test]
    fn a_revision_follows_only_what_it_changes() {
        use Finality::{Final, Included, Revoked};
        let allowed = [
            (None, vec![Included, Final]),
            (Some(Included), vec![Included, Final, Revoked]),
            (Some(Final), vec![Revoked]),
            (Some(Revoked), vec![Included, Final]),
        ];

        for (former, may) in allowed {
            for finality in [Included, Final, Revoked] {
                assert_eq!(finality.may_follow(former), may.contains(&finality), "{finality:?} after {former:?}");
            }
        }
    }

    #[test]
    fn a_word_is_read_back() {
        for finality in [Finality::Included, Finality::Final, Finality::Revoked] {
            assert_eq!(Finality::parse(finality.as_str()), Some(finality));
        }
        assert_eq!(Finality::parse("Final"), None);
    }

    #[test]
    fn a_purpose_is_a_payment_an_invoice_or_both() {
        let (payment, invoice) = (PaymentId::new(), InvoiceId::new());
        let url = || Some("https://a.example".to_owned());

        assert_eq!(Purpose::of(None, None, url()), None);
        assert_eq!(Purpose::of(None, Some(invoice), url()), Some(Purpose::Invoice(invoice)));
        let both = Purpose::of(Some(payment), Some(invoice), url()).unwrap();
        assert_eq!((both.payment(), both.invoice(), both.resource()), (Some(payment), Some(invoice), Some("https://a.example")));
        let empty = Purpose::of(Some(payment), None, Some(String::new())).unwrap();
        assert_eq!((empty.payment(), empty.invoice(), empty.resource()), (Some(payment), None, None));
    }

    #[test]
    fn what_no_revision_may_say_is_found() {
        let solana = Address::Solana([7; 32]);
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let about =
            |resource: &str| Purpose::Payment { payment: PaymentId::new(), resource: Some(resource.to_owned()), invoice: None };
        for (changed, fault) in [
            (Statement { revision: 0, ..statement() }, StatementFault::Unnumbered),
            (Statement { finality: Finality::Revoked, ..statement() }, StatementFault::RevokedFirst),
            (Statement { asset: solana, ..statement() }, StatementFault::ForeignAddress),
            (Statement { payer: solana, ..statement() }, StatementFault::ForeignAddress),
            (Statement { pay_to: solana, ..statement() }, StatementFault::ForeignAddress),
            (Statement { amount: Amount::ZERO, ..statement() }, StatementFault::NothingPaid),
            (Statement { transaction: String::new(), ..statement() }, StatementFault::UnreadableName),
            (Statement { transaction: "0x1a\n".to_owned(), ..statement() }, StatementFault::UnreadableName),
            (Statement { block_hash: "a".repeat(CHAIN_NAME_CHARS_MAX + 1), ..statement() }, StatementFault::UnreadableName),
            (Statement { purpose: about(""), ..statement() }, StatementFault::UnreadableResource),
            (Statement { purpose: about("a\0b"), ..statement() }, StatementFault::UnreadableResource),
            (Statement { issued_at: at(-1), ..statement() }, StatementFault::TooEarly),
        ] {
            assert_eq!(changed.check(), Err(fault), "{changed:?}");
        }
        for changed in [
            statement(),
            Statement { revision: 2, finality: Finality::Revoked, ..statement() },
            Statement { amount: Amount::new(1), ..statement() },
            Statement { block_hash: "a".repeat(CHAIN_NAME_CHARS_MAX), ..statement() },
            Statement { purpose: Purpose::Invoice(InvoiceId::new()), ..statement() },
            Statement { issued_at: at(0), ..statement() },
        ] {
            assert_eq!(changed.check(), Ok(()), "{changed:?}");
        }
    }
}
