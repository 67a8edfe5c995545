//! Settings: read from every place an operator may put them, judged at once, and handed on as values that need no more checks.
//!
//! Four layers, later ones win: the defaults compiled into the program (`config/default.toml`, and `config/network.toml` for
//! each network), the operator's file, and variables such as `QUITTANCE_SERVER__LISTEN` or `QUITTANCE_NETWORKS__0__RPC`. A
//! secret may also stand in a file (`key_file`) or in a variable of any name (`key = "env:BASE_SIGNER"`).
//!
//! Nobody likes to mend a configuration one error at a time. Every key is read even after another one was wrong, and
//! [`ConfigErrors`] names them all, each with the file or the variable it came from. No message repeats a value that could be a
//! secret.

mod answer;
mod discovery;
mod limits;
mod network;
mod problem;
mod proxies;
mod receipts;
mod reconcile;
mod rpc;
mod secret;
mod server;
mod signers;
mod sources;
mod table;
mod value;
mod webhooks;

use std::path::Path;

pub use discovery::{Discovery, Listing};
pub use limits::Limits;
pub use network::{CostLimits, EvmConfig, FamilyConfig, Finality, NetworkConfig, SolanaConfig, Watch};
pub use problem::{ConfigErrors, ConfigProblem, Fault};
pub use proxies::{Proxies, ProxyHeader};
pub use receipts::Receipts;
pub use reconcile::Reconcile;
pub use rpc::RpcUrl;
pub use secret::Secret;
pub use server::{Access, Database, Log, LogFormat, Pages, Server};
pub use signers::{AwsKmsConfig, AwsWay, GcpKmsConfig, KeyConfig, RemoteConfig, SignerConfig, SigningKeys};
pub use sources::Environment;
pub use webhooks::Webhooks;

use sources::{Document, File};
use table::{Report, Reported, Table};

/// Everything an operator can decide.
#[derive(Debug, Clone)]
pub struct Config {
    /// How the service listens and answers.
    pub server: Server,
    /// Where the ledger is.
    pub database: Database,
    /// Whether the keys of signers were wanted.
    pub signing_keys: SigningKeys,
    /// The networks it serves, in the order of the file. At least one.
    pub networks: Vec<NetworkConfig>,
    /// How receipts are signed.
    pub receipts: Receipts,
    /// Where accounts may be told of events.
    pub webhooks: Webhooks,
    /// How often somebody may ask.
    pub limits: Limits,
    /// How paid resources are listed for others to find.
    pub discovery: Discovery,
    /// How networks are compared with the ledger.
    pub reconcile: Reconcile,
    /// What is written down.
    pub log: Log,
}

/// Keys whose values differ, of sections that are decided once, at the start. A new setting that is not named here does not compile.
macro_rules! differing {
    ($one:expr, $other:expr, $($section:ident: $Section:ident [$($field:ident = $key:literal),* $(,)?],)*) => {{
        $(let $Section { $($field: _),* } = &$one.$section;)*
        [$($(($one.$section.$field != $other.$section.$field).then_some(concat!(stringify!($section), ".", $key)),)*)*]
            .into_iter()
            .flatten()
            .collect()
    }};
}

impl Config {
    /// What differs in another configuration, and cannot be changed while the service runs.
    #[must_use]
    pub fn fixed_differences(&self, other: &Self) -> Vec<&'static str> {
        let mut differing: Vec<_> = differing!(
            self,
            other,
            server: Server [
                listen = "listen",
                operations_listen = "operations_listen",
                grpc_listen = "grpc_listen",
                public_url = "public_url",
                access = "access",
                pages = "pages",
                body_bytes_max = "body_bytes_max",
                answer_within_v2 = "answer_within_v2_seconds",
                answer_within_v1 = "answer_within_v1_seconds",
                connections_max = "connections_max",
                connections_per_address_max = "connections_per_address_max",
                proxies = "trusted_proxies",
                shutdown_within = "shutdown_within_seconds",
                unavailable_as_ok = "unavailable_as_ok",
            ],
            database: Database [
                url = "url",
                data_dir = "data_dir",
                connections_max = "connections_max",
                acquire_within = "acquire_within_ms",
            ],
            webhooks: Webhooks [allow_private = "allow_private", per_account_max = "per_account_max"],
            discovery: Discovery [list = "list", per_account_max = "per_account_max", forget_after = "forget_after_days"],
            reconcile: Reconcile [every = "every_seconds"],
        );
        differing.extend((self.log.format != other.log.format).then_some("log.format"));
        // Whoever waits for payments is told of receipts, or is not, for as long as the process lives.
        differing.extend((self.receipts.keys.is_some() != other.receipts.keys.is_some()).then_some("receipts.keys"));
        differing
    }
}

/// Reads the settings from `file`, if there is one, and from the variables of this process.
///
/// # Errors
/// Every problem there is. See [`ConfigErrors`].
pub fn load(file: Option<&Path>, signing_keys: SigningKeys) -> Result<Config, ConfigErrors> {
    let file = file.map(File::read).transpose().map_err(ConfigErrors::from)?;
    read(file, &Environment::of_process(), signing_keys)
}

/// Reads the settings from the text of a file and from `environment`, without looking at anything else but the files and
/// variables that they name.
///
/// # Errors
/// Every problem there is. See [`ConfigErrors`].
pub fn load_text(text: &str, environment: &Environment, signing_keys: SigningKeys) -> Result<Config, ConfigErrors> {
    read(Some(File::named("configuration", text)), environment, signing_keys)
}

fn read(file: Option<File>, environment: &Environment, signing_keys: SigningKeys) -> Result<Config, ConfigErrors> {
    let is_named = file.is_some();
    let document = Document::merge(file, environment).map_err(ConfigErrors::from)?;
    let report = Report::new(&document, environment, signing_keys);
    let config = config(&Table::root(&document.tree, &report));
    report.refuse_unknown_keys(&document.tree);
    report.conclude(config).map_err(|errors| if is_named { errors } else { errors.without_file() })
}

fn config(root: &Table) -> Result<Config, Reported> {
    let server = root.table("server").and_then(|table| server::server(&table));
    let database = root.table("database").and_then(|table| server::database(&table));
    let receipts = root.table("receipts").and_then(|table| receipts::receipts(&table));
    let webhooks = root.table("webhooks").and_then(|table| webhooks::webhooks(&table));
    let limits = root.table("limits").and_then(|table| limits::limits(&table));
    let discovery = root.table("discovery").and_then(|table| discovery::discovery(&table));
    let reconcile = root.table("reconcile").and_then(|table| reconcile::reconcile(&table));
    let log = root.table("log").and_then(|table| server::log(&table));
    let networks = network::networks(root);
    Ok(Config {
        server: server?,
        database: database?,
        signing_keys: root.report.signing_keys,
        networks: networks?,
        receipts: receipts?,
        webhooks: webhooks?,
        limits: limits?,
        discovery: discovery?,
        reconcile: reconcile?,
        log: log?,
    })
}

#[cfg(test)]
mod tests;
