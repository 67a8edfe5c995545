//! The private PostgreSQL cluster: the ledger's home when no `database.url` is configured.
//!
//! The binary runs the machine's own PostgreSQL programs on `data_dir/postgres`. Invariants that callers rely on:
//!
//! - **Durable.** `fsync`, `synchronous_commit` and `full_page_writes` are given on the command line, where no file can undo them.
//! - **Private.** No TCP at all: one unix socket in a directory of mode 0700, and behind it a generated password (scram-sha-256).
//! - **One server.** Whoever holds `owner.lock` is the owner: it starts the server, or takes over one whose owner was killed, and
//!   stops it at its own graceful end. Everybody else on the same directory is a guest who joins the running server.
//! - **Nobody loses the server under their feet.** Each handle holds `users.lock` shared. An owner that leaves while guests are
//!   still there leaves the server to them, and the guest that finds no owner at its own end stops it.
//! - **Killing is safe.** The server survives the death of its owner, in its own process group and with an environment of its own,
//!   which holds none of our secrets. An interrupted `initdb` leaves nothing but a directory that the next start removes.
//!
//! What lies where:
//!
//! | path | what |
//! |---|---|
//! | `data_dir/postgres` | the cluster, or a link to it (see `layout.rs`) |
//! | `data_dir/socket` | the socket, unless the path is too long for one |
//! | `data_dir/postgres.password` | the password, mode 0600 |
//! | `data_dir/postgres.log`, `.log.1` | what the server says |
//! | `data_dir/owner.lock`, `users.lock` | who owns the server, who uses it |
//!
//! Whoever needs more memory, TCP, replicas or backups by other tools wants a PostgreSQL of their own and `database.url`.

mod account;
mod endpoint;
mod init;
mod layout;
mod lock;
mod process;
mod programs;
mod server;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use account::Account;
use endpoint::{Answer, Endpoint};
use layout::Layout;
use lock::Lock;
use programs::Programs;
use server::Server;

/// How long a start may take, recovery after a crash of the machine included.
///
/// `max_wal_size` bounds that recovery to seconds; a minute is for disks and machines that are busy with other things.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// How often we look whether something has happened that nobody tells us about.
const POLL: Duration = Duration::from_millis(20);

/// A handle on the private cluster of a data directory.
///
/// Dropping it without [`stop`](Self::stop) leaves the server running, exactly as if the process had been killed: the next start
/// takes it over.
#[derive(Debug)]
#[must_use = "without `stop` the server keeps running"]
pub struct PrivateCluster {
    layout: Layout,
    endpoint: Endpoint,
    users: Lock,
    role: Role,
}

/// What a handle answers for.
#[derive(Debug)]
enum Role {
    /// Stops the server. Has its process only when it started the server itself, not when it took over an orphan.
    Owner { lock: Lock, process: Option<Child> },
    /// Uses a server that somebody else owns.
    Guest { lock: Lock },
}

/// Why there is no private cluster.
#[derive(Debug, thiserror::Error)]
pub enum PrivateClusterError {
    /// The machine has no PostgreSQL server programs.
    #[error(
        "user {user} finds no PostgreSQL server programs (postgres and initdb) in /usr/lib/postgresql/*/bin or PATH: install \
         PostgreSQL {minimum} or newer (Debian and Ubuntu: apt-get install postgresql), or set database.url",
        minimum = programs::MAJOR_MIN
    )]
    NotInstalled {
        /// Who would run them.
        user: String,
    },
    /// The newest programs are too old.
    #[error(
        "the newest PostgreSQL here is {major} ({}): install PostgreSQL {minimum} or newer (Debian and Ubuntu: apt-get install \
         postgresql), or set database.url", bin.display(), minimum = programs::MAJOR_MIN
    )]
    TooOld {
        /// The major version that was found.
        major: u32,
        /// Where it was found.
        bin: PathBuf,
    },
    /// The cluster belongs to a major version whose programs are gone.
    #[error(
        "{} was made by PostgreSQL {major}, whose programs are not here: install them again (Debian and Ubuntu: apt-get install \
         postgresql-{major}), or move the cluster to a newer version with pg_upgrade", cluster.display()
    )]
    VersionGone {
        /// The cluster's directory.
        cluster: PathBuf,
        /// The major version that made it.
        major: u32,
    },
    /// The user that runs the server cannot get to its directory.
    #[error(
        "user {user}, who runs the database server, may not enter {}: allow it (chmod o+x) or choose another database.data_dir",
        directory.display()
    )]
    Unreachable {
        /// Who cannot enter.
        user: String,
        /// The outermost directory that is closed.
        directory: PathBuf,
    },
    /// The cluster's directory belongs to somebody who cannot run its server.
    #[error("{} belongs to uid {owner}, who cannot run it here: start as that user, or give it to another with chown -R", cluster.display())]
    WrongOwner {
        /// The cluster's directory.
        cluster: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// Something that is not a cluster is where the cluster belongs.
    #[error("{} is in the way: it is neither empty nor a PostgreSQL cluster", cluster.display())]
    NotACluster {
        /// The path that is taken.
        cluster: PathBuf,
    },
    /// The data directory links to a cluster whose place is gone, for example because its disk is not mounted.
    #[error("{} links to {}, which is gone: bring it back, or remove the link to begin with an empty ledger", link.display(), target.display())]
    HomeMissing {
        /// The link in the data directory.
        link: PathBuf,
        /// What it names.
        target: PathBuf,
    },
    /// The cluster is there but its password is not.
    #[error("{} is gone, and without it nobody can connect to the cluster beside it: restore the file", file.display())]
    PasswordMissing {
        /// Where the password belongs.
        file: PathBuf,
    },
    /// The server does not take the password that we have.
    #[error("the server refuses the password in {}: restore the file that belongs to this cluster", file.display())]
    PasswordRefused {
        /// Where the password came from.
        file: PathBuf,
    },
    /// No directory can hold the server's socket.
    #[error("no directory for the database socket: {} is too long or has unusual characters, and /run and /tmp are closed to us", preferred.display())]
    NoSocketDirectory {
        /// Where the socket would have been.
        preferred: PathBuf,
    },
    /// `initdb` failed.
    #[error("initdb failed: {output}")]
    Init {
        /// What it said.
        output: String,
    },
    /// The server ended before it was ready.
    #[error("the database server ended at its start, see {}: {output}", log.display())]
    Start {
        /// Its log.
        log: PathBuf,
        /// What it said this time.
        output: String,
    },
    /// Nothing was ready in time.
    #[error("the cluster in {} was not ready after {} s, see postgres.log there", data_dir.display(), START_TIMEOUT.as_secs())]
    StartTimeout {
        /// The data directory.
        data_dir: PathBuf,
    },
    /// The server did not stop in time.
    #[error("the database server, process {pid}, has not stopped after {} s", server::STOP_TIMEOUT.as_secs())]
    StopTimeout {
        /// Its process id.
        pid: i32,
    },
    /// The server answered something unexpected.
    #[error("cannot use the private cluster")]
    Connection(#[from] sqlx::Error),
    /// A file or a program could not be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// Makes the error of a failed action on `path`, for `map_err`.
fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PrivateClusterError {
    move |source| PrivateClusterError::Io { action, path: path.to_owned(), source }
}

impl PrivateCluster {
    /// Makes the cluster of `data_dir` usable: creates, starts, takes over or joins it, whichever is needed. A server that is started
    /// has room for `connections_max` connections of ours and some others.
    ///
    /// Returns when the server takes connections to the database `quittance`. After a timeout a server that is still recovering
    /// goes on with that, and the next start takes it over.
    ///
    /// # Errors
    /// See [`PrivateClusterError`].
    pub async fn start(data_dir: &Path, connections_max: u32) -> Result<Self, PrivateClusterError> {
        fs::create_dir_all(data_dir).map_err(failed("create", data_dir))?;
        let data_dir = fs::canonicalize(data_dir).map_err(failed("resolve", data_dir))?;
        match timeout(START_TIMEOUT, own_or_join(&data_dir, connections_max)).await {
            Ok(result) => result,
            Err(_) => Err(PrivateClusterError::StartTimeout { data_dir }),
        }
    }

    /// Where to connect: `postgres://…` for the database `quittance`, password included.
    #[must_use]
    pub fn url(&self) -> SecretString {
        self.endpoint.url()
    }

    /// Leaves the cluster. The owner stops the server (mode fast) and waits for its end, unless guests still use it.
    ///
    /// A guest leaves the server alone, unless its owner is gone: then the guest is the heir and the same holds for it.
    ///
    /// # Errors
    /// If the server cannot be told to stop or does not stop in time.
    pub async fn stop(self) -> Result<(), PrivateClusterError> {
        let (owner, process) = match self.role {
            Role::Owner { lock, process } => (lock, process),
            Role::Guest { lock } if lock.try_exclusive()? => (lock, None),
            Role::Guest { .. } => return Ok(()),
        };
        // Our own shared lock goes first: the upgrade of a lock may wait for itself on some platforms.
        self.users.release()?;
        if self.users.try_exclusive()? {
            server::stop(&self.layout, &self.endpoint, process).await?;
        } else {
            tracing::info!("the database server stays for the commands that still use it");
        }
        drop(owner);
        Ok(())
    }
}

/// Waits until we can be either the owner or a guest. The present owner may still be creating, starting or stopping the server.
async fn own_or_join(data_dir: &Path, connections_max: u32) -> Result<PrivateCluster, PrivateClusterError> {
    let owner = Lock::open(data_dir.join("owner.lock"))?;
    let users = Lock::open(data_dir.join("users.lock"))?;
    loop {
        if owner.try_exclusive()? {
            return own(data_dir, connections_max, owner, users).await;
        }
        // The lock comes before the look at the server: from here on an owner that leaves will not stop it.
        if users.try_shared()? {
            if let Some((layout, endpoint)) = join(data_dir).await? {
                return Ok(PrivateCluster { layout, endpoint, users, role: Role::Guest { lock: owner } });
            }
            users.release()?;
        }
        sleep(POLL).await;
    }
}

/// Finds the server that somebody else runs on `data_dir`, if it is ready.
async fn join(data_dir: &Path) -> Result<Option<(Layout, Endpoint)>, PrivateClusterError> {
    let layout = Layout::existing(data_dir)?;
    let Some(endpoint) = Endpoint::running(&layout)? else { return Ok(None) };
    let ready = matches!(endpoint.probe().await?, Answer::Ready);
    Ok(ready.then_some((layout, endpoint)))
}

/// Brings up the server as its owner.
async fn own(data_dir: &Path, connections_max: u32, owner: Lock, users: Lock) -> Result<PrivateCluster, PrivateClusterError> {
    // Only an owner that stops the server holds this lock alone, and the owner is we.
    while !users.try_shared()? {
        sleep(POLL).await;
    }
    let account = Account::for_cluster(&data_dir.join(layout::CLUSTER))?;
    let programs = Programs::find(&account, Layout::existing(data_dir)?.major()?).await?;
    let layout = Layout::choose(data_dir, &account, &programs).await?;
    init::ensure(&layout, &account, &programs).await?;
    let (endpoint, process) =
        Server { layout: &layout, account: &account, programs: &programs, connections_max }.bring_up().await?;
    endpoint.ensure_database().await?;
    Ok(PrivateCluster { layout, endpoint, users, role: Role::Owner { lock: owner, process } })
}
