//! The service from the outside: the real binary, a real chain, a real database.

#[path = "../support/mod.rs"]
mod support;

<<<<<<< HEAD
mod access;
mod answers;
mod bad_input;
mod coupling;
mod golden;
mod operations;
=======
mod evidence;
>>>>>>> t2
mod settle;
mod tidy;
mod wallets;
