//! A resource server with x402-axum. What it is told stands in its environment.

use std::env;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use x402_axum::X402Middleware;
use x402_chain_eip155::chain::ChecksummedAddress;
use x402_chain_eip155::{KnownNetworkEip155, V1Eip155Exact, V2Eip155Exact};
use x402_chain_solana::chain::Address;
use x402_chain_solana::{KnownNetworkSolana, V1SolanaExact, V2SolanaExact};
use x402_types::networks::USDC;

const PRICE: u64 = 1_000;

fn told(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is set"))
}

async fn paid() -> Json<Value> {
    Json(json!({ "answer": "forty-two" }))
}

#[tokio::main]
async fn main() {
    let x402 = X402Middleware::new(&told("FACILITATOR_URL"));
    let on_evm = || told("PAY_TO").parse::<ChecksummedAddress>().expect("an address of EVM");
    let on_solana = || told("PAY_TO").parse::<Address>().expect("an address of Solana");
    let usdc = || USDC::base_sepolia().amount(PRICE);
    let spl_usdc = || USDC::solana_devnet().amount(PRICE);
    // Clients of version 1 insist on a type.
    let json = || "application/json".to_owned();
    let route = match told("NETWORK").as_str() {
        "base-sepolia" => get(paid).layer(x402.with_price_tag(V1Eip155Exact::price_tag(on_evm(), usdc())).with_mime_type(json())),
        "solana-devnet" => {
            get(paid).layer(x402.with_price_tag(V1SolanaExact::price_tag(on_solana(), spl_usdc())).with_mime_type(json()))
        }
        network if network.starts_with("solana:") => {
            get(paid).layer(x402.with_price_tag(V2SolanaExact::price_tag(on_solana(), spl_usdc())))
        }
        _ => get(paid).layer(x402.with_price_tag(V2Eip155Exact::price_tag(on_evm(), usdc()))),
    };
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{}", told("PORT"))).await.expect("the port is free");
    axum::serve(listener, Router::new().route("/paid", route)).await.expect("the server runs");
}
