//! Puts the service together and keeps it running until it is told to stop.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use secrecy::SecretString;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::api::Service;
use crate::chain::evm::EvmChain;
use crate::chain::solana::SolanaChain;
use crate::chain::{Chain, ChainError, Chains};
use crate::config::{Config, FamilyConfig, NetworkConfig, SigningKeys};
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::network::Network;
use crate::flow::availability::Availability;
use crate::flow::current::Current;
use crate::flow::discovery::Discovery;
use crate::flow::limits::RateLimits;
use crate::flow::reload::Reloads;
use crate::flow::telling::Telling;
use crate::flow::turns::Turns;
use crate::flow::waiting::Waiting;
use crate::flow::{Bells, Flows, Patience, Policy};
use crate::http::Operations;
use crate::keys::KeyError;
use crate::ledger::private::{PrivateCluster, PrivateClusterError};
use crate::ledger::{Ledger, LedgerError};
use crate::metrics::{Metrics, NetworkLabels};
use crate::supervisor::Supervisor;
use crate::webhook::reach::Reach;

pub mod receipt_keys;
pub mod reload;
mod signers;
mod tasks;

use receipt_keys::ReceiptKeysError;
use reload::{Origin, Reloader, Wishes};
use tasks::Tasks;

/// What a replica does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Role {
    /// Answers requests.
    Api,
    /// Sends payments, one lane for each signer.
    Lane,
    /// Reads blocks.
    Watcher,
    /// Does what belongs to no network.
    Worker,
}

/// Which secrets of signers replicas need that do this. Strangers reach the API, and lanes alone sign.
#[must_use]
pub fn signing_keys(roles: &BTreeSet<Role>) -> SigningKeys {
    if roles.contains(&Role::Lane) { SigningKeys::Wanted } else { SigningKeys::Unwanted }
}

/// Why the service did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The private database.
    #[error("the private database could not be run")]
    PrivateCluster(#[from] PrivateClusterError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A network.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A settlement key.
    #[error("the key of signer {name} of {network} cannot be used")]
    Key {
        /// The network.
        network: String,
        /// The signer.
        name: String,
        /// Why.
        #[source]
        source: Box<KeyError>,
    },
    /// The keys of receipts.
    #[error(transparent)]
    ReceiptKeys(#[from] ReceiptKeysError),
    /// The client for nodes, keepers of keys or webhooks.
    #[error("connections cannot be made")]
    Client(#[from] reqwest::Error),
    /// An address to listen on.
    #[error("{address} cannot be listened on")]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A listener ended by itself.
    #[error("the listener ended")]
    Listener(#[source] std::io::Error),
    /// Signals cannot be received.
    #[error("signals cannot be received")]
    Signals(#[source] std::io::Error),
}

/// An open ledger, with the server behind it if that is ours.
pub struct OpenLedger {
    /// The ledger.
    pub ledger: Ledger,
    /// The private server, if there is one.
    pub cluster: Option<PrivateCluster>,
}

/// Opens the configured ledger. A private one is brought up to date; an external one must be already.
///
/// # Errors
/// The database does not answer, or its schema is old.
pub async fn open_ledger(config: &Config) -> Result<OpenLedger, AppError> {
    let (database, cluster) = (&config.database, open_cluster(config).await?);
    let url = match (&database.url, &cluster) {
        (Some(url), _) => SecretString::clone(url),
        (None, Some(cluster)) => cluster.url(),
        (None, None) => unreachable!("without an address there is a private cluster"),
    };
    let ledger = Ledger::connect(&url, database.connections_max, database.acquire_within).await?;
    match cluster {
        Some(_) => ledger.migrate().await?,
        None => ledger.check_schema().await?,
    }
    Ok(OpenLedger { ledger, cluster })
}

async fn open_cluster(config: &Config) -> Result<Option<PrivateCluster>, AppError> {
    let database = &config.database;
    match database.url {
        Some(_) => Ok(None),
        None => Ok(Some(PrivateCluster::start(Path::new(&database.data_dir), database.connections_max).await?)),
    }
}

/// Connects to the configured ledger without asking for its schema, and brings it up to date.
///
/// # Errors
/// The database does not answer, or a migration fails.
pub async fn migrate(config: &Config) -> Result<(), AppError> {
    let cluster = open_cluster(config).await?;
    let configured = config.database.url.as_deref().cloned();
    let url = configured.or_else(|| cluster.as_ref().map(PrivateCluster::url)).unwrap_or_default();
    let migrated = async { Ledger::connect(&url, 2, config.database.acquire_within).await?.migrate().await }.await;
    if let Some(cluster) = cluster {
        cluster.stop().await?;
    }
    Ok(migrated?)
}

/// The metrics of a process with this configuration.
#[must_use]
pub fn metrics(config: &Config) -> Arc<Metrics> {
    Arc::new(Metrics::new(&labels(config)))
}

/// What the networks of a configuration are called in metrics.
fn labels(config: &Config) -> Vec<NetworkLabels> {
    let labels = config.networks.iter().map(|network| NetworkLabels {
        network: network.network.clone(),
        signers: network.signers.iter().map(|signer| signer.name.clone()).collect(),
    });
    labels.collect()
}

/// The adapters of all configured networks.
///
/// # Errors
/// A key that is none, or an address that is none.
pub fn chains(config: &Config, metrics: &Arc<Metrics>) -> Result<Chains, AppError> {
    let chains = config.networks.iter().map(|network| chain(network, config.signing_keys, metrics));
    Ok(Chains::new(chains.collect::<Result<Vec<_>, _>>()?))
}

/// The adapter of a network. The one place that knows which families there are.
fn chain(network: &NetworkConfig, signing_keys: SigningKeys, metrics: &Arc<Metrics>) -> Result<Arc<dyn Chain>, AppError> {
    let metrics = Arc::clone(metrics);
    Ok(match &network.family {
        FamilyConfig::Evm(family) => {
            let client = reqwest::Client::builder().pool_idle_timeout(Duration::from_secs(30)).tcp_nodelay(true).build()?;
            let signers = signers::settling(network, signing_keys)?;
            Arc::new(EvmChain::new(network, family, signers, &client, metrics)?)
        }
        FamilyConfig::Solana(family) => {
            Arc::new(SolanaChain::new(network, *family, signers::of_messages(network, signing_keys)?, metrics))
        }
    })
}

/// A listener at work.
type Listener = tokio::task::JoinHandle<std::io::Result<()>>;

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
/// It could not start, or a listener failed.
pub async fn serve(config: Config, roles: BTreeSet<Role>, origin: Origin) -> Result<(), AppError> {
    // First of all: from the first listener on, whoever stops the service must be heard, or requests break off.
    let stop = StopSignals::listen().map_err(AppError::Signals)?;
    // And whoever wants the configuration to be read before there is anything to read it for must not end the process by that.
    let hangups = signal(SignalKind::hangup()).map_err(AppError::Signals)?;
    let open = open_ledger(&config).await?;
    let ended = serve_on(&config, roles, (origin, hangups), open.ledger, stop).await;
    if let Some(cluster) = open.cluster {
        cluster.stop().await?;
    }
    ended
}

async fn serve_on(
    config: &Config,
    roles: BTreeSet<Role>,
    (origin, hangups): (Origin, Signal),
    ledger: Ledger,
    mut stop: StopSignals,
) -> Result<(), AppError> {
    let metrics = metrics(config);
    let current = Arc::new(Current::new(flows(config, ledger, Arc::clone(&metrics))?));
    current.flows().notice_copy().await?;
    let supervisor = Supervisor::new(metrics);
    let (is_api, tasks) = (roles.contains(&Role::Api), Tasks::new(config, roles)?);
    tasks.start_lasting(&current.flows(), &supervisor);
    let (reloads, requests) = Reloads::channel();
    let wishes = Wishes { hangups, requests };
    let reloader = Reloader::start(origin, (config.clone(), tasks), Arc::clone(&current), supervisor.clone(), wishes);
    supervisor.run("reload", move |stop| {
        let reloader = Arc::clone(&reloader);
        async move { reloader.run(stop).await }
    });

    let runtime = tokio::runtime::Handle::current();
    let listen_error = |address| move |source| AppError::Listen { address, source };
    // The API listens before anybody can be told that it is ready: whoever hears that comes at once.
    let mut api = None;
    let mut api_handle = None;
    let mut grpc = None;
    let stop_grpc = CancellationToken::new();
    if is_api {
        let service = Arc::new(Service::new(Arc::clone(&current), config.server.clone(), runtime.clone()));
        let address = config.server.listen;
        let (server, address) = crate::http::api(Arc::clone(&service)).map_err(listen_error(address))?;
        api_handle = Some(server.handle());
        api = Some(spawn_listener(server));
        tracing::info!(listen = %address, "Facilitator listening");
        if let Some(address) = config.server.grpc_listen {
            let listening = crate::grpc::listen(service, address, stop_grpc.clone()).await;
            let (server, address) = listening.map_err(listen_error(address))?;
            grpc = Some(spawn_listener(server));
            tracing::info!(listen = %address, "gRPC listening");
        }
    }
    let operations = Operations { current: Arc::clone(&current), reloads, runtime };
    let address = config.server.operations_listen;
    let (operations, address) = operations.listen(address).map_err(listen_error(address))?;
    let operations_handle = operations.handle();
    let mut operations = spawn_listener(operations);
    tracing::info!(listen = %address, "Operations listening");
    let ended = tokio::select! {
        () = stop.received() => Ok(()),
        result = &mut operations => listener_ended(result),
        result = end_of(&mut api) => listener_ended(result),
        result = end_of(&mut grpc) => listener_ended(result),
    };
    tracing::info!("stopping");
    // What is waited for, told and asked is the same in whichever configuration.
    let flows = current.flows();
    flows.telling.streams.close();
    let within = config.server.shutdown_within.to_std().unwrap_or_default();
    let stopping = Instant::now();
    if let Some(handle) = api_handle {
        stop_grpc.cancel();
        let calls = async {
            if let Some(grpc) = grpc.take_if(|grpc| !grpc.is_finished()) {
                drop(grpc.await);
            }
        };
        let requests = futures_util::future::join(handle.stop(true), calls);
        end_requests(&flows.waiting, requests.map(drop), within).await;
    }
    supervisor.shutdown(within.saturating_sub(stopping.elapsed()).max(TASKS_WITHIN)).await;
    operations_handle.stop(false).await;
    // A connection that fell silent is not waited for: nothing that must finish is left on it.
    drop(tokio::time::timeout(TASKS_WITHIN, flows.ledger.pool().close()).await);
    ended
}

/// Requests end before everything else: while the lanes and watchers still run, callers who wait can still be answered.
async fn end_requests(waiting: &Waiting, ended: impl Future<Output = ()>, within: Duration) {
    waiting.close();
    let dismissal = async {
        tokio::time::sleep(LAST_BLOCK_WITHIN.min(within / 2)).await;
        waiting.dismiss();
    };
    let ended = tokio::time::timeout(within, ended);
    tokio::pin!(ended);
    tokio::select! {
        result = &mut ended => drop(result),
        () = dismissal => drop(ended.await),
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a listener is not restarted: its end is the end of the service, and is waited for"
)]
fn spawn_listener(server: impl Future<Output = std::io::Result<()>> + Send + 'static) -> Listener {
    tokio::spawn(server)
}

/// Waits for the end of a listener, which never comes if there is none.
async fn end_of(listener: &mut Option<Listener>) -> <Listener as Future>::Output {
    match listener {
        Some(listener) => listener.await,
        None => std::future::pending().await,
    }
}

fn listener_ended(result: Result<std::io::Result<()>, tokio::task::JoinError>) -> Result<(), AppError> {
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(AppError::Listener(error)),
        Err(error) => Err(AppError::Listener(std::io::Error::other(error))),
    }
}

/// The signals by which the service is told to stop. One that comes before it is waited for is not lost.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From here on they do not end the process any more.
    fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for one of them.
    async fn received(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The use cases of a process with this configuration.
///
/// # Errors
/// A key that is none, or an address that is none.
pub fn flows(config: &Config, ledger: Ledger, metrics: Arc<Metrics>) -> Result<Flows, AppError> {
    let networks = || config.networks.iter().map(|network| network.network.clone());
    Ok(Flows {
        ledger,
        chains: chains(config, &metrics)?,
        clock: Arc::new(SystemClock),
        metrics,
        waiting: Arc::new(Waiting::default()),
        bells: Bells::new(networks()),
        availability: Availability::default(),
        policies: policies(config),
        patience: Patience { v1: config.server.answer_within_v1, v2: config.server.answer_within_v2 },
        errands: Arc::new(Turns::default()),
        reservations: Arc::new(Turns::default()),
        limits: Arc::new(RateLimits::new(config.limits)),
        discovery: Arc::new(Discovery::new(config.discovery)),
        telling: Arc::new(Telling::new(reach(config), config.webhooks.per_account_max)),
        public_url: config.server.public_url.clone(),
        issuer: receipt_keys::issuer(config, SystemClock.now())?.map(Arc::new),
    })
}

/// What the flows need of each network's settings.
fn policies(config: &Config) -> HashMap<Network, Policy> {
    let policy = |network: &NetworkConfig| Policy { answer: network.answer.clone(), cost: network.cost };
    config.networks.iter().map(|network| (network.network.clone(), policy(network))).collect()
}

/// How far webhooks reach.
const fn reach(config: &Config) -> Reach {
    Reach::allowing_private(config.webhooks.allow_private)
}

/// For so long after the order to stop a block that is just due can still answer those who wait. Then they are told where their
/// payments stand.
const LAST_BLOCK_WITHIN: Duration = Duration::from_secs(2);

/// Tasks end within this even if requests have used up the time to stop.
const TASKS_WITHIN: Duration = Duration::from_secs(2);
