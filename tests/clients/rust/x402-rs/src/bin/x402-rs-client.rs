//! A buyer with x402-reqwest. What it is told stands in its environment.

use std::env;
use std::sync::Arc;

use alloy_signer_local::PrivateKeySigner;
use reqwest::Client;
use serde_json::json;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_keypair::Keypair;
use x402_chain_eip155::{V1Eip155ExactClient, V2Eip155ExactClient};
use x402_chain_solana::{V1SolanaExactClient, V2SolanaExactClient};
use x402_reqwest::{ReqwestWithPayments, ReqwestWithPaymentsBuild, X402Client};

fn told(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is set"))
}

/// A wallet for the network, in both versions of the protocol.
fn wallet() -> X402Client<impl x402_types::scheme::client::PaymentSelector> {
    let key = told("PAYER_KEY");
    if told("NETWORK").starts_with("solana") {
        let signer = Arc::new(Keypair::from_base58_string(&key));
        let node = Arc::new(RpcClient::new(told("RPC_URL")));
        X402Client::new()
            .register(V1SolanaExactClient::new(signer.clone(), node.clone()))
            .register(V2SolanaExactClient::new(signer, node))
    } else {
        let signer: Arc<PrivateKeySigner> = Arc::new(key.parse().expect("a private key"));
        X402Client::new().register(V1Eip155ExactClient::new(signer.clone())).register(V2Eip155ExactClient::new(signer))
    }
}

#[tokio::main]
async fn main() {
    let buyer = Client::new().with_payments(wallet()).build();
    let report = match buyer.get(told("URL")).send().await {
        Ok(response) => {
            let status = response.status().as_u16();
            json!({ "status": status, "body": response.text().await.unwrap_or_default() })
        }
        Err(error) => json!({ "status": null, "error": format!("{error:?}") }),
    };
    println!("{report}");
}
