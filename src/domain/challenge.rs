//! The texts that are signed to prove something to us.
//!
//! Each has one fixed form, which people can read and which is made again from what is stored when the signature comes in. No two
//! things have the same text: the first line tells the kinds apart, every value has a grammar of its own, and what a stranger
//! writes stands last. Times are in whole seconds. A signed text moves no money and says so, in the spirit of EIP-4361.

use chrono::{DateTime, SecondsFormat, Utc};
use sha2::{Digest, Sha256};

use super::address::{Address, encode_hex};
use super::ids::{AccountId, AddressId, InvoiceId};
use super::network::Network;
use super::transfer::TransactionId;

/// What stands in every text. Wallets show it to whoever is about to sign.
const HARMLESS: &str = "Signing this message moves no money and permits nobody to move any.";

/// Most addresses in one list.
pub const LISTED_ADDRESSES_MAX: usize = 1_000;

/// What an owner signs to prove control of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The public address of this service, so that the signature is worth nothing to another one.
    pub service_url: String,
    /// Who registers the address.
    pub account: AccountId,
    /// Where the address is.
    pub network: Network,
    /// The address, which also signs.
    pub address: Address,
    /// The registration. It is new each time, and so serves as the nonce.
    pub id: AddressId,
    /// When the challenge was made.
    pub issued_at: DateTime<Utc>,
    /// Until when the signature is taken.
    pub expires_at: DateTime<Utc>,
}

impl Challenge {
    /// The text to sign.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { service_url, account, network, address, id, .. } = self;
        let (issued, expires) = (time(self.issued_at), time(self.expires_at));
        format!(
            "{service_url} asks you to prove that you control an address.\n\
             {HARMLESS}\n\
             It says that payments to this address belong to this account.\n\
             \n\
             Address: {address}\n\
             Network: {network}\n\
             Account: {account}\n\
             Challenge: {id}\n\
             Issued: {issued}\n\
             Expires: {expires}"
        )
    }
}

/// What an account signs, with an address that it has proven, to register a list of deposit addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The public address of this service, so that the signature is worth nothing to another one.
    pub service_url: String,
    /// Who registers the addresses.
    pub account: AccountId,
    /// Where the addresses are.
    pub network: Network,
    /// The addresses.
    pub addresses: AddressList,
    /// The registration. It is new each time, and so serves as the nonce.
    pub id: AddressId,
    /// When the statement was made.
    pub issued_at: DateTime<Utc>,
    /// Until when the signature is taken.
    pub expires_at: DateTime<Utc>,
}

impl Statement {
    /// The text to sign.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { service_url, account, network, id, .. } = self;
        let (count, hash) = (self.addresses.as_slice().len(), self.addresses.hash());
        let (issued, expires) = (time(self.issued_at), time(self.expires_at));
        format!(
            "{service_url} asks you to state which deposit addresses are yours.\n\
             {HARMLESS}\n\
             It says that payments to these addresses belong to this account.\n\
             The hash is over the addresses as text, sorted, with a line feed between them.\n\
             \n\
             Addresses: {count}\n\
             SHA-256: {hash}\n\
             Network: {network}\n\
             Account: {account}\n\
             Challenge: {id}\n\
             Issued: {issued}\n\
             Expires: {expires}"
        )
    }
}

/// Distinct addresses in the order of their texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressList(Vec<Address>);

/// Why addresses are no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressListError {
    /// There is no address in it.
    #[error("there is no address in the list")]
    Empty,
    /// There are too many.
    #[error("there are more than 1,000 addresses in the list")]
    TooLong,
}

impl AddressList {
    /// Puts addresses in order, and leaves out what stands there twice.
    ///
    /// # Errors
    /// No address, or more than [`LISTED_ADDRESSES_MAX`] different ones.
    pub fn new(mut addresses: Vec<Address>) -> Result<Self, AddressListError> {
        // By text and not by bytes, so that every sorting program makes the same list.
        addresses.sort_by_cached_key(ToString::to_string);
        addresses.dedup();
        match addresses.len() {
            0 => Err(AddressListError::Empty),
            1..=LISTED_ADDRESSES_MAX => Ok(Self(addresses)),
            _ => Err(AddressListError::TooLong),
        }
    }

    /// The addresses.
    #[must_use]
    pub fn as_slice(&self) -> &[Address] {
        &self.0
    }

    /// SHA-256 over the addresses as text with a line feed between them, in hexadecimal digits.
    #[must_use]
    pub fn hash(&self) -> String {
        let texts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        let hash: [u8; 32] = Sha256::digest(texts.join("\n")).into();
        encode_hex(&hash)[2..].to_owned()
    }
}

/// What a payer signs to present a transfer as the payment of an invoice. The address that the money came from signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presentation {
    /// The public address of this service, so that the signature is worth nothing to another one.
    pub service_url: String,
    /// The invoice that the transfer pays.
    pub invoice: InvoiceId,
    /// Where the transfer is.
    pub network: Network,
    /// The transaction that made it, as its network prints it.
    pub transaction: TransactionId,
}

impl Presentation {
    /// The text to sign.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { service_url, invoice, network, transaction } = self;
        format!(
            "{service_url} asks you to show that a payment was made by you.\n\
             {HARMLESS}\n\
             It says that this transaction pays this invoice.\n\
             \n\
             Invoice: {invoice}\n\
             Network: {network}\n\
             Transaction: {transaction}"
        )
    }
}

/// A time as in RFC 3339, in whole seconds and in UTC.
fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;
    use uuid::Uuid;

    const URL: &str = "https://pay.example.org";

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn network() -> Network {
        "eip155:8453".parse().unwrap()
    }

    fn challenge() -> Challenge {
        Challenge {
            service_url: URL.to_owned(),
            account: AccountId::from_uuid(Uuid::from_u128(1)),
            network: network(),
            address: Address::Evm([0xab; 20]),
            id: AddressId::from_uuid(Uuid::from_u128(2)),
            issued_at: at(1_767_323_045),
            expires_at: at(1_767_323_945),
        }
    }

    fn statement(addresses: &[Address]) -> Statement {
        let Challenge { service_url, account, network, id, issued_at, expires_at, .. } = challenge();
        let addresses = AddressList::new(addresses.to_vec()).unwrap();
        Statement { service_url, account, network, addresses, id, issued_at, expires_at }
    }

    fn presentation() -> Presentation {
        Presentation {
            service_url: URL.to_owned(),
            invoice: InvoiceId::from_uuid(Uuid::from_u128(3)),
            network: network(),
            transaction: format!("0x{}", "1f".repeat(32)),
        }
    }

    #[test]
    fn the_text_of_a_challenge_never_changes() {
        assert_eq!(
            challenge().text(),
            "https://pay.example.org asks you to prove that you control an address.
Signing this message moves no money and permits nobody to move any.
It says that payments to this address belong to this account.

Address: 0xABaBaBaBABabABabAbAbABAbABabababaBaBABaB
Network: eip155:8453
Account: acc_00000000000000000000000000000001
Challenge: adr_00000000000000000000000000000002
Issued: 2026-01-02T03:04:05Z
Expires: 2026-01-02T03:19:05Z"
        );
    }

    #[test]
    fn a_text_is_the_same_when_the_ledger_has_cut_its_times() {
        let exact = Challenge { issued_at: at(1_767_323_045) + TimeDelta::nanoseconds(999_999_999), ..challenge() };

        assert_eq!(exact.text(), challenge().text());
    }

    #[test]
    fn the_text_of_a_statement_never_changes() {
        let addresses = [Address::Evm([0xab; 20]), Address::Evm([0x0c; 20]), Address::Evm([0xa2; 20])];

        assert_eq!(
            statement(&addresses).text(),
            "https://pay.example.org asks you to state which deposit addresses are yours.
Signing this message moves no money and permits nobody to move any.
It says that payments to these addresses belong to this account.
The hash is over the addresses as text, sorted, with a line feed between them.

Addresses: 3
SHA-256: 59ab81eedd21f2d4008ea407ae28169b8f957d3729e4ebe2f8479198597b1d34
Network: eip155:8453
Account: acc_00000000000000000000000000000001
Challenge: adr_00000000000000000000000000000002
Issued: 2026-01-02T03:04:05Z
Expires: 2026-01-02T03:19:05Z"
        );
    }

    #[test]
    fn a_list_has_one_order_and_nothing_twice() {
        // `0xAB` comes before `0xa2`: capitals come before small letters, and the checksum decides which these are.
        let [one, other, third] = [Address::Evm([0xab; 20]), Address::Evm([0x0c; 20]), Address::Evm([0xa2; 20])];
        let list = AddressList::new(vec![one, other, third]).unwrap();

        let texts: Vec<_> = list.as_slice().iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(list.as_slice(), [other, one, third]);
        assert_eq!(AddressList::new(vec![third, one, other, third, one]), Ok(list.clone()));
        assert_ne!(AddressList::new(vec![one, other]).unwrap().hash(), list.hash());
    }

    #[test]
    fn a_list_of_one_is_hashed_without_a_line_feed() {
        let solana = Address::parse_any("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v").unwrap();

        assert_eq!(
            AddressList::new(vec![solana]).unwrap().hash(),
            "f249bbf137c2e667140519a7e8db0c5ff45a3cb7ad0b26a5ab828657a6c83e24"
        );
    }

    #[test]
    fn a_list_has_from_one_to_a_thousand_addresses() {
        let numbered = |number: usize| {
            let mut bytes = [0; 20];
            bytes[12..].copy_from_slice(&number.to_be_bytes());
            Address::Evm(bytes)
        };
        let list = |count| AddressList::new((0..count).map(numbered).collect()).map(|list| list.as_slice().len());

        assert_eq!(list(0), Err(AddressListError::Empty));
        assert_eq!(list(1), Ok(1));
        assert_eq!(list(LISTED_ADDRESSES_MAX), Ok(LISTED_ADDRESSES_MAX));
        assert_eq!(list(LISTED_ADDRESSES_MAX + 1), Err(AddressListError::TooLong));
        let doubled = (0..LISTED_ADDRESSES_MAX).chain(0..LISTED_ADDRESSES_MAX).map(numbered).collect();
        assert_eq!(AddressList::new(doubled).unwrap().as_slice().len(), LISTED_ADDRESSES_MAX);
    }

    #[test]
    fn the_text_of_a_presentation_never_changes() {
        assert_eq!(
            presentation().text(),
            "https://pay.example.org asks you to show that a payment was made by you.
Signing this message moves no money and permits nobody to move any.
It says that this transaction pays this invoice.

Invoice: inv_00000000000000000000000000000003
Network: eip155:8453
Transaction: 0x1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f"
        );
    }

    #[test]
    fn every_value_is_signed() {
        let one = challenge();
        let others = [
            Challenge { service_url: "https://pay.example.com".to_owned(), ..one.clone() },
            Challenge { account: AccountId::from_uuid(Uuid::from_u128(9)), ..one.clone() },
            Challenge { network: "eip155:84532".parse().unwrap(), ..one.clone() },
            Challenge { address: Address::Evm([0xac; 20]), ..one.clone() },
            Challenge { id: AddressId::from_uuid(Uuid::from_u128(9)), ..one.clone() },
            Challenge { issued_at: one.issued_at + TimeDelta::seconds(1), ..one.clone() },
            Challenge { expires_at: one.expires_at + TimeDelta::seconds(1), ..one.clone() },
        ];
        for other in others {
            assert_ne!(other.text(), one.text());
        }
        let one = presentation();
        let others = [
            Presentation { service_url: "https://pay.example.com".to_owned(), ..one.clone() },
            Presentation { invoice: InvoiceId::from_uuid(Uuid::from_u128(9)), ..one.clone() },
            Presentation { network: "eip155:84532".parse().unwrap(), ..one.clone() },
            Presentation { transaction: one.transaction.replace('f', "e"), ..one.clone() },
        ];
        for other in others {
            assert_ne!(other.text(), one.text());
        }
    }

    #[test]
    fn a_text_is_plain_ascii_that_every_wallet_can_show() {
        for text in [challenge().text(), statement(&[Address::Evm([1; 20])]).text(), presentation().text()] {
            assert!(text.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{text}");
        }
    }
}
