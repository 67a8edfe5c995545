//! Transactions that never were, as the blocks of a node that lies show them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quittance::domain::address::decode_base58_pair;
use serde_json::{Value, json};

use super::{AMOUNT, Cluster};

/// Shows transactions under names of one's choice as a block does, in each of which a payer pays the merchant.
pub fn shown(cluster: &Cluster, payer: usize, error: Value) -> impl Fn(&str) -> Value + Clone + Send + Sync + use<> {
    let (mint, merchant) = (cluster.text("/usdc"), cluster.text("/merchant"));
    let payer = cluster.text(&format!("/payers/{payer}/address"));
    move |name| {
        let signature = decode_base58_pair(name).expect("a signature");
        // Three accounts that are written to, of which the first signs; a blockhash, and no instructions.
        let message: Vec<u8> = [&[1, 0, 0, 3][..], &[1; 32], &[2; 32], &[3; 32], &[4; 32], &[0]].concat();
        let wire = [&[1][..], &signature, &message].concat();
        let balance = |account: u8, owner: &str, amount: u64| {
            let amount = json!({"amount": amount.to_string()});
            json!({"accountIndex": account, "mint": mint, "owner": owner, "uiTokenAmount": amount})
        };
        json!({
            "transaction": [STANDARD.encode(wire), "base64"],
            "version": "legacy",
            "meta": {
                "err": error,
                "preTokenBalances": [balance(1, &payer, AMOUNT), balance(2, &merchant, 0)],
                "postTokenBalances": [balance(1, &payer, 0), balance(2, &merchant, AMOUNT)],
            },
        })
    }
}
