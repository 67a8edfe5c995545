//! Our own binary as a process.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::process::{Child, Command};

use super::chain::Chain;
use super::{contract, eventually};

/// A running `quittance serve`. It is killed when this is dropped.
pub struct Facilitator {
    /// Where its API listens.
    pub url: String,
    /// Where it listens for gRPC.
    pub grpc: String,
    /// Where its operations listen.
    pub operations: String,
    /// The process.
    pub process: Child,
    directory: PathBuf,
    environment: Vec<(String, String)>,
    client: reqwest::Client,
}

/// One network in the configuration.
#[derive(Clone, Debug)]
pub struct NetworkOptions {
    /// CAIP-2.
    pub id: String,
    /// Nodes or proxies.
    pub rpc: Vec<String>,
    /// Private keys. Without any, `lines` says who signs.
    pub keys: Vec<String>,
    /// Further lines of the section.
    pub lines: String,
}

impl NetworkOptions {
    /// A chain, reached directly, with its first signer, final after 16 confirmations.
    pub fn of(chain: &Chain) -> Self {
        Self {
            id: chain.network(),
            rpc: vec![chain.url.clone()],
            keys: vec![chain.text("/accounts/signers/0/key")],
            lines: "final = 16\n".to_owned(),
        }
    }
}

/// How a facilitator is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The networks.
    pub networks: Vec<NetworkOptions>,
    /// An external database; absent for a private one.
    pub database: Option<SecretString>,
    /// Lines for `[server]`; access is open unless they say otherwise. `[limits]` may follow; without it nobody is limited, because
    /// tests ask from one address, and as often as they can.
    pub server: String,
    /// `--roles`, if not all.
    pub roles: Option<String>,
}

impl Options {
    /// One network on an external database.
    pub fn new(network: NetworkOptions, database: &SecretString) -> Self {
        Self { networks: vec![network], database: Some(database.clone()), server: "access = \"open\"\n".to_owned(), roles: None }
    }
}

/// Nobody is limited.
const NO_LIMITS: &str = "[limits]\nkey_per_second = \"none\"\npayer_per_second = \"none\"\naddress_per_second = \"none\"\n";

/// The binary under test: what cargo built for this test, or `QUITTANCE_BIN`.
pub fn binary() -> PathBuf {
    std::env::var_os("QUITTANCE_BIN").map_or_else(|| env!("CARGO_BIN_EXE_quittance").into(), PathBuf::from)
}

/// A port that is free, and that nothing takes by chance until somebody listens there: it is below those that the system gives to
/// outgoing connections, and no two callers get the same.
pub fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = 12_000 + u16::try_from(std::process::id().wrapping_mul(7_919) % 18_000).expect("below 18,000");
    loop {
        let port = first + TAKEN.fetch_add(1, Ordering::Relaxed);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Facilitator {
    /// Starts the binary and waits until it is ready.
    pub async fn start(options: &Options) -> Self {
        let mut facilitator = Self::spawn(options);
        facilitator.until_ready(Duration::from_mins(1)).await;
        facilitator
    }

    /// Starts the binary without waiting.
    pub fn spawn(options: &Options) -> Self {
        let directory = super::database::open_directory();
        let (api, grpc, operations) = (free_port(), free_port(), free_port());
        let mut text = format!(
            "[server]\nlisten = \"127.0.0.1:{api}\"\noperations_listen = \"127.0.0.1:{operations}\"\ngrpc_listen = \"127.0.0.1:{grpc}\"\n{}\n{}\n[database]\ndata_dir = {:?}\n",
            options.server,
            if options.server.contains("[limits]") { "" } else { NO_LIMITS },
            directory.join("data"),
        );
        let mut environment = Vec::new();
        if let Some(database) = &options.database {
            environment.push(("QUITTANCE_DATABASE__URL".to_owned(), database.expose_secret().to_owned()));
        }
        for (index, network) in options.networks.iter().enumerate() {
            text.push_str(&format!("\n[[networks]]\nid = {:?}\nrpc = {:?}\n{}", network.id, network.rpc, network.lines));
            let signers = network.keys.iter().enumerate().map(|(number, key)| {
                let variable = format!("TEST_SIGNER_{index}_{number}");
                environment.push((variable.clone(), key.clone()));
                format!("{{ name = \"signer-{number}\", key = \"env:{variable}\" }}")
            });
            let signers: Vec<_> = signers.collect();
            if !signers.is_empty() {
                text.push_str(&format!("signers = [{}]\n", signers.join(", ")));
            }
        }
        std::fs::write(directory.join("quittance.toml"), text).expect("the configuration is writable");
        let mut facilitator = Self {
            url: format!("http://127.0.0.1:{api}"),
            grpc: format!("http://127.0.0.1:{grpc}"),
            operations: format!("http://127.0.0.1:{operations}"),
            process: idle(),
            directory,
            environment,
            client: super::http_client(),
        };
        facilitator.process = facilitator.launch(options.roles.as_deref());
        facilitator
    }

    fn launch(&self, roles: Option<&str>) -> Child {
        let log =
            std::fs::File::options().create(true).append(true).open(self.directory.join("log")).expect("the log is writable");
        let mut command = Command::new(binary());
        command.arg("serve").arg("--config").arg(self.directory.join("quittance.toml"));
        if let Some(roles) = roles {
            command.args(["--roles", roles]);
        }
        command.envs(self.environment.clone()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
        command.spawn().expect("the binary runs")
    }

    /// Starts the same binary with the same configuration again, and returns how long it took to be ready.
    pub async fn restart(&mut self) -> Duration {
        let started = Instant::now();
        self.process = self.launch(None);
        self.until_ready(Duration::from_mins(1)).await;
        started.elapsed()
    }

    /// Ends it as a power failure would.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("it can be killed");
    }

    /// Ends it as an operator would.
    pub async fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = self.process.id().expect("it runs").to_string();
        std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        self.process.wait().await.expect("it ends")
    }

    /// Waits for readiness.
    pub async fn until_ready(&mut self, within: Duration) {
        let log = self.directory.join("log");
        let deadline = Instant::now() + within;
        loop {
            if let Ok(answer) = self.client.get(format!("{}/readyz", self.operations)).send().await
                && answer.status().is_success()
            {
                return;
            }
            let ended = self.process.try_wait().expect("it can be asked");
            let words = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "the facilitator ended with {ended:?}:\n{}", words());
            assert!(Instant::now() < deadline, "the facilitator is not ready:\n{}", words());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Everything it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// The directory with its configuration.
    pub fn config_file(&self) -> PathBuf {
        self.directory.join("quittance.toml")
    }

    /// Its environment, for further commands on the same configuration.
    pub fn environment(&self) -> &[(String, String)] {
        &self.environment
    }

    /// A client of its own connections.
    pub fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// `POST /verify`.
    pub async fn verify(&self, body: &Value) -> (u16, Value) {
        self.post("/verify", body).await
    }

    /// `POST /settle`.
    pub async fn settle(&self, body: &Value) -> (u16, Value) {
        self.post("/settle", body).await
    }

    /// `POST /settle`, where the service may not be there yet.
    pub async fn try_settle(&self, body: &Value) -> Option<(u16, Value)> {
        self.try_post("/settle", body).await.ok()
    }

    /// A POST with a JSON body; status and answer.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.try_post(path, body).await.expect("the facilitator answers")
    }

    /// The same, where the connection may break.
    pub async fn try_post(&self, path: &str, body: &Value) -> Result<(u16, Value), reqwest::Error> {
        self.caller().try_post(path, body).await
    }

    /// Somebody who calls from a task of its own, and outlives the process.
    pub fn caller(&self) -> Caller {
        Caller { url: self.url.clone(), client: self.client.clone() }
    }

    /// Sends the process a signal by its name, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let pid = self.process.id().expect("it runs").to_string();
        let done = std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill runs");
        assert!(done.success());
    }

    /// Runs another command of the binary on the same configuration; returns whether it succeeded, and its words.
    pub async fn command(&self, words: &[&str]) -> (bool, String) {
        let output = super::cli::run(self, words).await;
        let words = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&words).into_owned())
    }

    /// A GET; status and answer.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.expect("the facilitator answers");
        let (status, text) = contract::read_text("GET", answer).await.expect("an answer ends");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Settles as the servers of the SDKs do: asks once more, with the same body, after a pending answer; and again while the
    /// service is away, as their callers do.
    pub async fn settle_patiently(&self, body: &Value, within: Duration) -> Value {
        self.caller().settle_patiently(body, within).await
    }

    /// One value out of `/metrics`, summed over every series whose line begins with `prefix`.
    pub async fn metric(&self, prefix: &str) -> f64 {
        let text =
            self.client.get(format!("{}/metrics", self.operations)).send().await.expect("metrics").text().await.expect("text");
        let lines = text.lines().filter(|line| line.starts_with(prefix));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// The most memory that the process has ever had, in MiB.
    pub fn peak_mib(&self) -> f64 {
        let pid = self.process.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib / 1_024.0
    }
}

/// Somebody who calls a facilitator.
#[derive(Clone)]
pub struct Caller {
    url: String,
    client: reqwest::Client,
}

impl Caller {
    /// A POST with a JSON body; status and answer.
    pub async fn try_post(&self, path: &str, body: &Value) -> Result<(u16, Value), reqwest::Error> {
        self.try_post_text(path, body.to_string()).await
    }

    /// The same with a body of any form.
    pub async fn try_post_text(&self, path: &str, body: String) -> Result<(u16, Value), reqwest::Error> {
        let request = self.client.post(format!("{}{path}", self.url)).header("content-type", "application/json").body(body);
        contract::read("POST", request.send().await?).await
    }

    /// See [`Facilitator::settle_patiently`].
    pub async fn settle_patiently(&self, body: &Value, within: Duration) -> Value {
        eventually("an end of the settlement", within, || async {
            let (_, answer) = self.try_post("/settle", body).await.ok()?;
            let reason = answer["errorReason"].as_str().unwrap_or_default();
            (!["settlement_pending", "unexpected_settle_error"].contains(&reason)).then_some(answer)
        })
        .await
    }
}

impl Drop for Facilitator {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the facilitator's log ---\n{}", self.log());
        }
        drop(self.process.start_kill());
        drop(std::fs::remove_dir_all(&self.directory));
    }
}

/// A process that stands in until the real one is started.
fn idle() -> Child {
    Command::new("true").spawn().expect("true runs")
}

/// Several replicas on one database.
pub async fn replicas(count: usize, options: &Options) -> Vec<Arc<Facilitator>> {
    let mut replicas = Vec::new();
    for _ in 0..count {
        replicas.push(Arc::new(Facilitator::start(options).await));
    }
    replicas
}
