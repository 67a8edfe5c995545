//! The wire types of x402, versions 1 and 2: what JSON looks like, and nothing about what it means.
//!
//! A body that gets through here is well formed and means one thing only. Whether the payment is any good is decided
//! elsewhere: by the flow (is the network offered?) and by the rules of the chain (did the payer sign this?).

pub mod bazaar;
pub mod builder_code;
pub mod exact_evm;
pub mod exact_solana;
pub mod extension_responses;
mod identifier;
pub mod json;
mod json_schema;
pub mod links;
mod members;
pub mod networks;
mod percent;
pub mod permit2;
pub mod request;
pub mod response;
pub mod shape;
pub mod supported;
pub mod transfer;
pub mod uint256;
