//! `quittance keys`: makes, rotates and lists the keys of receipts.

use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Subcommand;
use secrecy::ExposeSecret;

use crate::app::receipt_keys::{self, ReceiptKeysError};
use crate::domain::clock::{Clock, SystemClock};
use crate::signing::jwk::PublicKey;
use crate::signing::keyring::{Keyring, KeyringError};

/// What is done with a keyring.
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Makes a keyring and prints it, or writes it to a new file that only its owner can read.
    Generate {
        /// The new file.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Adds new keys to a keyring, which take over after a while. Have all replicas read it before that (SIGHUP).
    Rotate {
        /// The file with the keyring.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// After so many seconds the new keys sign.
        #[arg(long, value_name = "SECONDS", default_value_t = 600)]
        after: u32,
    },
    /// Lists the keys of a keyring, without their private parts.
    List {
        /// The file with the keyring.
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
    },
}

/// Why there is no keyring, or no other one.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    #[error(transparent)]
    File(#[from] ReceiptKeysError),
    #[error("no keys can be made")]
    Keyring(#[from] KeyringError),
}

impl KeysCommand {
    pub(super) fn run(self) -> Result<(), KeysError> {
        match self {
            Self::Generate { out } => {
                let text = Keyring::generate(SystemClock.now())?.to_text();
                match out {
                    Some(file) => receipt_keys::create(&file, &text)?,
                    None => println!("{}", text.expose_secret()),
                }
            }
            Self::Rotate { file, after } => {
                let mut keyring = receipt_keys::read(&file)?;
                let at = SystemClock.now() + TimeDelta::seconds(after.into());
                keyring.rotate(at)?;
                receipt_keys::replace(&file, &keyring.to_text())?;
                println!("new keys sign from {} on; have all replicas read the configuration again before that", time(at));
            }
            Self::List { file } => {
                for key in receipt_keys::read(&file)?.public().keys() {
                    println!("{}", line(key));
                }
            }
        }
        Ok(())
    }
}

fn line(key: &PublicKey) -> String {
    let kind = key.material().address().map_or_else(|| "Ed25519".to_owned(), |address| format!("secp256k1 {address}"));
    let until = key.retired_at().map_or_else(|| "in use".to_owned(), |at| format!("until {}", time(at)));
    format!("{}  {kind}  from {}  {until}", key.kid(), time(key.created_at()))
}

fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}
