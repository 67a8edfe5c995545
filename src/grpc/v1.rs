//! The messages and services of `proto/quittance/v1`, as build.rs makes them, with clients.

#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    missing_docs,
    unused_qualifications,
    reason = "this code is generated"
)]

include!(concat!(env!("OUT_DIR"), "/quittance.v1.rs"));

/// The contract itself, for whoever asks what there is.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/quittance.v1.bin"));
