//! The `quittance` command.

use std::process::ExitCode;

use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    quittance::cli::Cli::parse().run().await
}
