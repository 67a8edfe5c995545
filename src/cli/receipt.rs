//! `quittance receipt`: verifies receipts without asking the service that signed them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;

use crate::signing::key_set::{KeySet, KeySetError};
use crate::signing::verify::{ReceiptError, verify};

/// What is done with a receipt.
#[derive(Debug, Subcommand)]
pub(super) enum ReceiptCommand {
    /// Verifies a receipt against a set of keys and prints what it says. Whether it was revoked since, only its service knows.
    Verify {
        /// The file with the receipt, or `-` for standard input.
        file: PathBuf,
        /// Where the keys stand: a file, or the address of the service's /.well-known/jwks.json.
        #[arg(long, value_name = "FILE|URL")]
        jwks: String,
        /// Which service must have signed it.
        #[arg(long, value_name = "URL")]
        issuer: Option<String>,
    },
}

/// Why a receipt is not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReceiptCommandError {
    #[error("{what} cannot be read")]
    File {
        what: String,
        #[source]
        source: io::Error,
    },
    #[error("the keys cannot be fetched")]
    Fetch(#[from] reqwest::Error),
    #[error("these are no keys of receipts")]
    Keys(#[from] KeySetError),
    #[error("the receipt does not hold")]
    Receipt(#[from] ReceiptError),
}

/// Keys must come within this.
const FETCH_WITHIN: Duration = Duration::from_secs(10);

impl ReceiptCommand {
    pub(super) async fn run(self) -> Result<(), ReceiptCommandError> {
        let Self::Verify { file, jwks, issuer } = self;
        let receipt = read(&file)?;
        let keys = KeySet::parse(&keys(&jwks).await?)?;
        let issuer = issuer.as_deref().map(|url| url.trim_end_matches('/'));
        let claims = verify(receipt.trim(), &keys, issuer)?;
        let claims: Value = serde_json::from_str(&claims.to_canonical()).expect("claims are written as JSON");
        println!("{claims:#}");
        Ok(())
    }
}

fn read(file: &Path) -> Result<String, ReceiptCommandError> {
    let text = if file == Path::new("-") { io::read_to_string(io::stdin()) } else { std::fs::read_to_string(file) };
    text.map_err(|source| ReceiptCommandError::File { what: file.display().to_string(), source })
}

async fn keys(place: &str) -> Result<String, ReceiptCommandError> {
    if !place.starts_with("https://") && !place.starts_with("http://") {
        return read(Path::new(place));
    }
    let client = reqwest::Client::builder().timeout(FETCH_WITHIN).build()?;
    Ok(client.get(place).send().await?.error_for_status()?.text().await?)
}
