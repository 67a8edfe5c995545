//! The real parts that tests, evidence and benches run against: a local chain with the real USDC contract, PostgreSQL, our own
//! binary as a process, and a proxy that can misbehave. Everything listens on loopback and ends with its owner.

#![allow(dead_code, reason = "each binary that includes these tools uses some of them")]

pub mod chain;
pub mod cli;
pub mod contract;
pub mod database;
pub mod facilitator;
pub mod flows;
pub mod frames;
pub mod fuzzed;
pub mod grpc;
pub mod merchant;
pub mod payer;
pub mod permit2;
pub mod postgres_proxy;
pub mod proxy;
pub mod raw;
pub mod receipts;
pub mod receiver;
pub mod replay;
pub mod signer;
pub mod solana;
pub mod typed;

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Waits until `ready` answers with something, and fails loudly if it does not in time.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, within: Duration, mut ready: impl FnMut() -> F) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = ready().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {within:?}");
        // Polling is the only way to see into another process; the condition, not the pause, decides.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A client for HTTP on loopback.
pub fn http_client() -> reqwest::Client {
    // Fails only if it was done before, which is as good. Nothing here uses TLS, but the client wants to know how it would.
    drop(rustls::crypto::ring::default_provider().install_default());
    // No connection that the service is just closing is used again, and what is answered is what was asked for.
    let client = reqwest::Client::builder().pool_max_idle_per_host(512).pool_idle_timeout(Duration::from_secs(30));
    client.redirect(reqwest::redirect::Policy::none()).build().expect("a client")
}

/// A contract of ours by its name, as contracts/build.mjs compiled it.
pub fn contract(name: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(root().join(format!("contracts/out/{name}.json"))).expect("it is compiled");
    serde_json::from_str(&text).expect("it is JSON")
}

/// Deploys a contract with encoded arguments for its constructor, and returns its address.
pub async fn deploy(chain: &chain::Chain, contract: &serde_json::Value, arguments: &[u8]) -> String {
    let mut code = alloy::hex::decode(contract["bytecode"].as_str().expect("code")).expect("hexadecimal");
    code.extend_from_slice(arguments);
    let receipt = chain.transact(&chain.text("/accounts/deployer/address"), None, &code).await;
    receipt["contractAddress"].as_str().expect("an address").to_owned()
}
