//! The same on a local Solana node: ours and the reference, each with a fee payer of its own.

use serde_json::json;

use super::load::{self, Kind, Load, Run};
use super::peer::{Peer, Reference};
use super::report::{Report, Who};
use super::support::facilitator::{Facilitator, Options};
use super::support::proxy::Proxy;
use super::support::solana::{AMOUNT, Cluster};

/// Concurrency of the runs, requests for us and for the reference. Blockhashes last for a minute, and so must a run.
const LOADS: [(Kind, usize, usize, usize); 5] = [
    (Kind::SolanaVerify, 1, 1_000, 500),
    (Kind::SolanaVerify, 64, 5_000, 1_000),
    (Kind::SolanaSettle, 1, 20, 20),
    (Kind::SolanaSettle, 64, 300, 300),
    (Kind::SolanaSettleVerified, 60, 60, 60),
];

/// Before the first figure.
const WARM_UP: [Load; 2] = [
    Load { kind: Kind::SolanaVerify, concurrency: 8, requests: 200 },
    Load { kind: Kind::SolanaSettle, concurrency: 8, requests: 16 },
];

/// How many accounts pay, in turns.
const PAYERS: usize = 30;

/// How long a slot takes, as on the real network.
const SLOT_MS: u32 = 400;

/// Measures both on one node; whose turn is first changes from round to round.
pub async fn measure(report: &mut Report, number: usize, scaled: impl Fn(usize) -> usize) {
    let cluster = Cluster::start(SLOT_MS).await;
    for who in [Who::Quittance, Who::Reference].into_iter().cycle().skip(number % 2).take(2) {
        eprintln!(" {} on Solana", who.name());
        let proxy = Proxy::start(&cluster.url);
        let ours = who == Who::Quittance;
        let loads = LOADS.map(|(kind, concurrency, us, them)| Load { kind, concurrency, requests: if ours { us } else { them } });
        let loads: Vec<_> =
            WARM_UP.into_iter().chain(loads).map(|load| Load { requests: scaled(load.requests), ..load }).collect();
        let mut runs = Vec::new();
        if ours {
            let mut options = Options::new(cluster.options(&proxy.url), &String::new().into());
            options.database = None;
            let mut facilitator = Facilitator::start(&options).await;
            let peer = Peer { url: facilitator.url.clone(), pid: facilitator.process.id().expect("it runs") };
            for load in loads {
                runs.push(run(&peer, &cluster, &proxy, load, 0).await);
            }
            facilitator.terminate().await;
        } else {
            let (network, key) = (cluster.text("/network"), cluster.text("/accounts/signers/1/key"));
            let reference = Reference::start_on(&network, &key, &proxy, false).await;
            for load in loads {
                runs.push(run(&reference.peer, &cluster, &proxy, load, 1).await);
            }
            reference.stop().await;
        }
        runs.into_iter().skip(WARM_UP.len()).for_each(|run| report.add(who, run));
    }
}

async fn run(peer: &Peer, cluster: &Cluster, proxy: &Proxy, load: Load, signer: usize) -> Run {
    let latest = cluster.rpc("getLatestBlockhash", json!([{"commitment": "confirmed"}])).await;
    let blockhash = latest["value"]["blockhash"].as_str().expect("a hash");
    // No two messages are the same, whoever is measured when.
    let name = |number: usize| format!("{:?} {} by {signer}, {number}", load.kind, load.concurrency);
    let bodies =
        (0..load.requests).map(|number| cluster.payment_at(number % PAYERS, &name(number), blockhash, signer).v2().to_string());
    let bodies: Vec<_> = bodies.collect();
    if load.kind == Kind::SolanaSettleVerified {
        load::put(peer, proxy, Load { kind: Kind::SolanaVerify, ..load }, bodies.iter().cloned()).await;
    }
    let (paid, lamports) = (cluster.paid().await, cluster.lamports_of(signer).await);
    let answers = load::put(peer, proxy, load, bodies.into_iter()).await;
    let transfers = (cluster.paid().await - paid) / AMOUNT;
    let fees = lamports - cluster.lamports_of(signer).await;
    let gas = (transfers > 0).then(|| fees as f64 / transfers as f64);
    Run { gas, ..answers.into_run(load, transfers as usize) }
}
