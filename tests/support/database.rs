//! A PostgreSQL server for the tests of one process, with a fresh database for each of them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use quittance::ledger::Ledger;
use quittance::ledger::private::PrivateCluster;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::OnceCell;

static SERVER: OnceCell<Server> = OnceCell::const_new();
static DATABASES: AtomicU32 = AtomicU32::new(1);

/// Each facilitator under test has a pool of its own.
const CONNECTIONS_MAX: u32 = 200;

struct Server {
    url: SecretString,
}

/// A directory for servers that root does not run itself: other users must be able to pass through it.
pub fn open_directory() -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let directory =
        std::env::temp_dir().join(format!("quittance-test-{}-{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&directory).expect("the directory for temporary files is writable");
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o711)).expect("it is ours");
    directory
}

async fn server() -> &'static Server {
    SERVER
        .get_or_init(|| async {
            let directory = open_directory();
            let cluster = PrivateCluster::start(&directory, CONNECTIONS_MAX).await.expect("PostgreSQL starts");
            let url = cluster.url();
            // Dropped without being stopped, it goes on running.
            drop(cluster);
            end_with_process(&directory);
            Server { url }
        })
        .await
}

/// The server outlives single tests, so it is stopped by a process that waits for ours to end.
fn end_with_process(directory: &Path) {
    let pid = std::fs::read_to_string(directory.join("postgres/postmaster.pid")).expect("it runs");
    let pid = pid.lines().next().expect("a process id");
    let (ours, directory) = (std::process::id(), directory.display());
    let script = format!(
        "while kill -0 {ours}; do sleep 0.2; done; kill -INT {pid}; while kill -0 {pid}; do sleep 0.2; done; rm -rf {directory}"
    );
    let mut command = std::process::Command::new("setsid");
    command.args(["sh", "-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("sh runs");
}

/// An empty database with the newest schema; returns its address.
pub async fn fresh() -> SecretString {
    let server = server().await;
    let name = format!("test_{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut connection = PgConnection::connect(server.url.expose_secret()).await.expect("PostgreSQL answers");
    connection.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("the database is new");
    let url: SecretString = server.url.expose_secret().replacen("/quittance?", &format!("/{name}?"), 1).into();
    ledger(&url).await.migrate().await.expect("the migrations run");
    url
}

/// Our own view of a database, beside the processes that use it.
pub async fn ledger(url: &SecretString) -> Ledger {
    Ledger::connect(url, 4, chrono::TimeDelta::seconds(5)).await.expect("PostgreSQL answers")
}

/// How many rows each table has that a payment leaves something in, seen by a facilitator's own address of the database.
pub async fn traces(facilitator: &super::facilitator::Facilitator) -> Vec<(&'static str, i64)> {
    let url = facilitator.environment().iter().find(|(name, _)| name == "QUITTANCE_DATABASE__URL");
    let (_, url) = url.expect("the database is an external one");
    let mut connection = PgConnection::connect(url).await.expect("PostgreSQL answers");
    let mut traces = Vec::new();
    for table in ["payments", "authorizations", "submissions", "attempts", "claims", "budgets", "idempotency"] {
        let count = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")));
        traces.push((table, count.fetch_one(&mut connection).await.expect("the table is there")));
    }
    traces
}
