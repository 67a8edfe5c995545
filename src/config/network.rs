//! The list `networks`.

use chrono::TimeDelta;
use figment::value::Value;

use super::answer::answer_policy;
use super::problem::Fault;
use super::rpc::{self, RpcUrl};
use super::signers::{SignerConfig, signers};
use super::table::{Items, Reported, Table, all, good};
use super::value::{address, decimal, milliseconds, native, number, or_none, seconds, size, some_text, text};
use crate::domain::address::{Address, decode_base58, decode_hex};
use crate::domain::answer::AnswerPolicy;
use crate::domain::asset::{self, Asset, AssetKind, SigningDomain, TokenProgram};
use crate::domain::attribution::{Code, Own};
use crate::domain::budget::Limits;
use crate::domain::network::{Family, Network};
use crate::domain::submission::LanePolicy;

/// A network that the service settles on.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// Which one.
    pub network: Network,
    /// Its nodes, in the order in which they are asked. At least one.
    pub rpc: Vec<RpcUrl>,
    /// Who pays for transactions. At least one; each has a lane of its own.
    pub signers: Vec<SignerConfig>,
    /// The tokens that are taken. At least one.
    pub assets: Vec<Asset>,
    /// How deep a transfer must stand before success is answered.
    pub answer: AnswerPolicy,
    /// The hash of block 0. A node that says otherwise is not of this network.
    pub genesis: Option<String>,
    /// The height of the block where the watcher begins with an empty ledger. Absent: at the head.
    pub start_block: Option<u64>,
    /// How the lanes behave.
    pub lane: LanePolicy,
    /// What settling may cost.
    pub cost: CostLimits,
    /// Above this decimal number of tokens two nodes must agree before a transfer counts. Exact in every asset.
    pub agree_above: Option<String>,
    /// How often the head is asked for while nothing is expected.
    pub poll_idle: TimeDelta,
    /// How often while a payment is on its way.
    pub poll_busy: TimeDelta,
    /// How long a node may take to answer.
    pub rpc_timeout: TimeDelta,
    /// What only its family has.
    pub family: FamilyConfig,
}

/// Settings that only one family of networks has.
#[derive(Debug, Clone, PartialEq)]
pub enum FamilyConfig {
    /// Of EVM networks.
    Evm(EvmConfig),
    /// Of the clusters of Solana.
    Solana(SolanaConfig),
}

/// Settings of EVM networks.
#[derive(Debug, Clone, PartialEq)]
pub struct EvmConfig {
    /// Where new blocks are announced, in the order in which subscriptions are tried.
    pub ws: Vec<RpcUrl>,
    /// When a block can no longer be replaced.
    pub finality: Finality,
    /// The wallet factories that ERC-6492 signatures may name.
    pub factories: Vec<Address>,
    /// The contract that batches go through.
    pub multicall: Address,
    /// The contract that tells what the underlying network charges.
    pub l1_fee_oracle: Option<Address>,
    /// The least that is offered to a block's producer for a unit of gas.
    pub priority_fee_min_wei: u128,
    /// An authorization may outlive `maxTimeoutSeconds` by this.
    pub validity_slack: TimeDelta,
    /// To whom settlements are attributed besides those whom payments name.
    pub own_codes: Own,
}

/// Settings of clusters of Solana.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SolanaConfig {
    /// Compute units that a transaction may ask for.
    pub compute_units_max: u32,
    /// Millionths of a lamport that it may offer for each.
    pub compute_price_max: u64,
    /// Blocks in which a transaction must still be able to land when it is taken.
    pub blocks_left_min: u64,
    /// How transfers to registered addresses are found.
    pub watch: Watch,
}

/// How transfers to registered addresses are found on a cluster of Solana.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Every block is read with all of its transactions while any address is registered.
    Blocks,
    /// The nodes are asked for the transactions of each address's token accounts.
    Signatures,
    /// Not at all.
    Off,
}

/// When a block can no longer be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// When the network calls it finalized.
    Tag,
    /// When this many blocks stand on top of it.
    Confirmations(u64),
}

/// What settling may cost, in the smallest unit of the network's coin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CostLimits {
    /// For one payment.
    pub payment_wei_max: u128,
    /// For an hour.
    pub hourly: Limits,
    /// A signer that holds less than this is short of funds, whatever it spends.
    pub reserve_wei_min: u128,
}

/// The most decimal places: 10^38 is the largest power of ten in 128 bits.
const DECIMALS_MAX: u64 = 38;

/// Usual nodes keep 16 pending transactions of one sender.
const IN_FLIGHT_MAX: u32 = 16;

/// What a question about transactions by their names holds, four times over.
const MESSAGES_MAX: u32 = 1_024;

/// A hundred payments stay well below the 128 KiB of calldata that usual transaction pools accept.
const BATCH_MAX: u32 = 100;

/// What the network lets a transaction compute at most.
const COMPUTE_UNITS_MAX: u32 = 1_400_000;

/// A blockhash lasts for 150 blocks, of which clients that build on final ones have lost 32 before they begin.
const BLOCKS_LEFT_MAX: u64 = 100;

pub(super) fn networks(root: &Table) -> Result<Vec<NetworkConfig>, Reported> {
    let tables = root.tables("networks")?;
    if tables.is_empty() {
        return root.refuse("networks", Fault::Empty);
    }
    let ids: Items<Network> = tables.iter().map(|(path, table)| (format!("{path}.id"), id(table.as_ref()))).collect();
    let distinct = root.distinct(good(&ids));
    let networks =
        tables.into_iter().zip(ids).map(|((path, table), (_, id))| (path, table.and_then(|table| network(&table, id))));
    let networks: Items<NetworkConfig> = networks.collect();
    distinct.and_then(|()| all(networks))
}

fn id(table: Result<&Table, &Reported>) -> Result<Network, Reported> {
    table.map_err(|reported| *reported)?.required("id", |value| Ok(text(value)?.parse::<Network>()?))
}

fn network(table: &Table, id: Result<Network, Reported>) -> Result<NetworkConfig, Reported> {
    // Where the identifier is wrong, the rest is judged by the rules of the first family.
    let family = id.as_ref().map_or(Family::Eip155, Network::family);
    let rpc = rpc::urls(table);
    let signers = signers(table, family, rpc.as_deref().unwrap_or_default());
    let assets = assets(table, family, id.as_ref().ok());
    let decimals = decimals(assets.as_deref().unwrap_or_default(), family);
    let answer = answer_policy(table, &decimals);
    let genesis = table.optional("genesis", block_hash(family));
    let start_block = table.optional("start_block", number(0..=u64::MAX));
    let lane = lane(table, family);
    let cost = table.table("cost").and_then(|table| cost(&table, family));
    let agree_above = agree_above(table, &decimals, rpc.as_deref().ok());
    let poll_idle = table.required("poll_idle_ms", milliseconds(10..=600_000));
    let poll_busy = table.required("poll_busy_ms", milliseconds(10..=600_000));
    let rpc_timeout = table.required("rpc_timeout_ms", milliseconds(100..=120_000));
    let family = match family {
        Family::Eip155 => evm(table).map(FamilyConfig::Evm),
        Family::Solana => solana(table).map(FamilyConfig::Solana),
    };
    Ok(NetworkConfig {
        network: id?,
        rpc: rpc?,
        signers: signers?,
        assets: assets?,
        answer: answer?,
        genesis: genesis?,
        start_block: start_block?,
        lane: lane?,
        cost: cost?,
        agree_above: agree_above?,
        poll_idle: poll_idle?,
        poll_busy: poll_busy?,
        rpc_timeout: rpc_timeout?,
        family: family?,
    })
}

fn evm(table: &Table) -> Result<EvmConfig, Reported> {
    let address = || address(Family::Eip155);
    let ws = rpc::ws_urls(table);
    let finality = table.required("final", finality);
    let factories = table.list("factories", address()).and_then(|items| distinct_addresses(table, items));
    let multicall = table.required("multicall", address());
    let l1_fee_oracle = table.optional("l1_fee_oracle", or_none(address()));
    let priority_fee_min_wei = table.required("priority_fee_min_wei", number(0..=u64::MAX));
    let validity_slack = table.required("validity_slack_seconds", seconds(0..=31_536_000));
    let (wallet, service) = (table.optional("builder_code", code), table.optional("service_code", code));
    Ok(EvmConfig {
        ws: ws?,
        finality: finality?,
        factories: factories?,
        multicall: multicall?,
        l1_fee_oracle: l1_fee_oracle?.flatten(),
        priority_fee_min_wei: priority_fee_min_wei?.into(),
        validity_slack: validity_slack?,
        own_codes: Own { wallet: wallet?, service: service? },
    })
}

fn code(value: &Value) -> Result<Code, Fault> {
    Code::parse(&text(value)?).ok_or(Fault::Expected("1 to 32 of a-z, 0-9 and _"))
}

fn solana(table: &Table) -> Result<SolanaConfig, Reported> {
    let compute_units_max = table.required("compute_units_max", number(1..=u64::from(COMPUTE_UNITS_MAX)));
    let compute_price_max = table.required("compute_price_max", number(0..=u64::MAX));
    let blocks_left_min = table.required("blocks_left_min", number(0..=BLOCKS_LEFT_MAX));
    let watch = table.required("watch", watch);
    Ok(SolanaConfig {
        compute_units_max: u32::try_from(compute_units_max?).unwrap_or(COMPUTE_UNITS_MAX),
        compute_price_max: compute_price_max?,
        blocks_left_min: blocks_left_min?,
        watch: watch?,
    })
}

fn watch(value: &Value) -> Result<Watch, Fault> {
    match text(value)?.as_str() {
        "blocks" => Ok(Watch::Blocks),
        "signatures" => Ok(Watch::Signatures),
        "off" => Ok(Watch::Off),
        _ => Err(Fault::Expected("blocks, signatures or off")),
    }
}

fn assets(table: &Table, family: Family, network: Option<&Network>) -> Result<Vec<Asset>, Reported> {
    let known = network.map(asset::known).unwrap_or_default();
    let tables = table.tables("assets")?;
    if !tables.is_empty() {
        let listed =
            tables.into_iter().map(|(path, table)| (path, table.and_then(|table| listed(&table, family, network, &known))));
        let listed: Items<Asset> = listed.collect();
        table.distinct(good(&listed).map(|(path, asset)| (format!("{path}.address"), asset.address)))?;
        return all(listed);
    }
    match network {
        Some(_) if known.is_empty() => table.refuse("assets", Fault::NoAssets),
        _ => Ok(known),
    }
}

/// A token of the operator's. What is not said about a token that we know is taken from the table of known ones.
fn listed(table: &Table, family: Family, network: Option<&Network>, known: &[Asset]) -> Result<Asset, Reported> {
    let address = table.required("address", address(family));
    let known = address.as_ref().ok().and_then(|address| known.iter().find(|asset| asset.address == *address));
    let symbol = or(table, "symbol", some_text, known.map(|asset| asset.symbol.clone()));
    let decimals = or(table, "decimals", number(0..=DECIMALS_MAX), known.map(|asset| asset.decimals.into()));
    let kind = match family {
        Family::Eip155 => signing_domain(table, known.and_then(Asset::domain)).map(AssetKind::Eip3009),
        Family::Solana => or(table, "program", token_program, known.and_then(Asset::program)).map(AssetKind::Spl),
    };
    Ok(Asset {
        network: network.cloned().ok_or(Reported)?,
        address: address?,
        symbol: symbol?,
        decimals: u8::try_from(decimals?).expect("at most 38"),
        kind: kind?,
    })
}

fn signing_domain(table: &Table, known: Option<&SigningDomain>) -> Result<SigningDomain, Reported> {
    let name = or(table, "name", some_text, known.map(|domain| domain.name.clone()));
    let version = or(table, "version", some_text, known.map(|domain| domain.version.clone()));
    Ok(SigningDomain { name: name?, version: version? })
}

fn token_program(value: &Value) -> Result<TokenProgram, Fault> {
    match text(value)?.as_str() {
        "token" => Ok(TokenProgram::Token),
        "token-2022" => Ok(TokenProgram::Token2022),
        _ => Err(Fault::Expected("token or token-2022")),
    }
}

fn or<T>(table: &Table, key: &str, parse: impl FnOnce(&Value) -> Result<T, Fault>, known: Option<T>) -> Result<T, Reported> {
    match table.optional(key, parse)?.or(known) {
        Some(value) => Ok(value),
        None => table.refuse(key, Fault::Missing),
    }
}

fn decimals(assets: &[Asset], family: Family) -> Vec<u8> {
    match assets {
        // The assets are wrong and reported. With the places of the coin every sensible bound is exact.
        [] => vec![family.native_decimals()],
        assets => assets.iter().map(|asset| asset.decimals).collect(),
    }
}

fn finality(value: &Value) -> Result<Finality, Fault> {
    if value.as_str() == Some("finalized") {
        return Ok(Finality::Tag);
    }
    let confirmations = number(1..=1_000_000)(value);
    confirmations.map(Finality::Confirmations).map_err(|fault| match fault {
        Fault::Expected(_) => Fault::Expected("finalized or a number of confirmations"),
        fault => fault,
    })
}

/// The hash of block 0, as nodes print it.
fn block_hash(family: Family) -> impl Fn(&Value) -> Result<String, Fault> {
    move |value| match family {
        Family::Eip155 => {
            let hash = text(value)?.to_ascii_lowercase();
            let is_hash = hash.strip_prefix("0x").and_then(decode_hex::<32>).is_some();
            if is_hash { Ok(hash) } else { Err(Fault::Expected("0x and 64 hexadecimal digits")) }
        }
        Family::Solana => {
            let hash = text(value)?;
            if decode_base58(&hash).is_some() { Ok(hash) } else { Err(Fault::Expected("32 bytes in base58")) }
        }
    }
}

fn lane(table: &Table, family: Family) -> Result<LanePolicy, Reported> {
    let pace = table.required("pace_ms", milliseconds(0..=60_000));
    let resend_after = table.required("resend_after_ms", milliseconds(100..=600_000));
    let (in_flight_max, batch_max, outbid_after) = match family {
        Family::Eip155 => (
            table.required("in_flight_max", size(1..=IN_FLIGHT_MAX)),
            table.required("batch_max", size(1..=BATCH_MAX)),
            table.required("outbid_after_ms", milliseconds(1_000..=3_600_000)),
        ),
        // Each payment goes by itself, and nothing can be offered beyond what its payer signed.
        Family::Solana => (table.required("in_flight_max", size(1..=MESSAGES_MAX)), Ok(1), Ok(TimeDelta::MAX)),
    };
    Ok(LanePolicy {
        pace: pace?,
        batch_max: batch_max?,
        in_flight_max: in_flight_max?,
        resend_after: resend_after?,
        outbid_after: outbid_after?,
    })
}

fn cost(table: &Table, family: Family) -> Result<CostLimits, Reported> {
    let native = native(family);
    let payment = table.required("payment_max", native);
    let payer = table.required("payer_hourly", or_none(native));
    let account = table.required("account_hourly", or_none(native));
    let pay_to = table.required("pay_to_hourly", or_none(native));
    let network = table.required("network_hourly", or_none(native));
    let reserve = table.required("reserve_min", native);
    Ok(CostLimits {
        payment_wei_max: payment?,
        hourly: Limits { network: network?, payer: payer?, account: account?, pay_to: pay_to? },
        reserve_wei_min: reserve?,
    })
}

fn agree_above(table: &Table, decimals: &[u8], nodes: Option<&[RpcUrl]>) -> Result<Option<String>, Reported> {
    let amount = table.optional("agree_above", decimal(decimals))?;
    match nodes {
        Some(nodes) if amount.is_some() && nodes.len() < 2 => table.refuse("agree_above", Fault::NodesTooFew),
        _ => Ok(amount),
    }
}

fn distinct_addresses(table: &Table, addresses: Items<Address>) -> Result<Vec<Address>, Reported> {
    table.distinct(good(&addresses))?;
    all(addresses)
}
