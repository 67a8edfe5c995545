//! A resource server with r402. What it is told stands in its environment.

use std::env;

use axum::routing::get;
use axum::{Json, Router};
use r402::evm::chain::ChecksummedAddress;
use r402::evm::{Eip155Exact, USDC};
use r402::http::server::X402Middleware;
use r402::svm::SolanaExact;
use r402::svm::chain::Address;
use serde_json::{Value, json};

const PRICE: u64 = 1_000;

fn told(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is set"))
}

async fn paid() -> Json<Value> {
    Json(json!({ "answer": "forty-two" }))
}

#[tokio::main]
async fn main() {
    let port = told("PORT");
    let x402 = X402Middleware::try_new(&told("FACILITATOR_URL"))
        .expect("a URL")
        .with_base_url(format!("http://127.0.0.1:{port}").parse().expect("a URL"));
    let layer = if told("NETWORK").starts_with("solana:") {
        let pay_to: Address = told("PAY_TO").parse().expect("an address of Solana");
        let price = SolanaExact::price_tag(pay_to, r402::svm::USDC::solana_devnet().amount(PRICE));
        x402.with_scheme("solana:*".parse().expect("a pattern"), SolanaExact).with_price_tag(price)
    } else {
        let pay_to: ChecksummedAddress = told("PAY_TO").parse().expect("an address of EVM");
        let price = Eip155Exact::price_tag(pay_to, USDC::base_sepolia().amount(PRICE), None);
        x402.with_scheme("eip155:*".parse().expect("a pattern"), Eip155Exact).with_price_tag(price)
    };
    let shop = Router::new().route("/paid", get(paid).layer(layer.expect("a price")));
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await.expect("the port is free");
    axum::serve(listener, shop).await.expect("the server runs");
}
