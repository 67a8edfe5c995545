//! Reads the configuration again while the service runs, on SIGHUP or when an operator asks: all of it is good, or nothing changes.
//!
//! What is new is put together and tried beside what runs: adapters of changed networks have found their chain before anybody sees them. Then
//! the flows are replaced in one step, and the tasks that work by them are started anew. Requests go on with the flows that they have.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::signal::unix::Signal;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

use super::tasks::Tasks;
use super::{chain, labels, policies, receipt_keys, signing_keys};
use crate::chain::{Chain, Chains, Profile};
use crate::config::{self, Config, FamilyConfig, NetworkConfig, Watch};
use crate::domain::asset::Asset;
use crate::domain::network::Network;
use crate::flow::Flows;
use crate::flow::availability::Availability;
use crate::flow::current::Current;
use crate::flow::limits::RateLimits;
use crate::flow::reload::{Answer, Changes, ReloadProblem, ReloadRefused};
use crate::ledger::LedgerError;
use crate::ledger::orders::{LaneRecord, LaneState};
use crate::metrics::Reload;
use crate::signing::Issuer;
use crate::signing::jwk::PublicKey;
use crate::supervisor::Supervisor;
use crate::telemetry::LogFilter;

/// A new network must have found its chain within this.
const PREPARED_WITHIN: Duration = Duration::from_secs(10);

/// The ledger must have said within this what is under way.
const LEDGER_WITHIN: Duration = Duration::from_secs(10);

/// Where the configuration came from, and what it decided before anything else was there.
pub struct Origin {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// What the log shows.
    pub filter: LogFilter,
}

/// Reads the configuration again when somebody wants that.
pub struct Reloader {
    origin: Origin,
    tasks: Tasks,
    current: Arc<Current>,
    supervisor: Supervisor,
    running: Mutex<Running>,
    wishes: Mutex<Wishes>,
}

/// What runs.
struct Running {
    config: Config,
    /// Ends the tasks that work by it.
    generation: CancellationToken,
}

/// Who wants the configuration to be read.
pub struct Wishes {
    /// Those who send SIGHUP.
    pub hangups: Signal,
    /// Those who ask over HTTP.
    pub requests: mpsc::Receiver<Answer>,
}

/// A configuration that was found good, with all that was made of it.
struct Next {
    flows: Arc<Flows>,
    config: Config,
    changes: Changes,
}

impl Reloader {
    /// Starts the tasks of a first configuration.
    pub fn start(
        origin: Origin,
        (config, tasks): (Config, Tasks),
        current: Arc<Current>,
        supervisor: Supervisor,
        wishes: Wishes,
    ) -> Arc<Self> {
        let generation = supervisor.generation();
        tasks.start(&config, &current.flows(), &supervisor, &generation);
        let running = Mutex::new(Running { config, generation });
        Arc::new(Self { origin, tasks, current, supervisor, running, wishes: Mutex::new(wishes) })
    }

    /// Waits for wishes until it is told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        let mut wishes = self.wishes.lock().await;
        let serving = async {
            loop {
                let Wishes { hangups, requests } = &mut *wishes;
                let answer = tokio::select! {
                    Some(()) = hangups.recv() => None,
                    Some(answer) = requests.recv() => Some(answer),
                    else => std::future::pending().await,
                };
                let reloaded = self.reload().await;
                self.report(&reloaded);
                if let Some(answer) = answer {
                    // Whoever does not wait any more finds it in the log.
                    drop(answer.send(reloaded));
                }
            }
        };
        stop.run_until_cancelled(serving).await;
    }

    fn report(&self, reloaded: &Result<Changes, ReloadRefused>) {
        self.current.flows().metrics.config_reloaded(if reloaded.is_ok() { Reload::Taken } else { Reload::Refused });
        match reloaded {
            Ok(changes) => tracing::info!(changes = changes.join(", "), "the configuration was read again"),
            Err(refused) => {
                tracing::error!(problems = %refused, "the configuration was read again and not taken: nothing has changed");
            }
        }
    }

    async fn reload(&self) -> Result<Changes, ReloadRefused> {
        let mut running = self.running.lock().await;
        let Next { flows, config, changes } = self.judge(&running.config).await?;
        // The last thing that can fail.
        self.origin.filter.set(&config.log.filter).map_err(|error| unusable("log.filter", error))?;
        flows.metrics.know(&labels(&config));
        self.current.replace(Arc::clone(&flows));
        running.generation.cancel();
        running.generation = self.supervisor.generation();
        self.tasks.start(&config, &flows, &self.supervisor, &running.generation);
        running.config = config;
        Ok(changes)
    }

    /// Reads a new configuration and tries it, beside the one that runs.
    async fn judge(&self, old: &Config) -> Result<Next, ReloadRefused> {
        let read = config::load(self.origin.file.as_deref(), signing_keys(self.tasks.roles()));
        let config = read.map_err(|errors| ReloadRefused::of(&errors))?;
        let flows = self.current.flows();
        let mut problems: Vec<_> = old.fixed_differences(&config).into_iter().map(ReloadProblem::Fixed).collect();
        problems.extend(taken_away(old, &config).into_iter().map(ReloadProblem::TakenAway));
        let issuer = match issuer(&flows, &config) {
            Ok(issuer) => issuer,
            Err(problem) => {
                problems.push(problem);
                None
            }
        };
        let chains = adapters(&flows, old, &config, &mut problems).await;
        problems.extend(abandoned(&flows, &chains).await);
        ReloadRefused::unless_empty(problems)?;
        let next = next(&flows, old, &config, Chains::new(chains), issuer);
        let changes = changes((old, &flows), (&config, &next));
        Ok(Next { flows: Arc::new(next), config, changes })
    }
}

/// The adapters of the new configuration: those that there are where nothing was changed, and else new ones that have found their chain.
async fn adapters(flows: &Flows, old: &Config, config: &Config, problems: &mut Vec<ReloadProblem>) -> Vec<Arc<dyn Chain>> {
    let found = config.networks.iter().map(|network| async move {
        let unchanged = old.networks.iter().any(|old| old == network);
        match flows.chains.find(&network.network) {
            Ok(chain) if unchanged => Ok(Arc::clone(chain)),
            Ok(_) | Err(_) => prepared(network, config, flows).await,
        }
    });
    let mut chains = Vec::new();
    for found in join_all(found).await {
        match found {
            Ok(chain) => chains.push(chain),
            Err(problem) => problems.push(problem),
        }
    }
    chains
}

/// An adapter that has found its chain.
async fn prepared(network: &NetworkConfig, config: &Config, flows: &Flows) -> Result<Arc<dyn Chain>, ReloadProblem> {
    let subject = format!("networks: {}", network.network);
    let chain = chain(network, config.signing_keys, &flows.metrics).map_err(|error| unusable(&subject, error))?;
    match tokio::time::timeout(PREPARED_WITHIN, chain.prepare()).await {
        Ok(Ok(())) => Ok(chain),
        Ok(Err(error)) => Err(unusable(&subject, error)),
        Err(late) => Err(unusable(&subject, late)),
    }
}

/// Networks, tokens and watches that are not in the new configuration. What was sent there is found in blocks by what is configured, and blocks
/// are read once, so whoever does without them must know that nothing is under way.
fn taken_away(old: &Config, new: &Config) -> Vec<String> {
    let mut taken = Vec::new();
    for was in &old.networks {
        let Some(is) = new.networks.iter().find(|is| is.network == was.network) else {
            taken.push(format!("networks: {}", was.network));
            continue;
        };
        if watches(was) && !watches(is) {
            taken.push(format!("networks: watch of {}", was.network));
        }
        let is_kept = |asset: &Asset| is.assets.iter().any(|kept| kept.address == asset.address);
        let gone = was.assets.iter().filter(|asset| !is_kept(asset));
        taken.extend(gone.map(|asset| format!("networks: asset {} of {}", asset.address, was.network)));
    }
    taken
}

/// Whether transfers to registered addresses are looked for. On EVM networks they always are.
fn watches(network: &NetworkConfig) -> bool {
    !matches!(&network.family, FamilyConfig::Solana(solana) if solana.watch == Watch::Off)
}

/// Lanes that would be there no more, and may not go: those that are not drained, and those that have something under way. Every replica
/// asks, whoever runs them: the first one that does without a signer must not be the one that knows nothing of it.
async fn abandoned(flows: &Flows, chains: &[Arc<dyn Chain>]) -> Vec<ReloadProblem> {
    let mut problems = Vec::new();
    for old in flows.chains.iter() {
        let Profile { network, signers, .. } = old.profile();
        // One that is wrong in the new configuration, or not in it, was told of already.
        let Some(new) = chains.iter().find(|chain| chain.profile().network == *network) else { continue };
        let is_kept = |address: &str| new.profile().signers.iter().any(|kept| kept.address == address);
        let gone: Vec<_> = signers.iter().map(|signer| signer.address.clone()).filter(|address| !is_kept(address)).collect();
        if gone.is_empty() {
            continue;
        }
        let asked = tokio::time::timeout(LEDGER_WITHIN, flows.ledger.lanes(network, &gone)).await;
        match asked.unwrap_or_else(|_| Err(LedgerError::silent())) {
            Ok(lanes) => {
                let left = lanes.into_iter().filter(|lane| gone.contains(&lane.address));
                let busy = left.filter(|lane| lane.state() != LaneState::Drained);
                problems.extend(busy.map(|LaneRecord { address, drained_at, in_flight, not_final, queued, .. }| {
                    let (network, is_drained) = (network.clone(), drained_at.is_some());
                    ReloadProblem::UnderWay { network, address, is_drained, in_flight: in_flight + not_final, queued }
                }));
            }
            Err(error) => problems.push(error.into()),
        }
    }
    problems
}

/// Who signs receipts from now on. Keys may come, and what was published stays.
fn issuer(flows: &Flows, config: &Config) -> Result<Option<Arc<Issuer>>, ReloadProblem> {
    let issuer = receipt_keys::existing_issuer(config).map_err(|error| unusable("receipts", error))?;
    let published = flows.issuer.iter().flat_map(|issuer| issuer.keys().keys());
    let has = |kid: &str| issuer.iter().flat_map(|issuer| issuer.keys().keys()).any(|key| key.kid() == kid);
    match published.map(PublicKey::kid).find(|kid| !has(kid)) {
        Some(kid) => Err(ReloadProblem::KeyMissing(kid.to_owned())),
        None => Ok(issuer.map(Arc::new)),
    }
}

/// The flows of a new configuration. What they know of callers and payments is what the old ones know.
fn next(old: &Flows, was: &Config, config: &Config, chains: Chains, issuer: Option<Arc<Issuer>>) -> Flows {
    let limits = if was.limits == config.limits { Arc::clone(&old.limits) } else { Arc::new(RateLimits::new(config.limits)) };
    Flows {
        ledger: old.ledger.clone(),
        chains,
        clock: Arc::clone(&old.clock),
        metrics: Arc::clone(&old.metrics),
        waiting: Arc::clone(&old.waiting),
        bells: old.bells.with(config.networks.iter().map(|network| network.network.clone())),
        availability: Availability::default(),
        policies: policies(config),
        patience: old.patience,
        errands: Arc::clone(&old.errands),
        reservations: Arc::clone(&old.reservations),
        limits,
        discovery: Arc::clone(&old.discovery),
        telling: Arc::clone(&old.telling),
        public_url: old.public_url.clone(),
        issuer,
    }
}

/// What is different, as keys of the configuration.
fn changes((old, old_flows): (&Config, &Flows), (new, new_flows): (&Config, &Flows)) -> Changes {
    let published = |flows: &Flows| flows.issuer.as_ref().map(|issuer| issuer.keys().clone());
    let networks = |config: &Config| config.networks.iter().map(|network| network.network.clone()).collect::<BTreeSet<_>>();
    let all = &networks(old) | &networks(new);
    let of = |config: &Config, network: &Network| config.networks.iter().find(|config| config.network == *network).cloned();
    let networks = all.iter().filter(|network| of(old, network) != of(new, network)).map(|network| format!("networks {network}"));
    let others = [
        ("limits", old.limits != new.limits),
        ("receipts", published(old_flows) != published(new_flows)),
        ("log.filter", old.log.filter != new.log.filter),
    ];
    networks.chain(others.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key.to_owned())).collect()
}

fn unusable(subject: &str, source: impl std::error::Error + Send + Sync + 'static) -> ReloadProblem {
    ReloadProblem::Unusable { subject: subject.to_owned(), source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SigningKeys;

    const CLUSTER: &str = r#"
        [[networks]]
        id = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
        rpc = ["http://127.0.0.1:1"]
        watch = "blocks"
        assets = [{ address = "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", symbol = "ONE", decimals = 6, program = "token" }]
        signers = [{ name = "solana-1", address = "DmuvnbY9pPpam8VVJtQyYGnsR8PtoXAyV7RtRfdzUUk3", key = "env:AWAY" }]
    "#;

    /// What one configuration takes away from another.
    fn taken(old: &str, new: &str) -> Vec<String> {
        let load = |text: &str| config::load_text(text, &[].into_iter().collect(), SigningKeys::Unwanted).unwrap();
        taken_away(&load(old), &load(new))
    }

    #[test]
    fn what_nobody_would_look_for_any_more_is_not_taken_away() {
        let off = CLUSTER.replace("\"blocks\"", "\"off\"");
        let other_token =
            CLUSTER.replace("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v");
        let other_network = CLUSTER.replace("EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp");
        let network = "networks: solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";

        assert_eq!(taken(CLUSTER, &off), [network.replace("networks:", "networks: watch of")]);
        assert_eq!(taken(CLUSTER, &other_network), [network]);
        assert_eq!(taken(CLUSTER, &other_token).len(), 1);
        assert!(taken(&off, CLUSTER).is_empty() && taken(CLUSTER, &CLUSTER.replace("blocks", "signatures")).is_empty());
    }
}
