//! A buyer with r402. What it is told stands in its environment.

use std::env;
use std::sync::Arc;

use alloy_signer_local::PrivateKeySigner;
use r402::evm::Eip155ExactClient;
use r402::http::{WithPayments, X402Client};
use r402::svm::SolanaExactClient;
use reqwest::Client;
use serde_json::json;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_keypair::Keypair;

fn told(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is set"))
}

#[tokio::main]
async fn main() {
    let key = told("PAYER_KEY");
    let wallet = if told("NETWORK").starts_with("solana") {
        let signer = Arc::new(Keypair::from_base58_string(&key));
        X402Client::new().register(SolanaExactClient::new(signer, Arc::new(RpcClient::new(told("RPC_URL")))))
    } else {
        X402Client::new().register(Eip155ExactClient::new(Arc::new(key.parse::<PrivateKeySigner>().expect("a private key"))))
    };
    let buyer = Client::new().with_payments(wallet);
    let report = match buyer.get(told("URL")).send().await {
        Ok(response) => {
            let status = response.status().as_u16();
            json!({ "status": status, "body": response.text().await.unwrap_or_default() })
        }
        Err(error) => json!({ "status": null, "error": format!("{error:?}") }),
    };
    println!("{report}");
}
