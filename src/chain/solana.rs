//! Solana: what a payment there looks like, and every rule that needs no node.

pub mod associated;
pub mod exact;
pub mod message;
pub mod programs;
pub mod signature;
