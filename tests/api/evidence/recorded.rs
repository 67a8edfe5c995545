//! Blocks that real nodes once served, read by the service and by dev/count-transfers.mjs, which shares no code with it.
//!
//! The files are not part of the repository. `QUITTANCE_FIXTURES` names the folder that has them, and a file that is not there is a
//! failure. Without a folder nothing is read, and a run for the record fails.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use alloy::primitives::{Address as EvmAddress, U256};
use alloy::sol_types::SolCall;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quittance::chain::evm::observe::{Header, LogEntry, by_block, entries};
use quittance::chain::solana::credits;
use quittance::chain::solana::credits::answer::BlockAnswer;
use quittance::domain::address::{Address, decode_base58};
use quittance::domain::asset::TokenProgram;
use quittance::domain::block::{Block, BlockHash, Comparison, Step, compare};
use quittance::domain::transfer::Transfer;
use serde_json::{Value, json};

use super::{fixtures, report};
use crate::support::chain::{Chain, ChainOptions};
use crate::support::merchant::pay;
use crate::support::payer::{spread_call, transfer_call};
use crate::support::typed::AnybodysToken;
use crate::support::{contract, deploy, root};

const ETHEREUM_USDC: &str = "0xA0b86991c6218b36c1d19D4a2e9Eb0cE3606eB48";
const ARBITRUM_USDC: &str = "0xaf88d065e77c8cC2239327C5EDb3A432268e5831";
const POLYGON_USDC: &str = "0x2791Bca1f2de4661ED88A30C99A7a9449Aa84174";
pub(super) const SOLANA_USDC: &str = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v";
const DEVNET_USDC: &str = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU";

/// The folder, and what the script counted in it.
pub(super) struct Recorded {
    folder: PathBuf,
    pub counted: Value,
}

static RECORDED: OnceLock<Recorded> = OnceLock::new();

/// What the script counts.
fn count<const N: usize>(arguments: [&OsStr; N]) -> Value {
    let output = Command::new("node").arg(root().join("dev/count-transfers.mjs")).args(arguments).output().expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one line of JSON")
}

/// What the folder has, if one is named.
pub(super) fn recorded() -> Option<&'static Recorded> {
    let folder = fixtures()?;
    Some(RECORDED.get_or_init(|| Recorded { counted: count([folder.as_os_str()]), folder }))
}

/// Says how many transfers were read, which are those that the script has counted.
fn put_on_record(blocks: &str, transfers: usize) {
    report(&format!("recorded {blocks}"), &format!("{transfers} transfers of USDC read, each of which the script found too"));
}

impl Recorded {
    pub fn json(&self, file: &str) -> Value {
        let path = self.folder.join(file);
        let text = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).expect("JSON")
    }
}

/// Compares transfers with what the script counted: how many they are, their sum, and each of them.
fn check(counted: &Value, transfers: &[Transfer]) {
    let amount = |transfer: &Transfer| transfer.amount.expect("less than 128 bits").units();
    let line = |transfer: &Transfer| {
        let (place, from, to) = match transfer.asset {
            Address::Evm(_) => (transfer.index, transfer.from.to_string().to_lowercase(), transfer.to.to_string().to_lowercase()),
            Address::Solana(_) => (transfer.index & 0xff, transfer.from.to_string(), transfer.to.to_string()),
        };
        format!("{} {place} {from} {to} {}", transfer.transaction, amount(transfer))
    };
    assert_eq!(counted["transfers"], json!(transfers.len()));
    assert_eq!(counted["sum"], json!(transfers.iter().map(amount).sum::<u128>().to_string()));
    assert_eq!(counted["entries"], json!(transfers.iter().map(line).collect::<Vec<_>>()));
    let indices: BTreeSet<_> = transfers.iter().map(|transfer| (&transfer.transaction, transfer.index)).collect();
    assert_eq!(indices.len(), transfers.len(), "each has a place of its own");
}

fn token(text: &str) -> EvmAddress {
    text.parse().expect("an address")
}

/// The header of a block that was asked for with all of its transactions.
fn header(block: &Value) -> Header {
    let mut block = block.clone();
    let transactions = block["transactions"].as_array_mut().expect("transactions");
    for transaction in transactions {
        *transaction = transaction["hash"].clone();
    }
    serde_json::from_value(block).expect("a header")
}

fn logs(logs: &Value) -> Vec<LogEntry> {
    serde_json::from_value(logs.clone()).expect("logs")
}

fn logs_of_receipts(receipts: &Value) -> Vec<LogEntry> {
    receipts.as_array().expect("receipts").iter().flat_map(|receipt| logs(&receipt["logs"])).collect()
}

/// What we read of one token in a block, whose own filter must not hide it.
fn read(token: EvmAddress, header: &Header, logs: &[LogEntry]) -> Vec<Transfer> {
    let block = header.block().expect("a sealed block");
    let found = entries(&[token], &block.hash, logs).expect("its own logs, in order");
    assert!(found.transfers.is_empty() || header.may_hold_entries(&[token]), "block {}", block.number);
    found.transfers
}

#[test]
fn every_transfer_of_a_block_of_ethereum_is_read() {
    let Some(recorded) = recorded() else { return };
    let file = "evm-ethereum/shovel-logs-18000000.json";
    let header = header(&recorded.json("evm-ethereum/shovel-block-18000000.json")[0]["result"]);
    let of_logs = read(token(ETHEREUM_USDC), &header, &logs(&recorded.json(file)[1]["result"]));
    check(&recorded.counted[file], &of_logs);

    let file = "evm-ethereum/squid-eth-18000000-receipts.json";
    let of_receipts = read(token(ETHEREUM_USDC), &header, &logs_of_receipts(&recorded.json(file)));
    check(&recorded.counted[file], &of_receipts);

    assert_eq!((of_logs.len(), of_logs), (13, of_receipts));
    put_on_record("block of Ethereum", 13);
}

#[test]
fn every_transfer_of_a_block_of_arbitrum_is_read() {
    let Some(recorded) = recorded() else { return };
    let file = "evm-other/squid-arbitrum-150000000-receipts.json";
    let header = header(&recorded.json("evm-other/squid-arbitrum-150000000-block.json"));

    let transfers = read(token(ARBITRUM_USDC), &header, &logs_of_receipts(&recorded.json(file)));

    check(&recorded.counted[file], &transfers);
    assert_eq!(transfers.len(), 4);
    put_on_record("block of Arbitrum", transfers.len());
}

/// Many are paid at once by a contract, and others by wallets. One pays more than it has, and a stranger's token says that it was paid.
async fn fill_block(chain: &Chain, many: &[(String, u128)], wallets: usize) {
    let (multicall, deployer, till) = (chain.text("/multicall3"), chain.text("/accounts/deployer/address"), &many[0].0);
    let fake = deploy(chain, &contract("FakeUsdc"), &[]).await;
    pay(chain, &chain.payers[0], &multicall, many.iter().map(|(_, units)| units).sum()).await;
    chain.rpc("evm_setIntervalMining", json!([0])).await;
    let spread = alloy::hex::encode_prefixed(spread_call(&chain.usdc(), many));
    let request = json!({"from": deployer, "to": multicall, "data": spread, "gas": "0x7a1200"});
    chain.rpc("eth_sendTransaction", json!([request])).await;
    for payer in &chain.payers[1..=wallets] {
        chain.send_as(&payer.address(), &chain.usdc(), &transfer_call(till, 7), 1_000_000).await;
    }
    let stranger = chain.payers[wallets + 1].address();
    chain.send_as(&stranger, &chain.usdc(), &transfer_call(till, 1_000_000_000_000), 1_000_000).await;
    let mint = AnybodysToken::mintCall { to: till.parse().expect("an address"), value: U256::from(7) };
    chain.send_as(&stranger, &fake, &alloy::hex::encode_prefixed(mint.abi_encode()), 1_000_000).await;
    chain.mine(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transfer_of_a_full_block_of_the_local_base_is_read() {
    const WALLETS: usize = 10;
    let chain = Chain::start(ChainOptions { chain_id: 8453, block_time: 0.25, ..ChainOptions::default() }).await;
    let many: Vec<_> = (0..100_u128).map(|number| (format!("0x{:040x}", 0x1000 + number), number)).collect();
    fill_block(&chain, &many, WALLETS).await;
    let number = format!("{:#x}", chain.height().await);
    let block = chain.rpc("eth_getBlockByNumber", json!([number, false])).await;
    let entries = chain.rpc("eth_getLogs", json!([{"blockHash": block["hash"]}])).await;
    let receipts = chain.rpc("eth_getBlockReceipts", json!([number])).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), receipts.to_string()).expect("it is writable");

    let header: Header = serde_json::from_value(block).expect("a header");
    let transfers = read(token(&chain.usdc()), &header, &logs(&entries));

    check(&count([file.path().as_os_str(), chain.usdc().as_ref()]), &transfers);
    let failed = receipts.as_array().expect("receipts").iter().filter(|receipt| receipt["status"] == "0x0").count();
    assert_eq!((transfers.len(), failed), (many.len() + WALLETS, 1));
    put_on_record("block of the local Base", transfers.len());
}

/// What somebody who followed Polygon was told.
struct Tape {
    /// Every header, by its hash.
    headers: HashMap<BlockHash, Header>,
    /// The heads, in the order in which they were seen.
    heads: Vec<Header>,
    /// Every answer with logs, in order.
    answers: Vec<(BlockHash, Vec<LogEntry>)>,
}

impl Tape {
    fn of(file: &Value) -> Self {
        let body = |message: &Value| {
            let body = STANDARD.decode(message["Body"].as_str().expect("a body")).expect("base64");
            serde_json::from_slice::<Value>(&body).expect("JSON")
        };
        let mut tape = Self { headers: HashMap::new(), heads: Vec::new(), answers: Vec::new() };
        for episode in file["Episodes"].as_array().expect("episodes") {
            let (asked, told) = (body(&episode["Request"]), body(&episode["Response"]));
            let Some(result) = told.get("result").filter(|result| !result.is_null()) else { continue };
            match asked["method"].as_str().expect("a method") {
                "eth_getLogs" => {
                    tape.answers.push((asked["params"][0]["blockHash"].as_str().expect("a hash").to_owned(), logs(result)));
                }
                method => {
                    let header = header(result);
                    tape.headers.insert(header.block().expect("a sealed block").hash, header.clone());
                    tape.heads.extend((method == "eth_getBlockByNumber").then_some(header));
                }
            }
        }
        tape
    }

    /// The logs of a block. `None` if the node had dropped it when it was asked.
    fn logs(&self, hash: &BlockHash) -> Option<&[LogEntry]> {
        self.answers.iter().find(|(block, _)| block == hash).map(|(_, logs)| logs.as_slice())
    }

    /// A block and what stands below it, as far as it was told, by height.
    fn branch(&self, head: &Header) -> BTreeMap<u64, BlockHash> {
        let mut branch = BTreeMap::new();
        let mut next = Some(head);
        while let Some(block) = next.and_then(Header::block) {
            next = self.headers.get(&block.parent_hash);
            branch.insert(block.number - 1, block.parent_hash);
            branch.insert(block.number, block.hash);
        }
        branch
    }

    /// The chain as it stood in the end, the oldest block first.
    fn canonical(&self) -> Vec<&Header> {
        let branch = self.branch(self.heads.last().expect("a head"));
        branch.values().filter_map(|hash| self.headers.get(hash)).collect()
    }
}

/// Follows a tape as the watcher follows a network.
struct Follower<'a> {
    tape: &'a Tape,
    /// The known chain, the newest block first.
    known: Vec<(u64, BlockHash)>,
    transfers: BTreeMap<u64, Vec<Transfer>>,
    /// How many transfers each reorganisation undid.
    undone: Vec<usize>,
}

impl Follower<'_> {
    fn look(&mut self, head: &Header) {
        let (branch, head) = (self.tape.branch(head), head.block().expect("a sealed block").number);
        let mut seen = BTreeMap::from([(head, branch[&head].clone())]);
        let step = loop {
            match compare(&self.known, &seen, head, 0) {
                Comparison::Read(height) => drop(seen.insert(height, branch[&height].clone())),
                Comparison::Done(step) => break step,
            }
        };
        match step {
            Step::Nothing => {}
            Step::Extend { from } => self.extend(from..=head, &branch),
            Step::Reorg { ancestor, .. } => {
                self.known.retain(|(number, _)| *number <= ancestor);
                let undone = self.transfers.split_off(&(ancestor + 1));
                self.undone.push(undone.values().map(Vec::len).sum());
                self.extend(ancestor + 1..=head, &branch);
            }
            Step::Impossible { number } => panic!("block {number} was not final"),
        }
    }

    fn extend(&mut self, heights: std::ops::RangeInclusive<u64>, branch: &BTreeMap<u64, BlockHash>) {
        for height in heights {
            let hash = &branch[&height];
            // The node no longer had the block. The next head says why.
            let Some(logs) = self.tape.logs(hash) else { return };
            self.transfers.insert(height, read(token(POLYGON_USDC), &self.tape.headers[hash], logs));
            self.known.insert(0, (height, hash.clone()));
        }
    }
}

/// Follows a tape to its end, and returns how many transfers each reorganisation undid.
fn follow(file: &str, transfers: usize) -> Option<Vec<usize>> {
    let recorded = recorded()?;
    let (tape, counted) = (Tape::of(&recorded.json(file)), &recorded.counted[file]);
    let mut follower = Follower { tape: &tape, known: Vec::new(), transfers: BTreeMap::new(), undone: Vec::new() };
    for head in &tape.heads {
        follower.look(head);
    }

    let usdc = token(POLYGON_USDC);
    let told: usize = tape.answers.iter().map(|(hash, logs)| read(usdc, &tape.headers[hash], logs).len()).sum();
    assert_eq!((told, &counted["transfers"]), (transfers, &json!(transfers)), "all that the node said");
    let blocks: Vec<Block> = tape.canonical().into_iter().filter_map(Header::block).collect();
    assert_eq!(counted["blocks"], json!(blocks.len()));
    let known: Vec<_> = follower.known.iter().rev().map(|(_, hash)| hash).collect();
    assert_eq!(known, blocks.iter().map(|block| &block.hash).collect::<Vec<_>>());
    let followed: Vec<_> = follower.transfers.into_values().flatten().collect();
    check(&counted["canonical"], &followed);

    // An answer about all of these blocks at once says the same, and one that still has a log of a dropped block is not believed.
    let logs: Vec<_> = blocks.iter().flat_map(|block| tape.logs(&block.hash).expect("logs").to_vec()).collect();
    let grouped = by_block(&blocks, logs.clone()).expect("each log has its block");
    let found = |(block, logs): (&Block, &Vec<LogEntry>)| entries(&[usdc], &block.hash, logs).expect("its own logs, in order");
    let at_once: Vec<_> = blocks.iter().zip(&grouped).flat_map(|both| found(both).transfers).collect();
    assert_eq!(at_once, followed);
    let dropped = tape.answers.iter().find(|(hash, _)| blocks.iter().all(|block| block.hash != *hash));
    if let Some((_, dropped)) = dropped {
        assert!(by_block(&blocks, [dropped.clone(), logs].concat()).is_none());
    }
    put_on_record(&format!("tape of Polygon with {} reorganisations", follower.undone.len()), transfers);
    Some(follower.undone)
}

#[test]
fn every_transfer_on_polygon_is_read_while_following_it() {
    let Some(undone) = follow("evm-other/ethkit-polygon-vcr-watch2.json", 61) else { return };

    assert!(undone.is_empty(), "{undone:?}");
}

/// Two heights of the recorded chain were replaced, and then replaced back.
#[test]
fn after_a_reorganisation_of_polygon_the_canonical_chain_has_its_own_transfers() {
    let Some(undone) = follow("evm-other/ethkit-polygon-vcr-watch3.json", 62) else { return };

    assert_eq!(undone, [2, 3]);
}

#[test]
fn every_credit_of_a_block_of_solana_is_read() {
    let Some(recorded) = recorded() else { return };
    let file = "solana/photon-mainnet-254170887.getBlock.base64.json";
    let block: BlockAnswer = serde_json::from_value(recorded.json(file)).expect("a block");
    let mint = decode_base58(SOLANA_USDC).expect("a mint");

    let transfers = credits::transfers(&block, &[(mint, TokenProgram::Token)]).expect("it can be read");

    check(&recorded.counted[file], &transfers);
    assert_eq!(transfers.len(), 24);
    let executed = credits::executed(&block);
    let failed = executed.iter().filter(|transaction| transaction.failed).count();
    assert_eq!((executed.len(), failed, &recorded.counted[file]["failed"]), (602, 305, &json!(305)));
    for transfer in &transfers {
        let carrier = &executed[(transfer.index >> 8) as usize];
        assert_eq!((&carrier.name, carrier.failed), (&transfer.transaction, false));
    }
    put_on_record("block of Solana with 305 failed transactions", transfers.len());
}

#[test]
fn blocks_of_solana_with_few_credits_or_none_are_read_to_their_end() {
    let Some(recorded) = recorded() else { return };
    let mint = decode_base58(DEVNET_USDC).expect("a mint");

    let recorded_blocks =
        [(270_893_658, 57, vec![]), (314_167_369, 18, vec![]), (380_876_342, 58, vec![]), (443_787_702, 20, vec![1_000_000])];
    for (slot, transactions, credits) in recorded_blocks {
        let block = recorded.json(&format!("solana/photon-devnet-{slot}.getBlock.base64.json"));
        let block: BlockAnswer = serde_json::from_value(block).expect("a block");
        let found = credits::transfers(&block, &[(mint, TokenProgram::Token)]).expect("it is readable");
        let amounts: Vec<_> = found.iter().filter_map(|transfer| Some(transfer.amount?.units())).collect();
        assert_eq!(amounts, credits, "{slot}");
        assert_eq!(credits::executed(&block).len(), transactions, "{slot}");
    }
}
