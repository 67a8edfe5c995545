//! The rules of payment as pure code: no I/O, no async, and no clock of its own.
//!
//! Everything here is a value or a function over values, so that each rule can be read, and tested, alone.

pub mod account;
pub mod address;
pub mod amount;
pub mod answer;
pub mod asset;
pub mod attribution;
pub mod binding;
pub mod block;
pub mod budget;
pub mod challenge;
pub mod clock;
pub mod event;
pub mod ids;
pub mod invoice;
pub mod matching;
pub mod network;
pub mod payment;
pub mod proof;
pub mod rate;
pub mod reason;
pub mod receipt;
pub mod reconciliation;
pub mod schema;
pub mod submission;
pub mod transfer;
pub mod verification;
