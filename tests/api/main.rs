//! The service from the outside: the real binary, a real chain, a real database.

#[path = "../support/mod.rs"]
mod support;

mod access;
mod answers;
mod bad_input;
mod coupling;
mod evidence;
mod golden;
mod operations;
mod settle;
mod tidy;
mod wallets;
