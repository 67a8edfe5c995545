//! The service from the outside: the real binary, a real chain, a real database.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::disallowed_methods,
    clippy::float_cmp,
    clippy::format_push_string,
    clippy::similar_names,
    clippy::unnecessary_debug_formatting,
    clippy::zombie_processes,
    reason = "tests count small numbers, run tasks and processes of their own, and know what time it is"
)]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod answers;
mod attribution;
mod budgets;
mod canary;
mod collecting;
mod commands;
mod contract;
mod discovery;
mod events;
mod evidence;
mod exports;
mod fences;
mod filled;
mod grpc;
mod heads;
mod hostile;
mod limits;
mod merchants;
mod nodes;
mod operations;
mod outbox;
mod pages;
mod permit2;
mod proofs;
mod queue;
mod receipts;
mod reconcile;
mod reload;
mod repeats;
mod restored;
mod retention;
mod schema;
mod settle;
mod signers;
mod solana;
mod solana_rules;
mod tenants;
mod tidy;
mod watching;
mod webhooks;
