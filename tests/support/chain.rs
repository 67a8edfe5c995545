//! A local EVM chain with the real USDC contract, Multicall3, Permit2 and a Safe (dev/chain.mjs).

use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::payer::{Payer, Signed};

/// A running chain. It ends when this is dropped.
pub struct Chain {
    /// Where its node listens.
    pub url: String,
    /// What dev/chain.mjs says of it: addresses, keys, contracts.
    pub world: Value,
    /// Accounts with 1,000 USDC each.
    pub payers: Vec<Payer>,
    client: reqwest::Client,
    ids: AtomicU64,
    _process: Child,
}

/// How a chain is started.
pub struct ChainOptions {
    /// Its chain id: 84532, 8453 or 1329.
    pub chain_id: u64,
    /// Seconds between blocks; 0 mines each transaction at once.
    pub block_time: f64,
    /// How many funded payers there are.
    pub payers: usize,
}

impl Default for ChainOptions {
    fn default() -> Self {
        Self { chain_id: 84532, block_time: 1.0, payers: 20 }
    }
}

impl Chain {
    /// Starts a chain and waits until it answers.
    pub async fn start(options: ChainOptions) -> Self {
        let script = super::root().join("dev/chain.mjs");
        let (id, payers) = (options.chain_id.to_string(), options.payers.to_string());
        let info = Command::new("node")
            .arg(&script)
            .args(["--info", "--chain-id", &id, "--payers", &payers])
            .output()
            .await
            .expect("node runs");
        let info: Value =
            serde_json::from_slice(&info.stdout).expect("dev/chain.mjs --info prints JSON; run `make test` once to install dev/");
        let mut command = Command::new("node");
        command.arg(&script).args(["--chain-id", &id, "--port", "0", "--payers", &payers]);
        command.args(["--block-time", &options.block_time.to_string()]);
        // The script ends the node when its standard input closes, so even a killed test leaves nothing behind.
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(false).spawn().expect("node runs");
        let stdout = process.stdout.take().expect("it is piped");
        let line = BufReader::new(stdout).lines().next_line().await.expect("it is readable").expect("the chain started");
        let world: Value = serde_json::from_str(&line).expect("one line of JSON");
        let payers = info["payers"].as_array().expect("payers").iter();
        let payers = payers.map(|payer| Payer::new(payer["key"].as_str().expect("a key"), &world)).collect();
        Self {
            url: world["rpcUrl"].as_str().expect("an address").to_owned(),
            world,
            payers,
            client: super::http_client(),
            ids: AtomicU64::new(1),
            _process: process,
        }
    }

    /// Calls the node directly, past every proxy.
    pub async fn rpc(&self, method: &str, params: Value) -> Value {
        let answer = self.try_rpc(method, params).await;
        answer.unwrap_or_else(|error| panic!("{method} failed: {error}"))
    }

    /// The same, where a refusal is expected.
    pub async fn try_rpc(&self, method: &str, params: Value) -> Result<Value, String> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let answer: Value =
            self.client.post(&self.url).json(&request).send().await.expect("the node answers").json().await.expect("JSON");
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer["result"].clone()),
        }
    }

    /// The CAIP-2 identifier.
    pub fn network(&self) -> String {
        self.world["network"].as_str().expect("a network").to_owned()
    }

    /// The token's address.
    pub fn usdc(&self) -> String {
        self.world["usdc"].as_str().expect("a token").to_owned()
    }

    /// An address or key in the world, by path such as `/accounts/merchant/address`.
    pub fn text(&self, path: &str) -> String {
        self.world.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("no {path} in the world")).to_owned()
    }

    /// What an address holds of USDC.
    pub async fn usdc_of(&self, address: &str) -> u128 {
        let data = format!("0x70a08231{:0>64}", address.trim_start_matches("0x").to_lowercase());
        let answer = self.rpc("eth_call", json!([{"to": self.usdc(), "data": data}, "latest"])).await;
        u128::from_str_radix(answer.as_str().expect("hex").trim_start_matches("0x"), 16).expect("a number")
    }

    /// Every Transfer of USDC to `recipient` in canonical blocks: the independent truth about what was paid.
    pub async fn transfers_to(&self, recipient: &str) -> Vec<Value> {
        let topic = format!("0x{:0>64}", recipient.trim_start_matches("0x").to_lowercase());
        let filter = json!({
            "fromBlock": "0x0", "toBlock": "latest", "address": self.usdc(),
            "topics": ["0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef", null, topic],
        });
        self.rpc("eth_getLogs", json!([filter])).await.as_array().expect("logs").clone()
    }

    /// Sends a transaction of an account that the node holds the key of, waits for its block, and returns the receipt.
    pub async fn transact(&self, from: &str, to: Option<&str>, data: &[u8]) -> Value {
        let mut transaction = json!({"from": from, "data": alloy::hex::encode_prefixed(data), "gas": "0x7a1200"});
        if let Some(to) = to {
            transaction["to"] = to.into();
        }
        let hash = self.rpc("eth_sendTransaction", json!([transaction])).await;
        let receipt = self.receipt(hash.as_str().expect("a hash")).await;
        assert_eq!(receipt["status"], "0x1", "the transaction reverted: {receipt}");
        receipt
    }

    /// In which transactions an authorization was used, in canonical blocks. Never more than one, says the token; asked all the same.
    pub async fn uses_of(&self, signed: &Signed) -> Vec<String> {
        let payer = format!("0x{:0>64}", signed.payer.trim_start_matches("0x").to_lowercase());
        let filter = json!({
            "fromBlock": "0x0", "toBlock": "latest", "address": self.usdc(),
            "topics": ["0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5", payer, signed.nonce],
        });
        let logs = self.rpc("eth_getLogs", json!([filter])).await;
        let transaction = |log: &Value| log["transactionHash"].as_str().expect("a hash").to_owned();
        logs.as_array().expect("logs").iter().map(transaction).collect()
    }

    /// Sends a transaction from any account, whoever has its key; returns its hash.
    pub async fn send_as(&self, from: &str, to: &str, data: &str, tip: u64) -> String {
        self.rpc("anvil_impersonateAccount", json!([from])).await;
        self.rpc("anvil_setBalance", json!([from, "0xde0b6b3a7640000"])).await;
        let fees = (format!("{:#x}", 1_000_000_000_u64 + tip), format!("{tip:#x}"));
        let request = json!({
            "from": from, "to": to, "data": data, "gas": "0x493e0", "maxFeePerGas": fees.0, "maxPriorityFeePerGas": fees.1,
        });
        let hash = self.rpc("eth_sendTransaction", json!([request])).await;
        hash.as_str().expect("a hash").to_owned()
    }

    /// The receipt of a transaction, once it is in a block.
    pub async fn receipt(&self, transaction: &str) -> Value {
        super::eventually("a receipt", std::time::Duration::from_secs(20), || async {
            let receipt = self.rpc("eth_getTransactionReceipt", json!([transaction])).await;
            (!receipt.is_null()).then_some(receipt)
        })
        .await
    }

    /// The newest block's height.
    pub async fn height(&self) -> u64 {
        hex(&self.rpc("eth_blockNumber", json!([])).await)
    }

    /// How many transactions wait for a block.
    pub async fn pooled(&self) -> u64 {
        hex(&self.rpc("txpool_status", json!([])).await["pending"])
    }

    /// Mines blocks now.
    pub async fn mine(&self, blocks: u64) {
        self.rpc("anvil_mine", json!([format!("{blocks:#x}")])).await;
    }
}

/// A number that a node wrote.
pub fn hex(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().expect("hex").trim_start_matches("0x"), 16).expect("a number")
}
