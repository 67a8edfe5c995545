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
}

impl Peer {
    /// Resident memory of the process now, in MiB.
    pub fn memory_mib(&self) -> f64 {
        self.status_mib("VmRSS:")
    }

    /// The most resident memory since [`Peer::forget_peak_memory`], in MiB.
    pub fn peak_memory_mib(&self) -> f64 {
        self.status_mib("VmHWM:")
    }

    /// Begins the peak of resident memory anew, with what is resident now.
    pub fn forget_peak_memory(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid), "5").expect("the process runs, and is ours");
    }

    /// The processor time that the process took so far.
    pub fn processor_time(&self) -> Duration {
        processor_time(&self.pid.to_string())
    }

    fn status_mib(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux says how much memory it takes");
        line.split_whitespace().next().and_then(|text| text.parse::<f64>().ok()).expect("a number of KiB") / 1_024.0
    }
}

/// The processor time that a process, or `self`, took so far. Linux counts it in hundredths of a second.
pub fn processor_time(process: &str) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("the process runs");
    // The name, in brackets, may hold spaces. User and system time are the 12th and 13th field after it.
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let ticks = fields.split_whitespace().skip(11).take(2).map(|text| text.parse::<u64>().expect("a number"));
    Duration::from_millis(ticks.sum::<u64>() * 10)
}

/// The TypeScript reference, served with express as its examples do.
pub struct Reference {
    /// Where it answers.
    pub peer: Peer,
    process: Child,
}

impl Reference {
    /// Starts it with the second signer of the chain. As published, it asks the node for the nonce of each transaction; with a
    /// nonce manager it counts them itself.
    pub async fn start(chain: &Chain, proxy: &Proxy, nonce_manager: bool) -> Self {
        Self::start_on(&chain.network(), &chain.text("/accounts/signers/1/key"), proxy, nonce_manager).await
    }

    /// The same on any network, with a key of that network's form.
    pub async fn start_on(network: &str, key: &str, proxy: &Proxy, nonce_manager: bool) -> Self {
        let port = free_port();
        let mut command = Command::new("node");
        command.arg(root().join("dev/reference-facilitator.mjs")).env("NODE_ENV", "production");
        command.args(["--rpc", &proxy.url, "--network", network, "--port", &port.to_string(), "--key", key]);
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
        let pid = process.id().expect("it runs");
        Self { peer: Peer { url, pid }, process }
    }

    /// Ends it, so that it takes nothing from whoever is measured next.
    pub async fn stop(mut self) {
        self.process.kill().await.expect("it can be killed");
    }
}
