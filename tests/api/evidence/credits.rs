//! Many transfers to many registered addresses among far more foreign ones, on a chain that replaces blocks, with a service that is
//! killed and a node that answers wrongly: what is recorded and credited in the end is what stands on the chain.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::{PATIENCE, World, report, scale};
use crate::support::chain::{ChainOptions, hex};
use crate::support::eventually;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay};
use crate::support::payer::spread_call;
use crate::support::proxy::{Act, Edit, Proxy};

/// Transfers in one transaction.
const TOGETHER: usize = 100;

/// One transfer of so many is to a registered address.
const SHARE: usize = 11;

/// Transactions in one block.
const IN_A_BLOCK: usize = 5;

/// The deepest reorganisation; blocks are final behind sixteen.
const DEPTH_MAX: u64 = 12;

/// Where a transfer stands, to whom it went, and how much it was.
type Place = (String, i64, String, u128);

/// Registers addresses of nobody in particular, by an operator's word, and opens an invoice for each.
async fn register(world: &World, merchant: &Merchant<'_>, addresses: &[String]) {
    let account: quittance::domain::ids::AccountId = merchant.id().parse().expect("an identifier");
    let ids: Vec<_> = addresses.iter().map(|_| quittance::domain::ids::AddressId::new()).collect();
    let uuids: Vec<_> = ids.iter().map(|id| id.uuid()).collect();
    let insert = "INSERT INTO addresses (id, account_id, network, address, created_at, challenged_until, proven_at, proof)
                  SELECT id, $1, $2, address, now(), now(), now(), 'operator' FROM unnest($3::uuid[], $4::text[]) AS a (id, address)";
    let insert = sqlx::query(insert).bind(account.uuid()).bind(world.chain.network()).bind(&uuids).bind(addresses);
    insert.execute(world.ledger.pool()).await.expect("the database answers");
    let orders = ids.iter().map(|id| {
        let order = json!({"amount": "1000", "reserveAddress": true, "addresses": [id.to_string()]});
        async move { merchant.invoice(&order).await }
    });
    let opened: Vec<_> = stream::iter(orders).buffer_unordered(16).collect().await;
    assert_eq!(opened.len(), addresses.len());
}

/// Answers some calls for logs twice over, and some with nothing.
fn misbehave(proxy: &Proxy) {
    proxy.rule(|method, _, count| match (method, count % 20) {
        ("eth_getLogs", 7) => Edit::of(|logs| {
            let twice = logs.as_array().map(|logs| [logs.as_slice(), logs.as_slice()].concat());
            *logs = json!(twice);
        }),
        ("eth_getLogs", 13) => Act::Answer(json!([])),
        _ => Act::Forward,
    });
}

/// What stands on the chain, read past the proxy.
async fn on_chain(world: &World, registered: &BTreeSet<String>) -> BTreeSet<Place> {
    let mut found = BTreeSet::new();
    let (height, step) = (world.chain.height().await, 50);
    for from in (0..=height).step_by(step) {
        let filter = json!({
            "fromBlock": format!("{from:#x}"), "toBlock": format!("{:#x}", height.min(from + step as u64 - 1)),
            "address": world.chain.usdc(),
            "topics": ["0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"],
        });
        let logs = world.chain.rpc("eth_getLogs", json!([filter])).await;
        found.extend(logs.as_array().expect("logs").iter().filter_map(|log| place(log, registered)));
    }
    found
}

fn place(log: &Value, registered: &BTreeSet<String>) -> Option<Place> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let to = format!("0x{}", &text(&log["topics"][2])[26..]);
    let amount = u128::from_str_radix(text(&log["data"]).trim_start_matches("0x"), 16).expect("a number");
    registered.contains(&to).then(|| (text(&log["blockHash"]), hex(&log["logIndex"]) as i64, to, amount))
}

/// What the ledger has.
async fn in_ledger(world: &World) -> Vec<Place> {
    let rows = sqlx::query_as::<_, (String, i32, String, String)>(
        "SELECT block_hash, index, lower(recipient), amount::text FROM transfers WHERE account_id IS NOT NULL AND canonical",
    );
    let rows = rows.fetch_all(world.ledger.pool()).await.expect("the database answers");
    rows.into_iter().map(|(block, index, to, amount)| (block, index.into(), to, amount.parse().expect("a number"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transfer_to_a_registered_address_is_recorded_and_credited_once() {
    let (wanted, addresses) = (scale(400, 10_000), scale(40, 1_000));
    let mut random = StdRng::seed_from_u64(7);
    let world = World::new(ChainOptions { block_time: 0.0, ..ChainOptions::default() }).await;
    let proxy = Proxy::start(&world.chain.url);
    let network = NetworkOptions { rpc: vec![proxy.url.clone()], ..NetworkOptions::of(&world.chain) };
    let network = NetworkOptions { lines: format!("{}poll_idle_ms = 50\n", network.lines), ..network };
    let mut facilitator = Facilitator::start(&Options::new(network, &world.database)).await;
    let (multicall, sender) = (world.chain.text("/multicall3"), &world.chain.payers[0]);
    let address = |random: &mut StdRng| format!("0x{}", alloy::hex::encode(random.random::<[u8; 20]>()));
    let registered: Vec<_> = (0..addresses).map(|_| address(&mut random)).collect();
    let checksummed: Vec<_> =
        registered.iter().map(|text| text.parse::<alloy::primitives::Address>().expect("an address").to_checksum(None)).collect();
    {
        let merchant = Merchant::open(&facilitator).await;
        register(&world, &merchant, &checksummed).await;
    }
    pay(&world.chain, sender, &multicall, 900_000_000).await;
    let caller = world.chain.text("/accounts/deployer/address");
    world.chain.rpc("evm_setAutomine", json!([false])).await;
    misbehave(&proxy);

    // Transfers to registered addresses in each block that still stands.
    let mut standing: Vec<usize> = Vec::new();
    let (mut sent, mut foreign, mut reorgs, mut kills) = (0, 0, 0, 0);
    while standing.iter().sum::<usize>() < wanted || reorgs == 0 || kills == 0 {
        let before = sent;
        for _ in 0..IN_A_BLOCK {
            let transfers: Vec<_> = (0..TOGETHER)
                .map(|_| {
                    let ours = random.random_range(0..SHARE) == 0;
                    sent += usize::from(ours);
                    foreign += usize::from(!ours);
                    let to = if ours { registered[random.random_range(0..addresses)].clone() } else { address(&mut random) };
                    (to, random.random_range(1..1_000))
                })
                .collect();
            let data = alloy::hex::encode_prefixed(spread_call(&world.chain.usdc(), &transfers));
            let transaction = json!([{"from": caller, "to": multicall, "data": data, "gas": "0x1c9c380"}]);
            world.chain.rpc("eth_sendTransaction", transaction).await;
        }
        world.chain.mine(1).await;
        standing.push(sent - before);
        if random.random_range(0..12) == 0 {
            let depth = random.random_range(1..=DEPTH_MAX.min(standing.len() as u64));
            world.chain.rpc("anvil_reorg", json!([depth, []])).await;
            // As many empty blocks stand in their place.
            let kept = standing.len() - depth as usize;
            standing[kept..].fill(0);
            reorgs += 1;
        }
        if random.random_range(0..12) == 0 {
            facilitator.kill().await;
            facilitator.restart().await;
            kills += 1;
        }
    }
    // Sixteen confirmations behind the last, and one for the count.
    world.chain.mine(17).await;
    let height = world.chain.height().await as i64;
    eventually("the watcher at the head", 3 * PATIENCE, || async {
        (world.count("SELECT cursor_number FROM networks").await == height).then_some(())
    })
    .await;

    let registered: BTreeSet<_> = registered.into_iter().collect();
    let (chain, ledger) = (on_chain(&world, &registered).await, in_ledger(&world).await);
    let mut times: BTreeMap<&Place, usize> = BTreeMap::new();
    for place in &ledger {
        *times.entry(place).or_default() += 1;
    }
    let missing = chain.iter().filter(|place| !times.contains_key(place)).count();
    let extra = times.keys().filter(|place| !chain.contains(**place)).count();
    let twice = times.values().filter(|times| **times > 1).count();
    let claims = world.count("SELECT count(*) FROM claims WHERE invoice_id IS NOT NULL AND payment_id IS NULL").await;
    let credited = sqlx::query_scalar::<_, String>("SELECT sum(told_paid)::text FROM invoices");
    let credited: u128 = credited.fetch_one(world.ledger.pool()).await.expect("the database answers").parse().expect("a number");
    let moved: u128 = chain.iter().map(|(.., amount)| amount).sum();
    report(
        "credits",
        &format!(
            "{sent} transfers to {addresses} addresses among {foreign} foreign ones, {reorgs} reorganisations, {kills} kills: {} stand on \
             the chain, {missing} missing, {extra} extra, {twice} twice, {claims} credits",
            chain.len()
        ),
    );
    assert!(chain.len() >= wanted, "the chain kept enough");
    assert_eq!((missing, extra, twice, claims as usize, credited), (0, 0, 0, chain.len(), moved));
}
