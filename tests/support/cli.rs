//! Commands of our binary beside the service, on the same configuration.

use std::process::Output;

use super::facilitator::{Facilitator, binary};

/// Runs a command on the configuration of a facilitator.
pub async fn run(facilitator: &Facilitator, arguments: &[&str]) -> Output {
    let mut command = tokio::process::Command::new(binary());
    command.args(arguments).arg("--config").arg(facilitator.config_file()).envs(facilitator.environment().iter().cloned());
    command.stdin(std::process::Stdio::null()).output().await.expect("the binary runs")
}

/// The same for a command that must work; what it printed.
pub async fn run_well(facilitator: &Facilitator, arguments: &[&str]) -> String {
    let output = run(facilitator, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// An account with its first key.
pub struct Account {
    /// Its identifier.
    pub id: String,
    /// The key, as its holder writes it.
    pub key: String,
}

/// Opens an account whose key is good for `scope`.
pub async fn open_account(facilitator: &Facilitator, scope: &str) -> Account {
    let printed = run_well(facilitator, &["account", "create", "somebody", "--scope", scope]).await;
    Account { id: word_behind(&printed, "account"), key: word_behind(&printed, "API key") }
}

/// The word that a command printed behind a label.
pub fn word_behind(printed: &str, label: &str) -> String {
    let line = printed.lines().find_map(|line| line.strip_prefix(label)).unwrap_or_else(|| panic!("no {label} in {printed}"));
    line.trim().to_owned()
}
