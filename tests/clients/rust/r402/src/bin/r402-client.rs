//! A buyer with r402. What it is told stands in its environment.

use std::env;
use std::sync::Arc;

use alloy_signer_local::PrivateKeySigner;
use r402::evm::Eip155ExactClient;
use r402::http::{WithPayments, X402Client};
use reqwest::Client;
use serde_json::json;

fn told(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is set"))
}

fn wallet_of_evm(key: &str) -> X402Client {
    X402Client::new().register(Eip155ExactClient::new(Arc::new(key.parse::<PrivateKeySigner>().expect("a private key"))))
}

#[cfg(feature = "solana")]
fn wallet_of_solana(key: &str) -> X402Client {
    use r402::svm::SolanaExactClient;
    use solana_client::nonblocking::rpc_client::RpcClient;
    use solana_keypair::Keypair;

    let signer = Arc::new(Keypair::from_base58_string(key));
    X402Client::new().register(SolanaExactClient::new(signer, Arc::new(RpcClient::new(told("RPC_URL")))))
}

#[cfg(not(feature = "solana"))]
fn wallet_of_solana(_key: &str) -> X402Client {
    panic!("this program was built without Solana")
}

#[tokio::main]
async fn main() {
    let key = told("PAYER_KEY");
    let wallet = if told("NETWORK").starts_with("solana") { wallet_of_solana(&key) } else { wallet_of_evm(&key) };
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
