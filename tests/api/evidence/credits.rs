//! Many transfers to many registered addresses among far more foreign ones, on a chain that replaces blocks, with a service that is
//! killed and a node that answers wrongly: what is recorded and credited in the end is what stands on the chain.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::seq::index::sample;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::{PATIENCE, World, is_full, report, scale};
use crate::support::chain::{Chain, ChainOptions, hex};
use crate::support::eventually;
use crate::support::facilitator::{Facilitator, NetworkOptions, Options};
use crate::support::merchant::{Merchant, pay};
use crate::support::payer::{spread_call, transfer_call};
use crate::support::proxy::{Act, Edit, Proxy};

mod crash;

/// Transfers in one transaction.
const TOGETHER: usize = 100;

/// One transfer of so many is to a registered address.
const SHARE: usize = 11;

/// One transfer of so many is of nothing, and one from somebody to the same.
const ODD: usize = 20;

/// Transactions in one block with many transfers each, of a sender each. One more is reverted, or pays its own sender.
const IN_A_BLOCK: usize = 5;

/// The deepest reorganisation; blocks are final behind sixteen.
const DEPTH_MAX: usize = 12;

/// Transfers that pay nobody who is registered, for the record.
const FOREIGN_MIN: usize = 100_000;

/// Where a transfer stands, from whom to whom it went, and how much it was.
type Place = (String, i64, String, String, u128);

/// Whether it can pay an invoice.
fn can_pay((.., from, to, amount): &Place) -> bool {
    from != to && *amount > 0
}

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
    let [from, to] = [1, 2].map(|topic| format!("0x{}", &text(&log["topics"][topic])[26..]));
    let amount = u128::from_str_radix(text(&log["data"]).trim_start_matches("0x"), 16).expect("a number");
    registered.contains(&to).then(|| (text(&log["blockHash"]), hex(&log["logIndex"]) as i64, from, to, amount))
}

/// What the ledger has.
async fn in_ledger(world: &World) -> Vec<Place> {
    let rows = sqlx::query_as::<_, (String, i32, String, String, String)>(
        "SELECT block_hash, index, lower(sender), lower(recipient), amount::text FROM transfers
         WHERE account_id IS NOT NULL AND canonical",
    );
    let rows = rows.fetch_all(world.ledger.pool()).await.expect("the database answers");
    let place = |(block, index, from, to, amount): (String, i32, String, String, String)| {
        (block, index.into(), from, to, amount.parse().expect("a number"))
    };
    rows.into_iter().map(place).collect()
}

fn address(random: &mut StdRng) -> String {
    format!("0x{}", alloy::hex::encode(random.random::<[u8; 20]>()))
}

/// A transaction, and how many of its transfers can pay an invoice.
#[derive(Clone)]
struct Carrier {
    sender: usize,
    hash: String,
    paying: usize,
}

/// What is sent, and what stands of it.
struct Traffic<'a> {
    chain: &'a Chain,
    random: StdRng,
    multicall: String,
    /// Accounts of the node's own, whose signed bytes can be sent again. The last is registered and has money.
    senders: Vec<String>,
    registered: Vec<String>,
    /// The transactions in each block that stands, the oldest first.
    blocks: Vec<Vec<Carrier>>,
    /// What was sent again, for the next block.
    waiting: Vec<Carrier>,
    /// Transfers that can pay, transfers that pay nobody who is registered, and those that pay nothing.
    sent: [usize; 3],
    reverted: usize,
    /// How often blocks were replaced, by how many.
    depths: BTreeMap<usize, usize>,
    /// Transactions that came again after their block was replaced.
    again: usize,
}

impl Traffic<'_> {
    async fn send(&self, sender: usize, to: &str, data: &str, paying: usize) -> Carrier {
        let transaction = json!([{"from": self.senders[sender], "to": to, "data": data, "gas": "0x1c9c380"}]);
        let hash = self.chain.rpc("eth_sendTransaction", transaction).await;
        Carrier { sender, hash: hash.as_str().expect("a hash").to_owned(), paying }
    }

    /// A transfer to anybody, and whether it can pay an invoice.
    fn transfer(&mut self) -> ((String, u128), bool) {
        let random = &mut self.random;
        let is_ours = random.random_range(0..SHARE) == 0;
        let to = match random.random_range(0..ODD) {
            _ if is_ours => self.registered[random.random_range(0..self.registered.len())].clone(),
            0 => self.multicall.clone(),
            _ => address(random),
        };
        let amount = if random.random_range(0..ODD) == 0 { 0 } else { random.random_range(100..1_000) };
        let paying = is_ours && amount > 0;
        let kind = match (paying, amount == 0 || to == self.multicall) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => 2,
        };
        self.sent[kind] += 1;
        ((to, amount), paying)
    }

    /// Makes a block.
    async fn block(&mut self) {
        let usdc = self.chain.usdc();
        let mut carriers = std::mem::take(&mut self.waiting);
        let wallet = IN_A_BLOCK;
        for sender in 0..wallet {
            let (transfers, paying): (Vec<_>, Vec<_>) = (0..TOGETHER).map(|_| self.transfer()).unzip();
            let data = alloy::hex::encode_prefixed(spread_call(&usdc, &transfers));
            let paying = paying.into_iter().filter(|paying| *paying).count();
            carriers.push(self.send(sender, &self.multicall, &data, paying).await);
        }
        let is_reverted = self.random.random();
        let last = if is_reverted {
            // It would pay some of us, but one of its transfers is of more than there is.
            let transfers: Vec<_> = self.registered.iter().take(10).map(|to| (to.clone(), 500)).collect();
            let data = spread_call(&usdc, &[transfers, vec![(address(&mut self.random), u128::from(u64::MAX))]].concat());
            self.send(wallet, &self.multicall, &alloy::hex::encode_prefixed(data), 0).await
        } else {
            self.sent[2] += 1;
            self.send(wallet, &usdc, &transfer_call(&self.senders[wallet], 500), 0).await
        };
        self.chain.mine(1).await;
        let receipt = self.chain.receipt(&last.hash).await;
        assert_eq!(receipt["status"], if is_reverted { "0x0" } else { "0x1" }, "{receipt}");
        self.reverted += usize::from(is_reverted);
        carriers.push(last);
        self.blocks.push(carriers);
    }

    /// How many blocks are replaced next: as many as have not been replaced together yet, while there is such a number.
    fn depth(&mut self) -> usize {
        let possible: Vec<_> = (1..=DEPTH_MAX.min(self.blocks.len())).collect();
        let missing: Vec<_> = possible.iter().copied().filter(|depth| !self.depths.contains_key(depth)).collect();
        let depths = if missing.is_empty() { possible } else { missing };
        *depths.choose(&mut self.random).expect("there are blocks")
    }

    /// Replaces some blocks. A part of what stood in them comes again, in the same bytes: in other blocks, or at last in the next one.
    async fn replace(&mut self, depth: usize) {
        let mut replaced = self.blocks.split_off(self.blocks.len() - depth).concat();
        let mut raw = BTreeMap::new();
        for Carrier { hash, .. } in &replaced {
            raw.insert(hash.clone(), self.chain.rpc("eth_getRawTransactionByHash", json!([hash])).await);
        }
        let mut blocks = vec![Vec::new(); depth];
        for sender in 0..self.senders.len() {
            // None can come before those that its sender has sent before it.
            let own: Vec<_> = replaced.extract_if(.., |carrier| carrier.sender == sender).collect();
            let kept = self.random.random_range(0..=own.len().min(depth));
            let mut places = sample(&mut self.random, depth, kept).into_vec();
            places.sort_unstable();
            for (place, carrier) in places.iter().zip(&own) {
                blocks[*place].push(carrier.clone());
            }
            let late = own.get(kept).filter(|_| self.random.random());
            self.waiting.extend(late.cloned());
        }
        let placed = blocks.iter().enumerate().flat_map(|(place, carriers)| carriers.iter().map(move |carrier| (carrier, place)));
        let placed: Vec<_> = placed.map(|(carrier, place)| json!([raw[&carrier.hash], place])).collect();
        self.chain.rpc("anvil_reorg", json!([depth, placed])).await;
        for carrier in &self.waiting {
            self.chain.rpc("eth_sendRawTransaction", json!([raw[&carrier.hash]])).await;
        }
        self.again += placed.len() + self.waiting.len();
        *self.depths.entry(depth).or_default() += 1;
        self.blocks.extend(blocks);
    }

    /// The transfers that stand and can pay an invoice.
    fn paying(&self) -> usize {
        self.blocks.iter().flatten().map(|carrier| carrier.paying).sum()
    }
}

/// Waits until the service has read every block.
async fn until_at_head(world: &World) {
    let height = world.chain.height().await as i64;
    eventually("the watcher at the head", 3 * PATIENCE, || async {
        (world.count("SELECT cursor_number FROM networks").await == height).then_some(())
    })
    .await;
}

/// Lets traffic pass until enough of it stands, and everything has happened at least once that can happen to it: for the record also
/// a reorganisation of every depth. Returns how often the service was killed.
async fn run(world: &World, traffic: &mut Traffic<'_>, facilitator: &mut Facilitator, wanted: usize) -> usize {
    // Once in so many blocks, of which a short run has few.
    let (reorg, kill) = (scale(4, 12), scale(8, 12));
    let (depths, foreign) = (scale(1, DEPTH_MAX), scale(0, FOREIGN_MIN));
    let is_enough =
        |traffic: &Traffic<'_>| traffic.paying() >= wanted && traffic.sent[1] >= foreign && traffic.depths.len() >= depths;
    let mut kills = 0;
    while !is_enough(traffic) || traffic.again == 0 || traffic.reverted == 0 || kills == 0 {
        traffic.block().await;
        if traffic.waiting.is_empty() && traffic.random.random_range(0..reorg) == 0 {
            let depth = traffic.depth();
            if !traffic.depths.contains_key(&depth) {
                // Blocks that were not read yet are not undone.
                until_at_head(world).await;
            }
            traffic.replace(depth).await;
        }
        if traffic.random.random_range(0..kill) == 0 {
            facilitator.kill().await;
            facilitator.restart().await;
            kills += 1;
        }
    }
    kills
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
    let accounts: Vec<String> = serde_json::from_value(world.chain.rpc("eth_accounts", json!([])).await).expect("addresses");
    let senders = accounts[accounts.len() - IN_A_BLOCK - 1..].to_vec();
    let wallet = senders[IN_A_BLOCK].to_lowercase();
    let mut registered: Vec<_> = (1..addresses).map(|_| address(&mut random)).collect();
    registered.push(wallet.clone());
    let checksummed: Vec<_> =
        registered.iter().map(|text| text.parse::<alloy::primitives::Address>().expect("an address").to_checksum(None)).collect();
    {
        let merchant = Merchant::open(&facilitator).await;
        register(&world, &merchant, &checksummed).await;
    }
    let multicall = world.chain.text("/multicall3");
    pay(&world.chain, &world.chain.payers[0], &multicall, 900_000_000).await;
    // The first that is credited.
    pay(&world.chain, &world.chain.payers[0], &wallet, 1_000).await;
    world.chain.rpc("evm_setAutomine", json!([false])).await;
    misbehave(&proxy);

    let (chain, blocks, waiting) = (&world.chain, Vec::new(), Vec::new());
    let (sent, reverted, depths, again) = ([1, 0, 0], 0, BTreeMap::new(), 0);
    let mut traffic = Traffic { chain, random, multicall, senders, registered, blocks, waiting, sent, reverted, depths, again };
    let kills = run(&world, &mut traffic, &mut facilitator, wanted).await;
    // Sixteen confirmations behind the last, and one for the count.
    world.chain.mine(17).await;
    until_at_head(&world).await;

    let standing = 1 + traffic.paying() + traffic.waiting.iter().map(|carrier| carrier.paying).sum::<usize>();
    let registered: BTreeSet<_> = traffic.registered.into_iter().collect();
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
    let paying: Vec<_> = chain.iter().filter(|place| can_pay(place)).collect();
    let moved: u128 = paying.iter().map(|(.., amount)| amount).sum();
    let ([sent, foreign, idle], reorgs) = (traffic.sent, traffic.depths.values().sum::<usize>());
    report(
        "credits",
        &format!(
            "{sent} transfers to {addresses} addresses among {foreign} foreign ones, {idle} that move nothing and {} reverted \
             transactions, {reorgs} reorganisations of {:?} blocks after which {} transactions came again, {kills} kills: {} stand on the \
             chain, {} of them pay nothing, {missing} missing, {extra} extra, {twice} twice, {claims} credits",
            traffic.reverted,
            traffic.depths.keys().collect::<Vec<_>>(),
            traffic.again,
            chain.len(),
            chain.len() - paying.len(),
        ),
    );
    if is_full() {
        assert!(traffic.depths.keys().copied().eq(1..=DEPTH_MAX), "every depth has been: {:?}", traffic.depths);
        assert!(foreign >= FOREIGN_MIN, "{foreign} foreign transfers");
    }
    assert!(paying.len() >= wanted && paying.len() < chain.len(), "the chain kept enough of both kinds");
    assert_eq!(paying.len(), standing, "what came again stands on the chain");
    assert_eq!((missing, extra, twice, claims as usize, credited), (0, 0, 0, paying.len(), moved));
}
