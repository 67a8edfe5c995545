//! A local Solana node with the real token programs (dev/solana.mjs), and payers who sign as the SDK's clients do.

use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use quittance::chain::solana::associated;
use quittance::chain::solana::programs::{COMPUTE_BUDGET, MEMO, TOKEN};
use quittance::domain::address::{decode_base58, decode_base58_pair, encode_base58};
use quittance::domain::asset::TokenProgram;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::facilitator::NetworkOptions;

pub mod fork;
pub mod made_up;
pub mod wallet;

/// How long a transaction may take to land.
const PATIENCE: Duration = Duration::from_secs(30);

/// What every payment is worth, in atomic units.
pub const AMOUNT: u64 = 1_000;

/// What the network takes for a payment that offers one lamport for 20,000 compute units, in lamports.
pub const FEE: u64 = 10_001;

/// A running node. It ends when this is dropped.
pub struct Cluster {
    /// Where it listens.
    pub url: String,
    /// What dev/solana.mjs says of it.
    pub world: Value,
    client: reqwest::Client,
    ids: AtomicU64,
    _process: Child,
}

/// A payment as a client sends it.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The bytes with both signatures, the fee payer's all zero.
    pub wire: Vec<u8>,
    terms: Value,
}

impl Payment {
    /// The body of a request of version 2.
    pub fn v2(&self) -> Value {
        json!({
            "x402Version": 2,
            "paymentPayload": {
                "x402Version": 2, "accepted": self.terms, "payload": {"transaction": STANDARD.encode(&self.wire)},
                "resource": {"url": "https://api.example.com/inference"},
            },
            "paymentRequirements": self.terms,
        })
    }

    /// The same transaction for requirements that name an invoice.
    pub fn naming(&self, invoice: &str) -> Self {
        let mut terms = self.terms.clone();
        terms["extra"]["invoice"] = json!(invoice);
        Self { wire: self.wire.clone(), terms }
    }

    /// The same message with something else in the fee payer's place.
    pub fn variant(&self, byte: u8) -> Self {
        let mut wire = self.wire.clone();
        wire[1..65].fill(byte);
        Self { wire, terms: self.terms.clone() }
    }
}

impl Cluster {
    /// Starts a node whose slots take so many milliseconds, and waits until it answers.
    pub async fn start(slot_time: u32) -> Self {
        let mut command = Command::new("node");
        command.arg(super::root().join("dev/solana.mjs")).args(["--payers", "30", "--slot-time", &slot_time.to_string()]);
        // The node ends when its standard input closes, so even a killed test leaves nothing behind.
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(false).spawn().expect("node runs");
        let stdout = process.stdout.take().expect("it is piped");
        let line = BufReader::new(stdout).lines().next_line().await.expect("it is readable").expect("the node started");
        let world: Value = serde_json::from_str(&line).expect("one line of JSON");
        let url = world["rpcUrl"].as_str().expect("an address").to_owned();
        Self { url, world, client: super::http_client(), ids: AtomicU64::new(1), _process: process }
    }

    /// The network as an operator configures it, through `rpc`.
    pub fn options(&self, rpc: &str) -> NetworkOptions {
        let (genesis, usdc, other) = (self.text("/genesisHash"), self.text("/usdc"), self.text("/mints/token2022/address"));
        let kind = r#"symbol = "T22", decimals = 6, program = "token-2022""#;
        NetworkOptions {
            id: self.text("/network"),
            rpc: vec![rpc.to_owned()],
            keys: vec![self.text("/accounts/signers/0/key"), self.text("/accounts/signers/1/key")],
            lines: format!("genesis = {genesis:?}\nassets = [{{ address = {usdc:?} }}, {{ address = {other:?}, {kind} }}]\n"),
        }
    }

    /// An address or key in the world.
    pub fn text(&self, path: &str) -> String {
        self.world.pointer(path).and_then(Value::as_str).unwrap_or_else(|| panic!("no {path} in the world")).to_owned()
    }

    /// Calls the node directly, past every proxy.
    pub async fn rpc(&self, method: &str, params: Value) -> Value {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        let answer: Value =
            self.client.post(&self.url).json(&request).send().await.expect("the node answers").json().await.expect("JSON");
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    /// A payment of USDC by one of the payers, whom the first signer pays the fee for.
    pub async fn payment(&self, payer: usize, memo: &str) -> Payment {
        self.payment_at(payer, memo, &self.latest_blockhash().await, 0)
    }

    /// What a client builds its transaction on.
    pub async fn latest_blockhash(&self) -> String {
        let latest = self.rpc("getLatestBlockhash", json!([{"commitment": "confirmed"}])).await;
        latest["value"]["blockhash"].as_str().expect("a hash").to_owned()
    }

    /// The same with a blockhash of one's own choice, and a signer who pays the fee.
    pub fn payment_at(&self, payer: usize, memo: &str, blockhash: &str, signer: usize) -> Payment {
        self.payment_to("/merchant", payer, memo, blockhash, signer)
    }

    /// The same for somebody else in the world.
    pub fn payment_to(&self, merchant: &str, payer: usize, memo: &str, blockhash: &str, signer: usize) -> Payment {
        let signer = format!("/accounts/signers/{signer}/address");
        let key = |path: &str| decode_base58(&self.text(path)).expect("a key");
        let secret = decode_base58_pair(&self.text(&format!("/payers/{payer}/key"))).expect("a keypair");
        let payer = SigningKey::from_keypair_bytes(&secret).expect("a keypair");
        let (fee_payer, mint, recipient) = (key(&signer), key("/usdc"), key(merchant));
        let account = |owner: &[u8; 32]| associated::account(owner, &mint, TokenProgram::Token).expect("an account");
        let owner = payer.verifying_key().to_bytes();
        let keys = [fee_payer, owner, account(&owner), account(&recipient), mint, TOKEN, COMPUTE_BUDGET, MEMO];
        let blockhash = decode_base58(blockhash).expect("32 bytes");
        let transfer = [&[12][..], &AMOUNT.to_le_bytes(), &[6]].concat();
        let instructions: [(u8, &[u8], Vec<u8>); 4] = [
            (6, &[], [&[2][..], &20_000_u32.to_le_bytes()].concat()),
            (6, &[], [&[3][..], &1_u64.to_le_bytes()].concat()),
            (5, &[2, 4, 3, 1], transfer),
            (7, &[], memo.as_bytes().to_vec()),
        ];
        let mut message = vec![0x80, 2, 1, 4, keys.len() as u8];
        message.extend(keys.concat());
        message.extend_from_slice(&blockhash);
        message.push(instructions.len() as u8);
        for (program, accounts, data) in instructions {
            message.extend_from_slice(&[program, accounts.len() as u8]);
            message.extend_from_slice(accounts);
            message.push(data.len() as u8);
            message.extend_from_slice(&data);
        }
        message.push(0);
        let signature = payer.sign(&message).to_bytes();
        let terms = json!({
            "scheme": "exact", "network": self.text("/network"), "amount": AMOUNT.to_string(), "asset": self.text("/usdc"),
            "payTo": self.text(merchant), "maxTimeoutSeconds": 60, "extra": {"feePayer": self.text(&signer)},
        });
        Payment { wire: [&[2][..], &[0; 64], &signature, &message].concat(), terms }
    }

    /// What the merchant holds of USDC.
    pub async fn paid(&self) -> u64 {
        let account = self.text("/mints/usdc/merchantAta");
        let balance = self.rpc("getTokenAccountBalance", json!([account, {"commitment": "confirmed"}])).await;
        balance["value"]["amount"].as_str().and_then(|amount| amount.parse().ok()).expect("an amount")
    }

    /// How many confirmed blocks there are.
    pub async fn height(&self) -> u64 {
        self.rpc("getBlockHeight", json!([{"commitment": "confirmed"}])).await.as_u64().expect("a number")
    }

    /// The slot of the newest confirmed block.
    pub async fn slot(&self) -> u64 {
        self.rpc("getSlot", json!([{"commitment": "confirmed"}])).await.as_u64().expect("a number")
    }

    /// Waits until a transaction has landed, and returns its slot.
    pub async fn slot_of(&self, transaction: &str) -> u64 {
        super::eventually("a transaction in a block", PATIENCE, || async {
            self.rpc("getSignatureStatuses", json!([[transaction]])).await["value"][0]["slot"].as_u64()
        })
        .await
    }

    /// Changes what a payer's account of USDC says, by the local node's own means.
    pub async fn change(&self, payer: usize, change: Value) {
        let owner = self.text(&format!("/payers/{payer}/address"));
        self.rpc("surfnet_setTokenAccount", json!([owner, self.text("/usdc"), change])).await;
    }

    /// Removes a payer's account of USDC, or writes other bytes into it.
    pub async fn rewrite(&self, payer: usize, data: impl FnOnce(Vec<u8>) -> Option<Vec<u8>>) {
        let owner = decode_base58(&self.text(&format!("/payers/{payer}/address"))).expect("a key");
        let mint = decode_base58(&self.text("/usdc")).expect("a key");
        let account = encode_base58(&associated::account(&owner, &mint, TokenProgram::Token).expect("an account"));
        let known = self.rpc("getAccountInfo", json!([account, {"encoding": "base64", "commitment": "confirmed"}])).await;
        let known = STANDARD.decode(known["value"]["data"][0].as_str().expect("data")).expect("base64");
        let written = match data(known) {
            Some(data) => json!({"data": alloy::hex::encode(data)}),
            None => json!({"lamports": 0, "data": "", "owner": "11111111111111111111111111111111"}),
        };
        self.rpc("surfnet_setAccount", json!([account, written])).await;
    }

    /// What the first signer holds, in lamports.
    pub async fn lamports(&self) -> u64 {
        self.lamports_of(0).await
    }

    /// What a signer holds, in lamports.
    pub async fn lamports_of(&self, signer: usize) -> u64 {
        let address = self.text(&format!("/accounts/signers/{signer}/address"));
        let balance = self.rpc("getBalance", json!([address, {"commitment": "confirmed"}])).await;
        balance["value"].as_u64().expect("a number")
    }
}
