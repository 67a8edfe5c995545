//! The cluster's life with real servers: as root they run as another user, as anybody else as ourselves.
//!
//! Needs PostgreSQL programs on the machine. `a_process_that_owns_a_cluster` is not a test but the process that others kill.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use secrecy::ExposeSecret;
use sqlx::{Connection, PgConnection, Row};
use tempfile::TempDir;

use super::process::PidFile;
use super::*;

const HELPER: &str = "a_process_that_owns_a_cluster";
const HELPER_DATA_DIR: &str = "QUITTANCE_TEST_DATA_DIR";

/// A temporary directory through which the server's user may pass, unlike most temporary directories of root.
fn open_directory() -> TempDir {
    tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o711)).prefix("q").tempdir().unwrap()
}

async fn start(data_dir: &Path) -> Result<PrivateCluster, PrivateClusterError> {
    PrivateCluster::start(data_dir, 16).await
}

/// Whether a handle answers for the server, in contrast to a guest of another command.
const fn is_owner(cluster: &PrivateCluster) -> bool {
    matches!(cluster.role, Role::Owner { .. })
}

async fn connect(cluster: &PrivateCluster) -> PgConnection {
    PgConnection::connect(cluster.url().expose_secret()).await.unwrap()
}

async fn text(cluster: &PrivateCluster, query: &'static str) -> String {
    let mut connection = connect(cluster).await;
    let row = sqlx::query(query).fetch_one(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    row.get(0)
}

async fn remember(cluster: &PrivateCluster) {
    let mut connection = connect(cluster).await;
    sqlx::raw_sql("CREATE TABLE note (words text); INSERT INTO note VALUES ('paid')").execute(&mut connection).await.unwrap();
}

fn server_pid(data_dir: &Path) -> Option<i32> {
    PidFile::read(&Layout::existing(data_dir).unwrap()).unwrap().map(|file| file.pid)
}

fn is_alive(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

/// A server gives up its files a moment before its process ends.
async fn assert_ends(pid: i32) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_alive(pid) {
        assert!(Instant::now() < deadline, "the server goes on running");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Another quittance on `data_dir`, in a process of its own and in a process group like that of a terminal.
struct Helper(Child);

impl Helper {
    fn start(data_dir: &Path) -> Self {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--nocapture", HELPER]).env(HELPER_DATA_DIR, data_dir);
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().unwrap())
    }

    /// Waits until the server of the helper is ready.
    async fn started(data_dir: &Path) -> Self {
        let helper = Self::start(data_dir);
        until("the helper's server", || data_dir.join("ready").exists()).await;
        helper
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id().try_into().unwrap()).unwrap()
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_mins(1), "{what} does not happen");
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
#[ignore = "the process that other tests start and kill"]
async fn a_process_that_owns_a_cluster() {
    let Some(data_dir) = std::env::var_os(HELPER_DATA_DIR).map(PathBuf::from) else { return };
    let cluster = start(&data_dir).await.unwrap();
    fs::write(data_dir.join("ready"), "").unwrap();
    sleep(Duration::from_mins(2)).await;
    drop(cluster);
}

#[tokio::test]
async fn what_is_written_is_there_after_a_restart() {
    let directory = open_directory();

    let begun = Instant::now();
    let cluster = start(directory.path()).await.unwrap();
    eprintln!("initdb and start: {:?}", begun.elapsed());
    assert!(is_owner(&cluster));
    remember(&cluster).await;
    let pid = server_pid(directory.path()).unwrap();
    let begun = Instant::now();
    cluster.stop().await.unwrap();
    eprintln!("stop: {:?}", begun.elapsed());
    assert!(!is_alive(pid) && server_pid(directory.path()).is_none());

    let begun = Instant::now();
    let cluster = start(directory.path()).await.unwrap();
    eprintln!("warm start: {:?}", begun.elapsed());
    assert_eq!(text(&cluster, "SELECT words FROM note").await, "paid");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_is_durable_and_closed() {
    let directory = open_directory();
    let cluster = start(directory.path()).await.unwrap();

    for (query, expected) in [
        ("SELECT current_database() || ' ' || current_user", "quittance quittance"),
        ("SHOW fsync", "on"),
        ("SHOW synchronous_commit", "on"),
        ("SHOW full_page_writes", "on"),
        ("SHOW data_checksums", "on"),
        ("SHOW listen_addresses", ""),
        ("SHOW unix_socket_permissions", "0700"),
        ("SHOW server_encoding", "UTF8"),
        ("SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules", "scram-sha-256"),
        ("SELECT left(rolpassword, 13) FROM pg_authid WHERE rolname = 'quittance'", "SCRAM-SHA-256"),
    ] {
        assert_eq!(text(&cluster, query).await, expected, "{query}");
    }
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(directory.path().join("postgres.password")), 0o600);
    assert_eq!(mode(directory.path().join("postgres")), 0o700);
    assert_eq!(mode(directory.path().join("socket")), 0o700);
    assert_ne!(fs::metadata(directory.path().join("postgres")).unwrap().uid(), 0, "the server must not run as root");
    let environment = fs::read_to_string(format!("/proc/{}/environ", server_pid(directory.path()).unwrap())).unwrap();
    let mut names: Vec<&str> = environment.split_terminator('\0').filter_map(|variable| variable.split('=').next()).collect();
    names.sort_unstable();
    assert_eq!(names, ["LC_ALL", "PATH", "TZ"], "our environment must not reach the server");

    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn without_the_right_password_nobody_gets_in() {
    let directory = open_directory();
    let cluster = start(directory.path()).await.unwrap();
    let url = cluster.url();
    let password = fs::read_to_string(directory.path().join("postgres.password")).unwrap();
    assert_eq!(password.len(), 64);

    for wrong in [url.expose_secret().replace(&password, "wrong"), url.expose_secret().replace(&format!(":{password}"), "")] {
        let error = PgConnection::connect(&wrong).await.unwrap_err();
        assert!(error.as_database_error().is_some(), "{error}");
    }
    assert!(!format!("{cluster:?}").contains(&password));
    cluster.stop().await.unwrap();

    // The same through our own door, and the refused attempt leaves no server behind.
    fs::write(directory.path().join("postgres.password"), "f".repeat(64)).unwrap();
    let error = start(directory.path()).await.unwrap_err();
    assert!(matches!(error, PrivateClusterError::PasswordRefused { .. }), "{error}");
    until("the end of the useless server", || server_pid(directory.path()).is_none()).await;
    fs::remove_file(directory.path().join("postgres.password")).unwrap();
    let error = start(directory.path()).await.unwrap_err();
    assert!(matches!(error, PrivateClusterError::PasswordMissing { .. }), "{error}");
}

#[tokio::test]
async fn a_second_command_joins_and_leaves_without_stopping_the_server() {
    let directory = open_directory();
    let owner = start(directory.path()).await.unwrap();
    remember(&owner).await;
    let pid = server_pid(directory.path());

    let begun = Instant::now();
    let guest = start(directory.path()).await.unwrap();
    eprintln!("join: {:?}", begun.elapsed());
    assert!(!is_owner(&guest));
    assert_eq!(text(&guest, "SELECT words FROM note").await, "paid");
    guest.stop().await.unwrap();
    drop(start(directory.path()).await.unwrap());

    assert_eq!(server_pid(directory.path()), pid);
    assert_eq!(text(&owner, "SELECT words FROM note").await, "paid");
    owner.stop().await.unwrap();
    assert_eq!(server_pid(directory.path()), None);
}

#[tokio::test]
async fn an_owner_that_leaves_first_leaves_the_server_to_its_guest() {
    let directory = open_directory();
    let owner = start(directory.path()).await.unwrap();
    let guest = start(directory.path()).await.unwrap();

    owner.stop().await.unwrap();
    assert_eq!(text(&guest, "SELECT 'still here'").await, "still here");

    guest.stop().await.unwrap();
    assert_eq!(server_pid(directory.path()), None);
}

#[tokio::test]
async fn the_server_has_room_for_the_whole_pool_and_for_guests() {
    let directory = open_directory();
    let owner = PrivateCluster::start(directory.path(), 100).await.unwrap();
    let guest = PrivateCluster::start(directory.path(), 100).await.unwrap();

    let mut pool = Vec::new();
    for _ in 0..100 {
        pool.push(connect(&owner).await);
    }

    assert_eq!(text(&guest, "SELECT 'welcome'").await, "welcome");
    drop(pool);
    guest.stop().await.unwrap();
    owner.stop().await.unwrap();
}

#[tokio::test]
async fn of_starters_at_the_same_time_one_is_the_owner() {
    let directory = open_directory();
    let start = || start(directory.path());

    let (a, b, c) = tokio::try_join!(start(), start(), start()).unwrap();

    let mut clusters = [a, b, c];
    assert_eq!(clusters.iter().filter(|cluster| is_owner(cluster)).count(), 1);
    clusters.sort_by_key(is_owner);
    for cluster in clusters {
        assert!(server_pid(directory.path()).is_some());
        cluster.stop().await.unwrap();
    }
    assert_eq!(server_pid(directory.path()), None);
}

#[tokio::test]
async fn the_server_of_a_killed_owner_is_taken_over_and_stopped_in_the_end() {
    let directory = open_directory();
    let helper = Helper::started(directory.path()).await;
    let pid = server_pid(directory.path());
    let guest = start(directory.path()).await.unwrap();
    assert!(!is_owner(&guest));
    remember(&guest).await;
    drop(guest);

    // Ctrl-C at a terminal reaches the whole group of the owner, but not the server.
    kill_process_group(helper.pid(), Signal::INT).unwrap();
    helper.kill();
    let begun = Instant::now();
    let heir = start(directory.path()).await.unwrap();
    eprintln!("takeover after kill -9: {:?}", begun.elapsed());

    assert!(is_owner(&heir));
    assert_eq!(server_pid(directory.path()), pid, "the server must be the same");
    assert_eq!(text(&heir, "SELECT words FROM note").await, "paid");
    heir.stop().await.unwrap();
    assert_ends(pid.unwrap()).await;
}

#[tokio::test]
async fn a_killed_server_recovers_with_the_next_start() {
    let directory = open_directory();
    let cluster = start(directory.path()).await.unwrap();
    remember(&cluster).await;

    kill_process(Pid::from_raw(server_pid(directory.path()).unwrap()).unwrap(), Signal::KILL).unwrap();
    drop(cluster);
    let begun = Instant::now();
    let cluster = start(directory.path()).await.unwrap();
    eprintln!("start with recovery: {:?}", begun.elapsed());

    assert_eq!(text(&cluster, "SELECT words FROM note").await, "paid");
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn a_pid_that_belongs_to_somebody_else_now_does_not_matter() {
    let directory = open_directory();
    start(directory.path()).await.unwrap().stop().await.unwrap();
    let layout = Layout::existing(directory.path()).unwrap();
    let account = Account::for_cluster(layout.cluster()).unwrap();
    let mut stranger = account.command(Path::new("/bin/sleep")).arg("60").spawn().unwrap();
    let pid = stranger.id().unwrap();
    let socket = directory.path().join("socket");
    for (file, port) in [(layout.pid_file(), 5432), (layout.socket_lock(), 5432)] {
        fs::write(&file, format!("{pid}\n{}\n1\n{port}\n{}\n\n", layout.cluster().display(), socket.display())).unwrap();
        account.hand_over(&file, 0o600).unwrap();
    }

    let cluster = start(directory.path()).await.unwrap();

    assert_ne!(server_pid(directory.path()), i32::try_from(pid).ok());
    cluster.stop().await.unwrap();
    assert!(stranger.try_wait().unwrap().is_none(), "the stranger must be left alone");
    stranger.kill().await.unwrap();
}

#[tokio::test]
async fn a_half_finished_cluster_is_made_anew() {
    let directory = open_directory();
    let has_unfinished = || fs::read_dir(directory.path()).unwrap().any(|entry| entry.unwrap().path().join("password").exists());
    let helper = Helper::start(directory.path());
    until("initdb", || {
        fs::read_dir(directory.path()).unwrap().any(|entry| entry.unwrap().path().join("cluster/PG_VERSION").exists())
    })
    .await;
    helper.kill();
    assert!(has_unfinished() && !directory.path().join("postgres").exists());

    let cluster = start(directory.path()).await.unwrap();

    assert_eq!(text(&cluster, "SELECT 'new'").await, "new");
    cluster.stop().await.unwrap();
    start(directory.path()).await.unwrap().stop().await.unwrap();
    assert!(!has_unfinished(), "the remains must be gone");
}

#[tokio::test]
async fn something_else_in_the_place_of_the_cluster_is_left_alone() {
    let directory = open_directory();
    let letter = directory.path().join("postgres/letter");
    fs::create_dir(directory.path().join("postgres")).unwrap();
    fs::write(&letter, "dear").unwrap();

    let error = start(directory.path()).await.unwrap_err();
    assert!(matches!(error, PrivateClusterError::NotACluster { .. }), "{error}");
    assert_eq!(fs::read_to_string(&letter).unwrap(), "dear");

    // An empty directory, on the other hand, is only waiting for its cluster.
    fs::remove_file(&letter).unwrap();
    start(directory.path()).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_one_elsewhere() {
    let directory = open_directory();
    let data_dir = directory.path().join("d".repeat(120)).join("with space");

    let cluster = start(&data_dir).await.unwrap();
    let guest = start(&data_dir).await.unwrap();

    let socket_directory = cluster.endpoint.socket_directory().to_owned();
    assert!(!socket_directory.starts_with(directory.path()));
    assert_eq!(fs::metadata(&socket_directory).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(text(&guest, "SELECT 'joined'").await, "joined");
    guest.stop().await.unwrap();
    cluster.stop().await.unwrap();
    assert!(!socket_directory.exists());
}

/// Only root has another user for the server, who may be locked out.
#[tokio::test]
async fn a_closed_data_directory_gets_its_cluster_elsewhere() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let closed = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o700)).tempdir().unwrap();
    let data_dir = closed.path().join("data");

    let cluster = start(&data_dir).await.unwrap();
    remember(&cluster).await;
    cluster.stop().await.unwrap();

    let link = data_dir.join("postgres");
    let home = fs::read_link(&link).unwrap().parent().unwrap().to_owned();
    assert!(home.starts_with("/var/lib/quittance"));
    assert_eq!(fs::read_to_string(home.join("belongs-to")).unwrap(), format!("{}\n", data_dir.display()));

    // The ledger follows its data directory to another name.
    let renamed = closed.path().join("renamed");
    fs::rename(&data_dir, &renamed).unwrap();
    let cluster = start(&renamed).await.unwrap();
    assert_eq!(text(&cluster, "SELECT words FROM note").await, "paid");
    cluster.stop().await.unwrap();

    // A home that is gone is an error, never an empty ledger.
    fs::remove_dir_all(&home).unwrap();
    let error = start(&renamed).await.unwrap_err();
    assert!(matches!(error, PrivateClusterError::HomeMissing { .. }), "{error}");
}

/// A cluster that is already there is not moved: the error names the door that is closed.
#[tokio::test]
async fn a_data_directory_that_was_closed_later_is_named() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = open_directory();
    let data_dir = directory.path().join("outer/data");
    start(&data_dir).await.unwrap().stop().await.unwrap();
    let outer = fs::canonicalize(directory.path().join("outer")).unwrap();
    fs::set_permissions(&outer, fs::Permissions::from_mode(0o700)).unwrap();

    let error = start(&data_dir).await.unwrap_err();

    assert!(matches!(&error, PrivateClusterError::Unreachable { directory, .. } if *directory == outer), "{error}");
}

#[tokio::test]
async fn a_cluster_of_a_version_that_is_gone_is_named() {
    let directory = open_directory();
    start(directory.path()).await.unwrap().stop().await.unwrap();
    fs::write(directory.path().join("postgres/PG_VERSION"), "12\n").unwrap();

    let error = start(directory.path()).await.unwrap_err();

    assert!(matches!(error, PrivateClusterError::VersionGone { major: 12, .. }), "{error}");
}

/// The log begins anew when it is large, and one predecessor is kept.
#[tokio::test]
async fn the_log_is_bounded() {
    let directory = open_directory();
    fs::write(directory.path().join("postgres.log"), "x".repeat(1024 * 1024 + 1)).unwrap();

    start(directory.path()).await.unwrap().stop().await.unwrap();

    assert!(fs::metadata(directory.path().join("postgres.log")).unwrap().len() < 10_000);
    assert!(directory.path().join("postgres.log.1").exists());
}
