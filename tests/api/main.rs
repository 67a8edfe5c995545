//! The service from the outside: the real binary, a real chain, a real database.

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod coupling;
mod settle;
mod wallets;
