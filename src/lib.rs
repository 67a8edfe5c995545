//! Quittance: an x402 facilitator with a ledger.
//!
//! Two ways of paying meet here, and both end as the same fact: a final token transfer on a chain, recorded once, credited once.
//! docs/ARCHITECTURE.md tells the way of one payment; the modules below are the rooms it passes, lowest first. A module uses
//! only those above it and its own children, and a test keeps it so.

pub mod domain;

pub mod config;
pub mod files;
pub mod keys;
pub mod metrics;
pub mod supervisor;
pub mod telemetry;
pub mod x402;

pub mod chain;
pub mod ledger;
pub mod signing;
pub mod webhook;

pub mod flow;

pub mod api;

pub mod grpc;
pub mod http;
pub mod lane;
pub mod watcher;
pub mod worker;

pub mod app;
pub mod check;
pub mod cli;
