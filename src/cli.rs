//! The command line.
//!
//! Exit codes: 0 done, and everything is right; 1 something is wrong, or went wrong; 2 the command makes no sense; 3 there is no such
//! thing, or nothing to change; 4 database or nodes are out of reach now, and the same command may work later.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use crate::app::reload::Origin;
use crate::app::{self, AppError, OpenLedger, Role};
use crate::chain::{Chain, ChainError};
use crate::config::{self, Config, ConfigErrors, SigningKeys};
use crate::domain::account::Scope;
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::ids::{AccountId, ApiKeyId, PaymentId};
use crate::domain::network::Network;
use crate::flow::account::{self, AccountError};
use crate::flow::address::AddressError;
use crate::flow::backfill::BackfillError;
use crate::flow::{Flows, Unavailable};
use crate::ledger::{Ledger, LedgerError};
use crate::telemetry::{self, ErrorChain, TelemetryError};

mod backfill;
mod keys;
mod lane;
mod network;
mod output;
mod payment;
mod receipt;
mod reconcile;

use backfill::BackfillCommand;
use keys::{KeysCommand, KeysError};
use lane::LaneCommand;
use network::NetworkCommand;
use output::Output;
use payment::PaymentCommand;
use receipt::{ReceiptCommand, ReceiptCommandError};
use reconcile::ReconcileCommand;

/// An x402 facilitator with a ledger.
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file; every key can also come as `QUITTANCE_SECTION__KEY` from the environment.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the service.
    Serve {
        #[command(flatten)]
        config: ConfigFile,
        /// What this replica does; everything by default.
        #[arg(long, value_delimiter = ',', value_enum)]
        roles: Vec<Role>,
    },
    /// Looks at everything that the service depends on; exit code 1 if anything is wrong.
    Check {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        output: Output,
        /// What the replica does that is looked at; everything by default. Without `lane` the keys of signers are left alone.
        #[arg(long, value_delimiter = ',', value_enum)]
        roles: Vec<Role>,
    },
    /// Brings the schema of the database up to date.
    Migrate {
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Says that the database is an older copy of the ledger, where that does not show: a copy of its files. To be run before the service.
    Restored {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        output: Output,
    },
    /// Runs accounts.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Runs API keys.
    #[command(subcommand)]
    ApiKey(ApiKeyCommand),
    /// Runs merchants' addresses.
    #[command(subcommand)]
    Address(AddressCommand),
    /// Shows payments.
    #[command(subcommand)]
    Payment(PaymentCommand),
    /// Runs lanes.
    #[command(subcommand)]
    Lane(LaneCommand),
    /// Runs networks.
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Reads blocks again for registered addresses and for payments. What is recorded stays what it is.
    Backfill(BackfillCommand),
    /// Compares networks with the ledger now, as it is done daily; exit code 1 if they differ.
    Reconcile(ReconcileCommand),
    /// Makes and rotates the keys of receipts.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Verifies receipts.
    #[command(subcommand)]
    Receipt(ReceiptCommand),
    /// Prints the OpenAPI document that describes the API.
    Openapi,
}

#[derive(Debug, Subcommand)]
enum AccountCommand {
    /// Opens an account, and prints its id and a first API key, once.
    Create {
        #[command(flatten)]
        config: ConfigFile,
        /// What people call the account.
        name: String,
        /// What the key is good for.
        #[arg(long, value_enum, default_value = "provider")]
        scope: Scope,
    },
}

#[derive(Debug, Subcommand)]
enum ApiKeyCommand {
    /// Makes a further key for an account, and prints it, once.
    Create {
        #[command(flatten)]
        config: ConfigFile,
        /// Whose key.
        account: AccountId,
        /// What the key is good for.
        #[arg(long, value_enum, default_value = "provider")]
        scope: Scope,
    },
    /// Lists the keys of an account, without their secrets.
    List {
        #[command(flatten)]
        config: ConfigFile,
        /// Whose keys.
        account: AccountId,
    },
    /// Makes a key worthless.
    Revoke {
        #[command(flatten)]
        config: ConfigFile,
        /// Which key: the part before the dot.
        key: ApiKeyId,
    },
}

#[derive(Debug, Subcommand)]
enum AddressCommand {
    /// Gives an account an address whose owner cannot sign, on the operator's word.
    Grant {
        #[command(flatten)]
        config: ConfigFile,
        /// Whose it is from now on.
        account: AccountId,
        /// For example eip155:8453.
        network: Network,
        /// The address.
        address: String,
        /// Why, for those who ask later.
        #[arg(long)]
        note: String,
    },
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Receipt(#[from] ReceiptCommandError),
    #[error("there is no such key, or it was revoked before")]
    NoSuchKey,
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Backfill(#[from] BackfillError),
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error("there is no payment {0}")]
    NoSuchPayment(PaymentId),
    #[error("{0} is not in the configuration")]
    NoSuchNetwork(Network),
    #[error("{0} has no lane {1}")]
    NoSuchLane(Network, String),
    #[error("the lane {1} of {0} was drained before")]
    DrainedBefore(Network, String),
    #[error("the lane {1} of {0} is not drained")]
    NotDrained(Network, String),
    #[error("{0} was halted by an operator before")]
    HaltedBefore(Network),
    #[error("{0} is not halted")]
    NotHalted(Network),
    #[error("nothing of {0} was read yet, so nothing is begun there")]
    NotRead(Network),
    #[error("{0} is halted, or transfers are not recorded there, so there is nothing to compare")]
    NotCompared(Network),
    #[error("somebody else compares at this moment")]
    BeingCompared,
}

/// The exit code of a command that was told of something that is not there, or is so already.
const NOTHING_TO_DO: u8 = 3;

/// The exit code of a command that may work later.
const OUT_OF_REACH: u8 = 4;

impl CommandError {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoSuchKey
            | Self::Account(AccountError::NoSuchAccount(_))
            | Self::NoSuchPayment(_)
            | Self::NoSuchNetwork(_)
            | Self::NoSuchLane(..)
            | Self::DrainedBefore(..)
            | Self::NotDrained(..)
            | Self::HaltedBefore(_)
            | Self::NotHalted(_)
            | Self::NotRead(_)
            | Self::NotCompared(_)
            | Self::Backfill(
                BackfillError::NotBegun(_)
                | BackfillError::NotRead { .. }
                | BackfillError::Reversed { .. }
                | BackfillError::NotRecorded(_),
            ) => NOTHING_TO_DO.into(),
            Self::Chain(ChainError::Unavailable { .. })
            | Self::Ledger(LedgerError::Unavailable(_))
            | Self::App(AppError::Ledger(LedgerError::Unavailable(_)))
            | Self::Unavailable(_)
            | Self::Backfill(BackfillError::Unavailable(_) | BackfillError::Replaced { .. })
            | Self::BeingCompared => OUT_OF_REACH.into(),
            _ => ExitCode::FAILURE,
        }
    }
}

impl Cli {
    /// Runs the command. Prints what went wrong, and says so in the exit code.
    pub async fn run(self) -> ExitCode {
        // Fails only if it was done before, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        match self.command.run().await {
            Ok(code) => code,
            Err(CommandError::Config(errors)) => {
                eprintln!("{errors}");
                ExitCode::FAILURE
            }
            Err(error) => {
                eprintln!("{}", ErrorChain(&error));
                error.exit_code()
            }
        }
    }
}

/// What was done about an older copy of the ledger.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RestoredView {
    /// From when to when what the networks show counts as told.
    counts_as_told: &'static str,
}

impl fmt::Display for RestoredView {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "what the networks show {} counts as told", self.counts_as_told)
    }
}

impl Command {
    async fn run(self) -> Result<ExitCode, CommandError> {
        match self {
            Self::Serve { config, roles: said } => serve(&config, roles(said)).await?,
            Self::Check { config, output, roles: said } => return check(&config, output, &roles(said)).await,
            Self::Restored { config, output } => {
                with_ledger(&config, async |ledger| Ok(ledger.distrust(SystemClock.now()).await?)).await?;
                output.tell(&RestoredView { counts_as_told: "up to the next start" });
            }
            Self::Migrate { config } => app::migrate(&config.load(SigningKeys::Unwanted)?).await?,
            Self::Account(AccountCommand::Create { config, name, scope }) => {
                with_ledger(&config, async |ledger| {
                    let (account, key) = account::create(&ledger, &SystemClock, &name, scope).await?;
                    println!("account  {account}\nAPI key  {}\nThe key is shown this once.", key.reveal());
                    Ok(())
                })
                .await?;
            }
            Self::ApiKey(command) => command.run().await?,
            Self::Address(AddressCommand::Grant { config, account, network, address, note }) => {
                with_flows(&config, async |flows| {
                    let granted = flows.grant_address(account, network, &address, &note).await?;
                    println!("{}  {} on {} is {account}'s", granted.id, granted.address, granted.network);
                    Ok(())
                })
                .await?;
            }
            Self::Keys(command) => command.run()?,
            Self::Receipt(command) => command.run().await?,
            Self::Openapi => print!("{}", crate::http::openapi::text()),
            Self::Payment(command) => command.run().await?,
            Self::Lane(command) => command.run().await?,
            Self::Network(command) => command.run().await?,
            Self::Backfill(command) => command.run().await?,
            Self::Reconcile(command) => return command.run().await,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl ApiKeyCommand {
    async fn run(self) -> Result<(), CommandError> {
        match self {
            Self::Create { config, account, scope } => {
                with_ledger(&config, async |ledger| {
                    let key = account::create_key(&ledger, &SystemClock, account, scope).await?;
                    println!("API key  {}\nThe key is shown this once.", key.reveal());
                    Ok(())
                })
                .await
            }
            Self::List { config, account } => {
                with_ledger(&config, async |ledger| {
                    for key in ledger.list_keys(account).await? {
                        println!("{}  {}  {}  {}", key.id, key.scope.as_str(), day(key.created_at), revoked(key.revoked_at));
                    }
                    Ok(())
                })
                .await
            }
            Self::Revoke { config, key } => {
                with_ledger(&config, async |ledger| {
                    if !ledger.revoke_key(key, SystemClock.now()).await? {
                        return Err(CommandError::NoSuchKey);
                    }
                    println!("{key} is worth nothing any more");
                    Ok(())
                })
                .await
            }
        }
    }
}

fn day(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d").to_string()
}

fn revoked(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(|| "active".to_owned(), |time| format!("revoked {}", day(time)))
}

impl ConfigFile {
    fn load(&self, signing_keys: SigningKeys) -> Result<Config, ConfigErrors> {
        config::load(self.config.as_deref(), signing_keys)
    }
}

/// What a replica does, which is everything if nothing is said.
fn roles(said: Vec<Role>) -> BTreeSet<Role> {
    let all = [Role::Api, Role::Lane, Role::Watcher, Role::Worker];
    if said.is_empty() { all.into_iter().collect() } else { said.into_iter().collect() }
}

async fn serve(file: &ConfigFile, roles: BTreeSet<Role>) -> Result<(), CommandError> {
    let config = file.load(app::signing_keys(&roles))?;
    let filter = telemetry::init(&config.log)?;
    if let Err(error) = crate::keys::forbid_core_files() {
        tracing::warn!(error = %ErrorChain(&error), "core files could not be forbidden; one would hold keys");
    }
    if let Err(error) = crate::files::raise_limit() {
        tracing::warn!(error = %ErrorChain(&error), "the limit of open files could not be raised");
    }
    Ok(app::serve(config, roles, Origin { file: file.config.clone(), filter }).await?)
}

async fn check(config: &ConfigFile, output: Output, roles: &BTreeSet<Role>) -> Result<ExitCode, CommandError> {
    let report = crate::check::check(&config.load(app::signing_keys(roles))?).await;
    output.tell(&report);
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Opens the ledger for one command, and closes it again.
async fn with_ledger<T>(
    config: &ConfigFile,
    work: impl AsyncFnOnce(Ledger) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    with_loaded(&config.load(SigningKeys::Unwanted)?, work).await
}

/// The same with everything else that the service consists of but keys of signers. No node was asked anything yet.
async fn with_flows<T>(
    config: &ConfigFile,
    work: impl AsyncFnOnce(Arc<Flows>) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let config = config.load(SigningKeys::Unwanted)?;
    with_loaded(&config, async |ledger| work(Arc::new(app::flows(&config, ledger, app::metrics(&config))?)).await).await
}

/// The adapter of a configured network.
fn chain_of<'a>(flows: &'a Flows, network: &Network) -> Result<&'a Arc<dyn Chain>, CommandError> {
    flows.chains.find(network).map_err(|_| CommandError::NoSuchNetwork(network.clone()))
}

async fn with_loaded<T>(config: &Config, work: impl AsyncFnOnce(Ledger) -> Result<T, CommandError>) -> Result<T, CommandError> {
    let OpenLedger { ledger, cluster } = app::open_ledger(config).await?;
    let done = work(ledger.clone()).await;
    ledger.pool().close().await;
    if let Some(cluster) = cluster {
        cluster.stop().await.map_err(AppError::from)?;
    }
    done
}
