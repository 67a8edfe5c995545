//! The making of a cluster: the password first, then `initdb` beside the final place, then one rename.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::{PrivateClusterError, account::Account, endpoint, failed, layout, layout::Layout, programs::Programs};

/// What unfinished clusters are called, before a random ending.
///
/// The ending matters: an `initdb` whose parent was killed lives on, and when it fails it removes the directory that it was given by
/// name. It must not be the directory of its successor.
const UNFINISHED: &str = "postgres.new.";

/// Creates the cluster unless it is there.
pub async fn ensure(layout: &Layout, account: &Account, programs: &Programs) -> Result<(), PrivateClusterError> {
    remove_unfinished(layout.home());
    if layout.is_initialised() {
        return Ok(());
    }
    let password = password(layout)?;
    let unfinished = layout.home().join(format!("{UNFINISHED}{}", layout::random_name()));
    fs::create_dir(&unfinished).map_err(failed("create", &unfinished))?;
    account.hand_over(&unfinished, 0o700)?;

    initdb(&unfinished, &password, account, programs).await?;
    put_in_place(&unfinished, layout)?;
    remove_unfinished(layout.home());
    Ok(())
}

/// Reads the password, or makes one. It is written before the cluster, so a cluster without it never comes from an interruption.
fn password(layout: &Layout) -> Result<SecretString, PrivateClusterError> {
    match endpoint::read_password(layout) {
        Err(PrivateClusterError::PasswordMissing { file }) => {
            let password = SecretString::from(generate_password());
            let unfinished = file.with_extension("password.new");
            write_secret(&unfinished, &password)?;
            fs::rename(&unfinished, &file).map_err(failed("rename", &unfinished))?;
            Ok(password)
        }
        other => other,
    }
}

/// 256 bits in hexadecimal, which needs no escaping in URLs, SQL or files.
fn generate_password() -> String {
    format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>())
}

fn write_secret(path: &Path, secret: &SecretString) -> Result<(), PrivateClusterError> {
    let write = || -> io::Result<()> {
        let mut file = File::options().create(true).write(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(secret.expose_secret().as_bytes())?;
        file.sync_all()
    };
    write().map_err(failed("write", path))
}

async fn initdb(
    unfinished: &Path,
    password: &SecretString,
    account: &Account,
    programs: &Programs,
) -> Result<(), PrivateClusterError> {
    // `initdb` runs as the server's user, who cannot read our own file; this copy goes with the directory.
    let copy = unfinished.join("password");
    write_secret(&copy, password)?;
    account.hand_over(&copy, 0o600)?;

    let program = programs.initdb();
    let mut command = account.command(&program);
    command.arg("--pgdata").arg(unfinished.join("cluster")).arg("--pwfile").arg(&copy);
    command.args(["--username", endpoint::USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale"]);
    command.arg("--data-checksums").kill_on_drop(true);
    let output = command.output().await.map_err(failed("run", &program))?;
    if output.status.success() {
        return Ok(());
    }
    Err(PrivateClusterError::Init { output: String::from_utf8_lossy(&output.stderr).trim().to_owned() })
}

/// The rename that makes the cluster exist, on disk as well.
fn put_in_place(unfinished: &Path, layout: &Layout) -> Result<(), PrivateClusterError> {
    let rename = fs::rename(unfinished.join("cluster"), layout.cluster());
    rename.map_err(|error| match error.kind() {
        io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            PrivateClusterError::NotACluster { cluster: layout.cluster().to_owned() }
        }
        _ => failed("create", layout.cluster())(error),
    })?;
    File::open(layout.home()).and_then(|home| home.sync_all()).map_err(failed("sync", layout.home()))
}

/// Removes what interrupted starts left. An `initdb` that is still at work there may win against us: then the next start does it.
fn remove_unfinished(home: &Path) {
    for entry in fs::read_dir(home).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED)
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(path = %entry.path().display(), error = %error, "an unfinished cluster stays for now");
        }
    }
}
