//! Webhooks: telling a merchant's server what happened, as the Standard Webhooks specification asks.
//!
//! Nothing is stored here and nothing is tried twice. A flow keeps the bytes of a message, the secrets of its endpoint and the time of
//! the next attempt; this room signs, sends once, and says how it went.
//!
//! The URL of an endpoint is a stranger's, and so is the name in it. Both are judged again for every attempt: the URL by [`target`], and
//! what its name stands for by [`resolver`], which hands the client only addresses that may be reached.

mod answer;
pub mod client;
pub mod outcome;
pub mod payload;
pub mod reach;
pub mod resolver;
pub mod schedule;
pub mod secret;
pub mod signature;
pub mod target;
