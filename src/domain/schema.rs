//! How the values of the domain look in JSON, as JSON Schema: the texts that stand for them on the outside.
//!
//! Answers are made of plain texts. What is a member of them names here what kind of text it is, so that the description of the API says
//! the same as the code that reads and writes them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::address::Address;
use super::amount::Amount;
use super::block::Level;
use super::event::EventKind;
use super::ids;
use super::invoice::Status;
use super::matching::Basis;
use super::network::Network;
use super::payment::State;
use super::reason::{Reason, Version};
use super::receipt::Finality;
use super::reconciliation::DifferenceKind;

/// An amount of whole tokens, as people read it.
pub enum Decimal {}

/// A transaction, as its network prints it.
pub enum Transaction {}

/// The hash of a block, as its network prints it.
pub enum Block {}

/// Implements [`JsonSchema`] for what is a text on the outside.
macro_rules! described {
    ($($type:ty as $name:literal: $schema:expr;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn schema_id() -> Cow<'static, str> {
                concat!(module_path!(), "::", $name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    )*};
}

/// A text of a form, with an example.
fn text(description: &str, pattern: &str, example: &str) -> Schema {
    json_schema!({"type": "string", "description": description, "pattern": pattern, "examples": [example]})
}

/// One of some words.
fn word(description: &str, words: impl IntoIterator<Item = &'static str>) -> Schema {
    json_schema!({"type": "string", "description": description, "enum": words.into_iter().collect::<Vec<_>>()})
}

/// An identifier of ours. The digits of the example are the same everywhere, so that examples fit together.
fn id(description: &str, prefix: &str) -> Schema {
    text(description, &format!("^{prefix}[0-9a-f]{{32}}$"), &format!("{prefix}019cc3f05b2c7d1e8a4f6b7c8d9e0f12"))
}

/// Every code of every reason, each once.
fn reasons() -> Vec<&'static str> {
    let mut codes = Vec::new();
    for reason in Reason::ALL {
        for version in [Version::V2, Version::V1] {
            let code = reason.code_in(version);
            if !codes.contains(&code) {
                codes.push(code);
            }
        }
    }
    codes
}

described! {
    Network as "Network": text(
        "A network by its CAIP-2 identifier.",
        "^(eip155:[1-9][0-9]{0,19}|solana:[1-9A-HJ-NP-Za-km-z]{32})$",
        "eip155:84532",
    );
    Address as "Address": text(
        "An address as its network prints it: with the checksum of EIP-55, or in base58.",
        "^(0x[0-9a-fA-F]{40}|[1-9A-HJ-NP-Za-km-z]{32,44})$",
        "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
    );
    Amount as "AtomicAmount": text("An amount in atomic units of its token.", "^(0|[1-9][0-9]{0,38})$", "250000");
    Decimal as "DecimalAmount": text("An amount in whole tokens.", r"^(0|[1-9][0-9]*)(\.[0-9]+)?$", "0.25");
    Transaction as "Transaction": text(
        "A transaction as its network prints it: a hash, or on Solana a signature in base58.",
        "^(0x[0-9a-f]{64}|[1-9A-HJ-NP-Za-km-z]{64,88})$",
        "0x82ab6d7af75d9c89581f379026bde2695787ba4b6dfc1a2b38b63fbe18c5621b",
    );
    Block as "BlockHash": text(
        "The hash of a block as its network prints it.",
        "^(0x[0-9a-f]{64}|[1-9A-HJ-NP-Za-km-z]{32,44})$",
        "0x3c9f2cf7bd5e7c4d4dbb8a6f0e1d2c3b4a5968778695a4b3c2d1e0f102132435",
    );

    ids::AccountId as "AccountId": id("An account.", "acc_");
    ids::AddressId as "AddressId": id("A registered address, or a list of them.", "adr_");
    ids::DeliveryId as "DeliveryId": id("One event for one webhook.", "dlv_");
    ids::EventId as "EventId": id("Something that an account is told.", "evt_");
    ids::InvoiceId as "InvoiceId": id("An invoice.", "inv_");
    ids::PaymentId as "PaymentId": id("A payment that is or was to be settled here.", "pay_");
    ids::ReceiptId as "ReceiptId": id("A receipt in all its revisions.", "rct_");
    ids::ReconciliationId as "ReconciliationId": id("One comparison of a network with the ledger.", "rec_");
    ids::TransferId as "TransferId": id("A transfer to a registered address.", "trf_");
    ids::WebhookId as "WebhookId": id("A webhook.", "whk_");

    Level as "Level": word(
        "How deep a transfer stands: in a canonical block, in one that the network calls safe, or in one that can no longer be replaced.",
        [Level::Included, Level::Safe, Level::Final].map(Level::as_str),
    );
    Status as "InvoiceStatus": word("Where an invoice stands.", Status::ALL.map(Status::as_str));
    Basis as "Basis": word("Why a transfer pays an invoice.", Basis::ALL.map(Basis::as_str));
    State as "PaymentState": word("Where a payment stands.", State::WORDS);
    Finality as "Finality": word("What a revision of a receipt says of the transfer.", Finality::ALL.map(Finality::as_str));
    DifferenceKind as "DifferenceKind": word(
        "How network and ledger differ: the ledger lacks a credit, the network lacks it, or the balance is another one.",
        DifferenceKind::ALL.map(DifferenceKind::as_str),
    );
    EventKind as "EventType": word("What has happened. New types may come.", EventKind::ALL.map(EventKind::as_str));
    Reason as "Reason": word("Why a payment is refused, or has failed. docs/ERRORS.md says of each code what to do. New codes may come.", reasons());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `example` of a schema reads as, by the code that reads it on the way in.
    fn example<T: JsonSchema>() -> String {
        let schema = T::json_schema(&mut SchemaGenerator::default());
        schema.get("examples").and_then(|examples| examples[0].as_str()).unwrap().to_owned()
    }

    #[test]
    fn an_example_is_read_as_what_it_is_an_example_of_and_written_the_same() {
        macro_rules! read_back {
            ($($type:ty),*) => {$(
                assert_eq!(example::<$type>().parse::<$type>().unwrap().to_string(), example::<$type>());
            )*};
        }

        read_back!(Network, Amount, ids::AccountId, ids::AddressId, ids::DeliveryId, ids::EventId, ids::InvoiceId);
        read_back!(ids::PaymentId, ids::ReceiptId, ids::ReconciliationId, ids::TransferId, ids::WebhookId);
        assert_eq!(Address::parse_any(&example::<Address>()).unwrap().to_string(), example::<Address>());
        assert_eq!(Amount::from_decimal(&example::<Decimal>(), 6).unwrap().to_string(), example::<Amount>());
    }

    #[test]
    fn a_code_of_either_version_is_named_once() {
        let codes = reasons();

        assert!(codes.contains(&Reason::ValueMismatch.code()) && codes.contains(&Reason::ValueMismatch.code_in(Version::V1)));
        assert_eq!(codes.iter().filter(|code| **code == Reason::UnsupportedScheme.code()).count(), 1);
    }
}
