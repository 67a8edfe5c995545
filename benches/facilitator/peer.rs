//! A facilitator under load, whoever wrote it.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::support::chain::Chain;
use super::support::facilitator::free_port;
use super::support::proxy::Proxy;
use super::support::{eventually, http_client, root};

/// Where a facilitator answers, and which process it is.
pub struct Peer {
    /// Its base address.
    pub url: String,
    /// Its process.
    pub pid: u32,
    /// Ends with the peer, if the peer was started here.
    pub _process: Option<Child>,
}

impl Peer {
    /// Resident memory of the process in MiB.
    pub fn memory_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0) / 1_024.0
    }
}

/// The TypeScript reference, served with express as its examples do.
pub async fn start_reference(chain: &Chain, proxy: &Proxy, nonce_manager: bool) -> Peer {
    let port = free_port();
    let mut command = Command::new("node");
    command.arg(root().join("dev/reference-facilitator.mjs"));
    command.args(["--rpc", &proxy.url, "--network", &chain.network(), "--port", &port.to_string()]);
    command.args(["--key", &chain.text("/accounts/signers/1/key")]);
    if nonce_manager {
        command.arg("--nonce-manager");
    }
    let process = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn();
    let process = process.expect("node runs");
    let url = format!("http://127.0.0.1:{port}");
    let client = http_client();
    eventually("the reference facilitator", Duration::from_secs(30), || async {
        client.get(format!("{url}/supported")).send().await.ok().filter(|answer| answer.status().is_success())
    })
    .await;
    Peer { url, pid: process.id().expect("it runs"), _process: Some(process) }
}
