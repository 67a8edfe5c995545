//! Operators' commands, beside running replicas, on the same configuration.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::chain::Chain;
use crate::support::facilitator::{Facilitator, NetworkOptions};
use crate::support::{cli, eventually};

mod books;
mod orders;
mod payments;

const PATIENCE: Duration = Duration::from_secs(30);

/// Exit code and JSON of a command.
async fn run(facilitator: &Facilitator, arguments: &[&str]) -> (i32, Value) {
    let output = cli::run(facilitator, &[arguments, &["--json"]].concat()).await;
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    let found = serde_json::from_slice(&output.stdout).unwrap_or(Value::String(words));
    (output.status.code().expect("it ends by itself"), found)
}

/// The JSON of a command that must work.
async fn tell(facilitator: &Facilitator, arguments: &[&str]) -> Value {
    let (code, found) = run(facilitator, arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {found}");
    found
}

/// The exit code and the words of a command that must not work.
async fn fail(facilitator: &Facilitator, arguments: &[&str]) -> (i32, String) {
    let output = cli::run(facilitator, arguments).await;
    assert!(!output.status.success() && output.stdout.is_empty(), "{arguments:?}: {output:?}");
    (output.status.code().expect("it ends by itself"), String::from_utf8(output.stderr).expect("UTF-8"))
}

/// A network with as many signers.
fn with_signers(chain: &Chain, count: usize) -> NetworkOptions {
    let keys = (0..count).map(|index| chain.text(&format!("/accounts/signers/{index}/key"))).collect();
    NetworkOptions { keys, ..NetworkOptions::of(chain) }
}

/// Switches the regular mining of blocks on or off.
async fn mining(chain: &Chain, on: bool) {
    chain.rpc("evm_setIntervalMining", json!([u8::from(on)])).await;
}

/// Waits until a replica offers the network, or does no more.
async fn until_offered(facilitator: &Facilitator, offered: bool) {
    eventually(&format!("offered: {offered}"), PATIENCE, || async {
        let kinds = facilitator.get("/supported").await.1["kinds"].as_array().map_or(0, Vec::len);
        ((kinds > 0) == offered).then_some(())
    })
    .await;
}
