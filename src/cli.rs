//! The command line.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};

use crate::app::reload::Origin;
use crate::app::{self, AppError, OpenLedger, Role};
use crate::config::{self, Config, ConfigErrors, SigningKeys};
use crate::domain::account::Scope;
use crate::domain::clock::{Clock, SystemClock};
use crate::domain::ids::{AccountId, ApiKeyId};
use crate::domain::network::Network;
use crate::flow::account::{self, AccountError};
use crate::flow::address::AddressError;
use crate::ledger::{Ledger, LedgerError};
use crate::telemetry::{self, ErrorChain, TelemetryError};

mod keys;
mod receipt;

use keys::{KeysCommand, KeysError};
use receipt::{ReceiptCommand, ReceiptCommandError};

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
        /// What the replica does that is looked at; everything by default. Without `lane` the keys of signers are left alone.
        #[arg(long, value_delimiter = ',', value_enum)]
        roles: Vec<Role>,
    },
    /// Brings the schema of the database up to date.
    Migrate {
        #[command(flatten)]
        config: ConfigFile,
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
    /// Runs networks.
    #[command(subcommand)]
    Network(NetworkCommand),
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

#[derive(Debug, Subcommand)]
enum NetworkCommand {
    /// Lets a halted network go on, after somebody looked at why it was halted.
    Resume {
        #[command(flatten)]
        config: ConfigFile,
        /// For example eip155:8453.
        network: Network,
        /// The history that the nodes tell now is the true one: undo what contradicts it, even if it was final.
        #[arg(long)]
        accept_history: bool,
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
    #[error("{0} is not halted")]
    NotHalted(Network),
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
                ExitCode::FAILURE
            }
        }
    }
}

impl Command {
    async fn run(self) -> Result<ExitCode, CommandError> {
        match self {
            Self::Serve { config, roles: said } => serve(&config, roles(said)).await?,
            Self::Check { config, roles: said } => return check(&config, &roles(said)).await,
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
                let loaded = config.load(SigningKeys::Unwanted)?;
                with_ledger(&config, async |ledger| {
                    let flows = app::flows(&loaded, ledger, app::metrics(&loaded))?;
                    let granted = flows.grant_address(account, network, &address, &note).await?;
                    println!("{}  {} on {} is {account}'s", granted.id, granted.address, granted.network);
                    Ok(())
                })
                .await?;
            }
            Self::Keys(command) => command.run()?,
            Self::Receipt(command) => command.run().await?,
            Self::Openapi => print!("{}", crate::http::openapi::text()),
            Self::Network(NetworkCommand::Resume { config, network, accept_history }) => {
                with_ledger(&config, async |ledger| {
                    if !ledger.resume(&network, accept_history).await? {
                        return Err(CommandError::NotHalted(network));
                    }
                    println!("{network} goes on");
                    Ok(())
                })
                .await?;
            }
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

async fn check(config: &ConfigFile, roles: &BTreeSet<Role>) -> Result<ExitCode, CommandError> {
    let findings = crate::check::check(&config.load(app::signing_keys(roles))?).await;
    for finding in &findings {
        println!("{finding}");
    }
    let sound = findings.iter().all(|finding| finding.result.is_ok());
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Opens the ledger for one command, and closes it again.
async fn with_ledger(
    config: &ConfigFile,
    work: impl AsyncFnOnce(Ledger) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let OpenLedger { ledger, cluster } = app::open_ledger(&config.load(SigningKeys::Unwanted)?).await?;
    let done = work(ledger.clone()).await;
    ledger.pool().close().await;
    if let Some(cluster) = cluster {
        cluster.stop().await.map_err(AppError::from)?;
    }
    done
}
