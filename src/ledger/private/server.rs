//! The server's process: its start, its takeover and its end.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use super::account::Account;
use super::endpoint::{Answer, Endpoint};
use super::layout::{self, Layout};
use super::process::{self, PidFile};
use super::programs::Programs;
use super::{POLL, PrivateClusterError, failed};

/// How long a stop may take. Mode fast ends all sessions and writes one checkpoint of at most `shared_buffers`.
pub const STOP_TIMEOUT: Duration = Duration::from_mins(1);

/// The log begins anew at a start that finds it this large; the one before is kept.
const LOG_BYTES_MAX: u64 = 1024 * 1024;

/// How much of the log an error quotes, from its end.
const LOG_QUOTE_BYTES: usize = 2000;

/// The server's settings. The command line wins over every file, so these hold whatever is in `postgresql.conf`.
const SETTINGS: [&str; 11] = [
    "listen_addresses=",
    "unix_socket_permissions=0700",
    // A payment that was answered must survive the loss of power.
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    // PostgreSQL's own default. What is not used of it costs nothing, and the index of a million registered addresses stays in it.
    "shared_buffers=128MB",
    "max_wal_size=256MB",
    "jit=off",
    // One log file, ours. Failed statements come back to us as errors and need not be written twice, which also bounds the log.
    "logging_collector=off",
    "log_min_messages=log",
    "log_checkpoints=off",
];

/// Connections beyond those of the owner's pool: for its listener, for guests, which rarely need more than a few, and for whoever makes
/// a backup.
const CONNECTIONS_SPARE: u32 = 44;

/// What is needed to start a server on an initialised cluster.
#[derive(Debug)]
pub struct Server<'a> {
    /// Where.
    pub layout: &'a Layout,
    /// As whom.
    pub account: &'a Account,
    /// With which programs.
    pub programs: &'a Programs,
    /// How many connections the owner's pool may open. A server that is taken over keeps the limit with which it was started.
    pub connections_max: u32,
}

impl Server<'_> {
    /// Takes over the server that runs, or starts one. Returns its process in the second case.
    ///
    /// The caller holds the owner's lock, so nobody else starts one meanwhile.
    pub async fn bring_up(&self) -> Result<(Endpoint, Option<Child>), PrivateClusterError> {
        let mut cleared = false;
        loop {
            if let Some(endpoint) = self.orphan().await? {
                tracing::info!("took over the database server of an owner that is gone");
                return Ok((endpoint, None));
            }
            // An orphan that serves but does not answer is still starting, recovering or stopping.
            if process::any_serves(self.layout.cluster())? {
                sleep(POLL).await;
                continue;
            }
            match self.launch().await {
                Err(PrivateClusterError::Start { .. }) if !cleared && self.clear_stale_locks()? => cleared = true,
                launched => return launched.map(|(endpoint, process)| (endpoint, Some(process))),
            }
        }
    }

    /// The endpoint of a server that takes connections although its owner is gone.
    async fn orphan(&self) -> Result<Option<Endpoint>, PrivateClusterError> {
        let Some(endpoint) = Endpoint::running(self.layout)? else { return Ok(None) };
        let answers = endpoint.probe().await? != Answer::NotNow;
        Ok(answers.then_some(endpoint))
    }

    /// Starts a server and waits until it takes connections.
    async fn launch(&self) -> Result<(Endpoint, Child), PrivateClusterError> {
        let endpoint = Endpoint::new(self.layout, self.layout.make_socket_directory(self.account)?)?;
        let (log, beginning) = open_log(self.layout)?;
        let mut process = self.spawn(&endpoint, log)?;
        loop {
            match endpoint.probe().await {
                Ok(Answer::Ready | Answer::NoDatabase) => return Ok((endpoint, process)),
                Ok(Answer::NotNow) => sleep(POLL).await,
                Err(error) => {
                    // A server that we cannot use shall not outlive the attempt.
                    interrupt(process.id().and_then(|pid| pid.try_into().ok()).unwrap_or_default())?;
                    return Err(error);
                }
            }
            if process.try_wait().map_err(failed("wait for", &self.programs.postgres()))?.is_some() {
                self.layout.remove_socket_directory(endpoint.socket_directory());
                return Err(PrivateClusterError::Start { log: self.layout.log(), output: quote_log(self.layout, beginning) });
            }
        }
    }

    fn spawn(&self, endpoint: &Endpoint, log: File) -> Result<Child, PrivateClusterError> {
        let program = self.programs.postgres();
        let second = log.try_clone().map_err(failed("open", &self.layout.log()))?;
        let mut socket = OsString::from("unix_socket_directories=");
        socket.push(endpoint.socket_directory());

        let mut command = self.account.command(&program);
        command.arg("-D").arg(self.layout.cluster()).arg("-p").arg(layout::PORT.to_string()).arg("-c").arg(socket);
        command.args(["-c", &format!("cluster_name={}", process::mark(self.layout.cluster())?)]);
        command.args(["-c", &format!("max_connections={}", self.connections_max.saturating_add(CONNECTIONS_SPARE))]);
        command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        // A process group of its own: the terminal's Ctrl-C is for us, and we stop the server when its last payment is written.
        command.process_group(0).stdout(log).stderr(second);
        command.spawn().map_err(failed("run", &program))
    }

    /// Removes the lock files of a server that is gone and whose pid now belongs to somebody else. Says whether there were any.
    ///
    /// PostgreSQL itself sees when the pid in a lock file is free. When another process of the same user has it, PostgreSQL refuses to
    /// start, and rightly so, for it cannot know. We can: that process does not carry the cluster's mark.
    fn clear_stale_locks(&self) -> Result<bool, PrivateClusterError> {
        let cluster = self.layout.cluster();
        let mut cleared = false;
        for file in [self.layout.pid_file(), self.layout.socket_lock()] {
            let holder = process::holder(&file)?;
            // A process that we cannot see proves nothing, so then the refusal stands.
            if let Some(pid) = holder
                && process::serves(pid, cluster)? == Some(false)
                && !process::any_serves(cluster)?
            {
                tracing::warn!(pid, file = %file.display(), "removing the lock of a server that is gone; its pid has another process now");
                fs::remove_file(&file).map_err(failed("remove", &file))?;
                cleared = true;
            }
        }
        Ok(cleared)
    }
}

/// Stops the server of a cluster in mode fast and waits for its end. A server that is gone already is fine.
pub async fn stop(layout: &Layout, endpoint: &Endpoint, process: Option<Child>) -> Result<(), PrivateClusterError> {
    let Some(PidFile { pid, .. }) = PidFile::read(layout)? else { return Ok(()) };
    if process::serves(pid, layout.cluster())? == Some(true) {
        interrupt(pid)?;
        timeout(STOP_TIMEOUT, ended(pid, layout, process)).await.map_err(|_| PrivateClusterError::StopTimeout { pid })??;
    }
    layout.remove_socket_directory(endpoint.socket_directory());
    Ok(())
}

/// Tells a server to stop in mode fast, which to PostgreSQL is SIGINT.
fn interrupt(pid: i32) -> Result<(), PrivateClusterError> {
    let Some(target) = Pid::from_raw(pid) else { return Ok(()) };
    match kill_process(target, Signal::INT) {
        // A server that ends between the look and the signal has done what we want.
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(failed("stop", Path::new("/proc").join(pid.to_string()).as_path())(error.into())),
    }
}

/// Waits until the server's process is gone. A taken-over server is not our child, so only looking helps.
async fn ended(pid: i32, layout: &Layout, process: Option<Child>) -> Result<(), PrivateClusterError> {
    if let Some(mut process) = process {
        process.wait().await.map_err(failed("wait for", &layout.pid_file()))?;
    }
    while process::serves(pid, layout.cluster())? == Some(true) {
        sleep(POLL).await;
    }
    Ok(())
}

/// Opens the log for a new server and says where its part begins.
fn open_log(layout: &Layout) -> Result<(File, u64), PrivateClusterError> {
    let path = layout.log();
    let length = fs::metadata(&path).map_or(0, |found| found.len());
    if length > LOG_BYTES_MAX {
        fs::rename(&path, path.with_extension("log.1")).map_err(failed("rotate", &path))?;
    }
    let file = File::options().create(true).append(true).mode(0o600).open(&path).map_err(failed("open", &path))?;
    let beginning = file.metadata().map_or(0, |found| found.len());
    Ok((file, beginning))
}

/// What the server said since `beginning`, or the end of it.
fn quote_log(layout: &Layout, beginning: u64) -> String {
    let text = fs::read(layout.log()).unwrap_or_default();
    let fresh = text.get(usize::try_from(beginning).unwrap_or(0)..).unwrap_or_default();
    let quote = fresh.get(fresh.len().saturating_sub(LOG_QUOTE_BYTES)..).unwrap_or_default();
    String::from_utf8_lossy(quote).trim().to_owned()
}
